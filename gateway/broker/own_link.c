/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When there is to be a connection, and with what will.
 *
 * One function decides, whatever has changed: own_settle(). The connection is there while the node is,
 * and until everything of it has gone to the broker. A will can't be changed in a connection, so when
 * nothing is under way it is made anew; a session that the broker would keep, and is not to, is wiped
 * by a connection with a clean session.
 */
#include "broker/own_priv.h"

enum {
    RENEW_MS = 1000,        /* topic and message of a will change one after the other */
    RENEW_EVERY_MS = 10000, /* and not more often than that */
    DECIDE_MS = 1000,
    STRIKES_MAX = 2,
    STRIKES_OF_NEWCOMER = 3,
    LOSSES_MAX = 8,
    LOSS_FORGOTTEN_MS = 300000,
};

bool own_is_busy(const struct own *o)
{
    return !list_empty(&o->publishes) || !list_empty(&o->calls) || !list_empty(&o->wills) ||
           o->backlog > 0;
}

static bool has_node(const struct own *o)
{
    return o->present || o->opening;
}

static bool is_needed(const struct own *o)
{
    return has_node(o) || own_is_busy(o) || o->wipes;
}

/* ---- with what will -------------------------------------------------------------------------- */

static bool same_will(const struct will *a, const struct will *b)
{
    return bytes_equal(body_bytes(a->topic), body_bytes(b->topic)) &&
           bytes_equal(body_bytes(a->body), body_bytes(b->body)) && a->qos == b->qos &&
           a->retain == b->retain;
}

/* A node that is not there has none. */
static const struct will *wanted_will(const struct own *o)
{
    static const struct will none;
    return has_node(o) ? &o->will : &none;
}

static bool wanted_clean(const struct own *o)
{
    return o->clean || o->wipes;
}

bool own_will_is_there(const struct own *o)
{
    return same_will(&o->will, &o->link_will);
}

void own_will_changed(struct own *o)
{
    struct deadline *renew = &o->timers[DL_RENEW];
    if (o->link != LINK_ON || own_will_is_there(o)) {
        deadline_disarm(&o->deadlines, renew);
        return;
    }
    const int64_t due_ms =
        time_max(time_add(o->now_ms, RENEW_MS), time_add(o->connack_ms, RENEW_EVERY_MS));
    deadline_arm(&o->deadlines, renew, due_ms);
}

/* ---- begin and end --------------------------------------------------------------------------- */

static void link_begin(struct own *o)
{
    const struct will *will = wanted_will(o);
    const struct sn_will_view view = will_view(will);
    const struct own_command connect = {
        .type = OWN_CONNECT, .clean = wanted_clean(o), .will = view};
    if (!will_set(&o->link_will, &view) || !own_command(o, &connect)) {
        deadline_arm(&o->deadlines, &o->timers[DL_RETRY], time_add(o->now_ms, DECIDE_MS));
        return;
    }
    o->link = LINK_WAITING;
    o->link_clean = connect.clean;
}

void own_link_end(struct own *o, enum own_command_type how)
{
    const bool was_on = o->link == LINK_ON;
    if (o->link == LINK_OFF)
        return;
    o->link = LINK_OFF;
    deadline_disarm(&o->deadlines, &o->timers[DL_RENEW]);
    own_command(o, &(struct own_command){.type = how});
    if (!was_on) /* what is open is with the spool, which answers */
        return;
    own_calls_over(o);
    if (o->config.spooled) /* whatever the spool has taken over it goes on with */
        return;
    own_publishes_over(o);
    own_wills_again(o);
}

static void link_renew(struct own *o)
{
    own_link_end(o, OWN_DISCONNECT);
    link_begin(o);
}

static bool is_outdated(const struct own *o)
{
    return o->link_clean != wanted_clean(o) || !same_will(wanted_will(o), &o->link_will);
}

void own_settle(struct own *o)
{
    if (o->link == LINK_OFF) {
        if (is_needed(o) && !o->barred && !o->deciding)
            link_begin(o);
        return;
    }
    if (!is_needed(o)) {
        own_link_end(o, OWN_DISCONNECT);
        return;
    }
    if (o->link == LINK_WAITING) {
        if (is_outdated(o))
            link_renew(o);
        return;
    }
    const bool new_will =
        has_node(o) && !own_will_is_there(o) && !deadline_armed(&o->timers[DL_RENEW]);
    const bool other_kind = o->link_clean != wanted_clean(o) && (has_node(o) || o->wipes);
    if ((new_will || other_kind) && !own_is_busy(o))
        link_renew(o);
}

/* ---- what the connection tells --------------------------------------------------------------- */

