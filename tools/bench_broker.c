/* SPDX-License-Identifier: Apache-2.0 */
/* The MQTT side of a case: connections of ours at a broker, or the broker that we play. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/bench.h"
#include "tools/bench_wire.h"

enum { OPEN_SECONDS = 15, PROOF_MS = 300, SOURCE = 0, SINK = 1, LISTENER = 0, CONNECTION = 1 };

struct bytes bench_topic(enum bench_topic kind, uint32_t stream, char text[BENCH_TOPIC_MAX])
{
    static const char *const names[] = {
        [BENCH_UP] = "up", [BENCH_DOWN] = "down", [BENCH_ALL] = "all", [BENCH_RAW] = "raw"};
    if (kind == BENCH_ALL)
        snprintf(text, BENCH_TOPIC_MAX, "bench/all");
    else
        snprintf(text, BENCH_TOPIC_MAX, "bench/%s/%u", names[kind], stream);
    return bytes_str(text);
}

/* ---- the stub -------------------------------------------------------------------------------- */

bool broker_listen(struct bench *b)
{
    const int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)b->options.stub_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    b->stub_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (b->stub_fd >= 0 && setsockopt(b->stub_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(b->stub_fd, (const struct sockaddr *)&at, sizeof at) == 0 &&
        listen(b->stub_fd, 4) == 0 && bench_watch(b, b->stub_fd, TAG_STUB, LISTENER, false))
        return true;
    fprintf(stderr, "sennet-bench: can't listen on 127.0.0.1:%d: %s\n", b->options.stub_port,
            strerror(errno));
    return false;
}

static void accept_gateway(struct bench *b)
{
    const int fd = accept4(b->stub_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (b->stub != NULL && b->stub == b->source)
        b->trouble = "the gateway connected a second time";
    wire_free(b->stub);
    b->stub_accepts++;
    b->stub = wire_new(fd, true);
    b->source = b->sink = NULL;
    if (b->stub == NULL || !bench_watch(b, fd, TAG_STUB, CONNECTION, false))
        b->trouble = "no memory for the connection of the gateway";
}

/* ---- connections ----------------------------------------------------------------------------- */

static struct wire *dial(struct bench *b, uint32_t index)
{
    char id[BENCH_TOPIC_MAX];
    const int fd = wire_dial(&b->broker);
    struct wire *w = fd >= 0 ? wire_new(fd, false) : NULL;
    if (w == NULL || !bench_watch(b, fd, TAG_WIRE, index, true)) {
        wire_free(w);
        b->trouble = "can't connect to the broker";
        return NULL;
    }
    snprintf(id, sizeof id, "sennet-bench-%08x-%u", b->run, index);
    wire_connect(w, id);
    w->blocked = true; /* until it is connected */
    return w;
}

static bool is_open(const struct bench *b)
{
    const struct wire *const wires[] = {b->source, b->sink, b->stub};
    bool open = b->stub_fd < 0 || b->stub != NULL;
    for (unsigned i = 0; i < 3; i++)
        open = open && (wires[i] == NULL || (wires[i]->is_up && wires[i]->unanswered == 0));
    return open;
}

/* A gateway may connect once to end the session of an earlier life, so the first connection must prove
 * that it lasts. */
static bool open_stub(struct bench *b, int64_t until_ns)
{
    unsigned accepted;
    do {
        accepted = b->stub_accepts;
        if (!bench_until(b, is_open, until_ns)) {
            b->trouble = "the gateway does not connect to the stub broker";
            return false;
        }
        if (!b->stub_lasts)
            bench_run_until(b, bench_clock_ns() + PROOF_MS * (BENCH_SECOND / 1000));
    } while (b->stub == NULL || b->stub_accepts != accepted);
    b->stub_lasts = true;
    b->source = b->sink = b->stub;
    return true;
}

bool broker_open(struct bench *b, const struct bench_figure *f)
{
    const int64_t until_ns = bench_clock_ns() + OPEN_SECONDS * BENCH_SECOND;
    const bool raw = f->kind == KIND_RAW;
    b->now_ns = bench_clock_ns();
    if (b->stub_fd >= 0)
        return open_stub(b, until_ns);
    if (b->options.broker == NULL) {
        b->trouble = "this needs --broker or --stub";
        return false;
    }
    if (raw || f->kind == KIND_UP) {
        b->sink = dial(b, SINK);
        if (b->sink != NULL) {
            wire_subscribe(b->sink, raw ? "bench/raw/+" : "bench/up/+", f->observed_qos);
            wire_subscribe(b->sink, raw ? "bench/raw" : "bm", f->observed_qos);
        }
    }
    if (raw || f->kind != KIND_UP)
        b->source = dial(b, SOURCE);
    if (b->trouble == NULL && !bench_until(b, is_open, until_ns) && b->trouble == NULL)
        b->trouble = "the broker does not answer";
    return b->trouble == NULL;
}

void broker_close(struct bench *b)
{
    if (b->source != b->stub)
        wire_free(b->source);
    if (b->sink != b->stub)
        wire_free(b->sink);
    b->source = b->sink = NULL;
}

/* ---- octets ---------------------------------------------------------------------------------- */

static void flush(struct bench *b, struct wire *w, enum bench_tag tag, uint32_t index)
{
    if (w == NULL || w->blocked)
        return;
    if (!wire_flush(w))
        b->trouble = w->why;
    else if (w->blocked)
        bench_watch(b, w->fd, tag, index, true);
}

void broker_flush(struct bench *b)
{
    flush(b, b->stub, TAG_STUB, CONNECTION);
    if (b->stub != NULL && b->source == b->stub)
        return;
    flush(b, b->source, TAG_WIRE, SOURCE);
    flush(b, b->sink, TAG_WIRE, SINK);
}

static void hear(struct bench *b, struct wire *w)
{
    struct wire_event e;
    wire_read(w);
    for (enum wire_event_type type = wire_next(w, &e); type != WIRE_NOTHING;
         type = wire_next(w, &e)) {
        if (type == WIRE_MESSAGE)
            flow_arrived(b, e.payload);
        else if (b->flow.kind == KIND_RAW)
            flow_settled(b, e.stream);
    }
    if (w->is_broken && (w == b->source || w == b->sink)) /* or nobody uses the stub yet */
        b->trouble = w->why;
}

void broker_ready(struct bench *b, enum bench_tag tag, uint32_t index)
{
    if (tag == TAG_STUB && index == LISTENER) {
        accept_gateway(b);
        return;
    }
    struct wire *w = tag == TAG_STUB ? b->stub : index == SOURCE ? b->source : b->sink;
    if (w == NULL)
        return;
    if (w->blocked) {
        w->blocked = false;
        bench_watch(b, w->fd, tag, index, false);
    }
    hear(b, w);
    if (w == b->stub && w->is_broken) { /* it may come again */
        wire_free(w);
        b->stub = b->source = b->sink = NULL;
    }
}

void broker_publish(struct bench *b, enum bench_topic topic, const struct bench_payload *p, int qos)
{
    char text[BENCH_TOPIC_MAX];
    uint8_t data[BENCH_PAYLOAD_MAX];
    if (b->source == NULL)
        return;
    payload_put(data, b->options.size, p);
    wire_publish(b->source, bench_topic(topic, p->stream, text), bytes_of(data, b->options.size),
                 qos, p->stream);
}

uint32_t broker_unacknowledged(const struct bench *b)
{
    return b->source != NULL ? b->source->unacknowledged : 0;
}
