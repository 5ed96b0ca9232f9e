/*
 * See config_router.h. A table says which key is read by which function; config_keys.def says of
 * the same keys what they do here.
 *
 * LiteLLM reads most of them in both places and lets router_settings win, so one function reads
 * both sections, litellm_settings first. What LiteLLM would fail to start with (a wrong type) is an
 * error without effect here: the calls still run, by the defaults.
 *
 * Owns nothing; must not look at deployments but in config_router_check().
 */
#include "config/config_router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config/config_fallbacks.h"
#include "config/config_routing.h"
#include "config/config_value.h"
#include "core/attempts.h"

#define MAX_SLOTS 1024 /* as sluice.slots */

/* ---------------------------------------------------------------- single values */

static bool flag(struct config_reader *r, const struct config_node *at, bool *ret)
{
    char why[CONFIG_WHY_MAX];

    if (!config_value_flag(at, ret, why)) {
        config_reader_error(r, at, false, "%s", why);
        return false;
    }
    return true;
}

static bool count(struct config_reader *r, const struct config_node *at, uint64_t least,
                  uint64_t most, uint64_t *ret)
{
    char why[CONFIG_WHY_MAX];

    if (!config_value_count(at, least, most, ret, why)) {
        config_reader_error(r, at, false, "%s", why);
        return false;
    }
    return true;
}

static bool seconds(struct config_reader *r, const struct config_node *at, bool may_be_zero,
                    uint64_t *ret_usec)
{
    char why[CONFIG_WHY_MAX];

    if (!config_value_seconds(at, may_be_zero, ret_usec, why)) {
        config_reader_error(r, at, false, "%s", why);
        return false;
    }
    return true;
}

/* ---------------------------------------------------------------- retries and cooldowns */

static void read_retries(struct config_reader *r, const struct config_node *at)
{
    uint64_t n;

    if (!count(r, at, 0, CONFIG_MAX_RETRIES, &n)) {
        return;
    }
    if (n > ATTEMPTS_MAX_RETRIES) {
        config_reader_note(r, at, FINDING_APPROXIMATED,
                           "at most %d are done, in each level of order", ATTEMPTS_MAX_RETRIES);
    }
    r->config->routing.max_retries = (unsigned) n;
}

static void read_retry_after(struct config_reader *r, const struct config_node *at)
{
    (void) seconds(r, at, true, &r->config->routing.retry_after_usec);
}

static void read_allowed_fails(struct config_reader *r, const struct config_node *at)
{
    uint64_t n;

    if (count(r, at, 0, CONFIG_MAX_ALLOWED_FAILS, &n)) {
        r->config->routing.allowed_fails = (int) n;
    }
}

static void read_cooldown(struct config_reader *r, const struct config_node *at)
{
    uint64_t usec;

    if (!seconds(r, at, true, &usec)) {
        return;
    }
    if (usec == 0) { /* litellm/router.py: cooldown_time or DEFAULT_COOLDOWN_TIME_SECONDS */
        config_reader_note(
            r, at, FINDING_APPROXIMATED,
            "0 is LiteLLM's default of 5 seconds, for it and here; disable_cooldowns "
            "turns cooldowns off");
        usec = CONFIG_DEFAULT_COOLDOWN_USEC;
    }
    r->config->routing.cooldown_usec = usec;
}

static void read_no_cooldowns(struct config_reader *r, const struct config_node *at)
{
    (void) flag(r, at, &r->config->routing.has_no_cooldowns);
}

static void read_max_fallbacks(struct config_reader *r, const struct config_node *at)
{
    uint64_t n;

    if (count(r, at, 0, CONFIG_MAX_NAMES, &n)) {
        r->config->routing.max_fallbacks = (unsigned) n;
    }
}

/* ---------------------------------------------------------------- policies */

/* litellm/types/router.py: RetryPolicy, AllowedFailsPolicy */
static const struct {
    const char *error;
    enum fail_cause cause;
} causes[] = {
    {"AuthenticationError", FAIL_AUTHENTICATION},
    {"TimeoutError", FAIL_TIMEOUT},
    {"RateLimitError", FAIL_RATE_LIMIT},
    {"ContentPolicyViolationError", FAIL_CONTENT_POLICY},
    {"BadRequestError", FAIL_BAD_REQUEST},
    {"NotFoundError", FAIL_NOT_FOUND},
    {"InternalServerError", FAIL_SERVER},
    {"ServiceUnavailableError", FAIL_UNAVAILABLE},
};

