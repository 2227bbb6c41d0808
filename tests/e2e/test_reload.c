/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP: what can change in a gateway that runs does, nodes notice nothing of it, and a wrong file
 * changes nothing.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "e2e/pinned.h"
#include "e2e/pki.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { SOON_MS = 10000, CONFIG_ROOM = 2048 };

static struct broker broker;
static struct daemon gateway;
static struct node node;
static struct observer *watcher;

/* ---- scenery ----------------------------------------------------------------------------------- */

static void start_at(const char *of_broker, const char *more)
{
    broker_start(&broker, of_broker);
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", SOON_MS);
    watcher = observer_start(broker.port, "#");
    node_open(&node, gateway.port);
}

static void start(const char *more)
{
    start_at(NULL, more);
}

static void stop(void)
{
    if (watcher != NULL)
        observer_stop(watcher);
    watcher = NULL;
    node_close(&node);
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, daemon_log_end(&gateway));
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", daemon_log_end(&gateway));
    broker_stop(&broker);
}

static void hang_up(const char *until)
{
    daemon_forget_log(&gateway);
    kill(gateway.pid, SIGHUP);
    daemon_wait_log(&gateway, until, SOON_MS);
}

static void reload_with(const char *more)
{
    daemon_configure(&gateway, broker.port, DAEMON_RETRIES, more);
    hang_up("gateway.reloaded");
}

static void assert_logged(const char *text)
{
    ck_assert_msg(daemon_has_logged(&gateway, text), "\"%s\" is missing:\n%s", text,
                  daemon_log_end(&gateway));
}

/* Replaces the first `from` of the configuration. */
static void edit(const char *from, const char *to)
{
    char path[PATH_ROOM];
    char text[CONFIG_ROOM] = "";
    snprintf(path, sizeof path, "%s/gateway.conf", gateway.directory);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    const size_t len = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[len] = '\0';
    const char *at = strstr(text, from);
    ck_assert_ptr_nonnull(at);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    ck_assert_int_eq(fclose(f), 0);
}

/* ---- what changes ------------------------------------------------------------------------------ */

START_TEST(a_node_uses_a_new_predefined_topic_without_connecting_again)
{
    start("[topics]\n5 = old/five\n");
    node_connect(&node, "dev");
    node_say(&node, "09 0C 21 00 05 00 07 34 31");
    node_expect(&node, "07 0D 00 05 00 07 00");
    observer_expect(watcher, "old/five", "41", 1);
    reload_with("[topics]\n5 = new/five\n6 = six\n");
    assert_logged("gateway.changed what=[topics] how=changed");
    assert_logged("changed=1 need_restart=0");
    node_say(&node, "09 0C 21 00 05 00 08 34 32");
    node_expect(&node, "07 0D 00 05 00 08 00");
    observer_expect(watcher, "new/five", "42", 1);
    node_say(&node, "09 0C 21 00 06 00 09 34 33");
    node_expect(&node, "07 0D 00 06 00 09 00");
    observer_expect(watcher, "six", "43", 1);
    node_quiet(&node, 1);
    ck_assert(!daemon_has_logged(&gateway, "broker.lost"));
    stop();
}

END_TEST

START_TEST(a_client_that_is_not_allowed_any_more_is_disconnected)
{
    start("");
    node_connect(&node, "dev");
    reload_with("[client d*]\nallow = no\n");
    node_expect(&node, "02 18");
    node_say(&node, "09 04 04 01 00 3C 64 65 76");
    node_expect(&node, "03 05 03");
    reload_with("");
    node_connect(&node, "dev");
    stop();
}

END_TEST

START_TEST(the_log_changes_level_and_form)
{
    start("");
    edit("log_level = debug", "log_level = notice\nlog_format = json");
    hang_up("\"event\":\"gateway.reloaded\"");
    daemon_forget_log(&gateway);
    node_connect(&node, "dev");
    ck_assert(!daemon_has_logged(&gateway, "client.state"));
    edit("log_level = notice\nlog_format = json", "log_level = trace");
    hang_up("gateway.changed what=\"[gateway] log_level\" how=changed old=notice new=trace");
    node_connect(&node, "other");
    daemon_wait_log(&gateway, "client.state client=other", SOON_MS);
    daemon_wait_log(&gateway, "packet.out", SOON_MS);
    stop();
}

