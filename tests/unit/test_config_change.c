/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload finds changed, what that takes, and what is in effect afterwards. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "config_change.h"
#include "unit/config_text.h"
#include "unit/suite.h"

#define GATEWAY "[gateway]\nname = g\n"
#define BROKER  "[broker]\naddress = 127.0.0.1\n"
#define LINK    "[link a]\ndriver = udp\nlisten = 127.0.0.1:1884\n"

/* One process: what it was started with, and what runs. */
struct process {
    struct config *first, *running;
    struct config_changes changes; /* of the latest reload */
    char *said;
};

static void start(struct process *p, const char *text)
{
    *p = (struct process){.first = parse(text)};
    p->running = p->first;
}

static const char *const effects[] = {
    [CONFIG_NEEDS_RESTART] = "restart",
    [CONFIG_TAKES_EFFECT] = "now",
    [CONFIG_NEEDS_CONNECTION] = "connection",
};

/* "[gateway] log_level: changed info > debug, now\n" for each change. */
static void describe(struct process *p)
{
    size_t len = 0;
    free(p->said);
    FILE *f = open_memstream(&p->said, &len);
    for (size_t i = 0; i < p->changes.n; i++) {
        const struct config_change *c = &p->changes.list[i];
        fprintf(f, "%s: %s", c->what, c->how);
        if (c->old != NULL || c->new != NULL)
            fprintf(f, " %s > %s", c->old != NULL ? c->old : "-", c->new != NULL ? c->new : "-");
        fprintf(f, ", %s\n", effects[c->effect]);
    }
    fclose(f);
}

static const char *reload_with(struct process *p, const char *text, bool has_router)
{
    struct config *wanted = parse(text);
    config_changes_free(&p->changes);
    ck_assert_int_eq(config_compare(p->first, p->running, wanted, has_router, &p->changes), 0);
    describe(p);
    config_adopt(p->running, wanted, &p->changes);
    if (p->running != p->first)
        config_free(p->running);
    p->running = wanted;
    return p->said;
}

static const char *reload(struct process *p, const char *text)
{
    return reload_with(p, text, config_is_routed(p->first));
}

static void end(struct process *p)
{
    config_changes_free(&p->changes);
    if (p->running != p->first)
        config_free(p->running);
    config_free(p->first);
    free(p->said);
}

START_TEST(the_same_text_changes_nothing)
{
    static const char text[] = GATEWAY BROKER
        "[broker b]\naddress = other\nusername = u\n[route r]\nto = b\n" LINK
        "[topics]\n1 = a/b\n[topics x*]\n2 = c\n[client *]\nmax_queue = 3\nsessions = own\n";
    struct process p;
    start(&p, text);
    ck_assert_str_eq(reload(&p, text), "");
    ck_assert_str_eq(reload(&p, text), "");
    ck_assert(!p.changes.engine && !p.changes.routing && p.changes.brokers == 0);
    end(&p);
}

END_TEST

START_TEST(values_that_need_no_restart_are_in_effect)
{
    struct process p;
    start(&p, GATEWAY BROKER LINK);
    ck_assert_str_eq(reload(&p,
                            "[gateway]\nname = g\nlog_level = debug\nmax_clients = 5\n" BROKER LINK
                            "qos_minus_one = no\n[topics]\n7 = t\n[client a*]\nallow = no\n"),
                     "[gateway] log_level: changed info > debug, now\n"
                     "[gateway] max_clients: changed 100000 > 5, now\n"
                     "[link a] qos_minus_one: changed yes > no, now\n"
                     "[topics]: added, now\n"
                     "[client a*]: added, now\n");
    ck_assert(p.changes.engine);
    ck_assert_uint_eq(p.changes.n_waiting, 0);
    ck_assert_int_eq(p.running->gateway.log_level, LOG_DEBUG);
    ck_assert_uint_eq(p.running->gateway.max_clients, 5);
    ck_assert_int_eq(p.running->links[0].qos_minus_one, SN_NO);
    ck_assert_uint_eq(p.running->n_topics, 1);
    ck_assert_str_eq(reload(&p, GATEWAY BROKER LINK),
                     "[gateway] log_level: changed debug > info, now\n"
                     "[gateway] max_clients: changed 5 > 100000, now\n"
                     "[link a] qos_minus_one: changed no > yes, now\n"
                     "[topics]: removed, now\n"
                     "[client a*]: removed, now\n");
    end(&p);
}

