/*
 * The fleet: its clients, its clock, and what is said of it.
 *
 *   THINKING ──► ASKING ──► answered, or given up ──► THINKING
 *                  ▲  │
 *                  │  ▼ refused, failed, or nothing came in time
 *                PAUSING
 *
 * In the middle of the run a neighbour takes half of the memory of every device for a minute.
 *
 * Must not: touch what is core's.
 */
#include "tests/sim/fleet.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tests/sim/fleet_device.h"
#include "tests/sim/samples.h"

#define N_CLIENTS         4 /* of a device */
#define MAX_RETRIES       2
#define POPULAR_SHARE     0.7
#define INTERACTIVE_SHARE 0.6
#define CROWD_PERMILLE    600
#define CROWD_USEC        (60 * USEC_PER_SEC)
#define SETTLE_SEC        120
#define MAX_LAG           60
#define BEGIN_USEC        (1000 * USEC_PER_SEC)

enum fleet_kind { POPULAR, OTHER, N_KINDS };

struct fleet_tally {
    uint64_t n_asked, n_good, n_attempts;
    struct samples firsts; /* seconds, from the first attempt to the first token, of good ones */
};

struct fleet;

struct fleet_client {
    struct sim_event event; /* end of thinking or of a pause; the time-out while it asks */
    struct event_sink sink;
    struct fleet *fleet;
    struct fleet_device *device;
    struct rng rng;
    struct call *call; /* while it asks */
    uint32_t uid;
    double think_sec;
    enum call_class class;
    unsigned model, n_attempts; /* 0 attempts: it thinks */
    uint64_t n_tokens, born_at_usec, first_at_usec;
};

struct fleet {
    struct event_heap heap;
    struct fleet_device *devices; /* owned, as the next one */
    struct fleet_client *clients;
    size_t n_devices, n_clients;
    struct fleet_series series;
    struct sim_event crowd, second;
    uint64_t crowd_at_usec, end_at_usec;
    struct fleet_tally kinds[N_KINDS];
    uint64_t n_shed[_ERRCODE_MAX], n_timeouts;
};

static uint64_t limit_usec(const struct fleet_client *c)
{
    return (c->class == CLASS_INTERACTIVE ? 20 : 120) * USEC_PER_SEC;
}

static double *at_now(const struct fleet_client *c, double *series)
{
    return &series[fleet_device_second(c->device)];
}

/* ---------------------------------------------------------------- clients */

static void think(struct fleet_client *c)
{
    struct event_heap *heap = &c->fleet->heap;

    c->call = NULL;
    c->n_attempts = 0;
    event_heap_set(heap, &c->event,
                   heap->now_usec + (uint64_t) (1e6 * rng_exponential(&c->rng, c->think_sec)));
}

static void wish(struct fleet_client *c)
{
    bool is_popular = rng_share(&c->rng) < POPULAR_SHARE;

    c->class = rng_share(&c->rng) < INTERACTIVE_SHARE ? CLASS_INTERACTIVE : CLASS_BATCH;
    c->model = is_popular ? 0 : (unsigned) rng_between(&c->rng, 1, c->device->n_models - 1);
    c->n_tokens = rng_between(&c->rng, c->class == CLASS_INTERACTIVE ? 20 : 60,
                              c->class == CLASS_INTERACTIVE ? 80 : 240);
    c->born_at_usec = c->fleet->heap.now_usec;
    c->fleet->kinds[is_popular ? POPULAR : OTHER].n_asked++;
}

static void ask(struct fleet_client *c)
{
    struct event_heap *heap = &c->fleet->heap;

    (*at_now(c, c->fleet->series.attempts))++;
    *at_now(c, c->fleet->series.retries) += c->n_attempts > 0;
    c->fleet->kinds[c->model == 0 ? POPULAR : OTHER].n_attempts++;
    event_heap_set(heap, &c->event, heap->now_usec + limit_usec(c));
    c->call = device_submit(&c->device->device,
                            &(struct device_ask) {.model = c->device->device.models[c->model].name,
                                                  .class = c->class,
                                                  .uid = c->uid,
                                                  .n_retries = c->n_attempts,
                                                  .read_timeout_usec = limit_usec(c),
                                                  .n_tokens = c->n_tokens},
                            &c->sink);
    c->n_attempts++;
}

/* wait_usec 0: nobody said when. is_last: it is told not to. */
static void try_again(struct fleet_client *c, uint64_t wait_usec, bool is_last)
{
    struct event_heap *heap = &c->fleet->heap;
    double backoff = 0.5 * (double) (1 << (c->n_attempts - 1));

    c->call = NULL;
    if (c->n_attempts > MAX_RETRIES || is_last) {
        think(c);
        return;
    }
    if (wait_usec == 0) {
        wait_usec = (uint64_t) (1e6 * backoff * (1 - 0.25 * rng_share(&c->rng)));
    }
    event_heap_set(heap, &c->event, heap->now_usec + wait_usec);
}

