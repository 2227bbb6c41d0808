/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame around the front ends: the serial line in both directions with its pace and faults, and
 * the switch. Times on the line are microseconds: at 115200 baud eleven octets pass in one
 * millisecond. What the firmware says in answer to an octet goes on the line right behind it, even
 * if this machine is looked after later: nothing but the delivery to the host waits for that.
 */
#include "tools/emu/emu.h"

#include <assert.h>
#include <stdlib.h>

/* ---- one direction of the line ----------------------------------------------------------------- */

static bool line_init(struct emu_line *l, size_t size)
{
    l->size = size;
    l->bytes = malloc(size);
    l->chunks = calloc(EMU_CHUNKS, sizeof *l->chunks);
    return l->bytes != NULL && l->chunks != NULL;
}

static void line_deinit(struct emu_line *l)
{
    free(l->bytes);
    free(l->chunks);
}

static void line_clear(struct emu_line *l)
{
    l->head = l->used = l->first = l->n_chunks = 0;
    l->free_us = 0;
}

static struct emu_chunk *line_chunk(const struct emu_line *l, size_t i)
{
    return &l->chunks[(l->first + i) % EMU_CHUNKS];
}

/* So long one octet of ten bits takes, in nanoseconds. */
static int64_t octet_ns(const struct emu *m)
{
    return m->config.baud == 0 ? 0 : INT64_C(10000000000) / m->config.baud;
}

/* The first millisecond at which that is over. */
static int64_t ms_of(int64_t us)
{
    return us == TIME_NEVER ? TIME_NEVER : (us + 999) / 1000;
}

/* When `len` octets that began at `from_us` have passed. */
static int64_t passed_us(const struct emu *m, int64_t from_us, size_t len)
{
    return from_us + ((int64_t)len * octet_ns(m) + 999) / 1000;
}

static size_t line_room(const struct emu_line *l)
{
    return l->n_chunks < EMU_CHUNKS ? l->size - l->used : 0;
}

/* Puts octets on the line at `at_us` or, while it is busy, behind the others. */
static void line_put(struct emu *m, struct emu_line *l, int64_t at_us, struct bytes in)
{
    if (in.len > line_room(l)) {
        m->overruns += in.len;
        return;
    }
    if (in.len == 0)
        return;
    const size_t tail = (l->head + l->used) % l->size;
    const size_t first = in.len < l->size - tail ? in.len : l->size - tail;
    memcpy(l->bytes + tail, in.data, first);
    memcpy(l->bytes, in.data + first, in.len - first);
    l->used += in.len;
    const int64_t from_us = at_us > l->free_us ? at_us : l->free_us;
    *line_chunk(l, l->n_chunks++) = (struct emu_chunk){.from_us = from_us, .len = in.len};
    l->free_us = passed_us(m, from_us, in.len);
}

/* Octets of the first chunk that have passed at `now_us` and were not taken. */
static size_t line_passed(const struct emu *m, const struct emu_line *l, int64_t now_us)
{
    if (l->n_chunks == 0)
        return 0;
    const struct emu_chunk *c = line_chunk(l, 0);
    if (now_us >= passed_us(m, c->from_us, c->len))
        return c->len - c->taken;
    if (now_us <= c->from_us)
        return 0;
    size_t n = (size_t)((now_us - c->from_us) * 1000 / octet_ns(m));
    while (n < c->len && passed_us(m, c->from_us, n + 1) <= now_us) /* that rounds up */
        n++;
    return n > c->taken ? n - c->taken : 0;
}

/* When `octets` more of the first chunk have passed, or what is left of it. */
static int64_t line_due_us(const struct emu *m, const struct emu_line *l, size_t octets)
{
    if (l->n_chunks == 0)
        return TIME_NEVER;
    const struct emu_chunk *c = line_chunk(l, 0);
    return passed_us(m, c->from_us, octets < c->len - c->taken ? c->taken + octets : c->len);
}

/* The first `n` octets, as far as they lie in one piece. */
static struct bytes line_view(const struct emu_line *l, size_t n)
{
    const size_t to_end = l->size - l->head;
    return bytes_of(l->bytes + l->head, n < to_end ? n : to_end);
}

