/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, pump and judge of the spool's world. */
#include "sim/spool_world.h"

#include <string.h>

const char *world_seed_text = "nothing";
bool world_traces;

void *vector_add(struct vector *v)
{
    if (v->n == v->cap) {
        v->cap = v->cap > 0 ? v->cap * 2 : 32;
        v->data = realloc(v->data, v->cap * v->size);
        REQUIRE(v->data != NULL, "out of memory");
    }
    void *at = (uint8_t *)v->data + v->n++ * v->size;
    memset(at, 0, v->size);
    return at;
}

void *vector_at(const struct vector *v, size_t i)
{
    REQUIRE(i < v->n, "%zu of %zu", i, v->n);
    return (uint8_t *)v->data + i * v->size;
}

void vector_remove(struct vector *v, size_t i)
{
    uint8_t *at = vector_at(v, i);
    memmove(at, at + v->size, (v->n - i - 1) * v->size);
    v->n--;
}

void vector_clear(struct vector *v)
{
    v->n = 0;
}

bool chance(struct world *w, unsigned percent)
{
    return rng_below(&w->rng, 100) < percent;
}

unsigned pick(struct world *w, unsigned n)
{
    return (unsigned)rng_below(&w->rng, n);
}

/* ---- attempts -------------------------------------------------------------------------------- */

struct attempt *attempt_at(const struct world *w, uint32_t i)
{
    return vector_at(&w->attempts, i);
}

static uint64_t token_of(const struct attempt *a)
{
    const uint64_t client = a->will ? SN_NO_CLIENT : a->client + 1;
    return client << UP_TOKEN_BITS | a->token;
}

uint32_t world_publish(struct world *w, unsigned node, uint8_t qos, bool will)
{
    struct node *n = &w->nodes[node];
    const uint32_t i = (uint32_t)w->attempts.n;
    if (++n->next_token == 0)
        n->next_token = 1;
    struct attempt *a = vector_add(&w->attempts);
    *a = (struct attempt){.client = node, .token = n->next_token, .qos = qos, .will = will};
    if (will)
        a->token = (uint16_t)(node * 1000 + n->next_token % 1000 + 1);
    const bool awaited = qos > 0 && n->n_open < OPEN_MAX;
    if (awaited)
        n->open[n->n_open++] = i;
    uint8_t payload[PAYLOAD_MAX] = {0};
    char topic[16];
    memcpy(payload, &i, sizeof i);
    snprintf(topic, sizeof topic, "t/%u", node + 1);
    struct body *body = body_new(bytes_of(payload, w->payload));
    const struct up_request r = {.type = UP_PUBLISH,
                                 .token = token_of(a),
                                 .topic = bytes_str(topic),
                                 .body = body,
                                 .qos = qos,
                                 .client = node + 1,
                                 .will = will};
    TRACE("%u: client %u publishes, QoS %d%s", i, node + 1, qos, will ? ", will" : "");
    spool_submit(w->s, w->now_ms, &r);
    body_unref(body);
    return i;
}

static void close_open(struct node *n, unsigned k)
{
    n->open[k] = n->open[--n->n_open];
}

void world_event(struct world *w, const struct up_event *event)
{
    if (event->type != UP_PUBLISHED)
        return;
    REQUIRE(event->spooled == 0, "an answer to a spooled message has reached the session");
    for (unsigned c = 0; c < w->n_nodes; c++) {
        struct node *n = &w->nodes[c];
        for (unsigned k = 0; k < n->n_open; k++) {
            struct attempt *a = attempt_at(w, n->open[k]);
            if (token_of(a) != event->token || a->qos != event->qos)
                continue;
            if (event->result == UP_IN_DOUBT)
                return;
            a->outcome = event->result == UP_OK ? ACKED : REFUSED;
            TRACE("%u: %s", n->open[k], a->outcome == ACKED ? "acknowledged" : "refused");
            close_open(n, k);
            return;
        }
    }
}

/* ---- the pump -------------------------------------------------------------------------------- */

void world_carry(struct world *w)
{
    struct up_request request;
    struct up_event event;
    struct sn_record record;
    while (spool_peek_event(w->s, &event)) {
        world_event(w, &event);
        spool_done_event(w->s);
    }
    while (spool_peek_request(w->s, &request)) {
        wire_submit(w, &request);
        spool_done_request(w->s);
    }
    while (spool_peek_record(w->s, &record)) {
        rows_put(w, &record);
        spool_done_record(w->s);
    }
    const size_t memory = spool_gauges(w->s).memory_bytes;
    w->most_memory = memory > w->most_memory ? memory : w->most_memory;
    REQUIRE(spool_next_deadline(w->s) > w->now_ms, "a deadline in the past");
}

