/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When stored messages expire. The clock on the wall may jump by years, and a machine without one of
 * its own begins each start in the past; so times are stored by a clock that goes on from where it was
 * known to be, and like the monotonic one from there. As long as the machine is not started again the
 * distance of the two is known exactly, and time without the gateway counts as well. After a start of
 * the machine it is what was last stored: messages may then live longer, by as long as it was off, and
 * never shorter.
 */
#include <stdlib.h>
#include <string.h>

#include "store_priv.h"

enum { EVERY_MS = 60 * 1000 };

#define CLOCK_MAX ((int64_t)1 << 50)

static int64_t within(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

int64_t store_expiry_stored(const struct store_db *db, int64_t expires_ms)
{
    if (expires_ms == 0)
        return 0;
    const int64_t at_ms = within(expires_ms, -CLOCK_MAX, CLOCK_MAX) + db->expiry_base_ms;
    return within(at_ms, 1, CLOCK_MAX);
}

int64_t store_expiry_loaded(const struct store_db *db, int64_t stored_ms)
{
    const int64_t at_ms = within(stored_ms, 0, CLOCK_MAX) - db->expiry_base_ms;
    return stored_ms == 0 ? 0 : at_ms != 0 ? at_ms : -1;
}

/* ---- the row of `meta` ------------------------------------------------------------------------ */

/* The start of the machine, distance and time: "0d6a... 123 456". */
struct kept {
    bool is_same_start;
    int64_t base_ms;
    int64_t clock_ms;
};

static void boot_id(char out[INTENT_BOOT_BYTES + 1])
{
    uint8_t id[INTENT_BOOT_BYTES];
    const bool known = intent_boot_id(id);
    memcpy(out, known ? id : (const uint8_t *)"unknown", known ? sizeof id : 8);
    out[known ? sizeof id : 7] = '\0';
}

static bool parse(const char *text, struct kept *out)
{
    char now[INTENT_BOOT_BYTES + 1];
    boot_id(now);
    const char *const space = strchr(text, ' ');
    if (space == NULL)
        return false;
    const size_t len = (size_t)(space - text);
    char *end = NULL;
    out->is_same_start =
        len == INTENT_BOOT_BYTES && strlen(now) == len && memcmp(text, now, len) == 0;
    out->base_ms = strtoll(space + 1, &end, 10);
    if (*end != ' ')
        return false;
    out->clock_ms = strtoll(end + 1, &end, 10);
    return *end == '\0' && out->clock_ms >= 0 && out->clock_ms <= CLOCK_MAX &&
           out->base_ms >= -CLOCK_MAX && out->base_ms <= CLOCK_MAX;
}

static int read_kept(sqlite3 *sql, struct kept *out, bool *found)
{
    sqlite3_stmt *stmt = NULL;
    int rc =
        sqlite3_prepare_v2(sql, "SELECT value FROM meta WHERE name = 'expiry'", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    const char *const text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    *found = text != NULL && parse(text, out);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Under way the clock just goes on, also with a database that is begun anew. The first one is the
 * monotonic clock: what the intent log tells may be in the past. */
int store_expiry_load(struct store_db *db)
{
    struct kept kept;
    bool found = false;
    const int rc = read_kept(db->sql, &kept, &found);
    if (rc != SQLITE_OK)
        return rc;
    if (!db->expiry_based && found)
        db->expiry_base_ms = kept.is_same_start ? kept.base_ms : kept.clock_ms - store_now_ms();
    db->expiry_based = true;
    const bool is_ours = found && kept.is_same_start && kept.base_ms == db->expiry_base_ms;
    db->expiry_kept_ms = is_ours ? kept.clock_ms : -1;
    return SQLITE_OK;
}

int store_expiry_now(sqlite3 *sql, int64_t *out)
{
    struct kept kept;
    bool found = false;
    const int rc = read_kept(sql, &kept, &found);
    *out = !found ? 0 : kept.is_same_start ? store_now_ms() + kept.base_ms : kept.clock_ms;
    *out = within(*out, 0, CLOCK_MAX);
    return rc;
}

void store_expiry_print(int64_t clock_ms, char out[STORE_EXPIRY_ROOM])
{
    sqlite3_snprintf(STORE_EXPIRY_ROOM, out, "- 0 %lld", (long long)clock_ms);
}

int store_expiry_keep(struct store_db *db, bool at_once)
{
    char id[INTENT_BOOT_BYTES + 1];
    char text[STORE_EXPIRY_ROOM];
    const int64_t clock_ms = within(store_now_ms() + db->expiry_base_ms, 0, CLOCK_MAX);
    const bool is_due =
        db->expiry_kept_ms < 0 || at_once || clock_ms - db->expiry_kept_ms > EVERY_MS;
    if (!db->expires || !is_due)
        return SQLITE_OK;
    boot_id(id);
    sqlite3_snprintf(sizeof text, text, "%s %lld %lld", id, (long long)db->expiry_base_ms,
                     (long long)clock_ms);
    sqlite3_stmt *const stmt = db->statements[ST_EXPIRY];
    sqlite3_bind_text(stmt, 1, text, -1, SQLITE_TRANSIENT);
    const int rc = sqlite3_step(stmt);
    const int reset = sqlite3_reset(stmt);
    if (rc != SQLITE_DONE)
        return reset;
    db->expiry_kept_ms = clock_ms;
    return SQLITE_OK;
}
