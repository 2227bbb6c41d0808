/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every request that a client may repeat is answered again, and nothing else comes of it. First the
 * dialogue of CONNECT, whose repetitions cross each other: each step against each message. Then
 * every other request in every connected state, once when it has been answered and the answer was
 * lost, once while the broker side is still asked.
 */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "sim/stage.h"
#include "unit/suite.h"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        .data = (const uint8_t *)(literal), .len = sizeof(literal) - 1                             \
    }

static const struct sn_packet will_topic = {
    .type = SN_WILLTOPIC, .qos = SN_QOS_1, .topic = TEXT("stat")};
static const struct sn_packet will_msg = {.type = SN_WILLMSG, .data = TEXT("off")};

/* ---- the dialogue: what the gateway waits for, and what it hears (again) ------------------------ */

enum step {
    FOR_WILLTOPIC,
    FOR_WILLMSG,
    FOR_BROKER,
    JUST_CONNECTED,
    CONNECTED, /* for longer than a copy of the air may take, and silent since */
    BUSY,      /* likewise, and has said something since */
    STEPS
};

struct dialogue_row {
    const char *name;
    const char *connect;
    const char *will_topic;
    const char *will_msg;
};

static const struct dialogue_row dialogue[STEPS] = {
    [FOR_WILLTOPIC] = {"waiting for WILLTOPIC",       "WILLTOPICREQ",               "WILLMSGREQ", ""       },
    [FOR_WILLMSG] = {"waiting for WILLMSG",         "WILLTOPICREQ",               "WILLMSGREQ", "| OPEN" },
    [FOR_BROKER] = {"waiting for the broker side", "",                           "",           ""       },
    [JUST_CONNECTED] = {"just connected",              "CONNACK",                    "WILLMSGREQ", "CONNACK"},
    [CONNECTED] = {"connected",                   "WILLTOPICREQ => connecting", "WILLMSGREQ", "CONNACK"},
    [BUSY] = {"connected and talking",       "WILLTOPICREQ => connecting", "",           ""       },
};

/* Takes the next OPEN and checks the will in it; its token, or -1 when there is none. */
static int64_t take_open(struct stage *s)
{
    int64_t token = -1;
    for (struct sim_ask *a = sim_take_ask(&s->w); a != NULL; a = sim_take_ask(&s->w)) {
        if (a->type == ASK_OPEN) {
            ck_assert_int_eq(token, -1);
            ck_assert(bytes_equal(body_bytes(a->topic), will_topic.topic));
            ck_assert(bytes_equal(body_bytes(a->data), will_msg.data));
            ck_assert_uint_eq(a->qos, 1);
            s->key = a->client;
            token = (int64_t)a->token;
        }
        sim_ask_free(a);
    }
    return token;
}

static struct sn_client *session(struct stage *s)
{
    struct sn_client *c = sn_client_by_id(s->w.engine, bytes_str("dev1"));
    ck_assert_ptr_nonnull(c);
    return c;
}

/* Says what is awaited until the node is connected. */
static void finish(struct stage *s)
{
    for (int i = 0; i < 4 && session(s)->state == SN_ST_CONNECTING; i++) {
        switch (session(s)->connecting->step) {
        case SN_STEP_WILLTOPIC:
            stage_say(s, &will_topic);
            break;
        case SN_STEP_WILLMSG:
            stage_say(s, &will_msg);
            break;
        case SN_STEP_BROKER:
            take_open(s);
            stage_accept(s, session(s)->connecting->token);
            break;
        }
    }
    ck_assert_int_eq(session(s)->state, SN_ST_ACTIVE);
}

/* Brings a dialogue to that step. */
static void go_to_step(struct stage *s, enum step step)
{
    stage_begin(s, STAGE_DIALOGUE);
    if (step == FOR_WILLTOPIC)
        return;
    stage_say(s, &will_topic);
    if (step == FOR_WILLMSG) {
        stage_forget_outputs(s);
        return;
    }
    stage_say(s, &will_msg);
    const int64_t token = take_open(s);
    ck_assert_int_ge(token, 0);
    if (step == FOR_BROKER) {
        stage_forget_outputs(s);
        return;
    }
    stage_accept(s, (uint64_t)token);
    if (step != JUST_CONNECTED)
        ck_assert(sim_advance(&s->w, s->w.now_ms + SN_COPIES_MS + 1));
    if (step == BUSY)
        stage_say(s, &(struct sn_packet){.type = SN_PINGREQ});
    stage_forget_outputs(s);
}

