/* SPDX-License-Identifier: Apache-2.0 */
/* Peers: how they are printed (IPv6 against inet_ntop), compared, copied, and how deep they go. */
#include <arpa/inet.h>
#include <stdio.h>

#include "base/peer.h"

#include "unit/golden.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { RANDOM_ADDRESSES = 20000 };

struct peer_case {
    enum peer_kind kind;
    const char *addr;    /* octets */
    const char *path[4]; /* node ids, octets */
    const char *text;
};

static const struct peer_case cases[] = {
    {PEER_NONE,   "",                                              {0},                    "none"                     },
    {PEER_SERIAL, "",                                              {0},                    "serial"                   },
    {PEER_IP4,    "C0 00 02 07 07 5C",                             {0},                    "192.0.2.7:1884"           },
    {PEER_IP4,    "FF FF FF FF FF FF",                             {0},                    "255.255.255.255:65535"    },
    {PEER_IP4,    "00 00 00 00 00 00",                             {0},                    "0.0.0.0:0"                },
    {PEER_EUI64,  "00 12 4B 00 01 02 03 04",                       {0},                    "00124b0001020304"         },
    {PEER_SHORT,  "1A 2B",                                         {0},                    "0x1a2b"                   },
    {PEER_SHORT,  "00 0F",                                         {0},                    "0x000f"                   },
    {PEER_IP6,    "20 01 0D B8 00*11 01 07 5C 00*4",               {0},                    "[2001:db8::1]:1884"       },
    {PEER_IP6,    "00*16 00 01 00*4",                              {0},                    "[::]:1"                   },
    {PEER_IP6,    "00*15 01 00 01 00*4",                           {0},                    "[::1]:1"                  },
    {PEER_IP6,    "FE 80 00*13 01 07 5C 00 00 00 03",              {0},                    "[fe80::1%3]:1884"         },
 /* RFC 5952: a single zero group is written, the longest run is shortened, the first of equals,
  * also at the end; leading zeros are not written. */
    {PEER_IP6,
     "20 01 0D B8 00 00 00 01 00 01 00 01 00 01 00 01 00 01 00*4", {0},
     "[2001:db8:0:1:1:1:1:1]:1"                                                                                       },
    {PEER_IP6,    "20 01 00*4 00 01 00*6 00 01 00 01 00*4",        {0},                    "[2001:0:0:1::1]:1"        },
    {PEER_IP6,    "20 01 0D B8 00*4 00 01 00*4 00 01 00 01 00*4",  {0},                    "[2001:db8::1:0:0:1]:1"    },
    {PEER_IP6,    "20 01 0D B8 00*12 00 01 00*4",                  {0},                    "[2001:db8::]:1"           },
    {PEER_IP6,
     "20 01 0D B8 00 0A 00 B0 0C 00 D0 00 00 0E FF FF 00 01 00*4", {0},
     "[2001:db8:a:b0:c00:d000:e:ffff]:1"                                                                              },
    {PEER_IP4,    "C0 00 02 07 07 5C",                             {"AA"},                 "192.0.2.7:1884/aa"        },
    {PEER_IP4,    "C0 00 02 07 07 5C",                             {"00 01", "BB CC", ""}, "192.0.2.7:1884/0001/bbcc/"},
    {PEER_SERIAL, "",                                              {""},                   "serial/"                  },
    {PEER_GROUP,  "00",                                            {0},                    "group"                    },
    {PEER_GROUP,  "07",                                            {0},                    "group:7"                  },
};

static struct peer *make(struct peer_room *room, const struct peer_case *c)
{
    size_t len;
    uint8_t *addr = golden_octets(c->addr, &len);
    struct peer *p = peer_make(room, 1, c->kind, bytes_of(addr, len));
    free(addr);
    for (unsigned i = 0; c->path[i] != NULL; i++) {
        uint8_t *node = golden_octets(c->path[i], &len);
        ck_assert(peer_push_node(room, bytes_of(node, len)));
        ck_assert_uint_eq(peer_depth(p), i + 1);
        free(node);
    }
    return p;
}

START_TEST(a_peer_of_each_kind_prints_like_this)
{
    struct peer_room room;
    char out[PEER_TEXT_MAX];
    ck_assert_str_eq(peer_print(make(&room, &cases[_i]), out, sizeof out), cases[_i].text);
}

END_TEST

START_TEST(a_short_buffer_cuts_and_is_not_overrun)
{
    struct peer_room room;
    const struct peer *p = make(&room, &cases[_i]);
    const size_t whole = strlen(cases[_i].text);
    char untouched = 'x';
    ck_assert_ptr_eq(peer_print(p, &untouched, 0), &untouched);
    ck_assert_int_eq(untouched, 'x');
    for (size_t size = 1; size < whole + 5; size++) {
        char *out = malloc(size);
        peer_print(p, out, size);
        const size_t len = strnlen(out, size);
        ck_assert_uint_lt(len, size);
        if (strcmp(out, cases[_i].text) != 0 && size >= 4) {
            ck_assert_str_eq(out + len - 3, "...");
            ck_assert(strncmp(out, cases[_i].text, len - 3) == 0);
        }
        free(out);
    }
}

