/*
 * The gate: who comes into the queue, who is told to come back, and when.
 *
 * What a call is ready to wait is not known unless its client says so (x-sluice-max-wait-ms, half of
 * x-stainless-read-timeout), and people leave long before the time-outs of programs. So a call is
 * refused early, by the smaller of two:
 *
 *   max_wait    how long a call may stay in the queue at all (sluice.queue.wait)
 *   patience    how long it may be expected to wait when it comes (sluice.queue.patience), or
 *               SERVICES_OF_PATIENCE times its service where answers are long: with answers of
 *               half a minute nobody expects one in five seconds
 *
 * A queue need not be longer than that to keep every slot busy, and each call beyond it would only
 * be served after its client has gone. New calls come in up to PATIENCE_PERMILLE of it, and those
 * who were told to come back, and do so in time, up to all of it: what they were told is kept for
 * them.
 *
 * A client that was refused comes back with a wish that is older. Patience is counted from when it was
 * first wanted, by what a client was told to wait as often as it says that it has tried
 * (retry_after_age(), caller_entry_keeps_promise()): work for who has gone is work for nobody.
 *
 * Who need not come back is told so (verdict.is_last): who would be too late the next time, and, where
 * most of a caller's new calls are refused for longer than they would wait, all but a few
 * (is_of_no_use()). In simulation at twice the capacity that makes 1.12 attempts of an intent out of
 * 1.38, and serves as many.
 *
 * Must not: read a clock, allocate, grant slots.
 */
#include <assert.h>

#include "base/clock.h"
#include "base/num.h"
#include "core/admission_internal.h"

/*
 * In simulation 0.5 to 0.8 of it were equal and more was worse; the rest is for errors of the
 * prediction, which are those of a sum of unequal answers.
 */
#define PATIENCE_PERMILLE    800
#define SERVICES_OF_PATIENCE 4

#define PRESSURE_RETRY_L3 (15 * USEC_PER_SEC)
#define PRESSURE_RETRY_L4 (30 * USEC_PER_SEC)
#define PRESSURE_SOON     3 /* interactive calls come back after a third of that at first */

/* ---------------------------------------------------------------- refusals */

/* How long a call of that class may be expected to wait, all attempts of its client together. */
static uint64_t patience_of(const struct admission *a, enum call_class class,
                            uint64_t expected_usec)
{
    uint64_t by_service = SERVICES_OF_PATIENCE * expected_usec;
    uint64_t patience = a->params.patience_usec[class];

    if (patience == 0) {
        return a->params.max_wait_usec[class];
    }
    return patience > by_service ? patience : by_service;
}

static uint64_t limit_of(const struct applicant *p)
{
    return p->budget_usec / 1000 * PATIENCE_PERMILLE;
}

static bool is_too_late(const struct applicant *p, uint64_t retry_after_usec)
{
    return p->age_usec > 0 && p->age_usec + retry_after_usec >= p->patience_usec;
}

/*
 * Where there is more than can ever be done, whoever comes back only takes the place of another. Then
 * no more are asked back than find room in half of what is kept for them, between limit_of() and all.
 */
static bool is_of_no_use(const struct applicant *p, uint64_t now_usec)
{
    uint64_t expected = caller_entry_n_promised(p->caller, p->class, now_usec) * p->expected_usec;

    return caller_entry_is_crowded_out(p->caller, p->class, p->patience_usec, now_usec) &&
           expected > usec_since(p->budget_usec, limit_of(p)) / 2;
}

/* A refusal that time cures, and what is told to whom about when. */
static struct verdict refuse(struct admission *a, const struct applicant *p, enum errcode code,
                             uint64_t wait_usec, uint64_t now_usec)
{
    uint64_t over = usec_since(wait_usec, limit_of(p));
    uint64_t room = over > p->expected_usec ? over : p->expected_usec;
    struct verdict v = {.code = code};

    v.retry_after_usec = retry_after_refused(
        &a->retry, p->class, room, caller_entry_retries_much(p->caller) ? 2 : 1, now_usec);
    v.is_last = is_too_late(p, v.retry_after_usec) || is_of_no_use(p, now_usec);
    if (!v.is_last) {
        caller_entry_promise(p->caller, p->class, v.retry_after_usec, now_usec);
    }
    return v;
}

static struct verdict verdict(enum errcode code, uint64_t retry_after_usec)
{
    return (struct verdict) {.code = code, .retry_after_usec = retry_after_usec};
}

