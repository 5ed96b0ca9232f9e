#pragma once
/*
 * Asks an Ollama server to free a model's memory, and looks until it has. One exchange at a time, on
 * connections of its own; lives on when the backend that started it is freed.
 */
#include "core/ports.h"
#include "upstream/ollama_loader.h"
#include "upstream/server_access.h"
#include "upstream/server_state.h"
#include "upstream/upstreams.h"

struct ollama_unload_spec {
    struct upstreams *up;         /* borrowed; outlives the unload */
    struct server_state *server;  /* a reference is taken */
    struct ollama_loader *loader; /* a reference is taken: what it knows is corrected */
    const char *id;               /* of the deployment, for messages; copied, as model */
    const char *model;
    const struct server_access *access; /* copied */
    bool is_trusted; /* it counts as loaded, whether the server lists it or not */
    uint64_t connect_usec;
};

/* A model that is no longer in memory because of us, as upstreams.hooks.on_evicted has it. */
struct eviction_report {
    const char *server, *model;
    uint64_t took_usec; /* from the first look to the one that did not find it */
};

/* What an unload has shown, as upstreams.hooks.on_unloaded has it; names as in eviction_report. */
struct unload_news {
    const char *server, *model;
    bool is_gone; /* else the server said yes, and has it still */
};

/* As backend_ops.unload. */
int ollama_unload_start(const struct ollama_unload_spec *spec, struct unload_sink *sink,
                        struct unload_job **ret_job) MUST_USE;
