/*
 * See spill_target.h. Owns nothing, allocates nothing, reads no clock.
 *
 * A target is asked for with wish.is_away, which leaves over of a group what is not on this device. It
 * has its own slots, rates and queue, and what its gate says holds: nobody is sent from one queue into
 * another that is as long.
 */
#include "core/spill_target.h"

/* ---------------------------------------------------------------- here */

/* What it would be refused with if it asked now: by its model's deployments, or by the gate. */
static void foresee(struct admission *a, const struct spill_call *c, struct spill_prospect *p,
                    uint64_t now_usec)
{
    struct router_refusal refusal;
    struct admission_outlook o;

    if (router_refuses(a->router, c->group, c->wish, now_usec, &refusal)) {
        p->refusal = refusal.code;
    } else if (a->router->policy.spill.predicted_wait_usec > 0) {
        admission_explain(a, c->group, c->wish, c->ask, now_usec, &o);
        p->wait_usec = o.wait_usec;
        p->refusal = o.code;
    }
}

enum spill_reason spill_look(struct admission *a, const struct spill_call *c, enum errcode refusal,
                             uint64_t now_usec)
{
    const struct spill_rules *rules = &a->router->policy.spill;
    struct spill_prospect p = {.refusal = refusal,
                               .level = a->pressure ? a->pressure->level : PRESSURE_L0};

    if (!spill_is_on(rules) || c->wish->is_away) {
        return SPILL_NONE;
    }
    p.is_here = router_find_room(a->router, c->group, c->wish, now_usec).is_here;
    if (p.is_here && refusal == ERRCODE_NONE && !spill_is_by_level(rules, p.level)) {
        foresee(a, c, &p, now_usec);
    }
    return spill_reason(rules, &p);
}

/* ---------------------------------------------------------------- there */

/* How many wait there for the slots that a spilled call gets. */
static unsigned n_waiting(const struct admission *a, const struct model_group *g)
{
    bool has_sides = model_group_has_local(g);
    unsigned n = 0;

    list_for_each (l, &a->queued) {
        const struct ticket *t = CONTAINER_OF(l, struct ticket, link);

        n += t->group == g && (t->is_away || !has_sides);
    }
    return n;
}

static bool takes(struct admission *a, const struct spill_call *c, const struct model_group *g,
                  const struct router_wish *wish, bool wants_slot, uint64_t now_usec)
{
    uint64_t most = a->router->policy.spill.predicted_wait_usec;
    struct router_refusal refusal;
    struct admission_outlook o;
    bool has_slot;

    if (router_refuses(a->router, g, wish, now_usec, &refusal)) {
        return false;
    }
    has_slot = router_find_room(a->router, g, wish, now_usec).n_free > n_waiting(a, g);
    if (wants_slot && !has_slot) {
        return false;
    }
    admission_explain(a, g, wish, c->ask, now_usec, &o);
    if (o.code != ERRCODE_NONE) {
        return false;
    }
    return has_slot || (o.service_usec > 0 && (most == 0 || o.wait_usec <= most));
}

/* A group that has the call's own name for itself is its own. */
static bool takes_name(struct admission *a, const struct spill_call *c, struct str name,
                       bool wants_slot, uint64_t now_usec)
{
    const struct model_group *g = router_resolve(a->router, name);
    struct router_wish wish = *c->wish;

    wish.is_away = true;
    wish.name = name;
    wish.n_tried = 0;
    return g && (g != c->group || str_is_equal(name, c->asked)) &&
           takes(a, c, g, &wish, wants_slot, now_usec);
}

static struct str find_listed(struct admission *a, const struct spill_call *c, bool wants_slot,
                              uint64_t now_usec)
{
    const struct router_fallbacks *list = router_fallbacks(a->router, FALLBACK_GENERAL, c->asked);

    for (size_t i = 0; list && i < list->n_targets; i++) {
        struct str name = str_from(list->targets[i]);

        if (takes_name(a, c, name, wants_slot, now_usec)) {
            return name;
        }
    }
    return STR_NONE;
}

struct str spill_find(struct admission *a, const struct spill_call *c, bool wants_slot,
                      uint64_t now_usec)
{
    if (c->wish->is_local_only) {
        return STR_NONE;
    }
    if (takes_name(a, c, c->asked, wants_slot, now_usec)) {
        return c->asked;
    }
    if (!c->routing || !c->routing->has_fallbacks) {
        return a->router->policy.max_fallbacks > 0 ? find_listed(a, c, wants_slot, now_usec)
                                                   : STR_NONE;
    }
    for (size_t i = 0; i < c->routing->n_fallbacks; i++) {
        if (takes_name(a, c, c->routing->fallbacks[i], wants_slot, now_usec)) {
            return c->routing->fallbacks[i];
        }
    }
    return STR_NONE;
}
