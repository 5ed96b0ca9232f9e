/*
 * The tickets: where each of them is, how it gets there and how it comes home.
 *
 * Invariants: n_queued is the length of the list of those in TICKET_QUEUED and queued_bytes the sum
 * over it; each of them is in one lane of its caller, and counted by its group; n_granted is the
 * number in TICKET_GRANTED, and for each of them one slot of ticket.deployment is in use, its breaker
 * has let one call through, and its caller's n_running counts it. A queued ticket's deadline is
 * never later than its class allows.
 *
 * Who comes in is admission_gate.c's, who runs admission_dispatch.c's.
 *
 * Must not: read a clock, allocate, know calls or sinks, decide what a client is told beyond code
 * and Retry-After.
 */
#include "core/admission.h"

#include <assert.h>

#include "base/clock.h"
#include "core/admission_internal.h"
#include "core/residency.h"

/* Any but 0: which spread a Retry-After gets need not be a secret, but must be the same in a replay. */
#define SEED UINT32_C(2463534242)

void admission_init(struct admission *a, const struct admission_params *params,
                    struct router *router, struct pressure *pressure)
{
    *a = (struct admission) {.router = router, .pressure = pressure, .expires_at_usec = USEC_NEVER};
    list_init(&a->queued);
    list_init(&a->granted);
    list_init(&a->ousted);
    caller_table_init(&a->callers);
    fair_queue_init(&a->fair);
    retry_after_init(&a->retry, SEED);
    admission_set_params(a, params);
}

void admission_set_params(struct admission *a, const struct admission_params *params)
{
    assert(params->max_queued > 0);
    a->params = *params;
}

void admission_done(struct admission *a)
{
    assert(a->n_queued == 0 && a->queued_bytes == 0 && a->n_granted == 0);
    assert(list_is_empty(&a->queued) && list_is_empty(&a->granted) && list_is_empty(&a->ousted));
}

enum pressure_level admission_level(const struct admission *a)
{
    return a->pressure ? pressure_level_for_calls(a->pressure) : PRESSURE_L0;
}

bool admission_is_loaded(const struct admission *a, const struct model_group *group,
                         const struct deployment *d, const struct router_wish *wish,
                         uint64_t now_usec)
{
    char text[ROUTER_MODEL_BYTES];
    struct str name = wish ? wish->name : STR_NONE;

    return deployment_is_loaded(
        d, name.ptr ? router_upstream_model(a->router, group, d, name, text) : NULL, now_usec);
}

bool admission_is_returning(const struct admission *a, const struct model_group *group,
                            const struct deployment *d, const struct router_wish *wish,
                            uint64_t now_usec)
{
    char text[ROUTER_MODEL_BYTES];
    struct str name = wish ? wish->name : STR_NONE;

    return a->router->residency &&
           residency_is_returning(
               a->router->residency, d,
               name.ptr ? router_upstream_model(a->router, group, d, name, text) : NULL, now_usec);
}

/* ---------------------------------------------------------------- in and out of the queue */

/* By arrival: most come last, and those that come again find their place from behind. */
static void list_by_place(struct admission *a, struct ticket *t)
{
    struct list *after = a->queued.prev;

    while (after != &a->queued && ticket_of_link(after)->place > t->place) {
        after = after->prev;
        a->n_steps++;
    }
    list_insert_before(after->next, &t->link);
}

void admission_join(struct admission *a, struct ticket *t)
{
    assert(t->state == TICKET_HOME);
    t->state = TICKET_QUEUED;
    t->place = t->place > 0 ? t->place : ++a->last_place;
    t->item = (struct fair_item) {.place = t->place};
    list_by_place(a, t);
    fair_queue_insert(&a->fair, &t->caller->lanes[t->class], &t->item);
    t->group->floor.n_queued[t->class]++;
    a->floor.n_queued[t->class]++;
    a->n_queued++;
    a->queued_bytes += t->bytes;
    a->n_changes++;
}

/* What it was among those that wait, its lane apart. */
static void forget_place(struct admission *a, struct ticket *t)
{
    list_remove(&t->link);
    if (t->group) {
        t->group->floor.n_queued[t->class]--;
    }
    a->floor.n_queued[t->class]--;
    a->n_queued--;
    a->queued_bytes -= t->bytes;
    a->n_changes++;
    t->state = TICKET_HOME;
}

void admission_leave(struct admission *a, struct ticket *t)
{
    assert(t->state == TICKET_QUEUED);
    fair_queue_remove(&a->fair, &t->item);
    forget_place(a, t);
}

