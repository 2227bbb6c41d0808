/* SPDX-License-Identifier: Apache-2.0 */
/* The stored will and its updates (sections 5.4.22-25, 6.4): topic and message change separately.
 */
#include "mqttsn/engine_priv.h"
#include "mqttsn/topic.h"

struct sn_will_view sn_will_view(const struct sn_will *w)
{
    if (w == NULL || w->topic == NULL)
        return (struct sn_will_view){0};
    return (struct sn_will_view){
        .topic = sn_name_bytes(w->topic), .body = w->body, .qos = w->qos, .retain = w->retain};
}

void sn_will_free(struct sn_engine *e, struct sn_client *c)
{
    if (c->will == NULL)
        return;
    if (c->will->topic != NULL)
        sn_name_unref(e, c->will->topic);
    body_unref(c->will->body);
    sn_free(e, c->will, sizeof *c->will);
    c->will = NULL;
}

/* Tells the broker side; true when it was told. */
static bool publish_change(struct sn_engine *e, const struct sn_client *c)
{
    return sn_ask(e,
                  &(struct sn_request){.type = SN_REQ_SET_WILL,
                                       .client = c->key,
                                       .set_will = {.will = sn_will_view(c->will)}},
                  c->will != NULL ? c->will->topic : NULL, c->will != NULL ? c->will->body : NULL);
}

static uint8_t update_topic(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (p->topic.len == 0) { /* deletes topic and message */
        sn_will_free(e, c);
        return publish_change(e, c) ? SN_ACCEPTED : SN_CONGESTION;
    }
    if (p->qos == SN_QOS_MINUS_1 || !sn_topic_name_ok(p->topic))
        return SN_NOT_SUPPORTED;
    struct sn_name *topic = sn_name_get(e, p->topic);
    if (topic != NULL && c->will == NULL)
        c->will = sn_alloc(e, sizeof *c->will);
    if (topic == NULL || c->will == NULL) {
        if (topic != NULL)
            sn_name_unref(e, topic);
        return SN_CONGESTION;
    }
    if (c->will->topic != NULL)
        sn_name_unref(e, c->will->topic);
    c->will->topic = topic;
    c->will->qos = (uint8_t)p->qos;
    c->will->retain = p->retain;
    return publish_change(e, c) ? SN_ACCEPTED : SN_CONGESTION;
}

static uint8_t update_message(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (c->will == NULL)
        return SN_NOT_SUPPORTED;
    struct body *body = p->data.len > 0 ? body_new(p->data) : NULL;
    if (p->data.len > 0 && body == NULL) {
        sn_no_memory(e);
        return SN_CONGESTION;
    }
    body_unref(c->will->body);
    c->will->body = body;
    return publish_change(e, c) ? SN_ACCEPTED : SN_CONGESTION;
}

static void answer(struct sn_engine *e, struct sn_client *c, enum sn_type type, uint8_t code)
{
    if (code != SN_NOT_SUPPORTED) { /* it may be another one now */
        sn_journal_session(e, c);
        sn_journal_bind(e, c);
    }
    sn_reply_code(e, c, type, code);
}

void sn_on_will_topic_upd(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    answer(e, c, SN_WILLTOPICRESP, update_topic(e, c, p));
}

void sn_on_will_msg_upd(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    answer(e, c, SN_WILLMSGRESP, update_message(e, c, p));
}
