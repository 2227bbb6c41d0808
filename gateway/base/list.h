/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked ring. A `struct list` is either a head or a link inside an object; an
 * unlinked link points at itself, so unlinking twice is harmless. All operations are O(1).
 */
#ifndef SENNET_BASE_LIST_H
#define SENNET_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

/* The object of type `type` whose member `member` is `*ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

/* True when this link is in some ring. */
static inline bool list_linked(const struct list *link)
{
    return link->next != link;
}

static inline void list_insert_before(struct list *where, struct list *link)
{
    link->next = where;
    link->prev = where->prev;
    where->prev->next = link;
    where->prev = link;
}

static inline void list_push_back(struct list *head, struct list *link)
{
    list_insert_before(head, link);
}

static inline void list_push_front(struct list *head, struct list *link)
{
    list_insert_before(head->next, link);
}

static inline void list_unlink(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* First link, or NULL when empty; stays linked. */
static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

/* First link, unlinked, or NULL when empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *link = list_first(head);
    if (link != NULL)
        list_unlink(link);
    return link;
}

/* Moves all of `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* A ring without a head: its owner keeps only a pointer to the first link, NULL when it is empty. For
 * owners of which there are many. Who wants to know whether a link is in the ring asks the owner. */
struct ring {
    struct list *first;
};

static inline struct list *ring_last(const struct ring *r)
{
    return r->first != NULL ? r->first->prev : NULL;
}

/* The link behind `link`, NULL behind the last one. */
static inline struct list *ring_next(const struct ring *r, const struct list *link)
{
    return link->next != r->first ? link->next : NULL;
}

/* `link` must be unlinked. */
static inline void ring_push_back(struct ring *r, struct list *link)
{
    if (r->first != NULL)
        list_insert_before(r->first, link);
    else
        r->first = link;
}

/* `link` must be in this ring. */
static inline void ring_remove(struct ring *r, struct list *link)
{
    if (r->first == link)
        r->first = ring_next(r, link);
    list_unlink(link);
}

/* `link` must be unlinked. */
static inline void ring_push_front(struct ring *r, struct list *link)
{
    ring_push_back(r, link);
    r->first = link;
}

/* The current link must stay where it is; with `_safe` it may be removed in the body. */
#define ring_foreach(pos, r)                                                                       \
    for (struct list *pos = (r)->first; pos != NULL; pos = ring_next(r, pos))

#define ring_foreach_safe(pos, tmp, r)                                                             \
    for (struct list *pos = (r)->first, *tmp = pos != NULL ? ring_next(r, pos) : NULL;             \
         pos != NULL; pos = tmp, tmp = pos != NULL ? ring_next(r, pos) : NULL)

#define list_foreach(pos, head)                                                                    \
    for (struct list *pos = (head)->next; pos != (head); pos = pos->next)

/* The current link may be unlinked or freed in the body. */
#define list_foreach_safe(pos, tmp, head)                                                          \
    for (struct list *pos = (head)->next, *tmp = pos->next; pos != (head);                         \
         pos = tmp, tmp = pos->next)

#endif
