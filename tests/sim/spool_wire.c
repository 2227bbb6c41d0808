/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection and the broker of the spool's world.
 *
 * A packet of QoS 1 reaches the broker when it is SENT, one of QoS 2 when it is PASSED. Of QoS 2 the
 * connection keeps spooled packets in the store from SENT to the end; those that were not spooled die
 * with the process.
 */
#include <string.h>

#include "sim/spool_world.h"

static struct packet *packet_at(const struct vector *lane, size_t i)
{
    return vector_at(lane, i);
}

static struct up_event *say(struct world *w, struct up_event event)
{
    struct up_event *e = vector_add(&w->wire.inbox);
    *e = event;
    return e;
}

static struct up_event *answer(struct world *w, const struct packet *p, enum up_result result)
{
    struct up_event *e = say(w, (struct up_event){.type = UP_PUBLISHED,
                                                  .token = p->token,
                                                  .spooled = p->spooled,
                                                  .result = result,
                                                  .qos = p->qos,
                                                  .retain = p->retain});
    if (result != UP_BUSY || p->orphan)
        return e;
    uint8_t payload[PAYLOAD_MAX] = {0};
    memcpy(payload, &p->attempt, sizeof p->attempt);
    e->body = body_new(bytes_of(payload, w->payload));
    e->topic = bytes_str("t/1"); /* of the right length */
    e->client = p->client;
    e->will = p->will;
    return e;
}

