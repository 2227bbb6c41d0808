/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One daemon with a stick of every family, each emulated on a pseudo terminal behind a symbolic
 * link as /dev/serial/by-id has them, each with a node. All of them are pulled out again and
 * again, at any moment, and come back at once or later, under the same name or another. The node
 * knows nothing of that: it never connects again, and its next PUBLISH must be accepted.
 *
 * SENNET_REPLUGS=1000 for the long run; 20 without it. SENNET_FAMILY=xbee for that one alone.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "base/rng.h"

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "tools/stick_pty.h"
#include "unit/suite.h"

enum {
    FAMILIES = 5,
    REPLUGS = 20,
    REOPENED_MS = 2000,
    ANSWERED_MS = 20000, /* from the return of the stick to the PUBACK, its start-up included */
    SAY_AGAIN_MS = 100,
    STALL_MS = 50,
    SERIAL_FIRMWARE = 16 + 1, /* SLIP, a forwarder */
    PATH_ROOM = 128,
};

enum stage {
    CONNECTING,
    PUBLISHING,
    RESTING, /* has its PUBACK: about to be pulled out */
    OUT,
    DONE,
};

struct bench {
    const char *family;
    char link[PATH_ROOM];
    struct stick_pty pty;
    struct ether *ether;
    struct emu *emu;
    struct rng rng;
    enum stage stage;
    int64_t until_ms; /* of RESTING, OUT */
    int64_t say_ms;   /* again then */
    int64_t back_ms;  /* plugged in */
    bool opened;      /* since */
    uint16_t number;  /* of publications; the last one's msg id */
    int64_t slowest_open_ms, slowest_answer_ms;
};

static const char *const FAMILY[FAMILIES] = {"znp", "ezsp", "deconz", "xbee", "serial"};

static struct broker broker;
static struct daemon gateway;
static struct observer *observer;
static struct bench benches[FAMILIES];
static char directory[] = "/tmp/sennet-sticks-XXXXXX";
static unsigned n_benches, replugs;
static int64_t stalled_ms; /* in sum */

/* ---- the stick and its node -------------------------------------------------------------------- */

/* The last lines of the log on this stick, no more than a message of Check can carry. */
static const char *told(const struct bench *b)
{
    static char text[3000];
    char mark[PATH_ROOM];
    snprintf(mark, sizeof mark, " link=%s ", b->family);
    size_t at = sizeof text - 1;
    const char *end = gateway.log + gateway.log_len;
    for (const char *line = end; line > gateway.log; end = line) {
        do
            line--;
        while (line > gateway.log && line[-1] != '\n');
        const size_t len = (size_t)(end - line);
        if (memmem(line, len, mark, strlen(mark)) == NULL)
            continue;
        if (len > at)
            break;
        at -= len;
        memcpy(text + at, line, len);
    }
    return text + at;
}

static void bench_init(struct bench *b, const char *family, uint64_t seed, int64_t now_ms)
{
    const bool is_serial = strcmp(family, "serial") == 0;
    const struct emu_config config = {.seed = seed,
                                      .eui64 = UINT64_C(0x00124B0021A81179) + seed,
                                      .formed = true,
                                      .firmware = is_serial ? SERIAL_FIRMWARE : 0,
                                      .baud = 115200};
    const struct ether_node node = {.eui64 = UINT64_C(0x0011223300000000) + seed,
                                    .short_address = 1,
                                    .lqi = 200,
                                    .rssi = -50,
                                    .endpoint = 0xE8,
                                    .profile = 0xC105,
                                    .cluster = 0x0011};
    struct ether_config air = ether_defaults();
    air.max_payload = 116;
    *b = (struct bench){.family = family, .stage = CONNECTING, .say_ms = now_ms, .opened = true};
    rng_seed(&b->rng, seed);
    snprintf(b->link, sizeof b->link, "%s/%s", directory, family);
    stick_pty_init(&b->pty, b->link);
    b->ether = ether_new(&air, now_ms);
    ck_assert_ptr_nonnull(b->ether);
    ck_assert_int_eq(ether_node_add(b->ether, now_ms, &node), 0);
    b->emu = emu_new(emu_driver_find(family), &config, b->ether, now_ms);
    ck_assert_ptr_nonnull(b->emu);
    ck_assert(stick_pty_plug(&b->pty));
}

static void bench_deinit(struct bench *b)
{
    stick_pty_deinit(&b->pty);
    emu_free(b->emu);
    ether_free(b->ether);
}

