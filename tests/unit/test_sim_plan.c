/* SPDX-License-Identifier: Apache-2.0 */
/* Scenario files, settings, and the lossy air of the simulator. */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "base/clock.h"

#include "tools/sim_air.h"
#include "tools/sim_plan.h"
#include "unit/suite.h"

/* ---- scenario files -------------------------------------------------------------------------- */

static struct sim_plan plan;
static char complaints[4096];

static void open_plan(void)
{
    plan_init(&plan);
}

static void close_plan(void)
{
    plan_deinit(&plan);
}

static int read_text(const char *text)
{
    static char copy[8192];
    const size_t n = strlen(text);
    ck_assert_uint_lt(n, sizeof copy);
    memcpy(copy, text, n + 1);
    memset(complaints, 0, sizeof complaints);
    FILE *in = fmemopen(copy, n > 0 ? n : 1, "r");
    FILE *errors = fmemopen(complaints, sizeof complaints - 1, "w");
    ck_assert_ptr_nonnull(in);
    ck_assert_ptr_nonnull(errors);
    const int n_errors = plan_read(&plan, "x.scenario", in, errors);
    fclose(in);
    fclose(errors);
    return n_errors;
}

START_TEST(a_scenario_is_read_whole)
{
    const int errors = read_text("# a street of meters\n"
                                 "[run]\n"
                                 "seconds = 2m\n"
                                 "seed = 42\n"
                                 "drain = 500ms\n"
                                 "\n"
                                 "[group meters]\n"
                                 "  nodes = 12\n"
                                 "rate=0.5\n"
                                 "qos = mix\n"
                                 "topics = mix\n"
                                 "wills = yes\n"
                                 "loss = 5%\n"
                                 "latency = 20\n"
                                 "predefined = 7=house/power\n"
                                 "[group valves]\n"
                                 "nodes = 3\n"
                                 "rate = max\n"
                                 "keep-alive = 30s\n"
                                 "[events]\n"
                                 "at 20s group all reconnect\n"
                                 "at 10s group meters vanish 2\n"
                                 "at 1m group valves rate 4\n");
    ck_assert_str_eq(complaints, "");
    ck_assert_int_eq(errors, 0);
    struct sim_why why;
    ck_assert(plan_finish(&plan, &why));
    ck_assert_int_eq(plan.duration_ms, 120000);
    ck_assert_int_eq(plan.drain_ms, 500);
    ck_assert_uint_eq(plan.seed, 42);
    ck_assert_uint_eq(plan.n_groups, 2);
    ck_assert_uint_eq(plan_nodes(&plan), 15);
    const struct sim_group *meters = &plan.groups[0];
    ck_assert_str_eq(meters->name, "meters");
    ck_assert_uint_eq(meters->nodes, 12);
    ck_assert_double_eq(meters->rate, 0.5);
    ck_assert_int_eq(meters->qos, SIM_QOS_MIX);
    ck_assert_int_eq(meters->topics, TOPICS_MIX);
    ck_assert(meters->wills);
    ck_assert_double_eq_tol(meters->air.loss, 0.05, 1e-12);
    ck_assert_int_eq(meters->air.latency_ms, 20);
    ck_assert_uint_eq(meters->predefined_id, 7);
    ck_assert_str_eq(meters->predefined_topic, "house/power");
    const struct sim_group *valves = &plan.groups[1];
    ck_assert(valves->rate_max);
    ck_assert(!valves->wills);
    ck_assert_uint_eq(valves->first, 12);
    ck_assert_uint_eq(valves->keep_alive_s, 30);
    ck_assert_uint_eq(plan.n_events, 3);
    ck_assert_int_eq(plan.events[0].at_ms, 10000);
    ck_assert_int_eq(plan.events[0].group, 0);
    ck_assert_int_eq(plan.events[0].action, ACTION_VANISH);
    ck_assert_uint_eq(plan.events[0].count, 2);
    ck_assert_int_eq(plan.events[1].group, SIM_ALL_GROUPS);
    ck_assert_int_eq(plan.events[1].action, ACTION_RECONNECT);
    ck_assert_int_eq(plan.events[2].action, ACTION_RATE);
    ck_assert_double_eq(plan.events[2].rate, 4);
}

END_TEST

START_TEST(groups_start_from_the_command_line)
{
    struct sim_why why;
    ck_assert(plan_group_setting(&plan.defaults, bytes_str("loss"), bytes_str("0.25"), &why));
    ck_assert_int_eq(read_text("[group a]\nnodes=1\n[group b]\nnodes=1\nloss=0\n"), 0);
    ck_assert_double_eq(plan.groups[0].air.loss, 0.25);
    ck_assert_double_eq(plan.groups[1].air.loss, 0);
}

END_TEST

