/*
 * See config_reader.h.
 *
 * os.environ/NAME is a value as a whole, anywhere in the file; inside a longer text it means
 * nothing. It is looked up among the credentials first (credentials.h), then in the file's own
 * environment_variables and then in the environment of the process: LiteLLM exports the former into the latter, which here would hand
 * keys to whatever reads /proc, for nothing. Values of environment_variables may themselves be
 * os.environ/NAME, of the process.
 *
 * A variable that is not set does not make its value absent. LiteLLM lets that happen, and prompts
 * meant for a server of one's own then went to the vendor's public address (its issue 6332), and a
 * proxy whose key was missing ran open (its issue 1851). The node is marked and whoever needs it
 * refuses.
 */
#include "config/config_reader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_access.h"

#define VARIABLE_PREFIX "os.environ/"
/* of a value in the environment; keys and URLs are far shorter */
#define VARIABLE_MAX_BYTES (16 * 1024)

static void drop_finding(struct config *c, size_t i)
{
    free(c->findings[i].path);
    free(c->findings[i].text);
    c->n_findings--;
    memmove(&c->findings[i], &c->findings[i + 1], (c->n_findings - i) * sizeof c->findings[0]);
}

static bool is_same_place(const struct finding_place *a, const struct finding_place *b)
{
    return a->file == b->file && a->line == b->line && a->column == b->column;
}

/*
 * Would a finding say nothing new? A parameter that all deployments share is read with each of them
 * and reported once; and that a key is read exactly is not said where something else is said of it,
 * whichever of the two is found first.
 */
static bool is_known(struct config *c, const struct finding *f)
{
    for (size_t i = c->n_findings; i-- > 0;) {
        const struct finding *other = &c->findings[i];
        bool is_one_exact = (other->kind == FINDING_EXACT) != (f->kind == FINDING_EXACT) &&
                            f->path[0] && other->place.file == f->place.file &&
                            strcmp(other->path, f->path) == 0;

        if (other->kind == f->kind && is_same_place(&other->place, &f->place) &&
            strcmp(other->text, f->text) == 0) {
            return true;
        }
        if (is_one_exact && f->kind == FINDING_EXACT) {
            return true;
        }
        if (is_one_exact) {
            drop_finding(c, i);
        }
    }
    return false;
}

static struct finding_place place_of(const struct config_node *at, bool at_key)
{
    if (!at) {
        return (struct finding_place) {0};
    }
    return (struct finding_place) {
        .file = at->file,
        .line = at_key ? at->key_line : at->line,
        .column = at_key ? at->key_column : at->column,
    };
}

static void PRINTF_LIKE(6, 0)
    add(struct config_reader *r, const struct config_node *at, bool at_key, enum finding_kind kind,
        bool is_fatal, const char *fmt, va_list ap)
{
    char text[CONFIG_TEXT_MAX], path[CONFIG_NODE_PATH_MAX];
    bool use_key = at && at->key && at_key;
    struct finding f = {
        .kind = kind,
        .place = place_of(at, use_key),
        .path = path,
        .text = text,
        .is_fatal = is_fatal,
    };

    config_node_path(at, path);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    if (!is_known(r->config, &f) &&
        config_add_finding(r->config, kind, is_fatal, f.place, path, text) < 0) {
        r->is_out_of_memory = true;
    }
}

void config_reader_note(struct config_reader *r, const struct config_node *at,
                        enum finding_kind kind, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(r, at, true, kind, false, fmt, ap);
    va_end(ap);
}

void config_reader_error(struct config_reader *r, const struct config_node *at, bool is_fatal,
                         const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(r, at, false, FINDING_ERROR, is_fatal, fmt, ap);
    va_end(ap);
}

void config_reader_error_at_key(struct config_reader *r, const struct config_node *at,
                                bool is_fatal, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(r, at, true, FINDING_ERROR, is_fatal, fmt, ap);
    va_end(ap);
}

bool config_reader_is_unset(const struct config_node *node)
{
    return !node || node->kind == NODE_NULL;
}

bool config_reader_is_off(const struct config_node *node)
{
    switch (node->kind) {
    case NODE_NULL:
        return true;
    case NODE_BOOL:
        return strcmp(node->text, "false") == 0;
    case NODE_STRING:
        return node->text[0] == '\0' && !node->variable;
    case NODE_LIST:
    case NODE_MAP:
        return node->n_children == 0;
    case NODE_INTEGER:
    case NODE_FLOAT:
        return false;
    }
    return false;
}

bool config_reader_has_master_key(const struct config_reader *r)
{
    return config_node_find(config_node_find(r->root, "general_settings"), "master_key") ||
           config_reader_variable(r, CONFIG_MASTER_KEY_VARIABLE);
}

