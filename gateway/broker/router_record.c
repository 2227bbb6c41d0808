/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a restart must not lose of the router: which filters nodes were granted, by the names that
 * nodes know (record.h). Changes wait as parcels; the whole, when it is asked for, is read while it is
 * taken, with a place that moves on when what it points at goes.
 */
#include "broker/router_priv.h"

/* Followed by the filter. */
struct kept {
    struct sn_record record;
    unsigned broker; /* of one that is restored */
};

static bool put(struct parcels *q, const struct kept *head, struct bytes filter)
{
    uint8_t *at = parcels_room(q, sizeof *head + filter.len);
    if (at == NULL)
        return false;
    memcpy(at, head, sizeof *head);
    if (filter.len > 0)
        memcpy(at + sizeof *head, filter.data, filter.len);
    parcels_add(q, sizeof *head + filter.len);
    return true;
}

static bool peek(const struct parcels *q, struct sn_record *out, unsigned *broker)
{
    const uint8_t *at = parcels_first(q);
    if (at == NULL)
        return false;
    struct kept head;
    memcpy(&head, at, sizeof head);
    *out = head.record;
    out->subscription.filter.data = at + sizeof head;
    *broker = head.broker;
    return true;
}

static void record(struct router *r, enum sn_record_type type, const struct want *w)
{
    if (!r->config.journal)
        return;
    const struct kept head = {
        .record = {.type = type,
                   .client = w->client->key,
                   .subscription = {.filter = {.len = w->len}, .qos = w->granted}}
    };
    if (!put(&r->records, &head, want_text(w)))
        router_no_memory(r, "record");
}

void record_want(struct router *r, const struct want *w)
{
    record(r, SN_REC_SUBSCRIPTION, w);
}

void record_want_gone(struct router *r, const struct want *w)
{
    record(r, SN_REC_SUBSCRIPTION_GONE, w);
}

/* ---- everything ------------------------------------------------------------------------------ */

/* The filter whose turn it is, or NULL when all have been told. */
static const struct want *told(struct router *r)
{
    for (; r->telling && r->told_slot < r->cap_slots; r->told_slot++, r->told = NULL) {
        struct client *c = r->slots[r->told_slot];
        if (c == NULL)
            continue;
        if (r->told == NULL)
            r->told = c->wants.next;
        for (; r->told != &c->wants; r->told = r->told->next) {
            const struct want *w = container_of(r->told, struct want, of_client);
            if (w->live)
                return w;
        }
    }
    r->telling = false;
    return NULL;
}

void record_forget_want(struct router *r, const struct want *w)
{
    if (r->told == &w->of_client)
        r->told = w->of_client.next;
}

void record_forget_client(struct router *r, const struct client *c)
{
    if (sn_client_slot(c->key) == r->told_slot)
        r->told = NULL;
}

void router_record_all(struct router *r)
{
    r->telling = r->config.journal;
    r->told_slot = 0;
    r->told = NULL;
}

bool router_peek_record(struct router *r, struct sn_record *out)
{
    unsigned unused;
    if (peek(&r->records, out, &unused))
        return true;
    const struct want *w = told(r);
    if (w == NULL)
        return false;
    *out = (struct sn_record){
        .type = SN_REC_SUBSCRIPTION,
        .client = w->client->key,
        .subscription = {.filter = want_text(w), .qos = w->granted}
    };
    return true;
}

void router_done_record(struct router *r)
{
    if (parcels_first(&r->records) != NULL)
        parcels_done(&r->records);
    else
        r->told = r->told->next;
}

/* ---- coming back ----------------------------------------------------------------------------- */

bool record_restored(struct router *r, const struct part *p, uint8_t qos)
{
    const struct kept head = {
        .record = {.type = SN_REC_SUBSCRIPTION,
                   .client = p->client->key,
                   .subscription = {.filter = {.len = p->len}, .qos = qos}},
        .broker = p->broker,
    };
    return put(&r->restored, &head, bytes_of(p->text, p->len));
}

bool router_peek_restored(struct router *r, unsigned *broker, struct sn_record *out)
{
    return peek(&r->restored, out, broker);
}

void router_done_restored(struct router *r)
{
    parcels_done(&r->restored);
}
