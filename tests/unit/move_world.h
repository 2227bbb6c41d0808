/* SPDX-License-Identifier: Apache-2.0 */
/* Two directories, and a state that moves from one to the other. */
#ifndef SENNET_TESTS_UNIT_MOVE_WORLD_H
#define SENNET_TESTS_UNIT_MOVE_WORLD_H

#include "store_world.h"

enum { MOVE_TEXT_MAX = 1 << 20 };

extern struct store_world from;
extern struct store_world to;
extern char said[8192]; /* by the last export or import */

/* Something in each column of each table that is not its usual value. */
extern const char everything[];

void move_setup(void);
void move_teardown(void);

/* The text between the two. */
const char *move_file(void);
/* What store_export() and store_import() return. */
int export_to(const char *file);
int import_from(const char *file);
/* Both, which must succeed. */
void move(void);

/* A database in `from` with these statements done to it. */
void fill(const char *sql);
/* Statements on the database of a directory that nobody uses. */
void run_sql(const struct store_world *w, const char *sql);
void expect_same_tables(void);

bool exists(const struct store_world *w, const char *name);
/* All of a file; its length. */
size_t read_text(const char *path, char *out, size_t size);
void write_text(const char *path, const char *text, size_t len);

#endif
