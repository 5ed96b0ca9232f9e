/*
 * See config_options.h.
 *
 * Options end up as JSON text by name. Integers and numbers are checked, as a model server's own
 * complaint about them would come with each call.
 *
 * Owns nothing that outlives a call; must not decide which keys are options: config_keys.def does.
 */
#include "config/config_options.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"

#define MAX_OPTION_BYTES (128 * 1024) /* of all of a deployment: they travel with each call */

static void set_text(struct config_entry *e, struct kv *options, const struct config_node *at,
                     struct str json)
{
    size_t n_bytes = json.len;
    int r;

    if (kv_find(options, at->key)) {
        return; /* the more particular place came first */
    }
    for (size_t i = 0; i < options->n_items; i++) {
        n_bytes += strlen(options->items[i].value);
    }
    if (n_bytes > MAX_OPTION_BYTES) {
        config_deployment_off(e, at, "more than %d bytes of default parameters", MAX_OPTION_BYTES);
        return;
    }
    r = kv_set(options, str_from(at->key), json);
    if (r == -ENOBUFS) {
        config_deployment_off(e, at, "more than %d default parameters", KV_MAX);
    } else if (r < 0) {
        e->reader->is_out_of_memory = true;
    }
}

static void wipe_json(struct buf *b)
{
    if (b->base) {
        /* a parameter that we do not know may be a key */
        explicit_bzero(b->base, b->start + b->len);
    }
    buf_done(b);
}

static void set(struct config_entry *e, struct kv *options, const struct config_node *value)
{
    CLEANUP(wipe_json) struct buf json;
    int r;

    buf_init(&json, MAX_OPTION_BYTES);
    r = config_node_write_json(value, &json);
    if (r == -ENOBUFS) {
        config_deployment_off(e, value, "more than %d bytes of default parameters",
                              MAX_OPTION_BYTES);
    } else if (r < 0) {
        e->reader->is_out_of_memory = true;
    } else {
        set_text(e, options, value, buf_str(&json));
    }
}

void config_option_set(struct config_entry *e, const struct config_node *value)
{
    set(e, &e->deployment->options, value);
}

/*
 * A number as JSON text, also out of a variable, which can only hold text; NULL: it is none, and
 * the deployment is off.
 */
static const char *number_of(struct config_entry *e, const struct config_node *value, bool is_whole)
{
    enum config_node_kind kind = value->kind;
    char *text = value->text;
    double ignored;

    if (value->variable &&
        config_node_resolve(str_from(value->text), e->reader->arena, &kind, &text) < 0) {
        kind = NODE_STRING;
    }
    if (kind == NODE_INTEGER || (kind == NODE_FLOAT && !is_whole)) {
        return text;
    }
    config_deployment_off(e, value, "expected %s, found %s%s",
                          config_node_kind_name(is_whole ? NODE_INTEGER : NODE_FLOAT),
                          config_node_kind_name(kind),
                          kind == NODE_STRING && num_parse_double(str_from(text), &ignored) == 0
                              ? "; write it without quotes, and exponents as in 1.0e+5"
                              : "");
    return NULL;
}

void config_option_read_number(struct config_entry *e, const struct config_node *value,
                               bool is_whole)
{
    const char *text = number_of(e, value, is_whole);

    if (text) {
        set_text(e, &e->deployment->options, value, str_from(text));
    }
}

void config_option_read_stop(struct config_entry *e, const struct config_node *value)
{
    if (value->kind == NODE_STRING) {
        config_option_set(e, value);
        return;
    }
    if (value->kind != NODE_LIST) {
        config_deployment_off(e, value, "expected a string or a list of strings, found %s",
                              config_node_kind_name(value->kind));
        return;
    }
    if (value->n_children > REQUEST_MAX_STOP) {
        config_deployment_off(e, value, "more than %d stop sequences", REQUEST_MAX_STOP);
        return;
    }
    config_node_for_each(item, value)
    {
        if (item->kind != NODE_STRING) {
            config_deployment_off(e, item, "expected a string, found %s; quote it",
                                  config_node_kind_name(item->kind));
            return;
        }
    }
    config_option_set(e, value);
}

/* May a name be a default parameter at all, or has it a meaning of its own here? */
static bool is_option(const struct config_key *row)
{
    return !row || (row->use >= USE_FIRST_OPTION && row->use <= USE_LAST_OPTION);
}

/* What the rest of sluice reckons with as the client said it (wire/openai_upstream.c). */
static bool is_fixed(const char *name)
{
    static const char *const names[] = {"model", "stream", "stream_options", "messages",  "prompt",
                                        "input", "n",      "best_of",        "documents", "query",
                                        "top_n"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void cannot_be_set(struct config_entry *e, const struct config_node *map,
                          const struct config_node *member)
{
    config_reader_note(e->reader, member, FINDING_UNSUPPORTED, "cannot be set through %s",
                       map->key);
}

static void read_ollama_body(struct config_entry *e, const struct config_node *map)
{
    config_reader_note(e->reader, map, FINDING_APPROXIMATED,
                       "to Ollama its members are default parameters: what the client sends wins");
    config_node_for_each(member, map)
    {
        if (is_option(config_keys_find(SECTION_PARAMS, member->key))) {
            config_option_set(e, member);
        } else {
            cannot_be_set(e, map, member);
        }
    }
}

void config_option_read_body(struct config_entry *e, const struct config_node *map)
{
    if (map->kind != NODE_MAP) {
        config_deployment_off(e, map, "expected a map, found %s", config_node_kind_name(map->kind));
        return;
    }
    if (e->provider && strcmp(e->provider->provider, "ollama") == 0) {
        read_ollama_body(e, map);
        return;
    }
    config_node_for_each(member, map)
    {
        if (is_fixed(member->key)) {
            cannot_be_set(e, map, member);
        } else {
            set(e, &e->deployment->body, member);
        }
    }
}
