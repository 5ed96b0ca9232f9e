/* See latency.h. Must not: read a clock, know calls or deployments. */
#include "core/latency.h"

#include "base/clock.h"

#define LONGEST_USEC (3600 * USEC_PER_SEC) /* keeps the sum far below 64 bits */

void latency_note(struct latency *l, uint64_t sample_usec, uint64_t now_usec)
{
    uint64_t expected = latency_expected(l, now_usec);

    sample_usec = sample_usec < LONGEST_USEC ? sample_usec : LONGEST_USEC;
    l->average_usec = expected == 0 ? sample_usec : (expected * 3 + sample_usec) / 4;
    l->at_usec = now_usec;
}

uint64_t latency_expected(const struct latency *l, uint64_t now_usec)
{
    uint64_t n_halvings = usec_since(now_usec, l->at_usec) / LATENCY_HALF_LIFE_USEC;

    return n_halvings < 64 ? l->average_usec >> n_halvings : 0;
}
