/*
 * Who is put out of the queue for memory, from level 3 on.
 *
 * At level 2 batch and background calls are held: it may pass. From 3 on the way back takes longer than
 * they would wait, and each of them keeps its client, its connection and its body: they are told to
 * come back, instead of being held until their time is up.
 *
 *   L3   background, then batch; then interactive calls whose model is not there, and will not be soon
 *   L4   all: nobody gets a slot; for its first 2 s as at L3, since it is often over when a model has
 *        made room, and who was told to come back would stay away for longer than that
 *
 * Paced as what pressure_relief.h ends: one class at a time, from the lowest, and the next one a second
 * later. Calls whose servers are elsewhere take none of this memory, and stay.
 *
 * Must not: read a clock, allocate, end what runs.
 */
#include "base/clock.h"
#include "core/admission_internal.h"
#include "core/residency.h"

#define PACE_USEC    (1 * USEC_PER_SEC)
#define PASSING_USEC (2 * USEC_PER_SEC)

/* Will d serve such a call at level 3? Servers that load no models by themselves have theirs. */
static bool serves_now(const struct admission *a, const struct ticket *t,
                       const struct deployment *d, uint64_t now_usec)
{
    char text[ROUTER_MODEL_BYTES];
    struct str name = t->wish ? t->wish->name : STR_NONE;
    const char *model;

    if (!d->backend || !d->is_local || !d->backend->memory) {
        return d->backend != NULL;
    }
    model = name.ptr ? router_upstream_model(a->router, t->group, d, name, text) : NULL;
    return deployment_is_loaded(d, model, now_usec) ||
           (a->router->residency &&
            (residency_is_there(a->router->residency, d, model) ||
             residency_is_returning(a->router->residency, d, model, now_usec)));
}

static bool is_served(struct admission *a, const struct ticket *t, uint64_t now_usec)
{
    for (size_t i = 0; i < t->group->n_deployments; i++) {
        a->n_steps++;
        if (serves_now(a, t, t->group->deployments[i], now_usec)) {
            return true;
        }
    }
    return false;
}

/* When it is known that it does not pass; USEC_NEVER: that is known already, or there is no emergency. */
static uint64_t passes_until(const struct admission *a, uint64_t now_usec)
{
    uint64_t since = a->pressure ? pressure_emergency_since_usec(a->pressure) : USEC_NEVER;
    uint64_t until = usec_add(since, PASSING_USEC);

    return now_usec < until ? until : USEC_NEVER;
}

bool admission_may_pass(const struct admission *a, uint64_t now_usec)
{
    return passes_until(a, now_usec) != USEC_NEVER;
}

uint64_t admission_sheds_at(const struct admission *a, uint64_t now_usec)
{
    uint64_t until = passes_until(a, now_usec);

    return now_usec < a->shed_again_at_usec && a->shed_again_at_usec < until ? a->shed_again_at_usec
                                                                             : until;
}

static bool goes(struct admission *a, const struct ticket *t, uint64_t now_usec)
{
    bool is_over = admission_level(a) == PRESSURE_L4 && !admission_may_pass(a, now_usec);

    return !t->is_elsewhere &&
           (is_over || t->class != CLASS_INTERACTIVE || !is_served(a, t, now_usec));
}

static size_t shed_class(struct admission *a, enum call_class class, uint64_t now_usec)
{
    size_t n = 0;

    list_for_each_safe (l, &a->queued) {
        struct ticket *t = ticket_of_link(l);

        a->n_steps++;
        if (t->class == class && goes(a, t, now_usec)) {
            admission_oust(a, t, ERRCODE_MEMORY_PRESSURE);
            n++;
        }
    }
    return n;
}

size_t admission_shed(struct admission *a, uint64_t now_usec)
{
    size_t n = 0;

    if (admission_level(a) < PRESSURE_L3 || a->n_queued == 0 || now_usec < a->shed_again_at_usec) {
        return 0;
    }
    for (int c = _CLASS_MAX - 1; c >= 0 && n == 0; c--) {
        n = a->fair.n_items[c] > 0 ? shed_class(a, (enum call_class) c, now_usec) : 0;
    }
    if (n > 0) {
        a->shed_again_at_usec = usec_add(now_usec, PACE_USEC);
    }
    return n;
}
