/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of proxies and web servers, octet by octet and all at once; and our requests. */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "broker/http.h"
#include "unit/suite.h"

#define ACCEPT   "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define SWITCH   "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE  "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define AGREED   "Sec-WebSocket-Accept: " ACCEPT "\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: mqtt\r\n"

static struct http_answer answer;
static char room[HTTP_REASON_MAX + 64];

/* Returns how much was taken. */
static size_t feed(const char *text, size_t step)
{
    const size_t len = strlen(text);
    size_t at = 0;
    answer = (struct http_answer){.state = HTTP_READING};
    while (at < len) {
        const size_t n = len - at < step ? len - at : step;
        const size_t taken = http_input(&answer, bytes_of(text + at, n));
        at += taken;
        if (taken < n)
            break;
    }
    return at;
}

START_TEST(a_websocket_is_recognised)
{
    static const char *const good[] = {
        SWITCH UPGRADE AGREED PROTOCOL "\r\n",
        "HTTP/1.1 101\nUPGRADE:WebSocket\nconnection: keep-alive , UPGRADE\n"
        "sec-websocket-accept:\t" ACCEPT " \nSec-Websocket-Protocol: mqtt\nServer: x:y\n\n",
        SWITCH UPGRADE "Set-Cookie: a=b\r\nConnection: close\r\n" AGREED PROTOCOL "\r\n",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        for (size_t step = 1; step <= strlen(good[i]); step += 7) {
            ck_assert_uint_eq(feed(good[i], step), strlen(good[i]));
            ck_assert_uint_eq(answer.state, HTTP_DONE);
            ck_assert_ptr_null(http_not_websocket(&answer, ACCEPT, room));
        }
    }
}

END_TEST

START_TEST(what_follows_the_answer_is_left_alone)
{
    for (size_t step = 1; step < 200; step++)
        ck_assert_uint_eq(feed(SWITCH UPGRADE AGREED PROTOCOL "\r\n\x82\x02\r\n\r\n", step),
                          strlen(SWITCH UPGRADE AGREED PROTOCOL "\r\n"));
}

END_TEST

static const struct {
    const char *text, *why;
} wrong[] = {
    {"HTTP/1.1 404 Not Found\r\n\r\n",                                                        "404 Not Found"        },
    {"HTTP/1.1 200\r\n\r\n",                                                                  "200"                  },
    {"HTTP/1.1 401 A\x1b\xff\r\n\r\n",                                                        "401 A??"              },
    {"HTTP/1.1 099 No\r\n\r\n",                                                               "the answer is no HTTP"},
    {"HTTP/1.1 600 No\r\n\r\n",                                                               "the answer is no HTTP"},
    {"HTTP/2 101 No\r\n\r\n",                                                                 "the answer is no HTTP"},
    {"HTTP/1.1 1011\r\n\r\n",                                                                 "the answer is no HTTP"},
    {"\r\n",                                                                                  "the answer is no HTTP"},
    {SWITCH "no field\r\n\r\n",                                                               "the answer is no HTTP"},
    {SWITCH " folded: x\r\n\r\n",                                                             "the answer is no HTTP"},
    {SWITCH ": x\r\n\r\n",                                                                    "the answer is no HTTP"},
    {SWITCH "a: b\rc\r\n\r\n",                                                                "the answer is no HTTP"},
    {SWITCH AGREED PROTOCOL "\r\n",                                                           "does not switch"      },
    {SWITCH "Upgrade: websocket\r\n" AGREED PROTOCOL "\r\n",                                  "does not switch"      },
    {SWITCH "Upgrade: h2c\r\nConnection: upgrade\r\n" AGREED PROTOCOL "\r\n",                 "does not switch"      },
    {SWITCH UPGRADE PROTOCOL "\r\n",                                                          "Accept is wrong"      },
    {SWITCH UPGRADE AGREED AGREED PROTOCOL "\r\n",                                            "Accept is wrong"      },
    {SWITCH UPGRADE "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" PROTOCOL "\r\n",
     "Accept is wrong"                                                                                               },
    {SWITCH UPGRADE "Sec-WebSocket-Accept: short\r\n" PROTOCOL "\r\n",                        "Accept is wrong"      },
    {SWITCH UPGRADE AGREED "\r\n",                                                            "subprotocol"          },
    {SWITCH UPGRADE AGREED "Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n",                        "subprotocol"          },
    {SWITCH UPGRADE AGREED PROTOCOL PROTOCOL "\r\n",                                          "subprotocol"          },
    {SWITCH UPGRADE AGREED PROTOCOL "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
     "extension"                                                                                                     },
};

