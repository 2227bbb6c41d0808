/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "broker/own_priv.h"

/* Of one that is not empty. */
static struct own_item *front_of(const struct list *queue)
{
    assert(!list_empty(queue));
    return container_of(queue->next, struct own_item, link);
}

static struct own_item *first_of(const struct list *queue)
{
    return list_empty(queue) ? NULL : front_of(queue);
}

/* With room for the text; NULL: out of memory. */
static struct own_item *add(struct own *o, struct list *queue, size_t text_len, const char *what)
{
    struct own_item *item = own_alloc(o, sizeof *item + text_len);
    if (item == NULL) {
        own_no_memory(o, what);
        return NULL;
    }
    item->size = sizeof *item + text_len;
    list_init(&item->link);
    list_push_back(queue, &item->link);
    return item;
}

static void drop_first(struct own *o, struct list *queue)
{
    struct own_item *item = front_of(queue);
    list_unlink(&item->link);
    own_release(o, item, item->size);
}

static struct bytes keep_text(struct own_item *item, struct bytes text)
{
    if (text.len > 0)
        memcpy(item->text, text.data, text.len);
    return bytes_of(item->text, text.len);
}

/* ---- events ---------------------------------------------------------------------------------- */

bool own_tell(struct own *o, const struct sn_event *event)
{
    struct own_item *item = add(o, &o->events, 0, "event");
    if (item == NULL)
        return false;
    item->event = *event;
    item->event.client = o->client;
    return true;
}

bool own_peek_event(struct own *o, struct sn_event *out)
{
    const struct own_item *item = first_of(&o->events);
    if (item == NULL && !o->has_message)
        return false;
    *out = item != NULL ? item->event : o->message;
    return true;
}

void own_done_event(struct own *o)
{
    if (!list_empty(&o->events)) {
        drop_first(o, &o->events);
        return;
    }
    assert(o->has_message);
    o->has_message = false;
}

/* ---- requests and commands ------------------------------------------------------------------- */

bool own_ask(struct own *o, const struct up_request *request)
{
    struct own_item *item = add(o, &o->requests, request->topic.len, "request");
    if (item == NULL)
        return false;
    item->request = *request;
    item->request.topic = keep_text(item, request->topic);
    body_ref(request->body);
    return true;
}

bool own_peek_upstream(struct own *o, struct up_request *out)
{
    const struct own_item *item = first_of(&o->requests);
    if (item != NULL)
        *out = item->request;
    return item != NULL;
}

void own_done_upstream(struct own *o)
{
    body_unref(front_of(&o->requests)->request.body);
    drop_first(o, &o->requests);
}

bool own_command(struct own *o, const struct own_command *command)
{
    struct own_item *item = add(o, &o->commands, command->will.topic.len, "command");
    if (item == NULL)
        return false;
    item->command = *command;
    item->command.will.topic = keep_text(item, command->will.topic);
    body_ref(command->will.body);
    return true;
}

bool own_peek_command(struct own *o, struct own_command *out)
{
    const struct own_item *item = first_of(&o->commands);
    if (item != NULL)
        *out = item->command;
    return item != NULL;
}

void own_done_command(struct own *o)
{
    body_unref(front_of(&o->commands)->command.will.body);
    drop_first(o, &o->commands);
}

/* ---- records --------------------------------------------------------------------------------- */

void own_record(struct own *o, enum sn_record_type type, struct bytes filter, uint8_t qos)
{
    if (!o->config.journal)
        return;
    struct own_item *item = add(o, &o->records, filter.len, "record");
    if (item == NULL)
        return;
    item->record = (struct sn_record){.type = type, .client = o->client};
    item->record.subscription.filter = keep_text(item, filter);
    item->record.subscription.qos = qos;
}

static const struct own_filter *told(struct own *o)
{
    for (; o->told != NULL && o->told != &o->filters; o->told = o->told->next) {
        const struct own_filter *f = container_of(o->told, struct own_filter, link);
        if (f->live)
            return f;
    }
    o->told = NULL;
    return NULL;
}

void own_record_all(struct own *o)
{
    o->told = o->config.journal ? o->filters.next : NULL;
}

bool own_peek_record(struct own *o, struct sn_record *out)
{
    const struct own_item *item = first_of(&o->records);
    if (item != NULL) {
        *out = item->record;
        return true;
    }
    const struct own_filter *f = told(o);
    if (f == NULL)
        return false;
    *out = (struct sn_record){
        .type = SN_REC_SUBSCRIPTION,
        .client = o->client,
        .subscription = {.filter = own_filter_text(f), .qos = f->granted}
    };
    return true;
}

void own_done_record(struct own *o)
{
    if (!list_empty(&o->records))
        drop_first(o, &o->records);
    else
        o->told = o->told->next;
}

/* ---- life ------------------------------------------------------------------------------------ */

void own_queues_init(struct own *o)
{
    list_init(&o->events);
    list_init(&o->requests);
    list_init(&o->commands);
    list_init(&o->records);
}

void own_queues_deinit(struct own *o)
{
    while (!list_empty(&o->events))
        drop_first(o, &o->events);
    while (!list_empty(&o->requests))
        own_done_upstream(o);
    while (!list_empty(&o->commands))
        own_done_command(o);
    while (!list_empty(&o->records))
        drop_first(o, &o->records);
}

bool own_queues_empty(const struct own *o)
{
    return list_empty(&o->events) && list_empty(&o->requests) && list_empty(&o->commands) &&
           list_empty(&o->records) && !o->has_message;
}
