/*
 * See retry_after.h.
 *
 * Must not: read a clock, know calls or callers.
 */
#include "core/retry_after.h"

#include <assert.h>

#include "base/clock.h"
#include "base/num.h"

/* kube-apiserver's minRetryAfter and maxRetryAfter are 1 and 32. */
#define TRACKER_MIN_USEC (1 * USEC_PER_SEC)
#define TRACKER_MAX_USEC (32 * USEC_PER_SEC)

#define SPREAD_MIN_PERMILLE 800
#define SPREAD_PERMILLE     400 /* up to 1200 */

/* More say nothing more. */
#define RETRIES_MAX 1000

void retry_after_init(struct retry_after *r, uint32_t seed)
{
    assert(seed != 0);
    *r = (struct retry_after) {.random = seed};
}

/* xorshift32 (Marsaglia, 2003): spreads, and keeps no secret. */
static uint32_t chance(struct retry_after *r)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 17;
    r->random ^= r->random << 5;
    return r->random;
}

/* The interval that was counted is over: what its number of refusals says, and the quiet after it. */
static void close_interval(struct retry_tracker *t, uint64_t now_usec)
{
    uint64_t n_sec = t->usec / USEC_PER_SEC;
    uint64_t n_intervals = usec_since(now_usec, t->since_usec) / t->usec; /* this one too */
    uint64_t n_calm = t->n_refused < n_sec ? n_intervals : n_intervals - 1;
    uint64_t down = n_calm * USEC_PER_SEC;

    t->usec = t->usec > TRACKER_MIN_USEC + down ? t->usec - down : TRACKER_MIN_USEC;
    t->since_usec = now_usec;
    t->n_refused = 0;
}

static uint64_t track(struct retry_tracker *t, uint64_t now_usec)
{
    if (t->usec == 0) {
        *t = (struct retry_tracker) {.usec = TRACKER_MIN_USEC, .since_usec = now_usec};
    }
    if (usec_since(now_usec, t->since_usec) >= t->usec) {
        close_interval(t, now_usec);
    }
    t->n_refused++;
    if (t->n_refused >= 3 * t->usec / USEC_PER_SEC) {
        t->usec = num_clamp_u64(2 * t->usec, TRACKER_MIN_USEC, TRACKER_MAX_USEC);
        t->since_usec = now_usec; /* at most once in the time that it said */
        t->n_refused = 0;
    }
    return t->usec;
}

uint64_t retry_after_refused(struct retry_after *r, enum call_class class, uint64_t room_usec,
                             unsigned factor, uint64_t now_usec)
{
    uint64_t usec = track(&r->classes[class], now_usec);

    usec = room_usec > usec ? room_usec : usec;
    usec = num_clamp_u64(usec, 0, RETRY_AFTER_MAX_USEC) * factor;
    usec = usec / 1000 * (SPREAD_MIN_PERMILLE + chance(r) % (SPREAD_PERMILLE + 1));
    return num_clamp_u64(usec, RETRY_AFTER_MIN_USEC, RETRY_AFTER_MAX_USEC);
}

uint64_t retry_after_age(const struct retry_after *r, enum call_class class, unsigned n_retries,
                         uint64_t now_usec)
{
    struct retry_tracker t = r->classes[class]; /* a copy: to look changes nothing */

    if (t.usec == 0) {
        t.usec = TRACKER_MIN_USEC;
    } else if (usec_since(now_usec, t.since_usec) >= t.usec) {
        close_interval(&t, now_usec);
    }
    return num_clamp_u64(n_retries, 0, RETRIES_MAX) * (t.usec / 1000 * SPREAD_MIN_PERMILLE);
}

uint64_t retry_after_spread(struct retry_after *r, uint64_t least_usec)
{
    uint64_t usec = least_usec / 1000 * (1000 + chance(r) % (SPREAD_PERMILLE + 1));

    return num_clamp_u64(usec, RETRY_AFTER_MIN_USEC, RETRY_AFTER_MAX_USEC);
}
