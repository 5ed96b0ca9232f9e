#pragma once
/*
 * A pause for a deployment that fails: LiteLLM's cooldown, by LiteLLM's rules
 * (router_utils/cooldown_handlers.py; where we differ a comment says so).
 *
 * What counts is what says something about the deployment: a wrong key, a model that is not there, a
 * rate limit, a time-out, an error of the server's. What is wrong with a request does not.
 *
 *   without allowed_fails   a rate limit, a wrong key and a missing model pause it at once; anything
 *                           else when more than half of a minute's calls failed, of five at least.
 *                           A deployment that is alone in its group is left at work: its callers
 *                           would hear of the pause instead of the trouble. (Unless a thousand calls
 *                           of a minute failed, and none was answered.)
 *   with allowed_fails      when a minute saw more failures than are allowed, alone or not
 *
 * The breaker (core/health.h) stands beside it: that one looks at time-outs only, cannot be switched
 * off, and probes. A pause just ends.
 *
 * A pure state machine: the clock is the caller's, and nothing is logged here.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/fail_cause.h"

#define COOLDOWN_MINUTE_USEC   (60 * UINT64_C(1000000))
#define COOLDOWN_MIN_CALLS     5    /* DEFAULT_FAILURE_THRESHOLD_MINIMUM_REQUESTS */
#define COOLDOWN_ALONE_CALLS   1000 /* SINGLE_DEPLOYMENT_TRAFFIC_FAILURE_THRESHOLD */
#define COOLDOWN_DEFAULT_FAILS 3    /* litellm.allowed_fails, where only single causes are given */
/* What a Retry-After may ask for: after that, one call that fails again costs less than being off. */
#define COOLDOWN_MAX_USEC (600 * UINT64_C(1000000))

/* Of all deployments. All zero: a pause of no length, so none. */
struct cooldown_rules {
    uint64_t cooldown_usec; /* 0: never */
    int allowed_fails;      /* FAIL_POLICY_UNSET: none given */
    struct fail_policy allowed_by_cause;
    bool is_off; /* disable_cooldowns */
};

/* Embedded in what it pauses. All zero: never failed. */
struct cooldown {
    uint64_t until_usec; /* 0: never paused */
    enum fail_cause cause;
    uint64_t minute_at_usec;   /* since when the two are counted */
    unsigned n_good, n_failed; /* in that minute */
};

struct cooldown_failure {
    enum fail_cause cause;
    bool is_alone;             /* no other deployment serves its group */
    uint64_t own_usec;         /* the deployment's cooldown_time; USEC_NEVER: as the rules say */
    uint64_t retry_after_usec; /* what the server asked for; 0: nothing */
};

/* A call failed. true: it is paused from now on, or for longer than it was. */
bool cooldown_failed(struct cooldown *c, const struct cooldown_rules *rules,
                     const struct cooldown_failure *failure, uint64_t now_usec);

/* A call was answered to its end. */
void cooldown_succeeded(struct cooldown *c, uint64_t now_usec);

/*
 * Its server was away and has come back: a pause for what servers do that go (errors, time-outs,
 * overload) is over. One for a key, a rate limit or a missing model goes on.
 */
void cooldown_server_is_back(struct cooldown *c, uint64_t now_usec);

/* How long the pause goes on; 0: there is none. */
uint64_t cooldown_left_usec(const struct cooldown *c, uint64_t now_usec);

/* "rate limit", "time-out": what people are told. */
const char *cooldown_cause_name(enum fail_cause cause);
