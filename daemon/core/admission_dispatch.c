/*
 * Slots: who gets the next one, what it costs whom, and who has to give one back.
 *
 * Two passes over those that wait. The first looks for calls of lower classes that are due although
 * others wait (class_floor.h), at memory level 0 only; the second goes by class, caller, arrival. A
 * call is passed over while it pauses, its model has no free slot, its caller runs as many as it
 * may, or the slot is kept for interactive calls.
 *
 * The router looks at every model of the device for an answer. So calls that are alike (the same group,
 * of a wildcard the same name, no wishes of their own) share one within a pass: what a pass costs grows
 * with the models that are waited for, and hardly with those who wait.
 *
 * The cost of a call is the time that it holds its slot, divided by the slots of its group: sixteen
 * slots at a server far away cost as much as the single one of this device. It is charged when the
 * slot is granted, as expected; again each second that it takes longer; and set right at the end. The
 * time to load its model is nobody's: of a call that met its server without the model, what comes
 * before the first content does not count.
 *
 * Must not: read a clock, allocate, decide who may wait.
 */
#include <assert.h>

#include "base/clock.h"
#include "core/admission_internal.h"
#include "core/residency.h"

/* How long an interactive call waits before a background call without a word gives up its slot. */
#define PREEMPT_AFTER_USEC (2 * USEC_PER_SEC)

/* For how long another caller is taken to be about to come back. */
#define ALONE_AFTER_USEC (60 * USEC_PER_SEC)

#define OVERRUN_USEC USEC_PER_SEC

/* What a call is charged of which nothing is known, until it ends. */
#define UNKNOWN_USEC USEC_PER_SEC

/* ---------------------------------------------------------------- cost */

static unsigned slots_of(const struct ticket *t)
{
    unsigned n = t->group ? model_group_slots(t->group) : t->deployment->slots;

    return n > 0 ? n : 1;
}

uint64_t admission_used(const struct ticket *t, uint64_t now_usec)
{
    if (t->is_cold) {
        return t->content_at_usec > 0 ? usec_since(now_usec, t->content_at_usec) : 0;
    }
    return usec_since(now_usec, t->granted_at_usec);
}

void admission_charge(struct admission *a, struct ticket *t, uint64_t usec)
{
    struct class_floor *floor = admission_floor(a, t->group);
    unsigned n = slots_of(t);

    for (int c = 0; c < _CLASS_MAX; c++) {
        if (t->is_charged[c]) {
            fair_queue_correct(&a->fair, &t->caller->lanes[c], t->charged_usec / n, usec / n);
        }
    }
    if (floor && (t->class == CLASS_INTERACTIVE || t->is_due)) {
        class_floor_charge(floor, t->class,
                           ((int64_t) usec - (int64_t) t->charged_usec) /
                               (admission_is_one_line(a) ? 1 : (int64_t) n));
    }
    t->charged_usec = usec;
}

/* Calls that take longer than was expected are paid for as they go. */
static void charge_overruns(struct admission *a, uint64_t now_usec)
{
    if (now_usec < a->overruns_at_usec) {
        return;
    }
    a->overruns_at_usec = now_usec + OVERRUN_USEC;
    list_for_each (l, &a->granted) {
        struct ticket *t = ticket_of_link(l);
        uint64_t used = admission_used(t, now_usec);

        a->n_steps++;
        if (used > t->charged_usec) {
            admission_charge(a, t, used);
        }
    }
}

/* ---------------------------------------------------------------- who may run */

static bool has_free_slot(struct admission *a, struct model_group *g)
{
    if (g->looked_at_pass == a->n_passes) {
        return g->has_slot;
    }
    g->looked_at_pass = a->n_passes;
    g->has_slot = false;
    for (size_t i = 0; i < g->n_deployments && !g->has_slot; i++) {
        const struct deployment *d = g->deployments[i];

        a->n_steps++;
        g->has_slot = d->backend && d->in_use < deployment_slots(d, a->router->level);
    }
    return g->has_slot;
}

/* Is the last slot that lower classes could have kept for interactive calls? */
static bool is_reserved(const struct model_group *g, enum call_class class, uint64_t now_usec)
{
    unsigned n_slots, n_low = 0;

    if (!class_floor_reserves(&g->floor, class, now_usec)) {
        return false;
    }
    n_slots = model_group_slots(g);
    for (size_t i = 0; i < g->n_deployments; i++) {
        n_low += g->deployments[i]->n_low;
    }
    return n_slots > 1 && n_low + 1 >= n_slots;
}

