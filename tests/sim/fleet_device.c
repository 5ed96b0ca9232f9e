/*
 * What the daemon's drivers do around core/residency and core/pressure, with a kernel and a model
 * server that are made up.
 *
 *   available = RAM - system - neighbour - what models hold (of one that is loaded: as far as it is)
 *
 * Must not: decide what is loaded or refused. Simplified: no PSI (headroom and time to exhaustion
 * only, as on kernels without), no swap, no caches that grow, runners of exactly the size that their
 * files promise.
 */
#include "tests/sim/fleet_device.h"

#include <stdio.h>

#include "base/clock.h"

#define MIB            (UINT64_C(1) << 20)
#define OS_BYTES       (400 * MIB)
#define IDLE_USEC      (15 * USEC_PER_SEC)
#define UNLOAD_USEC    (500 * USEC_PER_MSEC)
#define WATCH_USEC     (200 * USEC_PER_MSEC)
#define CROWD_MEAN_SEC 1500.0

static uint64_t now_of(const struct fleet_device *f)
{
    return f->device.heap->now_usec;
}

size_t fleet_device_second(const struct fleet_device *f)
{
    size_t second = (size_t) ((now_of(f) - f->began_at_usec) / USEC_PER_SEC);

    return second < f->series->n ? second : f->series->n - 1;
}

/* ---------------------------------------------------------------- memory */

static uint64_t held_by(const struct fleet_model *m, uint64_t now)
{
    if (m->runner->is_there) {
        return m->bytes;
    }
    return m->ends_at_usec > 0 ? m->bytes * (now - m->begun_at_usec) / m->load_usec : 0;
}

static uint64_t neighbour_bytes(const struct fleet_device *f, uint64_t now)
{
    uint64_t grown;

    if (f->grows_at_usec == 0 || now >= f->leaves_at_usec) {
        return 0;
    }
    grown = (now - f->grows_at_usec) / 1000 * f->grows_bytes_per_sec / 1000;
    return grown < f->most_bytes ? grown : f->most_bytes;
}

/* 0: it is exhausted. */
static uint64_t available(const struct fleet_device *f)
{
    uint64_t used = f->os_bytes + neighbour_bytes(f, now_of(f));

    for (size_t i = 0; i < f->n_models; i++) {
        used += held_by(&f->models[i], now_of(f));
    }
    return used < f->total_bytes ? f->total_bytes - used : 0;
}

static void tell_memory(struct fleet_device *f)
{
    residency_set_memory(
        &f->residency,
        &(struct residency_memory) {.total_bytes = f->total_bytes, .available_bytes = available(f)},
        1, now_of(f));
}

/* ---------------------------------------------------------------- loads and unloads */

static void on_loaded(struct sim_event *e)
{
    struct fleet_model *m = CONTAINER_OF(e, struct fleet_model, loaded);
    struct fleet_device *f = m->device;

    m->ends_at_usec = 0;
    m->planned_until_usec = now_of(f) + PRESSURE_WINDOW_USEC + USEC_PER_SEC; /* seen until then */
    m->runner->is_there = true;
    (void) residency_load_ended(&f->residency, m->resident, RESIDENCY_LOAD_OK, now_of(f));
    device_want_turn(&f->device, now_of(f));
}

static struct fleet_model *model_of(struct device_model *runner)
{
    struct fleet_device *f = CONTAINER_OF(runner->device, struct fleet_device, device);

    return &f->models[runner - f->device.models];
}

/* A call is given to it, and begins a load where it is not there. */
static uint64_t on_wanted(struct device_model *runner)
{
    struct fleet_model *m = model_of(runner);
    struct fleet_device *f = m->device;

    if (runner->is_there) {
        return 0;
    }
    if (m->ends_at_usec == 0) {
        m->begun_at_usec = now_of(f);
        m->ends_at_usec = now_of(f) + m->load_usec;
        f->n_loads++;
        f->series->loads[fleet_device_second(f)]++;
        residency_load_began(&f->residency, m->resident, now_of(f));
        event_heap_set(f->device.heap, &m->loaded, m->ends_at_usec);
    }
    return m->ends_at_usec - now_of(f);
}

static void on_unloaded(struct sim_event *e)
{
    struct fleet_model *m = CONTAINER_OF(e, struct fleet_model, unloaded);
    struct fleet_device *f = m->device;

    m->runner->is_there = false;
    f->n_unloads++;
    residency_unloaded(&f->residency, m->resident, true, now_of(f));
    device_want_turn(&f->device, now_of(f));
}

static void end_load(struct fleet_model *m)
{
    struct fleet_device *f = m->device;

    m->ends_at_usec = 0;
    event_heap_drop(f->device.heap, &m->loaded);
    (void) residency_load_ended(&f->residency, m->resident, RESIDENCY_LOAD_KILLED, now_of(f));
    device_kill_runner(m->runner);
}

