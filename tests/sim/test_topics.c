/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's topics against a model: few, which are looked at one by one, and many, which have a
 * table; also when there is no memory for that.
 */
#include <stdio.h>

#include "mqttsn/engine_priv.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { NAMES = 900, STEPS = 40000 };

struct model {
    struct sn_engine *engine;
    struct sn_client *client;
    uint16_t id[NAMES]; /* 0: none */
    bool there[NAMES];
    bool asked[NAMES]; /* by the client: does not give way */
    unsigned n;
    unsigned most;
};

static struct bytes name_of(unsigned i, char room[16])
{
    return bytes_of(room, (size_t)snprintf(room, 16, "t/%u", i));
}

static struct sn_name *name_at(const struct model *m, unsigned i)
{
    char room[16];
    return sn_name_find(m->engine, name_of(i, room));
}

static void begin(struct model *m, uint32_t max_topics)
{
    struct sn_engine_config config = sn_engine_defaults();
    config.defaults.max_topics = max_topics;
    *m = (struct model){.engine = sn_engine_new(&config, 0), .most = max_topics};
    ck_assert_ptr_nonnull(m->engine);
    const struct sn_profile *profile = sn_profile_get(m->engine, bytes_str("c"));
    ck_assert_ptr_nonnull(profile);
    m->client = sn_client_new(m->engine, bytes_str("c"), profile);
    ck_assert_ptr_nonnull(m->client);
}

/* Those that the model has are there, by name and by id, and no others. */
static void check(const struct model *m)
{
    unsigned n = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        const struct sn_name *name = name_at(m, i);
        const struct sn_topic *t = name != NULL ? sn_topic_find(m->client, name) : NULL;
        ck_assert_msg((t != NULL) == m->there[i], "name %u", i);
        if (t == NULL)
            continue;
        n++;
        ck_assert_uint_eq(t->id, m->id[i]);
        ck_assert(t->id == 0 || sn_topic_by_id(m->client, t->id) == t);
    }
    ck_assert_uint_eq(n, m->n);
    ck_assert_uint_eq(m->client->topics != NULL ? m->client->topics->n : 0, n);
}

/* Which one gave way? */
static void note_withdrawn(struct model *m)
{
    unsigned gone = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        const struct sn_name *name = name_at(m, i);
        if (!m->there[i] || (name != NULL && sn_topic_find(m->client, name) != NULL))
            continue;
        ck_assert_msg(!m->asked[i], "an asked one gave way");
        m->there[i] = false;
        m->id[i] = 0;
        m->n--;
        gone++;
    }
    ck_assert_uint_eq(gone, 1);
}

static void step(struct model *m, struct rng *rng)
{
    char room[16];
    const unsigned i = (unsigned)rng_below(rng, NAMES);
    const bool full = m->n == m->most;
    struct sn_topic *t = sn_topic_get(m->engine, m->client, name_of(i, room));
    if (t == NULL) {
        ck_assert(full && !m->there[i]);
        return;
    }
    if (!m->there[i]) {
        if (full)
            note_withdrawn(m);
        m->there[i] = true;
        m->asked[i] = false;
        m->n++;
    }
    switch (rng_below(rng, 16)) {
    case 0:
        t->given = true;
        sn_topic_settle(m->client, t);
        m->asked[i] = true;
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        sn_topic_used(m->client, t);
        break;
    default:
        ck_assert(sn_topic_assign_id(m->engine, m->client, t));
        m->id[i] = t->id;
        break;
    }
}

static void forget(struct model *m)
{
    sn_topics_clear(m->engine, m->client);
    for (unsigned i = 0; i < NAMES; i++) {
        m->there[i] = false;
        m->id[i] = 0;
        m->asked[i] = false;
    }
    m->n = 0;
    check(m);
}

/* `short_of_memory`: none beyond what the topics themselves take, now and then. */
static void random_use(uint32_t max_topics, bool short_of_memory)
{
    struct rng rng = seeded_rng();
    struct model m;
    begin(&m, max_topics);
    const uint64_t enough = m.engine->config.max_memory_bytes;
    for (unsigned i = 0; i < STEPS; i++) {
        if (short_of_memory && rng_below(&rng, 4) == 0)
            m.engine->config.max_memory_bytes =
                m.engine->memory_bytes +
                2 * (sizeof(struct sn_topic) + sizeof(struct sn_name) + 16) +
                sizeof(struct sn_topics);
        step(&m, &rng);
        m.engine->config.max_memory_bytes = enough;
        if (rng_below(&rng, 9000) == 0)
            forget(&m);
        if (i % 1000 == 0)
            check(&m);
    }
    check(&m);
    sn_client_free(m.engine, m.client);
    ck_assert_uint_eq(m.engine->names.count, 0);
    sn_engine_free(m.engine);
}

START_TEST(few_topics_agree_with_a_model)
{
    random_use(3, false);
    random_use(12, false);
}

END_TEST

START_TEST(many_topics_agree_with_a_model)
{
    random_use(100, false);
    random_use(NAMES, false);
}

END_TEST

START_TEST(without_memory_for_a_table_all_are_found)
{
    random_use(300, true);
}

END_TEST

START_TEST(what_they_take_is_charged_and_given_back)
{
    char room[16];
    struct model m;
    begin(&m, NAMES);
    const uint64_t before = m.engine->memory_bytes;
    for (unsigned i = 0; i < NAMES; i++)
        ck_assert_ptr_nonnull(sn_topic_get(m.engine, m.client, name_of(i, room)));
    /* The table: half full, two pointers each. */
    ck_assert_uint_ge(m.engine->memory_bytes - before,
                      NAMES * (sizeof(struct sn_topic) + 4 * sizeof(void *)));
    sn_topics_clear(m.engine, m.client);
    ck_assert_uint_eq(m.engine->memory_bytes - before, sizeof(struct sn_topics));
    sn_client_free(m.engine, m.client);
    sn_engine_free(m.engine);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("topics");
    TCase *tc = tcase_create("topics");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, few_topics_agree_with_a_model);
    tcase_add_test(tc, many_topics_agree_with_a_model);
    tcase_add_test(tc, without_memory_for_a_table_all_are_found);
    tcase_add_test(tc, what_they_take_is_charged_and_given_back);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
