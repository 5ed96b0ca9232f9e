/*
 * Who runs next: a bounded queue in order of arrival, and slots.
 *
 * Invariants: n_queued is the length of the queue and queued_bytes the sum over it; n_granted is
 * the number of tickets in TICKET_GRANTED, and for each of them one slot of ticket.deployment is in
 * use, and its breaker has let one call through; a queued ticket's deadline is never later than the
 * class allows. A ticket for a group without a free slot does not block those behind it: arrival
 * order holds within a group. Where no deployment takes calls, or may take this one, none waits.
 *
 * Must not: read a clock, know calls or sinks, decide what a client is told beyond code and
 * Retry-After.
 */
#include "core/admission.h"

#include <assert.h>

#include "base/clock.h"
#include "base/num.h"

/* guess of the time between grants before one was seen */
#define FIRST_GAP_USEC    (2 * USEC_PER_SEC)
#define PRESSURE_RETRY_L3 (15 * USEC_PER_SEC)
#define PRESSURE_RETRY_L4 (30 * USEC_PER_SEC)

void admission_init(struct admission *a, const struct admission_params *params,
                    struct router *router, struct pressure *pressure)
{
    *a = (struct admission) {
        .router = router, .pressure = pressure, .grant_gap_usec = FIRST_GAP_USEC};
    list_init(&a->queue);
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
    assert(list_is_empty(&a->queue));
}

/*
 * When a refused caller may come back: the time that the queue before it takes at the pace of late.
 */
static uint64_t retry_after(const struct admission *a, size_t n_before)
{
    uint64_t usec = a->grant_gap_usec * (n_before + 1);

    return num_clamp_u64(usec, RETRY_AFTER_MIN_USEC, RETRY_AFTER_MAX_USEC);
}

static struct verdict refuse(enum errcode code, uint64_t retry_after_usec)
{
    return (struct verdict) {.code = code, .retry_after_usec = retry_after_usec};
}

/*
 * Everything passes through the queue, if only for a moment: one large body may be in it alone,
 * whatever the limit.
 */
static bool has_room_for(const struct admission *a, size_t bytes)
{
    return a->n_queued == 0 || (a->queued_bytes <= a->params.max_queued_bytes &&
                                bytes <= a->params.max_queued_bytes - a->queued_bytes);
}

/* What keeps everybody out, the known ones included. */
static struct verdict door(const struct admission *a, const struct model_group *group)
{
    if (a->is_draining) {
        return refuse(ERRCODE_DRAINING, RETRY_AFTER_MIN_USEC);
    }
    if (!model_group_is_servable(group)) {
        return refuse(ERRCODE_MISCONFIGURED, 0);
    }
    if (a->pressure && a->pressure->level >= PRESSURE_L3) {
        return refuse(ERRCODE_MEMORY_PRESSURE,
                      a->pressure->level == PRESSURE_L3 ? PRESSURE_RETRY_L3 : PRESSURE_RETRY_L4);
    }
    return refuse(ERRCODE_NONE, 0);
}

static struct verdict gate(const struct admission *a, const struct model_group *group, size_t bytes)
{
    struct verdict v = door(a, group);

    if (v.code == ERRCODE_NONE &&
        (a->n_queued >= a->params.max_queued || !has_room_for(a, bytes))) {
        return refuse(ERRCODE_QUEUE_FULL, retry_after(a, a->n_queued));
    }
    return v;
}

static struct ticket *ticket_of(struct list *link)
{
    return CONTAINER_OF(link, struct ticket, link);
}

/* By arrival: most come last, and those that come again find their place from behind. */
static void insert(struct admission *a, struct ticket *t)
{
    struct list *after = a->queue.prev;

    t->place = t->place > 0 ? t->place : ++a->last_place;
    while (after != &a->queue && ticket_of(after)->place > t->place) {
        after = after->prev;
    }
    list_insert_before(after->next, &t->link);
    a->n_queued++;
    a->queued_bytes += t->bytes;
}

struct verdict admission_enqueue(struct admission *a, struct ticket *t, struct model_group *group,
                                 enum call_class class, size_t bytes, uint64_t own_deadline_at_usec,
                                 uint64_t now_usec)
{
    struct verdict v = gate(a, group, bytes);

    assert(t->state == TICKET_HOME);
    if (v.code != ERRCODE_NONE) {
        return v;
    }

    uint64_t latest = usec_add(now_usec, a->params.max_wait_usec[class]);

    *t = (struct ticket) {
        .state = TICKET_QUEUED,
        .group = group,
        .wish = t->wish,
        .class = class,
        .bytes = bytes,
        .queued_at_usec = now_usec,
        .deadline_at_usec = own_deadline_at_usec < latest ? own_deadline_at_usec : latest,
    };
    insert(a, t);
    return v;
}

