/* SPDX-License-Identifier: Apache-2.0 */
/* How sennet-sub prints a message: the format language of its -F. */
#ifndef SENNET_TOOLS_FORMAT_H
#define SENNET_TOOLS_FORMAT_H

#include <stdio.h>

#include "tools/client.h"

/* NULL when `format` is valid, else a static sentence that says what is not. */
const char *format_check(const char *format);

/* Prints a message of a valid format. A predefined topic has no name here: %t is its number. */
void format_print(FILE *out, const char *format, const struct snc_event *message);

#endif
