/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon says about itself: counters on SIGUSR1, totals at the end, versions. Everything
 * goes to a log ring or a stream; nothing here changes anything.
 */
#ifndef SENNET_GATEWAY_REPORT_H
#define SENNET_GATEWAY_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include "config.h"
#include "pump.h"

/* All counters and gauges, by their stable names, in as many records as they need; links by the names
 * that they have in `config`; of sticks also what is known of each node. O(nodes of sticks). */
void report_counters(struct log_ring *lg, struct pump *p, const struct config *config);

/* link.kernel_drops: what the link lost since `*said`, which is brought up to date. */
void report_kernel_drops(struct log_ring *lg, const char *name, const struct link *l,
                         uint64_t *said);

/* gateway.starting: that step of the start begins; gateway.slow_start: it has taken so long. */
void report_step(struct log_ring *lg, const char *step);
void report_slow_step(struct log_ring *lg, const char *step, int64_t took_ms);

/* gateway.ready: all links listen. */
void report_ready(struct log_ring *lg, const struct pump *p, const struct config *config);

/* What is still under way to all brokers: `queued` and `in_flight`. */
struct mqtt_gauges report_unfinished(const struct pump *p);

/* What came back from the store; `whole` false: it could not be read. */
void report_restored(struct log_ring *lg, const struct pump *p, bool whole);

/* gateway.stopped: the sums of a life. `why` is the signal's name. */
void report_stopped(struct log_ring *lg, const struct pump *p, const char *why, int64_t uptime_ms,
                    const struct mqtt_gauges *mqtt);

/* The versions of everything that runs in this process. */
void report_version(FILE *out);

#endif
