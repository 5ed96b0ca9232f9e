#pragma once
/*
 * What follows an attempt that failed before its first word: another one in the same group, now or
 * later, another group, or the end. Pure: values in, a decision out; the clock and the chance are
 * the caller's. core/call_attempt.c looks up what is asked here, and acts.
 *
 * The rules, LiteLLM's where it has one (docs/routing.md, reliability.md; litellm/router.py:
 * should_retry_this_error, _time_to_sleep_before_retry):
 *
 *   what failed             the same deployment again       another one of the group
 *   AUTHENTICATION          no                              at once
 *   TIMEOUT                 no (see below)                  at once
 *   RATE_LIMIT, UNAVAILABLE after a pause                   at once
 *   CONTENT_POLICY, BAD_REQUEST  no                         no
 *   NOT_FOUND               no                              at once
 *   SERVER                  at once                         at once
 *   code NOT_IMPLEMENTED    no                              at once, also without any retries
 *
 * The retries are those of one order level; the next level has its own, and is asked before any
 * deployment is again. What is left when all have failed goes round once more: from the first order,
 * to those that were asked least, and never to one whose failure forbids it (LiteLLM: all retries of
 * the first order, then those of the next). None are none: who says 0 gets one attempt in a group,
 * whatever its levels.
 *
 * A policy that names the cause (TimeoutErrorRetries: 1) overrules the table. A time-out is not
 * tried again where it happened, as LiteLLM would: with limits of minutes each further attempt holds
 * a slot for as long, and three of them open the breaker for everybody. Nor is what a moment
 * does not change: memory that was too little for a load, an account used up, a certificate.
 *
 * Who has somewhere else to go does not wait: a pause is only made where the group has no other
 * deployment and no fallback. It is what the server asked for if that is short; if it is long the
 * client is told, whose own wait costs nothing here. Else 0.5 s, doubled each time, at most 8 s.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/request.h"
#include "core/router_policy.h"

/* Of one group and level; more may be asked for, and is not done. */
#define ATTEMPTS_MAX_RETRIES 10
/* Attempts of one call, all groups together: no configuration makes one request a hundred. */
#define ATTEMPTS_MAX 32

/* LiteLLM's and OpenAI's clients' (litellm/constants.py: INITIAL_RETRY_DELAY, MAX_RETRY_DELAY) */
#define ATTEMPTS_PAUSE_MIN_USEC UINT64_C(500000)
#define ATTEMPTS_PAUSE_MAX_USEC UINT64_C(8000000)
/* The longest Retry-After that is waited out here; as long as LiteLLM's cooldown_time. */
#define ATTEMPTS_HONOURED_USEC UINT64_C(5000000)

/* What the attempt ended with. */
struct attempt_failure {
    enum errcode code;
    uint64_t retry_after_usec; /* asked for by the server; 0: nothing */
    bool was_asked;            /* a model server; else its group refused (breaker, no slot) */
};

/* The group at this moment, seen by this call. */
struct attempt_field {
    bool has_untried;    /* a deployment that could serve the call and was not asked yet */
    bool has_next_level; /* such a one of another order than the one that failed */
    bool has_again;      /* one that failed the call and may be asked again all the same */
    bool has_fallback;   /* another group, for this failure */
};

/* How many retries. */
struct attempt_rules {
    int of_request; /* num_retries of the request, which wins; FAIL_POLICY_UNSET: says nothing */
    unsigned of_config;        /* router_retries() for this cause */
    bool is_named;             /* that number is a policy's for just this cause */
    uint64_t least_pause_usec; /* retry_after: before the same deployment is asked */
};

/* What came before. Embedded in the call; all zero at its start. */
struct attempts {
    unsigned n;           /* attempts that were started */
    unsigned n_retries;   /* of them, after another one in the same group */
    unsigned n_fallbacks; /* groups after the first */
    unsigned n_in_level;  /* retries since the group or its level changed */
};

enum attempt_next { ATTEMPT_RETRY, ATTEMPT_FALL_BACK, ATTEMPT_END };

struct attempt_decision {
    enum attempt_next next;
    uint64_t at_usec;   /* ATTEMPT_RETRY: not before */
    bool is_same;       /* ATTEMPT_RETRY: where the call failed already; costs retry_budget */
    bool changes_level; /* ATTEMPT_RETRY: the retries of the next order, on top of these */
};

/* Which list of fallbacks a failure leads to. */
enum fallback_kind attempts_fallback_kind(enum errcode code);

/*
 * May another group be asked after this at all? Not when the caller or sluice itself ended it, or
 * where another group would refuse as well.
 */
bool attempts_can_fall_back(const struct attempt_failure *f);

/* May the deployment that failed so not be asked again for this call? */
bool attempts_bars(const struct attempt_rules *rules, const struct attempt_failure *f);

/*
 * The decision. deadline_at_usec: the call's own, or USEC_NEVER; chance: any number, for the jitter
 * of a pause; has_budget: retry_budget_can_take().
 */
struct attempt_decision
attempts_decide(const struct attempts *before, const struct attempt_rules *rules,
                const struct attempt_failure *f, const struct attempt_field *field, bool has_budget,
                uint64_t deadline_at_usec, uint32_t chance, uint64_t now_usec);

/*
 * How often the calls of one caller together may ask a deployment again that has just failed: a fifth
 * of them, and one in a second for those who make few. So a server that is down under load gets 1.2
 * times its traffic, and not three times. (Twitter's Finagle: RetryBudget, 20 % and 10 in a second;
 * Envoy: 20 %.)
 */
#define RETRY_BUDGET_SHARE 5  /* calls that pay for one retry */
#define RETRY_BUDGET_MAX   20 /* retries that can be saved up */

struct retry_budget {
    uint64_t at_usec; /* until when seconds were counted */
    unsigned units;   /* RETRY_BUDGET_SHARE of them are one retry */
};

void retry_budget_init(struct retry_budget *b, uint64_t now_usec); /* full */
void retry_budget_earn(struct retry_budget *b);                    /* by a call that came */
bool retry_budget_can_take(struct retry_budget *b, uint64_t now_usec);
void retry_budget_take(struct retry_budget *b); /* retry_budget_can_take() said so */

/*
 * One for each caller, so that none spends another's: a caller is its API key, else its user, else
 * all who have neither. A table of so many places in sets of a few, found by a hash. Nothing is
 * allocated, and nothing that counts is forgotten: a budget that was not looked at for as long as it
 * takes to fill is full, so another caller may have its place. Two share one only where more callers
 * than a set has places fall to it within that time.
 */
#define RETRY_BUDGET_PLACES 256
#define RETRY_BUDGET_WAYS   4 /* places of a set */

struct retry_budgets {
    struct retry_budget places[RETRY_BUDGET_PLACES];
    uint32_t owners[RETRY_BUDGET_PLACES]; /* hashes of callers */
};

void retry_budgets_init(struct retry_budgets *b, uint64_t now_usec);
/* The caller's. Borrowed until the next call. */
struct retry_budget *retry_budgets_of(struct retry_budgets *b, const struct caller *caller,
                                      uint64_t now_usec);
