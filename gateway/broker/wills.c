/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wills of lost nodes. They go the way of all that the node published, and behind it; one that
 * nobody takes is kept until the broker can be reached.
 */
#include "broker/shared_priv.h"

enum { SETTLED_MS = 1000 };

static void due_will_free(struct shared *s, struct due_will *d)
{
    list_unlink(&d->link);
    will_clear(&d->will);
    shared_release(s, d, sizeof *d);
}

void log_lost_will(struct shared *s, struct bytes topic, uint64_t *counter, const char *why)
{
    (*counter)++;
    if (!log_begin(&s->log, LOG_ERROR, "will.dropped"))
        return;
    log_str(&s->log, "topic", topic);
    log_word(&s->log, "why", why);
    log_end(&s->log);
}

/* Published when the broker says so; at QoS 0, about which nothing is said but failure, when that
 * has not come for a while. */
static void send_will(struct shared *s, struct due_will *d)
{
    const struct up_request request = {
        .type = UP_PUBLISH,
        .token = publish_token(SN_NO_CLIENT, d->token),
        .client = d->client,
        .will = true,
        .topic = body_bytes(d->will.topic),
        .body = d->will.body,
        .qos = d->will.qos,
        .retain = d->will.retain,
    };
    if (!ask_upstream(s, &request))
        return;
    d->sent = true;
    d->sent_ms = s->now_ms;
    if (d->will.qos == 0)
        try_again_soon(s);
}

void publish_will(struct shared *s, struct session *n)
{
    if (n->will == NULL)
        return;
    struct due_will *d = shared_alloc(s, sizeof *d);
    if (d == NULL) {
        log_lost_will(s, body_bytes(n->will->topic), &s->wills_dropped, "out_of_memory");
        return;
    }
    d->client = session_order(n);
    d->will = *n->will;
    *n->will = (struct will){0};
    session_set_will(s, n, &(struct sn_will_view){0});
    if (++s->next_will_token == 0)
        s->next_will_token = 1;
    d->token = s->next_will_token;
    list_init(&d->link);
    list_push_back(&s->wills, &d->link);
    if (is_reachable(s))
        send_will(s, d);
}

void on_will_published(struct shared *s, const struct up_event *event)
{
    list_foreach_safe (link, next, &s->wills) {
        struct due_will *d = container_of(link, struct due_will, link);
        if (d->token != (uint16_t)event->token || !d->sent)
            continue;
        if (event->result == UP_BUSY) {
            d->sent = false;
            try_again_soon(s);
        } else if (event->result == UP_REFUSED) {
            log_lost_will(s, body_bytes(d->will.topic), &s->wills_refused, "refused_by_broker");
            due_will_free(s, d);
        } else if (event->result == UP_OK) {
            s->wills_published++;
            due_will_free(s, d);
        }
        return;
    }
}

void send_waiting_wills(struct shared *s)
{
    list_foreach_safe (link, next, &s->wills) {
        struct due_will *d = container_of(link, struct due_will, link);
        if (!d->sent)
            send_will(s, d);
        else if (d->will.qos == 0)
            try_again_soon(s);
    }
}

void settle_wills_of_qos_0(struct shared *s)
{
    list_foreach_safe (link, next, &s->wills) {
        struct due_will *d = container_of(link, struct due_will, link);
        if (!d->sent || d->will.qos != 0 || s->now_ms - d->sent_ms < SETTLED_MS)
            continue;
        s->wills_published++;
        due_will_free(s, d);
    }
}

void wills_deinit(struct shared *s)
{
    while (!list_empty(&s->wills))
        due_will_free(s, container_of(list_first(&s->wills), struct due_will, link));
}
