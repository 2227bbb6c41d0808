/* SPDX-License-Identifier: Apache-2.0 */
/* How the EZSP driver starts a stick in every state, and what makes it start one anew. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "sim/fake_ncp.h"
#include "unit/suite.h"

enum { NODE_SHORT = 0x4A3B };

static const uint64_t node = 0x0013A20040522BAA;
static const uint8_t versions[] = {8, 13, 14, 17, 19};

static struct ncp_world *world(uint8_t version)
{
    const struct stick_config c = stick_defaults();
    return ncp_world_new(version, &c);
}

static bool logged(const struct ncp_world *w, const char *part)
{
    return strstr(w->logged, part) != NULL;
}

static bool says(const struct ncp_world *w, const char *part)
{
    return strstr(w->text, part) != NULL;
}

static void opens(struct ncp_world *w, int64_t ms)
{
    stick_opened(w->stick, w->now_ms);
    ncp_world_run(w, ms);
}

START_TEST(a_stick_that_has_a_network_resumes_it_in_every_version)
{
    struct ncp_world *w = world(versions[_i]);
    ncp_world_start(w);
    const struct ncp *n = &w->ncp;
    ck_assert_uint_eq(w->ups, 1);
    ck_assert_uint_eq(w->max_packet_bytes, 82);
    ck_assert_ptr_nonnull(strstr(w->up, "channel 15, PAN 1A62, coordinator 00124b0021a81179"));
    ck_assert_ptr_nonnull(strstr(w->up, "EmberZNet 7.4.3"));
    ck_assert_uint_eq(n->asked[EZSP_VERSION], versions[_i] == EZSP_NEWEST ? 1 : 2);
    ck_assert_uint_eq(n->asked[EZSP_FORM_NETWORK] + n->asked[EZSP_SET_SECURITY], 0);
    ck_assert_int_ge(ncp_asked_at(n, EZSP_ADD_ENDPOINT), 0);
    ck_assert_int_lt(ncp_asked_at(n, EZSP_ADD_ENDPOINT), ncp_asked_at(n, EZSP_NETWORK_INIT));
    ck_assert_int_lt(ncp_asked_at(n, EZSP_SET_CONFIGURATION), ncp_asked_at(n, EZSP_ADD_ENDPOINT));
    ck_assert_uint_eq(w->warnings, 0);
    ck_assert_uint_eq(stick_counters(w->stick)->strange_frames, 0);
    ck_assert_uint_eq(stick_counters(w->stick)->bad_frames, 0);
    ncp_world_free(w);
}

END_TEST

START_TEST(an_unformed_stick_gets_the_configured_network_where_that_is_allowed)
{
    struct stick_config c = stick_defaults();
    c.form_network = true;
    c.channel = 20;
    c.pan_id = 0xBEEF;
    c.has_key = true;
    memcpy(c.network_key, "0123456789abcdef", 16);
    struct ncp_world *w = ncp_world_new(versions[_i], &c);
    w->ncp.has_network = false;
    ncp_world_start(w);
    const struct ncp *n = &w->ncp;
    ck_assert_uint_eq(n->asked[EZSP_FORM_NETWORK], 1);
    ck_assert_uint_eq(n->channel, 20);
    ck_assert_uint_eq(n->pan_id, 0xBEEF);
    ck_assert_int_lt(ncp_asked_at(n, EZSP_SET_SECURITY), ncp_asked_at(n, EZSP_FORM_NETWORK));
    const struct ncp_frame *security = &n->last[EZSP_SET_SECURITY];
    ck_assert_uint_eq(security->len, 2 + 16 + 16 + 1 + 8);
    ck_assert_mem_eq(security->octets, "\x84\x0B", 2);
    ck_assert_mem_eq(security->octets + 18, "0123456789abcdef", 16);
    ck_assert_ptr_nonnull(strstr(w->up, "channel 20, PAN BEEF"));

    /* Next time it is resumed. */
    stick_closed(w->stick, w->now_ms);
    ncp_world_start(w);
    ck_assert_uint_eq(n->asked[EZSP_FORM_NETWORK], 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(without_a_configured_key_the_keys_are_random)
{
    uint8_t before[32] = {0};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct stick_config c = stick_defaults();
        c.form_network = true;
        c.hash_seed.k0 = seed;
        struct ncp_world *w = ncp_world_new(13, &c);
        w->ncp.has_network = false;
        ncp_world_start(w);
        const uint8_t *keys = w->ncp.last[EZSP_SET_SECURITY].octets + 2;
        ck_assert(memcmp(keys, keys + 16, 16) != 0);
        ck_assert(memcmp(keys, before, 16) != 0);
        ck_assert(memcmp(keys + 16, before + 16, 16) != 0);
        ck_assert(memcmp(keys, keys + 8, 8) != 0);
        memcpy(before, keys, sizeof before);
        ck_assert_uint_eq(w->ncp.channel, 15);
        ck_assert(w->ncp.pan_id > 0 && w->ncp.pan_id < 0xFFFF);
        ncp_world_free(w);
    }
}

