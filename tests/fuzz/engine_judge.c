/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_judge.h"

#include "fuzz.h"
#include "mqttsn/topic.h"

void judge_init(struct judge *j, struct sn_engine *e)
{
    j->engine = e;
    j->trace = getenv("FUZZ_TRACE") != NULL;
}

uint64_t judge_packets_out(const struct judge *j)
{
    return sn_engine_stats(j->engine)->n[SN_STAT_PACKETS_OUT];
}

int judge_peer(struct judge *j, const struct peer *p)
{
    for (unsigned i = 0; i < j->n_peers; i++) {
        if (peer_equal(peer_in(&j->peers[i].room), p))
            return (int)i;
    }
    if (j->n_peers == JUDGE_PEERS)
        return -1;
    peer_copy(&j->peers[j->n_peers].room, p);
    return (int)j->n_peers++;
}

/* NULL for no session, and when there are too many to follow. */
static struct judged_session *session(struct judge *j, uint64_t key)
{
    for (unsigned i = 0; i < j->n_sessions; i++) {
        if (j->sessions[i].key == key)
            return &j->sessions[i];
    }
    if (key == SN_NO_CLIENT || j->n_sessions == JUDGE_SESSIONS)
        return NULL;
    struct judged_session *s = &j->sessions[j->n_sessions++];
    s->key = key;
    return s;
}

static void trace(const struct judge *j, const char *what, const struct peer *p,
                  const struct sn_packet *packet)
{
    char peer[PEER_TEXT_MAX];
    char text[SN_PRINT_MAX];
    if (j->trace)
        fprintf(stderr, "%12lld  %s %s  %s\n", (long long)j->engine->now_ms, what,
                peer_print(p, peer, sizeof peer), sn_print(packet, text, sizeof text));
}

/* ---- what went in ---------------------------------------------------------------------------- */

static void heard_puback(struct judged_session *s, const struct sn_packet *p)
{
    const bool latest = s->publish_open && p->msg_id == s->publish_id;
    const bool under_way = s->has_open && s->open == SN_PUBLISH && p->msg_id == s->open_id;
    if (under_way || (latest && p->return_code == SN_ACCEPTED))
        s->has_open = false;
    if (under_way || latest)
        s->publish_open = p->return_code == SN_CONGESTION;
}

static void heard_answer(struct judged_session *s, const struct sn_packet *p)
{
    const bool matches = s->has_open && p->msg_id == s->open_id;
    if (p->type == SN_REGACK) {
        s->regacked = true;
        if (matches && s->open == SN_REGISTER)
            s->has_open = false;
    } else if (p->type == SN_PUBACK) {
        heard_puback(s, p);
    } else if (p->type == SN_PUBREC) {
        s->pubrec_id = p->msg_id;
        if (s->publish_open && s->publish_qos == SN_QOS_2 && p->msg_id == s->publish_id) {
            s->has_open = false;
            s->publish_open = false;
            s->pubrel_id = p->msg_id;
        }
    } else if (p->type == SN_PUBCOMP && p->msg_id == s->pubrel_id) {
        s->has_open = false;
        s->pubrel_id = 0;
    }
}

static void heard_by_session(struct judged_session *s, const struct judge_note *n)
{
    const struct sn_packet *p = &n->packet;
    s->sendings = 0;
    s->pubrec_id = 0;
    if (n->state == SN_ST_ACTIVE || n->state == SN_ST_AWAKE)
        heard_answer(s, p);
    if (p->type == SN_SUBSCRIBE || p->type == SN_UNSUBSCRIBE)
        s->asked[s->n_asked++ % ASKED_MAX] = p->msg_id;
    s->taken_back = s->taken_back || p->type == SN_UNSUBSCRIBE || p->type == SN_SUBSCRIBE ||
                    (p->type == SN_PUBACK && p->msg_id == 0);
    if (p->type == SN_CONNECT && n->after == SN_ST_ACTIVE) { /* of a sleeper, known already */
        s->sleep = NODE_LISTENS;
    } else if (p->type == SN_CONNECT && n->after == SN_ST_CONNECTING) { /* and not only refused */
        s->has_open = false;
        s->n_asked = 0;
        s->sleep = NODE_LISTENS;
    } else if (p->type == SN_DISCONNECT) {
        s->has_open = false;
        if (p->duration_s > 0 && n->state != SN_ST_CONNECTING)
            s->sleep = NODE_ASLEEP;
    } else if (p->type == SN_PINGREQ &&
               (n->state == SN_ST_ASLEEP ||
                (n->state == SN_ST_ACTIVE && n->after != SN_ST_ACTIVE))) { /* in doubt until then */
        s->has_open = false;
        s->sleep = NODE_AWAKE;
    }
}

