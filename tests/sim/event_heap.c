/*
 * A binary heap whose items know their places, so that any of them can be moved or dropped.
 *
 * Invariants: items[i]->place == i for 1 <= i <= n, and nobody comes before his parent i / 2.
 *
 * Must not: know what events mean.
 */
#include "tests/sim/event_heap.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

void event_heap_init(struct event_heap *h, uint64_t now_usec)
{
    *h = (struct event_heap) {.now_usec = now_usec};
}

void event_heap_done(struct event_heap *h)
{
    free(h->items);
    h->items = NULL;
}

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_usec != b->at_usec ? a->at_usec < b->at_usec : a->order < b->order;
}

static void put(struct event_heap *h, size_t place, struct sim_event *e)
{
    h->items[place] = e;
    e->place = place;
}

/* e goes to where it belongs, from a place that is free. */
static void sift(struct event_heap *h, size_t place, struct sim_event *e)
{
    while (place > 1 && is_before(e, h->items[place / 2])) {
        put(h, place, h->items[place / 2]);
        place /= 2;
    }
    for (size_t child = 2 * place; child <= h->n; child = 2 * place) {
        if (child < h->n && is_before(h->items[child + 1], h->items[child])) {
            child++;
        }
        if (!is_before(h->items[child], e)) {
            break;
        }
        put(h, place, h->items[child]);
        place = child;
    }
    put(h, place, e);
}

static void grow(struct event_heap *h)
{
    h->size = h->size > 0 ? 2 * h->size : 64;
    h->items = reallocarray(h->items, h->size, sizeof *h->items);
    if (!h->items) {
        perror("events");
        abort();
    }
}

void event_heap_drop(struct event_heap *h, struct sim_event *e)
{
    size_t place = e->place;

    if (place == 0) {
        return;
    }
    assert(h->items[place] == e);
    e->place = 0;
    if (place == h->n) {
        h->n--;
        return;
    }
    struct sim_event *last = h->items[h->n--];

    sift(h, place, last);
}

void event_heap_set(struct event_heap *h, struct sim_event *e, uint64_t at_usec)
{
    event_heap_drop(h, e);
    if (at_usec == USEC_NEVER) {
        return;
    }
    if (h->n + 2 > h->size) {
        grow(h);
    }
    e->at_usec = at_usec > h->now_usec ? at_usec : h->now_usec;
    e->order = ++h->last_order;
    h->n++;
    sift(h, h->n, e);
}

bool event_heap_step(struct event_heap *h, uint64_t until_usec)
{
    struct sim_event *e = h->n > 0 ? h->items[1] : NULL;

    if (!e || e->at_usec >= until_usec) {
        return false;
    }
    h->now_usec = e->at_usec;
    event_heap_drop(h, e);
    e->fire(e);
    return true;
}
