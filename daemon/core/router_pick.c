/*
 * Which deployment of a group takes a call now.
 *
 * Two passes, no allocation. The first finds the level: of the deployments that the call may be given
 * to and that do not pause, busy or not, the lowest order among those that it has tried least and
 * whose servers were not found dead by a check. The second looks for a free slot on that level, by the strategy:
 *
 *   simple-shuffle         at random, by weight where any has one; else one that has the model loaded,
 *                          at random among several
 *   least-busy             the smallest share of its slots in use
 *   latency-based-routing  the quickest of late
 *
 * Ties of the last two go to who has the model loaded, then in turn.
 *
 * Owns nothing. Never allocates, reads no clock, and never tells a breaker anything: who runs a call
 * does.
 */
#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/num.h"
#include "core/residency.h"
#include "core/router.h"
#include "core/router_tags.h"

/* What clients take for a Retry-After: openai-node ignores more than 60 s. */
#define RETRY_MIN_USEC (1 * USEC_PER_SEC)
#define RETRY_MAX_USEC (60 * USEC_PER_SEC)

static const struct router_wish no_wish;

/* ---------------------------------------------------------------- who may */

/* What a wish comes to in a group, found once for each pick. */
struct filter {
    const struct router *router;
    const struct model_group *group;
    const struct router_wish *wish;
    enum tag_rule tags;
    bool is_local_only;
};

static bool has_room(const struct router *r, const struct deployment *d,
                     const struct router_wish *wish)
{
    return !r->policy.checks_context || d->terms->max_input_tokens == 0 ||
           wish->prompt_tokens <= d->terms->max_input_tokens;
}

/* How often the call has failed there; *ret_is_barred: it must not be asked again. */
static uint32_t times_tried(const struct deployment *d, const struct router_wish *wish,
                            bool *ret_is_barred)
{
    uint32_t n = 0;

    *ret_is_barred = false;
    for (size_t i = 0; i < wish->n_tried; i++) {
        if (wish->tried[i].serial == d->serial) {
            *ret_is_barred |= wish->tried[i].is_last;
            n++;
        }
    }
    return n;
}

static bool is_barred(const struct deployment *d, const struct router_wish *wish)
{
    bool is_barred;

    (void) times_tried(d, wish, &is_barred);
    return is_barred;
}

/* NULL: it may serve. */
static const char *bar_of(const struct filter *f, const struct deployment *d)
{
    return !d->backend                        ? "it is off"
           : is_barred(d, f->wish)            ? "the call has failed there"
           : !d->is_local && f->is_local_only ? "the call must not leave the device"
           : d->is_local && f->wish->is_away  ? "the call has left the device"
           : !has_room(f->router, d, f->wish) ? "the prompt is too long for it"
           : !router_tags_allow(f->router, f->group, f->tags, d, f->wish)
               ? "its tags are not the call's"
               : NULL;
}

static bool may_serve(const struct filter *f, const struct deployment *d)
{
    return !bar_of(f, d);
}

/* A deployment that is off, or too small for the prompt, binds the call all the same. */
static bool keeps_local(const struct filter *f)
{
    for (size_t i = 0; f->group->has_local_only && i < f->group->n_deployments; i++) {
        const struct deployment *d = f->group->deployments[i];

        if (d->terms->is_local_only &&
            router_tags_allow(f->router, f->group, f->tags, d, f->wish)) {
            return true;
        }
    }
    return false;
}

static struct filter filter_of(const struct router *r, const struct model_group *g,
                               const struct router_wish *wish)
{
    struct filter f = {.router = r, .group = g, .wish = wish ? wish : &no_wish};

    f.tags = router_tag_rule(r, g, f.wish);
    f.is_local_only = f.wish->is_local_only || keeps_local(&f);
    return f;
}

bool router_keeps_local(const struct router *r, const struct model_group *g,
                        const struct router_wish *wish)
{
    return filter_of(r, g, wish).is_local_only;
}

/* ---------------------------------------------------------------- memory */

/* What d's server calls the model; NULL: its own name. */
static const char *model_at(const struct filter *f, const struct deployment *d,
                            char text[ROUTER_MODEL_BYTES])
{
    return f->wish->name.ptr ? router_upstream_model(f->router, f->group, d, f->wish->name, text)
                             : NULL;
}

