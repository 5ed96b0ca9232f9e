#pragma once
/*
 * The one rule for Retry-After, of every refusal:
 *
 *   clamp(max(time until there is room, what the tracker of the class says) × U(0.8, 1.2), 1 s, 60 s)
 *
 * The tracker is kube-apiserver's (apiserver/pkg/util/flowcontrol/dropped_requests_tracker.go): it
 * doubles while at least three times as many are refused as seconds passed, and goes down by a
 * second when fewer are than that. It answers what no prediction can: how many others were told the
 * same. The spread keeps those who were refused together from coming back together.
 *
 * The random numbers come from a seed, so that a log of events replays to the same answers.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/request.h"

/* Clients ignore longer ones: openai-node above 60 s, openai-python above 120 s. */
#define RETRY_AFTER_MIN_USEC (1 * UINT64_C(1000000))
#define RETRY_AFTER_MAX_USEC (60 * UINT64_C(1000000))

struct retry_tracker {
    uint64_t usec;       /* what it says; 0: as at the start, 1 s */
    uint64_t since_usec; /* of the interval that is counted */
    unsigned n_refused;  /* in it */
};

struct retry_after {
    struct retry_tracker classes[_CLASS_MAX];
    uint32_t random; /* never 0 */
};

void retry_after_init(struct retry_after *r, uint32_t seed);

/*
 * A call of that class is refused: when it may come back. room_usec: the time until there will be
 * room, as far as is known. factor: 2 for who retries much, else 1.
 */
uint64_t retry_after_refused(struct retry_after *r, enum call_class class, uint64_t room_usec,
                             unsigned factor, uint64_t now_usec);

/*
 * How old the wish is of who tries again for the n-th time: as often as he was told to wait, the least
 * that is told now. Programs tell how often they have tried, not since when. 0: a first attempt.
 */
uint64_t retry_after_age(const struct retry_after *r, enum call_class class, unsigned n_retries,
                         uint64_t now_usec);

/* The same for who waits for no room but for the end of something: 1.0 to 1.4 times that. */
uint64_t retry_after_spread(struct retry_after *r, uint64_t least_usec);
