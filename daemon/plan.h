#pragma once
/*
 * From the configuration's deployments to the router's plan: keeps what did not change, makes
 * backends for what did.
 */
#include "config/config.h"
#include "core/router.h"
#include "server_guard.h"
#include "upstream/upstreams.h"

/*
 * 0 or -errno: the plan is then partly filled and must be given to router_plan_done(). A deployment
 * whose parameters its provider refuses is planned as switched off.
 */
int plan_build(struct router_plan *plan, const struct config *config, struct router *router,
               struct upstreams *up) MUST_USE;

/* Which servers have a unit that may be restarted. 0 or -ENOMEM: then some have none. */
int plan_units(const struct config *config, struct server_guards *guards) MUST_USE;

/* For router.provider_of: the provider that a model's name alone stands for, or NULL. */
const char *plan_provider_of(struct str name);
