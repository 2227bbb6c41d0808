/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Silicon Labs' sticks (EmberZNet NCP): the driver's frame. Commands go one at a time, each waits
 * for its response; callbacks come whenever the stick likes. Who asks next is decided in one place,
 * ezsp_pump().
 */
#include <inttypes.h>
#include <stdio.h>

#include "radio/stick/ezsp_priv.h"

/* ---- commands ---------------------------------------------------------------------------------- */

static bool is_legacy(const struct ezsp *e)
{
    return e->phase == EZSP_GREETING;
}

struct writer ezsp_request(const struct ezsp *e, uint8_t *room, uint16_t id)
{
    struct writer w = wr_to(room, ASH_DATA_MAX);
    ezsp_wr_header(&w, is_legacy(e), e->seq, id);
    return w;
}

bool ezsp_command(struct ezsp *e, int64_t now_ms, const struct writer *request, enum ezsp_job job,
                  uint16_t id, uint16_t ref)
{
    if (!ash_send(&e->ash, bytes_of(request->buf, wr_close(request))))
        return false;
    e->pending = (struct ezsp_command){
        .job = job,
        .id = id,
        .ref = ref,
        .seq = e->seq++,
        .until_ms = time_add(now_ms, EZSP_COMMAND_MS),
    };
    return true;
}

struct ezsp_aps ezsp_app(const struct ezsp *e)
{
    const struct stick_config *c = &e->stick.config;
    return (struct ezsp_aps){
        .profile = c->profile,
        .cluster = c->cluster,
        .src_endpoint = c->endpoint,
        .dst_endpoint = c->endpoint,
        .options = EZSP_APS_DEFAULT,
    };
}

static bool send_nop(struct ezsp *e, int64_t now_ms)
{
    uint8_t room[ASH_DATA_MAX];
    if (e->nop_at_ms > now_ms)
        return false;
    const struct writer w = ezsp_request(e, room, EZSP_NOP);
    return ezsp_command(e, now_ms, &w, EZSP_JOB_NOP, EZSP_NOP, 0);
}

static bool next_command(struct ezsp *e, int64_t now_ms)
{
    if (e->phase == EZSP_STEPS)
        return ezsp_start_next(e, now_ms);
    return e->phase == EZSP_RUNNING && (ezsp_name_next(e, now_ms) || ezsp_join_next(e, now_ms) ||
                                        ezsp_send_next(e, now_ms) || send_nop(e, now_ms));
}

static bool is_open(const struct ezsp *e)
{
    return e->stick.state == STICK_STARTING || e->stick.state == STICK_RUNNING;
}

static void flush(struct ezsp *e, int64_t now_ms)
{
    struct bytes out;
    while (is_open(e) && ash_output(&e->ash, now_ms, &out))
        stick_write(&e->stick, out); /* what does not fit is repeated, or the line is stuck */
    e->stick.counters.frames_in = e->ash.frames_in;
    e->stick.counters.frames_out = e->ash.frames_out;
    e->stick.counters.bad_frames = e->ash.bad_frames;
    e->stick.counters.skipped_bytes = e->ash.rx.skipped_bytes;
}

void ezsp_pump(struct ezsp *e, int64_t now_ms)
{
    while (is_open(e) && e->pending.job == EZSP_JOB_NONE && ash_ready(&e->ash) &&
           next_command(e, now_ms)) {
    }
    flush(e, now_ms);
}

/* ---- beginning, again and again ------------------------------------------------------------------ */

static void clear(struct ezsp *e)
{
    e->pending = (struct ezsp_command){.job = EZSP_JOB_NONE, .until_ms = TIME_NEVER};
    e->phase_until_ms = TIME_NEVER;
    e->nop_at_ms = TIME_NEVER;
    e->up_seen = false;
    ezsp_send_clear(e);
    ezsp_join_clear(e);
}

static void begin(struct ezsp *e, int64_t now_ms)
{
    clear(e);
    e->phase = EZSP_LINKING;
    ash_connect(&e->ash, now_ms);
}