/* What keeps the model from being loaded for longer than a call would wait. */
static struct residency_refusal refused_memory(const struct filter *f, const struct deployment *d,
                                               uint64_t now_usec)
{
    char text[ROUTER_MODEL_BYTES];

    if (!f->router->residency || !d->backend || !d->backend->memory) {
        return (struct residency_refusal) {.code = ERRCODE_NONE};
    }
    return residency_refusal(f->router->residency, d, model_at(f, d, text), now_usec);
}

static enum residency_answer ask_memory(const struct filter *f, const struct deployment *d,
                                        uint64_t now_usec)
{
    char text[ROUTER_MODEL_BYTES];

    if (!f->router->residency || !d->backend->memory) {
        return RESIDENCY_SERVES;
    }
    return residency_ask(f->router->residency, d, model_at(f, d, text), now_usec);
}

static void want_memory(const struct filter *f, const struct deployment *d)
{
    char text[ROUTER_MODEL_BYTES];

    if (f->router->residency && d->backend->memory) {
        residency_want(f->router->residency, d, model_at(f, d, text), f->wish->class,
                       f->wish->since_usec);
    }
}

/* ---------------------------------------------------------------- levels */

#define NO_LEVEL    UINT64_MAX
#define LEVEL_DOUBT (UINT64_C(1) << 32)
#define LEVEL_TRIED (UINT64_C(1) << 33)

/*
 * The lower, the sooner: those that failed the call least, then those whose server was not found
 * dead by a check, then by order. So a check leads calls past a server and never keeps them from
 * it: where there is nobody else, or all others have failed the call, it is asked.
 */
static uint64_t level_of(const struct deployment *d, const struct router_wish *wish)
{
    uint64_t order = d->terms->order ? d->terms->order : DEPLOYMENT_ORDER_LAST;
    bool is_barred;

    return order | (deployment_is_doubted(d) ? LEVEL_DOUBT : 0) |
           times_tried(d, wish, &is_barred) * LEVEL_TRIED;
}

static bool takes_calls(const struct filter *f, const struct deployment *d, uint64_t now_usec)
{
    return may_serve(f, d) && deployment_paused_by(d, now_usec, NULL) == PAUSE_NONE &&
           refused_memory(f, d, now_usec).code == ERRCODE_NONE;
}

/* The level that serves now, whether it has a free slot or not. */
static uint64_t lowest_level(const struct filter *f, uint64_t now_usec)
{
    uint64_t lowest = NO_LEVEL;

    for (size_t i = 0; i < f->group->n_deployments; i++) {
        const struct deployment *d = f->group->deployments[i];
        uint64_t level = level_of(d, f->wish);

        if (level < lowest && takes_calls(f, d, now_usec)) {
            lowest = level;
        }
    }
    return lowest;
}

const char *router_bars(const struct router *r, const struct model_group *g,
                        const struct router_wish *wish, const struct deployment *d)
{
    const struct filter f = filter_of(r, g, wish);

    return bar_of(&f, d);
}

bool router_look_ahead(const struct router *r, const struct model_group *g,
                       const struct router_wish *wish, uint64_t now_usec,
                       struct router_outlook *ret)
{
    const struct filter f = filter_of(r, g, wish);
    uint64_t level = lowest_level(&f, now_usec);

    if (level == NO_LEVEL) {
        return false;
    }
    *ret = (struct router_outlook) {.order = (uint32_t) level,
                                    .is_doubted = (level & LEVEL_DOUBT) != 0,
                                    .is_tried = level >= LEVEL_TRIED};
    return true;
}

struct router_room router_find_room(const struct router *r, const struct model_group *g,
                                    const struct router_wish *wish, uint64_t now_usec)
{
    const struct filter f = filter_of(r, g, wish);
    uint64_t level = lowest_level(&f, now_usec);
    struct router_room room = {.is_here = level == NO_LEVEL && model_group_has_local(g)};

    for (size_t i = 0; i < g->n_deployments && level != NO_LEVEL; i++) {
        const struct deployment *d = g->deployments[i];
        unsigned n_slots = deployment_slots(d, r->level);

        if (level_of(d, f.wish) == level && takes_calls(&f, d, now_usec)) {
            room.is_here |= d->is_local;
            room.n_free += n_slots > d->in_use ? n_slots - d->in_use : 0;
        }
    }
    return room;
}

/* ---------------------------------------------------------------- strategies */

