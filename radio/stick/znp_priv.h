/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of the ZNP driver: znp.c (line and requests), znp_start.c (from an open port to
 * a running coordinator), znp_form.c (a new network), znp_data.c (packets and addresses).
 *
 * Z-Stack takes one request at a time and numbers none. An answer that is late could therefore pass
 * for that of the next request; so after a request without an answer nothing is asked but a ping,
 * until it is answered, and what else comes is thrown away.
 */
#ifndef SENNET_RADIO_STICK_ZNP_PRIV_H
#define SENNET_RADIO_STICK_ZNP_PRIV_H

#include "radio/stick/core.h"
#include "radio/stick/znp_frame.h"
#include "radio/stick/znp_msg.h"

enum {
    ZNP_REQUESTS = 24,
    ZNP_REQUEST_DATA = 40,
    ZNP_REQUEST_MS = 1000, /* for an answer; it usually comes within 50 ms */
    ZNP_START_MS = 6000,   /* the same while starting: writing to flash memory takes longer */
    ZNP_PING_MS = 1000,
    ZNP_HELLO_MS = 500,
    ZNP_PINGS = 6,       /* without an answer, and the stick is taken for dead */
    ZNP_IDLE_MS = 60000, /* of silence, then we ask whether it lives */
    ZNP_GAP_MS = 150,    /* between octets of a frame */
    ZNP_GAP_NET_MS = 600,
};

enum znp_generation { ZNP_12, ZNP_30X, ZNP_3X0 };

enum znp_asker {
    ZNP_BY_NOBODY, /* the answer doesn't matter */
    ZNP_BY_PING,   /* after a request without an answer, or after a long silence */
    ZNP_BY_START,  /* arg: enum znp_step */
    ZNP_BY_SEND,   /* arg: id of the packet */
    ZNP_BY_LOOKUP, /* arg: 16-bit address */
    ZNP_BY_FETCH,
    ZNP_BY_HEALTH, /* after a long silence: does its network run? */
};

struct znp_request {
    uint16_t cmd; /* 0: none */
    uint8_t by;   /* enum znp_asker */
    uint8_t len;
    uint32_t arg;
    int64_t timeout_ms;
    uint8_t data[ZNP_REQUEST_DATA];
};

struct znp_reply {
    uint16_t cmd; /* of the request */
    uint32_t arg;
    bool none;         /* no answer */
    uint8_t rpc_error; /* not 0: the firmware doesn't know this request, or not so */
    struct bytes data;
};

enum znp_step {
    ZNP_STEP_NONE,
    ZNP_STEP_HELLO,
    ZNP_STEP_VERSION,
    ZNP_STEP_DEVICE,
    ZNP_STEP_NIB,
    ZNP_STEP_NIB_READ,
    ZNP_STEP_ROLE,
    ZNP_STEP_STARTUP,
    ZNP_STEP_AWAIT,
    ZNP_STEP_FORM_ERASE,
    ZNP_STEP_FORM_RESET,
    ZNP_STEP_FORM_WRITE,
    ZNP_STEP_FORM_INIT,
    ZNP_STEP_FORM_RESET_12,
    ZNP_STEP_FORM_PRIMARY,
    ZNP_STEP_FORM_SECONDARY,
    ZNP_STEP_FORM_BDB,
    ZNP_STEP_NETWORK,
    ZNP_STEP_KEY,
    ZNP_STEP_FORM_MARK,
    ZNP_STEP_REGISTER,
    ZNP_STEP_UNREGISTER,
    ZNP_STEP_RESET,
    ZNP_STEP_CALLBACK,
    ZNP_STEPS,
};

/* An address whose owner we are asking for. */
struct znp_who {
    uint16_t short_address;
    uint8_t asked;
    int64_t at_ms; /* ask again, or give up; 0: free */
};

/* A long packet that the stick keeps until it is fetched in parts. */
struct znp_fetch {
    bool on;
    struct znp_incoming head;
    uint16_t got;
    uint8_t data[1500];
};

struct znp {
    struct stick s;
    struct znp_framer in;
    int64_t partial_ms; /* a partial frame has waited since; TIME_NEVER: there is none */
    int64_t heard_ms;   /* the last frame */

    struct znp_request requests[ZNP_REQUESTS];
    unsigned first, count;
    uint8_t packets[256]; /* ids that wait for their turn */
    uint8_t packet_first;
    unsigned packet_count;
    bool packet_waits[256];
    struct znp_request current;
    int64_t current_end_ms;
    unsigned pings; /* sent without an answer, while `ping` */
    bool ping;      /* nothing goes but a ping */
    bool idle;      /* the ping is for a long silence */

