#pragma once
/* YAML text to a tree of nodes: the only place that knows libyaml. */
#include "config/config_node.h"

#define CONFIG_YAML_MAX_DEPTH        32 /* LiteLLM's deepest key is at 6 */
#define CONFIG_YAML_MAX_NODES        16384
#define CONFIG_YAML_MAX_KEYS         1024 /* of one map: duplicates are looked for one by one */
#define CONFIG_YAML_MAX_SCALAR_BYTES (64 * 1024)
/* What one file may need: nodes, and its text again with padding. */
#define CONFIG_YAML_ARENA_BYTES (16 * 1024 * 1024)

struct config_yaml_error {
    unsigned line, column; /* from 1; 0: the file as a whole */
    char text[256];
};

/*
 * 0: *ret_root is the document, NULL when the file holds none. -EBADMSG: not YAML, or YAML that is
 * refused here (anchors, aliases, tags, merge keys, several documents, duplicate keys, too deep,
 * too large), with *ret_error. -ENOMEM.
 */
int config_yaml_parse(struct str text, struct arena *a, struct config_node **ret_root,
                      struct config_yaml_error *ret_error) MUST_USE;
