/* SPDX-License-Identifier: Apache-2.0 */
/* The real daemon, a real mosquitto, nodes on real sockets. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "unit/suite.h"

static struct broker broker;
static struct daemon gateway;

static void start_both(const char *more)
{
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", 10000);
}

static void stop_both(void)
{
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, gateway.log);
    ck_assert_msg(daemon_has_logged(&gateway, "gateway.stopped"), "no gateway.stopped:\n%s",
                  gateway.log);
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", gateway.log);
    broker_stop(&broker);
}

/* ---- publishing ------------------------------------------------------------------------------ */

START_TEST(publishes_of_every_qos_and_topic_kind_arrive_at_the_broker)
{
    start_both("[topics]\n5 = plant/pump\n[topics dev*]\n6 = plant/dev\n");
    struct observer *o = observer_start(broker.port, "#");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev1");
    node_say(&n, "0A 0A 00 00 00 01 74 2F 61 31"); /* REGISTER t/a1 */
    node_expect(&n, "07 0B 00 07 00 01 00");
    node_say(&n, "09 0C 00 00 07 00 00 34 32");
    observer_expect(o, "t/a1", "42", 0);
    node_say(&n, "09 0C 20 00 07 00 05 34 33");
    node_expect(&n, "07 0D 00 07 00 05 00");
    observer_expect(o, "t/a1", "43", 1);
    node_say(&n, "09 0C 40 00 07 00 06 34 34");
    node_expect(&n, "04 0F 00 06");
    observer_expect(o, "t/a1", "44", 2);
    node_say(&n, "04 10 00 06");
    node_expect(&n, "04 0E 00 06");
    node_say(&n, "09 0C 21 00 05 00 07 34 35"); /* predefined for all */
    node_expect(&n, "07 0D 00 05 00 07 00");
    observer_expect(o, "plant/pump", "45", 1);
    node_say(&n, "09 0C 21 00 06 00 08 34 36"); /* predefined for dev* */
    node_expect(&n, "07 0D 00 06 00 08 00");
    observer_expect(o, "plant/dev", "46", 1);
    node_say(&n, "09 0C 22 74 31 00 09 34 37"); /* short name t1 */
    node_expect(&n, "07 0D 74 31 00 09 00");
    observer_expect(o, "t1", "47", 1);
    struct node stranger;
    node_open(&stranger, gateway.port);
    node_say(&stranger, "09 0C 61 00 05 00 00 34 38"); /* QoS -1 */
    observer_expect(o, "plant/pump", "48", 0);
    node_say(&stranger, "09 0C 61 00 06 00 00 34 39"); /* not for strangers */
    observer_quiet(o, 200);
    node_quiet(&stranger, 1);
    node_close(&stranger);
    node_close(&n);
    observer_stop(o);
    stop_both();
}

END_TEST

START_TEST(an_unacknowledged_publish_is_repeated_without_a_second_delivery)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev1");
    node_say(&n, "09 0C 22 74 31 00 09 34 37");
    node_expect(&n, "07 0D 74 31 00 09 00");
    node_say(&n, "09 0C A2 74 31 00 09 34 37"); /* its PUBACK got lost */
    node_expect(&n, "07 0D 74 31 00 09 00");
    node_say(&n, "09 0C 42 74 31 00 0A 34 38");
    node_expect(&n, "04 0F 00 0A");
    node_say(&n, "09 0C C2 74 31 00 0A 34 38");
    node_expect(&n, "04 0F 00 0A");
    node_say(&n, "04 10 00 0A");
    node_expect(&n, "04 0E 00 0A");
    node_say(&n, "04 10 00 0A");
    node_expect(&n, "04 0E 00 0A");
    observer_expect(o, "t1", "47", 1);
    observer_expect(o, "t1", "48", 2);
    observer_quiet(o, 200);
    node_close(&n);
    observer_stop(o);
    stop_both();
}

END_TEST

