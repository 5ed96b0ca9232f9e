/* See plan.h. */
#include "plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "config/config_provider.h"
#include "upstream/provider.h"
#include "upstream/server_address.h"
#include "wire/json.h"

#define FINGERPRINT_MAX 32
#define SMALL_CORES     4 /* of a device on which each of them counts */

/* FNV-1a, 64 bit: equal parameters give an equal fingerprint; it protects nothing. */
static void mix(uint64_t *hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;

    for (size_t i = 0; i < n; i++) {
        *hash = (*hash ^ p[i]) * UINT64_C(0x100000001b3);
    }
    *hash = (*hash ^ 0xff) * UINT64_C(0x100000001b3); /* "ab","c" differs from "a","bc" */
}

static void mix_text(uint64_t *hash, const char *text)
{
    mix(hash, text ? text : "\1", text ? strlen(text) : 1);
}

static void mix_kv(uint64_t *hash, const struct kv *kv)
{
    mix(hash, &kv->n_items, sizeof kv->n_items);
    for (size_t i = 0; i < kv->n_items; i++) {
        mix_text(hash, kv->items[i].name);
        mix_text(hash, kv->items[i].value);
    }
}

/*
 * Does what is sent to it stay on this device, and take its memory? Only what is known to: see
 * base/own_host.h.
 */
static bool is_local(const struct config_deployment *d)
{
    struct server_address address;
    bool answer;

    if (d->is_local_only || strcmp(d->provider, "mock") == 0) {
        return true;
    }
    if (!d->api_base) {
        return strcmp(d->provider, "ollama") == 0; /* its default is localhost */
    }
    if (server_address_init(&address, d->api_base) < 0) {
        return false;
    }
    answer = address.is_local;
    server_address_done(&address);
    return answer;
}

/*
 * All cores of a small device but one: as many threads as there are cores spin at each other's
 * barriers when anything else runs (188 tokens a second became 12 with two threads on two busy
 * cores; one thread keeps 106). 0: Ollama decides.
 */
static long threads_for(const struct config_deployment *d)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return strcmp(d->provider, "ollama") == 0 && is_local(d) && cores > 1 && cores <= SMALL_CORES &&
                   !kv_find(&d->options, "num_thread")
               ? cores - 1
               : 0;
}

/*
 * The options of a deployment with those that nobody wrote there: num_thread, and model_info.ram_mb
 * as ram_mb, which no server is sent.
 */
static int options_of(const struct config *config, const struct config_deployment *d,
                      struct kv *ret)
{
    struct str info = str_from(d->info);
    struct str ram = info.ptr && json_check(info, NULL) == 0 ? json_find(info, "ram_mb") : STR_NONE;
    long threads = config->pins_threads ? threads_for(d) : 0;
    char text[24];
    int r = kv_copy(&d->options, ret);

    if (r == 0 && threads > 0) {
        (void) snprintf(text, sizeof text, "%ld", threads);
        r = kv_set(ret, STR_LIT("num_thread"), str_from(text));
    }
    if (r == 0 && ram.ptr && json_type(ram) == JSON_NUMBER) {
        r = kv_set(ret, STR_LIT("ram_mb"), ram);
    }
    return r;
}

static void fingerprint(const struct config_deployment *d, const struct kv *options,
                        char ret[FINGERPRINT_MAX])
{
    const uint64_t numbers[] = {d->total_usec, d->first_byte_usec, d->gap_usec,  d->connect_usec,
                                d->slots,      d->drops_params,    d->check_usec};
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    mix_text(&hash, d->model_name);
    mix_text(&hash, d->provider);
    mix_text(&hash, d->model);
    mix_text(&hash, d->litellm_model);
    mix_text(&hash, d->is_local_only ? "local only" : NULL);
    mix_text(&hash, d->api_base);
    mix_text(&hash, d->api_key);
    mix_text(&hash, d->off_reason);
    mix(&hash, numbers, sizeof numbers);
    mix_text(&hash, d->ca_file);
    mix_kv(&hash, options);
    mix_kv(&hash, &d->headers);
    mix_kv(&hash, &d->body);
    for (size_t i = 0; i < d->dropped_params.n_items; i++) {
        mix_text(&hash, d->dropped_params.items[i]);
    }
    (void) snprintf(ret, FINGERPRINT_MAX, "%016" PRIx64, hash);
}

