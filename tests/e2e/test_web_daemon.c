/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon whose only way to the broker is a proxy with a login, and a WebSocket behind that: shared
 * sessions and nodes' own, a broker that starts again, and a password that is nowhere to be seen.
 */
#include <signal.h>
#include <sys/stat.h>

#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "e2e/web_fixture.h"

static struct daemon gateway;

#define SECRET "my secret"
#define BASE64 "bWU6bXkgc2VjcmV0"

/* Drop-ins replace keys. */
static void write_drop_in(void)
{
    FILE *f = fopen(file("web.conf"), "w");
    ck_assert_ptr_nonnull(f);
    fprintf(
        f,
        "[broker]\naddress = ws://localhost:%u/mqtt\nproxy = http://me:my%%20secret@127.0.0.1:%u\n",
        web_port, web.port);
    ck_assert_int_eq(fchmod(fileno(f), 0600), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void publish(struct node *node, const char *topic, unsigned msg_id, char letter)
{
    node_register(node, topic);
    node_publish(node, 0x20, msg_id, letter);
    node_expect_puback(node, msg_id);
}

static void expect_no_secret(const char *text)
{
    ck_assert_ptr_null(strstr(text, SECRET));
    ck_assert_ptr_null(strstr(text, "my%20secret"));
    ck_assert_ptr_null(strstr(text, BASE64));
}

START_TEST(nodes_reach_the_broker_through_proxy_and_websocket)
{
    static char printed[64 * 1024];
    char config[128];
    char more[256];
    struct node own;
    struct node shared;

    start_broker(NULL);
    start_web((struct fake_web){.mode = WEB_PROXY, .login = BASE64});
    write_drop_in();
    snprintf(more, sizeof more, "[client dev*]\nsessions = own\n[gateway]\ninclude_dir = %s\n",
             pki);
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", SOON_MS);
    ck_assert(daemon_has_logged(&gateway, "address=ws://localhost:"));
    struct observer *const observer = observer_start(broker.port, "#");
    node_open(&shared, gateway.port);
    node_connect(&shared, "plain");
    publish(&shared, "c/1", 2, 'y');
    observer_expect(observer, "c/1", "y", 1);
    node_open(&own, gateway.port);
    node_connect(&own, "dev");
    publish(&own, "c/2", 2, 'x');
    observer_expect(observer, "c/2", "x", 1);
    ck_assert_uint_ge(web.requests, 2);
    observer_stop(observer);

    snprintf(config, sizeof config, "%s/gateway.conf", gateway.directory);
    char words[3][16] = {"sennetd", "-c", "--print-config"};
    ck_assert_int_eq(
        daemon_run((char *[]){words[0], words[1], config, words[2], NULL}, printed, sizeof printed),
        0);
    ck_assert_ptr_nonnull(strstr(printed, "proxy = http://***:***@127.0.0.1:"));
    expect_no_secret(printed);

    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", SOON_MS);
    broker_start_again(&broker);
    node_publish(&shared, 0x20, 3, 'z');
    node_expect_puback(&shared, 3);
    node_close(&shared);
    node_close(&own);
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, daemon_log_end(&gateway));
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", daemon_log_end(&gateway));
    expect_no_secret(gateway.log);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("web_daemon");
    ADD(s, nodes_reach_the_broker_through_proxy_and_websocket);
    return run_suite_with_pki(s);
}
