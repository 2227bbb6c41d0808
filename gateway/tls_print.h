/* SPDX-License-Identifier: Apache-2.0 */
/* Have the files of TLS changed? What they hold, in few octets. */
#ifndef SENNET_GATEWAY_TLS_PRINT_H
#define SENNET_GATEWAY_TLS_PRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "tls.h"

struct tls_print {
    uint8_t octets[32];
};

/* Of the contents of all files; of `ca_path` of the names, sizes and times of what is in there, since
 * OpenSSL looks for what it needs when it needs it. What can't be read counts as nothing. Reads files: not
 * for the loop thread of a daemon that has nodes. */
struct tls_print tls_print(const struct tls_options *o);

/* Of names, sizes and times in a directory; 0: it is empty, or can't be read, or is NULL. */
uint64_t tls_directory_print(const char *path);

bool tls_print_equal(const struct tls_print *a, const struct tls_print *b);

#endif