START_TEST(anything_else_has_its_sentence)
{
    for (size_t step = 1; step <= strlen(wrong[_i].text); step++) {
        feed(wrong[_i].text, step);
        ck_assert_uint_ne(answer.state, HTTP_READING);
        const char *const why = http_not_websocket(&answer, ACCEPT, room);
        ck_assert_ptr_nonnull(why);
        ck_assert_msg(strstr(why, wrong[_i].why) != NULL, "'%s' lacks '%s'", why, wrong[_i].why);
    }
}

END_TEST

/* 16 KiB, in however many lines. */
START_TEST(an_answer_has_limits)
{
    static char text[3 * HTTP_ANSWER_MAX];
    int len = snprintf(text, sizeof text, "%s%sX-Long: ", SWITCH, UPGRADE AGREED PROTOCOL);
    memset(text + len, 'x', 8000);
    len += 8000;
    snprintf(text + len, sizeof text - (size_t)len, "\r\n\r\n");
    feed(text, 1024);
    ck_assert_ptr_null(http_not_websocket(&answer, ACCEPT, room));

    memset(text + len, 'x', 2 * HTTP_ANSWER_MAX - 1);
    text[(size_t)len + 2 * HTTP_ANSWER_MAX - 1] = '\0';
    ck_assert_uint_eq(feed(text, 1024), HTTP_ANSWER_MAX + 1);
    ck_assert_str_eq(http_not_websocket(&answer, ACCEPT, room), "the answer is too long");
}

END_TEST

START_TEST(a_long_line_is_none_of_those_that_count)
{
    char text[2000];
    char blanks[HTTP_LINE_MAX + 1];
    memset(blanks, ' ', sizeof blanks);
    blanks[HTTP_LINE_MAX] = '\0';
    snprintf(text, sizeof text, SWITCH UPGRADE "Sec-WebSocket-Accept:%s" ACCEPT "\r\n%s\r\n",
             blanks, PROTOCOL);
    feed(text, 100);
    ck_assert_uint_eq(answer.state, HTTP_DONE);
    ck_assert_ptr_nonnull(http_not_websocket(&answer, ACCEPT, room));
}

END_TEST

START_TEST(requests_are_written)
{
    char text[HTTP_REQUEST_MAX];

    ck_assert_uint_gt(http_write_connect(text, sizeof text, "broker.lan", "8883", NULL), 0);
    ck_assert_str_eq(text, "CONNECT broker.lan:8883 HTTP/1.1\r\nHost: broker.lan:8883\r\n\r\n");
    ck_assert_uint_gt(http_write_connect(text, sizeof text, "2001:db8::1", "8883", "bWU6c2VjcmV0"),
                      0);
    ck_assert_str_eq(text, "CONNECT [2001:db8::1]:8883 HTTP/1.1\r\nHost: [2001:db8::1]:8883\r\n"
                           "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n");
    const size_t len =
        http_write_upgrade(text, sizeof text, "broker.lan", "443", true, "/mqtt?x=1", "KEY");
    ck_assert_uint_eq(len, strlen(text));
    ck_assert_str_eq(text, "GET /mqtt?x=1 HTTP/1.1\r\nHost: broker.lan\r\nUpgrade: websocket\r\n"
                           "Connection: Upgrade\r\nSec-WebSocket-Key: KEY\r\n"
                           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n");
    http_write_upgrade(text, sizeof text, "::1", "9001", false, "/", "KEY");
    ck_assert_ptr_nonnull(strstr(text, "\r\nHost: [::1]:9001\r\n"));
    ck_assert_uint_eq(http_write_upgrade(text, len, "broker.lan", "443", true, "/mqtt?x=1", "KEY"),
                      0);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("http");
    TCase *t = tcase_create("http");
    tcase_add_test(t, a_websocket_is_recognised);
    tcase_add_test(t, what_follows_the_answer_is_left_alone);
    tcase_add_loop_test(t, anything_else_has_its_sentence, 0,
                        (int)(sizeof wrong / sizeof wrong[0]));
    tcase_add_test(t, an_answer_has_limits);
    tcase_add_test(t, a_long_line_is_none_of_those_that_count);
    tcase_add_test(t, requests_are_written);
    suite_add_tcase(s, t);
    return run_suite(s);
}
