/*
 * Runs one device and takes the figures off it.
 *
 * Must not: print.
 */
#include "tests/sim/run.h"

#include <math.h>

#include "base/clock.h"
#include "core/request.h"

#define BEGIN_USEC (1000 * USEC_PER_SEC) /* 0 means "never" to much of core */

const char *figure_name(enum figure f)
{
    static const char *const names[] = {
        [FIGURE_GOODPUT] = "goodput",
        [FIGURE_TOKEN_GOODPUT] = "token_goodput",
        [FIGURE_GOOD_INTERACTIVE] = "good_interactive",
        [FIGURE_GOOD_BATCH] = "good_batch",
        [FIGURE_ATTEMPTS] = "attempts_per_intent",
        [FIGURE_WASTED] = "wasted_slot_share",
        [FIGURE_WASTED_TOKENS] = "wasted_token_share",
        [FIGURE_WASTED_SLOT_SEC] = "wasted_slot_sec_per_min",
        [FIGURE_JAIN] = "jain",
        [FIGURE_VICTIMS_GOOD] = "victims_good",
        [FIGURE_VICTIMS_P95] = "victims_first_token_p95_sec",
    };

    return names[f];
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

/*
 * What each caller would have under max-min fairness, as shares of the slot: who wants less than an
 * equal part has what it wants, the others share the rest.
 */
static void fair_shares(const struct setting *s, double load, double *ret)
{
    double left = 1;
    size_t n_open = s->n_callers;

    for (size_t i = 0; i < s->n_callers; i++) {
        ret[i] = -1;
    }
    for (size_t round = 0; round < s->n_callers; round++) {
        double part = left / (double) n_open;

        for (size_t i = 0; i < s->n_callers && n_open > 0; i++) {
            double want = load * s->caller_shares[i];

            if (ret[i] < 0 && want <= part) {
                ret[i] = want;
                left -= want;
                n_open--;
            }
        }
    }
    for (size_t i = 0; i < s->n_callers; i++) {
        ret[i] = ret[i] < 0 ? left / (double) n_open : ret[i];
    }
}

static void add_fairness(struct result *r, struct clients *c)
{
    double fair[SETTING_MAX_CALLERS], had[SETTING_MAX_CALLERS];
    double n_born = 0, n_good = 0, all = 0;
    struct samples firsts = {0};

    fair_shares(c->setting, c->load, fair);
    for (size_t i = 0; i < c->setting->n_callers; i++) {
        had[i] = (double) c->callers[i].good_slot_usec / fair[i];
        all += had[i];
        if (i > 0) {
            n_born += (double) c->callers[i].n_born;
            n_good += (double) c->callers[i].n_good;
            samples_add_all(&firsts, &c->callers[i].firsts);
        }
    }
    samples_add(&r->figures[FIGURE_JAIN],
                all > 0 ? samples_jain(had, c->setting->n_callers) : (double) NAN);
    if (c->setting->n_callers > 1) {
        samples_add(&r->figures[FIGURE_VICTIMS_GOOD], ratio(n_good, n_born));
        samples_add(&r->figures[FIGURE_VICTIMS_P95], samples_quantile(&firsts, 0.95));
    }
    samples_done(&firsts);
}

static void add_figures(struct result *r, const struct clients *c, const struct model_server *s)
{
    const struct setting *set = c->setting;
    const struct class_tally *people = &c->classes[CLASS_INTERACTIVE],
                             *batch = &c->classes[CLASS_BATCH];
    double born = (double) (people->n_born + batch->n_born);
    double good = (double) (people->n_good + batch->n_good);
    double counted_sec = (double) (c->ends_at_usec - c->count_from_usec) / 1e6;
    double tokens = setting_mean_tokens(set) / setting_mean_service_sec(set) * counted_sec;
    double wasted = (double) s->slot_usec - (double) c->good_slot_usec;

    samples_add(&r->figures[FIGURE_GOODPUT], ratio(good, born) * fmax(1, c->load));
    samples_add(&r->figures[FIGURE_TOKEN_GOODPUT],
                (double) c->good_tokens / (tokens * fmin(1, c->load)));
    samples_add(&r->figures[FIGURE_GOOD_INTERACTIVE],
                ratio((double) people->n_good, (double) people->n_born));
    samples_add(&r->figures[FIGURE_GOOD_BATCH],
                ratio((double) batch->n_good, (double) batch->n_born));
    samples_add(&r->figures[FIGURE_ATTEMPTS], ratio((double) c->n_attempts, born));
    samples_add(&r->figures[FIGURE_WASTED], ratio(wasted, (double) s->slot_usec));
    samples_add(&r->figures[FIGURE_WASTED_TOKENS],
                ratio((double) s->n_tokens - (double) c->good_tokens, (double) s->n_tokens));
    samples_add(&r->figures[FIGURE_WASTED_SLOT_SEC], wasted / 1e6 / (counted_sec / 60));
    r->n_intents += people->n_born + batch->n_born;
}

static void add_counts(struct result *r, const struct clients *c)
{
    for (size_t i = 0; i < SETTING_CLASSES; i++) {
        samples_add_all(&r->waits[i], &c->classes[i].waits);
        samples_add_all(&r->firsts[i], &c->classes[i].firsts);
    }
    for (size_t i = 0; i < _ERRCODE_MAX; i++) {
        r->n_shed[i] += c->n_shed[i];
    }
    r->n_timeouts += c->n_timeouts;
    r->n_attempts += c->n_attempts;
}

void result_add_run(struct result *r, const struct setting *setting, uint64_t seed)
{
    struct event_heap heap;
    struct policy *policy;
    struct clients clients;

    event_heap_init(&heap, BEGIN_USEC);
    policy = policy_new(r->policy, setting, &heap);
    clients_init(&clients, setting, &heap, policy, r->load, seed);
    while (event_heap_step(&heap, clients.ends_at_usec)) {
    }
    add_figures(r, &clients, policy->ops->server(policy));
    add_counts(r, &clients);
    add_fairness(r, &clients);
    policy->ops->free(policy);
    clients_done(&clients);
    event_heap_done(&heap);
}

void result_done(struct result *r)
{
    for (size_t i = 0; i < _FIGURE_MAX; i++) {
        samples_done(&r->figures[i]);
    }
    for (size_t i = 0; i < SETTING_CLASSES; i++) {
        samples_done(&r->waits[i]);
        samples_done(&r->firsts[i]);
    }
}
