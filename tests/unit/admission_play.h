#pragma once
/*
 * Admission under a virtual clock, for tests of what must hold whatever happens: a list of events is
 * played against the real objects, with a second look at every decision.
 *
 * The second look is plain_scheduler.h's: whether the ticket that got a slot is one of those that
 * might, or nobody may.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plain_scheduler.h"
#include "support.h"

#define SEC       USEC_PER_SEC
#define START     (1000 * SEC)
#define N_CALLERS PLAIN_CALLERS
#define MAX_STEPS PLAIN_TICKETS
#define MAX_LOG   (8 * MAX_STEPS)

enum kind { ARRIVE, FINISH, FAIL, LEAVE, SPEAK, LEVEL, WAIT, _KIND_MAX };

struct step {
    enum kind kind;
    unsigned caller, class, group, n;
    uint64_t after_usec;
    bool is_late; /* the process stood still until then: what was due meanwhile was not done */
};

/* What to play it with. */
struct setting {
    unsigned weights[N_CALLERS];
    uint64_t patience_usec[_CLASS_MAX];
    bool has_false_rule; /* "never more than three wait": for the test of the shrinking */
};

static const struct setting normal = {.weights = {1, 1, 2, 3, 1, 6},
                                      .patience_usec = {4 * SEC, 30 * SEC, 120 * SEC}};

struct world {
    const struct setting *setting;
    struct router router;
    struct pressure pressure;
    struct admission admission;
    struct caller_rule rules[N_CALLERS];
    struct ticket tickets[MAX_STEPS];
    unsigned n_outcomes[MAX_STEPS]; /* refused, ended, left: one for each ticket */
    struct plain plain;             /* has the number of the tickets */
    unsigned n_acquired, n_released;
    uint64_t now;
    uint64_t log[MAX_LOG];
    size_t n_log;
    char broken[128]; /* the rule that is, or "" */
};

static inline void backend_free(struct backend *b)
{
    free(b);
}

static const struct backend_ops ops = {.free = backend_free};

static inline void add_group(struct router_plan *plan, const char *name, unsigned slots)
{
    struct backend *b = calloc(1, sizeof *b);
    struct deployment_spec spec = {
        .id = name, .fingerprint = name, .provider = "mock", .slots = slots, .is_local = true};

    ck_assert_ptr_nonnull(b);
    b->ops = &ops;
    ck_assert_int_eq(router_plan_add(plan, name, deployment_new(&spec, b)), 0);
}

static inline void world_init(struct world *w, const struct setting *setting)
{
    struct admission_params params = {.max_queued = 24,
                                      .max_queued_caller = 9,
                                      .max_queued_bytes = 2000,
                                      .max_wait_usec = {15 * SEC, 120 * SEC, 600 * SEC}};
    struct router_plan plan = {0};

    memset(w, 0, sizeof *w);
    w->setting = setting;
    w->now = START;
    memcpy(params.patience_usec, setting->patience_usec, sizeof params.patience_usec);
    router_init(&w->router);
    add_group(&plan, "a", 1);
    add_group(&plan, "b", 3);
    router_commit(&w->router, &plan);
    pressure_init(&w->pressure);
    admission_init(&w->admission, &params, &w->router, &w->pressure);
    w->plain = (struct plain) {
        .admission = &w->admission, .pressure = &w->pressure, .tickets = w->tickets};
    for (unsigned i = 0; i < N_CALLERS; i++) {
        w->rules[i] =
            (struct caller_rule) {.kind = CALLER_UID, .uid = i, .weight = setting->weights[i]};
    }
    caller_table_set_rules(&w->admission.callers, w->rules, N_CALLERS);
}

static inline void world_done(struct world *w)
{
    for (size_t i = 0; i < w->plain.n_tickets; i++) {
        admission_release(&w->admission, &w->tickets[i], w->now);
    }
    admission_done(&w->admission);
    router_done(&w->router);
}

static inline void require(struct world *w, bool holds, const char *rule)
{
    if (!holds && !w->broken[0]) {
        (void) snprintf(w->broken, sizeof w->broken, "%s", rule);
    }
}

static inline void note(struct world *w, unsigned what, const struct ticket *t, uint64_t n)
{
    if (w->n_log < MAX_LOG) {
        w->log[w->n_log++] = (uint64_t) what << 56 | (uint64_t) (t - w->tickets) << 40 | n;
    }
}

static inline void outcome(struct world *w, const struct ticket *t)
{
    require(w, ++w->n_outcomes[t - w->tickets] == 1, "one outcome for each call");
    require(w, t->state == TICKET_HOME, "who has an outcome holds nothing");
}

/* ---------------------------------------------------------------- what happens */