START_TEST(all_errors_are_told_with_their_lines)
{
    const int errors = read_text("nodes = 3\n"                 /* 1: before any section */
                                 "[group meters]\n"            /* 2 */
                                 "nodes = many\n"              /* 3 */
                                 "colour = red\n"              /* 4 */
                                 "just words\n"                /* 5 */
                                 "[group meters]\n"            /* 6: twice */
                                 "nodes = many\n"              /* 7: not told, the section is bad */
                                 "[what]\n"                    /* 8 */
                                 "[run\n"                      /* 9 */
                                 "[events]\n"                  /* 10 */
                                 "at 10s group meters fly\n"   /* 11 */
                                 "at 10s group pumps vanish\n" /* 12 */
                                 "at noon group meters vanish\n"     /* 13 */
                                 "at 10s group meters vanish 0\n"    /* 14 */
                                 "at 10s group meters vanish 1 2\n"  /* 15 */
                                 "at 10s group meters rate fast\n"); /* 16 */
    static const unsigned lines[] = {1, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 15, 16};
    ck_assert_int_eq(errors, (int)(sizeof lines / sizeof lines[0]));
    const char *at = complaints;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char prefix[64];
        const int n = snprintf(prefix, sizeof prefix, "x.scenario:%u: error: ", lines[i]);
        ck_assert_msg(strncmp(at, prefix, (size_t)n) == 0, "wanted %s, found %s", prefix, at);
        at = strchr(at, '\n') + 1;
    }
    ck_assert_str_eq(at, "");
}

END_TEST

START_TEST(an_empty_file_is_an_error)
{
    ck_assert_int_eq(read_text("\n# nothing\n"), 1);
    ck_assert_ptr_nonnull(strstr(complaints, "no [group NAME] section"));
}

END_TEST

START_TEST(an_endless_line_is_an_error_and_skipped)
{
    char text[2000];
    memset(text, 'a', sizeof text);
    memcpy(text, "[group g]\n", 10);
    memcpy(text + sizeof text - 12, "\nnodes = 0\n", 12);
    ck_assert_int_eq(read_text(text), 2);
    ck_assert_ptr_nonnull(strstr(complaints, "x.scenario:2: error: line longer"));
    ck_assert_ptr_nonnull(strstr(complaints, "x.scenario:3: error: nodes must be"));
}

END_TEST

static const struct {
    const char *name, *value;
} BAD_SETTINGS[] = {
    {"nodes",              ""       },
    {"nodes",              "0"      },
    {"nodes",              "-3"     },
    {"nodes",              "1000000"},
    {"rate",               "-1"     },
    {"rate",               "nan"    },
    {"rate",               "inf"    },
    {"rate",               "1x"     },
    {"qos",                "3"      },
    {"qos",                ""       },
    {"topics",             "long"   },
    {"predefined",         "x"      },
    {"predefined",         "0=a"    },
    {"predefined",         "1="     },
    {"predefined",         "1=a/#"  },
    {"predefined",         "65535=a"},
    {"short",              "a"      },
    {"short",              "abc"    },
    {"short",              "a+"     },
    {"size",               "70000"  },
    {"wills",              "maybe"  },
    {"downlink",           "-1"     },
    {"sleepy",             "often"  },
    {"sleep",              "99ms"   },
    {"sleep",              "65536"  },
    {"wake-jitter",        "-1"     },
    {"wake-together",      "maybe"  },
    {"commands-per-sleep", "-1"     },
    {"wake-publish",       "x"      },
    {"keep-alive",         "99999"  },
    {"retry-interval",     "0"      },
    {"retry-count",        "101"    },
    {"id-prefix",          "a/b"    },
    {"id-prefix",          ""       },
    {"loss",               "1.1"    },
    {"loss",               "101%"   },
    {"duplicate",          "-0.1"   },
    {"latency",            "soon"   },
    {"jitter",             "-5"     },
    {"nonsense",           "1"      },
};

START_TEST(bad_values_are_refused_with_a_reason)
{
    struct sim_group g = plan.defaults;
    struct sim_why why = {""};
    ck_assert(!plan_group_setting(&g, bytes_str(BAD_SETTINGS[_i].name),
                                  bytes_str(BAD_SETTINGS[_i].value), &why));
    ck_assert_ptr_nonnull(strstr(why.text, BAD_SETTINGS[_i].name));
}

END_TEST

