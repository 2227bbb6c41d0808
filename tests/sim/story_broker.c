/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker side in words. Requests, as expected by `broker <`:
 *
 *     OPEN client=dev1 [clean] keepalive=60 [will=TOPIC "message" qos=1 retain]
 *     PUBLISH client=dev1|nobody topic=TOPIC qos=1 [retain] "data"      (shared: no client)
 *     SUBSCRIBE client=dev1 qos=1 FILTER        UNSUBSCRIBE client=dev1 FILTER
 *     SET_WILL client=dev1 [will=TOPIC "message" qos=1 retain]
 *     DELIVERED client=dev1 id=7 [dropped]      CLOSE client=dev1 normal|lost [discard]
 *
 * and answers, as given by `broker >`, with ok, busy, never or doubt:
 *
 *     OPENED ok [present]    PUBLISHED ok    SUBSCRIBED ok [qos=1]    UNSUBSCRIBED    CLOSED
 * client=.. MESSAGE topic=TOPIC "data" to=dev1 qos=1 id=7 retain  to=...      (shared: qos=1
 * retain)
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#include "sim/story_priv.h"

static const char *const ask_names[ASK_TYPES] = {
    [ASK_OPEN] = "OPEN",           [ASK_PUBLISH] = "PUBLISH",
    [ASK_SUBSCRIBE] = "SUBSCRIBE", [ASK_UNSUBSCRIBE] = "UNSUBSCRIBE",
    [ASK_SET_WILL] = "SET_WILL",   [ASK_DELIVERED] = "DELIVERED",
    [ASK_CLOSE] = "CLOSE",
};

/* ---- clients by name ------------------------------------------------------------------------- */

static struct story_client *find_client(struct story *s, struct bytes name)
{
    for (unsigned i = 0; i < s->n_clients; i++) {
        if (bytes_equal(bytes_str(s->clients[i].name), name))
            return &s->clients[i];
    }
    return NULL;
}

static void learn_key(struct story *s, struct bytes name, uint64_t key)
{
    struct story_client *c = find_client(s, name);
    if (c == NULL && (s->n_clients == STORY_CLIENTS || name.len >= STORY_NAME)) {
        story_fail(s, "too many clients, or one with too long a name");
        return;
    }
    if (c == NULL) {
        c = &s->clients[s->n_clients++];
        memcpy(c->name, name.data, name.len);
    }
    if (c->n_keys > 0 && c->keys[c->n_keys - 1] == key)
        return;
    if (c->n_keys == STORY_KEYS) {
        memmove(c->keys, c->keys + 1, (STORY_KEYS - 1) * sizeof c->keys[0]);
        c->n_keys--;
    }
    c->keys[c->n_keys++] = key;
}

static bool client_key(struct story *s, struct bytes name, uint64_t *out)
{
    *out = SN_NO_CLIENT;
    if (bytes_equal(name, bytes_str("nobody")))
        return true;
    const uint8_t *at = name.len > 0 ? memchr(name.data, '@', name.len) : NULL;
    unsigned ordinal = 0;
    if (at != NULL && at + 2 == name.data + name.len) {
        ordinal = (unsigned)(at[1] - '0');
        name.len -= 2;
    }
    const struct story_client *c = find_client(s, name);
    if (c == NULL || c->n_keys == 0 || ordinal > c->n_keys) {
        story_fail(s, "no client '%.*s' was opened", (int)name.len, (const char *)name.data);
        return false;
    }
    *out = c->keys[ordinal > 0 ? ordinal - 1 : c->n_keys - 1];
    return true;
}

static void put_client(const struct story *s, struct text *t, uint64_t key)
{
    text_word(t, " client=");
    if (key == SN_NO_CLIENT) {
        text_word(t, "nobody");
        return;
    }
    for (unsigned i = 0; i < s->n_clients; i++) {
        for (unsigned k = 0; k < s->clients[i].n_keys; k++) {
            if (s->clients[i].keys[k] != key)
                continue;
            text_word(t, s->clients[i].name);
            if (k + 1 < s->clients[i].n_keys) {
                text_word(t, "@");
                text_dec(t, k + 1);
            }
            return;
        }
    }
    text_word(t, "?");
}

