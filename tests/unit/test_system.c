/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's smaller parts: the state directory, random numbers, what the log says of the broker.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "base/clock.h"

#include "broker_watch.h"
#include "system.h"
#include "unit/suite.h"

/* ---- memory ---------------------------------------------------------------------------------- */

/* KiB of files that are mapped and resident. */
static unsigned resident_files(void)
{
    char line[200];
    unsigned kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL)
        sscanf(line, "RssFile: %u", &kib);
    fclose(f);
    return kib;
}

/* Makes each page of the libraries that is only read resident, as a start does with many. */
static int read_pages(struct dl_phdr_info *object, size_t size, void *arg)
{
    unsigned *sum = arg;
    (void)size;
    for (unsigned i = 0; object->dlpi_name[0] == '/' && i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        const volatile uint8_t *octets = (const uint8_t *)(object->dlpi_addr + part->p_vaddr);
        for (size_t at = 0;
             part->p_type == PT_LOAD && (part->p_flags & PF_W) == 0 && at < part->p_memsz;
             at += 4096)
            *sum += octets[at];
    }
    return 0;
}

START_TEST(the_start_is_let_go_of_and_what_is_needed_comes_back)
{
    unsigned first_sum = 0;
    unsigned second_sum = 0;
    dl_iterate_phdr(read_pages, &first_sum);
    const unsigned before = resident_files();
    system_let_go_of_start();
    const unsigned after = resident_files(); /* the C library went on working */
    ck_assert_uint_gt(after, 0);
    ck_assert_uint_lt(after, before);
    dl_iterate_phdr(read_pages, &second_sum);
    ck_assert_uint_eq(second_sum, first_sum);
    ck_assert_str_eq(strerror(ENOENT), "No such file or directory");
}

END_TEST

/* ---- the state directory --------------------------------------------------------------------- */

static char base[100];

static void enter_fresh_directory(void)
{
    const char *dir = getenv("TMPDIR");
    snprintf(base, sizeof base, "%s/sennet-test-XXXXXX", dir != NULL ? dir : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
}

static void leave_directory(void)
{
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rmdir(base), 0);
}

