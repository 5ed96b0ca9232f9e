/*
 * The list of deployments: which entries count at all, which make several deployments, and the ids.
 *
 * An id names a deployment in log records, in x-litellm-model-id and across reloads. Where
 * model_info.id does not give one it is MODEL_NAME-XXXXXXXX, the hash of what the deployment is:
 * name, provider, model, base and options, in any order. LiteLLM hashes litellm_params likewise.
 * Keys are left out of the hash, so that a rotated key keeps the id and no record carries a trace
 * of one. Two entries that are the same in all of that become -2, -3 ... in the order of the file.
 *
 * An entry without a usable model_name has nothing that a client could ask for: it is reported and
 * left out.
 */
#include "config/config_model_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config/config_deployment.h"
#include "config/config_rules.h"
#include "config/config_target.h"

/* of the model name in an id; with the hash and a number it stays below 64 */
#define ID_NAME_MAX 48
#define ID_MAX      64

/* ---------------------------------------------------------------- entries */

static size_t count_stars(const char *text)
{
    size_t n = 0;

    for (; *text; text++) {
        n += *text == '*' ? 1 : 0;
    }
    return n;
}

/* The name, when a client could ask for it; else NULL, reported. */
static const char *read_name(struct config_reader *r, const struct config_node *entry)
{
    const struct config_node *name = config_node_find(entry, "model_name");
    size_t n = name && name->text ? strlen(name->text) : 0;

    if (config_reader_is_unset(name)) {
        config_reader_error(r, entry, false, "model_name is missing; the entry is left out");
        return NULL;
    }
    if (name->is_unresolved) {
        config_reader_error(r, name, false, "the environment variable %.64s is not set, or empty",
                            name->variable);
        return NULL;
    }
    if (name->kind != NODE_STRING) {
        config_reader_error(r, name, false, "expected a string, found %s; quote it",
                            config_node_kind_name(name->kind));
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char) name->text[i] < ' ' || name->text[i] == 0x7f) {
            config_reader_error(r, name, false, "a control character in a name");
            return NULL;
        }
    }
    if (n == 0 || n > REQUEST_MODEL_MAX) {
        config_reader_error(r, name, false, "expected 1 to %d bytes", REQUEST_MODEL_MAX);
        return NULL;
    }
    if (count_stars(name->text) > CONFIG_MAX_STARS) {
        config_reader_error(r, name, false, "more than %d stars", CONFIG_MAX_STARS);
        return NULL;
    }
    return name->text;
}

/* A parameter as the entry or all of them have it; credentials are not looked at. */
static const struct config_node *find_param(const struct config_entry *e, const char *name)
{
    const struct config_node *own =
        config_node_find(config_node_find(e->node, "litellm_params"), name);

    return own ? own : config_node_find(e->common, name);
}

/* A zeroed deployment at the end of the list; NULL: out of memory. */
static struct config_deployment *add_deployment(struct config_reader *r, const char *name)
{
    struct config *c = r->config;
    struct config_deployment *grown =
        realloc(c->deployments, (c->n_deployments + 1) * sizeof *grown);
    char *copy = config_reader_dup(r, name);

    if (grown) {
        c->deployments = grown;
    }
    if (!grown || !copy) {
        r->is_out_of_memory = true;
        free(copy);
        return NULL;
    }
    c->deployments[c->n_deployments] = (struct config_deployment) {
        .model_name = copy,
        .max_retries = FAIL_POLICY_UNSET,
        .cooldown_usec = USEC_NEVER,
    };
    return &c->deployments[c->n_deployments++];
}

/* One deployment of an entry, after what is set in e. False: no more, as that is reported. */
static bool read_one(struct config_entry *e, const char *name)
{
    struct config_reader *r = e->reader;

    if (r->config->n_deployments == CONFIG_MAX_DEPLOYMENTS) {
        config_reader_error(r, e->node, true, "more than %d deployments", CONFIG_MAX_DEPLOYMENTS);
        return false;
    }
    e->deployment = add_deployment(r, name);
    if (e->deployment) {
        config_deployment_read(e);
    }
    return e->deployment;
}

