/* SPDX-License-Identifier: Apache-2.0 */
/* sennetd --doctor against emulated sticks, and against what is wrong with them. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "e2e/daemon.h"
#include "e2e/simulator.h"
#include "unit/suite.h"

static char directory[64], config_path[128];
static char output[32 * 1024];

static void setup(void)
{
    strcpy(directory, "/tmp/sennet-doctor-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): the test's own directory */
}

static int examine_all(const char *link, const char *more)
{
    snprintf(config_path, sizeof config_path, "%s/gateway.conf", directory);
    FILE *f = fopen(config_path, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f,
            "[gateway]\nname = patient\nstate_dir = %s/state\n[broker]\naddress = "
            "mqtt://127.0.0.1:1\n[link stick]\n%s\n%s",
            directory, link, more);
    fclose(f);
    char program[] = "sennetd";
    char doctor[] = "--doctor";
    char option[] = "-c";
    return daemon_run((char *[]){program, doctor, option, config_path, NULL}, output,
                      sizeof output);
}

/* One stick behind the link in the test's directory. */
static int examine(const char *driver, const char *more)
{
    char link[128];
    snprintf(link, sizeof link, "driver = %s\ndevice = %s/stick", driver, directory);
    return examine_all(link, more);
}

static void plug(const char *options)
{
    char text[256];
    snprintf(text, sizeof text, "--nodes 1 --stick-link %s/stick %s", directory, options);
    sim_start(1, text);
    while (strstr(sim_output(), "device = ") == NULL)
        ck_assert(sim_read());
}

static void unplug(void)
{
    sim_signal(SIGTERM);
    sim_wait();
}

static void expect(const char *text)
{
    ck_assert_msg(strstr(output, text) != NULL, "'%s' is not said:\n%s", text, output);
}

START_TEST(a_healthy_stick_is_described)
{
    plug("--stick znp");
    ck_assert_int_eq(examine("znp", ""), 69); /* there is no broker */
    expect("is there, and may be opened");
    expect("ok    /dev/pts/");
    expect("Z-Stack 3.x.0");
    expect("channel 15");
    expect("mqtt://127.0.0.1:1: nobody listens there");
    expect("1 wrong, 0 to think about");
    unplug();
}

END_TEST

START_TEST(a_missing_device_is_said_with_what_is_there_instead)
{
    ck_assert_int_eq(examine("znp", ""), 69);
    expect("/stick: No such file or directory");
    expect("There is ");
    expect("2 wrong");
}

END_TEST

START_TEST(a_wrong_driver_is_found_out)
{
    plug("--stick deconz");
    ck_assert_int_eq(examine("znp", ""), 69);
    expect("FAIL  The stick does not start");
    expect("answers as a stick of family deconz");
    unplug();
}

END_TEST

START_TEST(a_stick_that_another_program_has_is_not_blamed)
{
    char path[PATH_MAX];
    char who[32];
    plug("--stick xbee");
    snprintf(path, sizeof path, "%s/stick", directory);
    const int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    snprintf(who, sizeof who, "(pid %d)", (int)getpid());
    ck_assert_int_eq(examine("xbee", ""), 69);
    expect("is in use by");
    expect(who);
    ck_assert_ptr_null(strstr(output, "Asking it which family")); /* it can't be asked */
    close(fd);
    unplug();
}

END_TEST

START_TEST(a_stick_without_network_is_left_without)
{
    plug("--stick ezsp --unformed");
    examine("ezsp", "");
    expect("FAIL  The stick does not start: the stick has no network");
    examine("ezsp", "form_network = yes\n");
    expect("the daemon will form one");
    examine("ezsp", "");
    expect("has no network"); /* still */
    unplug();
}

END_TEST

START_TEST(each_broker_is_examined_or_the_proxy_before_it)
{
    char link[64];
    snprintf(link, sizeof link, "driver = udp\nlisten = 127.0.0.1:%u", free_udp_port());
    ck_assert_int_eq(examine_all(link, "[broker cloud]\naddress = ws://cloud.example/mqtt\n"
                                       "proxy = http://me:secret@127.0.0.1:2\n"),
                     69);
    expect("[broker]\n  FAIL  mqtt://127.0.0.1:1: nobody listens there. Is the broker running");
    expect("[broker cloud]\n  FAIL  http://***:***@127.0.0.1:2: nobody listens there. Is proxy "
           "right?");
    expect("2 wrong");
}

END_TEST

START_TEST(a_directory_in_use_is_said_with_who_uses_it)
{
    char path[PATH_MAX];
    char link[64];
    char who[32];
    snprintf(path, sizeof path, "%s/state", directory);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/state/sennet.lock", directory);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    const int len = snprintf(who, sizeof who, "%d", (int)getpid());
    ck_assert_int_eq(write(fd, who, (size_t)len), len);
    snprintf(link, sizeof link, "driver = udp\nlisten = 127.0.0.1:%u", free_udp_port());
    ck_assert_int_eq(examine_all(link, ""), 69);
    snprintf(who, sizeof who, "pid %d;", (int)getpid());
    expect("is in use by another process");
    expect(who);
    expect("2 wrong");
    ck_assert_int_eq(examine_all(link, "[store]\ndurability = off\n"), 69);
    expect("can be written");
    close(fd);
    ck_assert_int_eq(examine_all(link, ""), 69);
    expect("can be written");
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("doctor");
    TCase *tc = tcase_create("doctor");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_healthy_stick_is_described);
    tcase_add_test(tc, a_missing_device_is_said_with_what_is_there_instead);
    tcase_add_test(tc, a_wrong_driver_is_found_out);
    tcase_add_test(tc, a_stick_that_another_program_has_is_not_blamed);
    tcase_add_test(tc, a_stick_without_network_is_left_without);
    tcase_add_test(tc, each_broker_is_examined_or_the_proxy_before_it);
    tcase_add_test(tc, a_directory_in_use_is_said_with_who_uses_it);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
