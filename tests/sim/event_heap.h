#pragma once
/*
 * Virtual time: what happens next, and the clock that jumps there. Events are embedded in what they
 * happen to; of two at the same instant the one that was set first fires first, so that a run is
 * the same each time.
 *
 * The heap owns its array only. It ends the program where memory is short: this is no daemon.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_event {
    uint64_t at_usec, order;
    size_t place;                      /* in the heap, from 1; 0: not set */
    void (*fire)(struct sim_event *e); /* set by its owner; may set or drop any event, also e */
};

struct event_heap {
    struct sim_event **items; /* owned array; items borrowed; [0] is not used */
    size_t n, size;
    uint64_t last_order;
    uint64_t now_usec;
};

void event_heap_init(struct event_heap *h, uint64_t now_usec);
void event_heap_done(struct event_heap *h); /* what is set is forgotten */

/* Fires at that moment, or now if that is over; moves it if it was set. USEC_NEVER: drops it. */
void event_heap_set(struct event_heap *h, struct sim_event *e, uint64_t at_usec);
void event_heap_drop(struct event_heap *h, struct sim_event *e); /* idempotent */

/* Fires the next event and moves the clock; false: there is none before until. */
bool event_heap_step(struct event_heap *h, uint64_t until_usec);
