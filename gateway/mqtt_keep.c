/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With 3.1.1 Paho hands a message of QoS 2 over when PUBREL has come, and needs its packet until then;
 * with 5 at once, and needs the packet from then on until PUBREL, to know copies.
 *
 * Paho asks for the removal of four keys at each acknowledgement, most of which were never put: sets
 * of packet ids answer that without the store.
 */
#include "mqtt_keep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqtt_key.h"
#include "mqtt_priv.h"
#include "paho_behind.h"
#include "store.h"

enum { PARTS_MAX = 8, KEY_ROOM = KEEP_KEY_ROOM };

static const char session_key[] = "session";

/* ---- what Paho calls -------------------------------------------------------------------------- */

static int on_open(void **handle, const char *client_id, const char *server, void *context)
{
    (void)client_id;
    (void)server;
    *handle = context;
    return 0;
}

/* Closing; and clearing, which keep_begin() does. */
static int on_nothing(void *handle)
{
    (void)handle;
    return 0;
}

/* A command is kept in Paho's memory: that is what the error makes it do, and nothing else. The
 * packet id that the message will have is learned in passing. */
static int note_command(struct keep *k, int n, char *parts[], const int lens[])
{
    struct item *const it = k->giving;
    if (it != NULL && it->event.spooled != 0 && it->wire_qos == 2 && n > 1 &&
        lens[1] == (int)sizeof(MQTTAsync_token)) {
        MQTTAsync_token packet_id;
        memcpy(&packet_id, parts[1], sizeof packet_id);
        if (packet_id > 0 && packet_id < PACKET_IDS) {
            it->packet_id = (unsigned)packet_id;
            store_spool_sending(k->store, it->event.spooled, it->packet_id);
        }
    }
    return MQTTCLIENT_PERSISTENCE_ERROR;
}

static bool is_qos_2(const char *packet, int len)
{
    return len > 0 && ((unsigned char)packet[0] >> 1 & 3) == 2;
}

/* Of copies Paho knows that it has had them. */
static void note_arriving(struct keep *k, struct mqtt_key key, const char *text, int n,
                          char *parts[], const int lens[])
{
    size_t len = 0;
    k->arriving.key[0] = '\0';
    if (ids_has(&k->received, key.id))
        return;
    for (int i = 0; i < n; i++)
        len += (size_t)lens[i];
    uint8_t *const packet = realloc(k->arriving.packet, len > 0 ? len : 1);
    if (packet == NULL)
        return;
    k->arriving.packet = packet;
    k->arriving.len = len;
    k->arriving.id = key.id;
    for (int i = 0; i < n; i++) {
        if (lens[i] > 0)
            memcpy(k->arriving.packet + (k->arriving.len - len), parts[i], (size_t)lens[i]);
        len -= (size_t)lens[i];
    }
    snprintf(k->arriving.key, sizeof k->arriving.key, "%s", text);
}

static struct id_set *set_of(struct keep *k, enum mqtt_key_kind kind)
{
    switch (kind) {
    case KEY_SENT:
        return &k->sent;
    case KEY_RELEASED:
        return &k->released;
    case KEY_RECEIVED:
        return &k->received;
    case KEY_QUEUED:
    case KEY_OTHER:
        break;
    }
    return NULL;
}

/* Out of memory: what nobody remembers would stay in the store. */
static void note_kept(struct keep *k, struct id_set *set, const char *text, unsigned id)
{
    if (!ids_add(set, id))
        store_packet_remove(k->store, k->sink, text, 0);
}

