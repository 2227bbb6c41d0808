/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of a broker: "mqtts://a:8883, mqtts://b". All of one kind: a list that falls back from
 * encrypted to plain would be an invitation. And the proxy on the way to them.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "config_priv.h"

enum { HOST_MAX = 253, ADDRESSES_MAX = 16, NUMBER_ROOM = 16 };

static const struct scheme {
    const char *name;
    unsigned port;
    bool has_path;
} schemes[] = {
    {"mqtt",  1883, false},
    {"mqtts", 8883, false},
    {"ws",    80,   true },
    {"wss",   443,  true },
};

/* A proxy's port is anybody's guess, so it has to be said. */
static const struct scheme proxy_scheme = {"http", 0, false};

static const struct scheme *find_scheme(struct bytes name)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (bytes_equal(name, bytes_str(schemes[i].name)))
            return &schemes[i];
    }
    return NULL;
}

static bool is_host(struct bytes host)
{
    if (host.len == 0 || host.len > HOST_MAX || host.data[0] == '-')
        return false;
    for (size_t i = 0; i < host.len; i++) {
        const char c = (char)host.data[i];
        const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
        if (!ok)
            return false;
    }
    return true;
}

static bool is_ip6(struct bytes text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (text.len >= sizeof copy)
        return false;
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1;
}

static size_t find(struct bytes text, char c)
{
    const uint8_t *const at = text.len > 0 ? memchr(text.data, c, text.len) : NULL;
    return at != NULL ? (size_t)(at - text.data) : text.len;
}

static struct bytes after(struct bytes text, size_t n)
{
    return bytes_of(text.data + n, text.len - n);
}

/* Reads ":port" or nothing; 0: neither. */
static unsigned read_port(struct bytes text, unsigned usual)
{
    unsigned port = 0;
    if (text.len == 0)
        return usual;
    if (text.len < 2 || text.data[0] != ':')
        return 0;
    for (size_t i = 1; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        port = port * 10 + (unsigned)(text.data[i] - '0');
        if (port > UINT16_MAX)
            return 0;
    }
    return port;
}

struct parts {
    const struct scheme *scheme;
    struct bytes host; /* with its brackets */
    unsigned port;
    struct bytes path; /* with its '/'; empty: none */
};

/* As a request line takes it; commas separate addresses. */
static bool is_path(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~' ||
            strchr(",#\"<>\\^`{|}", text.data[i]) != NULL)
            return false;
    }
    return true;
}

/* NULL: done; or what is wrong. */
static const char *split_rest(struct bytes text, struct parts *out)
{
    const size_t slash = find(text, '/');
    out->path = after(text, slash);
    if (out->path.len > 0 && !out->scheme->has_path)
        return "there is no path";
    if (!is_path(out->path))
        return "a path has no blanks, quotes, commas or '#': write %20, %2C and so on";
    text.len = slash;
    if (text.len > 0 && text.data[0] == '[') {
        const size_t bracket = find(text, ']');
        if (bracket == text.len || !is_ip6(bytes_of(text.data + 1, bracket - 1)))
            return "no IPv6 address between [ and ]";
        out->host = bytes_of(text.data, bracket + 1);
    } else {
        const size_t colon = find(text, ':');
        if (colon < text.len && find(after(text, colon + 1), ':') < text.len - colon - 1)
            return "an IPv6 address needs [ and ] around it";
        out->host = bytes_of(text.data, colon);
        if (!is_host(out->host))
            return "no host name";
    }
    out->port = read_port(after(text, out->host.len), out->scheme->port);
    return out->port != 0 ? NULL : "no port from 1 to 65535";
}

static const char *copy_text(struct bytes text, char *room, size_t size)
{
    snprintf(room, size, "%.*s", (int)text.len, text.len > 0 ? (const char *)text.data : "");
    return room;
}

