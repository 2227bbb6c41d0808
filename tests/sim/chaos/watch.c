/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the judge reads off the air in front of the gateway, and off its log: when it has heard a
 * node, when it gives it up for lost, which will it then publishes, how often it repeats itself.
 *
 * The least number of repetitions. A request gets through with a chance of 1 - p. When it does, the
 * air has copied it with a chance of c, and there are two answers; one that gets through is enough. So
 * a sending leads to an answer with the chance
 *
 *     q = (1 - p) * ((1 - c) * (1 - p) + c * (1 - p^2))         0.497 for p = 0.3, c = 0.05
 *
 * Whoever gets no answer can't know whether the request or the answer was lost, and must send again:
 * a request that is answered in the end is sent 1/q times in the mean, and 1/q - 1 = 1.01 of these are
 * repetitions. Against that number times the requests that were answered all repetitions are held,
 * also those to nodes that had gone, or slept, and those of requests whose answer was only late.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "mqttsn/engine_priv.h"
#include "sim/chaos/chaos.h"

static const unsigned NO_ADDRESS = UINT_MAX;

double watch_ratio(uint64_t repeated, uint64_t answered)
{
    const double p = LOSS_PERCENT / 100.0;
    const double c = COPY_PERCENT / 100.0;
    const double q = (1 - p) * ((1 - c) * (1 - p) + c * (1 - p * p));
    const double least = 1 / q - 1;
    return answered > 0 ? (double)repeated / ((double)answered * least) : 0;
}

/* ---- silence --------------------------------------------------------------------------------- */

/* Clause 7.2. */
static int64_t tolerant_ms(uint16_t duration_s)
{
    return (int64_t)duration_s * (duration_s > 60 ? 1100 : 1500);
}

static int64_t patience_ms(const struct chaos_node *n)
{
    return tolerant_ms(n->gw.asleep || n->gw.awake ? n->gw.sleep_s : n->keep_alive_s);
}

/* While it is awake the retry count decides first. A CONNECT that comes right after it fell asleep may
 * be a late copy: then it is active, and supervised like a sleeper all the same. */
static int64_t latest_ms(const struct chaos *x, const struct chaos_node *n)
{
    const struct sn_engine_config *config = &x->w.engine->config;
    const int64_t sign_ms =
        n->gw.heard_any_ms > n->gw.since_ms ? n->gw.heard_any_ms : n->gw.since_ms;
    const int64_t awake_ms = n->gw.awake ? config->retry_max_ms * (config->retry_count + 1) : 0;
    const int64_t asleep_ms = n->gw.in_doubt ? tolerant_ms(n->gw.sleep_s) : 0;
    return sign_ms + (patience_ms(n) > asleep_ms ? patience_ms(n) : asleep_ms) + awake_ms;
}

static void judge_silence(struct chaos *x, const struct chaos_node *n)
{
    const struct watched *gw = &n->gw;
    const int64_t sign_ms = gw->heard_ms > gw->since_ms ? gw->heard_ms : gw->since_ms;
    if (chaos_now(x) < sign_ms + patience_ms(n))
        chaos_fail(x, "%s is given up %lld ms after its latest sign of life", n->id,
                   (long long)(chaos_now(x) - sign_ms));
    if (chaos_now(x) > latest_ms(x, n))
        chaos_fail(x, "%s is given up %lld ms too late", n->id,
                   (long long)(chaos_now(x) - latest_ms(x, n)));
}

void watch_due(struct chaos *x, struct chaos_node *n)
{
    if (n->gw.connected && !x->down && chaos_now(x) > latest_ms(x, n))
        chaos_fail(x, "%s is still not given up, %lld ms too late", n->id,
                   (long long)(chaos_now(x) - latest_ms(x, n)));
}

static void on_lost(struct chaos *x, struct chaos_node *n, bool silence)
{
    static const uint64_t none = UINT64_C(1) << WILL_NONE;

    x->totals->losses++;
    if (silence)
        judge_silence(x, n);
    else if (n->gw.clean)
        return; /* its address is another's: no loss of a clean session */
    n->gw.mourned = (n->will & none) == 0;
    if (n->gw.mourned)
        n->gw.wills_min++;
    if ((n->will & ~none) != 0)
        n->gw.wills_max++;
    n->gw.will[1] = n->gw.will[0];
    n->gw.will[0] = n->will;
}

/* ---- the log --------------------------------------------------------------------------------- */

static struct chaos_node *named(struct chaos *x, const char *id)
{
    const unsigned long index = strtoul(id + 1, NULL, 10);
    if (index >= x->n_nodes)
        abort();
    return &x->nodes[index];
}

static void session_ended(struct chaos_node *n)
{
    judge_session_ended(n);
    n->will = UINT64_C(1) << WILL_NONE;
    n->era++;
}

