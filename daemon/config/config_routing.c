/*
 * See config_routing.h.
 *
 * Owns nothing: the values belong to struct config. Must not resolve names of groups: a fallback
 * may name one that only a wildcard serves.
 */
#include "config/config_routing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void config_routing_init(struct config_routing *routing)
{
    *routing = (struct config_routing) {
        .strategy = ROUTING_SHUFFLE,
        .max_retries = CONFIG_DEFAULT_RETRIES,
        .allowed_fails = FAIL_POLICY_UNSET,
        .cooldown_usec = CONFIG_DEFAULT_COOLDOWN_USEC,
        .max_fallbacks = ROUTING_MAX_FALLBACKS,
        .tags_match_any = true,
    };
    fail_policy_unset(&routing->retries);
    fail_policy_unset(&routing->allowed_fails_by_cause);
}

int config_names_add(struct config_names *names, const char *text)
{
    char **grown = realloc(names->items, (names->n_items + 1) * sizeof *grown);

    if (!grown) {
        return -ENOMEM;
    }
    names->items = grown;
    names->items[names->n_items] = strdup(text);
    if (!names->items[names->n_items]) {
        return -ENOMEM;
    }
    names->n_items++;
    return 0;
}

bool config_names_has(const struct config_names *names, const char *text)
{
    for (size_t i = 0; i < names->n_items; i++) {
        if (strcmp(names->items[i], text) == 0) {
            return true;
        }
    }
    return false;
}

void config_names_done(struct config_names *names)
{
    for (size_t i = 0; i < names->n_items; i++) {
        free(names->items[i]);
    }
    free(names->items);
    *names = (struct config_names) {0};
}

static void done_fallbacks(struct config_fallback *fallbacks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(fallbacks[i].group);
        config_names_done(&fallbacks[i].targets);
    }
    free(fallbacks);
}

void config_routing_done(struct config_routing *routing)
{
    for (int i = 0; i < _FALLBACK_MAX; i++) {
        done_fallbacks(routing->fallbacks[i], routing->n_fallbacks[i]);
    }
    for (size_t i = 0; i < routing->n_group_policies; i++) {
        free(routing->group_policies[i].group);
    }
    free(routing->group_policies);
    for (size_t i = 0; i < routing->n_aliases; i++) {
        free(routing->aliases[i].name);
        free(routing->aliases[i].group);
    }
    free(routing->aliases);
    config_names_done(&routing->default_fallbacks);
    *routing = (struct config_routing) {0};
}