/* When somebody else than c asked last. */
static uint64_t others_seen_at(const struct admission *a, const struct caller_entry *c)
{
    return c == a->last_caller ? a->other_caller_at_usec : a->last_caller_at_usec;
}

/*
 * Its own limit; and who is not alone leaves one slot of several to the others, who else would wait
 * for a whole answer.
 */
static bool caller_may_run(const struct admission *a, const struct ticket *t, uint64_t now_usec)
{
    const struct caller_entry *c = t->caller;
    uint64_t other_at = others_seen_at(a, c);
    unsigned n;

    if (c->max_running > 0 && c->n_running >= c->max_running) {
        return false;
    }
    if (c->n_running == 0 || other_at == 0 || usec_since(now_usec, other_at) >= ALONE_AFTER_USEC) {
        return true;
    }
    n = model_group_slots(t->group);
    return n < 2 || c->n_running < n - 1;
}

/* At L4 nobody: it would take the place of those that are ended (pressure_relief.h). */
static bool memory_allows(enum pressure_level level, const struct ticket *t)
{
    return level == PRESSURE_L0 || t->is_elsewhere ||
           (level < PRESSURE_L4 && t->class == CLASS_INTERACTIVE) ||
           (level == PRESSURE_L1 && t->class == CLASS_BATCH);
}

/* Does it get the answer that every such call of its group gets? */
static bool is_plain(const struct ticket *t)
{
    const struct router_wish *w = t->wish;

    return !w || (w->n_tags == 0 && w->n_tried == 0 && !w->is_local_only && !w->is_away &&
                  w->prompt_tokens == 0);
}

/* ---------------------------------------------------------------- calls that are alike */

#define PROBES 8

/* By which name a ticket asks for its model: absent where its group has but one. */
static struct str model_of(const struct ticket *t)
{
    return t->is_named ? t->wish->name : STR_NONE;
}

/* Who makes names collide only pays for it himself. */
void admission_note_kind(struct ticket *t)
{
    t->is_named = t->wish && t->wish->name.ptr && model_group_is_wildcard(t->group);
    t->kind_hash = str_hash(str_hash(STR_HASH_START, str_from(t->group->name)), model_of(t));
}

/* What this pass knows of calls like t. NULL: there are too many kinds to remember. */
static struct admission_kind *kind_of(struct admission *a, const struct ticket *t)
{
    struct str name = model_of(t);

    for (uint32_t i = 0; i < PROBES; i++) {
        struct admission_kind *kind = &a->kinds[(t->kind_hash + i) % ADMISSION_KINDS];

        if (kind->pass != a->n_passes) {
            *kind = (struct admission_kind) {.pass = a->n_passes, .group = t->group, .name = name};
            return kind;
        }
        if (kind->group == t->group && (!t->is_named || str_is_equal(kind->name, name))) {
            return kind;
        }
    }
    return NULL;
}

static bool is_more_urgent(const struct router_wish *a, const struct router_wish *b)
{
    return a && b &&
           (a->class < b->class || (a->class == b->class && a->since_usec < b->since_usec));
}

static void pass_over(struct admission_kind *kind, const struct ticket *t)
{
    if (!kind->is_passed_over || is_more_urgent(t->wish, kind->wish)) {
        kind->wish = t->wish;
    }
    kind->is_passed_over = true;
}

/* Nobody runs: which models are waited for, and how urgently, is heard by who loads them. */
static void want(struct admission *a, uint64_t now_usec)
{
    for (size_t i = 0; a->router->residency && i < ADMISSION_KINDS; i++) {
        const struct admission_kind *kind = &a->kinds[i];

        if (kind->pass == a->n_passes && kind->is_passed_over) {
            a->n_asked++;
            router_want(a->router, kind->group, kind->wish, now_usec);
        }
    }
}

/* NULL: it has wishes of its own, and is asked for by itself. */
static struct admission_kind *kind_in_pass(struct admission *a, const struct ticket *t)
{
    return !has_free_slot(a, t->group) || is_plain(t) ? kind_of(a, t) : NULL;
}