static int make_backend(const struct config_deployment *d, const struct kv *options,
                        struct upstreams *up, struct backend **ret)
{
    const struct provider_ops *provider = provider_find(d->provider);
    struct provider_params params = {
        .id = d->id,
        .model = d->model,
        .api_base = d->api_base,
        .api_key = d->api_key,
        .options = options,
        .headers = &d->headers,
        .body = &d->body,
        .ca_file = d->ca_file,
        .drops_params = d->drops_params,
        .dropped_params = d->dropped_params.items,
        .n_dropped_params = d->dropped_params.n_items,
        .connect_usec = d->connect_usec,
        .first_byte_usec = d->first_byte_usec,
        .gap_usec = d->gap_usec,
        .total_usec = d->total_usec,
        .check_usec = d->check_usec,
    };

    return provider ? provider->backend_new(up, &params, ret) : -EINVAL;
}

/* What the file has before the model's name: "ollama_chat/"; to be freed; NULL: out of memory. */
static char *prefix_of(const struct config_deployment *d)
{
    const char *whole = d->litellm_model ? d->litellm_model : "";
    size_t n_whole = strlen(whole), n_model = strlen(d->model);

    if (n_whole < n_model || strcmp(whole + n_whole - n_model, d->model) != 0) {
        return strdup("");
    }
    return strndup(whole, n_whole - n_model);
}

static int make_deployment(const struct config_deployment *d, const struct kv *options,
                           const char *print, struct upstreams *up, struct deployment **ret)
{
    const char *off = d->off_reason;
    struct backend *backend = NULL;
    int r;

    if (!off) {
        r = make_backend(d, options, up, &backend);
        if (r == -EINVAL) {
            off = "its provider refuses the parameters";
            log_printf(LOG_LEVEL_ERROR, "deployment \"%s\" is switched off: %s", d->id, off);
        } else if (r < 0) {
            return r;
        }
    }
    char *api_base = server_address_shown(d->api_base);
    char *prefix = prefix_of(d);
    struct deployment_spec spec = {.id = d->id,
                                   .fingerprint = print,
                                   .provider = d->provider,
                                   .upstream_model = d->model,
                                   .prefix = prefix,
                                   .api_base = api_base,
                                   .is_local = is_local(d),
                                   .off_reason = off,
                                   .slots = d->slots};

    *ret = api_base && prefix ? deployment_new(&spec, backend) : NULL;
    free(api_base);
    free(prefix);
    if (!*ret) {
        if (backend) {
            backend->ops->free(backend);
        }
        return -ENOMEM;
    }
    return 0;
}

/* Ollama's context is the most that a prompt may have, unless it is told to cut. */
static uint64_t max_input_tokens(const struct config_deployment *c)
{
    const char *num_ctx = kv_find(&c->options, "num_ctx");
    const char *truncate = kv_find(&c->options, "truncate");
    bool cuts = truncate && strcmp(truncate, "false") != 0;
    uint64_t n;

    if (c->max_input_tokens > 0 || !num_ctx || cuts || strcmp(c->provider, "ollama") != 0) {
        return c->max_input_tokens;
    }
    return num_parse_u64(str_from(num_ctx), &n) < 0 ? 0 : n;
}

static int plan_terms(struct deployment *d, const struct config_deployment *c)
{
    const struct deployment_terms terms = {
        .order = c->order,
        .weight = c->weight,
        .rpm = c->rpm,
        .tpm = c->tpm,
        .enforces_rates = c->enforces_rates,
        .tags = (const char *const *) c->tags.items,
        .n_tags = c->tags.n_items,
        .is_local_only = c->is_local_only,
        .is_hidden = c->is_hidden,
        .max_retries = c->max_retries,
        .cooldown_usec = c->cooldown_usec,
        .max_input_tokens = max_input_tokens(c),
    };

    return deployment_plan_terms(d, &terms);
}

/* The deployment of an entry: the one that there is already, or a new one. */
static int find_or_make(const struct config *config, const struct config_deployment *c,
                        struct router *router, struct upstreams *up, struct deployment **ret)
{
    CLEANUP(kv_done) struct kv options = {0};
    char print[FINGERPRINT_MAX];
    int r = options_of(config, c, &options);

