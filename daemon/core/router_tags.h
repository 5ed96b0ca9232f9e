#pragma once
/*
 * Which deployments of a group a call's tags leave over.
 *
 * Tags are LiteLLM's (router_strategy/tag_based_routing.py): a call's "!tag" excludes and its "&tag"
 * requires; of its plain tags one must match, or all. Tags that nobody in the group has lead to the
 * deployments tagged "default", as do calls without tags; where there is none of those, calls without
 * tags may go anywhere and the others nowhere.
 */
#include <stdbool.h>

#include "core/router.h"

/* What a call's tags mean in a group. */
enum tag_rule {
    TAGS_IGNORED, /* no filter is on, or the deployment was asked for by its id */
    TAGS_MATCH,   /* those that match the plain tags */
    TAGS_REQUIRE, /* those that the signs leave over */
    TAGS_DEFAULT, /* those tagged "default" that the signs leave over; without any, all of them */
};

/* Found once for each look at a group: it costs a pass over its deployments. */
enum tag_rule router_tag_rule(const struct router *r, const struct model_group *g,
                              const struct router_wish *wish);

/* May d serve the call, as far as tags go? rule: what router_tag_rule() said for the three. */
bool router_tags_allow(const struct router *r, const struct model_group *g, enum tag_rule rule,
                       const struct deployment *d, const struct router_wish *wish);
