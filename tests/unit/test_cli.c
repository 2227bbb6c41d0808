/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of sennet-pub and sennet-sub that have behaviour of their own: lines and formats. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "tools/format.h"
#include "tools/lines.h"
#include "unit/suite.h"

/* ---- format ---------------------------------------------------------------------------------- */

static struct snc_event message(void)
{
    return (struct snc_event){.type = SNC_MESSAGE,
                              .msg_id = 7,
                              .topic_kind = SN_TOPIC_NORMAL,
                              .qos = SN_QOS_1,
                              .retain = true,
                              .topic = bytes_str("a/b"),
                              .data = bytes_of("x\0y", 3)};
}

static void assert_printed(const char *format, const struct snc_event *e, const void *expected,
                           size_t len)
{
    ck_assert_ptr_null(format_check(format));
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    format_print(out, format, e);
    fclose(out);
    ck_assert_uint_eq(size, len);
    ck_assert_mem_eq(text, expected, len);
    free(text);
}

START_TEST(prints_every_field_and_escape)
{
    const struct snc_event e = message();
    assert_printed("%t|%x|%q|%r|%l|%m|%%\\n\\t\\r\\\\", &e, "a/b|780079|1|1|3|7|%\n\t\r\\", 24);
    assert_printed("[%p]", &e, "[x\0y]", 5);
    assert_printed("", &e, "", 0);
}

END_TEST

START_TEST(prints_topics_of_other_kinds)
{
    struct snc_event e = message();
    e.topic_kind = SN_TOPIC_PREDEFINED;
    e.topic_id = 65534;
    e.topic = bytes_of(NULL, 0);
    e.data = bytes_of(NULL, 0);
    assert_printed("%t:%p:%x:%l", &e, "65534:::0", 9);
    e.topic_kind = SN_TOPIC_SHORT;
    e.topic = bytes_str("xy");
    assert_printed("%t", &e, "xy", 2);
}

END_TEST

START_TEST(time_has_the_iso_form)
{
    const struct snc_event e = message();
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    format_print(out, "%I", &e);
    fclose(out);
    int year;
    int month;
    int zone;
    char sign;
    ck_assert_uint_eq(size, 24);
    ck_assert_int_eq(sscanf(text, "%4d-%2d-%*2dT%*2d:%*2d:%*2d%c%4d", &year, &month, &sign, &zone),
                     4);
    ck_assert_int_ge(year, 2024);
    ck_assert(sign == '+' || sign == '-');
    free(text);
}

END_TEST

START_TEST(invalid_formats_are_told)
{
    const char *const invalid[] = {"%", "%z", "\\", "\\q", "abc%", "%%%", "%t\\"};
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
        ck_assert_ptr_nonnull(format_check(invalid[i]));
    ck_assert_ptr_null(format_check("%%t"));
}

END_TEST

/* ---- lines ----------------------------------------------------------------------------------- */

static int file_of(const void *data, size_t len)
{
    FILE *f = tmpfile();
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, len, f), len);
    ck_assert_int_eq(fflush(f), 0);
    const int fd = dup(fileno(f));
    fclose(f);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* The next line, reading as needed; false at the end. */
static bool next(struct lines *l, struct bytes *out)
{
    for (;;) {
        if (lines_next(l, out))
            return true;
        if (l->at_end)
            return false;
        lines_fill(l);
    }
}

START_TEST(splits_lines_and_keeps_the_last_without_end)
{
    struct lines l;
    const int fd = file_of("one\n\ntwo\r\nla\0st", 15);
    ck_assert_int_eq(lines_init(&l, fd), 0);
    struct bytes line;
    ck_assert(next(&l, &line) && bytes_equal(line, bytes_str("one")));
    ck_assert(next(&l, &line) && line.len == 0);
    ck_assert(next(&l, &line) && bytes_equal(line, bytes_str("two\r")));
    ck_assert(next(&l, &line) && bytes_equal(line, bytes_of("la\0st", 5)));
    ck_assert(!next(&l, &line));
    ck_assert(!next(&l, &line));
    lines_deinit(&l);
    close(fd);
}

END_TEST

