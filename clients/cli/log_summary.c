/* See log_summary.h. Blocks of short lines, one for each model: they fit any terminal. */
#include "log_summary.h"

#include <stdio.h>
#include <time.h>

#include "json.h"
#include "log_table.h"
#include "term.h"

static const struct {
    const char *name; /* in JSON */
    unsigned permille;
} percentiles[] = {{"p50", 500}, {"p90", 900}, {"p99", 990}};

#define N_PERCENTILES (sizeof(percentiles) / sizeof(percentiles[0]))

static void print_values(const char *what, const struct log_values *v)
{
    char text[32];

    (void) printf("  %-12s", what);
    for (size_t i = 0; i < N_PERCENTILES; i++) {
        (void) printf("  %s %*s", percentiles[i].name, i + 1 < N_PERCENTILES ? -7 : 0,
                      log_duration(log_percentile(v, percentiles[i].permille), text));
    }
    (void) printf("\n");
}

static void print_group(const struct log_group *g)
{
    uint64_t pace = log_pace_tenths(g);

    term_style(stdout, STYLE_BOLD);
    term_print(stdout, g->model[0] ? g->model : "all models");
    term_style(stdout, STYLE_PLAIN);
    (void) printf("\n  %-12s  %llu: ", "calls", (unsigned long long) g->n_calls);
    for (size_t i = 0; i < g->n_outcomes; i++) {
        (void) printf("%s%llu ", i > 0 ? ", " : "", (unsigned long long) g->outcomes[i].n);
        term_print(stdout, g->outcomes[i].name);
    }
    (void) printf("\n");
    print_values("in the queue", &g->queue);
    print_values("first token", &g->ttft);
    print_values("whole call", &g->total);
    (void) printf("  %-12s  %llu in, %llu out", "tokens", (unsigned long long) g->tokens_in,
                  (unsigned long long) g->tokens_out);
    if (pace != LOG_ABSENT) {
        (void) printf(", %llu.%llu per second", (unsigned long long) pace / 10,
                      (unsigned long long) pace % 10);
    }
    (void) printf("\n");
}

static const char *when(uint64_t at_usec, char ret_text[32])
{
    time_t at = (time_t) (at_usec / 1000000);
    struct tm tm;

    return localtime_r(&at, &tm) && strftime(ret_text, 32, "%Y-%m-%d %H:%M:%S", &tm) > 0 ? ret_text
                                                                                         : "?";
}

void log_summary_print(const struct log_stats *s)
{
    char first[32], last[32];

    (void) printf("Calls that ended from %s to %s\n\n", when(s->first_usec, first),
                  when(s->last_usec, last));
    print_group(&s->all);
    for (size_t i = 0; i < s->n_groups && s->n_groups > 1; i++) {
        (void) printf("\n");
        print_group(s->groups[i]);
    }
    if (s->n_groups == 1) {
        (void) printf("  %-12s  ", "model");
        term_print(stdout, s->groups[0]->model);
        (void) printf("\n");
    }
}

/* ---------------------------------------------------------------- JSON */

static void add_values(cJSON *object, const char *name, const struct log_values *v)
{
    cJSON *values = json_add_object(object, name);

    for (size_t i = 0; i < N_PERCENTILES; i++) {
        uint64_t value = log_percentile(v, percentiles[i].permille);

        if (value != LOG_ABSENT) {
            json_add_number(values, percentiles[i].name, value);
        }
    }
}

static void add_group(cJSON *object, const struct log_group *g)
{
    uint64_t pace = log_pace_tenths(g);
    cJSON *outcomes;

    json_add_number(object, "calls", g->n_calls);
    json_add_number(object, "completed", g->n_completed);
    outcomes = json_add_object(object, "outcomes");
    for (size_t i = 0; i < g->n_outcomes; i++) {
        json_add_number(outcomes, g->outcomes[i].name, g->outcomes[i].n);
    }
    add_values(object, "queue_usec", &g->queue);
    add_values(object, "ttft_usec", &g->ttft);
    add_values(object, "total_usec", &g->total);
    json_add_number(object, "tokens_in", g->tokens_in);
    json_add_number(object, "tokens_out", g->tokens_out);
    if (pace != LOG_ABSENT) {
        json_add_number(object, "tokens_out_per_1000_sec", pace * 100);
    }
}

void log_summary_print_json(const struct log_stats *s)
{
    cJSON *document = json_object(), *models;

    json_add_number(document, "first_at_usec", s->first_usec);
    json_add_number(document, "last_at_usec", s->last_usec);
    add_group(document, &s->all);
    models = json_add_array(document, "models");
    for (size_t i = 0; i < s->n_groups; i++) {
        cJSON *model = json_add_object(models, NULL);

        json_add_text(model, "model", s->groups[i]->model);
        add_group(model, s->groups[i]);
    }
    json_print(document);
}
