/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a message of a node came from, as text that may go to a broker of MQTT 5 along with it. It
 * travels with the message's body (body.h): fields in any order, each its number, its length, and its
 * text.
 */
#ifndef SENNET_BASE_ORIGIN_H
#define SENNET_BASE_ORIGIN_H

#include <stdbool.h>

#include "base/bytes.h"

/* Stored: only ever add to the end. */
enum origin_field {
    ORIGIN_GATEWAY, /* never in a body: the same for all */
    ORIGIN_CLIENT,  /* client id of the node */
    ORIGIN_LINK,    /* name of the link */
    ORIGIN_ADDRESS, /* of the node there, with forwarders */
    ORIGIN_LQI,     /* 0..255 */
    ORIGIN_RSSI,    /* dBm */
    ORIGIN_TIME,    /* RFC 3339, UTC */
    ORIGIN_FIELDS
};

enum { ORIGIN_TEXT_MAX = 255, ORIGIN_MAX = 768 }; /* octets of one text; of all fields */

/* "client" and so on; NULL past the last. */
const char *origin_name(unsigned field);

/* Adds a field; nothing when the text is empty, too long, or finds no room. */
void origin_put(struct writer *w, enum origin_field field, struct bytes text);

/* The next field that is known here; false at the end, or where the octets make no sense. */
bool origin_next(struct reader *r, enum origin_field *field, struct bytes *text);

#endif
