/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only the whole configuration shows: keys that are missing, keys that contradict each other,
 * doubles, and the values that need more than their own line to be judged.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_priv.h"

enum { HOST_MAX = 253, NAME_MAX_OCTETS = 64, NUMBER_ROOM = 16 };

static const struct config_place start_of_file = {.file = 0, .line = 1, .column = 1};

static struct config_place somewhere(struct config_place at)
{
    return at.line > 0 ? at : start_of_file;
}

/* ---- retransmission toward nodes ------------------------------------------------------------- */

static void say_order(struct config_builder *b, enum config_message m, const char *name,
                      int64_t value_ms, const char *bound, int64_t bound_ms)
{
    char text[CONFIG_TEXT_ROOM / 4];
    char limit[CONFIG_TEXT_ROOM / 4];
    config_number_print(config_key_find(SECTION_GATEWAY, name), value_ms, text, sizeof text);
    config_number_print(config_key_find(SECTION_GATEWAY, bound), bound_ms, limit, sizeof limit);
    const bool here = config_is_set(&b->gateway, SECTION_GATEWAY, name);
    config_say2(&b->report, config_place_of(&b->gateway, SECTION_GATEWAY, here ? name : bound), m,
                text, limit);
}

/* Afterwards retry_min is what the engine goes by, and the printed configuration loads quietly. */
static void check_retry(struct config_builder *b)
{
    const int64_t start_ms = b->config->gateway.retry_interval_ms;
    const int64_t min_ms = b->config->gateway.retry_min_ms;
    const int64_t max_ms = b->config->gateway.retry_max_ms;
    /* The default may well be above: only who wrote it expects it to matter. */
    const bool said_min = config_is_set(&b->gateway, SECTION_GATEWAY, "retry_min");
    if (start_ms > max_ms)
        say_order(b, SAY_RETRY_ABOVE_MAX, "retry_interval", start_ms, "retry_max", max_ms);
    if (said_min && min_ms > max_ms)
        say_order(b, SAY_RETRY_ORDER, "retry_min", min_ms, "retry_max", max_ms);
    else if (said_min && min_ms > start_ms)
        say_order(b, SAY_RETRY_MIN_IDLE, "retry_min", min_ms, "retry_interval", start_ms);
    if (min_ms > start_ms)
        b->config->gateway.retry_min_ms = start_ms;
}

/* ---- the broker's address -------------------------------------------------------------------- */

/* Reads ":port" or nothing; 0: neither. */
static unsigned read_port(const char *text)
{
    if (*text == '\0')
        return 1883;
    if (*text++ != ':')
        return 0;
    unsigned port = 0;
    for (; *text >= '0' && *text <= '9' && port <= UINT16_MAX; text++)
        port = port * 10 + (unsigned)(*text - '0');
    return *text == '\0' && port <= UINT16_MAX ? port : 0;
}

static bool is_host(const char *host, size_t len)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_";
    return len > 0 && len <= HOST_MAX && host[0] != '-' && strspn(host, allowed) >= len;
}

static bool is_ip6(const char *text, size_t len)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* Splits "host", "host:port" or "[ip6]:port". NULL: done; or what is wrong. */
static const char *split_address(const char *text, size_t *host_len, unsigned *port)
{
    if (*text == '[') {
        const char *bracket = strchr(text, ']');
        if (bracket == NULL || !is_ip6(text + 1, (size_t)(bracket - text) - 1))
            return "no IPv6 address between [ and ]";
        *host_len = (size_t)(bracket - text) + 1;
    } else {
        const char *colon = strchr(text, ':');
        if (colon != NULL && strchr(colon + 1, ':') != NULL)
            return "an IPv6 address needs [ and ] around it";
        *host_len = strcspn(text, ":");
        if (!is_host(text, *host_len))
            return "no host name";
    }
    *port = read_port(text + *host_len);
    return *port != 0 ? NULL : "no port from 1 to 65535";
}

