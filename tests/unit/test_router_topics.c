/* SPDX-License-Identifier: Apache-2.0 */
/* Filters as sets of topics, names rewritten between them, and templates. */
#include <string.h>

#include <check.h>

#include "broker/router_topics.h"
#include "mqttsn/topic.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { ROOM = 256 };

static const char *intersect(const char *a, const char *b)
{
    static char text[ROOM];
    struct writer w = wr_to(text, sizeof text - 1);
    if (!topics_intersect(bytes_str(a), bytes_str(b), &w))
        return "nothing";
    text[w.len] = '\0';
    return text;
}

static const char *rewrite(const char *from, const char *to, const char *name)
{
    static char text[ROOM];
    struct writer w = wr_to(text, sizeof text - 1);
    if (!topics_rewrite(bytes_str(from), bytes_str(to), bytes_str(name), &w))
        return "nothing";
    text[w.len] = '\0';
    return text;
}

START_TEST(the_intersection_of_two_filters_is_one_filter_or_nothing)
{
    static const struct {
        const char *a, *b, *both;
    } rows[] = {
        {"a",      "a",     "a"      },
        {"a",      "b",     "nothing"},
        {"a/b",    "a",     "nothing"},
        {"+",      "a",     "a"      },
        {"+/b",    "a/+",   "a/b"    },
        {"+/+",    "+/+",   "+/+"    },
        {"#",      "a/+/b", "a/+/b"  },
        {"a/#",    "a",     "a"      },
        {"a/#",    "a/",    "a/"     },
        {"a/#",    "+",     "a"      },
        {"a/#",    "+/#",   "a/#"    },
        {"a/#",    "b/#",   "nothing"},
        {"a/+/#",  "a/#",   "a/+/#"  },
        {"a/+/#",  "a",     "nothing"},
        {"a/#",    "a/b/#", "a/b/#"  },
        {"+/b/#",  "a/#",   "a/b/#"  },
        {"+/b/#",  "a/+",   "a/b"    },
        {"#",      "#",     "#"      },
        {"#",      "$S/a",  "nothing"},
        {"+/a",    "$S/a",  "nothing"},
        {"$S/+",   "$S/a",  "$S/a"   },
        {"a/$S/#", "a/#",   "a/$S/#" },
        {"/",      "+/+",   "/"      },
        {"/#",     "+/#",   "/#"     },
        {"/#",     "+",     "nothing"}, /* the empty name */
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_str_eq(intersect(rows[i].a, rows[i].b), rows[i].both);
        ck_assert_str_eq(intersect(rows[i].b, rows[i].a), rows[i].both);
    }
}

END_TEST

