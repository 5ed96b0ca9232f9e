/*
 * The file as a whole: YAML to nodes, variables, then section by section in the order of the file.
 *
 *   config_yaml.c         text to nodes
 *   config_node.c         nodes
 *   config_include.c      further files
 *   config_reader.c       findings, variables
 *   config_keys.*         the table of LiteLLM's keys
 *   config_model_list.c   the list, ids
 *   config_deployment.c   one entry
 *   config_options.c      its default parameters
 *   config_rules.c        which calls it serves, and after what
 *   config_headers.c      its headers, and whom TLS trusts
 *   config_info.c         its model_info
 *   config_target.c       its provider, model, api_base, api_key
 *   config_credential.c   credential_list
 *   config_provider.c     the table of prefixes
 *   config_limits.c       the limits of general_settings
 *   config_health.c       its background health checks
 *   config_router.c       router_settings, and the same keys under litellm_settings
 *   config_fallbacks.c    its fallbacks and aliases
 *   config_sluice.c       the sluice: key
 *   config_access.c       the keys of clients
 *
 * A configuration is refused as a whole (a fatal finding) for what would make it something else
 * than it says: text that is not YAML, no model_list, a limit of ours that cannot be read, an
 * access rule of LiteLLM's that is not kept here, a master key that is not there, a door to the
 * network without a key. Everything else switches off one deployment or is only reported.
 *
 * The nodes are overwritten and freed before config_parse() returns: what the configuration keeps
 * are copies.
 */
#include "config/config.h"

#include <errno.h>
#include <string.h>

#include "config/config_access.h"
#include "config/config_credential.h"
#include "config/config_health.h"
#include "config/config_include.h"
#include "config/config_limits.h"
#include "config/config_model_list.h"
#include "config/config_router.h"
#include "config/config_sluice.h"
#include "config/config_upstreams.h"
#include "config/config_yaml.h"
#include "listen.h"

#define MASTER_KEY_MAX_BYTES 4096 /* as of model servers; a request head has 16 KiB */

/* ---------------------------------------------------------------- sections */

/* A master key in the wrong place, or misspelt, is none: the door would stand open. */
static void refuse_stray_master_key(struct config_reader *r, const struct config_node *map)
{
    config_node_for_each(key, map)
    {
        if (config_keys_are_near(key->key, "master_key")) {
            config_reader_error_at_key(
                r, key, true,
                "did you mean general_settings.master_key? Without one anybody "
                "could call");
        }
    }
}

/* Every key of a section by its row of the table. False: not a map. */
static bool report_section(struct config_reader *r, const struct config_node *section,
                           enum config_section which)
{
    if (config_reader_is_unset(section)) {
        return true;
    }
    if (section->kind != NODE_MAP) {
        config_reader_error(r, section, true, "expected a map, found %s",
                            config_node_kind_name(section->kind));
        return false;
    }
    config_node_for_each(key, section)
    {
        if (which == SECTION_LITELLM && config_router_overrides(r, key)) {
            config_reader_note(r, key, FINDING_IGNORED, "router_settings has it as well, and wins");
        } else {
            (void) config_reader_report(r, which, key);
        }
    }
    if (which != SECTION_GENERAL) {
        refuse_stray_master_key(r, section);
    }
    return true;
}

static void read_router(struct config_reader *r, const struct config_node *section)
{
    const struct config_node *common = config_node_find(section, "default_litellm_params");

    if (!report_section(r, section, SECTION_ROUTER) || config_reader_is_unset(common)) {
        return;
    }
    if (common->kind != NODE_MAP) {
        config_reader_error(r, common, true, "expected a map, found %s",
                            config_node_kind_name(common->kind));
    } else if (common->n_children > KV_MAX) { /* each deployment reads them all */
        config_reader_error(r, common, true, "more than %d parameters", KV_MAX);
    }
}

static void read_litellm(struct config_reader *r, const struct config_node *section)
{
    (void) report_section(r, section, SECTION_LITELLM);
}

/*
 * May a text be sent in a header as it is? A master key that no client could send would lock
 * everybody out.
 */
static bool is_key(const char *text)
{
    const char *p = text;

    for (; *p; p++) {
        if (*p <= ' ' || *p >= 0x7f) {
            return false;
        }
    }
    return p > text && p - text <= MASTER_KEY_MAX_BYTES;
}

static void read_master_key(struct config_reader *r, const struct config_node *key)
{
    if (key->is_unresolved) {
        config_reader_error(
            r, key, true,
            "the environment variable %.64s is not set, or empty; without it anybody "
            "could call",
            key->variable);
    } else if (key->kind != NODE_STRING) {
        config_reader_error(
            r, key, true, "expected a string, found %s; %s", config_node_kind_name(key->kind),
            key->kind == NODE_NULL ? "without the line any key will do" : "quote it");
    } else if (!is_key(key->text)) {
        config_reader_error(r, key, true,
                            "expected ASCII characters without blanks, at least one and at most %d",
                            MASTER_KEY_MAX_BYTES);
    } else {
        r->config->master_key = config_reader_dup(r, key->text);
    }
}

static void read_general(struct config_reader *r, const struct config_node *section)
{
    const struct config_node *master_key = config_node_find(section, "master_key");

    if (!report_section(r, section, SECTION_GENERAL) || config_reader_is_unset(section)) {
        return;
    }
    if (master_key) {
        read_master_key(r, master_key);
    } else {
        refuse_stray_master_key(r, section);
    }
}

