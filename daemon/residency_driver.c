/*
 * See residency_driver.h.
 *
 * Owns what is learned of footprints (and its file), one timer, and the jobs under way: questions to
 * servers, one load that an operator wants, one unload. Each job remembers names, not deployments or
 * models: both may go while it waits.
 *
 * The timer is off unless something moves or somebody waits for memory; then memory is looked at five
 * times in a second. An idle daemon reads nothing.
 */
#include "residency_driver.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/model_load.h"
#include "device_memory.h"
#include "footprint_file.h"
#include "residency_report.h"
#include "runner_look.h"
#include "upstream/ollama_loader.h"
#include "wire/ollama_names.h"
#include "wire/problem.h"

#define READ_USEC   (100 * USEC_PER_MSEC) /* memory that old is as good as new */
#define WATCH_USEC  (200 * USEC_PER_MSEC) /* while something moves */
#define SEC_PER_DAY 86400
#define ECHO_USEC   (500 * USEC_PER_MSEC) /* samples are no further apart beside calls */

struct driver_job {
    struct list link; /* residency_driver.jobs */
    struct residency_driver *driver;
    enum residency_verb verb;
    struct memory_sink sink;
    struct unload_sink unload;
    struct memory_job *memory_job; /* one of the two, or neither once it is told */
    struct unload_job *unload_job;
    struct list askers;  /* unload_asker.link: for whom it is, besides residency */
    char *server, *name; /* owned */
};

/* Somebody else who waits for an unload. */
struct unload_asker {
    struct list link; /* driver_job.askers */
    struct unload_job handle;
    struct unload_sink *sink; /* borrowed */
};

/* ---------------------------------------------------------------- the device */

/* What the servers' control group leaves, as of the last sample of the pressure: while calls are active not long ago. */
static void add_group(const struct residency_driver *d, struct residency_memory *memory)
{
    const struct memory_sample *s =
        d->monitor->pressure ? pressure_newest(d->monitor->pressure) : NULL;

    if (s) {
        residency_memory_add(memory, &s->place[MEMORY_SERVER]);
    }
}

static void read_memory(struct residency_driver *d, uint64_t now_usec)
{
    uint32_t today = (uint32_t) (clock_wall_usec() / USEC_PER_SEC / SEC_PER_DAY);
    struct residency_memory memory = {0};
    int r;

    if (!d->residency.params.is_on ||
        (d->read_at_usec > 0 && usec_since(now_usec, d->read_at_usec) < READ_USEC)) {
        return;
    }
    r = device_memory_read(d->kernel_root, &memory);
    if (r < 0 && !d->has_complained) {
        d->has_complained = true;
        log_printf(LOG_LEVEL_WARNING,
                   "%s/proc/meminfo: %s: models are loaded without a look at memory",
                   d->kernel_root, strerror(-r));
    }
    add_group(d, &memory);
    d->read_at_usec = now_usec;
    residency_set_memory(&d->residency, &memory, today, now_usec);
}

static struct deployment *find_deployment(struct list *list, const char *server, const char *name)
{
    struct deployment *other = NULL;

    list_for_each (l, list) {
        struct deployment *one = CONTAINER_OF(l, struct deployment, link);

        if (!one->backend || !one->backend->memory || strcmp(one->api_base, server) != 0) {
            continue;
        }
        if (residency_name_is_same(one->upstream_model, name)) {
            return one;
        }
        other = !other || strchr(one->upstream_model, '*') ? one : other;
    }
    return other;
}

/*
 * A deployment through which this server and model can be spoken of; NULL: none is left. What a server
 * holds for a name that a reload has taken away can be asked and told by way of another name. A
 * deployment that a reload has taken away will do while a call uses it: its load may have to be stopped.
 */
static struct deployment *deployment_for(struct residency_driver *d, const char *server,
                                         const char *name)
{
    struct deployment *one = find_deployment(&d->router->deployments, server, name);

    return one ? one : find_deployment(&d->router->retired, server, name);
}

static struct residency_model *model_of(struct residency_driver *d, const struct driver_job *job)
{
    return residency_find(&d->residency, job->server, job->name);
}

/* ---------------------------------------------------------------- jobs */

