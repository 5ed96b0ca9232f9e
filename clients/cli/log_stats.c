/* See log_stats.h. Sums stop at their maximum: numbers of a journal may be anything. */
#include "log_stats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OTHERS "(others)"

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static int add_value(struct log_values *v, uint64_t value)
{
    if (value == LOG_ABSENT) {
        return 0;
    }
    if (v->n == v->cap) {
        size_t cap = v->cap > 0 ? 2 * v->cap : 64;
        uint64_t *grown = realloc(v->items, cap * sizeof(*grown));

        if (!grown) {
            return -ENOMEM;
        }
        v->items = grown;
        v->cap = cap;
    }
    v->items[v->n++] = value;
    return 0;
}

/* The daemon's outcomes are ASCII. Another's may be no text at all, and become names in JSON. */
static void make_plain(const char *text, char ret[LOG_TEXT_BYTES])
{
    size_t n = 0;

    for (; text[n]; n++) {
        ret[n] = (char) (text[n] >= ' ' && text[n] <= '~' ? text[n] : '?');
    }
    ret[n] = '\0';
}

static int add_outcome(struct log_group *g, const char *text)
{
    char name[LOG_TEXT_BYTES];
    size_t i = 0;

    make_plain(text, name);
    if (!g->outcomes) {
        g->outcomes = calloc(LOG_MAX_OUTCOMES, sizeof(*g->outcomes));
    }
    if (!g->outcomes) {
        return -ENOMEM;
    }
    while (i < g->n_outcomes && i < LOG_MAX_OUTCOMES - 1 &&
           strcmp(g->outcomes[i].name, name) != 0) {
        i++;
    }
    if (i == g->n_outcomes) {
        (void) snprintf(g->outcomes[i].name, sizeof(g->outcomes[i].name), "%s",
                        i < LOG_MAX_OUTCOMES - 1 ? name : OTHERS);
        g->n_outcomes++;
    }
    g->outcomes[i].n++;
    return 0;
}

static int add_to_group(struct log_group *g, const struct log_call *call)
{
    int r = add_outcome(g, call->outcome[0] ? call->outcome : "(unknown)");

    if (r == 0) {
        r = add_value(&g->queue, call->queue_usec);
    }
    if (r == 0) {
        r = add_value(&g->ttft, call->ttft_usec);
    }
    if (r == 0) {
        r = add_value(&g->total, call->total_usec);
    }
    if (r < 0) {
        return r;
    }
    g->n_calls++;
    g->n_completed += log_call_is_completed(call);
    g->tokens_in = plus(g->tokens_in, call->tokens_in == LOG_ABSENT ? 0 : call->tokens_in);
    g->tokens_out = plus(g->tokens_out, call->tokens_out == LOG_ABSENT ? 0 : call->tokens_out);
    if (log_call_is_completed(call) && call->tokens_out != LOG_ABSENT && call->tokens_out > 1 &&
        call->ttft_usec != LOG_ABSENT && call->total_usec != LOG_ABSENT &&
        call->total_usec > call->ttft_usec) {
        g->paced_tokens = plus(g->paced_tokens, call->tokens_out - 1);
        g->paced_usec = plus(g->paced_usec, call->total_usec - call->ttft_usec);
    }
    return 0;
}

static struct log_group *group_of(struct log_stats *s, const char *model)
{
    if (!s->groups) {
        s->groups = calloc(LOG_MAX_GROUPS, sizeof(*s->groups));
    }
    if (!s->groups) {
        return NULL;
    }
    for (size_t i = 0; i < s->n_groups; i++) {
        if (strcmp(s->groups[i]->model, model) == 0) {
            return s->groups[i];
        }
    }
    if (s->n_groups == LOG_MAX_GROUPS) {
        return s->groups[LOG_MAX_GROUPS - 1];
    }

    struct log_group *g = calloc(1, sizeof(*g));

    if (g) {
        (void) snprintf(g->model, sizeof(g->model), "%s",
                        s->n_groups < LOG_MAX_GROUPS - 1 ? model : OTHERS);
        s->groups[s->n_groups++] = g;
    }
    return g;
}

int log_stats_add(struct log_stats *s, const struct log_call *call)
{
    struct log_group *g = group_of(s, call->model[0] ? call->model : "(unknown)");
    int r = g ? add_to_group(g, call) : -ENOMEM;

    if (r == 0) {
        r = add_to_group(&s->all, call);
    }
    if (r == 0) {
        s->first_usec =
            s->all.n_calls == 1 || call->at_usec < s->first_usec ? call->at_usec : s->first_usec;
        s->last_usec = call->at_usec > s->last_usec ? call->at_usec : s->last_usec;
    }
    return r;
}

static int compare_values(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static int compare_outcomes(const void *a, const void *b)
{
    const struct log_outcome *x = a, *y = b;

    return x->n != y->n ? (x->n > y->n ? -1 : 1) : strcmp(x->name, y->name);
}

static int compare_groups(const void *a, const void *b)
{
    const struct log_group *const *x = a, *const *y = b;

    return (*x)->n_calls != (*y)->n_calls ? ((*x)->n_calls > (*y)->n_calls ? -1 : 1)
                                          : strcmp((*x)->model, (*y)->model);
}

static void sort(struct log_values *v)
{
    if (v->n > 0) {
        qsort(v->items, v->n, sizeof(*v->items), compare_values);
    }
}

static void finish_group(struct log_group *g)
{
    sort(&g->queue);
    sort(&g->ttft);
    sort(&g->total);
    if (g->n_outcomes > 0) {
        qsort(g->outcomes, g->n_outcomes, sizeof(*g->outcomes), compare_outcomes);
    }
}

void log_stats_finish(struct log_stats *s)
{
    finish_group(&s->all);
    for (size_t i = 0; i < s->n_groups; i++) {
        finish_group(s->groups[i]);
    }
    if (s->n_groups > 0) {
        qsort(s->groups, s->n_groups, sizeof(*s->groups), compare_groups);
    }
}

static void group_done(struct log_group *g)
{
    free(g->queue.items);
    free(g->ttft.items);
    free(g->total.items);
    free(g->outcomes);
}

void log_stats_done(struct log_stats *s)
{
    group_done(&s->all);
    for (size_t i = 0; i < s->n_groups; i++) {
        group_done(s->groups[i]);
        free(s->groups[i]);
    }
    free(s->groups);
}

uint64_t log_percentile(const struct log_values *v, unsigned permille)
{
    size_t rank = (v->n * permille + 999) / 1000; /* from 1 */

    return v->n == 0 ? LOG_ABSENT : v->items[rank > 0 ? rank - 1 : 0];
}

uint64_t log_pace_tenths(const struct log_group *g)
{
    double tenths = g->paced_usec > 0 ? (double) g->paced_tokens * 1e7 / (double) g->paced_usec : 0;

    return g->paced_usec == 0 || tenths > 1e15 ? LOG_ABSENT : (uint64_t) (tenths + 0.5);
}
