/*
 * Whom core/residency makes room for, who goes, and when.
 *
 * Who is wanted: of the models that calls wait for and that do not fit, the one with the highest
 * class waiting, then the oldest call. One of a lower class is due once in a while (is_due()), and
 * comes first then: else models that persons take turns with would keep it away for good, where it
 * needs more room than one of them leaves. For it the plan is made of the models that may go, greedily
 * by size x idle time / time of a load, until what is missing is there; where all of them together do
 * not make the room, none goes. One is unloaded at a time, what came of it is looked at, and the plan
 * is made anew with the memory that is really free. The kernel's numbers come a moment after the end
 * of a runner, so what it held is waited for.
 *
 * Who may go (against models that push each other out without end):
 *
 *   idle, nobody waits for it    once it has been there for as long as its load took
 *   in use, nobody waits for it  drained, once it has been there for three times that; used until a
 *                                moment ago is in use: a client asks again when it has its answer
 *   calls wait for it as well    the same, and only for a higher class, or when the oldest call for
 *                                the other one has waited for 15 s or two loads, whichever is more
 *
 * No such wait is longer than half of what the queue lets the waiting class stay: else every call for
 * the other model would expire before its turn. (So far the specification had 15 s for both.) A
 * model is there for the time of its load at least, so that at most half of all time is spent on
 * loads.
 *
 * What pressure asks for: see residency_pressure.c. A second passes between two unloads.
 *
 * Must not: read a clock, let calls in (residency_gate.c).
 */
#include <assert.h>

#include "base/num.h"
#include "core/class_floor.h"
#include "core/residency_internal.h"

#define PACE_USEC        (1 * USEC_PER_SEC)
#define POLL_USEC        (250 * USEC_PER_MSEC) /* while somebody waits for a turn */
#define CONTEST_AGE_USEC (15 * USEC_PER_SEC)
#define LOOK_AGAIN_USEC  (10 * USEC_PER_SEC)
#define KEPT_USEC        (301 * USEC_PER_SEC) /* Ollama's keep_alive by default, and then it is gone */
#define HOLD_LOADS       3
#define BETWEEN_USEC     (250 * USEC_PER_MSEC) /* from an answer to its client's next question */
#define OVER_PLAN        1250                  /* per mille of what was reserved */
#define GROWN_PERMILLE   1250
#define GROWN_BYTES      (128 * RESIDENCY_MIB)
#define FIRST_LOAD_USEC  (2 * USEC_PER_SEC) /* where none was seen */
#define SHOWN_ASKED_MAX  4 /* servers' answers at a time for what is only to be shown: of up to 64 */

static struct residency_model *model_of(struct list *l)
{
    return CONTAINER_OF(l, struct residency_model, link);
}

static bool is_wanted(const struct residency_model *m)
{
    return m->wants.n > 0 || m->is_load_wanted;
}

static bool is_idle(const struct residency *r, const struct residency_model *m)
{
    return m->wants.n == 0 && !residency_model_is_in_use(r, m);
}

uint64_t residency_load_time(const struct residency *r, const struct residency_model *m)
{
    uint64_t usec = residency_need(r, m).load_usec;

    return usec > 0 ? usec : FIRST_LOAD_USEC;
}

/* ---------------------------------------------------------------- questions to servers */

static bool inquire(struct residency *r, uint64_t now_usec, struct residency_action *ret)
{
    size_t n_asked = 0;

    list_for_each (l, &r->models) {
        n_asked += model_of(l)->is_asked;
    }
    list_for_each (l, &r->models) {
        struct residency_model *m = model_of(l);

        if ((is_wanted(m) || (m->is_fact_wanted && n_asked < SHOWN_ASKED_MAX)) && !m->is_told &&
            !m->is_asked && residency_has_budget(r, m)) {
            m->is_asked = true;
            m->asked_at_usec = now_usec;
            *ret = (struct residency_action) {.verb = RESIDENCY_INQUIRE, .model = m};
            return true;
        }
    }
    return false;
}

/* One that calls wait for although it is, or may be, there. */
static bool needs_look(const struct residency *r, const struct residency_model *m,
                       uint64_t now_usec)
{
    uint64_t age = m->looked_at_usec > 0 ? usec_since(now_usec, m->looked_at_usec) : USEC_NEVER;

    if (!is_wanted(m) || m->is_looked_for || (!residency_has_budget(r, m) && !m->is_load_wanted)) {
        return false;
    }
    if (m->state == RESIDENCY_RESIDENT) {
        return age >= RESIDENCY_LOOK_FRESH_USEC && !residency_model_is_in_use(r, m);
    }
    return m->state == RESIDENCY_UNLOADED && m->is_told && age >= LOOK_AGAIN_USEC &&
           !residency_fits(r, m);
}

