/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the engine, whatever it is told. The judge sees every datagram that goes in and
 * every packet that comes out, in the order in which they happened even when packets are taken
 * late, and follows each session's requests from outside.
 */
#ifndef SENNET_TESTS_FUZZ_ENGINE_JUDGE_H
#define SENNET_TESTS_FUZZ_ENGINE_JUDGE_H

#include "mqttsn/engine_priv.h"

enum { JUDGE_PEERS = 16, JUDGE_SESSIONS = 96, JUDGE_NOTES = 64, ASKED_MAX = 8 };

/* What a node heard from the gateway, for who plays it. */
struct judged_peer {
    struct peer_room room;
    uint64_t session;     /* key of the session at this address, as far as packets tell */
    enum sn_type request; /* latest that wants an answer: REGISTER, PUBLISH, PUBREL, WILL...REQ */
    uint16_t request_id;  /* its msg id */
    uint16_t request_topic;
    uint8_t request_qos;
    uint16_t topic_id; /* latest that it was told */
    int64_t owed_ms;   /* a stranger: from when on it may be answered without debt */
};

struct judged_session {
    uint64_t key;
    bool has_open; /* a request of the gateway is under way */
    enum sn_type open;
    uint16_t open_id;
    unsigned sendings; /* of it, since the node was last heard */
    uint16_t last_msg_id;
    uint16_t register_id;
    uint16_t publish_id; /* of the latest PUBLISH of QoS 1, 2 */
    uint8_t publish_qos;
    bool publish_open;
    uint16_t pubrel_id; /* PUBREC has come, PUBCOMP not yet */
    uint16_t pubrec_id; /* of the PUBREC that came last, if nothing came since; 0 = none */
    uint16_t asked
        [ASKED_MAX]; /* msg ids of SUBSCRIBE and UNSUBSCRIBE heard in this connection, latest */
    unsigned n_asked;
    bool taken_back; /* the node may have taken back the topic id of an open PUBLISH */
    bool regacked;
    bool uncertain; /* something was dropped: it may have been what was under way */

    enum { NODE_LISTENS, NODE_ASLEEP, NODE_AWAKE } sleep;
};

/* Something that went in, kept until the packets before it have been taken. */
struct judge_note {
    uint64_t seq; /* packets that had come out before */

    enum { NOTE_HEARD, NOTE_DROPPED } what;

    unsigned peer;
    struct sn_packet packet; /* views not kept */
    enum sn_state state;     /* of the session that it concerns, before */
    uint64_t session;        /* at the address afterwards, else before; 0 = none */
    enum sn_state after;     /* of that session */
};

struct judge {
    struct sn_engine *engine;
    bool trace;
    uint64_t taken; /* packets */
    uint64_t drops;
    struct judged_peer peers[JUDGE_PEERS];
    unsigned n_peers;
    struct judged_session sessions[JUDGE_SESSIONS];
    unsigned n_sessions;
    struct judge_note notes[JUDGE_NOTES];
    unsigned first_note, n_notes;
};

void judge_init(struct judge *j, struct sn_engine *e);

/* Index of the peer, added when new; -1 when there is no room. */
int judge_peer(struct judge *j, const struct peer *p);

/* False when packets must be taken first. */
bool judge_ready(const struct judge *j);

/* Hands the datagram over and judges what came of it. `from` is the peer on the link. */
void judge_input(struct judge *j, int64_t now_ms, const struct peer *from, struct bytes datagram,
                 bool to_group);

/* To be called after every other entry of the engine. */
void judge_after(struct judge *j, uint64_t packets_before);

/* Packets that have come out of the engine so far. */
uint64_t judge_packets_out(const struct judge *j);

/* A packet that is being taken. */
void judge_packet(struct judge *j, const struct sn_outgoing *out);

/* The engine's inner order. O(everything). */
void judge_order(struct judge *j);

#endif