void ezsp_give_up(struct ezsp *e, int64_t now_ms, const char *text)
{
    clear(e);
    e->phase = EZSP_OFF;
    ash_stop(&e->ash);
    stick_reopen(&e->stick, now_ms, text);
}

void ezsp_restart(struct ezsp *e, int64_t now_ms, const char *text)
{
    if (++e->restarts > EZSP_RESTARTS) {
        ezsp_give_up(e, now_ms, text);
        return;
    }
    stick_log(&e->stick, LOG_WARN, "ezsp.restart", "%s; starting it anew", text);
    begin(e, now_ms);
    stick_down(&e->stick, now_ms, text);
}

static void give_up_silent(struct ezsp *e, int64_t now_ms)
{
    char heard[80];
    if (e->boot_loader) {
        ezsp_give_up(e, now_ms,
                     "the stick stays in its boot loader: there is no firmware in it that starts; "
                     "flash EmberZNet NCP firmware");
        return;
    }
    if (e->heard_bytes == 0) {
        snprintf(heard, sizeof heard, "the device says nothing");
    } else if (e->ash.noise) {
        snprintf(heard, sizeof heard, "the device resets itself (%s) but does not answer",
                 ash_code_name(e->ash.other_reset));
    } else {
        snprintf(heard, sizeof heard, "%" PRIu64 " octets came, but no answer among them",
                 e->heard_bytes);
    }
    char text[STICK_TEXT_MAX];
    snprintf(text, sizeof text,
             "%s: no RSTACK to our ASH resets. Check baud and flow_control; firmware of the "
             "multiprotocol (CPC) or OpenThread (RCP) kind never answers: flash EmberZNet NCP "
             "firmware",
             heard);
    ezsp_give_up(e, now_ms, text);
}

/* ---- frames from the stick --------------------------------------------------------------------- */

static void on_response(struct ezsp *e, int64_t now_ms, const struct ezsp_header *h,
                        struct reader *r)
{
    const struct ezsp_command was = e->pending;
    if (was.job == EZSP_JOB_NONE || h->seq != was.seq ||
        (h->id != was.id && h->id != EZSP_INVALID_COMMAND)) {
        e->stick.counters.strange_frames++;
        return;
    }
    e->pending = (struct ezsp_command){.job = EZSP_JOB_NONE, .until_ms = TIME_NEVER};
    if (e->phase == EZSP_RUNNING)
        e->nop_at_ms = time_add(now_ms, EZSP_NOP_MS);
    switch (was.job) {
    case EZSP_JOB_START:
        ezsp_start_response(e, now_ms, h->id, r);
        break;
    case EZSP_JOB_SEND:
        ezsp_send_response(e, now_ms, h->id, was.ref, r);
        break;
    case EZSP_JOB_FIND_SHORT:
        ezsp_find_response(e, now_ms, h->id, was.ref, r);
        break;
    case EZSP_JOB_FIND_NAME:
        ezsp_name_response(e, now_ms, h->id, was.ref, r);
        break;
    case EZSP_JOB_JOIN:
        ezsp_join_response(e, h->id, r);
        break;
    case EZSP_JOB_NOP:
        e->restarts = 0;
        break;
    case EZSP_JOB_NONE:
    case EZSP_JOB_ZDO:
        break;
    }
}

static void on_join(struct ezsp *e, int64_t now_ms, const struct ezsp_join *join)
{
    if (!ezsp_is_eui64(join->eui64))
        return;
    stick_log(&e->stick, LOG_INFO, join->left ? "ezsp.left" : "ezsp.joined",
              "node %016" PRIx64 " as 0x%04X", join->eui64, join->short_address);
    if (join->left)
        stick_learn(&e->stick, now_ms, join->eui64, SHORT_UNKNOWN);
    else
        ezsp_learn(e, now_ms, join->eui64, join->short_address);
}

/* Two nodes with one address: nobody has it until somebody is heard. */
static void on_conflict(struct ezsp *e, int64_t now_ms, uint16_t short_address)
{
    const struct stick_node *node = stick_find_short(&e->stick, short_address);
    stick_log(&e->stick, LOG_WARN, "ezsp.conflict", "two nodes have the address 0x%04X",
              short_address);
    if (node != NULL)
        stick_learn(&e->stick, now_ms, node->address, SHORT_UNKNOWN);
}