/* Each kind asks once, also where no slot is free: its model may be wanted all the same. */
static struct deployment *ask(struct admission *a, struct ticket *t, struct admission_kind *kind,
                              uint64_t now_usec)
{
    struct model_group *g = t->group;
    struct deployment *d = NULL;

    if (has_free_slot(a, g) && !(kind && kind->is_passed_over)) {
        a->n_asked++;
        d = router_pick(a->router, g, t->wish, now_usec);
    }
    if (!d && kind) {
        pass_over(kind, t);
    } else if (!d) {
        a->n_asked++;
        router_want(a->router, g, t->wish, now_usec);
    }
    return d;
}

/* Is it still kept after a time of pressure? Classes begin again one after the other. */
static bool is_held_back(const struct admission *a, const struct ticket *t, uint64_t now_usec)
{
    enum pressure_stage stage;

    if (!a->pressure || a->pressure->level > PRESSURE_L0 || t->is_elsewhere ||
        t->class == CLASS_INTERACTIVE) {
        return false;
    }
    stage = pressure_stage(a->pressure, now_usec);
    return t->class == CLASS_BATCH ? stage < PRESSURE_STAGE_BATCH
                                   : stage < PRESSURE_STAGE_BACKGROUND;
}

/*
 * Its time is up, and admission_expire() has not been asked yet: the process, or the whole machine,
 * stood still meanwhile. Who waited for it has most likely gone.
 */
static bool is_overdue(const struct ticket *t, uint64_t now_usec)
{
    return t->deadline_at_usec < now_usec;
}

/* Without a free slot nothing comes of asking but that a model is wanted. */
static bool is_hopeless(struct admission *a, const struct ticket *t)
{
    return (!a->router->residency || t->is_away) && !has_free_slot(a, t->group);
}

/* A deployment whose slot it has now, or NULL. */
static struct deployment *try(struct admission *a, struct ticket *t, uint64_t now_usec)
{
    struct admission_kind *kind = kind_in_pass(a, t);

    a->n_steps++;
    if (kind && kind->is_passed_over && !is_more_urgent(t->wish, kind->wish)) {
        return NULL; /* most of a long queue */
    }
    if (is_overdue(t, now_usec) || !memory_allows(a->router->level, t) ||
        is_held_back(a, t, now_usec) || t->not_before_usec > now_usec ||
        !caller_may_run(a, t, now_usec) || is_reserved(t->group, t->class, now_usec)) {
        return NULL;
    }
    return ask(a, t, kind, now_usec);
}

static bool is_due(struct admission *a, const struct ticket *t, uint64_t now_usec)
{
    unsigned n = admission_is_one_line(a) ? 1 : model_group_slots(t->group);

    return class_floor_is_due(admission_floor(a, t->group), t->class, t->expected_usec / n,
                              t->queued_at_usec, now_usec);
}

/* The first of a class, in its order, that can run; of those that are due only, if asked. */
static struct ticket *find(struct admission *a, enum call_class class, bool only_due,
                           uint64_t now_usec, struct deployment **ret_d)
{
    struct fair_lane *lane = NULL;

    while ((lane = fair_queue_lane(&a->fair, class, lane))) {
        list_for_each (l, &lane->items) {
            struct ticket *t = ticket_of_item(CONTAINER_OF(l, struct fair_item, link));

            a->n_steps++;
            if (is_hopeless(a, t) || (only_due && !is_due(a, t, now_usec))) {
                continue;
            }
            *ret_d = try(a, t, now_usec);
            if (*ret_d) {
                return t;
            }
        }
    }
    return NULL;
}

static struct ticket *find_due(struct admission *a, uint64_t now_usec, struct deployment **ret_d)
{
    struct ticket *t = NULL;

    if (a->router->level != PRESSURE_L0 || a->n_queued == a->fair.n_items[CLASS_BACKGROUND] ||
        a->n_queued == a->fair.n_items[CLASS_INTERACTIVE]) {
        return NULL; /* memory is short, or nobody would be passed over */
    }
    for (int c = CLASS_BATCH; c < _CLASS_MAX && !t; c++) {
        t = find(a, (enum call_class) c, true, now_usec, ret_d);
    }
    return t;
}

static struct ticket *find_in_order(struct admission *a, uint64_t now_usec,
                                    struct deployment **ret_d)
{
    struct ticket *t = NULL;

    for (int c = 0; c < _CLASS_MAX && !t; c++) {
        t = find(a, (enum call_class) c, false, now_usec, ret_d);
    }
    return t;
}