END_TEST

START_TEST(an_unformed_stick_stays_so_where_forming_is_not_allowed)
{
    struct ncp_world *w = world(versions[_i]);
    w->ncp.has_network = false;
    opens(w, 1000);
    ck_assert_uint_eq(w->ups, 0);
    ck_assert_uint_eq(w->reopens, 1);
    ck_assert(says(w, "form_network"));
    ck_assert_uint_eq(w->ncp.asked[EZSP_FORM_NETWORK] + w->ncp.asked[EZSP_SET_SECURITY], 0);
    ck_assert_int_eq(stick_state(w->stick), STICK_GIVEN_UP);
    ncp_world_free(w);
}

END_TEST

START_TEST(another_network_than_the_configured_one_is_kept_and_warned_of)
{
    struct stick_config c = stick_defaults();
    c.channel = 11;
    c.pan_id = 0x1A62;
    c.form_network = true;
    struct ncp_world *w = ncp_world_new(13, &c);
    ncp_world_start(w);
    ck_assert_uint_eq(w->warnings, 1);
    ck_assert(logged(w, "ezsp.other_network"));
    ck_assert(logged(w, "channel 15, PAN 1A62, not on channel 11, PAN 1A62"));
    ck_assert_uint_eq(w->ncp.asked[EZSP_FORM_NETWORK], 0);
    ck_assert_uint_eq(w->ncp.channel, 15);
    ncp_world_free(w);
}

END_TEST