static void hear_again(enum step step, const struct sn_packet *p, const char *expected)
{
    struct stage s;
    go_to_step(&s, step);
    const char *before = stage_state_name(&s);
    char got[128];
    stage_say(&s, p);
    /* An OPEN is looked at, and then counts as asked. */
    const bool opens = strcmp(expected, "| OPEN") == 0;
    ck_assert_int_eq(opens, opens && take_open(&s) >= 0);
    stage_describe(&s, before, got, sizeof got);
    ck_assert_msg(strcmp(got, opens ? "" : expected) == 0, "%s, %s: \"%s\", expected \"%s\"",
                  dialogue[step].name, sn_type_name(p->type), got, expected);
    finish(&s);
    /* One session, with the will as it was last said. */
    ck_assert_uint_eq(sn_engine_gauges(s.w.engine).connected, 1);
    ck_assert(bytes_equal(sn_name_bytes(session(&s)->will->topic), will_topic.topic));
    ck_assert(bytes_equal(body_bytes(session(&s)->will->body), will_msg.data));
    stage_end(&s);
}

START_TEST(each_message_of_the_dialogue_at_each_step)
{
    const struct dialogue_row *row = &dialogue[_i];
    const struct sn_packet connect = stage_connect(true);
    hear_again((enum step)_i, &connect, row->connect);
    hear_again((enum step)_i, &will_topic, row->will_topic);
    hear_again((enum step)_i, &will_msg, row->will_msg);
}

END_TEST

/* ---- all other requests ----------------------------------------------------------------------- */

struct request {
    struct sn_packet p;
    struct sn_packet before; /* is said first, if it has a type beyond ADVERTISE */
    bool has_dup;            /* its repetition says so */
    bool asks;               /* the broker side, before it is answered */
    const char *again;       /* what the broker side is asked at the repetition */
};

/* clang-format off */
static const struct request requests[] = {
    {.p = {.type = SN_REGISTER, .msg_id = 9, .topic = TEXT("a/b")}, .again = ""},
    {.p = {.type = SN_REGISTER, .msg_id = 9, .topic = TEXT("a/#")}, .again = ""},
    {.p = {.type = SN_SUBSCRIBE, .qos = SN_QOS_1, .msg_id = 9, .topic = TEXT("a/b")},
     .has_dup = true, .asks = true, .again = ""},
    {.p = {.type = SN_SUBSCRIBE, .qos = SN_QOS_1, .msg_id = 9, .topic = TEXT("a/#")},
     .has_dup = true, .asks = true, .again = ""},
    {.p = {.type = SN_SUBSCRIBE, .msg_id = 9, .topic_kind = SN_TOPIC_PREDEFINED, .topic_id = 5},
     .has_dup = true, .asks = true, .again = ""},
    {.p = {.type = SN_SUBSCRIBE, .msg_id = 9, .topic_kind = SN_TOPIC_SHORT, .topic_id = 0x6162},
     .has_dup = true, .asks = true, .again = ""},
    {.p = {.type = SN_SUBSCRIBE, .msg_id = 9, .topic_kind = SN_TOPIC_PREDEFINED, .topic_id = 77},
     .has_dup = true, .again = ""},
    {.p = {.type = SN_UNSUBSCRIBE, .msg_id = 9, .topic = TEXT("a/b")},
     .asks = true, .again = "UNSUBSCRIBE"},
    {.p = {.type = SN_PUBLISH, .qos = SN_QOS_1, .topic_id = 6, .msg_id = 9, .data = TEXT("1")},
     .has_dup = true, .asks = true, .again = ""},
    {.p = {.type = SN_PUBLISH, .qos = SN_QOS_2, .topic_id = 6, .msg_id = 9, .data = TEXT("1")},
     .has_dup = true, .asks = true, .again = ""},
    {.p = {.type = SN_PUBLISH, .qos = SN_QOS_1, .topic_id = 99, .msg_id = 9, .data = TEXT("1")},
     .has_dup = true, .again = ""},
    {.p = {.type = SN_PUBREL, .msg_id = 9}, .again = ""},
    {.p = {.type = SN_WILLTOPICUPD, .topic = TEXT("stat")}, .again = "SET_WILL"},
    {.p = {.type = SN_WILLTOPICUPD}, .again = "SET_WILL"},
    {.p = {.type = SN_WILLMSGUPD, .data = TEXT("off")}, .again = ""},
    {.p = {.type = SN_WILLMSGUPD, .data = TEXT("off")},
     .before = {.type = SN_WILLTOPICUPD, .topic = TEXT("stat")}, .again = "SET_WILL"},
    {.p = {.type = SN_PINGREQ}, .again = ""},
    {.p = {.type = SN_PINGREQ, .client_id = TEXT("dev1")}, .again = ""},
    {.p = {.type = SN_DISCONNECT, .has_duration = true, .duration_s = 60}, .again = ""},
    {.p = {.type = SN_DISCONNECT}, .again = ""},
    {.p = {.type = SN_CONNECT, .protocol_id = 1, .duration_s = 60, .client_id = TEXT("dev1")},
     .again = ""},
};

/* clang-format on */

enum { N_REQUESTS = sizeof requests / sizeof requests[0] };

static const enum stage_state connected_states[] = {STAGE_ACTIVE, STAGE_ASLEEP, STAGE_AWAKE};