/* litellm/router.py (set_model_list): of a list of organizations each is a deployment. */
static bool read_organizations(struct config_entry *e, const char *name)
{
    const struct config_node *list = find_param(e, "organization");
    size_t n = list && list->kind == NODE_LIST ? list->n_children : 1;

    e->i_organization = 0;
    do {
        if (!read_one(e, name)) {
            return false;
        }
    } while (++e->i_organization < n && e->provider &&
             strcmp(e->provider->provider, "openai") == 0);
    return true;
}

/* ---------------------------------------------------------------- all models of all providers */

/*
 * model_name "*" and model "*": the model and its provider are what the client names. LiteLLM takes
 * the provider from the name and its key from the environment. So here, but it is said beforehand,
 * as if the file had one entry for each provider that is at hand, with its prefix before the star. A
 * name without a prefix that is known to be a vendor's (gpt-4o) fits there too
 * (core/router_names.c). Where the entry names an address or a key this is not done: they would go
 * to whatever provider a client thinks of.
 */
static bool is_for_all(const struct config_entry *e, const char *name)
{
    static const char *const particular[] = {"api_base",
                                             "base_url",
                                             "api_key",
                                             "mock_response",
                                             "custom_llm_provider",
                                             "litellm_credential_name"};
    const struct config_node *model = find_param(e, "model");

    for (size_t i = 0; i < ARRAY_LEN(particular); i++) {
        if (!config_reader_is_unset(find_param(e, particular[i])) ||
            (i < 3 && !config_reader_is_unset(config_node_find(e->globals, particular[i])))) {
            return false;
        }
    }
    return strcmp(name, "*") == 0 && model && model->kind == NODE_STRING &&
           strcmp(model->text, "*") == 0;
}

/* Does the file say itself what becomes of that name? It is more particular, and goes before. */
static bool is_in_file(const struct config_reader *r, const char *name)
{
    config_node_for_each(entry, config_node_find(r->root, "model_list"))
    {
        const struct config_node *other = config_node_find(entry, "model_name");

        if (other && other->kind == NODE_STRING && strcmp(other->text, name) == 0) {
            return true;
        }
    }
    return false;
}

static void read_for_all(struct config_entry *e)
{
    char names[CONFIG_TEXT_MAX] = "";
    struct config_reader *r = e->reader;
    size_t n = 0;

    for (const struct config_provider *p = config_provider_next(NULL); p;
         p = config_provider_next(p)) {
        char name[64];

        (void) snprintf(name, sizeof name, "%s/*", p->prefix);
        if (p->text[0] || !config_target_is_at_hand(r, p) || is_in_file(r, name)) {
            continue;
        }
        e->every = p;
        if (!read_organizations(e, name)) {
            return;
        }
        n += (size_t) snprintf(names + n, sizeof names - n, "%s%s", n > 0 ? ", " : "", name);
        n = n < sizeof names ? n : sizeof names - 1;
    }
    config_reader_note(r, find_param(e, "model"), FINDING_APPROXIMATED,
                       "stands for every provider that has its address on this device or its key "
                       "in the environment: %s",
                       names);
}

/* ---------------------------------------------------------------- the list */

static void read_entry(struct config_reader *r, const struct config_node *node)
{
    const struct config_node *router = config_node_find(r->root, "router_settings");
    const struct config_node *common = config_node_find(router, "default_litellm_params");
    struct config_entry e = {
        .reader = r,
        .node = node,
        .common =
            common && common->kind == NODE_MAP && common->n_children <= KV_MAX ? common : NULL,
        .globals = config_node_find(r->root, "litellm_settings"),
    };
    const char *name;

    if (node->kind != NODE_MAP) {
        config_reader_error(r, node, false,
                            "expected a map with model_name and litellm_params, found %s",
                            config_node_kind_name(node->kind));
        return;
    }
    name = read_name(r, node);
    if (!name) {
        return;
    }
    if (is_for_all(&e, name)) {
        read_for_all(&e);
    } else {
        (void) read_organizations(&e, name);
    }
}