/* False: said. */
static bool split(struct config_report *r, struct config_place at, struct bytes text,
                  struct parts *out)
{
    char room[CONFIG_TEXT_ROOM];
    struct bytes rest = text;
    *out = (struct parts){.scheme = &schemes[0]};
    for (size_t i = 0; i + 2 < text.len; i++) {
        if (memcmp(text.data + i, "://", 3) != 0)
            continue;
        out->scheme = find_scheme(bytes_of(text.data, i));
        rest = after(text, i + 3);
        if (out->scheme == NULL) {
            config_say1(r, at, SAY_ADDRESS_SCHEME,
                        copy_text(bytes_of(text.data, i), room, sizeof room));
            return false;
        }
        break;
    }
    const char *const wrong = split_rest(rest, out);
    if (wrong != NULL)
        config_say2(r, at, SAY_ADDRESS_SYNTAX, copy_text(text, room, sizeof room), wrong);
    return wrong == NULL;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct bytes trimmed(struct bytes text)
{
    while (text.len > 0 && is_blank(text.data[0]))
        text = after(text, 1);
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

char *config_address_full(struct config_report *r, struct config_place at, const char *text)
{
    struct bytes left = bytes_str(text);
    const struct scheme *first = NULL;
    char *full = NULL;
    size_t size = 0;
    unsigned n = 0;
    bool ok = true;
    if (strchr(text, '@') != NULL) {
        config_say0(r, at, SAY_ADDRESS_LOGIN);
        return NULL;
    }
    FILE *f = open_memstream(&full, &size);
    if (f == NULL) {
        r->out_of_memory = true;
        return NULL;
    }
    for (bool more = true; more && ok;) {
        struct parts p;
        const size_t comma = find(left, ',');
        more = comma < left.len;
        ok = split(r, at, trimmed(bytes_of(left.data, comma)), &p);
        if (ok && first != NULL && p.scheme != first) {
            config_say2(r, at, SAY_ADDRESS_MIXED, first->name, p.scheme->name);
            ok = false;
        }
        if (ok && ++n > ADDRESSES_MAX) {
            char most[NUMBER_ROOM];
            snprintf(most, sizeof most, "%d", ADDRESSES_MAX);
            config_say1(r, at, SAY_ADDRESS_MANY, most);
            ok = false;
        }
        if (ok) {
            fprintf(f, "%s%s://%.*s:%u%.*s", first != NULL ? ", " : "", p.scheme->name,
                    (int)p.host.len, (const char *)p.host.data, p.port, (int)p.path.len,
                    p.path.len > 0 ? (const char *)p.path.data : "");
            first = p.scheme;
        }
        left = more ? after(left, comma + 1) : left;
    }
    if (fclose(f) != 0 && ok)
        r->out_of_memory = true;
    if (ok && !r->out_of_memory)
        return full;
    free(full);
    return NULL;
}

bool config_address_is_tls(const char *address)
{
    return strncmp(address, "mqtts://", 8) == 0 || strncmp(address, "wss://", 6) == 0;
}

/* ---- the proxy ------------------------------------------------------------------------------- */

static int hex_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "user:pass%20word" as it is meant; NULL: it can't be that. */
static char *decode_login(struct bytes text)
{
    char *const login = malloc(text.len + 1);
    size_t used = 0;
    bool ok = login != NULL && find(text, ':') < text.len && text.len <= CONFIG_PROXY_LOGIN_MAX;
    for (size_t i = 0; ok && i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            const int high = i + 2 < text.len ? hex_of(text.data[i + 1]) : -1;
            const int low = i + 2 < text.len ? hex_of(text.data[i + 2]) : -1;
            ok = high >= 0 && low >= 0;
            c = (uint8_t)(ok ? high << 4 | low : 0);
            i += 2;
        }
        ok = ok && c >= ' ' && c != 0x7F;
        login[used++] = (char)c;
    }
    if (ok) {
        login[used] = '\0';
        return login;
    }
    if (login != NULL)
        explicit_bzero(login, used);
    free(login);
    return NULL;
}

/* NULL: done. */
static const char *split_proxy(struct bytes text, struct parts *out, struct bytes *login)
{
    static const char scheme[] = "http://";
    const size_t head = sizeof scheme - 1;
    *out = (struct parts){.scheme = &proxy_scheme};
    *login = bytes_of(NULL, 0);
    if (text.len < head || memcmp(text.data, scheme, head) != 0)
        return "it begins with http://";
    text = after(text, head);
    if (text.len > 0 && text.data[text.len - 1] == '/')
        text.len--;
    for (size_t i = text.len; i-- > 0;) {
        if (text.data[i] != '@')
            continue;
        *login = bytes_of(text.data, i);
        text = after(text, i + 1);
        break;
    }
    return split_rest(text, out);
}

void config_proxy_split(struct config_report *r, struct config_place at, char **proxy, char **login)
{
    struct parts p;
    struct bytes said;
    char *plain = NULL;
    const char *wrong = split_proxy(bytes_str(*proxy), &p, &said);
    *login = wrong == NULL && said.data != NULL ? decode_login(said) : NULL;
    if (wrong == NULL && said.data != NULL && *login == NULL)
        wrong = "before the @ stands user:password, with %20 for a blank, %40 for an @ and so on";
    if (wrong != NULL)
        config_say1(r, at, SAY_PROXY, wrong); /* which must not show the password */
    else if (asprintf(&plain, "http://%s%.*s:%u", said.data != NULL ? CONFIG_PROXY_MASK "@" : "",
                      (int)p.host.len, (const char *)p.host.data, p.port) < 0)
        r->out_of_memory = true;
    explicit_bzero(*proxy, strlen(*proxy));
    free(*proxy);
    *proxy = wrong == NULL && !r->out_of_memory ? plain : NULL;
}