/*
 * A slot is one, whatever class got it: where others wait in another class meanwhile, its caller has
 * had slot time before them there too. Where nobody waits nobody was passed over, and a caller is
 * not made to pay later for what nobody else wanted.
 */
static void choose_lanes(const struct admission *a, struct ticket *t)
{
    for (int c = 0; c < _CLASS_MAX; c++) {
        t->is_charged[c] = c == (int) t->class || a->fair.n_items[c] > 0;
    }
}

static bool is_full(const struct admission *a)
{
    return a->params.max_granted > 0 && a->n_granted >= a->params.max_granted;
}

/* No model is told anything new until the end of a pass. */
static void begin_pass(struct admission *a)
{
    a->n_passes++;
    if (a->router->residency) {
        residency_begin_pass(a->router->residency);
    }
}

static void end_pass(struct admission *a)
{
    if (a->router->residency) {
        residency_end_pass(a->router->residency);
    }
}

static struct ticket *grant(struct admission *a, uint64_t now_usec)
{
    struct deployment *d = NULL;
    struct ticket *t = find_due(a, now_usec, &d);

    if (t) {
        t->is_due = true;
        class_floor_turn(admission_floor(a, t->group), t->class, t->queued_at_usec, now_usec);
    } else {
        t = find_in_order(a, now_usec, &d);
    }
    if (t) {
        admission_serve(a, t, d, now_usec);
        choose_lanes(a, t);
        admission_charge(a, t, t->expected_usec > 0 ? t->expected_usec : UNKNOWN_USEC);
    }
    if (!t || is_full(a)) {
        want(a, now_usec); /* else the next pass does */
    }
    return t;
}

struct ticket *admission_next(struct admission *a, uint64_t now_usec)
{
    struct ticket *t;

    a->looked_at_usec = now_usec;
    a->router->level = admission_level(a);
    charge_overruns(a, now_usec);
    if (a->n_queued == 0 || is_full(a)) {
        return NULL;
    }
    begin_pass(a);
    t = grant(a, now_usec);
    end_pass(a);
    return t;
}

/* ---------------------------------------------------------------- what a call tells */

void admission_note_content(struct admission *a, struct ticket *t, uint64_t now_usec)
{
    (void) a;
    assert(t->state == TICKET_GRANTED);
    if (t->content_at_usec == 0) {
        t->content_at_usec = now_usec;
    }
}

/* Failures that a caller cannot help: what they took is not its cost. */
static bool is_blameless(const struct ticket *t, enum errcode code)
{
    return t->content_at_usec == 0 && code != ERRCODE_NONE && code != ERRCODE_CANCELLED;
}

void admission_note_end(struct admission *a, struct ticket *t, enum errcode code, uint64_t now_usec)
{
    struct deployment *d = t->deployment;
    uint64_t used = admission_used(t, now_usec);

    assert(t->state == TICKET_GRANTED && !t->is_noted);
    t->is_noted = true;
    admission_charge(a, t, is_blameless(t, code) ? 0 : used);
    service_time_used(&d->service, t->class, used, now_usec);
    slot_limit_note(&d->limit, d->slots, code, t->granted_at_usec, now_usec);
    if (code == ERRCODE_NONE && used > 0) {
        service_time_note(&d->service, t->class, used);
        caller_entry_note_service(t->caller, t->class, d->serial, used);
    }
}

/* ---------------------------------------------------------------- slots taken back */

static bool serves(const struct model_group *g, const struct deployment *d)
{
    for (size_t i = 0; i < g->n_deployments; i++) {
        if (g->deployments[i] == d) {
            return true;
        }
    }
    return false;
}

/* The first of a lane that is not overdue; NULL: all are. */
static struct ticket *first_in_time(struct admission *a, const struct fair_lane *lane,
                                    uint64_t now_usec)
{
    list_for_each (l, &lane->items) {
        struct ticket *t = ticket_of_item(CONTAINER_OF(l, struct fair_item, link));

        a->n_steps++;
        if (!is_overdue(t, now_usec)) {
            return t;
        }
    }
    return NULL;
}

/* The newest background call without a word that has a slot which waits could use. */
static struct ticket *preemptible(struct admission *a, const struct ticket *waits)
{
    const struct model_group *g = waits->group;
    bool has_sides = model_group_has_local(g);
    struct ticket *newest = NULL;