/* ---- printing -------------------------------------------------------------------------------- */

static void put_message(struct text *t, const struct sim_ask *a, const char *key)
{
    text_word(t, key);
    text_quoted(t, body_bytes(a->topic), 64);
    text_word(t, " ");
    text_quoted(t, body_bytes(a->data), 64);
    text_word(t, " qos=");
    text_dec(t, a->qos);
    if (a->retain)
        text_word(t, " retain");
}

void story_print_ask(const struct story *s, const struct sim_ask *a, char *out, size_t size)
{
    struct text t = text_to(out, size);
    text_word(&t, ask_names[a->type]);
    if (!s->config.has_shared && a->type != ASK_OPEN)
        put_client(s, &t, a->client);
    switch (a->type) {
    case ASK_OPEN:
        text_word(&t, " client=");
        text_escaped(&t, body_bytes(a->client_id));
        text_word(&t, a->clean ? " clean keepalive=" : " keepalive=");
        text_dec(&t, a->keep_alive_s);
        if (a->topic != NULL)
            put_message(&t, a, " will=");
        break;
    case ASK_PUBLISH:
        put_message(&t, a, " topic=");
        break;
    case ASK_SUBSCRIBE:
        text_word(&t, " qos=");
        text_dec(&t, a->qos);
        text_word(&t, " ");
        text_quoted(&t, body_bytes(a->topic), 64);
        break;
    case ASK_UNSUBSCRIBE:
        text_word(&t, " ");
        text_quoted(&t, body_bytes(a->topic), 64);
        break;
    case ASK_SET_WILL:
        if (a->topic != NULL)
            put_message(&t, a, " will=");
        break;
    case ASK_DELIVERED:
        text_word(&t, " id=");
        text_dec(&t, a->delivery_id);
        text_word(&t, a->dropped ? " dropped" : "");
        break;
    case ASK_CLOSE:
        text_word(&t, a->lost ? " lost" : " normal");
        text_word(&t, a->discard ? " discard" : "");
        break;
    case ASK_TYPES:
        break;
    }
}

/* ---- expected requests ----------------------------------------------------------------------- */

struct expected {
    struct sim_ask ask;
    struct bytes client; /* name */
    struct story_hole token;
    bool says_token;
    bool says_subscriptions;
};

static void set_body(struct body **at, struct bytes text)
{
    body_unref(*at);
    *at = text.len > 0 ? body_new(text) : NULL;
}

static void set_filler(struct story *s, struct body **at, const struct story_word *w)
{
    uint64_t n;
    if (!story_number(s, w, 100000, &n))
        return;
    uint8_t *filler = malloc(n + 1);
    if (filler == NULL)
        abort();
    memset(filler, 'x', n);
    set_body(at, bytes_of(filler, n));
    free(filler);
}

static void expect_field(struct story *s, const struct story_word *w, struct expected *x)
{
    struct sim_ask *a = &x->ask;
    uint64_t n = 0;
    if (strcmp(w->key, "client") == 0) {
        x->client = w->value;
    } else if (strcmp(w->key, "token") == 0) {
        x->says_token = true;
        if (story_number_or_hole(s, w, UINT64_MAX, &n, &x->token))
            a->token = n;
    } else if (strcmp(w->key, "topic") == 0 || strcmp(w->key, "will") == 0) {
        set_body(&a->topic, w->value);
    } else if (strcmp(w->key, "bytes") == 0) {
        set_filler(s, &a->data, w);
    } else if (strcmp(w->key, "qos") == 0 && story_number(s, w, 2, &n)) {
        a->qos = (uint8_t)n;
    } else if (strcmp(w->key, "keepalive") == 0 && story_number(s, w, UINT16_MAX, &n)) {
        a->keep_alive_s = (uint16_t)n;
    } else if (strcmp(w->key, "id") == 0 && story_number(s, w, UINT32_MAX, &n)) {
        a->delivery_id = (uint32_t)n;
    } else if (strcmp(w->key, "max_subscriptions") == 0 && story_number(s, w, UINT32_MAX, &n)) {
        a->max_subscriptions = (uint32_t)n;
        x->says_subscriptions = true;
    } else {
        story_fail(s, "unknown word '%s=' in a request", w->key);
    }
}