START_TEST(names_and_filters_are_rewritten_wildcard_by_wildcard)
{
    static const struct {
        const char *from, *to, *name, *result;
    } rows[] = {
        {"a/+/#", "s/+/x/#", "a/b/c/d",  "s/b/x/c/d"},
        {"a/+/#", "s/+/x/#", "a/b",      "s/b/x"    },
        {"a/+/#", "s/+/x/#", "a/b/",     "s/b/x/"   },
        {"a/+/#", "s/+/x/#", "a/+/#",    "s/+/x/#"  },
        {"a/+/#", "s/+/x/#", "a/b/+/#",  "s/b/x/+/#"},
        {"a/+/#", "s/+/x/#", "a",        "nothing"  },
        {"a/+/#", "s/+/x/#", "b/b/c",    "nothing"  },
        {"+/+",   "+/-/+",   "x/y",      "x/-/y"    },
        {"a/#",   "#",       "a/b",      "b"        },
        {"a/#",   "#",       "a",        "nothing"  }, /* there is no empty name */
        {"a/#",   "#",       "a/",       "nothing"  },
        {"a/#",   "#",       "a/$SYS/x", "nothing"  }, /* `#` does not match it */
        {"a/+/x", "+/x",     "a/$S/x",   "nothing"  },
        {"#",     "s/#",     "$SYS/x",   "nothing"  },
        {"s/#",   "#",       "s/a",      "a"        },
        {"#",     "s/#",     "a/b",      "s/a/b"    },
        {"a",     "b/c",     "a",        "b/c"      },
        {"a/#",   "all",     "a/b/c",    "all"      }, /* many to one */
        {"a/+",   "all",     "a/b/c",    "nothing"  },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_str_eq(rewrite(rows[i].from, rows[i].to, rows[i].name), rows[i].result);
}

END_TEST

START_TEST(a_name_that_becomes_longer_or_deeper_than_mqtt_allows_is_none)
{
    static uint8_t name[SN_TOPIC_MAX];
    static uint8_t out[2 * SN_TOPIC_MAX];
    memset(name, 'x', sizeof name);
    struct writer w = wr_to(out, sizeof out);
    ck_assert(!topics_rewrite(bytes_str("#"), bytes_str("a/#"), bytes_of(name, sizeof name), &w));
    w = wr_to(out, sizeof out);
    ck_assert(
        topics_rewrite(bytes_str("#"), bytes_str("a/#"), bytes_of(name, sizeof name - 2), &w));
    ck_assert_uint_eq(w.len, SN_TOPIC_MAX);

    for (size_t i = 1; i < 2 * SN_TOPIC_LEVELS_MAX - 1; i += 2)
        name[i] = '/';
    const struct bytes deep = bytes_of(name, 2 * SN_TOPIC_LEVELS_MAX - 1);
    ck_assert(sn_topic_name_ok(deep));
    w = wr_to(out, sizeof out);
    ck_assert(!topics_rewrite(bytes_str("#"), bytes_str("a/#"), deep, &w));
    w = wr_to(out, sizeof out);
    ck_assert(topics_rewrite(bytes_str("#"), bytes_str("#"), deep, &w));
}

END_TEST

/* ---- random filters -------------------------------------------------------------------------- */

static const char *const words[] = {"a", "b", "", "$S"};

/* A filter or a name of few levels and fewer words, so that they meet often. */
static void random_topic(struct rng *rng, bool filter, char out[ROOM])
{
    const unsigned n = 1 + (unsigned)rng_below(rng, 4);
    size_t len = 0;
    for (unsigned i = 0; i < n; i++) {
        const char *word = words[rng_below(rng, i == 0 ? 4 : 3)];
        const uint64_t wild = filter ? rng_below(rng, 5) : 4;
        if (wild < 2)
            word = "+";
        else if (wild == 2 && i + 1 == n)
            word = "#";
        if (i > 0)
            out[len++] = '/';
        memcpy(out + len, word, strlen(word));
        len += strlen(word);
    }
    out[len] = '\0';
    if (len == 0)
        snprintf(out, ROOM, "%s", filter ? "+" : "a");
}

/* Another wording of section 4.7 than the one under test. */
static bool matches(const char *filter, const char *name, bool first)
{
    if (strcmp(filter, "#") == 0 || strcmp(filter, "+/#") == 0)
        return !(first && name[0] == '$');
    if (first && name[0] == '$' && (filter[0] == '+' || filter[0] == '#'))
        return false;
    const size_t f = strcspn(filter, "/");
    const size_t n = strcspn(name, "/");
    const bool level = filter[0] == '+' || (f == n && strncmp(filter, name, f) == 0);
    if (!level)
        return false;
    if (filter[f] == '\0' || name[n] == '\0')
        return filter[f] == name[n] || (name[n] == '\0' && strcmp(filter + f, "/#") == 0);
    return matches(filter + f + 1, name + n + 1, false);
}

START_TEST(a_topic_lies_in_both_filters_if_and_only_if_it_lies_in_their_intersection)
{
    struct rng rng = seeded_rng();
    unsigned hits = 0;
    for (unsigned i = 0; i < 60000; i++) {
        char a[ROOM];
        char b[ROOM];
        char name[ROOM];
        random_topic(&rng, true, a);
        random_topic(&rng, true, b);
        random_topic(&rng, false, name);
        const bool wanted = matches(a, name, true) && matches(b, name, true);
        const char *both = intersect(a, b);
        const bool got = strcmp(both, "nothing") != 0 && matches(both, name, true);
        ck_assert_msg(got == wanted, "%s and %s: %s, %s", a, b, both, name);
        ck_assert_msg(topics_match(bytes_str(a), bytes_str(name)) == matches(a, name, true),
                      "%s: %s", a, name);
        if (strcmp(both, "nothing") != 0)
            ck_assert_msg(sn_topic_filter_ok(bytes_str(both)), "%s and %s: %s", a, b, both);
        hits += wanted;
    }
    ck_assert_uint_gt(hits, 500);
}

END_TEST

START_TEST(what_a_filter_covers_lies_in_it)
{
    struct rng rng = seeded_rng();
    unsigned hits = 0;
    for (unsigned i = 0; i < 60000; i++) {
        char wide[ROOM];
        char narrow[ROOM];
        char name[ROOM];
        random_topic(&rng, true, wide);
        random_topic(&rng, true, narrow);
        random_topic(&rng, false, name);
        if (!topics_cover(bytes_str(wide), bytes_str(narrow)) || !matches(narrow, name, true))
            continue;
        ck_assert_msg(matches(wide, name, true), "%s, %s: %s", wide, narrow, name);
        hits++;
    }
    ck_assert_uint_gt(hits, 500);
    ck_assert(topics_cover(bytes_str("a/#"), bytes_str("a/+/b/#")));
    ck_assert(topics_cover(bytes_str("a/#"), bytes_str("a")));
    ck_assert(!topics_cover(bytes_str("a/+"), bytes_str("a/#")));
}

END_TEST

/* A filter with the same wildcards, other words, and more of them. */
static void random_partner(struct rng *rng, const char *from, char out[ROOM])
{
    size_t len = 0;
    if (rng_below(rng, 2) == 0)
        len = (size_t)snprintf(out, ROOM, "p/");
    for (const char *at = from; *at != '\0'; at++) {
        const bool wild = *at == '+' || *at == '#';
        if (wild && rng_below(rng, 3) == 0)
            len += (size_t)snprintf(out + len, ROOM - len, "q/");
        if (wild)
            len += (size_t)snprintf(out + len, ROOM - len, "%c/", *at);
    }
    if (len == 0)
        len = (size_t)snprintf(out, ROOM, "r/");
    out[len - 1] = '\0';
}

START_TEST(rewritten_there_and_back_a_topic_is_itself)
{
    struct rng rng = seeded_rng();
    unsigned hits = 0;
    for (unsigned i = 0; i < 60000; i++) {
        char from[ROOM];
        char to[ROOM];
        char name[ROOM];
        char there[ROOM];
        random_topic(&rng, true, from);
        random_partner(&rng, from, to);
        random_topic(&rng, false, name);
        ck_assert(topics_same_wildcards(bytes_str(from), bytes_str(to)));
        snprintf(there, sizeof there, "%s", rewrite(from, to, name));
        const bool inside = matches(from, name, true);
        if (strcmp(there, "nothing") == 0)
            continue;
        ck_assert_msg(inside, "%s -> %s: %s", from, to, name);
        ck_assert_msg(matches(to, there, true), "%s -> %s: %s, %s", from, to, name, there);
        ck_assert_msg(strcmp(rewrite(to, from, there), name) == 0, "%s <-> %s: %s, %s", from, to,
                      name, there);
        hits++;
    }
    ck_assert_uint_gt(hits, 500);
}

END_TEST

START_TEST(a_rewritten_filter_matches_what_its_topics_are_called)
{
    struct rng rng = seeded_rng();
    unsigned hits = 0;
    for (unsigned i = 0; i < 60000; i++) {
        char from[ROOM];
        char to[ROOM];
        char filter[ROOM];
        char cut[ROOM];
        char name[ROOM];
        char there[ROOM];
        random_topic(&rng, true, from);
        random_partner(&rng, from, to);
        random_topic(&rng, true, filter);
        random_topic(&rng, false, name);
        snprintf(cut, sizeof cut, "%s", intersect(from, filter));
        snprintf(there, sizeof there, "%s", rewrite(from, to, name));
        if (strcmp(cut, "nothing") == 0 || strcmp(there, "nothing") == 0)
            continue;
        const char *cut_there = rewrite(from, to, cut);
        const bool wanted = matches(filter, name, true);
        const bool got = strcmp(cut_there, "nothing") != 0 && matches(cut_there, there, true);
        ck_assert_msg(got == wanted, "%s -> %s, %s -> %s: %s, %s", from, to, cut, cut_there, name,
                      there);
        hits += wanted;
    }
    ck_assert_uint_gt(hits, 500);
}

END_TEST

/* ---- templates ------------------------------------------------------------------------------- */

static const char *expand(const char *template, const char *client)
{
    static char text[ROOM];
    const struct topics_constants with = {.client = bytes_str(client),
                                          .link = bytes_str("hall"),
                                          .gateway = bytes_str("gw/1"),
                                          .prefix = bytes_str("site/"),
                                          .has_prefix = true};
    struct writer w = wr_to(text, sizeof text - 1);
    if (!topics_expand(template, &with, &w))
        return "nothing";
    text[w.len] = '\0';
    return text;
}

START_TEST(templates_stand_for_the_constants_of_a_client)
{
    ck_assert_str_eq(expand("plain/+/#", "n1"), "plain/+/#");
    ck_assert_str_eq(expand("{prefix}x/{client}/{link}-{gateway}/#", "n1"),
                     "site/x/n1/hall-gw/1/#");
    ck_assert_str_eq(expand("{client}{client}/a", "n1"), "n1n1/a");
    ck_assert_str_eq(expand("{client}/a", ""), "/a");
}

END_TEST

START_TEST(a_client_id_in_a_topic_is_one_level_and_nothing_more)
{
    static const char *const hostile[] = {"a/b",      "/",    "a/",   "+",    "a+b",
                                          "#",        "$SYS", "$",    "a\nb", "a\x7f",
                                          "\xc2\x85", "\xff", "a\xc3"};

    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        ck_assert_str_eq(expand("nodes/{client}/x", hostile[i]), "nothing");
        ck_assert_str_eq(expand("nodes/x", hostile[i]), "nodes/x");
    }
    ck_assert_str_eq(expand("nodes/{client}", "a$b {c} \xc3\xa9"), "nodes/a$b {c} \xc3\xa9");
}