static void line_took(struct emu_line *l, size_t n)
{
    assert(n <= l->used);
    l->head = (l->head + n) % l->size;
    l->used -= n;
    while (n > 0) {
        struct emu_chunk *c = line_chunk(l, 0);
        const size_t left = c->len - c->taken;
        const size_t part = n < left ? n : left;
        c->taken += part;
        n -= part;
        if (c->taken == c->len) {
            l->first = (l->first + 1) % EMU_CHUNKS;
            l->n_chunks--;
        }
    }
}

/* ---- frames to the host ------------------------------------------------------------------------ */

bool emu_chance(struct emu *m, double percent)
{
    return percent > 0 && (double)rng_below(&m->rng, 1000000) < percent * 10000;
}

static void put_garbage(struct emu *m, int64_t at_us)
{
    uint8_t garbage[24];
    const size_t n = 1 + (size_t)rng_below(&m->rng, sizeof garbage);
    for (size_t i = 0; i < n; i++)
        garbage[i] = (uint8_t)rng_next(&m->rng);
    line_put(m, &m->out, at_us, bytes_of(garbage, n));
}

static void put_frame(struct emu *m, int64_t at_us, struct bytes frame)
{
    const struct emu_faults *f = &m->config.faults;
    uint8_t altered[EMU_FRAME_MAX];
    assert(frame.len <= sizeof altered);
    m->frames_out++;
    if (emu_chance(m, f->garbage_percent))
        put_garbage(m, at_us);
    if (frame.len > 0 && emu_chance(m, f->flip_percent)) {
        memcpy(altered, frame.data, frame.len);
        altered[rng_below(&m->rng, frame.len)] ^= (uint8_t)(1U << rng_below(&m->rng, 8));
        frame.data = altered;
    }
    if (frame.len > 0 && emu_chance(m, f->drop_percent)) {
        const size_t at = (size_t)rng_below(&m->rng, frame.len);
        memmove(altered, frame.data, at);
        memmove(altered + at, frame.data + at + 1, frame.len - at - 1);
        frame = bytes_of(altered, frame.len - 1);
    }
    size_t cut = frame.len;
    if (frame.len > 1 && emu_chance(m, f->split_percent))
        cut = 1 + (size_t)rng_below(&m->rng, frame.len - 1);
    line_put(m, &m->out, at_us, bytes_of(frame.data, cut));
    if (cut < frame.len) {
        const int64_t pause_us = m->out.free_us > at_us ? m->out.free_us : at_us;
        line_put(m, &m->out, pause_us + f->split_ms * 1000,
                 bytes_of(frame.data + cut, frame.len - cut));
    }
}

void emu_frame(struct emu *m, int64_t now_ms, struct bytes frame)
{
    put_frame(m, time_max(now_ms * 1000, m->now_us), frame);
}

void emu_answer(struct emu *m, int64_t now_ms, struct bytes frame)
{
    put_frame(m, time_max(now_ms * 1000, m->now_us) + m->config.command_ms * 1000, frame);
}

bool emu_peek_bytes_us(struct emu *m, int64_t now_us, struct bytes *out)
{
    *out = line_view(&m->out, line_passed(m, &m->out, now_us));
    return out->len > 0;
}

bool emu_peek_bytes(struct emu *m, int64_t now_ms, struct bytes *out)
{
    return emu_peek_bytes_us(m, now_ms * 1000, out);
}

void emu_took(struct emu *m, size_t n)
{
    line_took(&m->out, n);
}

/* ---- life -------------------------------------------------------------------------------------- */

struct emu *emu_new(const struct emu_driver *driver, const struct emu_config *config,
                    struct ether *ether, int64_t now_ms)
{
    assert(driver->size >= sizeof(struct emu));
    struct emu *m = calloc(1, driver->size);
    if (m == NULL)
        return NULL;
    m->driver = driver;
    m->config = *config;
    m->ether = ether;
    m->now_us = now_ms * 1000;
    rng_seed(&m->rng, config->seed);
    if (!line_init(&m->out, EMU_OUT_BYTES) || !line_init(&m->in, EMU_IN_BYTES)) {
        emu_free(m);
        return NULL;
    }
    driver->init(m);
    emu_power_on(m, now_ms);
    return m;
}

