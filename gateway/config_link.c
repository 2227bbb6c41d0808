/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links: which keys which driver needs and knows, what the drivers themselves say, doubles; and how
 * a link is put into the radio layer's own types.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_priv.h"
#include "radio/link.h"

enum { NUMBER_ROOM = 16 };

#define RADIOS "znp, ezsp, deconz, xbee, auto"
#define STICKS "znp, ezsp, deconz, xbee, serial, auto"

/* Keys that a driver can't do without. */
static const struct {
    const char *driver;
    const char *key;
} needed[] = {
    {"udp",    "listen"},
    {"znp",    "device"},
    {"xbee",   "device"},
    {"ezsp",   "device"},
    {"deconz", "device"},
    {"serial", "device"},
    {"auto",   "device"},
};

/* Keys that mean something to some drivers only. */
static const struct {
    const char *key;
    const char *drivers;
} only[] = {
    {"listen",           "udp"       },
    {"multicast",        "udp"       },
    {"receive_buffer",   "udp"       },
    {"device",           STICKS      },
    {"baud",             STICKS      },
    {"flow_control",     STICKS      },
    {"dtr",              STICKS      },
    {"rts",              STICKS      },
    {"channel",          RADIOS      },
    {"pan_id",           RADIOS      },
    {"network_key_file", RADIOS      },
    {"form_network",     RADIOS      },
    {"permit_join",      RADIOS      },
    {"endpoint",         RADIOS      },
    {"profile",          RADIOS      },
    {"cluster",          RADIOS      },
    {"api",              "xbee, auto"},
    {"family",           "xbee, auto"},
    {"framing",          "serial"    },
    {"forwarder",        "serial"    },
};

/* Is the word one of the list, which is separated by ", "? */
static bool is_among(const char *list, const char *word)
{
    const size_t len = strlen(word);
    for (const char *at = list; at != NULL; at = strstr(at, ", ")) {
        at += *at == ',' ? 2 : 0;
        if (strncmp(at, word, len) == 0 && (at[len] == ',' || at[len] == '\0'))
            return true;
    }
    return false;
}

/* The drivers that know the key; NULL: all. */
static const char *takers(const struct config_key *key)
{
    for (size_t i = 0; i < sizeof only / sizeof only[0]; i++) {
        if (strcmp(only[i].key, key->name) == 0)
            return only[i].drivers;
    }
    return NULL;
}

bool config_link_takes(const struct config_link *link, const struct config_key *key)
{
    const char *drivers = takers(key);
    return drivers == NULL || link->driver == NULL || is_among(drivers, link->driver);
}

static bool is_stick(const struct config_link *link)
{
    return link_driver_find(bytes_str(link->driver)) == &link_stick;
}

static void list_drivers(char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; link_driver_name(i) != NULL && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i > 0 ? ", " : "", link_driver_name(i));
}

static bool has_text(const struct config_link *link, const char *key)
{
    const char *text = NULL;
    const size_t offset = config_key_find(SECTION_LINK, key)->offset;
    memcpy(&text, (const uint8_t *)link + offset, sizeof text);
    return text != NULL;
}

/* All that the driver needs is there. */
static bool check_needed(struct config_builder *b, size_t i)
{
    const struct config_link *link = &b->config->links[i];
    bool ok = true;
    for (size_t k = 0; k < sizeof needed / sizeof needed[0]; k++) {
        if (strcmp(needed[k].driver, link->driver) != 0 || has_text(link, needed[k].key))
            continue;
        ok = false;
        const struct config_place at = config_place_of(&b->links[i], SECTION_LINK, needed[k].key);
        if (!config_is_set(&b->links[i], SECTION_LINK, needed[k].key))
            config_say3(&b->report, at, SAY_LINK_NEEDS, link->name, needed[k].key, link->driver);
    }
    return ok;
}

/* Asks the driver about what `key` and the keys before it say. What is not there yet (-ENODEV) may
 * come: no fault of the file. */
static bool ask_driver(struct config_builder *b, size_t i, const struct link_config *lc,
                       const char *key)
{
    char text[CONFIG_TEXT_ROOM * 2];
    const struct link_driver *driver = link_driver_find(bytes_str(b->config->links[i].driver));
    const int rc = driver->check(lc, text, sizeof text);
    if (rc == 0 || rc == -ENODEV)
        return true;
    config_say2(&b->report, config_place_of(&b->links[i], SECTION_LINK, key), SAY_LINK_REFUSED,
                lc->name, text);
    return false;
}

