/* SPDX-License-Identifier: Apache-2.0 */
/* [link NAME] of sticks: what the keys mean to the radio layer. What is wrong with them is said in
 * tests/golden/config/sticks-bad.conf. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "config_priv.h"
#include "unit/suite.h"

enum { TEXT_ROOM = 1024 };

static const char broker[] = "[broker]\naddress = 127.0.0.1\n";
static char directory[] = "/tmp/sennet-link-XXXXXX";

static void set_up(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
}

static void tear_down(void)
{
    ck_assert_int_eq(chdir("/"), 0);
    char command[TEXT_ROOM];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    FILE *f = fopen(name, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
    chmod(name, mode);
}

static struct config *load(const char *path)
{
    char *said = NULL;
    size_t len = 0;
    FILE *errors = open_memstream(&said, &len);
    struct config *c = NULL;
    const int rc = config_load(path, errors, &c);
    fclose(errors);
    ck_assert_msg(rc == 0 && len == 0, "code %d: %s", rc, said);
    free(said);
    return c;
}

static struct config *load_links(const char *links)
{
    char text[TEXT_ROOM];
    snprintf(text, sizeof text, "%s%s", broker, links);
    write_file("test.conf", text, 0644);
    return load("test.conf");
}

START_TEST(every_key_of_a_stick_arrives)
{
    static const uint8_t key[] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                  0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF};
    struct link_config link;
    struct stick_config stick;
    write_file("key", "00:11:22:33:44:55:66:77:88:99:AA:bb:cc:DD:EE:FF\r\n", 0600);
    struct config *c = load_links("[link a]\ndriver = auto\ndevice = /dev/nobody-has-this\n"
                                  "baud = 250000\nflow_control = rtscts\ndtr = off\nrts = on\n"
                                  "channel = 26\npan_id = 0xfFfE\nnetwork_key_file = key\n"
                                  "form_network = yes\npermit_join = 2m\nendpoint = 240\n"
                                  "profile = 0xC5A0\ncluster = 0\napi = 2\nfamily = 802.15.4\n"
                                  "max_packet = 60\n");
    config_radio(c, 0, &link, &stick);
    ck_assert_uint_eq(link.index, 0);
    ck_assert_str_eq(link.name, "a");
    ck_assert_str_eq(link.driver, "auto");
    ck_assert_str_eq(link.port.device, "/dev/nobody-has-this");
    ck_assert_uint_eq(link.port.baud, 250000);
    ck_assert_uint_eq(link.port.flow_control, PORT_FLOW_RTSCTS);
    ck_assert_int_eq(link.port.dtr, 0);
    ck_assert_int_eq(link.port.rts, 1);
    ck_assert_uint_eq(link.max_packet_bytes, 60);
    ck_assert_ptr_eq(link.stick, &stick);
    ck_assert_uint_eq(stick.channel, 26);
    ck_assert_uint_eq(stick.pan_id, 0xFFFE);
    ck_assert(stick.has_key);
    ck_assert_mem_eq(stick.network_key, key, sizeof key);
    ck_assert(stick.form_network);
    ck_assert_uint_eq(stick.permit_join_s, 120);
    ck_assert_uint_eq(stick.endpoint, 240);
    ck_assert_uint_eq(stick.profile, 0xC5A0);
    ck_assert_uint_eq(stick.cluster, 0);
    ck_assert_uint_eq(stick.api, 2);
    ck_assert_uint_eq(stick.family, XBEE_802154);
    config_free(c);
}

END_TEST

START_TEST(without_keys_a_stick_is_left_as_it_is)
{
    struct link_config link;
    struct stick_config stick;
    const struct stick_config plain = stick_defaults();
    struct config *c = load_links("[link a]\ndriver = auto\ndevice = tcp://stick.lan:6638\n");
    config_radio(c, 0, &link, &stick);
    ck_assert_uint_eq(link.port.baud, 0); /* the link knows what is usual */
    ck_assert_uint_eq(link.port.flow_control, PORT_FLOW_NONE);
    ck_assert_int_eq(link.port.dtr, -1);
    ck_assert_int_eq(link.port.rts, -1);
    ck_assert_uint_eq(link.max_packet_bytes, 255);
    ck_assert_uint_eq(stick.channel, 0);
    ck_assert_uint_eq(stick.pan_id, 0);
    ck_assert(!stick.has_key);
    ck_assert(!stick.form_network);
    ck_assert_uint_eq(stick.permit_join_s, 0);
    ck_assert_uint_eq(stick.endpoint, plain.endpoint);
    ck_assert_uint_eq(stick.profile, plain.profile);
    ck_assert_uint_eq(stick.cluster, plain.cluster);
    ck_assert_uint_eq(stick.api, 0);
    ck_assert_uint_eq(stick.family, XBEE_AUTO);
    ck_assert_uint_eq(stick.framing, LINE_RAW);
    ck_assert(!stick.forwarder);
    config_free(c);
}

END_TEST

