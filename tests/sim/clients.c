/*
 * Intents and how they are pursued.
 *
 *   ASKING ── refused, or nothing came in time ──► PAUSING ──► ASKING ...
 *     │                                              │ no retry left
 *     └── all tokens came ──► over ◄─────────────────┘
 *
 * One event for each intent: the time-out while it asks, the end of its pause.
 *
 * Must not: let a policy change what is wished for: births, wishes and pauses have streams of chance
 * of their own.
 */
#include "tests/sim/clients.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/macros.h"
#include "core/request.h"

#define BACKOFF_SEC     0.5
#define BACKOFF_MAX_SEC 8.0

struct intent {
    struct sim_event event;
    struct intent *next, **back; /* clients.alive */
    struct clients *clients;
    struct attempt *attempt; /* borrowed; NULL: it pauses */
    size_t class;
    uint32_t caller;
    uint64_t n_tokens;
    unsigned n_attempts;
    uint64_t born_at_usec, asked_at_usec, granted_at_usec, first_at_usec;
};

static uint64_t now_of(const struct intent *i)
{
    return i->clients->heap->now_usec;
}

static bool counts(const struct intent *i)
{
    return i->born_at_usec >= i->clients->count_from_usec &&
           i->born_at_usec < i->clients->count_to_usec;
}

/* When its client gives up, for good where the setting says that they do. */
static uint64_t gives_up_at(const struct intent *i)
{
    const struct setting *s = i->clients->setting;

    return (s->leaves_at_limit ? i->born_at_usec : i->asked_at_usec) + s->limit_usec[i->class];
}

static double seconds(uint64_t usec)
{
    return (double) usec / 1e6;
}

/* ---------------------------------------------------------------- the end of an intent */

static bool is_in_time(const struct intent *i)
{
    const struct setting *s = i->clients->setting;
    uint64_t from = s->is_from_birth ? i->born_at_usec : i->asked_at_usec;
    uint64_t at = s->is_whole[i->class] ? now_of(i) : i->first_at_usec;

    return at - from <= s->limit_usec[i->class];
}

static void tally_good(struct intent *i)
{
    struct clients *c = i->clients;
    uint64_t slot_usec = now_of(i) - i->granted_at_usec;

    if (now_of(i) >= c->count_from_usec) {
        c->good_tokens += i->n_tokens;
        c->good_slot_usec += slot_usec;
        c->callers[i->caller].good_slot_usec += slot_usec;
    }
    if (counts(i)) {
        double first = seconds(i->first_at_usec - i->born_at_usec);

        c->classes[i->class].n_good++;
        c->callers[i->caller].n_good++;
        samples_add(&c->classes[i->class].firsts, first);
        samples_add(&c->callers[i->caller].firsts, first);
    }
}

static void intent_free(struct intent *i)
{
    event_heap_drop(i->clients->heap, &i->event);
    *i->back = i->next;
    if (i->next) {
        i->next->back = i->back;
    }
    free(i);
}

static void intent_over(struct intent *i, bool is_good)
{
    struct clients *c = i->clients;

    if (is_good) {
        tally_good(i);
    }
    if (counts(i)) {
        c->classes[i->class].n_attempts += i->n_attempts;
        c->n_attempts += i->n_attempts;
    }
    intent_free(i);
}

/* ---------------------------------------------------------------- attempts */

static void ask(struct intent *i)
{
    struct clients *c = i->clients;
    struct attempt *a = calloc(1, sizeof *a);

    if (!a) {
        perror("attempt");
        abort();
    }
    *a = (struct attempt) {.intent = i,
                           .class = i->class,
                           .caller = i->caller,
                           .n_tokens = i->n_tokens,
                           .n_retries = i->n_attempts,
                           .timeout_usec = c->setting->limit_usec[i->class],
                           .at_usec = now_of(i)};
    i->n_attempts++;
    i->attempt = a;
    i->asked_at_usec = now_of(i);
    event_heap_set(c->heap, &i->event, gives_up_at(i));
    c->policy->ops->submit(c->policy, a);
}

static void pause_or_give_up(struct intent *i, const struct refusal *why)
{
    uint64_t pause_usec = why->retry_after_usec;
    double backoff = BACKOFF_SEC * (double) (1 << (i->n_attempts - 1));

    i->attempt = NULL;
    if (i->n_attempts > CLIENTS_MAX_RETRIES || why->is_last) {
        intent_over(i, false);
        return;
    }
    backoff = backoff < BACKOFF_MAX_SEC ? backoff : BACKOFF_MAX_SEC;
    backoff *= 1 - 0.25 * rng_share(&i->clients->pauses);
    if (pause_usec == 0) { /* nobody said when */
        pause_usec = (uint64_t) (backoff * 1e6);
    }
    pause_usec += now_of(i);
    if (i->clients->setting->leaves_at_limit && pause_usec > gives_up_at(i)) {
        pause_usec = gives_up_at(i);
    }
    event_heap_set(i->clients->heap, &i->event, pause_usec);
}