START_TEST(firmware_older_than_version_8_is_refused_in_words)
{
    struct ncp_world *w = world((uint8_t)_i);
    opens(w, 1000);
    ck_assert_uint_eq(w->reopens, 1);
    ck_assert(says(w, "too old"));
    ck_assert(says(w, "EmberZNet 6.7"));
    ck_assert_uint_eq(w->ncp.n_asked, 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(firmware_newer_than_any_known_is_tried)
{
    struct ncp_world *w = world(30);
    ncp_world_start(w);
    ck_assert(logged(w, "newer than any we know"));
    ncp_world_free(w);
}

END_TEST

START_TEST(a_silent_device_is_given_up_after_five_resets_and_multiprotocol_firmware_is_named)
{
    struct ncp_world *w = world(13);
    w->ncp.reset_code = 0;
    opens(w, 24999);
    ck_assert_uint_eq(w->reopens, 0);
    ncp_world_run(w, 1);
    ck_assert_uint_eq(w->reopens, 1);
    ck_assert_uint_eq(w->ncp.resets, 5);
    ck_assert(says(w, "says nothing"));
    ck_assert(says(w, "CPC"));
    ck_assert(says(w, "RCP"));
    ck_assert(says(w, "baud"));
    ncp_world_free(w);

    w = world(13);
    w->ncp.reset_code = 0;
    opens(w, 1);
    ncp_raw(w, bytes_str("\x7E\x80\x06\x00\x70\xEE\x74\x7E"));
    ncp_world_run(w, 25000);
    ck_assert(says(w, "octets came"));
    ncp_world_free(w);

    w = world(13);
    w->ncp.reset_code = 0x03;
    opens(w, 30000);
    ck_assert_uint_eq(w->reopens, 1);
    ck_assert(says(w, "watchdog"));
    ncp_world_free(w);
}

END_TEST

START_TEST(a_stick_in_its_boot_loader_is_told_to_go_on)
{
    struct ncp_world *w = world(13);
    w->ncp.deaf_resets = _i == 0 ? 1 : 5;
    opens(w, 10);
    ncp_raw(w, bytes_str("\r\n3. ebl info\r\nBBL"));
    ncp_raw(w, bytes_str(" > "));
    ncp_world_run(w, 1);
    ck_assert_uint_eq(w->wire[0], '2');
    ncp_world_run(w, 30000);
    ck_assert(logged(w, "ezsp.boot_loader"));
    ck_assert_uint_eq(w->ups, _i == 0);
    ck_assert(_i == 0 || says(w, "stays in its boot loader"));
    ncp_world_free(w);
}

END_TEST

START_TEST(a_stick_that_just_got_its_power_is_reset_once_more)
{
    struct ncp_world *w = world(13);
    w->ncp.deaf_resets = 1;
    opens(w, 10);
    ncp_raw(w, bytes_str("\r\nGecko Bootloader v1.9\r\n"));
    ncp_raw(w, bytes_of("\x1A\xC1\x02\x02\x9B\x7B\x7E", 7));
    ncp_world_run(w, 2000);
    ck_assert_uint_eq(w->ups, 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(settings_that_the_stick_refuses_or_does_not_know_are_not_fatal)
{
    static const uint16_t optional[] = {EZSP_SET_CONFIGURATION, EZSP_SET_POLICY, EZSP_SET_VALUE,
                                        EZSP_SET_CONCENTRATOR, EZSP_GET_CONFIGURATION};

    struct ncp_world *w = world(versions[_i]);
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        w->ncp.status_of[optional[i]] = 0x35;
    ncp_world_start(w);
    ncp_world_free(w);
    w = world(versions[_i]);
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        w->ncp.unknown_id[optional[i]] = true;
    ncp_world_start(w);
    ncp_world_free(w);
}

END_TEST

START_TEST(what_packets_cannot_do_without_is_fatal_and_named)
{
    static const struct {
        uint16_t id;
        bool unknown;
        const char *words;
    } needs[] = {
        {EZSP_ADD_ENDPOINT,           false, "registering our endpoint failed"        },
        {EZSP_ADD_ENDPOINT,           true,  "does not know addEndpoint"              },
        {EZSP_NETWORK_INIT,           false, "starting the stick's network failed"    },
        {EZSP_NETWORK_INIT,           true,  "does not know networkInit"              },
        {EZSP_GET_NETWORK_PARAMETERS, false, "reading the network's parameters failed"},
        {EZSP_SET_SECURITY,           false, "keys failed"                            },
        {EZSP_FORM_NETWORK,           false, "forming a network failed"               },
    };

    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
        struct stick_config c = stick_defaults();
        c.form_network = true;
        struct ncp_world *w = ncp_world_new(versions[_i], &c);
        w->ncp.has_network = needs[i].id != EZSP_SET_SECURITY && needs[i].id != EZSP_FORM_NETWORK;
        w->ncp.status_of[needs[i].id] = needs[i].unknown ? 0 : 0x01;
        w->ncp.unknown_id[needs[i].id] = needs[i].unknown;
        opens(w, 5000);
        ck_assert_msg(says(w, needs[i].words), "%s", w->text);
        ck_assert_uint_eq(w->reopens, 1);
        ck_assert_uint_eq(w->ups, 0);
        ck_assert_uint_eq(w->ncp.resets, 6);
        ncp_world_free(w);
    }
}

END_TEST

START_TEST(network_up_may_come_before_the_response_that_it_belongs_to)
{
    struct ncp_world *w = world(versions[_i]);
    w->ncp.up_first = true;
    ncp_world_start(w);
    ck_assert_int_lt(w->now_ms, 2000);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_network_that_does_not_come_up_is_started_anew_then_the_port_is_opened_anew)
{
    struct ncp_world *w = world(13);
    w->ncp.no_up = true;
    opens(w, 9999);
    ck_assert_uint_eq(w->ncp.resets, 1);
    ncp_world_run(w, 1);
    ck_assert_uint_eq(w->ncp.resets, 2);
    ck_assert(logged(w, "not come up within 10 s"));
    ncp_world_run(w, 50000);
    ck_assert_uint_eq(w->reopens, 1);

    w->ncp.no_up = false;
    stick_closed(w->stick, w->now_ms);
    ncp_world_start(w);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_command_without_response_makes_it_start_anew)
{
    struct ncp_world *w = world(13);
    w->ncp.mute_id[EZSP_GET_EUI64] = true;
    opens(w, 14399);
    ck_assert_uint_eq(w->ncp.resets, 1);
    ncp_world_run(w, 1);
    ck_assert(logged(w, "not answered getEui64 for 14 s"));
    ck_assert_uint_eq(w->ncp.resets, 2);
    w->ncp.mute_id[EZSP_GET_EUI64] = false;
    ncp_world_run(w, 14500);
    ck_assert_uint_eq(w->ups, 1);
    ck_assert_uint_eq(w->downs, 0);
    ncp_world_free(w);
}

END_TEST

/* ---- a start that succeeded, and then ----------------------------------------------------------- */

START_TEST(a_stick_that_resets_itself_is_started_anew_and_what_it_had_is_unknown)
{
    struct ncp_world *w = world(versions[_i]);
    w->ncp.short_of_node = NODE_SHORT;
    ncp_world_start(w);
    w->ncp.sent_after_ms = -1;
    ncp_world_send(w, node, bytes_str("one"));
    ncp_world_send(w, node, bytes_str("two"));
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_UNICAST], 1);
    ncp_says(w, ASH_RSTACK, 0x03);
    w->ncp.sent_after_ms = 20;
    ncp_world_run(w, 1000);
    ck_assert(says(w, "has reset itself (watchdog)"));
    ck_assert_uint_eq(w->downs, 1);
    ck_assert_uint_eq(w->ups, 2);
    ck_assert_uint_eq(stick_counters(w->stick)->stick_resets, 1);
    ck_assert_uint_eq(w->outcomes[STICK_UNKNOWN], 1);
    ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 1);
    ck_assert(memcmp(w->ncp.last[EZSP_SEND_UNICAST].octets + w->ncp.last[EZSP_SEND_UNICAST].len - 3,
                     "two", 3) == 0);
    ncp_world_free(w);
}

