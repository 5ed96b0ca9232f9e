#pragma once
/*
 * An operator wants a model in memory, whether calls come or not. It is loaded when the budget of
 * core/residency has room, which is made as for a call; what would refuse a call refuses it.
 *
 * A wish belongs to who has it: embedded, linked in residency.wishes while it is open.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/residency.h"
#include "core/router.h"

struct model_load {
    struct list link;              /* residency.wishes */
    struct residency_model *model; /* borrowed: stays while it is wished for */
    uint64_t began_at_usec;
    bool was_there; /* nothing had to be loaded */
    /* Once, from the loop, unless start() or cancel() ended it. code ERRCODE_NONE: it is there. */
    void (*on_done)(struct model_load *load, enum errcode code, const char *text);
};

/*
 * The first deployment of that name whose server keeps models in memory loads it. ERRCODE_NONE: under
 * way, and a run of the registry is wanted; with was_there it is over already, and on_done will not be
 * called. Else MODEL_NOT_FOUND, or UNSUPPORTED_PARAMETER: no server of it has such a request.
 */
enum errcode model_load_start(struct model_load *load, struct router *router, struct str name,
                              uint64_t now_usec);

/* Nobody waits for it any more; a load that has begun goes on. Accepts one that is over. */
void model_load_cancel(struct model_load *load);

/* With each run of the registry, after residency_end_run(): ends those that are there, or refused. */
void model_loads_turn(struct residency *r, uint64_t now_usec);

/* A load of m is over; code ERRCODE_NONE: it is there. */
void model_loads_end(struct residency *r, const struct residency_model *m, enum errcode code,
                     const char *text);
