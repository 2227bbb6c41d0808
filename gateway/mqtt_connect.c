/* SPDX-License-Identifier: Apache-2.0 */
#include "mqtt_connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqtt_priv.h"
#include "tls_cache.h"

enum {
    CONNECT_TIMEOUT_S = 10,   /* Paho looks at it each 3 s */
    PAHO_QUEUE_MAX = 1000000, /* more than any window: the queue is ours */
    /* Longer than any connection stays silent, and still an int in milliseconds. Paho 1.3.12
     * resends unanswered messages within a connection after max(10 s, this), once it has
     * reconnected; mosquitto closes the connection on the third copy. */
    NEVER_RESEND_S = 2000000,
    URI_ROOM = 64, /* for that of a tunnel */
};

/* ---- addresses ------------------------------------------------------------------------------- */

static char *copy_host(const char *server)
{
    if (*server == '[')
        return strndup(server + 1, strcspn(server + 1, "]"));
    return strndup(server, strcspn(server, ":/"));
}

/* ":8883" behind a host. */
static void copy_port(const char *server, char port[8])
{
    const char *const bracket = *server == '[' ? strchr(server, ']') : server;
    const char *const colon = bracket != NULL ? strchr(bracket, ':') : NULL;
    snprintf(port, 8, "%.*s", colon != NULL ? (int)strspn(colon + 1, "0123456789") : 0,
             colon != NULL ? colon + 1 : "");
}

static void find_path(struct target *t)
{
    const char *const path = strchr(t->server, '/');
    if (strncmp(t->uri, "ws", 2) != 0)
        return;
    t->usual_port = strcmp(t->port, t->tls ? "443" : "80") == 0;
    t->path = path != NULL ? path : "/mqtt";
}

static int add_target(struct dial *d, const char *text, size_t len)
{
    struct target *const grown = realloc(d->targets, (d->n_targets + 1) * sizeof *grown);
    if (grown == NULL)
        return -ENOMEM;
    d->targets = grown;
    char *const uri = strndup(text, len);
    if (uri == NULL)
        return -ENOMEM;
    const char *const rest = strstr(uri, "://");
    const char *const server = rest != NULL ? rest + 3 : uri;
    const bool tls = strncmp(uri, "mqtts:", 6) == 0 || strncmp(uri, "wss:", 4) == 0;
    char *const host = copy_host(server);
    if (host == NULL) {
        free(uri);
        return -ENOMEM;
    }
    struct target t = {.uri = uri, .server = server, .host = host, .tls = tls};
    copy_port(server, t.port);
    find_path(&t);
    d->targets[d->n_targets++] = t;
    return 0;
}

static int take_proxy(struct proxy *p, const char *text)
{
    if (text == NULL)
        return 0;
    const char *const scheme = strstr(text, "://");
    const char *const rest = scheme != NULL ? scheme + 3 : text;
    const char *const login = strrchr(rest, '@');
    p->server = strdup(login != NULL ? login + 1 : rest);
    p->host = p->server != NULL ? copy_host(p->server) : NULL;
    if (p->host == NULL)
        return -ENOMEM;
    copy_port(p->server, p->port);
    return 0;
}

int dial_init(struct dial *d, const char *addresses, const char *proxy)
{
    *d = (struct dial){.ticket = ""};
    int rc = take_proxy(&d->proxy, proxy);
    if (rc != 0)
        return rc;
    do {
        addresses += strspn(addresses, ", ");
        const size_t len = strcspn(addresses, ", ");
        rc = add_target(d, addresses, len);
        addresses += len;
    } while (rc == 0 && addresses[strspn(addresses, ", ")] != '\0');
    return rc;
}

static void free_addresses(struct dial *d)
{
    for (size_t i = 0; i < d->n_targets; i++) {
        free(d->targets[i].uri);
        free(d->targets[i].host);
    }
    free(d->targets);
    free(d->proxy.server);
    free(d->proxy.host);
}

void dial_deinit(struct dial *d)
{
    paho_ticket_drop(d->ticket);
    free_addresses(d);
    paho_tunnel_drop(d->tunnel);
    *d = (struct dial){.ticket = ""};
}

void dial_replace(struct dial *d, struct dial *from)
{
    const char *const home =
        d->has_session && d->session_at < d->n_targets ? d->targets[d->session_at].uri : "";
    size_t at = 0;
    while (at < from->n_targets && strcmp(from->targets[at].uri, home) != 0)
        at++;
    struct dial old = {.targets = d->targets, .n_targets = d->n_targets, .proxy = d->proxy};
    d->targets = from->targets;
    d->n_targets = from->n_targets;
    d->proxy = from->proxy;
    d->at = 0;
    d->session_at = at; /* n_targets: at none of these */
    d->closed = 0;
    d->refused = 0;
    free_addresses(&old);
    *from = (struct dial){.ticket = ""};
}

