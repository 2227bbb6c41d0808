/* SPDX-License-Identifier: Apache-2.0 */
/* The ZNP driver from an open port to a running network, in every state that a stick can be in. */
#include <string.h>

#include <check.h>

#include "sim/znp_bench.h"
#include "unit/suite.h"

static struct bench *b;

static void setup_with(struct stick_config c)
{
    c.baud = 115200;
    c.seed = 1;
    b = bench_new(&c);
}

static void setup(void)
{
    setup_with(stick_defaults());
}

static void teardown(void)
{
    bench_free(b);
}

static void again_with(struct stick_config c)
{
    bench_free(b);
    setup_with(c);
}

static void unformed(struct stick_config c)
{
    again_with(c);
    b->nib_len = 0;
    b->state = 0;
    b->pan_id = 0xFFFF; /* until bench_run() sees the stick form one */
    b->channel = 0;
}

/* Nothing that changes what is stored in the stick. */
static void assert_untouched(void)
{
    static const uint16_t changes[] = {ZNP_NV_ITEM_INIT, ZNP_NV_WRITE,        ZNP_NV_WRITE_EXT,
                                       ZNP_BDB_START,    ZNP_BDB_SET_CHANNEL, ZNP_RESET_REQ};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        ck_assert_uint_eq(bench_count(b, changes[i]), 0);
}

/* The network that the last write of this NV item asks for. */
static const struct bench_asked *written(uint16_t item)
{
    for (size_t i = b->n_asked; i-- > 0;) {
        const struct bench_asked *a = &b->asked[i];
        if ((a->cmd == ZNP_NV_WRITE_EXT || a->cmd == ZNP_NV_WRITE) &&
            (a->data[0] | a->data[1] << 8) == item)
            return a;
    }
    ck_abort_msg("item %04X was not written", item);
    return NULL;
}

/* ---- a network is there ------------------------------------------------------------------------ */

START_TEST(each_generation_comes_up_at_once_with_the_network_it_has)
{
    static const struct {
        uint8_t product;
        uint16_t caps;
        const char *name;
    } generations[] = {
        {0, 0x0179, "Z-Stack 1.2"  },
        {2, 0x0659, "Z-Stack 3.0.x"},
        {1, 0x0659, "Z-Stack 3.x.0"}
    };

    b->product = generations[_i].product;
    b->caps = generations[_i].caps;
    bench_start(b, 100);
    ck_assert_ptr_nonnull(strstr(b->text, generations[_i].name));
    ck_assert_ptr_nonnull(strstr(b->text, "00124B0021A81179"));
    ck_assert_ptr_nonnull(strstr(b->text, "PAN 1A62, channel 15"));
    ck_assert_uint_eq(bench_count(b, ZNP_STARTUP_FROM_APP), 0);
    ck_assert_uint_eq(bench_count(b, ZNP_MSG_CB_REGISTER), _i == 0);
    const struct bench_asked *r = bench_last(b, ZNP_REGISTER);
    ck_assert_mem_eq(r->data, "\xE8\x05\xC1\x01\x00\x00\x00\x01\x11\x00\x01\x11\x00", r->len);
    assert_untouched();
}

END_TEST

START_TEST(a_stored_network_is_started)
{
    b->state = 0;
    bench_start(b, 100);
    ck_assert_uint_eq(bench_count(b, ZNP_STARTUP_FROM_APP), 1);
    assert_untouched();
}

END_TEST

/* Packed as on CC253x, aligned as on the others, and of no length that we know. */
START_TEST(a_stored_network_is_recognised_in_each_layout)
{
    static const uint16_t lengths[] = {110, 116, 112};

    struct stick_config c = stick_defaults();
    c.form_network = true; /* must not matter */
    again_with(c);
    b->nib_len = lengths[_i];
    b->state = 0;
    bench_start(b, 100);
    ck_assert_uint_eq(bench_count(b, ZNP_STARTUP_FROM_APP), 1);
    assert_untouched();
}

END_TEST

START_TEST(a_network_that_comes_up_without_a_word_is_noticed)
{
    b->state = 0;
    b->silent_start = true;
    bench_start(b, 5000);
}

END_TEST