END_TEST

START_TEST(values_that_need_a_restart_stay_and_are_said_each_time)
{
    static const char wanted[] =
        "[gateway]\nname = h\nid = 9\n" BROKER
        "client_id = other\n[store]\nmax_size = 8MiB\nspool_messages = 7\n"
        "[link a]\ndriver = udp\nlisten = 127.0.0.1:1885\nqos_minus_one = no\n";
    static const char said[] = "[gateway] id: changed 1 > 9, restart\n"
                               "[gateway] name: changed g > h, restart\n"
                               "[broker] client_id: changed sennet-g > other, restart\n"
                               "[store] max_size: changed 1GiB > 8MiB, restart\n"
                               "[store] spool_messages: changed 1000000 > 7, now\n"
                               "[link a] listen: changed 127.0.0.1:1884 > 127.0.0.1:1885, restart\n"
                               "[link a] qos_minus_one: changed yes > no, now\n";
    static const char again[] =
        "[gateway] id: changed 1 > 9, restart\n"
        "[gateway] name: changed g > h, restart\n"
        "[broker] client_id: changed sennet-g > other, restart\n"
        "[store] max_size: changed 1GiB > 8MiB, restart\n"
        "[link a] listen: changed 127.0.0.1:1884 > 127.0.0.1:1885, restart\n";
    struct process p;
    start(&p, GATEWAY BROKER LINK);
    const char *name = p.running->gateway.name;
    const char *link = p.running->links[0].name;
    ck_assert_str_eq(reload(&p, wanted), said);
    ck_assert_uint_eq(p.changes.n_waiting, 5);
    ck_assert_uint_eq(p.changes.spools, UINT32_MAX);
    ck_assert_str_eq(reload(&p, wanted), again);
    /* The same strings: others point to them. */
    ck_assert_ptr_eq(p.running->gateway.name, name);
    ck_assert_ptr_eq(p.running->links[0].name, link);
    ck_assert_str_eq(p.running->gateway.name, "g");
    ck_assert_uint_eq(p.running->gateway.id, 1);
    ck_assert_str_eq(p.running->brokers[0].client_id, "sennet-g");
    ck_assert_uint_eq(p.running->store.spool_messages, 7);
    ck_assert_str_eq(p.running->links[0].listen, "127.0.0.1:1884");
    ck_assert_int_eq(p.running->links[0].qos_minus_one, SN_NO);
    end(&p);
}

END_TEST

START_TEST(how_a_broker_is_spoken_to_needs_another_connection)
{
    struct process p;
    start(&p, GATEWAY BROKER "[broker b]\naddress = c\n" LINK);
    ck_assert_str_eq(reload(&p, GATEWAY BROKER "reconnect_max = 9s\n"
                                               "[broker b]\naddress = d\nkeepalive = 7\n" LINK),
                     "[broker] reconnect_max: changed 1m > 9s, now\n"
                     "[broker b] address: changed mqtt://c:1883 > mqtt://d:1883, connection\n"
                     "[broker b] keepalive: changed 1m > 7s, connection\n");
    ck_assert_uint_eq(p.changes.brokers, 3);
    ck_assert_uint_eq(p.changes.renewals, 2);
    ck_assert_uint_eq(p.changes.spools, 0);
    ck_assert_str_eq(p.running->brokers[1].address, "mqtt://d:1883");
    ck_assert_str_eq(reload(&p, GATEWAY BROKER "[broker b]\naddress = d\nkeepalive = 7\n"
                                               "rate_messages = 3\n" LINK),
                     "[broker] reconnect_max: changed 9s > 1m, now\n"
                     "[broker b] rate_messages: changed 0 > 3, now\n");
    ck_assert_uint_eq(p.changes.spools, 2);
    ck_assert_uint_eq(p.changes.brokers, 1);
    end(&p);
}

