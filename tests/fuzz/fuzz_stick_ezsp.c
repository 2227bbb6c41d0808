/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The EZSP driver above a line that works and below a stick that does anything: the scripted NCP
 * (sim/fake_ncp.h) keeps ASH's numbers and checksums right, so that the input reaches EZSP; it
 * chooses the NCP's version and faults, its callbacks and answers, and what the owner does. Octets
 * that are no frames have fuzz_ash, and one step here.
 *
 * Two octets configure, then each step is one octet and what it takes from behind.
 */
#include "fuzz.h"
#include "sim/fake_ncp.h"

enum { NODES = 8 };

struct script {
    struct ncp_world *w;
    struct reader in;
    uint64_t sent; /* packets to nodes */
};

static const uint16_t ids[] = {
    EZSP_VERSION,
    EZSP_ADD_ENDPOINT,
    EZSP_NETWORK_INIT,
    EZSP_STACK_STATUS,
    EZSP_FORM_NETWORK,
    EZSP_PERMIT_JOINING,
    EZSP_CHILD_JOIN,
    EZSP_TRUST_CENTER_JOIN,
    EZSP_GET_EUI64,
    EZSP_GET_NETWORK_PARAMETERS,
    EZSP_MAXIMUM_PAYLOAD_LENGTH,
    EZSP_SEND_UNICAST,
    EZSP_SEND_BROADCAST,
    EZSP_MESSAGE_SENT,
    EZSP_INCOMING_MESSAGE,
    EZSP_GET_CONFIGURATION,
    EZSP_SET_CONFIGURATION,
    EZSP_SET_POLICY,
    EZSP_INVALID_COMMAND,
    EZSP_LOOKUP_SHORT,
    EZSP_LOOKUP_EUI64,
    EZSP_SENDER_EUI64,
    EZSP_SET_SECURITY,
    EZSP_CLEAR_TRANSIENT,
    EZSP_ID_CONFLICT,
    EZSP_SET_VALUE,
    EZSP_IMPORT_TRANSIENT,
    EZSP_NOP,
    EZSP_SET_CONCENTRATOR,
    EZSP_ADD_TRANSIENT,
    EZSP_CLEAR_KEY_TABLE,
    0x59,
};

static struct bytes some(struct script *s, size_t n)
{
    return rd_bytes(&s->in, n < rd_left(&s->in) ? n : rd_left(&s->in));
}

static uint16_t some_id(struct script *s)
{
    return ids[rd_u8(&s->in) % (sizeof ids / sizeof *ids)];
}

static uint64_t eui64_of(uint8_t n)
{
    return 0x0013A20040522B00 + n % NODES;
}

static void send_packet(struct script *s, unsigned how)
{
    uint8_t packet[128];
    const size_t len = 1 + how * 8U % sizeof packet;
    memset(packet, 0x7E, len);
    if (how == 15) {
        ncp_world_send_group(s->w, bytes_of(packet, 10));
        return;
    }
    s->sent++;
    ncp_world_send(s->w, eui64_of(rd_u8(&s->in)), bytes_of(packet, len));
}

/* A message on our port, or a ZDO answer, whose fields mostly fit. */
static void message(struct script *s, unsigned how)
{
    const uint8_t n = rd_u8(&s->in);
    const struct stick_config c = stick_defaults();
    struct ezsp_aps aps = {.profile = c.profile,
                           .cluster = c.cluster,
                           .src_endpoint = c.endpoint,
                           .dst_endpoint = c.endpoint};
    if (how >= 8) {
        static const uint16_t clusters[] = {0x8000, 0x8001, 0x0013, 0x8036};
        aps = (struct ezsp_aps){.cluster = clusters[n % 4]};
        uint8_t room[16];
        struct writer w = wr_to(room, sizeof room);
        wr_u8(&w, n);
        if (n % 4 < 2)
            wr_u8(&w, 0);
        else
            wr_u16_le(&w, 0x4A00 + n % NODES);
        wr_u64_le(&w, eui64_of(n));
        wr_u16_le(&w, 0x4A00 + n % NODES);
        ncp_message(s->w, 0, 0x4A00 + n % NODES, UINT64_MAX, &aps,
                    bytes_of(room, n >= 0xF0 ? n % 13U : w.len));
        return;
    }
    ncp_message(s->w, (uint8_t)how, 0x4A00 + n % NODES, n % 2 != 0 ? eui64_of(n) : UINT64_MAX, &aps,
                some(s, n % 100));
}

