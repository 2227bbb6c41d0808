/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a disk is left for what is stored already, and when that is looked at. */
#include "disk_room.h"
#include "suite.h"

enum { MIB = 1 << 20 };

static uv_loop_t loop;
static struct disk_room room;

static void setup(void)
{
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    disk_room_init(&room, &loop, ".");
}

static void teardown(void)
{
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static bool narrow(uint64_t available, uint64_t total, uint64_t queued)
{
    room.available = available;
    room.total = total;
    return disk_room_is_narrow(&room, queued);
}

START_TEST(eight_mebibytes_stay_free_and_a_quarter_of_small_disks)
{
    ck_assert(!disk_room_is_narrow(&room, 0)); /* nobody knows */
    ck_assert(!narrow(8 * MIB, (uint64_t)32 << 30, 0));
    ck_assert(narrow(8 * MIB - 1, (uint64_t)32 << 30, 0));
    ck_assert(!narrow(4 * MIB, 16 * MIB, 0));
    ck_assert(narrow(4 * MIB - 1, 16 * MIB, 0));
    ck_assert(narrow(0, 16 * MIB, 0));
}

END_TEST

START_TEST(what_is_to_be_written_takes_its_size_three_times)
{
    ck_assert(!narrow(11 * MIB, (uint64_t)32 << 30, MIB));
    ck_assert(narrow(11 * MIB - 1, (uint64_t)32 << 30, MIB));
}

END_TEST

static bool looks(int64_t now_ms, uint64_t commits)
{
    disk_room_look(&room, now_ms, commits);
    const bool asked = room.asking;
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(!room.asking);
    return asked;
}

START_TEST(it_is_looked_at_while_something_is_written)
{
    ck_assert(looks(0, 1));
    ck_assert_uint_gt(room.total, 0);
    room.available = room.total;
    ck_assert(!looks(49, 2));
    ck_assert(looks(50, 2));
    room.available = room.total;
    ck_assert(!looks(10000, 2));
}

END_TEST

/* Somebody else may make room. */
START_TEST(without_room_it_is_looked_at_twice_a_second)
{
    room.path = "/nowhere/at/all";
    room.total = MIB;
    ck_assert(looks(0, UINT64_MAX));
    ck_assert(!looks(499, UINT64_MAX));
    ck_assert(looks(500, UINT64_MAX));
    ck_assert_uint_eq(room.available, 0); /* a disk that does not tell is as it was */
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("disk: room");
    TCase *const all = tcase_create("room");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, eight_mebibytes_stay_free_and_a_quarter_of_small_disks);
    tcase_add_test(all, what_is_to_be_written_takes_its_size_three_times);
    tcase_add_test(all, it_is_looked_at_while_something_is_written);
    tcase_add_test(all, without_room_it_is_looked_at_twice_a_second);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