/* "TimeoutErrorRetries" of suffix "Retries"; NULL: no such key. */
static int *policy_slot(struct fail_policy *policy, const char *key, const char *suffix)
{
    size_t n = strlen(key), n_suffix = strlen(suffix);

    if (strcmp(key, "DefaultRetries") == 0 && strcmp(suffix, "Retries") == 0) {
        return &policy->otherwise;
    }
    if (n <= n_suffix || strcmp(key + n - n_suffix, suffix) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(causes); i++) {
        if (strlen(causes[i].error) == n - n_suffix &&
            strncmp(causes[i].error, key, n - n_suffix) == 0) {
            return &policy->by_cause[causes[i].cause];
        }
    }
    return NULL;
}

static void unknown_policy_key(struct config_reader *r, const struct config_node *key,
                               const char *suffix)
{
    char name[64];

    for (size_t i = 0; i < ARRAY_LEN(causes); i++) {
        (void) snprintf(name, sizeof name, "%s%s", causes[i].error, suffix);
        if (config_keys_are_near(key->key, name) ||
            config_keys_are_near(key->key, causes[i].error)) {
            config_reader_error_at_key(r, key, false, "unknown key; did you mean \"%s\"?", name);
            return;
        }
    }
    if (strcmp(key->key, "BadGatewayErrorAllowedFails") == 0) {
        config_reader_note(r, key, FINDING_UNSUPPORTED,
                           "a bad gateway counts among InternalServerErrorAllowedFails");
    } else {
        config_reader_error_at_key(r, key, false, "unknown key; they are called %s%s ...",
                                   causes[0].error, suffix);
    }
}

static void read_policy(struct config_reader *r, const struct config_node *map, const char *suffix,
                        uint64_t most, struct fail_policy *policy)
{
    if (map->kind != NODE_MAP) {
        config_reader_error(r, map, false, "expected a map such as {TimeoutError%s: 3}, found %s",
                            suffix, config_node_kind_name(map->kind));
        return;
    }
    config_node_for_each(key, map)
    {
        int *slot = policy_slot(policy, key->key, suffix);
        uint64_t n;

        if (!slot) {
            unknown_policy_key(r, key, suffix);
        } else if (!config_reader_is_unset(key) && count(r, key, 0, most, &n)) {
            *slot = (int) n;
        }
    }
}

static void read_retry_policy(struct config_reader *r, const struct config_node *at)
{
    read_policy(r, at, "Retries", CONFIG_MAX_RETRIES, &r->config->routing.retries);
}

static void read_allowed_fails_policy(struct config_reader *r, const struct config_node *at)
{
    read_policy(r, at, "AllowedFails", CONFIG_MAX_ALLOWED_FAILS,
                &r->config->routing.allowed_fails_by_cause);
}

static void read_group_policy(struct config_reader *r, const struct config_node *group)
{
    struct config_routing *routing = &r->config->routing;
    struct config_group_policy *grown =
        realloc(routing->group_policies, (routing->n_group_policies + 1) * sizeof *grown);
    char *name = config_reader_dup(r, group->key);

    if (grown) {
        routing->group_policies = grown;
    }
    if (!grown || !name) {
        r->is_out_of_memory = true;
        free(name);
        return;
    }

    struct config_group_policy *policy = &grown[routing->n_group_policies++];

    *policy = (struct config_group_policy) {.group = name};
    fail_policy_unset(&policy->retries);
    read_policy(r, group, "Retries", CONFIG_MAX_RETRIES, &policy->retries);
}

static void read_group_policies(struct config_reader *r, const struct config_node *at)
{
    if (at->kind != NODE_MAP) {
        config_reader_error(r, at, false,
                            "expected a map of {MODEL: {TimeoutErrorRetries: 3}}, "
                            "found %s",
                            config_node_kind_name(at->kind));
        return;
    }
    if (at->n_children > CONFIG_MAX_FALLBACKS) {
        config_reader_error(r, at, false, "more than %d policies", CONFIG_MAX_FALLBACKS);
        return;
    }
    config_node_for_each(group, at)
    {
        read_group_policy(r, group);
    }
}

/* ---------------------------------------------------------------- fallbacks and aliases */

static void read_fallbacks(struct config_reader *r, const struct config_node *at)
{
    config_fallbacks_read(r, at, FALLBACK_GENERAL);
}

static void read_context_fallbacks(struct config_reader *r, const struct config_node *at)
{
    config_fallbacks_read(r, at, FALLBACK_CONTEXT);
}

static void read_policy_fallbacks(struct config_reader *r, const struct config_node *at)
{
    config_fallbacks_read(r, at, FALLBACK_CONTENT_POLICY);
}