/* False when it is malformed. */
static bool on_callback(struct ezsp *e, int64_t now_ms, uint16_t id, struct reader *r)
{
    struct ezsp_sent sent;
    struct ezsp_incoming in;
    struct ezsp_join join = {.left = false};
    if (id != EZSP_INCOMING_MESSAGE)
        e->has_sender = false; /* it stands right in front of its message */
    switch (id) {
    case EZSP_STACK_STATUS: {
        const uint32_t status = ezsp_rd_status(r, e->version);
        if (r->failed)
            return false;
        ezsp_start_status(e, now_ms, status);
        return true;
    }
    case EZSP_MESSAGE_SENT:
        if (!ezsp_rd_sent(r, e->version, &sent))
            return false;
        ezsp_sent(e, now_ms, &sent);
        return true;
    case EZSP_SENDER_EUI64:
        e->sender = rd_u64_le(r);
        e->has_sender = !r->failed && ezsp_is_eui64(e->sender);
        return !r->failed;
    case EZSP_INCOMING_MESSAGE: {
        const bool ok = ezsp_rd_incoming(r, e->version, &in);
        if (ok)
            ezsp_incoming(e, now_ms, &in);
        e->has_sender = false;
        return ok;
    }
    case EZSP_TRUST_CENTER_JOIN:
        if (!ezsp_rd_trust_center_join(r, &join))
            return false;
        on_join(e, now_ms, &join);
        return true;
    case EZSP_CHILD_JOIN: /* a child that left has found another parent: its address stays */
        if (!ezsp_rd_child_join(r, &join))
            return false;
        if (!join.left)
            on_join(e, now_ms, &join);
        return true;
    case EZSP_ID_CONFLICT: {
        const uint16_t short_address = rd_u16_le(r);
        if (!r->failed)
            on_conflict(e, now_ms, short_address);
        return !r->failed;
    }
    default:
        return true; /* of parts of the stack that we do not use */
    }
}

static void on_overflow(struct ezsp *e, int64_t now_ms)
{
    e->overflows++;
    e->has_sender = false; /* the message that it belonged to may be among the lost */
    if (now_ms < e->overflow_log_ms)
        return;
    e->overflow_log_ms = time_add(now_ms, EZSP_OVERFLOW_LOG_MS);
    stick_log(&e->stick, LOG_WARN, "ezsp.overflow",
              "the stick's memory was full and it lost packets or outcomes (%" PRIu64
              " times up to now)",
              e->overflows);
}

static void on_data(struct ezsp *e, int64_t now_ms, struct bytes data)
{
    struct reader r = rd_of(data);
    struct ezsp_header h;
    if (!ezsp_rd_header(&r, is_legacy(e), &h)) {
        e->stick.counters.strange_frames++;
        return;
    }
    if (h.overflow)
        on_overflow(e, now_ms);
    if (!h.callback)
        on_response(e, now_ms, &h, &r);
    else if (e->version == 0 || h.truncated || !on_callback(e, now_ms, h.id, &r))
        e->stick.counters.strange_frames++;
}

static void on_event(struct ezsp *e, int64_t now_ms, const struct ash_event *event)
{
    char text[STICK_TEXT_MAX];
    switch (event->type) {
    case ASH_EV_NONE:
        break;
    case ASH_EV_CONNECTED:
        ezsp_start_greet(e, now_ms);
        break;
    case ASH_EV_DATA:
        on_data(e, now_ms, event->data);
        break;
    case ASH_EV_REBOOTED:
    case ASH_EV_FAILED:
        e->stick.counters.stick_resets++;
        snprintf(text, sizeof text, "the stick %s (%s)",
                 event->type == ASH_EV_REBOOTED ? "has reset itself" : "reports a failed line",
                 ash_code_name(event->code));
        ezsp_restart(e, now_ms, text);
        break;
    case ASH_EV_LOST:
        ezsp_restart(e, now_ms, "the stick acknowledges nothing any more");
        break;
    case ASH_EV_SILENT:
        give_up_silent(e, now_ms);
        break;
    }
}

