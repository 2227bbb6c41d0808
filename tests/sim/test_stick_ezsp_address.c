/* SPDX-License-Identifier: Apache-2.0 */
/* The 16-bit addresses of nodes behind an EZSP stick: asked for, told, doubted. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "sim/fake_ncp.h"
#include "unit/suite.h"

enum { NODE_SHORT = 0x4A3B, OTHER_SHORT = 0x1234, MISSING = 0 };

static const uint64_t node = 0x0013A20040522BAA;
static const uint8_t versions[] = {8, 13, 14, 17};

/* Running, and the stick knows the node. */
static struct ncp_world *running(uint8_t version)
{
    const struct stick_config c = stick_defaults();
    struct ncp_world *w = ncp_world_new(version, &c);
    w->ncp.short_of_node = NODE_SHORT;
    ncp_world_start(w);
    return w;
}

static const struct stick_counters *counted(const struct ncp_world *w)
{
    return stick_counters(w->stick);
}

/* The destination of the last unicast. */
static uint16_t unicast_to(const struct ncp *n)
{
    struct reader r =
        rd_of(bytes_of(n->last[EZSP_SEND_UNICAST].octets, n->last[EZSP_SEND_UNICAST].len));
    ck_assert_uint_eq(rd_u8(&r), 0);
    return rd_u16_le(&r);
}

static struct bytes zdo_address(uint8_t room[12], uint64_t eui64, uint16_t short_address)
{
    struct writer w = wr_to(room, 12);
    wr_u16(&w, 0x4200); /* sequence, status */
    wr_u64_le(&w, eui64);
    wr_u16_le(&w, short_address);
    return bytes_of(room, w.len);
}

START_TEST(a_node_that_the_stick_does_not_know_is_asked_for_by_broadcast)
{
    const struct ezsp_aps answer = {.cluster = 0x8000};
    uint8_t room[12];
    struct ncp_world *w = running(versions[_i]);
    w->ncp.short_of_node = MISSING;
    ncp_world_send(w, node, bytes_str("one"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_UNICAST], 0);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_BROADCAST], 1);
    const struct ncp_frame *q = &w->ncp.last[EZSP_SEND_BROADCAST];
    ck_assert_mem_eq(q->octets + q->len - 10, "\xAA\x2B\x52\x40\x00\xA2\x13\x00\x00\x00", 10);
    ncp_message(w, EZSP_IN_UNICAST, OTHER_SHORT, UINT64_MAX, &answer,
                zdo_address(room, node, OTHER_SHORT));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(unicast_to(&w->ncp), OTHER_SHORT);
    ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 1);
    ck_assert_uint_eq(counted(w)->unknown_ids, 0);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_node_that_nobody_knows_fails_and_questions_are_rare)
{
    struct ncp_world *w = running(14);
    w->ncp.short_of_node = MISSING;
    for (uint64_t i = 0; i < 5; i++)
        ncp_world_send(w, node + i, bytes_str("one"));
    ncp_world_run(w, 2999);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_BROADCAST], 1);
    ck_assert_uint_eq(w->outcomes[STICK_FAILED], 4);
    ncp_world_run(w, 1);
    ck_assert_uint_eq(w->outcomes[STICK_FAILED], 5);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_UNICAST], 0);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_node_that_failed_twice_is_asked_for_its_address)
{
    const struct ezsp_aps answer = {.cluster = 0x8000};
    uint8_t room[12];
    struct ncp_world *w = running(13);
    w->ncp.sent_status = 0x66;
    for (unsigned i = 0; i < 2; i++) {
        ncp_world_send(w, node, bytes_str("one"));
        ncp_world_run(w, 5000);
    }
    ck_assert_uint_eq(w->outcomes[STICK_FAILED], 2);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_BROADCAST], 0);
    w->ncp.sent_status = 0;
    ncp_world_send(w, node, bytes_str("three"));
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_BROADCAST], 1);
    ncp_message(w, EZSP_IN_UNICAST, OTHER_SHORT, UINT64_MAX, &answer,
                zdo_address(room, node, OTHER_SHORT));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(unicast_to(&w->ncp), OTHER_SHORT);
    ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(without_an_answer_the_address_that_is_known_is_used)
{
    struct ncp_world *w = running(versions[_i]);
    w->ncp.sent_status = versions[_i] >= 14 ? SL_DELIVERY_FAILED : 0x66;
    for (unsigned i = 0; i < 2; i++) {
        ncp_world_send(w, node, bytes_str("one"));
        ncp_world_run(w, 5000);
    }
    ck_assert_uint_eq(w->outcomes[STICK_FAILED], 2);
    w->ncp.sent_status = 0;
    ncp_world_send(w, node, bytes_str("three"));
    ncp_world_run(w, 5000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_BROADCAST], 1);
    ck_assert_uint_eq(unicast_to(&w->ncp), NODE_SHORT);
    ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_question_that_had_to_wait_is_asked_later)
{
    struct ncp_world *w = running(13);
    w->ncp.sent_status = 0x66;
    for (unsigned i = 0; i < 4; i++) {
        w->ncp.short_of_node = i % 2 == 0 ? NODE_SHORT : OTHER_SHORT;
        ncp_world_send(w, node + i % 2, bytes_str("one"));
        ncp_world_run(w, 5000);
    }
    ncp_world_send(w, node + 1, bytes_str("two"));
    ncp_world_send(w, node, bytes_str("two")); /* questions are a second apart */
    ncp_world_run(w, 5000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_BROADCAST], 1);
    ncp_world_send(w, node, bytes_str("three"));
    ncp_world_run(w, 5000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_BROADCAST], 2);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_dead_node_is_asked_for_its_address_ever_more_rarely)
{
    struct ncp_world *w = running(13);
    w->ncp.sent_status = 0x66;
    for (unsigned i = 0; i < 20; i++) {
        ncp_world_send(w, node, bytes_str("one"));
        ncp_world_run(w, 20000);
    }
    ck_assert_uint_eq(w->outcomes[STICK_FAILED], 20);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_UNICAST], 20);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_BROADCAST], 4); /* after 2, 4, 8 and 16 failures */
    ncp_world_free(w);
}

