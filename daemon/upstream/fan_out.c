/*
 * See fan_out.h.
 *
 *   RUNNING ──(the inner job ended)──► BETWEEN ──(own wake-up, not paused)──► RUNNING ...
 *      └──(it was the last, or failed)──► over
 *
 * Owns: its job, a copy of the request that asks for one answer (the strings stay those of the
 * original), the inner job, and one event source, which starts the next inner job: nothing is
 * started from within deliver(). A time limit for the whole answer is shared by all of them.
 *
 * Must not: look into what is asked beyond the number of answers, or keep text.
 */
#include "upstream/fan_out.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "wire/json.h"

struct fan_out {
    struct backend backend;
    struct backend *inner; /* owned */
    struct upstreams *up;  /* borrowed */
    bool has_seed;         /* the deployment's */
    int64_t seed;
    uint64_t total_usec; /* of the deployment; 0: none */
};

struct backend_job {
    struct fan_out *owner; /* borrowed: outlives its jobs */
    struct event_sink inlet;
    struct event_sink *sink;      /* borrowed */
    const struct request *asked;  /* borrowed */
    struct backend_order order;   /* of the inner job at work */
    struct request one;           /* what it is asked, of several; owns nothing */
    struct backend_job *inner;    /* NULL between two, and while one is started */
    sd_event_source *next;        /* NULL where there is one answer, as the next */
    enum finish_reason *reasons;  /* n_answers */
    size_t n_answers, n_answered; /* the one at work is number n_answered */
    struct usage usage;
    bool has_usage;
    uint64_t started_at_usec, total_usec;
    bool is_starting; /* inside the inner start(): what ends there is freed behind it */
    bool is_over;     /* the terminal event was told */
    bool is_paused;
};

static size_t n_prompts(const struct request *req)
{
    return req->kind == REQUEST_COMPLETE && req->n_prompts > 1 ? req->n_prompts : 1;
}

static size_t count_answers(const struct request *req)
{
    bool is_text = req->kind == REQUEST_CHAT || req->kind == REQUEST_COMPLETE;

    return is_text ? n_prompts(req) * req->sampling.n_choices : 1;
}

static void job_free(struct backend_job *job)
{
    sd_event_source_disable_unref(job->next);
    free(job->reasons);
    free(job);
}

/* The terminal event is out. Whoever is in the middle of starting frees it. */
static void job_over(struct backend_job *job)
{
    job->is_over = true;
    if (!job->is_starting) {
        job_free(job);
    }
}

static void fail(struct backend_job *job, enum errcode code, uint64_t now_usec)
{
    struct event ev = {.type = EVENT_FAILED, .at_usec = now_usec, .failed = {.code = code}};

    (void) event_sink_deliver(job->sink, &ev);
    job_over(job);
}

/* ---- what the inner jobs tell */

/* The prompt is the same for all answers to it, and is told with each. */
static void add_usage(struct backend_job *job, const struct usage *u)
{
    if (job->n_answered % job->asked->sampling.n_choices == 0) {
        job->usage.tokens_in += u->tokens_in;
        job->usage.tokens_cached += u->tokens_cached;
    }
    job->usage.tokens_out += u->tokens_out;
    job->usage.tokens_reasoning += u->tokens_reasoning;
    job->has_usage = true;
}

static void tell_end(struct backend_job *job, const struct event *last)
{
    struct event usage = {.type = EVENT_USAGE, .at_usec = last->at_usec, .usage = job->usage};
    struct event end = *last;

    if (job->reasons) {
        end.end.reasons = job->reasons;
        end.end.n_choices = job->n_answers;
    }
    if (job->has_usage) {
        (void) event_sink_deliver(job->sink, &usage);
    }
    (void) event_sink_deliver(job->sink, &end);
    job_over(job);
}

static void on_inner_end(struct backend_job *job, const struct event *ev)
{
    job->inner = NULL;
    if (job->reasons) {
        job->reasons[job->n_answered] = ev->end.n_choices > 0 ? ev->end.reasons[0] : FINISH_STOP;
    }
    job->n_answered++;
    if (job->n_answered == job->n_answers) {
        tell_end(job, ev);
    } else if (!job->is_paused) {
        (void) sd_event_source_set_enabled(job->next, SD_EVENT_ONESHOT);
    }
}

