/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a good configuration amounts to: values, defaults, drop-ins, the way back to text. Messages
 * are the matter of test_config_golden.c, the documents of test_config_docs.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "base/error.h"

#include "mqtt.h"
#include "seed.h"
#include "unit/config_text.h"
#include "unit/suite.h"

enum { PATH_ROOM = 512 };

static const char minimal[] = "[broker]\naddress = 127.0.0.1\n"
                              "[link a]\ndriver = udp\nlisten = 127.0.0.1:1884\n";

/* ---- running out of memory ------------------------------------------------------------------- */

static long allocations_left = -1; /* -1: any number */

static bool may_allocate(void)
{
    if (allocations_left < 0)
        return true;
    if (allocations_left == 0)
        return false;
    allocations_left--;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
    return may_allocate() ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return may_allocate() ? __real_realloc(old, size) : NULL;
}

/* ---- helpers --------------------------------------------------------------------------------- */

static struct config *load(const char *path)
{
    char *said = NULL;
    size_t len = 0;
    FILE *errors = open_memstream(&said, &len);
    struct config *c = NULL;
    const int rc = config_load(path, errors, &c);
    fclose(errors);
    ck_assert_msg(rc == 0, "code %d: %s", rc, said);
    free(said);
    return c;
}

static struct config *load_golden(const char *name)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, name);
    return load(path);
}

static char *print(const struct config *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    config_print(c, f);
    fclose(f);
    return text;
}

/* ---- equality -------------------------------------------------------------------------------- */

/* Everything the table knows of two objects, as text. */
static void check_same_fields(enum config_section s, const void *a, const void *b)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->section != s || key->size == 0)
            continue;
        const bool set = config_value_is_set(key, a);
        ck_assert_msg(set == config_value_is_set(key, b), "%s", key->name);
        if (!set)
            continue;
        char texts[2][PATH_ROOM] = {"", ""};
        for (int k = 0; k < 2; k++) {
            FILE *f = fmemopen(texts[k], PATH_ROOM, "w");
            config_value_write(key, k == 0 ? a : b, f);
            fclose(f);
        }
        ck_assert_str_eq(texts[0], texts[1]);
    }
}

static void check_same_lists(const struct config *a, const struct config *b)
{
    ck_assert_uint_eq(a->n_links, b->n_links);
    for (size_t i = 0; i < a->n_links; i++) {
        ck_assert_str_eq(a->links[i].name, b->links[i].name);
        check_same_fields(SECTION_LINK, &a->links[i], &b->links[i]);
    }
    ck_assert_uint_eq(a->n_clients, b->n_clients);
    for (size_t i = 0; i < a->n_clients; i++) {
        ck_assert_str_eq(a->clients[i].glob, b->clients[i].glob);
        check_same_fields(SECTION_CLIENT, &a->clients[i], &b->clients[i]);
    }
    ck_assert_uint_eq(a->n_topics, b->n_topics);
    for (size_t i = 0; i < a->n_topics; i++) {
        ck_assert_pstr_eq(a->topics[i].glob, b->topics[i].glob);
        ck_assert_uint_eq(a->topics[i].n_entries, b->topics[i].n_entries);
        for (size_t k = 0; k < a->topics[i].n_entries; k++) {
            ck_assert_uint_eq(a->topics[i].entries[k].topic_id, b->topics[i].entries[k].topic_id);
            ck_assert_str_eq(a->topics[i].entries[k].topic, b->topics[i].entries[k].topic);
        }
    }
}

static void check_same(const struct config *a, const struct config *b)
{
    check_same_fields(SECTION_GATEWAY, a, b);
    check_same_fields(SECTION_BROKER, &a->brokers[0], &b->brokers[0]);
    ck_assert_pstr_eq(a->brokers[0].password, b->brokers[0].password);
    check_same_lists(a, b);
}

/* ---- values ---------------------------------------------------------------------------------- */