void world_ask(struct world *w)
{
    uint64_t after;
    unsigned n;
    size_t max_bytes;
    if (spool_wants_fetch(w->s, &after, &n, &max_bytes)) {
        REQUIRE(n > 0 && max_bytes > 0, "an empty fetch");
        rows_fetch(w, after, n, max_bytes);
    }
}

void world_turn(struct world *w)
{
    world_carry(w);
    rows_flush(w);
    world_ask(w);
}

void world_settle(struct world *w)
{
    for (bool moved = true; moved;) {
        moved = false;
        world_turn(w);
        while (rows_step(w))
            moved = true;
        rows_answer(w);
        world_carry(w);
        while (wire_step(w))
            moved = true;
        while (wire_hear(w))
            moved = true;
    }
}

void world_commit(struct world *w)
{
    world_turn(w);
    while (rows_step(w))
        ;
    rows_answer(w);
    world_carry(w);
}

void world_come(struct world *w)
{
    wire_connect(w, false);
    while (wire_hear(w))
        ;
}

void world_go(struct world *w)
{
    wire_break(w);
    wire_notice(w);
    while (wire_hear(w))
        ;
}

void world_pass(struct world *w, int64_t ms)
{
    w->now_ms += ms;
    spool_advance(w->s, w->now_ms);
    world_carry(w);
}

void world_usable(struct world *w, bool usable)
{
    w->usable = usable;
    TRACE("store: %s", usable ? "usable" : "not usable");
    spool_usable(w->s, w->now_ms, usable);
}

void world_wall(struct world *w, unsigned minute)
{
    w->minute = minute;
    TRACE("minute %u", minute);
    spool_wall(w->s, w->now_ms, minute);
}

/* ---- life and death -------------------------------------------------------------------------- */

static void begin_life(struct world *w)
{
    w->s = spool_new(&w->config, w->now_ms);
    REQUIRE(w->s != NULL, "out of memory");
    rows_restore(w);
    world_wall(w, w->minute);
    world_usable(w, true);
}

struct world *world_new(const struct spool_config *config, struct faults faults, uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    REQUIRE(w != NULL, "out of memory");
    w->config = *config;
    world_traces = getenv("SENNET_TRACE") != NULL;
    w->config.log_level = LOG_ERROR;
    w->faults = faults;
    w->now_ms = 1000;
    w->payload = 16;
    w->n_nodes = 1;
    rng_seed(&w->rng, seed);
    w->attempts.size = sizeof(struct attempt);
    w->rows.todo.size = sizeof(struct command);
    w->rows.open.size = sizeof(struct command);
    w->rows.answer.size = sizeof(uint64_t);
    w->rows.batch = 1;
    w->wire.plain.size = sizeof(struct packet);
    w->wire.twice.size = sizeof(struct packet);
    w->wire.inbox.size = sizeof(struct up_event);
    w->wire.noticed = true;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        w->nodes[i] = (struct node){.window = 1, .latest = -1, .latest_gen = -1};
    begin_life(w);
    return w;
}

void world_free(struct world *w)
{
    wire_crash(w);
    spool_free(w->s);
    void *const blocks[] = {w->attempts.data,    w->rows.todo.data,  w->rows.open.data,
                            w->rows.answer.data, w->rows.rows,       w->wire.plain.data,
                            w->wire.twice.data,  w->wire.inbox.data, w};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        free(blocks[i]);
}

static void remember_gauges(struct world *w)
{
    const struct spool_gauges g = spool_gauges(w->s);
    w->before.expired += g.expired;
    w->before.dropped += g.dropped;
    w->before.lost += g.lost;
    w->before.refused += g.refused;
}

/* The engine comes back with its exchanges of QoS 2, which are in the batches of the messages: for
 * what is in the store the node will be acknowledged. All else it sends again. */