START_TEST(messages_reach_subscribers_at_their_qos_with_register_where_needed)
{
    start_both("[topics]\n5 = plant/valve\n");
    struct observer *o = observer_start(broker.port, "nothing");
    observer_publish(o, "cmd/b", "old", 1, true);
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev1");
    node_say(&n, "0A 12 20 00 0A 63 6D 64 2F 61"); /* cmd/a at QoS 1 */
    node_expect(&n, "08 13 20 00 06 00 0A 00");
    observer_publish(o, "cmd/a", "1", 2, false); /* granted is the limit */
    node_expect(&n, "08 0C 20 00 06 00 01 31");
    node_say(&n, "07 0D 00 06 00 01 00");
    node_say(&n, "07 12 41 00 0B 00 05"); /* predefined 5 at QoS 2 */
    node_expect(&n, "08 13 40 00 05 00 0B 00");
    observer_publish(o, "plant/valve", "2", 2, false);
    node_expect(&n, "08 0C 41 00 05 00 02 32");
    node_say(&n, "04 0F 00 02");
    node_expect(&n, "04 10 00 02");
    node_say(&n, "04 0E 00 02");
    node_say(&n, "0A 12 20 00 0C 63 6D 64 2F 2B"); /* cmd/+: retained cmd/b follows */
    node_expect(&n, "08 13 20 00 00 00 0C 00");
    node_expect(&n, "0B 0A 00 08 00 03 63 6D 64 2F 62");
    node_say(&n, "07 0B 00 08 00 03 00");
    node_expect(&n, "0A 0C 30 00 08 00 04 6F 6C 64");
    node_say(&n, "07 0D 00 08 00 04 00");
    observer_publish(o, "cmd/a", "3", 1, false); /* two filters match: once */
    node_expect(&n, "08 0C 20 00 06 00 05 33");
    node_say(&n, "07 0D 00 06 00 05 00");
    node_quiet(&n, 300);
    node_say(&n, "0A 14 00 00 0D 63 6D 64 2F 2B");
    node_expect(&n, "04 15 00 0D");
    observer_publish(o, "cmd/b", "4", 1, false);
    node_quiet(&n, 300);
    node_close(&n);
    observer_stop(o);
    stop_both();
}

END_TEST

START_TEST(the_will_of_a_lost_node_is_published_and_that_of_a_leaving_one_is_not)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node lost;
    struct node leaving;
    node_open(&lost, gateway.port);
    node_open(&leaving, gateway.port);
    struct node *const both[] = {&lost, &leaving};
    const char *const connects[] = {"0A 04 0C 01 00 01 6C 6F 73 74", /* keep alive 1 s */
                                    "0A 04 0C 01 00 01 6C 65 61 76"};
    for (unsigned i = 0; i < 2; i++) {
        node_say(both[i], connects[i]);
        node_expect(both[i], "02 06");
        node_say(both[i], "0B 07 30 73 74 61 74 2F 64 65 76"); /* stat/dev, QoS 1, retain */
        node_expect(both[i], "02 08");
        node_say(both[i], i == 0 ? "05 09 6F 66 66" : "05 09 62 79 65");
        node_expect(both[i], "03 05 00");
    }
    node_say(&leaving, "02 18");
    node_expect(&leaving, "02 18");
    observer_expect(o, "stat/dev", "off", 1);
    observer_quiet(o, 2000);
    node_close(&lost);
    node_close(&leaving);
    observer_stop(o);
    stop_both();
}

END_TEST

/* ---- the broker goes away -------------------------------------------------------------------- */

START_TEST(without_a_broker_nodes_are_refused_at_once_and_accepted_when_it_comes)
{
    broker_start(&broker, NULL);
    broker_end(&broker, SIGTERM);
    daemon_start(&gateway, broker.port, "[store]\ndurability = off\n");
    struct node n;
    node_open(&n, gateway.port);
    const int64_t asked_ms = test_now_ms();
    node_say(&n, "0A 04 04 01 00 3C 64 65 76 31");
    node_expect(&n, "03 05 01");
    ck_assert_int_lt(test_now_ms() - asked_ms, 500);
    broker_start_again(&broker);
    node_connect_patiently(&n, "dev1", 15000);
    node_close(&n);
    stop_both();
}

END_TEST

