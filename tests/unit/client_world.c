/* SPDX-License-Identifier: Apache-2.0 */
#include "client_world.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>

const struct snc_options WORLD_OPTIONS = {.client_id = "dev1",
                                          .clean = true,
                                          .keep_alive_s = 60,
                                          .retry_ms = WORLD_RETRY_MS,
                                          .retry_count = 3};

void world_init(struct world *w, const struct snc_options *options)
{
    *w = (struct world){
        .now_ms = 1000, .gw = {.next_topic_id = 0x0021, .down_due_ms = TIME_NEVER}
    };
    w->c = snc_new(options, w->now_ms);
    w->to_client = calloc(WORLD_QUEUE, sizeof *w->to_client);
    w->sent = calloc(WORLD_QUEUE, sizeof *w->sent);
    w->events = calloc(WORLD_EVENTS, sizeof *w->events);
    ck_assert(w->c != NULL && w->to_client != NULL && w->sent != NULL && w->events != NULL);
}

void world_deinit(struct world *w)
{
    snc_free(w->c);
    free(w->to_client);
    free(w->sent);
    free(w->events);
}

void world_forget(struct world *w)
{
    w->sent_count = 0;
    w->event_count = 0;
    w->packets = 0;
}

void world_init_connected(struct world *w, const struct snc_options *options)
{
    world_init(w, options);
    ck_assert_int_eq(snc_connect(w->c, w->now_ms), 0);
    world_settle(w);
    ck_assert(snc_is_connected(w->c));
    world_forget(w);
}

static void copy_text(char *to, struct bytes from)
{
    ck_assert_uint_lt(from.len, WORLD_TEXT);
    if (from.len > 0)
        memcpy(to, from.data, from.len);
    to[from.len] = '\0';
}

void world_send(struct world *w, const struct sn_packet *p)
{
    ck_assert_uint_lt(w->to_client_count, WORLD_QUEUE);
    struct world_frame *f = &w->to_client[w->to_client_count++];
    f->len = sn_encode(p, f->data, sizeof f->data);
    ck_assert_uint_gt(f->len, 0);
}

void world_send_exchange(struct world *w, const struct sn_packet *p)
{
    w->gw.down = *p;
    w->gw.down_open = true;
    w->gw.down_released = false;
    w->gw.down_due_ms = w->now_ms + WORLD_RETRY_MS;
    world_send(w, p);
}

/* ---- the model ------------------------------------------------------------------------------- */

static void gateway_repeat(struct world *w)
{
    struct world_gateway *gw = &w->gw;
    gw->down_due_ms = w->now_ms + WORLD_RETRY_MS;
    if (gw->down_released) {
        world_send(w, &(struct sn_packet){.type = SN_PUBREL, .msg_id = gw->down.msg_id});
        return;
    }
    gw->down.dup = gw->down.type == SN_PUBLISH;
    world_send(w, &gw->down);
}

static void gateway_on_publish(struct world *w, const struct sn_packet *p)
{
    struct world_gateway *gw = &w->gw;
    gw->publishes++;
    const bool repetition = p->qos == SN_QOS_2 && gw->qos2_open && gw->qos2_msg_id == p->msg_id;
    const bool refused = gw->return_code != SN_ACCEPTED;
    if (!repetition && !refused) {
        gw->delivered++;
        copy_text(gw->last_data, p->data);
    }
    struct sn_packet answer = {.type = SN_PUBACK,
                               .topic_id = p->topic_id,
                               .msg_id = p->msg_id,
                               .return_code = gw->return_code};
    if (p->qos == SN_QOS_2 && !refused) {
        gw->qos2_open = true;
        gw->qos2_msg_id = p->msg_id;
        answer = (struct sn_packet){.type = SN_PUBREC, .msg_id = p->msg_id};
    }
    if (p->qos == SN_QOS_1 || p->qos == SN_QOS_2 || (refused && p->qos == SN_QOS_0))
        world_send(w, &answer);
}

static void gateway_on_acknowledgement(struct world *w, const struct sn_packet *p)
{
    struct world_gateway *gw = &w->gw;
    if (!gw->down_open || p->msg_id != gw->down.msg_id)
        return;
    if (p->type == SN_PUBREC && gw->down.qos == SN_QOS_2) {
        gw->down_released = true;
        gateway_repeat(w);
        return;
    }
    gw->down_open = false;
    gw->down_due_ms = TIME_NEVER;
}

static void gateway_on_subscribe(struct world *w, const struct sn_packet *p)
{
    const bool by_name = p->topic_kind == SN_TOPIC_NORMAL;
    const bool wildcard = by_name && memchr(p->topic.data, '#', p->topic.len) != NULL;
    const uint16_t id = wildcard ? 0 : by_name ? w->gw.next_topic_id++ : p->topic_id;
    world_send(w, &(struct sn_packet){.type = SN_SUBACK,
                                      .qos = p->qos,
                                      .topic_id = id,
                                      .msg_id = p->msg_id,
                                      .return_code = w->gw.return_code});
}

static void gateway_on_register(struct world *w, const struct sn_packet *p)
{
    w->gw.registers++;
    copy_text(w->gw.last_topic, p->topic);
    world_send(w, &(struct sn_packet){.type = SN_REGACK,
                                      .topic_id = w->gw.next_topic_id++,
                                      .msg_id = p->msg_id,
                                      .return_code = w->gw.return_code});
}