/* What can't be stored is not promised, and goes on as without a store. */
static int on_put(void *handle, char *text, int n, char *parts[], int lens[])
{
    struct keep *const k = &((struct mqtt *)handle)->keep;
    const struct mqtt_key key = mqtt_key_of(text);
    if (key.kind == KEY_OTHER)
        return note_command(k, n, parts, lens);
    if (n > PARTS_MAX || (key.kind == KEY_SENT && (n < 1 || !is_qos_2(parts[0], lens[0]))))
        return 0;
    if (key.kind == KEY_RECEIVED && key.version == MQTTVERSION_5) {
        note_arriving(k, key, text, n, parts, lens);
        return 0;
    }
    struct bytes views[PARTS_MAX];
    for (int i = 0; i < n; i++)
        views[i] = bytes_of(parts[i], (size_t)lens[i]);
    if (store_may_block(k->store))
        paho_behind_flush();
    const int rc = store_packet_put(k->store, k->sink, text, views, (size_t)n);
    if (rc != 0)
        return 0;
    struct id_set *const set = set_of(k, key.kind);
    if (set != NULL)
        note_kept(k, set, text, key.id);
    return 0;
}

/* The packet goes, and the message with it if that was delivered. */
static void finish_leaving(struct keep *k, bool delivered)
{
    if (k->leaving.key[0] == '\0')
        return;
    store_packet_remove(k->store, k->sink, k->leaving.key, delivered ? k->leaving.id : 0);
    if (!delivered)
        store_spool_unsent(k->store, k->sink, k->leaving.id);
    if (k->leaving.released[0] != '\0')
        store_packet_remove(k->store, k->sink, k->leaving.released, 0);
    k->leaving.key[0] = k->leaving.released[0] = '\0';
}

static void begin_leaving(struct keep *k, const char *text, unsigned id)
{
    finish_leaving(k, true);
    snprintf(k->leaving.key, sizeof k->leaving.key, "%s", text);
    k->leaving.id = id;
}

static int on_remove(void *handle, char *text)
{
    struct keep *const k = &((struct mqtt *)handle)->keep;
    const struct mqtt_key key = mqtt_key_of(text);
    if (atomic_load(&k->forgetting)) /* everything goes at once, by keep_begin() */
        return 0;
    if (key.version != atomic_load(&k->serving))
        return 0;
    switch (key.kind) {
    case KEY_SENT:
        if (!ids_take(&k->sent, key.id))
            break;
        if (key.version == MQTTVERSION_5)
            begin_leaving(k, text, key.id);
        else
            store_packet_remove(k->store, k->sink, text, key.id);
        break;
    case KEY_RELEASED:
        if (!ids_take(&k->released, key.id))
            break;
        /* A PUBLISH that is there without its PUBREL would be sent again: that goes first. */
        if (k->leaving.key[0] != '\0' && k->leaving.id == key.id)
            snprintf(k->leaving.released, sizeof k->leaving.released, "%s", text);
        else
            store_packet_remove(k->store, k->sink, text, 0);
        break;
    case KEY_RECEIVED:
        if (ids_take(&k->received, key.id))
            store_packet_remove(k->store, k->sink, text, 0);
        break;
    case KEY_QUEUED:
        store_packet_remove(k->store, k->sink, text, 0);
        break;
    case KEY_OTHER:
        break;
    }
    return 0;
}

/* Paho frees what it is given with its own free(). */
static int on_get(void *handle, char *text, char **buffer, int *len)
{
    const struct keep *const k = &((struct mqtt *)handle)->keep;
    void *data;
    size_t n;
    if (store_packet_get(k->store, k->sink, text, &data, &n) != 0)
        return MQTTCLIENT_PERSISTENCE_ERROR;
    *buffer = MQTTAsync_malloc(n > 0 ? n : 1);
    if (*buffer != NULL && n > 0)
        memcpy(*buffer, data, n);
    *len = (int)n;
    free(data);
    return *buffer != NULL ? 0 : MQTTCLIENT_PERSISTENCE_ERROR;
}

struct key_list {
    char **keys;
    int n, cap;
    unsigned version;
};