static void on_client(struct sim_event *e)
{
    struct fleet_client *c = CONTAINER_OF(e, struct fleet_client, event);

    if (c->call) {
        c->fleet->n_timeouts++;
        call_detach(c->call, c->fleet->heap.now_usec);
        try_again(c, 0, false);
        return;
    }
    if (c->n_attempts == 0) {
        wish(c);
    }
    ask(c);
}

static void answered(struct fleet_client *c)
{
    struct fleet_tally *t = &c->fleet->kinds[c->model == 0 ? POPULAR : OTHER];

    t->n_good++;
    samples_add(&t->firsts, (double) (c->first_at_usec - c->born_at_usec) / 1e6);
    (*at_now(c, c->fleet->series.good))++;
    think(c);
}

static enum sink_answer on_deliver(struct event_sink *sink, const struct event *ev)
{
    struct fleet_client *c = CONTAINER_OF(sink, struct fleet_client, sink);

    if (ev->type == EVENT_TEXT) {
        c->first_at_usec = ev->at_usec;
        event_heap_drop(&c->fleet->heap, &c->event); /* it reads as long as something comes */
    } else if (ev->type == EVENT_END) {
        answered(c);
    } else if (ev->type == EVENT_FAILED) {
        c->fleet->n_shed[ev->failed.code]++;
        (*at_now(c, c->fleet->series.shed))++;
        try_again(c, ev->failed.retry_after_usec, ev->failed.is_last);
    }
    return SINK_ROOM;
}

/* ---------------------------------------------------------------- its life */

static void *must_array(size_t n, size_t bytes)
{
    void *p = calloc(n, bytes);

    if (!p) {
        perror("fleet");
        abort();
    }
    return p;
}

static void on_crowd(struct sim_event *e)
{
    struct fleet *f = CONTAINER_OF(e, struct fleet, crowd);

    for (size_t i = 0; i < f->n_devices; i++) {
        fleet_device_crowd(&f->devices[i], CROWD_PERMILLE, CROWD_USEC);
    }
}

static void on_second(struct sim_event *e)
{
    struct fleet *f = CONTAINER_OF(e, struct fleet, second);
    double n = 0;

    for (size_t i = 0; i < f->n_devices; i++) {
        n += f->devices[i].pressure.level > PRESSURE_L0;
    }
    f->series.raised[fleet_device_second(&f->devices[0])] = n;
    event_heap_set(&f->heap, e, f->heap.now_usec + USEC_PER_SEC);
}

/* Its clients together want 0.3 to 4 times what their device can do. */
static void init_clients(struct fleet *f, size_t device, uint64_t seed)
{
    struct fleet_device *d = &f->devices[device];
    double load = rng_log_uniform(&d->rng, 0.3, 4);
    double service_sec = (double) d->device.models[0].token_usec * 100 / 1e6;

    for (size_t k = 0; k < N_CLIENTS; k++) {
        struct fleet_client *c = &f->clients[device * N_CLIENTS + k];

        *c = (struct fleet_client) {.fleet = f, .device = d, .uid = (uint32_t) k};
        c->think_sec = N_CLIENTS * service_sec / load;
        rng_init(&c->rng, seed * 65537 + device * N_CLIENTS + k, 5);
        c->event.fire = on_client;
        c->sink.deliver = on_deliver;
        think(c);
    }
}

static void fleet_init(struct fleet *f, const struct fleet_params *p)
{
    event_heap_init(&f->heap, BEGIN_USEC);
    f->n_devices = p->n_devices;
    f->n_clients = (size_t) p->n_devices * N_CLIENTS;
    f->series = (struct fleet_series) {
        .n = p->seconds,
        .attempts = must_array(p->seconds, sizeof(double)),
        .retries = must_array(p->seconds, sizeof(double)),
        .good = must_array(p->seconds, sizeof(double)),
        .loads = must_array(p->seconds, sizeof(double)),
        .raised = must_array(p->seconds, sizeof(double)),
        .shed = must_array(p->seconds, sizeof(double)),
    };
    f->devices = must_array(f->n_devices, sizeof *f->devices);
    f->clients = must_array(f->n_clients, sizeof *f->clients);
    for (size_t i = 0; i < f->n_devices; i++) {
        fleet_device_init(&f->devices[i], &f->heap, &f->series, p->seed * 1000003 + i);
        init_clients(f, i, p->seed);
    }
    f->crowd.fire = on_crowd;
    f->second.fire = on_second;
    f->crowd_at_usec = BEGIN_USEC + p->seconds / 2 * USEC_PER_SEC;
    f->end_at_usec = BEGIN_USEC + p->seconds * USEC_PER_SEC;
    event_heap_set(&f->heap, &f->crowd, f->crowd_at_usec);
    event_heap_set(&f->heap, &f->second, BEGIN_USEC);
}

