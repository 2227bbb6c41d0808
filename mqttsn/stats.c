/* SPDX-License-Identifier: Apache-2.0 */
#include "mqttsn/stats.h"

static const char *const names[SN_STAT_COUNT] = {
#define X(symbol, name) [SN_STAT_##symbol] = name,
    SN_STATS(X)
#undef X
};

const char *sn_stat_name(enum sn_stat stat)
{
    return names[stat];
}