static void check_by_driver(struct config_builder *b, size_t i)
{
    struct link_config lc;
    struct stick_config stick;
    config_radio(b->config, i, &lc, &stick);
    const char *multicast = lc.multicast;
    lc.multicast = NULL;
    const bool good = ask_driver(b, i, &lc, is_stick(&b->config->links[i]) ? "device" : "listen");
    lc.multicast = multicast;
    if (good && multicast != NULL)
        ask_driver(b, i, &lc, "multicast");
}

/* ---- sticks ---------------------------------------------------------------------------------- */

static int digit_of(char c)
{
    const char folded = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : folded >= 'a' && folded <= 'f' ? folded - 'a' + 10 : -1;
}

/* Pairs of digits, perhaps with colons between them. */
static bool read_key(const char *text, size_t len, uint8_t out[STICK_KEY_BYTES])
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    size_t at = 0;
    for (size_t i = 0; i < STICK_KEY_BYTES; i++) {
        if (i > 0 && at < len && text[at] == ':')
            at++;
        const int high = at < len ? digit_of(text[at]) : -1;
        const int low = at + 1 < len ? digit_of(text[at + 1]) : -1;
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return at == len;
}

static void check_network_key(struct config_builder *b, size_t i)
{
    struct config_link *link = &b->config->links[i];
    struct config_report *r = &b->report;
    if (link->network_key_file == NULL || !b->may_open)
        return;
    const char *path = link->network_key_file;
    const struct config_place at = config_place_of(&b->links[i], SECTION_LINK, "network_key_file");
    char *text = NULL;
    size_t len = 0;
    unsigned mode = 0;
    const int rc = config_read_file(path, CONFIG_NETWORK_KEY_MAX, true, &text, &len, &mode);
    if (rc == -ENOMEM) {
        r->out_of_memory = true;
        return;
    }
    if (rc < 0) {
        config_say2(r, at, SAY_NETWORK_KEY_UNREADABLE, path,
                    rc == -EINVAL ? "not a regular file" : strerror(-rc));
        return;
    }
    link->has_network_key = rc == 0 && read_key(text, len, link->network_key);
    if (!link->has_network_key)
        config_say1(r, at, SAY_NETWORK_KEY_CONTENT, path);
    explicit_bzero(text, len);
    free(text);
    if (config_secret_is_open(mode)) {
        char octal[NUMBER_ROOM];
        snprintf(octal, sizeof octal, "%04o", mode & 07777);
        config_say2(r, at, SAY_NETWORK_KEY_MODE, path, octal);
    }
}

/* The default is that of UDP. */
static void check_packet_size(struct config_builder *b, size_t i)
{
    struct config_link *link = &b->config->links[i];
    if (!config_is_set(&b->links[i], SECTION_LINK, "max_packet"))
        link->max_packet_bytes = CONFIG_STICK_PACKET;
    if (link->max_packet_bytes <= CONFIG_STICK_PACKET_MAX)
        return;
    char most[NUMBER_ROOM];
    snprintf(most, sizeof most, "%d", CONFIG_STICK_PACKET_MAX);
    config_say2(&b->report, config_place_of(&b->links[i], SECTION_LINK, "max_packet"),
                SAY_LINK_PACKET_LARGE, link->name, most);
    link->max_packet_bytes = CONFIG_STICK_PACKET_MAX;
}

/* ---- one link -------------------------------------------------------------------------------- */

/* What is meant for another kind of link is more likely a mistake than a leftover. */
static void check_aliens(struct config_builder *b, size_t i)
{
    const struct config_link *link = &b->config->links[i];
    for (size_t k = 0; k < config_n_keys; k++) {
        const struct config_key *key = &config_keys[k];
        if (key->section == SECTION_LINK && !config_link_takes(link, key) &&
            config_is_set(&b->links[i], SECTION_LINK, key->name))
            config_say3(&b->report, config_place_of(&b->links[i], SECTION_LINK, key->name),
                        SAY_LINK_KEY_ALIEN, key->name, link->driver, takers(key));
    }
}

/* Without a group there is nothing to announce to; sticks broadcast. Switched off is no contradiction. */
static void check_advertise(struct config_builder *b, size_t i)
{
    struct config_link *link = &b->config->links[i];
    const unsigned wanted_s = link->advertise_s;
    if (is_stick(link) || config_is_set(&b->links[i], SECTION_LINK, "multicast"))
        return;
    link->advertise_s = 0;
    if (config_is_set(&b->links[i], SECTION_LINK, "advertise") && wanted_s > 0)
        config_say1(&b->report, config_place_of(&b->links[i], SECTION_LINK, "advertise"),
                    SAY_ADVERTISE_ALONE, link->name);
}