static void expect_word(struct story *s, const struct story_word *w, struct expected *x)
{
    struct sim_ask *a = &x->ask;

    const struct {
        const char *word;
        bool *flag;
    } flags[] = {
        {"retain",  &a->retain },
        {"clean",   &a->clean  },
        {"dropped", &a->dropped},
        {"lost",    &a->lost   },
        {"discard", &a->discard},
    };

    for (size_t i = 0; !w->quoted && i < sizeof flags / sizeof flags[0]; i++) {
        if (story_word_is(w, flags[i].word)) {
            *flags[i].flag = true;
            return;
        }
    }
    if (a->type == ASK_SUBSCRIBE || a->type == ASK_UNSUBSCRIBE)
        set_body(&a->topic, w->value);
    else if (a->type == ASK_PUBLISH || a->type == ASK_OPEN || a->type == ASK_SET_WILL)
        set_body(&a->data, w->value);
    else if (a->type != ASK_CLOSE || !story_word_is(w, "normal"))
        story_fail(s, "unknown word '%.*s' in a request", (int)w->value.len,
                   (const char *)w->value.data);
}

static void parse_expected(struct story *s, const struct story_line *line, struct expected *x)
{
    *x = (struct expected){.ask = {.type = ASK_TYPES}};
    for (unsigned i = 0; line->count > 2 && i < ASK_TYPES; i++) {
        if (story_word_is(&line->words[2], ask_names[i]))
            x->ask.type = (enum sim_ask_type)i;
    }
    if (x->ask.type == ASK_TYPES) {
        story_fail(s, "a request is needed: OPEN, PUBLISH, SUBSCRIBE, ...");
        return;
    }
    for (unsigned i = 3; i < line->count && !s->failed; i++) {
        const struct story_word *w = &line->words[i];
        if (w->key[0] != '\0')
            expect_field(s, w, x);
        else
            expect_word(s, w, x);
    }
    if (s->failed || s->config.has_shared)
        return;
    if (x->ask.type == ASK_OPEN)
        set_body(&x->ask.client_id, x->client);
    else
        client_key(s, x->client, &x->ask.client);
}

static bool body_same(const struct body *a, const struct body *b)
{
    return bytes_equal(body_bytes(a), body_bytes(b));
}

static bool is_expected(const struct expected *x, const struct sim_ask *got)
{
    const struct sim_ask *a = &x->ask;
    return a->type == got->type && (a->type == ASK_OPEN || a->client == got->client) &&
           body_same(a->client_id, got->client_id) && body_same(a->topic, got->topic) &&
           body_same(a->data, got->data) && a->qos == got->qos && a->retain == got->retain &&
           a->clean == got->clean && a->dropped == got->dropped && a->lost == got->lost &&
           a->discard == got->discard && a->keep_alive_s == got->keep_alive_s &&
           a->delivery_id == got->delivery_id &&
           (!x->says_token || x->token.open || a->token == got->token) &&
           (!x->says_subscriptions || a->max_subscriptions == got->max_subscriptions);
}

static void take_expected(struct story *s, const struct expected *x, struct sim_ask *got)
{
    char wanted[STORY_PAST_LINE / 2];
    char text[STORY_PAST_LINE / 2];
    story_print_ask(s, got, text, sizeof text);
    if (!is_expected(x, got)) {
        story_print_ask(s, &x->ask, wanted, sizeof wanted);
        story_fail(s, "expected   broker < %s\n    but got  broker < %s", wanted, text);
        return;
    }
    if (got->type == ASK_OPEN)
        learn_key(s, body_bytes(got->client_id), got->client);
    if (x->says_token)
        story_fill(s, &x->token, got->token);
    s->latest[got->type].client = got->client;
    s->latest[got->type].token = got->token;
    s->latest[got->type].qos = got->qos;
    s->latest[got->type].any = true;
    story_note(s, "broker < %s", text);
}