static void on_event(struct sim_event *e)
{
    struct intent *i = CONTAINER_OF(e, struct intent, event);
    struct clients *c = i->clients;
    bool leaves = c->setting->leaves_at_limit && now_of(i) >= gives_up_at(i);

    if (!i->attempt && leaves) {
        intent_over(i, false);
        return;
    }
    if (!i->attempt) {
        ask(i);
        return;
    }
    if (counts(i)) {
        c->n_timeouts++;
    }
    i->attempt->intent = NULL;
    c->policy->ops->leave(c->policy, TAKE(i->attempt));
    if (leaves) {
        intent_over(i, false);
    } else {
        pause_or_give_up(i, &(struct refusal) {.code = ERRCODE_NONE});
    }
}

void attempt_granted(struct attempt *a)
{
    struct intent *i = a->intent;

    i->granted_at_usec = now_of(i);
    if (counts(i)) {
        samples_add(&i->clients->classes[i->class].waits, seconds(now_of(i) - i->asked_at_usec));
    }
}

void attempt_begun(struct attempt *a)
{
    struct intent *i = a->intent;

    i->first_at_usec = now_of(i);
    if (!i->clients->setting->leaves_at_limit || i->class == CLASS_INTERACTIVE) {
        event_heap_drop(i->clients->heap, &i->event);
    }
}

void attempt_done(struct attempt *a)
{
    struct intent *i = a->intent;

    a->intent = NULL;
    intent_over(i, is_in_time(i));
}

void attempt_refused(struct attempt *a, const struct refusal *why)
{
    struct intent *i = a->intent;

    a->intent = NULL;
    if (counts(i)) {
        i->clients->n_shed[why->code]++;
    }
    pause_or_give_up(i, why);
}

/* ---------------------------------------------------------------- births */

static uint32_t draw_caller(struct clients *c)
{
    double share = rng_share(&c->wishes);
    uint32_t caller = 0;

    while (caller + 1 < c->setting->n_callers && share > c->setting->caller_shares[caller]) {
        share -= c->setting->caller_shares[caller];
        caller++;
    }
    return caller;
}

static void expect_birth(struct clients *c)
{
    double mean = setting_mean_service_sec(c->setting) / c->load;

    event_heap_set(c->heap, &c->next_birth,
                   c->heap->now_usec + 1 + (uint64_t) (1e6 * rng_exponential(&c->births, mean)));
}

static void on_birth(struct sim_event *e)
{
    struct clients *c = CONTAINER_OF(e, struct clients, next_birth);
    struct intent *i = calloc(1, sizeof *i);

    if (!i) {
        perror("intent");
        abort();
    }
    i->event.fire = on_event;
    i->clients = c;
    i->next = c->alive;
    i->back = &c->alive;
    if (c->alive) {
        c->alive->back = &i->next;
    }
    c->alive = i;
    i->class =
        rng_share(&c->wishes) < c->setting->interactive_share ? CLASS_INTERACTIVE : CLASS_BATCH;
    i->caller = draw_caller(c);
    i->n_tokens = setting_draw_tokens(c->setting, i->class, &c->wishes);
    i->born_at_usec = now_of(i);
    if (counts(i)) {
        c->classes[i->class].n_born++;
        c->callers[i->caller].n_born++;
    }
    expect_birth(c);
    ask(i);
}

void clients_init(struct clients *c, const struct setting *setting, struct event_heap *heap,
                  struct policy *policy, double load, uint64_t seed)
{
    uint64_t settle =
        (CLIENTS_MAX_RETRIES + 1) * setting->limit_usec[CLASS_BATCH] + USEC_PER_SEC * 60;

    *c = (struct clients) {.setting = setting,
                           .heap = heap,
                           .policy = policy,
                           .load = load,
                           .began_at_usec = heap->now_usec};
    c->next_birth.fire = on_birth;
    c->count_from_usec = c->began_at_usec + setting->warm_seconds * USEC_PER_SEC;
    c->ends_at_usec = c->began_at_usec + setting->seconds * USEC_PER_SEC;
    c->count_to_usec = c->ends_at_usec - settle;
    policy->ops->server(policy)->count_from_usec = c->count_from_usec;
    rng_init(&c->births, seed, 1);
    rng_init(&c->wishes, seed, 2);
    rng_init(&c->pauses, seed, 3);
    expect_birth(c);
}

void clients_done(struct clients *c)
{
    while (c->alive) {
        intent_free(c->alive);
    }
    event_heap_drop(c->heap, &c->next_birth);
    for (size_t i = 0; i < SETTING_CLASSES; i++) {
        samples_done(&c->classes[i].waits);
        samples_done(&c->classes[i].firsts);
    }
    for (size_t i = 0; i < SETTING_MAX_CALLERS; i++) {
        samples_done(&c->callers[i].firsts);
    }
}