END_TEST

START_TEST(what_needs_a_restart_is_named_and_waits_for_it)
{
    start("");
    node_connect(&node, "dev");
    edit("driver = udp", "driver = udp\nmax_packet = 500\nqos_minus_one = no");
    hang_up("gateway.reloaded");
    assert_logged("gateway.needs_restart what=\"[link test] max_packet\" how=changed old=1400 "
                  "new=500 text=\"takes effect after a restart\"");
    assert_logged("gateway.changed what=\"[link test] qos_minus_one\" how=changed old=yes new=no");
    assert_logged("changed=1 need_restart=1");
    node_say(&node, "02 16");
    node_expect(&node, "02 17");
    stop();
}

END_TEST

START_TEST(a_wrong_file_changes_nothing_and_it_is_said_where_it_is_wrong)
{
    start("[topics]\n5 = old\n");
    node_connect(&node, "dev");
    daemon_configure(&gateway, broker.port, DAEMON_RETRIES,
                     "[topics]\n5 = new\n6 = a/#\nsix = b\n");
    hang_up("gateway.reload_failed");
    const unsigned first =
        pinned_version() != NULL ? 17 : 16; /* of [broker] there may be a line more */
    char where[PATH_ROOM];
    snprintf(where, sizeof where, "gateway.conf:%u:5: error: ", first);
    assert_logged(where);
    snprintf(where, sizeof where, "gateway.conf:%u:1: error: ", first + 1);
    assert_logged(where);
    ck_assert(!daemon_has_logged(&gateway, "gateway.changed"));
    node_say(&node, "09 0C 21 00 05 00 07 34 31");
    node_expect(&node, "07 0D 00 05 00 07 00");
    observer_expect(watcher, "old", "41", 1);

    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/gateway.conf", gateway.directory);
    unlink(path);
    hang_up("gateway.reload_failed");
    assert_logged("No such file or directory");
    ck_assert_int_eq(mkfifo(path, 0600), 0); /* which nobody ever writes to */
    hang_up("gateway.reload_failed");
    assert_logged("not a regular file");
    unlink(path);
    daemon_configure(&gateway, broker.port, DAEMON_RETRIES, "[topics]\n5 = new\n");
    hang_up("gateway.reloaded");
    node_say(&node, "09 0C 21 00 05 00 08 34 32");
    node_expect(&node, "07 0D 00 05 00 08 00");
    observer_expect(watcher, "new", "42", 1);
    stop();
}

END_TEST

/* ---- brokers ----------------------------------------------------------------------------------- */

/* A gateway whose default broker is nowhere: the one in `more` is what matters. */
static void start_beside(const char *more, const char *until)
{
    daemon_start(&gateway, free_tcp_port(), more);
    daemon_wait_log(&gateway, until, SOON_MS);
    node_open(&node, gateway.port);
}

/* TLS, with what stands in these files; it tries only now and then by itself. */
static void start_encrypted(void)
{
    char config[CONFIG_ROOM];
    copy_file("ca.pem", "trusted.pem");
    copy_file("server.pem", "broker.pem");
    copy_file("server.key", "broker.key");
    snprintf(config, sizeof config, "certfile %s/broker.pem\nkeyfile %s/broker.key\n", pki, pki);
    broker_start(&broker, config);
    snprintf(config, sizeof config,
             "[broker tls]\naddress = mqtts://127.0.0.1:%u\nca_file = %s/trusted.pem\n"
             "reconnect_min = 10m\nreconnect_max = 10m\n%s[route all]\nto = tls\n",
             broker.port, pki, pinned_line());
    start_beside(config, "broker.connected broker=tls");
}

