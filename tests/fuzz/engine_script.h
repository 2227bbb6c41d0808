/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The language of fuzz_engine's inputs: CONFIG_OCTETS octets choose the world and its limits, then
 * actions follow. The first octet of an action is peer << 5 | action; octets that are missing at
 * the end read as zero. Committed inputs depend on these numbers: add, never renumber.
 */
#ifndef SENNET_TESTS_FUZZ_ENGINE_SCRIPT_H
#define SENNET_TESTS_FUZZ_ENGINE_SCRIPT_H

enum { CONFIG_OCTETS = 6, ACTION_BITS = 5 };

/* Octet 0. */
enum {
    WORLD_SHARED = 0x01,      /* the shared session stands behind the engine, else a script */
    WORLD_RETRY_COUNT = 0x06, /* two bits */
    WORLD_TRACE = 0x08,
    WORLD_OBLIGING = 0x10, /* the broker side answers everything at once */
    WORLD_TINY_MEMORY = 0x20,
    WORLD_GROUPS = 0x40, /* the links' groups are joined, ADVERTISE */
    WORLD_DOWN = 0x80,   /* starts without broker */
};

/* Octet 1: max_clients less 1 (bits 0-2), max_topics less 1 (3-5), T_retry (6-7).
 * Octet 2: max_queue less 1 (0-2), queue bytes (3-4), max_inflight less 1 (5-6), qos 0 sleepers (7).
 * Octet 3: overflow policy (0-1), packet limit of the links (2-3), max_subscriptions (4-5),
 *          rebind (6), undrained outputs when it ends (7).
 * Octet 4: memory: 4096 + 64 times it, with WORLD_TINY_MEMORY.
 * Octet 5: */
enum { WORLD_NO_STORE = 0x01, WORLD_LIVE = 0x02 /* QoS 2 is not spooled */ };

enum action {
    /* What the peer says. */
    ACT_CONNECT,     /* flags: 1 will, 2 clean, 4 bad ProtocolId; duration; client id */
    ACT_WILLTOPIC,   /* flags octet of the wire; topic */
    ACT_WILLMSG,     /* data */
    ACT_REGISTER,    /* topic; msg id */
    ACT_PUBLISH,     /* flags octet of the wire; topic id; msg id; data */
    ACT_SUBSCRIBE,   /* flags octet of the wire; msg id; topic or topic id */
    ACT_UNSUBSCRIBE, /* the same */
    ACT_PINGREQ,     /* client id */
    ACT_DISCONNECT,  /* duration, 0xFF = without */
    ACT_ACK,         /* type; topic id; msg id; return code */
    ACT_ANSWER,      /* return code: what a good node answers to the gateway's latest request */
    ACT_WILLTOPICUPD,
    ACT_WILLMSGUPD,
    ACT_PACKET, /* type, and every field: flags, topic id, msg id, duration, code, topic */
    ACT_RAW,    /* count, octets */
    ACT_AGAIN,  /* its latest datagram again: position, XOR, octets cut off */

    ACT_TIME,         /* low nibble: how long; 0x10: without telling the engine */
    ACT_UPSTREAM,     /* 0 gone, 1 back, 2 back with its session */
    ACT_BROKER,       /* which open request; outcome */
    ACT_BOGUS,        /* kind, outcome; token: an answer to what nobody asked */
    ACT_MESSAGE,      /* topic; flags: QoS 3, retain 0x10, expiry 0xC0; data; recipients */
    ACT_CLOSED,       /* which client the broker side ends */
    ACT_DRAIN,        /* how outputs are taken from here on: enum drain; count of packets now */
    ACT_GROUP,        /* link and state of its group */
    ACT_SAY_TO_GROUP, /* type, gateway id, radius, duration */
    ACT_IDLE,         /* nothing; keeps the numbers that the corpus has for the others */
    ACT_SETTLE,       /* the broker side answers everything that is open, in order */
    ACT_LOG,          /* level */
};

enum drain { DRAIN_ALL, DRAIN_REQUESTS, DRAIN_PACKETS, DRAIN_NOTHING };

/* Values of operands with a meaning of their own; all others stand for themselves. */
enum {
    MSG_ID_LATEST = 0xF0,   /* of the gateway's latest request to the peer */
    MSG_ID_WIDE = 0xFF,     /* two octets follow */
    TOPIC_ID_LATEST = 0xF0, /* latest id that the gateway told the peer */
    TOPIC_ID_SHORT = 0xE0,  /* E0..E7: short names */
    TOPIC_ID_WIDE = 0xFF,
    TEXT_INLINE = 0x80, /* | count: octets follow */
    ID_NONE = 0x7F,
    NO_DURATION = 0xFF,
    TIME_LAZY = 0x10,
};

/* Time steps. */
enum {
    STEP_0,
    STEP_1MS,
    STEP_100MS,
    STEP_1S,
    STEP_RETRY,
    STEP_ROUND, /* all of N_retry */
    STEP_10S,
    STEP_90S,
    STEP_1H,
    STEP_30H,
    STEP_30D,
    STEP_DEADLINE,
    STEP_BEFORE_DEADLINE,
    STEP_2S,
    STEP_5S,
    STEP_30S,
};

/* Client ids and topics by number: fuzz_engine.c. */
enum {
    ID_A,
    ID_B,
    ID_C,
    ID_NO_REGACK, /* "r1", regack = no */
    ID_NO_DUP,    /* "u1", dup = no */
    ID_QOS_0,     /* "q1", max_qos = 0 */
    ID_REFUSED,   /* "x1", allow = no */
    ID_SLEEPER,   /* "s1", has predefined topics of its own */
    ID_LONG,
    ID_EMPTY,
    ID_BAD_UTF8,
    ID_TOO_LONG,
};

enum {
    T_A,
    T_A_B,
    T_A_B_C,
    T_XY,
    T_PRE,
    T_A_PLUS,
    T_A_HASH,
    T_HASH,
    T_PLUS,
    T_SYS,
    T_EMPTY,
    T_BAD,
    T_LONG,
    T_SHARE,
    T_EMPTY_LEVEL,
    T_OTHER,
    T_OTHER2,
    T_OTHER3,
    T_PLUS_B_HASH,
};

#endif