void admission_oust(struct admission *a, struct ticket *t, enum errcode code)
{
    admission_leave(a, t);
    t->state = TICKET_OUSTED;
    t->ousted_code = code;
    list_append(&a->ousted, &t->link);
}

void admission_serve(struct admission *a, struct ticket *t, struct deployment *d, uint64_t now_usec)
{
    assert(t->state == TICKET_QUEUED);
    fair_queue_serve(&a->fair, &t->item, 0); /* charged by admission_charge() */
    forget_place(a, t);
    t->state = TICKET_GRANTED;
    t->deployment = d;
    t->run = health_take(&d->health, now_usec);
    t->granted_at_usec = now_usec;
    t->content_at_usec = 0;
    t->charged_usec = 0;
    t->is_noted = false;
    t->is_cold =
        d->backend->ops->is_loaded && !admission_is_loaded(a, t->group, d, t->wish, now_usec);
    t->caller->n_running++;
    d->n_low += t->class != CLASS_INTERACTIVE;
    list_append(&a->granted, &t->link);
    a->n_granted++;
    a->n_granted_background += t->class == CLASS_BACKGROUND;
}

struct ticket *admission_expire(struct admission *a, uint64_t now_usec, struct verdict *ret_verdict)
{
    if (now_usec < a->expires_at_usec) {
        return NULL;
    }
    a->expires_at_usec = USEC_NEVER;
    list_for_each (l, &a->queued) {
        struct ticket *t = ticket_of_link(l);

        a->n_steps++;
        if (t->deadline_at_usec <= now_usec) {
            a->expires_at_usec = now_usec; /* perhaps not the only one */
            admission_leave(a, t);
            *ret_verdict = admission_turn_away(a, t, ERRCODE_QUEUE_TIMEOUT, now_usec);
            return t;
        }
        if (t->deadline_at_usec < a->expires_at_usec) {
            a->expires_at_usec = t->deadline_at_usec;
        }
    }
    return NULL;
}

struct ticket *admission_ousted(struct admission *a, uint64_t now_usec, struct verdict *ret_verdict)
{
    struct list *l = list_first(&a->ousted);
    struct ticket *t = l ? ticket_of_link(l) : NULL;

    if (t) {
        list_remove(&t->link);
        t->state = TICKET_HOME;
        *ret_verdict = admission_turn_away(a, t, t->ousted_code, now_usec);
    }
    return t;
}

void admission_reroute(struct admission *a, struct ticket *t, struct model_group *group)
{
    if (t->state == TICKET_QUEUED && group) {
        group->floor.n_queued[t->class]++; /* the old one is gone, and what it counted with it */
        t->is_elsewhere = t->is_away || !model_group_has_local(group);
    }
    t->group = group;
    if (t->state == TICKET_QUEUED && group) {
        admission_note_kind(t);
    }
    a->n_changes++;
}

/* ---------------------------------------------------------------- home */

static void give_back(struct admission *a, struct ticket *t, uint64_t now_usec)
{
    struct deployment *d = t->deployment;

    if (!t->is_noted) {
        admission_note_end(a, t, ERRCODE_CANCELLED, now_usec);
    }
    health_leave(&d->health, &t->run);
    d->n_low -= t->class != CLASS_INTERACTIVE;
    router_release(a->router, d, now_usec);
    list_remove(&t->link);
    t->deployment = NULL;
    t->state = TICKET_HOME;
    assert(a->n_granted > 0 && t->caller->n_running > 0);
    t->caller->n_running--;
    a->n_granted--;
    a->n_granted_background -= t->class == CLASS_BACKGROUND;
}

void admission_release(struct admission *a, struct ticket *t, uint64_t now_usec)
{
    switch (t->state) {
    case TICKET_HOME:
        break;
    case TICKET_QUEUED:
        admission_leave(a, t);
        break;
    case TICKET_GRANTED:
        give_back(a, t, now_usec);
        break;
    case TICKET_OUSTED:
        list_remove(&t->link);
        t->state = TICKET_HOME;
        break;
    }
}

/* ---------------------------------------------------------------- positions */

struct rank {
    ticket_visit_fn visit;
    void *ctx;
};

static void rank_item(void *ctx, struct fair_item *item, uint32_t position)
{
    const struct rank *rank = ctx;
    struct ticket *t = ticket_of_item(item);

    if (t->told_position != position) {
        rank->visit(rank->ctx, t, position);
    }
}

void admission_rank(struct admission *a, ticket_visit_fn visit, void *ctx)
{
    struct rank rank = {.visit = visit, .ctx = ctx};

    if (a->n_ranked == a->n_changes) {
        return; /* nothing has moved */
    }
    a->n_ranked = a->n_changes;
    fair_queue_rank(&a->fair, rank_item, &rank);
}