START_TEST(a_network_that_does_not_start_is_tried_again_later)
{
    b->state = 0;
    bench_rule(b, ZNP_STARTUP_FROM_APP, 1, BENCH_STATUS, 2);
    bench_open(b);
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "could not start its network"));
    assert_untouched();
}

END_TEST

START_TEST(a_network_that_never_comes_up_is_given_up_after_a_minute)
{
    b->state = 0;
    b->silent_start = true;
    bench_rule(b, ZNP_STARTUP_FROM_APP, 1, BENCH_STATUS, 0);
    bench_open(b);
    bench_run(b, 59000);
    ck_assert_uint_eq(b->reopens, 0);
    bench_run(b, 5000);
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "does not come up"));
}

END_TEST

START_TEST(another_configuration_than_the_network_s_is_told_and_the_network_kept)
{
    struct stick_config c = stick_defaults();
    c.channel = 20;
    c.pan_id = 0x4242;
    c.form_network = true;
    c.has_key = true;
    again_with(c);
    b->key[3] = 1;
    bench_start(b, 100);
    ck_assert_str_eq(b->log, " znp.version znp.network_differs znp.network_differs "
                             "znp.network_differs");
    assert_untouched();
}

END_TEST

START_TEST(a_configuration_that_agrees_is_not_mentioned)
{
    struct stick_config c = stick_defaults();
    c.channel = 15;
    c.pan_id = 0x1A62;
    c.has_key = true;
    again_with(c);
    bench_start(b, 100);
    ck_assert_str_eq(b->log, " znp.version");
}

END_TEST

START_TEST(a_stick_that_is_a_router_is_not_started)
{
    b->state = 0;
    b->role = 1;
    bench_open(b);
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "as a router"));
    ck_assert_uint_eq(bench_count(b, ZNP_STARTUP_FROM_APP), 0);
}

END_TEST

/* ---- none is there ----------------------------------------------------------------------------- */

/* There is no item that tells of the network, or one that tells of none: packed, aligned. */
static const uint16_t no_networks[] = {0, 110, 116};

START_TEST(without_permission_no_network_is_formed)
{
    unformed(stick_defaults());
    b->nib_len = no_networks[_i];
    bench_open(b);
    bench_run(b, 1000);
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "form_network = yes"));
    assert_untouched();
    ck_assert_uint_eq(bench_count(b, ZNP_STARTUP_FROM_APP), 0);
}

END_TEST

START_TEST(a_stick_that_cannot_say_whether_it_has_a_network_gets_none)
{
    struct stick_config c = stick_defaults();
    c.form_network = true;
    unformed(c);
    bench_rule(b, ZNP_NV_LENGTH, 9, BENCH_UNKNOWN, 0);
    bench_open(b);
    ck_assert_uint_eq(b->reopens, 1);
    assert_untouched();
}

END_TEST

static struct stick_config forming(void)
{
    struct stick_config c = stick_defaults();
    c.form_network = true;
    c.channel = 20;
    c.pan_id = 0x4242;
    c.has_key = true;
    for (uint8_t i = 0; i < STICK_KEY_BYTES; i++)
        c.network_key[i] = (uint8_t)(0xA0 + i);
    return c;
}

static void assert_settings_written(void)
{
    ck_assert_mem_eq(written(ZNP_NV_CHANNELS)->data + 6, "\x00\x00\x10\x00", 4);
    ck_assert_mem_eq(written(ZNP_NV_PAN)->data + 6, "\x42\x42", 2);
    ck_assert_mem_eq(written(ZNP_NV_KEY)->data + 6, forming().network_key, STICK_KEY_BYTES);
    ck_assert_uint_eq(written(ZNP_NV_LOGICAL_TYPE)->data[6], 0);
    ck_assert_uint_eq(written(ZNP_NV_DIRECT_CB)->data[6], 1);
    ck_assert_uint_eq(written(ZNP_NV_STARTUP_OPTION)->data[6], 0);
}