START_TEST(a_broker_restart_is_survived_by_sessions_and_subscriptions)
{
    start_both("[store]\ndurability = off\n");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev1");
    node_say(&n, "0A 12 20 00 0A 63 6D 64 2F 61"); /* cmd/a */
    node_expect(&n, "08 13 20 00 01 00 0A 00");
    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", 10000);
    node_say(&n, "09 0C 22 74 31 00 09 34 37");
    node_expect(&n, "07 0D 74 31 00 09 01"); /* congestion, at once */
    node_say(&n, "0A 12 20 00 0B 63 6D 64 2F 62");
    node_expect(&n, "08 13 00 00 00 00 0B 01");
    node_say(&n, "02 16");
    node_expect(&n, "02 17");
    gateway.log_len = 0; /* look for the second connection */
    gateway.log[0] = '\0';
    broker_start_again(&broker);
    daemon_wait_log(&gateway, "broker.connected", 15000);
    struct observer *o = observer_start(broker.port, "t1");
    char got[512] = "";
    for (int i = 0; i < 50 && got[0] == '\0'; i++) { /* until the subscription is there again */
        observer_publish(o, "cmd/a", "1", 1, false);
        node_hear(&n, got, sizeof got, 200);
    }
    ck_assert_str_eq(got, "08 0C 20 00 01 00 01 31");
    node_say(&n, "07 0D 00 01 00 01 00");
    node_say(&n, "09 0C 22 74 31 00 0C 34 38");
    node_expect(&n, "07 0D 74 31 00 0C 00");
    observer_expect(o, "t1", "48", 1);
    node_close(&n);
    observer_stop(o);
    stop_both();
}

END_TEST

START_TEST(a_stopped_broker_is_noticed_within_one_and_a_half_keep_alives)
{
    start_both("[store]\ndurability = off\n");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev1");
    const int64_t paused_ms = test_now_ms();
    broker_pause(&broker);
    daemon_wait_log(&gateway, "broker.lost", 10000);
    ck_assert_int_le(test_now_ms() - paused_ms, 5000 * 3 / 2 + 500);
    const int64_t asked_ms = test_now_ms();
    node_say(&n, "02 16");
    node_expect(&n, "02 17");
    node_say(&n, "09 0C 22 74 31 00 09 34 37");
    node_expect(&n, "07 0D 74 31 00 09 01");
    ck_assert_int_lt(test_now_ms() - asked_ms, 500);
    broker_resume(&broker);
    gateway.log_len = 0;
    gateway.log[0] = '\0';
    daemon_wait_log(&gateway, "broker.connected", 15000);
    node_say(&n, "09 0C 22 74 31 00 0A 34 38");
    node_expect(&n, "07 0D 74 31 00 0A 00");
    node_close(&n);
    stop_both();
}

END_TEST

/* ---- strangers and garbage ------------------------------------------------------------------- */

START_TEST(strangers_are_told_to_connect_within_limits_and_garbage_is_counted)
{
    start_both("");
    struct node n;
    node_open(&n, gateway.port);
    for (int i = 0; i < 10; i++)
        node_say(&n, "09 0C 20 00 21 00 05 34 32");
    for (int i = 0; i < 3; i++)
        node_expect(&n, "02 18");
    node_quiet(&n, 200);
    static const char *const garbage[] = {
        "00", "01", "01 00", "02 16 00", "02 03", "05 04 04 01 00", "02 FE", "03 05 00"};
    for (unsigned i = 0; i < sizeof garbage / sizeof garbage[0]; i++)
        node_say(&n, garbage[i]);
    node_quiet(&n, 200);
    kill(gateway.pid, SIGUSR1);
    daemon_wait_log(&gateway, "unknown_talker", 5000);
    daemon_wait_log(&gateway, "malformed.truncated", 5000);
    node_close(&n);
    stop_both();
}

END_TEST

/* ---- capture --------------------------------------------------------------------------------- */

/* How many of these octets are in the file by now. */
static unsigned count_in_file(const char *path, const char *octets, size_t len)
{
    static char content[64 * 1024];
    FILE *in = fopen(path, "rb");
    ck_assert_ptr_nonnull(in);
    const size_t n = fread(content, 1, sizeof content, in);
    fclose(in);
    unsigned found = 0;
    for (size_t at = 0; at + len <= n; at++)
        found += memcmp(content + at, octets, len) == 0;
    return found;
}

