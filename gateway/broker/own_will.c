/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wills that the broker can't publish, since there is no connection to cut, or messages of the client
 * wait that must come first: they go as PUBLISHes, as those of the shared session do.
 */
#include "broker/own_priv.h"

enum { SETTLED_MS = 1000 };

static void due_will_free(struct own *o, struct own_due_will *d)
{
    list_unlink(&d->link);
    will_clear(&d->will);
    own_release(o, d, sizeof *d);
}

static void log_lost(struct own *o, struct bytes topic, const char *why)
{
    if (!own_log_begin(o, LOG_ERROR, "will.dropped"))
        return;
    log_str(&o->log, "topic", topic);
    log_word(&o->log, "why", why);
    log_end(&o->log);
}

/* Of QoS 0 only failures are told: it is published when none has come for a while. */
static void send(struct own *o, struct own_due_will *d)
{
    const struct up_request request = {
        .type = UP_PUBLISH,
        .token = d->token,
        .client = own_order(o),
        .will = true,
        .topic = body_bytes(d->will.topic),
        .body = d->will.body,
        .qos = d->will.qos,
        .retain = d->will.retain,
    };
    d->sent = own_ask(o, &request);
    d->sent_ms = o->now_ms;
    if (!d->sent || d->will.qos == 0)
        own_retry_soon(o);
}

void own_will_publish(struct own *o)
{
    struct own_due_will *d = own_alloc(o, sizeof *d);
    if (d == NULL) {
        log_lost(o, body_bytes(o->will.topic), "out_of_memory");
        return;
    }
    d->will = o->will;
    o->will = (struct will){0};
    if (++o->next_will_token == 0)
        o->next_will_token = 1;
    d->token = o->next_will_token;
    list_init(&d->link);
    list_push_back(&o->wills, &d->link);
    own_wills_send(o);
}

void own_wills_send(struct own *o)
{
    if (!own_is_reachable(o))
        return;
    list_foreach (link, &o->wills) {
        struct own_due_will *d = container_of(link, struct own_due_will, link);
        if (!d->sent)
            send(o, d);
    }
}

void own_will_published(struct own *o, const struct up_event *event)
{
    list_foreach_safe (link, next, &o->wills) {
        struct own_due_will *d = container_of(link, struct own_due_will, link);
        if (d->token != (uint16_t)event->token || !d->sent)
            continue;
        if (event->result == UP_BUSY) {
            d->sent = false;
            own_retry_soon(o);
        } else if (event->result != UP_IN_DOUBT) {
            if (event->result == UP_REFUSED)
                log_lost(o, body_bytes(d->will.topic), "refused_by_broker");
            due_will_free(o, d);
        }
        return;
    }
}

void own_wills_settle(struct own *o)
{
    list_foreach_safe (link, next, &o->wills) {
        struct own_due_will *d = container_of(link, struct own_due_will, link);
        if (!d->sent || d->will.qos != 0)
            continue;
        if (o->now_ms - d->sent_ms >= SETTLED_MS)
            due_will_free(o, d);
        else
            own_retry_soon(o);
    }
}

void own_wills_again(struct own *o)
{
    list_foreach (link, &o->wills)
        container_of(link, struct own_due_will, link)->sent = false;
}

void own_wills_clear(struct own *o)
{
    while (!list_empty(&o->wills))
        due_will_free(o, container_of(list_first(&o->wills), struct own_due_will, link));
}