START_TEST(with_permission_a_network_is_formed_by_commissioning)
{
    unformed(forming());
    b->nib_len = no_networks[_i];
    bench_open(b);
    b->pan_id = 0x4242;
    b->channel = 20;
    bench_run(b, 5000);
    ck_assert_uint_eq(b->ups, 1);
    assert_settings_written();
    ck_assert_uint_eq(bench_count(b, ZNP_RESET_REQ), 1);
    ck_assert_uint_eq(bench_last(b, ZNP_RESET_REQ)->data[0], 1);
    ck_assert_uint_eq(bench_count(b, ZNP_BDB_SET_CHANNEL), 2);
    ck_assert_uint_eq(bench_count(b, ZNP_BDB_START), 1);
    ck_assert_mem_eq(bench_last(b, ZNP_NV_ITEM_INIT)->data, "\x60\x00\x01\x00\x01\x55", 6);
    ck_assert_str_eq(b->log, " znp.version znp.form znp.formed");
}

END_TEST

START_TEST(z_stack_1_2_forms_by_starting)
{
    unformed(forming());
    b->product = 0;
    b->caps = 0x0179;
    b->pan_id = 0x4242;
    b->channel = 20;
    bench_start(b, 5000);
    assert_settings_written();
    ck_assert_uint_eq(bench_count(b, ZNP_RESET_REQ), 2);
    ck_assert_uint_eq(bench_count(b, ZNP_BDB_START), 0);
    ck_assert_uint_eq(bench_count(b, ZNP_STARTUP_FROM_APP), 1);
    ck_assert_mem_eq(bench_last(b, ZNP_NV_ITEM_INIT)->data, "\x00\x0F\x01\x00\x01\x55", 6);
}

END_TEST

START_TEST(items_that_do_not_exist_yet_are_made)
{
    unformed(forming());
    b->pan_id = 0x4242;
    b->channel = 20;
    bench_rule(b, ZNP_NV_WRITE_EXT, 20, BENCH_STATUS, 2);
    bench_start(b, 5000);
    ck_assert_uint_eq(bench_count(b, ZNP_NV_ITEM_INIT), 9 + 1);
}

END_TEST

START_TEST(older_commands_for_items_serve_where_the_newer_are_unknown)
{
    unformed(forming());
    b->pan_id = 0x4242;
    b->channel = 20;
    bench_rule(b, ZNP_NV_WRITE_EXT, 1, BENCH_UNKNOWN, 0);
    bench_start(b, 5000);
    ck_assert_uint_eq(bench_count(b, ZNP_NV_WRITE_EXT), 1);
    ck_assert_uint_eq(bench_count(b, ZNP_NV_WRITE), 10);
}

END_TEST

START_TEST(a_setting_that_is_not_stored_ends_the_attempt)
{
    unformed(forming());
    bench_rule(b, ZNP_NV_WRITE_EXT, 99, BENCH_STATUS, 0x0A);
    bench_rule(b, ZNP_NV_ITEM_INIT, 99, BENCH_STATUS, 0x0A);
    bench_open(b);
    bench_run(b, 5000);
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "does not store a setting"));
    ck_assert_uint_eq(bench_count(b, ZNP_BDB_START), 0);
}

END_TEST

START_TEST(a_network_that_cannot_be_formed_is_told_with_its_reason)
{
    unformed(forming());
    b->formation = 8;
    bench_open(b);
    bench_run(b, 5000);
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "commissioning status 8"));
}

END_TEST

START_TEST(settings_that_nobody_configured_are_made_up)
{
    struct stick_config c = stick_defaults();
    c.form_network = true;
    unformed(c);
    b->pan_id = 0x7777;
    b->channel = 15;
    bench_start(b, 5000);
    ck_assert_mem_eq(written(ZNP_NV_CHANNELS)->data + 6, "\x00\x80\x00\x00", 4);
    const uint8_t *pan = written(ZNP_NV_PAN)->data + 6;
    ck_assert_uint_ne(pan[0] | pan[1] << 8, 0xFFFF);
    ck_assert_uint_ne(pan[0] | pan[1] << 8, 0);
    ck_assert_mem_ne(written(ZNP_NV_KEY)->data + 6, stick_defaults().network_key, 16);
}

END_TEST

START_TEST(forming_cut_short_by_unplugging_begins_anew)
{
    unformed(forming());
    b->pan_id = 0x4242;
    b->channel = 20;
    bench_rule(b, ZNP_BDB_SET_CHANNEL, 1, BENCH_MUTE, 0);
    bench_open(b);
    bench_run(b, 1000);
    stick_closed(b->s, b->now_ms);
    bench_run(b, 1000);
    const unsigned before = bench_count(b, ZNP_RESET_REQ);
    bench_start(b, 5000);
    ck_assert_uint_eq(bench_count(b, ZNP_RESET_REQ), before + 1);
    ck_assert_uint_eq(bench_count(b, ZNP_BDB_START), 1);
}

