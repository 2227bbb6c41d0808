/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoder against Wireshark's MQTT-SN dissector: a capture of random messages of every type, in
 * both length forms and behind up to two forwarders, goes through tshark, and each field that the
 * dissector knows must be what was put in. Exit code 77 (skipped) without tshark.
 *
 * What the dissector (4.0) does otherwise, and why that is accepted here:
 *   - It wants a Flags octet in WILLTOPIC and WILLTOPICUPD, so it calls the empty form malformed.
 *     Section 5.4.7 defines that form as two octets.
 *   - DUP, QoS and Retain are shown for PUBLISH only, Will and CleanSession for CONNECT only;
 *     TopicIdType is shown wherever there are flags, also where the text does not use it (we send
 *     zero).
 *   - The topic of SUBSCRIBE and UNSUBSCRIBE is one string, also when it is a predefined id; the
 *     ids are made of letters here, so that they can be read back.
 *   - A GwAdd is a string; letters for the same reason.
 *   - A wireless node id is an integer of at most two octets, and one of no octets is malformed;
 *     the text leaves its length open.
 */
#include <stdio.h>
#include <string.h>

#include "mqttsn/packet.h"
#include "unit/random_packet.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { MESSAGES = 6000, PORT = 18844, SKIPPED = 77, PACKET_MAX = 1024, LINE_SIZE = 2048 };

static const char CAPTURE[] = "test_tshark.pcap"; /* stays when the test fails */

enum field {
    MALFORMED,
    TYPE,
    DUP,
    QOS,
    RETAIN,
    WILL,
    CLEAN,
    KIND,
    RETURN_CODE,
    GW_ID,
    GW_ADD,
    ADVERTISE_INTERVAL,
    RADIUS,
    PROTOCOL,
    TOPIC_ID,
    MSG_ID,
    TOPIC,
    TOPIC_NAME_OR_ID,
    SLEEP,
    WILL_TOPIC,
    WILL_MSG,
    DATA,
    CLIENT_ID,
    KEEP_ALIVE,
    CONTROL,
    NODE_ID,
    FIELDS
};

static const char *const field_names[FIELDS] = {
    [MALFORMED] = "_ws.malformed",
    [TYPE] = "mqttsn.msg.type",
    [DUP] = "mqttsn.dup",
    [QOS] = "mqttsn.qos",
    [RETAIN] = "mqttsn.retain",
    [WILL] = "mqttsn.will",
    [CLEAN] = "mqttsn.clean.session",
    [KIND] = "mqttsn.topic.id.type",
    [RETURN_CODE] = "mqttsn.return.code",
    [GW_ID] = "mqttsn.gw.id",
    [GW_ADD] = "mqttsn.gw.addr",
    [ADVERTISE_INTERVAL] = "mqttsn.adv.interv",
    [RADIUS] = "mqttsn.radius",
    [PROTOCOL] = "mqttsn.protocol.id",
    [TOPIC_ID] = "mqttsn.topic.id",
    [MSG_ID] = "mqttsn.msg.id",
    [TOPIC] = "mqttsn.topic",
    [TOPIC_NAME_OR_ID] = "mqttsn.topic.name.or.id",
    [SLEEP] = "mqttsn.sleep.timer",
    [WILL_TOPIC] = "mqttsn.will.topic",
    [WILL_MSG] = "mqttsn.will.msg",
    [DATA] = "mqttsn.pub.msg",
    [CLIENT_ID] = "mqttsn.client.id",
    [KEEP_ALIVE] = "mqttsn.keep.alive",
    [CONTROL] = "mqttsn.control.info",
    [NODE_ID] = "mqttsn.wireless.node.id",
};

/* What tshark must print for one message. */
struct line {
    char field[FIELDS][420];
};

/* ---- expectation ----------------------------------------------------------------------------- */

/* Values of one field in several layers are joined by commas. */
static void expect_text(struct line *l, enum field f, struct bytes value)
{
    char *out = l->field[f];
    const size_t used = strlen(out);
    ck_assert_uint_lt(used + value.len + 1, sizeof l->field[f]);
    snprintf(out + used, sizeof l->field[f] - used, "%s%.*s", used > 0 ? "," : "", (int)value.len,
             (const char *)value.data);
}

