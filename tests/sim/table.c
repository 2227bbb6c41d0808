/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/table.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/text.h"

static void *must(void *ptr)
{
    if (ptr == NULL)
        abort();
    return ptr;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Kinds of rows, in the order of loading. */
enum kind { SESSION, TOPIC, EXCHANGE, SUBSCRIPTION, DELIVERY, SPOOL, KINDS };

static const char *const kind_names[KINDS] = {"SESSION",      "TOPIC",    "EXCHANGE",
                                              "SUBSCRIPTION", "DELIVERY", "SPOOL"};

struct key {
    enum kind kind;
    uint64_t client;
    uint64_t number;
    struct bytes text;
};

static struct key key_of(const struct sn_record *r)
{
    struct key k = {.client = r->client};
    switch (r->type) {
    case SN_REC_SESSION:
    case SN_REC_SESSION_GONE:
        k.kind = SESSION;
        break;
    case SN_REC_TOPIC:
    case SN_REC_TOPIC_GONE:
        k.kind = TOPIC;
        k.number = r->topic.topic_id;
        break;
    case SN_REC_EXCHANGE:
    case SN_REC_EXCHANGE_GONE:
        k.kind = EXCHANGE;
        k.number = r->exchange.msg_id;
        break;
    case SN_REC_DELIVERY:
    case SN_REC_DELIVERY_GONE:
        k.kind = DELIVERY;
        k.number = r->delivery.number;
        break;
    case SN_REC_SUBSCRIPTION:
    case SN_REC_SUBSCRIPTION_GONE:
        k.kind = SUBSCRIPTION;
        k.text = r->subscription.filter;
        break;
    case SN_REC_SPOOL:
    case SN_REC_SPOOL_GONE:
        k.kind = SPOOL;
        k.client = SN_NO_CLIENT;
        k.number = r->spool.number;
        break;
    case SN_REC_ROUTED:
    case SN_REC_COUNT:
        abort();
    }
    return k;
}

static bool is_gone(const struct sn_record *r)
{
    return r->type == SN_REC_SESSION_GONE || r->type == SN_REC_TOPIC_GONE ||
           r->type == SN_REC_EXCHANGE_GONE || r->type == SN_REC_DELIVERY_GONE ||
           r->type == SN_REC_SUBSCRIPTION_GONE || r->type == SN_REC_SPOOL_GONE;
}

static uint64_t hash_of(const struct key *k)
{
    static const struct hash_seed seed = {.k0 = 1, .k1 = 2};
    return hash_bytes(&seed, k->text) ^ (k->client * 0x9E3779B97F4A7C15U) ^
           (k->number * 0xC2B2AE3D27D4EB4FU) ^ ((uint64_t)k->kind << 60);
}

static struct sim_row *find(const struct sim_table *t, const struct key *k)
{
    for (struct hmap_node *n = hmap_first(&t->rows, hash_of(k)); n != NULL; n = hmap_next(n)) {
        struct sim_row *row = container_of(n, struct sim_row, node);
        const struct key other = key_of(&row->record);
        if (other.kind == k->kind && other.client == k->client && other.number == k->number &&
            bytes_equal(other.text, k->text))
            return row;
    }
    return NULL;
}

static struct sim_row *session_of(const struct sim_table *t, uint64_t client)
{
    return find(t, &(struct key){.kind = SESSION, .client = client});
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void row_free(struct sim_row *row)
{
    list_unlink(&row->link);
    body_unref(row->text);
    body_unref(row->will_topic);
    body_unref(row->body);
    free(row->peer);
    free(row);
}

/* A copy of its own for a view. */
static struct body *own(struct bytes *view)
{
    struct body *copy = must(body_new(*view));
    *view = body_bytes(copy);
    return copy;
}

static struct sim_row *row_new(const struct sn_record *record)
{
    struct sim_row *row = must(calloc(1, sizeof *row));
    struct sn_record *r = &row->record;
    list_init(&row->link);
    *r = *record;
    switch (r->type) {
    case SN_REC_SESSION:
        row->text = own(&r->session.client_id);
        row->will_topic = own(&r->session.will.topic);
        row->body = body_ref(r->session.will.body);
        if (r->session.peer != NULL)
            row->peer = must(peer_dup(r->session.peer));
        r->session.peer = row->peer;
        break;
    case SN_REC_TOPIC:
        row->text = own(&r->topic.name);
        break;
    case SN_REC_DELIVERY:
        row->text = own(&r->delivery.topic);
        row->body = body_ref(r->delivery.body);
        break;
    case SN_REC_SUBSCRIPTION:
    case SN_REC_SUBSCRIPTION_GONE:
        row->text = own(&r->subscription.filter);
        break;
    case SN_REC_SPOOL:
        row->text = own(&r->spool.topic);
        row->body = body_ref(r->spool.body);
        break;
    case SN_REC_SESSION_GONE:
    case SN_REC_TOPIC_GONE:
    case SN_REC_EXCHANGE:
    case SN_REC_EXCHANGE_GONE:
    case SN_REC_DELIVERY_GONE:
    case SN_REC_SPOOL_GONE:
    case SN_REC_ROUTED:
    case SN_REC_COUNT:
        break;
    }
    return row;
}

static void row_remove(struct sim_table *t, struct sim_row *row)
{
    hmap_remove(&t->rows, &row->node);
    t->n_rows--;
    row_free(row);
}

static void remove_session(struct sim_table *t, uint64_t client)
{
    list_foreach_safe (link, next, &t->all) {
        struct sim_row *row = container_of(link, struct sim_row, link);
        if (row->record.client == client && row->record.type != SN_REC_SPOOL)
            row_remove(t, row);
    }
}

/* ---- messages from the broker, and those on their way to it ---------------------------------- */

struct stored_message {
    struct list link;
    struct body *topic;
    struct sim_message m;
};

struct sent {
    struct list link;
    uint64_t number;
};

uint64_t table_message(struct sim_table *t, const struct sim_message *m)
{
    struct stored_message *s = must(calloc(1, sizeof *s));
    list_init(&s->link);
    s->m = *m;
    s->topic = own(&s->m.topic);
    s->m.body = body_ref(m->body);
    s->m.journal = ++t->last_message;
    list_push_back(&t->messages, &s->link);
    return s->m.journal;
}

bool table_next_message(const struct sim_table *t, uint64_t after, struct sim_message *out)
{
    list_foreach (link, &t->messages) {
        *out = container_of(link, struct stored_message, link)->m;
        if (out->journal > after)
            return true;
    }
    return false;
}

static void message_free(struct stored_message *s)
{
    list_unlink(&s->link);
    body_unref(s->topic);
    body_unref(s->m.body);
    free(s);
}

static void remove_message(struct sim_table *t, uint64_t journal)
{
    list_foreach_safe (link, next, &t->messages) {
        struct stored_message *s = container_of(link, struct stored_message, link);
        if (s->m.journal == journal)
            message_free(s);
    }
}

static struct sent *find_sent(const struct sim_table *t, uint64_t number)
{
    list_foreach (link, &t->sent) {
        struct sent *s = container_of(link, struct sent, link);
        if (s->number == number)
            return s;
    }
    return NULL;
}

void table_sent(struct sim_table *t, uint64_t number, bool sent)
{
    struct sent *s = find_sent(t, number);
    if (s != NULL && !sent) {
        list_unlink(&s->link);
        free(s);
    } else if (s == NULL && sent) {
        s = must(calloc(1, sizeof *s));
        list_init(&s->link);
        s->number = number;
        list_push_back(&t->sent, &s->link);
    }
}

bool table_is_sent(const struct sim_table *t, const struct sn_record *spool)
{
    return find_sent(t, spool->spool.number) != NULL;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* Takes the record out of `pending`. */
static void apply(struct sim_table *t, struct sim_row *row)
{
    if (row->record.type == SN_REC_ROUTED) {
        remove_message(t, row->record.routed.journal);
        row_free(row);
        return;
    }
    const struct key k = key_of(&row->record);
    struct sim_row *before = find(t, &k);
    list_unlink(&row->link);
    if (row->record.type == SN_REC_SESSION_GONE)
        remove_session(t, row->record.client);
    else if (before != NULL)
        row_remove(t, before);
    if (is_gone(&row->record)) {
        row_free(row);
        return;
    }
    hmap_insert(&t->rows, &row->node, hash_of(&k));
    list_push_back(&t->all, &row->link);
    t->n_rows++;
}

void table_init(struct sim_table *t)
{
    *t = (struct sim_table){0};
    hmap_init(&t->rows);
    list_init(&t->all);
    list_init(&t->pending);
    list_init(&t->messages);
    list_init(&t->sent);
}

void table_arrived(struct sim_table *t, uint64_t number)
{
    struct sim_row *row = find(t, &(struct key){.kind = SPOOL, .number = number});
    table_sent(t, number, false);
    if (row != NULL)
        row_remove(t, row);
}

void table_copy(const struct sim_table *from, struct sim_table *to)
{
    table_init(to);
    list_foreach (link, &from->all)
        table_put(to, 1, &container_of(link, struct sim_row, link)->record);
    list_foreach (link, &from->pending)
        table_put(to, 1, &container_of(link, struct sim_row, link)->record);
    table_commit(to, 1);
    list_foreach (link, &from->sent)
        table_sent(to, container_of(link, struct sent, link)->number, true);
}

void table_deinit(struct sim_table *t)
{
    table_crash(t);
    while (!list_empty(&t->messages))
        message_free(container_of(t->messages.next, struct stored_message, link));
    while (!list_empty(&t->sent))
        table_sent(t, container_of(t->sent.next, struct sent, link)->number, false);
    while (!list_empty(&t->all))
        row_remove(t, container_of(t->all.next, struct sim_row, link));
    hmap_deinit(&t->rows);
}

void table_put(struct sim_table *t, uint64_t batch, const struct sn_record *record)
{
    struct sim_row *row = row_new(record);
    row->batch = batch;
    t->written++;
    list_push_back(&t->pending, &row->link);
}

void table_commit(struct sim_table *t, uint64_t batch)
{
    while (!list_empty(&t->pending)) {
        struct sim_row *row = container_of(t->pending.next, struct sim_row, link);
        if (row->batch > batch)
            break;
        apply(t, row);
    }
    t->committed = batch;
}

bool table_survives_failing(const struct sn_record *record)
{
    return record->type == SN_REC_SPOOL || record->type == SN_REC_SPOOL_GONE ||
           record->type == SN_REC_ROUTED;
}

void table_fail(struct sim_table *t)
{
    list_foreach_safe (link, next, &t->pending) {
        struct sim_row *row = container_of(link, struct sim_row, link);
        if (table_survives_failing(&row->record))
            apply(t, row);
        else
            row_free(row);
    }
}

void table_forget(struct sim_table *t)
{
    list_foreach_safe (link, next, &t->all) {
        struct sim_row *row = container_of(link, struct sim_row, link);
        if (row->record.type != SN_REC_SPOOL)
            row_remove(t, row);
    }
}

void table_crash(struct sim_table *t)
{
    while (!list_empty(&t->pending))
        row_free(container_of(t->pending.next, struct sim_row, link));
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_rows(const void *a, const void *b)
{
    const struct key x = key_of(&(*(struct sim_row *const *)a)->record);
    const struct key y = key_of(&(*(struct sim_row *const *)b)->record);
    if ((x.kind == SPOOL) != (y.kind == SPOOL))
        return x.kind == SPOOL ? 1 : -1;
    if (x.client != y.client)
        return compare_numbers(x.client, y.client);
    if (x.kind != y.kind)
        return x.kind < y.kind ? -1 : 1;
    return compare_numbers(x.number, y.number);
}

struct sim_row **table_sorted(const struct sim_table *t)
{
    struct sim_row **rows = must(calloc(t->n_rows + 1, sizeof(struct sim_row *)));
    size_t n = 0;
    list_foreach (link, &t->all)
        rows[n++] = container_of(link, struct sim_row, link);
    qsort(rows, n, sizeof(struct sim_row *), compare_rows);
    return rows;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void print_row(const struct sn_record *r, char *out, size_t size)
{
    struct text t = text_to(out, size);
    const struct key k = key_of(r);
    text_word(&t, kind_names[k.kind]);
    text_word(&t, " of ");
    text_dec(&t, r->client);
    text_word(&t, " number ");
    text_dec(&t, k.number);
    if (k.kind == SESSION) {
        text_word(&t, " id ");
        text_escaped(&t, r->session.client_id);
        text_word(&t, " state ");
        text_dec(&t, r->session.state);
        text_word(&t, r->session.clean ? " clean" : "");
        text_word(&t, r->session.peer != NULL ? " peer" : "");
        text_word(&t, " keep alive ");
        text_dec(&t, r->session.keep_alive_s);
        text_word(&t, " sleep ");
        text_dec(&t, r->session.sleep_s);
        text_word(&t, " msg id ");
        text_dec(&t, r->session.next_msg_id);
        text_word(&t, " connection ");
        text_dec(&t, r->session.connection);
        text_word(&t, " will ");
        text_escaped(&t, r->session.will.topic);
    } else if (k.kind == TOPIC) {
        text_word(&t, " kind ");
        text_dec(&t, r->topic.kind);
        text_word(&t, " alias ");
        text_dec(&t, r->topic.alias);
        text_word(&t, " known in ");
        text_dec(&t, r->topic.known_in);
        text_word(&t, " refused in ");
        text_dec(&t, r->topic.refused_in);
        text_word(&t, r->topic.given ? " given " : " lent ");
        text_escaped(&t, r->topic.name);
    } else if (k.kind == DELIVERY) {
        text_word(&t, " phase ");
        text_dec(&t, r->delivery.phase);
        text_word(&t, " msg id ");
        text_dec(&t, r->delivery.msg_id);
        text_word(&t, " expires ");
        text_dec(&t, (uint64_t)r->delivery.expires_ms);
    } else if (k.kind == SUBSCRIPTION) {
        text_word(&t, " to ");
        text_escaped(&t, r->subscription.filter);
    }
}

static bool same_peer(const struct peer *a, const struct peer *b)
{
    return a != NULL && b != NULL ? peer_equal(a, b) : a == b;
}

static bool same_will(const struct sn_will_view *a, const struct sn_will_view *b)
{
    return bytes_equal(a->topic, b->topic) &&
           bytes_equal(body_bytes(a->body), body_bytes(b->body)) && a->qos == b->qos &&
           a->retain == b->retain;
}

static bool same_row(const struct sn_record *a, const struct sn_record *b)
{
    switch (key_of(a).kind) {
    case SESSION:
        return bytes_equal(a->session.client_id, b->session.client_id) &&
               same_peer(a->session.peer, b->session.peer) &&
               a->session.state == b->session.state && a->session.clean == b->session.clean &&
               a->session.keep_alive_s == b->session.keep_alive_s &&
               a->session.sleep_s == b->session.sleep_s &&
               a->session.next_msg_id == b->session.next_msg_id &&
               a->session.connection == b->session.connection &&
               same_will(&a->session.will, &b->session.will);
    case TOPIC:
        return bytes_equal(a->topic.name, b->topic.name) && a->topic.alias == b->topic.alias &&
               a->topic.kind == b->topic.kind && a->topic.given == b->topic.given &&
               a->topic.known_in == b->topic.known_in && a->topic.refused_in == b->topic.refused_in;
    case EXCHANGE:
        return a->exchange.topic_id == b->exchange.topic_id &&
               a->exchange.print == b->exchange.print;
    case DELIVERY:
        return a->delivery.journal == b->delivery.journal &&
               bytes_equal(a->delivery.topic, b->delivery.topic) &&
               bytes_equal(body_bytes(a->delivery.body), body_bytes(b->delivery.body)) &&
               a->delivery.expires_ms == b->delivery.expires_ms &&
               a->delivery.qos == b->delivery.qos && a->delivery.retain == b->delivery.retain &&
               a->delivery.phase == b->delivery.phase && a->delivery.msg_id == b->delivery.msg_id;
    case SUBSCRIPTION:
        return a->subscription.qos == b->subscription.qos;
    case SPOOL:
    case KINDS:
        break;
    }
    return true;
}

static void complain(const char *what, const struct sn_record *r, char *why, size_t size)
{
    const int n = snprintf(why, size, "%s: ", what);
    if (n > 0 && (size_t)n < size)
        print_row(r, why + n, size - (size_t)n);
}

bool table_orderly(const struct sim_table *t, char *why, size_t size)
{
    list_foreach (link, &t->all) {
        const struct sn_record *r = &container_of(link, struct sim_row, link)->record;
        if (r->type != SN_REC_SPOOL && session_of(t, r->client) == NULL) {
            complain("a row without its session", r, why, size);
            return false;
        }
    }
    return true;
}

/* Every row of `a` is in `b`. */
static bool includes(const struct sim_table *a, const struct sim_table *b, bool all,
                     const char *missing, char *why, size_t size)
{
    list_foreach (link, &a->all) {
        const struct sn_record *r = &container_of(link, struct sim_row, link)->record;
        const struct key k = key_of(r);
        if (k.kind == SPOOL || (!all && k.kind == SUBSCRIPTION))
            continue;
        const struct sim_row *other = find(b, &k);
        if (other == NULL || !same_row(r, &other->record)) {
            complain(missing, r, why, size);
            const size_t used = strlen(why);
            if (other != NULL && used + 3 < size) {
                memcpy(why + used, "; ", 3);
                print_row(&other->record, why + used + 2, size - used - 2);
            }
            return false;
        }
    }
    return true;
}

bool table_same(const struct sim_table *a, const struct sim_table *b, bool all, char *why,
                size_t size)
{
    return includes(a, b, all, "only the first has", why, size) &&
           includes(b, a, all, "only the second has", why, size);
}
