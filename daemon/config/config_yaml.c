/*
 * YAML to nodes, through libyaml's parser events and nothing higher: the event stream has no
 * aliases resolved and no tree built, so whatever could grow is refused or counted here, event by
 * event, before memory is spent on it.
 *
 * A configuration is data from outside like any other (design: limits). Refused with a place and a
 * reason:
 *
 *   anchors, aliases, merge keys   a few lines of them unfold to gigabytes ("billion laughs"), and
 *                                  LiteLLM's files do without
 *   tags                           they ask for a constructor; SafeLoader refuses the custom ones
 *                                  as well
 *   several documents              LiteLLM reads one
 *   the same key twice             PyYAML silently takes the last, so that an edited value may have
 *                                  no effect
 *   NUL characters                 texts are C strings from here on
 *
 * The tree is built without recursion: `at` is the open container, a parent pointer leads back, and
 * a key waits in `key` until its value begins, which is always the next event. Owns the libyaml
 * parser and each event while looking at it; nodes belong to the caller's arena.
 *
 * Texts are wiped from the events before libyaml frees them. Its own input buffers it frees as they
 * are.
 */
#include "config/config_yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct builder {
    struct arena *arena;           /* borrowed */
    struct config_yaml_error *err; /* borrowed */
    struct config_node *root;      /* NULL until the document's first node */
    struct config_node *at;        /* the open container, NULL outside of all */
    char *key;                     /* of the next value, when at is a map; NULL: a key comes next */
    yaml_mark_t key_mark;
    size_t n_nodes, depth, n_documents;
};

