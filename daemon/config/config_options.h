#pragma once
/* Default parameters of a deployment: what its calls say where the client says nothing. */
#include "config/config_deployment.h"

/* Keeps a value as a default parameter, unless there is one of that name. */
void config_option_set(struct config_entry *e, const struct config_node *value);

/* The same for a number, whole or not, and for stop sequences; another type switches off. */
void config_option_read_number(struct config_entry *e, const struct config_node *value,
                               bool is_whole);
void config_option_read_stop(struct config_entry *e, const struct config_node *value);

/*
 * extra_body: a map whose members win over what the client sends; to Ollama, which has no such
 * place, they are options like any other.
 */
void config_option_read_body(struct config_entry *e, const struct config_node *map);
