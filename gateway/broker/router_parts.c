/* SPDX-License-Identifier: Apache-2.0 */
/* The parts at the brokers that a filter comes to. */
#include "broker/router_parts.h"

#include <stdlib.h>

#include "broker/router_topics.h"

enum { QOS_MAX = 2, PENDS_MAX = UINT16_MAX / 2 /* per client, so that tokens are to be had */ };

/* ---- cutting a filter ------------------------------------------------------------------------ */

static bool is_known_piece(const struct router *r, const struct piece *like)
{
    for (size_t i = 0; i < r->n_pieces; i++) {
        struct piece *p = &r->pieces[i];
        if (p->broker != like->broker ||
            !bytes_equal(texts_at(&r->names, p->text), texts_at(&r->names, like->text)))
            continue;
        p->required |= like->required;
        if (p->most_qos < like->most_qos)
            p->most_qos = like->most_qos;
        return true;
    }
    return false;
}

/* False: out of memory. */
static bool add_piece(struct router *r, const struct piece *piece)
{
    if (is_known_piece(r, piece))
        return true;
    if (r->n_pieces == r->cap_pieces) {
        const size_t cap = r->cap_pieces > 0 ? r->cap_pieces * 2 : 8;
        struct piece *grown = realloc(r->pieces, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        r->pieces = grown;
        r->cap_pieces = cap;
    }
    r->pieces[r->n_pieces++] = *piece;
    return true;
}

/* Brokers to whom an earlier route gives all topics of the cut are not this route's. */
static uint32_t own_brokers(const struct naming *n, uint32_t way, struct bytes cut)
{
    uint32_t mask = n->ways[way].route->brokers;
    for (uint32_t i = 0; i < way && mask != 0; i++) {
        const struct way *earlier = &n->ways[i];
        if (earlier->route->down && (earlier->route->brokers & mask) != 0 &&
            topics_cover(earlier->from, cut))
            mask &= ~earlier->route->brokers;
    }
    return mask;
}

static enum sn_outcome add_pieces(struct router *r, const struct route *route, uint32_t mask,
                                  struct span text)
{
    struct piece piece = {
        .text = text,
        .most_qos = route != NULL && route->qos >= 0 ? (uint8_t)route->qos : QOS_MAX,
        .required = route == NULL || route->required,
    };
    for (piece.broker = 0; piece.broker < r->config.n_brokers; piece.broker++) {
        if (has_broker(mask, piece.broker) && !add_piece(r, &piece))
            return SN_REFUSED_BUSY;
    }
    return SN_OK;
}

/* What the filter has in common with one route's. */
static enum sn_outcome cut_by_way(struct router *r, const struct naming *n, uint32_t i,
                                  struct bytes filter)
{
    const struct way *way = &n->ways[i];
    struct writer w = texts_room(&r->names, way->from.len + filter.len + 1);
    if (w.buf == NULL)
        return SN_REFUSED_BUSY;
    if (!topics_intersect(way->from, filter, &w))
        return SN_OK;
    const struct span cut = {.at = r->names.len, .len = w.len};
    r->names.len += cut.len;
    const uint32_t mask = own_brokers(n, i, texts_at(&r->names, cut));
    if (mask == 0)
        return SN_OK;
    /* So that the cut does not move while it is renamed. */
    if (texts_room(&r->names, cut.len + way->to.len + 1).buf == NULL)
        return SN_REFUSED_BUSY;
    struct span text;
    const enum sn_outcome named = naming_at_broker(r, n, way, texts_at(&r->names, cut), &text);
    if (named == SN_OK)
        return add_pieces(r, way->route, mask, text);
    if (way->route->required || named == SN_REFUSED_BUSY)
        return named;
    r->gauges.unheeded++;
    return SN_OK;
}

/* The pieces of a filter, in router.pieces. */
static enum sn_outcome cut(struct router *r, const struct naming *n, struct bytes filter)
{
    bool whole = false; /* one route has it all */
    r->names.len = 0;
    r->n_pieces = 0;
    for (uint32_t i = 0; i < n->n_ways; i++) {
        if (!n->ways[i].route->down)
            continue;
        const enum sn_outcome outcome = cut_by_way(r, n, i, filter);
        if (outcome != SN_OK)
            return outcome;
        whole |= topics_cover(n->ways[i].from, filter);
    }
    if (whole)
        return SN_OK;
    struct span text;
    const enum sn_outcome named = naming_at_broker(r, n, NULL, filter, &text);
    return named == SN_OK ? add_pieces(r, NULL, r->config.rest, text) : named;
}

/* ---- SUBSCRIBEs under way -------------------------------------------------------------------- */

struct pend *pend_find(const struct router *r, uint64_t client, uint16_t token)
{
    struct hmap_node *n = hmap_first(&r->pends, token_hash(r, client, token));
    return n != NULL ? container_of(n, struct pend, by_token) : NULL;
}

struct pend *pend_new(struct router *r, struct part *part, struct want *w, struct ask *a)
{
    struct client *c = part->client;
    struct pend *p = c->n_pends < PENDS_MAX ? router_alloc(r, sizeof *p) : NULL;
    if (p == NULL)
        return NULL;
    c->n_pends++;
    while (pend_find(r, c->key, c->next_subscribe_token) != NULL)
        c->next_subscribe_token++;
    *p = (struct pend){.part = part, .want = w, .ask = a, .token = c->next_subscribe_token++};
    list_init(&p->of_part);
    list_push_back(&part->pends, &p->of_part);
    hmap_insert(&r->pends, &p->by_token, token_hash(r, c->key, p->token));
    return p;
}

void pend_free(struct router *r, struct pend *p)
{
    p->part->client->n_pends--;
    hmap_remove(&r->pends, &p->by_token);
    list_unlink(&p->of_part);
    router_release(r, p, sizeof *p);
}

bool pend_send(struct router *r, struct pend *p)
{
    struct part *part = p->part;
    p->qos = part_qos(part);
    const struct sn_request request = {
        .type = SN_REQ_SUBSCRIBE,
        .client = part->client->key,
        .token = p->token,
        .subscribe = {.filter = bytes_of(part->text, part->len), .qos = p->qos},
    };
    if (!router_ask(r, part->broker, &request))
        return false;
    p->sent = true;
    part->asked = true;
    return true;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static struct tie *tie_of(struct list *link)
{
    return container_of(link, struct tie, of_part);
}

bool part_stays(const struct part *p)
{
    list_foreach (link, &p->ties) {
        const struct tie *t = tie_of(link);
        const struct want *w = t->want;
        if (w->n_old == 0 || t < w->old || t >= w->old + w->n_old)
            return true;
    }
    return false;
}

uint8_t part_qos(const struct part *p)
{
    uint8_t most = 0;
    list_foreach (link, &p->ties) {
        const struct tie *t = tie_of(link);
        const uint8_t qos = t->want->qos < t->most_qos ? t->want->qos : t->most_qos;
        most = qos > most ? qos : most;
    }
    return most;
}

void part_owe(struct router *r, struct part *p)
{
    if (!list_linked(&p->owed))
        list_push_back(&r->brokers[p->broker].owed_parts, &p->owed);
    router_retry_later(r, p->broker);
}

void part_reckon(struct router *r, struct part *p)
{
    const uint8_t wanted = part_qos(p);
    const bool over = p->granted > wanted;
    if (over && !p->over)
        p->client->n_over++;
    if (!over && p->over)
        p->client->n_over--;
    p->over = over;
    if (p->held && p->qos < wanted && list_empty(&p->pends)) {
        p->held = false; /* not as it is wanted */
        part_owe(r, p);
    }
}

void parts_reckon(struct router *r, const struct want *w)
{
    for (uint32_t i = 0; i < w->n_ties; i++)
        part_reckon(r, w->ties[i].part);
}

static struct part *part_find(const struct client *c, unsigned broker, struct bytes text)
{
    list_foreach (link, &c->parts) {
        struct part *p = container_of(link, struct part, of_client);
        if (p->broker == broker && bytes_equal(bytes_of(p->text, p->len), text))
            return p;
    }
    return NULL;
}

static struct part *part_get(struct router *r, struct client *c, const struct piece *piece)
{
    const struct bytes text = texts_at(&r->names, piece->text);
    struct part *p = part_find(c, piece->broker, text);
    if (p != NULL)
        return p;
    p = router_alloc(r, sizeof *p + text.len);
    if (p == NULL)
        return NULL;
    p->client = c;
    p->broker = (uint8_t)piece->broker;
    p->len = (uint32_t)text.len;
    if (text.len > 0)
        memcpy(p->text, text.data, text.len);
    list_init(&p->of_client);
    list_init(&p->ties);
    list_init(&p->pends);
    list_init(&p->owed);
    list_push_back(&c->parts, &p->of_client);
    return p;
}

/* When nobody needs it any more. */
static void part_settle(struct router *r, struct part *p, bool tell_brokers)
{
    if (!list_empty(&p->ties)) {
        part_reckon(r, p);
        return;
    }
    while (!list_empty(&p->pends))
        pend_free(r, container_of(list_first(&p->pends), struct pend, of_part));
    if (tell_brokers && p->asked) {
        router_ask(r, p->broker,
                   &(struct sn_request){.type = SN_REQ_UNSUBSCRIBE,
                                        .client = p->client->key,
                                        .token = p->client->next_subscribe_token++,
                                        .unsubscribe = {.filter = bytes_of(p->text, p->len)}});
    }
    if (p->over)
        p->client->n_over--;
    list_unlink(&p->owed);
    list_unlink(&p->of_client);
    router_release(r, p, sizeof *p + p->len);
}

/* ---- wants ----------------------------------------------------------------------------------- */

static void forget_pends(struct router *r, struct part *p, const struct want *w)
{
    list_foreach_safe (link, next, &p->pends) {
        struct pend *pend = container_of(link, struct pend, of_part);
        if (pend->want == w)
            pend_free(r, pend);
    }
}

static void untie(struct router *r, struct want *w, struct tie *ties, uint32_t n, bool tell_brokers)
{
    for (uint32_t i = 0; i < n; i++) {
        struct part *p = ties[i].part;
        list_unlink(&ties[i].of_part);
        forget_pends(r, p, w);
        part_settle(r, p, tell_brokers);
    }
    router_release(r, ties, n * sizeof *ties);
}

/* Ties the want to the parts of router.pieces. False: out of memory; there are none then. */
static bool tie_all(struct router *r, struct want *w)
{
    const uint32_t n = (uint32_t)r->n_pieces;
    w->ties = n > 0 ? router_alloc(r, n * sizeof *w->ties) : NULL;
    w->n_ties = 0;
    bool ok = n == 0 || w->ties != NULL;
    for (uint32_t i = 0; ok && i < n; i++) {
        struct part *p = part_get(r, w->client, &r->pieces[i]);
        ok = p != NULL;
        if (!ok)
            break;
        struct tie *t = &w->ties[w->n_ties++];
        *t = (struct tie){.part = p,
                          .want = w,
                          .most_qos = r->pieces[i].most_qos,
                          .required = r->pieces[i].required};
        list_init(&t->of_part);
        list_push_back(&p->ties, &t->of_part);
    }
    if (ok)
        return true;
    for (uint32_t i = 0; i < w->n_ties; i++) {
        struct part *p = w->ties[i].part;
        list_unlink(&w->ties[i].of_part);
        part_settle(r, p, false);
    }
    router_release(r, w->ties, n * sizeof *w->ties);
    w->ties = NULL;
    w->n_ties = 0;
    return false;
}

struct want *want_find(const struct client *c, struct bytes filter)
{
    list_foreach (link, &c->wants) {
        struct want *w = container_of(link, struct want, of_client);
        if (bytes_equal(want_text(w), filter))
            return w;
    }
    return NULL;
}

struct want *want_new(struct router *r, struct client *c, struct bytes filter,
                      enum sn_outcome *outcome)
{
    *outcome = cut(r, c->naming, filter);
    if (*outcome == SN_REFUSED_NEVER)
        router_log_unnamed(r, c, "subscribe", filter);
    if (*outcome != SN_OK)
        return NULL;
    *outcome = SN_REFUSED_BUSY;
    struct want *w = router_alloc(r, sizeof *w + filter.len);
    if (w == NULL)
        return NULL;
    w->client = c;
    w->len = (uint32_t)filter.len;
    if (filter.len > 0)
        memcpy(w->text, filter.data, filter.len);
    list_init(&w->of_client);
    list_init(&w->asks);
    if (!tie_all(r, w)) {
        router_release(r, w, sizeof *w + w->len);
        return NULL;
    }
    list_push_back(&c->wants, &w->of_client);
    c->n_wants++;
    return w;
}

void want_untie_old(struct router *r, struct want *w, bool tell_brokers)
{
    for (uint32_t i = 0; i < w->n_old; i++) {
        struct part *p = w->old[i].part;
        list_unlink(&w->old[i].of_part);
        part_settle(r, p, tell_brokers);
    }
    router_release(r, w->old, w->n_old * sizeof *w->old);
    w->old = NULL;
    w->n_old = 0;
}

static void drop_asks(struct router *r, struct want *w)
{
    while (!list_empty(&w->asks)) {
        struct ask *a = container_of(list_first(&w->asks), struct ask, of_want);
        list_unlink(&a->of_want);
        router_release(r, a, sizeof *a);
    }
    w->qos = w->granted;
}

void want_free(struct router *r, struct want *w, bool tell_brokers)
{
    record_forget_want(r, w);
    want_untie_old(r, w, tell_brokers);
    untie(r, w, w->ties, w->n_ties, tell_brokers);
    drop_asks(r, w);
    list_unlink(&w->of_client);
    w->client->n_wants--;
    router_release(r, w, sizeof *w + w->len);
}

/* The old parts go last, so that what stays is not unsubscribed. */
bool want_retie(struct router *r, struct want *w, enum sn_outcome *outcome)
{
    struct tie *old = w->ties;
    const uint32_t n_old = w->n_ties;
    *outcome = cut(r, w->client->naming, want_text(w));
    w->ties = NULL;
    w->n_ties = 0;
    const bool tied = *outcome == SN_OK && tie_all(r, w);
    if (*outcome == SN_OK && !tied)
        *outcome = SN_REFUSED_BUSY;
    untie(r, w, old, n_old, true); /* and what was under way */
    drop_asks(r, w);
    return tied;
}

bool want_tie_anew(struct router *r, struct want *w, enum sn_outcome *outcome)
{
    struct tie *const old = w->ties;
    const uint32_t n_old = w->n_ties;
    *outcome = cut(r, w->client->naming, want_text(w));
    w->ties = NULL;
    w->n_ties = 0;
    if (*outcome == SN_OK && !tie_all(r, w))
        *outcome = SN_REFUSED_BUSY;
    if (*outcome != SN_OK) {
        w->ties = old;
        w->n_ties = n_old;
        return false;
    }
    for (uint32_t i = 0; i < n_old; i++)
        forget_pends(r, old[i].part, w);
    w->old = old;
    w->n_old = n_old;
    return true;
}