static void apply(struct judge *j, const struct judge_note *n)
{
    if (n->what == NOTE_DROPPED) {
        for (unsigned i = 0; i < j->n_sessions; i++)
            j->sessions[i].uncertain = true;
        return;
    }
    struct judged_peer *peer = &j->peers[n->peer];
    peer->session = n->session;
    struct judged_session *s = session(j, peer->session);
    if (s != NULL)
        heard_by_session(s, n);
}

/* Everything that happened before the next packet to be taken. */
static void catch_up(struct judge *j)
{
    while (j->n_notes > 0 && j->notes[j->first_note].seq <= j->taken) {
        apply(j, &j->notes[j->first_note]);
        j->first_note = (j->first_note + 1) % JUDGE_NOTES;
        j->n_notes--;
    }
}

bool judge_ready(const struct judge *j)
{
    return j->n_notes + 4 <= JUDGE_NOTES;
}

static struct judge_note *note(struct judge *j, uint64_t seq)
{
    fuzz_require(j->n_notes < JUDGE_NOTES);
    struct judge_note *n = &j->notes[(j->first_note + j->n_notes++) % JUDGE_NOTES];
    *n = (struct judge_note){.seq = seq};
    return n;
}

void judge_after(struct judge *j, uint64_t packets_before)
{
    uint64_t drops = 0;
    for (int stat = SN_STAT_DROP_GROUP; stat < SN_STAT_COUNT; stat++)
        drops += sn_engine_stats(j->engine)->n[stat];
    if (drops == j->drops)
        return;
    j->drops = drops;
    note(j, packets_before)->what = NOTE_DROPPED;
}

static bool decode(struct peer_room *from, struct bytes datagram, struct sn_packet *p)
{
    while (sn_is_envelope(datagram)) {
        struct sn_envelope env;
        if (sn_envelope_decode(datagram, &env) != SN_DECODED || !peer_push_node(from, env.node_id))
            return false;
        datagram = env.inner;
    }
    return sn_decode(datagram, p) == SN_DECODED;
}

/* The session that a message concerns. */
static const struct sn_client *target(struct judge *j, const struct peer *from,
                                      const struct sn_packet *p)
{
    const struct sn_client *c = sn_client_by_peer(j->engine, from);
    if (p->type == SN_CONNECT || (p->type == SN_PINGREQ && p->client_id.len > 0 &&
                                  (c == NULL || (c->state != SN_ST_CONNECTING &&
                                                 !bytes_equal(sn_client_id(c), p->client_id)))))
        c = sn_client_by_id(j->engine, p->client_id);
    return c;
}

/* Strangers get one DISCONNECT a second, after three at once. */
static void judge_debt(struct judged_peer *peer, int64_t now_ms)
{
    peer->owed_ms = (peer->owed_ms > now_ms ? peer->owed_ms : now_ms) + 1000;
    fuzz_require(peer->owed_ms - now_ms <= 3000);
}

void judge_input(struct judge *j, int64_t now_ms, const struct peer *from, struct bytes datagram,
                 bool to_group)
{
    struct sn_engine *e = j->engine;
    struct peer_room room;
    peer_copy(&room, from);
    struct sn_packet p = {0};
    const bool decoded = decode(&room, datagram, &p);
    const int index = decoded ? judge_peer(j, peer_in(&room)) : 0;
    if (index < 0)
        return; /* no room to follow it */
    const uint16_t link = from->link;
    const bool counts = decoded && !to_group && datagram.len <= e->links[link].max_packet_bytes;
    if (sn_engine_next_deadline(e) <= now_ms) {
        const uint64_t fired_before = judge_packets_out(j);
        sn_engine_advance(e, now_ms);
        judge_after(j, fired_before);
    }
    if (decoded)
        trace(j, to_group ? "group <" : "<", peer_in(&room), &p);
    const struct sn_client *holder = sn_client_by_peer(e, peer_in(&room));
    const struct sn_client *c = decoded ? target(j, peer_in(&room), &p) : NULL;
    const enum sn_state state = c != NULL ? (enum sn_state)c->state : SN_ST_DISCONNECTED;
    const uint64_t before = judge_packets_out(j);
    const bool stranger = holder == NULL || !sn_client_connected(holder);
    const bool dialogue = holder != NULL && holder->state == SN_ST_CONNECTING;
    const uint64_t key = holder != NULL ? holder->key : SN_NO_CLIENT;
    if (to_group)
        sn_engine_input_group(e, now_ms, from, datagram);
    else
        sn_engine_input(e, now_ms, from, datagram);
    /* One packet of a stranger causes one packet at most; but who names a sleeper gets what waits
     * for it. */
    const bool wakes = decoded && p.type == SN_PINGREQ && p.client_id.len > 0;
    const uint64_t answers = judge_packets_out(j) - before;
    if (stranger && !wakes)
        fuzz_require(answers <= 1);
    if (stranger && !dialogue && !wakes && answers == 1 && decoded && p.type != SN_CONNECT &&
        p.type != SN_SEARCHGW)
        judge_debt(&j->peers[index], now_ms);
    if (counts) {
        const struct sn_client *now = sn_client_by_peer(e, peer_in(&room));
        struct judge_note *n = note(j, before);
        n->what = NOTE_HEARD;
        n->peer = (unsigned)index;
        n->packet = p;
        n->state = state;
        n->session = now != NULL ? now->key : key;
        n->after = now != NULL ? (enum sn_state)now->state : SN_ST_DISCONNECTED;
    }
    judge_after(j, before);
}

