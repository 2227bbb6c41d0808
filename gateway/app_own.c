/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes with MQTT sessions of their own: whose session is whose, with which id and login it is
 * opened, and the life of its sink. One is found by the node's client id, because its session may
 * begin anew under another key while messages of the old one still wait.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"

#include "app_priv.h"
#include "config_priv.h"
#include "mqttsn/topic.h"
#include "system.h"

enum {
    ID_MAX = 65535,
    OWN_QUEUED = 1000, /* requests of one client that wait for its connection */
    OWN_MEMORY = 64 * 1024,
};

struct own_sink {
    struct sink sink;
    struct hmap_node by_id; /* in app.own_ids */
    struct body *client_id;
    uint64_t login_print; /* of what its connection was made with */
};

/* What the [client] sections say; the last that fits and says it counts. */
struct own_policy {
    bool own;
    const char *mqtt_client_id;
    const char *username;
    const char *password_file;
    const char *cert_file;
    const char *key_file;
};

static void last_said(const char **value, const char *said)
{
    *value = said != NULL ? said : *value;
}

static struct own_policy policy_of(const struct app *a, unsigned broker, struct bytes client_id)
{
    const struct config_broker *b = &a->config->brokers[broker];
    struct own_policy p = {.own = b->sessions == 1 + SESSIONS_OWN,
                           .mqtt_client_id = b->own_client_id,
                           .username = b->username};
    /* Whose session is whose can't change while there are sessions. */
    for (size_t i = 0; i < a->first->n_clients; i++) {
        const struct config_client *c = &a->first->clients[i];
        if (!sn_glob_match(c->glob, client_id))
            continue;
        if (c->sessions != 0)
            p.own = c->sessions == 1 + SESSIONS_OWN;
        last_said(&p.mqtt_client_id, c->mqtt_client_id);
    }
    for (size_t i = 0; i < a->config->n_clients; i++) {
        const struct config_client *c = &a->config->clients[i];
        if (!sn_glob_match(c->glob, client_id))
            continue;
        last_said(&p.username, c->username);
        last_said(&p.password_file, c->password_file);
        last_said(&p.cert_file, c->cert_file);
        last_said(&p.key_file, c->key_file);
    }
    return p;
}

/* ---- templates --------------------------------------------------------------------------------- */

static bool is_file_name(struct bytes id)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_";
    for (size_t i = 0; i < id.len; i++) {
        if (id.data[i] == '\0' || strchr(allowed, id.data[i]) == NULL)
            return false;
    }
    return id.len > 0 && id.data[0] != '.';
}

/* {client} and {gateway} in place. NULL: it has no sound result, or there is no memory for it. */
static char *expand(const struct app *a, const char *template, struct bytes client_id, bool file)
{
    static const char client[] = "{client}";
    static const char gateway[] = "{gateway}";
    char *out = NULL;
    size_t len = 0;
    if (file && strstr(template, client) != NULL && !is_file_name(client_id))
        return NULL;
    FILE *f = open_memstream(&out, &len);
    if (f == NULL)
        return NULL;
    for (const char *at = template; *at != '\0';) {
        if (strncmp(at, client, strlen(client)) == 0) {
            fwrite(client_id.data, 1, client_id.len, f);
            at += strlen(client);
        } else if (strncmp(at, gateway, strlen(gateway)) == 0) {
            fputs(a->config->gateway.name, f);
            at += strlen(gateway);
        } else {
            fputc(*at++, f);
        }
    }
    const bool ok = fclose(f) == 0 && len > 0 && len <= ID_MAX && strlen(out) == len &&
                    bytes_is_utf8(bytes_of(out, len));
    if (!ok)
        free(out);
    return ok ? out : NULL;
}

/* The only line of the file, or NULL. */
static char *read_password(const char *path)
{
    char *text = NULL;
    size_t len = 0;
    unsigned mode;
    const int rc = config_read_file(path, CONFIG_PASSWORD_MAX, true, &text, &len, &mode);
    if (rc == 0 && config_one_line(text, len))
        return text;
    if (text != NULL)
        explicit_bzero(text, len);
    free(text);
    return NULL;
}

/* ---- the connection ---------------------------------------------------------------------------- */