static void wait_for_in_file(const char *path, const char *octets, size_t len)
{
    char changes[1024];
    struct pollfd p = {.fd = inotify_init1(IN_CLOEXEC), .events = POLLIN};
    ck_assert_int_ge(p.fd, 0);
    ck_assert_int_ge(inotify_add_watch(p.fd, path, IN_MODIFY), 0);
    while (count_in_file(path, octets, len) == 0) {
        ck_assert_msg(poll(&p, 1, 5000) == 1, "they are never written to %s", path);
        ck_assert_int_gt(read(p.fd, changes, sizeof changes), 0);
    }
    close(p.fd);
}

START_TEST(a_capture_can_be_read_while_the_gateway_runs)
{
    char path[64];
    char more[128];
    snprintf(path, sizeof path, "/tmp/sennet-e2e-%ld.pcap", (long)getpid());
    snprintf(more, sizeof more, "[gateway]\npcap = %s\n", path);
    start_both(more);
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev1");
    node_say(&n, "09 0C 22 74 31 00 09 34 37");
    node_expect(&n, "07 0D 74 31 00 09 00");
    wait_for_in_file(path, "\x07\x0D\x74\x31\x00\x09\x00", 7);
    ck_assert_uint_eq(count_in_file(path, "\x09\x0C\x22\x74\x31\x00\x09\x34\x37", 9), 1);
    node_say(&n, "02 18");
    node_expect(&n, "02 18");
    node_close(&n);
    stop_both();
    ck_assert_uint_ge(count_in_file(path, "\x02\x18", 2), 2); /* the last ones, too */
    unlink(path);
}

END_TEST

/* ---- the command line ------------------------------------------------------------------------ */

static char config_path[128];
static char config_directory[64];

/* Writes a configuration into a fresh directory. In its first section, `path_key` (e.g.
 * "state_dir") is set to `path` in that directory. */
