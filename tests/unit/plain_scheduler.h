#pragma once
/*
 * A scheduler as plain as can be, beside the real one: it goes through all tickets each time, has
 * virtual times of its own, and says of each ticket whether it might get a slot that is free
 * (callers with the same virtual time are equals). What it shares with the real one are the
 * estimates, and what is due to lower classes (test_class_floor.c).
 *
 * Must not: change anything of the admission that it looks at.
 */
#include <string.h>

#include "base/clock.h"
#include "core/admission.h"

#define PLAIN_CALLERS 6 /* uids 0 to 5 */
#define PLAIN_TICKETS 400

/* What it keeps of one caller in one class. */
struct lane {
    uint64_t settled; /* virtual time, without what runs */
    unsigned n_queued;
};

/* Embedded in the test's world, which the pointers lead to; the test counts its tickets in it. */
struct plain {
    const struct admission *admission;
    const struct pressure *pressure;
    const struct ticket *tickets;
    size_t n_tickets;
    struct lane lanes[PLAIN_CALLERS][_CLASS_MAX];
    bool is_charged[PLAIN_TICKETS][_CLASS_MAX]; /* of who runs: in which classes its caller pays */
    uint64_t served[_CLASS_MAX];
};

static inline unsigned plain_slots(const struct model_group *g)
{
    return g->deployments[0]->slots;
}

static inline uint64_t plain_cost(const struct ticket *t, uint64_t charged_usec)
{
    uint64_t usec = charged_usec / plain_slots(t->group);

    return usec * FAIR_VTIME_PER_USEC / t->caller->lanes[t->class].weight;
}

/* What it will have been charged when a slot is given at that time; 0: by now. */
static inline uint64_t plain_charged(const struct plain *p, const struct ticket *t, uint64_t at)
{
    uint64_t used = usec_since(at, t->granted_at_usec);

    return at >= p->admission->overruns_at_usec && used > t->charged_usec ? used : t->charged_usec;
}

static inline uint64_t plain_vtime(const struct plain *p, unsigned caller, unsigned class,
                                   uint64_t at)
{
    uint64_t v = p->lanes[caller][class].settled;

    for (size_t i = 0; i < p->n_tickets; i++) {
        const struct ticket *t = &p->tickets[i];

        if (t->state == TICKET_GRANTED && t->caller->uid == caller && p->is_charged[i][class]) {
            v += plain_cost(t, plain_charged(p, t, at));
        }
    }
    return v;
}

/* It begins to wait: lifted to the least of those that wait, or to who was served last. */
static inline void plain_join(struct plain *p, const struct ticket *t)
{
    struct lane *lane = &p->lanes[t->caller->uid][t->class];
    uint64_t own = plain_vtime(p, t->caller->uid, t->class, 0), least = UINT64_MAX;

    for (unsigned c = 0; c < PLAIN_CALLERS; c++) {
        if (p->lanes[c][t->class].n_queued > 0) {
            uint64_t v = plain_vtime(p, c, t->class, 0);

            least = v < least ? v : least;
        }
    }
    least = least == UINT64_MAX ? p->served[t->class] : least;
    if (lane->n_queued++ == 0 && own < least) {
        lane->settled += least - own;
    }
}

/* It has a slot: its caller pays in its class, and in those where somebody waits. */
static inline void plain_grant(struct plain *p, const struct ticket *t)
{
    p->lanes[t->caller->uid][t->class].n_queued--;
    for (unsigned k = 0; k < _CLASS_MAX; k++) {
        bool is_waited_for = k == t->class;

        for (unsigned c = 0; c < PLAIN_CALLERS; c++) {
            is_waited_for |= p->lanes[c][k].n_queued > 0;
        }
        p->is_charged[t - p->tickets][k] = is_waited_for;
    }
}

/* It gives its slot back, and what it cost is known. */
static inline void plain_settle(struct plain *p, const struct ticket *t)
{
    for (unsigned k = 0; k < _CLASS_MAX; k++) {
        if (p->is_charged[t - p->tickets][k]) {
            p->lanes[t->caller->uid][k].settled += plain_cost(t, t->charged_usec);
        }
    }
}

