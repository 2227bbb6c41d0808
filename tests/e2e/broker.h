/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private mosquitto on a free loopback port, with everything it writes in a temporary directory.
 * Every function fails the running Check test with a sentence when it can't do its work. The
 * process dies with the test, whatever happens.
 */
#ifndef SENNET_TESTS_E2E_BROKER_H
#define SENNET_TESTS_E2E_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct broker {
    pid_t pid; /* 0 = not running */
    uint16_t port;
    bool paused;
    char directory[64];
};

/* A TCP port of loopback that was free a moment ago. */
uint16_t free_tcp_port(void);

/* Starts mosquitto with anonymous access and `more` lines (or NULL) appended to its configuration,
 * and waits until it accepts connections. */
void broker_start(struct broker *b, const char *more);

/* The same, but only for this user. */
void broker_start_with_user(struct broker *b, const char *user, const char *password);

/* Again on the same port with the same configuration, after broker_end(). */
void broker_start_again(struct broker *b);

/* Waits until it accepts connections at this port: of another listener of its configuration. */
void broker_await(const struct broker *b, uint16_t port);

/* Runs one of mosquitto's other programs to its end, which must be a good one. What it prints goes to the
 * broker's log. The arguments begin with its name, and end with NULL. */
void broker_run(const struct broker *b, const char *const arguments[]);

/* SIGSTOP and SIGCONT: the kernel still accepts and acknowledges, mosquitto does not. */
void broker_pause(struct broker *b);
void broker_resume(struct broker *b);

/* Sends a signal (SIGTERM, SIGKILL) and waits for the end; 10 s at most. */
void broker_end(struct broker *b, int signal);

/* Ends it if it runs, and removes the directory. */
void broker_stop(struct broker *b);

#endif
