/*
 * See health.h: the breaker of a deployment.
 *
 * One function changes the state and checks the transition. Calls outlive states: one that was let
 * through before the breaker opened may fail long after it closed again. So each remembers the
 * epoch in which it began. What an old call suffered is old news and changes nothing; what it
 * achieves is not: an answer that begins shows that the server works, whoever asked.
 *
 * Invariants: is_probing only in HALF_OPEN, and then exactly one run with is_probe and this epoch is
 * out; open_usec between the two bounds, or 0.
 *
 * Must not: read a clock, log, know calls or deployments.
 */
#include "core/health.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/num.h"

static const char *const state_names[] = {
    [HEALTH_CLOSED] = "closed",
    [HEALTH_OPEN] = "open",
    [HEALTH_HALF_OPEN] = "half open",
};

/* Which states may follow: bit i of transitions[s] allows s -> i. */
static const unsigned transitions[] = {
    [HEALTH_CLOSED] = 1u << HEALTH_OPEN,
    [HEALTH_OPEN] = 1u << HEALTH_HALF_OPEN | 1u << HEALTH_CLOSED,
    [HEALTH_HALF_OPEN] = 1u << HEALTH_OPEN | 1u << HEALTH_CLOSED,
};

const char *health_state_name(enum health_state state)
{
    return state_names[state];
}

static void set_state(struct health *h, enum health_state to)
{
    assert(transitions[h->state] & (1u << to));
    h->state = to;
    h->is_probing = false;
}

void health_try_now(struct health *h, uint64_t now_usec)
{
    if (h->state == HEALTH_OPEN && h->open_until_usec > now_usec) {
        h->open_until_usec = now_usec;
    }
}

bool health_can_take(const struct health *h, uint64_t now_usec)
{
    switch (h->state) {
    case HEALTH_CLOSED:
        break;
    case HEALTH_OPEN:
        return now_usec >= h->open_until_usec;
    case HEALTH_HALF_OPEN:
        return !h->is_probing;
    }
    return true;
}

struct health_run health_take(struct health *h, uint64_t now_usec)
{
    assert(health_can_take(h, now_usec));
    if (h->state == HEALTH_OPEN) {
        set_state(h, HEALTH_HALF_OPEN);
    }
    h->is_probing = h->state == HEALTH_HALF_OPEN;
    return (struct health_run) {.epoch = h->epoch, .is_probe = h->is_probing};
}

static bool is_current_probe(const struct health *h, const struct health_run *run)
{
    return h->is_probing && run->is_probe && run->epoch == h->epoch;
}

static void open_again(struct health *h, uint64_t now_usec)
{
    h->open_usec = num_clamp_u64(2 * h->open_usec, HEALTH_OPEN_MIN_USEC, HEALTH_OPEN_MAX_USEC);
    h->open_until_usec = usec_add(now_usec, h->open_usec);
    set_state(h, HEALTH_OPEN);
}

static enum health_news close_it(struct health *h)
{
    bool was_closed = h->state == HEALTH_CLOSED;

    h->n_failures = 0;
    if (was_closed) {
        return HEALTH_NO_NEWS;
    }
    set_state(h, HEALTH_CLOSED);
    return HEALTH_HAS_CLOSED;
}

/*
 * n_forgiven comes back with the failure, unless another call ended well since: a server that
 * begins each answer and finishes none would wipe its own record clean each time.
 */
static enum health_news count_failure(struct health *h, const struct health_run *run,
                                      uint64_t now_usec)
{
    if (is_current_probe(h, run)) {
        h->n_probes_failed++;
        open_again(h, now_usec);
        return HEALTH_NO_NEWS;
    }
    if (h->state != HEALTH_CLOSED || run->epoch != h->epoch) {
        return HEALTH_NO_NEWS;
    }
    h->n_failures += 1 + (run->n_good == h->n_good ? run->n_forgiven : 0);
    if (h->n_failures < HEALTH_FAILURES) {
        return HEALTH_NO_NEWS;
    }
    h->epoch++;
    h->n_probes_failed = 0;
    h->opened_at_usec = now_usec;
    open_again(h, now_usec);
    return HEALTH_HAS_OPENED;
}