    list_for_each (l, &a->granted) {
        struct ticket *t = ticket_of_link(l);

        a->n_steps++;
        if (t->class == CLASS_BACKGROUND && t->content_at_usec == 0 && !t->was_preempted &&
            serves(g, t->deployment) && (!has_sides || t->is_away == waits->is_away)) {
            newest = t;
        }
    }
    return newest;
}

static bool may_preempt(const struct admission *a)
{
    return a->fair.n_items[CLASS_INTERACTIVE] > 0 && a->n_granted_background > 0;
}

struct ticket *admission_preempt(struct admission *a, uint64_t now_usec)
{
    struct fair_lane *lane = NULL;

    if (!may_preempt(a)) {
        return NULL;
    }
    a->n_passes++; /* slots may have become free since admission_next() */
    while ((lane = fair_queue_lane(&a->fair, CLASS_INTERACTIVE, lane))) {
        struct ticket *waits = first_in_time(a, lane, now_usec);
        struct ticket *runs;

        if (!waits || waits->not_before_usec > now_usec || has_free_slot(a, waits->group) ||
            usec_since(now_usec, waits->queued_at_usec) < PREEMPT_AFTER_USEC) {
            continue;
        }
        runs = preemptible(a, waits);
        if (runs) {
            runs->was_preempted = true;
            return runs;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- when to look again */

static uint64_t sooner(uint64_t at_usec, uint64_t earliest, uint64_t after_usec)
{
    return at_usec > after_usec && at_usec < earliest ? at_usec : earliest;
}

/* What of a queued ticket changes by itself, besides its deadline. */
static uint64_t changes_at(const struct admission *a, const struct ticket *t, uint64_t earliest)
{
    uint64_t after = a->looked_at_usec, at;

    earliest = sooner(model_group_resumes_at(t->group, after), earliest, after);
    earliest = sooner(t->not_before_usec, earliest, after);
    if (t->class == CLASS_INTERACTIVE && may_preempt(a)) {
        earliest = sooner(t->queued_at_usec + PREEMPT_AFTER_USEC, earliest, after);
    }
    if (is_reserved(t->group, t->class, after)) {
        at = t->group->floor.interactive_at_usec + CLASS_FLOOR_RESERVE_USEC;
        earliest = sooner(at, earliest, after);
    }
    if (is_held_back(a, t, after)) {
        earliest = sooner(pressure_stage_ends_at_usec(a->pressure, after), earliest, after);
    }
    if (!caller_may_run(a, t, after)) {
        at = others_seen_at(a, t->caller) + ALONE_AFTER_USEC;
        earliest = sooner(at, earliest, after);
    }
    return earliest;
}

uint64_t admission_next_deadline(const struct admission *a)
{
    uint64_t earliest = USEC_NEVER;

    if (a->n_queued > 0 && admission_level(a) >= PRESSURE_L3) {
        earliest = sooner(admission_sheds_at(a, a->looked_at_usec), earliest, a->looked_at_usec);
    }
    list_for_each (l, &a->queued) {
        const struct ticket *t = ticket_of_link(l);

        earliest = t->deadline_at_usec < earliest ? t->deadline_at_usec : earliest;
        earliest = changes_at(a, t, earliest);
    }
    return earliest;
}

static struct ticket *find_refused(struct admission *a, uint64_t now_usec,
                                   struct router_refusal *ret_refusal)
{
    list_for_each (l, &a->queued) {
        struct ticket *t = ticket_of_link(l);
        struct admission_kind *kind = is_plain(t) ? kind_of(a, t) : NULL;

        a->n_steps++;
        if (kind && kind->is_served) {
            continue;
        }
        a->n_asked++;
        if (router_refuses(a->router, t->group, t->wish, now_usec, ret_refusal)) {
            if (admission_is_told_to_many(ret_refusal->code)) {
                ret_refusal->retry_after_usec =
                    retry_after_spread(&a->retry, ret_refusal->retry_after_usec);
            }
            admission_leave(a, t);
            return t;
        }
        if (kind) {
            kind->is_served = true;
        }
    }
    return NULL;
}

struct ticket *admission_refuse(struct admission *a, uint64_t now_usec,
                                struct router_refusal *ret_refusal)
{
    struct ticket *t;

    if (a->n_queued == 0) {
        return NULL;
    }
    begin_pass(a);
    t = find_refused(a, now_usec, ret_refusal);
    end_pass(a);
    return t;
}
