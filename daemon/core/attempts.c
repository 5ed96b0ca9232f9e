/*
 * See attempts.h. Owns nothing, allocates nothing.
 *
 * The order of the questions: may anything follow? is a retry allowed by its cause, the numbers, the
 * cap of all attempts? if so: elsewhere in the group at once, else a fallback rather than a pause,
 * else the pause if it is short enough and ends in time. A fallback is the answer whenever a retry
 * is not.
 *
 * Must not: read a clock, know calls, deployments or groups.
 */
#include "core/attempts.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"

/* Where a failed call may be tried again; see the table in attempts.h. */
enum again { AGAIN_NOWHERE, AGAIN_ELSEWHERE, AGAIN_AFTER_PAUSE, AGAIN_AT_ONCE };

static const unsigned char again_after[_FAIL_CAUSE_MAX] = {
    [FAIL_AUTHENTICATION] = AGAIN_ELSEWHERE, [FAIL_TIMEOUT] = AGAIN_ELSEWHERE,
    [FAIL_RATE_LIMIT] = AGAIN_AFTER_PAUSE,   [FAIL_CONTENT_POLICY] = AGAIN_NOWHERE,
    [FAIL_BAD_REQUEST] = AGAIN_NOWHERE,      [FAIL_NOT_FOUND] = AGAIN_ELSEWHERE,
    [FAIL_SERVER] = AGAIN_AT_ONCE,           [FAIL_UNAVAILABLE] = AGAIN_AFTER_PAUSE,
};

enum fallback_kind attempts_fallback_kind(enum errcode code)
{
    return code == ERRCODE_CONTEXT_LENGTH   ? FALLBACK_CONTEXT
           : code == ERRCODE_CONTENT_FILTER ? FALLBACK_CONTENT_POLICY
                                            : FALLBACK_GENERAL;
}

/* What another group may be free of. A full queue and short memory are those of all groups. */
static bool is_of_group(enum errcode code)
{
    static const enum errcode codes[] = {
        ERRCODE_UPSTREAM_BREAKER, ERRCODE_MISCONFIGURED,    ERRCODE_QUEUE_TIMEOUT,
        ERRCODE_PREDICTED_WAIT,   ERRCODE_CONTEXT_LENGTH,   ERRCODE_NO_DEPLOYMENTS,
        ERRCODE_NO_MATCH,         ERRCODE_LOCAL_ONLY,       ERRCODE_MODEL_EXCEEDS,
        ERRCODE_MODEL_BUDGET,     ERRCODE_MODEL_QUARANTINED};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (codes[i] == code) {
            return true;
        }
    }
    return false;
}

bool attempts_can_fall_back(const struct attempt_failure *f)
{
    return f->was_asked ? fail_cause_of(f->code) != _FAIL_CAUSE_MAX : is_of_group(f->code);
}

static unsigned max_retries(const struct attempt_rules *rules)
{
    unsigned n =
        rules->of_request != FAIL_POLICY_UNSET ? (unsigned) rules->of_request : rules->of_config;

    return n < ATTEMPTS_MAX_RETRIES ? n : ATTEMPTS_MAX_RETRIES;
}

/* What the next moment does not change: too little memory, an account used up, a certificate. */
static bool is_lasting(enum errcode code)
{
    return code == ERRCODE_UPSTREAM_OUT_OF_MEMORY || code == ERRCODE_UPSTREAM_QUOTA ||
           code == ERRCODE_UPSTREAM_UNTRUSTED;
}

static enum again again_of(const struct attempt_rules *rules, const struct attempt_failure *f)
{
    enum fail_cause cause = fail_cause_of(f->code);
    enum again again;

    if (!f->was_asked || cause == _FAIL_CAUSE_MAX) {
        return AGAIN_NOWHERE;
    }
    again = is_lasting(f->code) ? AGAIN_ELSEWHERE : again_after[cause];
    return again < AGAIN_AFTER_PAUSE && rules->is_named ? AGAIN_AT_ONCE : again;
}

bool attempts_bars(const struct attempt_rules *rules, const struct attempt_failure *f)
{
    return again_of(rules, f) < AGAIN_AFTER_PAUSE || f->retry_after_usec > ATTEMPTS_HONOURED_USEC;
}

/* 0.5 s, doubled with each retry up to 8 s; of that between three quarters and all. */
static uint64_t backoff(unsigned n_retries, uint32_t chance)
{
    uint64_t usec = ATTEMPTS_PAUSE_MIN_USEC;

    for (unsigned i = 0; i < n_retries && usec < ATTEMPTS_PAUSE_MAX_USEC; i++) {
        usec *= 2;
    }
    return usec - (uint64_t) chance % (usec / 4 + 1);
}

/* How long before one that has failed is asked again: the same one, which may ask for it itself. */
static uint64_t pause(const struct attempts *before, const struct attempt_rules *rules,
                      const struct attempt_failure *f, enum again again, uint32_t chance)
{
    uint64_t usec = 0;

    if (again == AGAIN_AFTER_PAUSE && !attempts_bars(rules, f)) {
        usec = f->retry_after_usec > 0 ? f->retry_after_usec : backoff(before->n_in_level, chance);
    }
    return usec > rules->least_pause_usec ? usec : rules->least_pause_usec;
}

static struct attempt_decision retry_elsewhere(const struct attempt_field *field, uint64_t now_usec)
{
    return (struct attempt_decision) {
        .next = ATTEMPT_RETRY, .at_usec = now_usec, .changes_level = field->has_next_level};
}