struct verdict admission_requeue(struct admission *a, struct ticket *t, struct model_group *group,
                                 const struct requeue_terms *terms, uint64_t now_usec)
{
    uint64_t latest = usec_add(now_usec, a->params.max_wait_usec[terms->class]);
    struct verdict v = door(a, group);

    assert(t->state == TICKET_HOME);
    if (v.code != ERRCODE_NONE) {
        return v;
    }
    *t = (struct ticket) {
        .state = TICKET_QUEUED,
        .group = group,
        .wish = t->wish,
        .class = terms->class,
        .bytes = terms->bytes,
        .place = t->place,
        .queued_at_usec = now_usec,
        .not_before_usec = terms->not_before_usec,
        .deadline_at_usec =
            terms->own_deadline_at_usec < latest ? terms->own_deadline_at_usec : latest,
    };
    insert(a, t);
    return v;
}

static void leave_queue(struct admission *a, struct ticket *t)
{
    assert(t->state == TICKET_QUEUED);
    list_remove(&t->link);
    a->n_queued--;
    a->queued_bytes -= t->bytes;
    t->state = TICKET_HOME;
}

struct ticket *admission_next(struct admission *a, uint64_t now_usec)
{
    bool is_at_limit = a->params.max_granted > 0 && a->n_granted >= a->params.max_granted;

    a->looked_at_usec = now_usec;
    list_for_each (l, &a->queue) {
        struct ticket *t = CONTAINER_OF(l, struct ticket, link);
        struct deployment *d;

        if (t->not_before_usec > now_usec) {
            continue;
        }
        t->not_before_usec = 0; /* over, whether there is a slot now or not */
        d = is_at_limit ? NULL : router_pick(a->router, t->group, t->wish, now_usec);
        if (!d) {
            continue;
        }
        leave_queue(a, t);
        t->state = TICKET_GRANTED;
        t->deployment = d;
        t->run = health_take(&d->health, now_usec);
        a->n_granted++;
        if (a->last_grant_at_usec != 0 && now_usec > t->queued_at_usec) {
            /* only grants that somebody waited for say how fast the queue moves */
            a->grant_gap_usec =
                (a->grant_gap_usec * 7 + usec_since(now_usec, a->last_grant_at_usec)) / 8;
        }
        a->last_grant_at_usec = now_usec;
        return t;
    }
    return NULL;
}

struct ticket *admission_expire(struct admission *a, uint64_t now_usec, struct verdict *ret_verdict)
{
    list_for_each (l, &a->queue) {
        struct ticket *t = CONTAINER_OF(l, struct ticket, link);

        if (t->deadline_at_usec <= now_usec) {
            leave_queue(a, t);
            *ret_verdict = refuse(ERRCODE_QUEUE_TIMEOUT, retry_after(a, a->n_queued));
            return t;
        }
    }
    return NULL;
}

struct ticket *admission_refuse(struct admission *a, uint64_t now_usec,
                                struct router_refusal *ret_refusal)
{
    list_for_each (l, &a->queue) {
        struct ticket *t = CONTAINER_OF(l, struct ticket, link);

        if (router_refuses(a->router, t->group, t->wish, now_usec, ret_refusal)) {
            leave_queue(a, t);
            return t;
        }
    }
    return NULL;
}

uint64_t admission_next_deadline(const struct admission *a)
{
    uint64_t earliest = USEC_NEVER;

    list_for_each (l, &a->queue) {
        const struct ticket *t = CONTAINER_OF(l, struct ticket, link);

        uint64_t resumes_at = model_group_resumes_at(t->group, a->looked_at_usec);

        earliest = t->deadline_at_usec < earliest ? t->deadline_at_usec : earliest;
        earliest = resumes_at < earliest ? resumes_at : earliest;
        if (t->not_before_usec > 0 && t->not_before_usec < earliest) {
            earliest = t->not_before_usec;
        }
    }
    return earliest;
}

void admission_release(struct admission *a, struct ticket *t, uint64_t now_usec)
{
    switch (t->state) {
    case TICKET_HOME:
        break;
    case TICKET_QUEUED:
        leave_queue(a, t);
        break;
    case TICKET_GRANTED:
        health_leave(&t->deployment->health, &t->run);
        router_release(a->router, t->deployment, now_usec);
        t->deployment = NULL;
        t->state = TICKET_HOME;
        assert(a->n_granted > 0);
        a->n_granted--;
        break;
    }
}
