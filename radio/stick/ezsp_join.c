/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the network for joining, and closing it: a round of commands each time. A round lasts 254
 * seconds at most, so longer times are several.
 */
#include "radio/stick/ezsp_priv.h"

enum { STEP_KEY, STEP_POLICY, STEP_PERMIT, STEP_TELL, STEPS, ALL_ROUTERS = 0xFFFC };

enum {
    POLICY_TRUST_CENTER = 0,
    POLICY_OPEN = 0x03,   /* joins and rejoins */
    POLICY_CLOSED = 0x02, /* rejoins */
    ZDO_MGMT_PERMIT_JOINING = 0x0036,
};

void ezsp_join_clear(struct ezsp *e)
{
    e->join_until_ms = 0;
    e->join_at_ms = TIME_NEVER;
    e->join_step = STEPS;
}

void ezsp_permit_join(struct stick *s, int64_t now_ms, unsigned seconds)
{
    struct ezsp *e = ezsp_of(s);
    e->join_until_ms = seconds == 0            ? 0
                       : seconds >= UINT16_MAX ? TIME_NEVER
                                               : time_add(now_ms, (int64_t)seconds * 1000);
    e->join_at_ms = now_ms;
    ezsp_join_advance(e, now_ms);
    ezsp_pump(e, now_ms);
}

void ezsp_join_advance(struct ezsp *e, int64_t now_ms)
{
    if (e->join_at_ms > now_ms)
        return;
    e->join_step = 0;
    e->join_open = e->join_until_ms > now_ms;
    e->join_at_ms = e->join_open ? time_min(e->join_until_ms, time_add(now_ms, EZSP_JOIN_AGAIN_MS))
                                 : TIME_NEVER;
    stick_log(&e->stick, LOG_INFO, "ezsp.join", "the network is %s for joining",
              e->join_open ? "open" : "closed");
}

static uint8_t round_s(const struct ezsp *e, int64_t now_ms)
{
    if (!e->join_open || e->join_until_ms <= now_ms)
        return 0;
    const int64_t left_s = (e->join_until_ms - now_ms + 999) / 1000;
    return left_s < EZSP_JOIN_ROUND_S ? (uint8_t)left_s : EZSP_JOIN_ROUND_S;
}

static uint16_t wr_key(const struct ezsp *e, struct writer *w)
{
    /* The key that the ZigBee specification gives to all who have none. */
    static const uint8_t key[] = "ZigBeeAlliance09";

    const uint16_t id = e->join_open ? ezsp_transient_id(e->version) : EZSP_CLEAR_TRANSIENT;
    ezsp_wr_header(w, false, e->seq, id);
    if (e->join_open)
        ezsp_wr_transient(w, e->version, key);
    return id;
}

static uint16_t wr_tell(struct ezsp *e, struct writer *w, uint8_t seconds)
{
    const struct ezsp_aps zdo = {.cluster = ZDO_MGMT_PERMIT_JOINING,
                                 .options = EZSP_APS_ADDRESS_AND_ROUTE};
    const uint8_t message[] = {e->tsn++, seconds, 1};
    ezsp_wr_header(w, false, e->seq, EZSP_SEND_BROADCAST);
    ezsp_wr_broadcast(w, e->version, ALL_ROUTERS, &zdo, 0, 0, bytes_of(message, sizeof message));
    return EZSP_SEND_BROADCAST;
}

bool ezsp_join_next(struct ezsp *e, int64_t now_ms)
{
    uint8_t room[ASH_DATA_MAX];
    struct writer w = wr_to(room, sizeof room);
    uint16_t id = EZSP_SET_POLICY;
    switch (e->join_step) {
    case STEP_KEY:
        id = wr_key(e, &w);
        break;
    case STEP_POLICY:
        ezsp_wr_header(&w, false, e->seq, id);
        wr_u8(&w, POLICY_TRUST_CENTER);
        wr_u8(&w, e->join_open ? POLICY_OPEN : POLICY_CLOSED);
        break;
    case STEP_PERMIT:
        id = EZSP_PERMIT_JOINING;
        ezsp_wr_header(&w, false, e->seq, id);
        wr_u8(&w, round_s(e, now_ms));
        break;
    case STEP_TELL:
        id = wr_tell(e, &w, round_s(e, now_ms));
        break;
    default:
        return false;
    }
    e->join_step++;
    return ezsp_command(e, now_ms, &w, EZSP_JOB_JOIN, id, 0);
}

void ezsp_join_response(struct ezsp *e, uint16_t id, struct reader *r)
{
    if (id == EZSP_CLEAR_TRANSIENT) /* has no status */
        return;
    const bool wide = id == EZSP_IMPORT_TRANSIENT; /* sl_status in all versions */
    const uint32_t status = id == EZSP_INVALID_COMMAND ? (uint32_t)SL_FAIL
                            : wide                     ? rd_u32_le(r)
                                                       : ezsp_rd_status(r, e->version);
    if (!r->failed && status == SL_OK)
        return;
    const char *name = ezsp_name(id);
    stick_log(&e->stick, LOG_WARN, "ezsp.join", "%s the network: %s says %s",
              e->join_open ? "opening" : "closing", name != NULL ? name : "the stick",
              ezsp_status_name(status));
}