static int add_key(void *owner, const char *text)
{
    struct key_list *list = owner;
    const struct mqtt_key key = mqtt_key_of(text);
    if (key.kind == KEY_OTHER || key.version != list->version)
        return 0;
    if (list->n == list->cap) {
        const int cap = list->cap > 0 ? list->cap * 2 : 64;
        char **keys = MQTTAsync_malloc((size_t)cap * sizeof *keys);
        if (keys == NULL)
            return -ENOMEM;
        if (list->n > 0) {
            memcpy(keys, list->keys, (size_t)list->n * sizeof *keys);
            MQTTAsync_free(list->keys);
        }
        list->keys = keys;
        list->cap = cap;
    }
    char *copy = MQTTAsync_malloc(KEY_ROOM);
    if (copy == NULL)
        return -ENOMEM;
    snprintf(copy, KEY_ROOM, "%s", text);
    list->keys[list->n++] = copy;
    return 0;
}

/* When the broker has lost the session, Paho asks once more, to remove all that there is, one by one,
 * as if it had been delivered. keep_session_lost() knows better. */
static int on_keys(void *handle, char ***keys, int *n)
{
    const struct keep *const k = &((struct mqtt *)handle)->keep;
    struct key_list list = {.version = atomic_load(&k->creating)};
    *keys = NULL;
    *n = 0;
    if (list.version == 0)
        return 0;
    /* Without a list nothing is resumed; as an error it would keep us from connecting at all. */
    if (store_packet_each(k->store, k->sink, add_key, &list) != 0) {
        while (list.n > 0)
            MQTTAsync_free(list.keys[--list.n]);
    }
    *keys = list.keys;
    *n = list.n;
    return 0;
}

/* Paho asks for PUBRELs only. 0: it is there. */
static int on_contains(void *handle, char *text)
{
    const struct keep *const k = &((struct mqtt *)handle)->keep;
    const struct mqtt_key key = mqtt_key_of(text);
    const bool there = (key.kind == KEY_RELEASED && ids_has(&k->released, key.id)) ||
                       (key.kind == KEY_SENT && ids_has(&k->sent, key.id)) ||
                       (key.kind == KEY_RECEIVED && ids_has(&k->received, key.id));
    return there ? 0 : MQTTCLIENT_PERSISTENCE_ERROR;
}

void keep_init(struct mqtt *m, struct store *store)
{
    m->keep.store = store;
    m->keep.sink = m->options.sink;
    m->keep.calls = (MQTTClient_persistence){
        .context = m,
        .popen = on_open,
        .pclose = on_nothing,
        .pput = on_put,
        .pget = on_get,
        .premove = on_remove,
        .pkeys = on_keys,
        .pclear = on_nothing,
        .pcontainskey = on_contains,
    };
}

void keep_deinit(struct mqtt *m)
{
    free(m->keep.resumed);
    ids_deinit(&m->keep.sent);
    ids_deinit(&m->keep.released);
    ids_deinit(&m->keep.received);
    free(m->keep.arriving.packet);
}

/* ---- sessions of the broker ------------------------------------------------------------------- */

/* Lock held. */
static bool add_resumed(struct keep *k, struct resumed one)
{
    const unsigned n = atomic_load(&k->n_resumed);
    struct resumed *grown = realloc(k->resumed, (n + 1) * sizeof *grown);
    if (grown == NULL)
        return false;
    grown[n] = one;
    k->resumed = grown;
    atomic_store(&k->n_resumed, n + 1);
    return true;
}

static int resume_key(void *owner, const char *text)
{
    struct mqtt *const m = owner;
    struct keep *const k = &m->keep;
    const struct mqtt_key key = mqtt_key_of(text);
    if (key.kind != KEY_OTHER)
        k->version = key.version;
    struct id_set *const set = set_of(k, key.kind);
    if (set != NULL && !ids_add(set, key.id))
        return -ENOMEM;
    if (key.kind == KEY_SENT && !add_resumed(k, (struct resumed){.packet_id = key.id}))
        return -ENOMEM;
    return 0;
}

/* Lock held. */
static void tell_resumed(struct mqtt *m, const struct resumed *one, enum up_result result)
{
    struct item *const it = one->spooled != 0 ? item_new(m, 0) : NULL;
    if (it == NULL)
        return;
    it->event = (struct up_event){
        .type = UP_PUBLISHED, .qos = 2, .result = result, .spooled = one->spooled};
    inbox_push(m, it);
}