static enum sink_answer on_event(struct event_sink *sink, const struct event *ev)
{
    struct backend_job *job = CONTAINER_OF(sink, struct backend_job, inlet);
    struct event mine = *ev;

    switch (ev->type) {
    case EVENT_QUEUED:
    case EVENT_STARTED:
        assert(0); /* core's own to tell */
        break;
    case EVENT_TEXT:
        mine.text.choice = (uint32_t) job->n_answered;
        return event_sink_deliver(job->sink, &mine);
    case EVENT_TOOL_CALL:
        mine.tool_call.choice = (uint32_t) job->n_answered;
        return event_sink_deliver(job->sink, &mine);
    case EVENT_EMBEDDING:
    case EVENT_RESULT:
        return event_sink_deliver(job->sink, ev);
    case EVENT_USAGE:
        add_usage(job, &ev->usage);
        break;
    case EVENT_END:
        on_inner_end(job, ev);
        break;
    case EVENT_FAILED:
        job->inner = NULL;
        (void) event_sink_deliver(job->sink, ev);
        job_over(job);
        break;
    }
    return SINK_ROOM;
}

/* ---- inner jobs */

#define NUMBER_BYTES 22 /* '-', the digits of a size_t, and the NUL */

/* Ids that a codec makes up (of tool calls) come from the request's, and must differ. */
static void number_id(struct request *one, const char *id, size_t i)
{
    (void) snprintf(one->id, sizeof one->id, "%.*s-%zu", (int) sizeof one->id - NUMBER_BYTES, id,
                    i);
}

static void ask_for(struct backend_job *job, size_t i)
{
    const struct request *asked = job->asked;
    size_t answer = i % asked->sampling.n_choices;
    struct sampling *s = &job->one.sampling;

    if (n_prompts(asked) > 1) {
        job->one.prompt = asked->prompts[i / asked->sampling.n_choices];
    }
    if (i > 0) {
        number_id(&job->one, asked->id, i);
    }
    s->n_choices = 1;
    if (answer > 0 && ((asked->sampling.set & SAMPLING_SEED) || job->owner->has_seed)) {
        int64_t seed =
            asked->sampling.set & SAMPLING_SEED ? asked->sampling.seed : job->owner->seed;

        s->set |= SAMPLING_SEED;
        s->seed = (int64_t) ((uint64_t) seed + answer);
    } else {
        s->set = asked->sampling.set;
        s->seed = asked->sampling.seed;
    }
}

/* 0: an inner job is at work, or has told its end already. -errno: nothing was started. */
static int start_inner(struct backend_job *job, uint64_t now_usec)
{
    struct backend *inner = job->owner->inner;
    struct backend_job *started = NULL;
    size_t before = job->n_answered;
    int r;

    if (job->n_answers > 1) {
        ask_for(job, job->n_answered);
    }
    job->is_starting = true;
    r = inner->ops->start(inner, &job->order, &job->inlet, now_usec, &started);
    job->is_starting = false;
    if (r == 0 && !job->is_over && job->n_answered == before) {
        job->inner = started;
        if (job->is_paused) {
            inner->ops->pause(started);
        }
    }
    return r;
}

/* What is left of a limit for all of them; never 0, which would be none. */
static uint64_t left(const struct backend_job *job, uint64_t now_usec)
{
    uint64_t used = usec_since(now_usec, job->started_at_usec);

    return used < job->total_usec ? job->total_usec - used : 0;
}

static void start_next(struct backend_job *job, uint64_t now_usec)
{
    if (job->total_usec > 0) {
        job->order.total_usec = left(job, now_usec);
        if (job->order.total_usec == 0) {
            fail(job, ERRCODE_UPSTREAM_TIMEOUT, now_usec);
            return;
        }
    }

    int r = start_inner(job, now_usec);

    if (r < 0) {
        fail(job, r == -ENOMEM ? ERRCODE_OUT_OF_MEMORY : ERRCODE_INTERNAL, now_usec);
    } else if (job->is_over) {
        job_free(job);
    }
}

