/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/stick_link_world.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "radio/stick/core.h"

/* ---- time ------------------------------------------------------------------------------------ */

struct sl_time virtual;

uint64_t __wrap_uv_now(const uv_loop_t *loop);
int __wrap_uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
int __wrap_uv_timer_stop(uv_timer_t *t);

uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
    (void)loop;
    return virtual.now_ms;
}

int __wrap_uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    ck_assert_uint_eq(repeat, 0);
    virtual.timer = t;
    virtual.callback = cb;
    virtual.due_ms = virtual.now_ms + timeout;
    return 0;
}

int __wrap_uv_timer_stop(uv_timer_t *t)
{
    (void)t;
    virtual.due_ms = UINT64_MAX;
    return 0;
}

/* ---- the families ---------------------------------------------------------------------------- */

/* Commands that the test sends as bytes: U up, D down, R asks to be reopened, P changes the port and
 * writes B, p a packet, g one to the group, v a delivery, F (auto only) it is a fake. */
static void fake_input(struct stick *s, int64_t now_ms, struct bytes in)
{
    static const uint8_t packet[] = {3, 0x16, 0x01};
    const struct stick_radio to_us = {.has_lqi = true, .lqi = 77};
    const struct stick_radio to_all = {.to_group = true};
    for (size_t i = 0; i < in.len; i++) {
        switch (in.data[i]) {
        case 'U':
            stick_up(s, now_ms, 60, 4, 5000, "a network of air");
            break;
        case 'D':
            stick_down(s, now_ms, "it has reset itself");
            break;
        case 'R':
            stick_reopen(s, now_ms, "it does not answer");
            break;
        case 'P':
            stick_set_port(s, (struct stick_port){.baud = 38400, .dtr = -1, .rts = 1});
            stick_write(s, bytes_str("B"));
            break;
        case 'p':
            stick_heard(s, now_ms, PEER_EUI64, 1, SHORT_UNKNOWN, &to_us, bytes_of(packet, 3));
            break;
        case 'g':
            stick_heard(s, now_ms, PEER_EUI64, 2, SHORT_UNKNOWN, &to_all, bytes_of(packet, 3));
            break;
        case 'v':
            for (unsigned id = 1; id <= UINT8_MAX; id++) {
                if (stick_outstanding(s, (uint8_t)id) != NULL)
                    stick_verdict(s, now_ms, (uint8_t)id, VERDICT_DELIVERED, 0);
            }
            break;
        case 'F':
            stick_identified(s, now_ms, "fake", 57600);
            break;
        default:
            break;
        }
    }
}

static void fake_nothing(struct stick *s)
{
    (void)s;
}

static void fake_opened(struct stick *s, int64_t now_ms)
{
    (void)now_ms;
    stick_write(s, bytes_str("HI"));
}

static void fake_advance(struct stick *s, int64_t now_ms)
{
    (void)s;
    (void)now_ms;
}

static int64_t fake_deadline(const struct stick *s)
{
    (void)s;
    return TIME_NEVER;
}

static void fake_transmit(struct stick *s, int64_t now_ms, struct stick_send *send)
{
    (void)now_ms;
    stick_write(s, stick_packet(send));
}

#define FAMILY(word)                                                                               \
    {                                                                                              \
        .name = (word), .size = sizeof(struct stick), .reports = true, .init = fake_nothing,       \
        .opened = fake_opened, .closed = fake_nothing, .input = fake_input,                        \
        .advance = fake_advance, .next_deadline = fake_deadline, .transmit = fake_transmit         \
    }

static const struct stick_driver families[] = {FAMILY("fake"), FAMILY("xbee"), FAMILY("auto")};

const struct stick_driver *stick_driver_find(struct bytes name)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        if (bytes_equal(name, bytes_str(families[i].name)))
            return &families[i];
    }
    return NULL;
}

struct found_port found;

bool finder_identify(const char *root, const char *device, struct found_port *out)
{
    ck_assert_str_eq(root, "");
    ck_assert_str_eq(device, "/dev/stick");
    *out = found;
    return found.driver != NULL;
}

/* ---- the port -------------------------------------------------------------------------------- */

struct sl_device dev;

