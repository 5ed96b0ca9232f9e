/*
 * See config_fallbacks.h.
 *
 * LiteLLM wants each entry of a list to be a map with exactly one key and does not start otherwise
 * (litellm/router.py, validate_fallbacks); what tutorials publish is often a bare list of names,
 * for which there is default_fallbacks. So that mistake is answered with what to write.
 *
 * A name that nothing serves is found by LiteLLM in the moment that the fallback is needed. Here it
 * is an error of the file, at its place; the daemon runs, and the call that needs it fails as in
 * LiteLLM.
 */
#include "config/config_fallbacks.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_provider.h"
#include "config/config_routing.h"
#include "config/config_value.h"

/* ---------------------------------------------------------------- lists */

/* A zeroed entry at the end of a list; NULL: out of memory. */
static struct config_fallback *add_fallback(struct config_reader *r, enum fallback_kind kind,
                                            const char *group)
{
    struct config_routing *routing = &r->config->routing;
    size_t n = routing->n_fallbacks[kind];
    struct config_fallback *grown = realloc(routing->fallbacks[kind], (n + 1) * sizeof *grown);
    char *copy = config_reader_dup(r, group);

    if (grown) {
        routing->fallbacks[kind] = grown;
    }
    if (!grown || !copy) {
        r->is_out_of_memory = true;
        free(copy);
        return NULL;
    }
    grown[n] = (struct config_fallback) {.group = copy};
    routing->n_fallbacks[kind]++;
    return &grown[n];
}

static void read_entry(struct config_reader *r, const struct config_node *entry,
                       enum fallback_kind kind)
{
    const struct config_node *targets = entry->first, *at;
    struct config_fallback *fallback;
    char why[CONFIG_WHY_MAX];

    if (entry->kind == NODE_STRING) {
        config_reader_error(r, entry, false,
                            "expected a map with one key, {MODEL: [MODEL, ...]}, found a string; a "
                            "list of names for every model is default_fallbacks");
        return;
    }
    if (entry->kind != NODE_MAP || entry->n_children != 1) {
        config_reader_error(r, entry, false,
                            "expected a map with one key, {MODEL: [MODEL, ...]}, found %s%s",
                            config_node_kind_name(entry->kind),
                            entry->kind != NODE_MAP ? ""
                            : entry->n_children > 1 ? " with several; each is an entry"
                                                    : " with none");
        return;
    }
    fallback = add_fallback(r, kind, targets->key);
    if (fallback && !config_value_names(r, targets, &fallback->targets, &at, why)) {
        config_reader_error(r, at, false, "%s", why);
    }
}

void config_fallbacks_read(struct config_reader *r, const struct config_node *list,
                           enum fallback_kind kind)
{
    if (list->kind != NODE_LIST) {
        config_reader_error(r, list, false, "expected a list of {MODEL: [MODEL, ...]}, found %s",
                            config_node_kind_name(list->kind));
        return;
    }
    if (list->n_children > CONFIG_MAX_FALLBACKS) {
        config_reader_error(r, list, false, "more than %d entries", CONFIG_MAX_FALLBACKS);
        return;
    }
    config_node_for_each(entry, list)
    {
        read_entry(r, entry, kind);
    }
}

/* ---------------------------------------------------------------- aliases */

static void add_alias(struct config_reader *r, const char *name, const char *group, bool is_hidden)
{
    struct config_routing *routing = &r->config->routing;
    struct config_alias *grown =
        realloc(routing->aliases, (routing->n_aliases + 1) * sizeof *grown);
    struct config_alias alias = {
        .name = config_reader_dup(r, name),
        .group = config_reader_dup(r, group),
        .is_hidden = is_hidden,
    };

    if (grown) {
        routing->aliases = grown;
    }
    if (!grown || !alias.name || !alias.group) {
        r->is_out_of_memory = true;
        free(alias.name);
        free(alias.group);
        return;
    }
    routing->aliases[routing->n_aliases++] = alias;
}

/* The group that an alias stands for: the value, or its model. NULL: reported. */
static const struct config_node *alias_model(struct config_reader *r,
                                             const struct config_node *alias)
{
    const struct config_node *model = config_node_find(alias, "model");

    if (alias->kind == NODE_MAP && !model) {
        config_reader_error(r, alias, false, "expected a name, or {model: NAME, hidden: true}");
        return NULL;
    }
    return alias->kind == NODE_MAP ? model : alias;
}

static void read_alias(struct config_reader *r, const struct config_node *alias)
{
    const struct config_node *model = alias_model(r, alias);
    const struct config_node *hidden = config_node_find(alias, "hidden");
    bool is_hidden = false;
    char why[CONFIG_WHY_MAX];
    const char *group;

    if (!model) {
        return;
    }
    if (!config_value_text(model, &group, why)) {
        config_reader_error(r, model, false, "%s", why);
        return;
    }
    if (!config_reader_is_unset(hidden) && !config_value_flag(hidden, &is_hidden, why)) {
        config_reader_error(r, hidden, false, "%s", why);
    }
    if (alias->key[0] == '\0' || strlen(alias->key) > REQUEST_MODEL_MAX) {
        config_reader_error_at_key(r, alias, false, "expected 1 to %d bytes", REQUEST_MODEL_MAX);
        return;
    }
    if (strcmp(alias->key, group) == 0) { /* said already, and a circle */
        config_reader_error(r, model, false, "the alias is the name that it stands for");
        return;
    }
    add_alias(r, alias->key, group, is_hidden);
}

