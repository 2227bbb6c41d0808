/* SPDX-License-Identifier: Apache-2.0 */
/* Multicast groups as the configuration names them, and the interfaces that they mean. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include <check.h>

#include "radio/multicast.h"
#include "unit/suite.h"

static struct multicast parsed(const char *group, const char *listen)
{
    union sock_addr at;
    struct multicast m;
    char error[500] = "";
    ck_assert_int_eq(sock_parse(listen, &at, error, sizeof error), 0);
    ck_assert_msg(multicast_parse(group, &at, &m, error, sizeof error) == 0, "%s", error);
    return m;
}

START_TEST(groups_are_read_with_and_without_their_interface)
{
    struct multicast m = parsed("225.1.1.1:1885", "192.0.2.1:1884");
    ck_assert_uint_eq(ntohl(m.group.ip4.sin_addr.s_addr), 0xE1010101);
    ck_assert_uint_eq(ntohs(m.group.ip4.sin_port), 1885);
    ck_assert_uint_eq(ntohl(m.interface.ip4.sin_addr.s_addr), 0xC0000201); /* as listen */
    m = parsed("225.1.1.1:1885", "0.0.0.0:1884");
    ck_assert_int_eq(m.interface.any.sa_family, AF_UNSPEC);
    ck_assert_int_eq(multicast_interface(&m), 0);
    m = parsed("225.1.1.1:1885@127.0.0.1", "0.0.0.0:1884");
    ck_assert_int_eq(multicast_interface(&m), (int)if_nametoindex("lo"));
    m = parsed("225.1.1.1:1885@203.0.113.9", "0.0.0.0:1884");
    ck_assert_int_eq(multicast_interface(&m), -ENODEV);
    m = parsed("225.1.1.1:1885@lo", "0.0.0.0:1884");
    ck_assert_int_eq(multicast_interface(&m), (int)if_nametoindex("lo"));
    m = parsed("[ff02::1:ff]:1885@fe80::1%lo", "[::]:1884");
    ck_assert_str_eq(m.name, "lo");
    m = parsed("[ff02::1:ff]:1885@fe80::1%1", "[::]:1884");
    ck_assert_int_eq(multicast_interface(&m), 1);
    m = parsed("[ff02::1:ff]:1885@no-such0", "[::]:1884");
    ck_assert_int_eq(multicast_interface(&m), -ENODEV);
    m = parsed("[ff02::1:ff]:1885", "[fe80::1%1]:1884");
    ck_assert_int_eq(multicast_interface(&m), 1);
    m = parsed("225.1.1.1:1884", "127.0.0.1:1884"); /* one port, two addresses */
    ck_assert_uint_eq(ntohs(m.group.ip4.sin_port), 1884);
}

END_TEST

START_TEST(what_is_no_group_is_refused_with_a_sentence)
{
    static const char *const bad[][2] = {
        {"",                                   "127.0.0.1:1884"},
        {"225.1.1.1",                          "127.0.0.1:1884"},
        {"225.1.1.1:0",                        "127.0.0.1:1884"},
        {"225.1.1.1:65536",                    "127.0.0.1:1884"},
        {"192.0.2.1:1885",                     "127.0.0.1:1884"},
        {"240.0.0.1:1885",                     "127.0.0.1:1884"},
        {"225.1.1.1:1885@",                    "127.0.0.1:1884"},
        {"225.1.1.1:1885@192.0.2",             "127.0.0.1:1884"},
        {"225.1.1.1:1885@::1",                 "127.0.0.1:1884"},
        {"225.1.1.1:1885@192.0.2.1%eth0",      "127.0.0.1:1884"},
        {"225.1.1.1:1885@0123456789abcdef",    "127.0.0.1:1884"},
        {"225.1.1.1:1885@a/b",                 "127.0.0.1:1884"},
        {"225.1.1.1:1885",                     "[::1]:1884"    },
        {"225.1.1.1:1884",                     "0.0.0.0:1884"  },
        {"[ff02::1]:1884",                     "[::]:1884"     },
        {"[ff02::1%lo]:1885",                  "[::1]:1884"    },
        {"[2001:db8::1]:1885",                 "[::1]:1884"    },
        {"[ff02::1]:1885@fe80::1%",            "[::1]:1884"    },
        {"[ff02::1]:1885@not-an-interface%lo", "[::1]:1884"    },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        union sock_addr listen;
        struct multicast m;
        char error[500] = "";
        ck_assert_int_eq(sock_parse(bad[i][1], &listen, error, sizeof error), 0);
        ck_assert_msg(multicast_parse(bad[i][0], &listen, &m, error, sizeof error) == -EINVAL, "%s",
                      bad[i][0]);
        ck_assert_uint_gt(strlen(error), 30);
    }
}

END_TEST

int main(void)
{
    Suite *s = suite_create("multicast");
    TCase *t = tcase_create("parse");
    tcase_add_test(t, groups_are_read_with_and_without_their_interface);
    tcase_add_test(t, what_is_no_group_is_refused_with_a_sentence);
    suite_add_tcase(s, t);
    return run_suite(s);
}
