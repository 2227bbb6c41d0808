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

START_TEST(eight_mebibytes_stay_free_and_a_quarter_of_small_disks)
{
    ck_assert(!disk_room_is_narrow(8 * MIB, (uint64_t)32 << 30));
    ck_assert(disk_room_is_narrow(8 * MIB - 1, (uint64_t)32 << 30));
    ck_assert(!disk_room_is_narrow(4 * MIB, 16 * MIB));
    ck_assert(disk_room_is_narrow(4 * MIB - 1, 16 * MIB));
    ck_assert(disk_room_is_narrow(0, 16 * MIB));
}

END_TEST

START_TEST(it_is_looked_at_twice_a_second_while_something_is_written)
{
    disk_room_look(&room, 0, 1);
    ck_assert(room.asking);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(!room.asking);
    disk_room_look(&room, 499, 2);
    ck_assert(!room.asking);
    disk_room_look(&room, 500, 2);
    ck_assert(room.asking);
    uv_run(&loop, UV_RUN_DEFAULT);
    disk_room_look(&room, 10000, 2);
    ck_assert(!room.asking);
}

END_TEST

/* Somebody else may make room. */
START_TEST(without_room_it_is_looked_at_all_the_time)
{
    room.narrow = true;
    disk_room_look(&room, 0, UINT64_MAX);
    ck_assert(room.asking);
}

END_TEST

START_TEST(a_disk_that_does_not_tell_is_as_it_was)
{
    room.path = "/nowhere/at/all";
    room.narrow = true;
    disk_room_look(&room, 0, 1);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(room.narrow && !room.asking);
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("disk: room");
    TCase *const all = tcase_create("room");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, eight_mebibytes_stay_free_and_a_quarter_of_small_disks);
    tcase_add_test(all, it_is_looked_at_twice_a_second_while_something_is_written);
    tcase_add_test(all, without_room_it_is_looked_at_all_the_time);
    tcase_add_test(all, a_disk_that_does_not_tell_is_as_it_was);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
