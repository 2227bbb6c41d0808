/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/link.h"
