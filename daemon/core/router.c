/*
 * Names to deployments, and slots.
 *
 * Owns groups and deployments (and backends through them). Invariants: in_use <= slots for a live
 * deployment; a deployment is on exactly one of router.deployments and router.retired; one on
 * `retired` has slots in use. Knows nothing of requests and queues, and never tells a breaker
 * anything: who runs a call does.
 */
#include "core/router.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

#define SUGGEST_NAME_MAX 64 /* longer names are not compared: the distance is quadratic */

void router_init(struct router *r)
{
    *r = (struct router) {0};
    list_init(&r->deployments);
    list_init(&r->retired);
}

struct deployment *deployment_free(struct deployment *d)
{
    if (!d) {
        return NULL;
    }
    assert(d->in_use == 0);
    list_remove(&d->link);
    if (d->backend) {
        d->backend->ops->free(d->backend);
    }
    free(d->id);
    free(d->fingerprint);
    free(d->provider);
    free(d->upstream_model);
    free(d->api_base);
    free(d->off_reason);
    free(d);
    return NULL;
}

static char *copy(const char *text)
{
    return strdup(text ? text : "");
}

struct deployment *deployment_new(const struct deployment_spec *spec, struct backend *backend)
{
    struct deployment *d = calloc(1, sizeof *d);

    assert(backend ? !spec->off_reason : spec->off_reason != NULL);
    assert(spec->slots > 0);
    if (!d) {
        return NULL;
    }
    list_init(&d->link);
    d->slots = spec->slots;
    d->id = strdup(spec->id);
    d->fingerprint = strdup(spec->fingerprint);
    d->provider = strdup(spec->provider);
    d->upstream_model = copy(spec->upstream_model);
    d->api_base = copy(spec->api_base);
    d->off_reason = spec->off_reason ? strdup(spec->off_reason) : NULL;
    if (!d->id || !d->fingerprint || !d->provider || !d->upstream_model || !d->api_base ||
        (spec->off_reason && !d->off_reason)) {
        return deployment_free(d);
    }
    d->backend = backend;
    return d;
}

uint64_t deployment_idle_usec(const struct deployment *d, uint64_t now_usec)
{
    bool has_rested = d->in_use == 0 && d->last_used_at_usec != 0;

    return has_rested && now_usec > d->last_used_at_usec ? now_usec - d->last_used_at_usec : 0;
}

bool deployment_is_loaded(const struct deployment *d, uint64_t now_usec)
{
    return d->backend && d->backend->ops->is_loaded &&
           d->backend->ops->is_loaded(d->backend, now_usec);
}

static void groups_free(struct model_group *groups, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(groups[i].name);
        free(groups[i].deployments);
    }
    free(groups);
}

void router_done(struct router *r)
{
    groups_free(r->groups, r->n_groups);
    assert(list_is_empty(&r->retired));
    list_for_each_safe (l, &r->deployments) {
        deployment_free(CONTAINER_OF(l, struct deployment, link));
    }
    *r = (struct router) {0};
}

struct deployment *router_find(struct router *r, const char *id, const char *fingerprint)
{
    list_for_each (l, &r->deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (strcmp(d->id, id) == 0 && strcmp(d->fingerprint, fingerprint) == 0) {
            return d;
        }
    }
    return NULL;
}

static struct model_group *plan_group(struct router_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_groups; i++) {
        if (strcmp(plan->groups[i].name, name) == 0) {
            return &plan->groups[i];
        }
    }

    struct model_group *grown = realloc(plan->groups, (plan->n_groups + 1) * sizeof *grown);

    if (!grown) {
        return NULL;
    }
    plan->groups = grown;
    grown[plan->n_groups] = (struct model_group) {.name = strdup(name)};
    return grown[plan->n_groups].name ? &grown[plan->n_groups++] : NULL;
}

int router_plan_add(struct router_plan *plan, const char *group, struct deployment *d)
{
    struct model_group *g = plan_group(plan, group);

    if (!g) {
        return -ENOMEM;
    }

    struct deployment **grown = realloc(g->deployments, (g->n_deployments + 1) * sizeof *grown);

    if (!grown) {
        return -ENOMEM;
    }
    g->deployments = grown;
    grown[g->n_deployments++] = d;
    d->is_planned = true;
    return 0;
}

void router_plan_done(struct router_plan *plan)
{
    for (size_t i = 0; i < plan->n_groups; i++) {
        for (size_t k = 0; k < plan->groups[i].n_deployments; k++) {
            struct deployment *d = plan->groups[i].deployments[k];

            d->is_planned = false;
            if (!list_is_linked(&d->link)) {
                deployment_free(d);
            }
        }
    }
    groups_free(plan->groups, plan->n_groups);
    *plan = (struct router_plan) {0};
}