/* ---- what came out --------------------------------------------------------------------------- */

static bool is_id(uint16_t id)
{
    return id >= SN_TOPIC_ID_MIN && id <= SN_TOPIC_ID_MAX;
}

/* A REGISTER may be given up for good when the node has never answered one. */
static void judge_idle(const struct judged_session *s)
{
    fuzz_require(!s->has_open || (s->open == SN_REGISTER && !s->regacked) || s->uncertain);
    fuzz_require(s->sleep != NODE_ASLEEP);
}

static void judge_request(const struct judge *j, struct judged_session *s, enum sn_type type,
                          uint16_t msg_id)
{
    fuzz_require(msg_id != 0);
    if (!s->has_open || s->open != type || s->open_id != msg_id) {
        judge_idle(s);
        s->has_open = true;
        s->open = type;
        s->open_id = msg_id;
        s->sendings = 0;
    }
    fuzz_require(s->sleep != NODE_ASLEEP);
    fuzz_require(++s->sendings <= j->engine->config.retry_count + 1);
}

static void judge_register(const struct judge *j, struct judged_session *s,
                           const struct sn_packet *p)
{
    fuzz_require(is_id(p->topic_id) && p->topic.len > 0 && bytes_is_utf8(p->topic));
    fuzz_require(!sn_topic_has_wildcard(p->topic));
    if (s == NULL)
        return;
    fuzz_require(s->pubrel_id == 0 || s->uncertain);
    if (s->taken_back && s->has_open && s->open == SN_PUBLISH)
        s->has_open = false; /* it follows under the new id */
    if (p->msg_id != s->register_id) {
        fuzz_require(p->msg_id > s->last_msg_id);
        s->last_msg_id = p->msg_id;
        s->register_id = p->msg_id;
    }
    judge_request(j, s, SN_REGISTER, p->msg_id);
}

static void judge_publish(const struct judge *j, struct judged_session *s,
                          const struct sn_packet *p)
{
    const uint8_t short_name[2] = {(uint8_t)(p->topic_id >> 8), (uint8_t)p->topic_id};
    fuzz_require(p->qos != SN_QOS_MINUS_1 && p->topic_kind != SN_TOPIC_RESERVED);
    fuzz_require(p->topic_kind == SN_TOPIC_SHORT ? sn_topic_name_ok(bytes_of(short_name, 2))
                                                 : is_id(p->topic_id));
    if (p->qos == SN_QOS_0)
        fuzz_require(p->msg_id == 0 && !p->dup);
    else
        fuzz_require(p->msg_id != 0);
    if (s == NULL)
        return;
    fuzz_require(s->pubrel_id == 0 || s->uncertain);
    if (p->qos == SN_QOS_0) {
        judge_idle(s);
        return;
    }
    const struct sn_client *c = sn_client_by_key(j->engine, s->key);
    const bool again = p->msg_id == s->publish_id;
    if (c != NULL && c->profile->options.dup == SN_NO)
        fuzz_require(!p->dup);
    else if (c != NULL)
        fuzz_require(p->dup == again);
    if (!again) {
        fuzz_require(p->msg_id > s->last_msg_id);
        s->last_msg_id = p->msg_id;
    }
    judge_request(j, s, SN_PUBLISH, p->msg_id);
    s->publish_id = p->msg_id;
    s->publish_qos = (uint8_t)p->qos;
    s->publish_open = true;
    s->taken_back = false;
    s->pubrel_id = 0;
    s->uncertain = false;
}

