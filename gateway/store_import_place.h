/* SPDX-License-Identifier: Apache-2.0 */
/* Where an import goes: a database beside the one of the daemon, and how it takes its place. */
#ifndef SENNET_GATEWAY_STORE_IMPORT_PLACE_H
#define SENNET_GATEWAY_STORE_IMPORT_PLACE_H

#include <stdio.h>

struct import_place {
    const char *dir;
    FILE *say;
    char *path;   /* sennet.db */
    char *beside; /* what becomes of it */
    int lock;
};

/* Locks the directory, makes sure that there is no state in it, and creates the empty file `beside`.
 * EXIT_OK, or another exit code, said on `say`; import_place_leave() in any case. */
int import_place_take(struct import_place *p, const char *dir, FILE *say);

/* The file, closed, is the database from now on, also after a power cut. */
int import_place_fill(struct import_place *p);

/* Gives the directory free; what did not take the place is removed. */
void import_place_leave(struct import_place *p);

/* Says it, and returns the exit code. */
int import_not_usable(FILE *say, const char *path, const char *why);
int import_no_memory(FILE *say);

#endif
