/* SPDX-License-Identifier: Apache-2.0 */
/* Files to import that are not what they should be, or very large. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "base/error.h"

#include "move_world.h"
#include "seed.h"
#include "store_format.h"
#include "suite.h"

#ifdef __SANITIZE_ADDRESS__
/* Memory is measured here: what was freed shall be used again. */
const char *__asan_default_options(void); /* NOLINT(bugprone-reserved-identifier) */

const char *__asan_default_options(void) /* NOLINT(bugprone-reserved-identifier) */
{
    return "quarantine_size_mb=1";
}
#endif

/* ---- hostile files --------------------------------------------------------------------------- */

#define STATE                                                                                      \
    "{\"row\":\"state\",\"version\":1,\"seed\":\"00112233445566778899aabbccddeeff\",\"clock_ms\":" \
    "5}\n"
#define SESSION                                                                                    \
    "{\"row\":\"session\",\"client\":20000000,\"client_id\":\"n\",\"state\":\"away\",\"clean\":"   \
    "false,"                                                                                       \
    "\"keep_alive_s\":6,\"sleep_s\":0,\"next_msg_id\":1"
#define TOPIC "{\"row\":\"topic\",\"client\":20000000,\"topic_id\":1,\"alias\":0,\"kind\":0,"
#define DELIVERY                                                                                   \
    "{\"row\":\"delivery\",\"client\":20000000,\"number\":1,\"qos\":1,\"retain\":false,"
#define SPOOL                                                                                      \
    "{\"row\":\"spool\",\"number\":1,\"client\":0,\"qos\":1,\"will\":false,\"clock_ms\":0,"
#define SPOOL_END "\"retain\":false,\"topic\":\"t\"}\n"