/* When it is time to see whether one that nobody uses is still there; USEC_NEVER: never. */
static uint64_t doubted_at(const struct residency *r, const struct residency_model *m)
{
    uint64_t known = m->looked_at_usec > m->used_at_usec ? m->looked_at_usec : m->used_at_usec;

    return m->is_local && m->state == RESIDENCY_RESIDENT && !m->is_looked_for &&
                   !residency_model_is_in_use(r, m)
               ? usec_add(known, KEPT_USEC)
               : USEC_NEVER;
}

static bool look(struct residency *r, uint64_t now_usec, struct residency_action *ret)
{
    list_for_each (l, &r->models) {
        struct residency_model *m = model_of(l);

        if (needs_look(r, m, now_usec) || now_usec >= doubted_at(r, m)) {
            m->is_looked_for = true;
            *ret = (struct residency_action) {.verb = RESIDENCY_LOOK, .model = m};
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- a load that goes wrong */

static bool stop(struct residency *r, struct residency_action *ret)
{
    list_for_each (l, &r->models) {
        struct residency_model *m = model_of(l);
        bool is_over = m->reserved_bytes > 0 &&
                       m->held_bytes / 1000 > m->reserved_bytes / 1000 * OVER_PLAN / 1000;
        bool is_emergency = r->memory.available_bytes < residency_critical_bytes(r);

        if (m->state == RESIDENCY_LOADING && !m->is_stopping && residency_has_budget(r, m) &&
            (is_over || is_emergency)) {
            m->is_stopping = true;
            r->n_aborts++;
            *ret = (struct residency_action) {.verb = RESIDENCY_STOP,
                                              .reason = is_over ? RESIDENCY_OVER_PLAN
                                                                : RESIDENCY_EMERGENCY,
                                              .model = m};
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- unloads */

static bool unload(struct residency_model *m, enum residency_reason reason,
                   const struct residency_model *favour, uint64_t now_usec,
                   struct residency_action *ret)
{
    residency_set_state(m, RESIDENCY_UNLOADING, now_usec);
    *ret = (struct residency_action) {
        .verb = RESIDENCY_UNLOAD, .reason = reason, .model = m, .favour = favour};
    return true;
}

bool residency_can_go(const struct residency *r, const struct residency_model *m, uint64_t now_usec)
{
    return (m->state == RESIDENCY_RESIDENT || m->state == RESIDENCY_DRAINING) &&
           residency_has_budget(r, m) && now_usec >= m->retry_unload_at_usec;
}

bool residency_is_unloadable(const struct residency *r, const struct residency_model *m)
{
    return residency_has_budget(r, m) && residency_takes_memory(m);
}

bool residency_is_freeing(const struct residency *r, uint64_t now_usec)
{
    const struct residency_model *moving = residency_moving(r);

    return r->freeing_bytes > 0 || residency_too_many(r, now_usec) ||
           (moving && moving->state == RESIDENCY_UNLOADING);
}

/*
 * What it keeps beyond its needs (a cache of prompts) is worth having until memory is wanted, and more
 * of it than what is coming back anyway.
 */
static struct residency_model *grown(struct residency *r, uint64_t now_usec)
{
    if (r->freeing_bytes > 0 || residency_room(r) > 0) {
        return NULL;
    }
    list_for_each (l, &r->models) {
        struct residency_model *m = model_of(l);

        if (m->baseline_bytes > 0 &&
            m->held_bytes > m->baseline_bytes / 1000 * GROWN_PERMILLE + GROWN_BYTES &&
            residency_can_go(r, m, now_usec) && is_idle(r, m)) {
            return m;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- room for another one */

static uint64_t at_most(uint64_t v, uint64_t max)
{
    return v < max ? v : max;
}

static uint64_t half_wait(const struct residency *r, const struct residency_model *w)
{
    return r->params.max_wait_usec[w->wants.class] / 2;
}

/*
 * Is a turn owed to the lower class that waits for it, as in a queue (class_floor.h)? Not where memory
 * is short: then nothing is owed.
 */
static bool is_due(const struct residency *r, const struct residency_model *m, uint64_t now_usec)
{
    uint64_t turn = class_floor_turn_usec(m->wants.class);
    uint64_t from =
        m->wants.since_usec > m->resident_at_usec ? m->wants.since_usec : m->resident_at_usec;

    return m->wants.n > 0 && turn > 0 && r->pressure.level == 0 &&
           usec_since(now_usec, from) >= at_most(turn, half_wait(r, m));
}

/* Before: a turn is owed to it, its class is higher, or the same and its call older. */
static bool is_before(const struct residency *r, const struct residency_model *a,
                      const struct residency_model *b, uint64_t now_usec)
{
    bool a_is_due = is_due(r, a, now_usec), b_is_due = is_due(r, b, now_usec);

    if (a->is_load_wanted != b->is_load_wanted) {
        return a->is_load_wanted;
    }
    if (a_is_due != b_is_due) {
        return a_is_due;
    }
    return a->wants.class != b->wants.class ? a->wants.class < b->wants.class
                                            : a->wants.since_usec < b->wants.since_usec;
}

static struct residency_model *whose_turn(const struct residency *r, uint64_t now_usec)
{
    struct residency_model *first = NULL;

    list_for_each (l, &r->models) {
        struct residency_model *m = model_of(l);

        if (is_wanted(m) && m->state == RESIDENCY_UNLOADED && m->is_told &&
            residency_has_budget(r, m) && (!first || is_before(r, m, first, now_usec))) {
            first = m;
        }
    }
    return first;
}

bool residency_is_kept(const struct residency *r, const struct residency_model *m,
                       uint64_t now_usec)
{
    const struct residency_model *w = whose_turn(r, now_usec);

    return w && w != m && is_due(r, w, now_usec) && residency_fits(r, w);
}

/* How long m stays for sure, from the moment it was loaded. */
static uint64_t hold_usec(const struct residency *r, const struct residency_model *m,
                          const struct residency_model *w, uint64_t now_usec)
{
    uint64_t load = residency_load_time(r, m), longest = half_wait(r, w);
    bool is_left = is_idle(r, m) && usec_since(now_usec, m->used_at_usec) >= BETWEEN_USEC;

    return is_left ? load : at_most(HOLD_LOADS * load, longest > load ? longest : load);
}

static bool has_waited_enough(const struct residency *r, const struct residency_model *w,
                              uint64_t now_usec)
{
    uint64_t two = 2 * residency_load_time(r, w);
    uint64_t age = two > CONTEST_AGE_USEC ? two : CONTEST_AGE_USEC;

    return w->is_load_wanted ||
           usec_since(now_usec, w->wants.since_usec) >= at_most(age, half_wait(r, w));
}

static bool may_go(const struct residency *r, const struct residency_model *m,
                   const struct residency_model *w, uint64_t now_usec)
{
    if (m == w || !residency_can_go(r, m, now_usec)) {
        return false;
    }
    if (m->state == RESIDENCY_DRAINING) {
        return true;
    }
    if (usec_since(now_usec, m->resident_at_usec) < hold_usec(r, m, w, now_usec)) {
        return false;
    }
    return m->wants.n == 0 || w->wants.class < m->wants.class || has_waited_enough(r, w, now_usec);
}

double residency_score(const struct residency *r, const struct residency_model *m,
                       uint64_t now_usec)
{
    double idle = (double) usec_since(now_usec, m->used_at_usec) / USEC_PER_SEC + 1;
    double load = (double) residency_load_time(r, m) / USEC_PER_SEC + 0.1;

    /* nobody in use goes while an idle one could */
    return (is_idle(r, m) ? 1e12 : 1) * (double) (residency_held(r, m) + 1) * idle / load;
}

/* The best of those that may go, whose score is below that of the one before; NULL: no more. */
static struct residency_model *next_to_go(struct residency *r, const struct residency_model *w,
                                          double below, uint64_t now_usec)
{
    struct residency_model *best = NULL;

    list_for_each (l, &r->models) {
        struct residency_model *m = model_of(l);
        double s = may_go(r, m, w, now_usec) ? residency_score(r, m, now_usec) : below;

        if (s < below && (!best || s > residency_score(r, best, now_usec))) {
            best = m;
        }
    }
    return best;
}

/* The first of a plan that makes enough room; NULL: there is no such plan, or none is needed. */
static struct residency_model *first_of_plan(struct residency *r, const struct residency_model *w,
                                             uint64_t now_usec, uint64_t *ret_freed_bytes)
{
    struct residency_model *first = NULL, *m = NULL;
    size_t n_left = residency_n_others(r, w);
    uint64_t freed = 0;
    double below = 1e300;

    while (!residency_fits_after(r, w, freed, n_left == 0)) {
        m = next_to_go(r, w, below, now_usec);
        if (!m) {
            return NULL;
        }
        first = first ? first : m;
        freed += residency_held(r, m);
        below = residency_score(r, m, now_usec);
        n_left--;
    }
    *ret_freed_bytes = freed;
    return first;
}

/* Room for the one whose turn it is. What is in use is drained first: nothing to be done now. */
static bool make_room(struct residency *r, struct residency_model *w, uint64_t now_usec,
                      struct residency_action *ret)
{
    uint64_t freed = 0;
    struct residency_model *m = first_of_plan(r, w, now_usec, &freed);

    if (!m || !residency_may_make_room(r, w, freed, now_usec)) {
        return false;
    }
    if (residency_model_is_in_use(r, m)) {
        if (m->state == RESIDENCY_RESIDENT) {
            residency_set_state(m, RESIDENCY_DRAINING, now_usec);
        }
        return false;
    }
    return unload(m, RESIDENCY_FOR_MODEL, w, now_usec, ret);
}

/* Those that drain for nobody: whoever waited has gone, or fits without. */
static void end_drains(struct residency *r, const struct residency_model *w, uint64_t now_usec)
{
    list_for_each (l, &r->models) {
        struct residency_model *m = model_of(l);

        if (m->state == RESIDENCY_DRAINING && (!w || residency_fits(r, w))) {
            residency_set_state(m, RESIDENCY_RESIDENT, now_usec);
        }
    }
}

/* What an operator wants where no budget holds anything back. */
static bool load_at_once(struct residency *r, uint64_t now_usec, struct residency_action *ret)
{
    list_for_each (l, &r->models) {
        struct residency_model *m = model_of(l);

        if (m->is_load_wanted && m->state == RESIDENCY_UNLOADED && !residency_has_budget(r, m)) {
            m->is_load_wanted = false;
            residency_set_state(m, RESIDENCY_RESERVED, now_usec);
            *ret = (struct residency_action) {
                .verb = RESIDENCY_LOAD, .reason = RESIDENCY_BY_OPERATOR, .model = m};
            return true;
        }
    }
    return false;
}

static bool serve_turn(struct residency *r, uint64_t now_usec, struct residency_action *ret)
{
    struct residency_model *w = whose_turn(r, now_usec);

    end_drains(r, w, now_usec);
    if (!w) {
        return false;
    }
    if (!residency_fits(r, w)) {
        return r->freeing_bytes == 0 && usec_since(now_usec, r->acted_at_usec) >= PACE_USEC &&
               make_room(r, w, now_usec, ret);
    }
    if (w->is_load_wanted && w->wants.n == 0 &&
        residency_may_load(r, w, 0, now_usec, NULL)) { /* a call that waits loads it itself */
        if (residency_doubts(w, now_usec)) {
            return inquire(r, now_usec, ret);
        }
        residency_set_state(w, RESIDENCY_RESERVED, now_usec);
        w->reserved_bytes = residency_asked(r, w);
        *ret = (struct residency_action) {
            .verb = RESIDENCY_LOAD, .reason = RESIDENCY_BY_OPERATOR, .model = w};
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------- when a turn would come */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What is left of a load, as far as is known. */
static uint64_t rest_of(const struct residency *r, const struct residency_model *m,
                        uint64_t now_usec)
{
    uint64_t load = residency_need(r, m).load_usec;

    return m->state == RESIDENCY_LOADING ? usec_since(load, usec_since(now_usec, m->since_usec))
                                         : load;
}

/* The earliest moment at which m may go for w. What is left of answers is not known here. */
static uint64_t may_go_at(const struct residency *r, const struct residency_model *m,
                          const struct residency_model *w, uint64_t now_usec)
{
    uint64_t two = 2 * residency_need(r, w).load_usec;
    uint64_t age = at_most(two > CONTEST_AGE_USEC ? two : CONTEST_AGE_USEC, half_wait(r, w));
    uint64_t at = now_usec;

    switch (m->state) {
    case RESIDENCY_RESERVED:
    case RESIDENCY_LOADING: /* and is there for as long again */
        return usec_add(now_usec, rest_of(r, m, now_usec) + residency_need(r, m).load_usec);
    case RESIDENCY_RESIDENT:
        at = later(usec_add(m->resident_at_usec, hold_usec(r, m, w, now_usec)),
                   m->retry_unload_at_usec);
        return m->wants.n > 0 && w->wants.class >= m->wants.class && !w->is_load_wanted
                   ? later(at, usec_add(w->wants.since_usec, age))
                   : at;
    case RESIDENCY_DRAINING:
    case RESIDENCY_UNLOADING:
    case RESIDENCY_UNLOADED:
    case RESIDENCY_FAILED:
        break;
    }
    return at;
}

/* Is there room for w when all have gone that may by then? */
static bool has_room_by(const struct residency *r, const struct residency_model *w,
                        const struct residency_model *as, uint64_t at_usec, uint64_t now_usec)
{
    size_t n_left = residency_n_others(r, w);
    uint64_t freed = r->freeing_bytes;

    list_for_each (l, &r->models) {
        const struct residency_model *m = model_of(l);

        if (m != w && residency_is_unloadable(r, m) && may_go_at(r, m, as, now_usec) <= at_usec) {
            freed += later(residency_held(r, m), m->reserved_bytes);
            n_left--;
        }
    }
    return residency_fits_after(r, w, freed, n_left == 0);
}

/* Whose turn was taken is loaded again when the other one was, and was there for as long. */
static uint64_t turn_of_another(const struct residency *r, const struct residency_model *w,
                                uint64_t now_usec)
{
    const struct residency_model *x = whose_turn(r, now_usec);

    return x && x != w && !residency_fits(r, x) ? 2 * residency_need(r, x).load_usec : 0;
}

uint64_t residency_turn_usec(const struct residency *r, const struct residency_model *w,
                             enum call_class class, uint64_t now_usec)
{
    const struct residency_model *moving = residency_moving(r);
    uint64_t rest = moving && moving != w && moving->state != RESIDENCY_UNLOADING
                        ? rest_of(r, moving, now_usec)
                        : 0;
    struct residency_model as = *w; /* as it would be with the call */
    uint64_t best = USEC_NEVER;

    if (residency_is_held(w)) {
        return turn_of_another(r, w, now_usec);
    }
    if (residency_fits(r, w)) {
        return rest;
    }
    as.wants = w->wants.n > 0 ? w->wants : (struct residency_wants) {1, class, now_usec};
    as.wants.class = class < as.wants.class ? class : as.wants.class;
    list_for_each (l, &r->models) {
        const struct residency_model *m = model_of(l);
        uint64_t at;

        if (m == w || !residency_is_unloadable(r, m)) {
            continue;
        }
        at = later(may_go_at(r, m, &as, now_usec), now_usec);
        best = at < best && has_room_by(r, w, &as, at, now_usec) ? at : best;
    }
    return best == USEC_NEVER ? rest : later(rest, best - now_usec);
}

/* ---------------------------------------------------------------- the next thing */

static void end_quarantines(struct residency *r, uint64_t now_usec)
{
    list_for_each (l, &r->models) {
        struct residency_model *m = model_of(l);

        if (m->state == RESIDENCY_FAILED && now_usec >= m->quarantined_until_usec) {
            residency_set_state(m, RESIDENCY_UNLOADED, now_usec);
        }
    }
}

bool residency_next(struct residency *r, uint64_t now_usec, struct residency_action *ret)
{
    struct residency_model *m;

    end_quarantines(r, now_usec);
    if (stop(r, ret) || inquire(r, now_usec, ret) || look(r, now_usec, ret) ||
        load_at_once(r, now_usec, ret)) {
        return true;
    }
    if (residency_moving(r)) {
        return false;
    }
    if (r->acted_at_usec == 0 || usec_since(now_usec, r->acted_at_usec) >= PACE_USEC) {
        m = residency_too_many(r, now_usec);
        if (m) {
            return unload(m, residency_note_yield(r, m, now_usec), NULL, now_usec, ret);
        }
        m = grown(r, now_usec);
        if (m) {
            return unload(m, RESIDENCY_GROWN, NULL, now_usec, ret);
        }
    }
    return serve_turn(r, now_usec, ret);
}

uint64_t residency_next_at(const struct residency *r, uint64_t now_usec)
{
    uint64_t at = USEC_NEVER;

    list_for_each (l, &r->models) {
        const struct residency_model *m = model_of(l);
        bool waits = is_wanted(m) && !residency_is_held(m);

        if (residency_has_budget(r, m) && (waits || m->state == RESIDENCY_DRAINING ||
                                           (r->pressure.level > 0 && residency_is_held(m)))) {
            return usec_add(now_usec, POLL_USEC);
        }
        at = at_most(at, doubted_at(r, m));
    }
    return at;
}

bool residency_is_moving(const struct residency *r)
{
    return residency_moving(r) != NULL;
}

bool residency_is_exposed(const struct residency *r)
{
    list_for_each (l, &r->models) {
        const struct residency_model *m = model_of(l);

        if (m->is_local && (residency_is_held(m) || m->state == RESIDENCY_LOADING)) {
            return true;
        }
    }
    return false;
}
