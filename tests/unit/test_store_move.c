/* SPDX-License-Identifier: Apache-2.0 */
/* A state as text: what is exported is what is imported, beside whom, and where it may go. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "base/error.h"

#include "child.h"
#include "move_world.h"
#include "seed.h"
#include "store_format.h"
#include "store_move.h"
#include "suite.h"

/* ---- what comes out goes in ------------------------------------------------------------------ */

START_TEST(every_row_of_every_table_comes_back_as_it_was)
{
    fill(everything);
    move();
    expect_same_tables();
    ck_assert_str_eq(world_sql(&to, "SELECT refs FROM message WHERE journal = 7"), "2");
}

END_TEST

START_TEST(the_store_loads_the_same_from_both)
{
    char loaded[8192];
    fill(everything);
    move();
    world_open(&from);
    snprintf(loaded, sizeof loaded, "%s", world_load(&from));
    world_open(&to);
    ck_assert_ptr_null(store_notice(to.s));
    ck_assert_str_eq(world_load(&to), loaded);
    ck_assert_ptr_nonnull(strstr(loaded, "kitchen"));
    ck_assert_mem_eq(store_seed(from.s), store_seed(to.s), 16);
    put_spool(&to, 16777217, 43, "and on it goes");
    world_commit(&to);
    ck_assert(!store_gauges(to.s).failing);
}

END_TEST

START_TEST(what_was_imported_is_exported_the_same)
{
    static char first[MOVE_TEXT_MAX];
    static char second[MOVE_TEXT_MAX];
    fill(everything);
    move();
    read_text(move_file(), first, sizeof first);
    const struct store_world swap = from;
    from = to;
    ck_assert_int_eq(export_to(world_path(&from, "state.json")), EXIT_OK);
    read_text(world_path(&from, "state.json"), second, sizeof second);
    from = swap;
    /* The first line tells when. */
    ck_assert_str_eq(strchr(first, '\n'), strchr(second, '\n'));
}

END_TEST

