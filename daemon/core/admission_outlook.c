/*
 * What a call would wait: for a slot, by what is before it (predicted_wait.h), and for its model.
 *
 * What is not known counts for nothing: nobody is refused for a guess.
 *
 * Must not: read a clock, allocate, decide who comes in.
 */
#include "base/clock.h"
#include "core/admission_internal.h"
#include "core/residency.h"

/* Deployments of a group that are looked at for its service times; the others are like them. */
#define SAMPLED_DEPLOYMENTS 16

static const struct router_wish away = {.is_away = true};

/* Do t and p, who ask for the same group, wait for the same slots? */
static bool is_on_side(const struct applicant *p, const struct ticket *t)
{
    return !p->has_sides || t->is_away == p->is_away;
}

/* ---------------------------------------------------------------- what is expected */

static uint64_t expected_at(const struct deployment *d, const struct caller_entry *c,
                            enum call_class class)
{
    uint64_t own = caller_entry_service(c, class, d->serial);

    return own > 0 ? own : service_time_median(&d->service, class);
}

/* Of all that is known of other models, the middle. */
static uint64_t expected_anywhere(struct admission *a, enum call_class class)
{
    uint64_t known[SAMPLED_DEPLOYMENTS];
    size_t n = 0;

    list_for_each (l, &a->router->deployments) {
        const struct deployment *d = CONTAINER_OF(l, struct deployment, link);
        uint64_t usec = service_time_median(&d->service, class);

        a->n_steps++;
        for (size_t i = n; usec > 0 && n < SAMPLED_DEPLOYMENTS; i--) {
            if (i == 0 || known[i - 1] <= usec) {
                known[i] = usec;
                n++;
                break;
            }
            known[i] = known[i - 1];
        }
    }
    return n > 0 ? known[n / 2] : 0;
}

uint64_t admission_expected(struct admission *a, const struct model_group *group,
                            const struct caller_entry *c, enum call_class class)
{
    uint64_t sum = 0;
    unsigned n = 0;

    for (size_t i = 0; i < group->n_deployments && i < SAMPLED_DEPLOYMENTS; i++) {
        uint64_t usec = expected_at(group->deployments[i], c, class);

        a->n_steps++;
        sum += usec;
        n += usec > 0;
    }
    return n > 0 ? sum / n : expected_anywhere(a, class);
}

/* ---------------------------------------------------------------- what is before it */

/* Does a deployment serve the group as long as better ones are there? */
static bool is_of_level(const struct deployment *d, const struct router_outlook *level,
                        uint64_t now_usec)
{
    uint32_t own = d->terms->order > 0 ? d->terms->order : DEPLOYMENT_ORDER_LAST;

    return d->backend && own == level->order && deployment_is_doubted(d) == level->is_doubted &&
           deployment_paused_by(d, now_usec, NULL) == PAUSE_NONE;
}

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

void admission_look_at_slots(const struct admission *a, const struct applicant *p,
                             uint64_t now_usec, struct wait_outlook *o)
{
    const struct model_group *g = p->group;
    struct router_outlook level;
    uint64_t above_usec = 0;
    unsigned n_slots = 0;

    if (!router_look_ahead(a->router, g, p->is_away ? &away : NULL, now_usec, &level)) {
        return;
    }
    for (size_t i = 0; i < g->n_deployments; i++) {
        const struct deployment *d = g->deployments[i];
        unsigned n = deployment_slots(d, a->router->level);

        if (!is_of_level(d, &level, now_usec) || (p->is_away && d->is_local)) {
            continue;
        }
        o->n_slots += n;
        o->n_free += n > d->in_use ? n - d->in_use : 0;
        if (i < SAMPLED_DEPLOYMENTS) {
            above_usec += service_time_above(&d->service, p->class, now_usec);
            n_slots += n;
        }
    }
    if (a->params.max_granted > 0) {
        size_t most = a->params.max_granted;

        o->n_free = (unsigned) least_of(o->n_free, most > a->n_granted ? most - a->n_granted : 0);
        o->n_slots = (unsigned) least_of(o->n_slots, most);
    }
    if (n_slots > 0) {
        uint64_t permille = above_usec * 1000 / (n_slots * SERVICE_SHARE_WINDOW_USEC);

        o->above_permille = permille < 1000 ? (unsigned) permille : 1000;
    }
}

static bool runs_for(const struct admission *a, const struct ticket *t, const struct applicant *p)
{
    const struct model_group *g = p->group;

    if (admission_is_one_line(a)) {
        return true;
    }
    if (t->group == g) {
        return is_on_side(p, t);
    }
    for (size_t i = 0; i < g->n_deployments && i < SAMPLED_DEPLOYMENTS; i++) {
        if (g->deployments[i] == t->deployment) {
            return true;
        }
    }
    return false;
}

/*
 * What is left of a call that runs. One that has run for longer than was expected is of the long
 * ones: it is expected to go on for a quarter of what it took so far.
 */
