/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of fuzz_engine: every record is committed as soon as it is taken. When all have been, the
 * table must be what the engine would record if it were asked for everything, and at the end an engine
 * made from it must be the same again. That one lives on for a while, with nobody to talk to.
 */
#include "engine_world.h"
#include "fuzz.h"

static void same(const struct sim_table *a, const struct sim_table *b)
{
    char why[400];
    const bool equal =
        table_orderly(a, why, sizeof why) && table_same(a, b, false, why, sizeof why);
    if (!equal)
        fprintf(stderr, "not stored well: %s\n", why);
    fuzz_require(equal);
}

static void take(struct sn_engine *e, struct sim_table *t)
{
    struct sn_record r;
    for (; sn_engine_peek_record(e, &r); sn_engine_done_record(e))
        table_put(t, 1, &r);
    table_commit(t, 1);
}

void store_take(struct world *w)
{
    if (!w->engine->config.journal)
        return;
    take(w->engine, &w->table);
    sn_engine_batch(w->engine, ++w->batch);
}

static void everything(struct sn_engine *e, struct sim_table *out)
{
    table_init(out);
    sn_engine_record_all(e);
    take(e, out);
}

void store_judge(struct world *w)
{
    struct sim_table all;
    if (!w->engine->config.journal)
        return;
    store_take(w);
    everything(w->engine, &all);
    same(&w->table, &all);
    table_deinit(&all);
}

static void live_on(struct sn_engine *e, int64_t now_ms)
{
    struct sn_outgoing packet;
    struct sn_request request;
    for (unsigned i = 0; i < 20; i++) {
        for (; sn_engine_peek_packet(e, &packet); sn_engine_done_packet(e))
            fuzz_require(packet.bytes.len > 0);
        for (; sn_engine_peek_request(e, &request); sn_engine_done_request(e)) {
            const struct sn_event opened = {
                .type = SN_EV_OPENED, .client = request.client, .token = request.token};
            const bool open = request.type == SN_REQ_OPEN;
            fuzz_require(!open || !request.open.clean);
            if (open)
                sn_engine_event(e, now_ms, &opened);
        }
        now_ms = time_max(now_ms, sn_engine_next_deadline(e));
        if (now_ms == TIME_NEVER)
            return;
        sn_engine_advance(e, now_ms);
        fuzz_require(sn_engine_next_deadline(e) > now_ms);
    }
}

/* With so little memory as some worlds have not everything may fit again. */
void store_restore(struct world *w, const uint8_t o[CONFIG_OCTETS])
{
    struct sim_table all;
    if (!w->engine->config.journal)
        return;
    store_judge(w);
    struct sn_engine *e = world_engine(o, w->now_ms);
    if (e == NULL)
        return;
    struct sim_row **rows = table_sorted(&w->table);
    for (size_t i = 0; i < w->table.n_rows; i++)
        fuzz_require(sn_engine_restore(e, &rows[i]->record) >= 0);
    free(rows);
    if ((o[0] & WORLD_TINY_MEMORY) == 0) {
        everything(e, &all);
        same(&w->table, &all);
        table_deinit(&all);
    }
    sn_engine_restored(e, w->now_ms);
    live_on(e, w->now_ms);
    sn_engine_free(e);
}
