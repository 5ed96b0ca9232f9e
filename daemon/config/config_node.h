#pragma once
/*
 * A parsed YAML file as a small tree with places. config_yaml.c builds it, the readers of the
 * sections walk it, nobody keeps it: nodes, keys and texts live in the caller's arena.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/macros.h"
#include "base/str.h"

enum config_node_kind {
    NODE_NULL,
    NODE_BOOL,
    NODE_INTEGER,
    NODE_FLOAT,
    NODE_STRING,
    NODE_LIST,
    NODE_MAP,
};

struct config_node {
    enum config_node_kind kind;
    unsigned file;                 /* 0: the file itself; n: the n-th included one */
    unsigned line, column;         /* of the value, from 1 */
    unsigned key_line, key_column; /* of its key; 0 outside of a map */
    char *key;                     /* NULL outside of a map */
    char *text; /* scalars: numbers as JSON writes them, "true", "false", "null" */
    /* the value was os.environ/VARIABLE; the kind is then NODE_STRING, or NODE_BOOL of true, false */
    const char *variable;
    bool is_unresolved; /* VARIABLE is not set, or empty: text is "" */
    struct config_node *parent, *first, *last, *next;
    size_t n_children;
    size_t index; /* among the children of parent, in its own file */
};

#define CONFIG_NODE_PATH_MAX 256

/* The member of a map, or NULL: none, or node is not a map (or NULL). */
struct config_node *config_node_find(const struct config_node *node, const char *key);

/* The first os.environ/NAME without a value in a value, or NULL. */
const struct config_node *config_node_find_unresolved(const struct config_node *node);

#define config_node_for_each(pos, node)                                                            \
    for (struct config_node *pos = (node)->first; pos; pos = pos->next)

/*
 * "model_list[0].litellm_params.api_base"; cut in the middle of the deepest names where it does not
 * fit.
 */
void config_node_path(const struct config_node *node, char ret_path[CONFIG_NODE_PATH_MAX]);

/* What a message may show of a scalar's text: of a variable's value nothing, it may be a key. */
const char *config_node_shown(const struct config_node *node);

/* What a message calls it: "a string", "a list". */
const char *config_node_kind_name(enum config_node_kind kind);

/*
 * What PyYAML would make of a plain scalar (YAML 1.1, its SafeLoader; dates stay text). *ret_text
 * is in the arena. 0; -ENOMEM; -ERANGE: a number that JSON cannot carry (.inf, .nan, or more than
 * 64 bits in another base than ten).
 */
int config_node_resolve(struct str plain, struct arena *a, enum config_node_kind *ret_kind,
                        char **ret_text) MUST_USE;

/* Takes a child out of its parent's list, and puts one behind the last. */
void config_node_unlink(struct config_node *child);
void config_node_append(struct config_node *parent, struct config_node *child);

/* Appends a value as JSON. 0 or -errno of buf. */
int config_node_write_json(const struct config_node *node, struct buf *out) MUST_USE;

/*
 * Overwrites all texts: keys and passwords lie in an arena, which is freed as it is. NULL is fine.
 */
void config_node_wipe(struct config_node *node);
