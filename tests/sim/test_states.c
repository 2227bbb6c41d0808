/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every message in every state of a session: what the gateway says, what it asks of the broker
 * side, and the state afterwards. The rows are the table of section 3.17 of our protocol notes.
 *
 * A cell is "REPLIES | REQUESTS => STATE", each part only when there is one: "" means that nothing
 * happens at all.
 */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "mqttsn/engine_priv.h"
#include "sim/world.h"

/* UNKNOWN: no session; STORED, LOST: one without connection. DIALOGUE waits for the WILLTOPIC,
 * CONNECTING for the broker side. ASLEEP has no message waiting, AWAKE one under way: PUBLISH QoS 1
 * with msg id 1. */
enum column { UNKNOWN, STORED, LOST, DIALOGUE, CONNECTING, ACTIVE, ASLEEP, AWAKE, COLUMNS };

struct row {
    struct sn_packet p;
    const char *away;       /* UNKNOWN, STORED, LOST */
    const char *dialogue;   /* DIALOGUE */
    const char *connecting; /* CONNECTING */
    const char *active;
    const char *asleep;
    const char *awake;
};

#define TEXT(literal)                                                                              \
    {                                                                                              \
        .data = (const uint8_t *)(literal), .len = sizeof(literal) - 1                             \
    }

