/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/story.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "sim/story_priv.h"

/* ---- printing packets ------------------------------------------------------------------------ */

static void print_bytes(struct bytes b, char *out, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < b.len && i < 48 && at + 4 < size; i++)
        at += (size_t)snprintf(out + at, size - at, " %02X", b.data[i]);
    if (b.len > 48)
        snprintf(out + at, size - at, " ... (%zu octets)", b.len);
}

/* Opens the envelopes of `depth` forwarders; false when there are others. */
static bool unwrap(struct bytes *in, unsigned depth)
{
    for (; depth > 0; depth--) {
        struct sn_envelope env;
        if (sn_envelope_decode(*in, &env) != SN_DECODED)
            return false;
        *in = env.inner;
    }
    return true;
}

static void print_datagram(struct bytes datagram, unsigned depth, char *out, size_t size)
{
    struct sn_packet p;
    struct bytes inner = datagram;
    out[0] = '\0';
    if (unwrap(&inner, depth) && sn_decode(inner, &p) == SN_DECODED)
        sn_print(&p, out, size);
    const size_t used = strlen(out);
    if (used < 80)
        print_bytes(datagram, out + used, size - used);
}

static const char *name_of_peer(const struct story *s, const struct peer *peer)
{
    for (unsigned i = 0; i < s->n_nodes; i++) {
        if (peer_equal((const struct peer *)(const void *)s->nodes[i].peer.room, peer))
            return s->nodes[i].name;
    }
    return "(nobody)";
}

/* ---- nothing unasked ------------------------------------------------------------------------- */

