/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/stage.h"

#include <stdio.h>
#include <string.h>

#include <check.h>

const char *const stage_state_names[STAGE_STATES] = {"unknown",    "stored", "lost",   "dialogue",
                                                     "connecting", "active", "asleep", "awake"};

/* ---- getting there ---------------------------------------------------------------------------*/

void stage_say(struct stage *s, const struct sn_packet *p)
{
    uint8_t buf[256];
    const size_t len = sn_encode(p, buf, sizeof buf);
    ck_assert_uint_gt(len, 0);
    sim_input(&s->w, peer_in(&s->node), bytes_of(buf, len));
}

void stage_forget_outputs(struct stage *s)
{
    for (struct sim_packet *p = sim_take_packet(&s->w); p != NULL; p = sim_take_packet(&s->w))
        sim_packet_free(p);
    for (struct sim_ask *a = sim_take_ask(&s->w); a != NULL; a = sim_take_ask(&s->w)) {
        if (a->type == ASK_OPEN)
            s->key = a->client;
        sim_ask_free(a);
    }
}

struct sn_packet stage_connect(bool will)
{
    return (struct sn_packet){.type = SN_CONNECT,
                              .protocol_id = 1,
                              .duration_s = 60,
                              .will = will,
                              .client_id = bytes_str("dev1")};
}

void stage_accept(struct stage *s, uint64_t token)
{
    sim_event(&s->w, &(struct sn_event){.type = SN_EV_OPENED,
                                        .client = s->key,
                                        .token = (uint16_t)token,
                                        .outcome = SN_OK});
}

/* One message for the node. */
static void deliver(struct stage *s)
{
    const struct sn_recipient to = {.client = s->key, .delivery_id = 1, .qos = 1};
    struct sn_event event = {
        .type = SN_EV_MESSAGE, .message = {.recipients = &to, .n_recipients = 1}
    };
    event.message.topic = bytes_str("reg");
    sim_event(&s->w, &event);
}

static void go_to(struct stage *s, enum stage_state state)
{
    sim_event(&s->w, &(struct sn_event){.type = SN_EV_UPSTREAM, .upstream = {.up = true}});
    if (state == STAGE_UNKNOWN)
        return;
    const struct sn_packet connect = stage_connect(state == STAGE_DIALOGUE);
    stage_say(s, &connect);
    stage_forget_outputs(s);
    if (state == STAGE_DIALOGUE || state == STAGE_CONNECTING)
        return;
    stage_accept(s, 0);
    stage_forget_outputs(s);
    /* The same CONNECT is no copy made by the air any more. */
    ck_assert(sim_advance(&s->w, s->w.now_ms + SN_COPIES_MS + 1));
    stage_say(s, &(struct sn_packet){.type = SN_REGISTER, .msg_id = 1, .topic = bytes_str("reg")});
    if (state == STAGE_LOST)
        ck_assert(sim_advance(&s->w, s->w.now_ms + 90000));
    if (state == STAGE_STORED)
        stage_say(s, &(struct sn_packet){.type = SN_DISCONNECT});
    if (state == STAGE_ASLEEP || state == STAGE_AWAKE)
        stage_say(
            s, &(struct sn_packet){.type = SN_DISCONNECT, .has_duration = true, .duration_s = 60});
    if (state == STAGE_AWAKE) {
        deliver(s);
        stage_say(s, &(struct sn_packet){.type = SN_PINGREQ});
    }
    stage_forget_outputs(s);
}

const char *stage_state_name(struct stage *s)
{
    const struct sn_client *c = sn_client_by_id(s->w.engine, bytes_str("dev1"));
    return c != NULL ? sn_state_names[c->state] : "none";
}

/* ---- what came of it -------------------------------------------------------------------------*/

const char *const stage_ask_names[ASK_TYPES] = {
    [ASK_OPEN] = "OPEN",           [ASK_PUBLISH] = "PUBLISH",
    [ASK_SUBSCRIBE] = "SUBSCRIBE", [ASK_UNSUBSCRIBE] = "UNSUBSCRIBE",
    [ASK_SET_WILL] = "SET_WILL",   [ASK_DELIVERED] = "DELIVERED",
    [ASK_CLOSE] = "CLOSE",
};

void stage_append(char *out, size_t size, const char *word)
{
    const size_t len = strlen(out);
    snprintf(out + len, size - len, "%s%s", len > 0 ? " " : "", word);
}

/* What the outputs come to, as a cell. */
void stage_describe(struct stage *s, const char *state_before, char *out, size_t size)
{
    out[0] = '\0';
    for (struct sim_packet *p = sim_take_packet(&s->w); p != NULL; p = sim_take_packet(&s->w)) {
        struct sn_packet decoded;
        ck_assert_int_eq(sn_decode(body_bytes(p->bytes), &decoded), SN_DECODED);
        ck_assert(peer_equal(p->to, peer_in(&s->node)));
        stage_append(out, size, sn_type_name(decoded.type));
        sim_packet_free(p);
    }
    if (!list_empty(&s->w.asks))
        stage_append(out, size, "|");
    for (struct sim_ask *a = sim_take_ask(&s->w); a != NULL; a = sim_take_ask(&s->w)) {
        stage_append(out, size, stage_ask_names[a->type]);
        sim_ask_free(a);
    }
    if (strcmp(stage_state_name(s), state_before) != 0) {
        stage_append(out, size, "=>");
        stage_append(out, size, stage_state_name(s));
    }
}

/* ---- life cycle ------------------------------------------------------------------------------*/

void stage_begin(struct stage *s, enum stage_state state)
{
    static const struct sn_predefined predefined = {.topic_id = 5, .topic = "pre/five"};
    static const struct sn_topics_section section = {.entries = &predefined, .n_entries = 1};

    struct sn_engine_config config = sn_engine_defaults();
    config.topics = &section;
    config.n_topics = 1;
    *s = (struct stage){0};
    const uint8_t address[6] = {192, 0, 2, 1, 7, 0x5C};
    peer_make(&s->node, 0, PEER_IP4, bytes_of(address, sizeof address));
    sim_init(&s->w, &config, NULL, 1000);
    go_to(s, state);
}

void stage_end(struct stage *s)
{
    sim_deinit(&s->w);
}