END_TEST

static void joins(struct ncp_world *w, uint64_t eui64, uint16_t short_address, uint8_t status)
{
    uint8_t room[16];
    struct writer out = wr_to(room, sizeof room);
    wr_u16_le(&out, short_address);
    wr_u64_le(&out, eui64);
    wr_u8(&out, status);
    wr_u8(&out, 0);
    wr_u16_le(&out, 0);
    ncp_callback(w, 0, EZSP_TRUST_CENTER_JOIN, bytes_of(room, out.len));
    ncp_world_run(w, 10);
}

START_TEST(joins_leaves_announcements_and_conflicts_change_the_address)
{
    struct ncp_world *w = running(versions[_i]);
    ncp_world_send(w, node, bytes_str("one"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(unicast_to(&w->ncp), NODE_SHORT);
    joins(w, node, OTHER_SHORT, 0);
    ncp_world_send(w, node, bytes_str("two"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(unicast_to(&w->ncp), OTHER_SHORT);

    /* Left: the stick is asked again. */
    joins(w, node, OTHER_SHORT, 2);
    w->ncp.short_of_node = 0x0777;
    ncp_world_send(w, node, bytes_str("three"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(unicast_to(&w->ncp), 0x0777);

    const struct ezsp_aps announce = {.cluster = 0x0013};
    ncp_message(w, EZSP_IN_BROADCAST, 0x0888, UINT64_MAX, &announce,
                bytes_of("\x01\x88\x08\xAA\x2B\x52\x40\x00\xA2\x13\x00\x80", 12));
    ncp_world_run(w, 10);
    ncp_world_send(w, node, bytes_str("four"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(unicast_to(&w->ncp), 0x0888);

    ncp_callback(w, 0, EZSP_ID_CONFLICT, bytes_of("\x88\x08", 2));
    ncp_world_run(w, 10);
    w->ncp.short_of_node = 0x0999;
    ncp_world_send(w, node, bytes_str("five"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(unicast_to(&w->ncp), 0x0999);

    ncp_callback(w, 0, EZSP_CHILD_JOIN,
                 bytes_of("\x00\x01\xAA\x0A\xAA\x2B\x52\x40\x00\xA2\x13\x00\x04", 13));
    ncp_world_run(w, 10);
    ncp_world_send(w, node, bytes_str("six"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(unicast_to(&w->ncp), 0x0AAA);
    ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 6);
    ncp_world_free(w);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("stick_ezsp_address");
    TCase *t = tcase_create("addresses");
    const int all = (int)(sizeof versions);
    tcase_add_loop_test(t, a_node_that_the_stick_does_not_know_is_asked_for_by_broadcast, 0, all);
    tcase_add_test(t, a_node_that_nobody_knows_fails_and_questions_are_rare);
    tcase_add_test(t, a_node_that_failed_twice_is_asked_for_its_address);
    tcase_add_loop_test(t, without_an_answer_the_address_that_is_known_is_used, 0, all);
    tcase_add_test(t, a_question_that_had_to_wait_is_asked_later);
    tcase_add_test(t, a_dead_node_is_asked_for_its_address_ever_more_rarely);
    tcase_add_loop_test(t, joins_leaves_announcements_and_conflicts_change_the_address, 0, all);
    suite_add_tcase(s, t);
    return run_suite(s);
}
