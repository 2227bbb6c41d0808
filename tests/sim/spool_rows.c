/* SPDX-License-Identifier: Apache-2.0 */
/* The store of the spool's world. */
#include <string.h>

#include "sim/spool_world.h"

struct row *row_at(struct world *w, uint64_t number)
{
    struct rows *r = &w->rows;
    if (number >= r->cap) {
        const size_t cap = r->cap > number ? r->cap : (size_t)number * 2 + 1024;
        r->rows = realloc(r->rows, cap * sizeof *r->rows);
        REQUIRE(r->rows != NULL, "out of memory");
        memset(r->rows + r->cap, 0, (cap - r->cap) * sizeof *r->rows);
        r->cap = cap;
    }
    return &r->rows[number];
}

/* What is recorded waits for the end of its batch, so that a crash takes all of it or nothing. */
static struct command *command(struct world *w, enum command_type type, uint64_t number)
{
    const bool recorded = type == COMMAND_PUT || type == COMMAND_GONE;
    struct command *c = vector_add(recorded ? &w->rows.open : &w->rows.todo);
    *c = (struct command){.type = type, .number = number};
    return c;
}

static uint32_t attempt_of(const struct body *body)
{
    uint32_t attempt;
    REQUIRE(body != NULL && body->len >= sizeof attempt, "a message without payload");
    memcpy(&attempt, body->data, sizeof attempt);
    return attempt;
}

void rows_put(struct world *w, const struct sn_record *record)
{
    TRACE("record: %d %s", (int)record->spool.number,
          record->type == SN_REC_SPOOL_GONE ? "gone" : "kept");
    if (record->type == SN_REC_SPOOL_GONE) {
        judge_end(w, row_at(w, record->spool.number)->attempt);
        command(w, COMMAND_GONE, record->spool.number);
        return;
    }
    REQUIRE(record->type == SN_REC_SPOOL, "a record of type %d", (int)record->type);
    struct command *c = command(w, COMMAND_PUT, record->spool.number);
    c->row = (struct row){.client = record->client,
                          .born_ms = w->now_ms,
                          .attempt = attempt_of(record->spool.body),
                          .qos = record->spool.qos,
                          .retain = record->spool.retain,
                          .will = record->spool.will,
                          .there = true};
    row_at(w, record->spool.number)->attempt = c->row.attempt;
}

void rows_flush(struct world *w)
{
    struct rows *r = &w->rows;
    for (size_t i = 0; i < r->open.n; i++)
        *(struct command *)vector_add(&r->todo) = *(struct command *)vector_at(&r->open, i);
    if (r->open.n > 0)
        command(w, COMMAND_END, r->batch++);
    vector_clear(&r->open);
    spool_batch(w->s, r->batch);
}

void rows_fetch(struct world *w, uint64_t after, unsigned n, size_t max_bytes)
{
    struct command *c = command(w, COMMAND_FETCH, after);
    c->n = n;
    c->max_bytes = max_bytes;
    w->fetches++;
    TRACE("store: fetch %u above %d", n, (int)after);
}

static void do_fetch(struct world *w, const struct command *c)
{
    struct rows *r = &w->rows;
    r->answering = true;
    r->answer_failed = w->faults.fetch && !w->calm && chance(w, 20);
    vector_clear(&r->answer);
    size_t bytes = 0;
    uint64_t number = c->number + 1 > r->scan ? c->number + 1 : r->scan;
    for (; number <= r->last && !r->answer_failed; number++) {
        if (!r->rows[number].there || r->rows[number].sending)
            continue;
        if (r->answer.n >= c->n || (r->answer.n > 0 && bytes + w->payload > c->max_bytes))
            return;
        *(uint64_t *)vector_add(&r->answer) = number;
        bytes += w->payload;
    }
}