void config_aliases_read(struct config_reader *r, const struct config_node *map)
{
    if (map->kind != NODE_MAP) {
        config_reader_error(r, map, false, "expected a map of {ALIAS: MODEL}, found %s",
                            config_node_kind_name(map->kind));
        return;
    }
    if (map->n_children > CONFIG_MAX_ALIASES) {
        config_reader_error(r, map, false, "more than %d aliases", CONFIG_MAX_ALIASES);
        return;
    }
    config_node_for_each(alias, map)
    {
        read_alias(r, alias);
    }
}

/* ---------------------------------------------------------------- who is there */

/*
 * Does a name begin with what a pattern with stars stands for? As LiteLLM's pattern router and ours:
 * the end is open. Without a star the names must be the same.
 */
static bool is_match(const char *pattern, const char *name)
{
    const char *star = NULL, *retry = NULL;

    while (*pattern) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = name;
        } else if (*name && *pattern == *name) {
            pattern++;
            name++;
        } else if (star && *retry) {
            pattern = star;
            name = ++retry;
        } else {
            return false;
        }
    }
    return star || *name == '\0';
}

static bool is_there(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_deployments; i++) {
        const struct config_deployment *d = &c->deployments[i];

        if (is_match(d->model_name, name) || (d->id && strcmp(d->id, name) == 0)) {
            return true;
        }
    }
    for (size_t i = 0; i < c->routing.n_aliases; i++) {
        if (strcmp(c->routing.aliases[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* "gpt-4o" is openai/gpt-4o as well (core/router_names.c, with_provider()). */
bool config_fallbacks_is_served(const struct config *c, const char *name)
{
    const struct config_provider *p = config_provider_of_bare(str_from(name));
    char full[REQUEST_MODEL_MAX + 64];

    if (is_there(c, name)) {
        return true;
    }
    if (!p || strlen(name) > REQUEST_MODEL_MAX) {
        return false;
    }
    (void) snprintf(full, sizeof full, "%s/%s", p->prefix, name);
    return is_there(c, full);
}

/* The public name that is nearest, when one is near; else NULL. */
static const char *nearest(const struct config *c, const char *name)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < c->n_deployments; i++) {
        const char *candidate = c->deployments[i].model_name;
        size_t distance = config_keys_distance(name, candidate);

        if (config_keys_are_near(name, candidate) && distance < best_distance) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

void config_fallbacks_expect(struct config_reader *r, const struct config_node *at,
                             const char *name)
{
    const char *near;

    if (at->is_unresolved || config_fallbacks_is_served(r->config, name)) {
        return; /* what is not resolved is reported as that */
    }
    near = nearest(r->config, name);
    config_reader_error(r, at, false, "no model_list entry serves \"%.100s\"%s%s%s",
                        at->variable ? config_node_shown(at) : name,
                        near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static void check_targets(struct config_reader *r, const struct config_node *targets)
{
    if (targets->kind == NODE_STRING) {
        config_fallbacks_expect(r, targets, targets->text);
    }
    config_node_for_each(target, targets)
    {
        if (target->kind == NODE_STRING) {
            config_fallbacks_expect(r, target, target->text);
        }
    }
}

static void check_list(struct config_reader *r, const struct config_node *list)
{
    config_node_for_each(entry, list)
    {
        const struct config_node *targets = entry->first;

        if (entry->kind != NODE_MAP || entry->n_children != 1) {
            continue; /* reported */
        }
        if (strcmp(targets->key, "*") != 0) {
            config_fallbacks_expect(r, entry, targets->key);
        }
        check_targets(r, targets);
    }
}

static void check_aliases(struct config_reader *r, const struct config_node *map)
{
    config_node_for_each(alias, map)
    {
        const struct config_node *model =
            alias->kind == NODE_MAP ? config_node_find(alias, "model") : alias;

        if (model && model->kind == NODE_STRING) {
            config_fallbacks_expect(r, model, model->text);
        }
    }
}

void config_fallbacks_check(struct config_reader *r, const struct config_node *key)
{
    if (strcmp(key->key, "default_fallbacks") == 0) {
        check_targets(r, key);
    } else if (strcmp(key->key, "model_group_alias") == 0 && key->kind == NODE_MAP) {
        check_aliases(r, key);
    } else if (key->kind == NODE_LIST && (strcmp(key->key, "fallbacks") == 0 ||
                                          strcmp(key->key, "context_window_fallbacks") == 0 ||
                                          strcmp(key->key, "content_policy_fallbacks") == 0)) {
        check_list(r, key);
    }
}
