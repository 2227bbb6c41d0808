/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the core: core.c (ways in and out), nodes.c, sends.c. Not for drivers. */
#ifndef SENNET_RADIO_STICK_CORE_PRIV_H
#define SENNET_RADIO_STICK_CORE_PRIV_H

#include "radio/stick/core.h"

/* ---- nodes.c ----------------------------------------------------------------------------------- */

void stick_nodes_init(struct stick *s);
void stick_nodes_deinit(struct stick *s);

/* Known or new; NULL when there is no room for one more (all of them have packets waiting) or no
 * memory. */
struct stick_node *stick_node_get(struct stick *s, enum peer_kind kind, uint64_t address);

/* Gives up held packets whose time is over. */
void stick_held_advance(struct stick *s, int64_t now_ms);
int64_t stick_held_deadline(const struct stick *s);
void stick_held_clear(struct stick *s);

struct peer *stick_peer_of(const struct stick *s, const struct stick_node *node,
                           struct peer_room *room);

/* ---- sends.c ----------------------------------------------------------------------------------- */

enum stick_deadline_kind { STICK_DL_RESUME, STICK_DL_CONFIRM };

bool stick_sends_init(struct stick *s);
void stick_sends_deinit(struct stick *s);
void stick_enqueue(struct stick *s, struct stick_node *node, uint8_t radius, struct bytes packet);

/* Something was heard from it: it is not suspect any more. */
void stick_trust(struct stick *s, struct stick_node *node);

/* One deadline of the core fired. */
void stick_sends_due(struct stick *s, struct deadline *one);

/* Transmits as long as slots, room and ready nodes allow. */
void stick_kick(struct stick *s);

/* Outstanding packets become unknown; with `all` waiting ones NOT_SENT. */
void stick_sends_fail(struct stick *s, bool all);

/* ---- core.c ------------------------------------------------------------------------------------ */

void stick_emit_packet(struct stick *s, const struct stick_node *node,
                       const struct stick_radio *radio, struct bytes packet);
void stick_emit_outcome(struct stick *s, const struct stick_node *node, enum stick_outcome outcome);

#endif