static void job_free(struct driver_job *job)
{
    assert(list_is_empty(&job->askers)); /* they were told, or have left before the driver ends */
    if (job->memory_job) {
        job->memory_job->cancel(job->memory_job);
    }
    if (job->unload_job) {
        job->unload_job->cancel(job->unload_job);
    }
    list_remove(&job->link);
    free(job->server);
    free(job->name);
    free(job);
}

/* It was told: its own job is gone. */
static void job_end(struct driver_job *job)
{
    struct residency_driver *d = job->driver;

    job->memory_job = NULL;
    job->unload_job = NULL;
    job_free(job);
    d->read_at_usec = 0;
    d->on_change(d->ctx);
}

static struct driver_job *job_of(struct memory_sink *sink)
{
    return CONTAINER_OF(sink, struct driver_job, sink);
}

static void on_facts(struct memory_sink *sink, const struct model_facts *facts)
{
    static const struct model_facts nothing = {.file_bytes = 0};
    struct driver_job *job = job_of(sink);
    struct residency_model *m = model_of(job->driver, job);
    const struct deployment *d = deployment_for(job->driver, job->server, job->name);
    uint32_t slots = d ? d->slots : 1;

    facts = facts ? facts : &nothing;
    if (m) {
        const struct footprint_shape shape = {facts->n_layers, facts->n_kv_heads, facts->key_length,
                                              facts->value_length, facts->trained_ctx};
        const struct footprint_facts known = {
            .told_bytes = facts->told_bytes,
            .file_bytes = facts->file_bytes,
            .kv_bytes = footprint_kv_bytes(&shape, facts->num_ctx, slots),
        };

        residency_told(m, facts->digest, facts->num_ctx, slots, &known, facts->makes_embeddings);
    }
    job_end(job);
}

static const struct model_held *find_held(const struct model_held *held, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (ollama_name_is_same(held[i].name, str_from(name))) {
            return &held[i];
        }
    }
    return NULL;
}

static bool is_trusted(struct residency_driver *d, const struct residency_model *m,
                       uint64_t now_usec)
{
    const struct deployment *one = deployment_for(d, m->server, m->name);

    return one && one->backend->memory->is_trusted(one->backend, m->name, now_usec);
}

/* One answer speaks of all models of the server; none says nothing of any. */
static void on_held(struct memory_sink *sink, const struct model_held *held, size_t n)
{
    struct driver_job *job = job_of(sink);
    struct residency_driver *d = job->driver;
    uint64_t now = clock_now_usec();

    list_for_each (l, &d->residency.models) {
        struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);
        const struct model_held *its = held ? find_held(held, n, m->name) : NULL;
        uint64_t bytes =
            its && its->size_bytes >= its->vram_bytes ? its->size_bytes - its->vram_bytes : 0;
        /* without an answer what was believed is believed for another moment */
        bool is_there = held ? its != NULL : m->state == RESIDENCY_RESIDENT;

        if (strcmp(m->server, job->server) == 0) {
            residency_looked(&d->residency, m, is_there, bytes, !held || is_trusted(d, m, now),
                             now);
        }
    }
    job_end(job);
}

static void on_loaded(struct memory_sink *sink, enum errcode code, const char *text)
{
    job_end(job_of(sink)); /* the loader has told before: on_load_ended() */
}

static void asker_free(struct unload_asker *asker)
{
    list_remove(&asker->link);
    free(asker);
}

static void on_unloaded(struct unload_sink *sink, const struct unload_result *result)
{
    struct driver_job *job = CONTAINER_OF(sink, struct driver_job, unload);
    struct residency_driver *d = job->driver;
    struct residency_model *m = model_of(d, job);
    bool is_gone = result->code == ERRCODE_NONE;
    struct list told, *l;

    if (m && !is_gone && m->state == RESIDENCY_UNLOADING) {
        residency_report_stuck(m, result->text ? result->text : errcode_info(result->code)->text);
    }
    if (m) {
        residency_unloaded(&d->residency, m, is_gone, clock_now_usec());
    }
    list_init(&told);
    while ((l = list_first(&job->askers))) {
        list_remove(l);
        list_append(&told, l);
    }
    job_end(job);
    while ((l = list_first(&told))) {
        struct unload_asker *asker = CONTAINER_OF(l, struct unload_asker, link);
        struct unload_sink *its = asker->sink;

        asker_free(asker);
        its->on_unloaded(its, result);
    }
}

