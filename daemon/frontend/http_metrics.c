/*
 * See http_metrics.h. Names follow Prometheus' conventions: base units (seconds, bytes), _total for
 * what only grows, labels for parts that add up to a whole. Labels are ours alone, classes and codes:
 * no caller and no model can make another time series.
 *
 * Every series of a class is there from the start, so that a rate over it is right from the first
 * call; a code appears with its first error.
 */
#include "frontend/http_metrics.h"

#include <string.h>

#include "base/clock.h"
#include "core/residency.h"

static int write_head(struct buf *out, const char *name, const char *type, const char *help)
{
    return buf_printf(out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", name, help, name, type);
}

static int write_metric(struct buf *out, const char *name, const char *type, const char *help,
                        uint64_t value)
{
    int r = write_head(out, name, type, help);

    return r < 0 ? r : buf_printf(out, "sluice_%s %llu\n", name, (unsigned long long) value);
}

/* ---------------------------------------------------------------- by class */

static int write_of_class(struct buf *out, const char *name, int class, uint64_t value)
{
    return buf_printf(out, "sluice_%s{class=\"%s\"} %llu\n", name,
                      call_class_name((enum call_class) class), (unsigned long long) value);
}

static int write_queue(const struct frontends *f, struct buf *out)
{
    int r = write_head(out, "queue_calls", "gauge", "Calls waiting for a slot, by class");

    for (int c = 0; r == 0 && c < _CLASS_MAX; c++) {
        r = write_of_class(out, "queue_calls", c, f->admission->fair.n_items[c]);
    }
    return r;
}

static int write_running(const struct frontends *f, struct buf *out)
{
    uint64_t n[_CLASS_MAX] = {0};
    int r = write_head(out, "slot_calls", "gauge", "Calls that hold a slot, by class");

    list_for_each (l, &f->admission->granted) {
        n[CONTAINER_OF(l, const struct ticket, link)->class]++;
    }
    for (int c = 0; r == 0 && c < _CLASS_MAX; c++) {
        r = write_of_class(out, "slot_calls", c, n[c]);
    }
    return r;
}

/* A summary without quantiles: its sum and its count. */
static int write_waits(const struct stats *s, struct buf *out)
{
    int r = write_head(out, "queue_wait_seconds", "summary",
                       "From arrival to the first slot, of calls that got one, by class");

    for (int c = 0; r == 0 && c < _CLASS_MAX; c++) {
        r = buf_printf(out, "sluice_queue_wait_seconds_sum{class=\"%s\"} %llu.%06llu\n",
                       call_class_name((enum call_class) c),
                       (unsigned long long) (s->waited_usec[c] / USEC_PER_SEC),
                       (unsigned long long) (s->waited_usec[c] % USEC_PER_SEC));
        r = r < 0 ? r : write_of_class(out, "queue_wait_seconds_count", c, s->n_granted[c]);
    }
    return r;
}

static int write_goodput(const struct stats *s, struct buf *out)
{
    int r = write_head(out, "class_calls_completed_total", "counter",
                       "Calls that were answered, by class");

    for (int c = 0; r == 0 && c < _CLASS_MAX; c++) {
        r = write_of_class(out, "class_calls_completed_total", c, s->n_completed_class[c]);
    }
    return r;
}

/* ---------------------------------------------------------------- by code */

/*
 * Several errors may share a code, and one label may stand there once only: how many had the code of
 * the i-th; 0 where an earlier one has said it.
 */
static uint64_t count_of_code(const struct stats *s, int i)
{
    const char *code = errcode_info((enum errcode) i)->openai_code;
    uint64_t n = 0;

    for (int k = 0; k < _ERRCODE_MAX; k++) {
        bool is_same = strcmp(errcode_info((enum errcode) k)->openai_code, code) == 0;

        if (is_same && k < i) {
            return 0;
        }
        n += is_same ? s->n_by_code[k] : 0;
    }
    return n;
}

static int write_errors(const struct stats *s, struct buf *out)
{
    int r = write_head(out, "errors_total", "counter", "Calls that ended with an error, by code");

    for (int i = 0; r == 0 && i < _ERRCODE_MAX; i++) {
        uint64_t n = count_of_code(s, i);

        if (n > 0) {
            r = buf_printf(out, "sluice_errors_total{code=\"%s\"} %llu\n",
                           errcode_info((enum errcode) i)->openai_code, (unsigned long long) n);
        }
    }
    return r;
}

/* What sluice turned away so that the rest is served. Each has a code of its own. */
static int write_sheds(const struct stats *s, struct buf *out)
{
    static const enum errcode reasons[] = {
        ERRCODE_MEMORY_PRESSURE, ERRCODE_QUEUE_FULL,    ERRCODE_CLIENT_QUEUE_FULL,
        ERRCODE_PREDICTED_WAIT,  ERRCODE_QUEUE_TIMEOUT, ERRCODE_DISPLACED,
        ERRCODE_PREEMPTED,
    };
    int r = write_head(out, "sheds_total", "counter", "Calls turned away under load, by reason");

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(reasons); i++) {
        r = buf_printf(out, "sluice_sheds_total{reason=\"%s\"} %llu\n",
                       errcode_info(reasons[i])->openai_code,
                       (unsigned long long) s->n_by_code[reasons[i]]);
    }
    return r;
}