static void forget_resumed(struct mqtt *m)
{
    pthread_mutex_lock(&m->lock);
    const unsigned n = atomic_load(&m->keep.n_resumed);
    m->resuming -= n;
    m->qos2_count -= n;
    for (unsigned i = 0; i < n; i++) {
        /* The broker has received it, or it is as if it had never been sent. */
        const bool arrived = ids_has(&m->keep.released, m->keep.resumed[i].packet_id);
        tell_resumed(m, &m->keep.resumed[i], arrived ? UP_OK : UP_BUSY);
    }
    atomic_store(&m->keep.n_resumed, 0);
    pthread_mutex_unlock(&m->lock);
}

static void forget(struct mqtt *m)
{
    store_packets_clear(m->keep.store,
                        m->keep.sink); /* first: the spool may fetch what comes back at once */
    forget_resumed(m);
    ids_clear(&m->keep.sent);
    ids_clear(&m->keep.released);
    ids_clear(&m->keep.received);
    m->keep.arriving.key[0] = '\0';
    m->keep.leaving.key[0] = m->keep.leaving.released[0] = '\0';
}

bool keep_recall(struct mqtt *m, unsigned version)
{
    struct keep *const k = &m->keep;
    if (k->store == NULL)
        return false;
    void *stored = NULL;
    size_t len = 0;
    const bool same = store_packet_get(k->store, k->sink, session_key, &stored, &len) == 0 &&
                      dial_recall_session(m, stored, len);
    const bool ours = m->options.session == MQTT_SESSION_KEPT ||
                      (m->options.session == MQTT_SESSION_OURS && same);
    free(stored);
    const bool known = store_packet_each(k->store, k->sink, resume_key, m) == 0;
    pthread_mutex_lock(&m->lock);
    for (unsigned i = 0; i < atomic_load(&k->n_resumed); i++) {
        k->resumed[i].spooled = store_spool_sent_as(k->store, k->sink, k->resumed[i].packet_id);
        if (ours) /* else what becomes of them is told at once */
            tell_resumed(m, &k->resumed[i], UP_IN_DOUBT);
    }
    m->resuming += atomic_load(&k->n_resumed);
    m->qos2_count += atomic_load(&k->n_resumed);
    pthread_mutex_unlock(&m->lock);
    const bool fits = version == 0 || k->version == 0 || k->version == version;
    if (!ours || !known || !fits) {
        forget(m); /* the spool hears what becomes of its messages */
        k->version = 0;
    }
    return ours && known && fits;
}

void keep_creating(struct mqtt *m, unsigned version)
{
    atomic_store(&m->keep.creating, version);
    if (version != 0)
        atomic_store(&m->keep.serving, version);
}

void keep_wipe(struct mqtt *m)
{
    atomic_store(&m->keep.forgetting, m->keep.store != NULL);
}

void keep_spare(struct mqtt *m)
{
    atomic_store(&m->keep.forgetting, false);
}

void keep_begin(struct mqtt *m)
{
    if (m->keep.store == NULL)
        return;
    char *const name = dial_session_name(m);
    const struct bytes part = bytes_str(name != NULL ? name : ""); /* which is nobody's */
    forget(m);
    atomic_store(&m->keep.forgetting, false);
    store_packet_put(m->keep.store, m->keep.sink, session_key, &part, 1);
    free(name);
}

bool keep_is_empty(struct mqtt *m)
{
    const struct keep *const k = &m->keep;
    pthread_mutex_lock(&m->lock);
    const bool idle = mqtt_window_used(m) == 0 && m->stranded == 0;
    pthread_mutex_unlock(&m->lock);
    return idle && atomic_load(&k->n_resumed) == 0 && !ids_any(&k->sent) &&
           !ids_any(&k->released) && !ids_any(&k->received);
}

