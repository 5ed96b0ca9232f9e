#pragma once
/*
 * What the tests of calls share: the world around a call, a backend that does what the test says,
 * and a clock of our own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/call.h"
#include "support.h"

#define SEC USEC_PER_SEC

/* A backend whose jobs answer when told. */
struct backend_job {
    struct event_sink *sink;
    bool is_paused;
    unsigned n_resumed;
};

struct puppet {
    struct backend backend;
    struct backend_job *jobs[64];
    unsigned n_started, n_cancelled;
    int start_result;  /* -errno to fail with */
    bool ends_at_once; /* delivers everything within start() */
};

/* All that a call needs around it, under a clock of its own. One at a time: see g_puppet. */
struct world {
    struct router router;
    struct admission admission;
    struct pressure pressure;
    struct stats stats;
    struct call_registry registry;
    struct puppet *puppet;
    uint64_t now;
    unsigned n_wanted, n_ended;
    enum errcode last_outcome;
};

static inline void tell(struct event_sink *sink, enum event_type type, uint64_t now)
{
    static const enum finish_reason stop = FINISH_STOP;
    struct event ev = {.type = type, .at_usec = now};

    if (type == EVENT_TEXT) {
        ev.text.bytes = str_from("hi");
    } else if (type == EVENT_USAGE) {
        ev.usage = (struct usage) {.tokens_in = 3, .tokens_out = 5};
    } else if (type == EVENT_END) {
        ev.end.reasons = &stop;
        ev.end.n_choices = 1;
    } else if (type == EVENT_FAILED) {
        ev.failed.code = ERRCODE_UPSTREAM_CUT;
    }
    event_sink_deliver(sink, &ev);
}

static inline int puppet_start(struct backend *b, const struct backend_order *order,
                               struct event_sink *sink, uint64_t now, struct backend_job **ret_job)
{
    struct puppet *p = CONTAINER_OF(b, struct puppet, backend);

    if (p->start_result < 0) {
        return p->start_result;
    }
    if (p->ends_at_once) {
        tell(sink, EVENT_TEXT, now);
        tell(sink, EVENT_END, now);
        *ret_job = NULL;
        return 0;
    }

    struct backend_job *job = calloc(1, sizeof *job);

    if (!job) {
        return -ENOMEM;
    }
    job->sink = sink;
    ck_assert_uint_lt(p->n_started, ARRAY_LEN(p->jobs));
    p->jobs[p->n_started++] = job;
    *ret_job = job;
    return 0;
}

static inline void puppet_pause(struct backend_job *job)
{
    job->is_paused = true;
}

static inline void puppet_resume(struct backend_job *job, uint64_t now)
{
    job->is_paused = false;
    job->n_resumed++;
}

static struct puppet *g_puppet; /* cancel() is given the job only */

static inline void drop(struct backend_job *job)
{
    for (unsigned i = 0; i < g_puppet->n_started; i++) {
        if (g_puppet->jobs[i] == job) {
            g_puppet->jobs[i] = NULL;
        }
    }
    free(job);
}

static inline void puppet_cancel(struct backend_job *job)
{
    g_puppet->n_cancelled++;
    drop(job);
}

static inline void puppet_free(struct backend *b)
{
    free(CONTAINER_OF(b, struct puppet, backend));
    g_puppet = NULL;
}

static const struct backend_ops puppet_ops = {
    .start = puppet_start,
    .pause = puppet_pause,
    .resume = puppet_resume,
    .cancel = puppet_cancel,
    .free = puppet_free,
};

/* The i-th job ends as told. */
static inline void finish(struct world *w, unsigned i, enum event_type type)
{
    struct backend_job *job = w->puppet->jobs[i];

    ck_assert_ptr_nonnull(job);
    tell(job->sink, type, w->now);
    drop(job);
}

static inline void on_work(void *ctx)
{
    ((struct world *) ctx)->n_wanted++;
}

static inline void on_ended(void *ctx, const struct call *call)
{
    struct world *w = ctx;

    w->n_ended++;
    w->last_outcome = call->outcome;
}

static inline void world_init(struct world *w, unsigned slots, size_t max_queued)
{
    struct admission_params params = {.max_queued = max_queued,
                                      .max_queued_bytes = 1000,
                                      .max_wait_usec = {15 * SEC, 120 * SEC, 600 * SEC}};
    struct call_hooks hooks = {.ctx = w, .on_work = on_work, .on_ended = on_ended};
    struct router_plan plan = {0};

    *w = (struct world) {.now = 1000 * SEC, .puppet = calloc(1, sizeof *w->puppet)};
    ck_assert_ptr_nonnull(w->puppet);
    w->puppet->backend.ops = &puppet_ops;
    g_puppet = w->puppet;
    router_init(&w->router);
    pressure_init(&w->pressure);
    admission_init(&w->admission, &params, &w->router, &w->pressure);
    registry_init(&w->registry, &w->admission, &w->router, &w->stats, &hooks);

    struct deployment *d = deployment_new(&(struct deployment_spec) {.id = "d1",
                                                                     .fingerprint = "d1",
                                                                     .provider = "puppet",
                                                                     .slots = slots,
                                                                     .is_local = true},
                                          &w->puppet->backend);

    ck_assert_int_eq(router_plan_add(&plan, "m", d), 0);
    router_commit(&w->router, &plan);
}

static inline void world_done(struct world *w)
{
    registry_done(&w->registry);
    admission_done(&w->admission);
    router_done(&w->router);
}

static inline void run(struct world *w)
{
    registry_run(&w->registry, w->now);
}

static inline struct request *request(const char *model, const char *id)
{
    struct request *req = request_new(REQUEST_CHAT, 4096);

    if (req) {
        req->model = str_from(model);
        req->total_bytes = 100;
        req->caller = (struct caller) {.has_uid = true, .uid = 7, .frontend = "test"};
        snprintf(req->id, sizeof req->id, "%s", id);
    }
    return req;
}

static inline struct call *submit(struct world *w, struct request *req, struct recording_sink *sink)
{
    struct call *call = NULL;

    recording_sink_init(sink);
    ck_assert_int_eq(call_submit(&w->registry, req, &sink->sink, w->now, &call), 0);
    return call;
}