static void node_says(struct bench *b, int64_t now_ms, bool again)
{
    uint8_t packet[32];
    struct writer w = wr_to(packet, sizeof packet);
    const size_t name_len = strlen(b->family);
    b->say_ms = now_ms + SAY_AGAIN_MS;
    if (b->stage == CONNECTING) {
        wr_u8(&w, (uint8_t)(6 + name_len));
        wr_bytes(&w, bytes_of("\x04\x00\x01\x02\x58", 5)); /* CONNECT, 600 s */
        wr_bytes(&w, bytes_of(b->family, name_len));
    } else {
        wr_u8(&w, 9);
        wr_u8(&w, 0x0C);                /* PUBLISH */
        wr_u8(&w, again ? 0xA2 : 0x22); /* QoS 1, short topic */
        wr_bytes(&w, bytes_of(b->family, 2));
        wr_u16(&w, b->number);
        wr_bytes(&w, bytes_of("on", 2));
    }
    ether_node_send(b->ether, now_ms, 0, false, bytes_of(packet, wr_close(&w)));
}

static void node_hears(struct bench *b, int64_t now_ms, struct bytes packet)
{
    struct reader r = rd_of(packet);
    rd_u8(&r);
    const unsigned type = rd_u8(&r);
    ck_assert_msg(type != 0x18, "%s: the node was told DISCONNECT:\n%s", b->family, told(b));
    if (b->stage == CONNECTING && type == 0x05) {
        b->stage = RESTING;
        b->until_ms = TIME_NEVER; /* until the others are there, too */
    } else if (b->stage == PUBLISHING && type == 0x0D) {
        rd_u16(&r);
        const unsigned msg_id = rd_u16(&r);
        const unsigned code = rd_u8(&r);
        ck_assert(rd_close(&r));
        if (msg_id != b->number)
            return;
        ck_assert_msg(code == 0, "%s: refused, code %u", b->family, code);
        b->slowest_answer_ms = time_max(b->slowest_answer_ms, now_ms - b->back_ms);
        b->stage = b->number >= replugs ? DONE : RESTING;
        b->until_ms = now_ms + (int64_t)rng_below(&b->rng, 200);
    }
}

static void pull(struct bench *b, int64_t now_ms)
{
    emu_power_off(b->emu, now_ms);
    stick_pty_pull(&b->pty);
    b->stage = OUT;
    b->until_ms = now_ms + (int64_t)rng_below(&b->rng, 50);
    if (b->pty.pulled % 5 == 0) /* past the first, quick attempts of the daemon */
        b->until_ms += 600 + (int64_t)rng_below(&b->rng, 900);
}

static void plug(struct bench *b, int64_t now_ms)
{
    ck_assert(stick_pty_plug(&b->pty));
    emu_power_on(b->emu, now_ms);
    b->back_ms = now_ms;
    b->opened = false;
    b->stage = PUBLISHING;
    b->number++;
    node_says(b, now_ms, false);
}

/* ---- time -------------------------------------------------------------------------------------- */

static void judge_opening(struct bench *b, int64_t now_ms, bool heard)
{
    if (b->opened || b->stage == OUT)
        return;
    if (heard)
        b->slowest_open_ms = time_max(b->slowest_open_ms, now_ms - b->back_ms);
    b->opened = heard;
    ck_assert_msg(now_ms - b->back_ms < REOPENED_MS, "%s: not opened again, replug %u:\n%s",
                  b->family, b->pty.pulled, told(b));
}

static void hand_events(struct bench *b, int64_t now_ms)
{
    struct ether_event event;
    while (ether_peek_event(b->ether, &event)) {
        uint8_t copy[ETHER_PAYLOAD_MAX];
        if (event.payload.len > 0)
            memcpy(copy, event.payload.data, event.payload.len);
        const struct bytes packet = bytes_of(copy, event.payload.len);
        const bool to_node = event.type == ETHER_EV_TO_NODE;
        if (!to_node)
            emu_event(b->emu, now_ms, &event);
        ether_done_event(b->ether);
        if (to_node)
            node_hears(b, now_ms, packet);
    }
}

static void bench_step(struct bench *b, int64_t now_ms)
{
    bool full;
    emu_advance(b->emu, now_ms); /* what was on the line comes before what happens now */
    if (b->stage == OUT && b->until_ms <= now_ms)
        plug(b, now_ms);
    else if (b->stage == RESTING && b->until_ms <= now_ms)
        pull(b, now_ms);
    else if ((b->stage == CONNECTING || b->stage == PUBLISHING) && b->say_ms <= now_ms)
        node_says(b, now_ms, true);
    judge_opening(b, now_ms, stick_pty_read(&b->pty, b->emu, now_ms * 1000) > 0);
    ether_advance(b->ether, now_ms);
    hand_events(b, now_ms);
    stick_pty_write(&b->pty, b->emu, now_ms * 1000, &full);
    ck_assert_msg(b->stage != PUBLISHING || now_ms - b->back_ms < ANSWERED_MS,
                  "%s: publication %u is not acknowledged:\n%s", b->family, b->number, told(b));
}

static int64_t bench_next_ms(const struct bench *b)
{
    int64_t next_ms = time_min(emu_next_deadline(b->emu), ether_next_deadline(b->ether));
    if (b->stage == OUT || b->stage == RESTING)
        next_ms = time_min(next_ms, b->until_ms);
    else if (b->stage != DONE)
        next_ms = time_min(next_ms, b->say_ms);
    return next_ms;
}