END_TEST

START_TEST(an_error_of_the_line_starts_it_anew)
{
    struct ncp_world *w = world(13);
    ncp_world_start(w);
    ncp_says(w, ASH_ERROR, 0x51);
    ncp_world_run(w, 1000);
    ck_assert_uint_eq(w->ncp.resets, 2);
    ck_assert_uint_eq(w->ups, 2);
    ck_assert(says(w, "failed line"));
    ncp_world_free(w);
}

END_TEST

START_TEST(resets_again_and_again_end_with_another_opening)
{
    struct ncp_world *w = world(13);
    ncp_world_start(w);
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_uint_eq(w->reopens, 0);
        ncp_says(w, ASH_RSTACK, 0x03);
        ncp_world_run(w, 1000);
    }
    ck_assert_uint_eq(w->reopens, 1);
    ncp_world_free(w);

    /* But not when it works in between. */
    w = world(13);
    ncp_world_start(w);
    for (unsigned i = 0; i < 12; i++) {
        ncp_says(w, ASH_RSTACK, 0x03);
        ncp_world_run(w, 31000);
    }
    ck_assert_uint_eq(w->reopens, 0);
    ck_assert_uint_eq(w->ups, 13);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_line_that_is_cut_is_noticed_within_a_minute)
{
    struct ncp_world *w = world(13);
    ncp_world_start(w);
    ncp_world_run(w, 300000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_NOP], 10);
    ck_assert_uint_eq(w->downs, 0);
    w->line_cut = true;
    ncp_world_run(w, 60000);
    ck_assert_uint_eq(w->downs, 1);
    ck_assert(says(w, "acknowledges nothing"));
    ncp_world_run(w, 25000);
    ck_assert_uint_eq(w->reopens, 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(the_network_may_go_down_and_come_back)
{
    struct ncp_world *w = world(versions[_i]);
    w->ncp.short_of_node = NODE_SHORT;
    ncp_world_start(w);
    ncp_status(w, 0x91, SL_NETWORK_DOWN);
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->downs, 1);
    ck_assert(says(w, "network is down"));
    ncp_world_send(w, node, bytes_str("one"));
    ck_assert_uint_eq(w->outcomes[STICK_NOT_SENT], 1);
    ncp_status(w, 0x90, SL_NETWORK_UP);
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->ups, 2);
    ck_assert_uint_eq(w->ncp.resets, 1);
    ncp_world_send(w, node, bytes_str("two"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 1);

    ncp_status(w, 0x91, SL_NETWORK_DOWN);
    ncp_world_run(w, 10100);
    ck_assert(logged(w, "not come back for 10 s"));
    ck_assert_uint_eq(w->ncp.resets, 2);
    ck_assert_uint_eq(w->ups, 3);
    ncp_world_free(w);
}