const struct target *dial_target(const struct dial *d)
{
    return &d->targets[d->at];
}

/* ---- one after the other ---------------------------------------------------------------------- */

static void use(struct mqtt *m, size_t at)
{
    pthread_mutex_lock(&m->lock);
    m->dial.at = at;
    pthread_mutex_unlock(&m->lock);
}

bool dial_next(struct mqtt *m)
{
    struct dial *const d = &m->dial;
    pthread_mutex_lock(&m->lock);
    const bool unreached = d->unreached;
    d->unreached = false;
    pthread_mutex_unlock(&m->lock);
    if (unreached) /* next time at another address of the same name */
        resolver_next(dial_first_hop(m, NULL));
    use(m, (m->dial.at + 1) % m->dial.n_targets);
    return m->dial.at != 0;
}

void dial_first(struct mqtt *m)
{
    use(m, 0);
}

void dial_settled(struct mqtt *m)
{
    m->dial.session_at = m->dial.at;
    m->dial.has_session = true;
    m->dial.refused = 0;
    m->dial.closed = 0;
}

bool dial_is_stale(const struct mqtt *m)
{
    return m->dial.has_session && m->dial.session_at != m->dial.at && !m->options.cluster;
}

/* Of the session at one of the targets. */
static char *name_at(const struct mqtt *m, size_t target)
{
    char *name = NULL;
    const char *const address =
        m->options.cluster ? m->options.address : m->dial.targets[target].uri;
    return asprintf(&name, "%s %s", m->options.client_id, address) >= 0 ? name : NULL;
}

char *dial_session_name(const struct mqtt *m)
{
    return name_at(m, m->dial.at);
}