START_TEST(a_plain_line_has_its_own_keys)
{
    static const struct {
        const char *word;
        enum line_framing framing;
    } framings[] = {
        {"raw",  LINE_RAW },
        {"slip", LINE_SLIP},
        {"hdlc", LINE_HDLC},
        {"cobs", LINE_COBS}
    };

    for (size_t i = 0; i < sizeof framings / sizeof framings[0]; i++) {
        char text[TEXT_ROOM];
        struct link_config link;
        struct stick_config stick;
        snprintf(text, sizeof text,
                 "[link a]\ndriver = serial\ndevice = /dev/nobody-has-this\nframing = %s\n"
                 "forwarder = yes\n",
                 framings[i].word);
        struct config *c = load_links(text);
        config_radio(c, 0, &link, &stick);
        ck_assert_uint_eq(stick.framing, framings[i].framing);
        ck_assert(stick.forwarder);
        config_free(c);
    }
}

END_TEST

START_TEST(the_engine_knows_who_reports_and_sticks_announce_themselves)
{
    struct sn_engine_config e;
    struct config *c = load_links("[link a]\ndriver = auto\ndevice = /dev/nobody-has-this\n"
                                  "[link b]\ndriver = udp\nlisten = 127.0.0.1:0\n");
    ck_assert_int_eq(config_engine(c, &e), 0);
    ck_assert(e.links[0].reports);
    ck_assert_uint_eq(e.links[0].advertise_s, 900);
    ck_assert_uint_eq(e.links[0].max_packet_bytes, 255);
    ck_assert(!e.links[1].reports);
    ck_assert_uint_eq(e.links[1].advertise_s, 0);
    ck_assert_uint_eq(e.links[1].max_packet_bytes, 1400);
    config_engine_free(&e);
    config_free(c);
}

END_TEST

static char *print(const struct config *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    config_print(c, f);
    fclose(f);
    return text;
}

START_TEST(what_is_printed_loads_again_and_hides_the_key)
{
    write_file("key", "00112233445566778899aabbccddeeff", 0600);
    struct config *c = load_links("[link line]\ndriver = serial\ndevice = /dev/nobody-has-this\n"
                                  "rts = off\n"
                                  "[link a]\ndriver = auto\ndevice = tcp://[::1]:6638\n"
                                  "network_key_file = key\npan_id = 7\n"
                                  "[link b]\ndriver = udp\nlisten = 127.0.0.1:0\n");
    char *first = print(c);
    write_file("again.conf", first, 0644);
    struct config *again = load("again.conf");
    char *second = print(again);
    ck_assert_str_eq(first, second);
    ck_assert_ptr_nonnull(strstr(first, "pan_id = 0x0007\n"));
    ck_assert_ptr_nonnull(strstr(first, "rts = off\n"));
    ck_assert_ptr_nonnull(strstr(first, "# network key: ***"));
    ck_assert_ptr_null(strstr(first, "aabbcc"));
    free(first);
    free(second);
    config_free(c);
    config_free(again);
}

END_TEST

START_TEST(a_key_file_holds_sixteen_octets_and_nothing_else)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"00112233445566778899aabbccddeeff\n",   true },
        {"00112233445566778899AABBCCDDEEFF\n\n", true },
        {"0011:2233445566778899aabbccddeeff",    true },
        {"",                                     false},
        {"\n",                                   false},
        {"00112233445566778899aabbccddeef",      false},
        {"00112233445566778899aabbccddeeff0",    false},
        {"00112233445566778899aabbccddeeff00",   false},
        {"0x112233445566778899aabbccddeeff",     false},
        {":00112233445566778899aabbccddeeff",    false},
        {"00112233445566778899aabbccddeeff:",    false},
        {"00112233445566778899aabb ccddeeff",    false},
        {"0:0112233445566778899aabbccddeeff",    false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *said = NULL;
        size_t len = 0;
        struct config *c = NULL;
        char text[TEXT_ROOM];
        write_file("key", cases[i].text, 0600);
        snprintf(text, sizeof text,
                 "%s[link a]\ndriver = auto\ndevice = tcp://[::1]:6638\nnetwork_key_file = key\n",
                 broker);
        write_file("test.conf", text, 0644);
        FILE *errors = open_memstream(&said, &len);
        const int rc = config_load("test.conf", errors, &c);
        fclose(errors);
        ck_assert_msg((rc == 0) == cases[i].good, "'%s': %s", cases[i].text, said);
        ck_assert_int_eq(len == 0, cases[i].good);
        free(said);
        config_free(c);
    }
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("config_link");
    TCase *t = tcase_create("sticks");
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, every_key_of_a_stick_arrives);
    tcase_add_test(t, without_keys_a_stick_is_left_as_it_is);
    tcase_add_test(t, a_plain_line_has_its_own_keys);
    tcase_add_test(t, the_engine_knows_who_reports_and_sticks_announce_themselves);
    tcase_add_test(t, what_is_printed_loads_again_and_hides_the_key);
    tcase_add_test(t, a_key_file_holds_sixteen_octets_and_nothing_else);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
