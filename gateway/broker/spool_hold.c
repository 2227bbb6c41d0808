/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are held back (spool.h, "Pace"). A node that has not heard that its message was taken
 * sends no other, so whoever withholds that word decides how fast it sends. What counts is what the
 * gateway has promised to bring to the broker: messages in the spool whose senders have their answer.
 */
#include <stdlib.h>

#include "broker/spool_priv.h"

enum {
    BACKLOG_WINDOWS = 2, /* are enough for the connection to find the next one always waiting */
    LEAVE_PER_ENTRY = 2,
    SILENT_HOLD_MS = 20,
};

static uint64_t backlog_max(const struct spool *s)
{
    return (uint64_t)BACKLOG_WINDOWS * s->config.window;
}

static bool is_backlog_small(const struct spool *s)
{
    return s->gauges.messages < backlog_max(s) + s->unanswered;
}

/* Is one more promise in order? Then it is made: ask once. */
static bool claim(struct spool *s)
{
    if (!s->up || s->config.hold_ms == 0 || is_backlog_small(s))
        return true;
    if (s->silent || s->earned < LEAVE_PER_ENTRY)
        return false;
    s->earned -= LEAVE_PER_ENTRY;
    return true;
}

void earn_room(struct spool *s)
{
    if (s->earned < backlog_max(s) && !is_backlog_small(s))
        s->earned++;
}

static void answer(struct spool *s, uint64_t token, uint8_t qos)
{
    tell(s, &(struct up_event){.type = UP_PUBLISHED, .token = token, .result = UP_OK, .qos = qos});
}

/* ---- holding --------------------------------------------------------------------------------- */

/* For a broker that is silent nobody waits for long. That one waits at all keeps who sends as fast as it
 * can from filling the disk in the quarter of a second for which a busy machine stood still. */
static int64_t hold_ms(const struct spool *s)
{
    return s->silent ? time_min(SILENT_HOLD_MS, s->config.hold_ms) : s->config.hold_ms;
}

static bool is_overdue(const struct spool *s, int64_t since_ms)
{
    return s->now_ms - since_ms >= hold_ms(s);
}

static bool hold(struct spool *s, const struct promise *p)
{
    struct owner *o = owner_find(s, p->client);
    struct held *h = o != NULL ? malloc(sizeof *h) : NULL;
    if (h == NULL)
        return false;
    *h = (struct held){.owner = o, .token = p->token, .since_ms = p->since_ms, .qos = p->qos};
    list_init(&h->place);
    list_init(&h->age);
    list_push_back(&o->held, &h->place);
    list_push_back(&s->held, &h->age);
    if (!list_linked(&o->holding))
        list_push_back(&s->holding, &o->holding);
    s->gauges.held++;
    return true;
}

void answer_or_hold(struct spool *s, const struct promise *p)
{
    const bool in_turn = list_empty(&s->holding) && (!p->holdable || claim(s));
    const bool waits = p->holdable && !in_turn && !is_overdue(s, p->since_ms);
    if (waits && hold(s, p))
        return;
    s->unanswered -= p->holdable;
    answer(s, p->token, p->qos);
}

/* ---- and letting go -------------------------------------------------------------------------- */

static void held_remove(struct spool *s, struct held *h)
{
    list_unlink(&h->place);
    list_unlink(&h->age);
    s->gauges.held--;
    s->unanswered--;
    free(h);
}

/* Its client goes to the end of the line. */
static void let_go(struct spool *s, struct held *h)
{
    struct owner *o = h->owner;
    answer(s, h->token, h->qos);
    held_remove(s, h);
    list_unlink(&o->holding);
    if (!list_empty(&o->held))
        list_push_back(&s->holding, &o->holding);
    owner_settle(s, o);
}

void answer_held(struct spool *s)
{
    while (!list_empty(&s->holding) && claim(s)) {
        struct owner *o = container_of(list_first(&s->holding), struct owner, holding);
        let_go(s, container_of(o->held.next, struct held, place)); /* who holds, has some */
    }
}

void answer_overdue(struct spool *s)
{
    while (!list_empty(&s->held)) {
        struct held *h = container_of(list_first(&s->held), struct held, age);
        if (!is_overdue(s, h->since_ms))
            return;
        let_go(s, h);
    }
}

int64_t next_overdue(const struct spool *s)
{
    struct list *first = list_first(&s->held);
    return first != NULL ? time_add(container_of(first, struct held, age)->since_ms, hold_ms(s))
                         : TIME_NEVER;
}

void held_free(struct spool *s)
{
    while (!list_empty(&s->held))
        held_remove(s, container_of(list_first(&s->held), struct held, age));
}
