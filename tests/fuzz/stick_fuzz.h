/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A family's machine under fuzzing: the input is a script of what a hostile line and a careless
 * owner do to it. What the contracts of radio/stick/stick.h promise must hold after each step: one
 * outcome per packet to a node where the family reports, deadlines in the future, packets within the
 * limits, nothing lost of the events. Each fuzz_stick_<family>.c calls this and says no more.
 *
 * The first octets configure (struct at the top of stick_fuzz.c); then each step is one octet: what
 * to do in the upper bits, and how much of it in the lower ones, or in the octets behind.
 */
#ifndef SENNET_TESTS_FUZZ_STICK_FUZZ_H
#define SENNET_TESTS_FUZZ_STICK_FUZZ_H

#include "base/bytes.h"

#include "fuzz.h"

/* Returns 0. */
int stick_fuzz(const char *driver, const uint8_t *data, size_t size);

/* Makes a frame of the family's line of its content; its length, 0 when it is too long. */
typedef size_t stick_wrap(struct bytes content, uint8_t *out, size_t size);

/* The same, and the steps from E0 on are whole frames: an octet tells how much content follows. So
 * chance need not find checksums. */
int stick_fuzz_framed(const char *driver, stick_wrap *wrap, const uint8_t *data, size_t size);

#endif
