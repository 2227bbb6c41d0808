/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the EZSP driver: ezsp.c (the line, commands, callbacks), ezsp_start.c,
 * ezsp_send.c (packets out, names and addresses), ezsp_join.c. */
#ifndef SENNET_RADIO_STICK_EZSP_PRIV_H
#define SENNET_RADIO_STICK_EZSP_PRIV_H

#include "radio/stick/ash.h"
#include "radio/stick/ezsp_frame.h"

enum {
    EZSP_COMMAND_MS = 14400, /* for a response, ASH's repetitions included */
    EZSP_UP_MS = 10000,      /* for the network after networkInit or formNetwork */
    EZSP_BACK_MS = 10000,    /* for a network that went down by itself, before the stick is reset */
    EZSP_CONFIRM_MS = 15000, /* for messageSent */
    EZSP_NOP_MS = 30000,     /* of silence, then: are you there? */
    EZSP_RESTARTS = 5,       /* in a row without packets passing, then the port is opened anew */
    EZSP_SLOTS = 8,          /* at most */
    EZSP_PAYLOAD = 82,       /* where the stick does not tell */
    EZSP_NAMES_HOLD = 8,     /* senders to look up at once before the stick is asked to wait */
    EZSP_QUESTS = 4,
    EZSP_QUEST_MS = 3000,
    EZSP_QUEST_GAP_MS = 1000, /* each is a broadcast */
    EZSP_JOIN_ROUND_S = 254,  /* longest that one permitJoining opens for; 255 would be for ever */
    EZSP_JOIN_AGAIN_MS = 240000, /* before that and the key's life of 300 s are over */
    EZSP_OVERFLOW_LOG_MS = 60000,
};

enum ezsp_phase {
    EZSP_OFF,
    EZSP_LINKING,   /* ASH connects */
    EZSP_GREETING,  /* version, in version 4's header */
    EZSP_GREETING2, /* version, in its own header */
    EZSP_STEPS,     /* a table of commands, one after the other */
    EZSP_WAIT_UP,   /* for NETWORK_UP */
    EZSP_RUNNING,
    EZSP_WAIT_BACK, /* the network went down */
};

/* Who asked. */
enum ezsp_job {
    EZSP_JOB_NONE,
    EZSP_JOB_START,
    EZSP_JOB_SEND,       /* ref: send id */
    EZSP_JOB_FIND_SHORT, /* 60; ref: send id */
    EZSP_JOB_FIND_NAME,  /* 61; ref: 16-bit address */
    EZSP_JOB_ZDO,        /* a question on air, nobody waits for the response */
    EZSP_JOB_JOIN,
    EZSP_JOB_NOP,
};

struct ezsp_command {
    enum ezsp_job job;
    uint16_t id;
    uint16_t ref;
    uint8_t seq;
    int64_t until_ms;
};

/* A sender that only its 16-bit address is known of. */
enum ezsp_name_state {
    EZSP_NAME_FREE,
    EZSP_NAME_LOOKUP,  /* to be asked of the stick */
    EZSP_NAME_LOOKING, /* asked */
    EZSP_NAME_ASK,     /* to be asked of the node itself */
    EZSP_NAME_ASKED,
};

struct ezsp_name_wanted {
    enum ezsp_name_state state;
    uint16_t short_address;
    int64_t until_ms;
};

/* A packet that waits for its node to say its 16-bit address. */
struct ezsp_quest {
    uint8_t id; /* 0: free */
    uint64_t eui64;
    int64_t until_ms;
};

struct ezsp_step; /* ezsp_start.c */

enum ezsp_table { EZSP_TO_NETWORK, EZSP_TO_FORM, EZSP_TO_PACKETS };

struct ezsp {
    struct stick stick; /* first */
    struct ash ash;
    enum ezsp_phase phase;
    int64_t phase_until_ms;
    struct ezsp_command pending;
    uint8_t version;
    uint16_t stack_version;
    uint8_t seq, tsn;
    unsigned restarts;
    uint64_t heard_bytes; /* of this opening */
    uint8_t prompt;       /* octets of the boot loader's prompt that came */
    bool boot_loader;     /* it has shown that, and was told to go on */
    int64_t nop_at_ms;
    int64_t overflow_log_ms;
    uint64_t overflows;