bool admission_is_told_to_many(enum errcode code)
{
    return code == ERRCODE_MEMORY_PRESSURE || code == ERRCODE_MODEL_BUDGET ||
           code == ERRCODE_MODEL_QUARANTINED;
}

static struct verdict spread(struct admission *a, struct verdict v)
{
    if (admission_is_told_to_many(v.code)) {
        v.retry_after_usec = retry_after_spread(&a->retry, v.retry_after_usec);
    }
    return v;
}

/*
 * Lower classes wait for the end of the level's hold. Interactive calls are taken a second after memory is
 * there again, which is often the next moment, when a model has made room; nobody knows, and the best
 * guess of a time is that it lasts for as long again as it has lasted.
 */
static uint64_t retry_of_level(const struct admission *a, enum call_class class, uint64_t now_usec)
{
    uint64_t most = admission_level(a) == PRESSURE_L4 ? PRESSURE_RETRY_L4 : PRESSURE_RETRY_L3;
    uint64_t lasted = class == CLASS_INTERACTIVE && a->pressure
                          ? pressure_critical_usec(a->pressure, now_usec)
                          : most;

    return num_clamp_u64(2 * lasted, most / PRESSURE_SOON, most);
}

uint64_t admission_pressure_retry(struct admission *a, enum call_class class, uint64_t now_usec)
{
    return retry_after_spread(&a->retry, retry_of_level(a, class, now_usec));
}

struct verdict admission_turn_away(struct admission *a, const struct ticket *t, enum errcode code,
                                   uint64_t now_usec)
{
    struct applicant p = {.group = t->group,
                          .caller = t->caller,
                          .class = t->class,
                          .expected_usec = t->expected_usec,
                          .patience_usec = patience_of(a, t->class, t->expected_usec),
                          .age_usec = t->age_usec,
                          .is_away = t->is_away,
                          .has_sides = t->group && model_group_has_local(t->group)};

    p.budget_usec = p.patience_usec;
    if (p.age_usec > 0) {
        p.age_usec += usec_since(now_usec, t->queued_at_usec);
    }
    if (code == ERRCODE_MEMORY_PRESSURE) {
        return spread(a, verdict(code, retry_of_level(a, t->class, now_usec)));
    }
    return refuse(a, &p, code, t->group ? admission_wait(a, &p, now_usec) : 0, now_usec);
}

/* ---------------------------------------------------------------- the door */

/* Or it was a moment ago, and will be again. */
static bool is_resident(const struct admission *a, const struct applicant *p, uint64_t now_usec)
{
    for (size_t i = 0; i < p->group->n_deployments; i++) {
        const struct deployment *d = p->group->deployments[i];

        if (admission_is_loaded(a, p->group, d, p->wish, now_usec) ||
            admission_is_returning(a, p->group, d, p->wish, now_usec)) {
            return true;
        }
    }
    return false;
}

/*
 * What memory leaves open at each level: all, interactive, interactive for loaded models, nothing; but
 * see admission_may_pass() for the last.
 * Who is served elsewhere needs none of it.
 */
static bool memory_admits(const struct admission *a, const struct applicant *p, uint64_t now_usec)
{
    if (applicant_is_elsewhere(p)) {
        return true;
    }
    switch (admission_level(a)) {
    case PRESSURE_L0:
    case PRESSURE_L1:
        return true;
    case PRESSURE_L2:
        return p->class == CLASS_INTERACTIVE;
    case PRESSURE_L3:
    case PRESSURE_L4:
        break;
    }
    return p->class == CLASS_INTERACTIVE &&
           (admission_level(a) == PRESSURE_L3 || admission_may_pass(a, now_usec)) &&
           is_resident(a, p, now_usec);
}

/* What keeps everybody out, the known ones included. */
static struct verdict door(const struct admission *a, const struct applicant *p, uint64_t now_usec)
{
    if (a->is_draining) {
        return verdict(ERRCODE_DRAINING, RETRY_AFTER_MIN_USEC);
    }
    if (!model_group_is_servable(p->group)) {
        return verdict(ERRCODE_MISCONFIGURED, 0);
    }
    if (!memory_admits(a, p, now_usec)) {
        return verdict(ERRCODE_MEMORY_PRESSURE, retry_of_level(a, p->class, now_usec));
    }
    return verdict(ERRCODE_NONE, 0);
}

/*
 * And who has just come: what its group's deployments have against it comes before the level, which
 * passes when a model that can never fit still does not, and before the queue, where nobody makes room
 * for who leaves it at once.
 */
