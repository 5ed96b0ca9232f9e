#pragma once
/*
 * What a file says about ways around a failure: router_settings, and the same keys under
 * litellm_settings. config.h has the values; here is how they begin, end and are read.
 */
#include "config/config.h"

/* LiteLLM's own defaults, where they can be meant for a device (config_keys.def says where not). */
#define CONFIG_DEFAULT_RETRIES       2
#define CONFIG_DEFAULT_COOLDOWN_USEC (5 * UINT64_C(1000000))
/* More of either is a slip: each retry holds its client for another time-out. */
#define CONFIG_MAX_RETRIES       100
#define CONFIG_MAX_ALLOWED_FAILS 1000000 /* of a minute */

void config_routing_init(struct config_routing *routing);
void config_routing_done(struct config_routing *routing); /* accepts a zeroed struct */

/* Appends a copy. 0 or -ENOMEM; who calls it knows CONFIG_MAX_NAMES. */
int config_names_add(struct config_names *names, const char *text) MUST_USE;
void config_names_done(struct config_names *names); /* accepts a zeroed struct */
bool config_names_has(const struct config_names *names, const char *text);
