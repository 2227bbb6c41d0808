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

#include "sim/stage.h"
#include "unit/suite.h"

struct row {
    struct sn_packet p;
    const char *away; /* unknown, stored, lost */
    const char *dialogue;
    const char *connecting;
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

static const char *cell(const struct row *r, enum stage_state state)
{
    switch (state) {
    case STAGE_UNKNOWN:
    case STAGE_STORED:
    case STAGE_LOST:
        return r->away;
    case STAGE_DIALOGUE:
        return r->dialogue;
    case STAGE_CONNECTING:
        return r->connecting;
    case STAGE_ACTIVE:
        return r->active;
    case STAGE_ASLEEP:
        return r->asleep;
    case STAGE_AWAKE:
    case STAGE_STATES:
        break;
    }
    return r->awake;
}

static void try_cell(const struct row *r, enum stage_state state)
{
    struct stage s;
    stage_begin(&s, state);
    const char *before = stage_state_name(&s);
    char got[128];
    char printed[160];
    stage_say(&s, &r->p);
    stage_describe(&s, before, got, sizeof got);
    ck_assert_msg(strcmp(got, cell(r, state)) == 0, "%s in state %s: \"%s\", expected \"%s\"",
                  sn_print(&r->p, printed, sizeof printed), stage_state_names[state], got,
                  cell(r, state));
    stage_end(&s);
}

START_TEST(every_message_in_every_state)
{
    for (enum stage_state state = 0; state < STAGE_STATES; state++)
        try_cell(&rows[_i], state);
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
        [SN_CE_REPLACED] = "DDLLLD", [SN_CE_CLOSED] = "DDDDDD",     [SN_CE_DENIED] = "DDDDDD",
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

/* ---- msg ids -----------------------------------------------------------------------------------*/

static struct sn_packet only_reply(struct stage *s, uint8_t octets[64])
{
    struct sim_packet *p = sim_take_packet(&s->w);
    ck_assert_ptr_nonnull(p);
    const struct bytes got = body_bytes(p->bytes);
    ck_assert_uint_le(got.len, 64);
    memcpy(octets, got.data, got.len);
    struct sn_packet decoded;
    ck_assert_int_eq(sn_decode(bytes_of(octets, got.len), &decoded), SN_DECODED);
    sim_packet_free(p);
    return decoded;
}

/* PUBLISH with msg id 1 may have arrived, and comes again after a reconnection. 65,535 requests later
 * (which nobody waits for here) the REGISTER in between must not take its number. */
START_TEST(a_msg_id_in_flight_is_skipped_when_the_ids_wrap)
{
    struct stage s;
    uint8_t octets[64];
    stage_begin(&s, STAGE_AWAKE);
    stage_say(&s, &(struct sn_packet){.type = SN_DISCONNECT});
    stage_forget_outputs(&s);
    sn_client_by_id(s.w.engine, bytes_str("dev1"))->next_msg_id = 65535;

    const struct sn_packet connect = stage_connect(false);
    stage_say(&s, &connect);
    stage_accept(&s, 1);
    ck_assert_int_eq(only_reply(&s, octets).type, SN_CONNACK);
    const struct sn_packet reg = only_reply(&s, octets);
    ck_assert_int_eq(reg.type, SN_REGISTER);
    ck_assert_uint_eq(reg.msg_id, 2);
    stage_say(
        &s, &(struct sn_packet){.type = SN_REGACK, .topic_id = reg.topic_id, .msg_id = reg.msg_id});
    const struct sn_packet publish = only_reply(&s, octets);
    ck_assert_int_eq(publish.type, SN_PUBLISH);
    ck_assert(publish.dup);
    ck_assert_uint_eq(publish.msg_id, 1);
    stage_end(&s);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("states");
    TCase *tc = tcase_create("states");
    tcase_add_loop_test(tc, every_message_in_every_state, 0, N_ROWS);
    tcase_add_test(tc, every_type_has_a_row);
    tcase_add_test(tc, only_legal_arrows);
    tcase_add_test(tc, a_msg_id_in_flight_is_skipped_when_the_ids_wrap);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
