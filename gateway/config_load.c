/* SPDX-License-Identifier: Apache-2.0 */
/* Files: the one given, the drop-ins of its include_dir; and the life of a struct config. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#include "config_priv.h"

/* ---- reading --------------------------------------------------------------------------------- */

/* Fills `text` up to `max` + 1 octets. 0 or -errno. */
static int read_all(int fd, char *text, size_t max, size_t *len)
{
    *len = 0;
    while (*len <= max) {
        const ssize_t n = read(fd, text + *len, max + 1 - *len);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -errno;
        *len += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int config_read_file(const char *path, size_t max, bool regular, char **text, size_t *len,
                     unsigned *mode)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (regular ? O_NONBLOCK : 0));
    if (fd < 0)
        return -errno;
    struct stat st;
    int rc = fstat(fd, &st) == 0 ? 0 : -errno;
    if (rc == 0 && regular && !S_ISREG(st.st_mode))
        rc = -EINVAL;
    char *room = rc == 0 ? malloc(max + 2) : NULL;
    if (rc == 0 && room == NULL)
        rc = -ENOMEM;
    if (rc == 0)
        rc = read_all(fd, room, max, len);
    close(fd);
    if (rc != 0) {
        free(room);
        return rc;
    }
    *mode = st.st_mode;
    *text = room;
    const bool more = *len > max;
    *len = more ? max : *len;
    room[*len] = '\0';
    return more ? 1 : 0;
}

/* Where relative paths in `path` start: its directory, absolute, so that what --print-config shows
 * means the same elsewhere. NULL: there is none (or no memory); then paths stay as they are. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return realpath(".", NULL);
    char *dir = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    char *full = dir != NULL ? realpath(dir, NULL) : NULL;
    free(dir);
    return full;
}

/* Reads one file into the builder. 0; or a positive errno, said, when it can't be read. */
static int load_file(struct config_builder *b, const char *path, bool regular)
{
    const unsigned file = config_report_file(&b->report, path);
    const struct config_place whole = {.file = file};
    char *text = NULL;
    size_t len = 0;
    unsigned mode = 0;
    const int rc = config_read_file(path, CONFIG_FILE_MAX, regular, &text, &len, &mode);
    if (rc == -ENOMEM) {
        b->report.out_of_memory = true;
        return ENOMEM;
    }
    if (rc < 0) {
        config_say1(&b->report, whole, SAY_FILE_UNREADABLE,
                    rc == -EINVAL ? "not a regular file" : strerror(-rc));
        b->report.incomplete = true;
        return -rc;
    }
    if (rc > 0) {
        config_say1(&b->report, whole, SAY_FILE_TOO_LARGE, "1 MiB");
        b->report.incomplete = true;
    } else {
        free(b->dir);
        b->dir = directory_of(path);
        config_build(b, file, bytes_of(text, len));
    }
    free(text);
    return 0;
}

/* ---- drop-ins -------------------------------------------------------------------------------- */

struct names {
    char **list;
    size_t n;
};

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->list[i]);
    free(names->list);
    *names = (struct names){0};
}

static bool is_drop_in(const char *name)
{
    static const char suffix[] = ".conf";
    const size_t n = strlen(name);
    return name[0] != '.' && n >= sizeof suffix && strcmp(name + n - strlen(suffix), suffix) == 0;
}

static int by_name(const void *one, const void *two)
{
    const char *const *a = one;
    const char *const *b = two;
    return strcmp(*a, *b);
}

/* The *.conf files of a directory, sorted; one more than allowed tells that there are too many. 0
 * or -errno. */
static int list_drop_ins(struct config_report *r, const char *dir, struct names *out)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return -errno;
    const struct dirent *entry = NULL;
    while (out->n <= CONFIG_DROP_INS_MAX && (entry = readdir(d)) != NULL) {
        if (!is_drop_in(entry->d_name))
            continue;
        char *name = config_copy(r, bytes_str(entry->d_name));
        if (name == NULL || !config_grow(r, &out->list, out->n, sizeof *out->list)) {
            free(name);
            break;
        }
        out->list[out->n++] = name;
    }
    closedir(d);
    if (out->n > 0)
        qsort(out->list, out->n, sizeof *out->list, by_name);
    return 0;
}

