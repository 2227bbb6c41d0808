/* SPDX-License-Identifier: Apache-2.0 */
#include "mqttsn/topic.h"

/* The next code point of text that is already known to be well-formed UTF-8. */
static uint32_t next_code_point(struct reader *r)
{
    const uint8_t lead = rd_u8(r);
    if (lead < 0x80)
        return lead;
    const unsigned more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    uint32_t point = lead & (0x3FU >> more);
    for (unsigned i = 0; i < more; i++)
        point = point << 6 | (rd_u8(r) & 0x3FU);
    return point;
}

/* Control characters and Unicode non-characters: legal in MQTT, but brokers may close on them. */
static bool is_prudent(uint32_t point)
{
    if (point < 0x20 || (point >= 0x7F && point <= 0x9F))
        return false;
    if ((point >= 0xFDD0 && point <= 0xFDEF) || (point & 0xFFFE) == 0xFFFE)
        return false;
    return true;
}

static bool text_ok(struct bytes text)
{
    if (text.len == 0 || text.len > SN_TOPIC_MAX || !bytes_is_utf8(text))
        return false;
    unsigned levels = 1;
    struct reader r = rd_of(text);
    while (rd_left(&r) > 0) {
        const uint32_t point = next_code_point(&r);
        if (!is_prudent(point))
            return false;
        if (point == '/' && ++levels > SN_TOPIC_LEVELS_MAX)
            return false;
    }
    return true;
}

bool sn_topic_has_wildcard(struct bytes filter)
{
    for (size_t i = 0; i < filter.len; i++) {
        if (filter.data[i] == '+' || filter.data[i] == '#')
            return true;
    }
    return false;
}

bool sn_topic_name_ok(struct bytes name)
{
    return text_ok(name) && !sn_topic_has_wildcard(name);
}

bool sn_topic_name_legal(struct bytes name)
{
    return name.len > 0 && name.len <= SN_TOPIC_MAX && memchr(name.data, '\0', name.len) == NULL &&
           !sn_topic_has_wildcard(name) && bytes_is_utf8(name);
}

/* `+` must fill its level, `#` its level and be the last. */
static bool wildcards_ok(struct bytes filter)
{
    for (size_t i = 0; i < filter.len; i++) {
        const uint8_t c = filter.data[i];
        if (c != '+' && c != '#')
            continue;
        const bool starts = i == 0 || filter.data[i - 1] == '/';
        const bool last = i + 1 == filter.len;
        const bool ends = last || (c == '+' && filter.data[i + 1] == '/');
        if (!starts || !ends)
            return false;
    }
    return true;
}

bool sn_topic_filter_ok(struct bytes filter)
{
    static const char share[] = "$share/";
    if (!text_ok(filter) || !wildcards_ok(filter))
        return false;
    return filter.len < sizeof share - 1 || memcmp(filter.data, share, sizeof share - 1) != 0;
}

size_t sn_topic_shortest(struct bytes filter)
{
    size_t len = filter.len;
    for (size_t i = 0; i < filter.len; i++)
        len -= filter.data[i] == '+' || filter.data[i] == '#' ? 1 : 0;
    const bool has_level_above = filter.len > 1 && filter.data[filter.len - 1] == '#';
    return has_level_above ? len - 1 : len;
}

/* One octet against the set that starts after '['; `*globp` moves behind its ']'. */
static bool match_set(const char **globp, uint8_t octet)
{
    const char *g = *globp;
    const bool negated = *g == '!';
    if (negated)
        g++;
    bool hit = false;
    bool first = true;
    for (; *g != '\0' && (first || *g != ']'); first = false) {
        const uint8_t low = (uint8_t)*g++;
        uint8_t high = low;
        if (g[0] == '-' && g[1] != '\0' && g[1] != ']') {
            high = (uint8_t)g[1];
            g += 2;
        }
        hit = hit || (octet >= low && octet <= high);
    }
    if (*g != ']')
        return false;
    *globp = g + 1;
    return hit != negated;
}

/* One glob element (not `*`) against one octet; `*globp` moves on when it fits. */
static bool match_one(const char **globp, uint8_t octet)
{
    const char *g = *globp;
    bool fits = false;
    switch (*g) {
    case '\0':
        return false;
    case '?':
        g++;
        fits = true;
        break;
    case '[':
        g++;
        fits = match_set(&g, octet);
        break;
    case '\\':
        if (g[1] != '\0')
            g++;
        fits = (uint8_t)*g == octet;
        g++;
        break;
    default:
        fits = (uint8_t)*g == octet;
        g++;
        break;
    }
    if (fits)
        *globp = g;
    return fits;
}

bool sn_glob_match(const char *glob, struct bytes text)
{
    const char *star = NULL; /* behind the latest `*` ... */
    size_t star_at = 0;      /* ... and how much text it has swallowed so far */
    size_t at = 0;
    while (at < text.len) {
        if (*glob == '*') {
            star = ++glob;
            star_at = at;
        } else if (match_one(&glob, text.data[at])) {
            at++;
        } else if (star != NULL) {
            glob = star;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (*glob == '*')
        glob++;
    return *glob == '\0';
}
