/* SPDX-License-Identifier: Apache-2.0 */
/* The story player itself: what must fail does, at the right line and with the reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "sim/story.h"
#include "unit/suite.h"

#define HEAD                                                                                       \
    "story \"s\"\n"                                                                                \
    "node dev1\n"                                                                                  \
    "broker up\n"

#define CONNECTED                                                                                  \
    HEAD "dev1 > CONNECT id=dev1 keepalive=60 clean\n"                                             \
         "broker < OPEN client=dev1 clean keepalive=60\n"                                          \
         "broker > OPENED ok\n"                                                                    \
         "dev1 < CONNACK 0\n"

static bool play(const char *text, char **report)
{
    size_t size = 0;
    FILE *out = open_memstream(report, &size);
    ck_assert_ptr_nonnull(out);
    const bool passed = story_play("s.sn", bytes_str(text), false, out);
    fclose(out);
    return passed;
}

static const struct {
    const char *text;
    const char *report; /* its beginning */
} failing[] = {
  /* unasked: before the next action, before a wait, at the end, and another's */
    {CONNECTED "dev1 > PINGREQ\ndev1 > PINGREQ\n",                                         "s.sn:9: unasked:   dev1 < PINGRESP"                        },
    {CONNECTED "dev1 > PINGREQ\nafter 1s\n",                                               "s.sn:9: unasked:   dev1 < PINGRESP"                        },
    {CONNECTED "dev1 > PINGREQ\n",                                                         "s.sn:8: unasked:   dev1 < PINGRESP"                        },
    {CONNECTED "after 90s\n",                                                              "s.sn:8: unasked:   broker < CLOSE client=dev1 lost discard"},
    {HEAD "dev1 > CONNECT id=dev1 keepalive=60 clean\nafter 1s\n",
     "s.sn:5: unasked:   broker < OPEN client=dev1 clean keepalive=60"                                                                                 },
 /* missing, or another than expected */
    {CONNECTED "dev1 < PINGRESP\n",
     "s.sn:8: expected   dev1 < PINGRESP 02 17\n    but got  dev1 < nothing"                                                                           },
    {CONNECTED "dev1 > PINGREQ\ndev1 < DISCONNECT\n",
     "s.sn:9: expected   dev1 < DISCONNECT 02 18\n    but got  dev1 < PINGRESP 02 17"                                                                  },
    {CONNECTED "dev1 > PINGREQ\ndev1 < hex 02 18\n",                                       "s.sn:9: expected   dev1 < DISCONNECT 02 18"                },
    {CONNECTED "broker < CLOSE client=dev1 normal\n",
     "s.sn:8: expected   broker < CLOSE client=dev1 normal\n    but there was no request"                                                              },
    {HEAD "dev1 > CONNECT id=dev1 keepalive=60\nbroker < OPEN client=dev1 keepalive=61\n",
     "s.sn:5: expected   broker < OPEN client=dev1 keepalive=61\n"
     "    but got  broker < OPEN client=dev1 keepalive=60"                                                                                             },
 /* an output too early in a wait */
    {CONNECTED "after 91s\nbroker < CLOSE client=dev1 lost discard\n",
     "s.sn:8: unasked:   broker < CLOSE"                                                                                                               },
    {CONNECTED "deadline 89s\n",                                                           "s.sn:8: the next deadline is in 90000 ms"                  },
    {CONNECTED "count connects 2\n",                                                       "s.sn:8: connects is 1"                                     },
    {CONNECTED "gauge clients 0\n",                                                        "s.sn:8: clients is 1"                                      },
 /* a number once taken stands */
    {CONNECTED "dev1 > REGISTER msgid=1 a\ndev1 < REGACK topic=$t msgid=1 0\n"
               "dev1 > REGISTER msgid=1 b\ndev1 < REGACK topic=$t msgid=1 0\n",       "s.sn:11: expected   dev1 < REGACK topic=0x0001"            },
 /* what is no story */
    {"node dev1\n",                                                                        "s.sn:1: a story begins with"                               },
    {"story \"s\"\n",                                                                      "s.sn:1: nothing happens"                                   },
    {HEAD "dev2 > PINGREQ\n",                                                              "s.sn:4: neither an action nor a node: 'dev2'"              },
    {HEAD "option retry_count 1\n",                                                        "s.sn:4: 'option' must stand before the first action"       },
    {"story \"s\"\noption retry 1\n",                                                      "s.sn:2: unknown option 'retry'"                            },
    {"story \"s\"\noption retry_interval 10\n",                                            "s.sn:2: a time is needed"                                  },
    {HEAD "dev1 > PINGREQ qos=1\n",                                                        "s.sn:4: PINGREQ has no 'qos=1'"                            },
    {HEAD "dev1 > PINGPONG\n",                                                             "s.sn:4: a message type is needed"                          },
    {HEAD "dev1 < CONNACK\n",                                                              "s.sn:4: CONNACK needs its return code"                     },
    {HEAD "dev1 > PUBACK topic=$t msgid=1 0\n",                                            "s.sn:4: a packet to send can't have open"                  },
    {HEAD "dev1 > hex 0\n",                                                                "s.sn:4: octets are two hexadecimal digits each"            },
    {HEAD "dev1 > REGISTER msgid=70000 a\n",                                               "s.sn:4: a number up to 65535 is needed"                    },
    {HEAD "dev1 > REGISTER msgid=1 \"a\n",                                                 "s.sn:4: quotation mark missing"                            },
    {HEAD "dev1 > REGISTER msgid=1 a/$x\n",                                                "s.sn:4: $x is not set"                                     },
    {HEAD "broker > PUBLISHED ok\n",                                                       "s.sn:4: an answer needs a request"                         },
    {HEAD "broker < CLOSE client=dev1 normal\n",                                           "s.sn:4: no client 'dev1' was opened"                       },
    {HEAD "broker > NONSENSE\n",                                                           "s.sn:4: an event of this seam is needed"                   },
    {HEAD "count nonsense 1\n",                                                            "s.sn:4: unknown counter"                                   },
    {HEAD "end\n",                                                                         "s.sn:4: end without repeat"                                },
    {HEAD "repeat 2\n",                                                                    "s.sn:4: end is missing"                                    },
    {HEAD "node dev1\n",                                                                   "s.sn:4: node NAME"                                         },
};