START_TEST(a_full_file_means_what_it_says)
{
    struct config *c = load_golden("good.conf");
    ck_assert_uint_eq(c->gateway.id, 0);
    ck_assert_str_eq(c->gateway.name, "attic-1");
    ck_assert_int_eq(c->gateway.log_level, LOG_DEBUG);
    ck_assert(c->gateway.log_json);
    ck_assert_int_eq(c->gateway.retry_interval_ms, 200);
    ck_assert_int_eq(c->gateway.retry_min_ms, 10);
    ck_assert_int_eq(c->gateway.retry_max_ms, 200);
    ck_assert_uint_eq(c->gateway.retry_count, 0);
    ck_assert_uint_eq(c->gateway.max_memory_bytes, 64U << 20);
    ck_assert_int_eq(c->gateway.session_expiry_ms, INT64_C(36) * 3600 * 1000);
    ck_assert_int_eq(c->gateway.drain_ms, 0);
    ck_assert_str_eq(c->brokers[0].address, "mqtt://broker.lan:1883");
    ck_assert_str_eq(c->brokers[0].client_id, "sn \"attic\" \\ \xC3\xA9");
    ck_assert_str_eq(c->brokers[0].username, "k\xC3\xBC"
                                             "che");
    ck_assert_str_eq(c->brokers[0].password, "correct horse");
    ck_assert_uint_eq(c->brokers[0].keepalive_s, 60);
    ck_assert_int_eq(c->brokers[0].reconnect_max_ms, 3600 * 1000);
    ck_assert_uint_eq(c->n_links, 4);
    ck_assert_str_eq(c->links[0].name, "lan");
    ck_assert_uint_eq(c->links[0].max_packet_bytes, 12);
    ck_assert_uint_eq(c->links[0].receive_buffer_bytes, 0);
    ck_assert_int_eq(c->links[0].qos_minus_one, SN_NO);
    ck_assert_str_eq(c->links[1].listen, "[::1]:1884");
    ck_assert_uint_eq(c->links[1].line, 41);
    ck_assert_uint_eq(c->n_topics, 3);
    ck_assert_ptr_null(c->topics[0].glob);
    ck_assert_uint_eq(c->topics[0].n_entries, 4);
    ck_assert_uint_eq(c->topics[0].entries[1].topic_id, 65534);
    ck_assert_str_eq(c->topics[0].entries[2].topic, "home/ spaced /x");
    ck_assert_str_eq(c->topics[1].glob, "pump-[0-9]*");
    ck_assert_str_eq(c->topics[2].glob, "odd]name");
    ck_assert_uint_eq(c->n_clients, 3);
    ck_assert_int_eq(c->clients[0].options.allow, SN_YES);
    ck_assert_int_eq(c->clients[0].options.qos_minus_one, SN_UNSET);
    ck_assert_uint_eq(c->clients[0].options.max_packet_bytes, 0);
    ck_assert_int_eq(c->clients[0].options.keep_alive_max_ms, 90 * 1000);
    ck_assert_str_eq(c->clients[1].glob, "bad\\[1\\]");
    ck_assert_uint_eq(c->clients[1].options.max_packet_bytes, 64);
    ck_assert_int_eq(c->clients[1].options.overflow, SN_DROP_NEWEST);
    ck_assert_int_eq(c->clients[1].options.queue_qos_0, SN_NO);
    ck_assert_int_eq(c->clients[1].options.rebind, SN_NO);
    ck_assert_int_eq(c->clients[1].options.resume_asleep, SN_YES);
    ck_assert_int_eq(c->clients[1].options.regack, SN_NO);
    ck_assert_int_eq(c->clients[1].options.dup, SN_NO);
    ck_assert_uint_eq(c->clients[1].options.max_qos, 1 + 0);
    ck_assert_int_eq(c->clients[2].options.overflow, SN_LATEST_PER_TOPIC);
    ck_assert_int_eq(c->clients[2].options.rebind, SN_UNSET);
    ck_assert_uint_eq(c->clients[2].options.max_qos, 1 + 1);
    config_free(c);
}

END_TEST

