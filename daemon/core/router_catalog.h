#pragma once
/*
 * The names under which clients may ask for what a wildcard's model servers are known to have: the
 * way back from a name there to the public one. A group "local-*" of the model "*" makes
 * "local-tiny:latest" out of "tiny:latest".
 */
#include "core/router.h"

/*
 * Visits each such name of the wildcard g once. Nothing is waited for: what a server has not said
 * yet is not there. Names that lead elsewhere (a group of their own, a more particular wildcard) are
 * left out, and so is everything of patterns with several stars.
 */
void router_each_model(struct router *r, const struct model_group *g, uint64_t now_usec,
                       model_visit_fn visit, void *ctx);

/* A name that clients may be shown, of a model that there is; all borrowed during the visit. */
struct router_listed {
    struct str name;
    const struct model_group *group;
};
typedef void (*router_listed_fn)(void *ctx, const struct router_listed *one);

/*
 * Visits all of them: groups and aliases that are not hidden, and in the place of a wildcard, which
 * is no model, those of router_each_model(). What every list of models is made of.
 */
void router_each_listed(struct router *r, uint64_t now_usec, router_listed_fn visit, void *ctx);
