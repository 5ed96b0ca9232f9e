/*
 * The daemon's core under virtual time.
 *
 * Invariant: after each event the turn is set to now, if a run is wanted, else to the moment at which
 * the registry wants one.
 *
 * Must not: decide anything. What is decided is core's.
 */
#include "tests/sim/device.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define REQUEST_BYTES 4096

struct runner {
    struct backend backend;
    struct device_model *model;
    struct list jobs; /* backend_job.link */
};

struct backend_job {
    struct server_job job;
    struct list link; /* runner.jobs */
    struct event_sink *sink;
    struct event_heap *heap;
    uint64_t n_tokens;
};

static void *must(void *p)
{
    if (!p) {
        perror("device");
        abort();
    }
    return p;
}

/* ---------------------------------------------------------------- its runners */

static void tell(struct backend_job *job, enum event_type type)
{
    static const enum finish_reason stop = FINISH_LENGTH;
    struct event ev = {.type = type, .at_usec = job->heap->now_usec};

    if (type == EVENT_TEXT) {
        ev.text.bytes = STR_LIT("x");
    } else if (type == EVENT_FAILED) {
        ev.failed.code = ERRCODE_UPSTREAM_CUT;
    } else {
        assert(type == EVENT_END);
        ev.end.reasons = &stop;
        ev.end.n_choices = 1;
    }
    (void) event_sink_deliver(job->sink, &ev);
}

static void on_first(struct server_job *j)
{
    tell(CONTAINER_OF(j, struct backend_job, job), EVENT_TEXT);
}

static void on_end(struct server_job *j)
{
    struct backend_job *job = CONTAINER_OF(j, struct backend_job, job);

    list_remove(&job->link);
    tell(job, EVENT_END);
    free(job);
}

void device_kill_runner(struct device_model *m)
{
    struct runner *r = CONTAINER_OF(m->backend, struct runner, backend);
    struct list *l;

    while ((l = list_first(&r->jobs))) {
        struct backend_job *job = CONTAINER_OF(l, struct backend_job, link);

        list_remove(&job->link);
        server_job_stop(&job->job);
        tell(job, EVENT_FAILED);
        free(job);
    }
}

static int runner_start(struct backend *b, const struct backend_order *order,
                        struct event_sink *sink, uint64_t now_usec, struct backend_job **ret_job)
{
    struct device_model *m = CONTAINER_OF(b, struct runner, backend)->model;
    struct backend_job *job = must(calloc(1, sizeof *job));
    uint64_t delay = m->device->delay_usec ? m->device->delay_usec(m) : 0;

    (void) now_usec;
    list_append(&CONTAINER_OF(b, struct runner, backend)->jobs, &job->link);
    job->sink = sink;
    job->heap = m->device->heap;
    job->job.on_first = on_first;
    job->job.on_end = on_end;
    server_job_start(&m->server, &job->job, delay, m->prefill_usec, m->token_usec,
                     order->request->sampling.max_tokens);
    *ret_job = job;
    return 0;
}

static void runner_pause(struct backend_job *job)
{
    (void) job;
}

static void runner_resume(struct backend_job *job, uint64_t now_usec)
{
    (void) job;
    (void) now_usec;
}

static void runner_cancel(struct backend_job *job)
{
    list_remove(&job->link);
    server_job_stop(&job->job);
    free(job);
}

static void runner_free(struct backend *b)
{
    free(CONTAINER_OF(b, struct runner, backend));
}

static bool is_loaded(const struct backend *b, const char *model, uint64_t now_usec)
{
    (void) model;
    (void) now_usec;
    return CONTAINER_OF(b, struct runner, backend)->model->is_there;
}

static const struct memory_ops runner_memory = {.is_trusted = is_loaded};

static const struct backend_ops runner_ops = {
    .start = runner_start,
    .pause = runner_pause,
    .resume = runner_resume,
    .cancel = runner_cancel,
    .free = runner_free,
};

/* Of models that come and go. */
static const struct backend_ops loading_ops = {
    .start = runner_start,
    .pause = runner_pause,
    .resume = runner_resume,
    .cancel = runner_cancel,
    .free = runner_free,
    .is_loaded = is_loaded,
};

/* ---------------------------------------------------------------- its loop */

static void on_work(void *ctx)
{
    struct device *d = ctx;

    if (!d->registry.is_running) {
        event_heap_set(d->heap, &d->turn, d->heap->now_usec);
    }
}