/* What a connection is made with; freed when it has its own copies. */
struct login {
    char *client_id;
    char *username;
    char *password;
    char *cert_file;
    char *key_file;
};

static void login_free(struct login *l)
{
    if (l->password != NULL)
        explicit_bzero(l->password, strlen(l->password));
    free(l->client_id);
    free(l->username);
    free(l->password);
    free(l->cert_file);
    free(l->key_file);
}

/* NULL, or what can't be had. */
static const char *login_fill(const struct app *a, const struct own_policy *p, struct bytes id,
                              struct login *l)
{
    if ((l->client_id = expand(a, p->mqtt_client_id, id, false)) == NULL)
        return "mqtt_client_id";
    if (p->username != NULL && (l->username = expand(a, p->username, id, false)) == NULL)
        return "username";
    if (p->cert_file != NULL && (l->cert_file = expand(a, p->cert_file, id, true)) == NULL)
        return "cert_file";
    if (p->key_file != NULL && (l->key_file = expand(a, p->key_file, id, true)) == NULL)
        return "key_file";
    if (p->password_file == NULL)
        return NULL;
    char *path = expand(a, p->password_file, id, true);
    l->password = path != NULL ? read_password(path) : NULL;
    free(path);
    return l->password != NULL ? NULL : "password_file";
}

static struct mqtt_host *host_of(struct app *a, unsigned broker)
{
    if (a->pump.hosts[broker] == NULL) {
        const struct mqtt_host_options options = mqtt_host_defaults();
        a->pump.hosts[broker] = mqtt_host_new(&options, app_foreign_wake, &a->wake);
    }
    return a->pump.hosts[broker];
}

static void say_unusable(struct app *a, unsigned broker, struct bytes client_id, const char *what)
{
    if (!log_begin(&a->log, LOG_ERROR, "session.unusable"))
        return;
    if (a->config->n_brokers > 1)
        log_text(&a->log, "broker", config_broker_name(&a->config->brokers[broker]));
    log_str(&a->log, "client", client_id);
    log_word(&a->log, "what", what);
    log_text(&a->log, "text",
             "this client's own session can't be opened: see its [client] section");
    log_end(&a->log);
}

/* The broker keeps for the node what comes while it is away, so at least as long as we wait for it. */
static uint32_t expiry_s(const struct app *a, uint32_t of_broker_s)
{
    const int64_t of_node_s = (a->config->gateway.session_expiry_ms + 999) / 1000;
    return of_node_s > of_broker_s ? (uint32_t)of_node_s : of_broker_s;
}

/* All but what a command says. */
static struct mqtt_options own_options(const struct app *a, const struct own_sink *o,
                                       const struct login *login)
{
    const struct config_broker *b = &a->config->brokers[o->sink.broker];
    struct mqtt_options options = app_mqtt_options(a, b);
    options.client_id = login->client_id;
    options.username = login->username;
    options.password = login->password != NULL ? login->password : b->password;
    if (login->cert_file != NULL)
        options.tls.cert_file = login->cert_file;
    if (login->key_file != NULL)
        options.tls.key_file = login->key_file;
    options.max_queued = OWN_QUEUED;
    options.session_expiry_s = expiry_s(a, options.session_expiry_s);
    options.sink = o->sink.number;
    return options;
}

static uint64_t print_text(const struct app *a, uint64_t print, const char *text)
{
    return print * 31 + (text != NULL ? hash_bytes(&a->own_seed, bytes_str(text)) : 0);
}

/* Renewed files have other times. */
static uint64_t print_file(const struct app *a, uint64_t print, const char *path)
{
    struct stat st = {0};
    print = print_text(a, print, path);
    if (path == NULL || stat(path, &st) != 0)
        return print;
    print = print * 31 + (uint64_t)st.st_mtim.tv_sec * 1000000007;
    return (print * 31 + (uint64_t)st.st_mtim.tv_nsec) * 31 + (uint64_t)st.st_size;
}

/* The part of the login that is the client's own. */
static uint64_t print_login(const struct app *a, const struct login *l)
{
    uint64_t print = print_text(a, 1, l->username);
    print = print_text(a, print, l->password);
    print = print_file(a, print, l->cert_file);
    return print_file(a, print, l->key_file);
}

