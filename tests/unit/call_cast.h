#pragma once
/*
 * Several deployments around a call, each a backend that does what the test says: for tests of
 * retries and fallbacks. A cast takes the place of the one puppet of call_support.h.
 */
#include "call_support.h"

#define CAST_MAX 40

struct actor {
    struct backend backend;
    const char *id;
    enum errcode fails_at_once[8]; /* within start(), the first calls; 0-terminated by n_failures */
    unsigned n_failures;
    int start_result;
    struct event_sink *sink; /* of the job at work; NULL: none */
    unsigned n_started, n_cancelled;
    char model[64]; /* backend_order.model of the last job */
    uint64_t total_usec;
};

/* The handle of a job is the actor's own: one job at a time. */
static inline struct actor *actor_of(struct backend_job *job)
{
    return (struct actor *) (void *) job;
}

static inline void fail_to(struct event_sink *sink, enum errcode code, uint64_t retry_after_usec,
                           uint64_t now)
{
    struct event ev = {.type = EVENT_FAILED,
                       .at_usec = now,
                       .failed = {.code = code, .retry_after_usec = retry_after_usec}};

    event_sink_deliver(sink, &ev);
}

static inline int actor_start(struct backend *b, const struct backend_order *order,
                              struct event_sink *sink, uint64_t now, struct backend_job **ret_job)
{
    struct actor *a = CONTAINER_OF(b, struct actor, backend);

    if (a->start_result < 0) {
        return a->start_result;
    }
    ck_assert_ptr_null(a->sink);
    snprintf(a->model, sizeof a->model, "%s", order->model ? order->model : "-");
    a->total_usec = order->total_usec;
    if (a->n_started++ < a->n_failures) {
        fail_to(sink, a->fails_at_once[a->n_started - 1], 0, now);
        *ret_job = NULL;
        return 0;
    }
    a->sink = sink;
    *ret_job = (struct backend_job *) (void *) a;
    return 0;
}

static inline void actor_pause(struct backend_job *job)
{
    (void) job;
}

static inline void actor_resume(struct backend_job *job, uint64_t now)
{
    (void) job;
    (void) now;
}

static inline void actor_cancel(struct backend_job *job)
{
    actor_of(job)->n_cancelled++;
    actor_of(job)->sink = NULL;
}

static inline void actor_free(struct backend *b)
{
    (void) b; /* the test's own */
}

static const struct backend_ops actor_ops = {
    .start = actor_start,
    .pause = actor_pause,
    .resume = actor_resume,
    .cancel = actor_cancel,
    .free = actor_free,
};

/* Where an actor plays. */
struct role {
    const char *group;
    struct deployment_terms terms;
    bool is_remote, is_off;
};

struct cast {
    struct world w;
    struct actor actors[CAST_MAX];
    unsigned n;
    struct router_plan plan; /* until cast_open() */
    struct recording_sink sink;
    struct call *call;
};

/* Two retries, no cooldowns; the test says more, then cast_open(). */
static inline void cast_plan(struct cast *c)
{
    c->plan = (struct router_plan) {0};
    router_policy_init(&c->plan.policy);
    c->plan.policy.cooldown.is_off = true;
    c->plan.policy.max_retries = 2;
}

static inline void cast_init(struct cast *c)
{
    memset(c, 0, sizeof *c);
    world_init(&c->w, 1, 8);
    cast_plan(c);
    recording_sink_init(&c->sink);
}

static inline struct actor *cast_add(struct cast *c, const char *id, struct role role)
{
    struct actor *a = &c->actors[c->n++];
    struct deployment *d;

    a->id = id;
    a->backend.ops = &actor_ops;
    if (role.terms.cooldown_usec == 0) {
        role.terms.cooldown_usec = USEC_NEVER;
    }
    if (role.terms.max_retries == 0) {
        role.terms.max_retries = FAIL_POLICY_UNSET;
    }
    d = deployment_new(&(struct deployment_spec) {.id = id,
                                                  .fingerprint = id,
                                                  .provider = "actor",
                                                  .upstream_model = id,
                                                  .off_reason = role.is_off ? "off" : NULL,
                                                  .slots = 1,
                                                  .is_local = !role.is_remote},
                       role.is_off ? NULL : &a->backend);
    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(deployment_plan_terms(d, &role.terms), 0);
    ck_assert_int_eq(router_plan_add(&c->plan, role.group ? role.group : "m", d), 0);
    return a;
}

static inline void cast_fallback(struct cast *c, enum fallback_kind kind, const char *from,
                                 const char *to, const char *or_to)
{
    char *targets[] = {(char *) (uintptr_t) to, (char *) (uintptr_t) or_to};

    ck_assert_int_eq(
        router_policy_add_fallbacks(&c->plan.policy, kind, from, targets, or_to ? 2 : 1), 0);
}

/* The plan becomes the router's state. */
static inline void cast_open(struct cast *c)
{
    router_commit(&c->w.router, &c->plan);
    registry_reroute(&c->w.registry, c->w.now);
}

/* One deployment of "m", and nothing planned beside the usual. */
static inline struct actor *cast_of_one(struct cast *c)
{
    struct actor *a;

    cast_init(c);
    a = cast_add(c, "a", (struct role) {0});
    cast_open(c);
    return a;
}

static inline void cast_ask(struct cast *c, struct request *req)
{
    c->call = submit(&c->w, req, &c->sink);
    run(&c->w);
}

static inline void cast_done(struct cast *c)
{
    recording_sink_done(&c->sink);
    world_done(&c->w);
}

static inline void act_fail(struct cast *c, struct actor *a, enum errcode code,
                            uint64_t retry_after_usec)
{
    struct event_sink *sink = TAKE(a->sink);

    ck_assert_msg(sink, "%s has no job", a->id);
    fail_to(sink, code, retry_after_usec, c->w.now);
    run(&c->w);
}

static inline void act_answer(struct cast *c, struct actor *a)
{
    struct event_sink *sink = TAKE(a->sink);

    ck_assert_msg(sink, "%s has no job", a->id);
    tell(sink, EVENT_TEXT, c->w.now);
    tell(sink, EVENT_END, c->w.now);
    run(&c->w);
}

/* Nothing is held any more, and the sink heard this. */
static inline void cast_expect(struct cast *c, const char *lines)
{
    ck_assert_str_eq(recording_sink_text(&c->sink), lines);
    ck_assert_uint_eq(c->w.registry.n_calls, 0);
    ck_assert_uint_eq(c->w.admission.n_granted + c->w.admission.n_queued, 0);
    ck_assert_uint_eq(c->w.n_ended, 1);
}

static inline void cast_expect_failure(struct cast *c, enum errcode code)
{
    ck_assert(c->sink.is_over);
    ck_assert_msg(c->sink.code == code, "%s", recording_sink_text(&c->sink));
    ck_assert_uint_eq(c->w.registry.n_calls, 0);
    ck_assert_uint_eq(c->w.admission.n_granted + c->w.admission.n_queued, 0);
}
