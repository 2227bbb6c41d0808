/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link of the sticks in virtual time: a port and three families of sticks that do what the test
 * says. Time passes in sl_run(); the loop is real only for its end. In place of the registry, of
 * port_find() and of the finder there are the world's own.
 */
#ifndef SENNET_TESTS_UNIT_STICK_LINK_WORLD_H
#define SENNET_TESTS_UNIT_STICK_LINK_WORLD_H

#include <uv.h>

#include "radio/finder.h"
#include "radio/link.h"

struct sl_time {
    uint64_t now_ms;
    uint64_t due_ms; /* UINT64_MAX: not armed */
    uv_timer_t *timer;
    uv_timer_cb callback;
};

extern struct sl_time virtual;

struct sl_device {
    struct port port; /* there is one at a time */
    bool is_open;     /* from open() to close() */
    int result;       /* of the next openings */
    bool slow;        /* the test says when it is open */
    unsigned opens, closes;
    struct port_sink sink;
    struct port_config config;
    size_t room; /* octets that write() takes */
    char written[4096];
    size_t n_written;
};

extern struct sl_device dev;

struct sl_owner {
    uv_loop_t loop;
    struct link *link;
    unsigned packets, groups, batches, outcomes[4], joined, left, limits, lost, ups;
    uint32_t limit;
    bool in_batch, busy; /* the test is within a call of the link */
    bool echo;
    char close_in; /* 'p', 'b', 'o', 'e': close in that callback */
    char last[500];
};

extern struct sl_owner own;

extern struct found_port found; /* driver NULL: nothing is known of the device */

/* A link of that driver, started. */
void sl_start(const char *driver);
void sl_set_up(void); /* "fake" */
void sl_tear_down(void);
void sl_close_link(void);

void sl_run(uint64_t ms);

/* The device is there, until it is open and the machine has said HI; and is pulled out. */
void sl_plug(void);
void sl_unplug(void);

/* Bytes from the stick, each a command for its machine: see fake_input(). */
void sl_say(const char *commands);

/* "<packet>" to the node of that address. */
void sl_send_to(uint64_t node);

/* The family of the machine that the link has now. */
const char *sl_family(void);

#endif