static const struct {
    const char *text;
    const char *error; /* behind the name of the file */
} hostile[] = {
    {"",                                                                                          ":1: error: the file is empty"                                                 },
    {"\n \t\r\n",                                                                                 ":3: error: the file is empty"                                                 },
    {"what is this?\n",                                                                           ":1: error: not JSON"                                                          },
    {STATE "{\"row\":\"spool\"",                                                                  ":2: error: not JSON"                                                          },
    {STATE "{\"row\":\"spool\"} x\n",                                                             ":2: error: not JSON"                                                          },
    {"\xEF\xBB\xBF" STATE,                                                                        ":1: error: not JSON"                                                          },
    {"[1]\n",                                                                                     ":1: error: not a JSON object"                                                 },
    {"7\n",                                                                                       ":1: error: not a JSON object"                                                 },
    {"\xFF\xFE{\n",                                                                               ":1: error: not UTF-8"                                                         },
    {"{\"version\":1}\n",                                                                         ":1: error: row is missing: what the line is"                                  },
    {"{\"row\":7}\n",                                                                             ":1: error: row is \"7\", which is not known here"                             },
    {"{\"row\":\"a\\u001bb\"}\n",                                                                 ":1: error: row is \"a\\x1bb\", which is not known here"                       },
    {SESSION "}\n",                                                                               ":1: error: the first row is not \"state\": this is no exported state"         },
    {"{\"row\":\"state\",\"version\":5,\"colour\":\"red\"}\n",
     ":1: error: version 5 was written by a newer sennetd; this one reads version 4: install that "
     "one here, too"                                                                                                                                                             },
    {"{\"row\":\"state\",\"version\":0}\n",                                                       ":1: error: version is not an integer from 1 to 4"                             },
    {"{\"row\":\"state\"}\n",                                                                     ":1: error: version is missing in a row \"state\""                             },
    {"{\"row\":\"state\",\"version\":1,\"seed\":\"00\",\"clock_ms\":5}\n",
     ":1: error: seed has 1 octets, not 16 to 16"                                                                                                                                },
    {"{\"row\":\"state\",\"version\":1,\"seed\":\"0g\",\"clock_ms\":5}\n",
     ":1: error: seed is not an even number of hexadecimal digits"                                                                                                               },
    {"{\"row\":\"state\",\"version\":1,\"clock_ms\":1125899906842625}\n",
     ":1: error: clock_ms is not an integer from 0 to 1125899906842624"                                                                                                          },
    {STATE STATE,                                                                                 ":2: error: a second row \"state\""                                            },
    {STATE,                                                                                       ":2: error: the row \"end\" is missing: the file was cut off"                  },
    {STATE SESSION "}\n",                                                                         ":3: error: the row \"end\" is missing: the file was cut off"                  },
    {STATE SESSION ",\"clean\":true}\n",                                                          ":2: error: clean is there twice"                                              },
    {STATE SESSION ",\"client_id_hex\":\"6e\"}\n",                                                ":2: error: client_id is there twice"                                          },
    {STATE SESSION ",\"colour\":\"red\"}\n",
     ":2: error: nothing called \"colour\" belongs in a row \"session\""                                                                                                         },
    {STATE SESSION ",\"clean_hex\":\"00\"}\n",
     ":2: error: nothing called \"clean_hex\" belongs in a row \"session\""                                                                                                      },
    {STATE SESSION "}\n" SESSION "}\n",
     ":3: error: there is a row with the same session.client already"                                                                                                            },
    {STATE SESSION "}\n" SESSION ",\"link\":\"udp\"}\n",
     ":3: error: link, address_kind and address belong together"                                                                                                                 },
    {STATE SESSION ",\"link\":\"udp\",\"address_kind\":\"ip4\",\"address\":\"7f0000\"}\n",
     ":2: error: address has 3 octets, but ip4 has 6"                                                                                                                            },
    {STATE SESSION ",\"link\":\"udp\",\"address_kind\":\"none\",\"address\":\"\"}\n",
     ":2: error: address_kind is none of ip4, ip6, eui64, short, serial, group"                                                                                                  },
    {STATE SESSION
     ",\"link\":\"u\",\"address_kind\":\"serial\",\"address\":\"\",\"path\":\"02aa\"}\n",    ":2: error: path is not a list of forwarders, each with its length before"     },
    {STATE SESSION ",\"will_topic\":\"t\",\"will_qos\":1}\n",
     ":2: error: will_topic, will_qos and will_retain belong together"                                                                                                           },
    {STATE SESSION ",\"will_topic\":\"t/#\",\"will_qos\":1,\"will_retain\":false}\n",
     ":2: error: will_topic is not a topic name"                                                                                                                                 },
    {STATE SESSION ",\"will_topic\":null}\n",                                                     ":2: error: will_topic is not a string"                                        },
    {STATE TOPIC "\"given\":true,\"name\":\"t\"}\n",
     ":2: error: no row \"session\" with this client comes before"                                                                                                               },
    {STATE SESSION "}\n" TOPIC "\"given\":1,\"name\":\"t\"}\n",
     ":3: error: given is not true or false"                                                                                                                                     },
    {STATE SESSION "}\n" TOPIC "\"given\":true,\"name\":\"\"}\n",
     ":3: error: name has 0 octets, not 1 to 65535"                                                                                                                              },
    {STATE SESSION "}\n" TOPIC "\"given\":true,\"name\":\"a\\u0000b\"}\n",
     ":3: error: a string holds \\u0000; write it under NAME_hex"                                                                                                                },
    {STATE SESSION "}\n" TOPIC "\"given\":true,\"name_hex\":\"610062\"}\n",
     ":3: error: name is not a topic name"                                                                                                                                       },
    {STATE SESSION "}\n" TOPIC "\"given\":true,\"name\":\"a\\ud800\"}\n",
     ":3: error: name is not UTF-8"                                                                                                                                              },
    {STATE SESSION "}\n" TOPIC "\"given\":true,\"name\":[\"t\"]}\n",
     ":3: error: name is not a string"                                                                                                                                           },
    {STATE SESSION "}\n{\"row\":\"exchange\",\"client\":20000000,\"msg_id\":1,\"topic_id\":1,"
                   "\"print\":\"12\"}\n",                                                    ":3: error: print is not 16 hexadecimal digits"                                },
    {STATE SESSION
     "}\n{\"row\":\"subscription\",\"client\":20000000,\"filter\":\"a#\",\"qos\":1}\n",      ":3: error: filter is not a topic filter"                                      },
    {STATE SESSION "}\n" DELIVERY "\"phase\":\"waiting\",\"msg_id\":0,\"journal\":4}\n",
     ":3: error: no row \"message\" with this journal number comes before"                                                                                                       },
    {STATE SESSION "}\n" DELIVERY "\"phase\":\"waiting\",\"msg_id\":0}\n",
     ":3: error: a delivery has a journal number or a topic"                                                                                                                     },
    {STATE SESSION "}\n" DELIVERY "\"phase\":\"waiting\",\"msg_id\":0,\"topic\":\"\"}\n",
     ":3: error: topic may be empty only when the message was received"                                                                                                          },
    {STATE SESSION "}\n" DELIVERY
                   "\"phase\":\"waiting\",\"msg_id\":0,\"journal\":4,\"topic\":\"t\"}\n",    ":3: error: a delivery with a journal number has topic and body in its message"},
    {STATE SESSION "}\n" DELIVERY "\"phase\":\"gone\",\"msg_id\":0,\"topic\":\"t\"}\n",
     ":3: error: phase is none of waiting, sent, received"                                                                                                                       },
    {STATE SPOOL "\"retain\":false,\"topic\":\"t\",\"body_hex\":\"0\"}\n",
     ":2: error: body_hex is not an even number of hexadecimal digits"                                                                                                           },
    {STATE SPOOL "\"retain\":false}\n",                                                           ":2: error: topic is missing in a row \"spool\""                               },
    {STATE SPOOL SPOOL_END SPOOL SPOOL_END,
     ":3: error: there is a row with the same spool.number already"                                                                                                              },
    {STATE SPOOL SPOOL_END "{\"row\":\"end\",\"session\":0,\"topic\":0,\"exchange\":0,"
                           "\"subscription\":0,\"message\":0,\"delivery\":0,\"spool\":2}\n", ":3: error: there should be 2 rows \"spool\", but 1 came"                      },
    {STATE SPOOL SPOOL_END
     "{\"row\":\"end\",\"session\":0,\"topic\":0,\"exchange\":0,\"subscription\":0,\"message\":0,"
     "\"delivery\":0,\"spool\":1}\n\n" SPOOL SPOOL_END,
     ":5: error: something comes after the row \"end\""                                                                                                                          },
    {STATE "{\"row\":\"spool\",\"number\":99999999999999999999}\n",
     ":2: error: number is not an integer from 1 to 9223372036854775807"                                                                                                         },
    {STATE "{\"row\":\"spool\",\"number\":-1}\n",
     ":2: error: number is not an integer from 1 to 9223372036854775807"                                                                                                         },
    {STATE "{\"row\":\"spool\",\"number\":1.0}\n",
     ":2: error: number is not an integer from 1 to 9223372036854775807"                                                                                                         },
    {STATE "{\"row\":\"spool\",\"number\":\"1\"}\n",
     ":2: error: number is not an integer from 1 to 9223372036854775807"                                                                                                         },
    {STATE "{\"row\":\"spool\",\"number\":1,\"client\":281474976710656}\n",
     ":2: error: client is not an integer from 0 to 281474976710655"                                                                                                             },
};

