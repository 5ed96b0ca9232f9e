/*
 * See cooldown.h: when a deployment that fails is left alone.
 *
 * A minute begins with the first call that is counted in it, and lasts 60 s; LiteLLM's begin with the
 * clock's. What a pause was given for is forgotten with it: the next one has to be earned again.
 *
 * Must not: read a clock, log, know calls or deployments.
 */
#include "core/cooldown.h"

#include <assert.h>

#include "base/clock.h"

static const char *const cause_names[] = {
    [FAIL_AUTHENTICATION] = "refused key",  [FAIL_TIMEOUT] = "time-out",
    [FAIL_RATE_LIMIT] = "rate limit",       [FAIL_CONTENT_POLICY] = "content policy",
    [FAIL_BAD_REQUEST] = "refused request", [FAIL_NOT_FOUND] = "missing model",
    [FAIL_SERVER] = "server error",         [FAIL_UNAVAILABLE] = "overload",
};

const char *cooldown_cause_name(enum fail_cause cause)
{
    assert(cause < _FAIL_CAUSE_MAX);
    return cause_names[cause];
}

/* Does it say anything about the deployment? (LiteLLM: 401, 402, 404, 408, 429, 5xx.) */
static bool counts(enum fail_cause cause)
{
    switch (cause) {
    case FAIL_CONTENT_POLICY:
    case FAIL_BAD_REQUEST:
    case _FAIL_CAUSE_MAX:
        return false;
    case FAIL_AUTHENTICATION:
    case FAIL_TIMEOUT:
    case FAIL_RATE_LIMIT:
    case FAIL_NOT_FOUND:
    case FAIL_SERVER:
    case FAIL_UNAVAILABLE:
        return true;
    }
    return false;
}

/* Would the next call fail as well, however healthy the server is? */
static bool is_certain(enum fail_cause cause)
{
    return cause == FAIL_AUTHENTICATION || cause == FAIL_NOT_FOUND || cause == FAIL_RATE_LIMIT;
}

static void turn_minute(struct cooldown *c, uint64_t now_usec)
{
    if (c->n_good + c->n_failed == 0 ||
        usec_since(now_usec, c->minute_at_usec) >= COOLDOWN_MINUTE_USEC) {
        c->minute_at_usec = now_usec;
        c->n_good = c->n_failed = 0;
    }
}

/* More failures than are allowed for this cause? allowed_fails or a policy is given. */
static bool exceeds_allowance(const struct cooldown *c, const struct cooldown_rules *rules,
                              enum fail_cause cause)
{
    int allowed = fail_policy_get(&rules->allowed_by_cause, cause);

    if (allowed == FAIL_POLICY_UNSET) {
        allowed = rules->allowed_fails;
    }
    if (allowed == FAIL_POLICY_UNSET) {
        allowed = COOLDOWN_DEFAULT_FAILS;
    }
    return c->n_failed > (unsigned) allowed;
}

static bool has_allowance(const struct cooldown_rules *rules)
{
    if (rules->allowed_fails != FAIL_POLICY_UNSET) {
        return true;
    }
    for (int i = 0; i < _FAIL_CAUSE_MAX; i++) {
        if (fail_policy_get(&rules->allowed_by_cause, (enum fail_cause) i) != FAIL_POLICY_UNSET) {
            return true;
        }
    }
    return false;
}

static bool exceeds_share(const struct cooldown *c, const struct cooldown_failure *failure)
{
    unsigned n = c->n_good + c->n_failed;

    if (failure->is_alone) {
        return c->n_good == 0 && n >= COOLDOWN_ALONE_CALLS;
    }
    return is_certain(failure->cause) || (n >= COOLDOWN_MIN_CALLS && c->n_failed > c->n_good);
}

/*
 * 0: never. What the server asks for counts where it is longer; LiteLLM takes it also where it is
 * shorter, which ends the pause of a server that says "1" each time.
 */
static uint64_t length(const struct cooldown_rules *rules, const struct cooldown_failure *failure)
{
    uint64_t usec = failure->own_usec == USEC_NEVER ? rules->cooldown_usec : failure->own_usec;
    uint64_t asked = failure->retry_after_usec < COOLDOWN_MAX_USEC ? failure->retry_after_usec
                                                                   : COOLDOWN_MAX_USEC;

    return usec > 0 && asked > usec ? asked : usec;
}

bool cooldown_failed(struct cooldown *c, const struct cooldown_rules *rules,
                     const struct cooldown_failure *failure, uint64_t now_usec)
{
    uint64_t until_usec = usec_add(now_usec, length(rules, failure));

    if (!counts(failure->cause)) {
        return false;
    }
    turn_minute(c, now_usec);
    c->n_failed++;
    if (rules->is_off || until_usec == now_usec) {
        return false;
    }
    if (has_allowance(rules) ? !exceeds_allowance(c, rules, failure->cause)
                             : !exceeds_share(c, failure)) {
        return false;
    }
    c->n_good = c->n_failed = 0;
    if (until_usec <= c->until_usec) {
        return false; /* a call of before the pause */
    }
    c->until_usec = until_usec;
    c->cause = failure->cause;
    return true;
}

void cooldown_succeeded(struct cooldown *c, uint64_t now_usec)
{
    turn_minute(c, now_usec);
    c->n_good++;
}

void cooldown_server_is_back(struct cooldown *c, uint64_t now_usec)
{
    bool was_its =
        c->cause == FAIL_SERVER || c->cause == FAIL_TIMEOUT || c->cause == FAIL_UNAVAILABLE;

    if (was_its && c->until_usec > now_usec) {
        c->until_usec = now_usec;
    }
}

uint64_t cooldown_left_usec(const struct cooldown *c, uint64_t now_usec)
{
    return usec_since(c->until_usec, now_usec);
}