static void check_nothing_left(struct story *s)
{
    char text[STORY_PAST_LINE / 2];
    if (s->failed)
        return;
    struct list *link = list_first(&s->world.packets);
    if (link != NULL) {
        const struct sim_packet *p = container_of(link, struct sim_packet, link);
        print_datagram(body_bytes(p->bytes), peer_depth(p->to), text, sizeof text);
        story_fail(s, "unasked:   %s < %s", name_of_peer(s, p->to), text);
        return;
    }
    link = list_first(&s->world.asks);
    if (link != NULL) {
        story_print_ask(s, container_of(link, struct sim_ask, link), text, sizeof text);
        story_fail(s, "unasked:   broker < %s", text);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static void wait_until(struct story *s, int64_t until_ms)
{
    while (!s->failed && s->world.now_ms < until_ms) {
        check_nothing_left(s);
        const int64_t next = time_min(sim_next_deadline(&s->world), until_ms);
        if (!s->failed && !sim_advance(&s->world, next))
            story_fail(s, "after advance() the next deadline must lie in the future");
    }
}

static void on_after(struct story *s, const struct story_line *line)
{
    int64_t ms;
    if (line->count != 2) {
        story_fail(s, "after TIME");
        return;
    }
    if (!story_duration(s, &line->words[1], &ms))
        return;
    wait_until(s, s->world.now_ms + ms);
    story_note(s, "--");
}

/* Until something comes out, which must be before the time is over. */
static void on_within(struct story *s, const struct story_line *line)
{
    int64_t ms;
    if (line->count != 2) {
        story_fail(s, "within TIME");
        return;
    }
    check_nothing_left(s);
    if (s->failed || !story_duration(s, &line->words[1], &ms))
        return;
    const int64_t until_ms = s->world.now_ms + ms;
    while (!s->failed && list_empty(&s->world.packets) && list_empty(&s->world.asks)) {
        const int64_t next = sim_next_deadline(&s->world);
        if (next > until_ms)
            story_fail(s, "nothing happened");
        else if (!sim_advance(&s->world, next))
            story_fail(s, "after advance() the next deadline must lie in the future");
    }
}

static void on_deadline(struct story *s, const struct story_line *line)
{
    const int64_t next = sim_next_deadline(&s->world);
    int64_t ms = TIME_NEVER;
    if (line->count != 2 ||
        (!story_word_is(&line->words[1], "never") && !story_duration(s, &line->words[1], &ms))) {
        story_fail(s, "deadline TIME, or deadline never");
        return;
    }
    if (next != time_add(s->world.now_ms, ms))
        story_fail(s, "the next deadline is in %lld ms", (long long)(next - s->world.now_ms));
}

/* ---- packets --------------------------------------------------------------------------------- */

static bool is_hex_form(const struct story_line *line)
{
    return line->count > 2 && story_word_is(&line->words[2], "hex");
}

/* The datagram that a line says: octets as they are, or a packet in the node's envelopes. */
static size_t encode(struct story *s, const struct story_node *node, const struct story_line *line,
                     uint8_t *out, size_t cap)
{
    if (is_hex_form(line))
        return story_hex(s, line, 3, out, cap);
    const struct peer *peer = (const struct peer *)(const void *)node->peer.room;
    struct reader path = rd_of(bytes_of(peer->bytes + peer->addr_len, peer->path_len));
    size_t len = 0;
    while (rd_left(&path) > 0) {
        const struct sn_envelope env = {.node_id = rd_bytes(&path, rd_u8(&path))};
        len += sn_envelope_encode(&env, out + len, cap - len);
    }
    const size_t n = sn_encode(&s->packet.p, out + len, cap - len);
    if (n == 0)
        story_fail(s, "this packet can't be encoded");
    return len + n;
}

static void on_send(struct story *s, struct story_node *node, const struct story_line *line)
{
    const bool to_group = story_word_is(&line->words[1], ">>");
    check_nothing_left(s);
    if (!is_hex_form(line) && !story_parse_packet(s, line, 2, &s->packet))
        return;
    if (!is_hex_form(line) && (s->packet.topic_id.open || s->packet.msg_id.open)) {
        story_fail(s, "a packet to send can't have open numbers");
        return;
    }
    uint8_t *out = s->octets;
    const size_t len = encode(s, node, line, out, sizeof s->octets);
    if (!s->failed) {
        char text[STORY_PAST_LINE / 2];
        const unsigned depth = peer_depth(peer_in(&node->peer));
        print_datagram(bytes_of(out, len), depth, text, sizeof text);
        story_note(s, "%s %s %s", node->name, to_group ? ">>" : ">", text);
        if (to_group)
            sim_input_group(&s->world, peer_in(&node->direct), bytes_of(out, len));
        else
            sim_input(&s->world, peer_in(&node->direct), bytes_of(out, len));
    }
}

static struct sim_packet *first_to(struct story *s, const struct story_node *node)
{
    list_foreach (link, &s->world.packets) {
        struct sim_packet *p = container_of(link, struct sim_packet, link);
        if (peer_equal(p->to, (const struct peer *)(const void *)node->peer.room)) {
            list_unlink(&p->link);
            return p;
        }
    }
    return NULL;
}

/* Takes the open numbers of the expected packet from what came. */
static void fill_holes(struct story *s, struct bytes datagram, unsigned depth)
{
    struct sn_packet got;
    if (!unwrap(&datagram, depth) || sn_decode(datagram, &got) != SN_DECODED ||
        got.type != s->packet.p.type)
        return;
    if (s->packet.topic_id.open)
        s->packet.p.topic_id = got.topic_id;
    if (s->packet.msg_id.open)
        s->packet.p.msg_id = got.msg_id;
}

static void on_expect(struct story *s, const struct story_node *node, const struct story_line *line)
{
    const bool hex = is_hex_form(line);
    if (!hex && !story_parse_packet(s, line, 2, &s->packet))
        return;
    const unsigned depth = peer_depth((const struct peer *)(const void *)node->peer.room);
    struct sim_packet *got = first_to(s, node);
    uint8_t *wanted = s->octets;
    if (got != NULL && !hex)
        fill_holes(s, body_bytes(got->bytes), depth);
    const size_t len = encode(s, node, line, wanted, sizeof s->octets);
    char wanted_text[STORY_PAST_LINE / 2];
    char got_text[STORY_PAST_LINE / 2] = "nothing";
    print_datagram(bytes_of(wanted, len), depth, wanted_text, sizeof wanted_text);
    if (got != NULL)
        print_datagram(body_bytes(got->bytes), depth, got_text, sizeof got_text);
    if (got != NULL && bytes_equal(bytes_of(wanted, len), body_bytes(got->bytes))) {
        story_note(s, "%s < %s", node->name, got_text);
        story_fill(s, &s->packet.topic_id, s->packet.p.topic_id);
        story_fill(s, &s->packet.msg_id, s->packet.p.msg_id);
    } else {
        story_fail(s, "expected   %s < %s\n    but got  %s < %s", node->name, wanted_text,
                   node->name, got_text);
    }
    if (got != NULL)
        sim_packet_free(got);
}

/* ---- counters and gauges --------------------------------------------------------------------- */

static void on_count(struct story *s, const struct story_line *line)
{
    uint64_t wanted;
    if (line->count != 3) {
        story_fail(s, "count COUNTER NUMBER");
        return;
    }
    for (unsigned i = 0; i < SN_STAT_COUNT; i++) {
        const char *name = sn_stat_name((enum sn_stat)i);
        if (!story_word_is(&line->words[1], name))
            continue;
        const uint64_t got = sn_engine_stats(s->world.engine)->n[i];
        if (story_number(s, &line->words[2], UINT64_MAX, &wanted) && got != wanted)
            story_fail(s, "%s is %llu", name, (unsigned long long)got);
        return;
    }
    story_fail(s, "unknown counter");
}

static void on_gauge(struct story *s, const struct story_line *line)
{
    const struct sn_gauges g = sn_engine_gauges(s->world.engine);
    struct shared_gauges h = {0};
    if (s->world.shared != NULL)
        h = shared_gauges(s->world.shared);

    const struct {
        const char *name;
        uint64_t value;
    } gauges[] = {
        {"clients",              g.clients      },
        {"connected",            g.connected    },
        {"queued",               g.queued       },
        {"gateways",             g.gateways     },
        {"shared.sessions",      h.sessions     },
        {"shared.filters",       h.filters      },
        {"shared.covered",       h.covered      },
        {"shared.unmatched",     h.unmatched    },
        {"shared.wills",         h.wills        },
        {"shared.wills_refused", h.wills_refused},
        {"shared.wills_dropped", h.wills_dropped},
    };

    uint64_t wanted;
    for (size_t i = 0; line->count == 3 && i < sizeof gauges / sizeof gauges[0]; i++) {
        if (!story_word_is(&line->words[1], gauges[i].name))
            continue;
        if (story_number(s, &line->words[2], UINT64_MAX, &wanted) && gauges[i].value != wanted)
            story_fail(s, "%s is %llu", gauges[i].name, (unsigned long long)gauges[i].value);
        return;
    }
    story_fail(s, "gauge NAME NUMBER, with a known name");
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void start(struct story *s)
{
    if (s->started)
        return;
    s->started = true;
    s->config.engine.clients = s->config.clients;
    s->world.log = story_log;
    sim_init(&s->world, &s->config.engine, s->config.has_shared ? &s->config.shared : NULL,
             STORY_START_MS);
    s->world.log = story_log;
    s->world.log_arg = s;
    s->world.commit_ms = s->config.commit_ms;
    sn_engine_spooling(s->world.engine, !s->config.live);
}

static void on_broker(struct story *s, const struct story_line *line)
{
    const struct story_word *verb = &line->words[1];
    if (line->count > 2 && story_word_is(verb, "<")) {
        story_expect_ask(s, line);
        return;
    }
    check_nothing_left(s);
    if (s->failed)
        return;
    story_note(s, "broker %.*s %.*s", (int)verb->value.len, (const char *)verb->value.data,
               line->count > 2 ? (int)line->words[2].value.len : 0,
               line->count > 2 ? (const char *)line->words[2].value.data : "");
    if (line->count > 2 && story_word_is(verb, ">"))
        story_tell(s, line);
    else if (story_word_is(verb, "up") || story_word_is(verb, "down"))
        story_upstream(s, line);
    else
        story_fail(s, "broker <, broker >, broker up or broker down");
}

static void on_repeat(struct story *s, const struct story_line *line, size_t after)
{
    uint64_t rounds;
    if (line->count != 2 || s->n_loops == STORY_LOOPS) {
        story_fail(s, "repeat N, not too deep");
        return;
    }
    if (!story_number(s, &line->words[1], 1000000, &rounds))
        return;
    s->loops[s->n_loops++] =
        (struct story_loop){.start = after, .line = s->line, .round = 1, .rounds = rounds};
    story_set(s, "n", 1);
}

/* Where the story goes on behind an `end`. */
static size_t on_end(struct story *s, size_t after)
{
    if (s->n_loops == 0) {
        story_fail(s, "end without repeat");
        return after;
    }
    struct story_loop *loop = &s->loops[s->n_loops - 1];
    if (loop->round == loop->rounds) {
        s->n_loops--;
        story_unset(s, "n");
        return after;
    }
    loop->round++;
    story_set(s, "n", loop->round);
    s->line = loop->line;
    return loop->start;
}

static void on_forget(struct story *s, const struct story_line *line)
{
    for (unsigned i = 1; i < line->count; i++) {
        const struct story_word *w = &line->words[i];
        if (w->unset != NULL)
            continue;
        char name[STORY_NAME];
        snprintf(name, sizeof name, "%.*s", (int)w->value.len, (const char *)w->value.data);
        story_unset(s, name);
    }
}

static void on_group(struct story *s, const struct story_line *line)
{
    uint64_t link = 0;
    const bool joined = line->count > 1 && story_word_is(&line->words[1], "joined");
    const bool has_link = line->count == 3 && strcmp(line->words[2].key, "link") == 0;
    check_nothing_left(s);
    if ((line->count != 2 && !has_link) || (!joined && !story_word_is(&line->words[1], "lost")))
        story_fail(s, "group joined [link=N], or group lost [link=N]");
    else if (!has_link || story_number(s, &line->words[2], UINT16_MAX, &link))
        sim_group(&s->world, (uint16_t)link, joined);
}

/* Of the records that are still remembered. */
static void on_logged(struct story *s, const struct story_line *line)
{
    uint64_t wanted = 0;
    uint64_t got = 0;
    if (line->count != 3) {
        story_fail(s, "logged EVENT NUMBER, or logged KEY=VALUE NUMBER");
        return;
    }
    char event[2 * STORY_NAME + 3];
    const struct story_word *what = &line->words[1];
    snprintf(event, sizeof event, " %.*s%s%.*s ", STORY_NAME, what->key,
             what->key[0] != '\0' ? "=" : "", (int)what->value.len, (const char *)what->value.data);
    for (unsigned i = 0; i < STORY_PAST; i++)
        got += strstr(s->logged[i], event) != NULL ? 1 : 0;
    if (story_number(s, &line->words[2], STORY_PAST, &wanted) && got != wanted)
        story_fail(s, "%s was logged %llu times", event, (unsigned long long)got);
}

/* What the radio says of a packet to a node. */
static void on_outcome(struct story *s, const struct story_line *line)
{
    static const char *const words[] = {
        [SN_AIR_DELIVERED] = "delivered",
        [SN_AIR_UNDELIVERED] = "undelivered",
        [SN_AIR_NOT_SENT] = "not_sent",
    };
    struct story_node *node = line->count == 3 ? story_node(s, &line->words[1]) : NULL;
    check_nothing_left(s);
    for (unsigned i = 0; node != NULL && i < sizeof words / sizeof words[0]; i++) {
        if (!story_word_is(&line->words[2], words[i]))
            continue;
        sn_engine_outcome(s->world.engine, s->world.now_ms,
                          (const struct peer *)(const void *)node->peer.room, (enum sn_air)i);
        sim_advance(&s->world, s->world.now_ms);
        return;
    }
    story_fail(s, "outcome NODE delivered, undelivered or not_sent");
}

static void on_carries(struct story *s, const struct story_line *line)
{
    uint64_t link = 0;
    uint64_t octets = 0;
    if (line->count != 3)
        story_fail(s, "carries LINK OCTETS");
    else if (story_number(s, &line->words[1], UINT16_MAX, &link) &&
             story_number(s, &line->words[2], UINT16_MAX, &octets))
        sn_engine_link_limit(s->world.engine, s->world.now_ms, (uint16_t)link, (uint32_t)octets);
}

static void on_stick(struct story *s, const struct story_line *line)
{
    uint64_t link = 0;
    const bool up = line->count == 3 && story_word_is(&line->words[2], "up");
    if (line->count != 3 || (!up && !story_word_is(&line->words[2], "down")))
        story_fail(s, "stick LINK up|down");
    else if (story_number(s, &line->words[1], UINT16_MAX, &link))
        sn_engine_link(s->world.engine, s->world.now_ms, (uint16_t)link, up);
}

static void on_action(struct story *s, const struct story_line *line)
{
    static const struct {
        const char *word;
        void (*handle)(struct story *s, const struct story_line *line);
    } actions[] = {
        {"after",    on_after     },
        {"within",   on_within    },
        {"group",    on_group     },
        {"logged",   on_logged    },
        {"broker",   on_broker    },
        {"count",    on_count     },
        {"gauge",    on_gauge     },
        {"deadline", on_deadline  },
        {"forget",   on_forget    },
        {"outcome",  on_outcome   },
        {"carries",  on_carries   },
        {"stick",    on_stick     },
        {"change",   story_change },
        {"changed",  story_changed},
        {"restart",  story_restart},
        {"written",  story_written},
    };

    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (story_word_is(&line->words[0], actions[i].word) && line->count > 0) {
            start(s);
            actions[i].handle(s, line);
            return;
        }
    }
    struct story_node *node = story_node(s, &line->words[0]);
    if (node == NULL || line->count < 3) {
        story_fail(s, "neither an action nor a node: '%.*s'", (int)line->words[0].value.len,
                   (const char *)line->words[0].value.data);
        return;
    }
    start(s);
    if (story_word_is(&line->words[1], ">") || story_word_is(&line->words[1], ">>"))
        on_send(s, node, line);
    else if (story_word_is(&line->words[1], "<"))
        on_expect(s, node, line);
    else
        story_fail(s, "%s > or %s <", node->name, node->name);
}

static void play(struct story *s, struct bytes text)
{
    bool titled = false;
    size_t at = 0;
    while (at < text.len && !s->failed) {
        const uint8_t *newline = memchr(text.data + at, '\n', text.len - at);
        const size_t end = newline != NULL ? (size_t)(newline - text.data) : text.len;
        const struct bytes one = bytes_of(text.data + at, end - at);
        at = newline != NULL ? end + 1 : end;
        s->line++;
        struct story_line *line = &s->words;
        if (!story_split(s, one, line) || line->count == 0)
            continue;
        if (story_word_is(&line->words[0], "story"))
            titled = true;
        else if (!titled)
            story_fail(s, "a story begins with: story \"title\"");
        else if (story_word_is(&line->words[0], "repeat"))
            on_repeat(s, line, at);
        else if (story_word_is(&line->words[0], "end"))
            at = on_end(s, at);
        else if (!story_config_line(s, line))
            on_action(s, line);
        story_check_store(s, false);
    }
    if (!s->failed && s->n_loops > 0)
        story_fail(s, "end is missing");
    if (!s->failed && !s->started)
        story_fail(s, "nothing happens in this story");
}

bool story_play(const char *file, struct bytes text, bool stored, FILE *out)
{
    struct story *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    s->file = file;
    s->out = out;
    story_config_init(&s->config);
    s->config.engine.journal = stored;
    play(s, text);
    if (s->started) {
        check_nothing_left(s);
        story_check_store(s, true);
        sim_deinit(&s->world);
    }
    const bool passed = !s->failed;
    free(s->packet.filler);
    story_config_deinit(&s->config);
    free(s);
    return passed;
}