/* A request, or only the answer to a PUBREC. */
static void judge_pubrel(const struct judge *j, struct judged_session *s, const struct sn_packet *p)
{
    if (s == NULL)
        return;
    const bool answers = s->pubrec_id != 0 && s->pubrec_id == p->msg_id;
    const bool under_way = s->has_open && s->open == SN_PUBREL && s->open_id == p->msg_id;
    if (p->msg_id == s->pubrel_id && p->msg_id != 0 && !(under_way && answers))
        judge_request(j, s, SN_PUBREL, p->msg_id);
    else
        fuzz_require(answers || p->msg_id == 0 || s->uncertain);
}

/* It answers what was asked in this connection. */
static void judge_suback(const struct judged_session *s, const struct sn_packet *p)
{
    bool asked = s == NULL || s->n_asked > ASKED_MAX;
    for (unsigned i = 0; !asked && i < s->n_asked; i++)
        asked = s->asked[i] == p->msg_id;
    fuzz_require(asked && p->qos != SN_QOS_MINUS_1);
}

/* What a gateway says to one node. */
static const bool from_gateway[SN_TYPE_COUNT] = {
    [SN_GWINFO] = true,      [SN_CONNACK] = true,       [SN_WILLTOPICREQ] = true,
    [SN_REGISTER] = true,    [SN_WILLMSGREQ] = true,    [SN_REGACK] = true,
    [SN_PUBLISH] = true,     [SN_PUBACK] = true,        [SN_PUBCOMP] = true,
    [SN_PUBREC] = true,      [SN_PUBREL] = true,        [SN_SUBACK] = true,
    [SN_UNSUBACK] = true,    [SN_PINGRESP] = true,      [SN_DISCONNECT] = true,
    [SN_WILLMSGRESP] = true, [SN_WILLTOPICRESP] = true,
};

static void judge_by_type(struct judge *j, const struct judged_peer *peer,
                          const struct sn_packet *p)
{
    struct judged_session *s = session(j, peer->session);
    fuzz_require(from_gateway[p->type]);
    fuzz_require(p->return_code <= SN_NOT_SUPPORTED);
    if (p->type == SN_REGACK && p->return_code == SN_ACCEPTED)
        fuzz_require(is_id(p->topic_id));
    if (p->type == SN_SUBACK || p->type == SN_UNSUBACK)
        judge_suback(s, p);
    if (p->type == SN_PINGRESP && s != NULL && s->sleep == NODE_AWAKE)
        s->sleep = NODE_ASLEEP;
    const bool is_request = p->type == SN_REGISTER || p->type == SN_PUBLISH || p->type == SN_PUBREL;
    fuzz_require(!is_request || peer->session != SN_NO_CLIENT);
    if (p->type == SN_REGISTER)
        judge_register(j, s, p);
    else if (p->type == SN_PUBLISH)
        judge_publish(j, s, p);
    else if (p->type == SN_PUBREL)
        judge_pubrel(j, s, p);
}

static void remember(struct judged_peer *peer, const struct sn_packet *p)
{
    const bool asks = p->type == SN_REGISTER || p->type == SN_PUBREL || p->type == SN_WILLMSGREQ ||
                      p->type == SN_WILLTOPICREQ || (p->type == SN_PUBLISH && p->qos != SN_QOS_0);
    if (asks) {
        peer->request = p->type;
        peer->request_id = p->msg_id;
        peer->request_topic = p->topic_id;
        peer->request_qos = (uint8_t)p->qos;
    }
    if (p->topic_id != 0 &&
        (p->type == SN_REGACK || p->type == SN_SUBACK || p->type == SN_REGISTER))
        peer->topic_id = p->topic_id;
}

/* The envelopes around a packet name the nodes of the peer's path, in order. */
static struct bytes open_for(const struct peer *to, struct bytes datagram)
{
    struct reader path = rd_of(bytes_of(to->bytes + to->addr_len, to->path_len));
    while (rd_left(&path) > 0) {
        struct sn_envelope env;
        fuzz_require(sn_envelope_decode(datagram, &env) == SN_DECODED);
        fuzz_require(bytes_equal(env.node_id, rd_bytes(&path, rd_u8(&path))));
        datagram = env.inner;
    }
    return datagram;
}