static inline void check_slots(struct world *w)
{
    unsigned n_granted = 0, n_in_use = 0;

    for (size_t i = 0; i < w->plain.n_tickets; i++) {
        n_granted += w->tickets[i].state == TICKET_GRANTED;
    }
    for (size_t i = 0; i < w->router.n_groups; i++) {
        const struct deployment *d = w->router.groups[i].deployments[0];

        require(w, d->in_use <= d->slots, "never more than slots");
        n_in_use += d->in_use;
    }
    require(w, n_granted == n_in_use && n_granted == w->admission.n_granted, "slots are counted");
    require(w, w->n_acquired == w->n_released + n_in_use, "acquired is released or in use");
}

static inline void check_refusal(struct world *w, const struct ticket *t, const struct verdict *v)
{
    require(w, v->retry_after_usec >= 1 * SEC && v->retry_after_usec <= 60 * SEC,
            "Retry-After within 1 to 60 s");
    note(w, 1, t, (uint64_t) v->code << 32 | v->retry_after_usec);
    outcome(w, t);
}

static inline void leave_lane(struct world *w, const struct ticket *t)
{
    w->plain.lanes[t->caller->uid][t->class].n_queued--;
}

static inline bool grant_one(struct world *w)
{
    static struct plain_view view;
    static uint64_t before[N_CALLERS][_CLASS_MAX];
    struct ticket *t;

    plain_look(&w->plain, w->now, &view);
    for (unsigned c = 0; c < N_CALLERS; c++) {
        for (unsigned k = 0; k < _CLASS_MAX; k++) {
            before[c][k] = plain_vtime(&w->plain, c, k, w->now);
        }
    }
    t = admission_next(&w->admission, w->now);
    if (!t) {
        require(w, !view.anybody, "no slot is free while somebody may run");
        return false;
    }
    require(w, view.may[t - w->tickets], "the plain scheduler agrees");
    require(w, w->now <= t->deadline_at_usec, "nobody runs after its deadline");
    require(w, t->deployment->in_use <= t->deployment->slots, "never more than slots");
    w->plain.served[t->class] = before[t->caller->uid][t->class];
    plain_grant(&w->plain, t);
    w->n_acquired++;
    note(w, 2, t, 0);
    return true;
}

static inline void release(struct world *w, struct ticket *t, enum errcode code)
{
    admission_note_end(&w->admission, t, code, w->now);
    plain_settle(&w->plain, t); /* as it was set right */
    admission_release(&w->admission, t, w->now);
    w->n_released++;
}

static inline bool preempt_one(struct world *w)
{
    struct ticket *t = admission_preempt(&w->admission, w->now);
    struct admission_ask ask = {.class = CLASS_BACKGROUND, .own_deadline_at_usec = USEC_NEVER};
    struct verdict v;

    if (!t) {
        return false;
    }
    require(w, t->class == CLASS_BACKGROUND && t->content_at_usec == 0, "only silent background");
    ask.caller = (struct caller_name) {.kind = CALLER_UID, .uid = t->caller->uid};
    note(w, 3, t, 0);
    release(w, t, ERRCODE_PREEMPTED);
    v = admission_requeue(&w->admission, t, t->group, &ask, w->now, w->now);
    if (v.code == ERRCODE_NONE) {
        plain_join(&w->plain, t);
    } else {
        check_refusal(w, t, &v);
    }
    return true;
}

static inline void settle(struct world *w)
{
    struct verdict v;
    struct ticket *t;
    bool is_busy = true;

    while (is_busy && !w->broken[0]) {
        is_busy = false;
        while (grant_one(w) && !w->broken[0]) {
        }
        while (preempt_one(w)) {
            is_busy = true;
        }
        while ((t = admission_ousted(&w->admission, w->now, &v))) {
            check_refusal(w, t, &v);
        }
        while ((t = admission_expire(&w->admission, w->now, &v))) {
            leave_lane(w, t);
            check_refusal(w, t, &v);
            is_busy = true;
        }
    }
    for (size_t i = 0; i < w->plain.n_tickets; i++) {
        require(w, w->tickets[i].state != TICKET_QUEUED || w->tickets[i].deadline_at_usec > w->now,
                "who waits leaves at its deadline");
    }
    require(w, w->admission.n_queued <= 24 + 4, "the queue is bounded");
    require(w, !w->setting->has_false_rule || w->admission.n_queued <= 3, "a false rule");
    check_slots(w);
}

/* Who was put out has left its lane before anybody says so. */
static inline void note_ousted(struct world *w, unsigned class)
{
    list_for_each (l, &w->admission.ousted) {
        const struct ticket *t = CONTAINER_OF(l, struct ticket, link);
        bool is_below = false;

        leave_lane(w, t);
        for (size_t i = 0; i < w->plain.n_tickets; i++) {
            is_below |= w->tickets[i].state == TICKET_QUEUED && w->tickets[i].class > t->class;
        }
        require(w, t->class >= class, "nobody makes room for a lower class");
        require(w, !is_below, "nobody is put out while a lower class waits");
    }
}

