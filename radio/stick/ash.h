/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ASH, the reliable serial line below EZSP, host's side, as a pure machine of its own (radio
 * reference C.1, C.2). Frames end with a flag and begin with nothing, so what a disturbance spoils
 * is the frame up to the next flag; the one behind is whole, and what was lost comes again: the
 * stick repeats what it gets a NAK, or no ACK, for.
 *
 *     ash_connect()  ->  RST ... RSTACK  ->  ASH_EV_CONNECTED
 *     ash_send()     ->  DATA, repeated until acknowledged; one at a time (window 1)
 *     ash_next()     <-  bytes; one event at a time
 *     ash_output()   ->  bytes, after every other call until it returns false
 *
 * After REBOOTED, FAILED, LOST and SILENT the machine is idle until ash_connect().
 */
#ifndef SENNET_RADIO_STICK_ASH_H
#define SENNET_RADIO_STICK_ASH_H

#include "base/bytes.h"
#include "base/clock.h"

/* ---- frames ------------------------------------------------------------------------------------ */

enum {
    ASH_DATA_MIN = 3,
    ASH_DATA_MAX = 220,
    ASH_FRAME_MAX = 1 + ASH_DATA_MAX + 2, /* control, data, CRC */
    ASH_WIRE_MAX = 2 * ASH_FRAME_MAX + 1, /* each octet escaped, and the flag */
    ASH_VERSION = 2,
    ASH_CANCEL = 0x1A,
};

enum ash_type { ASH_DATA, ASH_ACK, ASH_NAK, ASH_RST, ASH_RSTACK, ASH_ERROR };

struct ash_frame {
    enum ash_type type;
    uint8_t frm_num;       /* DATA: 0..7 */
    uint8_t ack_num;       /* DATA, ACK, NAK: the next frame expected, 0..7 */
    bool re_tx;            /* DATA */
    bool not_ready;        /* ACK, NAK */
    uint8_t version, code; /* RSTACK, ERROR */
    struct bytes data;     /* DATA, plain; borrowed from the deframer */
};

/* The frame as it goes over the line. Returns its length, 0 when `cap` or the data's length does
 * not suit. */
size_t ash_encode(const struct ash_frame *frame, uint8_t *out, size_t cap);

struct ash_deframer {
    uint8_t buf[ASH_FRAME_MAX];
    uint16_t len;
    uint32_t seen; /* octets since the last flag */
    bool escaped;
    bool spoiled; /* nothing until the next flag can be a frame */
    uint64_t skipped_bytes;
};

enum ash_found {
    ASH_NOTHING,  /* `in` is used up */
    ASH_FOUND,    /* *out is an intact frame */
    ASH_BAD,      /* something that ended with a flag is none */
    ASH_BAD_DATA, /* the same, and it looked like DATA */
};

/* Forgets what it has half. */
void ash_deframer_begin(struct ash_deframer *d);

/* Takes octets from the front of `in` until a flag ends something. The zeroed deframer is ready. */
enum ash_found ash_deframe(struct ash_deframer *d, struct reader *in, struct ash_frame *out);

/* ---- the machine ------------------------------------------------------------------------------- */

enum {
    ASH_T_ACK_MS = 800, /* before the first acknowledgement tells better; over TCP twice that */
    ASH_T_ACK_MIN_MS = 400,
    ASH_T_ACK_MAX_MS = 2400,
    ASH_TIMEOUTS = 5, /* in a row, then the line is lost */
    ASH_REPEATS = 20, /* of one frame, whatever the reason, then the line is lost */
    ASH_CONNECT_MS = 5000,
    ASH_CONNECT_TRIES = 5,
    ASH_NOISE_MS = 500, /* after a RSTACK that no RST asked for, another RST */
    ASH_NRDY_MS = 480,  /* the stick forgets that we are not ready after 1 s */
};

enum ash_reset { ASH_RESET_SOFTWARE = 0x0B };

enum ash_state { ASH_IDLE, ASH_CONNECTING, ASH_CONNECTED };

enum ash_tx { ASH_TX_IDLE, ASH_TX_DUE, ASH_TX_WAITING };

struct ash {
    struct ash_deframer rx;
    enum ash_state state;
    int64_t t_first_ms, t_ack_ms;
    int64_t connect_at_ms; /* the next RST */
    int64_t ack_at_ms;     /* of the DATA that is waiting */
    int64_t nrdy_at_ms;
    int64_t sent_ms;
    unsigned tries, timeouts, repeats;
    enum ash_tx tx;
    uint8_t frm_tx; /* of the frame in `data`, or of the next one */
    uint8_t frm_rx; /* expected */
    bool rst_due, ack_due, nak_due, nrdy_due;
    bool rejecting; /* a NAK is under way: no other until a good frame */
    bool not_ready;
    bool fresh; /* nothing but the RSTACK has come on this connection */
    uint8_t data[ASH_DATA_MAX];
    uint16_t data_len;
    uint8_t wire[ASH_WIRE_MAX + 1];
    uint8_t other_reset; /* code of a RSTACK that was not ours; valid with `noise` */
    bool noise;
    uint64_t frames_in, frames_out, bad_frames, repeated, duplicates, out_of_order;
};

enum ash_event_type {
    ASH_EV_NONE,
    ASH_EV_CONNECTED,
    ASH_EV_DATA,     /* `data`, once and in order; borrowed until the next call */
    ASH_EV_REBOOTED, /* the stick has reset itself: `code` */
    ASH_EV_FAILED,   /* the stick's end of the line has failed: `code` */
    ASH_EV_LOST,     /* the stick acknowledges nothing any more */
    ASH_EV_SILENT,   /* no RSTACK came for any RST */
};

struct ash_event {
    enum ash_event_type type;
    struct bytes data;
    uint8_t code;
};

/* `t_ack_ms`: the first acknowledgement timeout, ASH_T_ACK_MS on a serial line. */
void ash_init(struct ash *a, int64_t t_ack_ms);

/* Resets the stick. What was being sent is forgotten. */
void ash_connect(struct ash *a, int64_t now_ms);

/* No connection, nothing due. */
void ash_stop(struct ash *a);

/* True when ash_send() will take data. */
bool ash_ready(const struct ash *a);

/* Sends `data` of ASH_DATA_MIN..ASH_DATA_MAX octets; false, and nothing done, unless ash_ready().
 * It is copied. */
bool ash_send(struct ash *a, struct bytes data);

/* Asks the stick to hold its callbacks, or no longer. */
void ash_hold(struct ash *a, int64_t now_ms, bool hold);

/* The next event out of the octets at the front of `in`; false when they are used up. */
bool ash_next(struct ash *a, int64_t now_ms, struct reader *in, struct ash_event *out);

/* Fires what is due; an event (LOST, SILENT) or ASH_EV_NONE. */
enum ash_event_type ash_advance(struct ash *a, int64_t now_ms);
int64_t ash_next_deadline(const struct ash *a);

/* The next octets for the line, borrowed until the next call; false when there are none. */
bool ash_output(struct ash *a, int64_t now_ms, struct bytes *out);

/* "power on", "watchdog" ... of a RSTACK or ERROR. */
const char *ash_code_name(uint8_t code);

#endif