START_TEST(sleepy_groups_are_read)
{
    struct sim_why why;
    ck_assert_int_eq(read_text("[run]\nrounds = 2\np99 = 200\ngateway-dies = yes\n[group "
                               "a]\nsleepy = yes\nsleep = 1500ms\n"
                               "wake-jitter = 600ms\ncommands-per-sleep = 10\nwake-publish = 3\n"
                               "clean = no\n"
                               "[group b]\nsleepy = yes\nwake-together = yes\nsleep = 60\n"
                               "wake-jitter = 5\n"),
                     0);
    ck_assert_msg(plan_finish(&plan, &why), "%s", why.text);
    ck_assert_uint_eq(plan.rounds, 2);
    ck_assert_int_eq(plan.p99_ms, 200);
    ck_assert(plan.gateway_dies);
    ck_assert_uint_eq(plan.groups[0].commands_per_sleep, 10);
    ck_assert_uint_eq(plan.groups[0].wake_publish, 3);
    ck_assert(plan_commands(&plan.groups[0]));
    ck_assert(!plan_commands(&plan.groups[1]));
    /* What is announced is never less than what is slept; jitter of rounds comes behind them. */
    ck_assert_uint_eq(plan_sleep_s(&plan.groups[0]), 3);
    ck_assert_uint_eq(plan_sleep_s(&plan.groups[1]), 60);
}

END_TEST

START_TEST(contradictions_about_sleep_are_told)
{
    static const char *const texts[][2] = {
        {"[group a]\ncommands-per-sleep = 1\n",                         "a is not sleepy" },
        {"[group a]\nwake-together = yes\n",                            "a is not sleepy" },
        {"[group a]\nsleepy = yes\nwake-publish = 1\n",                 "needs clean = no"},
        {"[group a]\nsleepy = yes\nsleep = 65000\nwake-jitter = 600\n", "exceed"          },
        {"[run]\nrounds = 1\n[group a]\nsleepy = yes\n",                "rounds needs"    },
    };
    struct sim_why why = {""};
    ck_assert_int_eq(read_text(texts[_i][0]), 0);
    ck_assert(!plan_finish(&plan, &why));
    ck_assert_ptr_nonnull(strstr(why.text, texts[_i][1]));
}

END_TEST

START_TEST(durations_have_units)
{
    int64_t ms;
    ck_assert(plan_duration(bytes_str("10"), 1000, &ms) && ms == 10000);
    ck_assert(plan_duration(bytes_str("250ms"), 1000, &ms) && ms == 250);
    ck_assert(plan_duration(bytes_str("1.5s"), 1, &ms) && ms == 1500);
    ck_assert(plan_duration(bytes_str("2m"), 1, &ms) && ms == 120000);
    ck_assert(plan_duration(bytes_str("1h"), 1, &ms) && ms == 3600000);
    ck_assert(!plan_duration(bytes_str("s"), 1, &ms));
    ck_assert(!plan_duration(bytes_str("-1s"), 1, &ms));
    ck_assert(!plan_duration(bytes_str("1e30"), 1, &ms));
    ck_assert(!plan_duration(bytes_of(NULL, 0), 1, &ms));
}

END_TEST

/* ---- the air --------------------------------------------------------------------------------- */

enum { PACKETS = 20000 };

struct fate {
    unsigned copies;
    int64_t delays_ms[AIR_COPIES_MAX];
};

static const struct air_settings BAD_AIR = {
    .loss = 0.2, .duplicate = 0.1, .latency_ms = 5, .jitter_ms = 10};

static struct fate next_fate(struct air_path *path, const struct air_settings *s)
{
    struct fate f;
    f.copies = air_decide(path, s, f.delays_ms);
    return f;
}

static unsigned differences(uint64_t seed_a, uint32_t node_a, uint64_t seed_b, uint32_t node_b)
{
    struct air_path a, b;
    air_path_init(&a, seed_a, node_a);
    air_path_init(&b, seed_b, node_b);
    unsigned different = 0;
    for (int i = 0; i < 1000; i++) {
        const struct fate x = next_fate(&a, &BAD_AIR);
        const struct fate y = next_fate(&b, &BAD_AIR);
        different += x.copies != y.copies || x.delays_ms[0] != y.delays_ms[0] ||
                     x.delays_ms[1] != y.delays_ms[1];
    }
    return different;
}

START_TEST(the_same_seed_and_node_meet_the_same_fate)
{
    ck_assert_uint_eq(differences(7, 3, 7, 3), 0);
    ck_assert_uint_gt(differences(7, 3, 8, 3), 500);
    ck_assert_uint_gt(differences(7, 3, 7, 4), 500);
}

END_TEST

START_TEST(settings_do_not_shift_the_fate_of_later_packets)
{
    struct air_path a, b;
    air_path_init(&a, 1, 0);
    air_path_init(&b, 1, 0);
    const struct air_settings calm = {.latency_ms = 1};
    for (int i = 0; i < 100; i++) {
        next_fate(&a, &BAD_AIR);
        next_fate(&b, &calm);
    }
    const struct fate x = next_fate(&a, &BAD_AIR);
    const struct fate y = next_fate(&b, &BAD_AIR);
    ck_assert_uint_eq(x.copies, y.copies);
    ck_assert_int_eq(x.delays_ms[0], y.delays_ms[0]);
}

