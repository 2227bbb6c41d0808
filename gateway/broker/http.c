/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/http.h"

#include <stdio.h>
#include <string.h>

/* ---- the first line -------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 101 Switching Protocols"; the text may be missing. */
static bool read_status(struct http_answer *a)
{
    const char *const line = a->line;

    if (a->line_len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || !is_digit(line[7]) ||
        line[8] != ' ' || !is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]) ||
        (a->line_len > 12 && line[12] != ' '))
        return false;
    a->status = (unsigned)(line[9] - '0') * 100 + (unsigned)(line[10] - '0') * 10 +
                (unsigned)(line[11] - '0');
    size_t used = 0;
    for (size_t i = 13; i < a->line_len && used + 1 < sizeof a->reason; i++)
        a->reason[used++] = line[i] >= ' ' && line[i] <= '~' ? line[i] : '?';
    a->reason[used] = '\0';
    return a->status >= 100 && a->status <= 599;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static struct bytes trimmed(struct bytes text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = bytes_of(text.data + 1, text.len - 1);
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Without regard to case, as far as ASCII has it. */
static bool is_word(struct bytes text, const char *word)
{
    size_t i = 0;
    while (i < text.len && word[i] != '\0' && lower((char)text.data[i]) == lower(word[i]))
        i++;
    return i == text.len && word[i] == '\0';
}

/* Is the word in a list that commas separate? */
static bool has_word(struct bytes list, const char *word)
{
    while (list.len > 0) {
        const uint8_t *const comma = memchr(list.data, ',', list.len);
        const size_t n = comma != NULL ? (size_t)(comma - list.data) : list.len;
        if (is_word(trimmed(bytes_of(list.data, n)), word))
            return true;
        const size_t skip = comma != NULL ? n + 1 : n;
        list = bytes_of(list.data + skip, list.len - skip);
    }
    return false;
}

/* False: this is no field. A line that was cut is one, but of none of those that count. */
static bool read_field(struct http_answer *a)
{
    const struct bytes line = bytes_of(a->line, a->line_len);
    const uint8_t *const colon = line.len > 0 ? memchr(line.data, ':', line.len) : NULL;
    const size_t n = colon != NULL ? (size_t)(colon - line.data) : 0;
    const bool is_cut = a->line_len == HTTP_LINE_MAX;

    if (n == 0 || line.data[0] == ' ' || line.data[0] == '\t')
        return is_cut && n == 0;
    const struct bytes name = bytes_of(line.data, n);
    const struct bytes value = trimmed(bytes_of(line.data + n + 1, line.len - n - 1));
    if (is_word(name, "Upgrade")) {
        a->upgrades = a->upgrades || has_word(value, "websocket");
    } else if (is_word(name, "Connection")) {
        a->connection = a->connection || has_word(value, "upgrade");
    } else if (is_word(name, "Sec-WebSocket-Accept")) {
        a->accepts++;
        if (value.len == HTTP_ACCEPT_LEN)
            memcpy(a->accept, value.data, value.len);
    } else if (is_word(name, "Sec-WebSocket-Protocol")) {
        a->protocols++;
        a->is_mqtt = bytes_equal(value, bytes_str("mqtt"));
    } else if (is_word(name, "Sec-WebSocket-Extensions")) {
        a->extensions = true;
    }
    return true;
}

/* ---- octets ---------------------------------------------------------------------------------- */

static void end_line(struct http_answer *a)
{
    bool ok = true;
    if (!a->has_status) {
        a->has_status = true;
        ok = read_status(a);
    } else if (a->line_len == 0) {
        a->state = HTTP_DONE;
    } else {
        ok = read_field(a);
    }
    if (!ok)
        a->state = HTTP_BROKEN;
    a->line_len = 0;
}

/* A line may end with LF alone (RFC 9112, 2.2); a CR anywhere else, and NUL, are nothing we want to
 * understand. */
static void take(struct http_answer *a, char c)
{
    const bool after_cr = a->was_cr;
    a->was_cr = c == '\r';
    if (++a->octets > HTTP_ANSWER_MAX || (after_cr && c != '\n') || c == '\0') {
        a->state = HTTP_BROKEN;
        return;
    }
    if (c == '\n')
        end_line(a);
    else if (c != '\r' && a->line_len < HTTP_LINE_MAX)
        a->line[a->line_len++] = c;
}

size_t http_input(struct http_answer *a, struct bytes octets)
{
    struct reader in = rd_of(octets);
    while (a->state == HTTP_READING && rd_left(&in) > 0)
        take(a, (char)rd_u8(&in));
    return octets.len - rd_left(&in);
}

const char *http_not_websocket(const struct http_answer *a, const char *accept,
                               char room[HTTP_REASON_MAX + 64])
{
    enum { SWITCHING = 101 };

    const size_t size = HTTP_REASON_MAX + 64;
    const char *wrong = NULL;

    if (a->state == HTTP_BROKEN) {
        wrong = a->octets > HTTP_ANSWER_MAX ? "the answer is too long" : "the answer is no HTTP";
    } else if (a->status != SWITCHING) {
        snprintf(room, size, "%u%s%s", a->status, a->reason[0] != '\0' ? " " : "", a->reason);
        return room;
    } else if (!a->upgrades || !a->connection) {
        wrong = "the server does not switch the protocol";
    } else if (a->accepts != 1 || strcmp(a->accept, accept) != 0) {
        wrong = "the server's Sec-WebSocket-Accept is wrong";
    } else if (a->extensions) {
        wrong = "the server wants an extension that was not offered";
    } else if (a->protocols != 1 || !a->is_mqtt) {
        wrong = "the server does not agree to the subprotocol mqtt";
    }
    if (wrong == NULL)
        return NULL;
    snprintf(room, size, "%s", wrong);
    return room;
}

/* ---- requests -------------------------------------------------------------------------------- */

static size_t whole(int len, size_t size)
{
    return len > 0 && (size_t)len < size ? (size_t)len : 0;
}

static const char *bracket(const char *host, const char *mark)
{
    return strchr(host, ':') != NULL ? mark : "";
}

size_t http_write_connect(char *out, size_t size, const char *host, const char *port,
                          const char *login)
{
    const char *const open = bracket(host, "[");
    const char *const close = bracket(host, "]");
    return whole(snprintf(out, size, "CONNECT %s%s%s:%s HTTP/1.1\r\nHost: %s%s%s:%s\r\n%s%s%s\r\n",
                          open, host, close, port, open, host, close, port,
                          login != NULL ? "Proxy-Authorization: Basic " : "",
                          login != NULL ? login : "", login != NULL ? "\r\n" : ""),
                 size);
}

size_t http_write_upgrade(char *out, size_t size, const char *host, const char *port,
                          bool usual_port, const char *path, const char *key)
{
    return whole(snprintf(out, size,
                          "GET %s HTTP/1.1\r\nHost: %s%s%s%s%s\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
                          path, bracket(host, "["), host, bracket(host, "]"), usual_port ? "" : ":",
                          usual_port ? "" : port, key),
                 size);
}
