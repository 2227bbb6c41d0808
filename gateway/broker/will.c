/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/will.h"

void will_clear(struct will *w)
{
    body_unref(w->topic);
    body_unref(w->body);
    *w = (struct will){0};
}

bool will_set(struct will *w, const struct sn_will_view *view)
{
    struct will fresh = {0};
    bool done = true;
    if (view->topic.len > 0) {
        fresh = (struct will){.topic = body_new(view->topic),
                              .body = body_ref(view->body),
                              .qos = view->qos,
                              .retain = view->retain};
        done = fresh.topic != NULL;
    }
    will_clear(w);
    if (done)
        *w = fresh;
    else
        body_unref(fresh.body);
    return done;
}
