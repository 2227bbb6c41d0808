/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the intent log: what was appended is found, whole, whatever became of the file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "seed.h"
#include "store_intent.h"
#include "store_priv.h"
#include "suite.h"

enum { SIZE = 16 * 1024, SECOND_MS = 1000 };

static char dir[64];
static char path[96];
static struct intent it;
static struct rng rng;
static const uint8_t id[INTENT_ID_BYTES] = "0123456789abcde";
static char link_udp[] = "udp";
static char link_stick[] = "stick";
static char *const link_names[] = {link_udp, link_stick};
static const struct intent_links links = {.names = link_names, .n = 2};

static void setup(void)
{
    rng = seeded_rng();
    snprintf(dir, sizeof dir, "/tmp/sennet-intent-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/log", dir);
    ck_assert_int_eq(intent_open(&it, path, SIZE), 0);
    intent_begin(&it, id);
}

static void teardown(void)
{
    intent_close(&it);
    remove(path);
    rmdir(dir);
}

/* ---- helpers --------------------------------------------------------------------------------- */

/* One operation that says which it is. */
static bool append(uint64_t number, size_t len)
{
    static uint8_t octets[SIZE];
    struct store_ops ops = {.first = NULL};
    struct body *const body = len > 0 ? body_new(bytes_of(octets, len)) : NULL;
    const struct sn_record r = {
        .type = SN_REC_SPOOL,
        .client = 7,
        .spool = {.number = number, .topic = bytes_str("t"), .body = body, .qos = 1}
    };
    store_ops_add(&ops, store_op_of(&r, false));
    const bool done = intent_append(&it, &ops, links, (int64_t)number * SECOND_MS);
    store_ops_free(&ops);
    body_unref(body);
    return done;
}

static struct intent_mark mark_at(uint64_t seq)
{
    struct intent_mark mark = {.seq = seq};
    memcpy(mark.id, id, sizeof id);
    return mark;
}

/* Numbers first, first + 1 ... are found behind that mark: how many. */
static uint64_t found_at(const char *at, uint64_t seq, uint64_t first, struct intent_left *left)
{
    const struct intent_mark mark = mark_at(seq);
    struct intent_names names = {.n = 0};
    struct store_ops ops = {.first = NULL};
    uint64_t n = 0;
    ck_assert_int_eq(intent_read(at, &mark, &names, &ops, left), 0);
    for (const struct store_op *op = ops.first; op != NULL; op = op->next) {
        ck_assert_uint_eq(op->kind, SN_REC_SPOOL);
        ck_assert_uint_eq(op->client, 7);
        ck_assert_uint_eq(op->key, first + n++);
    }
    ck_assert_uint_eq(left->entries, n);
    store_ops_free(&ops);
    intent_names_free(&names);
    return n;
}

static uint64_t found(uint64_t seq, uint64_t first)
{
    struct intent_left left;
    const uint64_t n = found_at(path, seq, first, &left);
    ck_assert_int_eq(left.state, INTENT_OURS);
    ck_assert(!left.torn);
    if (n > 0) /* the clock of the last one */
        ck_assert_int_eq(left.clock_ms, (int64_t)(first + n - 1) * SECOND_MS);
    return n;
}

static uint8_t file[SIZE];

static void save(size_t len)
{
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(file, 1, len, f), len);
    fclose(f);
}

static void load(uint8_t *out)
{
    FILE *const f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(out, 1, SIZE, f), SIZE);
    fclose(f);
}

static enum intent_state state_now(void)
{
    const struct intent_mark mark = mark_at(0);
    struct intent_names names = {.n = 0};
    struct store_ops ops = {.first = NULL};
    struct intent_left left;
    ck_assert_int_eq(intent_read(path, &mark, &names, &ops, &left), 0);
    store_ops_free(&ops);
    intent_names_free(&names);
    return left.state;
}

/* ---- operations ------------------------------------------------------------------------------ */

