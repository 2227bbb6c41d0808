/* SPDX-License-Identifier: Apache-2.0 */
/* Recognising a stick by asking it, in virtual time. */
#include <stdio.h>

#include "radio/stick/stick.h"
#include "unit/suite.h"

struct ear {
    struct stick *s;
    int64_t now_ms;
    int32_t baud;
    char family[16];
    int32_t found_baud;
    bool reopened;
    uint8_t asked[256]; /* all octets since the baud changed */
    size_t n_asked;
};

static void drain(struct ear *e)
{
    struct stick_event ev;
    struct bytes out;
    for (; stick_peek_event(e->s, &ev); stick_done_event(e->s)) {
        if (ev.type == STICK_EV_PORT) {
            e->baud = ev.port.baud;
            e->n_asked = 0;
        } else if (ev.type == STICK_EV_FAMILY) {
            snprintf(e->family, sizeof e->family, "%s", ev.name);
            e->found_baud = ev.port.baud;
        } else if (ev.type == STICK_EV_REOPEN) {
            e->reopened = true;
        }
    }
    while (stick_peek_bytes(e->s, &out)) {
        ck_assert_uint_le(e->n_asked + out.len, sizeof e->asked);
        memcpy(e->asked + e->n_asked, out.data, out.len);
        e->n_asked += out.len;
        stick_took(e->s, e->now_ms, out.len);
    }
}

static void start_at(struct ear *e, uint32_t baud)
{
    struct stick_config config = stick_defaults();
    config.baud = baud;
    *e = (struct ear){.s = stick_new(stick_driver_find(bytes_str("auto")), &config, 0)};
    stick_opened(e->s, 0);
    drain(e);
}

static void start(struct ear *e)
{
    start_at(e, 115200);
}

static bool is_asked(const struct ear *e, const char *octets, size_t len)
{
    for (size_t at = 0; at + len <= e->n_asked; at++) {
        if (memcmp(e->asked + at, octets, len) == 0)
            return true;
    }
    return false;
}

/* Goes on until that is asked at that baud. */
static void wait_for(struct ear *e, int32_t baud, const char *octets, size_t len)
{
    while (e->baud != baud || !is_asked(e, octets, len)) {
        ck_assert(!e->reopened);
        ck_assert_int_gt(stick_next_deadline(e->s), e->now_ms);
        e->now_ms = stick_next_deadline(e->s);
        stick_advance(e->s, e->now_ms);
        drain(e);
    }
}

struct family {
    const char *name;
    int32_t baud;
    const char *question;
    size_t question_len;
    const char *answer;
    size_t answer_len;
};

static const struct family families[] = {
    {"ezsp",   115200, "\x1A\xC0\x38\xBC\x7E",             5, "\xC1\x02\x0B\x0A\x52\x7E",         6 },
    {"ezsp",   460800, "\x1A\xC0\x38\xBC\x7E",             5, "\x7E\xC1\x02\x0B\x7D\x2A\x52\x7E", 8 },
    {"znp",    115200, "\xFE\x00\x21\x01\x20",             5, "\xFE\x02\x61\x01\x79\x05\x1E",     7 },
    {"znp",    115200, "\xEF\xFE\x00\x21\x01\x20",         6, "\xFE\x02\x61\x01\x79\x05\x1E",     7 },
    {"deconz", 38400,  "\xC0\x0D\x01\x00\x09",             5,
     "\xC0\x0D\x01\x00\x09\x00\x00\x07\x78\x26\x44\xFF\xC0",                                      13},
    {"xbee",   9600,   "\x7E\x00\x04\x08\x01\x41\x50\x65", 8,
     "\x7E\x00\x06\x88\x01\x41\x50\x00\x02\xE3",                                                  10},
    {"xbee",   57600,  "\x7E\x00\x04\x08\x01\x41\x50\x65", 8,
     "\x7E\x00\x06\x88\x01\x41\x50\x00\x02\xE3",                                                  10},
};

enum { FAMILIES = sizeof families / sizeof families[0] };

START_TEST(each_family_is_known_by_its_answer_octet_by_octet_behind_noise)
{
    const struct family *f = &families[_i];
    struct ear e;
    start(&e);
    wait_for(&e, f->baud, f->question, f->question_len);
    for (unsigned i = 0; i < 1000; i++) {
        const uint8_t noise = (uint8_t)(i * 7);
        stick_input(e.s, e.now_ms, bytes_of(&noise, 1));
    }
    drain(&e);
    ck_assert_str_eq(e.family, "");
    for (size_t i = 0; i < f->answer_len; i++) {
        ck_assert_str_eq(e.family, "");
        stick_input(e.s, e.now_ms, bytes_of(f->answer + i, 1));
        drain(&e);
        if (i + 1 < f->answer_len && e.family[0] != '\0')
            break; /* the rest of the answer does not matter to some */
    }
    ck_assert_str_eq(e.family, f->name);
    ck_assert_int_eq(e.found_baud, f->baud);
    stick_closed(e.s, e.now_ms);
    stick_free(e.s);
}

END_TEST

START_TEST(a_device_that_never_answers_is_given_up_within_half_a_minute_and_asked_anew)
{
    struct ear e;
    start(&e);
    for (unsigned round = 0; round < 2; round++) {
        const int64_t begin_ms = e.now_ms;
        while (!e.reopened) {
            e.now_ms = stick_next_deadline(e.s);
            stick_advance(e.s, e.now_ms);
            drain(&e);
        }
        ck_assert_int_lt(e.now_ms - begin_ms, 30000);
        ck_assert_int_eq(stick_next_deadline(e.s), TIME_NEVER);
        stick_closed(e.s, e.now_ms);
        e.reopened = false;
        stick_opened(e.s, e.now_ms);
        drain(&e);
        ck_assert(is_asked(&e, "\x1A\xC0\x38\xBC\x7E", 5));
    }
    stick_free(e.s);
}

END_TEST

START_TEST(a_configured_speed_is_tried_first_with_each_family)
{
    const struct family *f = &families[_i];
    struct ear e;
    start_at(&e, 230400);
    wait_for(&e, 230400, f->question, f->question_len);
    stick_input(e.s, e.now_ms, bytes_of(f->answer, f->answer_len));
    drain(&e);
    ck_assert_str_eq(e.family, f->name);
    ck_assert_int_eq(e.found_baud, 230400);
    stick_free(e.s);

    /* And when it does not fit, the usual ones follow. */
    start_at(&e, 230400);
    wait_for(&e, f->baud, f->question, f->question_len);
    stick_free(e.s);
}

END_TEST

START_TEST(an_xbee_is_asked_last)
{
    struct ear e;
    start(&e);
    const int64_t begin_ms = e.now_ms;
    wait_for(&e, 9600, "\x7E\x00\x04\x08\x01\x41\x50\x65", 8);
    ck_assert_int_gt(e.now_ms - begin_ms, 8000);
    stick_free(e.s);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_auto");
    TCase *tc = tcase_create("stick_auto");
    tcase_add_loop_test(tc, each_family_is_known_by_its_answer_octet_by_octet_behind_noise, 0,
                        FAMILIES);
    tcase_add_test(tc, a_device_that_never_answers_is_given_up_within_half_a_minute_and_asked_anew);
    tcase_add_loop_test(tc, a_configured_speed_is_tried_first_with_each_family, 0, FAMILIES);
    tcase_add_test(tc, an_xbee_is_asked_last);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
