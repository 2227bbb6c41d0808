/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap is a complete binary tree of linked nodes. The node in position k (1 = root) is found by
 * walking from the root along the bits of k below its leading one: 0 = left, 1 = right.
 */
#include "base/deadline.h"

#include <assert.h>

enum where { IDLE, IN_HEAP, DUE };

static bool before(const struct deadline *a, const struct deadline *b)
{
    if (a->at_ms != b->at_ms)
        return a->at_ms < b->at_ms;
    return (int32_t)(a->order - b->order) < 0;
}

/* The link through which the node in `position` hangs, and its parent. */
static struct deadline **link_at(struct deadlines *d, size_t position, struct deadline **parentp)
{
    unsigned depth = 0;
    for (size_t k = position; k > 1; k >>= 1)
        depth++;
    struct deadline **link = &d->root;
    *parentp = NULL;
    while (depth-- > 0) {
        *parentp = *link;
        link = ((position >> depth) & 1) != 0 ? &(*link)->right : &(*link)->left;
    }
    return link;
}

static void adopt(struct deadline *parent, struct deadline *child)
{
    if (child != NULL)
        child->parent = parent;
}

/* Exchanges a node with its child; both keep their objects' addresses. */
static void swap_with_child(struct deadlines *d, struct deadline *parent, struct deadline *child)
{
    struct deadline *grand = parent->parent;
    struct deadline *child_left = child->left;
    struct deadline *child_right = child->right;
    if (parent->left == child) {
        child->left = parent;
        child->right = parent->right;
        adopt(child, child->right);
    } else {
        child->right = parent;
        child->left = parent->left;
        adopt(child, child->left);
    }
    parent->left = child_left;
    parent->right = child_right;
    adopt(parent, child_left);
    adopt(parent, child_right);
    parent->parent = child;
    child->parent = grand;
    if (grand == NULL)
        d->root = child;
    else if (grand->left == parent)
        grand->left = child;
    else
        grand->right = child;
}

static void sift_up(struct deadlines *d, struct deadline *one)
{
    while (one->parent != NULL && before(one, one->parent))
        swap_with_child(d, one->parent, one);
}

static void sift_down(struct deadlines *d, struct deadline *one)
{
    for (;;) {
        struct deadline *least = one;
        if (one->left != NULL && before(one->left, least))
            least = one->left;
        if (one->right != NULL && before(one->right, least))
            least = one->right;
        if (least == one)
            return;
        swap_with_child(d, one, least);
    }
}

static void heap_insert(struct deadlines *d, struct deadline *one)
{
    struct deadline *parent;
    struct deadline **link = link_at(d, ++d->count, &parent);
    one->left = NULL;
    one->right = NULL;
    one->parent = parent;
    one->where = IN_HEAP;
    *link = one;
    sift_up(d, one);
}

static void heap_remove(struct deadlines *d, struct deadline *one)
{
    struct deadline *parent;
    struct deadline **link = link_at(d, d->count--, &parent);
    struct deadline *last = *link;
    *link = NULL;
    if (last != one) {
        last->left = one->left;
        last->right = one->right;
        last->parent = one->parent;
        adopt(last, last->left);
        adopt(last, last->right);
        if (one->parent == NULL)
            d->root = last;
        else if (one->parent->left == one)
            one->parent->left = last;
        else
            one->parent->right = last;
        sift_down(d, last);
        sift_up(d, last);
    }
    one->where = IDLE;
}

static void due_push(struct deadlines *d, struct deadline *one)
{
    one->where = DUE;
    one->right = NULL;
    one->left = d->due_last;
    if (d->due_last != NULL)
        d->due_last->right = one;
    else
        d->due_first = one;
    d->due_last = one;
}

static void due_remove(struct deadlines *d, struct deadline *one)
{
    if (one->left != NULL)
        one->left->right = one->right;
    else
        d->due_first = one->right;
    if (one->right != NULL)
        one->right->left = one->left;
    else
        d->due_last = one->left;
    one->where = IDLE;
}

void deadlines_init(struct deadlines *d)
{
    *d = (struct deadlines){.floor_ms = INT64_MIN};
}

void deadline_init(struct deadline *one, uint8_t kind)
{
    *one = (struct deadline){.at_ms = TIME_NEVER, .where = IDLE, .kind = kind};
}

void deadline_disarm(struct deadlines *d, struct deadline *one)
{
    if (one->where == IN_HEAP)
        heap_remove(d, one);
    else if (one->where == DUE)
        due_remove(d, one);
    one->at_ms = TIME_NEVER;
}

void deadline_arm(struct deadlines *d, struct deadline *one, int64_t at_ms)
{
    if (at_ms == TIME_NEVER || one->where == DUE)
        deadline_disarm(d, one);
    if (at_ms == TIME_NEVER)
        return;
    one->at_ms = at_ms > d->floor_ms ? at_ms : time_add(d->floor_ms, 1);
    one->order = d->next_order++;
    if (one->where == IN_HEAP) { /* it moves from where it is, mostly not far */
        sift_down(d, one);
        sift_up(d, one);
    } else {
        heap_insert(d, one);
    }
}

bool deadline_armed(const struct deadline *one)
{
    return one->where != IDLE;
}

int64_t deadlines_next(const struct deadlines *d)
{
    if (d->due_first != NULL)
        return d->due_first->at_ms;
    return d->root != NULL ? d->root->at_ms : TIME_NEVER;
}

void deadlines_collect(struct deadlines *d, int64_t now_ms)
{
    if (now_ms > d->floor_ms)
        d->floor_ms = now_ms;
    while (d->root != NULL && d->root->at_ms <= now_ms) {
        struct deadline *one = d->root;
        heap_remove(d, one);
        due_push(d, one);
    }
}

struct deadline *deadlines_take(struct deadlines *d)
{
    struct deadline *one = d->due_first;
    if (one == NULL)
        return NULL;
    assert(one->where == DUE);
    due_remove(d, one);
    one->at_ms = TIME_NEVER;
    return one;
}