static void carry_out(struct fleet_device *f, const struct residency_action *action)
{
    struct fleet_model *m = f->models;

    while (m->resident != action->model) {
        m++;
    }
    switch (action->verb) {
    case RESIDENCY_INQUIRE:
        residency_told(action->model, STR_NONE, 4096, 1,
                       &(struct footprint_facts) {.told_bytes = m->bytes}, false);
        break;
    case RESIDENCY_LOOK:
        residency_looked(&f->residency, action->model, m->runner->is_there, m->bytes, true,
                         now_of(f));
        break;
    case RESIDENCY_STOP:
        end_load(m);
        break;
    case RESIDENCY_UNLOAD:
        event_heap_set(f->device.heap, &m->unloaded, now_of(f) + UNLOAD_USEC);
        break;
    case RESIDENCY_LOAD: /* nobody asks for one here */
        break;
    }
    device_want_turn(&f->device, now_of(f) + 1);
}

/* Who was idle is looked at every 15 s; who is busy again, at once. */
static void look_soon(struct fleet_device *f)
{
    uint64_t at = now_of(f) + pressure_interval_usec(&f->pressure, true);

    if (f->sample.place == 0 || f->sample.at_usec > at) {
        event_heap_set(f->device.heap, &f->sample, now_of(f));
    }
}

static void before_run(struct device *d)
{
    struct fleet_device *f = CONTAINER_OF(d, struct fleet_device, device);

    look_soon(f);
    tell_memory(f);
    residency_begin_run(&f->residency);
}

static void after_run(struct device *d)
{
    struct fleet_device *f = CONTAINER_OF(d, struct fleet_device, device);
    struct residency_action action;
    uint64_t at;

    residency_end_run(&f->residency, now_of(f));
    while (residency_next(&f->residency, now_of(f), &action)) {
        carry_out(f, &action);
    }
    at = residency_is_moving(&f->residency) ? now_of(f) + WATCH_USEC
                                            : residency_next_at(&f->residency, now_of(f));
    if (at != USEC_NEVER) {
        device_want_turn(d, at);
    }
}

/* ---------------------------------------------------------------- pressure */

/* A load that goes as planned is told as such until the window of the pressure no longer sees it. */
static void claim(struct fleet_device *f)
{
    struct pressure_claims claims = {.is_loading = residency_is_moving(&f->residency)};

    for (size_t i = 0; i < f->n_models; i++) {
        const struct fleet_model *m = &f->models[i];

        claims.is_planned |= m->ends_at_usec > 0 || now_of(f) < m->planned_until_usec;
    }
    claims.is_loading |= claims.is_planned;
    claims.is_planned = claims.is_planned && residency_goes_as_planned(&f->residency);
    pressure_set_claims(&f->pressure, &claims);
}

/* The kernel's way: the largest goes. */
static void kill_largest(struct fleet_device *f)
{
    struct fleet_model *largest = NULL;

    for (size_t i = 0; i < f->n_models; i++) {
        struct fleet_model *m = &f->models[i];

        if (held_by(m, now_of(f)) > (largest ? held_by(largest, now_of(f)) : 0)) {
            largest = m;
        }
    }
    if (!largest) {
        return;
    }
    f->n_kills++;
    if (largest->ends_at_usec > 0) {
        end_load(largest);
        return;
    }
    event_heap_drop(f->device.heap, &largest->unloaded);
    largest->runner->is_there = false;
    residency_unloaded(&f->residency, largest->resident, true, now_of(f));
    device_kill_runner(largest->runner);
}

static void on_sample(struct sim_event *e)
{
    struct fleet_device *f = CONTAINER_OF(e, struct fleet_device, sample);
    enum pressure_level was = f->pressure.level;
    uint64_t interval;
    struct memory_sample s = {.at_usec = now_of(f)};

    if (available(f) == 0) {
        kill_largest(f);
    }
    s.place[MEMORY_SYSTEM] = (struct memory_place_sample) {
        .has_room = true, .total_bytes = f->total_bytes, .headroom_bytes = available(f)};
    claim(f);
    (void) pressure_update(&f->pressure, &s);
    residency_set_pressure(
        &f->residency,
        &(struct residency_pressure) {.level = f->pressure.level,
                                      .acute = f->pressure.acute,
                                      .exhaustion_usec = f->pressure.exhaustion_usec,
                                      .fall_bytes_per_sec = f->pressure.fall_bytes_per_sec});
    if (f->pressure.level != was) {
        f->n_rises += f->pressure.level > was;
        device_want_turn(&f->device, now_of(f));
    }
    interval = pressure_interval_usec(&f->pressure, f->device.registry.n_calls > 0);
    event_heap_set(f->device.heap, e, now_of(f) + (interval < IDLE_USEC ? interval : IDLE_USEC));
}

void fleet_device_crowd(struct fleet_device *f, unsigned permille, uint64_t usec)
{
    f->grows_at_usec = now_of(f);
    f->leaves_at_usec = now_of(f) + usec;
    f->most_bytes = f->total_bytes / 1000 * permille;
    f->grows_bytes_per_sec = f->total_bytes / 100 + 20 * MIB;
}

