/* SPDX-License-Identifier: Apache-2.0 */
/* The print form: what a person sees of each message, and what a hostile one cannot do to the
 * line. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "mqttsn/packet.h"
#include "unit/golden.h"
#include "unit/random_packet.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { LINES = 20000, LINE_SIZE = 1024 };

struct sample {
    const char *octets;
    const char *line;
};

static const struct sample samples[] = {
    {"05 00 01 03 84",                   "ADVERTISE gwid=1 duration=900"                               },
    {"03 01 00",                         "SEARCHGW radius=0"                                           },
    {"03 02 07",                         "GWINFO gwid=7"                                               },
    {"07 02 07 C0 A8 01 0A",             "GWINFO gwid=7 address=c0a8010a"                              },
    {"0A 04 0C 01 00 3C 64 65 76 31",
     "CONNECT will=1 clean=1 protocol=1 duration=60 client=\"dev1\""                                   },
    {"03 05 00",                         "CONNACK rc=accepted"                                         },
    {"03 05 01",                         "CONNACK rc=congestion"                                       },
    {"03 05 02",                         "CONNACK rc=invalid-topic-id"                                 },
    {"03 05 03",                         "CONNACK rc=not-supported"                                    },
    {"03 05 80",                         "CONNACK rc=reserved:0x80"                                    },
    {"02 06",                            "WILLTOPICREQ"                                                },
    {"0B 07 30 73 74 61 74 2F 64 65 76", "WILLTOPIC qos=1 retain=1 topic=\"stat/dev\""                 },
    {"02 07",                            "WILLTOPIC empty"                                             },
    {"02 08",                            "WILLMSGREQ"                                                  },
    {"05 09 6F 66 66",                   "WILLMSG data[3]=\"off\""                                     },
    {"0A 0A 00 21 00 07 74 2F 61 31",    "REGISTER topic=normal:0x0021 msgid=7 name=\"t/a1\""          },
    {"07 0B 00 21 00 07 02",             "REGACK topic=0x0021 msgid=7 rc=invalid-topic-id"             },
    {"09 0C B0 00 21 00 05 34 32",
     "PUBLISH dup=1 qos=1 retain=1 topic=normal:0x0021 msgid=5 data[2]=\"42\""                         },
    {"09 0C 61 00 05 00 00 34 32",
     "PUBLISH dup=0 qos=-1 retain=0 topic=predefined:0x0005 msgid=0 data[2]=\"42\""                    },
    {"07 0C 42 74 31 00 09",
     "PUBLISH dup=0 qos=2 retain=0 topic=short:\"t1\" msgid=9 data[0]=\"\""                            },
    {"08 0C 02 61 00 00 00 31",
     "PUBLISH dup=0 qos=0 retain=0 topic=short:\"a\\x00\" msgid=0 data[1]=\"1\""                       },
    {"08 0C 03 00 21 00 00 31",
     "PUBLISH dup=0 qos=0 retain=0 topic=reserved:0x0021 msgid=0 data[1]=\"1\""                        },
    {"07 0D 00 21 00 05 00",             "PUBACK topic=0x0021 msgid=5 rc=accepted"                     },
    {"04 0E 00 06",                      "PUBCOMP msgid=6"                                             },
    {"04 0F 00 06",                      "PUBREC msgid=6"                                              },
    {"04 10 00 06",                      "PUBREL msgid=6"                                              },
    {"09 12 A0 00 0A 61 2F 62 63",       "SUBSCRIBE dup=1 qos=1 msgid=10 topic=\"a/bc\""               },
    {"07 12 01 00 0C 00 05",             "SUBSCRIBE dup=0 qos=0 msgid=12 topic=predefined:0x0005"      },
    {"07 12 02 00 0D 74 31",             "SUBSCRIBE dup=0 qos=0 msgid=13 topic=short:\"t1\""           },
    {"07 12 03 00 0F 00 05",             "SUBSCRIBE dup=0 qos=0 msgid=15 topic=reserved:\"\\x00\\x05\""},
    {"08 13 20 00 22 00 0A 00",          "SUBACK qos=1 topic=0x0022 msgid=10 rc=accepted"              },
    {"09 14 00 00 13 61 2F 62 63",       "UNSUBSCRIBE msgid=19 topic=\"a/bc\""                         },
    {"04 15 00 13",                      "UNSUBACK msgid=19"                                           },
    {"02 16",                            "PINGREQ"                                                     },
    {"06 16 64 65 76 31",                "PINGREQ client=\"dev1\""                                     },
    {"02 17",                            "PINGRESP"                                                    },
    {"02 18",                            "DISCONNECT"                                                  },
    {"04 18 00 00",                      "DISCONNECT duration=0"                                       },
    {"08 1A 30 6E 2F 74 2F 31",          "WILLTOPICUPD qos=1 retain=1 topic=\"n/t/1\""                 },
    {"02 1A",                            "WILLTOPICUPD empty"                                          },
    {"03 1B 00",                         "WILLTOPICRESP rc=accepted"                                   },
    {"06 1C 67 6F 6E 65",                "WILLMSGUPD data[4]=\"gone\""                                 },
    {"03 1D 03",                         "WILLMSGRESP rc=not-supported"                                },
 /* a line break and quotation marks stay inside the value, UTF-8 stays readable */
    {"0A 16 61 0A 22 62 5C C3 BC 7F",    "PINGREQ client=\"a\\x0a\\\"b\\\\\xC3\xBC\\x7f\""             },
 /* half a character: then nothing in the value is taken for UTF-8 */
    {"06 16 C3 BC 61 C3",                "PINGREQ client=\"\\xc3\\xbca\\xc3\""                         },
 /* well-formed, but a terminal would obey: a C1 control, a change of writing direction */
    {"04 16 C2 9B",                      "PINGREQ client=\"\\xc2\\x9b\""                               },
    {"05 16 E2 80 AE",                   "PINGREQ client=\"\\xe2\\x80\\xae\""                          },
};