enum { N_FAILING = sizeof failing / sizeof failing[0] };

START_TEST(failure_names_the_line_and_the_reason)
{
    char *report = NULL;
    ck_assert_msg(!play(failing[_i].text, &report), "passed:\n%s", failing[_i].text);
    ck_assert_msg(strncmp(report, failing[_i].report, strlen(failing[_i].report)) == 0,
                  "reported:\n%sexpected:\n%s", report, failing[_i].report);
    free(report);
}

END_TEST

START_TEST(failure_shows_what_happened_so_far_and_the_log)
{
    char *report = NULL;
    ck_assert(!play(CONNECTED "after 1500ms\ndev1 > PINGREQ\n", &report));
    ck_assert_ptr_nonnull(strstr(report, "     0.000  dev1 < CONNACK rc=accepted 03 05 00\n"));
    ck_assert_ptr_nonnull(strstr(report, "     1.500  dev1 > PINGREQ 02 16\n"));
    ck_assert_ptr_nonnull(strstr(report, "info client.state client=dev1"));
    free(report);
}

END_TEST

START_TEST(story_that_comes_out_as_told_passes_silently)
{
    char *report = NULL;
    ck_assert(play(CONNECTED "repeat 3\n"
                             "dev1 > REGISTER msgid=$n t/$n   # a comment\n"
                             "dev1 < REGACK topic=$n msgid=* 0\n"
                             "end\n"
                             "deadline 90s\n"
                             "after 90s\n"
                             "broker < CLOSE client=dev1 lost discard\n",
                   &report));
    ck_assert_str_eq(report, "");
    free(report);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("story");
    TCase *tc = tcase_create("player");
    tcase_add_loop_test(tc, failure_names_the_line_and_the_reason, 0, N_FAILING);
    tcase_add_test(tc, failure_shows_what_happened_so_far_and_the_log);
    tcase_add_test(tc, story_that_comes_out_as_told_passes_silently);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