/* Is there a slot for it, that it may have? */
static inline bool plain_is_free(const struct plain *p, const struct ticket *t, uint64_t now)
{
    const struct admission *a = p->admission;
    const struct deployment *d = t->group->deployments[0];
    const struct caller_entry *c = t->caller;
    unsigned limit = p->pressure->level >= PRESSURE_L3   ? 1
                     : p->pressure->level >= PRESSURE_L2 ? (d->slots + 1) / 2
                                                         : d->slots;
    uint64_t other = c == a->last_caller ? a->other_caller_at_usec : a->last_caller_at_usec;
    bool is_alone = other == 0 || now - other >= 60 * USEC_PER_SEC;
    uint64_t interactive_at = t->group->floor.interactive_at_usec;
    unsigned n_low = 0;

    limit = limit < d->slots - d->limit.n_less ? limit : d->slots - d->limit.n_less;
    if (d->in_use >= limit) {
        return false;
    }
    if ((p->pressure->level == PRESSURE_L1 && t->class == CLASS_BACKGROUND) ||
        (p->pressure->level > PRESSURE_L1 && t->class != CLASS_INTERACTIVE) ||
        p->pressure->level == PRESSURE_L4) {
        return false;
    }
    if (d->slots > 1 && !is_alone && c->n_running > 0 && c->n_running >= d->slots - 1) {
        return false;
    }
    for (size_t i = 0; i < p->n_tickets; i++) {
        n_low += p->tickets[i].state == TICKET_GRANTED && p->tickets[i].deployment == d &&
                 p->tickets[i].class != CLASS_INTERACTIVE;
    }
    return t->class == CLASS_INTERACTIVE || d->slots == 1 || interactive_at == 0 ||
           now - interactive_at >= 60 * USEC_PER_SEC || n_low + 1 < d->slots;
}

static inline bool plain_may_run(const struct plain *p, const struct ticket *t, uint64_t now)
{
    return t->state == TICKET_QUEUED && t->deadline_at_usec >= now && plain_is_free(p, t, now);
}

static inline bool plain_is_due(const struct plain *p, const struct ticket *t, uint64_t now)
{
    return p->pressure->level == PRESSURE_L0 &&
           class_floor_is_due(&t->group->floor, t->class, t->expected_usec / plain_slots(t->group),
                              t->queued_at_usec, now);
}

/* Must a go before b? Both may run. */
static inline bool plain_goes_before(const struct plain *p, const struct ticket *a,
                                     const struct ticket *b, uint64_t now)
{
    bool a_due = plain_is_due(p, a, now), b_due = plain_is_due(p, b, now);

    if (a_due != b_due) {
        return a_due && a->class > b->class; /* of one class it is nobody's claim */
    }
    if (a->class != b->class) {
        return a->class < b->class;
    }
    if (a->caller != b->caller) {
        return plain_vtime(p, a->caller->uid, a->class, now) <
               plain_vtime(p, b->caller->uid, b->class, now);
    }
    return a->place < b->place && (a->group == b->group || (!a_due && !b_due));
}

/* Before a grant: who may get the slot. */
struct plain_view {
    bool may[PLAIN_TICKETS];
    bool anybody;
};

static inline void plain_look(const struct plain *p, uint64_t now, struct plain_view *v)
{
    memset(v, 0, sizeof *v);
    for (size_t i = 0; i < p->n_tickets; i++) {
        if (!plain_may_run(p, &p->tickets[i], now)) {
            continue;
        }
        v->may[i] = v->anybody = true;
        for (size_t j = 0; j < p->n_tickets && v->may[i]; j++) {
            v->may[i] = !plain_may_run(p, &p->tickets[j], now) ||
                        !plain_goes_before(p, &p->tickets[j], &p->tickets[i], now);
        }
    }
}