enum health_news health_began(struct health *h, struct health_run *run)
{
    if (!run->has_begun) {
        run->has_begun = true;
        run->n_forgiven = run->epoch == h->epoch ? h->n_failures : 0;
        run->n_good = h->n_good;
    }
    return close_it(h);
}

/*
 * What a failure says of the model server. It works where it answered, if only with a refusal of
 * its own. Nothing is proved by the rest: what sluice, the caller or a limiter of rates in between
 * has decided, a refused connection (health.h), an answer that is cut or garbled (nobody waited
 * for that).
 */
static const enum health_verdict verdicts[_ERRCODE_MAX] = {
    [ERRCODE_UPSTREAM_TIMEOUT] = HEALTH_SAYS_IT_HANGS,
    [ERRCODE_UPSTREAM_STALLED] = HEALTH_SAYS_IT_HANGS,
    [ERRCODE_UPSTREAM_ERROR] = HEALTH_SAYS_IT_WORKS,
    [ERRCODE_UPSTREAM_REJECTED] = HEALTH_SAYS_IT_WORKS,
    [ERRCODE_UPSTREAM_AUTH] = HEALTH_SAYS_IT_WORKS,
    [ERRCODE_UPSTREAM_OVERLOADED] = HEALTH_SAYS_IT_WORKS,
    [ERRCODE_UPSTREAM_OUT_OF_MEMORY] = HEALTH_SAYS_IT_WORKS,
};

enum health_verdict health_judge(enum errcode outcome, bool has_begun)
{
    if (outcome == ERRCODE_NONE) {
        return HEALTH_SAYS_IT_WORKS;
    }
    if (outcome == ERRCODE_UPSTREAM_TIMEOUT && has_begun) {
        return HEALTH_SAYS_NOTHING; /* words came until the limit for the whole answer: long, and alive */
    }
    return verdicts[outcome];
}

enum health_news health_ended(struct health *h, const struct health_run *run, enum errcode outcome,
                              uint64_t now_usec)
{
    switch (health_judge(outcome, run->has_begun)) {
    case HEALTH_SAYS_NOTHING:
        break;
    case HEALTH_SAYS_IT_HANGS:
        return count_failure(h, run, now_usec);
    case HEALTH_SAYS_IT_WORKS:
        h->open_usec = 0; /* an answer to the end: the next pause is a short one again */
        h->n_good++;
        return close_it(h);
    }
    return HEALTH_NO_NEWS;
}

void health_leave(struct health *h, const struct health_run *run)
{
    if (is_current_probe(h, run)) {
        h->is_probing = false;
    }
}

uint64_t health_retry_after(const struct health *h, uint64_t now_usec)
{
    uint64_t left;

    if (health_can_take(h, now_usec)) {
        return 0;
    }
    if (h->state == HEALTH_HALF_OPEN) {
        return HEALTH_OPEN_MIN_USEC; /* nobody knows how long the probe takes */
    }
    left = h->open_until_usec - now_usec;
    return (left + USEC_PER_SEC - 1) / USEC_PER_SEC * USEC_PER_SEC;
}

const char *health_describe(const struct health *h, bool with_times, uint64_t now_usec,
                            char ret_text[HEALTH_TEXT_BYTES])
{
    unsigned long long sec = health_retry_after(h, now_usec) / USEC_PER_SEC;

    if (sec == 0) {
        return NULL;
    }
    if (h->state == HEALTH_HALF_OPEN) {
        (void) snprintf(ret_text, HEALTH_TEXT_BYTES,
                        "breaker half open after %u time-outs: one call is trying it",
                        h->n_failures);
    } else if (with_times) {
        (void) snprintf(ret_text, HEALTH_TEXT_BYTES, "breaker open for %llu s after %u time-outs",
                        sec, h->n_failures);
    } else {
        (void) snprintf(ret_text, HEALTH_TEXT_BYTES, "breaker open after %u time-outs",
                        h->n_failures);
    }
    return ret_text;
}