void story_expect_ask(struct story *s, const struct story_line *line)
{
    struct expected x;
    parse_expected(s, line, &x);
    struct sim_ask *got = s->failed ? NULL : sim_take_ask(&s->world);
    if (!s->failed && got == NULL) {
        char wanted[STORY_PAST_LINE / 2];
        story_print_ask(s, &x.ask, wanted, sizeof wanted);
        story_fail(s, "expected   broker < %s\n    but there was no request", wanted);
    }
    if (got != NULL) {
        take_expected(s, &x, got);
        sim_ask_free(got);
    }
    body_unref(x.ask.client_id);
    body_unref(x.ask.topic);
    body_unref(x.ask.data);
}

/* ---- answers --------------------------------------------------------------------------------- */

enum { MOST_RECIPIENTS = 8 };

/* The words of an answer, for either seam. */
struct told {
    unsigned outcome; /* enum sn_outcome and enum up_result have the same order */
    uint64_t client, token;
    bool says_client, says_token, says_qos, says_outcome;
    bool present;
    uint8_t qos;
    bool retain;
    struct bytes topic;
    struct body *data;
    uint64_t journal;
    int64_t expiry_ms;
    struct sn_recipient to[MOST_RECIPIENTS];
    unsigned n_to;
};

static void told_field(struct story *s, const struct story_word *w, struct told *d)
{
    struct sn_recipient *last = d->n_to > 0 ? &d->to[d->n_to - 1] : NULL;
    uint64_t n = 0;
    if (strcmp(w->key, "client") == 0) {
        d->says_client = client_key(s, w->value, &d->client);
    } else if (strcmp(w->key, "token") == 0) {
        d->says_token = story_number(s, w, UINT64_MAX, &d->token);
    } else if (strcmp(w->key, "topic") == 0) {
        d->topic = w->value;
    } else if (strcmp(w->key, "bytes") == 0) {
        set_filler(s, &d->data, w);
    } else if (strcmp(w->key, "journal") == 0) {
        story_number(s, w, UINT32_MAX, &d->journal);
    } else if (strcmp(w->key, "expiry") == 0) {
        story_duration(s, w, &d->expiry_ms);
    } else if (strcmp(w->key, "qos") == 0 && story_number(s, w, 2, &n)) {
        d->qos = (uint8_t)n;
        d->says_qos = true;
        if (last != NULL)
            last->qos = (uint8_t)n;
    } else if (strcmp(w->key, "id") == 0 && last != NULL && story_number(s, w, UINT32_MAX, &n)) {
        last->delivery_id = (uint32_t)n;
    } else if (strcmp(w->key, "to") == 0 && d->n_to < MOST_RECIPIENTS) {
        client_key(s, w->value, &d->to[d->n_to++].client);
    } else {
        story_fail(s, "unknown word '%s=' in an event", w->key);
    }
}

static void told_word(struct story *s, const struct story_word *w, struct told *d)
{
    static const struct {
        const char *word;
        unsigned outcome;
    } outcomes[] = {
        {"ok",      SN_OK           },
        {"busy",    SN_REFUSED_BUSY },
        {"never",   SN_REFUSED_NEVER},
        {"refused", UP_REFUSED      },
        {"doubt",   SN_IN_DOUBT     },
    };

    _Static_assert((int)SN_REFUSED_NEVER == (int)UP_REFUSED &&
                       (int)SN_IN_DOUBT == (int)UP_IN_DOUBT && (int)SN_REFUSED_BUSY == (int)UP_BUSY,
                   "outcomes of both seams have the same order");

    for (size_t i = 0; !w->quoted && i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (story_word_is(w, outcomes[i].word)) {
            d->outcome = outcomes[i].outcome;
            d->says_outcome = true;
            return;
        }
    }
    if (!w->quoted && story_word_is(w, "present")) {
        d->present = true;
    } else if (!w->quoted && story_word_is(w, "retain")) {
        d->retain = true;
        if (d->n_to > 0)
            d->to[d->n_to - 1].retain = true;
    } else {
        set_body(&d->data, w->value);
    }
    if (s->failed)
        return;
}

/* What was not said comes from the latest request of that type. */
static void complete(struct story *s, struct told *d, enum sim_ask_type type)
{
    if (!s->latest[type].any && !(d->says_client && d->says_token)) {
        story_fail(s, "an answer needs a request, or client= and token=");
        return;
    }
    if (!d->says_client)
        d->client = s->latest[type].client;
    if (!d->says_token)
        d->token = s->latest[type].token;
    if (!d->says_qos)
        d->qos = s->latest[type].qos;
    if (!d->says_outcome && type != ASK_UNSUBSCRIBE)
        story_fail(s, "an answer needs ok, busy, never or doubt");
}