static void check_link(struct config_builder *b, size_t i)
{
    const struct config_link *link = &b->config->links[i];
    char text[CONFIG_TEXT_ROOM * 2];
    const struct config_place at = config_place_of(&b->links[i], SECTION_LINK, "driver");
    if (link->driver == NULL) {
        list_drivers(text, sizeof text);
        if (!config_is_set(&b->links[i], SECTION_LINK, "driver"))
            config_say2(&b->report, at, SAY_NO_DRIVER, link->name, text);
        return;
    }
    const struct link_driver *driver = link_driver_find(bytes_str(link->driver));
    if (driver == NULL) {
        list_drivers(text, sizeof text);
        config_say2(&b->report, at, SAY_UNKNOWN_DRIVER, link->driver, text);
        return;
    }
    check_aliens(b, i);
    check_advertise(b, i);
    if (is_stick(link)) {
        check_packet_size(b, i);
        check_network_key(b, i);
    }
    if (check_needed(b, i))
        check_by_driver(b, i);
}

/* ---- doubles --------------------------------------------------------------------------------- */

/* Port 0 is chosen by the system, differently each time. */
static bool is_fixed(const char *listen)
{
    const char *colon = strrchr(listen, ':');
    return colon == NULL || strcmp(colon, ":0") != 0;
}

struct used {
    const char *what;
    size_t link;
};

static int by_what(const void *one, const void *two)
{
    const struct used *a = one;
    const struct used *b = two;
    const int order = strcmp(a->what, b->what);
    return order != 0 ? order : a->link < b->link ? -1 : 1;
}

static void say_doubles(struct config_builder *b, struct used *all, size_t n, const char *key,
                        enum config_message m)
{
    const struct config *c = b->config;
    qsort(all, n, sizeof *all, by_what);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(all[i].what, all[i - 1].what) != 0)
            continue;
        const struct config_place at = config_place_of(&b->links[all[i].link], SECTION_LINK, key);
        config_say2(&b->report, at, m, c->links[all[i].link].name, c->links[all[i - 1].link].name);
    }
}

static void check_doubles(struct config_builder *b)
{
    const struct config *c = b->config;
    struct used *all = calloc(c->n_links + 1, sizeof *all);
    if (all == NULL) {
        b->report.out_of_memory = true;
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < c->n_links; i++) {
        if (c->links[i].listen != NULL && is_fixed(c->links[i].listen))
            all[n++] = (struct used){.what = c->links[i].listen, .link = i};
    }
    say_doubles(b, all, n, "listen", SAY_SAME_LISTEN);
    n = 0;
    for (size_t i = 0; i < c->n_links; i++) {
        if (c->links[i].device != NULL)
            all[n++] = (struct used){.what = c->links[i].device, .link = i};
    }
    say_doubles(b, all, n, "device", SAY_SAME_DEVICE);
    free(all);
}

void config_check_links(struct config_builder *b)
{
    if (b->config->n_links == 0 && !b->report.incomplete)
        config_say0(&b->report, (struct config_place){.line = 1, .column = 1}, SAY_NO_LINK);
    for (size_t i = 0; i < b->config->n_links; i++)
        check_link(b, i);
    check_doubles(b);
}

/* ---- for the drivers ------------------------------------------------------------------------- */

static struct stick_config stick_of(const struct config_link *l)
{
    struct stick_config out = stick_defaults();
    out.channel = l->channel;
    out.pan_id = l->pan_id;
    out.form_network = l->form_network == SN_YES;
    out.has_key = l->has_network_key;
    memcpy(out.network_key, l->network_key, sizeof out.network_key);
    out.permit_join_s = (uint16_t)l->permit_join_s;
    out.endpoint = l->endpoint;
    out.profile = l->profile;
    out.cluster = l->cluster;
    out.api = (uint8_t)(l->api - 1);
    out.family = (enum xbee_family)(l->family - 1);
    out.framing = (enum line_framing)(l->framing - 1);
    out.forwarder = l->forwarder == SN_YES;
    return out;
}

void config_radio(const struct config *c, size_t index, struct link_config *out,
                  struct stick_config *stick)
{
    const struct config_link *l = &c->links[index];
    *stick = stick_of(l);
    *out = (struct link_config){
        .index = (uint16_t)index,
        .name = l->name,
        .driver = l->driver,
        .listen = l->listen,
        .multicast = l->multicast,
        .max_packet_bytes = l->max_packet_bytes,
        .receive_buffer_bytes = l->receive_buffer_bytes,
        .port = {.device = l->device,
                 .baud = l->baud,
                 .flow_control = (enum port_flow)(l->flow_control - 1),
                 .dtr = (int8_t)(l->dtr - 1),
                 .rts = (int8_t)(l->rts - 1)},
        .stick = stick,
    };
}