static int on_next(sd_event_source *source, void *ctx)
{
    struct backend_job *job = ctx;

    if (!job->is_paused && !job->inner) {
        start_next(job, clock_now_usec());
    }
    return 0;
}

/* ---- the backend */

static int prepare_several(struct backend_job *job)
{
    int r;

    job->one = *job->asked;
    job->order.request = &job->one;
    job->reasons = calloc(job->n_answers, sizeof *job->reasons);
    if (!job->reasons) {
        return -ENOMEM;
    }
    r = sd_event_add_defer(job->owner->up->event, &job->next, on_next, job);
    return r < 0 ? r : sd_event_source_set_enabled(job->next, SD_EVENT_OFF);
}

static void job_init(struct backend_job *job, struct fan_out *f, const struct backend_order *order,
                     struct event_sink *sink, uint64_t now_usec)
{
    *job = (struct backend_job) {
        .owner = f,
        .inlet = {.deliver = on_event},
        .sink = sink,
        .asked = order->request,
        .order = *order,
        .n_answers = count_answers(order->request),
        .started_at_usec = now_usec,
        .total_usec = order->total_usec > 0 ? order->total_usec : f->total_usec,
    };
}

static int fan_out_start(struct backend *backend, const struct backend_order *order,
                         struct event_sink *sink, uint64_t now_usec, struct backend_job **ret_job)
{
    struct fan_out *f = CONTAINER_OF(backend, struct fan_out, backend);
    struct backend_job *job = malloc(sizeof *job);
    int r = 0;

    if (!job) {
        return -ENOMEM;
    }
    job_init(job, f, order, sink, now_usec);
    if (job->n_answers > 1) {
        r = prepare_several(job);
    }
    if (r >= 0) {
        r = start_inner(job, now_usec);
    }
    if (r < 0) {
        job_free(job);
        return r;
    }
    *ret_job = job->is_over ? NULL : job;
    if (job->is_over) {
        job_free(job);
    }
    return 0;
}

static void fan_out_pause(struct backend_job *job)
{
    job->is_paused = true;
    if (job->inner) {
        job->owner->inner->ops->pause(job->inner);
    }
}

static void fan_out_resume(struct backend_job *job, uint64_t now_usec)
{
    job->is_paused = false;
    if (job->inner) {
        job->owner->inner->ops->resume(job->inner, now_usec);
    } else if (job->next) {
        (void) sd_event_source_set_enabled(job->next, SD_EVENT_ONESHOT);
    }
}

static void fan_out_cancel(struct backend_job *job)
{
    if (job->inner) {
        job->owner->inner->ops->cancel(job->inner);
    }
    job_free(job);
}

static void fan_out_free(struct backend *backend)
{
    struct fan_out *f = CONTAINER_OF(backend, struct fan_out, backend);

    f->inner->ops->free(f->inner);
    free(f);
}

static bool fan_out_is_loaded(const struct backend *backend, const char *model, uint64_t now_usec)
{
    const struct fan_out *f = CONTAINER_OF(backend, struct fan_out, backend);

    return f->inner->ops->is_loaded && f->inner->ops->is_loaded(f->inner, model, now_usec);
}

static bool fan_out_is_down(const struct backend *backend)
{
    const struct fan_out *f = CONTAINER_OF(backend, struct fan_out, backend);

    return f->inner->ops->is_down && f->inner->ops->is_down(f->inner);
}

static bool fan_out_checked(const struct backend *backend, struct backend_check *ret)
{
    const struct fan_out *f = CONTAINER_OF(backend, struct fan_out, backend);

    return f->inner->ops->checked && f->inner->ops->checked(f->inner, ret);
}

static const char *fan_out_server_version(const struct backend *backend)
{
    const struct fan_out *f = CONTAINER_OF(backend, struct fan_out, backend);

    return f->inner->ops->server_version ? f->inner->ops->server_version(f->inner) : "";
}