static void fleet_done(struct fleet *f)
{
    for (size_t i = 0; i < f->n_devices; i++) {
        fleet_device_done(&f->devices[i]);
    }
    for (int i = 0; i < N_KINDS; i++) {
        samples_done(&f->kinds[i].firsts);
    }
    free(f->devices);
    free(f->clients);
    free(f->series.attempts);
    free(f->series.retries);
    free(f->series.good);
    free(f->series.loads);
    free(f->series.raised);
    free(f->series.shed);
    event_heap_done(&f->heap);
}

/* ---------------------------------------------------------------- what is said of it */

struct summary {
    double good[N_KINDS], first_p50[N_KINDS], first_p95[N_KINDS], attempts;
    size_t first_second, n_calm, crowd_second; /* of the time before the crowd; of the crowd */
    double correlation, retry_correlation;     /* the largest at lags of 5 to 60 s */
    size_t lag, retry_lag;
    double retries_mean, retries_peak; /* per second: before; the most after the crowd */
    size_t peak_after_sec;
    double good_mean, good_worst; /* per second, in tens of seconds */
    size_t recovery_sec;          /* from the end of the crowd until 95 % of what it was */
    double n_kills, n_loads, n_unloads, n_rises, loads_peak, loads_mean;
};

static double mean_of(const double *x, size_t from, size_t to)
{
    double sum = 0;

    for (size_t i = from; i < to; i++) {
        sum += x[i];
    }
    return to > from ? sum / (double) (to - from) : 0;
}

static double largest_of(const double *x, size_t from, size_t to, size_t *ret_at)
{
    size_t best = from;

    for (size_t i = from; i < to; i++) {
        best = x[i] > x[best] ? i : best;
    }
    *ret_at = best;
    return x[best];
}

static double largest_correlation(const double *x, size_t n, size_t *ret_lag)
{
    double best = -1;

    for (size_t lag = 5; lag <= MAX_LAG && lag < n; lag++) {
        double c = samples_autocorrelation(x, n, lag);

        if (c > best) {
            best = c;
            *ret_lag = lag;
        }
    }
    return best;
}

static void sum_recovery(const struct fleet *f, struct summary *s)
{
    size_t ends = s->crowd_second + CROWD_USEC / USEC_PER_SEC;
    size_t n = f->series.n;

    s->good_mean = mean_of(f->series.good, s->first_second, s->crowd_second);
    s->good_worst = s->good_mean;
    for (size_t i = s->crowd_second; i + 10 <= n; i++) {
        s->good_worst = fmin(s->good_worst, mean_of(f->series.good, i, i + 10));
    }
    s->recovery_sec = n;
    for (size_t i = ends; i + 30 <= n && s->recovery_sec == n; i++) {
        if (mean_of(f->series.good, i, i + 30) >= 0.95 * s->good_mean) {
            s->recovery_sec = i - ends;
        }
    }
}

static void sum_devices(const struct fleet *f, struct summary *s)
{
    for (size_t i = 0; i < f->n_devices; i++) {
        const struct fleet_device *d = &f->devices[i];

        s->n_kills += d->n_kills;
        s->n_loads += d->n_loads;
        s->n_unloads += d->n_unloads;
        s->n_rises += d->n_rises;
    }
}

static struct summary summary_of(struct fleet *f)
{
    struct summary s = {.first_second = SETTLE_SEC, .crowd_second = f->series.n / 2};
    size_t peak = 0, ignored;
    double n_asked = 0, n_attempts = 0;

    for (int k = 0; k < N_KINDS; k++) {
        struct fleet_tally *t = &f->kinds[k];

        s.good[k] = (double) t->n_good / (double) t->n_asked;
        s.first_p50[k] = samples_quantile(&t->firsts, 0.5);
        s.first_p95[k] = samples_quantile(&t->firsts, 0.95);
        n_asked += (double) t->n_asked;
        n_attempts += (double) t->n_attempts;
    }
    s.attempts = n_attempts / n_asked;
    s.n_calm = s.crowd_second - s.first_second;
    s.correlation = largest_correlation(f->series.attempts + s.first_second, s.n_calm, &s.lag);
    s.retry_correlation =
        largest_correlation(f->series.retries + s.first_second, s.n_calm, &s.retry_lag);
    s.retries_mean = mean_of(f->series.retries, s.first_second, s.crowd_second);
    s.retries_peak = largest_of(f->series.retries, s.crowd_second, f->series.n, &peak);
    s.peak_after_sec = peak - s.crowd_second;
    s.loads_mean = mean_of(f->series.loads, s.first_second, s.crowd_second);
    s.loads_peak = largest_of(f->series.loads, s.crowd_second, f->series.n, &ignored);
    sum_recovery(f, &s);
    sum_devices(f, &s);
    return s;
}

