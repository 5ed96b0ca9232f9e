/*
 * Groups, deployments and slots: how they are made, planned and retired. What a name leads to is in
 * router_names.c, which deployment takes a call in router_pick.c.
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
#include <string.h>

void router_init(struct router *r)
{
    *r = (struct router) {0};
    list_init(&r->deployments);
    list_init(&r->retired);
    router_policy_init(&r->policy);
}

static void groups_free(struct model_group *groups, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(groups[i].name);
        free(groups[i].deployments);
    }
    free(groups);
}

static void aliases_free(struct router_alias *aliases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(aliases[i].name);
        free(aliases[i].target);
    }
    free(aliases);
}

static void names_free(struct router *r)
{
    groups_free(r->groups, r->n_groups);
    groups_free(r->singles, r->n_singles);
    aliases_free(r->aliases, r->n_aliases);
    router_policy_done(&r->policy);
}

void router_done(struct router *r)
{
    names_free(r);
    assert(list_is_empty(&r->retired));
    list_for_each_safe (l, &r->deployments) {
        deployment_free(CONTAINER_OF(l, struct deployment, link));
    }
    *r = (struct router) {0};
}

void router_server_is_back(struct router *r, const char *api_base, uint64_t now_usec)
{
    list_for_each (l, &r->deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (strcmp(d->api_base, api_base) == 0) {
            health_try_now(&d->health, now_usec);
            cooldown_server_is_back(&d->cooldown, now_usec);
        }
    }
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

/* A new last item of an array of groups; NULL: out of memory. */
static struct model_group *group_add(struct model_group **groups, size_t *n, const char *name)
{
    struct model_group *grown = realloc(*groups, (*n + 1) * sizeof *grown);

    if (!grown) {
        return NULL;
    }
    *groups = grown;
    grown[*n] = (struct model_group) {.name = strdup(name)};
    return grown[*n].name ? &grown[(*n)++] : NULL;
}

static struct model_group *plan_group(struct router_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_groups; i++) {
        if (strcmp(plan->groups[i].name, name) == 0) {
            return &plan->groups[i];
        }
    }
    return group_add(&plan->groups, &plan->n_groups, name);
}

static int group_append(struct model_group *g, struct deployment *d)
{
    struct deployment **grown = realloc(g->deployments, (g->n_deployments + 1) * sizeof *grown);

    if (!grown) {
        return -ENOMEM;
    }
    g->deployments = grown;
    grown[g->n_deployments++] = d;
    return 0;
}

/* A wildcard's deployment has no name for a model that was not asked for by name. */
static bool can_be_asked_by_id(const struct deployment *d)
{
    return !strchr(d->upstream_model, '*');
}

/*
 * What is half made when memory runs out belongs to the plan, and is no danger: groups without
 * deployments, and ids of deployments that were not added, are freed with it.
 */
int router_plan_add(struct router_plan *plan, const char *group, struct deployment *d)
{
    struct model_group *g = plan_group(plan, group);
    struct model_group *single = NULL;

    if (!g) {
        return -ENOMEM;
    }
    if (can_be_asked_by_id(d)) {
        single = group_add(&plan->singles, &plan->n_singles, d->id);
        if (!single || group_append(single, d) < 0) {
            return -ENOMEM;
        }
    }
    if (group_append(g, d) < 0) {
        return -ENOMEM;
    }
    d->is_planned = true;
    return 0;
}

int router_plan_alias(struct router_plan *plan, const char *name, const char *target,
                      bool is_hidden)
{
    struct router_alias *grown = realloc(plan->aliases, (plan->n_aliases + 1) * sizeof *grown);

    if (!grown) {
        return -ENOMEM;
    }
    plan->aliases = grown;
    grown[plan->n_aliases] = (struct router_alias) {
        .name = strdup(name), .target = strdup(target), .is_hidden = is_hidden};
    plan->n_aliases++; /* what is half made is freed with the plan */
    return grown[plan->n_aliases - 1].name && grown[plan->n_aliases - 1].target ? 0 : -ENOMEM;
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
    groups_free(plan->singles, plan->n_singles);
    aliases_free(plan->aliases, plan->n_aliases);
    router_policy_done(&plan->policy);
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
            r->n_gone++;
        } else {
            list_remove(&d->link);
            list_append(&r->retired, &d->link);
        }
    }
}

static bool has_tag(const struct deployment *d, const char *tag)
{
    for (size_t i = 0; i < d->terms->n_tags; i++) {
        if (strcmp(d->terms->tags[i], tag) == 0) {
            return true;
        }
    }
    return false;
}

/* Its deployments hold from now on, on their new terms. */
static void commit_group(struct router *r, struct model_group *g)
{
    unsigned n_serving = 0;

    for (size_t i = 0; i < g->n_deployments; i++) {
        struct deployment *d = g->deployments[i];

        d->is_planned = false;
        d->serial = d->serial ? d->serial : ++r->last_serial;
        list_remove(&d->link);
        list_append(&r->deployments, &d->link); /* in configuration order */
        deployment_adopt_terms(d);
        n_serving += d->backend != NULL;
        g->has_default |= has_tag(d, ROUTER_DEFAULT_TAG);
        g->has_local_only |= d->terms->is_local_only;
    }
    for (size_t i = 0; i < g->n_deployments; i++) {
        g->deployments[i]->is_alone = n_serving <= 1;
    }
}

void router_commit(struct router *r, struct router_plan *plan)
{
    retire_unplanned(r);
    names_free(r);
    r->groups = plan->groups;
    r->n_groups = plan->n_groups;
    r->singles = plan->singles;
    r->n_singles = plan->n_singles;
    r->aliases = plan->aliases;
    r->n_aliases = plan->n_aliases;
    r->policy = plan->policy;
    *plan = (struct router_plan) {0};
    for (size_t i = 0; i < r->n_groups; i++) {
        commit_group(r, &r->groups[i]);
    }
    for (size_t i = 0; i < r->n_singles; i++) {
        r->singles[i].is_single = true;
        r->singles[i].has_local_only = r->singles[i].deployments[0]->terms->is_local_only;
    }
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

bool model_group_has_local(const struct model_group *g)
{
    for (size_t i = 0; i < g->n_deployments; i++) {
        if (g->deployments[i]->backend && g->deployments[i]->is_local) {
            return true;
        }
    }
    return false;
}

void router_note_content(struct deployment *d, uint64_t took_usec, uint64_t now_usec)
{
    latency_note(&d->latency, took_usec, now_usec);
}

bool router_note_end(const struct router *r, struct deployment *d, enum errcode code,
                     uint64_t retry_after_usec, uint64_t now_usec)
{
    const struct cooldown_failure failure = {
        .cause = fail_cause_of(code),
        .is_alone = d->is_alone,
        .own_usec = d->terms->cooldown_usec,
        .retry_after_usec = retry_after_usec,
    };

    if (code == ERRCODE_NONE) {
        cooldown_succeeded(&d->cooldown, now_usec);
        return false;
    }
    if (failure.cause == FAIL_TIMEOUT) {
        latency_note(&d->latency, LATENCY_TIMEOUT_USEC, now_usec);
    }
    if (!cooldown_failed(&d->cooldown, &r->policy.cooldown, &failure, now_usec)) {
        return false;
    }
    if (r->on_cooldown) {
        r->on_cooldown(d, now_usec);
    }
    return true;
}

void router_note_tokens(struct deployment *d, uint64_t n_tokens, uint64_t now_usec)
{
    gcra_take(&d->tpm, n_tokens, now_usec);
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
            r->n_gone++;
        }
    }
}
