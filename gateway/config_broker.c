/* SPDX-License-Identifier: Apache-2.0 */
/* What only a whole [broker] section shows, and its password. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_priv.h"

enum { HOST_MAX = 253, NUMBER_ROOM = 16 };

static const struct config_place start_of_file = {.file = 0, .line = 1, .column = 1};

struct config_place config_somewhere(struct config_place at)
{
    return at.line > 0 ? at : start_of_file;
}

const char *config_broker_name(const struct config_broker *broker)
{
    return broker->name != NULL ? broker->name : CONFIG_BROKER_NAME;
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

static void check_address(struct config_builder *b, size_t i)
{
    struct config_broker *broker = &b->config->brokers[i];
    const struct config_place at =
        config_somewhere(config_place_of(&b->brokers[i], SECTION_BROKER, "address"));
    if (broker->address == NULL) {
        if (!config_is_set(&b->brokers[i], SECTION_BROKER, "address") && !b->report.incomplete)
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

static void check_reconnect(struct config_builder *b, size_t i)
{
    const struct config_broker *broker = &b->config->brokers[i];
    if (broker->reconnect_min_ms <= broker->reconnect_max_ms)
        return;
    char low[CONFIG_TEXT_ROOM / 4];
    char high[CONFIG_TEXT_ROOM / 4];
    config_number_print(config_key_find(SECTION_BROKER, "reconnect_min"), broker->reconnect_min_ms,
                        low, sizeof low);
    config_number_print(config_key_find(SECTION_BROKER, "reconnect_max"), broker->reconnect_max_ms,
                        high, sizeof high);
    config_say2(&b->report, config_place_of(&b->brokers[i], SECTION_BROKER, "reconnect_min"),
                SAY_RECONNECT_ORDER, low, high);
}

/* The default may well be above: only who wrote it expects it to matter. */
static void check_window(struct config_builder *b, size_t i)
{
    struct config_broker *broker = &b->config->brokers[i];
    if (broker->window_qos2 <= broker->window)
        return;
    if (config_is_set(&b->brokers[i], SECTION_BROKER, "window_qos2")) {
        char part[CONFIG_TEXT_ROOM / 4];
        char whole[CONFIG_TEXT_ROOM / 4];
        config_number_print(config_key_find(SECTION_BROKER, "window_qos2"), broker->window_qos2,
                            part, sizeof part);
        config_number_print(config_key_find(SECTION_BROKER, "window"), broker->window, whole,
                            sizeof whole);
        config_say2(&b->report, config_place_of(&b->brokers[i], SECTION_BROKER, "window_qos2"),
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

static void check_password(struct config_builder *b, size_t i)
{
    struct config_broker *broker = &b->config->brokers[i];
    struct config_report *r = &b->report;
    if (broker->password_file == NULL)
        return;
    const struct config_place at = config_place_of(&b->brokers[i], SECTION_BROKER, "password_file");
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

/* ---- the name ------------------------------------------------------------------------------- */

static void name_at_broker(struct config_builder *b, size_t i)
{
    static const char prefix[] = "sennet-";
    const char *name = b->config->gateway.name;
    const size_t size = sizeof prefix + strlen(name);
    char *id = malloc(size);
    if (id == NULL)
        b->report.out_of_memory = true;
    else
        snprintf(id, size, "%s%s", prefix, name);
    b->config->brokers[i].client_id = id;
}

void config_check_brokers(struct config_builder *b)
{
    struct config *c = b->config;
    if (c->n_brokers == 0 && !b->report.incomplete)
        config_say0(&b->report, start_of_file, SAY_NO_ADDRESS);
    for (size_t i = 0; i < c->n_brokers; i++) {
        check_address(b, i);
        check_reconnect(b, i);
        check_window(b, i);
        check_password(b, i);
        if (c->brokers[i].client_id == NULL && c->gateway.name != NULL)
            name_at_broker(b, i);
    }
}
