/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "base/clock.h"
#include "base/log.h"

#include "logsink.h"
#include "unit/suite.h"

/* 2026-01-01T12:00:00.123Z */
static const int64_t noon_ms = 1767268800123;

enum { MINUTE_MS = 60000 };

static struct log_record record_of(enum log_level level, const char *event, const char *text)
{
    struct log_record r = {.level = level, .event = event, .len = (uint16_t)strlen(text)};
    memcpy(r.text, text, strlen(text) + 1);
    return r;
}

static const char *format(const struct logsink_options *o, const struct log_record *r)
{
    static char line[3201];
    const size_t n = logsink_format(o, noon_ms, r, line, sizeof line - 1);
    ck_assert_uint_gt(n, 0);
    ck_assert_int_eq(line[n - 1], '\n');
    line[n - 1] = '\0';
    return line;
}

/* ---- lines ----------------------------------------------------------------------------------- */

START_TEST(a_text_line_has_time_level_event_and_pairs)
{
    const struct logsink_options o = {0};
    struct log_record r = record_of(LOG_INFO, "client.state", "client=meter-7 new=lost");
    ck_assert_str_eq(format(&o, &r),
                     "2026-01-01T12:00:00.123Z info   client.state client=meter-7 new=lost");
    r = record_of(LOG_NOTICE, "gateway.ready", "");
    ck_assert_str_eq(format(&o, &r), "2026-01-01T12:00:00.123Z notice gateway.ready");
}

END_TEST

START_TEST(under_journald_lines_have_a_priority_and_no_time)
{
    const struct logsink_options o = {.journal = true};
    struct log_record r = record_of(LOG_WARN, "broker.lost", "why=timeout");
    ck_assert_str_eq(format(&o, &r), "<4>broker.lost why=timeout");
    r = record_of(LOG_TRACE, "packet.in", "");
    ck_assert_str_eq(format(&o, &r), "<7>packet.in"); /* journald knows nothing lower */
    const struct logsink_options json = {.journal = true, .json = true};
    r = record_of(LOG_ERROR, "x", "a=1");
    ck_assert_str_eq(format(&json, &r), "<3>{\"level\":\"error\",\"event\":\"x\",\"a\":\"1\"}");
}

END_TEST

START_TEST(times_are_utc_with_milliseconds)
{
    char text[LOGSINK_TIME_SIZE];
    ck_assert_str_eq(logsink_time(0, text), "1970-01-01T00:00:00.000Z");
    ck_assert_str_eq(logsink_time(1709251199999, text), "2024-02-29T23:59:59.999Z");
    ck_assert_str_eq(logsink_time(4102444800007, text), "2100-01-01T00:00:00.007Z");
    ck_assert_str_eq(logsink_time(-1, text), "-");
}

END_TEST

static const struct {
    const char *text;
    const char *members;
} json_cases[] = {
    {"",                                 ""                                                  },
    {"client=meter-7 count=12",          ",\"client\":\"meter-7\",\"count\":\"12\""          },
    {"why=\"no route\" x=1",             ",\"why\":\"no route\",\"x\":\"1\""                 },
    {"why=\"say \\\"hi\\\" to c:\\\\\"", ",\"why\":\"say \\\"hi\\\" to c:\\\\\""             },
    {"id=\"a\\x00\\x1fb\"",              ",\"id\":\"a\\u0000\\u001fb\""                      },
    {"id=\"\\xff\\x80\"",                ",\"id\":\"\\\\xff\\\\x80\""                        },
    {"id=\"gr\xc3\xbc\xc3\x9f\"",        ",\"id\":\"gr\xc3\xbc\xc3\x9f\""                    },
    {"id=\"\"",                          ",\"id\":\"\""                                      },
    {"id=\"cut gr\xc3...",               ",\"id\":\"cut gr\\ufffd...\""                      },
    {"id=\"cut \\",                      ",\"id\":\"cut \\\\\""                              },
    {"id=\"cut \\x",                     ",\"id\":\"cut \\\\x\""                             },
    {"id=abc hal...",                    ",\"id\":\"abc\""                                   },
    {"event=x time=y level=z",           ",\"event_\":\"x\",\"time_\":\"y\",\"level_\":\"z\""},
    {"a=\"x}\",\\\"b\"",                 ",\"a\":\"x}\""                                     },
};