static void check_same(const struct store_op *a, const struct store_op *b)
{
    ck_assert_uint_eq(a->kind, b->kind);
    ck_assert_uint_eq(a->client, b->client);
    ck_assert_uint_eq(a->key, b->key);
    ck_assert_uint_eq(a->other, b->other);
    ck_assert_int_eq(memcmp(a->number, b->number, sizeof a->number), 0);
    ck_assert_uint_eq(a->qos, b->qos);
    ck_assert_uint_eq(a->which, b->which);
    ck_assert_int_eq(a->retain, b->retain);
    ck_assert_int_eq(a->flag, b->flag);
    ck_assert_int_eq(a->expires_ms, b->expires_ms);
    ck_assert(bytes_equal(a->name, b->name));
    ck_assert(bytes_equal(a->other_name, b->other_name));
    ck_assert(bytes_equal(body_bytes(a->body), body_bytes(b->body)));
    ck_assert_int_eq(a->peer != NULL, b->peer != NULL);
    if (a->peer != NULL)
        ck_assert(peer_equal(a->peer, b->peer));
}

static size_t encode(const struct store_op *op, uint8_t *out, size_t size)
{
    struct writer w = wr_to(out, size);
    intent_write_op(&w, op, links);
    return wr_close(&w);
}

/* A session with everything: the operation with the most in it. */
static struct store_op *full_session(void)
{
    struct peer_room room;
    struct body *const body = body_new(bytes_str("gone"));
    const uint8_t address[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    peer_make(&room, 1, PEER_EUI64, bytes_of(address, sizeof address));
    ck_assert(peer_push_node(&room, bytes_str("fw")));
    const struct sn_record r = {
        .type = SN_REC_SESSION,
        .client = 5,
        .session = {.client_id = bytes_str("node"),
                    .peer = peer_in(&room),
                    .state = SN_KEPT_ASLEEP,
                    .clean = true,
                    .keep_alive_s = 60,
                    .sleep_s = 7,
                    .next_msg_id = 9,
                    .will = {.topic = bytes_str("will"), .body = body, .qos = 2, .retain = true}}
    };
    struct store_op *const op = store_op_of(&r, false);
    op->expires_ms = INT64_C(123456789012); /* which only others have */
    body_unref(body);
    return op;
}

START_TEST(an_operation_comes_back_as_it_was)
{
    uint8_t octets[512];
    struct intent_names names = {.n = 0};
    struct store_op *const op = full_session();
    const size_t len = encode(op, octets, sizeof octets);
    ck_assert_uint_gt(len, 0);
    struct reader r = rd_of(bytes_of(octets, len));
    struct store_op *const back = intent_read_op(&r, &names);
    ck_assert_ptr_nonnull(back);
    ck_assert(rd_close(&r));
    /* Links are numbered anew, by name. */
    ck_assert_uint_eq(names.n, 1);
    ck_assert_str_eq(names.names[0], "stick");
    ck_assert_uint_eq(back->peer->link, 0);
    ((struct peer *)(uintptr_t)back->peer)->link = 1;
    check_same(op, back);
    intent_names_free(&names);
    store_op_free(back);
    store_op_free(op);
}

END_TEST

START_TEST(an_operation_cut_anywhere_is_none)
{
    uint8_t octets[512];
    struct intent_names names = {.n = 0};
    struct store_op *const op = full_session();
    const size_t len = encode(op, octets, sizeof octets);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *const exact = malloc(cut + 1); /* for who watches reads */
        memcpy(exact, octets, cut);
        struct reader r = rd_of(bytes_of(exact, cut));
        ck_assert_ptr_null(intent_read_op(&r, &names));
        ck_assert(r.failed);
        free(exact);
        ck_assert_uint_eq(encode(op, octets, cut), 0);
    }
    intent_names_free(&names);
    store_op_free(op);
}

END_TEST