START_TEST(a_missing_state_directory_is_made_with_its_parents)
{
    char error[300] = "";
    char path[150];
    struct stat st;
    enter_fresh_directory();
    umask(0);
    snprintf(path, sizeof path, "%s/a/b//c/", base);
    ck_assert_msg(system_state_dir(path, error, sizeof error) == 0, "%s", error);
    ck_assert_int_eq(stat("a/b/c", &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    ck_assert_int_eq(system_state_dir(path, error, sizeof error), 0); /* it is there already */
    ck_assert_int_eq(system_state_dir("a/relative", error, sizeof error), 0);
    ck_assert_int_eq(rmdir("a/relative") | rmdir("a/b/c") | rmdir("a/b") | rmdir("a"), 0);
    leave_directory();
}

END_TEST

START_TEST(a_state_directory_that_cannot_be_is_explained)
{
    char error[300] = "";
    enter_fresh_directory();
    const int fd = open("file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    ck_assert_int_eq(system_state_dir("file", error, sizeof error), -ENOTDIR);
    ck_assert_ptr_nonnull(strstr(error, "state_dir file can't be used"));
    ck_assert_int_eq(system_state_dir("file/below", error, sizeof error), -ENOTDIR);
    ck_assert_int_eq(system_state_dir("", error, sizeof error), -ENOENT);
    ck_assert_int_lt(system_state_dir("/proc/sennet", error, sizeof error), 0);
    ck_assert_int_eq(unlink("file"), 0);
    leave_directory();
}

END_TEST

START_TEST(closed_standard_streams_are_replaced)
{
    close(STDIN_FILENO);
    close(STDERR_FILENO);
    ck_assert_int_eq(system_standard_streams(), 0);
    ck_assert_int_eq(fcntl(STDIN_FILENO, F_GETFL) & O_ACCMODE, O_RDWR);
    ck_assert_int_eq(write(STDERR_FILENO, "x", 1), 1);
}

END_TEST

START_TEST(random_numbers_differ)
{
    uint64_t a[4] = {0}, b[4] = {0};
    ck_assert_int_eq(system_random(a, sizeof a), 0);
    ck_assert_int_eq(system_random(b, sizeof b), 0);
    ck_assert_mem_ne(a, b, sizeof a);
}

END_TEST

START_TEST(the_file_limit_rises_within_the_hard_one)
{
    struct rlimit low = {.rlim_cur = 100, .rlim_max = 200};
    struct rlimit now;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    system_raise_file_limit();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
    ck_assert_uint_eq(now.rlim_cur, 200);
}

END_TEST

/* ---- the broker ------------------------------------------------------------------------------ */

static struct log_ring ring;
static struct broker_watch watch;

static const int64_t wall_ms = 1767268800123;

static void start_watch(void)
{
    ck_assert_int_eq(log_init(&ring, 16, LOG_INFO), 0);
    broker_watch_init(&watch, 1000, wall_ms, &ring, "mqtt://b:1883", NULL);
}

/* "level event text" of the next record. */
static const char *said(void)
{
    static char text[600];
    const struct log_record *r = log_peek(&ring);
    if (r == NULL)
        return "";
    snprintf(text, sizeof text, "%d %s %s", (int)r->level, r->event, r->text);
    log_done(&ring);
    return text;
}

START_TEST(each_failed_attempt_is_told_and_the_outage_now_and_then)
{
    start_watch();
    const struct up_event no = {.type = UP_DISCONNECTED, .why = "connection refused"};
    ck_assert(!broker_watch_event(&watch, 2000, wall_ms, &no));
    ck_assert_str_eq(said(), "4 broker.attempt_failed address=mqtt://b:1883 "
                             "why=\"connection refused\"");
    ck_assert_int_eq(broker_watch_next_deadline(&watch), 1000 + BROKER_WATCH_EVERY_MS);
    broker_watch_advance(&watch, 1000 + BROKER_WATCH_EVERY_MS - 1);
    ck_assert_str_eq(said(), "");
    broker_watch_advance(&watch, 1000 + BROKER_WATCH_EVERY_MS);
    ck_assert_str_eq(said(), "4 broker.unreachable address=mqtt://b:1883 "
                             "since=2026-01-01T12:00:00.123Z for_s=300");
    ck_assert_int_eq(broker_watch_next_deadline(&watch), 1000 + 2 * BROKER_WATCH_EVERY_MS);
    log_deinit(&ring);
}

END_TEST

START_TEST(coming_and_going_are_told_with_how_long_it_lasted)
{
    start_watch();
    const struct up_event up = {.type = UP_CONNECTED, .session_present = true};
    const struct up_event down = {.type = UP_DISCONNECTED};
    ck_assert(broker_watch_event(&watch, 5000, wall_ms, &up));
    ck_assert_str_eq(said(), "5 broker.connected address=mqtt://b:1883 session=kept outage_s=4");
    ck_assert_int_eq(broker_watch_next_deadline(&watch), TIME_NEVER);
    ck_assert(broker_watch_event(&watch, 65000, wall_ms, &down));
    ck_assert_str_eq(said(), "4 broker.lost address=mqtt://b:1883 why=unknown connected_s=60");
    ck_assert_int_eq(broker_watch_next_deadline(&watch), 65000 + BROKER_WATCH_EVERY_MS);
    log_deinit(&ring);
}

END_TEST

/* Two gateways with one client id throw each other out for ever: a cause that is hard to guess. */
START_TEST(connections_that_end_at_once_again_and_again_come_with_a_hint)
{
    static const char *const lost = "4 broker.lost address=mqtt://b:1883 why=closed connected_s=59";
    static const char *const hinted =
        "4 broker.lost address=mqtt://b:1883 why=closed "
        "hint=\"does another MQTT client use the same client_id?\" connected_s=59";
    start_watch();
    const struct up_event up = {.type = UP_CONNECTED};
    const struct up_event down = {.type = UP_DISCONNECTED, .why = "closed"};
    int64_t now_ms = 1000;
    for (int i = 1; i <= 8; i++) {
        broker_watch_event(&watch, now_ms, wall_ms, &up);
        said();
        now_ms += i == 5 ? 60000 : 59999; /* one that lasted counts from the beginning */
        broker_watch_event(&watch, now_ms, wall_ms, &down);
        const char *text = said();
        if (i != 5)
            ck_assert_str_eq(text, i == 3 || i == 4 || i == 8 ? hinted : lost);
    }
    log_deinit(&ring);
}

END_TEST

START_TEST(the_minute_of_the_day_is_that_of_the_time_zone_as_it_is_now)
{
    static const int64_t spring_s = 1774746000; /* 2026-03-29 01:00 UTC, from 02:00 to 03:00 */
    static const int64_t autumn_s = 1792890000; /* 2026-10-25 01:00 UTC, from 03:00 to 02:00 */
    setenv("TZ", "UTC0", 1);
    ck_assert_uint_eq(system_minute(0), 0);
    ck_assert_uint_eq(system_minute(INT64_C(86399999)), 24 * 60 - 1);
    ck_assert_uint_eq(system_minute(spring_s * 1000), 60);
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    ck_assert_uint_eq(system_minute(spring_s * 1000 - 1), 119);
    ck_assert_uint_eq(system_minute(spring_s * 1000), 180);
    ck_assert_uint_eq(system_minute(autumn_s * 1000 - 1), 179);
    ck_assert_uint_eq(system_minute(autumn_s * 1000), 120);
    unsetenv("TZ");
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("system");
    TCase *t = tcase_create("system");
    tcase_add_test(t, the_start_is_let_go_of_and_what_is_needed_comes_back);
    tcase_add_test(t, a_missing_state_directory_is_made_with_its_parents);
    tcase_add_test(t, a_state_directory_that_cannot_be_is_explained);
    tcase_add_test(t, closed_standard_streams_are_replaced);
    tcase_add_test(t, random_numbers_differ);
    tcase_add_test(t, the_minute_of_the_day_is_that_of_the_time_zone_as_it_is_now);
    tcase_add_test(t, the_file_limit_rises_within_the_hard_one);
    tcase_add_test(t, each_failed_attempt_is_told_and_the_outage_now_and_then);
    tcase_add_test(t, coming_and_going_are_told_with_how_long_it_lasted);
    tcase_add_test(t, connections_that_end_at_once_again_and_again_come_with_a_hint);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
