/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration may say of routes and prefixes. */
#include <string.h>

#include <check.h>

#include "broker/router.h"
#include "unit/suite.h"

/* Faulty with this template, in that key? */
static void check_topic(const char *from, const char *topic, bool down, bool ok)
{
    const struct route route = {
        .from = from, .brokers = 1, .topic = topic, .up = true, .down = down};
    const char *fault = route_fault(&route);
    ck_assert_msg((fault == NULL) == ok, "%s -> %s: %s", from, topic, fault != NULL ? fault : "");
    ck_assert(fault == NULL || strncmp(fault, "topic:", 6) == 0);
}

START_TEST(templates_that_lead_nowhere_or_not_back_are_faulty)
{
    check_topic("a", "{nobody}", false, false);
    check_topic("a", "x{prefix}", false, false);
    check_topic("a/+", "x{client}+", false, false);
    check_topic("a/+", "x/#", false, false);
    check_topic("a/+/#", "x/#", false, false);
    check_topic("a/+", "all", true, false); /* no way back */
    check_topic("a/#", "$share/g/#", false, false);
    check_topic("a", "", false, false);

    check_topic("a/+", "all", false, true);
    check_topic("a/+/#", "{prefix}+/{link}/#", true, true);
    check_topic("a", "$aws/{client}", true, true);
    check_topic("#", "{gateway}/#", true, true);
}

END_TEST

static void check_fault(const struct route *route, const char *key)
{
    const char *fault = route_fault(route);
    ck_assert_msg(fault != NULL, "%s", key);
    ck_assert_msg(strncmp(fault, key, strlen(key)) == 0, "%s", fault);
}

START_TEST(faulty_routes_are_told_by_their_key)
{
    static const struct route sound = {.from = "#", .brokers = 1, .qos = -1, .up = true};
    ck_assert_ptr_null(route_fault(&sound));

    struct route route = sound;
    route.from = "a/b#";
    check_fault(&route, "from:");
    route.from = "";
    check_fault(&route, "from:");
    route.from = NULL;
    check_fault(&route, "from:");

    route = sound;
    route.brokers = 0;
    check_fault(&route, "to:");

    route = sound;
    route.qos = 3;
    check_fault(&route, "qos:");

    route = sound;
    route.up = false;
    check_fault(&route, "direction:");

    route = sound;
    route.client = "";
    check_fault(&route, "client:");
}

END_TEST

START_TEST(a_prefix_is_whole_levels)
{
    static const char *const faulty[] = {"a",  "a/b",   "a+/",       "#/",    "{prefix}/",
                                         "{x", "{y}/z", "$share/g/", "a\x01/"};
    static const char *const good[] = {"",     "a/", "a/b/", "{client}/", "{gateway}-{link}/x/",
                                       "$aws/"};

    for (size_t i = 0; i < sizeof faulty / sizeof faulty[0]; i++)
        ck_assert_msg(route_prefix_fault(faulty[i]) != NULL, "%s", faulty[i]);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(route_prefix_fault(good[i]) == NULL, "%s", good[i]);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("router_config");
    TCase *configuration = tcase_create("configuration");
    tcase_add_test(configuration, templates_that_lead_nowhere_or_not_back_are_faulty);
    tcase_add_test(configuration, faulty_routes_are_told_by_their_key);
    tcase_add_test(configuration, a_prefix_is_whole_levels);
    suite_add_tcase(suite, configuration);
    return run_suite(suite);
}