bool dial_recall_session(struct mqtt *m, const void *name, size_t len)
{
    struct dial *const d = &m->dial;
    for (size_t i = 0; i < d->n_targets; i++) {
        char *const known = name_at(m, i);
        const bool same = known != NULL && bytes_equal(bytes_str(known), bytes_of(name, len));
        free(known);
        if (!same)
            continue;
        d->session_at = i;
        d->has_session = true;
        return true;
    }
    return false;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void on_looked_up(void *arg)
{
    struct mqtt *const m = arg;
    pthread_mutex_lock(&m->lock);
    m->notes.looked_up = true;
    host_kick(m);
    pthread_mutex_unlock(&m->lock);
}

static bool is_address(const char *host)
{
    unsigned char room[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, room) == 1 || inet_pton(AF_INET6, host, room) == 1;
}

bool dial_look_up(struct mqtt *m)
{
    struct dial *const d = &m->dial;
    const char *const host = dial_first_hop(m, NULL);
    pthread_mutex_lock(&m->lock);
    m->notes.looked_up = false;
    pthread_mutex_unlock(&m->lock);
    if (is_address(host))
        return true;
    return resolver_ask(&d->wait, host, on_looked_up, m);
}

int dial_lookup_error(const struct mqtt *m)
{
    const char *const host = dial_first_hop(m, NULL);
    return is_address(host) ? 0 : resolver_error(host);
}

void dial_forget_lookup(struct mqtt *m)
{
    resolver_forget(&m->dial.wait);
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static const char *const part_names[] = {
    [TLS_PART_CA_FILE] = "ca_file can't be used: ",
    [TLS_PART_CA_PATH] = "ca_path can't be used: ",
    [TLS_PART_CRL_FILE] = "crl_file can't be used: ",
    [TLS_PART_CERT_FILE] = "cert_file can't be used: ",
    [TLS_PART_KEY_FILE] = "key_file can't be used: ",
    [TLS_PART_KEY_PASSWORD_FILE] = "key_password_file can't be used: ",
    [TLS_PART_CIPHERS] = "ciphers can't be used: ",
    [TLS_PART_ALPN] = "alpn can't be used: ",
    [TLS_PART_PSK_FILE] = "psk_file can't be used: ",
    [TLS_PART_NONE] = "",
};

struct tls_attempt *dial_tls_attempt(const struct mqtt *m, char *why, size_t why_size)
{
    const struct target *const t = dial_target(&m->dial);
    struct tls_options options = m->options.tls;
    struct tls_problem problem;

    if (t->path != NULL && options.alpn == NULL)
        options.alpn = "http/1.1"; /* else a server may think of HTTP/2 */
    SSL_CTX *const ctx = tls_context_shared(&options, &problem);
    if (ctx == NULL) {
        snprintf(why, why_size, "%s%s", part_names[problem.part], problem.text);
        return NULL;
    }
    struct tls_attempt *const a = tls_attempt_new(ctx, t->host);
    if (a == NULL)
        snprintf(why, why_size, "out of memory");
    return a;
}

/* False: `why` says why not. */
static bool prepare_tls(struct mqtt *m, char *why, size_t why_size)
{
    struct dial *const d = &m->dial;

    paho_ticket_drop(d->ticket);
    d->ticket[0] = '\0';
    struct tls_attempt *const a = dial_tls_attempt(m, why, why_size);
    if (a == NULL)
        return false;
    const bool ok = paho_ticket_put(a, d->ticket) == 0;
    if (!ok)
        snprintf(why, why_size, "out of memory");
    tls_attempt_unref(a);
    return ok;
}

/* ---- versions -------------------------------------------------------------------------------- */

unsigned dial_fixed_version(const struct mqtt *m)
{
    switch (m->options.version) {
    case MQTT_5:
        return MQTTVERSION_5;
    case MQTT_3_1_1:
        return MQTTVERSION_3_1_1;
    case MQTT_AUTO:
        break;
    }
    return DIAL_ANY_VERSION;
}

void dial_begin(struct mqtt *m, unsigned version)
{
    const unsigned fixed = dial_fixed_version(m);
    if (fixed != DIAL_ANY_VERSION)
        version = fixed;
    m->dial.version = version != 0 ? version : MQTTVERSION_5;
    m->dial.keepalive_s = m->options.keepalive_s;
}

/* A broker that knows neither must not be asked in a circle, and one that closes may just be starting:
 * it is asked twice. */
bool dial_other_version(struct mqtt *m)
{
    enum { CLOSED_MAX = 2 };

    struct dial *const d = &m->dial;
    const unsigned other = d->version == MQTTVERSION_5 ? MQTTVERSION_3_1_1 : MQTTVERSION_5;
    pthread_mutex_lock(&m->lock);
    const enum dial_verdict verdict = d->verdict;
    pthread_mutex_unlock(&m->lock);
    d->closed = verdict == DIAL_CLOSED ? d->closed + 1 : 0;
    if (verdict == DIAL_OTHER || dial_fixed_version(m) != DIAL_ANY_VERSION)
        return false;
    if (verdict == DIAL_CLOSED && d->closed < CLOSED_MAX)
        return false;
    d->closed = 0;
    d->refused |= 1U << d->version;
    const bool hopeful = (d->refused & 1U << other) == 0;
    if (!hopeful)
        d->refused = 0;
    pthread_mutex_lock(&m->lock);
    d->version = other;
    pthread_mutex_unlock(&m->lock);
    return hopeful;
}

/* ---- Paho ------------------------------------------------------------------------------------ */

bool dial_needs_other_handle(const struct mqtt *m)
{
    const struct dial *const d = &m->dial;
    return d->created != 0 && (d->created != d->version || d->created_tls != dial_paho_tls(m));
}

/* A handle that was made for 3.1.1 can't do more, and one that has connected with 3.1.1 can't go back.
 * What the old one still held is answered by its end. */
int dial_create(struct mqtt *m, MQTTAsync *handle)
{
    const bool kept = m->keep.store != NULL && m->options.session != MQTT_SESSION_CLEAN;
    const unsigned version = m->dial.version;
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer;
    MQTTAsync old = *handle;
    char room[URI_ROOM];

    if (old != NULL && m->dial.created != 0 && !dial_needs_other_handle(m))
        return MQTTASYNC_SUCCESS;
    options.MQTTVersion = (int)version;
    options.maxBufferedMessages = PAHO_QUEUE_MAX;
    options.persistQoS0 = 0;
    *handle = NULL;
    keep_creating(m, version);
    int rc = MQTTAsync_createWithOptions(
        handle, dial_paho_uri(m, room, sizeof room), m->options.client_id,
        kept ? MQTTCLIENT_PERSISTENCE_USER : MQTTCLIENT_PERSISTENCE_NONE,
        kept ? &m->keep.calls : NULL, &options);
    keep_creating(m, 0);
    if (rc == MQTTASYNC_SUCCESS)
        rc = MQTTAsync_setCallbacks(*handle, m, on_lost, on_message, keep_on_delivered);
    if (rc == MQTTASYNC_SUCCESS)
        rc = MQTTAsync_setDisconnected(*handle, m, on_dismissed5);
    m->dial.created = rc == MQTTASYNC_SUCCESS ? version : 0;
    m->dial.created_tls = dial_paho_tls(m);
    if (old != NULL) /* after the new one: with its last handle Paho ends its threads */
        MQTTAsync_destroy(&old);
    return rc;
}

/* As far as configuration and broker go. */
static unsigned will_qos(const struct mqtt *m)
{
    const unsigned broker = 2 - atomic_load(&m->host->will_less_qos);
    const unsigned ours = limits_of(m).max_qos;
    const unsigned most = broker < ours ? broker : ours;
    return m->options.will.qos < most ? m->options.will.qos : most;
}

/* Paho copies it. */
static MQTTAsync_willOptions *fill_in_will(const struct mqtt *m, MQTTAsync_willOptions *will)
{
    const struct mqtt_will *const w = &m->options.will;
    const struct bytes payload = body_bytes(w->body);

    if (m->will_topic == NULL)
        return NULL;
    will->topicName = m->will_topic;
    will->payload.data = payload.data;
    will->payload.len = (int)payload.len;
    will->qos = (int)will_qos(m);
    will->retained = w->retain && !atomic_load(&m->host->will_no_retain);
    return will;
}

bool dial_lesser_will(struct mqtt *m, uint8_t refusal)
{
    const unsigned qos = will_qos(m);
    const bool retain = m->options.will.retain && !atomic_load(&m->host->will_no_retain);

    if (m->will_topic == NULL)
        return false;
    if (refusal == MQTTREASONCODE_QOS_NOT_SUPPORTED && qos > 0)
        atomic_store(&m->host->will_less_qos, 2 - (qos - 1));
    else if (refusal == MQTTREASONCODE_RETAIN_NOT_SUPPORTED && retain)
        atomic_store(&m->host->will_no_retain, true);
    else
        return false;
    return true;
}

static void add_number(MQTTProperties *p, enum MQTTPropertyCodes code, uint32_t value)
{
    MQTTProperty one = {.identifier = code};
    one.value.integer4 = value;
    (void)MQTTProperties_add(p, &one); /* out of memory: the broker's default */
}

static void set_callbacks(struct mqtt *m, MQTTAsync_connectOptions *options)
{
    const bool is_v5 = m->dial.version == MQTTVERSION_5;
    options->onSuccess = is_v5 ? NULL : on_connected;
    options->onFailure = is_v5 ? NULL : on_connect_failed;
    options->onSuccess5 = is_v5 ? on_connected5 : NULL;
    options->onFailure5 = is_v5 ? on_connect_failed5 : NULL;
    options->context = m;
}

/* What wakes us is a callback of Paho's, in the middle of what it does about the end of a connection. What
 * follows there is for the callbacks of *that* connection, but MQTTAsync_connect() writes those of the
 * next one without the lock: they would be called, or forgotten. */
static void wait_for_paho(MQTTAsync handle)
{
    (void)MQTTAsync_isConnected(handle); /* takes the lock, which is held until all that is over */
}

int dial_connect(struct mqtt *m, MQTTAsync handle, bool clean, char *why, size_t why_size)
{
    const struct mqtt_options *const o = &m->options;
    const bool is_v5 = m->dial.version == MQTTVERSION_5;
    char room[URI_ROOM];
    char *const uris[] = {(char *)(uintptr_t)dial_paho_uri(m, room, sizeof room)}; /* only read */
    MQTTAsync_SSLOptions ssl = MQTTAsync_SSLOptions_initializer;
    MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;

    why[0] = '\0';
    if (dial_paho_tls(m)) {
        if (!prepare_tls(m, why, why_size))
            return MQTTASYNC_FAILURE;
        ssl.trustStore = m->dial.ticket;
        ssl.verify = 0; /* done by OpenSSL itself, with more to say */
        options.ssl = &ssl;
    }
    options.MQTTVersion = (int)m->dial.version;
    options.serverURIcount = 1;
    options.serverURIs = uris;
    options.keepAliveInterval = (int)m->dial.keepalive_s;
    options.cleansession = !is_v5 && clean;
    options.cleanstart = is_v5 && clean;
    if (is_v5) {
        add_number(&properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL,
                   clean ? 0 : o->session_expiry_s);
        options.connectProperties = &properties;
    }
    options.will = fill_in_will(m, &will);
    options.maxInflight = 65535; /* the window is ours: Paho's own costs a second per message */
    options.username = o->username;
    options.password = o->password;
    options.connectTimeout = CONNECT_TIMEOUT_S;
    options.retryInterval = NEVER_RESEND_S;
    options.automaticReconnect = 0;
    set_callbacks(m, &options);
    wait_for_paho(handle);
    const int rc = MQTTAsync_connect(handle, &options);
    MQTTProperties_free(&properties);
    return rc;
}

int dial_close(struct mqtt *m, MQTTAsync handle)
{
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer5;
    const bool is_v5 = m->dial.version == MQTTVERSION_5;
    options.onSuccess = is_v5 ? NULL : on_closed;
    options.onSuccess5 = is_v5 ? on_closed5 : NULL;
    options.context = m;
    options.timeout = 0;
    return MQTTAsync_disconnect(handle, &options);
}