static struct driver_job *job_new(struct residency_driver *d, const struct residency_action *action)
{
    struct driver_job *job = calloc(1, sizeof *job);

    if (!job) {
        return NULL;
    }
    job->driver = d;
    job->verb = action->verb;
    job->sink = (struct memory_sink) {on_facts, on_held, on_loaded};
    job->unload.on_unloaded = on_unloaded;
    job->server = strdup(action->model->server);
    job->name = strdup(action->model->name);
    list_init(&job->link);
    list_init(&job->askers);
    if (!job->server || !job->name) {
        job_free(job);
        return NULL;
    }
    list_append(&d->jobs, &job->link);
    return job;
}

static int start_job(struct driver_job *job, struct backend *b, bool makes_embeddings)
{
    switch (job->verb) {
    case RESIDENCY_INQUIRE:
        return b->memory->ask_facts(b, job->name, &job->sink, &job->memory_job);
    case RESIDENCY_LOOK:
        return b->memory->ask_held(b, &job->sink, &job->memory_job);
    case RESIDENCY_LOAD:
        return b->memory->load(b, job->name, makes_embeddings, &job->sink, &job->memory_job);
    case RESIDENCY_UNLOAD:
        return b->ops->unload(b, job->name, &job->unload, &job->unload_job);
    case RESIDENCY_STOP:
        break;
    }
    return -EINVAL;
}

/* ---------------------------------------------------------------- unloads that others ask for */

/* The server was told already: what comes of it residency has to know, whoever has left. */
static void forget_asker(struct unload_job *handle)
{
    asker_free(CONTAINER_OF(handle, struct unload_asker, handle));
}

/* The unload of the model that is under way; NULL: none. */
static struct driver_job *unload_of(const struct residency_driver *d,
                                    const struct residency_model *m)
{
    list_for_each (l, &d->jobs) {
        struct driver_job *job = CONTAINER_OF(l, struct driver_job, link);

        if (job->verb == RESIDENCY_UNLOAD && strcmp(job->server, m->server) == 0 &&
            strcmp(job->name, m->name) == 0) {
            return job;
        }
    }
    return NULL;
}

static int begin_unload(struct residency_driver *d, const struct deployment *of,
                        struct residency_model *m, struct driver_job **ret_job)
{
    const struct residency_action action = {.verb = RESIDENCY_UNLOAD, .model = m};
    struct driver_job *job = job_new(d, &action);
    int r;

    if (!job) {
        return -ENOMEM;
    }
    r = start_job(job, of->backend, false);
    if (r < 0) {
        job_free(job);
        return r;
    }
    residency_unload_began(m, clock_now_usec());
    *ret_job = job;
    return 0;
}

int residency_driver_unload(struct residency_driver *d, const struct deployment *of,
                            const char *name, struct unload_sink *sink, struct unload_job **ret_job)
{
    struct residency_model *m = residency_of(&d->residency, of, name);
    struct driver_job *job = m ? unload_of(d, m) : NULL;
    struct unload_asker *asker;
    int r;

    if (!m) {
        return -EOPNOTSUPP;
    }
    asker = calloc(1, sizeof *asker);
    r = !asker ? -ENOMEM : job ? 0 : begin_unload(d, of, m, &job);
    if (r < 0) {
        free(asker);
        return r;
    }
    asker->sink = sink;
    asker->handle.cancel = forget_asker;
    list_init(&asker->link);
    list_append(&job->askers, &asker->link);
    *ret_job = &asker->handle;
    d->on_change(d->ctx);
    return 0;
}

static int unload(struct residency *r, const struct deployment *of, const char *name,
                  struct unload_sink *sink, struct unload_job **ret_job)
{
    return residency_driver_unload(CONTAINER_OF(r, struct residency_driver, residency), of, name,
                                   sink, ret_job);
}