void config_model_list_read(struct config_reader *r, const struct config_node *list)
{
    if (!config_reader_is_unset(list) && list->kind != NODE_LIST) {
        config_reader_error(r, list, true, "expected a list, found %s",
                            config_node_kind_name(list->kind));
        return;
    }
    if (list->n_children == 0) {
        config_reader_note(r, list, FINDING_APPROXIMATED,
                           "empty: every call is answered with model_not_found");
    }
    if (list->n_children > CONFIG_MAX_DEPLOYMENTS) {
        config_reader_error(r, list, true, "more than %d deployments", CONFIG_MAX_DEPLOYMENTS);
        return;
    }
    config_node_for_each(entry, list)
    {
        read_entry(r, entry);
    }
}

/* ---------------------------------------------------------------- ids */

/* FNV-1a, continued; the NUL keeps "ab" "c" and "a" "bc" apart. */
static uint64_t hash(uint64_t h, const char *text)
{
    for (const char *p = text ? text : "";; p++) {
        h = (h ^ (unsigned char) *p) * UINT64_C(0x100000001b3);
        if (*p == '\0') {
            return h;
        }
    }
}

/* A sum: their order does not count. */
static uint64_t hash_kv(uint64_t start, const struct kv *kv)
{
    uint64_t h = 0;

    for (size_t i = 0; i < kv->n_items; i++) {
        h += hash(hash(start, kv->items[i].name), kv->items[i].value);
    }
    return h;
}

static uint32_t hash_deployment(const struct config_deployment *d)
{
    const uint64_t start = UINT64_C(0xcbf29ce484222325);
    uint64_t h = hash(hash(hash(hash(start, d->model_name), d->provider), d->model), d->api_base);

    h ^= hash_kv(start, &d->options) + hash_kv(start, &d->body);
    return (uint32_t) (h ^ h >> 32);
}

/* Another deployment that has this id already, or NULL. */
static const struct config_deployment *find_id(const struct config *c, const char *id,
                                               const struct config_deployment *except)
{
    for (size_t i = 0; i < c->n_deployments; i++) {
        const struct config_deployment *d = &c->deployments[i];

        if (d != except && d->id && strcmp(d->id, id) == 0) {
            return d;
        }
    }
    return NULL;
}

static void derive_id(struct config_reader *r, struct config_deployment *d)
{
    char id[ID_MAX];
    size_t n = 0;
    uint32_t h = hash_deployment(d);

    for (const char *p = d->model_name; *p && n < ID_NAME_MAX; p++) {
        bool is_plain = *p > ' ' && *p < 0x7f; /* it is sent as a header */

        id[n++] = is_plain ? *p : '_';
    }
    (void) snprintf(id + n, sizeof id - n, "-%08x", h);
    for (unsigned twin = 2; find_id(r->config, id, d); twin++) {
        (void) snprintf(id + n, sizeof id - n, "-%08x-%u", h, twin);
    }
    d->id = config_reader_dup(r, id);
}

/* The first that is given. */
static uint64_t first_of(uint64_t own, uint64_t common, uint64_t last)
{
    return own > 0 ? own : common > 0 ? common : last;
}

void config_model_list_finish(struct config_reader *r)
{
    const struct config_defaults *defaults = &r->defaults;
    struct config *c = r->config;

    config_rules_finish(c);
    for (size_t i = 0; i < c->n_deployments; i++) {
        struct config_deployment *d = &c->deployments[i];

        if (!d->id) {
            derive_id(r, d);
        }
        d->slots = (unsigned) first_of(d->slots, defaults->slots, c->slots);
        d->connect_usec = c->connect_usec;
        d->total_usec = first_of(d->total_usec, defaults->total_usec, 0);
        d->first_byte_usec =
            first_of(d->first_byte_usec, defaults->first_byte_usec, c->first_byte_usec);
        d->gap_usec = first_of(d->gap_usec, defaults->gap_usec, c->gap_usec);
        d->enforces_rates = defaults->enforces_rates;
    }
}