    if (r < 0) {
        return r;
    }
    fingerprint(c, &options, print);
    *ret = router_find(router, c->id, print);
    return *ret ? 0 : make_deployment(c, &options, print, up, ret);
}

/* An entry, on its terms. */
static int plan_deployment(struct router_plan *plan, const struct config *config,
                           const struct config_deployment *c, struct router *router,
                           struct upstreams *up)
{
    struct deployment *d = NULL;
    int r = find_or_make(config, c, router, up, &d);

    if (r < 0) {
        return r;
    }
    r = plan_terms(d, c);
    if (r == 0) {
        r = router_plan_add(plan, c->model_name, d);
    }
    if (r < 0 && !list_is_linked(&d->link) && !d->is_planned) {
        deployment_free(d);
    }
    return r;
}

static int plan_aliases(struct router_plan *plan, const struct config_routing *routing)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < routing->n_aliases; i++) {
        const struct config_alias *a = &routing->aliases[i];

        r = router_plan_alias(plan, a->name, a->group, a->is_hidden);
    }
    return r;
}

static int plan_fallbacks(struct router_policy *policy, const struct config_routing *routing)
{
    const struct config_names *defaults = &routing->default_fallbacks;
    int r = 0;

    for (int kind = 0; kind < _FALLBACK_MAX; kind++) {
        for (size_t i = 0; r == 0 && i < routing->n_fallbacks[kind]; i++) {
            const struct config_fallback *f = &routing->fallbacks[kind][i];

            r = router_policy_add_fallbacks(policy, (enum fallback_kind) kind, f->group,
                                            f->targets.items, f->targets.n_items);
        }
    }
    if (r == 0 && defaults->n_items > 0) { /* behind a "*" of fallbacks, as LiteLLM has it */
        r = router_policy_add_fallbacks(policy, FALLBACK_GENERAL, ROUTER_ANY_GROUP, defaults->items,
                                        defaults->n_items);
    }
    for (size_t i = 0; r == 0 && i < routing->n_group_policies; i++) {
        r = router_policy_add_retries(policy, routing->group_policies[i].group,
                                      &routing->group_policies[i].retries);
    }
    return r;
}

static int plan_policy(struct router_policy *policy, const struct config_routing *routing)
{
    router_policy_init(policy);
    policy->strategy = routing->strategy;
    policy->has_tag_filter = routing->has_tag_filter;
    policy->tags_match_any = routing->tags_match_any;
    policy->checks_context = routing->checks_context;
    policy->cooldown = (struct cooldown_rules) {
        .cooldown_usec = routing->cooldown_usec,
        .allowed_fails = routing->allowed_fails,
        .allowed_by_cause = routing->allowed_fails_by_cause,
        .is_off = routing->has_no_cooldowns,
    };
    policy->max_retries = routing->max_retries;
    policy->retry_after_usec = routing->retry_after_usec;
    policy->retries = routing->retries;
    policy->max_fallbacks = routing->max_fallbacks;
    return plan_fallbacks(policy, routing);
}

int plan_build(struct router_plan *plan, const struct config *config, struct router *router,
               struct upstreams *up)
{
    int r = plan_policy(&plan->policy, &config->routing);

    plan->policy.spill = config->spill;
    for (size_t i = 0; r == 0 && i < config->n_deployments; i++) {
        r = plan_deployment(plan, config, &config->deployments[i], router, up);
    }
    return r < 0 ? r : plan_aliases(plan, &config->routing);
}

int plan_units(const struct config *config, struct server_guards *guards)
{
    struct server_unit units[CONFIG_MAX_DEPLOYMENTS];
    char *shown[CONFIG_MAX_DEPLOYMENTS];
    size_t n = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < config->n_deployments; i++) {
        const struct config_deployment *d = &config->deployments[i];

        if (!d->restart_unit) {
            continue;
        }
        shown[n] = server_address_shown(d->api_base); /* as the deployment has it */
        r = shown[n] ? 0 : -ENOMEM;
        units[n] = (struct server_unit) {.api_base = shown[n], .unit = d->restart_unit};
        n++;
    }
    if (r == 0) {
        r = server_guards_set_units(guards, units, n);
    }
    while (n > 0) {
        free(shown[--n]);
    }
    return r;
}

const char *plan_provider_of(struct str name)
{
    const struct config_provider *provider = config_provider_of_bare(name);

    return provider ? provider->prefix : NULL;
}