/* Nobody could be asked: as if the answer had been nothing. */
static void give_up(struct residency_driver *d, const struct residency_action *action, int error,
                    uint64_t now_usec)
{
    static const struct footprint_facts nothing = {.told_bytes = 0};
    struct residency_model *m = action->model;

    switch (action->verb) {
    case RESIDENCY_INQUIRE:
        residency_told(m, STR_NONE, 0, 1, &nothing, false);
        break;
    case RESIDENCY_LOOK:
        residency_looked(&d->residency, m, m->state == RESIDENCY_RESIDENT, 0, true, now_usec);
        break;
    case RESIDENCY_LOAD:
        residency_load_began(&d->residency, m, now_usec);
        (void) residency_load_ended(
            &d->residency, m, error == 1 ? RESIDENCY_LOAD_OK : RESIDENCY_LOAD_UNKNOWN, now_usec);
        break;
    case RESIDENCY_UNLOAD:
        residency_unloaded(&d->residency, m, false, now_usec);
        break;
    case RESIDENCY_STOP:
        break;
    }
}

static void carry_out(struct residency_driver *d, const struct residency_action *action,
                      uint64_t now_usec)
{
    const struct residency_model *m = action->model;
    struct deployment *one = deployment_for(d, m->server, m->name);
    struct driver_job *job = NULL;
    char why[RESIDENCY_TEXT_BYTES];
    int r = -ENOENT;

    if (action->verb == RESIDENCY_STOP) {
        residency_report_stopped(m, action->reason, why);
        if (one) {
            one->backend->memory->stop_load(one->backend, m->name, why);
        }
        return;
    }
    if (action->verb == RESIDENCY_UNLOAD) {
        residency_report_makes_room(action);
    }
    job = one ? job_new(d, action) : NULL;
    r = job ? start_job(job, one->backend, m->makes_embeddings) : r;
    if (r == 0) {
        return;
    }
    if (job) {
        job_free(job);
    }
    give_up(d, action, r, now_usec);
}

/* ---------------------------------------------------------------- what the loader tells */

static void on_load_began(void *ctx, const char *server, const char *model)
{
    uint64_t now = clock_now_usec();
    struct residency_driver *d = ctx;
    struct residency_model *m = residency_find(&d->residency, server, model);

    if (m) {
        residency_load_began(&d->residency, m, now);
        runner_look_began(&d->residency, m, d->monitor, now);
    }
}

/* What became of a load, as far as trying it again goes. */
static enum residency_load fate_of(const struct problem *problem)
{
    if (!problem) {
        return RESIDENCY_LOAD_OK;
    }
    if (problem->code == ERRCODE_UPSTREAM_OUT_OF_MEMORY) {
        return RESIDENCY_LOAD_KILLED;
    }
    return problem->code == ERRCODE_UPSTREAM_ERROR || problem->code == ERRCODE_UPSTREAM_CUT ||
                   problem->code == ERRCODE_UPSTREAM_TIMEOUT
               ? RESIDENCY_LOAD_FAILED
               : RESIDENCY_LOAD_UNKNOWN;
}

static void on_load_ended(void *ctx, const char *server, const char *model,
                          const struct problem *problem)
{
    struct residency_driver *d = ctx;
    struct residency_model *m = residency_find(&d->residency, server, model);
    uint64_t now = clock_now_usec();
    const char *why = !problem           ? ""
                      : problem->text[0] ? problem->text
                                         : errcode_info(problem->code)->text;

    if (!m) {
        return;
    }
    if (residency_load_ended(&d->residency, m, fate_of(problem), now)) {
        residency_report_quarantined(m, why, now);
    }
    footprint_file_write(&d->footprints);
    model_loads_end(&d->residency, m, problem ? problem->code : ERRCODE_NONE, why);
    d->read_at_usec = 0;
    d->on_change(d->ctx);
}

static void on_gone(void *ctx, const char *server, const char *model)
{
    struct residency_driver *d = ctx;
    struct residency_model *m = residency_find(&d->residency, server, model);

    if (m && m->state != RESIDENCY_UNLOADING) { /* else our own job tells */
        residency_unloaded(&d->residency, m, true, clock_now_usec());
        d->on_change(d->ctx);
    }
}

static void on_lost(void *ctx, const char *server)
{
    struct residency_driver *d = ctx;

    residency_server_lost(&d->residency, server, clock_now_usec());
}

/* ---------------------------------------------------------------- runs */