static void write_config(const char *section, const char *path_key, const char *path,
                         const char *rest)
{
    strcpy(config_directory, "/tmp/sennet-conf-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(config_directory));
    snprintf(config_path, sizeof config_path, "%s/gateway.conf", config_directory);
    FILE *f = fopen(config_path, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "[%s]\n%s = %s/%s\n%s", section, path_key, config_directory, path, rest);
    fclose(f);
}

static void remove_config(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", config_directory);
    ck_assert_int_eq(system(command), 0);
}

static char output[64 * 1024];

static int run(const char *first, const char *second, const char *third)
{
    char text[4][160] = {"sennetd"};
    snprintf(text[1], sizeof text[1], "%s", first);
    snprintf(text[2], sizeof text[2], "%s", second != NULL ? second : "");
    snprintf(text[3], sizeof text[3], "%s", third != NULL ? third : "");
    return daemon_run((char *[]){text[0], text[1], second != NULL ? text[2] : NULL,
                                 third != NULL ? text[3] : NULL, NULL},
                      output, sizeof output);
}

START_TEST(check_config_accepts_a_good_file_and_touches_nothing)
{
    write_config("gateway", "state_dir", "state",
                 "[broker]\naddress = mqtt://127.0.0.1:1883\n"
                 "[link udp]\ndriver = udp\nlisten = 127.0.0.1:1884\n");
    ck_assert_int_eq(run("-t", "-c", config_path), 0);
    char state[128];
    snprintf(state, sizeof state, "%s/state", config_directory);
    ck_assert_int_ne(access(state, F_OK), 0);
    remove_config();
}

END_TEST

START_TEST(every_configuration_error_is_told_with_its_place_and_exit_code_78)
{
    write_config("gateway", "state_dir", "state",
                 "id = 300\nretry_intervall = 3s\n[brokr]\n[link u]\ndriver = zigbee\n");
    ck_assert_int_eq(run("-t", "-c", config_path), 78);
    ck_assert_ptr_nonnull(strstr(output, "gateway.conf:3:"));
    ck_assert_ptr_nonnull(strstr(output, "gateway.conf:4:"));
    ck_assert_ptr_nonnull(strstr(output, "did you mean 'retry_interval'"));
    ck_assert_ptr_nonnull(strstr(output, "gateway.conf:5:"));
    ck_assert_ptr_nonnull(strstr(output, "gateway.conf:7:"));
    ck_assert_int_eq(run("-c", config_path, NULL), 78);
    remove_config();
}

END_TEST

START_TEST(exit_codes_tell_usage_missing_file_and_unusable_state_dir_apart)
{
    ck_assert_int_eq(run("--no-such-option", NULL, NULL), 64);
    ck_assert_int_eq(run("-c", "/nonexistent/gateway.conf", NULL), 66);
    ck_assert_int_eq(run("--version", NULL, NULL), 0);
    ck_assert_ptr_nonnull(strstr(output, "libuv"));
    const char *paho = strstr(output, "Paho");
    ck_assert_ptr_nonnull(paho);
    ck_assert_ptr_nonnull(strstr(paho, " compiled, "));
    ck_assert_ptr_null(strstr(paho, "unknown"));
    ck_assert_int_eq(run("--help", NULL, NULL), 0);
    ck_assert_ptr_nonnull(strstr(output, "--check-config"));
    write_config("gateway", "state_dir", "gateway.conf/not-a-directory",
                 "[broker]\naddress = mqtt://127.0.0.1:1883\n"
                 "[link udp]\ndriver = udp\nlisten = 127.0.0.1:0\n");
    ck_assert_int_eq(run("-c", config_path, NULL), 73);
    remove_config();
}

END_TEST

START_TEST(a_port_in_use_is_named_with_a_hint)
{
    start_both("");
    char rest[256];
    snprintf(rest, sizeof rest,
             "[broker]\naddress = mqtt://127.0.0.1:1883\n"
             "[link second]\ndriver = udp\nlisten = 127.0.0.1:%u\n",
             gateway.port);
    write_config("gateway", "state_dir", "state", rest);
    ck_assert_int_eq(run("-c", config_path, NULL), 69);
    ck_assert_ptr_nonnull(strstr(output, "already in use"));
    remove_config();
    stop_both();
}

END_TEST

START_TEST(secrets_are_masked_in_the_printed_configuration)
{
    write_config("broker", "password_file", "secret",
                 "address = mqtt://127.0.0.1:1883\nusername = sam\n"
                 "[link udp]\ndriver = udp\nlisten = 127.0.0.1:1884\n");
    char secret[128];
    snprintf(secret, sizeof secret, "%s/secret", config_directory);
    FILE *f = fopen(secret, "w");
    ck_assert_ptr_nonnull(f);
    fputs("hunter2\n", f);
    fclose(f);
    chmod(secret, 0600);
    ck_assert_int_eq(run("--print-config", "-c", config_path), 0);
    ck_assert_ptr_nonnull(strstr(output, "sam"));
    ck_assert_ptr_null(strstr(output, "hunter2"));
    remove_config();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("daemon");
    TCase *flow = tcase_create("flow");
    tcase_set_timeout(flow, 60);
    tcase_add_test(flow, publishes_of_every_qos_and_topic_kind_arrive_at_the_broker);
    tcase_add_test(flow, an_unacknowledged_publish_is_repeated_without_a_second_delivery);
    tcase_add_test(flow, messages_reach_subscribers_at_their_qos_with_register_where_needed);
    tcase_add_test(flow, the_will_of_a_lost_node_is_published_and_that_of_a_leaving_one_is_not);
    tcase_add_test(flow, strangers_are_told_to_connect_within_limits_and_garbage_is_counted);
    tcase_add_test(flow, a_capture_can_be_read_while_the_gateway_runs);
    suite_add_tcase(suite, flow);
    TCase *outage = tcase_create("outage");
    tcase_set_timeout(outage, 90);
    tcase_add_test(outage, without_a_broker_nodes_are_refused_at_once_and_accepted_when_it_comes);
    tcase_add_test(outage, a_broker_restart_is_survived_by_sessions_and_subscriptions);
    tcase_add_test(outage, a_stopped_broker_is_noticed_within_one_and_a_half_keep_alives);
    suite_add_tcase(suite, outage);
    TCase *command_line = tcase_create("command line");
    tcase_set_timeout(command_line, 60);
    tcase_add_test(command_line, check_config_accepts_a_good_file_and_touches_nothing);
    tcase_add_test(command_line, every_configuration_error_is_told_with_its_place_and_exit_code_78);
    tcase_add_test(command_line, exit_codes_tell_usage_missing_file_and_unusable_state_dir_apart);
    tcase_add_test(command_line, a_port_in_use_is_named_with_a_hint);
    tcase_add_test(command_line, secrets_are_masked_in_the_printed_configuration);
    suite_add_tcase(suite, command_line);
    return run_suite(suite);
}
