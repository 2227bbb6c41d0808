/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capture file: what tshark reads in it, what happens when it is full or the disk is. Without
 * tshark the first test only makes the file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "capture_file.h"
#include "unit/suite.h"

static const uint8_t pingreq[] = {0x02, 0x16};
static const char FILE_NAME[] = "test_capture.pcap"; /* stays when a test fails */

struct fixture {
    uv_loop_t loop;
    struct log_ring log;
    struct capture_file file;
};

static struct fixture f;

static void open_capture(const char *path, uint64_t limit)
{
    char error[200] = "";
    ck_assert_int_eq(uv_loop_init(&f.loop), 0);
    ck_assert_int_eq(log_init(&f.log, 16, LOG_INFO), 0);
    const int rc = capture_file_open(&f.file, &f.loop, path, limit, &f.log, error, sizeof error);
    ck_assert_msg(rc == 0, "%s", error);
}

static void close_capture(void)
{
    capture_file_finish(&f.file);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    capture_file_free(&f.file);
    ck_assert_int_eq(uv_loop_close(&f.loop), 0);
    log_deinit(&f.log);
}

static void put(const char *where, uint16_t link, enum peer_kind kind, const char *address,
                size_t len, bool to_node)
{
    struct peer_room room;
    const struct capture_end end = capture_end(where, link);
    const struct peer *peer = peer_make(&room, link, kind, bytes_of(address, len));
    capture_file_put(&f.file, 1500, to_node, &end, peer, bytes_of(pingreq, sizeof pingreq));
}

static bool has_tshark(void)
{
    return system("tshark --version >/dev/null 2>&1") == 0; /* NOLINT(cert-env33-c): a constant */
}

START_TEST(every_kind_of_peer_becomes_an_address_that_tshark_reads)
{
    static const char *const want[] = {
        "192.0.2.7,192.0.2.1,,,40000,1884,1,Good",
        "192.0.2.1,255.255.255.255,,,1884,1884,1,Good",
        ",,2001:db8::7,::1,40000,1884,,Good",
        ",,fd53:4e00:0:2:13:a200:4052:2baa,fd53:4e00:0:2::1,1884,1884,,Good",
        ",,fd53:4e00:0:2::1,fd53:4e00:0:2:13:a200:4052:2baa,1884,1884,,Good",
        ",,fd53:4e00:0:2:0:ff:fe00:4a3b,fd53:4e00:0:2::1,1884,1884,,Good",
        ",,fd53:4e00:0:3::2,fd53:4e00:0:3::1,1884,1884,,Good",
        ",,fd53:4e00:0:2::1,ff02::1,1884,1884,,Good",
    };
    open_capture(FILE_NAME, 0);
    put("192.0.2.1:1884", 0, PEER_IP4, "\xC0\x00\x02\x07\x9C\x40", 6, false);
    put("192.0.2.1:1884", 0, PEER_GROUP, "\x00", 1, true);
    put("[::1]:1884", 1, PEER_IP6, "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x07\x9C\x40\0\0\0\0", 22,
        false);
    put("/dev/ttyUSB0", 2, PEER_EUI64, "\x00\x13\xA2\x00\x40\x52\x2B\xAA", 8, false);
    put("/dev/ttyUSB0", 2, PEER_EUI64, "\x00\x13\xA2\x00\x40\x52\x2B\xAA", 8, true);
    put("/dev/ttyUSB0", 2, PEER_SHORT, "\x4A\x3B", 2, false);
    put("/dev/ttyUSB1", 3, PEER_SERIAL, "", 0, false);
    put("/dev/ttyUSB0", 2, PEER_GROUP, "\x00", 1, true);
    close_capture();
    if (!has_tshark())
        return;
    FILE *in = popen("tshark -n -r test_capture.pcap -o udp.check_checksum:TRUE"
                     " -o ip.check_checksum:TRUE -d udp.port==1884,mqttsn -Y mqttsn -T fields -E "
                     "separator=, -e ip.src"
                     " -e ip.dst -e ipv6.src -e ipv6.dst -e udp.srcport -e udp.dstport"
                     " -e ip.checksum.status -e udp.checksum.status 2>/dev/null",
                     "r");
    char line[256];
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        ck_assert_msg(fgets(line, sizeof line, in) != NULL, "packet %zu is missing", i);
        line[strcspn(line, "\n")] = '\0';
        /* Wireshark numbers the states: 1 is good. */
        char expected[256];
        snprintf(expected, sizeof expected, "%.*s1", (int)(strlen(want[i]) - 4), want[i]);
        ck_assert_str_eq(line, expected);
    }
    ck_assert_ptr_null(fgets(line, sizeof line, in));
    ck_assert_int_eq(pclose(in), 0);
    remove(FILE_NAME);
}

END_TEST

static off_t size_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_size;
}