static void on_neighbour(struct sim_event *e)
{
    struct fleet_device *f = CONTAINER_OF(e, struct fleet_device, neighbour);

    if (now_of(f) >= f->leaves_at_usec) {
        fleet_device_crowd(f, (unsigned) rng_between(&f->rng, 100, 500),
                           rng_between(&f->rng, 20, 90) * USEC_PER_SEC);
    }
    event_heap_set(f->device.heap, e,
                   now_of(f) + (uint64_t) (1e6 * rng_exponential(&f->rng, CROWD_MEAN_SEC)));
}

/* ---------------------------------------------------------------- its life */

/* The popular one fits everywhere; the others as they come, where they could fit. */
static void choose_models(struct fleet_device *f, struct device_model *ret)
{
    static const unsigned mib[] = {450, 700, 1000, 1300, 1900, 3100, 4700};
    double disk = rng_log_uniform(&f->rng, 50, 500); /* MiB per second */
    double token_sec = rng_log_uniform(&f->rng, 0.02, 0.2);
    uint64_t room = f->total_bytes - f->total_bytes / 4 - OS_BYTES;

    for (size_t i = 0; i < FLEET_MODELS; i++) {
        size_t pick = i == 0 ? 1 : rng_between(&f->rng, 0, ARRAY_LEN(mib) - 1);
        struct fleet_model *m = &f->models[i];
        double scale;

        while (mib[pick] * MIB > room) {
            pick = rng_between(&f->rng, 0, ARRAY_LEN(mib) - 1);
        }
        scale = mib[pick] / 700.0;
        m->bytes = mib[pick] * MIB;
        m->load_usec = (uint64_t) (1e6 * mib[pick] / disk);
        m->device = f;
        m->loaded.fire = on_loaded;
        m->unloaded.fire = on_unloaded;
        ret[i].token_usec = (uint64_t) (1e6 * token_sec * scale);
        ret[i].prefill_usec = 10 * ret[i].token_usec;
        (void) snprintf(ret[i].name, sizeof ret[i].name, "m%zu", i);
    }
    f->n_models = FLEET_MODELS;
}

static void init_residency(struct fleet_device *f, const struct admission_params *admission)
{
    struct residency_params params = {.is_on = true};

    for (size_t i = 0; i < _CLASS_MAX; i++) {
        params.max_wait_usec[i] = admission->max_wait_usec[i];
    }
    footprints_init(&f->footprints);
    residency_init(&f->residency, &params, &f->device.router, &f->footprints);
    f->device.router.residency = &f->residency;
    for (size_t i = 0; i < f->n_models; i++) {
        const struct model_group *g =
            router_resolve(&f->device.router, str_from(f->device.models[i].name));

        f->models[i].runner = &f->device.models[i];
        f->models[i].resident = residency_of(&f->residency, g->deployments[0], NULL);
    }
    tell_memory(f);
}

void fleet_device_init(struct fleet_device *f, struct event_heap *heap, struct fleet_series *series,
                       uint64_t seed)
{
    static const uint64_t gib[] = {2, 2, 4, 4, 8};
    struct admission_params params = device_default_params();
    struct device_model models[FLEET_MODELS] = {0};

    params.max_granted = 1; /* one memory bus */
    *f = (struct fleet_device) {.series = series, .began_at_usec = heap->now_usec};
    rng_init(&f->rng, seed, 4);
    f->total_bytes = gib[rng_between(&f->rng, 0, ARRAY_LEN(gib) - 1)] * 950 * MIB;
    f->os_bytes = OS_BYTES;
    choose_models(f, models);
    pressure_init(&f->pressure);
    f->pressure.rung = PRESSURE_RUNG_ROOM;
    device_init(&f->device, heap, &params, &f->pressure, models, f->n_models, 1, on_wanted);
    f->device.before_run = before_run;
    f->device.after_run = after_run;
    init_residency(f, &params);
    f->sample.fire = on_sample;
    f->neighbour.fire = on_neighbour;
    event_heap_set(heap, &f->sample, heap->now_usec + rng_between(&f->rng, 0, USEC_PER_SEC));
    event_heap_set(heap, &f->neighbour,
                   heap->now_usec + (uint64_t) (1e6 * rng_exponential(&f->rng, CROWD_MEAN_SEC)));
}

void fleet_device_done(struct fleet_device *f)
{
    event_heap_drop(f->device.heap, &f->sample);
    event_heap_drop(f->device.heap, &f->neighbour);
    for (size_t i = 0; i < f->n_models; i++) {
        event_heap_drop(f->device.heap, &f->models[i].loaded);
        event_heap_drop(f->device.heap, &f->models[i].unloaded);
    }
    f->device.router.residency = NULL;
    residency_done(&f->residency);
    device_done(&f->device);
}