void judge_packet(struct judge *j, const struct sn_outgoing *out)
{
    catch_up(j);
    j->taken++;
    struct sn_packet p;
    const struct bytes message = open_for(out->to, out->bytes);
    fuzz_require(sn_decode(message, &p) == SN_DECODED);
    trace(j, ">", out->to, &p);
    fuzz_require(message.len <= j->engine->links[out->to->link].max_packet_bytes);
    if (out->to->kind == PEER_GROUP) {
        fuzz_require(p.type == SN_ADVERTISE || p.type == SN_GWINFO);
        return;
    }
    const int index = judge_peer(j, out->to);
    fuzz_require(index >= 0); /* nobody is told anything who has said nothing */
    judge_by_type(j, &j->peers[index], &p);
    remember(&j->peers[index], &p);
}

/* ---- inside ---------------------------------------------------------------------------------- */

static void judge_down(const struct sn_client *c)
{
    const struct sn_down *d = c->down;
    const struct sn_client_options *o = &c->profile->options;
    const bool listens =
        (c->state == SN_ST_ACTIVE || c->state == SN_ST_AWAKE) && sn_client_peer(c) != NULL;
    fuzz_require(d->client == c);
    fuzz_require(d->n_queued <= o->max_queue && d->queued_bytes <= o->max_queue_bytes);
    fuzz_require((d->n_queued == 0) == list_empty(&d->queue));
    fuzz_require(d->phase == SN_DN_IDLE || d->n_queued > 0);
    /* What is under way is repeated, or waits for a sign of life. */
    fuzz_require(deadline_armed(&d->retry) == (d->phase != SN_DN_IDLE && !d->stalled));
    fuzz_require(!deadline_armed(&d->retry) || listens);
    /* Nothing waits for nothing. */
    fuzz_require(!listens || sn_client_subs(c) > 0 || d->phase != SN_DN_IDLE || d->n_queued == 0);
}

/* Which of its topic ids may give way, and that all are found. */
static uint32_t judge_topics(const struct sn_client *c, const struct ring *topics, bool lent)
{
    uint32_t n = 0;
    ring_foreach(link, topics)
    {
        struct sn_topic *t = container_of(link, struct sn_topic, link);
        fuzz_require((!t->given && t->kind == SN_TOPIC_NORMAL && t->n_subs == 0) == lent);
        fuzz_require(sn_topic_find(c, t->name) == t);
        fuzz_require(t->id == 0 || sn_topic_by_id(c, t->id) == t);
        n++;
    }
    return n;
}

static void judge_client(struct sn_engine *e, struct sn_client *c)
{
    fuzz_require(sn_client_by_key(e, c->key) == c && sn_client_by_id(e, sn_client_id(c)) == c);
    fuzz_require(sn_client_peer(c) == NULL || sn_client_by_peer(e, sn_client_peer(c)) == c);
    fuzz_require(deadline_armed(&c->supervise));
    fuzz_require((c->connecting != NULL) == (c->state == SN_ST_CONNECTING));
    fuzz_require(sn_client_peer(c) != NULL ||
                 (c->state != SN_ST_CONNECTING && c->state != SN_ST_ACTIVE &&
                  c->state != SN_ST_AWAKE)); /* who sleeps may have lost it */
    fuzz_require(!c->open || c->state == SN_ST_CONNECTING || sn_client_connected(c));
    if (c->state == SN_ST_DISCONNECTED || c->state == SN_ST_LOST)
        fuzz_require(!c->clean && c->connection != 0);
    const struct sn_topics *topics = c->topics;
    if (topics != NULL) {
        fuzz_require(topics->n <= c->profile->options.max_topics && topics->n_ids <= topics->n);
        fuzz_require(judge_topics(c, &topics->lent, true) +
                         judge_topics(c, &topics->asked, false) ==
                     topics->n);
    }
    if (c->down != NULL)
        judge_down(c);
    if (c->state == SN_ST_AWAKE)
        fuzz_require(sn_client_subs(c) > 0 || (c->down != NULL && c->down->phase != SN_DN_IDLE));
}

void judge_order(struct judge *j)
{
    struct sn_engine *e = j->engine;
    const struct sn_gauges g = sn_engine_gauges(e);
    uint32_t clients = 0;
    uint32_t connected = 0;
    uint64_t queued = 0;
    for (uint32_t slot = 0; slot < e->n_slots; slot++) {
        struct sn_client *c = e->slots[slot];
        if (c == NULL)
            continue;
        clients++;
        connected += sn_client_connected(c) ? 1 : 0;
        queued += c->down != NULL ? c->down->n_queued : 0;
        judge_client(e, c);
    }
    fuzz_require(g.clients == clients && g.connected == connected && g.queued == queued);
    fuzz_require(g.clients <= e->config.max_clients && g.connected <= g.clients);
    fuzz_require(g.memory_bytes <= e->config.max_memory_bytes);
    if (j->taken == judge_packets_out(j))
        catch_up(j);
}