    enum ezsp_table table; /* being worked through */
    const struct ezsp_step *step;
    bool step_asked;
    bool up_seen; /* NETWORK_UP came before the response that it belongs to */
    unsigned slots;
    uint32_t max_payload;
    uint64_t eui64;
    struct ezsp_network network;

    uint8_t queue[EZSP_SLOTS]; /* ids of sends that wait for a command, oldest first */
    size_t queued;
    struct ezsp_name_wanted names[STICK_HELD];
    bool has_sender; /* the callback in front of the next message named its sender */
    uint64_t sender;
    struct ezsp_quest quests[EZSP_QUESTS];
    int64_t next_quest_ms;

    int64_t join_until_ms; /* 0: closed */
    int64_t join_at_ms;    /* the next round, or closing */
    unsigned join_step;    /* of the round under way; past its end: none */
    bool join_open;
};

static inline struct ezsp *ezsp_of(struct stick *s)
{
    return (struct ezsp *)(void *)s;
}

/* ---- ezsp.c ------------------------------------------------------------------------------------ */

/* The start of a request with its header; `room` is of ASH_DATA_MAX octets. */
struct writer ezsp_request(const struct ezsp *e, uint8_t *room, uint16_t id);

/* Sends it; its response goes to `job`. Only while nothing is pending and ASH is ready; false when
 * the request did not fit. */
bool ezsp_command(struct ezsp *e, int64_t now_ms, const struct writer *request, enum ezsp_job job,
                  uint16_t id, uint16_t ref);

/* As long as commands can be sent, whoever has one to send. */
void ezsp_pump(struct ezsp *e, int64_t now_ms);

/* From the reset on, because of `text`. */
void ezsp_restart(struct ezsp *e, int64_t now_ms, const char *text);
void ezsp_give_up(struct ezsp *e, int64_t now_ms, const char *text);

/* The application port of the configuration. */
struct ezsp_aps ezsp_app(const struct ezsp *e);

/* ---- ezsp_start.c ------------------------------------------------------------------------------ */

void ezsp_start_greet(struct ezsp *e, int64_t now_ms);

/* The next command of the start; false when it waits for something else. */
bool ezsp_start_next(struct ezsp *e, int64_t now_ms);
void ezsp_start_response(struct ezsp *e, int64_t now_ms, uint16_t id, struct reader *r);
void ezsp_start_status(struct ezsp *e, int64_t now_ms, uint32_t status);
void ezsp_start_late(struct ezsp *e, int64_t now_ms);

/* ---- ezsp_send.c ------------------------------------------------------------------------------- */

void ezsp_send_clear(struct ezsp *e);
void ezsp_transmit(struct stick *s, int64_t now_ms, struct stick_send *send);
bool ezsp_send_next(struct ezsp *e, int64_t now_ms);
void ezsp_send_response(struct ezsp *e, int64_t now_ms, uint16_t id, uint16_t ref,
                        struct reader *r);
void ezsp_find_response(struct ezsp *e, int64_t now_ms, uint16_t id, uint16_t ref,
                        struct reader *r);
void ezsp_sent(struct ezsp *e, int64_t now_ms, const struct ezsp_sent *sent);
void ezsp_incoming(struct ezsp *e, int64_t now_ms, const struct ezsp_incoming *in);

/* The node has this address; packets that waited for it go on. */
void ezsp_learn(struct ezsp *e, int64_t now_ms, uint64_t eui64, uint16_t short_address);
bool ezsp_name_next(struct ezsp *e, int64_t now_ms);
void ezsp_name_response(struct ezsp *e, int64_t now_ms, uint16_t id, uint16_t ref,
                        struct reader *r);
void ezsp_names_advance(struct ezsp *e, int64_t now_ms);
int64_t ezsp_names_deadline(const struct ezsp *e);

/* ---- ezsp_join.c ------------------------------------------------------------------------------- */

void ezsp_join_clear(struct ezsp *e);
void ezsp_permit_join(struct stick *s, int64_t now_ms, unsigned seconds);
bool ezsp_join_next(struct ezsp *e, int64_t now_ms);
void ezsp_join_response(struct ezsp *e, uint16_t id, struct reader *r);
void ezsp_join_advance(struct ezsp *e, int64_t now_ms);

#endif