static const struct {
    const char *name;
    enum sn_event_type seam;
    int upstream; /* enum up_event_type, or -1 */
    enum sim_ask_type answers;
} tellings[] = {
    {"OPENED",       SN_EV_OPENED,       -1,              ASK_OPEN       },
    {"PUBLISHED",    SN_EV_PUBLISHED,    UP_PUBLISHED,    ASK_PUBLISH    },
    {"SUBSCRIBED",   SN_EV_SUBSCRIBED,   UP_SUBSCRIBED,   ASK_SUBSCRIBE  },
    {"UNSUBSCRIBED", SN_EV_UNSUBSCRIBED, UP_UNSUBSCRIBED, ASK_UNSUBSCRIBE},
    {"MESSAGE",      SN_EV_MESSAGE,      UP_MESSAGE,      ASK_TYPES      },
    {"CLOSED",       SN_EV_CLOSED,       -1,              ASK_TYPES      },
};

static void tell_engine(struct story *s, const struct told *d, enum sn_event_type type)
{
    struct sn_event event = {.type = type,
                             .client = d->client,
                             .token = (uint16_t)d->token,
                             .outcome = (enum sn_outcome)d->outcome};
    if (type == SN_EV_OPENED)
        event.opened.session_present = d->present;
    if (type == SN_EV_PUBLISHED)
        event.published.qos = d->qos;
    if (type == SN_EV_SUBSCRIBED)
        event.subscribed.granted = d->qos;
    if (type == SN_EV_MESSAGE) {
        event.message.topic = d->topic;
        event.message.body = d->data;
        event.message.journal = d->journal;
        event.message.expiry_s = (uint32_t)(d->expiry_ms / 1000);
        event.message.recipients = d->to;
        event.message.n_recipients = d->n_to;
    }
    sim_event(&s->world, &event);
}

static void tell_session(struct story *s, const struct told *d, enum up_event_type type)
{
    sim_upstream(&s->world, &(struct up_event){.type = type,
                                               .token = d->token,
                                               .result = (enum up_result)d->outcome,
                                               .qos = d->qos,
                                               .retain = d->retain,
                                               .topic = d->topic,
                                               .body = d->data,
                                               .expiry_s = (uint32_t)(d->expiry_ms / 1000)});
}

void story_tell(struct story *s, const struct story_line *line)
{
    size_t at = 0;
    const size_t n = sizeof tellings / sizeof tellings[0];
    while (at < n && (line->count < 3 || !story_word_is(&line->words[2], tellings[at].name)))
        at++;
    if (at == n || (s->config.has_shared && tellings[at].upstream < 0)) {
        story_fail(s, "an event of this seam is needed: OPENED, PUBLISHED, MESSAGE, ...");
        return;
    }
    struct told d = {0};
    for (unsigned i = 3; i < line->count && !s->failed; i++) {
        const struct story_word *w = &line->words[i];
        if (w->key[0] != '\0')
            told_field(s, w, &d);
        else
            told_word(s, w, &d);
    }
    if (!s->failed && tellings[at].answers != ASK_TYPES)
        complete(s, &d, tellings[at].answers);
    if (!s->failed) {
        if (s->config.has_shared)
            tell_session(s, &d, (enum up_event_type)tellings[at].upstream);
        else
            tell_engine(s, &d, tellings[at].seam);
    }
    body_unref(d.data);
}

void story_upstream(struct story *s, const struct story_line *line)
{
    const bool up = story_word_is(&line->words[1], "up");
    const bool present = line->count == 3 && story_word_is(&line->words[2], "present");
    if (s->config.has_shared)
        sim_upstream(&s->world, &(struct up_event){.type = up ? UP_CONNECTED : UP_DISCONNECTED,
                                                   .session_present = present,
                                                   .why = up ? NULL : "the story says so"});
    else
        sim_event(&s->world, &(struct sn_event){.type = SN_EV_UPSTREAM, .upstream = {.up = up}});
}
