/*
 * See config_credential.h.
 *
 * The values are members of litellm_params for whoever names the credential, behind what the entry
 * and default_litellm_params say (litellm/utils.py, load_credentials_from_list). A deployment that
 * names one that is not there is off: LiteLLM goes on without it, and so with another key, or to
 * another server.
 *
 * Owns nothing; values stay nodes. No message repeats one.
 */
#include "config/config_credential.h"

#include <string.h>

#include "config/config_value.h"

static void read_entry(struct config_reader *r, const struct config_node *entry)
{
    const struct config_node *name = config_node_find(entry, "credential_name");
    const struct config_node *values = config_node_find(entry, "credential_values");
    char why[CONFIG_WHY_MAX];
    const char *text;

    if (entry->kind != NODE_MAP) {
        config_reader_error(r, entry, false,
                            "expected a map with credential_name and credential_values, found %s",
                            config_node_kind_name(entry->kind));
        return;
    }
    if (config_reader_is_unset(name)) {
        config_reader_error(r, entry, false, "credential_name is missing");
    } else if (!config_value_text(name, &text, why)) {
        config_reader_error(r, name, false, "%s", why);
    }
    if (!values || values->kind != NODE_MAP) {
        config_reader_error(r, values ? values : entry, false,
                            "credential_values must be a map such as {api_key: os.environ/NAME}");
    }
    config_node_for_each(key, entry)
    {
        if (strcmp(key->key, "credential_name") != 0 &&
            strcmp(key->key, "credential_values") != 0 &&
            strcmp(key->key, "credential_info") != 0) { /* the last is for people */
            config_reader_note(r, key, FINDING_UNSUPPORTED, "unknown key");
        }
    }
    for (const struct config_node *other = entry->parent->first; name && other != entry;
         other = other->next) {
        const struct config_node *twin = config_node_find(other, "credential_name");

        if (twin && twin->text && name->text && strcmp(twin->text, name->text) == 0) {
            config_reader_error(r, name, false, "this name is taken already, on line %u%s",
                                twin->line, twin->file == name->file ? "" : " of another file");
            return;
        }
    }
}

void config_credential_read(struct config_reader *r, const struct config_node *list)
{
    if (config_reader_is_unset(list)) {
        return;
    }
    if (list->kind != NODE_LIST) {
        config_reader_error(r, list, false, "expected a list, found %s",
                            config_node_kind_name(list->kind));
        return;
    }
    if (list->n_children > CONFIG_MAX_CREDENTIALS) {
        config_reader_error(r, list, true, "more than %d credentials", CONFIG_MAX_CREDENTIALS);
        return;
    }
    config_node_for_each(entry, list)
    {
        read_entry(r, entry);
    }
}

const struct config_node *config_credential_find(const struct config_reader *r, const char *name)
{
    const struct config_node *list = config_node_find(r->root, "credential_list");

    if (!list || list->kind != NODE_LIST || list->n_children > CONFIG_MAX_CREDENTIALS) {
        return NULL;
    }
    config_node_for_each(entry, list)
    {
        const struct config_node *found = config_node_find(entry, "credential_name");
        const struct config_node *values = config_node_find(entry, "credential_values");

        if (found && found->kind == NODE_STRING && strcmp(found->text, name) == 0) {
            return values && values->kind == NODE_MAP ? values : NULL;
        }
    }
    return NULL;
}