START_TEST(json_says_the_same_as_text)
{
    const struct logsink_options o = {.json = true};
    char want[512];
    const struct log_record r = record_of(LOG_INFO, "e", json_cases[_i].text);
    snprintf(want, sizeof want, "{\"time\":\"2026-01-01T12:00:00.123Z\",\"level\":\"info\"%s%s}",
             ",\"event\":\"e\"", json_cases[_i].members);
    /* What follows a value that our writers never make must not break the object either. */
    if (strchr(json_cases[_i].text, '}') != NULL)
        ck_assert_ptr_nonnull(strstr(format(&o, &r), ",\"a\":\"x}\""));
    else
        ck_assert_str_eq(format(&o, &r), want);
}

END_TEST

START_TEST(what_the_ring_escapes_reads_back_from_json)
{
    struct log_ring ring;
    const struct logsink_options o = {.json = true, .journal = true};
    ck_assert_int_eq(log_init(&ring, 4, LOG_DEBUG), 0);
    ck_assert(log_begin(&ring, LOG_DEBUG, "e"));
    log_str(&ring, "client", bytes_of("a\"\n\x01\xff\\", 6));
    log_int(&ring, "n", -5);
    log_end(&ring);
    ck_assert_str_eq(format(&o, log_peek(&ring)),
                     "<7>{\"level\":\"debug\",\"event\":\"e\","
                     "\"client\":\"a\\\"\\u000a\\u0001\\\\xff\\\\\",\"n\":\"-5\"}");
    log_done(&ring);
    log_deinit(&ring);
}

END_TEST

START_TEST(any_record_fits_and_stays_one_line)
{
    unsigned seed = 12345;
    printf("seed %u\n", seed);
    for (unsigned round = 0; round < 20000; round++) {
        struct log_record r = {.level = LOG_INFO, .event = "client.state"};
        r.len = (uint16_t)((unsigned)rand_r(&seed) % LOG_TEXT_MAX);
        for (unsigned i = 0; i < r.len; i++)
            r.text[i] = (char)((rand_r(&seed) & 1) != 0 ? "\\\"= x0\xc3"[rand_r(&seed) % 7]
                                                        : rand_r(&seed) % 256);
        const struct logsink_options o = {.json = true};
        static char line[3200];
        const size_t n = logsink_format(&o, noon_ms, &r, line, sizeof line);
        ck_assert_uint_gt(n, 0);
        ck_assert(bytes_is_utf8(bytes_of(line, n)));
        ck_assert_ptr_eq(memchr(line, '\n', n), line + n - 1);
    }
}

END_TEST

START_TEST(a_line_that_does_not_fit_is_no_line)
{
    const struct logsink_options o = {0};
    const struct log_record r = record_of(LOG_INFO, "client.state", "client=meter-7");
    char line[80];
    const size_t n = logsink_format(&o, noon_ms, &r, line, sizeof line);
    for (size_t i = 0; i < n; i++)
        ck_assert_uint_eq(logsink_format(&o, noon_ms, &r, line, i), 0);
    ck_assert_uint_eq(logsink_format(&o, noon_ms, &r, line, n), n);
}

END_TEST

