/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network coprocessor's side of ASH (radio reference, C.1 and C.2), written from the reference
 * and not from our host side: frames with sequence numbers and acknowledgements over the line, EZSP
 * frames above.
 */
#ifndef SENNET_TOOLS_EMU_EMU_ASH_H
#define SENNET_TOOLS_EMU_EMU_ASH_H

#include "base/bytes.h"
#include "base/clock.h"

enum {
    EMU_ASH_DATA_MAX = 220,
    EMU_ASH_QUEUE = 64,
    EMU_ASH_RESPONSES = 8, /* of these, kept for responses */
    EMU_ASH_WINDOW = 5,    /* TX_K in what the firmware comes with */
    EMU_ASH_WIRE_MAX = 2 * (EMU_ASH_DATA_MAX + 3) + 2,
};

enum emu_ash_got {
    EMU_ASH_NOTHING,
    EMU_ASH_RST, /* the host wants a reset */
    EMU_ASH_DATA,
};

struct emu_ash_frame {
    uint8_t len;
    bool callback; /* held back while the host is not ready */
    uint8_t data[EMU_ASH_DATA_MAX];
};

struct emu_ash {
    bool connected;
    bool failed; /* ERROR was said: only a reset helps */

    /* in */
    uint8_t in[EMU_ASH_DATA_MAX + 8];
    size_t n_in;
    bool escaped, dropping;
    uint8_t expected; /* the next frame from the host */
    bool rejecting;
    uint8_t data[EMU_ASH_DATA_MAX]; /* of DATA */
    size_t data_len;

    /* out: a ring, of which the first `unacked` have been sent */
    struct emu_ash_frame queue[EMU_ASH_QUEUE];
    size_t first, count, unacked;
    size_t again;   /* so many of the first have been on the line before */
    uint8_t owed;   /* an acknowledgement, or what else the last frame demands */
    uint8_t oldest; /* sequence number of the first */
    int64_t resend_ms;
    unsigned resends;
    int64_t hold_ms; /* the host is not ready before */
    bool overflow;   /* a callback was lost */
    uint64_t bad, resent, naks;
};

void emu_ash_init(struct emu_ash *a);

/* One octet of the line. DATA: a->data, a->data_len hold an EZSP frame. */
enum emu_ash_got emu_ash_octet(struct emu_ash *a, int64_t now_ms, uint8_t octet);

/* Queues an EZSP frame. */
void emu_ash_push(struct emu_ash *a, struct bytes frame, bool callback);

/* The next frame for the line, or 0: to be called after every input and at every deadline until it
 * says 0. */
size_t emu_ash_pull(struct emu_ash *a, int64_t now_ms, uint8_t out[EMU_ASH_WIRE_MAX]);

int64_t emu_ash_deadline(const struct emu_ash *a);

/* RSTACK with this code: the connection begins (if the code is 0B, as the host wants it). */
size_t emu_ash_rstack(struct emu_ash *a, uint8_t code, uint8_t out[EMU_ASH_WIRE_MAX]);

#endif
