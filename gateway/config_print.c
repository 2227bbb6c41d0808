/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back: the effective configuration as a file that loads again, each key with its meaning.
 * Drop-ins are part of it already, so include_dir is not repeated.
 */
#include "config_priv.h"

static void print_help(const struct config_key *key, FILE *out)
{
    char range[CONFIG_TEXT_ROOM];
    config_range_print(key, range, sizeof range);
    fprintf(out, "# %s", key->help);
    if (key->type != TYPE_TEXT && key->type != TYPE_PLAIN && key->type != TYPE_PATH)
        fprintf(out, ": %s", range);
    if (key->fallback != NULL)
        fprintf(out, " (default %s)", key->fallback);
    fputc('\n', out);
}

/* A section's fields; `full`: with a line on each, and those without a value as comments. */
static void print_keys(enum config_section s, const void *object, bool full, FILE *out)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->section != s || key->size == 0 ||
            (s == SECTION_LINK && !config_link_takes(object, key)))
            continue;
        if (full)
            print_help(key, out);
        if (config_value_is_set(key, object)) {
            fprintf(out, "%s = ", key->name);
            config_value_write(key, object, out);
            fputc('\n', out);
        } else if (full) {
            fprintf(out, "#%s =\n", key->name);
        }
    }
}

static void print_header(enum config_section s, const char *argument, FILE *out)
{
    fprintf(out, "\n[%s", config_section_name(s));
    if (argument != NULL) {
        fputc(' ', out);
        config_argument_print(argument, out);
    }
    fputs("]\n", out);
}

static void print_topics(const struct config_topics *t, FILE *out)
{
    print_header(SECTION_TOPICS, t->glob, out);
    for (size_t i = 0; i < t->n_entries; i++) {
        fprintf(out, "%u = ", t->entries[i].topic_id);
        config_text_print(t->entries[i].topic, out);
        fputc('\n', out);
    }
}

void config_print(const struct config *c, FILE *out)
{
    fprintf(out, "# The configuration in effect, drop-ins and defaults included.\n");
    print_header(SECTION_GATEWAY, NULL, out);
    print_keys(SECTION_GATEWAY, c, true, out);
    for (size_t i = 0; i < c->n_brokers; i++) {
        print_header(SECTION_BROKER, c->brokers[i].name, out);
        print_keys(SECTION_BROKER, &c->brokers[i], i == 0, out);
        if (c->brokers[i].password != NULL)
            fputs("# password: *** (the content of password_file)\n", out);
    }
    for (size_t i = 0; i < c->n_routes; i++) {
        print_header(SECTION_ROUTE, c->routes[i].name, out);
        print_keys(SECTION_ROUTE, &c->routes[i], i == 0, out);
    }
    print_header(SECTION_STORE, NULL, out);
    print_keys(SECTION_STORE, &c->store, true, out);
    for (size_t i = 0; i < c->n_links; i++) {
        print_header(SECTION_LINK, c->links[i].name, out);
        print_keys(SECTION_LINK, &c->links[i], i == 0, out);
        if (c->links[i].has_network_key)
            fputs("# network key: *** (the content of network_key_file)\n", out);
    }
    for (size_t i = 0; i < c->n_topics; i++)
        print_topics(&c->topics[i], out);
    for (size_t i = 0; i < c->n_clients; i++) {
        print_header(SECTION_CLIENT, c->clients[i].glob, out);
        print_keys(SECTION_CLIENT, &c->clients[i], false, out);
    }
}
