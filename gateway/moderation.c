/* SPDX-License-Identifier: Apache-2.0 */
#include "moderation.h"

int64_t moderation_pause(struct moderation *m, int64_t now_ns, unsigned packets)
{
    const bool is_short = now_ns - m->waited_ns < MODERATION_SHORT_NS;

    if (m->sleeps) {
        m->sleeps = packets >= MODERATION_FEW;
        m->run = 0;
    } else {
        m->run = is_short && packets > 0 ? m->run + 1 : 0;
        m->sleeps = m->run >= MODERATION_RUN;
    }
    const int64_t pause_ns = m->sleeps ? MODERATION_SLEEP_NS : 0;
    m->waited_ns = now_ns + pause_ns;
    return pause_ns;
}