static void reopen_node(struct world *w, struct node *n)
{
    while (n->n_open > 0) {
        struct attempt *a = attempt_at(w, n->open[0]);
        a->outcome = ABANDONED;
        for (uint64_t i = w->rows.scan; i <= w->rows.last && a->qos == 2; i++) {
            const struct row *row = row_at(w, i);
            if (row->there && row->attempt == n->open[0])
                a->outcome = ACKED;
        }
        close_open(n, 0);
    }
}

void world_crash(struct world *w)
{
    TRACE("crash");
    remember_gauges(w);
    spool_free(w->s);
    rows_crash(w);
    wire_crash(w);
    for (unsigned c = 0; c < w->n_nodes; c++)
        reopen_node(w, &w->nodes[c]);
    begin_life(w);
}

void world_abandon(struct world *w)
{
    TRACE("abandoned");
    spool_abandoned(w->s, w->now_ms);
    wire_abandon(w);
    world_carry(w);
}

void world_configure(struct world *w, const struct spool_config *config)
{
    TRACE("other limits");
    w->config = *config;
    w->config.log_level = LOG_ERROR;
    spool_configure(w->s, w->now_ms, &w->config);
    world_wall(w, w->minute);
    world_carry(w);
}

/* ---- the judge ------------------------------------------------------------------------------- */

void judge_delivery(struct world *w, uint32_t attempt, uint8_t qos)
{
    struct attempt *a = attempt_at(w, attempt);
    struct node *n = &w->nodes[a->client];
    const unsigned gen = w->wire.gen;
    w->delivered++;
    TRACE("%u: client %u's delivered, QoS %d", attempt, a->client + 1, qos);
    a->deliveries++;
    if (w->no_judging)
        return;
    REQUIRE(a->qos == qos, "%u has changed its QoS", attempt);
    REQUIRE(qos != 2 || a->deliveries == 1, "%u of QoS 2 is delivered twice", attempt);
    REQUIRE(a->outcome != REFUSED, "%u was refused, and is delivered", attempt);
    if (a->deliveries > 1)
        REQUIRE(a->first_gen != gen, "%u is repeated within a connection", attempt);
    else
        a->first_gen = gen;
    if (qos == 0 || a->dropped)
        return;
    if (n->gen != gen)
        n->latest_gen = -1;
    n->gen = gen;
    REQUIRE((int64_t)attempt > n->latest_gen, "%u of client %u after %d in one connection", attempt,
            a->client + 1, (int)n->latest_gen);
    n->latest_gen = attempt;
    if (a->deliveries > 1)
        return;
    REQUIRE((int64_t)attempt > n->latest, "%u of client %u comes first after %d", attempt,
            a->client + 1, (int)n->latest);
    n->latest = attempt;
}

void judge_end(struct world *w, uint32_t attempt)
{
    if (attempt < w->attempts.n && attempt_at(w, attempt)->deliveries == 0)
        attempt_at(w, attempt)->dropped = true;
}

uint64_t world_missing(const struct world *w)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < w->attempts.n; i++) {
        const struct attempt *a = attempt_at(w, i);
        n += a->outcome == ACKED && a->deliveries == 0;
    }
    return n;
}

void world_end(struct world *w)
{
    w->calm = true;
    world_usable(w, true);
    for (unsigned i = 0; i < 10000; i++) {
        wire_notice(w);
        wire_connect(w, false);
        world_settle(w);
        world_pass(w, 1000);
        if (spool_gauges(w->s).messages == 0 && w->wire.twice.n == 0 && w->wire.plain.n == 0)
            break;
    }
    world_settle(w);
    const struct spool_gauges g = spool_gauges(w->s);
    REQUIRE(g.messages == 0, "%d messages are left in the spool", (int)g.messages);
    REQUIRE(g.bytes == 0 && g.in_flight == 0, "something of what has gone is still counted");
    world_turn(w);
    REQUIRE(spool_gauges(w->s).memory_bytes == 0, "memory is still charged");
    for (uint64_t i = 0; i <= w->rows.last; i++)
        REQUIRE(!row_at(w, i)->there, "%d is still in the store", (int)i);
    for (unsigned c = 0; c < w->n_nodes; c++)
        REQUIRE(w->nodes[c].n_open == 0, "client %u waits for an answer", c + 1);
    remember_gauges(w);
    const uint64_t excused = w->before.expired + w->before.dropped + w->before.refused;
    const uint64_t missing = world_missing(w);
    REQUIRE(missing <= excused, "%d are lost, %d excused", (int)missing, (int)excused);
}