static void on_state(struct chaos *x, const char *text)
{
    char id[16], old[16], new[16], why[24];
    if (sscanf(text, "client=%15s old=%15s new=%15s why=%23s", id, old, new, why) != 4)
        abort();
    struct chaos_node *n = named(x, id);
    struct watched *gw = &n->gw;
    const bool lost = strcmp(new, "lost") == 0;
    const bool connecting = strcmp(new, "connecting") == 0;
    if (lost)
        on_lost(x, n, strcmp(why, "silence") == 0);
    /* A clean session ends with its connection, except that a sleeper's goes on in CONNECT. */
    const bool sleeps = gw->asleep || gw->awake;
    const bool over = lost || strcmp(new, "disconnected") == 0;
    if ((gw->clean && (over || (connecting && !sleeps))) || (connecting && gw->connect_clean))
        session_ended(n);
    if (strcmp(why, "accepted") == 0 && gw->connect_will)
        n->will = UINT64_C(1) << WILL_CONNECT;
    gw->in_doubt = strcmp(new, "active") == 0 && strcmp(why, "connect") == 0;
    gw->asleep = strcmp(new, "asleep") == 0;
    gw->awake = strcmp(new, "awake") == 0;
    gw->connected = gw->asleep || gw->awake || strcmp(new, "active") == 0;
    gw->since_ms = chaos_now(x);
    gw->mourned = gw->mourned && lost;
    if (connecting || strcmp(new, "active") == 0) {
        gw->address = gw->connect_address;
        gw->clean = gw->connect_clean;
    }
    if (gw->awake)
        x->totals->wakes++;
}

static void on_drop(struct chaos *x, const char *text)
{
    char id[16];
    if (sscanf(text, "client=%15s", id) != 1)
        abort();
    named(x, id)->drops++;
    if (strstr(text, "why=drop.refused_by_client") != NULL)
        x->totals->refused_drops++;
    else
        x->totals->quota_drops++;
}

/* The log of one node, in between its packets. */
static void trace(const struct chaos *x, const struct log_record *record)
{
    char key[24];
    if (x->options.trace < 0 || x->options.trace >= (int)x->n_nodes)
        return;
    snprintf(key, sizeof key, "client=%s ", x->nodes[x->options.trace].id);
    if (strstr(record->text, key) != NULL)
        printf("%12.3f  %s: %s\n", (double)(chaos_now(x) - START_MS) / 1000, record->event,
               record->text);
}

void watch_log(void *chaos, const struct log_record *record)
{
    struct chaos *x = chaos;
    trace(x, record);
    if (strcmp(record->event, "client.state") == 0)
        on_state(x, record->text);
    else if (strcmp(record->event, "message.dropped") == 0)
        on_drop(x, record->text);
    else if (strcmp(record->event, "log.dropped") == 0)
        chaos_fail(x, "the log has run over");
}

/* ---- wills ----------------------------------------------------------------------------------- */

static struct chaos_node *of_will(struct chaos *x, struct bytes topic)
{
    char text[16] = "";
    if (topic.len < 3 || topic.len >= sizeof text)
        abort();
    memcpy(text, topic.data, topic.len);
    return named(x, text + 1);
}

void watch_will(struct chaos *x, struct bytes topic, struct bytes data)
{
    struct chaos_node *n = of_will(x, topic);
    struct watched *gw = &n->gw;
    char text[24] = "";
    unsigned generation = WILL_EMPTY;
    memcpy(text, data.data != NULL ? (const char *)data.data : "",
           data.len < sizeof text ? data.len : sizeof text - 1);
    if (data.len > 0 && sscanf(text, "%*u.%u", &generation) != 1)
        abort();
    x->totals->wills++;
    gw->wills++;
    if (n->hasty)
        return;
    if (gw->wills > gw->wills_max)
        chaos_fail(x, "the will of %s is published, but it was not lost", n->id);
    if (((gw->will[0] | gw->will[1]) >> generation & 1) == 0)
        chaos_fail(x, "the will of %s is not the one in force, but %u", n->id, generation);
}

void watch_will_broken(struct chaos *x, const struct sim_ask *ask, bool arrived)
{
    struct watched *gw = &of_will(x, body_bytes(ask->topic))->gw;
    if (ask->qos == 0 && !arrived && gw->wills_min > 0)
        gw->wills_min--;
    if (ask->qos == 1 && arrived) {
        gw->wills_max++;
        gw->wills_min++;
    }
}

static uint64_t will_of(const struct sn_client *c)
{
    char text[24] = "";
    unsigned generation = WILL_EMPTY;
    if (c->will == NULL)
        return UINT64_C(1) << WILL_NONE;
    const struct bytes data = body_bytes(c->will->body);
    if (data.len > 0)
        memcpy(text, data.data, data.len < sizeof text ? data.len : sizeof text - 1);
    if (data.len > 0 && sscanf(text, "%*u.%u", &generation) != 1)
        abort();
    return UINT64_C(1) << generation;
}

/* What has happened to it since the latest commit has not happened, though perhaps its will was
 * published already. */
