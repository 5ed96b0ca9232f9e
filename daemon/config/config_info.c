/*
 * See config_info.h. Owns nothing; must not look at litellm_params.
 */
#include "config/config_info.h"

#include <string.h>

#define MAX_ID_BYTES 63 /* what a call keeps of it (core/call.h: deployment_id) */

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
        config_deployment_off(e, id, "this id is taken already, on line %u", twin->line);
        return;
    }
    e->deployment->id = config_reader_dup(e->reader, id->text);
}

void config_info_read(struct config_entry *e, const struct config_node *info)
{
    const struct config_node *id = config_node_find(info, "id");
    const struct config_node *blocked = config_node_find(info, "blocked");

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
        (void) config_reader_report(e->reader, SECTION_INFO, member);
    }
    if (!config_reader_is_unset(id)) {
        read_id(e, id);
    }
    if (blocked && blocked->kind == NODE_BOOL && strcmp(blocked->text, "true") == 0) {
        config_deployment_switch_off(e, "model_info.blocked is true");
    }
}