static void read_default_fallbacks(struct config_reader *r, const struct config_node *at)
{
    const struct config_node *wrong;
    char why[CONFIG_WHY_MAX];

    if (!config_value_names(r, at, &r->config->routing.default_fallbacks, &wrong, why)) {
        config_reader_error(r, wrong, false, "%s", why);
    }
}

/* ---------------------------------------------------------------- who serves */

static void read_strategy(struct config_reader *r, const struct config_node *at)
{
    static const struct {
        const char *name;
        enum routing_strategy strategy;
        enum finding_kind kind; /* of what is said besides */
        const char *text;
    } strategies[] = {
        {"simple-shuffle", ROUTING_SHUFFLE, FINDING_APPROXIMATED,
         "where nothing has a weight, a server that holds the model goes before the others"},
        {"least-busy", ROUTING_LEAST_BUSY, FINDING_APPROXIMATED,
         "by the share of its slots that is in use; LiteLLM counts calls"},
        {"latency-based-routing", ROUTING_LATENCY, FINDING_APPROXIMATED,
         "by the time to the first word, smoothed; LiteLLM takes a mean over its last answers"},
        {"usage-based-routing", ROUTING_SHUFFLE, FINDING_APPROXIMATED,
         "simple-shuffle by weight, rpm or tpm, with rpm and tpm as limits"},
        {"usage-based-routing-v2", ROUTING_SHUFFLE, FINDING_APPROXIMATED,
         "simple-shuffle by weight, rpm or tpm, with rpm and tpm as limits"},
        {"cost-based-routing", ROUTING_SHUFFLE, FINDING_UNSUPPORTED,
         "money is not counted; simple-shuffle serves"},
    };
    const char *name;
    char why[CONFIG_WHY_MAX];

    if (!config_value_text(at, &name, why)) {
        config_reader_error(r, at, false, "%s", why);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(strategies); i++) {
        if (strcmp(strategies[i].name, name) != 0) {
            continue;
        }
        r->config->routing.strategy = strategies[i].strategy;
        r->defaults.enforces_rates |= strncmp(name, "usage", 5) == 0;
        config_reader_note(r, at, strategies[i].kind, "%s", strategies[i].text);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(strategies); i++) {
        if (config_keys_are_near(name, strategies[i].name)) {
            config_reader_error(r, at, false,
                                "not known; did you mean \"%s\"? simple-shuffle serves",
                                strategies[i].name);
            return;
        }
    }
    config_reader_note(r, at, FINDING_UNSUPPORTED,
                       "this strategy is not served; simple-shuffle is in its place");
}

static void read_pre_call_check(struct config_reader *r, const struct config_node *item)
{
    static const struct {
        const char *name;
        enum finding_kind kind;
        const char *text;
    } checks[] = {
        {"enforce_model_rate_limits", FINDING_APPROXIMATED,
         "rpm and tpm are limits, spread over the minute, where LiteLLM counts calendar minutes"},
        {"prompt_caching", FINDING_UNSUPPORTED, "callers are not bound to deployments"},
        {"deployment_affinity", FINDING_UNSUPPORTED, "callers are not bound to deployments"},
        {"session_affinity", FINDING_UNSUPPORTED, "callers are not bound to deployments"},
        {"router_budget_limiting", FINDING_UNSUPPORTED, "money is not counted"},
        {"forward_client_headers_by_model_group", FINDING_UNSUPPORTED,
         "client headers are not forwarded"},
        {"responses_api_deployment_check", FINDING_IGNORED, "the responses API is not served"},
        {"encrypted_content_affinity", FINDING_IGNORED, "the responses API is not served"},
    };
    const char *name;
    char why[CONFIG_WHY_MAX];

    if (!config_value_text(item, &name, why)) {
        config_reader_error(r, item, false, "%s", why);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        if (strcmp(checks[i].name, name) == 0) {
            config_reader_note(r, item, checks[i].kind, "%s", checks[i].text);
            r->defaults.enforces_rates |= i == 0;
            return;
        }
        if (config_keys_are_near(name, checks[i].name)) {
            config_reader_error(r, item, false, "not known; did you mean \"%s\"?", checks[i].name);
            return;
        }
    }
    config_reader_note(r, item, FINDING_UNSUPPORTED, "there is no such check");
}

static void read_pre_call_checks(struct config_reader *r, const struct config_node *at)
{
    if (at->kind == NODE_LIST) {
        config_node_for_each(item, at)
        {
            read_pre_call_check(r, item);
        }
    } else {
        config_reader_error(r, at, false, "expected a list, found %s",
                            config_node_kind_name(at->kind));
    }
}

static void read_tag_filter(struct config_reader *r, const struct config_node *at)
{
    (void) flag(r, at, &r->config->routing.has_tag_filter);
}

