/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Story files: conversations with the gateway in virtual time that read like the specification.
 *
 *     story "A will dialogue survives the loss of each packet"
 *     option retry_interval 10s            # before the first action; see story_config.c
 *     node dev1                            # link=N, at=OTHER (its address), via=AA,BBCC
 * (forwarders) broker up dev1 > CONNECT id=dev1 keepalive=60 clean will dev1 < WILLTOPICREQ after
 * 10s dev1 < hex 02 08                     # octets instead of words, in either direction count
 * retransmissions 1
 *
 * `NODE >` sends, `NODE <` expects the next packet to that node. `broker <` expects the next
 * request of the side that the story plays: the engine's broker side (header `broker scripted`, the
 * default) or the MQTT connection behind the shared session (`broker shared`); `broker >` answers.
 * An answer without token belongs to the latest request of its kind.
 *
 * `NODE >>` sends to the group of the node's link; what goes to everybody there is expected at a
 * node that the header calls a group. `group joined` and `group lost` [link=N] are what the link
 * says of it.
 *
 * Nothing may happen unasked: at each `>`, `after` and at the end nothing may be left over. `after`
 * fires every deadline on its way at its own time; an output before the end of the wait is a
 * failure, so the times of a story are exact. Where chance has a part in the time, `within TIME`
 * waits until something comes out.
 *
 * `$name` takes a number from an expected line when it is not yet set, and stands for it
 * afterwards; `*` accepts any number. `repeat N` ... `end` repeats its lines with `$n` counting
 * from 1. Other lines: restart and written (story_store.c), gauge, deadline, forget, outcome, carries,
 * logged EVENT NUMBER (how often that record was logged), logged KEY=VALUE NUMBER (records with it).
 */
#ifndef SENNET_TESTS_SIM_STORY_H
#define SENNET_TESTS_SIM_STORY_H

#include <stdbool.h>
#include <stdio.h>

#include "base/bytes.h"

/* Plays one story. With `stored` there is a store, though the header may not say so: it changes nothing
 * of what nodes and broker see. False when it failed: `out` then has the reason as FILE:LINE: ..., the packets
 * so far and the engine's log. `file` is only a name. */
bool story_play(const char *file, struct bytes text, bool stored, FILE *out);

#endif