static void expect_nothing_imported(void)
{
    ck_assert(!exists(&to, "sennet.db"));
    ck_assert(!exists(&to, "sennet.db-import"));
    ck_assert(!exists(&to, "sennet.db-import-wal"));
}

START_TEST(a_file_that_is_not_sound_is_refused_with_its_line)
{
    char expected[512];
    write_text(move_file(), hostile[_i].text, strlen(hostile[_i].text));
    snprintf(expected, sizeof expected, "%s%s\nnothing was imported\n", move_file(),
             hostile[_i].error);
    ck_assert_int_eq(import_from(move_file()), EXIT_NO_INPUT);
    ck_assert_str_eq(said, expected);
    expect_nothing_imported();
}

END_TEST

START_TEST(a_line_without_end_is_refused_before_it_fills_the_memory)
{
    char expected[256];
    static char blank[1 << 16];
    memset(blank, ' ', sizeof blank);
    FILE *const f = fopen(move_file(), "we");
    fputs(STATE, f);
    for (int i = 0; i <= FORMAT_LINE_MAX / (int)sizeof blank; i++)
        ck_assert_uint_eq(fwrite(blank, 1, sizeof blank, f), sizeof blank);
    fclose(f);
    snprintf(expected, sizeof expected,
             "%s:2: error: the line is longer than any of an exported state\n", move_file());
    ck_assert_int_eq(import_from(move_file()), EXIT_NO_INPUT);
    ck_assert_msg(strstr(said, expected) == said, "%s", said);
    expect_nothing_imported();
    ck_assert_int_eq(import_from("/dev/null/x"), EXIT_NO_INPUT);
    ck_assert_int_eq(import_from(from.dir), EXIT_NO_INPUT);
    ck_assert_ptr_nonnull(strstr(said, "can't be read: Is a directory"));
    expect_nothing_imported();
}

END_TEST

START_TEST(a_file_cut_anywhere_is_refused)
{
    static char text[MOVE_TEXT_MAX];
    fill(everything);
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    const size_t len = read_text(move_file(), text, sizeof text);
    for (size_t at = 0; at < len - 1; at += 1 + at % 37) {
        write_text(move_file(), text, at);
        ck_assert_msg(import_from(move_file()) == EXIT_NO_INPUT, "cut at %zu: %s", at, said);
        expect_nothing_imported();
    }
    write_text(move_file(), text, len - 1); /* only the last line end */
    ck_assert_int_eq(import_from(move_file()), EXIT_OK);
}