/* "mqtt://host:port" of whatever form `text` has; NULL: said. */
static char *full_address(struct config_report *r, struct config_place at, const char *text)
{
    static const char *const unsupported[] = {"mqtts", "ssl", "tls", "ws", "wss"};
    if (strchr(text, '@') != NULL) {
        config_say0(r, at, SAY_ADDRESS_LOGIN);
        return NULL;
    }
    const char *rest = strstr(text, "://");
    if (rest != NULL) {
        char scheme[CONFIG_TEXT_ROOM];
        snprintf(scheme, sizeof scheme, "%.*s", (int)(rest - text), text);
        for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++) {
            if (strcmp(scheme, unsupported[i]) == 0) {
                config_say1(r, at, SAY_ADDRESS_TLS, scheme);
                return NULL;
            }
        }
        if (strcmp(scheme, "mqtt") != 0) {
            config_say1(r, at, SAY_ADDRESS_SCHEME, scheme);
            return NULL;
        }
    }
    const char *host = rest != NULL ? rest + strlen("://") : text;
    size_t host_len = 0;
    unsigned port = 0;
    const char *wrong = split_address(host, &host_len, &port);
    if (wrong != NULL) {
        config_say2(r, at, SAY_ADDRESS_SYNTAX, text, wrong);
        return NULL;
    }
    const size_t size = host_len + sizeof "mqtt://:65535";
    char *full = malloc(size);
    if (full == NULL)
        r->out_of_memory = true;
    else
        snprintf(full, size, "mqtt://%.*s:%u", (int)host_len, host, port);
    return full;
}

static void check_address(struct config_builder *b)
{
    struct config_broker *broker = &b->config->broker;
    const struct config_place at =
        somewhere(config_place_of(&b->broker, SECTION_BROKER, "address"));
    if (broker->address == NULL) {
        if (!config_is_set(&b->broker, SECTION_BROKER, "address") && !b->report.incomplete)
            config_say0(&b->report, at, SAY_NO_ADDRESS);
        return; /* else its line was bad, which is said */
    }
    char *full = full_address(&b->report, at, broker->address);
    if (full != NULL) {
        free(broker->address);
        broker->address = full;
    }
}

/* ---- the rest of the broker ------------------------------------------------------------------ */

static void check_reconnect(struct config_builder *b)
{
    const struct config_broker *broker = &b->config->broker;
    if (broker->reconnect_min_ms <= broker->reconnect_max_ms)
        return;
    char low[CONFIG_TEXT_ROOM / 4];
    char high[CONFIG_TEXT_ROOM / 4];
    config_number_print(config_key_find(SECTION_BROKER, "reconnect_min"), broker->reconnect_min_ms,
                        low, sizeof low);
    config_number_print(config_key_find(SECTION_BROKER, "reconnect_max"), broker->reconnect_max_ms,
                        high, sizeof high);
    config_say2(&b->report, config_place_of(&b->broker, SECTION_BROKER, "reconnect_min"),
                SAY_RECONNECT_ORDER, low, high);
}

/* The default may well be above: only who wrote it expects it to matter. */
static void check_window(struct config_builder *b)
{
    struct config_broker *broker = &b->config->broker;
    if (broker->window_qos2 <= broker->window)
        return;
    if (config_is_set(&b->broker, SECTION_BROKER, "window_qos2")) {
        char part[CONFIG_TEXT_ROOM / 4];
        char whole[CONFIG_TEXT_ROOM / 4];
        config_number_print(config_key_find(SECTION_BROKER, "window_qos2"), broker->window_qos2,
                            part, sizeof part);
        config_number_print(config_key_find(SECTION_BROKER, "window"), broker->window, whole,
                            sizeof whole);
        config_say2(&b->report, config_place_of(&b->broker, SECTION_BROKER, "window_qos2"),
                    SAY_WINDOW_QOS2, part, whole);
    }
    broker->window_qos2 = broker->window;
}

/* Takes the one line that a password file holds; its content is never shown. */
static bool take_password(struct config_broker *broker, char *text, size_t len)
{
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    text[len] = '\0';
    if (len == 0 || strlen(text) != len || strpbrk(text, "\r\n") != NULL)
        return false;
    broker->password = text;
    return true;
}