/* The topic `reg` is registered under id 6, and 5 is predefined. */
/* clang-format off */
static const struct row rows[] = {
    {.p = {.type = SN_SEARCHGW},
     .away = "GWINFO", .dialogue = "GWINFO", .connecting = "GWINFO",
     .active = "GWINFO", .asleep = "GWINFO", .awake = "GWINFO"},
    {.p = {.type = SN_ADVERTISE, .gw_id = 9, .duration_s = 900},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_GWINFO, .gw_id = 9},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    /* The octets of the CONNECT that made the session (in DIALOGUE it had the will flag). */
    {.p = {.type = SN_CONNECT, .protocol_id = 1, .duration_s = 60, .client_id = TEXT("dev1")},
     .away = "| OPEN => connecting", .dialogue = "| OPEN", .connecting = "",
     .active = "CONNACK", .asleep = "| OPEN => connecting", .awake = "| OPEN => connecting"},
    {.p = {.type = SN_CONNECT, .protocol_id = 1, .duration_s = 60, .will = true,
           .client_id = TEXT("dev1")},
     .away = "WILLTOPICREQ => connecting", .dialogue = "WILLTOPICREQ",
     .connecting = "WILLTOPICREQ", .active = "WILLTOPICREQ => connecting",
     .asleep = "WILLTOPICREQ => connecting", .awake = "WILLTOPICREQ => connecting"},
    {.p = {.type = SN_WILLTOPIC, .topic = TEXT("w")},
     .away = "DISCONNECT", .dialogue = "WILLMSGREQ", .connecting = "",
     .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_WILLMSG, .data = TEXT("off")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_REGISTER, .msg_id = 9, .topic = TEXT("a/b")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "REGACK", .asleep = "REGACK", .awake = "REGACK"},
    {.p = {.type = SN_SUBSCRIBE, .msg_id = 9, .topic = TEXT("a/b")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "| SUBSCRIBE", .asleep = "| SUBSCRIBE", .awake = "| SUBSCRIBE"},
    {.p = {.type = SN_UNSUBSCRIBE, .msg_id = 9, .topic = TEXT("a/b")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "| UNSUBSCRIBE", .asleep = "| UNSUBSCRIBE", .awake = "| UNSUBSCRIBE"},
    {.p = {.type = SN_WILLTOPICUPD, .topic = TEXT("w")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "WILLTOPICRESP | SET_WILL", .asleep = "WILLTOPICRESP | SET_WILL",
     .awake = "WILLTOPICRESP | SET_WILL"},
    {.p = {.type = SN_WILLMSGUPD, .data = TEXT("off")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "WILLMSGRESP", .asleep = "WILLMSGRESP", .awake = "WILLMSGRESP"},
    {.p = {.type = SN_PUBLISH, .topic_id = 6, .data = TEXT("42")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "| PUBLISH", .asleep = "| PUBLISH", .awake = "| PUBLISH"},
    {.p = {.type = SN_PUBLISH, .qos = SN_QOS_1, .topic_id = 6, .msg_id = 9, .data = TEXT("42")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "| PUBLISH", .asleep = "| PUBLISH", .awake = "| PUBLISH"},
    {.p = {.type = SN_PUBLISH, .qos = SN_QOS_2, .topic_id = 6, .msg_id = 9, .data = TEXT("42")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "| PUBLISH", .asleep = "| PUBLISH", .awake = "| PUBLISH"},
    {.p = {.type = SN_PUBLISH, .qos = SN_QOS_1, .topic_id = 99, .msg_id = 9, .data = TEXT("42")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "PUBACK", .asleep = "PUBACK", .awake = "PUBACK"},
    {.p = {.type = SN_PUBLISH, .qos = SN_QOS_MINUS_1, .topic_kind = SN_TOPIC_PREDEFINED,
           .topic_id = 5, .data = TEXT("42")},
     .away = "| PUBLISH", .dialogue = "| PUBLISH", .connecting = "| PUBLISH",
     .active = "| PUBLISH", .asleep = "| PUBLISH", .awake = "| PUBLISH"},
    {.p = {.type = SN_PUBACK, .topic_id = 6, .msg_id = 1},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "",
     .awake = "PINGRESP | DELIVERED => asleep"},
    {.p = {.type = SN_PUBACK, .topic_id = 6, .msg_id = 77},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_PUBREC, .msg_id = 77},
     .away = "", .dialogue = "", .connecting = "", .active = "PUBREL", .asleep = "",
     .awake = "PUBREL"},
    {.p = {.type = SN_PUBCOMP, .msg_id = 77},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_REGACK, .topic_id = 6, .msg_id = 77},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_PUBREL, .msg_id = 9},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "PUBCOMP", .asleep = "PUBCOMP", .awake = "PUBCOMP"},
    {.p = {.type = SN_PINGREQ},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "PINGRESP", .asleep = "PINGRESP", .awake = "PUBLISH"},
    {.p = {.type = SN_PINGREQ, .client_id = TEXT("dev1")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "PINGRESP", .asleep = "PINGRESP", .awake = "PUBLISH"},
    {.p = {.type = SN_PINGREQ, .client_id = TEXT("who")},
     .away = "DISCONNECT", .dialogue = "", .connecting = "",
     .active = "DISCONNECT", .asleep = "DISCONNECT", .awake = "DISCONNECT"},
    {.p = {.type = SN_PINGRESP},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_DISCONNECT},
     .away = "DISCONNECT", .dialogue = "DISCONNECT => none",
     .connecting = "DISCONNECT | CLOSE => none", .active = "DISCONNECT | CLOSE => disconnected",
     .asleep = "DISCONNECT | CLOSE => disconnected",
     .awake = "DISCONNECT | CLOSE => disconnected"},
    {.p = {.type = SN_DISCONNECT, .has_duration = true, .duration_s = 60},
     .away = "DISCONNECT", .dialogue = "", .connecting = "", .active = "DISCONNECT => asleep",
     .asleep = "DISCONNECT", .awake = "DISCONNECT => asleep"},
    /* What only gateways say. */
    {.p = {.type = SN_CONNACK},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_WILLTOPICREQ},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_WILLMSGREQ},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_SUBACK},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_UNSUBACK},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_WILLTOPICRESP},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
    {.p = {.type = SN_WILLMSGRESP},
     .away = "", .dialogue = "", .connecting = "", .active = "", .asleep = "", .awake = ""},
};

/* clang-format on */

enum { N_ROWS = sizeof rows / sizeof rows[0] };

static const char *cell(const struct row *r, enum column column)
{
    switch (column) {
    case UNKNOWN:
    case STORED:
    case LOST:
        return r->away;
    case DIALOGUE:
        return r->dialogue;
    case CONNECTING:
        return r->connecting;
    case ACTIVE:
        return r->active;
    case ASLEEP:
        return r->asleep;
    case AWAKE:
    case COLUMNS:
        break;
    }
    return r->awake;
}

/* ---- getting there ---------------------------------------------------------------------------*/

struct stage {
    struct sim_world w;
    struct peer_room node;
    uint64_t key;
};

static void say(struct stage *s, const struct sn_packet *p)
{
    uint8_t buf[256];
    const size_t len = sn_encode(p, buf, sizeof buf);
    ck_assert_uint_gt(len, 0);
    sim_input(&s->w, peer_in(&s->node), bytes_of(buf, len));
}

static void forget_outputs(struct stage *s)
{
    for (struct sim_packet *p = sim_take_packet(&s->w); p != NULL; p = sim_take_packet(&s->w))
        sim_packet_free(p);
    for (struct sim_ask *a = sim_take_ask(&s->w); a != NULL; a = sim_take_ask(&s->w)) {
        if (a->type == ASK_OPEN)
            s->key = a->client;
        sim_ask_free(a);
    }
}

static void say_connect(struct stage *s, bool will)
{
    say(s, &(struct sn_packet){.type = SN_CONNECT,
                               .protocol_id = 1,
                               .duration_s = 60,
                               .will = will,
                               .client_id = bytes_str("dev1")});
    forget_outputs(s);
}

static void accept(struct stage *s)
{
    sim_event(&s->w, &(struct sn_event){.type = SN_EV_OPENED, .client = s->key, .outcome = SN_OK});
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

static void go_to(struct stage *s, enum column column)
{
    sim_event(&s->w, &(struct sn_event){.type = SN_EV_UPSTREAM, .upstream = {.up = true}});
    if (column == UNKNOWN)
        return;
    say_connect(s, column == DIALOGUE);
    if (column == DIALOGUE || column == CONNECTING)
        return;
    accept(s);
    forget_outputs(s);
    /* The same CONNECT is no copy made by the air any more. */
    ck_assert(sim_advance(&s->w, s->w.now_ms + SN_COPIES_MS + 1));
    say(s, &(struct sn_packet){.type = SN_REGISTER, .msg_id = 1, .topic = bytes_str("reg")});
    if (column == LOST)
        ck_assert(sim_advance(&s->w, s->w.now_ms + 90000));
    if (column == STORED)
        say(s, &(struct sn_packet){.type = SN_DISCONNECT});
    if (column == ASLEEP || column == AWAKE)
        say(s, &(struct sn_packet){.type = SN_DISCONNECT, .has_duration = true, .duration_s = 60});
    if (column == AWAKE) {
        deliver(s);
        say(s, &(struct sn_packet){.type = SN_PINGREQ});
    }
    forget_outputs(s);
}

static const char *state_name(struct stage *s)
{
    const struct sn_client *c = sn_client_by_id(s->w.engine, bytes_str("dev1"));
    return c != NULL ? sn_state_names[c->state] : "none";
}

/* ---- one cell --------------------------------------------------------------------------------*/

static const char *const ask_names[ASK_TYPES] = {
    [ASK_OPEN] = "OPEN",           [ASK_PUBLISH] = "PUBLISH",
    [ASK_SUBSCRIBE] = "SUBSCRIBE", [ASK_UNSUBSCRIBE] = "UNSUBSCRIBE",
    [ASK_SET_WILL] = "SET_WILL",   [ASK_DELIVERED] = "DELIVERED",
    [ASK_CLOSE] = "CLOSE",
};

static void append(char *out, size_t size, const char *word)
{
    const size_t len = strlen(out);
    snprintf(out + len, size - len, "%s%s", len > 0 ? " " : "", word);
}

/* What the outputs come to, as a cell. */
static void describe(struct stage *s, const char *state_before, char *out, size_t size)
{
    out[0] = '\0';
    for (struct sim_packet *p = sim_take_packet(&s->w); p != NULL; p = sim_take_packet(&s->w)) {
        struct sn_packet decoded;
        ck_assert_int_eq(sn_decode(body_bytes(p->bytes), &decoded), SN_DECODED);
        ck_assert(peer_equal(p->to, peer_in(&s->node)));
        append(out, size, sn_type_name(decoded.type));
        sim_packet_free(p);
    }
    if (!list_empty(&s->w.asks))
        append(out, size, "|");
    for (struct sim_ask *a = sim_take_ask(&s->w); a != NULL; a = sim_take_ask(&s->w)) {
        append(out, size, ask_names[a->type]);
        sim_ask_free(a);
    }
    if (strcmp(state_name(s), state_before) != 0) {
        append(out, size, "=>");
        append(out, size, state_name(s));
    }
}

static void try_cell(const struct row *r, enum column column)
{
    static const struct sn_predefined predefined = {.topic_id = 5, .topic = "pre/five"};
    static const struct sn_topics_section section = {.entries = &predefined, .n_entries = 1};
    static const char *const column_names[COLUMNS] = {"unknown",    "stored", "lost",   "dialogue",
                                                      "connecting", "active", "asleep", "awake"};

    struct sn_engine_config config = sn_engine_defaults();
    config.topics = &section;
    config.n_topics = 1;
    struct stage s = {0};
    const uint8_t address[6] = {192, 0, 2, 1, 7, 0x5C};
    peer_make(&s.node, 0, PEER_IP4, bytes_of(address, sizeof address));
    sim_init(&s.w, &config, NULL, 1000);
    go_to(&s, column);

    const char *before = state_name(&s);
    char got[128];
    char printed[160];
    say(&s, &r->p);
    describe(&s, before, got, sizeof got);
    ck_assert_msg(strcmp(got, cell(r, column)) == 0, "%s in state %s: \"%s\", expected \"%s\"",
                  sn_print(&r->p, printed, sizeof printed), column_names[column], got,
                  cell(r, column));
    sim_deinit(&s.w);
}

START_TEST(every_message_in_every_state)
{
    for (enum column column = 0; column < COLUMNS; column++)
        try_cell(&rows[_i], column);
}

END_TEST

START_TEST(every_type_has_a_row)
{
    for (unsigned type = 0; type < SN_TYPE_COUNT; type++) {
        bool found = strcmp(sn_type_name(type), "RESERVED") == 0;
        for (size_t i = 0; i < N_ROWS; i++)
            found = found || (unsigned)rows[i].p.type == type;
        ck_assert_msg(found, "%s has no row", sn_type_name(type));
    }
}

END_TEST

/* ---- the arrows themselves -------------------------------------------------------------------*/

START_TEST(only_legal_arrows)
{
    static const char letters[SN_ST_COUNT + 1] = "DCASWL"; /* in the order of enum sn_state */
    static const char *const after[SN_CE_COUNT] = {
        [SN_CE_CONNECT] = "CCCCCC",  [SN_CE_ACCEPTED] = "DAASWL",   [SN_CE_REFUSED] = "DDASWL",
        [SN_CE_SLEEP] = "DCSSSL",    [SN_CE_DISCONNECT] = "DDDDDD", [SN_CE_WAKE] = "DCAWWL",
        [SN_CE_ROUSE] = "DCAAAL",    [SN_CE_DROWSE] = "DCASSL",     [SN_CE_SILENCE] = "DDLLLD",
        [SN_CE_REPLACED] = "DDLLLD", [SN_CE_CLOSED] = "DDDDDD",
    };
    for (int event = 0; event < SN_CE_COUNT; event++) {
        for (int state = 0; state < SN_ST_COUNT; state++)
            ck_assert_msg(
                letters[sn_next_state((enum sn_state)state, (enum sn_client_event)event)] ==
                    after[event][state],
                "event %d in state %s", event, sn_state_names[state]);
    }
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("states");
    TCase *tc = tcase_create("states");
    tcase_add_loop_test(tc, every_message_in_every_state, 0, N_ROWS);
    tcase_add_test(tc, every_type_has_a_row);
    tcase_add_test(tc, only_legal_arrows);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
