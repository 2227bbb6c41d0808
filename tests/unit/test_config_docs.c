/* SPDX-License-Identifier: Apache-2.0 */
/* gateway.conf.example and gateway.conf(5) say what the table of keys says, and nothing less. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "unit/config_text.h"
#include "unit/suite.h"

static const char minimal[] = "[broker]\naddress = 127.0.0.1\n"
                              "[link a]\ndriver = udp\nlisten = 127.0.0.1:1884\n";

/* A document of the source tree. */
static char *document(const char *path)
{
    char *text = NULL;
    size_t len = 0;
    unsigned mode = 0;
    ck_assert_int_eq(config_read_file(path, CONFIG_FILE_MAX, true, &text, &len, &mode), 0);
    return text;
}

/* The text of every field with a default. */
static char *values(enum config_section s, const void *object)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (size_t i = 0; i < config_n_keys; i++) {
        if (config_keys[i].section != s || config_keys[i].fallback == NULL)
            continue;
        fprintf(f, "%s = ", config_keys[i].name);
        config_value_write(&config_keys[i], object, f);
        fputc('\n', f);
    }
    fclose(f);
    return text;
}

static void check_same_values(enum config_section s, const void *a, const void *b)
{
    char *one = values(s, a);
    char *two = values(s, b);
    ck_assert_str_eq(one, two);
    free(one);
    free(two);
}

/* Where the part on `section` of the example starts: its first header, live or commented. */
static const char *example_section(const char *text, enum config_section s)
{
    char header[CONFIG_TEXT_ROOM];
    snprintf(header, sizeof header, "\n[%s", config_section_name(s));
    const char *at = strstr(text, header);
    snprintf(header, sizeof header, "\n#[%s", config_section_name(s));
    at = at != NULL ? at : strstr(text, header);
    ck_assert_msg(at != NULL, "the example has no [%s]", config_section_name(s));
    return at + 1;
}

START_TEST(the_example_loads_without_a_word)
{
    char *text = document(EXAMPLE);
    struct config *c = parse(text);
    struct config *plain = parse(minimal);
    /* Nothing in it may change a default. */
    check_same_values(SECTION_GATEWAY, c, plain);
    check_same_values(SECTION_LINK, &c->links[0], &plain->links[0]);
    check_same_values(SECTION_BROKER, &c->brokers[0], &plain->brokers[0]);
    free(text);
    config_free(c);
    config_free(plain);
}

END_TEST

/* Takes the '#' from lines that are keys or headers: prose has a blank behind it. */
static void uncomment(char *text)
{
    char *to = text;
    bool line_starts = true;
    for (const char *from = text; *from != '\0'; from++) {
        if (line_starts && from[0] == '#' && strchr(" \n", from[1]) == NULL)
            from++;
        line_starts = *from == '\n';
        *to++ = *from;
    }
    *to = '\0';
}

/* Some keys are good with TLS only. */
static void encrypt(char *text)
{
    static const char tls[] = "mqtts://127.0.0.1:883";
    char *at = strstr(text, "mqtt://127.0.0.1:1883");
    ck_assert_ptr_nonnull(at);
    memcpy(at, tls, sizeof tls - 1);
}

START_TEST(every_commented_line_of_the_example_is_good)
{
    char *text = document(EXAMPLE);
    uncomment(text);
    encrypt(text);
    struct config *c = parse(text);
    ck_assert_uint_eq(c->n_links, 5);
    ck_assert_uint_eq(c->n_topics, 2);
    ck_assert_ptr_nonnull(c->brokers[0].password_file);
    for (size_t i = 0; i < config_n_keys; i++) {
        if (config_keys[i].section == SECTION_CLIENT)
            ck_assert(config_value_is_set(&config_keys[i], &c->clients[0]));
    }
    free(text);
    config_free(c);
}

END_TEST

START_TEST(the_example_shows_every_key_with_its_default)
{
    char *text = document(EXAMPLE);
    uncomment(text);
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        char line[CONFIG_TEXT_ROOM];
        const char *fallback = key->fallback != NULL ? key->fallback : "";
        snprintf(line, sizeof line, "\n%s = %s%s", key->name, fallback,
                 key->fallback != NULL ? "\n" : "");
        const char *part = example_section(text, key->section);
        const char *at = strstr(part, line);
        ck_assert_msg(at != NULL, "the example lacks, in [%s]: %s",
                      config_section_name(key->section), line + 1);
    }
    free(text);
}

