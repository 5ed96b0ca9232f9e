#pragma once
/*
 * How quick a deployment has been of late: the time from a granted slot to the first content of the
 * answer, as a moving average.
 *
 * What is old counts for less: a deployment that was slow once would never be tried again. So what is
 * expected of one that nobody calls halves with each minute. One that was never called is expected to
 * answer at once, and is tried first (LiteLLM, too: router_strategy/lowest_latency.py).
 *
 * A pure state machine: the clock is the caller's.
 */
#include <stdint.h>

/* What a call that ran into a time-out counts as. LiteLLM: 1000 s, in an average of ten calls. */
#define LATENCY_TIMEOUT_USEC   (100 * UINT64_C(1000000))
#define LATENCY_HALF_LIFE_USEC (60 * UINT64_C(1000000))

/* Embedded in what it measures. All zero: never called. */
struct latency {
    uint64_t average_usec;
    uint64_t at_usec; /* of the last sample */
};

void latency_note(struct latency *l, uint64_t sample_usec, uint64_t now_usec);

/* What to expect of the next call; 0: nothing is known. */
uint64_t latency_expected(const struct latency *l, uint64_t now_usec);