START_TEST(a_broker_with_a_new_authority_is_reached_when_its_certificate_is_there)
{
    start_encrypted();
    node_connect(&node, "dev");
    node_register(&node, "t/a");
    copy_file("stranger.pem", "broker.pem");
    copy_file("stranger.key", "broker.key");
    broker_end(&broker, SIGTERM);
    daemon_wait_log(&gateway, "broker.lost broker=tls", SOON_MS);
    broker_start_again(&broker);
    copy_file("other-ca.pem", "trusted.pem");
    hang_up("broker.connected broker=tls");
    assert_logged("changed=0 need_restart=0 other_certificates=1");
    node_publish(&node, 0x20, 2, 'x');
    node_expect_puback(&node, 2);
    stop();
}

END_TEST

static void trust_another_authority(void)
{
    char command[2 * PATH_ROOM];
    snprintf(command, sizeof command, "cat %s/other-ca.pem >>%s/trusted.pem", pki, pki);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(a_connection_is_made_anew_only_for_other_files_and_in_the_same_session)
{
    start_encrypted();
    node_connect(&node, "dev");
    hang_up("gateway.reloaded");
    ck_assert(daemon_has_logged(&gateway, "other_certificates=0"));
    node_subscribe(&node, 1);
    ck_assert(!daemon_has_logged(&gateway, "broker.lost"));
    trust_another_authority();
    hang_up("broker.connected broker=tls");
    assert_logged("broker.lost broker=tls");
    assert_logged("session=kept");
    node_say(&node, "02 16");
    node_expect(&node, "02 17");
    stop();
}

END_TEST

START_TEST(brokers_are_told_apart_by_name_wherever_they_stand_in_the_file)
{
    start_encrypted();
    edit("[broker tls]", "[broker new]\naddress = 127.0.0.1:1\n[broker tls]");
    hang_up("gateway.reloaded");
    assert_logged("gateway.needs_restart what=\"[broker new]\" how=added");
    assert_logged("other_certificates=0");
    ck_assert(!daemon_has_logged(&gateway, "broker.lost"));
    trust_another_authority();
    hang_up("broker.connected broker=tls");
    assert_logged("other_certificates=1");
    stop();
}

END_TEST

START_TEST(another_password_is_used_at_once)
{
    char path[PATH_ROOM];
    char more[CONFIG_ROOM];
    char password[] = "/tmp/sennet-password-XXXXXX";
    const int fd = mkstemp(password);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "wrong\n", 6), 6);
    broker_start_with_user(&broker, "sennet", "right");
    snprintf(more, sizeof more,
             "[broker b]\naddress = 127.0.0.1:%u\nusername = sennet\npassword_file = %s\n"
             "reconnect_min = 10m\nreconnect_max = 10m\n%s",
             broker.port, password, pinned_line());
    start_beside(more, "broker.attempt_failed broker=b");
    ck_assert_int_eq(pwrite(fd, "right\n", 6, 0), 6);
    close(fd);
    hang_up("broker.connected broker=b");
    assert_logged("gateway.changed what=\"[broker b] password_file\" how=content");
    ck_assert(!daemon_has_logged(&gateway, "right"));
    snprintf(path, sizeof path, "%s", password);
    unlink(path);
    stop();
}

END_TEST

START_TEST(a_broker_that_has_moved_is_followed)
{
    struct broker other;
    start("");
    node_connect(&node, "dev");
    node_register(&node, "t/a");
    broker_start(&other, NULL);
    struct observer *there = observer_start(other.port, "#");
    daemon_configure(&gateway, other.port, DAEMON_RETRIES, "");
    hang_up("broker.connected");
    node_publish(&node, 0x20, 2, 'x');
    node_expect_puback(&node, 2);
    observer_expect(there, "t/a", "x", 1);
    observer_quiet(watcher, 100);
    observer_stop(there);
    broker_stop(&other);
    stop();
}

END_TEST

/* ---- again and again --------------------------------------------------------------------------- */

static const char *const two[] = {
    "[topics]\n5 = t/five\n[client *]\nmax_queue = 7\n[store]\nspool_messages = 9999\n",
    "[topics]\n5 = t/five\n6 = t/six\n[topics d*]\n7 = t/seven\n",
};