END_TEST

START_TEST(links_and_brokers_come_and_go_with_a_restart)
{
    struct process p;
    start(&p, GATEWAY BROKER LINK "prefix = p/\n[link b]\ndriver = udp\nlisten = 127.0.0.1:5\n");
    ck_assert_str_eq(reload(&p, GATEWAY "[broker c]\naddress = d\n" BROKER
                                        "[link c]\ndriver = udp\nlisten = 127.0.0.1:6\n" LINK
                                        "qos_minus_one = no\nprefix = q/\n"),
                     "[broker c]: added, restart\n"
                     "[link b]: removed, restart\n"
                     "[link c]: added, restart\n"
                     "[link a] qos_minus_one: changed yes > no, now\n"
                     "[link a] prefix: changed p/ > q/, restart\n");
    ck_assert_uint_eq(p.running->n_links, 2);
    ck_assert_str_eq(p.running->links[0].name, "a");
    ck_assert_str_eq(p.running->links[0].prefix, "p/");
    ck_assert_int_eq(p.running->links[0].qos_minus_one, SN_NO);
    ck_assert_uint_eq(p.running->n_brokers, 1);
    ck_assert(!p.changes.routing);
    end(&p);
}

END_TEST

START_TEST(routes_change_where_there_is_a_router)
{
    static const char one[] = GATEWAY BROKER "[broker b]\naddress = c\n"
                                             "[route r]\nfrom = a/#\nto = b\n" LINK;
    static const char two[] = GATEWAY BROKER
        "[broker b]\naddress = c\n"
        "[route s]\nto = b\n[route r]\nfrom = b/#\nto = b\n" LINK "[client x]\nprefix = y/\n";
    static const char routed[] = GATEWAY BROKER "[route r]\nto = default\n" LINK "prefix = p/\n";
    struct process p;
    start(&p, one);
    ck_assert_str_eq(reload(&p, two), "[route s]: added, now\n"
                                      "[route r] from: changed a/# > b/#, now\n"
                                      "[client x]: added, now\n");
    ck_assert(p.changes.routing);
    ck_assert_uint_eq(p.running->n_routes, 2);
    end(&p);

    start(&p, GATEWAY BROKER LINK);
    ck_assert_str_eq(reload(&p, routed), "[route r]: added, restart\n"
                                         "[link a] prefix: changed - > p/, restart\n");
    ck_assert(!p.changes.routing);
    ck_assert_uint_eq(p.running->n_routes, 0);
    ck_assert_ptr_null(p.running->links[0].prefix);
    end(&p);

    start(&p, GATEWAY BROKER LINK "[client x]\nprefix = y/\n");
    reload(&p, GATEWAY BROKER LINK);
    ck_assert(p.changes.routing);
    ck_assert_str_eq(reload(&p, GATEWAY BROKER LINK "[client x]\n"), "[client x]: added, now\n");
    ck_assert(!p.changes.routing);
    end(&p);
}

END_TEST

START_TEST(whose_session_is_whose_is_decided_at_the_start)
{
    static const char other[] = GATEWAY BROKER LINK "[client a]\nsessions = own\nmax_queue = 9\n";
    static const char said[] = "[client a] sessions: changed shared > own, restart\n";
    struct process p;
    start(&p, GATEWAY BROKER LINK "[client a]\nsessions = shared\nmax_queue = 9\n");
    ck_assert_str_eq(reload(&p, other), said);
    ck_assert_str_eq(reload(&p, other), said);
    ck_assert_str_eq(reload(&p, GATEWAY BROKER LINK),
                     "[client a]: removed, now\n"
                     "[client a] sessions: changed shared > -, restart\n");
    ck_assert_str_eq(reload(&p, GATEWAY BROKER LINK "[client a]\nsessions = own\n"
                                                    "[client b]\nmqtt_client_id = x-{client}\n"),
                     "[client a]: added, now\n"
                     "[client b]: added, now\n"
                     "[client a] sessions: changed shared > own, restart\n"
                     "[client b] mqtt_client_id: changed - > x-{client}, restart\n");
    end(&p);
}

