/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "base/error.h"
#include "base/log.h"

#include "doctor_priv.h"
#include "radio/link.h"
#include "store.h"
#include "system.h"

enum { TRY_MS = 30000, AUTO_MS = 30000, BROKER_MS = 3000 };

/* ---- saying it --------------------------------------------------------------------------------- */

static void say(struct doctor *d, const char *mark, const char *format, va_list args)
{
    fprintf(d->out, "%s", mark);
    vfprintf(d->out, format, args);
    fprintf(d->out, "\n");
    fflush(d->out);
}

void doctor_good(struct doctor *d, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(d, "  ok    ", format, args);
    va_end(args);
}

void doctor_warn(struct doctor *d, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    d->warnings++;
    say(d, "  warn  ", format, args);
    va_end(args);
}

void doctor_bad(struct doctor *d, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    d->failures++;
    say(d, "  FAIL  ", format, args);
    va_end(args);
}

/* ---- trying a stick ---------------------------------------------------------------------------- */

struct trial {
    struct doctor *d;
    uv_loop_t loop;
    uv_timer_t timer;
    bool opened, up, failed;
    bool recognised; /* by driver = auto */
    char last[DOCTOR_TEXT];
};

static void on_event(void *owner, uint16_t link, int level, const char *event, const char *text)
{
    struct trial *t = owner;
    (void)link;
    snprintf(t->last, sizeof t->last, "%s", text);
    if (strcmp(event, "link.up") == 0)
        t->up = true;
    else if (strcmp(event, "link.opening") == 0)
        t->opened = true;
    else if (strcmp(event, "link.lost") == 0)
        t->failed = true;
    else if (strcmp(event, "link.recognised") == 0) {
        t->recognised = true;
        doctor_good(t->d, "%s.", text);
    } else if (level <= LOG_WARN)
        doctor_warn(t->d, "%s.", text);
    if (t->up || t->failed)
        uv_stop(&t->loop);
}

static void on_packet(void *owner, const struct peer *from, const struct link_signal *signal,
                      struct bytes packet)
{
    (void)signal;
    (void)owner;
    (void)from;
    (void)packet;
}

static void on_group_packet(void *owner, const struct peer *from, struct bytes packet)
{
    on_packet(owner, from, NULL, packet);
}

static void on_batch_end(void *owner)
{
    (void)owner;
}

static void on_group(void *owner, uint16_t link, bool joined)
{
    (void)owner;
    (void)link;
    (void)joined;
}

static void on_outcome(void *owner, const struct peer *to, enum stick_outcome outcome)
{
    (void)owner;
    (void)to;
    (void)outcome;
}

static void on_limit(void *owner, uint16_t link, uint32_t bytes)
{
    (void)owner;
    (void)link;
    (void)bytes;
}

