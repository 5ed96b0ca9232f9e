/*
 * One entry of model_list. What each key of litellm_params means is said by its row in
 * config_keys.def; here is what a row's USE does.
 *
 * Parameters that LiteLLM does not know are passed to the model server as defaults, as LiteLLM
 * does: a new sampling knob of vLLM needs no release of ours. That makes a typing error look like a
 * parameter, which is harmless for "temprature" and is not for "api_bse": the calls would go to the
 * provider's default address. So a near miss of a key of the target switches the deployment off,
 * and so does such a key that stands one level too high, beside litellm_params.
 *
 * An error in an entry never stops the others (LiteLLM's ignore_invalid_deployments), but it is an
 * error: the deployment is off, says why, and answers nobody.
 */
#include "config/config_deployment.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/config_credential.h"
#include "config/config_headers.h"
#include "config/config_info.h"
#include "config/config_options.h"
#include "config/config_rules.h"
#include "config/config_target.h"
#include "config/config_value.h"

#define MAX_SLOTS 1024 /* as sluice.slots */

const struct config_node *config_deployment_param(const struct config_entry *e, const char *name)
{
    const struct config_node *param = config_node_find(e->params, name);

    if (!param) {
        param = config_node_find(e->common, name);
    }
    if (!param) {
        param = config_node_find(e->credential, name);
    }
    if (!param && (strcmp(name, "api_base") == 0 || strcmp(name, "api_key") == 0)) {
        param = config_node_find(e->globals, name);
    }
    return param;
}

void config_deployment_switch_off(struct config_entry *e, const char *reason)
{
    if (!e->deployment->off_reason) {
        e->deployment->off_reason = config_reader_dup(e->reader, reason);
    }
}