static void check_password(struct config_builder *b)
{
    struct config_broker *broker = &b->config->broker;
    struct config_report *r = &b->report;
    if (broker->password_file == NULL)
        return;
    const struct config_place at = config_place_of(&b->broker, SECTION_BROKER, "password_file");
    if (broker->username == NULL)
        config_say0(r, at, SAY_PASSWORD_ALONE);
    if (!b->may_open)
        return;
    char *text = NULL;
    size_t len = 0;
    unsigned mode = 0;
    const int rc =
        config_read_file(broker->password_file, CONFIG_PASSWORD_MAX, true, &text, &len, &mode);
    if (rc == -ENOMEM) {
        r->out_of_memory = true;
        return;
    }
    if (rc < 0) {
        config_say2(r, at, SAY_PASSWORD_UNREADABLE, broker->password_file,
                    rc == -EINVAL ? "not a regular file" : strerror(-rc));
        return;
    }
    if (rc > 0 || !take_password(broker, text, len)) {
        char most[NUMBER_ROOM];
        snprintf(most, sizeof most, "%d", CONFIG_PASSWORD_MAX);
        config_say2(r, at, SAY_PASSWORD_CONTENT, broker->password_file, most);
        explicit_bzero(text, len);
        free(text);
    }
    if ((mode & 077) != 0) {
        char octal[NUMBER_ROOM];
        snprintf(octal, sizeof octal, "%04o", mode & 07777);
        config_say2(r, at, SAY_PASSWORD_MODE, broker->password_file, octal);
    }
}

/* ---- topics ---------------------------------------------------------------------------------- */

static int by_topic_id(const void *one, const void *two)
{
    const struct config_topic_origin *a = one;
    const struct config_topic_origin *b = two;
    if (a->topic_id != b->topic_id)
        return a->topic_id < b->topic_id ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

static void say_topic_twice(struct config_builder *b, const struct config_topic_origin *first,
                            const struct config_topic_origin *again, const char *topic)
{
    char id[NUMBER_ROOM];
    char line[NUMBER_ROOM];
    snprintf(id, sizeof id, "%u", again->topic_id);
    snprintf(line, sizeof line, "%u", first->at.line);
    config_say3(&b->report, again->at, SAY_TOPIC_TWICE, id, topic, line);
}

/* Entries without a topic go; the order of the others stays. */
static void compact(struct config_topics *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_entries; i++) {
        if (t->entries[i].topic != NULL)
            t->entries[n++] = t->entries[i];
    }
    t->n_entries = n;
}

/* An id twice in one file is a mistake; a later file replaces what an earlier one said. */
static void check_topics(struct config_builder *b, size_t i)
{
    struct config_topics *t = &b->config->topics[i];
    struct config_topic_origin *o = b->topics[i].entries;
    if (t->n_entries < 2)
        return;
    qsort(o, t->n_entries, sizeof *o, by_topic_id);
    for (size_t k = 1; k < t->n_entries; k++) {
        if (o[k].topic_id != o[k - 1].topic_id)
            continue;
        struct sn_predefined *kept = &t->entries[o[k - 1].index];
        if (o[k].at.file == o[k - 1].at.file)
            say_topic_twice(b, &o[k - 1], &o[k], kept->topic);
        free((void *)(uintptr_t)kept->topic);
        kept->topic = t->entries[o[k].index].topic;
        t->entries[o[k].index].topic = NULL;
        o[k].index = o[k - 1].index;
    }
    compact(t);
}

/* ---- names that are not given ---------------------------------------------------------------- */

/* The host name, with '-' for what a name may not hold. */
static void name_after_host(struct config_builder *b)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_";
    char host[NAME_MAX_OCTETS + 1] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        snprintf(host, sizeof host, "gateway");
    for (char *at = host; *at != '\0'; at++) {
        if (strchr(allowed, *at) == NULL)
            *at = '-';
    }
    b->config->gateway.name = config_copy(&b->report, bytes_str(host));
}

static void name_at_broker(struct config_builder *b)
{
    static const char prefix[] = "sennet-";
    const char *name = b->config->gateway.name;
    const size_t size = sizeof prefix + strlen(name);
    char *id = malloc(size);
    if (id == NULL)
        b->report.out_of_memory = true;
    else
        snprintf(id, size, "%s%s", prefix, name);
    b->config->broker.client_id = id;
}

void config_check(struct config_builder *b)
{
    check_retry(b);
    check_address(b);
    check_reconnect(b);
    check_window(b);
    check_password(b);
    config_check_links(b);
    for (size_t i = 0; i < b->config->n_topics; i++)
        check_topics(b, i);
    if (b->config->gateway.name == NULL)
        name_after_host(b);
    if (b->config->broker.client_id == NULL && b->config->gateway.name != NULL)
        name_at_broker(b);
}