static void publish_once(unsigned i)
{
    char hex[64];
    const bool exactly_once = i % 2 == 0;
    snprintf(hex, sizeof hex, "09 0C %s 00 05 %02X %02X 34 31", exactly_once ? "41" : "21", i >> 8,
             i & 0xFF);
    node_say(&node, hex);
    snprintf(hex, sizeof hex, exactly_once ? "04 0F %02X %02X" : "07 0D 00 05 %02X %02X 00", i >> 8,
             i & 0xFF);
    node_expect(&node, hex);
    if (!exactly_once)
        return;
    snprintf(hex, sizeof hex, "04 10 %02X %02X", i >> 8, i & 0xFF);
    node_say(&node, hex);
    snprintf(hex, sizeof hex, "04 0E %02X %02X", i >> 8, i & 0xFF);
    node_expect(&node, hex);
}

START_TEST(messages_are_neither_lost_nor_doubled_while_it_is_reloaded_without_a_pause)
{
    enum { MESSAGES = 200, HANG_UPS = 3 };

    start("[topics]\n5 = t/five\n");
    node_connect(&node, "dev");
    for (unsigned i = 1; i <= MESSAGES; i++) {
        daemon_configure(&gateway, broker.port, DAEMON_RETRIES, two[i / 8 % 2]);
        for (unsigned k = 0; k < HANG_UPS; k++)
            kill(gateway.pid, SIGHUP);
        publish_once(i);
    }
    observer_expect_count(watcher, "t/five", MESSAGES);
    ck_assert(!daemon_has_logged(&gateway, "broker.lost"));
    stop();
}

END_TEST

/* With another connection each time. */
START_TEST(nor_while_the_connection_is_made_anew_again_and_again)
{
    enum { MESSAGES = 120, ROUND = 10 };

    start("[topics]\n5 = t/five\n");
    node_connect(&node, "dev");
    for (unsigned i = 1; i <= MESSAGES; i++) {
        if (i % (2 * ROUND) == 0)
            edit("keepalive = 6", "keepalive = 5");
        else if (i % ROUND == 0)
            edit("keepalive = 5", "keepalive = 6");
        if (i % ROUND == 0)
            kill(gateway.pid, SIGHUP);
        publish_once(i);
    }
    observer_expect_count(watcher, "t/five", MESSAGES);
    ck_assert(daemon_has_logged(&gateway, "broker.lost"));
    ck_assert(!daemon_has_logged(&gateway, "session=new mqtt") ||
              strstr(strstr(gateway.log, "session=new") + 1, "session=new") == NULL);
    stop();
}

END_TEST

/* How often mosquitto has written that. */
static unsigned count_in_file(const char *path, const char *what)
{
    char line[CONFIG_ROOM];
    unsigned n = 0;
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL)
        n += strstr(line, what) != NULL;
    fclose(f);
    return n;
}

START_TEST(sessions_of_their_own_are_made_anew_without_their_wills)
{
    enum { ROUNDS = 4 };

    char file[] = "/tmp/sennet-mosquitto-XXXXXX";
    char of_broker[PATH_ROOM];
    const int fd = mkstemp(file);
    ck_assert_int_ge(fd, 0);
    close(fd);
    snprintf(of_broker, sizeof of_broker, "log_dest file %s\nlog_type all\n", file);
    start_at(of_broker, "[client dev*]\nsessions = own\n[topics]\n5 = t/five\n");
    node_say(&node, "09 04 0C 01 00 3C 64 65 76");
    node_expect(&node, "02 06");
    node_say(&node, "06 07 20 77 2F 31");
    node_expect(&node, "02 08");
    node_say(&node, "03 09 21");
    node_expect(&node, "03 05 00");
    for (unsigned i = 0; i < ROUNDS; i++) {
        edit(i % 2 == 0 ? "keepalive = 5" : "keepalive = 6",
             i % 2 == 0 ? "keepalive = 6" : "keepalive = 5");
        hang_up("broker.connected");
        publish_once(2 * i + 1);
        observer_expect(watcher, "t/five", "41", 1);
    }
    node_quiet(&node, 1);
    observer_quiet(watcher, 200);
    ck_assert_uint_eq(count_in_file(file, "Received DISCONNECT from dev"), ROUNDS);
    stop();
    unlink(file);
}

