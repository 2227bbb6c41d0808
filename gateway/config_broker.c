/* SPDX-License-Identifier: Apache-2.0 */
/* What only a whole [broker] section shows, and its password. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/origin.h"
#include "base/text.h"

#include "config_priv.h"

enum { NUMBER_ROOM = 16 };

static const struct config_place start_of_file = {.file = 0, .line = 1, .column = 1};

struct config_place config_somewhere(struct config_place at)
{
    return at.line > 0 ? at : start_of_file;
}

const char *config_broker_name(const struct config_broker *broker)
{
    return broker->name != NULL ? broker->name : CONFIG_BROKER_NAME;
}

/* ---- where it is ----------------------------------------------------------------------------- */

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
    char *full = config_address_full(&b->report, at, broker->address);
    if (full != NULL) {
        free(broker->address);
        broker->address = full;
    }
}

static void check_proxy(struct config_builder *b, size_t i)
{
    struct config_broker *broker = &b->config->brokers[i];
    const struct config_place at =
        config_somewhere(config_place_of(&b->brokers[i], SECTION_BROKER, "proxy"));
    struct stat st;
    if (broker->proxy == NULL)
        return;
    config_proxy_split(&b->report, at, &broker->proxy, &broker->proxy_login);
    const bool secret =
        broker->proxy_login != NULL && strcmp(broker->proxy_login, CONFIG_PROXY_MASK) != 0;
    if (!secret || !b->may_open || at.file >= b->report.n_files)
        return;
    const char *const file = b->report.files[at.file];
    if (stat(file, &st) == 0 && config_secret_is_open(st.st_mode)) {
        char octal[NUMBER_ROOM];
        snprintf(octal, sizeof octal, "%04o", (unsigned)st.st_mode & 07777);
        config_say2(&b->report, at, SAY_PROXY_MODE, file, octal);
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
    const bool is_set = config_is_set(&b->brokers[i], SECTION_BROKER, "window_qos2");
    broker->window_qos2_v5 = is_set ? broker->window_qos2 : 0;
    if (broker->window_qos2 <= broker->window)
        return;
    if (is_set) {
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

bool config_one_line(char *text, size_t len)
{
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    text[len] = '\0';
    return len > 0 && strlen(text) == len && strpbrk(text, "\r\n") == NULL;
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
    if (rc == 0 && config_one_line(text, len)) {
        broker->password = text;
    } else {
        char most[NUMBER_ROOM];
        snprintf(most, sizeof most, "%d", CONFIG_PASSWORD_MAX);
        config_say2(r, at, SAY_PASSWORD_CONTENT, broker->password_file, most);
        explicit_bzero(text, len);
        free(text);
    }
    if (config_secret_is_open(mode)) {
        char octal[NUMBER_ROOM];
        snprintf(octal, sizeof octal, "%04o", mode & 07777);
        config_say2(r, at, SAY_PASSWORD_MODE, broker->password_file, octal);
    }
}

/* ---- what goes with messages ------------------------------------------------------------------ */

static bool take_property(struct config_broker *broker, struct bytes word)
{
    for (unsigned field = 0; field < ORIGIN_FIELDS; field++) {
        if (bytes_equal(word, bytes_str(origin_name(field)))) {
            broker->properties |= 1U << field;
            return true;
        }
    }
    return false;
}

static void say_property(struct config_builder *b, size_t i, struct bytes word)
{
    char text[CONFIG_TEXT_ROOM];
    char all[CONFIG_TEXT_ROOM / 2];
    struct text t = text_to(all, sizeof all);
    for (unsigned field = 0; field < ORIGIN_FIELDS; field++) {
        text_word(&t, field == 0 ? "" : field + 1 == ORIGIN_FIELDS ? " and " : ", ");
        text_word(&t, origin_name(field));
    }
    snprintf(text, sizeof text, "%.*s", (int)word.len, (const char *)word.data);
    config_say2(&b->report, config_place_of(&b->brokers[i], SECTION_BROKER, "user_properties"),
                SAY_PROPERTY, text, all);
}

static void check_properties(struct config_builder *b, size_t i)
{
    struct config_broker *broker = &b->config->brokers[i];
    const char *at = broker->user_properties;
    while (at != NULL) {
        at += strspn(at, " ");
        size_t len = strcspn(at, ",");
        const char *const next = at[len] == ',' ? at + len + 1 : NULL;
        while (len > 0 && at[len - 1] == ' ')
            len--;
        if (!take_property(broker, bytes_of(at, len))) {
            say_property(b, i, bytes_of(at, len));
            broker->properties = 0;
            return;
        }
        at = next;
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
        check_proxy(b, i);
        check_reconnect(b, i);
        check_window(b, i);
        config_check_pace(b, i);
        check_properties(b, i);
        check_password(b, i);
        config_check_tls(b, i);
        if (c->brokers[i].client_id == NULL && c->gateway.name != NULL)
            name_at_broker(b, i);
    }
}
