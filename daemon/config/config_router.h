#pragma once
/*
 * router_settings, and the same keys under litellm_settings, into config->routing and the reader's
 * defaults. What config_routing.h has is how those values begin and end.
 */
#include "config/config_reader.h"

/*
 * Reads both sections; where both have a key router_settings wins. A value that cannot be used is
 * an error and has no effect. Once, when every section was reported.
 */
void config_router_read(struct config_reader *r);

/* Is it a key of litellm_settings that router_settings has as well, and so overrides? */
bool config_router_overrides(const struct config_reader *r, const struct config_node *key);

/* Names in fallbacks, aliases and policies that nothing serves. When the deployments are known. */
void config_router_check(struct config_reader *r);