/* The broker side says yes to all that it has been asked; `out` gets the names of it. */
static void answer_all(struct stage *s, char *out, size_t size)
{
    static const enum sn_event_type answers[ASK_TYPES] = {
        [ASK_OPEN] = SN_EV_OPENED,
        [ASK_PUBLISH] = SN_EV_PUBLISHED,
        [ASK_SUBSCRIBE] = SN_EV_SUBSCRIBED,
        [ASK_UNSUBSCRIBE] = SN_EV_UNSUBSCRIBED,
    };

    out[0] = '\0';
    for (struct sim_ask *a = sim_take_ask(&s->w); a != NULL; a = sim_take_ask(&s->w)) {
        stage_append(out, size, stage_ask_names[a->type]);
        struct sn_event event = {
            .type = answers[a->type], .client = a->client, .token = (uint16_t)a->token};
        if (a->type == ASK_PUBLISH)
            event.published.qos = a->qos;
        if (a->type == ASK_SUBSCRIBE)
            event.subscribed.granted = a->qos;
        if (event.type != SN_EV_UPSTREAM) /* SET_WILL, DELIVERED and CLOSE have no answer */
            sim_event(&s->w, &event);
        sim_ask_free(a);
    }
}

struct reply {
    size_t packets;
    uint8_t first[64];
    size_t len;
};

static struct reply take_reply(struct stage *s)
{
    struct reply r = {0};
    for (struct sim_packet *p = sim_take_packet(&s->w); p != NULL; p = sim_take_packet(&s->w)) {
        const struct bytes octets = body_bytes(p->bytes);
        if (r.packets++ == 0) {
            ck_assert_uint_le(octets.len, sizeof r.first);
            memcpy(r.first, octets.data, octets.len);
            r.len = octets.len;
        }
        sim_packet_free(p);
    }
    return r;
}

static void begin(struct stage *s, const struct request *q, enum stage_state state)
{
    char asked[64];
    stage_begin(s, state);
    if (q->before.type == SN_ADVERTISE)
        return;
    stage_say(s, &q->before);
    answer_all(s, asked, sizeof asked);
    take_reply(s);
}

static void repeat_answered(const struct request *q, enum stage_state state)
{
    struct stage s;
    char asked[64];
    char text[160];
    begin(&s, q, state);
    stage_say(&s, &q->p);
    answer_all(&s, asked, sizeof asked);
    const struct reply first = take_reply(&s);
    ck_assert_uint_ge(first.packets, 1);
    const char *between = stage_state_name(&s);

    ck_assert(sim_advance(&s.w, s.w.now_ms + 1000));
    struct sn_packet repetition = q->p;
    repetition.dup = q->has_dup;
    stage_say(&s, &repetition);
    answer_all(&s, asked, sizeof asked);
    const struct reply again = take_reply(&s);
    sn_print(&q->p, text, sizeof text);
    ck_assert_msg(again.packets == 1 && again.len == first.len &&
                      memcmp(again.first, first.first, first.len) == 0,
                  "%s, %s: not answered like the first time", stage_state_names[state], text);
    ck_assert_msg(strcmp(asked, q->again) == 0, "%s, %s: the broker side is asked \"%s\" again",
                  stage_state_names[state], text, asked);
    ck_assert_str_eq(stage_state_name(&s), between);
    stage_end(&s);
}

START_TEST(what_was_answered_is_answered_alike)
{
    for (size_t i = 0; i < sizeof connected_states / sizeof connected_states[0]; i++)
        repeat_answered(&requests[_i], connected_states[i]);
}

END_TEST

/* In between, the broker side has not answered: the repetition is swallowed, the answer comes once. */
static void repeat_open(const struct request *q, enum stage_state state)
{
    struct stage s;
    char asked[64];
    begin(&s, q, state);
    stage_say(&s, &q->p);
    struct sn_packet repetition = q->p;
    repetition.dup = q->has_dup;
    stage_say(&s, &repetition);
    ck_assert_uint_eq(take_reply(&s).packets, 0);
    answer_all(&s, asked, sizeof asked);
    ck_assert_ptr_null(strchr(asked, ' ')); /* one request */
    const struct reply answer = take_reply(&s);
    ck_assert_uint_eq(answer.packets, 1);
    stage_end(&s);
}

START_TEST(what_is_still_open_is_answered_once)
{
    if (!requests[_i].asks)
        return;
    for (size_t i = 0; i < sizeof connected_states / sizeof connected_states[0]; i++)
        repeat_open(&requests[_i], connected_states[i]);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("repeats");
    TCase *tc = tcase_create("repeats");
    tcase_add_loop_test(tc, each_message_of_the_dialogue_at_each_step, 0, STEPS);
    tcase_add_loop_test(tc, what_was_answered_is_answered_alike, 0, N_REQUESTS);
    tcase_add_loop_test(tc, what_is_still_open_is_answered_once, 0, N_REQUESTS);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