static void expect(struct line *l, enum field f, unsigned value)
{
    char digits[16];
    snprintf(digits, sizeof digits, "%u", value);
    expect_text(l, f, bytes_str(digits));
}

static void expect_hex(struct line *l, enum field f, unsigned value)
{
    char digits[16];
    snprintf(digits, sizeof digits, "0x%02x", value);
    expect_text(l, f, bytes_str(digits));
}

static void expect_flags(struct line *l, const struct sn_packet *p)
{
    if (p->type == SN_PUBLISH) {
        expect(l, DUP, p->dup);
        expect_hex(l, QOS, (unsigned)p->qos);
        expect(l, RETAIN, p->retain);
    }
    if (p->type == SN_CONNECT) {
        expect(l, WILL, p->will);
        expect(l, CLEAN, p->clean);
    }
    expect_hex(l, KIND, (unsigned)p->topic_kind); /* zero when not carried */
}

static void expect_ids(struct line *l, const struct sn_packet *p)
{
    expect(l, TOPIC_ID, p->topic_id);
    expect(l, MSG_ID, p->msg_id);
}

static void expect_filter(struct line *l, const struct sn_packet *p)
{
    const uint8_t two[2] = {(uint8_t)(p->topic_id >> 8), (uint8_t)p->topic_id};
    const bool by_id = p->topic_kind == SN_TOPIC_PREDEFINED || p->topic_kind == SN_TOPIC_SHORT;
    expect_flags(l, p);
    expect(l, MSG_ID, p->msg_id);
    expect_text(l, TOPIC_NAME_OR_ID, by_id ? bytes_of(two, sizeof two) : p->topic);
}