static void on_time(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* Opens it as the daemon would, until it is up, has failed, or time is over. 0 or a negative errno
 * with a sentence in t->last. */
static int try_link(struct doctor *d, size_t index, const char *driver_name, unsigned ms)
{
    struct trial *t = d->trial;
    memset(t, 0, sizeof *t);
    t->d = d;
    const struct link_sink sink = {.owner = t,
                                   .packet = on_packet,
                                   .batch_end = on_batch_end,
                                   .group_packet = on_group_packet,
                                   .group = on_group,
                                   .outcome = on_outcome,
                                   .limit = on_limit,
                                   .event = on_event};
    const struct link_driver *driver = link_driver_find(bytes_str(driver_name));
    struct link_config config;
    struct stick_config stick;
    struct link *l = NULL;
    config_radio(d->config, index, &config, &stick);
    config.driver = driver_name;
    stick.form_network = false; /* looking must not change anything */
    stick.permit_join_s = 0;
    if (uv_loop_init(&t->loop) != 0)
        return -ENOMEM;
    uv_timer_init(&t->loop, &t->timer);
    int rc = driver->open(&t->loop, &config, &sink, &l, t->last, sizeof t->last);
    explicit_bzero(&stick, sizeof stick);
    if (rc == 0 && config.stick != NULL) {
        uv_timer_start(&t->timer, on_time, ms, 0);
        driver->start(l);
        uv_run(&t->loop, UV_RUN_DEFAULT);
    }
    if (l != NULL)
        driver->close(l);
    uv_close((uv_handle_t *)&t->timer, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    uv_loop_close(&t->loop);
    return rc;
}

/* It does not answer as configured: does it answer at all? */
static void look_for_others(struct doctor *d, size_t index, const char *configured)
{
    const struct trial *t = d->trial;
    fprintf(d->out, "        Asking it which family it is; this takes up to half a minute.\n");
    fflush(d->out);
    if (try_link(d, index, "auto", AUTO_MS) != 0)
        return;
    if (t->up)
        doctor_warn(d, "With driver = auto it works, so it is not a %s stick at that baud.",
                    configured);
    else if (!t->recognised)
        fprintf(d->out, "        Nothing that is known answers: wrong device, a boot loader, or "
                        "firmware for something else. Replug it once.\n");
}

static void examine_stick(struct doctor *d, size_t index)
{
    const struct config_link *l = &d->config->links[index];
    if (!doctor_device(d, l))
        return;
    const struct trial *t = d->trial;
    const int rc = try_link(d, index, l->driver, TRY_MS);
    if (rc != 0) {
        doctor_bad(d, "%s", t->last);
    } else if (t->up) {
        doctor_good(d, "%s.", t->last);
    } else if (l->form_network == SN_YES && strstr(t->last, "has no network") != NULL) {
        doctor_good(d, "The stick answers and has no network: the daemon will form one, as "
                       "form_network = yes says.");
    } else {
        doctor_bad(d, "The stick does not start: %s.",
                   t->last[0] != '\0' ? t->last : "it does not answer within half a minute");
        if (t->opened && strcmp(l->driver, "auto") != 0 && strcmp(l->driver, "serial") != 0)
            look_for_others(d, index, l->driver);
    }
}

static void examine_udp(struct doctor *d, size_t index)
{
    const struct config_link *l = &d->config->links[index];
    const struct trial *t = d->trial;
    if (try_link(d, index, l->driver, 0) == 0)
        doctor_good(d, "udp %s can be listened on.", l->listen);
    else
        doctor_bad(d, "%s", t->last);
}

/* ---- the broker -------------------------------------------------------------------------------- */

/* "mqtt://host:port/path" in its parts; the configuration has been checked. */
static bool split(const char *address, char host[256], char port[8])
{
    const char *from = strstr(address, "://");
    from = from != NULL ? from + 3 : address;
    const char *const login = strchr(from, '@'); /* of a proxy, and not shown */
    from = login != NULL && strchr(from, '/') == NULL ? login + 1 : from;
    const bool bracket = *from == '[';
    const char *const end = bracket ? strchr(from, ']') : from;
    const char *colon = end != NULL ? strchr(end, ':') : NULL;
    if (colon == NULL || (size_t)(colon - from) >= 256)
        return false;
    const size_t len = (size_t)(colon - from) - (bracket ? 2 : 0);
    memcpy(host, from + (bracket ? 1 : 0), len);
    host[len] = '\0';
    snprintf(port, 8, "%.*s", (int)strspn(colon + 1, "0123456789"), colon + 1);
    return true;
}

/* 0, or why not. */
static int connects(const struct addrinfo *to)
{
    const int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int error = connect(fd, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof error;
    if (error == EINPROGRESS &&
        (poll(&wait, 1, BROKER_MS) <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0))
        error = ETIMEDOUT;
    close(fd);
    return error;
}

static void examine_address(struct doctor *d, const char *address, bool proxy)
{
    const char *const question =
        proxy ? "Is proxy right?"
              : "Is the broker running, and does it listen on more than its own machine "
                "(mosquitto: listener, allow_anonymous)?";
    char host[256];
    char port[8];
    if (!split(address, host, port))
        return;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    const int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        doctor_bad(d, "%s: the name can't be resolved: %s.", address, gai_strerror(rc));
        return;
    }
    int error = ENOENT;
    for (const struct addrinfo *a = found; a != NULL && error != 0; a = a->ai_next)
        error = connects(a);
    freeaddrinfo(found);
    if (error == 0)
        doctor_good(d, "%s accepts connections (TLS and login are not tried).", address);
    else if (error == ECONNREFUSED)
        doctor_bad(d, "%s: nobody listens there. %s", address, question);
    else
        doctor_bad(d, "%s: %s.", address, strerror(error));
}

/* Each of a list: the second is of no use if it is not there when the first is gone. */
static void examine_broker(struct doctor *d, const struct config_broker *broker)
{
    fprintf(d->out, "[broker%s%s]\n", broker->name != NULL ? " " : "",
            broker->name != NULL ? broker->name : "");
    if (broker->proxy != NULL) { /* who knows whether there is another way */
        examine_address(d, broker->proxy, true);
        return;
    }
    char *const list = strdup(broker->address);
    char *rest = NULL;
    for (char *one = list != NULL ? strtok_r(list, ", ", &rest) : NULL; one != NULL;
         one = strtok_r(NULL, ", ", &rest))
        examine_address(d, one, false);
    free(list);
}

/* ---- all of it --------------------------------------------------------------------------------- */

int doctor(const struct config *config, const char *root, FILE *out)
{
    struct doctor d = {.config = config, .root = root, .out = out};
    char error[300];
    d.trial = malloc(sizeof *d.trial);
    if (d.trial == NULL)
        return EXIT_SYSTEM;
    fprintf(out, "[gateway]\n");
    if (system_state_dir(config->gateway.state_dir, error, sizeof error) != 0)
        doctor_bad(&d, "%s", error);
    else if (config->store.durability != 1 + STORE_OFF &&
             store_in_use(config->gateway.state_dir, error, sizeof error))
        doctor_bad(&d, "%s", error);
    else
        doctor_good(&d, "state_dir %s can be written.", config->gateway.state_dir);
    bool has_stick = false;
    for (size_t i = 0; i < config->n_links; i++) {
        const struct config_link *l = &config->links[i];
        fprintf(out, "[link %s]\n", l->name);
        if (l->device != NULL)
            examine_stick(&d, i);
        else
            examine_udp(&d, i);
        has_stick = has_stick || l->device != NULL;
    }
    if (has_stick)
        doctor_disturbers(&d);
    for (size_t i = 0; i < config->n_brokers; i++)
        examine_broker(&d, &config->brokers[i]);
    free(d.trial);
    fprintf(out, "%u wrong, %u to think about.\n", d.failures, d.warnings);
    return d.failures == 0 ? EXIT_OK : EXIT_UNAVAILABLE;
}