/* A knob of the NCP. */
static void turn(struct script *s, unsigned how)
{
    struct ncp *n = &s->w->ncp;
    const uint8_t value = rd_u8(&s->in);
    switch (how) {
    case 0:
        n->has_network = value & 1;
        n->no_up = value & 2;
        n->up_first = value & 4;
        break;
    case 1:
        n->version = value;
        break;
    case 2:
        n->reset_code = value < 200 ? ASH_RESET_SOFTWARE : value;
        break;
    case 3:
        n->sent_after_ms = value == 255 ? -1 : value * 100;
        break;
    case 4:
        n->sent_status = value < 128 ? value : 0x0C00U + value % 64;
        break;
    case 5:
        n->status_of[some_id(s)] = value;
        break;
    case 6:
        n->unknown_id[some_id(s)] = value & 1;
        break;
    case 7:
        n->mute_id[some_id(s)] = value & 1;
        break;
    case 8:
        n->frame_control = value & 3;
        break;
    case 9:
        n->lose_acks = value % 8;
        break;
    case 10:
        n->lose_data = value % 4;
        break;
    case 11:
        n->nak_next = value % 8;
        break;
    case 12:
        n->eui64_of_node = value == 0 ? 0 : eui64_of(value);
        break;
    case 13:
        n->short_of_node = value == 0 ? 0 : (uint16_t)(0x4A00 + value % NODES);
        break;
    case 14:
        n->max_payload = value;
        n->unicasts = value;
        break;
    default:
        s->w->line_cut = value & 1;
        break;
    }
}

static void change_port(struct script *s)
{
    struct ncp_world *w = s->w;
    if (stick_state(w->stick) == STICK_CLOSED)
        stick_opened(w->stick, w->now_ms);
    else
        stick_closed(w->stick, w->now_ms);
    ncp_world_run(w, 1);
}

static void step(struct script *s)
{
    const uint8_t what = rd_u8(&s->in);
    const unsigned how = what & 15;
    struct ncp_world *w = s->w;
    uint16_t id;
    switch (what >> 4) {
    case 0:
        ncp_world_run(w, how * how);
        break;
    case 1:
        ncp_world_run(w, how * 1000);
        break;
    case 2:
    case 3:
        send_packet(s, how);
        break;
    case 4:
    case 5:
        message(s, how);
        break;
    case 6:
        turn(s, how);
        break;
    case 7:
        id = some_id(s);
        ncp_callback(w, how, id, some(s, rd_u8(&s->in) % 64));
        break;
    case 8:
        id = how < 8 ? w->ncp.order[(w->ncp.n_asked + 255) % 256] : some_id(s);
        ncp_response(w, (uint8_t)(w->ncp.seq + (how & 1)), id, some(s, rd_u8(&s->in) % 64));
        break;
    case 9:
        ncp_says(w, how < 4 ? ASH_NAK : how < 8 ? ASH_RSTACK : ASH_ERROR, rd_u8(&s->in));
        break;
    case 10:
        ncp_raw(w, some(s, how));
        break;
    case 11:
        stick_permit_join(w->stick, w->now_ms, how == 15 ? UINT16_MAX : how * 60);
        break;
    case 12:
        change_port(s);
        break;
    default: /* a good stick gets on */
        ncp_world_run(w, 10);
        break;
    }
    ncp_world_run(w, 0);
    if (stick_state(w->stick) == STICK_GIVEN_UP)
        change_port(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {.in = rd_of(bytes_of(data, size))};
    struct stick_config c = stick_defaults();
    const uint8_t flags = rd_u8(&s.in);
    c.form_network = (flags & 1) != 0;
    c.channel = (flags & 2) != 0 ? 20 : 0;
    c.pan_id = (flags & 4) != 0 ? 0x1234 : 0;
    c.has_key = (flags & 8) != 0;
    c.permit_join_s = (flags & 16) != 0 ? 600 : 0;
    c.max_nodes = (flags & 32) != 0 ? 3 : 0;
    c.baud = (flags & 64) != 0 ? 115200 : 0;
    s.w = ncp_world_new(8 + rd_u8(&s.in) % 12, &c);
    s.w->ncp.lenient = true;
    stick_opened(s.w->stick, s.w->now_ms);
    for (unsigned steps = 0; rd_left(&s.in) > 0 && steps < 500; steps++)
        step(&s);
    ncp_world_run(s.w, 20000);
    stick_closed(s.w->stick, s.w->now_ms);
    ncp_world_run(s.w, 0);
    const struct stick_counters *n = stick_counters(s.w->stick);
    uint64_t outcomes = 0;
    for (size_t i = 0; i < 4; i++)
        outcomes += s.w->outcomes[i];
    fuzz_require(outcomes == s.sent);
    fuzz_require(n->events_lost == 0);
    fuzz_require(n->packets_in == s.w->packets);
    ncp_world_free(s.w);
    return 0;
}