static void on_ended(void *ctx, const struct call *call)
{
    (void) ctx;
    (void) call;
}

void device_want_turn(struct device *d, uint64_t at_usec)
{
    if (d->turn.place == 0 || at_usec < d->turn.at_usec) {
        event_heap_set(d->heap, &d->turn, at_usec);
    }
}

static void on_turn(struct sim_event *e)
{
    struct device *d = CONTAINER_OF(e, struct device, turn);
    uint64_t now = d->heap->now_usec, at;

    if (d->before_run) {
        d->before_run(d);
    }
    registry_run(&d->registry, now);
    if (d->after_run) {
        d->after_run(d);
    }
    at = registry_next_deadline(&d->registry);
    device_want_turn(d, at > now ? at : now + 1);
}

/* ---------------------------------------------------------------- in and out */

static void plan_model(struct device *d, struct router_plan *plan, struct device_model *m,
                       unsigned slots)
{
    struct runner *r = must(calloc(1, sizeof *r));
    struct deployment_spec spec = {.id = m->name,
                                   .fingerprint = m->name,
                                   .provider = "ollama",
                                   .upstream_model = m->name,
                                   .api_base = "here",
                                   .slots = slots,
                                   .is_local = true};

    r->backend.ops = d->delay_usec ? &loading_ops : &runner_ops;
    r->backend.memory = d->delay_usec ? &runner_memory : NULL;
    list_init(&r->jobs);
    r->model = m;
    m->backend = &r->backend;
    m->device = d;
    model_server_init(&m->server, d->heap, slots);
    if (router_plan_add(plan, m->name, must(deployment_new(&spec, &r->backend))) < 0) {
        (void) must(NULL);
    }
}

void device_init(struct device *d, struct event_heap *heap, const struct admission_params *params,
                 struct pressure *pressure, const struct device_model *models, size_t n_models,
                 unsigned slots, uint64_t (*delay_usec)(struct device_model *m))
{
    struct call_hooks hooks = {.ctx = d, .on_work = on_work, .on_ended = on_ended};
    struct router_plan plan = {0};

    assert(n_models <= DEVICE_MAX_MODELS);
    memset(d, 0, sizeof *d);
    d->heap = heap;
    d->pressure = pressure;
    d->delay_usec = delay_usec;
    d->turn.fire = on_turn;
    router_init(&d->router);
    for (size_t i = 0; i < n_models; i++) {
        d->models[i] = models[i];
        plan_model(d, &plan, &d->models[i], slots);
    }
    d->n_models = n_models;
    router_commit(&d->router, &plan);
    admission_init(&d->admission, params, &d->router, pressure);
    registry_init(&d->registry, &d->admission, &d->router, &d->stats, &hooks);
}

void device_done(struct device *d)
{
    event_heap_drop(d->heap, &d->turn);
    registry_done(&d->registry);
    admission_done(&d->admission);
    router_done(&d->router);
}

struct call *device_submit(struct device *d, const struct device_ask *ask, struct event_sink *sink)
{
    struct request *req = must(request_new(REQUEST_CHAT, REQUEST_BYTES));
    struct call *call = NULL;

    req->model = arena_copy(&req->arena, str_from(ask->model));
    req->class = ask->class;
    req->caller.has_uid = true;
    req->caller.uid = ask->uid;
    req->n_client_retries = ask->n_retries;
    req->max_wait_usec = ask->read_timeout_usec / 8 * 5; /* as frontend/http_overrides.c has it */
    req->max_stay_usec = ask->read_timeout_usec / 5 * 4;
    req->sampling.max_tokens = (uint32_t) ask->n_tokens;
    req->total_bytes = 500;
    if (call_submit(&d->registry, req, sink, d->heap->now_usec, &call) < 0) {
        (void) must(NULL);
    }
    return call;
}

struct admission_params device_default_params(void)
{
    return (struct admission_params) {
        .max_queued = 96,
        .max_queued_caller = 64,
        .max_queued_bytes = 16 << 20,
        .max_wait_usec = {15 * USEC_PER_SEC, 120 * USEC_PER_SEC, 600 * USEC_PER_SEC},
        .patience_usec = {4 * USEC_PER_SEC, 30 * USEC_PER_SEC, 120 * USEC_PER_SEC},
    };
}
