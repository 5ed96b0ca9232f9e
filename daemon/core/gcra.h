#pragma once
/*
 * A rate for each minute (requests, tokens), kept by the generic cell rate algorithm in its form of
 * a leaky bucket (ITU-T I.371, annex A.1: the two forms decide alike).
 *
 * What is taken is a debt that flows off steadily; a whole minute's amount may be taken at once by
 * whoever took nothing for a minute. So no window exists whose start could be waited for, and in any
 * minute at most twice the rate passes, in any hour 61/60 of it.
 *
 * The debt is an integer in units of 1/60,000,000 of what is counted: nothing is rounded, whatever
 * the rate and the length of the pauses. A pure state machine: the clock is the caller's, and one
 * that runs backwards stands still.
 */
#include <stdbool.h>
#include <stdint.h>

/* Of a rate, and of one amount; what exceeds it counts as it. So no sum here overflows 64 bits. */
#define GCRA_MAX UINT64_C(1000000000)

/* Embedded in what it limits. All zero: no limit, and nothing taken. */
struct gcra {
    uint64_t per_min; /* 0: no limit; at most GCRA_MAX */
    uint64_t debt;    /* units; above a minute's amount when more was used than had been reserved */
    uint64_t at_usec; /* the instant that debt is of */
};

/*
 * Another rate from now on (0: none). What was taken stays taken, up to a minute's amount of a lower
 * rate: who pauses for a minute may take that at once, also after a change. A debt beyond a minute
 * takes as long as it would have taken.
 */
void gcra_set_rate(struct gcra *g, uint64_t per_min, uint64_t now_usec);

/*
 * How long until n may be taken: 0, now; USEC_NEVER: it is more than a minute's amount. Whoever asks
 * again that much later, and not earlier, finds 0 unless others have taken in between.
 */
uint64_t gcra_wait_usec(const struct gcra *g, uint64_t n, uint64_t now_usec);

/* Takes n, whether it fits or not. */
void gcra_take(struct gcra *g, uint64_t n, uint64_t now_usec);

/* Gives back n of what had been taken: as if it never had been. */
void gcra_give_back(struct gcra *g, uint64_t n, uint64_t now_usec);

/* How many may be taken now: whole ones. GCRA_MAX where there is no limit. */
uint64_t gcra_left(const struct gcra *g, uint64_t now_usec);

/* How long until a whole minute's amount may be taken again. */
uint64_t gcra_full_usec(const struct gcra *g, uint64_t now_usec);
