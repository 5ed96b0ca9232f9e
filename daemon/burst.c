/* See burst.h. */
#include "burst.h"

#include <assert.h>

#include "base/clock.h"

bool burst_count(struct burst *b, const struct burst_limits *limits, unsigned kind,
                 uint64_t now_usec)
{
    assert(kind < BURST_KINDS && limits->n > 0);
    if (b->is_spent || b->n_all == 0 ||
        (!b->is_on && now_usec >= usec_add(b->began_at_usec, limits->window_usec))) {
        *b = (struct burst) {.began_at_usec = now_usec};
    }
    b->last_at_usec = now_usec;
    b->n_all++;
    b->n[kind]++;
    if (b->is_on || b->n_all < limits->n) {
        return false;
    }
    b->is_on = true;
    return true;
}

uint64_t burst_over_at(const struct burst *b, const struct burst_limits *limits)
{
    return b->is_on ? usec_add(b->last_at_usec, limits->window_usec) : USEC_NEVER;
}

bool burst_end(struct burst *b, const struct burst_limits *limits, uint64_t now_usec)
{
    if (!b->is_on || now_usec < burst_over_at(b, limits)) {
        return false;
    }
    b->is_on = false;
    b->is_spent = true;
    return true;
}
