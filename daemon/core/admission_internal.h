#pragma once
/*
 * What the parts of core/admission share: admission.c (tickets and where they are),
 * admission_gate.c (who comes in), admission_dispatch.c (who runs). Nobody else includes this.
 */
#include "core/admission.h"

/* Of this level and above, of the memory; L0 without a gauge. */
enum pressure_level admission_level(const struct admission *a);

/* Does d's server hold the model that the wish means, as far as is known? */
bool admission_is_loaded(const struct admission *a, const struct model_group *group,
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

/* ---------------------------------------------------------------- admission_gate.c */

/*
 * The verdict on a ticket that was in the queue and is not any more: code, and when its client may
 * come back. group, caller and class are the ticket's.
 */
struct verdict admission_turn_away(struct admission *a, const struct ticket *t, enum errcode code,
                                   uint64_t now_usec);

/* ---------------------------------------------------------------- admission_dispatch.c */

/* The ticket's call holds its slot for that long in all, as far as is known now. */
void admission_charge(struct admission *a, struct ticket *t, uint64_t usec);

/* Slot time that a granted ticket has used by now, without loading its model. */
uint64_t admission_used(const struct ticket *t, uint64_t now_usec);