START_TEST(the_file_can_be_read_while_it_grows)
{
    enum { RECORD = 16 + 20 + 8 + 2 };

    open_capture(FILE_NAME, 0);
    put("127.0.0.1:1", 0, PEER_IP4, "\x7F\0\0\x01\0\x02", 6, false);
    uv_run(&f.loop, UV_RUN_DEFAULT); /* until the timer has fired and all is written */
    ck_assert_int_eq(size_of(FILE_NAME), CAPTURE_HEADER_BYTES + RECORD);
    put("127.0.0.1:1", 0, PEER_IP4, "\x7F\0\0\x01\0\x02", 6, true);
    close_capture();
    ck_assert_int_eq(size_of(FILE_NAME), CAPTURE_HEADER_BYTES + 2 * RECORD);
    struct stat st;
    ck_assert_int_eq(stat(FILE_NAME, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    remove(FILE_NAME);
}

END_TEST

static void expect_log(const char *event)
{
    const struct log_record *r = log_peek(&f.log);
    ck_assert_ptr_nonnull(r);
    ck_assert_str_eq(r->event, event);
    log_done(&f.log);
}

START_TEST(at_its_limit_the_capture_ends_with_whole_records)
{
    enum { RECORD = 16 + 20 + 8 + 2, SOME = 10 };

    open_capture(FILE_NAME, CAPTURE_HEADER_BYTES + SOME * RECORD + RECORD / 2);
    for (unsigned i = 0; i < 3 * SOME; i++)
        put("127.0.0.1:1", 0, PEER_IP4, "\x7F\0\0\x01\0\x02", 6, false);
    expect_log("capture.full");
    ck_assert_ptr_null(log_peek(&f.log)); /* once */
    ck_assert_uint_ge(f.file.records, SOME - 1);
    const uint64_t records = f.file.records;
    close_capture();
    ck_assert_int_eq(size_of(FILE_NAME), CAPTURE_HEADER_BYTES + (off_t)records * RECORD);
    remove(FILE_NAME);
}

END_TEST

START_TEST(a_full_disk_is_said_once_and_holds_nobody)
{
    open_capture("/dev/full", 0);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    expect_log("capture.failed");
    for (unsigned i = 0; i < 100000; i++)
        put("127.0.0.1:1", 0, PEER_IP4, "\x7F\0\0\x01\0\x02", 6, false);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    ck_assert_ptr_null(log_peek(&f.log));
    close_capture();
}

END_TEST

START_TEST(what_does_not_fit_into_memory_is_counted)
{
    enum { MANY = 100000, RECORD = 16 + 20 + 8 + 2 };

    open_capture(FILE_NAME, 0);
    for (unsigned i = 0; i < MANY; i++) /* the loop does not run: nothing is written */
        put("127.0.0.1:1", 0, PEER_IP4, "\x7F\0\0\x01\0\x02", 6, false);
    ck_assert_uint_gt(f.file.dropped, 0);
    ck_assert_uint_eq(f.file.dropped + f.file.records, MANY);
    const off_t size = CAPTURE_HEADER_BYTES + (off_t)f.file.records * RECORD;
    capture_file_finish(&f.file);
    expect_log("capture.dropped");
    close_capture();
    ck_assert_int_eq(size_of(FILE_NAME), size);
    remove(FILE_NAME);
}

END_TEST

START_TEST(a_file_that_cannot_be_made_is_refused_in_words)
{
    char error[200] = "";
    struct capture_file file;
    ck_assert_int_eq(uv_loop_init(&f.loop), 0);
    ck_assert_int_eq(
        capture_file_open(&file, &f.loop, "/no/such/dir/x.pcap", 0, NULL, error, sizeof error),
        -ENOENT);
    ck_assert_str_eq(error, "/no/such/dir/x.pcap can't be written: No such file or directory");
    ck_assert_int_eq(uv_loop_close(&f.loop), 0);
}

END_TEST

START_TEST(a_packet_too_long_for_a_datagram_is_cut_and_says_so)
{
    static uint8_t huge[70000];
    static uint8_t out[80000];
    struct writer w = wr_to(out, sizeof out);
    struct peer_room room;
    const struct peer *peer = peer_make(&room, 0, PEER_SERIAL, bytes_of(NULL, 0));
    const struct capture_end end = capture_end("line", 0);
    capture_record(&w, 0, true, &end, peer, bytes_of(huge, sizeof huge));
    struct reader r = rd_of(bytes_of(out, wr_close(&w)));
    rd_bytes(&r, 8);
    ck_assert_uint_eq(rd_u32(&r), CAPTURE_SNAP); /* captured */
    ck_assert_uint_eq(rd_u32(&r), 40 + 8 + sizeof huge);
    ck_assert_uint_eq(rd_left(&r), CAPTURE_SNAP);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("capture");
    TCase *tc = tcase_create("capture");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, every_kind_of_peer_becomes_an_address_that_tshark_reads);
    tcase_add_test(tc, the_file_can_be_read_while_it_grows);
    tcase_add_test(tc, at_its_limit_the_capture_ends_with_whole_records);
    tcase_add_test(tc, a_full_disk_is_said_once_and_holds_nobody);
    tcase_add_test(tc, what_does_not_fit_into_memory_is_counted);
    tcase_add_test(tc, a_file_that_cannot_be_made_is_refused_in_words);
    tcase_add_test(tc, a_packet_too_long_for_a_datagram_is_cut_and_says_so);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
