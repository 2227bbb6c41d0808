/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sennet-sim --stick: the nodes are behind an emulated coordinator on a pseudo terminal instead of
 * UDP. The gateway opens the terminal as it would open a stick; loss, copies and latency are those
 * of the ether, so the coordinator sees them as a real one does.
 */
#ifndef SENNET_TOOLS_SIM_STICK_H
#define SENNET_TOOLS_SIM_STICK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct sim;
struct sim_node;
struct sim_stick;

struct sim_stick_options {
    const char *kind;   /* NULL: no stick */
    const char *link;   /* a symbolic link that always leads to the terminal; NULL: none */
    unsigned firmware;  /* of the emulation's variants */
    bool unformed;      /* it has no network yet */
    unsigned framing;   /* of serial */
    uint32_t baud;      /* pace of the line */
    double line_faults; /* percent of frames from the stick that come damaged */
    int64_t replug_ms;  /* pulled out about so often, TIME_NEVER: never */
    unsigned replugs;   /* so many times, and then the run ends; 0: no matter */
    int64_t reset_ms;   /* its firmware starts again by itself about so often */
    int64_t rejoin_ms;  /* a node gets another address so often */
    int64_t no_ack_ms;  /* the stick waits so long for a node's acknowledgement */
};

struct sim_stick_options sim_stick_defaults(void);

/* --NAME VALUE ("stick", "stick-link", "firmware" ...). False with a reason for people. */
bool sim_stick_setting(struct sim_stick_options *o, const char *name, const char *value,
                       const char **why);

/* Switches the stick on and says where it is. NULL after a message on stderr. */
struct sim_stick *stick_start(struct sim *sim, const struct sim_stick_options *options);
void stick_stop(struct sim *sim, struct sim_stick *s);

/* Somebody has opened the terminal and had time to start the stick. */
bool stick_is_ready(const struct sim *sim, const struct sim_stick *s);

/* It has been pulled out as often as it shall be, and is back. Never true if that does not matter. */
bool stick_is_through(const struct sim_stick *s);

/* The terminal can be read or written. */
void stick_io(struct sim *sim, struct sim_stick *s);

/* The machine has not run us for so long: that is not the host's fault. */
void stick_excuse(struct sim_stick *s, int64_t late_ms);

/* Lets time pass, hands packets to nodes, bytes to the terminal. Call after every wake-up. */
void stick_step(struct sim *sim, struct sim_stick *s);
int64_t stick_next_us(const struct sim_stick *s);

/* A node's radio: on, off, sends. */
void stick_node_on(struct sim *sim, struct sim_stick *s, const struct sim_node *n, bool on);
void stick_node_send(struct sim *sim, struct sim_stick *s, const struct sim_node *n,
                     struct bytes packet);

/* For the report. */
struct sim_stick_figures {
    uint64_t frames_in, frames_out; /* of the family's protocol */
    uint64_t bytes_in, bytes_out;   /* of the line, while the nodes published */
    uint64_t overruns;              /* octets that were lost there */
    uint64_t sends;                 /* packets that the host gave */
    uint64_t lost, copied, expired; /* in the ether */
    uint64_t replugs, resets, rejoins;
    uint64_t slowest_ms;         /* from plugging in to the first octet of a host */
    uint64_t slowest_service_ms; /* from plugging in, or a reset, to the first packet for a node */
};

struct sim_stick_figures stick_figures(const struct sim_stick *s);

#endif