START_TEST(the_text_is_the_one_of_the_manual)
{
    static char text[MOVE_TEXT_MAX];
    fill(everything);
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    read_text(move_file(), text, sizeof text);
    static const char *const lines[] = {
        "\n{\"row\":\"session\",\"client\":16777217,\"client_id\":\"kitchen\",\"state\":\"active\","
        "\"clean\":false,\"keep_alive_s\":60,\"sleep_s\":7,\"next_msg_id\":65535,\"link\":\"udp\","
        "\"address_kind\":\"ip4\",\"address\":\"7f000001075b\",\"path\":\"02abcd\","
        "\"will_topic\":\"will/of/kitchen\",\"will_body_hex\":\"00ff\",\"will_qos\":1,"
        "\"will_retain\":true,\"connection\":65535}\n",
        "\"name\":\"a\\tb\",\"alias\":300,\"kind\":1,\"given\":false,\"known_in\":0,"
        "\"refused_in\":65534}\n",
        "\"client_id\":\"caf\xC3\xA9 \\\"x\\\\y\\\"\"",
        "\"client_id_hex\":\"0161c285\"",
        "\n{\"row\":\"exchange\",\"client\":16777217,\"msg_id\":9,\"topic_id\":1,"
        "\"print\":\"fedcba9876543210\"}\n",
        "\n{\"row\":\"message\",\"journal\":7,\"topic\":\"down\",\"body\":\"42\",\"qos\":2,"
        "\"retain\":true,\"expires_ms\":90000}\n",
        "\n{\"row\":\"spool\",\"number\":41,\"client\":0,\"topic\":\"up\",\"body\":\"{}\",\"qos\":"
        "0,"
        "\"retain\":false,\"will\":true,\"clock_ms\":5000}\n",
        "\n{\"row\":\"end\",\"sink\":0,\"session\":3,\"topic\":2,\"exchange\":1,\"subscription\":1,"
        "\"message\":2,\"delivery\":4,\"spool\":2}\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        ck_assert_msg(strstr(text, lines[i]) != NULL, "%s is not in\n%s", lines[i], text);
    struct stat st;
    ck_assert_int_eq(stat(move_file(), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert(!exists(&from, "state.json.new"));
}

END_TEST

START_TEST(the_clock_goes_on_from_the_last_row_or_later)
{
    fill("INSERT INTO spool VALUES (1, 0, 'up', NULL, 1, 0, 0, 9000, NULL)");
    move();
    ck_assert_str_eq(world_sql(&to, "SELECT value FROM meta WHERE name = 'clock_ms'"), "9000");
    unlink(world_path(&to, "sennet.db"));
    run_sql(&from, "INSERT INTO meta VALUES ('clock_ms', 9001)");
    move();
    ck_assert_str_eq(world_sql(&to, "SELECT value FROM meta WHERE name = 'clock_ms'"), "9001");
}

END_TEST

START_TEST(what_expires_moves_with_what_is_left_of_it)
{
    fill("");
    world_open(&from);
    put_session(&from, 1, "x");
    put_expiring(&from, 1, 1, 0, "own", 5400);
    world_commit(&from);
    world_close(&from);
    move();
    /* Another machine knows nothing of the clock of this one. */
    ck_assert_str_eq(world_sql(&to, "SELECT value GLOB '- 0 [1-9]*' FROM"
                                    " meta WHERE name = 'expiry'"),
                     "1");
    world_open(&to);
    ck_assert_ptr_nonnull(strstr(world_load(&to), "body=own qos=1 waiting id=0 left=90 min\n"));
}

END_TEST

/* What stands in docs/state.md between the fences. */
START_TEST(the_example_of_the_documentation_can_be_imported)
{
    static const char begin[] = "```json\n";
    static char text[MOVE_TEXT_MAX];
    fill("");
    read_text(STATE_DOC, text, sizeof text);
    const char *const first = strstr(text, begin);
    ck_assert_ptr_nonnull(first);
    const char *const from_here = first + sizeof begin - 1;
    const char *const end = strstr(from_here, "```");
    ck_assert_ptr_nonnull(end);
    write_text(move_file(), from_here, (size_t)(end - from_here));
    ck_assert_msg(import_from(move_file()) == EXIT_OK, "%s", said);
    world_open(&to);
    ck_assert_ptr_nonnull(strstr(world_load(&to), "id=kitchen active ka=60 sleep=0 next=5"
                                                  " peer=0/192.0.2.7:1883 will=home/kitchen"));
}

END_TEST

static bool format_has(const char *table, const char *column)
{
    for (unsigned kind = 0; kind < FORMAT_KINDS; kind++) {
        if (!format_is_table(kind) || strcmp(formats[kind].name, table) != 0)
            continue;
        for (size_t i = 0; i < format_columns(&formats[kind]); i++)
            if (strcmp(formats[kind].columns[i].name, column) == 0)
                return true;
    }
    return false;
}

/* A column that comes later must not be forgotten here. */
START_TEST(every_column_of_the_schema_is_exported_or_left_out_on_purpose)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int n = 0;
    fill("");
    ck_assert_int_eq(sqlite3_open(world_path(&from, "sennet.db"), &db), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_prepare_v2(db,
                           "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c"
                           " WHERE m.type = 'table'",
                           -1, &stmt, NULL),
        SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *const table = (const char *)sqlite3_column_text(stmt, 0);
        const char *const column = (const char *)sqlite3_column_text(stmt, 1);
        const bool left_out = strcmp(table, "meta") == 0 ||    /* in the first line */
                              strcmp(table, "packet") == 0 ||  /* the broker session's */
                              strcmp(table, "sending") == 0 || /* the same */
                              strcmp(column, "refs") == 0;     /* counted by the import */
        ck_assert_msg(left_out || format_has(table, column), "%s.%s is lost", table, column);
        n++;
    }
    ck_assert_int_gt(n, 40);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

END_TEST

/* Any octets: in bodies, and as far as they are UTF-8 in names. */
START_TEST(any_octets_come_back)
{
    struct rng rng = seeded_rng();
    world_open(&from);
    for (uint64_t number = 1; number <= 3000; number++) {
        char name[16] = "";
        uint8_t octets[24];
        const size_t len = rng_below(&rng, sizeof octets);
        for (size_t i = 0; i < len; i++)
            octets[i] = (uint8_t)rng_below(&rng, rng_below(&rng, 2) == 0 ? 256 : 40);
        for (size_t i = 0; i < 1 + number % 10; i++)
            name[i] = (char)(1 + rng_below(&rng, '#' - 1)); /* controls, and ! " */
        struct sn_record r = {.type = SN_REC_SPOOL, .client = 0};
        r.spool.number = number;
        r.spool.topic = bytes_str(name);
        r.spool.body = len > 0 ? body_new(bytes_of(octets, len)) : NULL;
        store_put(from.s, &r);
        body_unref(r.spool.body);
    }
    world_commit(&from);
    world_close(&from);
    move();
    expect_same_tables();
    ck_assert_str_eq(world_sql(&to, "SELECT count(*) FROM spool"), "3000");
}

END_TEST

/* ---- beside a daemon ------------------------------------------------------------------------- */

static void *export_thread(void *arg)
{
    FILE *const say = fopen("/dev/null", "we");
    static int code;
    code = store_export(from.dir, arg, say);
    fclose(say);
    return &code;
}

/* The one who reads the export sleeps while the first tables come, and the daemon writes on. */
START_TEST(a_running_store_is_neither_seen_half_way_nor_held_up)
{
    static char text[MOVE_TEXT_MAX];
    static char payload[300];
    char pipe_name[128];
    char word[3] = "";
    pthread_t thread;
    memset(payload, 'x', sizeof payload - 1);
    from.options.wal_bytes = 64 << 10;
    world_open(&from);
    put_session(&from, 1, "node");
    for (uint16_t i = 1; i <= 1000; i++) /* more than a pipe takes */
        put_topic(&from, 1, i, payload);
    for (uint64_t i = 1; i <= 100; i++)
        put_spool(&from, 1, i, payload);
    world_commit(&from);

    snprintf(pipe_name, sizeof pipe_name, "%s", world_path(&from, "pipe"));
    ck_assert_int_eq(mkfifo(pipe_name, 0600), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, export_thread, pipe_name), 0);
    FILE *const f = fopen(pipe_name, "re");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(word, 1, 2, f), 2);
    ck_assert_str_eq(word, "{\"");
    for (uint64_t i = 101; i <= 300; i++) {
        put_spool(&from, 1, i, payload);
        put_gone(&from, SN_REC_SPOOL_GONE, 1, i - 100);
        world_commit(&from);
    }
    put_gone(&from, SN_REC_SESSION_GONE, 1, 0);
    world_commit(&from);
    const size_t len = fread(text, 1, sizeof text - 1, f);
    text[len] = '\0';
    fclose(f);
    void *code;
    pthread_join(thread, &code);
    ck_assert_int_eq(*(int *)code, EXIT_OK);
    ck_assert_ptr_nonnull(strstr(text, "\"number\":1,"));
    ck_assert_ptr_nonnull(strstr(text, "\"number\":100,"));
    ck_assert_ptr_null(strstr(text, "\"number\":101,"));
    ck_assert_ptr_nonnull(strstr(text, "\n{\"row\":\"end\",\"sink\":0,\"session\":1,"));
    ck_assert_ptr_nonnull(strstr(text, "\"spool\":100}\n"));
    ck_assert(!store_gauges(from.s).failing);
    ck_assert_uint_eq(store_gauges(from.s).errors, 0);
}

END_TEST

START_TEST(what_belongs_to_the_brokers_session_stays_and_is_told)
{
    static char text[MOVE_TEXT_MAX];
    fill("INSERT INTO spool VALUES (41, 0, 'up', x'7b7d', 2, 0, 1, 5000, NULL);"
         "INSERT INTO sending VALUES (5, 41); INSERT INTO packet VALUES ('s-5', x'00');"
         "INSERT INTO packet VALUES ('r-9', x'00'); INSERT INTO packet VALUES ('session', x'61');"
         "INSERT INTO meta VALUES ('clock_ms', 5000)");
    move();
    expect_same_tables();
    ck_assert_str_eq(world_sql(&to, "SELECT (SELECT count(*) FROM sending) +"
                                    " (SELECT count(*) FROM packet)"),
                     "0");
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    ck_assert_ptr_nonnull(strstr(said, "note: 1 of the spooled messages are half way to"));
    ck_assert_ptr_nonnull(strstr(said, "note: 1 messages are half way from the broker"));
    read_text(move_file(), text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "\"number\":41,"));
}