static inline void arrive(struct world *w, const struct step *s)
{
    struct ticket *t = &w->tickets[w->plain.n_tickets++];
    struct caller_name name = {.kind = CALLER_UID, .uid = s->caller};
    struct admission_ask ask = {.caller = name,
                                .class = (enum call_class) s->class,
                                .bytes = s->n % 150,
                                .n_retries = s->n % 5 == 0,
                                .own_deadline_at_usec = USEC_NEVER};
    const struct caller_entry *c = caller_table_find(&w->admission.callers, &name);
    unsigned n_waits = c ? caller_entry_n_queued(c) : 0;
    struct verdict v =
        admission_enqueue(&w->admission, t, &w->router.groups[s->group], &ask, w->now);

    note_ousted(w, s->class);
    note(w, 4, t, v.code == ERRCODE_NONE);
    if (v.code == ERRCODE_NONE) {
        plain_join(&w->plain, t);
        return;
    }
    require(w, v.code != ERRCODE_CLIENT_QUEUE_FULL || n_waits >= 9, "429 only for one's own limit");
    require(w, v.code != ERRCODE_MEMORY_PRESSURE || w->pressure.level >= PRESSURE_L2,
            "memory refuses from L2");
    check_refusal(w, t, &v);
}

/* The n-th ticket in a state, counted round and round; NULL: there is none. */
static inline struct ticket *nth(struct world *w, enum ticket_state state, unsigned n)
{
    size_t n_such = 0;

    for (size_t i = 0; i < w->plain.n_tickets; i++) {
        n_such += w->tickets[i].state == state;
    }
    for (size_t i = 0; i < w->plain.n_tickets && n_such > 0; i++) {
        if (w->tickets[i].state == state && n++ % n_such == 0) {
            return &w->tickets[i];
        }
    }
    return NULL;
}

static inline void end(struct world *w, struct ticket *t, enum errcode code)
{
    if (t) {
        release(w, t, code);
        outcome(w, t);
    }
}

static inline void happen(struct world *w, const struct step *s)
{
    struct ticket *t;

    switch (s->kind) {
    case ARRIVE:
        arrive(w, s);
        break;
    case FINISH:
        end(w, nth(w, TICKET_GRANTED, s->n), ERRCODE_NONE);
        break;
    case FAIL:
        end(w, nth(w, TICKET_GRANTED, s->n),
            s->n % 2 ? ERRCODE_CANCELLED : ERRCODE_UPSTREAM_OVERLOADED);
        break;
    case LEAVE:
        t = nth(w, TICKET_QUEUED, s->n);
        if (t) {
            leave_lane(w, t);
            admission_release(&w->admission, t, w->now);
            outcome(w, t);
        }
        break;
    case SPEAK:
        t = nth(w, TICKET_GRANTED, s->n);
        if (t) {
            admission_note_content(&w->admission, t, w->now);
        }
        break;
    case LEVEL:
        w->pressure.level = s->n % 8 < 4 ? PRESSURE_L0 : (enum pressure_level)(s->n % 4 + 1);
        break;
    case WAIT:
    case _KIND_MAX:
        break;
    }
}

/* As the loop does where it runs: to each deadline, and no further. */
static inline void pass_time(struct world *w, uint64_t until)
{
    unsigned n_wakes = 0;
    uint64_t at;

    while ((at = admission_next_deadline(&w->admission)) <= until && !w->broken[0]) {
        require(w, at > w->now || n_wakes == 0, "no deadline in the past");
        require(w, n_wakes++ < 1000, "time goes on");
        w->now = at > w->now ? at : w->now;
        settle(w);
    }
    w->now = until;
    settle(w); /* also charges what takes longer than expected */
}

static inline void play(struct world *w, const struct setting *setting, const struct step *steps,
                        size_t n)
{
    world_init(w, setting);
    for (size_t i = 0; i < n && !w->broken[0]; i++) {
        if (steps[i].is_late) {
            w->now += steps[i].after_usec;
        } else {
            pass_time(w, w->now + steps[i].after_usec);
        }
        happen(w, &steps[i]);
        settle(w);
    }
    if (w->broken[0]) { /* the admission may be in any state */
        w->plain.n_tickets = 0;
        list_for_each (l, &w->router.deployments) {
            CONTAINER_OF(l, struct deployment, link)->in_use = 0;
        }
        router_done(&w->router);
    } else {
        world_done(w);
    }
}

static uint64_t g_random;

static inline unsigned any(unsigned n)
{
    g_random = g_random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned) (g_random >> 33) % n;
}