/* `p` holds only what its type carries. */
static void expect_message(struct line *l, const struct sn_packet *p)
{
    expect_hex(l, TYPE, (unsigned)p->type);
    switch ((unsigned)p->type) {
    case SN_ADVERTISE:
        expect(l, GW_ID, p->gw_id);
        expect(l, ADVERTISE_INTERVAL, p->duration_s);
        break;
    case SN_SEARCHGW:
        expect(l, RADIUS, p->radius);
        break;
    case SN_GWINFO:
        expect(l, GW_ID, p->gw_id);
        expect_text(l, GW_ADD, p->data);
        break;
    case SN_CONNECT:
        expect_flags(l, p);
        expect_hex(l, PROTOCOL, p->protocol_id);
        expect(l, KEEP_ALIVE, p->duration_s);
        expect_text(l, CLIENT_ID, p->client_id);
        break;
    case SN_CONNACK:
    case SN_WILLTOPICRESP:
    case SN_WILLMSGRESP:
        expect_hex(l, RETURN_CODE, p->return_code);
        break;
    case SN_WILLTOPIC:
    case SN_WILLTOPICUPD:
        expect_flags(l, p);
        expect_text(l, WILL_TOPIC, p->topic);
        break;
    case SN_WILLMSG:
    case SN_WILLMSGUPD:
        expect_text(l, WILL_MSG, p->data);
        break;
    case SN_REGISTER:
        expect_ids(l, p);
        expect_text(l, TOPIC, p->topic);
        break;
    case SN_SUBACK:
        expect_flags(l, p);
        expect_ids(l, p);
        expect_hex(l, RETURN_CODE, p->return_code);
        break;
    case SN_REGACK:
    case SN_PUBACK:
        expect_ids(l, p);
        expect_hex(l, RETURN_CODE, p->return_code);
        break;
    case SN_PUBLISH:
        expect_flags(l, p);
        expect_ids(l, p);
        expect_text(l, DATA, p->data);
        break;
    case SN_PUBREC:
    case SN_PUBREL:
    case SN_PUBCOMP:
    case SN_UNSUBACK:
        expect(l, MSG_ID, p->msg_id);
        break;
    case SN_SUBSCRIBE:
    case SN_UNSUBSCRIBE:
        expect_filter(l, p);
        break;
    case SN_PINGREQ:
        expect_text(l, CLIENT_ID, p->client_id);
        break;
    case SN_DISCONNECT:
        if (p->has_duration)
            expect(l, SLEEP, p->duration_s);
        break;
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

static uint8_t letter(struct rng *rng)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-+#";
    return (uint8_t)letters[rng_below(rng, sizeof letters - 1)];
}

/* Letters in place of octets that tshark would print in a way of its own. */
static struct bytes letters_for(struct rng *rng, struct bytes value, uint8_t *room, size_t least)
{
    const size_t len = value.len < least ? least : value.len;
    for (size_t i = 0; i < len; i++)
        room[i] = letter(rng);
    return bytes_of(room, len);
}

struct message {
    struct sn_packet p;
    uint8_t client_id[420], topic[420], data[420];
    uint8_t octets[PACKET_MAX];
    size_t len;
    struct line want;
};

/* The same message with a three-octet Length. */
static void write_long_form(struct message *m)
{
    uint8_t *at = m->octets + m->len;
    const size_t n = sn_encode(&m->p, at, sizeof m->octets - m->len);
    ck_assert_uint_gt(n, 0);
    if (at[0] == 1) {
        m->len += n;
        return;
    }
    memmove(at + 3, at + 1, n - 1);
    at[0] = 1;
    at[1] = (uint8_t)((n + 2) >> 8);
    at[2] = (uint8_t)(n + 2);
    m->len += n + 2;
}

static void put_envelopes(struct message *m, struct rng *rng)
{
    for (uint64_t depth = rng_below(rng, 8); depth < 2; depth++) {
        const uint8_t node[2] = {(uint8_t)rng_next(rng), (uint8_t)rng_next(rng)};
        const size_t len = 1 + (size_t)rng_below(rng, 2);
        const struct sn_envelope env = {.radius = (uint8_t)rng_below(rng, 4),
                                        .node_id = bytes_of(node, len)};
        m->len += sn_envelope_encode(&env, m->octets + m->len, sizeof m->octets - m->len);
        expect_hex(&m->want, TYPE, SN_FORWARD);
        expect_hex(&m->want, CONTROL, env.radius);
        expect(&m->want, NODE_ID, len == 1 ? node[0] : (unsigned)node[0] << 8 | node[1]);
    }
}

static void make_message(struct message *m, struct rng *rng)
{
    const enum sn_type type = (enum sn_type)packet_types[rng_below(rng, n_packet_types)];
    memset(m, 0, sizeof *m);
    const struct sn_packet random = packet_random(rng, type, rng_below(rng, 16) == 0 ? 300 : 30);
    m->p = packet_carried(&random);
    const bool will_topic = type == SN_WILLTOPIC || type == SN_WILLTOPICUPD;
    m->p.client_id = letters_for(rng, m->p.client_id, m->client_id, 0);
    m->p.topic = letters_for(rng, m->p.topic, m->topic, will_topic ? 1 : 0);
    m->p.data = letters_for(rng, m->p.data, m->data, 0);
    if (type == SN_SUBSCRIBE || type == SN_UNSUBSCRIBE)
        m->p.topic_id = (uint16_t)(letter(rng) << 8 | letter(rng));

    put_envelopes(m, rng);
    if (rng_below(rng, 8) == 0) {
        write_long_form(m);
    } else {
        const size_t n = sn_encode(&m->p, m->octets + m->len, sizeof m->octets - m->len);
        ck_assert_uint_gt(n, 0);
        m->len += n;
    }
    expect_message(&m->want, &m->p);
}

/* ---- capture --------------------------------------------------------------------------------- */

static void write_capture_header(FILE *out)
{
    uint8_t header[24];
    struct writer w = wr_to(header, sizeof header);
    wr_u32(&w, 0xA1B2C3D4);
    wr_u16(&w, 2);
    wr_u16(&w, 4);
    wr_u32(&w, 0);
    wr_u32(&w, 0);
    wr_u32(&w, 65535);
    wr_u32(&w, 101); /* raw IP */
    ck_assert_uint_eq(fwrite(header, 1, wr_close(&w), out), sizeof header);
}

static void write_packet(FILE *out, uint32_t number, struct bytes payload)
{
    uint8_t record[16 + 28];
    struct writer w = wr_to(record, sizeof record);
    const size_t udp = 8 + payload.len;
    wr_u32(&w, number);
    wr_u32(&w, 0);
    wr_u32(&w, (uint32_t)(20 + udp));
    wr_u32(&w, (uint32_t)(20 + udp));
    wr_u16(&w, 0x4500);
    wr_u16(&w, (uint16_t)(20 + udp));
    wr_u32(&w, 0);
    wr_u32(&w, 0x40110000); /* TTL 64, UDP; tshark does not verify the checksum */
    wr_u32(&w, 0xC0000207);
    wr_u32(&w, 0xC0000201);
    wr_u16(&w, 40000);
    wr_u16(&w, PORT);
    wr_u16(&w, (uint16_t)udp);
    wr_u16(&w, 0);
    ck_assert_uint_eq(fwrite(record, 1, wr_close(&w), out), sizeof record);
    ck_assert_uint_eq(fwrite(payload.data, 1, payload.len, out), payload.len);
}

static FILE *start_tshark(void)
{
    char command[2048];
    int n = snprintf(command, sizeof command,
                     "tshark -n -r %s -d udp.port==%d,mqttsn -T fields -E occurrence=a"
                     " -E aggregator=,",
                     CAPTURE, PORT);
    for (unsigned f = 0; f < FIELDS; f++)
        n += snprintf(command + n, sizeof command - (size_t)n, " -e %s", field_names[f]);
    snprintf(command + n, sizeof command - (size_t)n, " 2>/dev/null");
    FILE *in = popen(command, "r");
    ck_assert_ptr_nonnull(in);
    return in;
}

static void check_line(const struct message *m, unsigned number, const char *line)
{
    char hex[2 * PACKET_MAX + 1];
    for (size_t i = 0; i < m->len; i++)
        snprintf(hex + 2 * i, 3, "%02x", m->octets[i]);
    const char *at = line;
    for (unsigned f = 0; f < FIELDS; f++) {
        const size_t n = strcspn(at, "\t\n");
        if (strlen(m->want.field[f]) != n || memcmp(at, m->want.field[f], n) != 0) {
            ck_abort_msg("message %u, %s: %s is '%.*s', not '%s'; octets %s", number,
                         sn_type_name((unsigned)m->p.type), field_names[f], (int)n, at,
                         m->want.field[f], hex);
        }
        at += n + (at[n] == '\t');
    }
    ck_assert_str_eq(at, "\n");
}

START_TEST(the_dissector_reads_what_was_encoded)
{
    struct rng rng = seeded_rng();
    const struct rng start = rng;
    static struct message m;
    FILE *out = fopen(CAPTURE, "wb");
    ck_assert_ptr_nonnull(out);
    write_capture_header(out);
    for (unsigned i = 0; i < MESSAGES; i++) {
        make_message(&m, &rng);
        write_packet(out, i, bytes_of(m.octets, m.len));
    }
    ck_assert_int_eq(fclose(out), 0);

    rng = start; /* the same messages again, one by one */
    FILE *in = start_tshark();
    char *line = NULL;
    size_t size = 0;
    for (unsigned i = 0; i < MESSAGES; i++) {
        make_message(&m, &rng);
        ck_assert_msg(getline(&line, &size, in) > 0, "tshark ended after %u messages", i);
        check_line(&m, i, line);
    }
    ck_assert_int_lt(getline(&line, &size, in), 0);
    free(line);
    ck_assert_int_eq(pclose(in), 0);
    remove(CAPTURE);
}

END_TEST

int main(void)
{
    if (system("tshark --version >/dev/null 2>&1") != 0) { /* NOLINT(cert-env33-c): a constant */
        puts("skipped: there is no tshark (Debian: apt install tshark)");
        return SKIPPED;
    }
    Suite *suite = suite_create("tshark");
    TCase *tc = tcase_create("tshark");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, the_dissector_reads_what_was_encoded);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