END_TEST

START_TEST(loss_and_duplication_are_as_wanted)
{
    struct air_path path;
    air_path_init(&path, 99, 0);
    unsigned count[AIR_COPIES_MAX + 1] = {0};
    for (int i = 0; i < PACKETS; i++) {
        const struct fate f = next_fate(&path, &BAD_AIR);
        count[f.copies]++;
        for (unsigned k = 0; k < f.copies; k++) {
            ck_assert_int_ge(f.delays_ms[k], 5);
            ck_assert_int_le(f.delays_ms[k], 15);
        }
    }
    ck_assert_double_eq_tol(count[0] / (double)PACKETS, 0.2, 0.015);
    ck_assert_double_eq_tol(count[2] / (double)PACKETS, 0.8 * 0.1, 0.015);
    const struct air_settings silence = {.loss = 1};
    const struct air_settings clear = {0};
    for (int i = 0; i < 1000; i++) {
        ck_assert_uint_eq(next_fate(&path, &silence).copies, 0);
        ck_assert_uint_eq(next_fate(&path, &clear).copies, 1);
    }
    ck_assert(air_is_clear(&clear));
    ck_assert(!air_is_clear(&silence));
}

END_TEST

START_TEST(packets_land_by_time_and_overtake)
{
    struct air air;
    air_init(&air);
    const char *const text[] = {"late", "early", "early too"};
    static const int64_t at_ms[] = {30, 10, 10};
    for (uint32_t i = 0; i < 3; i++)
        air_launch(&air, at_ms[i], i, 1, i == 1, bytes_str(text[i]));
    ck_assert_int_eq(air_next_landing(&air), 10);
    air_collect(&air, 9);
    ck_assert_ptr_null(air_land(&air));
    air_collect(&air, 29);
    static const uint32_t order[] = {1, 2};
    for (int i = 0; i < 2; i++) {
        struct air_packet *p = air_land(&air);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq(p->node, order[i]);
        ck_assert(bytes_equal(bytes_of(p->data, p->len), bytes_str(text[order[i]])));
        ck_assert(p->up == (order[i] == 1));
        air_release(&air, p);
    }
    ck_assert_ptr_null(air_land(&air));
    ck_assert_int_eq(air_next_landing(&air), 30);
    air_deinit(&air); /* what still flies is freed */
}

END_TEST

START_TEST(long_packets_fly_too_and_the_sky_is_limited)
{
    struct air air;
    air_init(&air);
    static uint8_t long_packet[5000];
    memset(long_packet, 0x5a, sizeof long_packet);
    air_launch(&air, 1, 0, 0, true, bytes_of(long_packet, sizeof long_packet));
    for (int i = 0; i < AIR_FLYING_MAX + 10; i++)
        air_launch(&air, 2, 0, 0, true, bytes_str("x"));
    ck_assert_uint_eq(air.overflowed, 11);
    air_collect(&air, 1);
    struct air_packet *p = air_land(&air);
    ck_assert(bytes_equal(bytes_of(p->data, p->len), bytes_of(long_packet, sizeof long_packet)));
    air_release(&air, p);
    air_deinit(&air);
}

END_TEST

int main(void)
{
    TCase *scenario = tcase_create("scenario");
    tcase_add_checked_fixture(scenario, open_plan, close_plan);
    tcase_add_test(scenario, a_scenario_is_read_whole);
    tcase_add_test(scenario, groups_start_from_the_command_line);
    tcase_add_test(scenario, all_errors_are_told_with_their_lines);
    tcase_add_test(scenario, an_empty_file_is_an_error);
    tcase_add_test(scenario, an_endless_line_is_an_error_and_skipped);
    tcase_add_loop_test(scenario, bad_values_are_refused_with_a_reason, 0,
                        (int)(sizeof BAD_SETTINGS / sizeof BAD_SETTINGS[0]));
    tcase_add_test(scenario, sleepy_groups_are_read);
    tcase_add_loop_test(scenario, contradictions_about_sleep_are_told, 0, 5);
    tcase_add_test(scenario, durations_have_units);

    TCase *air = tcase_create("air");
    tcase_add_test(air, the_same_seed_and_node_meet_the_same_fate);
    tcase_add_test(air, settings_do_not_shift_the_fate_of_later_packets);
    tcase_add_test(air, loss_and_duplication_are_as_wanted);
    tcase_add_test(air, packets_land_by_time_and_overtake);
    tcase_add_test(air, long_packets_fly_too_and_the_sky_is_limited);

    Suite *suite = suite_create("sim_plan");
    suite_add_tcase(suite, scenario);
    suite_add_tcase(suite, air);
    return run_suite(suite);
}
