/* SPDX-License-Identifier: Apache-2.0 */
/* The link of the sticks: which machine it takes with driver = auto, and what holds whatever
 * happens. */
#include <errno.h>
#include <string.h>

#include <check.h>

#include "unit/seed.h"
#include "unit/stick_link_world.h"
#include "unit/suite.h"

/* ---- driver = auto --------------------------------------------------------------------------- */

START_TEST(a_stick_that_answers_gets_its_own_machine_and_rate)
{
    sl_tear_down();
    sl_start("auto");
    sl_plug();
    dev.n_written = 0;
    sl_say("F");
    ck_assert(!dev.is_open);
    ck_assert_ptr_nonnull(strstr(own.last, "link.recognised"));
    sl_run(0);
    ck_assert(dev.is_open);
    ck_assert_uint_eq(dev.config.baud, 57600);
    ck_assert_str_eq(sl_family(), "fake");
    sl_say("U");
    ck_assert_uint_eq(own.ups, 1);
    sl_unplug();
    sl_plug();
    ck_assert_str_eq(sl_family(), "fake");
    ck_assert_uint_eq(dev.config.baud, 57600);
}

END_TEST

START_TEST(a_stick_that_names_itself_is_not_asked)
{
    sl_tear_down();
    sl_start("auto");
    found = (struct found_port){.driver = "fake",
                                .name = "Fakestick",
                                .baud = 460800,
                                .rtscts = true,
                                .sure = FINDER_CERTAIN};
    sl_plug();
    ck_assert_str_eq(sl_family(), "fake");
    ck_assert_uint_eq(dev.config.baud, 460800);
    ck_assert_uint_eq(dev.config.flow_control, PORT_FLOW_RTSCTS);
}

END_TEST

START_TEST(what_may_be_an_xbee_is_never_asked_and_what_is_only_likely_is)
{
    sl_tear_down();
    sl_start("auto");
    found = (struct found_port){.driver = "xbee", .name = "XBee", .sure = FINDER_LIKELY};
    sl_plug();
    ck_assert_str_eq(sl_family(), "xbee");
    ck_assert_uint_eq(dev.config.baud, 9600);
    sl_tear_down();
    sl_start("auto");
    found = (struct found_port){.driver = "fake", .name = "Perhaps", .sure = FINDER_LIKELY};
    sl_plug();
    ck_assert_str_eq(sl_family(), "auto");
}

END_TEST

START_TEST(what_was_recognised_and_does_not_work_is_recognised_anew)
{
    sl_tear_down();
    sl_start("auto");
    sl_plug();
    dev.n_written = 0;
    sl_say("F");
    sl_run(0);
    sl_say("U");
    sl_send_to(1);
    for (unsigned i = 0; i < 3; i++) {
        dev.n_written = 0;
        sl_say("R");
        while (!dev.is_open)
            sl_run(100);
    }
    ck_assert_str_eq(sl_family(), "auto");
    ck_assert_uint_eq(
        own.outcomes[STICK_UNKNOWN] + own.outcomes[STICK_NOT_SENT] + own.outcomes[STICK_FAILED], 1);
}

END_TEST

/* ---- whatever happens ------------------------------------------------------------------------ */

static unsigned all_outcomes(void)
{
    return own.outcomes[0] + own.outcomes[1] + own.outcomes[2] + own.outcomes[3];
}

START_TEST(each_packet_has_exactly_one_outcome_whatever_happens)
{
    struct rng rng = seeded_rng();
    sl_tear_down();
    sl_start("auto");
    unsigned sent = 0;
    for (unsigned i = 0; i < 20000; i++) {
        static const char *const commands[] = {"U", "D", "v", "p", "F", "P", "R", "x"};
        dev.n_written = dev.is_open ? 1 : 0;
        switch (rng_below(&rng, 6)) {
        case 0:
        case 1:
            sent++;
            sl_send_to(1 + rng_below(&rng, 20));
            break;
        case 2:
            dev.result = rng_below(&rng, 4) == 0 ? -ENODEV : 0;
            sl_run(rng_below(&rng, 2000));
            break;
        case 3:
            if (dev.is_open && rng_below(&rng, 10) == 0)
                sl_unplug();
            break;
        default:
            /* Only auto may recognise. */
            if (dev.is_open) {
                const char *c = commands[rng_below(&rng, 8)];
                const bool is_auto = strcmp(sl_family(), "auto") == 0;
                sl_say(*c == 'F' && !is_auto ? "U" : c);
            }
            break;
        }
        dev.room = SIZE_MAX;
    }
    dev.result = 0;
    sl_run(120000);
    ck_assert_uint_eq(all_outcomes(), sent);
    ck_assert_uint_gt(own.outcomes[STICK_DELIVERED], 100);
    ck_assert_uint_gt(own.outcomes[STICK_NOT_SENT], 100);
    ck_assert_uint_gt(own.ups, 10);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_link_auto");
    TCase *t = tcase_create("link");
    tcase_add_checked_fixture(t, sl_set_up, sl_tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_stick_that_answers_gets_its_own_machine_and_rate);
    tcase_add_test(t, a_stick_that_names_itself_is_not_asked);
    tcase_add_test(t, what_may_be_an_xbee_is_never_asked_and_what_is_only_likely_is);
    tcase_add_test(t, what_was_recognised_and_does_not_work_is_recognised_anew);
    tcase_add_test(t, each_packet_has_exactly_one_outcome_whatever_happens);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