struct attempt_decision
attempts_decide(const struct attempts *before, const struct attempt_rules *rules,
                const struct attempt_failure *f, const struct attempt_field *field, bool has_budget,
                uint64_t deadline_at_usec, uint32_t chance, uint64_t now_usec)
{
    const struct attempt_decision otherwise = {
        .next = field->has_fallback && attempts_can_fall_back(f) ? ATTEMPT_FALL_BACK : ATTEMPT_END};
    enum again again = again_of(rules, f);

    if (before->n >= ATTEMPTS_MAX || deadline_at_usec <= now_usec) {
        return (struct attempt_decision) {.next = ATTEMPT_END};
    }
    if (f->was_asked && f->code == ERRCODE_NOT_IMPLEMENTED && field->has_untried) {
        return retry_elsewhere(field, now_usec); /* nothing was sent: no retry of anything */
    }
    if (again == AGAIN_NOWHERE) {
        return otherwise;
    }

    bool is_barred = attempts_bars(rules, f);
    bool is_spent = before->n_in_level >= max_retries(rules);

    if (field->has_untried && (!is_spent || (field->has_next_level && max_retries(rules) > 0))) {
        return retry_elsewhere(field, now_usec);
    }
    if (is_spent || field->has_untried || (is_barred && !field->has_again) || !has_budget) {
        return otherwise;
    }
    if (again == AGAIN_AFTER_PAUSE && !is_barred && otherwise.next == ATTEMPT_FALL_BACK) {
        return otherwise;
    }

    uint64_t pause_usec = pause(before, rules, f, again, chance);

    if (usec_add(now_usec, pause_usec) >= deadline_at_usec) {
        return otherwise;
    }
    return (struct attempt_decision) {
        .next = ATTEMPT_RETRY, .at_usec = now_usec + pause_usec, .is_same = true};
}

/* ---- the budget */

#define BUDGET_MAX_UNITS (RETRY_BUDGET_MAX * RETRY_BUDGET_SHARE)

static void earn(struct retry_budget *b, uint64_t units)
{
    b->units = units < BUDGET_MAX_UNITS - b->units ? b->units + (unsigned) units : BUDGET_MAX_UNITS;
}

void retry_budget_init(struct retry_budget *b, uint64_t now_usec)
{
    *b = (struct retry_budget) {.at_usec = now_usec, .units = BUDGET_MAX_UNITS};
}

void retry_budget_earn(struct retry_budget *b)
{
    earn(b, 1);
}

bool retry_budget_can_take(struct retry_budget *b, uint64_t now_usec)
{
    uint64_t n_sec = usec_since(now_usec, b->at_usec) / USEC_PER_SEC;

    b->at_usec += n_sec * USEC_PER_SEC;
    earn(b, n_sec < RETRY_BUDGET_MAX ? n_sec * RETRY_BUDGET_SHARE : BUDGET_MAX_UNITS);
    return b->units >= RETRY_BUDGET_SHARE;
}

void retry_budget_take(struct retry_budget *b)
{
    assert(b->units >= RETRY_BUDGET_SHARE);
    b->units -= RETRY_BUDGET_SHARE;
}

void retry_budgets_init(struct retry_budgets *b, uint64_t now_usec)
{
    for (size_t i = 0; i < ARRAY_LEN(b->places); i++) {
        retry_budget_init(&b->places[i], now_usec);
        b->owners[i] = 0;
    }
}

/* Folded by its upper half. */
static uint32_t hash(const void *bytes, size_t n, uint32_t start)
{
    uint32_t h = str_hash(STR_HASH_START ^ start, (struct str) {bytes, n});

    return h ^ h >> 16;
}

/* Would it be full if somebody looked? */
static bool is_full(const struct retry_budget *b, uint64_t now_usec)
{
    return b->units == BUDGET_MAX_UNITS ||
           usec_since(now_usec, b->at_usec) >= RETRY_BUDGET_MAX * USEC_PER_SEC;
}

/* The place of a set that is h's, or may become it; where there is none, one that h shares. */
static size_t place_of(const struct retry_budgets *b, uint32_t h, uint64_t now_usec)
{
    size_t first = h % (RETRY_BUDGET_PLACES / RETRY_BUDGET_WAYS) * RETRY_BUDGET_WAYS;
    size_t place = first + h / RETRY_BUDGET_PLACES % RETRY_BUDGET_WAYS;

    for (size_t i = first; i < first + RETRY_BUDGET_WAYS; i++) {
        if (b->owners[i] == h) {
            return i;
        }
    }
    for (size_t i = first; i < first + RETRY_BUDGET_WAYS; i++) {
        if (is_full(&b->places[i], now_usec)) {
            place = i;
        }
    }
    return place;
}

struct retry_budget *retry_budgets_of(struct retry_budgets *b, const struct caller *caller,
                                      uint64_t now_usec)
{
    uint32_t h = caller->key_id[0] ? hash(caller->key_id, strlen(caller->key_id), 1)
                 : caller->has_uid ? hash(&caller->uid, sizeof caller->uid, 2)
                                   : 0;
    size_t i = place_of(b, h, now_usec);

    if (b->owners[i] != h && is_full(&b->places[i], now_usec)) {
        b->owners[i] = h;
        retry_budget_init(&b->places[i], now_usec);
    }
    return &b->places[i];
}