END_TEST

START_TEST(a_directory_without_state_or_with_somebody_elses_is_not_exported)
{
    ck_assert_int_eq(export_to(move_file()), EXIT_NO_STATE);
    ck_assert_ptr_nonnull(strstr(said, "it is not there"));
    ck_assert(!exists(&from, "state.json"));
    run_sql(&from, "CREATE TABLE bookmarks (x)");
    ck_assert_int_eq(export_to(move_file()), EXIT_NO_STATE);
    ck_assert_ptr_nonnull(strstr(said, "no database of ours"));
    unlink(world_path(&from, "sennet.db"));
    fill("PRAGMA user_version = 1000");
    ck_assert_int_eq(export_to(move_file()), EXIT_NO_STATE);
    ck_assert_ptr_nonnull(strstr(said, "a newer version has written it"));
    unlink(world_path(&from, "sennet.db"));
    write_text(world_path(&from, "sennet.db"), "rubbish, but longer than nothing at all", 39);
    ck_assert_int_eq(export_to(move_file()), EXIT_NO_STATE);
    ck_assert_ptr_nonnull(strstr(said, "not a database"));
}

END_TEST

START_TEST(an_export_that_fails_leaves_the_last_one)
{
    static char text[MOVE_TEXT_MAX];
    fill("INSERT INTO spool WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
         " WHERE i < 3000) SELECT i, 0, 'up', x'', 1, 0, 0, i, NULL FROM n");
    write_text(move_file(), "the last one", 12);
    ck_assert_int_eq(export_to("/dev/full"), EXIT_RUNTIME);
    ck_assert_ptr_nonnull(strstr(said, "/dev/full can't be written: No space left"));
    ck_assert_int_eq(export_to("/dev/null/x"), EXIT_RUNTIME);
    struct rlimit limit = {.rlim_cur = 100 << 10, .rlim_max = RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const int code = export_to(move_file());
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(code, EXIT_RUNTIME);
    ck_assert_ptr_nonnull(strstr(said, "state.json can't be written: File too large"));
    ck_assert(!exists(&from, "state.json.new"));
    read_text(move_file(), text, sizeof text);
    ck_assert_str_eq(text, "the last one");
}

END_TEST

/* ---- where it may go ------------------------------------------------------------------------- */

START_TEST(a_directory_in_use_is_refused_with_the_pid)
{
    char pid[32];
    fill(everything);
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    world_open(&to);
    ck_assert_int_eq(import_from(move_file()), EXIT_NO_STATE);
    snprintf(pid, sizeof pid, "pid %ld;", (long)getpid());
    ck_assert_msg(strstr(said, pid) != NULL, "%s", said);
}

END_TEST

START_TEST(a_directory_with_a_state_is_refused_and_not_touched)
{
    fill(everything);
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    world_open(&to);
    put_session(&to, 1, "mine");
    world_commit(&to);
    world_close(&to);
    ck_assert_int_eq(import_from(move_file()), EXIT_NO_STATE);
    ck_assert_ptr_nonnull(strstr(said, "holds a state already (1 rows)"));
    ck_assert_ptr_nonnull(strstr(said, world_path(&to, "sennet.db")));
    ck_assert_str_eq(world_sql(&to, "SELECT client_id FROM session"), "mine");
    unlink(world_path(&to, "sennet.db"));
    write_text(world_path(&to, "sennet.db"), "rubbish, but longer than nothing at all", 39);
    ck_assert_int_eq(import_from(move_file()), EXIT_NO_STATE);
    ck_assert_ptr_nonnull(strstr(said, "something else that can't be read"));
    ck_assert(exists(&to, "sennet.db"));
}

END_TEST

/* A package starts its daemon when it is installed. */
START_TEST(a_daemon_that_had_nothing_to_keep_is_no_hindrance)
{
    fill(everything);
    world_open(&to);
    ck_assert_int_eq(
        store_packet_put(to.s, 0, "session", &(struct bytes){(const uint8_t *)"x", 1}, 1), 0);
    world_close(&to);
    move();
    expect_same_tables();
    ck_assert_str_eq(world_sql(&to, "SELECT count(*) FROM packet"), "0");
}

END_TEST

START_TEST(the_log_of_an_older_database_is_not_taken_for_ours)
{
    fill(everything);
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    const pid_t child = fork();
    if (child == 0) {
        world_open(&to);
        put_session(&to, 1, "old");
        world_commit(&to);
        _exit(0); /* as if killed: with a WAL */
    }
    child_wait(child, CHILD_SOON_MS, "the older daemon");
    ck_assert(exists(&to, "sennet.db-wal"));
    unlink(world_path(&to, "sennet.db"));
    ck_assert_msg(import_from(move_file()) == EXIT_OK, "%s", said);
    expect_same_tables();
}

END_TEST

/* A daemon with an intent log that is killed before anything of it is in the database. */
static void promise_and_die(void (*put)(void))
{
    const pid_t child = fork();
    if (child == 0) {
        to.options.intent_bytes = (size_t)1 << 20;
        to.options.lazy_ms = 1000000;
        world_open(&to);
        put();
        store_flush(to.s);
        _exit(0);
    }
    ck_assert_int_eq(child_wait(child, CHILD_SOON_MS, "the killed daemon"), 0);
    ck_assert_str_eq(world_sql(&to, "SELECT (SELECT count(*) FROM session) +"
                                    " (SELECT count(*) FROM sink)"),
                     "0");
}

static void put_a_session(void)
{
    put_session(&to, 1, "promised");
}

static void put_a_sink(void)
{
    uint64_t number = 0;
    ck_assert_int_eq(store_sink(to.s, "default", bytes_of(NULL, 0), &number), 0);
}

START_TEST(what_is_only_promised_is_a_state_and_not_touched)
{
    fill(everything);
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    promise_and_die(put_a_session);
    ck_assert_int_eq(import_from(move_file()), EXIT_NO_STATE);
    ck_assert_msg(strstr(said, "holds a state already (1 rows)") != NULL, "%s", said);
    ck_assert(!exists(&to, "sennet.db-import"));
    to.options.intent_bytes = (size_t)1 << 20;
    world_open(&to);
    ck_assert_ptr_nonnull(strstr(world_load(&to), "id=promised"));
}

END_TEST

/* It knows its brokers before it knows any node. */
START_TEST(a_daemon_killed_before_it_had_anything_to_keep_is_no_hindrance)
{
    fill(everything);
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    promise_and_die(put_a_sink);
    ck_assert_msg(import_from(move_file()) == EXIT_OK, "%s", said);
    expect_same_tables();
    ck_assert(!exists(&to, "sennet.db-intent"));
    to.options.intent_bytes = (size_t)1 << 20;
    world_open(&to);
    ck_assert_ptr_null(store_notice(to.s));
}

END_TEST

START_TEST(without_a_store_nothing_is_imported)
{
    fill(everything);
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    to.options.durability = STORE_OFF;
    ck_assert_int_eq(import_from(move_file()), EXIT_CONFIG);
    ck_assert_ptr_nonnull(strstr(said, "durability in [store] is off"));
}

END_TEST

START_TEST(a_state_larger_than_the_store_may_be_is_refused)
{
    world_open(&from);
    for (uint64_t i = 1; i <= 3000; i++)
        put_spool(&from, 0, i, "a message of a few octets, a message of a few octets");
    world_commit(&from);
    world_close(&from);
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    to.options.max_bytes = 128 << 10;
    ck_assert_int_eq(import_from(move_file()), EXIT_NO_STATE);
    ck_assert_msg(strstr(said, "larger than max_size in [store]") != NULL, "%s", said);
    ck_assert(!exists(&to, "sennet.db"));
    ck_assert(!exists(&to, "sennet.db-import"));
}

END_TEST

START_TEST(links_that_the_configuration_does_not_have_are_told)
{
    static const char *const links[] = {"stick"};
    fill(everything);
    to.options.links = links;
    to.options.n_links = 1;
    move();
    ck_assert_msg(strstr(said, "note: 1 sessions are on a link \"udp\"") != NULL, "%s", said);
    ck_assert_ptr_null(strstr(said, "\"stick\""));
    ck_assert_str_eq(world_sql(&to, "SELECT link FROM session WHERE client = 16777217"), "udp");
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: export and import");
    TCase *const all = tcase_create("move");
    tcase_set_timeout(all, 30);
    tcase_add_checked_fixture(all, move_setup, move_teardown);
    tcase_add_test(all, every_row_of_every_table_comes_back_as_it_was);
    tcase_add_test(all, the_store_loads_the_same_from_both);
    tcase_add_test(all, what_was_imported_is_exported_the_same);
    tcase_add_test(all, the_text_is_the_one_of_the_manual);
    tcase_add_test(all, the_clock_goes_on_from_the_last_row_or_later);
    tcase_add_test(all, what_expires_moves_with_what_is_left_of_it);
    tcase_add_test(all, the_example_of_the_documentation_can_be_imported);
    tcase_add_test(all, every_column_of_the_schema_is_exported_or_left_out_on_purpose);
    tcase_add_test(all, any_octets_come_back);
    tcase_add_test(all, a_running_store_is_neither_seen_half_way_nor_held_up);
    tcase_add_test(all, what_belongs_to_the_brokers_session_stays_and_is_told);
    tcase_add_test(all, a_directory_without_state_or_with_somebody_elses_is_not_exported);
    tcase_add_test(all, an_export_that_fails_leaves_the_last_one);
    tcase_add_test(all, a_directory_in_use_is_refused_with_the_pid);
    tcase_add_test(all, a_directory_with_a_state_is_refused_and_not_touched);
    tcase_add_test(all, a_daemon_that_had_nothing_to_keep_is_no_hindrance);
    tcase_add_test(all, the_log_of_an_older_database_is_not_taken_for_ours);
    tcase_add_test(all, what_is_only_promised_is_a_state_and_not_touched);
    tcase_add_test(all, a_daemon_killed_before_it_had_anything_to_keep_is_no_hindrance);
    tcase_add_test(all, without_a_store_nothing_is_imported);
    tcase_add_test(all, a_state_larger_than_the_store_may_be_is_refused);
    tcase_add_test(all, links_that_the_configuration_does_not_have_are_told);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
