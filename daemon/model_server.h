#pragma once
/*
 * Where the model server of this device is: its control group, for kernel/memory_reader.
 *
 * Said by the configuration (a unit's name or a path), or found: the process that listens where a
 * deployment of this machine points to, else the unit ollama.service. Looked for again, more and more
 * seldom, while it is not there.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/memory_reader.h"

#define MODEL_SERVER_MAX_PORTS   8
#define MODEL_SERVER_GROUP_BYTES 256

struct model_server_spec {
    char group[MODEL_SERVER_GROUP_BYTES]; /* "auto", "none", a unit's name, "/path" */
    unsigned ports[MODEL_SERVER_MAX_PORTS];
    size_t n_ports;  /* of this machine, each once */
    bool has_ollama; /* one of those is Ollama */
};

struct model_server {
    struct memory_reader *reader; /* borrowed */
    const char *root;             /* borrowed */
    struct model_server_spec spec;
    uint64_t next_look_usec, wait_usec;
    bool has_said; /* that it is not found */
};

/* Adds the port of an api_base that is at this machine; others change nothing. */
void model_server_add(struct model_server_spec *spec, const char *api_base, bool is_ollama);

void model_server_init(struct model_server *m, struct memory_reader *reader, const char *root);

/* Another specification: looks at once. */
void model_server_set(struct model_server *m, const struct model_server_spec *spec,
                      uint64_t now_usec);

/* Looks for the group, when there is none and it is time. */
void model_server_look(struct model_server *m, uint64_t now_usec);