static void fan_out_look(struct backend *backend, uint64_t now_usec)
{
    struct fan_out *f = CONTAINER_OF(backend, struct fan_out, backend);

    if (f->inner->ops->look) {
        f->inner->ops->look(f->inner, now_usec);
    }
}

static int fan_out_unload(struct backend *backend, const char *model, struct unload_sink *sink,
                          struct unload_job **ret_job)
{
    struct fan_out *f = CONTAINER_OF(backend, struct fan_out, backend);

    return f->inner->ops->unload ? f->inner->ops->unload(f->inner, model, sink, ret_job)
                                 : -EOPNOTSUPP;
}

static void fan_out_list_models(struct backend *backend, uint64_t now_usec, model_visit_fn visit,
                                void *ctx)
{
    struct fan_out *f = CONTAINER_OF(backend, struct fan_out, backend);

    if (f->inner->ops->list_models) {
        f->inner->ops->list_models(f->inner, now_usec, visit, ctx);
    }
}

static const struct memory_ops *memory_of(const struct backend *b)
{
    return CONTAINER_OF(b, struct fan_out, backend)->inner->memory;
}

static struct backend *inner_of(struct backend *b)
{
    return CONTAINER_OF(b, struct fan_out, backend)->inner;
}

static bool fan_out_is_trusted(const struct backend *b, const char *model, uint64_t now_usec)
{
    return memory_of(b)->is_trusted(CONTAINER_OF(b, struct fan_out, backend)->inner, model,
                                    now_usec);
}

static int fan_out_ask_facts(struct backend *b, const char *model, struct memory_sink *sink,
                             struct memory_job **ret_job)
{
    return memory_of(b)->ask_facts(inner_of(b), model, sink, ret_job);
}

static int fan_out_ask_held(struct backend *b, struct memory_sink *sink,
                            struct memory_job **ret_job)
{
    return memory_of(b)->ask_held(inner_of(b), sink, ret_job);
}

static int fan_out_load(struct backend *b, const char *model, bool makes_embeddings,
                        struct memory_sink *sink, struct memory_job **ret_job)
{
    return memory_of(b)->load(inner_of(b), model, makes_embeddings, sink, ret_job);
}

static bool fan_out_is_loading(const struct backend *b, const char *model)
{
    return memory_of(b)->is_loading &&
           memory_of(b)->is_loading(CONTAINER_OF(b, struct fan_out, backend)->inner, model);
}

static void fan_out_stop_load(struct backend *b, const char *model, const char *why)
{
    memory_of(b)->stop_load(inner_of(b), model, why);
}

/* Where the inner backend has them. */
static const struct memory_ops memory = {
    .is_trusted = fan_out_is_trusted,
    .ask_facts = fan_out_ask_facts,
    .ask_held = fan_out_ask_held,
    .load = fan_out_load,
    .is_loading = fan_out_is_loading,
    .stop_load = fan_out_stop_load,
};

static const struct backend_ops ops = {
    .start = fan_out_start,
    .pause = fan_out_pause,
    .resume = fan_out_resume,
    .cancel = fan_out_cancel,
    .free = fan_out_free,
    .is_loaded = fan_out_is_loaded,
    .is_down = fan_out_is_down,
    .checked = fan_out_checked,
    .look = fan_out_look,
    .server_version = fan_out_server_version,
    .unload = fan_out_unload,
    .list_models = fan_out_list_models,
};

int fan_out_new(struct upstreams *up, struct backend *inner, const struct provider_params *params,
                struct backend **ret)
{
    struct fan_out *f = calloc(1, sizeof *f);
    struct str seed = str_from(params->options ? kv_find(params->options, "seed") : NULL);

    if (!f) {
        inner->ops->free(inner);
        return -ENOMEM;
    }
    *f = (struct fan_out) {
        .backend = {&ops, inner->memory ? &memory : NULL},
        .inner = inner,
        .up = up,
        .total_usec = params->total_usec,
    };
    f->has_seed = !json_is_null(seed) && json_i64(seed, &f->seed) == 0;
    *ret = &f->backend;
    return 0;
}