/* Of one group; more are not looked at (config/config.h: CONFIG_MAX_DEPLOYMENTS for the whole file). */
#define MAX_CANDIDATES 256

/* Who could take the call: equals but for the strategy, those first whose turn it is. */
struct candidates {
    struct deployment *items[MAX_CANDIDATES];
    size_t n;
};

static bool has_slot(const struct filter *f, const struct deployment *d)
{
    return d->in_use < deployment_slots(d, f->router->level);
}

static bool is_candidate(const struct filter *f, const struct deployment *d, uint64_t now_usec)
{
    return has_slot(f, d) && may_serve(f, d) &&
           deployment_paused_by(d, now_usec, NULL) == PAUSE_NONE &&
           ask_memory(f, d, now_usec) <= RESIDENCY_LOADS;
}

static void find_candidates(const struct filter *f, uint64_t now_usec, struct candidates *ret)
{
    const struct model_group *g = f->group;
    uint64_t level = lowest_level(f, now_usec);

    ret->n = 0;
    for (size_t i = 0; i < g->n_deployments && ret->n < MAX_CANDIDATES && level != NO_LEVEL; i++) {
        struct deployment *d = g->deployments[(g->next + i) % g->n_deployments];

        if (level_of(d, f->wish) == level && is_candidate(f, d, now_usec)) {
            ret->items[ret->n++] = d;
        }
    }
}

void router_want(const struct router *r, const struct model_group *g,
                 const struct router_wish *wish, uint64_t now_usec)
{
    const struct filter f = filter_of(r, g, wish);
    uint64_t level = !r->residency           ? NO_LEVEL
                     : g->n_deployments == 1 ? level_of(g->deployments[0], f.wish)
                                             : lowest_level(&f, now_usec);

    for (size_t i = 0; i < g->n_deployments && level != NO_LEVEL; i++) {
        const struct deployment *d = g->deployments[i];

        if (level_of(d, f.wish) == level && takes_calls(&f, d, now_usec)) {
            want_memory(&f, d);
        }
    }
}

/* splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) */
static uint64_t next_random(struct router *r)
{
    uint64_t z = r->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* From 0 to below 1, of 53 bits. */
static double random_share(struct router *r)
{
    return (double) (next_random(r) >> 11) * 0x1p-53;
}

/* NULL: nobody has a weight. One without any among others that have one is never taken. */
static struct deployment *draw_by_weight(struct router *r, const struct candidates *c)
{
    struct deployment *drawn = NULL;
    double total = 0, left;

    for (size_t i = 0; i < c->n; i++) {
        total += c->items[i]->terms->weight;
    }
    if (!(total > 0)) {
        return NULL;
    }
    left = random_share(r) * total;
    for (size_t i = 0; i < c->n && left >= 0; i++) {
        double weight = c->items[i]->terms->weight;

        drawn = weight > 0 ? c->items[i] : drawn; /* rounding must not take one without */
        left -= weight;
    }
    return drawn;
}

static bool is_loaded(const struct filter *f, const struct deployment *d, uint64_t now_usec)
{
    char text[ROUTER_MODEL_BYTES];

    return deployment_is_loaded(d, model_at(f, d, text), now_usec);
}

static void keep_loaded(const struct filter *f, struct candidates *c, uint64_t now_usec)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        if (is_loaded(f, c->items[i], now_usec)) {
            c->items[n++] = c->items[i];
        }
    }
    c->n = n > 0 ? n : c->n;
}

static struct deployment *shuffle(struct router *r, const struct filter *f, struct candidates *c,
                                  uint64_t now_usec)
{
    struct deployment *drawn = draw_by_weight(r, c);

    if (drawn) {
        return drawn;
    }
    keep_loaded(f, c, now_usec);
    return c->items[next_random(r) % c->n];
}

/* Negative: a is the better one. */
typedef int (*compare_fn)(const struct deployment *a, const struct deployment *b,
                          uint64_t now_usec);

/* Shares in_use/slots, compared without dividing. */
static int compare_busy(const struct deployment *a, const struct deployment *b, uint64_t now_usec)
{
    uint64_t busy_a = (uint64_t) a->in_use * b->slots;
    uint64_t busy_b = (uint64_t) b->in_use * a->slots;

    return busy_a < busy_b ? -1 : busy_a > busy_b;
}