END_TEST

START_TEST(templates_with_unknown_words_are_faulty)
{
    static const char *const faulty[] = {"{",       "}",   "a{",         "{name}",
                                         "{client", "a}b", "x{prefix}y", "{client}{prefix}"};
    static const char *const good[] = {"",        "a", "{client}", "{prefix}", "a/{prefix}+/#",
                                       "{link}-x"};

    for (size_t i = 0; i < sizeof faulty / sizeof faulty[0]; i++)
        ck_assert_msg(topics_template_fault(faulty[i]) != NULL, "%s", faulty[i]);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(topics_template_fault(good[i]) == NULL, "%s", good[i]);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("router_topics");
    TCase *sets = tcase_create("sets");
    tcase_set_timeout(sets, 60);
    tcase_add_test(sets, the_intersection_of_two_filters_is_one_filter_or_nothing);
    tcase_add_test(sets, a_topic_lies_in_both_filters_if_and_only_if_it_lies_in_their_intersection);
    tcase_add_test(sets, what_a_filter_covers_lies_in_it);
    suite_add_tcase(suite, sets);
    TCase *rewriting = tcase_create("rewriting");
    tcase_set_timeout(rewriting, 60);
    tcase_add_test(rewriting, names_and_filters_are_rewritten_wildcard_by_wildcard);
    tcase_add_test(rewriting, a_name_that_becomes_longer_or_deeper_than_mqtt_allows_is_none);
    tcase_add_test(rewriting, rewritten_there_and_back_a_topic_is_itself);
    tcase_add_test(rewriting, a_rewritten_filter_matches_what_its_topics_are_called);
    suite_add_tcase(suite, rewriting);
    TCase *templates = tcase_create("templates");
    tcase_add_test(templates, templates_stand_for_the_constants_of_a_client);
    tcase_add_test(templates, a_client_id_in_a_topic_is_one_level_and_nothing_more);
    tcase_add_test(templates, templates_with_unknown_words_are_faulty);
    suite_add_tcase(suite, templates);
    return run_suite(suite);
}
