/* SPDX-License-Identifier: Apache-2.0 */
/* sennet-sim as a program under test; SENNET_SIM names it. One at a time. */
#ifndef SENNET_TESTS_E2E_SIMULATOR_H
#define SENNET_TESTS_E2E_SIMULATOR_H

#include <stdbool.h>
#include <stdint.h>

enum { SIMULATOR_LIMIT_MS = 60000 };

/* `options` are separated by single blanks. */
void sim_start(uint16_t gateway_port, const char *options);

/* Its output, both streams, to wait for. */
int sim_fd(void);

/* Takes some of the output. False when the program has ended. */
bool sim_read(void);

/* All that it has said so far. */
const char *sim_output(void);

/* After the end: the exit status. */
int sim_status(void);

/* Waits for the end; the exit status. */
int sim_wait(void);

void sim_signal(int signal);

void assert_said(const char *text);

#endif