static void read_environment(struct config_reader *r, const struct config_node *section)
{
    if (config_reader_is_unset(section)) {
        return;
    }
    if (section->kind != NODE_MAP) {
        config_reader_error(r, section, true, "expected a map, found %s",
                            config_node_kind_name(section->kind));
        return;
    }
    config_node_for_each(variable, section)
    {
        if (variable->kind == NODE_MAP || variable->kind == NODE_LIST) {
            config_reader_error(r, variable, true, "expected a string, found %s",
                                config_node_kind_name(variable->kind));
        } else if (variable->is_unresolved) {
            config_reader_note(r, variable, FINDING_UNSUPPORTED,
                               "the environment variable %.64s is not set, or empty",
                               variable->variable);
        }
    }
}

struct section {
    const char *name;
    void (*read)(struct config_reader *r, const struct config_node *section);
};

static const struct section sections[] = {
    {"model_list", config_model_list_read},
    {"general_settings", read_general},
    {"router_settings", read_router},
    {"litellm_settings", read_litellm},
    {"environment_variables", read_environment},
    {"credential_list", config_credential_read},
    {"sluice", config_sluice_read},
};

/* ---------------------------------------------------------------- the file */

static void read_sections(struct config_reader *r)
{
    config_node_for_each(node, r->root)
    {
        (void) config_reader_report(r, SECTION_ROOT, node);
        for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
            if (strcmp(sections[i].name, node->key) == 0) {
                sections[i].read(r, node);
            }
        }
    }
}

/* LiteLLM's own fallback: a file that relied on it would otherwise open the door. */
static void take_master_key_variable(struct config_reader *r)
{
    const struct config_node *general = config_node_find(r->root, "general_settings");
    const char *value;

    if (r->config->master_key || config_node_find(general, "master_key")) {
        return;
    }
    value = config_reader_variable(r, CONFIG_MASTER_KEY_VARIABLE);
    if (!value) {
        return;
    }
    if (!is_key(value)) {
        config_reader_error(r, NULL, true,
                            CONFIG_MASTER_KEY_VARIABLE " is set and no usable key: expected "
                                                       "ASCII characters without blanks");
        return;
    }
    config_reader_note(r, NULL, FINDING_EXACT,
                       "the master key is that of " CONFIG_MASTER_KEY_VARIABLE);
    r->config->master_key = config_reader_dup(r, value);
}

/* What only the whole file shows. */
static void check_whole(struct config_reader *r)
{
    const struct config_node *listens =
        config_node_find(config_node_find(r->root, "sluice"), "listen");

    take_master_key_variable(r);
    config_access_finish(r);
    refuse_stray_master_key(r, r->root);
    if (!config_node_find(r->root, "model_list")) {
        config_reader_error(r, NULL, true, "model_list is missing: there is nothing to serve");
    }
    if (r->config->master_key || r->config->n_keys > 0 || !listens || listens->kind != NODE_LIST) {
        return;
    }
    config_node_for_each(item, listens)
    {
        struct str name, address;

        if (item->kind == NODE_STRING &&
            !config_split_listen(str_from(item->text), &name, &address) &&
            listen_is_remote(address.ptr)) { /* to the end of the text */
            config_reader_error(r, item, true,
                                "others can reach this address: set general_settings.master_key or "
                                "sluice.keys, or listen on 127.0.0.1");
        }
    }
}

static void report_credential(void *ctx, const char *name, const char *why)
{
    /* without its keys sluiced would run open; any other is missed by who needs it */
    bool is_fatal =
        strcmp(name, CONFIG_MASTER_KEY_VARIABLE) == 0 || strcmp(name, CONFIG_KEYS_CREDENTIAL) == 0;

    config_reader_error(ctx, NULL, is_fatal, "the credential %.64s cannot be used: %s", name, why);
}

static int read_text(struct config *c, struct str text, const char *path, struct arena *a)
{
    CLEANUP(credentials_done) struct credentials credentials = {0};
    struct config_reader reader = {.config = c, .arena = a, .credentials = &credentials};
    struct config_yaml_error err;
    struct config_node *root = NULL;
    int r;

    r = config_yaml_parse(text, a, &root, &err);
    if (r == -EBADMSG) {
        return config_add_finding(c, FINDING_ERROR, true,
                                  (struct finding_place) {.line = err.line, .column = err.column},
                                  "", err.text);
    }
    if (r < 0) {
        return r;
    }
    if (!root || root->kind != NODE_MAP) {
        config_reader_error(&reader, root, true, "expected a map with model_list in it, found %s",
                            root ? config_node_kind_name(root->kind) : "an empty file");
    } else {
        reader.root = root;
        r = config_include_read(&reader, root, path, text.len);
    }
    if (r == 0 && reader.root) {
        config_reader_resolve_variables(&reader, root);
        read_sections(&reader);
        config_limits_read(&reader);
        config_router_read(&reader);
        check_whole(&reader);
        config_model_list_finish(&reader);
        config_health_read(&reader);
        config_upstreams_finish(&reader);
        config_router_check(&reader);
        credentials_for_each_unusable(&credentials, report_credential, &reader);
        config_sort_findings(c);
    }
    config_node_wipe(root);
    return r < 0 || reader.is_out_of_memory || credentials.is_out_of_memory ? -ENOMEM : 0;
}

int config_parse_file(struct str text, const char *path, struct config **ret)
{
    CLEANUP(arena_done) struct arena a;
    struct config *c = config_new();
    int r;

    arena_init(&a, CONFIG_YAML_ARENA_BYTES);
    if (!c) {
        return -ENOMEM;
    }
    r = read_text(c, text, path, &a);
    if (r < 0) {
        config_free(c);
        return r;
    }
    *ret = c;
    return config_is_fatal(c) ? -EBADMSG : 0;
}

int config_parse(struct str text, struct config **ret)
{
    return config_parse_file(text, NULL, ret);
}