END_TEST

START_TEST(the_network_may_go_down_and_up_in_the_midst_of_the_start)
{
    struct ncp_world *w = world(13);
    w->ncp.mute_id[EZSP_GET_EUI64] = true;
    opens(w, 1000);
    ck_assert_uint_eq(w->ups, 0);
    ncp_status(w, 0x91, SL_NETWORK_DOWN);
    ncp_status(w, 0x90, SL_NETWORK_UP);
    ncp_world_run(w, 10);
    w->ncp.mute_id[EZSP_GET_EUI64] = false;
    const unsigned tokens = w->ncp.asked[EZSP_SET_VALUE];
    ncp_response(w, w->ncp.seq, EZSP_GET_EUI64, bytes_of("\x79\x11\xA8\x21\x00\x4B\x12\x00", 8));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->ups, 1);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SET_VALUE], tokens + 1);
    ck_assert_ptr_nonnull(strstr(w->up, "coordinator 00124b0021a81179"));
    ncp_world_free(w);
}

END_TEST

START_TEST(the_port_may_be_closed_at_any_moment_of_the_start)
{
    for (unsigned octets = 1; octets < 400; octets += 7) {
        struct ncp_world *w = world(13);
        stick_opened(w->stick, w->now_ms);
        struct bytes out;
        /* The port takes so many octets of ours, and is gone. */
        for (unsigned left = octets; left > 0 && stick_peek_bytes(w->stick, &out);) {
            const unsigned n = left < out.len ? left : (unsigned)out.len;
            stick_took(w->stick, w->now_ms, n);
            left -= n;
            if (left > 0)
                ncp_says(w, ASH_RSTACK, ASH_RESET_SOFTWARE);
        }
        stick_closed(w->stick, w->now_ms);
        ncp_world_start(w);
        ncp_world_free(w);
    }
}

END_TEST

static struct ncp_world *up(uint8_t version)
{
    struct ncp_world *w = world(version);
    ncp_world_start(w);
    return w;
}

/* ---- joining ----------------------------------------------------------------------------------- */

