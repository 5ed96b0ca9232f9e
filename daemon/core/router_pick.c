/*
 * Which deployment of a group takes a call now.
 *
 * Owns nothing. Never allocates, reads no clock, and never tells a breaker anything: who runs a call
 * does.
 */
#include <assert.h>

#include "base/clock.h"
#include "core/router.h"

/* Is a less busy than b? Shares in_use/slots compared without dividing. */
static bool is_less_busy(const struct deployment *a, const struct deployment *b)
{
    return (uint64_t) a->in_use * b->slots < (uint64_t) b->in_use * a->slots;
}

static bool was_tried(const struct deployment *d, const struct router_wish *wish)
{
    for (size_t i = 0; i < wish->n_tried; i++) {
        if (wish->tried[i] == d->serial) {
            return true;
        }
    }
    return false;
}

/* May it serve such a call at all? */
static bool is_wished(const struct deployment *d, const struct router_wish *wish)
{
    return d->is_local || !wish->is_local_only;
}

struct deployment *router_pick(struct router *r, struct model_group *g,
                               const struct router_wish *wish, uint64_t now_usec)
{
    static const struct router_wish none;
    struct deployment *best = NULL;
    bool best_was_tried = false;

    wish = wish ? wish : &none;
    for (size_t i = 0; i < g->n_deployments; i++) {
        struct deployment *d = g->deployments[(g->next + i) % g->n_deployments];
        bool is_tried = was_tried(d, wish);

        if (!d->backend || !is_wished(d, wish) || !health_can_take(&d->health, now_usec) ||
            d->in_use >= d->slots) {
            continue;
        }
        if (!best || (best_was_tried && !is_tried) ||
            (best_was_tried == is_tried && is_less_busy(d, best))) {
            best = d;
            best_was_tried = is_tried;
        }
    }
    if (best) {
        best->in_use++;
        g->next = (g->next + 1) % g->n_deployments;
    }
    return best;
}

const struct deployment *model_group_broken(const struct model_group *g, uint64_t now_usec)
{
    const struct deployment *soonest = NULL;
    uint64_t shortest_usec = USEC_NEVER;

    for (size_t i = 0; i < g->n_deployments; i++) {
        const struct deployment *d = g->deployments[i];
        uint64_t wait_usec = health_retry_after(&d->health, now_usec);

        if (!d->backend) {
            continue;
        }
        if (wait_usec == 0) {
            return NULL;
        }
        if (wait_usec < shortest_usec) {
            shortest_usec = wait_usec;
            soonest = d;
        }
    }
    return soonest;
}

uint64_t model_group_opens_at(const struct model_group *g)
{
    uint64_t earliest = USEC_NEVER;

    for (size_t i = 0; i < g->n_deployments; i++) {
        const struct deployment *d = g->deployments[i];

        if (d->backend && d->in_use < d->slots && d->health.state == HEALTH_OPEN &&
            d->health.open_until_usec < earliest) {
            earliest = d->health.open_until_usec;
        }
    }
    return earliest;
}