void emu_free(struct emu *m)
{
    if (m == NULL)
        return;
    line_deinit(&m->out);
    line_deinit(&m->in);
    free(m);
}

void emu_set_faults(struct emu *m, const struct emu_faults *faults)
{
    m->config.faults = *faults;
}

void emu_power_off(struct emu *m, int64_t now_ms)
{
    m->now_us = time_max(m->now_us, now_ms * 1000);
    m->on = false;
    line_clear(&m->out);
    line_clear(&m->in);
    ether_coordinator(m->ether, now_ms, false);
}

void emu_power_on(struct emu *m, int64_t now_ms)
{
    m->now_us = time_max(m->now_us, now_ms * 1000);
    m->on = true;
    ether_coordinator(m->ether, now_ms, true);
    m->driver->power_on(m, now_ms);
}

void emu_reset(struct emu *m, int64_t now_ms)
{
    if (!m->on)
        return;
    m->resets++;
    emu_power_off(m, now_ms);
    emu_power_on(m, now_ms);
}

/* ---- inputs and time --------------------------------------------------------------------------- */

size_t emu_room(const struct emu *m)
{
    return line_room(&m->in);
}

void emu_input_us(struct emu *m, int64_t now_us, struct bytes from_host)
{
    emu_advance_us(m, now_us);
    if (!m->on)
        return;
    if (m->config.baud == 0)
        m->driver->input(m, now_us / 1000, from_host);
    else
        line_put(m, &m->in, now_us, from_host);
}

void emu_input(struct emu *m, int64_t now_ms, struct bytes from_host)
{
    emu_input_us(m, now_ms * 1000, from_host);
}

void emu_event(struct emu *m, int64_t now_ms, const struct ether_event *event)
{
    emu_advance(m, now_ms);
    if (event->type == ETHER_EV_RECEIVED && m->out.used >= EMU_BACKLOG)
        m->overruns += event->payload.len;
    else if (m->on && event->type != ETHER_EV_TO_NODE)
        m->driver->event(m, now_ms, event);
}

/* Octets from the host have passed: the front end may switch the stick off meanwhile. */
static void take_input(struct emu *m)
{
    uint8_t copy[256];
    size_t n = line_passed(m, &m->in, m->now_us);
    if (n > sizeof copy)
        n = sizeof copy;
    const struct bytes in = line_view(&m->in, n);
    memcpy(copy, in.data, in.len);
    line_took(&m->in, in.len);
    m->driver->input(m, m->now_us / 1000, bytes_of(copy, in.len));
}

static int64_t inner_us(const struct emu *m)
{
    return m->on ? time_min(line_due_us(m, &m->in, 1), time_us(m->driver->next_deadline(m)))
                 : TIME_NEVER;
}

/* Instant by instant, so that a long step gives the same stick as many short ones. */
void emu_advance_us(struct emu *m, int64_t now_us)
{
    int64_t at_us;
    while ((at_us = inner_us(m)) <= now_us) {
        if (at_us > m->now_us)
            m->now_us = at_us;
        if (line_due_us(m, &m->in, 1) <= m->now_us) {
            take_input(m);
            continue;
        }
        m->driver->advance(m, m->now_us / 1000);
        assert(!m->on || m->driver->next_deadline(m) > m->now_us / 1000);
    }
    if (now_us > m->now_us)
        m->now_us = now_us;
}

void emu_advance(struct emu *m, int64_t now_ms)
{
    emu_advance_us(m, now_ms * 1000);
}

/* Octets from the host may wait: no answer is shorter than four, so it is not on the line before the
 * last of these has passed, and it begins where it should. */
int64_t emu_next_us(const struct emu *m)
{
    enum { ANSWER_MIN = 4 };

    if (!m->on)
        return TIME_NEVER;
    const int64_t in_us = line_due_us(m, &m->in, ANSWER_MIN);
    const int64_t out_us = line_due_us(m, &m->out, SIZE_MAX);
    return time_min(time_min(in_us, time_us(m->driver->next_deadline(m))),
                    out_us > m->now_us ? out_us : TIME_NEVER);
}

int64_t emu_next_deadline(const struct emu *m)
{
    return ms_of(emu_next_us(m));
}
