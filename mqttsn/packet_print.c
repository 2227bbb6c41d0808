/* SPDX-License-Identifier: Apache-2.0 */
#include "mqttsn/packet.h"