    enum znp_step step;
    unsigned tries;       /* of this step */
    int64_t step_ms;      /* ask now; TIME_NEVER */
    int64_t phase_end_ms; /* of waiting for the network, or for the stick's reset */
    unsigned hello;       /* pings and measures so far */
    unsigned resets;      /* by itself during this start */
    bool heard_octets, heard_echo, nv_old, unregistered, reset_done, forming;
    unsigned item; /* of the NV items of forming */
    uint16_t form_pan;
    uint8_t form_key[STICK_KEY_BYTES];
    enum znp_generation generation;
    struct znp_version version;
    struct znp_device device;
    struct znp_network network;

    struct znp_who who[STICK_HELD];
    struct znp_fetch fetch;
    int64_t seek_ms;           /* not before: a search for an address occupies every router */
    int64_t resume_ms;         /* paused until */
    int64_t join_ms;           /* permit joining again */
    int64_t join_end_ms;       /* and so long in all; TIME_NEVER: for ever */
    unsigned refused_in_a_row; /* by the stick itself */
    int64_t refused_ms;        /* restarted because of that; not again soon */
};

static inline struct znp *znp_of(struct stick *s)
{
    return (struct znp *)s;
}

/* ---- znp.c ------------------------------------------------------------------------------------- */

/* Queues a request; false when there are too many already. */
bool znp_ask(struct znp *z, int64_t now_ms, enum znp_asker by, uint32_t arg, uint16_t cmd,
             struct bytes data);

/* The same for a packet, which is encoded when its turn comes. */
void znp_ask_packet(struct znp *z, int64_t now_ms, uint8_t id);

/* Writes something that has no answer. */
void znp_tell(struct znp *z, uint16_t cmd, struct bytes data);

/* The stick has lost what we told it: from the beginning, after a moment. */
void znp_restart(struct znp *z, int64_t now_ms, const char *why);

/* ---- znp_start.c, znp_form.c ------------------------------------------------------------------- */

void znp_start(struct znp *z, int64_t now_ms, int64_t delay_ms);
void znp_start_reply(struct znp *z, int64_t now_ms, const struct znp_reply *reply);
void znp_start_due(struct znp *z, int64_t now_ms);
void znp_start_reset(struct znp *z, int64_t now_ms); /* the stick says that it has reset itself */
void znp_start_state(struct znp *z, int64_t now_ms, uint8_t state);
void znp_start_bdb(struct znp *z, int64_t now_ms, uint8_t status);

/* The next step, and its question after a moment. */
void znp_goto(struct znp *z, int64_t now_ms, enum znp_step step, int64_t delay_ms);
void znp_give_up(struct znp *z, int64_t now_ms, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void znp_step_ask(struct znp *z, int64_t now_ms, uint16_t cmd, struct bytes data);
void znp_step_nv_read(struct znp *z, int64_t now_ms, uint16_t id);

/* To one of the steps whose question is znp_ask_reset(): resets the stick and waits until it says
 * that it has. */
void znp_goto_reset(struct znp *z, int64_t now_ms, enum znp_step step);
void znp_ask_reset(struct znp *z, int64_t now_ms);

/* Waits for state 9. */
void znp_await_network(struct znp *z, int64_t now_ms, int64_t ms);

struct znp_step_row {
    const char *doing;
    void (*ask)(struct znp *z, int64_t now_ms);
    void (*heard)(struct znp *z, int64_t now_ms, const struct znp_reply *reply);
};

/* The rows of ZNP_STEP_FORM_*; NULL for others. */
const struct znp_step_row *znp_form_row(enum znp_step step);

/* ---- znp_data.c -------------------------------------------------------------------------------- */

void znp_data_reset(struct znp *z);

/* Appends the request for this packet. */
void znp_packet_encode(struct znp *z, const struct stick_send *send, struct znp_request *request,
                       struct writer *w);
void znp_packet_reply(struct znp *z, int64_t now_ms, const struct znp_reply *reply);
void znp_lookup_reply(struct znp *z, int64_t now_ms, const struct znp_reply *reply);
void znp_fetch_reply(struct znp *z, int64_t now_ms, const struct znp_reply *reply);

/* An indication about packets or addresses; false when it is none of these. */
bool znp_data_heard(struct znp *z, int64_t now_ms, const struct znp_frame *frame);

void znp_data_due(struct znp *z, int64_t now_ms);
int64_t znp_data_deadline(const struct znp *z);
void znp_permit_join(struct stick *s, int64_t now_ms, unsigned seconds);

#endif