END_TEST

START_TEST(a_stop_while_the_file_is_read_is_a_stop)
{
    enum { STARTS = 3 };

    for (unsigned i = 0; i < STARTS; i++) {
        start("");
        node_connect(&node, "dev");
        daemon_configure(&gateway, broker.port, DAEMON_RETRIES, two[i % 2]);
        for (unsigned k = 0; k <= i; k++)
            kill(gateway.pid, SIGHUP);
        poll(NULL, 0, (int)i); /* at another moment of it each time */
        stop();
    }
}

END_TEST

/* Sanitizers keep what was freed, 256 MiB of it by themselves, which would look like a leak of ours. */
static void forget_freed_memory_early(void)
{
    char options[256];
    const char *const given = getenv("ASAN_OPTIONS");
    snprintf(options, sizeof options, "%s%squarantine_size_mb=1", given != NULL ? given : "",
             given != NULL ? ":" : "");
    ck_assert_int_eq(setenv("ASAN_OPTIONS", options, 1), 0);
}

START_TEST(a_thousand_reloads_cost_no_memory)
{
    enum { FIRST = 50, SOME = 150, ALL = 1000, GROWTH_KIB = 4096 };

    const unsigned rounds = sample_of(SOME, ALL);
    forget_freed_memory_early();
    start("");
    node_connect(&node, "dev");
    unsigned memory = 0;
    const unsigned files = daemon_descriptors(&gateway);
    for (unsigned i = 0; i < rounds + FIRST; i++) {
        reload_with(two[i % 2]);
        if (i == FIRST)
            memory = daemon_memory_kib(&gateway);
    }
    const unsigned grown = daemon_memory_kib(&gateway);
    ck_assert_msg(grown < memory + GROWTH_KIB, "%u KiB, then %u KiB", memory, grown);
    ck_assert_uint_le(daemon_descriptors(&gateway), files + 2);
    node_say(&node, "02 16");
    node_expect(&node, "02 17");
    stop();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("reload");
    TCase *values = tcase_create("values");
    TCase *brokers = tcase_create("brokers");
    TCase *often = tcase_create("again and again");
    tcase_set_timeout(often, 120);
    tcase_add_test(values, a_node_uses_a_new_predefined_topic_without_connecting_again);
    tcase_add_test(values, a_client_that_is_not_allowed_any_more_is_disconnected);
    tcase_add_test(values, the_log_changes_level_and_form);
    tcase_add_test(values, what_needs_a_restart_is_named_and_waits_for_it);
    tcase_add_test(values, a_wrong_file_changes_nothing_and_it_is_said_where_it_is_wrong);
    tcase_add_test(brokers, a_broker_with_a_new_authority_is_reached_when_its_certificate_is_there);
    tcase_add_test(brokers, a_connection_is_made_anew_only_for_other_files_and_in_the_same_session);
    tcase_add_test(brokers, brokers_are_told_apart_by_name_wherever_they_stand_in_the_file);
    tcase_add_test(brokers, another_password_is_used_at_once);
    tcase_add_test(brokers, a_broker_that_has_moved_is_followed);
    tcase_add_test(often,
                   messages_are_neither_lost_nor_doubled_while_it_is_reloaded_without_a_pause);
    tcase_add_test(often, nor_while_the_connection_is_made_anew_again_and_again);
    tcase_add_test(often, sessions_of_their_own_are_made_anew_without_their_wills);
    tcase_add_test(often, a_stop_while_the_file_is_read_is_a_stop);
    tcase_add_test(often, a_thousand_reloads_cost_no_memory);
    suite_add_tcase(suite, values);
    suite_add_tcase(suite, brokers);
    suite_add_tcase(suite, often);
    return run_suite_with_pki(suite);
}
