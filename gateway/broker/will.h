/* SPDX-License-Identifier: Apache-2.0 */
/* A will that is kept: its topic copied, its body shared. */
#ifndef SENNET_BROKER_WILL_H
#define SENNET_BROKER_WILL_H

#include "mqttsn/port.h"

struct will {
    struct body *topic; /* a body for its shared text; NULL: there is no will */
    struct body *body;
    uint8_t qos;
    bool retain;
};

void will_clear(struct will *w);
/* False: out of memory (there is no will then). */
bool will_set(struct will *w, const struct sn_will_view *view);

static inline struct sn_will_view will_view(const struct will *w)
{
    return (struct sn_will_view){
        .topic = body_bytes(w->topic), .body = w->body, .qos = w->qos, .retain = w->retain};
}

#endif
