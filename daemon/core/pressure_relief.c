/*
 * See pressure_relief.h. Looks at each granted ticket once per model, so at most slots × models.
 *
 * Must not: read a clock, allocate, end a call, unload a model.
 */
#include "core/pressure_relief.h"

#include "base/clock.h"

#define PACE_USEC      (1 * USEC_PER_SEC)  /* between two calls, and after an unload */
#define CONFIRM_USEC   (10 * USEC_PER_SEC) /* how long the memory of the last one is waited for */
#define LAST_CALL_USEC (5 * USEC_PER_SEC)  /* what the last interactive call is left at L4 */
#define FOREIGN_SHARE  10                  /* of the memory: with less, others are the cause */

void pressure_relief_init(struct pressure_relief *p)
{
    *p = (struct pressure_relief) {.look_at_usec = USEC_NEVER};
}

static struct residency_model *model_of(struct list *l)
{
    return CONTAINER_OF(l, struct residency_model, link);
}

static struct ticket *ticket_of(struct list *l)
{
    return CONTAINER_OF(l, struct ticket, link);
}

static bool uses(const struct ticket *t, const struct residency_model *m)
{
    return residency_model_is_of(m, t->deployment);
}

/* Would the end of this call help to free a model? */
static bool is_ours(const struct residency *r, const struct ticket *t)
{
    list_for_each (l, &r->models) {
        if (residency_is_unloadable(r, model_of(l)) && uses(t, model_of(l))) {
            return true;
        }
    }
    return false;
}

static bool is_foreign(const struct residency *r)
{
    uint64_t held = 0;

    list_for_each (l, &r->models) {
        held += residency_is_unloadable(r, model_of(l)) ? model_of(l)->held_bytes : 0;
    }
    return held < r->memory.total_bytes / FOREIGN_SHARE;
}

/* ---------------------------------------------------------------- who */

/* a is the lesser loss. */
static bool is_before(const struct ticket *a, const struct ticket *b)
{
    bool has_begun = a->content_at_usec > 0;

    if (a->class != b->class) {
        return a->class > b->class;
    }
    if (has_begun != (b->content_at_usec > 0)) {
        return !has_begun;
    }
    if (a->granted_at_usec != b->granted_at_usec) {
        return a->granted_at_usec > b->granted_at_usec;
    }
    return a->caller->lanes[a->class].weight < b->caller->lanes[b->class].weight;
}

/* Who is at a runner. class: the highest. */
struct crew {
    const struct residency_model *model;
    unsigned n;
    enum call_class class;
    struct ticket *first; /* to go */
};

static void add(struct crew *c, struct ticket *t)
{
    c->class = c->n == 0 || t->class < c->class ? t->class : c->class;
    c->first = !c->first || is_before(t, c->first) ? t : c->first;
    c->n++;
}

/* At this model, or at any where it is NULL. */
static struct crew crew_of(const struct admission *a, const struct residency *r,
                           const struct residency_model *m)
{
    struct crew c = {.model = m};

    list_for_each (l, &a->granted) {
        struct ticket *t = ticket_of(l);

        if (m ? uses(t, m) : is_ours(r, t)) {
            add(&c, t);
        }
    }
    return c;
}

static bool is_better(const struct crew *a, const struct crew *b)
{
    if (a->class != b->class) {
        return a->class > b->class;
    }
    return a->n != b->n ? a->n < b->n : a->model->held_bytes > b->model->held_bytes;
}

/* L3: of the runner that is best emptied; nobody where none would be unloaded then. */
static struct ticket *of_low_runner(const struct admission *a, const struct residency *r,
                                    uint64_t now_usec)
{
    struct crew best = {.n = 0};

    list_for_each (l, &r->models) {
        const struct residency_model *m = model_of(l);
        struct crew c;

        if (!residency_would_unload(r, m, now_usec)) {
            continue;
        }
        c = crew_of(a, r, m);
        if (c.n > 0 && c.class != CLASS_INTERACTIVE && (best.n == 0 || is_better(&c, &best))) {
            best = c;
        }
    }
    return best.first;
}

/* ---------------------------------------------------------------- when */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Not before; the moment is past where the next one may go now. */
static uint64_t may_act_at(const struct pressure_relief *p, const struct residency *r,
                           uint64_t now_usec)
{
    uint64_t at = p->acted_at_usec > 0 ? usec_add(p->acted_at_usec, PACE_USEC) : 0;

    if (residency_is_freeing(r, now_usec)) {
        return later(at, usec_add(later(p->acted_at_usec, p->since_usec), CONFIRM_USEC));
    }
    return r->acted_at_usec > 0 ? later(at, usec_add(r->acted_at_usec, PACE_USEC)) : at;
}

static struct ticket *act(struct pressure_relief *p, struct ticket *t, uint64_t at_usec,
                          uint64_t now_usec)
{
    if (now_usec < at_usec) {
        p->look_at_usec = at_usec;
        return NULL;
    }
    p->acted_at_usec = now_usec;
    p->look_at_usec = usec_add(now_usec, PACE_USEC);
    return t;
}

struct ticket *pressure_relief_next(struct pressure_relief *p, const struct admission *a,
                                    struct residency *r, enum pressure_level level,
                                    uint64_t now_usec)
{
    uint64_t at, last_at;
    struct crew all;

    if (level != p->level) {
        p->level = level;
        p->since_usec = now_usec;
    }
    p->look_at_usec = USEC_NEVER;
    if (level < PRESSURE_L3 || !r || a->n_granted == 0 || is_foreign(r)) {
        return NULL;
    }
    at = may_act_at(p, r, now_usec);
    if (level == PRESSURE_L3) {
        struct ticket *t = of_low_runner(a, r, now_usec);

        return t ? act(p, t, at, now_usec) : NULL;
    }
    all = crew_of(a, r, NULL);
    if (all.n == 0) {
        return NULL;
    }
    last_at = usec_add(later(p->acted_at_usec, p->since_usec), LAST_CALL_USEC);
    if (all.n == 1 && all.class == CLASS_INTERACTIVE) {
        at = later(at, last_at);
    }
    return act(p, all.first, at, now_usec);
}
