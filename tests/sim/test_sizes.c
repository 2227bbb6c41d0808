/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node costs, in octets (docs/performance.md, "Memory"). Whoever adds a field finds out here
 * that 100,000 nodes have it: perhaps it belongs into a part that only some of them need.
 */
#include "broker/shared_priv.h"
#include "mqttsn/engine_priv.h"
#include "unit/suite.h"

/* What a record takes of its slab. */
static size_t chunk(size_t size)
{
    return (size + SLAB_STEP - 1) / SLAB_STEP * SLAB_STEP;
}

#define FITS(type, octets) ck_assert_uint_le(sizeof(type), octets)

START_TEST(records_of_the_engine_have_not_grown)
{
    FITS(struct sn_client, 168);
    FITS(struct sn_topics, 48);
    FITS(struct sn_topic, 40);
    FITS(struct sn_name, 24);
    FITS(struct sn_down, 144);
    FITS(struct sn_message, 56);
    FITS(struct sn_up_entry, 40);
    FITS(struct deadline, 40);
}

END_TEST

START_TEST(records_of_the_shared_session_have_not_grown)
{
    FITS(struct session, 48);
    FITS(struct sub, 64);
    FITS(struct filter, 104);
    FITS(struct level, 64);
    FITS(struct replay, 72);
}

END_TEST

/* By a client id of up to 16 octets and an IPv4 address. */
START_TEST(a_connected_node_is_one_record_and_some_places_in_tables)
{
    const size_t record = chunk(offsetof(struct sn_client, id) + 16);
    const size_t tables = 2 * sizeof(struct hindex_entry) * 16 / 7;
    const size_t slot = sizeof(struct sn_client *) + 2 * sizeof(uint32_t);
    ck_assert_uint_le(record + tables + slot + sizeof(struct session), 288);
    ck_assert_uint_ge(SN_PEER_NEAR, sizeof(struct peer) + 4 + 2); /* IPv4 */
    ck_assert_uint_ge(SN_PEER_NEAR, sizeof(struct peer) + 8);     /* EUI-64 */
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("sizes");
    TCase *tc = tcase_create("sizes");
    if (sizeof(void *) == 8) {
        tcase_add_test(tc, records_of_the_engine_have_not_grown);
        tcase_add_test(tc, records_of_the_shared_session_have_not_grown);
        tcase_add_test(tc, a_connected_node_is_one_record_and_some_places_in_tables);
    }
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
