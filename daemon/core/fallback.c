/*
 * See fallback.h.
 */
#include "core/fallback.h"

/* Was the model behind the name asked already? A wildcard has many of them. */
static bool was_asked(struct router *r, const struct fallback_call *c, struct str name,
                      const struct model_group *group)
{
    for (size_t i = 0; i < c->n_asked; i++) {
        if (str_is_equal(c->asked[i], name) ||
            (!model_group_is_wildcard(group) && router_resolve(r, c->asked[i]) == group)) {
            return true;
        }
    }
    return false;
}

static bool may_serve(struct router *r, const struct fallback_call *c, struct str name,
                      uint64_t now_usec)
{
    const struct model_group *group = router_resolve(r, name);
    struct router_wish wish = *c->wish;
    struct router_refusal refusal;

    if (!group || was_asked(r, c, name, group)) {
        return false;
    }
    wish.n_tried = 0;
    wish.name = name;
    return !router_refuses(r, group, &wish, now_usec, &refusal);
}

static struct str find_own(struct router *r, const struct fallback_call *c, uint64_t now_usec)
{
    for (size_t i = 0; i < c->routing->n_fallbacks; i++) {
        if (may_serve(r, c, c->routing->fallbacks[i], now_usec)) {
            return c->routing->fallbacks[i];
        }
    }
    return STR_NONE;
}

/* Of the lists for one name: the special one, where there is one for it, else the general one. */
static struct str find_listed(struct router *r, const struct fallback_call *c, struct str from,
                              enum fallback_kind kind, uint64_t now_usec)
{
    const struct router_fallbacks *list = router_fallbacks(r, kind, from);

    if (!list && kind != FALLBACK_GENERAL) {
        list = router_fallbacks(r, FALLBACK_GENERAL, from);
    }
    for (size_t i = 0; list && i < list->n_targets; i++) {
        struct str name = str_from(list->targets[i]);

        if (may_serve(r, c, name, now_usec)) {
            return name;
        }
    }
    return STR_NONE;
}

struct str fallback_find(struct router *r, const struct fallback_call *c, enum fallback_kind kind,
                         uint64_t now_usec)
{
    size_t max = r->policy.max_fallbacks < REQUEST_MAX_FALLBACKS ? r->policy.max_fallbacks
                                                                 : REQUEST_MAX_FALLBACKS;
    struct str name = STR_NONE;

    if (c->n_asked > max) {
        return STR_NONE;
    }
    if (c->routing && c->routing->has_fallbacks) {
        return find_own(r, c, now_usec);
    }
    for (size_t i = c->n_asked; i > 0 && !name.ptr; i--) {
        name = find_listed(r, c, c->asked[i - 1], kind, now_usec);
    }
    return name;
}