/* What is taken is in its bounds: indices of words, numbers that the database can hold. */
START_TEST(spoiled_operations_do_no_harm)
{
    uint8_t octets[512];
    struct intent_names names = {.n = 0};
    struct store_op *const op = full_session();
    const size_t len = encode(op, octets, sizeof octets);
    unsigned taken = 0;
    for (unsigned i = sample_of(50000, 1000000); i > 0; i--) {
        uint8_t spoiled[512];
        memcpy(spoiled, octets, len);
        for (uint64_t n = rng_below(&rng, 4) + 1; n > 0; n--)
            spoiled[rng_below(&rng, len)] = (uint8_t)rng_next(&rng);
        struct reader r = rd_of(bytes_of(spoiled, len));
        struct store_op *const back = intent_read_op(&r, &names);
        if (back == NULL)
            continue;
        taken++;
        ck_assert_uint_lt(back->kind, OP_COUNT);
        ck_assert_uint_ne(back->kind, SN_REC_COUNT);
        ck_assert_uint_le(back->qos, 2);
        ck_assert(back->kind != SN_REC_SESSION || back->which <= SN_KEPT_ASLEEP);
        ck_assert(back->kind != SN_REC_DELIVERY || back->which <= SN_KEPT_RECEIVED);
        ck_assert(back->peer == NULL || back->peer->link < names.n);
        store_op_free(back);
    }
    ck_assert_uint_gt(taken, 0);
    ck_assert_uint_le(names.n, sizeof names.names / sizeof names.names[0]);
    intent_names_free(&names);
    store_op_free(op);
}

END_TEST

/* ---- entries --------------------------------------------------------------------------------- */

START_TEST(what_the_database_has_is_not_found_again)
{
    for (uint64_t n = 1; n <= 5; n++)
        ck_assert(append(n, 10));
    for (uint64_t seq = 0; seq <= 5; seq++)
        ck_assert_uint_eq(found(seq, seq + 1), 5 - seq);
    const struct intent_point here = intent_here(&it);
    ck_assert(append(6, 10));
    intent_done(&it, &here, true);
    ck_assert_uint_eq(found(5, 6), 1);
    /* The commit that the log has not heard of. */
    ck_assert_uint_eq(found(6, 7), 0);
}

END_TEST

/* The order of stores: all but the length, then the length. The clock is another word, which may be
 * there or not. */
START_TEST(a_crash_at_any_octet_of_an_append_leaves_the_entries_before)
{
    static uint8_t before[SIZE];
    static uint8_t after[SIZE];
    struct intent_left left;
    ck_assert(append(1, 20));
    const size_t head = it.head;
    load(before);
    ck_assert(append(2, 99));
    load(after);
    memcpy(before + INTENT_AT_CLOCK, after + INTENT_AT_CLOCK, sizeof(uint64_t));
    intent_close(&it);
    for (size_t cut = head; cut <= head + 200; cut++) {
        memcpy(file, before, SIZE);
        memcpy(file + head + 4, after + head + 4, cut > head + 4 ? cut - head - 4 : 0);
        save(SIZE);
        ck_assert_uint_eq(found_at(path, 0, 1, &left), 1);
        ck_assert(!left.torn);
        /* And in any order: no entry that is not whole is taken for one. */
        memcpy(file, before, SIZE);
        memcpy(file + head, after + head, cut - head);
        save(SIZE);
        const uint64_t n = found_at(path, 0, 1, &left);
        const bool whole = memcmp(file, after, SIZE) == 0;
        ck_assert_uint_eq(n, whole ? 2 : 1);
        ck_assert_int_eq(left.torn, !whole && cut > head);
    }
}

END_TEST

START_TEST(a_spoiled_octet_ends_the_log_and_never_changes_it)
{
    static uint8_t whole[SIZE];
    struct intent_left left;
    for (uint64_t n = 1; n <= 4; n++)
        ck_assert(append(n, 30));
    const size_t end = it.head;
    load(whole);
    intent_close(&it);
    for (size_t at = 0; at < end; at++) {
        memcpy(file, whole, SIZE);
        file[at] ^= (uint8_t)(1 + rng_below(&rng, 255));
        save(SIZE);
        const uint64_t n = found_at(path, 0, 1, &left);
        ck_assert_uint_le(n, 4);
        if (at >= INTENT_START) {
            ck_assert(left.state == INTENT_OURS);
            ck_assert(n == 4 || left.torn || left.entries < 4);
        }
    }
}

END_TEST