/*
 * Deployments that the plan does not name any more: freed at once, or kept until their last call is
 * over.
 */
static void retire_unplanned(struct router *r)
{
    list_for_each_safe (l, &r->deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (d->is_planned) {
            continue;
        }
        if (d->in_use == 0) {
            deployment_free(d);
        } else {
            list_remove(&d->link);
            list_append(&r->retired, &d->link);
        }
    }
}

void router_commit(struct router *r, struct router_plan *plan)
{
    retire_unplanned(r);
    groups_free(r->groups, r->n_groups);
    r->groups = plan->groups;
    r->n_groups = plan->n_groups;
    *plan = (struct router_plan) {0};
    for (size_t i = 0; i < r->n_groups; i++) {
        for (size_t k = 0; k < r->groups[i].n_deployments; k++) {
            struct deployment *d = r->groups[i].deployments[k];

            d->is_planned = false;
            list_remove(&d->link);
            list_append(&r->deployments, &d->link); /* in configuration order */
        }
    }
}

struct model_group *router_resolve(struct router *r, struct str name)
{
    for (size_t i = 0; i < r->n_groups; i++) {
        if (str_is(name, r->groups[i].name)) {
            return &r->groups[i];
        }
    }
    return NULL;
}

static unsigned char lower(char c)
{
    return (unsigned char) (c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Levenshtein distance without regard to case; both at most SUGGEST_NAME_MAX long. */
static unsigned edit_distance(struct str a, struct str b)
{
    unsigned row[SUGGEST_NAME_MAX + 1];

    for (unsigned k = 0; k <= b.len; k++) {
        row[k] = k;
    }
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned k = 1; k <= b.len; k++) {
            unsigned replaced = diagonal + (lower(a.ptr[i - 1]) != lower(b.ptr[k - 1]));
            unsigned best = row[k] < row[k - 1] ? row[k] + 1 : row[k - 1] + 1;

            diagonal = row[k];
            row[k] = best < replaced ? best : replaced;
        }
    }
    return row[b.len];
}

size_t router_suggest(const struct router *r, struct str name, const char **ret_names, size_t max)
{
    unsigned distances[8];
    size_t n = 0;

    assert(max <= ARRAY_LEN(distances));
    if (name.len > SUGGEST_NAME_MAX) {
        name.len = SUGGEST_NAME_MAX;
    }
    for (size_t i = 0; i < r->n_groups; i++) {
        struct str known = str_from(r->groups[i].name);

        if (known.len > SUGGEST_NAME_MAX) {
            continue;
        }

        unsigned d = edit_distance(name, known);
        size_t at = n;

        while (at > 0 && distances[at - 1] > d) {
            at--;
        }
        if (at == max) {
            continue;
        }
        n = n < max ? n + 1 : max;
        memmove(&distances[at + 1], &distances[at], (n - at - 1) * sizeof distances[0]);
        memmove(&ret_names[at + 1], &ret_names[at], (n - at - 1) * sizeof ret_names[0]);
        distances[at] = d;
        ret_names[at] = r->groups[i].name;
    }
    return n;
}

bool model_group_is_servable(const struct model_group *g)
{
    return model_group_slots(g) > 0;
}

unsigned model_group_slots(const struct model_group *g)
{
    unsigned n = 0;

    for (size_t i = 0; i < g->n_deployments; i++) {
        n += g->deployments[i]->backend ? g->deployments[i]->slots : 0;
    }
    return n;
}

/* Is a less busy than b? Shares in_use/slots compared without dividing. */
static bool is_less_busy(const struct deployment *a, const struct deployment *b)
{
    return (uint64_t) a->in_use * b->slots < (uint64_t) b->in_use * a->slots;
}

struct deployment *router_pick(struct model_group *g, uint64_t now_usec)
{
    struct deployment *best = NULL;

    for (size_t i = 0; i < g->n_deployments; i++) {
        struct deployment *d = g->deployments[(g->next + i) % g->n_deployments];

        if (d->backend && d->in_use < d->slots && health_can_take(&d->health, now_usec) &&
            (!best || is_less_busy(d, best))) {
            best = d;
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

void router_release(struct router *r, struct deployment *d, uint64_t now_usec)
{
    assert(d->in_use > 0);
    d->in_use--;
    d->last_used_at_usec = now_usec;
}

void router_reap(struct router *r)
{
    list_for_each_safe (l, &r->retired) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (d->in_use == 0) {
            deployment_free(d);
        }
    }
}