void watch_restarted(struct chaos *x, struct chaos_node *n, const struct sn_client *c)
{
    struct watched *gw = &n->gw;
    if (c == NULL) {
        if (gw->connected)
            session_ended(n);
        gw->connected = gw->asleep = gw->awake = gw->in_doubt = false;
        return;
    }
    gw->connected = sn_client_connected(c);
    if (gw->connected && gw->mourned)
        gw->wills_min--;
    gw->mourned = false;
    gw->asleep = c->state == SN_ST_ASLEEP;
    gw->awake = false;
    gw->in_doubt = false;
    gw->since_ms = chaos_now(x);
    gw->sleep_s = c->sleep_s;
    gw->clean = c->clean;
    gw->address = sn_client_peer(c) != NULL ? air_address(sn_client_peer(c)) : NO_ADDRESS;
    n->will |= will_of(c);
}

/* ---- packets --------------------------------------------------------------------------------- */

static bool is_answer(enum sn_type answer, uint8_t request)
{
    return (request == SN_REGISTER && answer == SN_REGACK) ||
           (request == SN_PUBREL && answer == SN_PUBCOMP) ||
           (request == SN_PUBLISH && (answer == SN_PUBACK || answer == SN_PUBREC));
}

/* Whoever connects or wakes at an address takes it from a sleeper that had it: what comes from there
 * is not the sleeper's any more, if it does not carry its client id. */
static void take_from_others(struct chaos *x, const struct chaos_node *n, unsigned address)
{
    if (address >= FIRST_FORWARDER)
        return;
    for (unsigned i = 0; i < x->n_nodes; i++) {
        struct watched *other = &x->nodes[i].gw;
        if (&x->nodes[i] != n && other->address == address)
            other->address = NO_ADDRESS;
    }
}

void watch_to_gateway(struct chaos *x, struct chaos_node *n, unsigned address,
                      const struct sn_packet *p)
{
    struct watched *gw = &n->gw;
    gw->heard_any_ms = chaos_now(x);
    if (p->type == SN_CONNECT || (p->type == SN_PINGREQ && p->client_id.len > 0))
        take_from_others(x, n, address);
    if (p->type == SN_CONNECT) {
        gw->connect_address = address;
        gw->connect_clean = p->clean;
        gw->connect_will = p->will;
    }
    if (p->type == SN_PINGREQ && p->client_id.len > 0 && (gw->asleep || gw->awake))
        gw->address = address;
    if (address == gw->address)
        gw->heard_ms = chaos_now(x);
    if (p->type == SN_DISCONNECT && p->duration_s > 0 && address == gw->address && gw->connected)
        gw->sleep_s = p->duration_s;
    if (!gw->answered && p->msg_id == gw->request_id && is_answer(p->type, gw->request)) {
        gw->answered = true;
        gw->publish_answered = gw->publish_answered || gw->request == SN_PUBLISH;
        x->totals->gw_answered += !x->calm;
    }
}

/* Of the node: its id is a letter and that. */
static unsigned number_of(const struct sn_client *c)
{
    unsigned n = 0;
    for (unsigned i = 1; i < c->id_len; i++)
        n = n * 10 + (c->id[i] - '0');
    return n;
}

/* Its own requests: REGISTER, PUBLISH of QoS 1 and 2, PUBREL. A PUBLISH that is taken up again after
 * something else, without having been answered, is a repetition. */
void watch_from_gateway(struct chaos *x, const struct peer *to, const struct sn_packet *p)
{
    const bool publish = p->type == SN_PUBLISH && p->qos != SN_QOS_0;
    if (!publish && p->type != SN_REGISTER && p->type != SN_PUBREL)
        return;
    /* Whoever may hear it: it is meant for the session that has this address. */
    const struct sn_client *c = sn_client_by_peer(x->w.engine, to);
    if (c == NULL)
        return;
    struct watched *gw = &x->nodes[number_of(c)].gw;
    const bool same = gw->request == p->type && gw->request_id == p->msg_id;
    const bool again = publish && gw->publish_id == p->msg_id && !gw->publish_answered;
    if (same || again)
        x->totals->gw_repeated += !x->calm;
    else
        x->totals->gw_requests += !x->calm;
    if (same)
        return;
    gw->request = (uint8_t)p->type;
    gw->request_id = p->msg_id;
    gw->answered = false;
    if (publish) {
        gw->publish_id = p->msg_id;
        gw->publish_answered = false;
    }
}

/* What is sent without an event of its own is left out: REGISTER in front of PUBLISH. */
void watch_answered(struct chaos *x, const struct chaos_node *n, const struct snc_event *event)
{
    const bool asked = event->type != SNC_MESSAGE && event->type != SNC_TIMEOUT &&
                       !(event->type == SNC_DISCONNECTED && event->by_gateway) &&
                       !(event->type == SNC_PUBLISHED && event->qos == SN_QOS_0);
    if (x->calm || !asked)
        return;
    x->totals->node_answered++;
    if (event->type == SNC_PUBLISHED && event->qos == SN_QOS_2 && event->return_code == SN_ACCEPTED)
        x->totals->node_answered++; /* PUBLISH and PUBREL */
    if (event->type == SNC_CONNECTED && n->will == UINT64_C(1) << WILL_CONNECT)
        x->totals->node_answered += 2; /* CONNECT, WILLTOPIC and WILLMSG */
}