START_TEST(any_length_of_the_file_is_read)
{
    struct intent_left left;
    for (uint64_t n = 1; n <= 4; n++)
        ck_assert(append(n, 30));
    load(file);
    intent_close(&it);
    for (size_t len = 0; len < SIZE; len += 1 + rng_below(&rng, 97)) {
        save(len);
        const struct intent_mark mark = mark_at(0);
        struct intent_names names = {.n = 0};
        struct store_ops ops = {.first = NULL};
        ck_assert_int_eq(intent_read(path, &mark, &names, &ops, &left), 0);
        ck_assert(left.state == (len == 0 ? INTENT_NONE : INTENT_FOREIGN));
        ck_assert_ptr_null(ops.first);
    }
    /* Opening makes it as long as it should be, and empty when it begins. */
    ck_assert_int_eq(intent_open(&it, path, SIZE), 0);
    intent_begin(&it, id);
    ck_assert_uint_eq(found(0, 1), 0);
}

END_TEST

static void recheck(void)
{
    const uint64_t check = intent_check(file + INTENT_AT_ID, bytes_of(file, INTENT_AT_CHECK));
    memcpy(file + INTENT_AT_CHECK, &check, sizeof check);
    save(SIZE);
}

START_TEST(what_is_not_for_this_database_is_not_taken)
{
    struct intent_names names = {.n = 0};
    struct intent_left left;
    struct store_ops ops = {.first = NULL};
    for (uint64_t n = 1; n <= 4; n++)
        ck_assert(append(n, 30));
    struct intent_mark other = mark_at(0);
    other.id[0] ^= 1;
    ck_assert_int_eq(intent_read(path, &other, &names, &ops, &left), 0);
    ck_assert(left.state == INTENT_OTHER && left.entries == 4 && ops.first == NULL);
    /* One that was begun anew has none, and may choose. */
    ck_assert_int_eq(intent_read(path, NULL, &names, &ops, &left), 0);
    ck_assert(left.state == INTENT_OTHER && left.entries == 4 && ops.n == 4);
    store_ops_free(&ops);
    /* An older state of the same one: there is a gap in between. */
    const struct intent_point here = intent_here(&it);
    ck_assert(append(5, 30));
    intent_done(&it, &here, true);
    const struct intent_mark old = mark_at(3);
    ck_assert_int_eq(intent_read(path, &old, &names, &ops, &left), 0);
    ck_assert(left.state == INTENT_OTHER && left.entries == 1 && ops.first == NULL);

    load(file);
    intent_close(&it);
    file[INTENT_AT_BOOT] ^= 1;
    recheck();
    ck_assert_int_eq(state_now(), INTENT_STALE);
    file[INTENT_AT_BOOT] ^= 1;
    file[11] ^= 1; /* the version */
    recheck();
    ck_assert_int_eq(state_now(), INTENT_FOREIGN);
    remove(path);
    ck_assert_int_eq(state_now(), INTENT_NONE);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(state_now(), INTENT_UNREADABLE);
}

END_TEST

START_TEST(a_full_log_says_so_and_is_unharmed)
{
    uint64_t n = 0;
    while (append(n + 1, 1000))
        n++;
    ck_assert_uint_gt(n, SIZE / 1100);
    ck_assert_uint_eq(found(0, 1), n);
    ck_assert(!append(n + 1, 1000));
    while (append(n + 1, 0)) /* something short may still go */
        n++;
    ck_assert_uint_eq(found(0, 1), n);
    ck_assert_uint_lt(intent_room(&it), 100);
    const struct intent_point here = intent_here(&it);
    intent_done(&it, &here, true);
    ck_assert_uint_eq(intent_used(&it), 0);
    ck_assert(append(n + 1, 1000));
    ck_assert_uint_eq(found(n, n + 1), 1);
}

END_TEST

/* KiB of the log that are in the memory of this process. */
static unsigned resident(void)
{
    char line[300];
    bool is_log = false;
    unsigned kib = 0;
    unsigned one = 0;
    FILE *f = fopen("/proc/self/smaps", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL) {
        unsigned long begin;
        unsigned long end;
        if (sscanf(line, "%lx-%lx", &begin, &end) == 2)
            is_log = strstr(line, path) != NULL;
        else if (is_log && sscanf(line, "Rss: %u", &one) == 1)
            kib += one;
    }
    fclose(f);
    return kib;
}

