/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text for people, built in a fixed buffer: log records, peers, packets. The one place that decides
 * how octets from outside look in a line.
 *
 * Like the other cursors this one is sticky: the first thing that does not fit turns into "..." and
 * later ones are ignored. The text is always terminated, and a character or an escape sequence is
 * never cut in the middle.
 */
#ifndef SENNET_BASE_TEXT_H
#define SENNET_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct text {
    char *out;
    size_t size;
    size_t len; /* without the terminator */
    bool cut;
};

/* An empty text in `out`. With `size` 0 nothing is ever written; below 4 the "..." is left out. */
struct text text_to(char *out, size_t size);

/* Our own words, as they are. */
void text_word(struct text *t, const char *word);
void text_dec(struct text *t, uint64_t value);

/* At least `digits` (at most 16) lower-case hexadecimal digits. */
void text_hex(struct text *t, uint64_t value, unsigned digits);

/* Two hexadecimal digits per octet. */
void text_octets(struct text *t, struct bytes octets);

/* Octets from outside. Stay as they are: printable ASCII, and characters beyond it when all of
 * `value` is well-formed UTF-8. Become \xNN: control characters (C0, DEL, C1), line and paragraph
 * separators, characters that reorder the line (Unicode's bidirectional controls), other octets.
 * The quotation mark and the backslash get a backslash. */
void text_escaped(struct text *t, struct bytes value);

/* The same in quotation marks; when longer than `most` octets cut there, with "..." behind. */
void text_quoted(struct text *t, struct bytes value, size_t most);

#endif