static struct verdict outer_door(const struct admission *a, const struct applicant *p,
                                 uint64_t now_usec)
{
    struct router_refusal why;

    if (a->is_draining || !router_refuses(a->router, p->group, p->wish, now_usec, &why) ||
        why.code == ERRCODE_MISCONFIGURED) {
        return door(a, p, now_usec);
    }
    return (struct verdict) {.code = why.code,
                             .retry_after_usec = why.retry_after_usec,
                             .is_last = why.is_long,
                             .is_by_group = true};
}

/* ---------------------------------------------------------------- room */

static size_t limit_or_all(const struct admission *a, size_t limit)
{
    return limit > 0 && limit < a->params.max_queued ? limit : a->params.max_queued;
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

static bool class_has_room(const struct admission *a, enum call_class class)
{
    return a->fair.n_items[class] < limit_or_all(a, a->params.max_queued_class[class]);
}

static bool caller_has_room(const struct admission *a, const struct caller_entry *c)
{
    size_t limit = c->max_queued > 0 ? c->max_queued : a->params.max_queued_caller;

    return limit == 0 || caller_entry_n_queued(c) < limit;
}

/* The newest of the lowest class below p's that has anybody; NULL: there is none. */
static struct ticket *lower_victim(const struct admission *a, enum call_class class)
{
    for (int c = _CLASS_MAX - 1; c > (int) class; c--) {
        struct fair_lane *lane = fair_queue_longest(&a->fair, (enum call_class) c);

        if (lane) {
            return ticket_of_item(fair_lane_newest(lane));
        }
    }
    return NULL;
}

/*
 * The newest of a caller of p's class that has more waiting for its weight than p's would have: else
 * who fills the queue first keeps all others out.
 */
static struct ticket *greedy_victim(const struct admission *a, const struct applicant *p)
{
    const struct fair_lane *own = &p->caller->lanes[p->class];
    struct fair_lane *lane = fair_queue_longest(&a->fair, p->class);

    if (!lane || lane == own ||
        (uint64_t) lane->n_items * own->weight <= (uint64_t) (own->n_items + 1) * lane->weight) {
        return NULL;
    }
    return ticket_of_item(fair_lane_newest(lane));
}

/* Who would leave for p; NULL: nobody. */
static struct ticket *victim_for(const struct admission *a, const struct applicant *p)
{
    bool is_class_full = !class_has_room(a, p->class);
    struct ticket *victim = is_class_full ? NULL : lower_victim(a, p->class);

    if (!victim && (!is_class_full || a->fair.n_items[p->class] > 0)) {
        victim = greedy_victim(a, p);
    }
    return victim;
}

/*
 * Is there room for p, or would be without *ret_victim? Bytes make nobody leave: a large body is
 * refused before small ones are thrown out for it.
 */
static bool can_find_room(const struct admission *a, const struct applicant *p,
                          struct ticket **ret_victim)
{
    *ret_victim = NULL;
    if (!has_room_for(a, p->bytes)) {
        return false;
    }
    if (a->n_queued < a->params.max_queued && class_has_room(a, p->class)) {
        return true;
    }
    /* after a reload with less room there may be more than one too many: nobody is let in for them */
    *ret_victim = a->n_queued <= a->params.max_queued ? victim_for(a, p) : NULL;
    return *ret_victim != NULL;
}

/*
 * Who leaves because the queue is full must not find it full: with a slot free there it is in it for
 * a moment only. (spill_target.c sends no more than there are slots.)
 */
static bool passes_through(const struct admission *a, const struct applicant *p, uint64_t now_usec)
{
    struct wait_outlook slots = {0};

    if (p->is_away && has_room_for(a, p->bytes)) {
        admission_look_at_slots(a, p, now_usec, &slots);
    }
    return slots.n_free > 0;
}

static bool find_room(struct admission *a, const struct applicant *p, uint64_t now_usec)
{
    struct ticket *victim;

    if (passes_through(a, p, now_usec)) {
        return true;
    }
    if (!can_find_room(a, p, &victim)) {
        return false;
    }
    if (victim) {
        admission_oust(a, victim, ERRCODE_DISPLACED);
    }
    return true;
}

/* ---------------------------------------------------------------- in */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t budget_of(const struct admission *a, const struct applicant *p,
                          const struct admission_ask *ask, uint64_t now_usec)
{
    uint64_t own = ask->max_wait_usec > 0 ? ask->max_wait_usec : UINT64_MAX;
    uint64_t left = least(usec_since(p->patience_usec, p->age_usec),
                          usec_since(ask->own_deadline_at_usec, now_usec));

    return least(least(left, own), a->params.max_wait_usec[p->class]);
}

/* May it come in although it will wait for so long? */
static bool is_soon_enough(const struct applicant *p, uint64_t wait_usec, uint64_t now_usec)
{
    uint64_t told_usec;

    if (p->expected_usec == 0 || wait_usec <= limit_of(p)) {
        return true; /* what is not known is not held against anybody */
    }
    if (p->n_retries == 0 || wait_usec > p->budget_usec) {
        return false;
    }
    told_usec = caller_entry_keeps_promise(p->caller, p->class, now_usec);
    return told_usec > 0 && usec_add(told_usec, wait_usec) <= p->patience_usec;
}

static uint64_t stay_of(const struct admission *a, const struct applicant *p,
                        const struct admission_ask *ask, uint64_t now_usec)
{
    uint64_t own = ask->max_stay_usec > 0 ? ask->max_stay_usec : UINT64_MAX;

    return least(least(own, a->params.max_wait_usec[p->class]),
                 usec_since(ask->own_deadline_at_usec, now_usec));
}

/*
 * Would it leave before its model is there? Patience is no measure of that: a model that takes longer
 * to load than anybody's would never be loaded.
 */
static bool is_in_vain(const struct applicant *p, uint64_t model_usec, uint64_t wait_usec)
{
    return model_usec > 0 && usec_add(model_usec, wait_usec) >= p->stay_usec;
}

/* What the queue says: is there room, and soon enough? */
static struct verdict look_for_room(struct admission *a, const struct applicant *p,
                                    uint64_t now_usec)
{
    uint64_t wait_usec = admission_wait(a, p, now_usec), model_usec;

    if (!caller_has_room(a, p->caller)) {
        return refuse(a, p, ERRCODE_CLIENT_QUEUE_FULL, wait_usec, now_usec);
    }
    if (!is_soon_enough(p, wait_usec, now_usec)) {
        return refuse(a, p, ERRCODE_PREDICTED_WAIT, wait_usec, now_usec);
    }
    model_usec = admission_wait_for_model(a, p, now_usec);
    if (is_in_vain(p, model_usec, wait_usec)) {
        return refuse(a, p, ERRCODE_PREDICTED_WAIT, usec_add(model_usec, wait_usec), now_usec);
    }
    if (!find_room(a, p, now_usec)) {
        return refuse(a, p, ERRCODE_QUEUE_FULL, wait_usec, now_usec);
    }
    return verdict(ERRCODE_NONE, 0);
}

static struct verdict gate(struct admission *a, const struct applicant *p, uint64_t now_usec)
{
    struct verdict v = spread(a, outer_door(a, p, now_usec));

    if (v.code != ERRCODE_NONE) {
        return v;
    }
    v = look_for_room(a, p, now_usec);
    if (p->n_retries == 0) {
        caller_entry_note_new(p->caller, p->class, v.code != ERRCODE_NONE, p->patience_usec,
                              now_usec);
    }
    return v;
}

static struct applicant applicant_of(struct admission *a, const struct ticket *t,
                                     const struct model_group *group,
                                     const struct admission_ask *ask, uint64_t now_usec)
{
    struct applicant p = {.group = group,
                          .wish = t->wish,
                          .caller = caller_table_take(&a->callers, &ask->caller, now_usec),
                          .bytes = ask->bytes,
                          .n_retries = ask->n_retries,
                          .is_away = admission_is_away(t->wish),
                          .has_sides = model_group_has_local(group)};

    p.class = ask->class > p.caller->class ? ask->class : p.caller->class;
    p.expected_usec = admission_expected(a, group, p.caller, p.class);
    p.patience_usec = patience_of(a, p.class, p.expected_usec);
    p.age_usec = retry_after_age(&a->retry, p.class, p.n_retries, now_usec);
    p.budget_usec = budget_of(a, &p, ask, now_usec);
    p.stay_usec = stay_of(a, &p, ask, now_usec);
    return p;
}

void admission_explain(struct admission *a, const struct model_group *group,
                       const struct router_wish *wish, const struct admission_ask *ask,
                       uint64_t now_usec, struct admission_outlook *ret)
{
    struct caller_entry *known = caller_table_find(&a->callers, &ask->caller);
    struct applicant p = {.group = group,
                          .wish = wish,
                          .caller = known ? known : &a->callers.entries[0],
                          .bytes = ask->bytes,
                          .is_away = admission_is_away(wish),
                          .has_sides = model_group_has_local(group)};
    struct ticket *victim = NULL;
    struct wait_outlook slots = {0};
    uint64_t model_usec;

    /* who is not known yet has nothing waiting; of "others" only the weight is his */
    p.class = known && ask->class < known->class ? known->class : ask->class;
    p.expected_usec = admission_expected(a, group, p.caller, p.class);
    p.patience_usec = patience_of(a, p.class, p.expected_usec);
    p.budget_usec = budget_of(a, &p, ask, now_usec);
    p.stay_usec = stay_of(a, &p, ask, now_usec);
    *ret = (struct admission_outlook) {.class = p.class,
                                       .limit_usec = limit_of(&p),
                                       .service_usec = p.expected_usec,
                                       .level = admission_level(a)};
    ret->code = outer_door(a, &p, now_usec).code;
    if (ret->code != ERRCODE_NONE) {
        return;
    }
    ret->wait_usec = admission_wait(a, &p, now_usec);
    model_usec = admission_wait_for_model(a, &p, now_usec);
    ret->code = known && !caller_has_room(a, known)             ? ERRCODE_CLIENT_QUEUE_FULL
                : !is_soon_enough(&p, ret->wait_usec, now_usec) ? ERRCODE_PREDICTED_WAIT
                : is_in_vain(&p, model_usec, ret->wait_usec)    ? ERRCODE_PREDICTED_WAIT
                : !passes_through(a, &p, now_usec) && !can_find_room(a, &p, &victim)
                    ? ERRCODE_QUEUE_FULL
                    : ERRCODE_NONE;
    ret->wait_usec = usec_add(ret->wait_usec, model_usec);
    admission_look_at_slots(a, &p, now_usec, &slots);
    ret->has_slot = ret->code == ERRCODE_NONE && slots.n_free > a->n_queued;
    ret->would_displace = ret->code == ERRCODE_NONE && victim;
}

static void note_arrival(struct admission *a, struct model_group *group, const struct applicant *p,
                         uint64_t now_usec)
{
    if (p->caller != a->last_caller) {
        a->other_caller_at_usec = a->last_caller ? a->last_caller_at_usec : 0;
        a->last_caller = p->caller;
    }
    a->last_caller_at_usec = now_usec;
    if (p->class == CLASS_INTERACTIVE) {
        group->floor.interactive_at_usec = now_usec;
    }
    caller_entry_note_attempt(p->caller, p->n_retries > 0, now_usec);
}

static void take_in(struct admission *a, struct ticket *t, struct model_group *group,
                    const struct applicant *p, uint64_t now_usec)
{
    *t = (struct ticket) {
        .state = TICKET_HOME,
        .caller = p->caller,
        .group = group,
        .wish = t->wish,
        .class = p->class,
        .bytes = p->bytes,
        .place = t->place,
        .queued_at_usec = now_usec,
        .expected_usec = p->expected_usec,
        .age_usec = p->age_usec,
        .was_preempted = t->was_preempted,
        .is_away = p->is_away,
        .is_elsewhere = applicant_is_elsewhere(p),
        .deadline_at_usec = usec_add(now_usec, p->stay_usec),
    };
    list_init(&t->link);
    admission_note_kind(t);
    a->expires_at_usec = least(a->expires_at_usec, t->deadline_at_usec);
    admission_join(a, t);
}

struct verdict admission_enqueue(struct admission *a, struct ticket *t, struct model_group *group,
                                 const struct admission_ask *ask, uint64_t now_usec)
{
    struct applicant p = applicant_of(a, t, group, ask, now_usec);
    struct verdict v;

    assert(t->state == TICKET_HOME);
    a->router->level = admission_level(a);
    note_arrival(a, group, &p, now_usec);
    v = gate(a, &p, now_usec);
    if (v.code == ERRCODE_NONE) {
        t->place = 0;
        take_in(a, t, group, &p, now_usec);
    }
    return v;
}

struct verdict admission_requeue(struct admission *a, struct ticket *t, struct model_group *group,
                                 const struct admission_ask *ask, uint64_t not_before_usec,
                                 uint64_t now_usec)
{
    struct applicant p = applicant_of(a, t, group, ask, now_usec);
    bool had_place = t->place > 0;
    struct verdict v;

    assert(t->state == TICKET_HOME);
    a->router->level = admission_level(a);
    v = had_place ? spread(a, door(a, &p, now_usec)) : gate(a, &p, now_usec);
    if (v.code == ERRCODE_NONE) {
        take_in(a, t, group, &p, now_usec);
        t->not_before_usec = not_before_usec;
    }
    return v;
}