START_TEST(addresses_are_completed)
{
    static const char *const addresses[][2] = {
        {"mqtt://a.b:1",              "mqtt://a.b:1"             },
        {"mqtt://a",                  "mqtt://a:1883"            },
        {"192.0.2.1:65535",           "mqtt://192.0.2.1:65535"   },
        {"[::1]",                     "mqtt://[::1]:1883"        },
        {"mqtt://[2001:db8::7]:1884", "mqtt://[2001:db8::7]:1884"},
    };
    char text[PATH_ROOM];
    snprintf(text, sizeof text, "%s[broker]\naddress = %s\n", strstr(minimal, "[link"),
             addresses[_i][0]);
    struct config *c = parse(text);
    ck_assert_str_eq(c->brokers[0].address, addresses[_i][1]);
    config_free(c);
}

END_TEST

START_TEST(a_password_may_end_in_any_line_end_or_none)
{
    static const char *const contents[] = {"secret", "secret\n", "secret\r\n"};
    char path[] = "/tmp/sennet-config-XXXXXX";
    char text[PATH_ROOM];
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(write(fd, contents[_i], strlen(contents[_i])), 0);
    close(fd);
    char file[] = "/tmp/sennet-config-XXXXXX";
    const int config_fd = mkstemp(file);
    snprintf(text, sizeof text, "%s[broker]\nusername = x\npassword_file = %s\n", minimal, path);
    ck_assert_int_gt(write(config_fd, text, strlen(text)), 0);
    close(config_fd);
    struct config *c = load(file);
    unlink(path);
    unlink(file);
    ck_assert_str_eq(c->brokers[0].password, "secret");
    char *printed = print(c);
    ck_assert_ptr_null(strstr(printed, "secret"));
    ck_assert_ptr_nonnull(strstr(printed, "***"));
    free(printed);
    config_free(c);
}

END_TEST

START_TEST(every_number_reads_back_as_it_is_printed)
{
    struct rng rng = seeded_rng();
    struct config_report r = {0};
    const struct config_place at = {0};
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->type != TYPE_NUMBER && key->type != TYPE_DURATION && key->type != TYPE_SIZE)
            continue;
        for (unsigned n = 0; n < 200; n++) {
            const uint64_t span = (uint64_t)(key->max - key->min);
            const int64_t value = n == 0   ? key->min
                                  : n == 1 ? key->max
                                           : key->min + (int64_t)rng_below(&rng, span + 1);

            union {
                struct config config;
                struct config_broker broker;
                struct config_link link;
                struct config_client client;
            } object = {0};

            char text[CONFIG_TEXT_ROOM];
            char again[CONFIG_TEXT_ROOM] = "";
            config_number_print(key, value, text, sizeof text);
            ck_assert_msg(config_value_read(&r, at, key, bytes_str(text), NULL, &object), "%s = %s",
                          key->name, text);
            FILE *f = fmemopen(again, sizeof again, "w");
            config_value_write(key, &object, f);
            fclose(f);
            ck_assert_str_eq(again, text);
        }
    }
    ck_assert_uint_eq(r.errors, 0);
}

END_TEST

/* ---- defaults -------------------------------------------------------------------------------- */