static int write_spills(const struct stats *s, struct buf *out)
{
    int r = write_head(out, "spills_total", "counter",
                       "Calls that were sent to another machine, by reason");

    for (int i = SPILL_NONE + 1; r == 0 && i < _SPILL_MAX; i++) {
        r = buf_printf(out, "sluice_spills_total{reason=\"%s\"} %llu\n",
                       spill_reason_name((enum spill_reason) i),
                       (unsigned long long) s->n_spilled[i]);
    }
    return r;
}

/* ---------------------------------------------------------------- memory */

/* Why the level is what it is, by what it is known, and what is left, where that is known. */
static int write_memory(const struct pressure *p, struct buf *out)
{
    int r = write_metric(out, "pressure_level", "gauge", "Memory pressure, 0 to 4", p->level);

    r = r < 0 ? r
              : write_head(out, "pressure_reason", "gauge",
                           "What the level of memory pressure comes from");
    r = r < 0 ? r
              : buf_printf(out, "sluice_pressure_reason{reason=\"%s\"} 1\n",
                           pressure_reason_name(p->cause.reason));
    r = r < 0 ? r
              : write_metric(out, "pressure_rung", "gauge",
                             "Memory is watched by: 0 nothing, 1 meminfo, 2 vmstat, 3 PSI, 4 PSI "
                             "and a trigger",
                             p->rung);
    if (r < 0 || p->total_bytes == 0) {
        return r;
    }
    r = write_metric(out, "memory_bytes", "gauge",
                     "Of the device, or of the limit that leaves least", p->total_bytes);
    return r < 0 ? r
                 : write_metric(out, "memory_headroom_bytes", "gauge", "Left for models",
                                p->headroom_bytes);
}

/* What became of models in the memory of this device. */
static int write_models(const struct residency *m, struct buf *out)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } all[] = {
        {"model_loads_total", "counter", "Models that were loaded", m->n_loads},
        {"model_unloads_total", "counter", "Models that were unloaded", m->n_evictions},
        {"model_loads_stopped_total", "counter", "Loads that would have taken all memory",
         m->n_aborts},
        {"model_unloads_stuck_total", "counter", "Unloads that were never confirmed", m->n_stuck},
        {"model_quarantines_total", "counter", "Models left alone after their load was killed",
         m->n_quarantined},
        {"model_reservations", "gauge", "Models that are about to be loaded",
         residency_n_reservations(m)},
        {"model_reserved_bytes", "gauge", "Memory that is spoken for by them",
         residency_reserved_bytes(m)},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(all); i++) {
        r = write_metric(out, all[i].name, all[i].type, all[i].help, all[i].value);
    }
    return r;
}

int http_metrics_write(const struct frontends *f, struct buf *out)
{
    const struct stats *s = f->stats;
    struct {
        const char *name, *type, *help;
        uint64_t value;
    } all[] = {
        {"calls_completed_total", "counter", "Calls that were answered", s->n_completed},
        {"calls_failed_total", "counter", "Calls that had a slot and failed", s->n_failed},
        {"calls_cancelled_total", "counter", "Calls that their client cancelled", s->n_cancelled},
        {"calls_refused_total", "counter", "Calls that never had a slot", s->n_refused},
        {"calls_relieved_total", "counter",
         "Calls that were stopped while they ran, to free memory", s->n_relieved},
        {"retries_total", "counter", "Attempts after the first, in the same model group",
         s->n_retries},
        {"fallbacks_total", "counter", "Attempts in another model group", s->n_fallbacks},
        {"tokens_input_total", "counter", "Prompt tokens, as upstreams counted them", s->tokens_in},
        {"tokens_output_total", "counter", "Generated tokens, as upstreams counted them",
         s->tokens_out},
        {"text_pieces_total", "counter", "Pieces of text that came from upstreams", s->n_pieces},
        {"calls_queued", "gauge", "Calls waiting for a slot", f->admission->n_queued},
        {"calls_running", "gauge", "Calls that hold a slot", f->admission->n_granted},
        {"connections", "gauge", "Open connections of clients", f->n_conns},
        {"buffered_bytes", "gauge", "Request bodies and answers in memory", f->buffered_bytes},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(all); i++) {
        r = write_metric(out, all[i].name, all[i].type, all[i].help, all[i].value);
    }
    r = r < 0 ? r : write_queue(f, out);
    r = r < 0 ? r : write_running(f, out);
    r = r < 0 ? r : write_waits(s, out);
    r = r < 0 ? r : write_goodput(s, out);
    r = r < 0 ? r : write_memory(f->pressure, out);
    if (r == 0 && f->router->residency) {
        r = write_models(f->router->residency, out);
    }
    r = r < 0 ? r : write_sheds(s, out);
    r = r < 0 ? r : write_spills(s, out);
    return r < 0 ? r : write_errors(s, out);
}