static int PRINTF_LIKE(3, 4)
    refuse(const struct builder *b, const yaml_mark_t *mark, const char *fmt, ...)
{
    va_list ap;

    b->err->line = (unsigned) mark->line + 1;
    b->err->column = (unsigned) mark->column + 1;
    va_start(ap, fmt);
    (void) vsnprintf(b->err->text, sizeof b->err->text, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

/* A node with its place, attached to the open container. */
static int add_node(struct builder *b, enum config_node_kind kind, const yaml_mark_t *mark,
                    struct config_node **ret_node)
{
    struct config_node *parent = b->at;

    if (++b->n_nodes > CONFIG_YAML_MAX_NODES) {
        return refuse(b, mark, "more than %d values", CONFIG_YAML_MAX_NODES);
    }

    struct config_node *node = arena_alloc(b->arena, sizeof *node);

    if (!node) {
        return -ENOMEM;
    }
    *node = (struct config_node) {
        .kind = kind,
        .line = (unsigned) mark->line + 1,
        .column = (unsigned) mark->column + 1,
        .parent = parent,
        .index = parent ? parent->n_children : 0,
    };
    if (!parent) {
        b->root = node;
    } else {
        if (parent->kind == NODE_MAP) {
            node->key = TAKE(b->key);
            node->key_line = (unsigned) b->key_mark.line + 1;
            node->key_column = (unsigned) b->key_mark.column + 1;
        }
        config_node_append(parent, node);
    }
    *ret_node = node;
    return 0;
}

static bool expects_key(const struct builder *b)
{
    return b->at && b->at->kind == NODE_MAP && !b->key;
}

static int on_key(struct builder *b, const yaml_mark_t *mark, char *key, bool is_plain)
{
    const struct config_node *twin = config_node_find(b->at, key);

    if (is_plain && strcmp(key, "<<") == 0) {
        return refuse(b, mark, "merge keys (<<) are not read here; write the values out");
    }
    if (twin) {
        return refuse(b, mark, "the key \"%.100s\" stands here twice, first on line %u, column %u",
                      key, twin->key_line, twin->key_column);
    }
    if (b->at->n_children == CONFIG_YAML_MAX_KEYS) {
        return refuse(b, mark, "a map with more than %d keys", CONFIG_YAML_MAX_KEYS);
    }
    b->key = key;
    b->key_mark = *mark;
    return 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *ev)
{
    struct str s = {(const char *) ev->data.scalar.value, ev->data.scalar.length};
    bool is_plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    enum config_node_kind kind = NODE_STRING;
    struct config_node *node;
    char *text = NULL;
    int r;

    if (s.len > CONFIG_YAML_MAX_SCALAR_BYTES) {
        return refuse(b, &ev->start_mark, "a value of %zu bytes; at most %d are read", s.len,
                      CONFIG_YAML_MAX_SCALAR_BYTES);
    }
    if (s.len > 0 && memchr(s.ptr, '\0', s.len)) {
        return refuse(b, &ev->start_mark, "a value with a NUL character in it");
    }
    if (is_plain) {
        r = config_node_resolve(s, b->arena, &kind, &text);
    } else {
        text = arena_alloc(b->arena, s.len + 1);
        r = text ? 0 : -ENOMEM;
    }
    if (r == -ERANGE) {
        return refuse(b, &ev->start_mark,
                      "a number that JSON cannot carry; quote it if it is text");
    }
    if (r < 0) {
        return r;
    }
    if (!is_plain) {
        memcpy(text, s.ptr, s.len);
    }
    if (expects_key(b)) {
        return on_key(b, &ev->start_mark, text, is_plain);
    }
    r = add_node(b, kind, &ev->start_mark, &node);
    if (r < 0) {
        return r;
    }
    node->text = text;
    return 0;
}

static int on_open(struct builder *b, enum config_node_kind kind, const yaml_mark_t *mark)
{
    struct config_node *node;
    int r;

    if (expects_key(b)) {
        return refuse(b, mark, "a key must be a plain word, not %s", config_node_kind_name(kind));
    }
    if (++b->depth > CONFIG_YAML_MAX_DEPTH) {
        return refuse(b, mark, "nested more than %d levels deep", CONFIG_YAML_MAX_DEPTH);
    }
    r = add_node(b, kind, mark, &node);
    if (r < 0) {
        return r;
    }
    b->at = node;
    return 0;
}

static void on_close(struct builder *b)
{
    b->at = b->at->parent;
    b->depth--;
}

/* What none of the events may carry: an anchor or a tag. */
static int check_properties(const struct builder *b, const yaml_event_t *ev,
                            const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor) {
        return refuse(b, &ev->start_mark,
                      "anchors (&name) are not read here; write the value out where it is needed");
    }
    if (tag) {
        return refuse(b, &ev->start_mark,
                      "tags (!name) are not read here; quote the value if it should be text");
    }
    return 0;
}

static int on_event(struct builder *b, const yaml_event_t *ev)
{
    int r;

    switch (ev->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    case YAML_DOCUMENT_START_EVENT:
        return ++b->n_documents > 1
                   ? refuse(b, &ev->start_mark, "a second document (---); a file holds one")
                   : 0;
    case YAML_ALIAS_EVENT:
        return refuse(b, &ev->start_mark, "aliases (*name) are not read here; write the value out");
    case YAML_SCALAR_EVENT:
        r = check_properties(b, ev, ev->data.scalar.anchor, ev->data.scalar.tag);
        return r < 0 ? r : on_scalar(b, ev);
    case YAML_SEQUENCE_START_EVENT:
        r = check_properties(b, ev, ev->data.sequence_start.anchor, ev->data.sequence_start.tag);
        return r < 0 ? r : on_open(b, NODE_LIST, &ev->start_mark);
    case YAML_MAPPING_START_EVENT:
        r = check_properties(b, ev, ev->data.mapping_start.anchor, ev->data.mapping_start.tag);
        return r < 0 ? r : on_open(b, NODE_MAP, &ev->start_mark);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_close(b);
        return 0;
    }
    return 0;
}

/* ---------------------------------------------------------------- libyaml's own errors */

/* Line and column of a byte: the reader gives an offset where scanner and parser give a mark. */
static yaml_mark_t mark_of(struct str text, size_t offset)
{
    yaml_mark_t mark = {0};

    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.ptr[i] == '\n') {
            mark.line++;
            mark.column = 0;
        } else if (((unsigned char) text.ptr[i] & 0xc0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

/*
 * libyaml says "found character that cannot start any token" of a tab, which is true and helps
 * nobody. A mark counts characters, not bytes.
 */
static bool is_at_tab(struct str text, const yaml_mark_t *mark)
{
    size_t n_characters = 0;

    for (size_t i = 0; i < text.len; i++) {
        bool is_first_byte = ((unsigned char) text.ptr[i] & 0xc0) != 0x80;

        if (is_first_byte && n_characters++ == mark->index) {
            return text.ptr[i] == '\t';
        }
    }
    return false;
}

static int refuse_syntax(const struct builder *b, const yaml_parser_t *parser, struct str text)
{
    const char *problem = parser->problem ? parser->problem : "not YAML";

    if (parser->error == YAML_MEMORY_ERROR) {
        return -ENOMEM;
    }
    if (parser->error == YAML_READER_ERROR) {
        yaml_mark_t mark = mark_of(text, parser->problem_offset);

        return refuse(b, &mark, "not YAML: %s", problem);
    }
    if (is_at_tab(text, &parser->problem_mark)) {
        return refuse(b, &parser->problem_mark, "not YAML: a tab; indent with blanks");
    }
    if (parser->context && parser->context_mark.line != parser->problem_mark.line) {
        return refuse(b, &parser->problem_mark, "not YAML: %s, %s that began on line %zu", problem,
                      parser->context, parser->context_mark.line + 1);
    }
    return refuse(b, &parser->problem_mark, "not YAML: %s", problem);
}

static void done_event(yaml_event_t *ev)
{
    if (ev->type == YAML_SCALAR_EVENT && ev->data.scalar.value) {
        explicit_bzero(ev->data.scalar.value, ev->data.scalar.length); /* may be a key */
    }
    yaml_event_delete(ev);
}

static int build(struct builder *b, yaml_parser_t *parser, struct str text)
{
    for (;;) {
        CLEANUP(done_event) yaml_event_t ev;
        int r;

        if (!yaml_parser_parse(parser, &ev)) {
            return refuse_syntax(b, parser, text);
        }
        if (ev.type == YAML_STREAM_END_EVENT) {
            return 0;
        }
        r = on_event(b, &ev);
        if (r < 0) {
            return r;
        }
    }
}

int config_yaml_parse(struct str text, struct arena *a, struct config_node **ret_root,
                      struct config_yaml_error *ret_error)
{
    struct config_yaml_error err = {0};
    struct builder b = {.arena = a, .err = &err};
    CLEANUP(yaml_parser_delete) yaml_parser_t parser;
    int r;

    if (!yaml_parser_initialize(&parser)) {
        memset(&parser, 0, sizeof parser); /* libyaml has freed what it had */
        return -ENOMEM;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING); /* UTF-16 is not guessed at */
    yaml_parser_set_input_string(&parser, (const unsigned char *) (text.ptr ? text.ptr : ""),
                                 text.len);
    r = build(&b, &parser, text);
    if (r < 0) {
        config_node_wipe(b.root);
        *ret_error = err;
        return r;
    }
    *ret_root = b.root;
    return 0;
}