static bool connect_own(struct app *a, struct own_sink *o, const struct own_command *command)
{
    const struct bytes id = body_bytes(o->client_id);
    const struct own_policy policy = policy_of(a, o->sink.broker, id);
    struct mqtt_host *host = host_of(a, o->sink.broker);
    struct login login = {0};
    const char *missing = login_fill(a, &policy, id, &login);
    struct mqtt_options options = own_options(a, o, &login);
    o->login_print = print_login(a, &login);
    options.session = command->clean ? MQTT_SESSION_CLEAN : MQTT_SESSION_KEPT;
    options.will = (struct mqtt_will){.topic = command->will.topic,
                                      .body = command->will.body,
                                      .qos = command->will.qos,
                                      .retain = command->will.retain};
    options.user = &o->sink;
    system_random(&options.seed, sizeof options.seed);
    if (missing != NULL)
        say_unusable(a, o->sink.broker, id, missing);
    else if (host != NULL)
        o->sink.mqtt = mqtt_start(&options, host, NULL, NULL);
    login_free(&login);
    return o->sink.mqtt != NULL;
}

bool app_own_command(void *owner, struct sink *sink, const struct own_command *command)
{
    struct app *a = owner;
    if (command->type == OWN_CONNECT)
        return connect_own(a, container_of(sink, struct own_sink, sink), command);
    if (sink->mqtt != NULL)
        mqtt_close(sink->mqtt, command->type == OWN_ABORT);
    sink->mqtt = NULL;
    return true;
}

/* ---- the sink ---------------------------------------------------------------------------------- */

static uint64_t id_hash(const struct app *a, unsigned broker, struct bytes client_id)
{
    return hash_bytes(&a->own_seed, client_id) + broker;
}

static struct own_sink *find(const struct app *a, unsigned broker, struct bytes client_id)
{
    struct hmap_node *n = hmap_first(&a->own_ids, id_hash(a, broker, client_id));
    for (; n != NULL; n = hmap_next(n)) {
        struct own_sink *o = container_of(n, struct own_sink, by_id);
        if (o->sink.broker == broker && bytes_equal(body_bytes(o->client_id), client_id))
            return o;
    }
    return NULL;
}

static void own_sink_free(struct own_sink *o)
{
    spool_free(o->sink.spool);
    own_free(o->sink.own);
    body_unref(o->client_id);
    free(o);
}

/* The session says by itself which client's it is. */
static void name_logs(const struct app *a, struct own_sink *o)
{
    app_log_about(a, o->sink.broker, own_log(o->sink.own));
    if (o->sink.spool == NULL)
        return;
    app_log_about(a, o->sink.broker, spool_log(o->sink.spool));
    log_about(spool_log(o->sink.spool), "client", body_bytes(o->client_id));
}

/* NULL: no memory, or no number for it. */
static struct own_sink *new_sink(struct app *a, unsigned broker, uint64_t client,
                                 struct bytes client_id)
{
    const bool stored = a->pump.store != NULL;
    const bool spooled = app_wants_spool(a, broker);
    const struct own_config config = {.log_level = a->config->gateway.log_level,
                                      .seed = a->own_seed.k0,
                                      .spooled = spooled,
                                      .journal = stored && a->pump.router == NULL};
    struct own_sink *o = calloc(1, sizeof *o);
    if (o == NULL)
        return NULL;
    o->client_id = body_new(client_id);
    o->sink.broker = broker;
    o->sink.client = client;
    o->sink.own = own_new(&config, client, a->pump.now_ms);
    const char *name = config_broker_name(&a->config->brokers[broker]);
    bool ok = o->client_id != NULL && o->sink.own != NULL;
    if (ok && stored)
        ok = store_sink(a->pump.store, name, client_id, &o->sink.number) == 0;
    if (ok && spooled) {
        o->sink.spool = app_new_spool(a, broker, &a->own_seed, OWN_MEMORY);
        ok = o->sink.spool != NULL;
    }
    if (ok)
        name_logs(a, o);
    if (!ok || pump_add(&a->pump, &o->sink) != 0) {
        own_sink_free(o);
        return NULL;
    }
    hmap_insert(&a->own_ids, &o->by_id, id_hash(a, broker, client_id));
    return o;
}