/* ---- the driver -------------------------------------------------------------------------------- */

static void init(struct stick *s)
{
    struct ezsp *e = ezsp_of(s);
    ash_init(&e->ash, s->config.baud == 0 ? 2 * (int64_t)ASH_T_ACK_MS : ASH_T_ACK_MS);
    clear(e);
}

static void opened(struct stick *s, int64_t now_ms)
{
    struct ezsp *e = ezsp_of(s);
    e->restarts = 0;
    e->heard_bytes = 0;
    e->prompt = 0;
    e->boot_loader = false;
    begin(e, now_ms);
    flush(e, now_ms);
}

static void closed(struct stick *s)
{
    struct ezsp *e = ezsp_of(s);
    clear(e);
    e->phase = EZSP_OFF;
    ash_stop(&e->ash);
}

/* The Gecko boot loader shows a menu and waits at its prompt. "2" starts the firmware, if there is
 * any; to ASH it is a damaged frame. */
static void look_for_boot_loader(struct ezsp *e, struct bytes in)
{
    static const uint8_t prompt[] = {'B', 'L', ' ', '>'};
    static const uint8_t run[] = {'2'};

    for (size_t i = 0; i < in.len && !e->boot_loader; i++) {
        e->prompt = in.data[i] == prompt[e->prompt] ? (uint8_t)(e->prompt + 1)
                                                    : (uint8_t)(in.data[i] == prompt[0]);
        if (e->prompt < sizeof prompt)
            continue;
        e->boot_loader = true;
        e->prompt = 0;
        stick_log(&e->stick, LOG_NOTICE, "ezsp.boot_loader",
                  "the stick waits in its boot loader; telling it to start its firmware");
        stick_write(&e->stick, bytes_of(run, sizeof run));
    }
}

static void input(struct stick *s, int64_t now_ms, struct bytes in)
{
    struct ezsp *e = ezsp_of(s);
    struct reader r = rd_of(in);
    struct ash_event event;
    e->heard_bytes += in.len;
    if (e->ash.state == ASH_CONNECTING)
        look_for_boot_loader(e, in);
    while (is_open(e) && ash_next(&e->ash, now_ms, &r, &event))
        on_event(e, now_ms, &event);
    ezsp_pump(e, now_ms);
}

static int64_t next_deadline(const struct stick *s)
{
    const struct ezsp *e = (const struct ezsp *)(const void *)s;
    int64_t at_ms = time_min(ash_next_deadline(&e->ash), e->pending.until_ms);
    at_ms = time_min(at_ms, time_min(e->phase_until_ms, e->join_at_ms));
    if (e->pending.job == EZSP_JOB_NONE && ash_ready(&e->ash))
        at_ms = time_min(at_ms, e->nop_at_ms);
    return time_min(at_ms, ezsp_names_deadline(e));
}

static void command_late(struct ezsp *e, int64_t now_ms)
{
    char text[STICK_TEXT_MAX];
    const char *name = ezsp_name(e->pending.id);
    snprintf(text, sizeof text, "the stick has not answered %s for %d s",
             name != NULL ? name : "a command", EZSP_COMMAND_MS / 1000);
    ezsp_restart(e, now_ms, text);
}

static void advance(struct stick *s, int64_t now_ms)
{
    struct ezsp *e = ezsp_of(s);
    const struct ash_event event = {.type = ash_advance(&e->ash, now_ms)};
    on_event(e, now_ms, &event);
    if (e->pending.until_ms <= now_ms)
        command_late(e, now_ms);
    if (e->phase_until_ms <= now_ms)
        ezsp_start_late(e, now_ms);
    ezsp_names_advance(e, now_ms);
    ezsp_join_advance(e, now_ms);
    ezsp_pump(e, now_ms);
}

const struct stick_driver stick_ezsp = {
    .name = "ezsp",
    .size = sizeof(struct ezsp),
    .reports = true,
    .init = init,
    .opened = opened,
    .closed = closed,
    .input = input,
    .advance = advance,
    .next_deadline = next_deadline,
    .transmit = ezsp_transmit,
    .permit_join = ezsp_permit_join,
};