START_TEST(a_line_arriving_in_pieces_is_one_line)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    struct lines l;
    ck_assert_int_eq(lines_init(&l, ends[0]), 0);
    struct bytes line;
    ck_assert_int_eq(write(ends[1], "on", 2), 2);
    lines_fill(&l);
    ck_assert(!lines_next(&l, &line));
    lines_fill(&l); /* nothing there: not the end */
    ck_assert(!l.at_end);
    ck_assert_int_eq(write(ends[1], "e\ntw", 4), 4);
    lines_fill(&l);
    ck_assert(lines_next(&l, &line) && bytes_equal(line, bytes_str("one")));
    ck_assert(!lines_next(&l, &line));
    close(ends[1]);
    lines_fill(&l);
    ck_assert(l.at_end && lines_next(&l, &line) && bytes_equal(line, bytes_str("tw")));
    lines_deinit(&l);
    close(ends[0]);
}

END_TEST

/* Lines of LINES_MAX + _i - 1 octets between two short ones. */
START_TEST(lines_too_long_are_skipped_and_counted)
{
    const size_t len = LINES_MAX + (size_t)_i - 1;
    uint8_t *data = malloc(len + 9);
    memcpy(data, "one\n", 4);
    memset(data + 4, 'x', len);
    memcpy(data + 4 + len, "\ntwo\n", 5);
    const int fd = file_of(data, len + 9);
    struct lines l;
    ck_assert_int_eq(lines_init(&l, fd), 0);
    struct bytes line;
    ck_assert(next(&l, &line) && bytes_equal(line, bytes_str("one")));
    if (len <= LINES_MAX)
        ck_assert(next(&l, &line) && line.len == len);
    ck_assert(next(&l, &line) && bytes_equal(line, bytes_str("two")));
    ck_assert(!next(&l, &line));
    ck_assert_uint_eq(l.skipped, len <= LINES_MAX ? 0 : 1);
    lines_deinit(&l);
    close(fd);
    free(data);
}

END_TEST

START_TEST(a_line_many_times_too_long_is_skipped_once)
{
    const size_t len = 5 * (LINES_MAX + (size_t)_i);
    uint8_t *data = malloc(len);
    memset(data, 'x', len);
    const int fd = file_of(data, len); /* and no end of line either */
    struct lines l;
    ck_assert_int_eq(lines_init(&l, fd), 0);
    struct bytes line;
    ck_assert(!next(&l, &line));
    ck_assert_uint_eq(l.skipped, 1);
    lines_deinit(&l);
    close(fd);
    free(data);
}

END_TEST

START_TEST(whole_files_are_bounded)
{
    uint8_t *data = NULL;
    size_t len = 0;
    int fd = file_of("12345678", 8);
    ck_assert_int_eq(lines_whole(fd, 8, &data, &len), 0);
    ck_assert_uint_eq(len, 8);
    ck_assert_mem_eq(data, "12345678", 8);
    free(data);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_int_eq(lines_whole(fd, 7, &data, &len), -EFBIG);
    close(fd);
    fd = open("/", O_RDONLY);
    ck_assert_int_eq(lines_whole(fd, 7, &data, &len), -EISDIR);
    close(fd);
}

END_TEST

int main(void)
{
    TCase *format = tcase_create("format");
    tcase_add_test(format, prints_every_field_and_escape);
    tcase_add_test(format, prints_topics_of_other_kinds);
    tcase_add_test(format, time_has_the_iso_form);
    tcase_add_test(format, invalid_formats_are_told);
    TCase *lines = tcase_create("lines");
    tcase_add_test(lines, splits_lines_and_keeps_the_last_without_end);
    tcase_add_test(lines, a_line_arriving_in_pieces_is_one_line);
    tcase_add_loop_test(lines, lines_too_long_are_skipped_and_counted, 0, 4);
    tcase_add_loop_test(lines, a_line_many_times_too_long_is_skipped_once, 0, 2);
    tcase_add_test(lines, whole_files_are_bounded);
    Suite *suite = suite_create("cli");
    suite_add_tcase(suite, format);
    suite_add_tcase(suite, lines);
    return run_suite(suite);
}