END_TEST

/* ---- hello ------------------------------------------------------------------------------------- */

START_TEST(a_stick_in_its_boot_loader_is_told_to_go_on)
{
    b->in_boot_loader = true;
    bench_start(b, 4000);
    ck_assert_uint_eq(b->ports, 0);
}

END_TEST

START_TEST(a_stick_held_by_its_pins_is_released)
{
    b->held_by_pins = true;
    bench_start(b, 10000);
    ck_assert_uint_eq(b->ports, 3);
}

END_TEST

START_TEST(a_stick_that_says_nothing_is_given_up)
{
    b->dead = true;
    bench_open(b);
    bench_run(b, 12000);
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "does not answer"));
}

END_TEST

START_TEST(what_does_not_speak_znp_is_told_apart)
{
    b->dead = b->babbles = true;
    bench_open(b);
    bench_run(b, 12000);
    ck_assert_ptr_nonnull(strstr(b->text, "nothing that a ZNP stick would say"));
}

END_TEST

START_TEST(a_line_that_sends_back_what_we_write_is_told_apart)
{
    b->dead = b->echoes = true;
    bench_open(b);
    bench_run(b, 12000);
    ck_assert_ptr_nonnull(strstr(b->text, "sends back what we write"));
}

END_TEST

START_TEST(a_stick_that_boots_while_we_say_hello_is_up_soon)
{
    b->dead = true;
    bench_open(b);
    bench_run(b, 700);
    b->dead = false;
    bench_say(b, ZNP_RESET_IND, "00 02 01 02 07 01");
    bench_run(b, 1500);
    ck_assert_uint_eq(b->ups, 1);
    ck_assert_uint_eq(stick_counters(b->s)->stick_resets, 0);
}

END_TEST

/* ---- trouble on the way ------------------------------------------------------------------------ */

START_TEST(an_answer_lost_once_delays_and_no_more)
{
    static const uint16_t requests[] = {
        ZNP_PING,         ZNP_VERSION,         ZNP_DEVICE_INFO, ZNP_NV_LENGTH,
        ZNP_NV_WRITE_EXT, ZNP_BDB_SET_CHANNEL, ZNP_BDB_START,   ZNP_EXT_NWK_INFO,
        ZNP_NV_ITEM_INIT, ZNP_REGISTER,
    };
    unformed(forming());
    b->pan_id = 0x4242;
    b->channel = 20;
    bench_rule(b, requests[_i], 1, BENCH_MUTE, 0);
    bench_open(b);
    bench_run(b, 60000);
    ck_assert_msg(b->ups == 1 && b->reopens == 0, "%04X: %s", requests[_i], b->text);
}

END_TEST

START_TEST(an_answer_that_never_comes_is_given_up_with_what_was_asked)
{
    bench_rule(b, ZNP_EXT_NWK_INFO, 99, BENCH_MUTE, 0);
    bench_open(b);
    bench_run(b, 60000);
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "while describing its network"));
}

END_TEST

START_TEST(an_endpoint_of_an_earlier_start_is_registered_anew)
{
    bench_rule(b, ZNP_REGISTER, 1, BENCH_STATUS, ZNP_DUPLICATE_ENTRY);
    bench_start(b, 100);
    ck_assert_uint_eq(bench_count(b, ZNP_DELETE), 1);
    ck_assert_uint_eq(bench_last(b, ZNP_DELETE)->data[0], 0xE8);
    ck_assert_uint_eq(bench_count(b, ZNP_REGISTER), 2);
}

END_TEST

START_TEST(a_stick_that_cannot_delete_endpoints_is_reset)
{
    bench_rule(b, ZNP_REGISTER, 2, BENCH_STATUS, ZNP_DUPLICATE_ENTRY);
    bench_rule(b, ZNP_DELETE, 1, BENCH_UNKNOWN, 0);
    bench_start(b, 5000);
    ck_assert_uint_eq(bench_count(b, ZNP_RESET_REQ), 1);
    ck_assert_uint_eq(stick_counters(b->s)->stick_resets, 0);
}