static void print(const struct fleet *f, const struct summary *s, const struct fleet_params *p,
                  FILE *out)
{
    double device_hours = (double) p->n_devices * (double) p->seconds / 3600;

    (void) fprintf(out, "\nfleet of %u devices, %llu s, seed %llu\n", p->n_devices,
                   (unsigned long long) p->seconds, (unsigned long long) p->seed);
    (void) fprintf(out, "  intents %llu popular + %llu other, attempts per intent %.2f\n",
                   (unsigned long long) f->kinds[POPULAR].n_asked,
                   (unsigned long long) f->kinds[OTHER].n_asked, s->attempts);
    (void) fprintf(out,
                   "  autocorrelation, lags 5-60 s: attempts at most %.3f (%zu s), retries %.3f "
                   "(%zu s); noise is up to %.3f\n",
                   s->correlation, s->lag, s->retry_correlation, s->retry_lag,
                   3 / sqrt((double) s->n_calm));
    (void) fprintf(out, "  popular model: good %.3f, first token p50 %.1f s, p95 %.1f s\n",
                   s->good[POPULAR], s->first_p50[POPULAR], s->first_p95[POPULAR]);
    (void) fprintf(out, "  other models:  good %.3f, first token p50 %.1f s, p95 %.1f s\n",
                   s->good[OTHER], s->first_p50[OTHER], s->first_p95[OTHER]);
    (void) fprintf(out,
                   "  all crowded at %zu s: retries per second %.1f before, at most %.0f (%zu s "
                   "later); good per second %.1f before, at worst %.1f; recovered %zu s after\n",
                   s->crowd_second, s->retries_mean, s->retries_peak, s->peak_after_sec,
                   s->good_mean, s->good_worst, s->recovery_sec);
    (void) fprintf(out,
                   "  per device and hour: kills %.3f, loads %.1f, unloads %.1f, level rises "
                   "%.2f; loads per second %.1f before, at most %.0f after\n",
                   s->n_kills / device_hours, s->n_loads / device_hours,
                   s->n_unloads / device_hours, s->n_rises / device_hours, s->loads_mean,
                   s->loads_peak);
    for (int i = 0; i < _ERRCODE_MAX; i++) {
        if (f->n_shed[i] > 0) {
            (void) fprintf(out, "  %s %llu\n", errcode_info((enum errcode) i)->openai_code,
                           (unsigned long long) f->n_shed[i]);
        }
    }
    (void) fprintf(out, "  client time-outs %llu\n", (unsigned long long) f->n_timeouts);
}

static void json_series(FILE *json, const char *name, const double *x, size_t n)
{
    (void) fprintf(json, ",\n\"%s\": [", name);
    for (size_t i = 0; i < n; i++) {
        (void) fprintf(json, "%s%g", i > 0 ? "," : "", x[i]);
    }
    (void) fputc(']', json);
}

static void write_json(const struct fleet *f, const struct summary *s, const struct fleet_params *p,
                       FILE *json)
{
    (void) fprintf(json,
                   "{\"devices\": %u, \"seconds\": %llu, \"seed\": %llu, \"crowded_at_sec\": %zu, "
                   "\"attempts_per_intent\": %.4f, \"good_popular\": %.4f, \"good_other\": %.4f, "
                   "\"autocorrelation_attempts\": %.4f, \"autocorrelation_retries\": %.4f, "
                   "\"retries_per_sec\": %.3f, \"retries_peak\": %.0f, \"recovery_sec\": %zu, "
                   "\"kills\": %.0f, \"loads\": %.0f",
                   p->n_devices, (unsigned long long) p->seconds, (unsigned long long) p->seed,
                   s->crowd_second, s->attempts, s->good[POPULAR], s->good[OTHER], s->correlation,
                   s->retry_correlation, s->retries_mean, s->retries_peak, s->recovery_sec,
                   s->n_kills, s->n_loads);
    json_series(json, "attempts", f->series.attempts, f->series.n);
    json_series(json, "retries", f->series.retries, f->series.n);
    json_series(json, "good", f->series.good, f->series.n);
    json_series(json, "loads", f->series.loads, f->series.n);
    json_series(json, "raised", f->series.raised, f->series.n);
    json_series(json, "shed", f->series.shed, f->series.n);
    (void) fputc('}', json);
}

void fleet_run(const struct fleet_params *params, FILE *out, FILE *json)
{
    struct fleet f = {0};
    struct summary s;

    fleet_init(&f, params);
    while (event_heap_step(&f.heap, f.end_at_usec)) {
    }
    s = summary_of(&f);
    print(&f, &s, params, out);
    if (json) {
        write_json(&f, &s, params, json);
    }
    fleet_done(&f);
}
