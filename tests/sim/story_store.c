/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in a story:
 *
 *     store [TIME]       header: there is one, and commits take so long
 *     spooling yes|no    header: the broker side takes QoS 2 over as soon as it is asked (yes)
 *     restart            kill -9 and a new start; then the broker has to come `up`
 *     written N          records that went to the store since the last such line
 *
 * Whatever happens, what is stored must always be what the machines would record if they were asked
 * for everything, and must come back as it is.
 */
#include "sim/story_priv.h"

/* A story that makes thousands, or in thousands of rounds, is looked at when it ends. */
enum { FEW_ROWS = 40, FIRST_ROUNDS = 3 };

void story_header_store(struct story *s, const struct story_line *line)
{
    s->config.engine.journal = true;
    if (line->count > 1)
        story_duration(s, &line->words[1], &s->config.commit_ms);
}

void story_header_spooling(struct story *s, const struct story_line *line)
{
    s->config.live = line->count == 2 && story_word_is(&line->words[1], "no");
}

void story_check_store(struct story *s, bool at_last)
{
    char why[STORY_PAST_LINE];
    const struct sim_world *w = &s->world;
    const bool is_long = w->table.n_rows > FEW_ROWS ||
                         (s->n_loops > 0 && s->loops[s->n_loops - 1].round > FIRST_ROUNDS);
    if (s->failed || !s->started || s->changing || w->batch == 0 || (is_long && !at_last))
        return;
    if (!sim_stored_well(w, why, sizeof why))
        story_fail(s, "not stored well: %s", why);
}

void story_restart(struct story *s, const struct story_line *line)
{
    if (line->count != 1 || s->world.batch == 0) {
        story_fail(s, "restart, with a store");
        return;
    }
    story_note(s, "restart");
    sim_kill(&s->world);
    sim_start(&s->world);
    sn_engine_spooling(s->world.engine, !s->config.live);
}

void story_written(struct story *s, const struct story_line *line)
{
    uint64_t wanted = 0;
    const uint64_t got = s->world.table.written - s->written;
    s->written = s->world.table.written;
    if (line->count != 2 || s->world.batch == 0)
        story_fail(s, "written N, with a store");
    else if (story_number(s, &line->words[1], UINT32_MAX, &wanted) && got != wanted)
        story_fail(s, "%llu records were written", (unsigned long long)got);
}