struct sink *app_own(void *owner, unsigned broker, uint64_t client, struct bytes client_id,
                     bool *refused)
{
    struct app *a = owner;
    const struct own_policy policy = policy_of(a, broker, client_id);
    if (!policy.own)
        return NULL;
    struct own_sink *o = find(a, broker, client_id);
    if (o != NULL)
        return &o->sink;
    char *id = expand(a, policy.mqtt_client_id, client_id, false);
    /* Nodes choose their names; with the gateway's they would throw it out at the broker. */
    const bool sound = id != NULL && strcmp(id, a->config->brokers[broker].client_id) != 0;
    o = sound ? new_sink(a, broker, client, client_id) : NULL;
    if (!sound)
        say_unusable(a, broker, client_id, "mqtt_client_id");
    free(id);
    *refused = o == NULL;
    return o != NULL ? &o->sink : NULL;
}

/* ---- messages of sessions that are no more ------------------------------------------------------ */

struct again {
    struct app *app;
    uint64_t number;
    uint64_t client;
    struct own_sink *found;
};

static int make_again(void *owner, uint64_t number, const char *broker, struct bytes client_id)
{
    struct again *w = owner;
    if (number != w->number || client_id.len == 0)
        return 0;
    for (unsigned i = 0; i < w->app->config->n_brokers; i++) {
        if (strcmp(config_broker_name(&w->app->config->brokers[i]), broker) == 0)
            w->found = new_sink(w->app, i, w->client, client_id);
    }
    return 1;
}

struct sink *app_own_again(void *owner, uint64_t number, uint64_t client)
{
    struct again w = {.app = owner, .number = number, .client = client};
    store_sinks_each(w.app->pump.store, make_again, &w);
    return w.found != NULL ? &w.found->sink : NULL;
}

static void let_go(struct app *a, struct own_sink *o)
{
    pump_remove(&a->pump, &o->sink);
    hmap_remove(&a->own_ids, &o->by_id);
    own_sink_free(o);
}

void app_own_over(void *owner, struct sink *sink)
{
    struct app *a = owner;
    if (sink->mqtt != NULL)
        mqtt_close(sink->mqtt, false);
    if (a->pump.store != NULL) { /* the next one of that number begins with nothing */
        store_packets_clear(a->pump.store, sink->number);
        store_sink_gone(a->pump.store, sink->number);
    }
    let_go(a, container_of(sink, struct own_sink, sink));
}

/* ---- another configuration ---------------------------------------------------------------------- */

static void reload_connection(struct app *a, struct own_sink *o,
                              const struct config_changes *changes)
{
    const struct bytes id = body_bytes(o->client_id);
    const struct own_policy policy = policy_of(a, o->sink.broker, id);
    const uint32_t bit = UINT32_C(1) << o->sink.broker;
    struct login login = {0};
    const char *missing = login_fill(a, &policy, id, &login);
    const uint64_t print = print_login(a, &login);
    const bool other = print != o->login_print;
    const bool renews = other || (changes->renewals & bit) != 0;
    const struct mqtt_options options = own_options(a, o, &login);
    if (missing != NULL)
        say_unusable(a, o->sink.broker, id, missing);
    else if ((renews || (changes->brokers & bit) != 0) &&
             mqtt_change(o->sink.mqtt, &options, renews) == 0)
        o->login_print = print;
    login_free(&login);
}

void app_own_reload(struct app *a, const struct config_changes *changes)
{
    list_foreach (at, &a->pump.sinks) {
        struct sink *s = container_of(at, struct sink, all);
        if (s->own == NULL)
            continue;
        own_log(s->own)->level = a->config->gateway.log_level;
        if (s->spool != NULL && (changes->spools >> s->broker & 1) != 0) {
            const struct spool_config spool = app_spool_config(a, s->broker, OWN_MEMORY);
            pump_limit_spool(&a->pump, s, &spool);
        }
        if (s->mqtt != NULL)
            reload_connection(a, container_of(s, struct own_sink, sink), changes);
    }
}

void app_own_free(struct app *a)
{
    for (struct hmap_node *n; (n = hmap_any(&a->own_ids)) != NULL;)
        let_go(a, container_of(n, struct own_sink, by_id));
    hmap_deinit(&a->own_ids);
}
