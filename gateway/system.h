/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon asks of the operating system at start, with errors for people. */
#ifndef SENNET_GATEWAY_SYSTEM_H
#define SENNET_GATEWAY_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

/* Milliseconds since 1970, for logs only: this clock jumps. */
int64_t system_wall_ms(void);

/* The minute of the day, 0 to 1439, in local time: of the time zone as it is now. */
unsigned system_minute(int64_t wall_ms);

/* Opens /dev/null in place of standard streams that the parent closed: otherwise the next socket
 * would take their number, and log lines would go into it. 0 or -errno. */
int system_standard_streams(void);

/* Large blocks of memory, and what is free at the end, go back to the system when they are freed. Before
 * much is allocated. */
void system_tune_memory(void);

/* Pages of libraries that only the start needed are not held on to. What is needed again is mapped
 * again, from where the system keeps the file. */
void system_let_go_of_start(void);

/* Fills from the kernel's random source. 0 or -errno. */
int system_random(void *out, size_t size);

/* Raises the soft limit of open files to what a gateway with many links needs, as far as the hard
 * limit allows. */
void system_raise_file_limit(void);

/* Makes sure that the directory exists (created with its parents, mode 0700) and can be written. 0,
 * or a negative errno with a sentence in `error`. */
int system_state_dir(const char *path, char *error, size_t error_size);

#endif
