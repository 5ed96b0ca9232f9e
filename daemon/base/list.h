#pragma once
/*
 * Intrusive doubly linked list. A list and a link are the same struct; an empty list points to
 * itself. A link that is on no list points to itself too, so list_remove() is idempotent and
 * list_is_linked() is exact. Each embedding struct comments which lists its link may be on.
 */
#include <stdbool.h>

#include "base/macros.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

/* True while the link is on a list. */
static inline bool list_is_linked(const struct list *link)
{
    return link->next != link;
}

static inline void list_insert_before(struct list *at, struct list *link)
{
    link->prev = at->prev;
    link->next = at;
    at->prev->next = link;
    at->prev = link;
}

static inline void list_append(struct list *l, struct list *link)
{
    list_insert_before(l, link);
}

static inline void list_prepend(struct list *l, struct list *link)
{
    list_insert_before(l->next, link);
}

static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

static inline struct list *list_first(const struct list *l)
{
    return list_is_empty(l) ? NULL : l->next;
}

#define list_for_each(pos, l) for (struct list *pos = (l)->next; pos != (l); pos = pos->next)
#define list_for_each_safe(pos, l)                                                                 \
    for (struct list *pos = (l)->next, *_next_##pos = pos->next; pos != (l);                       \
         pos = _next_##pos, _next_##pos = pos->next)