START_TEST(defaults_are_those_of_the_engine)
{
    const struct sn_engine_config e = sn_engine_defaults();
    struct config *c = parse(minimal);
    ck_assert_uint_eq(c->gateway.id, e.gateway_id);
    ck_assert_int_eq(c->gateway.retry_interval_ms, e.retry_interval_ms);
    ck_assert_int_eq(c->gateway.retry_min_ms, e.retry_min_ms);
    ck_assert_int_eq(c->gateway.retry_max_ms, e.retry_max_ms);
    ck_assert_uint_eq(c->gateway.retry_count, e.retry_count);
    ck_assert_int_eq(c->gateway.gwinfo_delay_ms, e.gwinfo_delay_ms);
    ck_assert_uint_eq(c->gateway.max_clients, e.max_clients);
    ck_assert_uint_eq(c->gateway.max_memory_bytes, e.max_memory_bytes);
    ck_assert_uint_eq(c->gateway.max_client_id, e.max_client_id);
    ck_assert_uint_eq(c->gateway.max_waiting, e.max_waiting);
    ck_assert_int_eq(c->gateway.session_expiry_ms, e.session_expiry_ms);
    ck_assert_int_eq(c->gateway.log_level, e.log_level);
    config_free(c);

    /* [client] keys are unset unless written; the table tells what the engine does then. */
    struct config_report r = {0};
    struct config_client documented = {0};
    config_fallbacks(&r, SECTION_CLIENT, &documented);
    struct config_client used = {.options = e.defaults};
    used.options.allow = SN_YES;
    used.options.queue_qos_0 = used.options.rebind = SN_YES;
    used.options.resume_asleep = SN_NO;
    used.options.regack = used.options.dup = SN_YES;
    used.options.max_qos = 1 + 2;
    check_same_fields(SECTION_CLIENT, &documented, &used);
}

END_TEST

START_TEST(keys_that_have_no_effect_are_printed_as_what_is_in_effect)
{
    char text[PATH_ROOM];
    snprintf(text, sizeof text, "%s[gateway]\nretry_interval = 300ms\n", minimal);
    struct config *c = parse(text);
    ck_assert_int_eq(c->gateway.retry_min_ms, 300);
    ck_assert_uint_eq(c->links[0].advertise_s, 0);
    char *printed = print(c);
    struct config *again = parse(printed);
    check_same(c, again);
    free(printed);
    config_free(again);
    config_free(c);
}

END_TEST

START_TEST(the_default_of_window_qos2_follows_a_small_window)
{
    struct config *c = parse("[broker]\naddress = h\nwindow = 8\n"
                             "[link u]\ndriver = udp\nlisten = 127.0.0.1:1884\n");
    ck_assert_uint_eq(c->brokers[0].window, 8);
    ck_assert_uint_eq(c->brokers[0].window_qos2, 8);
    config_free(c);
}

END_TEST

START_TEST(window_qos2_counts_for_mqtt_5_only_where_it_is_written)
{
    struct config *c = parse(minimal);
    ck_assert_uint_eq(c->brokers[0].window_qos2_v5, 0);
    config_free(c);
    c = parse("[broker]\naddress = h\nwindow_qos2 = 5\n"
              "[link u]\ndriver = udp\nlisten = 127.0.0.1:1884\n");
    ck_assert_uint_eq(c->brokers[0].window_qos2, 5);
    ck_assert_uint_eq(c->brokers[0].window_qos2_v5, 5);
    config_free(c);
}

END_TEST

START_TEST(defaults_are_those_of_the_broker_connection)
{
    const struct mqtt_options m = mqtt_defaults();
    struct config *c = parse(minimal);
    ck_assert_uint_eq(c->brokers[0].keepalive_s, m.keepalive_s);
    ck_assert_uint_eq(c->brokers[0].window, m.window);
    ck_assert_uint_eq(c->brokers[0].window_qos2, m.window_qos2);
    ck_assert_uint_eq(c->brokers[0].max_queued, m.max_queued);
    ck_assert_uint_eq(c->brokers[0].max_queued_bytes, m.max_queued_bytes);
    ck_assert_int_eq(c->brokers[0].reconnect_min_ms, m.backoff_min_ms);
    ck_assert_int_eq(c->brokers[0].reconnect_max_ms, m.backoff_max_ms);
    config_free(c);
}

END_TEST

START_TEST(names_that_are_not_given_come_from_the_host)
{
    struct config *c = parse(minimal);
    ck_assert_str_ne(c->gateway.name, "");
    ck_assert_int_eq(strncmp(c->brokers[0].client_id, "sennet-", 7), 0);
    ck_assert_str_eq(c->brokers[0].client_id + 7, c->gateway.name);
    config_free(c);
}

END_TEST

/* ---- several files --------------------------------------------------------------------------- */

