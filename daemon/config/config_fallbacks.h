#pragma once
/* Where calls go when their own group fails, and other names for groups. */
#include "config/config_reader.h"

/* fallbacks, context_window_fallbacks, content_policy_fallbacks: [{group: [group, ...]}, ...] */
void config_fallbacks_read(struct config_reader *r, const struct config_node *list,
                           enum fallback_kind kind);

/* model_group_alias: {alias: group} or {alias: {model: group, hidden: true}} */
void config_aliases_read(struct config_reader *r, const struct config_node *map);

/*
 * Whether a name is served: by a group, a wildcard, an alias or a deployment's id. When the
 * deployments and the aliases are known.
 */
bool config_fallbacks_is_served(const struct config *c, const char *name);

/* Reports a name that nothing serves, with the one that was probably meant. */
void config_fallbacks_expect(struct config_reader *r, const struct config_node *at,
                             const char *name);

/*
 * Reports what the value of a key names and nothing serves: of a list of fallbacks, of
 * default_fallbacks, of model_group_alias. Any other key: nothing.
 */
void config_fallbacks_check(struct config_reader *r, const struct config_node *key);