static void refuse(struct config_reader *r, const struct config_node *key, const char *text)
{
    if (config_reader_has_master_key(r) || config_access_has_keys(r)) {
        config_reader_note(r, key, FINDING_UNSUPPORTED, "%s", text);
    } else {
        config_reader_error_at_key(r, key, true, "%s, and there is none: anybody could call", text);
    }
}

/* What is not done here, and is not asked for either. */
static bool is_off_as_here(const struct config_key *row, const struct config_node *key)
{
    /* of these, false asks for something */
    static const char *const exceptions[] = {"supports_system_message", "enable_tag_filtering"};

    if (!row || (row->status != FINDING_UNSUPPORTED && !row->is_refused)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(exceptions) && key->kind != NODE_NULL; i++) {
        if (strcmp(key->key, exceptions[i]) == 0) {
            return false;
        }
    }
    return config_reader_is_off(key);
}

const struct config_key *config_reader_report(struct config_reader *r, enum config_section section,
                                              const struct config_node *key)
{
    const struct config_key *row = config_keys_find(section, key->key);
    const char *near = row ? NULL : config_keys_suggest(section, key->key);

    if (near) { /* a mistake, most likely; without effect, and so no reason not to start */
        config_reader_error_at_key(r, key, false, "unknown key; did you mean \"%s\"?", near);
    } else if (!row) {
        config_reader_note(r, key, FINDING_UNSUPPORTED, "unknown key");
    } else if (is_off_as_here(row, key)) {
        config_reader_note(r, key, FINDING_EXACT, "off, as here");
    } else if (row->is_refused) {
        refuse(r, key, row->text);
    } else {
        config_reader_note(r, key, row->status, "%s", row->text);
    }
    return row;
}

const char *config_reader_variable(const struct config_reader *r, const char *name)
{
    const struct config_node *own =
        config_node_find(config_node_find(r->root, "environment_variables"), name);
    const char *value = NULL;

    if (credentials_find(r->credentials, name, &value) != -ENOENT) {
        return value;
    }
    value = own && own->text && own->kind != NODE_NULL ? own->text : getenv(name);
    value = value && strnlen(value, VARIABLE_MAX_BYTES + 1) <= VARIABLE_MAX_BYTES ? value : NULL;
    return value && value[0] ? value : NULL;
}

/* What the process was given: not what the file says of itself. */
static const char *process_variable(const struct config_reader *r, const char *name)
{
    const char *value = NULL;

    return credentials_find(r->credentials, name, &value) != -ENOENT ? value : getenv(name);
}

static void resolve(struct config_reader *r, struct config_node *node, bool from_process_only)
{
    const char *name = node->text + strlen(VARIABLE_PREFIX);
    const char *value =
        from_process_only ? process_variable(r, name) : config_reader_variable(r, name);
    size_t len = value ? strlen(value) : 0;

    node->variable = name;
    if (len > CREDENTIAL_MAX_BYTES || !str_is_utf8((struct str) {value, len})) {
        len = 0; /* as good as not set: nothing here can use it */
    }
    node->is_unresolved = len == 0;

    char *text = arena_alloc(r->arena, len + 1);

    if (!text) {
        r->is_out_of_memory = true;
        node->is_unresolved = true;
        return;
    }
    if (len > 0) {
        memcpy(text, value, len);
    }
    node->text = text;
    /* litellm/secret_managers/main.py, get_secret(): these two words are no text */
    if (str_is_nocase(str_from(text), "true") || str_is_nocase(str_from(text), "false")) {
        node->kind = NODE_BOOL;
        text[0] = text[0] == 'T' || text[0] == 't' ? 't' : 'f';
        memcpy(text + 1, text[0] == 't' ? "rue" : "alse", text[0] == 't' ? 3 : 4);
    }
}

static void resolve_below(struct config_reader *r, struct config_node *node, bool from_process_only)
{
    if (node->kind == NODE_STRING && str_has_prefix(str_from(node->text), VARIABLE_PREFIX)) {
        resolve(r, node, from_process_only);
    }
    config_node_for_each(child, node)
    {
        resolve_below(r, child, from_process_only); /* at most CONFIG_YAML_MAX_DEPTH levels */
    }
}

void config_reader_resolve_from_process(struct config_reader *r, struct config_node *node)
{
    resolve_below(r, node, true);
}

void config_reader_resolve_variables(struct config_reader *r, struct config_node *root)
{
    struct config_node *own = config_node_find(root, "environment_variables");

    if (own) {
        resolve_below(r, own, true);
    }
    config_node_for_each(section, root)
    {
        if (section != own) {
            resolve_below(r, section, false);
        }
    }
}

char *config_reader_dup(struct config_reader *r, const char *text)
{
    char *copy = strdup(text);

    if (!copy) {
        r->is_out_of_memory = true;
    }
    return copy;
}