START_TEST(what_a_log_has_grown_over_is_not_kept_in_memory)
{
    uint64_t n = 0;
    intent_close(&it);
    ck_assert_int_eq(intent_open(&it, path, 4 * 1024 * 1024), 0);
    intent_begin(&it, id);
    for (unsigned round = 0; round < 3; round++) {
        const uint64_t before = n;
        while (append(n + 1, 10000))
            n++;
        ck_assert_uint_gt(resident(), 3 * 1024);
        ck_assert_uint_eq(found(before, before + 1), n - before);
        const struct intent_point here = intent_here(&it);
        intent_done(&it, &here, true);
        ck_assert_uint_lt(resident(), 600);
    }
}

END_TEST

START_TEST(at_any_time_exactly_what_is_not_committed_is_found)
{
    uint64_t last = 0;
    uint64_t committed = 0;
    uint64_t refused = 0;
    struct intent_point taken = intent_here(&it);
    const unsigned rounds = sample_of(1000, 10000);
    for (unsigned i = 0; i < rounds; i++) {
        const uint64_t what = rng_below(&rng, 10);
        if (what < 8) {
            if (append(last + 1, rng_below(&rng, 2000)))
                last++;
            else
                refused++;
        } else if (what < 9) {
            taken = intent_here(&it);
        } else if (taken.mark.seq > committed) {
            intent_done(&it, &taken, true);
            committed = taken.mark.seq;
        }
        ck_assert_uint_eq(found(committed, committed + 1), last - committed);
        if (committed < last) /* the process died before the log heard of it */
            ck_assert_uint_eq(found(committed + 1, committed + 2), last - committed - 1);
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_gt(committed, rounds / 30);
}

END_TEST

START_TEST(another_log_has_nothing_of_the_one_before)
{
    uint8_t next[INTENT_ID_BYTES];
    struct intent_left left;
    for (uint64_t n = 1; n <= 20; n++)
        ck_assert(append(n, 200));
    intent_next_id(&it, next);
    ck_assert_int_ne(memcmp(next, id, sizeof id), 0);
    intent_begin(&it, next);
    found_at(path, 0, 1, &left);
    ck_assert_int_eq(left.state, INTENT_OTHER);
    intent_begin(&it, id);
    ck_assert_uint_eq(found(0, 1), 0);
    ck_assert(append(1, 200));
    ck_assert_uint_eq(found(0, 1), 1);
}

END_TEST

START_TEST(a_place_where_it_cannot_be_is_said)
{
    struct intent other;
    char there[128];
    snprintf(there, sizeof there, "%s/none/log", dir);
    ck_assert_int_eq(intent_open(&other, there, SIZE), -ENOENT);
    ck_assert_int_eq(intent_open(&other, dir, SIZE), -EISDIR);
    ck_assert_ptr_null(other.map);
    ck_assert_uint_eq(intent_room(&other), 0);
    snprintf(there, sizeof there, "%s/link", dir);
    ck_assert_int_eq(symlink(path, there), 0);
    ck_assert_int_eq(intent_open(&other, there, SIZE), -ELOOP);
    remove(there);
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("intent log");
    TCase *const all = tcase_create("log");
    tcase_set_timeout(all, 60);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, an_operation_comes_back_as_it_was);
    tcase_add_test(all, an_operation_cut_anywhere_is_none);
    tcase_add_test(all, spoiled_operations_do_no_harm);
    tcase_add_test(all, what_the_database_has_is_not_found_again);
    tcase_add_test(all, a_crash_at_any_octet_of_an_append_leaves_the_entries_before);
    tcase_add_test(all, a_spoiled_octet_ends_the_log_and_never_changes_it);
    tcase_add_test(all, any_length_of_the_file_is_read);
    tcase_add_test(all, what_is_not_for_this_database_is_not_taken);
    tcase_add_test(all, a_full_log_says_so_and_is_unharmed);
    tcase_add_test(all, what_a_log_has_grown_over_is_not_kept_in_memory);
    tcase_add_test(all, at_any_time_exactly_what_is_not_committed_is_found);
    tcase_add_test(all, another_log_has_nothing_of_the_one_before);
    tcase_add_test(all, a_place_where_it_cannot_be_is_said);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
