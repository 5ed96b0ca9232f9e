#pragma once
/*
 * What a file says about ways around a failure: router_settings, and the same keys under
 * litellm_settings. config.h has the values; here is how they begin, end and are read.
 */
#include "config/config.h"

/* LiteLLM's own defaults, where they can be meant for a device (config_keys.def says where not). */
#define CONFIG_DEFAULT_RETRIES       2
#define CONFIG_DEFAULT_COOLDOWN_USEC (5 * UINT64_C(1000000))

void config_routing_init(struct config_routing *routing);
void config_routing_done(struct config_routing *routing); /* accepts a zeroed struct */

void config_names_done(struct config_names *names); /* accepts a zeroed struct */
