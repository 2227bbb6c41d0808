/* SPDX-License-Identifier: Apache-2.0 */
/* One table of statuses: Ember's number, the sl_status it became, and what each says of a packet
 * (radio reference C.7). */
#include "radio/stick/ezsp_frame.h"

enum { NO_EMBER = 0x100, BUSY_MS = 500, DOWN_MS = 1500 };

static const struct status {
    uint32_t sl;
    uint16_t ember;
    enum stick_verdict at_call, at_sent;
    int64_t again_ms;
    const char *name;
} statuses[] = {
    {SL_OK,                   0x00,     VERDICT_DELIVERED, VERDICT_DELIVERED, 0,       "ok"                 },
    {SL_FAIL,                 0x01,     VERDICT_REFUSED,   VERDICT_FAILED,    0,       "refused"            },
    {SL_INVALID_PARAMETER,    0x02,     VERDICT_REFUSED,   VERDICT_REFUSED,   0,       "bad argument"       },
    {SL_NO_MORE_RESOURCE,     0x18,     VERDICT_NOT_BEGUN, VERDICT_NOT_BEGUN, BUSY_MS, "no buffers"         },
    {SL_DELIVERY_FAILED,      0x66,     VERDICT_FAILED,    VERDICT_FAILED,    0,       "not delivered"      },
    {SL_INVALID_STATE,        0x70,     VERDICT_REFUSED,   VERDICT_REFUSED,   0,       "not possible now"   },
    {SL_MAX_MESSAGE_LIMIT,    0x72,     VERDICT_NOT_BEGUN, VERDICT_NOT_BEGUN, BUSY_MS,
     "too many messages at once"                                                                            },
    {SL_MESSAGE_TOO_LONG,     0x74,     VERDICT_TOO_LONG,  VERDICT_TOO_LONG,  0,       "message too long"   },
    {SL_NETWORK_UP,           0x90,     VERDICT_REFUSED,   VERDICT_FAILED,    0,       "network up"         },
    {SL_NETWORK_DOWN,         0x91,     VERDICT_NOT_BEGUN, VERDICT_NOT_BEGUN, DOWN_MS, "network down"       },
    {SL_NOT_JOINED,           0x93,     VERDICT_NOT_BEGUN, VERDICT_NOT_BEGUN, DOWN_MS, "no network"         },
    {SL_BUSY,                 0xA1,     VERDICT_NOT_BEGUN, VERDICT_NOT_BEGUN, BUSY_MS, "busy"               },
    {SL_SOURCE_ROUTE_FAILURE, 0xA9,     VERDICT_FAILED,    VERDICT_FAILED,    0,       "source route failed"},
    {SL_MANY_TO_ONE_FAILURE,  0xAA,     VERDICT_FAILED,    VERDICT_FAILED,    0,       "route to us failed" },
    {SL_NO_APS_ACK,           NO_EMBER, VERDICT_FAILED,    VERDICT_FAILED,    0,       "not acknowledged"   },
    {SL_SEND_FAILURE,         NO_EMBER, VERDICT_FAILED,    VERDICT_FAILED,    0,       "could not be sent"  },
    {SL_NO_ROUTE,             NO_EMBER, VERDICT_FAILED,    VERDICT_FAILED,    0,       "no route"           },
};

static const struct status *find(uint32_t sl)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (statuses[i].sl == sl)
            return &statuses[i];
    }
    return NULL;
}

uint32_t ezsp_sl_of_ember(uint8_t ember)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (statuses[i].ember == ember)
            return statuses[i].sl;
    }
    return SL_FAIL;
}

const char *ezsp_status_name(uint32_t sl)
{
    const struct status *s = find(sl);
    return s != NULL ? s->name : "a status that we do not know";
}

struct ezsp_ruling ezsp_at_call(uint32_t sl)
{
    const struct status *s = find(sl);
    if (s == NULL)
        return (struct ezsp_ruling){.verdict = VERDICT_REFUSED};
    return (struct ezsp_ruling){.verdict = s->at_call, .again_ms = s->again_ms};
}

struct ezsp_ruling ezsp_at_sent(uint32_t sl)
{
    const struct status *s = find(sl);
    if (s == NULL)
        return (struct ezsp_ruling){.verdict = VERDICT_FAILED};
    return (struct ezsp_ruling){.verdict = s->at_sent, .again_ms = s->again_ms};
}