static void load_drop_in(struct config_builder *b, const char *name)
{
    const size_t size = strlen(b->include_dir) + 1 + strlen(name) + 1;
    char *path = malloc(size);
    if (path == NULL) {
        b->report.out_of_memory = true;
        return;
    }
    snprintf(path, size, "%s/%s", b->include_dir, name);
    load_file(b, path, true);
    free(path);
}

static void load_drop_ins(struct config_builder *b)
{
    if (b->include_dir == NULL || !b->may_open)
        return;
    const struct config_place at = config_place_of(&b->gateway, SECTION_GATEWAY, "include_dir");
    struct names names = {0};
    const int rc = list_drop_ins(&b->report, b->include_dir, &names);
    if (rc < 0 || names.n > CONFIG_DROP_INS_MAX)
        b->report.incomplete = true;
    if (rc < 0) {
        config_say2(&b->report, at, SAY_INCLUDE_UNREADABLE, b->include_dir, strerror(-rc));
    } else if (names.n > CONFIG_DROP_INS_MAX) {
        char most[CONFIG_TEXT_ROOM];
        snprintf(most, sizeof most, "%d", CONFIG_DROP_INS_MAX);
        config_say2(&b->report, at, SAY_INCLUDE_TOO_MANY, b->include_dir, most);
    } else {
        for (size_t i = 0; i < names.n && !b->report.out_of_memory; i++)
            load_drop_in(b, names.list[i]);
    }
    names_free(&names);
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct config_builder *builder_new(const char *path, bool may_open)
{
    struct config_builder *b = calloc(1, sizeof *b);
    struct config *c = calloc(1, sizeof *c);
    if (b == NULL || c == NULL) {
        free(b);
        free(c);
        return NULL;
    }
    b->config = c;
    b->may_open = may_open;
    c->file = config_copy(&b->report, bytes_str(path));
    config_fallbacks(&b->report, SECTION_GATEWAY, c);
    config_fallbacks(&b->report, SECTION_STORE, &c->store);
    return b;
}

/* Before the configuration goes, which tells how many there are. */
static void topic_origins_free(struct config_builder *b)
{
    for (size_t i = 0; b->config != NULL && i < b->config->n_topics; i++)
        free(b->topics[i].entries);
}

static void builder_free(struct config_builder *b)
{
    topic_origins_free(b);
    free(b->topics);
    free(b->brokers);
    free(b->routes);
    free(b->links);
    free(b->clients);
    config_free(b->config);
    config_report_deinit(&b->report);
    free(b->include_dir);
    free(b->dir);
    free(b);
}

/* Says everything and hands the configuration over if it is good. */
static int finish(struct config_builder *b, FILE *errors, struct config **out)
{
    if (!b->report.out_of_memory)
        config_check(b);
    config_report_write(&b->report, errors);
    if (b->report.out_of_memory)
        return -ENOMEM;
    if (b->report.errors > 0)
        return EXIT_CONFIG;
    topic_origins_free(b);
    *out = b->config;
    b->config = NULL;
    return 0;
}

static int load(const char *path, bool regular, FILE *errors, struct config **out)
{
    struct config_builder *b = builder_new(path, true);
    if (b == NULL)
        return -ENOMEM;
    int rc = 0;
    if (load_file(b, path, regular) != 0) {
        config_report_write(&b->report, errors);
        rc = b->report.out_of_memory ? -ENOMEM : EXIT_NO_INPUT;
    } else {
        load_drop_ins(b);
        rc = finish(b, errors, out);
    }
    builder_free(b);
    return rc;
}

int config_load(const char *path, FILE *errors, struct config **out)
{
    return load(path, false, errors, out);
}

int config_load_again(const char *path, FILE *errors, struct config **out)
{
    return load(path, true, errors, out);
}

int config_override(struct config *c, const struct config_overrides *o)
{
    if (o->debug && c->gateway.log_level < LOG_DEBUG)
        c->gateway.log_level = LOG_DEBUG;
    if (o->has_format)
        c->gateway.log_json = o->json;
    if (o->pcap == NULL)
        return 0;
    free(c->gateway.pcap);
    c->gateway.pcap = strdup(o->pcap);
    return c->gateway.pcap != NULL ? 0 : -ENOMEM;
}

int config_parse(const char *name, struct bytes text, FILE *errors, struct config **out)
{
    struct config_builder *b = builder_new(name, false);
    if (b == NULL)
        return -ENOMEM;
    const unsigned file = config_report_file(&b->report, name);
    const struct config_place whole = {.file = file};
    if (text.len > CONFIG_FILE_MAX)
        config_say1(&b->report, whole, SAY_FILE_TOO_LARGE, "1 MiB");
    else
        config_build(b, file, text);
    const int rc = finish(b, errors, out);
    builder_free(b);
    return rc;
}

static void links_free(struct config *c)
{
    for (size_t i = 0; i < c->n_links; i++) {
        free(c->links[i].name);
        free(c->links[i].driver);
        free(c->links[i].listen);
        free(c->links[i].multicast);
        free(c->links[i].device);
        free(c->links[i].prefix);
        free(c->links[i].network_key_file);
        explicit_bzero(c->links[i].network_key, sizeof c->links[i].network_key);
    }
    free(c->links);
}

static void topics_free(struct config *c)
{
    for (size_t i = 0; i < c->n_topics; i++) {
        struct config_topics *t = &c->topics[i];
        for (size_t k = 0; k < t->n_entries; k++)
            free((void *)(uintptr_t)t->entries[k].topic);
        free(t->entries);
        free(t->glob);
    }
    free(c->topics);
}

static void broker_free(struct config_broker *broker)
{
    if (broker->password != NULL)
        explicit_bzero(broker->password, strlen(broker->password));
    free(broker->password);
    free(broker->password_file);
    if (broker->proxy_login != NULL)
        explicit_bzero(broker->proxy_login, strlen(broker->proxy_login));
    free(broker->proxy_login);
    free(broker->proxy);
    free(broker->username);
    free(broker->client_id);
    free(broker->address);
    free(broker->own_client_id);
    free(broker->quiet);
    free(broker->user_properties);
    free(broker->name);
    char *const tls[] = {broker->ca_file,   broker->ca_path,  broker->crl_file,
                         broker->cert_file, broker->key_file, broker->key_password_file,
                         broker->ciphers,   broker->alpn,     broker->psk_identity,
                         broker->psk_file};
    for (size_t i = 0; i < sizeof tls / sizeof tls[0]; i++)
        free(tls[i]);
}

static void clients_free(struct config *c)
{
    for (size_t i = 0; i < c->n_clients; i++) {
        free(c->clients[i].glob);
        free(c->clients[i].prefix);
        free(c->clients[i].mqtt_client_id);
        free(c->clients[i].username);
        free(c->clients[i].password_file);
        free(c->clients[i].cert_file);
        free(c->clients[i].key_file);
    }
    free(c->clients);
}

static void routes_free(struct config *c)
{
    for (size_t i = 0; i < c->n_routes; i++) {
        free(c->routes[i].name);
        free(c->routes[i].client);
        free(c->routes[i].from);
        free(c->routes[i].to);
        free(c->routes[i].topic);
    }
    free(c->routes);
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    clients_free(c);
    routes_free(c);
    topics_free(c);
    links_free(c);
    for (size_t i = 0; i < c->n_brokers; i++)
        broker_free(&c->brokers[i]);
    free(c->brokers);
    free(c->gateway.name);
    free(c->gateway.state_dir);
    free(c->gateway.prefix);
    free(c->gateway.pcap);
    free(c->file);
    free(c);
}