END_TEST

START_TEST(order_counts_where_later_sections_override)
{
    struct process p;
    start(&p, GATEWAY BROKER LINK "[client a*]\nmax_queue = 1\n[client *]\nmax_queue = 2\n");
    ck_assert_str_eq(
        reload(&p, GATEWAY BROKER LINK "[client *]\nmax_queue = 2\n[client a*]\nmax_queue = 1\n"),
        "[client]: order, now\n");
    ck_assert_str_eq(p.running->clients[1].glob, "a*");
    end(&p);
}

END_TEST

START_TEST(limits_need_a_restart_where_there_is_no_store_to_keep_what_waits)
{
    static const char plain[] = GATEWAY BROKER "[store]\ndurability = off\n" LINK;
    static const char limited[] =
        GATEWAY BROKER "rate_messages = 5\n[store]\ndurability = off\n" LINK;
    struct process p;
    start(&p, plain);
    ck_assert_str_eq(reload(&p, limited), "[broker] rate_messages: changed 0 > 5, restart\n");
    ck_assert_uint_eq(p.running->brokers[0].rate_messages, 0);
    ck_assert_uint_eq(p.changes.spools, 0);
    end(&p);
    start(&p, limited);
    ck_assert_str_eq(
        reload(&p, GATEWAY BROKER "rate_messages = 6\n[store]\ndurability = off\n" LINK),
        "[broker] rate_messages: changed 5 > 6, now\n");
    ck_assert_uint_eq(p.running->brokers[0].rate_messages, 6);
    end(&p);
}

END_TEST

START_TEST(what_is_made_of_a_text_comes_with_it)
{
    struct process p;
    start(&p, GATEWAY BROKER LINK);
    ck_assert_str_eq(
        reload(&p, GATEWAY BROKER "message_expiry = 9s\nuser_properties = client\n" LINK),
        "[broker] message_expiry: changed 0s > 9s, connection\n"
        "[broker] user_properties: changed - > client, connection\n");
    ck_assert_uint_ne(p.running->brokers[0].properties, 0);
    ck_assert_uint_eq(p.running->brokers[0].message_expiry_s, 9);
    ck_assert_uint_eq(p.changes.spools, 1);
    ck_assert_uint_eq(p.changes.renewals, 1);
    reload(&p, GATEWAY BROKER LINK);
    ck_assert_uint_eq(p.running->brokers[0].properties, 0);
    end(&p);
}

END_TEST

START_TEST(quiet_hours_come_with_their_text)
{
    struct process p;
    start(&p, GATEWAY BROKER LINK);
    reload(&p, GATEWAY BROKER "quiet = 22:00-06:00\n" LINK);
    ck_assert_uint_eq(p.running->brokers[0].n_quiet, 1);
    ck_assert_uint_eq(p.running->brokers[0].quiet_hours[0].from, 22 * 60);
    ck_assert_uint_eq(p.changes.spools, 1);
    end(&p);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("config_change");
    TCase *t = tcase_create("changes");
    tcase_add_test(t, the_same_text_changes_nothing);
    tcase_add_test(t, values_that_need_no_restart_are_in_effect);
    tcase_add_test(t, values_that_need_a_restart_stay_and_are_said_each_time);
    tcase_add_test(t, how_a_broker_is_spoken_to_needs_another_connection);
    tcase_add_test(t, links_and_brokers_come_and_go_with_a_restart);
    tcase_add_test(t, routes_change_where_there_is_a_router);
    tcase_add_test(t, whose_session_is_whose_is_decided_at_the_start);
    tcase_add_test(t, order_counts_where_later_sections_override);
    tcase_add_test(t, limits_need_a_restart_where_there_is_no_store_to_keep_what_waits);
    tcase_add_test(t, what_is_made_of_a_text_comes_with_it);
    tcase_add_test(t, quiet_hours_come_with_their_text);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
