/*
 * The generic cell rate algorithm as a leaky bucket with exact integers.
 *
 * One unit of debt is what a rate of one in a minute lets flow off in one microsecond: an amount n
 * is n * 60,000,000 units, and a rate r drains r units in each microsecond. Hence no division where
 * state changes, and none that rounds in anybody's favour: a wait is rounded up, what is left down.
 *
 * Invariants: per_min <= GCRA_MAX; debt <= DEBT_MAX; at_usec never decreases.
 *
 * Must not: read a clock, know who is limited.
 */
#include "core/gcra.h"

#include <assert.h>

#include "base/clock.h"

#define UNITS_EACH (60 * USEC_PER_SEC)
#define AMOUNT_MAX (GCRA_MAX * UNITS_EACH)
/* a hundred times the largest amount: who overdrew that far waits 100 minutes at the highest rate */
#define DEBT_MAX (100 * AMOUNT_MAX)

_Static_assert(DEBT_MAX / 100 == AMOUNT_MAX && DEBT_MAX < UINT64_MAX - AMOUNT_MAX,
               "the largest debt and one more amount fit into 64 bits");

static uint64_t units_of(uint64_t n)
{
    return (n < GCRA_MAX ? n : GCRA_MAX) * UNITS_EACH;
}

static uint64_t debt_at(const struct gcra *g, uint64_t now_usec)
{
    uint64_t passed_usec = usec_since(now_usec, g->at_usec);

    if (g->per_min == 0) {
        return g->debt;
    }
    /* the product is taken only where it cannot overflow */
    return passed_usec > g->debt / g->per_min ? 0 : g->debt - passed_usec * g->per_min;
}

static void move_to(struct gcra *g, uint64_t now_usec)
{
    g->debt = debt_at(g, now_usec);
    g->at_usec = now_usec > g->at_usec ? now_usec : g->at_usec;
    assert(g->debt <= DEBT_MAX);
}

/* Until a debt has flown off, rounded up: never a moment too early. */
static uint64_t flow_usec(const struct gcra *g, uint64_t debt)
{
    return debt / g->per_min + (debt % g->per_min != 0);
}

/*
 * A debt under a lower rate: what was taken stays taken, but nobody waits longer than the old debt
 * would have taken, or a minute where that is more. Who overdrew keeps his wait, rounded up.
 */
static uint64_t lowered(uint64_t debt, uint64_t old_per_min, uint64_t per_min)
{
    uint64_t room = per_min * UNITS_EACH;
    /* debt * per_min / old_per_min in parts that fit: the second is below GCRA_MAX * GCRA_MAX */
    uint64_t rest = debt % old_per_min * per_min;
    uint64_t as_long =
        debt / old_per_min * per_min + rest / old_per_min + (rest % old_per_min != 0);
    uint64_t most = room > as_long ? room : as_long;

    return debt < most ? debt : most;
}

void gcra_set_rate(struct gcra *g, uint64_t per_min, uint64_t now_usec)
{
    uint64_t old_per_min = g->per_min;

    move_to(g, now_usec);
    g->per_min = per_min < GCRA_MAX ? per_min : GCRA_MAX;
    if (g->per_min == 0) {
        g->debt = 0; /* nothing would ever drain it */
    } else if (g->per_min < old_per_min) {
        g->debt = lowered(g->debt, old_per_min, g->per_min);
    }
}

uint64_t gcra_wait_usec(const struct gcra *g, uint64_t n, uint64_t now_usec)
{
    uint64_t room = g->per_min * UNITS_EACH;
    uint64_t wanted = units_of(n);

    if (g->per_min == 0) {
        return 0;
    }
    if (wanted > room) {
        return USEC_NEVER;
    }

    uint64_t debt = debt_at(g, now_usec);
    uint64_t allowed = room - wanted;

    return debt <= allowed ? 0 : flow_usec(g, debt - allowed) + usec_since(g->at_usec, now_usec);
}

void gcra_take(struct gcra *g, uint64_t n, uint64_t now_usec)
{
    if (g->per_min == 0) {
        return;
    }
    move_to(g, now_usec);

    uint64_t debt = g->debt + units_of(n);

    g->debt = debt < DEBT_MAX ? debt : DEBT_MAX;
}

void gcra_give_back(struct gcra *g, uint64_t n, uint64_t now_usec)
{
    uint64_t units = units_of(n);

    move_to(g, now_usec);
    g->debt = g->debt > units ? g->debt - units : 0;
}

uint64_t gcra_left(const struct gcra *g, uint64_t now_usec)
{
    uint64_t room = g->per_min * UNITS_EACH;
    uint64_t debt = debt_at(g, now_usec);

    if (g->per_min == 0) {
        return GCRA_MAX;
    }
    return debt < room ? (room - debt) / UNITS_EACH : 0;
}

uint64_t gcra_full_usec(const struct gcra *g, uint64_t now_usec)
{
    return g->per_min == 0 ? 0 : flow_usec(g, debt_at(g, now_usec));
}