END_TEST

/* What is accepted, the store loads without a word. */
START_TEST(a_spoiled_file_is_refused_or_makes_a_sound_state)
{
    static char text[MOVE_TEXT_MAX];
    static char spoiled[MOVE_TEXT_MAX];
    struct rng rng = seeded_rng();
    unsigned accepted = 0;
    fill(everything);
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    const size_t len = read_text(move_file(), text, sizeof text);
    for (int i = 0; i < 200; i++) {
        memcpy(spoiled, text, len);
        for (uint64_t n = rng_below(&rng, 2); n < 2; n++) {
            spoiled[rng_below(&rng, len)] =
                rng_below(&rng, 4) > 0 ? "0123456789abcdef\"\\,:{}[]\n"[rng_below(&rng, 25)]
                                       : (char)rng_below(&rng, 256);
        }
        write_text(move_file(), spoiled, len);
        const int code = import_from(move_file());
        ck_assert(code == EXIT_OK || code == EXIT_NO_INPUT);
        if (code == EXIT_OK) {
            accepted++;
            world_open(&to);
            ck_assert_ptr_null(store_notice(to.s));
            world_load(&to);
            world_close(&to);
        }
        unlink(world_path(&to, "sennet.db"));
    }
    ck_assert_uint_gt(accepted, 0);
}

END_TEST

/* ---- a large one ----------------------------------------------------------------------------- */

/* ThreadSanitizer keeps notes about all memory that is touched. */
#ifdef __SANITIZE_THREAD__
enum { NOTES = 4 };
#else
enum { NOTES = 1 };
#endif

/* In a process of its own: KiB that it has needed at most. What its parent has used counts from the
 * beginning, so that must not do anything large itself. */
static long cost_of(int (*job)(void))
{
    struct rusage usage;
    int status;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(job());
    ck_assert_int_eq(wait4(child, &status, 0, &usage), child);
    ck_assert_int_eq(status, 0);
    return usage.ru_maxrss;
}

static int export_it(void)
{
    return export_to(move_file());
}

static int import_it(void)
{
    return import_from(move_file());
}

static int make_large(void)
{
    run_sql(&from, "INSERT INTO spool WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1"
                   " FROM n WHERE i < 200000) SELECT i, 0, 'up/and/away/' || i, randomblob(60), 1,"
                   " 0, 0, i, NULL FROM n");
    return 0;
}

START_TEST(memory_stays_flat_however_large_the_spool_is)
{
    enum { FILE_KIB = 48 << 10, GROWTH_KIB = (16 << 10) * NOTES };

    fill("INSERT INTO spool VALUES (1, 0, 'up', x'00', 1, 0, 0, 1, NULL)");
    const long small_out = cost_of(export_it);
    const long small_in = cost_of(import_it);
    unlink(world_path(&to, "sennet.db"));
    cost_of(make_large);
    const long large_out = cost_of(export_it);
    struct stat st;
    ck_assert_int_eq(stat(move_file(), &st), 0);
    ck_assert_int_gt(st.st_size, FILE_KIB * 1024L);
    const long large_in = cost_of(import_it);
    printf("export %ld to %ld KiB, import %ld to %ld KiB, file of %lld KiB\n", small_out, large_out,
           small_in, large_in, (long long)st.st_size / 1024);
    ck_assert_int_lt(large_out - small_out, GROWTH_KIB);
    ck_assert_int_lt(large_in - small_in, GROWTH_KIB);
    ck_assert_str_eq(world_sql(&to, "SELECT count(*) FROM spool"), "200000");
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: files to import");
    TCase *const all = tcase_create("move");
    tcase_set_timeout(all, 30);
    tcase_add_checked_fixture(all, move_setup, move_teardown);
    tcase_add_loop_test(all, a_file_that_is_not_sound_is_refused_with_its_line, 0,
                        (int)(sizeof hostile / sizeof hostile[0]));
    tcase_add_test(all, a_line_without_end_is_refused_before_it_fills_the_memory);
    tcase_add_test(all, a_file_cut_anywhere_is_refused);
    tcase_add_test(all, a_spoiled_file_is_refused_or_makes_a_sound_state);
    tcase_add_test(all, memory_stays_flat_however_large_the_spool_is);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
