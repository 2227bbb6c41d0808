/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the link of the sticks: stick_link.c (opening, and what passes), stick_link_family.c (which
 * machine). */
#ifndef SENNET_RADIO_STICK_LINK_H
#define SENNET_RADIO_STICK_LINK_H

#include <uv.h>

#include "base/log.h"

#include "radio/link.h"

enum { LINK_TEXT_MAX = 420 };

enum stage {
    CLOSED,  /* until open_at_ms */
    OPENING, /* the port is */
    OPEN,
};

/* Trouble that was told last. */
struct told {
    char text[LINK_TEXT_MAX];
    int64_t again_ms;
};

struct stick_link {
    struct link base;
    uv_loop_t *loop;
    uv_timer_t timer;
    struct link_sink sink;
    uint16_t index;
    enum stage stage;
    bool is_up;
    bool in_turn; /* events are being handed out */
    bool closing;
    struct stick *stick;
    struct stick_config config; /* of the machine */
    const char *wanted;         /* family, as configured */
    const char *family;         /* that the machine is of: what was recognised, with "auto" */
    const char *next_family;    /* NULL: as it is */
    struct port *port;          /* NULL while CLOSED */
    struct port_config port_config;
    char *device;
    int64_t open_at_ms;
    int64_t armed_ms;
    unsigned missing, broken; /* openings in a row that ended so */
    struct told told;
    struct link_counters counters;
    uint64_t lost_here; /* packets that never got to the machine */
    char where[300];
};

static inline int64_t stick_link_now(const struct stick_link *l)
{
    return (int64_t)uv_now(l->loop);
}

void stick_link_tell(struct stick_link *l, enum log_level level, const char *event,
                     const char *text);

/* Puts another machine in the place of the closed one, whose events have been told. Without memory
 * for it everything stays as it is. */
void stick_link_change(struct stick_link *l, const char *family);

/* Before an opening: what hung in that place may have been exchanged for another kind. */
void stick_link_choose(struct stick_link *l);

#endif
