/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/registrations.h"

#include <stdlib.h>
#include <string.h>

void regs_clear(struct registrations *r)
{
    for (unsigned i = 0; i < r->count; i++)
        free(r->list[i].name);
    free(r->list);
    *r = (struct registrations){0};
}

static void drop(struct registrations *r, unsigned i)
{
    r->bytes -= r->list[i].len;
    free(r->list[i].name);
    r->list[i] = r->list[--r->count];
}

static void drop_least_recently_used(struct registrations *r)
{
    unsigned oldest = 0;
    for (unsigned i = 1; i < r->count; i++) {
        /* The tick may wrap: compare ages, not ticks. */
        if (r->tick - r->list[i].used > r->tick - r->list[oldest].used)
            oldest = i;
    }
    drop(r, oldest);
}

static bool make_room(struct registrations *r)
{
    if (r->count < r->cap)
        return true;
    const unsigned cap = r->cap == 0 ? 4 : r->cap * 2U;
    struct registration *list = realloc(r->list, cap * sizeof *list);
    if (list == NULL)
        return false;
    r->list = list;
    r->cap = (uint16_t)cap;
    return true;
}

static bool is_name(const struct registration *entry, struct bytes name)
{
    return bytes_equal(bytes_of(entry->name, entry->len), name);
}

bool regs_put(struct registrations *r, uint16_t id, struct bytes name)
{
    if (name.len == 0 || name.len > UINT16_MAX)
        return false;
    uint8_t *copy = malloc(name.len);
    if (copy == NULL)
        return false;
    memcpy(copy, name.data, name.len);
    for (unsigned i = 0; i < r->count;) {
        if (r->list[i].id == id || is_name(&r->list[i], bytes_of(copy, name.len)))
            drop(r, i);
        else
            i++;
    }
    while (r->count == REGISTRATIONS_MAX ||
           (r->count > 0 && r->bytes + name.len > REGISTRATIONS_BYTES_MAX))
        drop_least_recently_used(r);
    if (!make_room(r)) {
        free(copy);
        return false;
    }
    r->list[r->count++] = (struct registration){
        .name = copy, .used = ++r->tick, .id = id, .len = (uint16_t)name.len, .fresh = true};
    r->bytes += (uint32_t)name.len;
    return true;
}

struct bytes regs_name(struct registrations *r, uint16_t id)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->list[i].id == id) {
            r->list[i].used = ++r->tick;
            return bytes_of(r->list[i].name, r->list[i].len);
        }
    }
    return bytes_of(NULL, 0);
}

uint16_t regs_id(struct registrations *r, struct bytes name)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (is_name(&r->list[i], name)) {
            r->list[i].used = ++r->tick;
            return r->list[i].id;
        }
    }
    return 0;
}

void regs_new_connection(struct registrations *r)
{
    for (unsigned i = 0; i < r->count; i++)
        r->list[i].fresh = false;
}

bool regs_is_fresh(const struct registrations *r, uint16_t id, struct bytes name)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->list[i].id == id)
            return r->list[i].fresh && is_name(&r->list[i], name);
    }
    return false;
}

void regs_forget(struct registrations *r, uint16_t id)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->list[i].id == id) {
            drop(r, i);
            return;
        }
    }
}