static int compare_latency(const struct deployment *a, const struct deployment *b,
                           uint64_t now_usec)
{
    uint64_t latency_a = latency_expected(&a->latency, now_usec);
    uint64_t latency_b = latency_expected(&b->latency, now_usec);

    return latency_a < latency_b ? -1 : latency_a > latency_b;
}

static struct deployment *best_of(const struct filter *f, const struct candidates *c,
                                  compare_fn compare, uint64_t now_usec)
{
    struct deployment *best = c->items[0];

    for (size_t i = 1; i < c->n; i++) {
        struct deployment *d = c->items[i];
        int order = compare(d, best, now_usec);

        if (order < 0 ||
            (order == 0 && is_loaded(f, d, now_usec) && !is_loaded(f, best, now_usec))) {
            best = d;
        }
    }
    return best;
}

static struct deployment *choose(struct router *r, const struct filter *f, struct candidates *c,
                                 uint64_t now_usec)
{
    if (c->n < 2) {
        return c->n > 0 ? c->items[0] : NULL;
    }
    for (size_t i = 0; i < c->n; i++) {
        deployment_look(c->items[i], now_usec);
    }
    switch (r->policy.strategy) {
    case ROUTING_SHUFFLE:
        break;
    case ROUTING_LEAST_BUSY:
        return best_of(f, c, compare_busy, now_usec);
    case ROUTING_LATENCY:
        return best_of(f, c, compare_latency, now_usec);
    }
    return shuffle(r, f, c, now_usec);
}

/* Apart, as this table is the largest thing that a pick touches. */
static struct deployment *one_of_many(struct router *r, const struct filter *f, uint64_t now_usec)
{
    struct candidates candidates;

    find_candidates(f, now_usec, &candidates);
    return choose(r, f, &candidates, now_usec);
}

/* Most groups: there is no level to find, and nothing to choose. */
static struct deployment *the_only_one(const struct filter *f, uint64_t now_usec)
{
    struct deployment *d = f->group->deployments[0];

    return is_candidate(f, d, now_usec) ? d : NULL;
}

struct deployment *router_pick(struct router *r, struct model_group *g,
                               const struct router_wish *wish, uint64_t now_usec)
{
    const struct filter f = filter_of(r, g, wish);
    struct deployment *d =
        g->n_deployments == 1 ? the_only_one(&f, now_usec) : one_of_many(r, &f, now_usec);

    if (!d) {
        return NULL;
    }
    if (ask_memory(&f, d, now_usec) == RESIDENCY_LOADS) {
        char text[ROUTER_MODEL_BYTES];

        residency_reserve(r->residency, d, model_at(&f, d, text), now_usec);
    }
    d->in_use++;
    gcra_take(&d->rpm, 1, now_usec);
    g->next = (g->next + 1) % g->n_deployments;
    return d;
}

static bool has_turn(const struct filter *f, const struct deployment *d, uint64_t now_usec)
{
    char text[ROUTER_MODEL_BYTES];

    return !f->router->residency || !d->backend->memory ||
           residency_has_turn(f->router->residency, d, model_at(f, d, text), now_usec);
}