END_TEST

START_TEST(ipv6_agrees_with_the_c_library)
{
    struct rng rng = seeded_rng();
    for (unsigned i = 0; i < RANDOM_ADDRESSES; i++) {
        uint8_t addr[22] = {0};
        /* Groups of zero often; the first never, as ::/8 has mixed notations of its own. */
        for (unsigned k = 0; k < 16; k += 2) {
            const bool zero = k > 0 && rng_below(&rng, 2) == 0;
            addr[k] = zero ? 0 : (uint8_t)rng_below(&rng, 3);
            addr[k + 1] = zero ? 0 : (uint8_t)(1 + rng_below(&rng, 255));
        }
        addr[17] = 9;
        struct peer_room room;
        char host[INET6_ADDRSTRLEN];
        char want[PEER_TEXT_MAX];
        char out[PEER_TEXT_MAX];
        inet_ntop(AF_INET6, addr, host, sizeof host);
        snprintf(want, sizeof want, "[%s]:9", host);
        const struct peer *p = peer_make(&room, 0, PEER_IP6, bytes_of(addr, sizeof addr));
        ck_assert_str_eq(peer_print(p, out, sizeof out), want);
    }
}

END_TEST

START_TEST(the_path_is_limited_in_depth_and_length)
{
    uint8_t node[253];
    memset(node, 0x55, sizeof node);
    /* Room on the heap: writing past the deepest path is seen. */
    struct peer_room *room = malloc(sizeof *room);
    uint8_t addr[PEER_ADDR_MAX] = {0};
    struct peer *p = peer_make(room, 1, PEER_IP6, bytes_of(addr, sizeof addr));
    ck_assert(!peer_push_node(room, bytes_of(node, 253)));
    ck_assert_uint_eq(peer_depth(p), 0);
    for (unsigned i = 0; i < PEER_DEPTH_MAX; i++)
        ck_assert(peer_push_node(room, bytes_of(node, 252)));
    ck_assert_uint_eq(peer_size(p), sizeof *p + PEER_BYTES_MAX);
    ck_assert_uint_eq(peer_depth(p), PEER_DEPTH_MAX);
    ck_assert(!peer_push_node(room, bytes_of(node, 0)));
    ck_assert_uint_eq(peer_size(p), sizeof *p + PEER_BYTES_MAX);
    free(room);
}

END_TEST

START_TEST(peers_differ_by_link_kind_address_and_the_division_of_the_path)
{
    static const struct peer_case different[] = {
        {PEER_SHORT, "1A 2B", {0},          NULL},
        {PEER_SHORT, "1A 2C", {0},          NULL},
        {PEER_NONE,  "1A 2B", {0},          NULL},
        {PEER_SHORT, "1A 2B", {"AA"},       NULL},
        {PEER_SHORT, "1A 2B", {"AA BB"},    NULL},
        {PEER_SHORT, "1A 2B", {"AA", "BB"}, NULL},
        {PEER_SHORT, "1A 2B", {"AA", ""},   NULL},
        {PEER_SHORT, "1A 2B", {"", "AA"},   NULL},
        {PEER_SHORT, "1A 2B", {""},         NULL},
    };

    enum { N = sizeof different / sizeof different[0] };

    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = 0; k < N; k++) {
            struct peer_room a;
            struct peer_room b;
            memset(&a, 0x11, sizeof a);
            memset(&b, 0x22, sizeof b);
            ck_assert_int_eq(peer_equal(make(&a, &different[i]), make(&b, &different[k])), i == k);
        }
    }
    struct peer_room a;
    struct peer_room b;
    ck_assert(!peer_equal(peer_make(&a, 1, PEER_SERIAL, bytes_of(NULL, 0)),
                          peer_make(&b, 2, PEER_SERIAL, bytes_of(NULL, 0))));
}

END_TEST

START_TEST(copies_are_equal_and_of_their_own)
{
    struct peer_room room;
    struct peer_room copy;
    const struct peer *p = make(&room, &cases[18]);
    peer_copy(&copy, p);
    struct peer *dup = peer_dup(p);
    ck_assert(peer_equal(peer_in(&copy), p));
    ck_assert(peer_equal(dup, p));
    make(&room, &cases[2]);
    ck_assert(!peer_equal(dup, peer_in(&room)));
    ck_assert(peer_equal(dup, peer_in(&copy)));
    free(dup);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("peer");
    TCase *tc = tcase_create("peer");
    const int n = (int)(sizeof cases / sizeof cases[0]);
    tcase_add_loop_test(tc, a_peer_of_each_kind_prints_like_this, 0, n);
    tcase_add_loop_test(tc, a_short_buffer_cuts_and_is_not_overrun, 0, n);
    tcase_add_test(tc, ipv6_agrees_with_the_c_library);
    tcase_add_test(tc, the_path_is_limited_in_depth_and_length);
    tcase_add_test(tc, peers_differ_by_link_kind_address_and_the_division_of_the_path);
    tcase_add_test(tc, copies_are_equal_and_of_their_own);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