END_TEST

START_TEST(a_stick_that_refuses_our_endpoint_for_good_is_given_up)
{
    bench_rule(b, ZNP_REGISTER, 99, BENCH_STATUS, 0x10);
    bench_open(b);
    bench_run(b, 10000);
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "refuses to register endpoint E8"));
    ck_assert_uint_eq(bench_count(b, ZNP_RESET_REQ), 1);
}

END_TEST

START_TEST(a_stick_that_resets_all_the_time_is_given_up)
{
    bench_rule(b, ZNP_EXT_NWK_INFO, 99, BENCH_MUTE, 0);
    bench_open(b);
    for (unsigned i = 0; i < 10 && b->reopens == 0; i++) {
        bench_say(b, ZNP_RESET_IND, "00 02 01 02 07 01");
        bench_run(b, 200);
    }
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "power supply"));
}

END_TEST

START_TEST(the_start_is_the_same_after_the_stick_was_away)
{
    bench_start(b, 100);
    for (unsigned i = 2; i < 12; i++) {
        stick_closed(b->s, b->now_ms);
        bench_run(b, 1000);
        b->n_asked = 0;
        bench_open(b);
        bench_run(b, 10);
        ck_assert_uint_eq(b->ups, i);
    }
    ck_assert_uint_eq(b->reopens, 0);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_znp_start");
    TCase *t = tcase_create("start");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, each_generation_comes_up_at_once_with_the_network_it_has, 0, 3);
    tcase_add_test(t, a_stored_network_is_started);
    tcase_add_loop_test(t, a_stored_network_is_recognised_in_each_layout, 0, 3);
    tcase_add_test(t, a_network_that_comes_up_without_a_word_is_noticed);
    tcase_add_test(t, a_network_that_does_not_start_is_tried_again_later);
    tcase_add_test(t, a_network_that_never_comes_up_is_given_up_after_a_minute);
    tcase_add_test(t, another_configuration_than_the_network_s_is_told_and_the_network_kept);
    tcase_add_test(t, a_configuration_that_agrees_is_not_mentioned);
    tcase_add_test(t, a_stick_that_is_a_router_is_not_started);
    tcase_add_loop_test(t, without_permission_no_network_is_formed, 0, 3);
    tcase_add_test(t, a_stick_that_cannot_say_whether_it_has_a_network_gets_none);
    tcase_add_loop_test(t, with_permission_a_network_is_formed_by_commissioning, 0, 3);
    tcase_add_test(t, z_stack_1_2_forms_by_starting);
    tcase_add_test(t, items_that_do_not_exist_yet_are_made);
    tcase_add_test(t, older_commands_for_items_serve_where_the_newer_are_unknown);
    tcase_add_test(t, a_setting_that_is_not_stored_ends_the_attempt);
    tcase_add_test(t, a_network_that_cannot_be_formed_is_told_with_its_reason);
    tcase_add_test(t, settings_that_nobody_configured_are_made_up);
    tcase_add_test(t, forming_cut_short_by_unplugging_begins_anew);
    tcase_add_test(t, a_stick_in_its_boot_loader_is_told_to_go_on);
    tcase_add_test(t, a_stick_held_by_its_pins_is_released);
    tcase_add_test(t, a_stick_that_says_nothing_is_given_up);
    tcase_add_test(t, what_does_not_speak_znp_is_told_apart);
    tcase_add_test(t, a_line_that_sends_back_what_we_write_is_told_apart);
    tcase_add_test(t, a_stick_that_boots_while_we_say_hello_is_up_soon);
    tcase_add_loop_test(t, an_answer_lost_once_delays_and_no_more, 0, 10);
    tcase_add_test(t, an_answer_that_never_comes_is_given_up_with_what_was_asked);
    tcase_add_test(t, an_endpoint_of_an_earlier_start_is_registered_anew);
    tcase_add_test(t, a_stick_that_cannot_delete_endpoints_is_reset);
    tcase_add_test(t, a_stick_that_refuses_our_endpoint_for_good_is_given_up);
    tcase_add_test(t, a_stick_that_resets_all_the_time_is_given_up);
    tcase_add_test(t, the_start_is_the_same_after_the_stick_was_away);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
