/*
 * See config_info.h.
 *
 * The map as a whole is told to clients on /model/info, so all of it is kept as JSON, whatever it
 * holds: LiteLLM takes any key here. A few of them mean something besides.
 *
 * Owns nothing; must not look at litellm_params.
 */
#include "config/config_info.h"

#include <errno.h>
#include <string.h>

#include "config/config_health.h"
#include "config/config_value.h"

#define MAX_ID_BYTES 63 /* what a call keeps of it (core/call.h: deployment_id) */
#define MAX_TOKENS   (UINT64_C(1) << 40)

#define ENVIRONMENT_VARIABLE "LITELLM_ENVIRONMENT"

/* Where an earlier entry has the same id, or NULL. */
static const struct config_node *find_twin(const struct config_entry *e,
                                           const struct config_node *id)
{
    for (const struct config_node *entry = e->node->parent->first; entry != e->node;
         entry = entry->next) {
        const struct config_node *other =
            config_node_find(config_node_find(entry, "model_info"), "id");

        if (other && other->text && strcmp(other->text, id->text) == 0) {
            return other;
        }
    }
    return NULL;
}

static void read_id(struct config_entry *e, const struct config_node *id)
{
    const struct config_node *twin;
    size_t n = id->text ? strlen(id->text) : 0;

    if (id->kind != NODE_STRING && id->kind != NODE_INTEGER) {
        config_deployment_off(e, id, "expected a string, found %s",
                              config_node_kind_name(id->kind));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (id->text[i] <= ' ' || id->text[i] >= 0x7f) { /* it is sent as a header */
            n = 0;
        }
    }
    if (n == 0 || n > MAX_ID_BYTES) {
        config_deployment_off(e, id, "expected 1 to %d ASCII characters without blanks",
                              MAX_ID_BYTES);
        return;
    }
    twin = find_twin(e, id);
    if (twin) { /* an id that two have names neither */
        config_deployment_off(e, id, "this id is taken already, on line %u%s", twin->line,
                              twin->file == id->file ? "" : " of another file");
        return;
    }
    e->deployment->id = config_reader_dup(e->reader, id->text);
}

/* A flag that is there and can be read; else as it was. */
static void read_flag(struct config_entry *e, const struct config_node *at, bool *ret)
{
    char why[CONFIG_WHY_MAX];

    if (!config_reader_is_unset(at) && !config_value_flag(at, ret, why)) {
        config_deployment_off(e, at, "%s", why);
    }
}

static void read_max_input_tokens(struct config_entry *e, const struct config_node *at)
{
    char why[CONFIG_WHY_MAX];

    if (!config_reader_is_unset(at) &&
        !config_value_count(at, 1, MAX_TOKENS, &e->deployment->max_input_tokens, why)) {
        config_deployment_off(e, at, "%s", why);
    }
}

/*
 * litellm/router.py (deployment_is_active_for_environment): such a deployment is only there where
 * LITELLM_ENVIRONMENT has one of the names, and wrong where it has none.
 */
static void read_environments(struct config_entry *e, const struct config_node *at)
{
    const char *here = config_reader_variable(e->reader, ENVIRONMENT_VARIABLE);

    if (config_reader_is_unset(at)) {
        return;
    }
    if (at->kind != NODE_LIST) {
        config_deployment_off(e, at, "expected a list, found %s", config_node_kind_name(at->kind));
        return;
    }
    if (!here) {
        config_deployment_off(e, at,
                              "the variable " ENVIRONMENT_VARIABLE " says where this is, and "
                              "is not set");
        return;
    }
    config_node_for_each(name, at)
    {
        if (name->text && strcmp(name->text, here) == 0) {
            return;
        }
    }
    config_deployment_switch_off(
        e, "model_info.supported_environments does not have the value of " ENVIRONMENT_VARIABLE);
}

/* All of it, as JSON. */
static void keep(struct config_entry *e, const struct config_node *info)
{
    CLEANUP(buf_done) struct buf json;
    int r;

    buf_init(&json, CONFIG_MAX_INFO_BYTES + 1);
    r = config_node_write_json(info, &json);
    r = r < 0 ? r : buf_append_char(&json, '\0');
    if (r == -ENOBUFS) {
        config_deployment_off(e, info, "more than %d bytes", CONFIG_MAX_INFO_BYTES);
    } else if (r < 0) {
        e->reader->is_out_of_memory = true;
    } else {
        e->deployment->info = config_reader_dup(e->reader, buf_ptr(&json));
    }
}

static void report(struct config_entry *e, const struct config_node *member)
{
    const struct config_node *unresolved = config_node_find_unresolved(member);

    if (config_keys_find(SECTION_INFO, member->key) ||
        config_keys_suggest(SECTION_INFO, member->key)) {
        (void) config_reader_report(e->reader, SECTION_INFO, member);
    } else {
        config_reader_note(e->reader, member, FINDING_IGNORED,
                           "not known; told on /model/info, and nothing else");
    }
    if (unresolved) {
        config_deployment_off(e, unresolved, "the environment variable %.64s is not set, or empty",
                              unresolved->variable);
    }
}

void config_info_read(struct config_entry *e, const struct config_node *info)
{
    const struct config_node *id = config_node_find(info, "id");
    bool is_blocked = false, is_discoverable = true;

    config_health_read_info(e, info);
    if (config_reader_is_unset(info)) {
        return;
    }
    if (info->kind != NODE_MAP) {
        config_deployment_off(e, info, "expected a map, found %s",
                              config_node_kind_name(info->kind));
        return;
    }
    config_node_for_each(member, info)
    {
        report(e, member);
    }
    if (!config_reader_is_unset(id) && e->every) {
        config_reader_note(e->reader, id, FINDING_IGNORED,
                           "the entry is several deployments, each with an id of its own");
    }
    if (!config_reader_is_unset(id) && !id->is_unresolved && e->i_organization == 0 && !e->every) {
        read_id(e, id); /* of several that one entry makes the first has it, or none */
    }
    read_flag(e, config_node_find(info, "blocked"), &is_blocked);
    if (is_blocked) {
        config_deployment_switch_off(e, "model_info.blocked is true");
    }
    read_flag(e, config_node_find(info, "discoverable"), &is_discoverable);
    e->deployment->is_hidden = !is_discoverable;
    read_max_input_tokens(e, config_node_find(info, "max_input_tokens"));
    read_environments(e, config_node_find(info, "supported_environments"));
    keep(e, info);
}