void config_deployment_off(struct config_entry *e, const struct config_node *at, const char *fmt,
                           ...)
{
    char text[CONFIG_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    config_reader_error(e->reader, at, false, "%s", text);
    config_deployment_switch_off(e, text);
}

void config_deployment_off_at_key(struct config_entry *e, const struct config_node *at,
                                  const char *fmt, ...)
{
    char text[CONFIG_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    config_reader_error_at_key(e->reader, at, false, "%s", text);
    config_deployment_switch_off(e, text);
}

static bool is_one_of(const char *name, const char *const *names, size_t n_names)
{
    for (size_t i = 0; i < n_names; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- times and slots */

static void read_seconds(struct config_entry *e, const struct config_node *value,
                         uint64_t *usec_to_set)
{
    char why[CONFIG_WHY_MAX];
    uint64_t usec;

    if (!config_value_seconds(value, false, &usec, why)) {
        config_deployment_off(e, value, "%s", why);
    } else if (*usec_to_set == 0 || usec < *usec_to_set) {
        *usec_to_set = usec; /* two keys may say it: the shorter holds */
    }
}

static void read_slots(struct config_entry *e, const struct config_node *value)
{
    char why[CONFIG_WHY_MAX];
    uint64_t n;

    if (config_value_count(value, 1, MAX_SLOTS, &n, why)) {
        e->deployment->slots = (unsigned) n;
    } else {
        config_deployment_off(e, value, "%s", why);
    }
}

/* ---------------------------------------------------------------- litellm_params */

/*
 * The key of the target that a name may have been meant as, or NULL. "mode" beside "model" was not.
 */
static const char *near_target(const struct config_entry *e, const char *name)
{
    static const char *const target_keys[] = {"api_base", "base_url", "api_key", "model",
                                              "custom_llm_provider"};
    /* "openai_api_base", "endpoint", "ollama_host": no slip of a finger, but as clear */
    static const char *const base_words[] = {"api_base", "url", "endpoint", "host"};
    static const char *const key_words[] = {"api_key", "apikey", "secret", "password"};

    for (size_t i = 0; i < ARRAY_LEN(target_keys); i++) {
        if (config_keys_are_near(name, target_keys[i]) &&
            (strcmp(target_keys[i], "model") != 0 || !config_node_find(e->params, "model"))) {
            return target_keys[i];
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(base_words); i++) {
        if (strcasestr(name, base_words[i])) {
            return "api_base";
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(key_words); i++) {
        if (strcasestr(name, key_words[i])) {
            return "api_key";
        }
    }
    return NULL;
}

static void read_unknown(struct config_entry *e, const struct config_node *param)
{
    const char *target = near_target(e, param->key);
    const char *near = config_keys_suggest(SECTION_PARAMS, param->key);

    if (target) {
        config_deployment_off_at_key(
            e, param,
            "did you mean \"%s\"? Nothing is sent before that is clear, as it "
            "could go to the wrong server; a parameter of the model server goes "
            "into extra_body",
            target);
        return;
    }
    config_reader_note(e->reader, param, FINDING_APPROXIMATED,
                       "not known; passed to the model server as a default parameter%s%s%s",
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    if (!config_reader_is_unset(param)) {
        config_option_set(e, param);
    }
}

static void use_param(struct config_entry *e, const struct config_key *row,
                      const struct config_node *param)
{
    struct config_deployment *d = e->deployment;

    switch (row->use) {
    case USE_REPORT:
    case USE_TARGET:
        return;
    case USE_OFF:
        if (!config_reader_is_off(param)) {
            config_deployment_off_at_key(e, param, "%s", row->text);
        }
        return;
    case USE_TOTAL:
        read_seconds(e, param, &d->total_usec);
        return;
    case USE_FIRST_BYTE:
        read_seconds(e, param, &d->first_byte_usec);
        return;
    case USE_GAP:
        read_seconds(e, param, &d->gap_usec);
        return;
    case USE_SLOTS:
        read_slots(e, param);
        return;
    case USE_NUMBER:
        config_option_read_number(e, param, false);
        return;
    case USE_INTEGER:
    case USE_OLLAMA_INTEGER:
        config_option_read_number(e, param, true);
        return;
    case USE_STOP:
        config_option_read_stop(e, param);
        return;
    case USE_ANY:
    case USE_OLLAMA_ANY:
        config_option_set(e, param);
        return;
    case USE_BODY:
        config_option_read_body(e, param);
        return;
    case USE_ORDER:
    case USE_WEIGHT:
    case USE_RPM:
    case USE_TPM:
    case USE_TAGS:
    case USE_RETRIES:
    case USE_COOLDOWN:
    case USE_DROP:
    case USE_DROPPED:
        config_rules_read(e, row, param);
        return;
    case USE_HEADERS:
        config_headers_read(e, param);
        return;
    case USE_ORGANIZATION:
        config_headers_read_organization(e, param);
        return;
    case USE_CA:
        config_headers_read_ca(e, param);
        return;
    }
}

static void read_param(struct config_entry *e, const struct config_node *param)
{
    const struct config_key *row = config_keys_find(SECTION_PARAMS, param->key);
    bool is_ollamas = row && (row->use == USE_OLLAMA_INTEGER || row->use == USE_OLLAMA_ANY);

    if (!row) {
        read_unknown(e, param);
        return;
    }
    if (is_ollamas && e->provider && strcmp(e->provider->provider, "ollama") != 0) {
        config_reader_note(e->reader, param, FINDING_UNSUPPORTED,
                           "a parameter of Ollama's, not sent to other servers");
        return;
    }
    if (row->use != USE_OFF || config_reader_is_off(param)) {
        (void) config_reader_report(e->reader, SECTION_PARAMS, param);
    }
    if (!config_reader_is_unset(param) && !param->is_unresolved) {
        use_param(e, row, param);
    }
}

/* Those of a map that others share (NULL: none), where nothing more particular has them. */
static void read_shared(struct config_entry *e, const struct config_node *map,
                        const struct config_node *except)
{
    if (!map) {
        return;
    }
    config_node_for_each(param, map)
    {
        if (param != except && config_deployment_param(e, param->key) == param) {
            read_param(e, param);
        }
    }
}

static void read_params(struct config_entry *e)
{
    const struct config_node *extra = config_deployment_param(e, "extra_body");
    const struct config_node *ca = config_node_find(e->globals, "ssl_verify");

    config_node_for_each(param, e->params)
    {
        if (param != extra) {
            read_param(e, param);
        }
    }
    read_shared(e, e->common, extra);
    read_shared(e, e->credential, extra);
    if (extra) {
        read_param(e, extra); /* last, as it does not replace what is said by name */
    }
    if (!config_reader_is_unset(ca) &&
        config_reader_is_unset(config_deployment_param(e, "ssl_verify"))) {
        config_headers_read_ca(e, ca);
    }
    config_rules_inherit(e);
}

/*
 * A call must not go out with half of its parameters, nor to where the other half would have sent
 * it.
 */
static void refuse_unresolved(struct config_entry *e)
{
    static const char *const of_target[] = {"api_base", "base_url", "api_key"};
    const struct config_node *maps[] = {e->params, e->common, e->credential, e->globals};
    bool is_mocked = !config_reader_is_unset(config_deployment_param(e, "mock_response"));

    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        if (!maps[i]) {
            continue;
        }
        config_node_for_each(param, maps[i])
        {
            bool is_of_target = is_one_of(param->key, of_target, ARRAY_LEN(of_target));
            bool is_used = config_deployment_param(e, param->key) == param;
            const struct config_node *found = is_used ? config_node_find_unresolved(param) : NULL;

            if (found && !(is_mocked && is_of_target)) { /* a mocked answer needs no server */
                config_deployment_off(e, found,
                                      "the environment variable %.64s is not set, or empty",
                                      found->variable);
            }
        }
    }
}

/* The named credential; LiteLLM would go on without one that is not there. */
static void find_credential(struct config_entry *e)
{
    const struct config_node *name = config_deployment_param(e, "litellm_credential_name");
    char why[CONFIG_WHY_MAX];
    const char *text;

    if (config_reader_is_unset(name) || name->is_unresolved) {
        return; /* an unset variable is reported with the others */
    }
    if (!config_value_text(name, &text, why)) {
        config_deployment_off(e, name, "%s", why);
        return;
    }
    e->credential = config_credential_find(e->reader, text);
    if (!e->credential) {
        config_deployment_off(e, name, "credential_list has no usable credential of this name");
    }
}

/* ---------------------------------------------------------------- the entry itself */

/* A key beside litellm_params: known there, meant for inside, or unknown. */
static void read_entry_key(struct config_entry *e, const struct config_node *key)
{
    const struct config_key *inside = config_keys_find(SECTION_PARAMS, key->key);

    if (config_keys_find(SECTION_ENTRY, key->key) || !inside) {
        (void) config_reader_report(e->reader, SECTION_ENTRY, key);
    } else if (inside->use == USE_TARGET) {
        config_deployment_off_at_key(e, key,
                                     "belongs under litellm_params; nothing is sent before that is "
                                     "clear, as it could go to the wrong server");
    } else {
        config_reader_note(e->reader, key, FINDING_UNSUPPORTED, "belongs under litellm_params");
    }
}

/* Strings that others rely on: never NULL in a finished configuration. */
static void fill_gaps(struct config_entry *e)
{
    struct config_deployment *d = e->deployment;

    if (!d->provider) {
        d->provider = config_reader_dup(e->reader, "none");
    }
    if (!d->model) {
        d->model = config_reader_dup(e->reader, "");
    }
}

void config_deployment_read(struct config_entry *e)
{
    const struct config_node *params = config_node_find(e->node, "litellm_params");

    config_node_for_each(key, e->node)
    {
        read_entry_key(e, key);
    }
    if (!params) {
        config_deployment_off(e, e->node, "litellm_params is missing");
    } else if (params->kind != NODE_MAP) {
        config_deployment_off(e, params, "expected a map, found %s",
                              config_node_kind_name(params->kind));
    } else {
        e->params = params;
        find_credential(e);
        refuse_unresolved(e);
        config_target_read(e);
        read_params(e);
    }
    config_info_read(e, config_node_find(e->node, "model_info"));
    fill_gaps(e);
}