static bool is_refused(const struct world *w, const struct packet *p)
{
    return w->faults.refuse && p->attempt % 37 == 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Nothing must overtake what comes back (upstream.h): taken is what is meant for the connection that
 * the loop knows of, if it knows of all that was refused. */
static bool takes(struct world *w, const struct up_request *r)
{
    const bool full = w->faults.full && !w->calm && r->spooled == 0 && chance(w, 10);
    return w->wire.online && w->wire.told_gen == w->wire.gen && w->wire.refusals == 0 && !full;
}

void wire_submit(struct world *w, const struct up_request *r)
{
    REQUIRE(r->type == UP_PUBLISH, "only PUBLISH in this world");
    uint32_t attempt;
    memcpy(&attempt, r->body->data, sizeof attempt);
    const struct packet p = {.token = r->token,
                             .spooled = r->spooled,
                             .client = r->client,
                             .attempt = attempt,
                             .qos = r->qos,
                             .retain = r->retain,
                             .will = r->will};
    TRACE("%u: to the connection, spooled %d", attempt, (int)r->spooled);
    if (r->spooled != 0)
        REQUIRE(row_at(w, r->spooled)->there || w->no_judging,
                "%u is given to the connection, and not in the store", attempt);
    if (is_refused(w, &p) && r->qos > 0) {
        answer(w, &p, UP_REFUSED);
    } else if (!takes(w, r)) {
        answer(w, &p, UP_BUSY)->session_present = true; /* marks the refusal */
        w->wire.refusals++;
    } else {
        *(struct packet *)vector_add(r->qos == 2 ? &w->wire.twice : &w->wire.plain) = p;
    }
}

/* ---- the lanes ------------------------------------------------------------------------------- */

static size_t first_at(const struct vector *lane, enum stage stage)
{
    size_t i = 0;
    while (i < lane->n && (packet_at(lane, i)->stage != stage || packet_at(lane, i)->done))
        i++;
    return i;
}

static bool step_plain(struct world *w, bool acknowledge)
{
    struct vector *lane = &w->wire.plain;
    const size_t i = first_at(lane, acknowledge ? SENT : QUEUED);
    if (i == lane->n)
        return false;
    struct packet *p = packet_at(lane, i);
    if (!acknowledge) {
        judge_delivery(w, p->attempt, p->qos);
        p->stage = SENT;
        if (p->qos > 0)
            return true;
    }
    if (p->qos > 0 || p->spooled != 0)
        answer(w, p, UP_OK);
    vector_remove(lane, i);
    return true;
}

/* The connection gets nothing before the turn has ended, and what Paho keeps is in the store behind
 * all that was in that turn's batch. */
static void end_turn(struct world *w)
{
    rows_flush(w);
    while (rows_step(w))
        ;
}

static bool step_twice(struct world *w, enum stage from)
{
    struct vector *lane = &w->wire.twice;
    if (from == QUEUED && first_at(lane, from) < lane->n)
        end_turn(w);
    const size_t i = first_at(lane, from);
    if (i == lane->n)
        return false;
    struct packet *p = packet_at(lane, i);
    switch (from) {
    case QUEUED:
        p->stage = SENT;
        if (p->spooled != 0)
            row_at(w, p->spooled)->sending = true;
        break;
    case SENT:
        judge_delivery(w, p->attempt, 2);
        p->stage = PASSED;
        break;
    case PASSED:
        answer(w, p, UP_OK);
        p->done = true;
        if (p->spooled != 0)
            rows_packet_gone(w, p->spooled);
        else
            vector_remove(lane, i);
        break;
    }
    return true;
}

bool wire_step(struct world *w)
{
    if (!w->wire.online)
        return false;
    const unsigned first = pick(w, 5);
    for (unsigned k = 0; k < 5; k++) {
        const unsigned what = (first + k) % 5;
        const bool moved =
            what < 2 ? step_plain(w, what == 1) : step_twice(w, (enum stage)(what - 2));
        if (moved)
            return true;
    }
    return false;
}

void wire_reach(struct world *w, enum stage stage)
{
    while (stage != QUEUED && step_plain(w, false))
        ;
    while (stage != QUEUED && step_twice(w, QUEUED))
        ;
    while (stage == PASSED && step_twice(w, SENT))
        ;
}

void wire_packet_gone(struct world *w, uint64_t number)
{
    struct vector *lane = &w->wire.twice;
    for (size_t i = 0; i < lane->n; i++) {
        if (packet_at(lane, i)->spooled == number && packet_at(lane, i)->done) {
            vector_remove(lane, i);
            return;
        }
    }
}

/* ---- lost and found -------------------------------------------------------------------------- */

void wire_break(struct world *w)
{
    TRACE("connection breaks");
    w->wire.online = false;
    w->wire.noticed = false;
}

static void shuffle(struct world *w, size_t from)
{
    struct vector *inbox = &w->wire.inbox;
    for (size_t i = inbox->n; i > from + 1; i--) {
        struct up_event *a = vector_at(inbox, i - 1);
        struct up_event *b = vector_at(inbox, from + pick(w, (unsigned)(i - from)));
        const struct up_event kept = *a;
        *a = *b;
        *b = kept;
    }
}

/* Paho keeps of QoS 2 what it has sent; all else comes back. */
static void return_lane(struct world *w, struct vector *lane)
{
    size_t kept = 0;
    for (size_t i = 0; i < lane->n; i++) {
        struct packet p = *packet_at(lane, i);
        const bool stays = p.qos == 2 && p.stage != QUEUED;
        if (stays && !p.doubt && !p.done)
            answer(w, &p, UP_IN_DOUBT);
        if (!stays)
            answer(w, &p, UP_BUSY);
        p.doubt = true;
        if (stays)
            *packet_at(lane, kept++) = p;
    }
    lane->n = kept;
}

bool wire_notice(struct world *w)
{
    if (w->wire.online || w->wire.noticed)
        return false;
    w->wire.noticed = true;
    say(w, (struct up_event){.type = UP_DISCONNECTED, .why = "the test says so"});
    const size_t from = w->wire.inbox.n;
    return_lane(w, &w->wire.plain);
    return_lane(w, &w->wire.twice);
    if (w->faults.shuffle)
        shuffle(w, from);
    return true;
}

/* What the broker has passed on stays passed on. */
static void forget_sent(struct world *w)
{
    struct vector *lane = &w->wire.twice;
    for (size_t i = 0; i < lane->n;) {
        struct packet *p = packet_at(lane, i);
        if (p->done || !p->doubt) {
            i++;
            continue;
        }
        answer(w, p, p->stage == PASSED ? UP_OK : UP_BUSY);
        if (p->spooled != 0 && p->stage == PASSED)
            rows_packet_gone(w, p->spooled);
        else if (p->spooled != 0)
            row_at(w, p->spooled)->sending = false;
        p->done = p->stage == PASSED;
        if (p->done && p->spooled != 0)
            i++;
        else
            vector_remove(lane, i);
    }
}

static void tell_resumed(struct world *w)
{
    const struct vector *lane = &w->wire.twice;
    for (size_t i = 0; i < lane->n; i++) {
        if (!packet_at(lane, i)->done)
            answer(w, packet_at(lane, i), UP_IN_DOUBT);
    }
    w->wire.abandoned = false;
}

void wire_connect(struct world *w, bool forget)
{
    if (w->wire.online || !w->wire.noticed)
        return;
    if (w->wire.abandoned)
        tell_resumed(w);
    if (forget)
        forget_sent(w);
    w->wire.gen++;
    TRACE("connection %u%s", w->wire.gen, forget ? ", broker has forgotten" : "");
    w->wire.online = true;
    say(w, (struct up_event){
               .type = UP_CONNECTED, .session_present = !forget, .journal = w->wire.gen});
}

bool wire_hear(struct world *w)
{
    struct wire *c = &w->wire;
    if (c->inbox_head == c->inbox.n) {
        vector_clear(&c->inbox);
        c->inbox_head = 0;
        return false;
    }
    const struct up_event event = *(struct up_event *)vector_at(&c->inbox, c->inbox_head++);
    if (event.type == UP_CONNECTED)
        c->told_gen = (unsigned)event.journal; /* as good a place as any */
    if (event.type == UP_DISCONNECTED)
        c->told_gen = 0;
    if (event.type == UP_PUBLISHED && event.session_present)
        c->refusals--;
    TRACE("heard: type %d token %llx spooled %d result %d", (int)event.type,
          (unsigned long long)event.token, (int)event.spooled, (int)event.result);
    spool_upstream(w->s, w->now_ms, &event);
    world_carry(w);
    body_unref(event.body);
    return true;
}

static void drop_inbox(struct wire *c)
{
    for (; c->inbox_head < c->inbox.n; c->inbox_head++)
        body_unref(((struct up_event *)vector_at(&c->inbox, c->inbox_head))->body);
    vector_clear(&c->inbox);
    c->inbox_head = 0;
}

/* Whoever has them next knows only that they were sent, of those that are in the store. */
static void orphan_sent(struct wire *c, bool keeps_done)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->twice.n; i++) {
        struct packet p = *packet_at(&c->twice, i);
        if (p.spooled == 0 || p.stage == QUEUED)
            continue;
        p.token = 0;
        p.doubt = true;
        p.done = p.done && keeps_done;
        p.orphan = true;
        *packet_at(&c->twice, kept++) = p;
    }
    c->twice.n = kept;
}

static void begin_anew(struct wire *c)
{
    drop_inbox(c);
    vector_clear(&c->plain);
    c->online = false;
    c->noticed = true;
    c->told_gen = 0;
    c->refusals = 0;
}

/* While it ends the first ones may get to their end. */
static void finish_some(struct world *w)
{
    const struct vector *lane = &w->wire.twice;
    for (size_t i = 0; i < lane->n; i++) {
        struct packet *p = packet_at(lane, i);
        if (p->stage == QUEUED || chance(w, 30))
            return;
        if (p->spooled == 0 || p->done)
            continue;
        if (p->stage == SENT)
            judge_delivery(w, p->attempt, 2);
        p->stage = PASSED;
        p->done = true;
        rows_packet_gone(w, p->spooled);
    }
}

void wire_abandon(struct world *w)
{
    if (w->wire.online)
        finish_some(w);
    orphan_sent(&w->wire, true);
    begin_anew(&w->wire);
    w->wire.abandoned = true;
}

void wire_crash(struct world *w)
{
    orphan_sent(&w->wire, false);
    begin_anew(&w->wire);
}