void own_connected(struct own *o, const struct up_event *event)
{
    if (o->link == LINK_OFF)
        return; /* of one that was ended */
    const bool session_present = event->session_present && !o->link_clean;
    o->link = LINK_ON;
    o->connack_ms = o->now_ms;
    o->refused = false;
    o->kept = !o->link_clean;
    o->wipes = o->wipes && o->kept;
    if (o->opening && o->link_clean == o->clean) /* else this one was to wipe */
        own_accept(o, session_present);
    own_resubscribe(o, session_present);
    own_wills_settle(o);
    own_wills_send(o);
}

/* What may be otherwise in a while. */
static bool may_go_away(uint8_t code)
{
    switch (code) {
    case 0:    /* no reason given */
    case 3:    /* 3.1.1: server unavailable */
    case 0x80: /* MQTT 5: unspecified error */
    case 0x83: /* implementation specific error */
    case 0x88: /* server unavailable */
    case 0x89: /* server busy */
    case 0x97: /* quota exceeded */
    case 0x9C: /* use another server */
    case 0x9D: /* server moved: who is told so here is to change the address, not the nodes */
    case 0x9F: /* connection rate exceeded */
        return true;
    default:
        return false;
    }
}

static void on_refused(struct own *o, const struct up_event *event)
{
    const bool never = !may_go_away(event->code);
    o->refused = never;
    if (o->opening)
        own_refuse(o, never ? SN_REFUSED_NEVER : SN_REFUSED_BUSY);
    else if (o->present && never)
        own_closed(o, "refused_by_broker");
    if (!never)
        return;
    o->barred = true;
    own_link_end(o, OWN_DISCONNECT);
}

/* With long pauses between attempts each connection lasts until the other gateway's turn. */
static bool is_lost_often(struct own *o)
{
    const int64_t forgotten = (o->now_ms - o->losses_ms) / LOSS_FORGOTTEN_MS;
    if (o->losses == 0)
        o->losses_ms = o->now_ms;
    else
        o->losses_ms += forgotten * LOSS_FORGOTTEN_MS;
    o->losses = forgotten < o->losses ? (uint8_t)(o->losses - forgotten + 1) : 1;
    return o->losses >= LOSSES_MAX;
}

static void say_lost(struct own *o, const struct up_event *event)
{
    if (!own_log_begin(o, LOG_WARN, "session.lost"))
        return;
    log_text(&o->log, "why", event->why != NULL ? event->why : "");
    log_end(&o->log);
}

/* Another gateway that speaks for the client and this one would end each other's connections for
 * ever: so would a broker that is in trouble, but then others are lost, too. Both count; the client is
 * with the one that it came to last, so that one has more patience. A broker that says why it ends a
 * connection would say that, too. */
static void on_lost(struct own *o, const struct up_event *event)
{
    const bool lasted = o->now_ms - o->connack_ms > OWN_TAKEN_OVER_MS;
    o->link = LINK_WAITING;
    own_filters_left(o);
    deadline_disarm(&o->deadlines, &o->timers[DL_RENEW]);
    if (o->now_ms < o->trouble_ms || event->renews)
        return;
    if (event->explained) {
        say_lost(o, event);
        return;
    }
    o->settled = o->settled || lasted;
    o->strikes = lasted ? 0 : (uint8_t)(o->strikes + 1);
    const bool often = is_lost_often(o);
    if (o->strikes < (o->settled ? STRIKES_MAX : STRIKES_OF_NEWCOMER) && !often)
        return;
    own_link_end(o, OWN_DISCONNECT);
    o->deciding = true;
    deadline_arm(&o->deadlines, &o->timers[DL_DECIDE], time_add(o->now_ms, DECIDE_MS));
}

/* An outage is everybody's, and told once for all. */
static void say_failed(struct own *o, const struct up_event *event)
{
    const bool is_its_own = event->refused || (o->link == LINK_WAITING && o->broker_up);
    if (!own_log_begin(o, is_its_own ? LOG_WARN : LOG_DEBUG, "session.attempt_failed"))
        return;
    log_text(&o->log, "why", event->why != NULL ? event->why : "");
    log_end(&o->log);
}

void own_disconnected(struct own *o, const struct up_event *event)
{
    if (o->link == LINK_OFF)
        return;
    if (event->refused || o->link == LINK_WAITING)
        say_failed(o, event);
    if (event->taken_over)
        own_closed(o, "taken_over");
    else if (event->refused)
        on_refused(o, event);
    else if (o->link == LINK_ON)
        on_lost(o, event);
}

void own_decide_due(struct own *o)
{
    o->deciding = false;
    o->strikes = 0;
    o->losses = 0;
    own_closed(o, "taken_over");
}

void own_broker_trouble(struct own *o, int64_t now_ms)
{
    own_advance(o, now_ms);
    o->strikes = 0;
    o->losses = 0;
    o->trouble_ms = time_add(now_ms, OWN_TAKEN_OVER_MS);
    o->deciding = false;
    deadline_disarm(&o->deadlines, &o->timers[DL_DECIDE]);
    own_settle(o);
}