static void read_match_any(struct config_reader *r, const struct config_node *at)
{
    (void) flag(r, at, &r->config->routing.tags_match_any);
}

static void read_checks_context(struct config_reader *r, const struct config_node *at)
{
    (void) flag(r, at, &r->config->routing.checks_context);
}

static void read_drops_params(struct config_reader *r, const struct config_node *at)
{
    (void) flag(r, at, &r->config->routing.drops_params);
}

/* ---------------------------------------------------------------- defaults of the deployments */

static void read_total(struct config_reader *r, const struct config_node *at)
{
    (void) seconds(r, at, false, &r->defaults.total_usec);
}

static void read_first_byte(struct config_reader *r, const struct config_node *at)
{
    uint64_t usec;

    if (seconds(r, at, false, &usec) &&
        (r->defaults.first_byte_usec == 0 || usec < r->defaults.first_byte_usec)) {
        r->defaults.first_byte_usec = usec; /* two keys may say it: the shorter holds */
    }
}

static void read_gap(struct config_reader *r, const struct config_node *at)
{
    (void) seconds(r, at, false, &r->defaults.gap_usec);
}

static void read_slots(struct config_reader *r, const struct config_node *at)
{
    uint64_t n;

    if (count(r, at, 1, MAX_SLOTS, &n)) {
        r->defaults.slots = (unsigned) n;
    }
}

/* ---------------------------------------------------------------- the sections */

static const struct {
    const char *name;
    void (*read)(struct config_reader *r, const struct config_node *at);
} keys[] = {
    {"routing_strategy", read_strategy},
    {"num_retries", read_retries},
    {"retry_after", read_retry_after},
    {"retry_policy", read_retry_policy},
    {"model_group_retry_policy", read_group_policies},
    {"allowed_fails", read_allowed_fails},
    {"allowed_fails_policy", read_allowed_fails_policy},
    {"cooldown_time", read_cooldown},
    {"disable_cooldowns", read_no_cooldowns},
    {"fallbacks", read_fallbacks},
    {"context_window_fallbacks", read_context_fallbacks},
    {"content_policy_fallbacks", read_policy_fallbacks},
    {"default_fallbacks", read_default_fallbacks},
    {"max_fallbacks", read_max_fallbacks},
    {"model_group_alias", config_aliases_read},
    {"request_timeout", read_total},
    {"timeout", read_total}, /* after request_timeout: LiteLLM lets it win */
    {"stream_timeout", read_first_byte},
    {"ttft_timeout", read_first_byte},
    {"stream_idle_timeout", read_gap},
    {"default_max_parallel_requests", read_slots},
    {"enable_tag_filtering", read_tag_filter},
    {"tag_filtering_match_any", read_match_any},
    {"enable_pre_call_check", read_checks_context},
    {"enable_pre_call_checks", read_checks_context},
    {"optional_pre_call_checks", read_pre_call_checks},
    {"drop_params", read_drops_params},
};

bool config_router_overrides(const struct config_reader *r, const struct config_node *key)
{
    const struct config_node *router = config_node_find(r->root, "router_settings");

    if (key->parent == router || config_reader_is_unset(config_node_find(router, key->key))) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(keys[i].name, key->key) == 0) {
            return true;
        }
    }
    return false;
}

static void read_section(struct config_reader *r, const char *name, enum config_section which)
{
    const struct config_node *section = config_node_find(r->root, name);

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct config_node *key = config_node_find(section, keys[i].name);

        if (!config_reader_is_unset(key) && config_keys_find(which, keys[i].name) &&
            !config_router_overrides(r, key)) {
            keys[i].read(r, key);
        }
    }
}

void config_router_read(struct config_reader *r)
{
    read_section(r, "litellm_settings", SECTION_LITELLM);
    read_section(r, "router_settings", SECTION_ROUTER);
}

static void check_section(struct config_reader *r, const struct config_node *section)
{
    const struct config_node *policies = config_node_find(section, "model_group_retry_policy");

    if (!section || section->kind != NODE_MAP) {
        return;
    }
    config_node_for_each(key, section)
    {
        if (!config_router_overrides(r, key)) {
            config_fallbacks_check(r, key);
        }
    }
    if (policies && policies->kind == NODE_MAP && !config_router_overrides(r, policies)) {
        config_node_for_each(group, policies)
        {
            config_fallbacks_expect(r, group, group->key);
        }
    }
}

void config_router_check(struct config_reader *r)
{
    check_section(r, config_node_find(r->root, "litellm_settings"));
    check_section(r, config_node_find(r->root, "router_settings"));
}
