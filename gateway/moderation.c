/* SPDX-License-Identifier: Apache-2.0 */
#include "moderation.h"

#include <stdbool.h>

int64_t moderation_pause(struct moderation *m, int64_t now_ns, unsigned packets)
{
    const bool is_short = now_ns - m->waited_ns < MODERATION_SHORT_NS;
    const bool is_few = packets < MODERATION_FEW;

    if (m->sleeps > 0) {
        m->sleeps = is_few || m->sleeps == MODERATION_SLEEPS ? 0 : m->sleeps + 1;
        m->run = 0;
    } else {
        m->run = is_short && is_few && packets > 0 ? m->run + 1 : 0;
        m->sleeps = m->run >= MODERATION_RUN;
    }
    const int64_t pause_ns = m->sleeps > 0 ? MODERATION_SLEEP_NS : 0;
    m->waited_ns = now_ns + pause_ns;
    return pause_ns;
}