END_TEST

/* Where the manual page describes this key; up to the next empty line. */
static const char *manual_entry(const char *manual, const struct config_key *key)
{
    char header[CONFIG_TEXT_ROOM];
    char entry[CONFIG_TEXT_ROOM];
    snprintf(header, sizeof header, "\n## [%s", config_section_name(key->section));
    snprintf(entry, sizeof entry, "\n*%s* ", key->name);
    const char *const part = strstr(manual, header);
    ck_assert_msg(part != NULL, "no part on %s", header + 1);
    const char *const at = strstr(part, entry);
    const char *const end = strstr(part + 1, "\n## [");
    ck_assert_msg(at != NULL && (end == NULL || at < end), "no %s in %s", key->name, header);
    return at;
}

START_TEST(the_manual_page_describes_every_key)
{
    char *text = document(MANUAL);
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        const char *const at = manual_entry(text, key);
        char fallback[CONFIG_TEXT_ROOM];
        char range[CONFIG_TEXT_ROOM];
        if (key->type != TYPE_NUMBER && key->type != TYPE_DURATION && key->type != TYPE_SIZE)
            continue;
        config_range_print(key, range, sizeof range);
        const char *told = strstr(at, range);
        const char *next = strstr(at + 1, "\n\n");
        ck_assert_msg(told != NULL && told < next, "%s: the range is %s", key->name, range);
        if (key->fallback == NULL)
            continue;
        snprintf(fallback, sizeof fallback, "Default: %s.", key->fallback);
        told = strstr(at, fallback);
        ck_assert_msg(told != NULL && told < next, "%s: %s", key->name, fallback);
    }
    free(text);
}

END_TEST

/* ---- what needs a restart ---------------------------------------------------------------------- */

static const char restart[] = "Needs a restart.";

/* The comment on the line at `at` of the example: the prose above it, and above the keys in between. */
static const char *comment_of(const char *text, const char *at, const char **end)
{
    *end = at;
    while (at > text) {
        const char *line = at - 1;
        while (line > text && line[-1] != '\n')
            line--;
        const bool prose = line[0] == '#' && line[1] == ' ';
        const bool key = line[0] != '\n' && !prose;
        if (line[0] == '\n' || (key && *end != at))
            break;
        if (key)
            *end = line;
        at = line;
    }
    return at;
}

static bool stands_between(const char *at, const char *end, const char *what)
{
    const char *found = strstr(at, what);
    return found != NULL && found < end;
}

START_TEST(the_example_says_what_needs_a_restart)
{
    char *text = document(EXAMPLE);
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        const char *part = example_section(text, key->section);
        char entry[CONFIG_TEXT_ROOM];
        snprintf(entry, sizeof entry, "\n#%s = ", key->name);
        const char *at = strstr(part, entry);
        snprintf(entry, sizeof entry, "\n%s = ", key->name);
        const char *live = strstr(part, entry);
        at = at == NULL || (live != NULL && live < at) ? live : at;
        ck_assert_ptr_nonnull(at);
        const char *end = NULL;
        const char *begin = comment_of(text, at + 1, &end);
        ck_assert_msg(stands_between(begin, end, restart) == (key->effect == CONFIG_NEEDS_RESTART),
                      "the example, in [%s]: does %s need a restart?",
                      config_section_name(key->section), key->name);
    }
    free(text);
}

END_TEST

START_TEST(the_manual_page_says_what_needs_a_restart)
{
    char *text = document(MANUAL);
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        const char *const at = manual_entry(text, key);
        ck_assert_msg(stands_between(at, strstr(at + 1, "\n\n"), restart) ==
                          (key->effect == CONFIG_NEEDS_RESTART),
                      "gateway.conf(5), in [%s]: does %s need a restart?",
                      config_section_name(key->section), key->name);
    }
    free(text);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("config_docs");
    TCase *documents = tcase_create("documents");
    tcase_add_test(documents, the_example_loads_without_a_word);
    tcase_add_test(documents, every_commented_line_of_the_example_is_good);
    tcase_add_test(documents, the_example_shows_every_key_with_its_default);
    tcase_add_test(documents, the_manual_page_describes_every_key);
    tcase_add_test(documents, the_example_says_what_needs_a_restart);
    tcase_add_test(documents, the_manual_page_says_what_needs_a_restart);
    suite_add_tcase(suite, documents);
    return run_suite(suite);
}