bool router_would_pick(const struct router *r, const struct model_group *g,
                       const struct router_wish *wish, uint64_t now_usec)
{
    const struct filter f = filter_of(r, g, wish);
    uint64_t level = lowest_level(&f, now_usec);

    for (size_t i = 0; i < g->n_deployments && level != NO_LEVEL; i++) {
        const struct deployment *d = g->deployments[i];

        if (level_of(d, f.wish) == level && has_slot(&f, d) && takes_calls(&f, d, now_usec) &&
            has_turn(&f, d, now_usec)) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- why not */

/* Nobody may serve the call: why, if it is not that all are off? */
static enum errcode why_nobody(const struct filter *f)
{
    enum errcode code = ERRCODE_MISCONFIGURED;

    for (size_t i = 0; i < f->group->n_deployments; i++) {
        const struct deployment *d = f->group->deployments[i];

        if (d->backend && !has_room(f->router, d, f->wish)) {
            return ERRCODE_CONTEXT_LENGTH;
        }
        if (d->backend && f->is_local_only && !d->is_local) {
            return ERRCODE_LOCAL_ONLY;
        }
        code = d->backend ? ERRCODE_NO_MATCH : code;
    }
    return code;
}

/* Of one that may serve the call: its pause, or what memory has against it. */
static struct router_refusal why_not_now(const struct filter *f, const struct deployment *d,
                                         uint64_t now_usec)
{
    struct residency_refusal memory = refused_memory(f, d, now_usec);
    struct router_refusal why = {.deployment = d, .name = f->wish->name};

    switch (deployment_paused_by(d, now_usec, &why.retry_after_usec)) {
    case PAUSE_NONE:
        why.code = memory.code;
        why.retry_after_usec = memory.retry_after_usec;
        break;
    case PAUSE_HELD:
    case PAUSE_BREAKER:
        why.code = ERRCODE_UPSTREAM_BREAKER;
        break;
    case PAUSE_COOLDOWN:
    case PAUSE_RATE:
        why.code = ERRCODE_NO_DEPLOYMENTS;
        break;
    }
    return why;
}

bool router_refuses(const struct router *r, const struct model_group *g,
                    const struct router_wish *wish, uint64_t now_usec, struct router_refusal *ret)
{
    const struct filter f = filter_of(r, g, wish);
    struct router_refusal refusal = {.code = ERRCODE_NONE, .retry_after_usec = USEC_NEVER};

    for (size_t i = 0; i < g->n_deployments; i++) {
        const struct deployment *d = g->deployments[i];
        struct router_refusal why;

        if (!may_serve(&f, d)) {
            continue;
        }
        why = why_not_now(&f, d, now_usec);
        if (why.code == ERRCODE_NONE) {
            return false;
        }
        if (!refusal.deployment || why.retry_after_usec < refusal.retry_after_usec) {
            refusal = why;
        }
    }
    if (!refusal.deployment) {
        *ret = (struct router_refusal) {.code = why_nobody(&f)};
        return true;
    }
    *ret = refusal;
    if (refusal.retry_after_usec == USEC_NEVER) {
        ret->retry_after_usec = 0;
        return true;
    }
    ret->is_long =
        refusal.code == ERRCODE_MODEL_QUARANTINED && refusal.retry_after_usec > RETRY_MAX_USEC;
    ret->retry_after_usec =
        num_clamp_u64((refusal.retry_after_usec + USEC_PER_SEC - 1) / USEC_PER_SEC * USEC_PER_SEC,
                      RETRY_MIN_USEC, RETRY_MAX_USEC);
    return true;
}

/* The pause of the deployment, or what memory has against it; NULL: nothing that it could say. */
static const char *describe_why(const struct router *r, const struct model_group *g,
                                const struct router_refusal *refusal, uint64_t now_usec,
                                char ret_text[RESIDENCY_TEXT_BYTES])
{
    static_assert((int) RESIDENCY_TEXT_BYTES >= (int) DEPLOYMENT_TEXT_BYTES, "room for both");
    const struct deployment *d = refusal->deployment;
    const struct router_wish wish = {.name = refusal->name};
    const struct filter f = {.router = r, .group = g, .wish = &wish};
    const char *pause = d ? deployment_describe_pause(d, true, now_usec, ret_text) : NULL;
    char text[ROUTER_MODEL_BYTES];

    if (pause || !d || !r->residency) {
        return pause;
    }
    return residency_describe(r->residency, d, model_at(&f, d, text), now_usec, ret_text);
}

const char *router_refusal_describe(const struct router *r, const struct model_group *g,
                                    const struct router_refusal *refusal, uint64_t now_usec,
                                    char ret_text[ROUTER_REFUSAL_BYTES])
{
    const char *text = errcode_info(refusal->code)->text;
    char why[RESIDENCY_TEXT_BYTES];
    const char *pause = describe_why(r, g, refusal, now_usec, why);
    struct str id =
        refusal->deployment ? str_clip(str_from(refusal->deployment->id), 64) : STR_NONE;

    if (!pause) {
        return text;
    }
    (void) snprintf(ret_text, ROUTER_REFUSAL_BYTES, "%s (%.*s): %s", text, STR_ARG(id), pause);
    return ret_text;
}

uint64_t model_group_resumes_at(const struct model_group *g, uint64_t after_usec)
{
    uint64_t earliest = USEC_NEVER;

    for (size_t i = 0; i < g->n_deployments; i++) {
        const struct deployment *d = g->deployments[i];

        if (d->backend && d->in_use < d->slots) {
            uint64_t at = deployment_resumes_at(d, after_usec);

            earliest = at < earliest ? at : earliest;
        }
    }
    return earliest;
}