START_TEST(the_journal_is_known_by_device_and_inode)
{
    int fds[2];
    struct stat st;
    char name[64];
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(fstat(fds[1], &st), 0);
    snprintf(name, sizeof name, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    ck_assert(logsink_is_journal(name, fds[1]));
    ck_assert(!logsink_is_journal(name, 0)); /* inherited by a process that logs elsewhere */
    ck_assert(!logsink_is_journal(NULL, fds[1]));
    ck_assert(!logsink_is_journal("", fds[1]));
    ck_assert(!logsink_is_journal("12", fds[1]));
    close(fds[0]);
    close(fds[1]);
}

END_TEST

/* ---- repetition and writing ------------------------------------------------------------------ */

struct pipe_sink {
    struct logsink sink;
    int fds[2];
};

static void open_sink(struct pipe_sink *p, bool verbose)
{
    ck_assert_int_eq(pipe2(p->fds, O_NONBLOCK), 0);
    const struct logsink_options o = {.fd = p->fds[1], .journal = true, .verbose = verbose};
    logsink_init(&p->sink, &o);
}

static void close_sink(struct pipe_sink *p)
{
    close(p->fds[0]);
    close(p->fds[1]);
}

/* Everything written so far. */
static const char *written(struct pipe_sink *p)
{
    static char text[65536];
    logsink_flush(&p->sink);
    const ssize_t n = read(p->fds[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static unsigned lines_of(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what))
        n++;
    return n;
}

static void repeat(struct pipe_sink *p, unsigned times, enum log_level level, const char *event,
                   int64_t now_ms)
{
    const struct log_record r = record_of(level, event, "client=x");
    for (unsigned i = 0; i < times; i++)
        logsink_write(&p->sink, now_ms, noon_ms, &r);
}

START_TEST(repeated_warnings_become_one_summary_per_minute)
{
    static struct pipe_sink p;
    open_sink(&p, false);
    repeat(&p, 100, LOG_WARN, "broker.attempt_failed", 1000);
    const char *text = written(&p);
    ck_assert_uint_eq(lines_of(text, "broker.attempt_failed"), 5);
    ck_assert_uint_eq(p.sink.suppressed, 95);

    ck_assert_int_eq(logsink_next_deadline(&p.sink), 1000 + MINUTE_MS);
    logsink_advance(&p.sink, 1000 + MINUTE_MS - 1, noon_ms);
    ck_assert_str_eq(written(&p), "");
    logsink_advance(&p.sink, 1000 + MINUTE_MS, noon_ms);
    ck_assert_str_eq(written(&p), "<4>log.suppressed event=broker.attempt_failed count=95\n");
    ck_assert_int_eq(logsink_next_deadline(&p.sink), TIME_NEVER);

    repeat(&p, 7, LOG_WARN, "broker.attempt_failed", 1000 + MINUTE_MS);
    ck_assert_uint_eq(lines_of(written(&p), "broker.attempt_failed"), 5);
    /* A late advance: the next record says the summary itself. */
    repeat(&p, 1, LOG_WARN, "broker.attempt_failed", 1000 + 3 * MINUTE_MS);
    ck_assert_str_eq(written(&p), "<4>log.suppressed event=broker.attempt_failed count=2\n"
                                  "<4>broker.attempt_failed client=x\n");
    close_sink(&p);
}

END_TEST

START_TEST(events_have_quotas_of_their_own)
{
    static struct pipe_sink p;
    open_sink(&p, false);
    repeat(&p, 10, LOG_WARN, "a", 0);
    repeat(&p, 10, LOG_WARN, "b", 0);
    repeat(&p, 100, LOG_INFO, "c", 0);
    const char *text = written(&p);
    ck_assert_uint_eq(lines_of(text, "<4>a "), LOGSINK_WARN_PER_MINUTE);
    ck_assert_uint_eq(lines_of(text, "<4>b "), LOGSINK_WARN_PER_MINUTE);
    ck_assert_uint_eq(lines_of(text, "<6>c "), LOGSINK_INFO_PER_MINUTE);
    logsink_finish(&p.sink, 1, noon_ms);
    text = written(&p);
    ck_assert_ptr_nonnull(strstr(text, "<4>log.suppressed event=a count=5\n"));
    ck_assert_ptr_nonnull(strstr(text, "<6>log.suppressed event=c count=40\n"));
    close_sink(&p);
}

END_TEST

START_TEST(the_life_of_the_gateway_is_never_suppressed)
{
    static struct pipe_sink p;
    open_sink(&p, false);
    repeat(&p, 50, LOG_ERROR, "gateway.failed", 0);
    repeat(&p, 50, LOG_NOTICE, "broker.connected", 0);
    repeat(&p, 50, LOG_DEBUG, "packet.malformed", 0);
    const char *text = written(&p);
    ck_assert_uint_eq(lines_of(text, "<3>gateway.failed "), 50);
    ck_assert_uint_eq(lines_of(text, "<5>broker.connected "), 50);
    ck_assert_uint_eq(lines_of(text, "<7>packet.malformed "), 50);
    close_sink(&p);
}

END_TEST

START_TEST(what_nodes_provoke_is_limited_at_every_level)
{
    static struct pipe_sink p;
    open_sink(&p, false);
    repeat(&p, 50, LOG_ERROR, "memory.exhausted", 0);
    repeat(&p, 50, LOG_NOTICE, "client.refused", 0);
    const char *text = written(&p);
    ck_assert_uint_eq(lines_of(text, "<3>memory.exhausted "), LOGSINK_WARN_PER_MINUTE);
    ck_assert_uint_eq(lines_of(text, "<5>client.refused "), LOGSINK_NOTICE_PER_MINUTE);
    close_sink(&p);
    /* Who asks for debug lines wants to see everything. */
    open_sink(&p, true);
    repeat(&p, 50, LOG_WARN, "w", 0);
    ck_assert_uint_eq(lines_of(written(&p), "<4>w "), 50);
    close_sink(&p);
}

END_TEST

START_TEST(a_full_pipe_never_blocks_and_the_loss_is_reported)
{
    static struct pipe_sink p;
    open_sink(&p, true);
    fcntl(p.fds[1], F_SETFL, 0); /* as stderr is: a write to a full pipe would hang for ever */
    fcntl(p.fds[1], F_SETPIPE_SZ, 4096);
    repeat(&p, 1000, LOG_NOTICE, "n", 0);
    logsink_flush(&p.sink);
    ck_assert_uint_gt(p.sink.dropped, 0);
    const uint64_t dropped = p.sink.dropped;
    logsink_advance(&p.sink, 1, noon_ms); /* still full: nothing to say it to */
    ck_assert_uint_eq(p.sink.used, 0);
    const unsigned got = lines_of(written(&p), "<5>n ");
    ck_assert_uint_eq(got + dropped, 1000);
    logsink_advance(&p.sink, 2, noon_ms);
    char want[80];
    snprintf(want, sizeof want, "<4>log.dropped where=output count=%llu\n",
             (unsigned long long)dropped);
    ck_assert_str_eq(written(&p), want);
    logsink_advance(&p.sink, 3, noon_ms);
    ck_assert_str_eq(written(&p), "");
    close_sink(&p);
}

END_TEST

START_TEST(a_ring_is_emptied_and_its_loss_said_once)
{
    static struct pipe_sink p;
    struct log_ring ring;
    uint64_t seen = 0;
    open_sink(&p, false);
    ck_assert_int_eq(log_init(&ring, 2, LOG_INFO), 0);
    for (unsigned i = 0; i < 5; i++) {
        if (log_begin(&ring, LOG_INFO, "e")) {
            log_int(&ring, "i", i);
            log_end(&ring);
        }
    }
    logsink_take(&p.sink, 0, noon_ms, &ring, &seen);
    ck_assert_str_eq(written(&p), "<6>e i=0\n<6>e i=1\n<4>log.dropped where=ring count=3\n");
    logsink_take(&p.sink, 0, noon_ms, &ring, &seen);
    ck_assert_str_eq(written(&p), "");
    log_deinit(&ring);
    close_sink(&p);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("logsink");
    TCase *t = tcase_create("logsink");
    const int n_json = (int)(sizeof json_cases / sizeof json_cases[0]);
    tcase_add_test(t, a_text_line_has_time_level_event_and_pairs);
    tcase_add_test(t, under_journald_lines_have_a_priority_and_no_time);
    tcase_add_test(t, times_are_utc_with_milliseconds);
    tcase_add_loop_test(t, json_says_the_same_as_text, 0, n_json);
    tcase_add_test(t, what_the_ring_escapes_reads_back_from_json);
    tcase_add_test(t, any_record_fits_and_stays_one_line);
    tcase_add_test(t, a_line_that_does_not_fit_is_no_line);
    tcase_add_test(t, the_journal_is_known_by_device_and_inode);
    tcase_add_test(t, repeated_warnings_become_one_summary_per_minute);
    tcase_add_test(t, events_have_quotas_of_their_own);
    tcase_add_test(t, the_life_of_the_gateway_is_never_suppressed);
    tcase_add_test(t, what_nodes_provoke_is_limited_at_every_level);
    tcase_add_test(t, a_full_pipe_never_blocks_and_the_loss_is_reported);
    tcase_add_test(t, a_ring_is_emptied_and_its_loss_said_once);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