static void arm(struct residency_driver *d, uint64_t now_usec)
{
    uint64_t at = residency_next_at(&d->residency, now_usec);
    uint64_t runner_at = residency_runner_at(&d->residency);

    at = runner_at < at ? runner_at : at;

    if (residency_is_moving(&d->residency)) {
        at = usec_add(now_usec, WATCH_USEC);
    } else if (d->residency.freeing_bytes > 0) {
        at = usec_add(now_usec, READ_USEC);
    }
    (void) sd_event_source_set_time(d->timer, at);
    (void) sd_event_source_set_enabled(d->timer,
                                       at == USEC_NEVER ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static void read_pressure(struct residency_driver *d)
{
    const struct pressure *p = d->monitor->pressure;

    if (p) {
        residency_set_pressure(&d->residency, &(struct residency_pressure) {
                                                  .level = p->level,
                                                  .acute = p->acute,
                                                  .exhaustion_usec = p->exhaustion_usec,
                                                  .fall_bytes_per_sec = p->fall_bytes_per_sec});
    }
}

void residency_driver_begin_run(struct residency_driver *d, uint64_t now_usec)
{
    if (d->residency.freeing_bytes > 0) { /* a load may be waiting for nothing else */
        memory_monitor_sample(d->monitor, now_usec);
    }
    read_pressure(d);
    read_memory(d, now_usec);
    residency_begin_run(&d->residency);
}

void residency_driver_end_run(struct residency_driver *d, uint64_t now_usec)
{
    struct residency_action action;

    if (residency_forget_servers(&d->residency, now_usec)) {
        d->on_change(d->ctx);
    }
    residency_end_run(&d->residency, now_usec);
    if (runner_look_turn(&d->residency, d->monitor, d->kernel_root, now_usec)) {
        footprint_file_write(&d->footprints);
    }
    model_loads_turn(&d->residency, now_usec);
    while (residency_next(&d->residency, now_usec, &action)) {
        carry_out(d, &action, now_usec);
    }
    arm(d, now_usec);
    memory_monitor_set_exposed(d->monitor, residency_is_exposed(&d->residency), now_usec);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct residency_driver *d = ctx;

    d->on_change(d->ctx);
    return 0;
}

/*
 * What a load takes at once is no sign that memory runs out, nor is it for as long as the window of
 * the pressure still looks back at it: only what is left counts then. What goes beyond the plan is.
 */
struct pressure_claims residency_driver_claims(const struct residency_driver *d, uint64_t now_usec)
{
    uint64_t since_usec = usec_since(now_usec, PRESSURE_WINDOW_USEC + ECHO_USEC);
    bool is_loading = ollama_loader_any_since(d->upstreams, since_usec);
    bool is_planned = is_loading && residency_goes_as_planned(&d->residency);

    return (struct pressure_claims) {.is_loading = is_loading, .is_planned = is_planned};
}

/* ---------------------------------------------------------------- life */

int residency_driver_init(struct residency_driver *d, sd_event *event, struct router *router,
                          struct upstreams *up, struct memory_monitor *monitor,
                          const struct residency_params *params, const char *kernel_root)
{
    int r;

    list_init(&d->jobs);
    d->router = router;
    d->upstreams = up;
    d->monitor = monitor;
    d->kernel_root = strdup(kernel_root);
    if (!d->kernel_root) {
        return -ENOMEM;
    }
    footprint_file_read(&d->footprints);
    residency_init(&d->residency, params, router, &d->footprints);
    d->residency.unload = unload;
    router->residency = &d->residency;
    up->memory = (struct model_hooks) {.ctx = d,
                                       .on_load_began = on_load_began,
                                       .on_load_ended = on_load_ended,
                                       .on_gone = on_gone,
                                       .on_lost = on_lost};
    r = sd_event_add_time(event, &d->timer, CLOCK_MONOTONIC, USEC_NEVER, USEC_PER_MSEC, on_timer,
                          d);
    return r < 0 ? r : sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
}

void residency_driver_done(struct residency_driver *d)
{
    if (!d->router) {
        return;
    }
    list_for_each_safe (l, &d->jobs) {
        job_free(CONTAINER_OF(l, struct driver_job, link));
    }
    d->timer = sd_event_source_disable_unref(d->timer);
    footprint_file_write(&d->footprints);
    d->router->residency = NULL;
    d->upstreams->memory = (struct model_hooks) {.ctx = NULL};
    residency_done(&d->residency);
    free(d->kernel_root);
}