START_TEST(joining_is_opened_kept_open_and_closed)
{
    struct ncp_world *w = up(versions[_i]);
    const uint16_t key = versions[_i] < 12 ? EZSP_ADD_TRANSIENT : EZSP_IMPORT_TRANSIENT;
    const unsigned policies = w->ncp.asked[EZSP_SET_POLICY];
    stick_permit_join(w->stick, w->now_ms, 600);
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->ncp.asked[key], 1);
    ck_assert_mem_eq(w->ncp.last[key].octets + 8, "ZigBeeAlliance09", 16);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SET_POLICY], policies + 1);
    ck_assert_mem_eq(w->ncp.last[EZSP_SET_POLICY].octets, "\x00\x03", 2);
    ck_assert_uint_eq(w->ncp.last[EZSP_PERMIT_JOINING].octets[0], 254);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_BROADCAST], 1);
    ncp_world_run(w, 240000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_PERMIT_JOINING], 2);
    ncp_world_run(w, 240000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_PERMIT_JOINING], 3);
    ck_assert_uint_eq(w->ncp.last[EZSP_PERMIT_JOINING].octets[0], 120);
    ncp_world_run(w, 120000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_PERMIT_JOINING], 4);
    ck_assert_uint_eq(w->ncp.last[EZSP_PERMIT_JOINING].octets[0], 0);
    ck_assert_mem_eq(w->ncp.last[EZSP_SET_POLICY].octets, "\x00\x02", 2);
    ck_assert_uint_eq(w->ncp.asked[EZSP_CLEAR_TRANSIENT], 1);
    ncp_world_run(w, 600000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_PERMIT_JOINING], 4);
    ck_assert_uint_eq(w->warnings, 0);

    stick_permit_join(w->stick, w->now_ms, 100);
    ncp_world_run(w, 50000);
    stick_permit_join(w->stick, w->now_ms, 0);
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->ncp.last[EZSP_PERMIT_JOINING].octets[0], 0);
    w->ncp.status_of[EZSP_PERMIT_JOINING] = 0x70;
    stick_permit_join(w->stick, w->now_ms, 100);
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->warnings, 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_restart_of_the_stick_opens_joining_again)
{
    struct stick_config c = stick_defaults();
    c.permit_join_s = UINT16_MAX;
    struct ncp_world *w = ncp_world_new(13, &c);
    ncp_world_start(w);
    ncp_world_run(w, 1000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_PERMIT_JOINING], 1);
    ncp_says(w, ASH_RSTACK, 2);
    ncp_world_run(w, 1000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_PERMIT_JOINING], 2);
    ncp_world_run(w, 3600000);
    ck_assert_uint_eq(w->ncp.asked[EZSP_PERMIT_JOINING], 17);
    ck_assert_uint_eq(w->ncp.last[EZSP_PERMIT_JOINING].octets[0], 254);
    ncp_world_free(w);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("stick_ezsp_start");
    TCase *t = tcase_create("start");
    const int all = (int)(sizeof versions);
    tcase_add_loop_test(t, a_stick_that_has_a_network_resumes_it_in_every_version, 0, all);
    tcase_add_loop_test(t, an_unformed_stick_gets_the_configured_network_where_that_is_allowed, 0,
                        all);
    tcase_add_test(t, without_a_configured_key_the_keys_are_random);
    tcase_add_loop_test(t, an_unformed_stick_stays_so_where_forming_is_not_allowed, 0, all);
    tcase_add_test(t, another_network_than_the_configured_one_is_kept_and_warned_of);
    tcase_add_loop_test(t, firmware_older_than_version_8_is_refused_in_words, 4, 8);
    tcase_add_test(t, firmware_newer_than_any_known_is_tried);
    tcase_add_test(
        t, a_silent_device_is_given_up_after_five_resets_and_multiprotocol_firmware_is_named);
    tcase_add_loop_test(t, a_stick_in_its_boot_loader_is_told_to_go_on, 0, 2);
    tcase_add_test(t, a_stick_that_just_got_its_power_is_reset_once_more);
    tcase_add_loop_test(t, settings_that_the_stick_refuses_or_does_not_know_are_not_fatal, 0, all);
    tcase_add_loop_test(t, what_packets_cannot_do_without_is_fatal_and_named, 0, all);
    tcase_add_loop_test(t, network_up_may_come_before_the_response_that_it_belongs_to, 0, all);
    tcase_add_test(t, a_network_that_does_not_come_up_is_started_anew_then_the_port_is_opened_anew);
    tcase_add_test(t, a_command_without_response_makes_it_start_anew);
    tcase_add_loop_test(t, a_stick_that_resets_itself_is_started_anew_and_what_it_had_is_unknown, 0,
                        all);
    tcase_add_test(t, an_error_of_the_line_starts_it_anew);
    tcase_add_test(t, resets_again_and_again_end_with_another_opening);
    tcase_add_test(t, a_line_that_is_cut_is_noticed_within_a_minute);
    tcase_add_loop_test(t, the_network_may_go_down_and_come_back, 0, all);
    tcase_add_test(t, the_network_may_go_down_and_up_in_the_midst_of_the_start);
    tcase_add_test(t, the_port_may_be_closed_at_any_moment_of_the_start);
    tcase_add_loop_test(t, joining_is_opened_kept_open_and_closed, 0, all);
    tcase_add_test(t, a_restart_of_the_stick_opens_joining_again);
    suite_add_tcase(s, t);
    return run_suite(s);
}