static bool all_in(enum stage stage)
{
    bool all = true;
    for (unsigned i = 0; i < n_benches; i++)
        all = all && benches[i].stage == stage;
    return all;
}

/* A machine that is too busy to run us for a while is too busy to run the daemon. */
static void excuse(int64_t late_ms)
{
    if (late_ms < STALL_MS)
        return;
    stalled_ms += late_ms;
    for (unsigned i = 0; i < n_benches; i++)
        benches[i].back_ms += late_ms;
}

/* Until all of them have come to this stage. */
static void run_until(enum stage stage, int64_t limit_ms)
{
    const int64_t end_ms = test_now_ms() + limit_ms;
    while (!all_in(stage)) {
        struct pollfd p[FAMILIES];
        const int64_t before_ms = test_now_ms();
        int64_t wait_ms = 200;
        for (unsigned i = 0; i < n_benches; i++) {
            p[i] = (struct pollfd){.fd = benches[i].pty.master, .events = POLLIN};
            wait_ms = time_min(wait_ms, bench_next_ms(&benches[i]) - before_ms);
        }
        poll(p, n_benches, wait_ms > 0 ? (int)wait_ms : 0);
        const int64_t now_ms = test_now_ms();
        excuse(now_ms - before_ms - time_max(wait_ms, 0));
        ck_assert_msg(now_ms < end_ms, "it takes too long:\n%s", daemon_log_end(&gateway));
        for (unsigned i = 0; i < n_benches; i++)
            bench_step(&benches[i], now_ms);
        daemon_has_logged(&gateway, ""); /* its pipe must not fill up */
    }
}

/* ---- the daemon -------------------------------------------------------------------------------- */

static void start(void)
{
    char more[2048];
    size_t len = 0;
    replugs = REPLUGS;
    if (getenv("SENNET_REPLUGS") != NULL)
        replugs = (unsigned)strtoul(getenv("SENNET_REPLUGS"), NULL, 10);
    ck_assert_msg(replugs > 0 && replugs < UINT16_MAX, "SENNET_REPLUGS: %u", replugs);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    const char *only = getenv("SENNET_FAMILY");
    for (unsigned i = 0; i < FAMILIES; i++) {
        if (only != NULL && strcmp(only, FAMILY[i]) != 0)
            continue;
        struct bench *b = &benches[n_benches++];
        bench_init(b, FAMILY[i], i + 1, test_now_ms());
        const bool is_serial = strcmp(FAMILY[i], "serial") == 0;
        len += (size_t)snprintf(
            more + len, sizeof more - len, "[link %s]\ndriver = %s\ndevice = %s\nadvertise = 0\n%s",
            FAMILY[i], FAMILY[i], b->link, is_serial ? "framing = slip\nforwarder = yes\n" : "");
        ck_assert_uint_lt(len, sizeof more);
    }
    broker_start(&broker, NULL);
    observer = observer_start(broker.port, "#");
    daemon_start(&gateway, broker.port, more);
}

static void stop(void)
{
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, daemon_log_end(&gateway));
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", daemon_log_end(&gateway));
    observer_stop(observer);
    broker_stop(&broker);
    for (unsigned i = 0; i < n_benches; i++)
        bench_deinit(&benches[i]);
    rmdir(directory);
}

START_TEST(sessions_of_every_family_survive_sticks_that_come_and_go)
{
    start();
    run_until(RESTING, 60000);
    const unsigned before = daemon_descriptors(&gateway);
    const unsigned before_kib = daemon_memory_kib(&gateway);
    for (unsigned i = 0; i < n_benches; i++)
        benches[i].until_ms = 0;
    run_until(DONE, (int64_t)replugs * 10000);
    const unsigned after = daemon_descriptors(&gateway);
    for (unsigned i = 0; i < n_benches; i++) {
        struct bench *b = &benches[i];
        const char topic[] = {b->family[0], b->family[1], '\0'};
        printf("%-6s %u replugs; after the return of the stick it was open within %d ms, "
               "the node's PUBLISH acknowledged within %d ms\n",
               b->family, b->pty.pulled, (int)b->slowest_open_ms, (int)b->slowest_answer_ms);
        ck_assert_uint_eq(b->pty.pulled, replugs);
        ck_assert_uint_ge(observer_count(observer, topic), replugs);
    }
    printf("descriptors: %u before, %u after; memory: %u KiB before, %u KiB after\n", before, after,
           before_kib, daemon_memory_kib(&gateway));
    printf("the machine stood still for %d ms in sum\n", (int)stalled_ms);
    ck_assert_uint_eq(after, before);
    ck_assert_msg(!daemon_has_logged(&gateway, "new=lost"), "%s", daemon_log_end(&gateway));
    stop();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick families");
    TCase *t = tcase_create("replug");
    tcase_set_timeout(t, 10800);
    tcase_add_test(t, sessions_of_every_family_survive_sticks_that_come_and_go);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
