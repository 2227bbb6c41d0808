/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a restart must not lose of the shared session: which subscriptions were granted (record.h).
 * Sessions and their wills are the engine's to record; with a session that is discarded the store
 * drops its subscriptions, so nothing is said of them here.
 *
 * Changes wait as parcels. The whole, when it is asked for, is not copied but read while it is
 * taken, with a place in the list of filters that moves on when what it points at goes.
 */
#include <errno.h>

#include "broker/shared_priv.h"
#include "mqttsn/topic.h"

static void put(struct shared *s, enum sn_record_type type, const struct sub *sub)
{
    if (!s->config.journal)
        return;
    const struct bytes filter = filter_text(sub->filter);
    const struct sn_record record = {
        .type = type,
        .client = session_of_sub(s, sub)->key,
        .subscription = {.filter = {.len = filter.len}, .qos = sub->granted}
    };
    uint8_t *at = parcels_room(&s->records, sizeof record + filter.len);
    if (at == NULL) {
        log_out_of_memory(s, "record");
        return;
    }
    memcpy(at, &record, sizeof record);
    memcpy(at + sizeof record, filter.data, filter.len);
    parcels_add(&s->records, sizeof record + filter.len);
}

void record_sub(struct shared *s, const struct sub *sub)
{
    put(s, SN_REC_SUBSCRIPTION, sub);
}

void record_sub_gone(struct shared *s, const struct sub *sub)
{
    if (sub->live)
        put(s, SN_REC_SUBSCRIPTION_GONE, sub);
}

/* ---- everything ------------------------------------------------------------------------------ */

static void tell_from(struct shared *s, struct list *filter)
{
    s->told = filter != &s->filters ? filter : NULL;
    s->told_sub = s->told != NULL ? container_of(filter, struct filter, all)->subs.first : NULL;
}

/* The subscription whose turn it is, or NULL when all have been told. */
static const struct sub *told(struct shared *s)
{
    while (s->told != NULL) {
        struct filter *f = container_of(s->told, struct filter, all);
        for (; s->told_sub != NULL; s->told_sub = ring_next(&f->subs, s->told_sub)) {
            const struct sub *sub = container_of(s->told_sub, struct sub, of_filter);
            if (sub->live)
                return sub;
        }
        tell_from(s, s->told->next);
    }
    return NULL;
}

void record_forget_sub(struct shared *s, const struct sub *sub)
{
    if (s->told_sub == &sub->of_filter)
        s->told_sub = ring_next(&sub->filter->subs, &sub->of_filter);
}

void record_forget_filter(struct shared *s, const struct filter *f)
{
    if (s->told == &f->all)
        tell_from(s, f->all.next);
}

void shared_record_all(struct shared *s)
{
    if (s->config.journal)
        tell_from(s, s->filters.next);
}

/* ---- taken by the store, and given back ------------------------------------------------------ */

bool shared_peek_record(struct shared *s, struct sn_record *out)
{
    const uint8_t *at = parcels_first(&s->records);
    if (at != NULL) {
        memcpy(out, at, sizeof *out);
        out->subscription.filter.data = at + sizeof *out;
        return true;
    }
    const struct sub *sub = told(s);
    if (sub == NULL)
        return false;
    *out = (struct sn_record){
        .type = SN_REC_SUBSCRIPTION,
        .client = session_of_sub(s, sub)->key,
        .subscription = {.filter = filter_text(sub->filter), .qos = sub->granted}
    };
    return true;
}

void shared_done_record(struct shared *s)
{
    if (parcels_first(&s->records) != NULL)
        parcels_done(&s->records);
    else
        s->told_sub = ring_next(&container_of(s->told, struct filter, all)->subs, s->told_sub);
}

int shared_restore(struct shared *s, const struct sn_record *record)
{
    const struct bytes filter = record->subscription.filter;
    const uint8_t qos = record->subscription.qos;
    const bool valid = record->type == SN_REC_SUBSCRIPTION && record->client != SN_NO_CLIENT &&
                       sn_topic_filter_ok(filter) && qos <= 2;
    if (!valid)
        return 1;
    struct session *n = session_get(s, record->client);
    if (n == NULL)
        return -ENOMEM;
    if (n->max_subs == 0)
        n->max_subs = UINT32_MAX; /* until its OPEN tells */
    return sub_restore(s, n, filter, qos) ? 0 : -ENOMEM;
}

void records_deinit(struct shared *s)
{
    s->told = NULL;
    parcels_deinit(&s->records);
}