/* Mostly there is nothing, as in a session that has just been made. */
void keep_session_lost(struct mqtt *m)
{
    const struct keep *const k = &m->keep;
    if (k->store != NULL && (atomic_load(&k->n_resumed) > 0 || ids_any(&k->sent) ||
                             ids_any(&k->released) || ids_any(&k->received)))
        keep_begin(m);
}

/* ---- messages -------------------------------------------------------------------------------- */

void keep_giving(struct mqtt *m, struct item *it)
{
    m->keep.giving = it;
}

enum up_result keep_failed(struct mqtt *m, const struct item *it)
{
    struct keep *const k = &m->keep;
    const unsigned id = it->packet_id;
    if (atomic_load(&k->forgetting))
        return ids_has(&k->released, id) ? UP_OK : UP_BUSY;
    if (!ids_has(&k->sent, id) ||
        !add_resumed(k, (struct resumed){.packet_id = id, .spooled = it->event.spooled}))
        return UP_BUSY;
    m->resuming++;
    m->qos2_count++;
    return UP_IN_DOUBT;
}

/* Of those that have an item, on_answer() tells. */
void keep_on_delivered(void *context, MQTTAsync_token packet_id)
{
    struct mqtt *const m = context;
    struct keep *const k = &m->keep;
    if (atomic_load_explicit(&k->n_resumed, memory_order_relaxed) == 0)
        return;
    pthread_mutex_lock(&m->lock);
    const unsigned n = atomic_load(&k->n_resumed);
    for (unsigned i = 0; i < n; i++) {
        if (k->resumed[i].packet_id != (unsigned)packet_id)
            continue;
        tell_resumed(m, &k->resumed[i], UP_OK);
        finish_leaving(k, true);
        k->resumed[i] = k->resumed[n - 1];
        atomic_store(&k->n_resumed, n - 1);
        m->resuming--;
        m->qos2_count--;
        host_kick(m);
        break;
    }
    pthread_mutex_unlock(&m->lock);
}

void keep_gone(struct mqtt *m, bool delivered)
{
    if (m->keep.store != NULL)
        finish_leaving(&m->keep, delivered);
}

/* The first time that Paho shows the message, and not from its queue. */
static bool is_arriving(const struct keep *k, int packet_id)
{
    return k->arriving.key[0] != '\0' && (int)k->arriving.id == packet_id;
}

uint64_t keep_message(struct mqtt *m, const struct up_event *e, int packet_id)
{
    struct keep *const k = &m->keep;
    const struct store_incoming message = {.topic = e->topic,
                                           .payload = body_bytes(e->body),
                                           .qos = e->qos,
                                           .retain = e->retain,
                                           .expiry_s = e->expiry_s};
    char key[KEY_ROOM];
    if (e->qos == 2 && is_arriving(k, packet_id)) {
        const struct bytes packet = bytes_of(k->arriving.packet, k->arriving.len);
        const uint64_t journal =
            store_message_with(k->store, k->sink, &message, k->arriving.key, packet);
        if (journal != 0)
            note_kept(k, &k->received, k->arriving.key, k->arriving.id);
        k->arriving.key[0] = '\0';
        return journal;
    }
    const bool drops = e->qos == 2 && m->dial.version != MQTTVERSION_5 && packet_id > 0 &&
                       packet_id < PACKET_IDS && ids_take(&k->received, (unsigned)packet_id);
    if (drops)
        snprintf(key, sizeof key, "r-%d", packet_id);
    return store_message(k->store, k->sink, &message, drops ? key : NULL);
}

void keep_unheard(struct mqtt *m)
{
    struct keep *const k = &m->keep;
    const struct bytes packet = bytes_of(k->arriving.packet, k->arriving.len);
    if (k->arriving.key[0] == '\0')
        return;
    if (store_packet_put(k->store, k->sink, k->arriving.key, &packet, 1) == 0)
        note_kept(k, &k->received, k->arriving.key, k->arriving.id);
    k->arriving.key[0] = '\0';
}
