/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real sennetd under test, and nodes that speak to it over UDP. Every function fails the
 * running Check test with a sentence when what it waits for does not happen.
 */
#ifndef SENNET_TESTS_E2E_DAEMON_H
#define SENNET_TESTS_E2E_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct daemon {
    pid_t pid;
    int log_fd;         /* its stderr */
    char directory[64]; /* temporary; holds the configuration */
    char log[256 * 1024];
    size_t log_len;
    uint16_t port;  /* of [link test] */
    bool is_pinned; /* and has no version of its own in the configuration */
};

/* A UDP port of loopback that was free a moment ago. */
uint16_t free_udp_port(void);

/* Starts sennetd with a configuration of [gateway] and [link test], a [broker] at `broker_port`,
 * and `more` appended; waits for gateway.ready. retry_interval is 400 ms, retry_count 3. */
void daemon_start(struct daemon *d, uint16_t broker_port, const char *more);

/* The same with this retry_count, for nodes in bad air. */
void daemon_start_patient(struct daemon *d, uint16_t broker_port, unsigned retry_count,
                          const char *more);

enum { DAEMON_RETRIES = 3 };

/* Writes that configuration anew, for a reload. */
void daemon_configure(struct daemon *d, uint16_t broker_port, unsigned retry_count,
                      const char *more);

/* The log begins anew. */
void daemon_forget_log(struct daemon *d);

/* Starts it once more, with the same configuration and state; the log begins anew. */
void daemon_again(struct daemon *d);

/* kill -9; everything else stays as it is. */
void daemon_crash(struct daemon *d);

/* Waits until the log contains `text`. */
void daemon_wait_log(struct daemon *d, const char *text, int timeout_ms);
bool daemon_has_logged(struct daemon *d, const char *text);

/* The last lines that were read, no more than a message of Check can carry. */
const char *daemon_log_end(const struct daemon *d);

/* Sends a signal and waits for the end; the exit status, or -signal. */
int daemon_end(struct daemon *d, int signal);

/* Runs sennetd to its end with these arguments (NULL-terminated); its exit status. Output of both
 * streams goes to `output`. */
int daemon_run(char *const arguments[], char *output, size_t output_size);

/* Octets that it has caused to be written to disks, of the kernel's count. */
uint64_t daemon_written(const struct daemon *d);

/* Open files, and resident memory. */
unsigned daemon_descriptors(const struct daemon *d);
unsigned daemon_memory_kib(const struct daemon *d);

struct node {
    int fd;
};

void node_open(struct node *n, uint16_t port);
void node_close(struct node *n);

/* Octets in hex, blanks allowed. */
void node_say(struct node *n, const char *hex);

/* The next datagram must be exactly this. */
void node_expect(struct node *n, const char *hex);

/* The next datagram, as hex with blanks, whatever it is; false when none comes in time. */
bool node_hear(struct node *n, char *hex, size_t size, int timeout_ms);

/* Nothing must come for this long. */
void node_quiet(struct node *n, int for_ms);

/* CONNECT with CleanSession and a 60 s keep alive, and its CONNACK. */
void node_connect(struct node *n, const char *client_id);

/* Says CONNECT until it is accepted: for the moments after the broker came back. */
void node_connect_patiently(struct node *n, const char *client_id, int timeout_ms);

/* CONNECT of "dev" with these flags and 60 s of keep alive, accepted. */
void node_connect_with(struct node *n, unsigned flags);

/* REGISTER of `topic`, which gets the id 0001. */
void node_register(struct node *n, const char *topic);

/* PUBLISH to topic id 0001 of one letter; and its PUBACK. */
void node_publish(struct node *n, unsigned flags, unsigned msg_id, char letter);
void node_expect_puback(struct node *n, unsigned msg_id);

/* SUBSCRIBE to "c/1" with this QoS, which is granted, with the id 0001. */
void node_subscribe(struct node *n, unsigned qos);

int64_t test_now_ms(void);

#endif