static void do_put(struct world *w, const struct command *c)
{
    struct row *row = row_at(w, c->number);
    const bool sending = row->there && row->sending;
    *row = c->row;
    row->sending = sending;
    if (c->number > w->rows.last)
        w->rows.last = c->number;
    if (c->number < w->rows.scan)
        w->rows.scan = c->number;
}

static void do_one(struct world *w, const struct command *c)
{
    switch (c->type) {
    case COMMAND_PUT:
        do_put(w, c);
        break;
    case COMMAND_GONE:
        row_at(w, c->number)->there = false;
        break;
    case COMMAND_END:
        w->rows.committed = c->number;
        TRACE("store: batch %d committed", (int)c->number);
        break;
    case COMMAND_FETCH:
        do_fetch(w, c);
        break;
    case COMMAND_PACKET_GONE:
        row_at(w, c->number)->there = false;
        wire_packet_gone(w, c->number);
        break;
    }
}

void rows_packet_gone(struct world *w, uint64_t number)
{
    command(w, COMMAND_PACKET_GONE, number);
}

bool rows_step(struct world *w)
{
    struct rows *r = &w->rows;
    if (r->todo_head == r->todo.n) {
        vector_clear(&r->todo);
        r->todo_head = 0;
        return false;
    }
    bool within = true;
    while (within) {
        const struct command c = *(struct command *)vector_at(&r->todo, r->todo_head++);
        do_one(w, &c);
        within = c.type == COMMAND_PUT || c.type == COMMAND_GONE;
    }
    while (r->scan < r->last && !row_at(w, r->scan)->there)
        r->scan++;
    return true;
}

static void hear_row(struct world *w, uint64_t number)
{
    const struct row *row = row_at(w, number);
    TRACE("%u: fetched, number %d", row->attempt, (int)number);
    uint8_t payload[PAYLOAD_MAX] = {0};
    memcpy(payload, &row->attempt, sizeof row->attempt);
    struct body *body = body_new(bytes_of(payload, w->payload));
    char topic[16];
    snprintf(topic, sizeof topic, "t/%u", (unsigned)row->client);
    spool_fetched(w->s, w->now_ms,
                  &(struct spool_row){.number = number,
                                      .client = row->client,
                                      .topic = bytes_str(topic),
                                      .body = body,
                                      .qos = row->qos,
                                      .retain = row->retain,
                                      .will = row->will,
                                      .age_ms = w->now_ms - row->born_ms});
    body_unref(body);
}

void rows_answer(struct world *w)
{
    struct rows *r = &w->rows;
    if (r->answering) {
        r->answering = false;
        for (size_t i = 0; i < r->answer.n; i++)
            hear_row(w, *(uint64_t *)vector_at(&r->answer, i));
        spool_fetch_done(w->s, w->now_ms, r->answer_failed);
    }
    spool_committed(w->s, w->now_ms, r->committed);
}

void rows_crash(struct world *w)
{
    struct rows *r = &w->rows;
    vector_clear(&r->todo);
    r->todo_head = 0;
    r->answering = false;
    vector_clear(&r->open);
    r->batch = r->committed + 1;
}

void rows_restore(struct world *w)
{
    struct rows *r = &w->rows;
    uint64_t n[CLIENTS_MAX + 1] = {0};
    for (uint64_t i = r->scan; i <= r->last; i++) {
        const struct row *row = row_at(w, i);
        if (row->there && row->sending)
            ck_assert_int_eq(spool_restore_sent(w->s, i, row->client, w->payload + 3), 0);
        else if (row->there)
            n[row->client]++;
    }
    for (unsigned c = 0; c <= CLIENTS_MAX; c++) {
        if (n[c] > 0)
            ck_assert_int_eq(spool_restore(w->s, c, n[c], n[c] * (w->payload + 3), 0), 0);
    }
    ck_assert_int_eq(spool_restore(w->s, SN_NO_CLIENT, 0, 0, r->last), 0);
    spool_batch(w->s, r->batch);
}