static char *printed(const char *octets, char *out, size_t size)
{
    size_t len;
    uint8_t *in = golden_octets(octets, &len);
    struct sn_packet p;
    ck_assert_int_eq(sn_decode(bytes_of(in, len), &p), SN_DECODED);
    ck_assert_ptr_eq(sn_print(&p, out, size), out);
    free(in);
    return out;
}

START_TEST(each_message_has_its_line)
{
    char out[LINE_SIZE];
    ck_assert_str_eq(printed(samples[_i].octets, out, sizeof out), samples[_i].line);
}

END_TEST

START_TEST(every_type_is_among_the_samples)
{
    for (unsigned t = 0; t < n_packet_types; t++) {
        unsigned found = 0;
        for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
            size_t len;
            uint8_t *in = golden_octets(samples[i].octets, &len);
            found += in[1] == packet_types[t];
            free(in);
        }
        ck_assert_msg(found > 0, "%s", sn_type_name(packet_types[t]));
    }
}

END_TEST

START_TEST(long_data_is_cut_and_its_length_told)
{
    char out[LINE_SIZE];
    ck_assert_str_eq(
        printed("48 09 78*70", out, sizeof out),
        "WILLMSG data[70]=\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"...");
    /* The cut falls before a character that would end behind it. */
    ck_assert_str_eq(
        printed("44 09 78*63 C3 BC 78", out, sizeof out),
        "WILLMSG data[66]=\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"...");
}

END_TEST

static const char *line_problem(const char *out, size_t size, const char *whole)
{
    const size_t len = strnlen(out, size);
    if (len == size)
        return "not terminated";
    if (!bytes_is_utf8(bytes_of(out, len)))
        return "not UTF-8";
    for (size_t i = 0; i < len; i++) {
        if ((uint8_t)out[i] < 0x20 || out[i] == 0x7F)
            return "a control character";
    }
    const bool is_cut = strcmp(out, whole) != 0;
    const size_t kept = is_cut && size >= 4 ? len - 3 : len;
    if (strncmp(out, whole, kept) != 0)
        return "not a prefix";
    return is_cut && size >= 4 && strcmp(out + kept, "...") != 0 ? "cut without a mark" : NULL;
}

START_TEST(no_message_and_no_size_breaks_the_line)
{
    struct rng rng = seeded_rng();
    for (unsigned i = 0; i < LINES; i++) {
        const enum sn_type type = (enum sn_type)packet_types[i % n_packet_types];
        const struct sn_packet p = packet_random(&rng, type, i % 16 == 0 ? 300 : 30);
        char whole[LINE_SIZE];
        sn_print(&p, whole, sizeof whole);
        const size_t size = 1 + (size_t)rng_below(&rng, strlen(whole) + 8);
        char *out = malloc(size);
        memset(out, 'x', size);
        sn_print(&p, out, size);
        const char *problem = line_problem(out, size, whole);
        ck_assert_msg(problem == NULL, "%s in %zu: %s\n%s\n%s", sn_type_name(type), size, problem,
                      out, whole);
        free(out);
    }
}

END_TEST

START_TEST(a_buffer_of_no_size_is_not_touched)
{
    const struct sn_packet p = {.type = SN_PINGREQ};
    char out = 'x';
    ck_assert_ptr_eq(sn_print(&p, &out, 0), &out);
    ck_assert_int_eq(out, 'x');
}

END_TEST

START_TEST(the_longest_line_fits_the_room_that_tools_give)
{
    /* Every octet escaped to four, in the message with most fields. */
    static uint8_t control[65526];
    memset(control, 1, sizeof control);
    for (unsigned t = 0; t < n_packet_types; t++) {
        const struct sn_packet p = {.type = (enum sn_type)packet_types[t],
                                    .topic_id = 0x0101,
                                    .topic_kind = SN_TOPIC_SHORT,
                                    .qos = SN_QOS_MINUS_1,
                                    .msg_id = 65535,
                                    .duration_s = 65535,
                                    .return_code = 255,
                                    .client_id = bytes_of(control, sizeof control),
                                    .topic = bytes_of(control, sizeof control),
                                    .data = bytes_of(control, sizeof control)};
        char out[SN_PRINT_MAX];
        sn_print(&p, out, sizeof out);
        ck_assert_msg(strlen(out) + 4 < sizeof out, "%s", out);
    }
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("packet_print");
    TCase *tc = tcase_create("print");
    tcase_add_loop_test(tc, each_message_has_its_line, 0,
                        (int)(sizeof samples / sizeof samples[0]));
    tcase_add_test(tc, every_type_is_among_the_samples);
    tcase_add_test(tc, long_data_is_cut_and_its_length_told);
    tcase_add_test(tc, no_message_and_no_size_breaks_the_line);
    tcase_add_test(tc, a_buffer_of_no_size_is_not_touched);
    tcase_add_test(tc, the_longest_line_fits_the_room_that_tools_give);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