static int dev_check(const struct port_config *config, char *error, size_t error_size)
{
    (void)config;
    snprintf(error, error_size, "/dev/stick is not there");
    return dev.result == -EINVAL ? dev.result : -ENODEV;
}

static int dev_open(void *loop, const struct port_config *config, const struct port_sink *sink,
                    struct port **out, char *error, size_t error_size);

static size_t dev_write(struct port *p, struct bytes out)
{
    ck_assert_ptr_eq(p, &dev.port);
    ck_assert(dev.is_open);
    const size_t n = out.len < dev.room ? out.len : dev.room;
    ck_assert_uint_lt(dev.n_written + n, sizeof dev.written);
    memcpy(dev.written + dev.n_written, out.data, n);
    dev.n_written += n;
    dev.room -= n;
    return n;
}

static int dev_set(struct port *p, int32_t baud, int dtr, int rts)
{
    ck_assert_ptr_eq(p, &dev.port);
    dev.n_written +=
        (size_t)snprintf(dev.written + dev.n_written, sizeof dev.written - dev.n_written,
                         "[%d,%d,%d]", baud, dtr, rts);
    return 0;
}

static const char *dev_where(const struct port *p)
{
    ck_assert_ptr_eq(p, &dev.port);
    return "/dev/ttyFAKE0";
}

static void dev_close(struct port *p)
{
    ck_assert_ptr_eq(p, &dev.port);
    ck_assert(dev.is_open);
    dev.is_open = false;
    dev.closes++;
}

static const struct port_kind dev_kind = {.name = "fake",
                                          .check = dev_check,
                                          .open = dev_open,
                                          .write = dev_write,
                                          .set = dev_set,
                                          .where = dev_where,
                                          .close = dev_close};

static int dev_open(void *loop, const struct port_config *config, const struct port_sink *sink,
                    struct port **out, char *error, size_t error_size)
{
    (void)loop;
    ck_assert(!dev.is_open);
    dev.opens++;
    dev.config = *config;
    dev.sink = *sink;
    if (dev.result != 0) {
        snprintf(error, error_size, "/dev/stick can't be had (%d)", -dev.result);
        return dev.result;
    }
    dev.is_open = true;
    dev.room = SIZE_MAX;
    dev.port.kind = &dev_kind;
    *out = &dev.port;
    return 0;
}

const struct port_kind *port_find(const char *device)
{
    ck_assert_str_eq(device, "/dev/stick");
    return &dev_kind;
}

/* ---- the owner ------------------------------------------------------------------------------- */

struct sl_owner own;

void sl_close_link(void)
{
    struct link *l = own.link;
    own.link = NULL;
    l->driver->close(l);
}

static void close_if(char where)
{
    ck_assert_ptr_nonnull(own.link);
    if (own.close_in == where)
        sl_close_link();
}

void sl_send_to(uint64_t node)
{
    uint8_t address[8];
    struct peer_room room;
    struct writer wr = wr_to(address, sizeof address);
    wr_u64(&wr, node);
    const struct peer *to = peer_make(&room, 3, PEER_EUI64, bytes_of(address, 8));
    const bool before = own.busy;
    own.busy = true;
    own.link->driver->send(own.link, to, bytes_str("<packet>"));
    own.link->driver->flush(own.link);
    own.busy = before;
}

static void on_packet(void *owner, const struct peer *from, const struct link_signal *signal,
                      struct bytes packet)
{
    ck_assert_ptr_eq(owner, &own);
    ck_assert(!own.busy);
    ck_assert(signal->has_lqi && !signal->has_rssi);
    ck_assert_uint_eq(signal->lqi, 77);
    ck_assert_uint_eq(from->link, 3);
    ck_assert_uint_eq(packet.len, 3);
    own.packets++;
    own.in_batch = true;
    if (own.echo)
        sl_send_to(1);
    close_if('p');
}

static void on_group_packet(void *owner, const struct peer *from, struct bytes packet)
{
    (void)owner;
    ck_assert_uint_eq(from->kind, PEER_EUI64);
    ck_assert_uint_eq(packet.len, 3);
    own.groups++;
    own.in_batch = true;
}

static void on_batch_end(void *owner)
{
    (void)owner;
    ck_assert(!own.busy);
    ck_assert(own.in_batch);
    own.in_batch = false;
    own.batches++;
    own.link->driver->flush(own.link);
    close_if('b');
}

