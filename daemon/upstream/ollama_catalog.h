#pragma once
/*
 * What models an Ollama server has (GET /api/tags), for lists of what can be asked for: a wildcard
 * names none. Asked in the background when it is made, and again when somebody looks and the answer
 * is old: a look never waits, and sees what was known. A server that does not answer keeps what it
 * had; one that answers something else has nothing.
 *
 * One for each server, shared by its wildcards: each holds a reference.
 */
#include "core/ports.h"
#include "upstream/server_access.h"
#include "upstream/server_state.h"
#include "upstream/upstreams.h"

struct ollama_catalog;

struct ollama_catalog_spec {
    struct server_state *server;        /* a reference is taken */
    const struct server_access *access; /* copied: of the first that asks */
    uint64_t connect_usec;
};

/* 0 or -errno. */
int ollama_catalog_ref(struct upstreams *up, const struct ollama_catalog_spec *spec,
                       struct ollama_catalog **ret) MUST_USE;
struct ollama_catalog *ollama_catalog_unref(struct ollama_catalog *c); /* accepts NULL */

/* As backend_ops.list_models. */
void ollama_catalog_list(struct ollama_catalog *c, uint64_t now_usec, model_visit_fn visit,
                         void *ctx);