static void gateway_on_will(struct world *w, const struct sn_packet *p)
{
    if (p->type == SN_WILLTOPIC) {
        copy_text(w->gw.will_topic, p->topic);
        world_send(w, &(struct sn_packet){.type = SN_WILLMSGREQ});
        return;
    }
    copy_text(w->gw.will_message, p->data);
    world_send(w, &(struct sn_packet){.type = SN_CONNACK});
}

static void gateway_input(struct world *w, const struct sn_packet *p)
{
    switch ((int)p->type) {
    case SN_CONNECT:
        world_send(w, &(struct sn_packet){.type = p->will ? SN_WILLTOPICREQ : SN_CONNACK,
                                          .return_code = w->gw.return_code});
        break;
    case SN_WILLTOPIC:
    case SN_WILLMSG:
        gateway_on_will(w, p);
        break;
    case SN_REGISTER:
        gateway_on_register(w, p);
        break;
    case SN_PUBLISH:
        gateway_on_publish(w, p);
        break;
    case SN_PUBREL:
        w->gw.qos2_open = w->gw.qos2_open && w->gw.qos2_msg_id != p->msg_id;
        world_send(w, &(struct sn_packet){.type = SN_PUBCOMP, .msg_id = p->msg_id});
        break;
    case SN_REGACK:
    case SN_PUBACK:
    case SN_PUBREC:
    case SN_PUBCOMP:
        gateway_on_acknowledgement(w, p);
        break;
    case SN_SUBSCRIBE:
        gateway_on_subscribe(w, p);
        break;
    case SN_UNSUBSCRIBE:
        world_send(w, &(struct sn_packet){.type = SN_UNSUBACK, .msg_id = p->msg_id});
        break;
    case SN_PINGREQ:
        w->gw.pings++;
        world_send(w, &(struct sn_packet){.type = SN_PINGRESP});
        break;
    case SN_DISCONNECT:
        world_send(w, &(struct sn_packet){.type = SN_DISCONNECT});
        break;
    default:
        break;
    }
}

/* ---- the air --------------------------------------------------------------------------------- */

static bool is_lost(struct world *w)
{
    const unsigned n = w->packets++;
    return n >= w->lose_first && n - w->lose_first < w->lose_count;
}

static bool carry_from_client(struct world *w)
{
    struct bytes packet;
    if (!snc_peek_packet(w->c, &packet))
        return false;
    ck_assert_uint_lt(w->sent_count, WORLD_QUEUE);
    struct world_frame *f = &w->sent[w->sent_count];
    ck_assert_uint_le(packet.len, sizeof f->data);
    memcpy(f->data, packet.data, packet.len);
    f->len = packet.len;
    w->sent_at_ms[w->sent_count++] = w->now_ms;
    snc_done_packet(w->c);
    struct sn_packet p;
    ck_assert_int_eq(sn_decode(bytes_of(f->data, f->len), &p), SN_DECODED);
    if (!is_lost(w) && !w->gw.silent)
        gateway_input(w, &p);
    return true;
}

static bool carry_to_client(struct world *w)
{
    if (w->to_client_count == 0)
        return false;
    const struct world_frame f = w->to_client[0];
    memmove(&w->to_client[0], &w->to_client[1], --w->to_client_count * sizeof f);
    if (!is_lost(w))
        snc_input(w->c, w->now_ms, bytes_of(f.data, f.len));
    return true;
}

static bool collect_event(struct world *w)
{
    struct snc_event e;
    if (!snc_peek_event(w->c, &e))
        return false;
    ck_assert_uint_lt(w->event_count, WORLD_EVENTS);
    struct world_event *to = &w->events[w->event_count++];
    to->e = e;
    to->at_ms = w->now_ms;
    copy_text(to->topic, e.topic);
    copy_text(to->data, e.data);
    snc_done_event(w->c);
    return true;
}

void world_run(struct world *w, int64_t until_ms)
{
    for (;;) {
        while (carry_from_client(w) || carry_to_client(w) || collect_event(w))
            ;
        const int64_t next_ms = time_min(snc_next_deadline(w->c), w->gw.down_due_ms);
        if (next_ms > until_ms)
            break;
        ck_assert_int_gt(next_ms, w->now_ms);
        w->now_ms = next_ms;
        snc_advance(w->c, w->now_ms);
        ck_assert_int_gt(snc_next_deadline(w->c), w->now_ms);
        if (w->gw.down_due_ms <= w->now_ms)
            gateway_repeat(w);
    }
    w->now_ms = until_ms;
}

struct sn_packet world_sent(const struct world *w, unsigned n)
{
    ck_assert_uint_lt(n, w->sent_count);
    struct sn_packet p;
    ck_assert_int_eq(sn_decode(bytes_of(w->sent[n].data, w->sent[n].len), &p), SN_DECODED);
    return p;
}

unsigned world_count_events(const struct world *w, enum snc_event_type type)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->event_count; i++)
        n += w->events[i].e.type == type;
    return n;
}

const struct world_event *world_event(const struct world *w, enum snc_event_type type)
{
    ck_assert_uint_eq(world_count_events(w, type), 1);
    unsigned i = 0;
    while (w->events[i].e.type != type)
        i++;
    return &w->events[i];
}