static uint64_t rest_of(const struct ticket *t, uint64_t now_usec)
{
    uint64_t used = usec_since(now_usec, t->granted_at_usec);
    uint64_t least = t->expected_usec / 10;
    uint64_t rest = used < t->expected_usec ? t->expected_usec - used : used / 4;

    return t->expected_usec == 0 ? 0 : rest > least ? rest : least;
}

static void look_at_running(struct admission *a, const struct applicant *p, uint64_t now_usec,
                            struct wait_outlook *o)
{
    list_for_each (l, &a->granted) {
        const struct ticket *t = ticket_of_link(l);

        a->n_steps++;
        if (runs_for(a, t, p)) {
            o->residual_usec += rest_of(t, now_usec);
        }
    }
}

/* What waits in a lane for the slots that p wants. */
static uint64_t backlog_of(struct admission *a, const struct fair_lane *lane,
                           const struct applicant *p, unsigned *n)
{
    uint64_t usec = 0;

    list_for_each (l, &lane->items) {
        const struct ticket *t = ticket_of_item(CONTAINER_OF(l, struct fair_item, link));

        a->n_steps++;
        if (admission_is_one_line(a) || (t->group == p->group && is_on_side(p, t))) {
            usec += t->expected_usec;
            ++*n;
        }
    }
    return usec;
}

static void look_at_class(struct admission *a, const struct applicant *p, struct wait_outlook *o)
{
    const struct fair_lane *own = &p->caller->lanes[p->class], *lane = NULL;
    uint64_t before = backlog_of(a, own, p, &o->n_ahead);
    unsigned n_slots = model_group_slots(p->group);
    uint64_t claim = (before + p->expected_usec) / (n_slots > 0 ? n_slots : 1);

    o->class_usec += before;
    while ((lane = fair_queue_lane(&a->fair, p->class, lane))) {
        uint64_t most, usec;

        if (lane == own) {
            continue;
        }
        most = fair_queue_before(&a->fair, lane, own, claim) * (n_slots > 0 ? n_slots : 1);
        usec = backlog_of(a, lane, p, &o->n_ahead);
        o->class_usec += usec < most ? usec : most;
    }
}

uint64_t admission_wait(struct admission *a, const struct applicant *p, uint64_t now_usec)
{
    const struct class_floor *floor;
    struct wait_outlook o = {0};

    admission_look_at_slots(a, p, now_usec, &o);
    if (o.n_free > a->n_queued) {
        return 0; /* the common case: nothing to wait for */
    }
    look_at_running(a, p, now_usec, &o);
    for (int c = 0; c < (int) p->class; c++) {
        struct fair_lane *lane = NULL;

        while ((lane = fair_queue_lane(&a->fair, (enum call_class) c, lane))) {
            o.above_usec += backlog_of(a, lane, p, &o.n_ahead);
        }
    }
    look_at_class(a, p, &o);
    if (admission_level(a) == PRESSURE_L0 && p->class == CLASS_BATCH) {
        o.floor_permille = CLASS_FLOOR_PERMILLE;
        o.floor_first_usec = p->expected_usec;
    }
    floor = admission_is_one_line(a) ? &a->floor : &p->group->floor;
    if (p->class == CLASS_INTERACTIVE && floor->n_queued[CLASS_BATCH] > 0) {
        o.below_permille = CLASS_FLOOR_PERMILLE;
    }
    return predicted_wait(&o);
}

uint64_t admission_predict(struct admission *a, const struct model_group *group,
                           const struct caller_name *caller, enum call_class class,
                           uint64_t now_usec)
{
    struct caller_entry *c = caller_table_find(&a->callers, caller);
    struct applicant p = {.group = group,
                          .caller = c ? c : &a->callers.entries[0],
                          .class = class,
                          .has_sides = model_group_has_local(group)};

    p.expected_usec = admission_expected(a, group, p.caller, class);
    return admission_wait(a, &p, now_usec);
}

/* ---------------------------------------------------------------- and for memory */

/* What the group's model has to be waited for, where it waits least. */
uint64_t admission_wait_for_model(struct admission *a, const struct applicant *p, uint64_t now_usec)
{
    const struct model_group *g = p->group;
    uint64_t least = UINT64_MAX;

    for (size_t i = 0; a->router->residency && i < g->n_deployments && least > 0; i++) {
        const struct deployment *d = g->deployments[i];
        uint64_t usec;

        a->n_steps++;
        if (i >= SAMPLED_DEPLOYMENTS || !d->backend || !d->backend->memory) {
            return 0;
        }
        if (deployment_paused_by(d, now_usec, NULL) == PAUSE_NONE) {
            char text[ROUTER_MODEL_BYTES];
            struct str name = p->wish ? p->wish->name : STR_NONE;

            usec =
                residency_wait(a->router->residency, d,
                               name.ptr ? router_upstream_model(a->router, g, d, name, text) : NULL,
                               p->class, now_usec);
            least = usec < least ? usec : least;
        }
    }
    return least < UINT64_MAX ? least : 0;
}