START_TEST(drop_ins_override_in_order_of_their_names)
{
    struct config *c = load_golden("drop-ins.conf");
    ck_assert_uint_eq(c->gateway.id, 9);
    ck_assert_uint_eq(c->n_links, 2);
    ck_assert_str_eq(c->links[1].name, "b");
    ck_assert_uint_eq(c->n_topics, 1);
    static const struct sn_predefined expected[] = {
        {1, "third"},
        {2, "b2"   },
        {3, "c3"   }
    };
    ck_assert_uint_eq(c->topics[0].n_entries, 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(c->topics[0].entries[i].topic_id, expected[i].topic_id);
        ck_assert_str_eq(c->topics[0].entries[i].topic, expected[i].topic);
    }
    ck_assert_uint_eq(c->n_clients, 1);
    ck_assert_int_eq(c->clients[0].options.allow, SN_YES);
    ck_assert_uint_eq(c->clients[0].options.max_topics, 5);
    config_free(c);
}

END_TEST

START_TEST(paths_start_where_their_file_is)
{
    char path[PATH_ROOM];
    struct config *c = load_golden("good.conf");
    char *directory = realpath(GOLDEN_DIR, NULL);
    snprintf(path, sizeof path, "%s/secrets/good", directory);
    ck_assert_str_eq(c->brokers[0].password_file, path);
    free(directory);
    config_free(c);
}

END_TEST

/* ---- there and back -------------------------------------------------------------------------- */

START_TEST(the_printed_configuration_loads_again_to_the_same)
{
    static const char *const names[] = {"good.conf", "minimal.conf", "drop-ins.conf"};
    char file[] = "/tmp/sennet-config-XXXXXX";
    struct config *c = load_golden(names[_i]);
    const int fd = mkstemp(file);
    FILE *f = fdopen(fd, "w");
    ck_assert_ptr_nonnull(f);
    config_print(c, f);
    fclose(f);
    struct config *again = load(file);
    unlink(file);
    check_same(c, again);
    char *first = print(c);
    char *second = print(again);
    ck_assert_str_eq(first, second);
    ck_assert_ptr_null(strstr(first, "correct horse"));
    free(first);
    free(second);
    config_free(c);
    config_free(again);
}

END_TEST

START_TEST(the_engine_gets_all_that_is_its)
{
    struct config *c = load_golden("good.conf");
    struct sn_engine_config e;
    ck_assert_int_eq(config_engine(c, &e), 0);
    ck_assert_uint_eq(e.gateway_id, 0);
    ck_assert_int_eq(e.retry_interval_ms, 200);
    ck_assert_int_eq(e.retry_min_ms, 10);
    ck_assert_int_eq(e.retry_max_ms, 200);
    ck_assert_int_eq(e.gwinfo_delay_ms, 2000);
    ck_assert_uint_eq(e.retry_count, 0);
    ck_assert_uint_eq(e.max_clients, 50);
    ck_assert_uint_eq(e.max_client_id, 23);
    ck_assert_uint_eq(e.max_waiting, 5000);
    ck_assert_uint_eq(e.max_memory_bytes, 64U << 20);
    ck_assert_int_eq(e.session_expiry_ms, INT64_C(36) * 3600 * 1000);
    ck_assert_uint_eq(e.n_links, 4);
    ck_assert_uint_eq(e.links[0].max_packet_bytes, 12);
    ck_assert_int_eq(e.links[0].qos_minus_one, SN_NO);
    ck_assert_int_eq(e.links[1].qos_minus_one, SN_YES);
    ck_assert_uint_eq(e.n_topics, 3);
    ck_assert_ptr_null(e.topics[0].glob);
    ck_assert_uint_eq(e.topics[0].n_entries, 4);
    ck_assert_str_eq(e.topics[1].glob, "pump-[0-9]*");
    ck_assert_uint_eq(e.n_clients, 3);
    ck_assert_str_eq(e.clients[1].glob, "bad\\[1\\]");
    ck_assert_int_eq(e.clients[1].options.allow, SN_NO);
    ck_assert_int_eq(e.clients[1].options.overflow, SN_DROP_NEWEST);
    ck_assert_uint_eq(e.clients[1].options.max_qos, 1);
    struct sn_engine *engine = sn_engine_new(&e, 0);
    ck_assert_ptr_nonnull(engine);
    sn_engine_free(engine);
    config_engine_free(&e);
    config_free(c);
}

