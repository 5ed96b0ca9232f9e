/* See router_policy.h. Owns its lists. Must not: resolve names. */
#include "core/router_policy.h"

#include <errno.h>
#include <stdlib.h>

void router_policy_init(struct router_policy *policy)
{
    *policy = (struct router_policy) {
        .strategy = ROUTING_SHUFFLE,
        .cooldown = {.allowed_fails = FAIL_POLICY_UNSET},
        .max_fallbacks = ROUTING_MAX_FALLBACKS,
    };
    fail_policy_unset(&policy->retries);
    fail_policy_unset(&policy->cooldown.allowed_by_cause);
}

static void done_fallbacks(struct router_fallbacks *fallbacks)
{
    for (size_t i = 0; i < fallbacks->n_targets; i++) {
        free(fallbacks->targets[i]);
    }
    free(fallbacks->targets);
    free(fallbacks->group);
}

void router_policy_done(struct router_policy *policy)
{
    for (int kind = 0; kind < _FALLBACK_MAX; kind++) {
        for (size_t i = 0; i < policy->n_fallbacks[kind]; i++) {
            done_fallbacks(&policy->fallbacks[kind][i]);
        }
        free(policy->fallbacks[kind]);
    }
    for (size_t i = 0; i < policy->n_group_retries; i++) {
        free(policy->group_retries[i].group);
    }
    free(policy->group_retries);
    *policy = (struct router_policy) {0};
}

static int copy_fallbacks(struct router_fallbacks *to, const char *group, char *const *targets,
                          size_t n_targets)
{
    to->group = strdup(group);
    to->targets = calloc(n_targets + 1, sizeof *to->targets);
    if (!to->group || !to->targets) {
        return -ENOMEM;
    }
    while (to->n_targets < n_targets) {
        char *copied = strdup(targets[to->n_targets]);

        if (!copied) {
            return -ENOMEM;
        }
        to->targets[to->n_targets++] = copied;
    }
    return 0;
}

int router_policy_add_fallbacks(struct router_policy *policy, enum fallback_kind kind,
                                const char *group, char *const *targets, size_t n_targets)
{
    size_t n = policy->n_fallbacks[kind];
    struct router_fallbacks *grown = realloc(policy->fallbacks[kind], (n + 1) * sizeof *grown);
    int r;

    if (!grown) {
        return -ENOMEM;
    }
    policy->fallbacks[kind] = grown;
    grown[n] = (struct router_fallbacks) {0};
    r = copy_fallbacks(&grown[n], group, targets, n_targets);
    if (r < 0) {
        done_fallbacks(&grown[n]);
        return r;
    }
    policy->n_fallbacks[kind]++;
    return 0;
}

int router_policy_add_retries(struct router_policy *policy, const char *group,
                              const struct fail_policy *retries)
{
    size_t n = policy->n_group_retries;
    struct router_group_retries *grown = realloc(policy->group_retries, (n + 1) * sizeof *grown);

    if (!grown) {
        return -ENOMEM;
    }
    policy->group_retries = grown;
    grown[n] = (struct router_group_retries) {.group = strdup(group), .retries = *retries};
    if (!grown[n].group) {
        return -ENOMEM;
    }
    policy->n_group_retries++;
    return 0;
}

const struct router_fallbacks *router_policy_fallbacks(const struct router_policy *policy,
                                                       enum fallback_kind kind, struct str group)
{
    for (size_t i = 0; i < policy->n_fallbacks[kind]; i++) {
        if (str_is(group, policy->fallbacks[kind][i].group)) {
            return &policy->fallbacks[kind][i];
        }
    }
    return NULL;
}

const struct fail_policy *router_policy_retries(const struct router_policy *policy,
                                                struct str group)
{
    for (size_t i = 0; i < policy->n_group_retries; i++) {
        if (str_is(group, policy->group_retries[i].group)) {
            return &policy->group_retries[i].retries;
        }
    }
    return NULL;
}
