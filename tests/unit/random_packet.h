/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random messages of every type, for tests of the codec. The fields that a message does not carry
 * hold random values too, as an encoder must ignore them; packet_carried() tells what must be left
 * of them after encoding and decoding. It is written from the specification's tables and not from
 * the codec, so that the two can disagree.
 */
#ifndef SENNET_TESTS_UNIT_RANDOM_PACKET_H
#define SENNET_TESTS_UNIT_RANDOM_PACKET_H

#include "base/rng.h"

#include "mqttsn/packet.h"

/* Every type of a plain message. */
extern const uint8_t packet_types[];
extern const unsigned n_packet_types;

/* Strings and data are views of a block that lives as long as the program, each at most `longest`
 * octets (at most 65535). */
struct sn_packet packet_random(struct rng *rng, enum sn_type type, size_t longest);

/* `p` with everything that its type does not carry zeroed. */
struct sn_packet packet_carried(const struct sn_packet *p);

/* NULL when equal in every field, else the name of the first one that differs. */
const char *packet_difference(const struct sn_packet *a, const struct sn_packet *b);

#endif
