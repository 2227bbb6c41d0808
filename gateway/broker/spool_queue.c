/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits to be taken by the neighbours: requests and records lie as parcels, answers in a ring.
 * And what waits for a commit: from the moment the store takes the record of a message until its
 * batch is committed there is a promise for it, in the order of batches.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/spool_priv.h"

enum {
    REQUESTS_MAX = 64 * 1024 * 1024,
    RECORDS_MAX = 256 * 1024 * 1024,
    RING_FIRST = 4,
    MAP_SPARED = 16,
};

/* A record, and what is to be known when it is taken; its topic lies behind. */
struct outgoing {
    struct sn_record record;
    uint64_t token;
    bool answer;
    bool holdable;
    bool on_disk;
    bool again; /* as it was recorded before */
};

void spool_out_of_memory(struct spool *s, const char *what)
{
    if (log_begin(&s->log, LOG_ERROR, "memory.exhausted")) {
        log_word(&s->log, "for", what);
        log_end(&s->log);
    }
}

/* Of a session of its own: after a busy time. What was never large stays, and need not be taken again
 * with each message. */
static void give_back(struct spool *s)
{
    if (!s->config.sparing || s->messages.count > 0 || s->live.count > 0)
        return;
    parcels_spare(&s->requests);
    parcels_spare(&s->records);
    if (s->answers.count == 0 && s->answers.cap > RING_FIRST) {
        free(s->answers.ring);
        s->answers = (struct answers){0};
    }
    if (s->promises.count == 0 && s->promises.cap > RING_FIRST) {
        free(s->promises.ring);
        s->promises = (struct promises){0};
    }
    struct hmap *const maps[] = {&s->messages, &s->live, &s->owners};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        if (maps[i]->count == 0 && maps[i]->n_buckets > MAP_SPARED)
            hmap_deinit(maps[i]);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

bool pass_on(struct spool *s, const struct up_request *request)
{
    const size_t size = sizeof *request + request->topic.len;
    uint8_t *at = parcels_room(&s->requests, size);
    if (at == NULL) {
        spool_out_of_memory(s, "request");
        return false;
    }
    memcpy(at, request, sizeof *request);
    if (request->topic.len > 0)
        memcpy(at + sizeof *request, request->topic.data, request->topic.len);
    parcels_add(&s->requests, size);
    body_ref(request->body);
    return true;
}

static bool peek_passed(const struct spool *s, struct up_request *out)
{
    const uint8_t *at = parcels_first(&s->requests);
    if (at == NULL)
        return false;
    memcpy(out, at, sizeof *out);
    out->topic.data = at + sizeof *out;
    return true;
}

static uint32_t age_s(const struct spool *s, const struct message *m)
{
    const int64_t age = (s->now_ms - m->born_ms) / 1000;
    return age <= 0 ? 0 : age < UINT32_MAX ? (uint32_t)age : UINT32_MAX;
}

bool spool_peek_request(struct spool *s, struct up_request *out)
{
    if (peek_passed(s, out))
        return true;
    const struct message *m = next_message(s);
    if (m == NULL)
        return false;
    *out = (struct up_request){
        .type = UP_PUBLISH,
        .topic = message_topic(m),
        .body = m->body,
        .qos = m->qos,
        .retain = m->retain,
        .spooled = m->number,
        .client = m->owner->key,
        .will = m->will,
        .age_s = age_s(s, m),
    };
    return true;
}

void spool_done_request(struct spool *s)
{
    struct up_request request;
    if (peek_passed(s, &request)) {
        body_unref(request.body);
        parcels_done(&s->requests);
        give_back(s);
        return;
    }
    struct message *m = next_message(s);
    assert(m != NULL);
    message_sent(s, m);
}

/* ---- events ---------------------------------------------------------------------------------- */

static bool answers_reserve(struct answers *q)
{
    if (q->count < q->cap)
        return true;
    const size_t cap = q->cap > 0 ? q->cap * 2 : RING_FIRST;
    struct up_event *ring = calloc(cap, sizeof *ring);
    if (ring == NULL)
        return false;
    for (size_t i = 0; i < q->count; i++)
        ring[i] = q->ring[(q->head + i) % q->cap];
    free(q->ring);
    *q = (struct answers){.ring = ring, .cap = cap, .count = q->count};
    return true;
}

void tell(struct spool *s, const struct up_event *event)
{
    struct answers *q = &s->answers;
    if (!answers_reserve(q)) {
        spool_out_of_memory(s, "event");
        return;
    }
    q->ring[(q->head + q->count++) % q->cap] = *event;
}

void tell_passing(struct spool *s, const struct up_event *event)
{
    assert(!s->has_passing); /* the previous one must have been taken */
    s->has_passing = true;
    s->passing = *event;
}

bool spool_peek_event(struct spool *s, struct up_event *out)
{
    const struct answers *q = &s->answers;
    answer_held(s);
    if (q->count == 0 && !s->has_passing)
        return false;
    *out = q->count > 0 ? q->ring[q->head] : s->passing;
    return true;
}

void spool_done_event(struct spool *s)
{
    struct answers *q = &s->answers;
    if (q->count == 0) {
        assert(s->has_passing);
        s->has_passing = false;
        give_back(s);
        return;
    }
    q->head = (q->head + 1) % q->cap;
    q->count--;
    give_back(s);
}

/* ---- records --------------------------------------------------------------------------------- */

static bool put_record(struct spool *s, struct outgoing *out)
{
    const struct bytes topic = out->record.spool.topic;
    const size_t size = sizeof *out + topic.len;
    uint8_t *at = parcels_room(&s->records, size);
    if (at == NULL) {
        spool_out_of_memory(s, "record");
        return false;
    }
    memcpy(at, out, sizeof *out);
    if (topic.len > 0)
        memcpy(at + sizeof *out, topic.data, topic.len);
    parcels_add(&s->records, size);
    body_ref(out->record.spool.body);
    return true;
}

bool record_arrival(struct spool *s, const struct arrival *a, uint64_t number, bool on_disk)
{
    return put_record(s, &(struct outgoing){
                             .record = {.type = SN_REC_SPOOL,
                                        .client = a->client,
                                        .spool = {.number = number,
                                                  .topic = a->topic,
                                                  .body = a->body,
                                                  .qos = a->qos,
                                                  .retain = a->retain,
                                                  .will = a->will}},
                             .token = a->token,
                             .answer = a->answer,
                             .holdable = is_holdable(a),
                             .on_disk = on_disk,
    });
}

void record_gone(struct spool *s, uint64_t number)
{
    put_record(s, &(struct outgoing){
                      .record = {.type = SN_REC_SPOOL_GONE, .spool = {.number = number}}
    });
}

/* Of QoS 2 the connection may be done with it already, and has deleted it. */
static void record_again(struct spool *s, const struct message *m)
{
    if (m->batch == NOT_YET || (m->in_flight && m->qos == 2))
        return;
    put_record(s, &(struct outgoing){
                      .record = {.type = SN_REC_SPOOL,
                                 .client = m->owner->key,
                                 .spool = {.number = m->number,
                                           .topic = message_topic(m),
                                           .body = m->body,
                                           .qos = m->qos,
                                           .retain = m->retain,
                                           .will = m->will}},
                      .again = true
    });
}

void spool_record_all(struct spool *s)
{
    list_foreach (link, &s->sent)
        record_again(s, container_of(link, struct message, place));
    list_foreach (link, &s->waiting)
        record_again(s, container_of(link, struct message, age));
    list_foreach (link, &s->ahead)
        record_again(s, container_of(link, struct message, age));
}

static bool peek_outgoing(const struct spool *s, struct outgoing *out)
{
    const uint8_t *at = parcels_first(&s->records);
    if (at == NULL)
        return false;
    memcpy(out, at, sizeof *out);
    out->record.spool.topic.data = at + sizeof *out;
    return true;
}

bool spool_peek_record(struct spool *s, struct sn_record *out)
{
    struct outgoing outgoing;
    if (!peek_outgoing(s, &outgoing))
        return false;
    *out = outgoing.record;
    return true;
}

static bool promises_reserve(struct promises *q)
{
    if (q->count < q->cap)
        return true;
    const size_t cap = q->cap > 0 ? q->cap * 2 : RING_FIRST;
    struct promise *ring = calloc(cap, sizeof *ring);
    if (ring == NULL)
        return false;
    for (size_t i = 0; i < q->count; i++)
        ring[i] = q->ring[(q->head + i) % q->cap];
    free(q->ring);
    *q = (struct promises){.ring = ring, .cap = cap, .count = q->count};
    return true;
}

/* Without memory for the promise the node asks again, and the message is sent without waiting. */
static void promise(struct spool *s, const struct outgoing *out, struct message *m)
{
    struct promises *q = &s->promises;
    const uint64_t number = out->record.spool.number;
    if (!promises_reserve(q)) {
        spool_out_of_memory(s, "promise");
        s->unanswered -= out->holdable;
        if (m != NULL) {
            m->batch = 0;
            owner_settle(s, m->owner);
        }
        return;
    }
    q->ring[(q->head + q->count++) % q->cap] = (struct promise){.batch = s->batch,
                                                                .number = number,
                                                                .client = out->record.client,
                                                                .token = out->token,
                                                                .since_ms = s->now_ms,
                                                                .qos = out->record.spool.qos,
                                                                .answer = out->answer,
                                                                .holdable = out->holdable};
    if (m != NULL)
        m->batch = s->batch;
}

static void arrival_taken(struct spool *s, const struct outgoing *out)
{
    if (out->again)
        return;
    struct message *m = message_find(s, out->record.spool.number);
    promise(s, out, m != NULL && !m->is_ghost ? m : NULL);
    if (out->on_disk) {
        s->n_disk_new--;
        s->disk_batch = s->batch;
    }
}

static void end_taken(struct spool *s, uint64_t number)
{
    struct message *m = message_find(s, number);
    if (m == NULL || !m->is_ghost)
        return;
    m->batch = s->batch;
    list_unlink(&m->place);
    list_push_back(&s->ghosts, &m->place);
}

void spool_done_record(struct spool *s)
{
    struct outgoing out;
    const bool there = peek_outgoing(s, &out);
    assert(there);
    if (!there)
        return;
    if (out.record.type == SN_REC_SPOOL)
        arrival_taken(s, &out);
    else
        end_taken(s, out.record.spool.number);
    body_unref(out.record.spool.body);
    parcels_done(&s->records);
    give_back(s);
}

void spool_batch(struct spool *s, uint64_t batch)
{
    s->batch = batch;
}

/* ---- commits --------------------------------------------------------------------------------- */

static void keep_promise(struct spool *s, const struct promise *p)
{
    if (p->answer)
        answer_or_hold(s, p);
    const struct message *m = message_find(s, p->number);
    if (m != NULL && !m->is_ghost)
        owner_settle(s, m->owner);
}

/* It goes out of the spool again, unless the connection has it or it can't be found: then it comes once more,
 * which QoS 1 allows. */
static void break_promise(struct spool *s, const struct promise *p)
{
    struct message *m = message_find(s, p->number);
    const bool here = m != NULL && !m->is_ghost && !m->in_flight;
    if (!p->holdable || (!here && p->qos == 2)) {
        keep_promise(s, p);
        return;
    }
    s->unanswered--;
    refuse_unusable(s, p->token, p->qos);
    if (!here)
        return;
    struct owner *o = m->owner;
    message_done(s, m);
    owner_settle(s, o);
}

static void settle_promises(struct spool *s, int64_t now_ms, uint64_t batch,
                            void (*settle)(struct spool *s, const struct promise *p))
{
    spool_advance(s, now_ms);
    if (batch > s->committed)
        s->committed = batch;
    struct promises *q = &s->promises;
    while (q->count > 0 && q->ring[q->head].batch <= s->committed) {
        const struct promise p = q->ring[q->head];
        q->head = (q->head + 1) % q->cap;
        q->count--;
        settle(s, &p);
    }
    give_back(s);
}

void spool_committed(struct spool *s, int64_t now_ms, uint64_t batch)
{
    settle_promises(s, now_ms, batch, keep_promise);
}

void spool_failed(struct spool *s, int64_t now_ms, uint64_t batch)
{
    settle_promises(s, now_ms, batch, break_promise);
}

/* ---- begin and end --------------------------------------------------------------------------- */

void queues_begin(struct spool *s)
{
    parcels_init(&s->requests, REQUESTS_MAX);
    parcels_init(&s->records, RECORDS_MAX);
}

void queues_end(struct spool *s)
{
    struct up_request request;
    while (peek_passed(s, &request)) {
        body_unref(request.body);
        parcels_done(&s->requests);
    }
    struct outgoing out;
    while (peek_outgoing(s, &out)) {
        body_unref(out.record.spool.body);
        parcels_done(&s->records);
    }
    parcels_deinit(&s->requests);
    parcels_deinit(&s->records);
    free(s->answers.ring);
    free(s->promises.ring);
}