END_TEST

/* ---- bounds ---------------------------------------------------------------------------------- */

START_TEST(no_allocation_that_fails_does_harm)
{
    char path[PATH_ROOM];
    int rc = -ENOMEM;
    long n = 0;
    FILE *nowhere = fopen("/dev/null", "w");
    snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, _i == 0 ? "good.conf" : "broken.conf");
    for (; rc == -ENOMEM && n < 10000; n++) {
        struct config *c = NULL;
        allocations_left = n;
        rc = config_load(path, nowhere, &c);
        allocations_left = -1;
        ck_assert_int_eq(rc == 0, c != NULL);
        config_free(c);
    }
    fclose(nowhere);
    ck_assert_int_eq(rc, _i == 0 ? 0 : EXIT_CONFIG);
    ck_assert_int_gt(n, 20);
}

END_TEST

START_TEST(the_engine_part_survives_failing_allocations)
{
    struct config *c = parse(minimal);
    struct sn_engine_config e;
    for (long n = 0; n < 3; n++) {
        allocations_left = n;
        const int rc = config_engine(c, &e);
        allocations_left = -1;
        ck_assert_int_eq(rc, -ENOMEM);
    }
    config_free(c);
}

END_TEST

START_TEST(a_file_of_just_the_largest_size_is_read)
{
    char *text = malloc(CONFIG_FILE_MAX + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, '\n', CONFIG_FILE_MAX + 1);
    memcpy(text, minimal, sizeof minimal - 1);
    struct config *c = NULL;
    ck_assert_int_eq(config_parse("x", bytes_of(text, CONFIG_FILE_MAX), stdout, &c), 0);
    config_free(c);
    FILE *nowhere = fopen("/dev/null", "w");
    ck_assert_int_eq(config_parse("x", bytes_of(text, CONFIG_FILE_MAX + 1), nowhere, &c),
                     EXIT_CONFIG);
    fclose(nowhere);
    free(text);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *values = tcase_create("values");
    tcase_add_test(values, a_full_file_means_what_it_says);
    tcase_add_loop_test(values, addresses_are_completed, 0, 5);
    tcase_add_loop_test(values, a_password_may_end_in_any_line_end_or_none, 0, 3);
    tcase_add_test(values, every_number_reads_back_as_it_is_printed);
    tcase_add_test(values, defaults_are_those_of_the_engine);
    tcase_add_test(values, keys_that_have_no_effect_are_printed_as_what_is_in_effect);
    tcase_add_test(values, defaults_are_those_of_the_broker_connection);
    tcase_add_test(values, the_default_of_window_qos2_follows_a_small_window);
    tcase_add_test(values, window_qos2_counts_for_mqtt_5_only_where_it_is_written);
    tcase_add_test(values, names_that_are_not_given_come_from_the_host);
    tcase_add_test(values, drop_ins_override_in_order_of_their_names);
    tcase_add_test(values, paths_start_where_their_file_is);
    tcase_add_loop_test(values, the_printed_configuration_loads_again_to_the_same, 0, 3);
    tcase_add_test(values, the_engine_gets_all_that_is_its);
    suite_add_tcase(suite, values);
    TCase *bounds = tcase_create("bounds");
    tcase_set_timeout(bounds, 60);
    tcase_add_loop_test(bounds, no_allocation_that_fails_does_harm, 0, 2);
    tcase_add_test(bounds, the_engine_part_survives_failing_allocations);
    tcase_add_test(bounds, a_file_of_just_the_largest_size_is_read);
    suite_add_tcase(suite, bounds);
    return run_suite(suite);
}
