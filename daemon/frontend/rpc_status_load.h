#pragma once
/* The part of a status that tells of load: the queue by class, callers, what was produced. */
#include <stdbool.h>
#include <stdint.h>

#include "core/caller_table.h"
#include "frontend/frontend.h"
#include "wire/rpc_msg.h"

/* What a status points to then: to live as long as it. Zero-initialised. */
struct rpc_status_load {
    struct rpc_class classes[_CLASS_MAX];
    struct rpc_caller callers[CALLER_MAX];
    char names[CALLER_MAX][CALLER_NAME_BYTES + 8];
    size_t n_callers;
};

/* with_times false: without what changes all the time, or passes by itself. */
void rpc_status_load_add(const struct frontends *f, bool with_times, uint64_t now_usec,
                         struct rpc_status_load *load, struct rpc_status *status);
