/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proxies and WebSockets: the dialer makes the connection first, and Paho finds it made
 * (docs/adr/0019). Each attempt to connect has a tunnel of its own.
 */
#include <netdb.h>
#include <stdio.h>

#include "mqtt_priv.h"

bool dial_needs_tunnel(const struct mqtt *m)
{
    return m->dial.proxy.host != NULL || dial_target(&m->dial)->path != NULL;
}

const char *dial_first_hop(const struct mqtt *m, const char **port)
{
    const struct proxy *const p = &m->dial.proxy;
    const struct target *const t = dial_target(&m->dial);
    if (port != NULL)
        *port = p->host != NULL ? p->port : t->port;
    return p->host != NULL ? p->host : t->host;
}

const char *dial_first_server(const struct mqtt *m)
{
    return m->dial.proxy.server != NULL ? m->dial.proxy.server : dial_target(&m->dial)->server;
}

static void on_tunnel(void *arg)
{
    struct mqtt *const m = arg;
    pthread_mutex_lock(&m->lock);
    m->notes.tunnelled = true;
    host_kick(m);
    pthread_mutex_unlock(&m->lock);
}

static struct dialer_job *start(struct mqtt *m, struct tls_attempt *tls,
                                const struct addrinfo *address)
{
    const struct target *const t = dial_target(&m->dial);
    const struct dialer_request request = {
        .address = address->ai_addr,
        .address_len = address->ai_addrlen,
        .host = t->host,
        .port = t->port,
        .proxy = m->dial.proxy.server,
        .proxy_login = m->options.proxy_login,
        .path = t->path,
        .usual_port = t->usual_port,
        .tls = tls,
    };
    return dialer_start(&request, on_tunnel, m);
}

bool dial_begin_tunnel(struct mqtt *m, char *why, size_t why_size)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    const struct target *const t = dial_target(&m->dial);
    struct addrinfo *address = NULL;
    struct tls_attempt *tls = NULL;
    const char *port;
    const char *const host = dial_first_hop(m, &port);

    dial_forget_tunnel(m);
    if (t->tls && t->path != NULL && (tls = dial_tls_attempt(m, why, why_size)) == NULL)
        return false;
    const int unknown = resolver_get(host, port, &hints, &address);
    if (unknown != 0) {
        snprintf(why, why_size, "host name %s can't be resolved: %s", host, gai_strerror(unknown));
    } else {
        m->dial.job = start(m, tls, address);
        freeaddrinfo(address);
        if (m->dial.job == NULL)
            snprintf(why, why_size, "can't begin to connect: out of memory or descriptors");
    }
    tls_attempt_unref(tls);
    return m->dial.job != NULL;
}

bool dial_take_tunnel(struct mqtt *m, char *why, size_t why_size)
{
    struct dial *const d = &m->dial;
    struct dialer_result made;

    dialer_end(d->job, &made);
    d->job = NULL;
    pthread_mutex_lock(&m->lock);
    d->unreached = made.unreached;
    pthread_mutex_unlock(&m->lock);
    if (made.fd < 0) {
        snprintf(why, why_size, "%s", made.why);
        return false;
    }
    if (paho_tunnel_put(&made, dial_target(d)->path != NULL, d->tunnel) == 0)
        return true;
    snprintf(why, why_size, "out of memory");
    return false;
}

void dial_forget_tunnel(struct mqtt *m)
{
    struct dial *const d = &m->dial;
    dialer_end(d->job, NULL);
    d->job = NULL;
    paho_tunnel_drop(d->tunnel);
    d->tunnel[0] = '\0';
    pthread_mutex_lock(&m->lock);
    m->notes.tunnelled = false;
    pthread_mutex_unlock(&m->lock);
}

/* Of a WebSocket Paho knows nothing, nor of its TLS. */
bool dial_paho_tls(const struct mqtt *m)
{
    return dial_target(&m->dial)->tls && dial_target(&m->dial)->path == NULL;
}

const char *dial_paho_uri(const struct mqtt *m, char *room, size_t size)
{
    const struct target *const t = dial_target(&m->dial);
    if (!dial_needs_tunnel(m))
        return t->uri;
    snprintf(room, size, "%s://%s:1883", dial_paho_tls(m) ? "mqtts" : "mqtt",
             m->dial.tunnel[0] != '\0' ? m->dial.tunnel : "tunnel");
    return room;
}
