/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A datagram opened down to its message, and the two forms in which sennet-dump shows it.
 */
#ifndef SENNET_TOOLS_DISSECT_H
#define SENNET_TOOLS_DISSECT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text.h"

#include "mqttsn/packet.h"

enum { DISSECT_ENVELOPES_MAX = 8 };

struct dissection {
    struct sn_envelope envelopes[DISSECT_ENVELOPES_MAX];
    unsigned n_envelopes;
    const char *malformed; /* why there is no message, or NULL */
    struct bytes rest;     /* what is left in the innermost envelope */
    struct sn_packet packet;
};

/* Views into `datagram`. `reason`, unless NULL, tells beforehand why it cannot be whole. */
void dissect(struct bytes datagram, const char *reason, struct dissection *out);

/* FORWARD radius=0 node=0001 [PINGREQ], or MALFORMED reason=length octets[3]=021600 */
void dissect_text(const struct dissection *d, struct text *t);

/* Members of a JSON object, each with a comma in front. Octets that are not UTF-8 come as NAME_hex.
 */
void dissect_json(const struct dissection *d, FILE *out);

#endif