static void on_group(void *owner, uint16_t link, bool joined)
{
    (void)owner;
    ck_assert_uint_eq(link, 3);
    ck_assert_uint_eq(own.joined - own.left, joined ? 0 : 1);
    own.joined += joined;
    own.left += !joined;
}

static void on_outcome(void *owner, const struct peer *to, enum stick_outcome outcome)
{
    (void)owner;
    ck_assert_uint_eq(to->kind, PEER_EUI64);
    ck_assert(!own.busy);
    own.outcomes[outcome]++;
    own.in_batch = true;
    close_if('o');
}

static void on_limit(void *owner, uint16_t link, uint32_t bytes)
{
    (void)owner;
    ck_assert_uint_eq(link, 3);
    /* Before packets can pass, or a change while they do. */
    ck_assert(own.ups > own.joined || own.joined > own.left);
    own.limits++;
    own.limit = bytes;
}

static void on_event(void *owner, uint16_t link, int level, const char *event, const char *text)
{
    (void)owner;
    (void)level;
    ck_assert_uint_eq(link, 3);
    snprintf(own.last, sizeof own.last, "%s %s", event, text);
    own.lost += strcmp(event, "link.lost") == 0;
    own.ups += strcmp(event, "link.up") == 0;
    close_if('e');
}

/* ---- what the world does --------------------------------------------------------------------- */

void sl_run(uint64_t ms)
{
    const uint64_t end_ms = virtual.now_ms + ms;
    unsigned at_once = 0;
    while (virtual.due_ms <= end_ms && own.link != NULL) {
        at_once = virtual.due_ms <= virtual.now_ms ? at_once + 1 : 0;
        ck_assert_msg(at_once < 100, "it spins");
        if (virtual.due_ms > virtual.now_ms)
            virtual.now_ms = virtual.due_ms;
        virtual.due_ms = UINT64_MAX;
        virtual.callback(virtual.timer);
        if (own.link != NULL && dev.is_open && !dev.slow && dev.n_written == 0) {
            dev.slow = true;
            dev.sink.opened(dev.sink.owner);
            dev.slow = false;
        }
    }
    virtual.now_ms = end_ms;
}

/* Until the port is open and the machine has said hello. */
void sl_plug(void)
{
    dev.result = 0;
    dev.n_written = 0;
    sl_run(1000);
    ck_assert(dev.is_open);
}

void sl_say(const char *commands)
{
    dev.sink.bytes(dev.sink.owner, bytes_str(commands));
}

void sl_unplug(void)
{
    dev.result = -ENODEV;
    dev.sink.lost(dev.sink.owner, -EIO, "/dev/ttyFAKE0 has hung up");
}

void sl_start(const char *driver)
{
    memset(&virtual, 0, sizeof virtual);
    memset(&dev, 0, sizeof dev);
    memset(&own, 0, sizeof own);
    memset(&found, 0, sizeof found);
    virtual.due_ms = UINT64_MAX;
    virtual.now_ms = 1000;
    ck_assert_int_eq(uv_loop_init(&own.loop), 0);
    const struct link_config config = {
        .index = 3,
        .name = "stick",
        .driver = driver,
        .max_packet_bytes = 255,
        .port = {.device = "/dev/stick", .dtr = -1, .rts = -1},
    };
    const struct link_sink sink = {.owner = &own,
                                   .packet = on_packet,
                                   .batch_end = on_batch_end,
                                   .group_packet = on_group_packet,
                                   .group = on_group,
                                   .outcome = on_outcome,
                                   .limit = on_limit,
                                   .event = on_event};
    char error[300] = "";
    ck_assert_int_eq(link_stick.open(&own.loop, &config, &sink, &own.link, error, sizeof error), 0);
    ck_assert_uint_eq(dev.opens, 0); /* not before sl_start() */
    link_stick.start(own.link);
}

void sl_set_up(void)
{
    sl_start("fake");
}

void sl_tear_down(void)
{
    if (own.link != NULL)
        sl_close_link();
    ck_assert(!dev.is_open);
    uv_run(&own.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&own.loop), 0);
}

const char *sl_family(void)
{
    return stick_driver_label(link_stick.stick(own.link)->driver);
}
