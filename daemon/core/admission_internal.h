#pragma once
/*
 * What the parts of core/admission share: admission.c (tickets and where they are),
 * admission_gate.c (who comes in), admission_outlook.c (what a call would wait), admission_dispatch.c
 * (who runs), admission_shed.c (who is put out for memory). Nobody else includes this.
 */
#include "core/admission.h"
#include "core/predicted_wait.h"

/* Does the whole device serve one call at a time? Then all models take turns at that. */
static inline bool admission_is_one_line(const struct admission *a)
{
    return a->params.max_granted == 1;
}

/* What lower classes are owed by those who take the same slots. NULL: by nobody, the group is gone. */
static inline struct class_floor *admission_floor(struct admission *a, struct model_group *group)
{
    return admission_is_one_line(a) ? &a->floor : group ? &group->floor : NULL;
}

/* Of this level and above, of the memory; L0 without a gauge. */
enum pressure_level admission_level(const struct admission *a);

/* Does d's server hold the model that the wish means, as far as is known? */
bool admission_is_loaded(const struct admission *a, const struct model_group *group,
                         const struct deployment *d, const struct router_wish *wish,
                         uint64_t now_usec);
/* Was its model unloaded for want of memory, and used so lately that it will be loaded again? */
bool admission_is_returning(const struct admission *a, const struct model_group *group,
                            const struct deployment *d, const struct router_wish *wish,
                            uint64_t now_usec);

/* ---------------------------------------------------------------- admission.c */

void admission_join(struct admission *a, struct ticket *t);  /* HOME: into its caller's lane */
void admission_leave(struct admission *a, struct ticket *t); /* QUEUED: home */
void admission_oust(struct admission *a, struct ticket *t, enum errcode code); /* QUEUED */

static inline struct ticket *ticket_of_item(struct fair_item *item)
{
    return CONTAINER_OF(item, struct ticket, item);
}

static inline struct ticket *ticket_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct ticket, link);
}

/* QUEUED: has d's slot from now on, which router_pick() has taken. Nobody is charged yet. */
void admission_serve(struct admission *a, struct ticket *t, struct deployment *d,
                     uint64_t now_usec);

/* ---------------------------------------------------------------- admission_shed.c */

/* Is it level 4, and not for long: may who would be served at level 3 wait for its end? */
bool admission_may_pass(const struct admission *a, uint64_t now_usec);
/* When admission_shed() may have more to do; USEC_NEVER: not known. */
uint64_t admission_sheds_at(const struct admission *a, uint64_t now_usec);

/* ---------------------------------------------------------------- admission_gate.c */

/*
 * The verdict on a ticket that was in the queue and is not any more: code, and when its client may
 * come back. group, caller and class are the ticket's.
 */
struct verdict admission_turn_away(struct admission *a, const struct ticket *t, enum errcode code,
                                   uint64_t now_usec);

/*
 * Is it told to all who wait for the same, at the same moment? They must not come back together: their
 * Retry-After is spread.
 */
bool admission_is_told_to_many(enum errcode code);

/* ---------------------------------------------------------------- admission_outlook.c */

/* Who stands at the gate. */
struct applicant {
    const struct model_group *group;
    const struct router_wish *wish;
    struct caller_entry *caller;
    enum call_class class;
    size_t bytes;
    uint64_t expected_usec; /* its service; 0: not known */
    uint64_t patience_usec; /* from the moment when it was first wanted */
    uint64_t budget_usec;   /* of the wait */
    uint64_t stay_usec;     /* the longest that it may be in the queue */
    uint64_t age_usec;      /* since then, as far as is known; 0 but for retries */
    unsigned n_retries;
    bool is_away;   /* it leaves the device: other deployments, and another wait */
    bool has_sides; /* some of the group is on the device: who leaves and who stays share nothing */
};

static inline bool admission_is_away(const struct router_wish *wish)
{
    return wish && wish->is_away;
}

/*
 * Is it served by other machines, whoever will do it? Then this device's memory is nothing to it: what
 * sluice itself keeps of a call is bounded by the limits of the queue, whatever the level.
 */
static inline bool applicant_is_elsewhere(const struct applicant *p)
{
    return p->is_away || !p->has_sides;
}

/* How long such calls hold a slot; 0: not known. */
uint64_t admission_expected(struct admission *a, const struct model_group *group,
                            const struct caller_entry *c, enum call_class class);

/* The slots that it could have, and what classes above took of them. */
void admission_look_at_slots(const struct admission *a, const struct applicant *p,
                             uint64_t now_usec, struct wait_outlook *o);

/* What it would wait for a slot. */
uint64_t admission_wait(struct admission *a, const struct applicant *p, uint64_t now_usec);

/* What it would wait for its model at least, where that has to be loaded. */
uint64_t admission_wait_for_model(struct admission *a, const struct applicant *p,
                                  uint64_t now_usec);

/* ---------------------------------------------------------------- admission_dispatch.c */

/* Its group or its wish is another. */
void admission_note_kind(struct ticket *t);

/* The ticket's call holds its slot for that long in all, as far as is known now. */
void admission_charge(struct admission *a, struct ticket *t, uint64_t usec);

/* Slot time that a granted ticket has used by now, without loading its model. */
uint64_t admission_used(const struct ticket *t, uint64_t now_usec);
