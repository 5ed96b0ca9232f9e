#pragma once
/* Background health checks: which servers are asked how they are, and how often. */
#include "config/config_deployment.h"

/* LiteLLM's DEFAULT_HEALTH_CHECK_INTERVAL. */
#define CONFIG_DEFAULT_HEALTH_USEC (300 * UINT64_C(1000000))
/*
 * LiteLLM waits 60 s, as its checks are calls. A server that needs more for a few bytes is not well:
 * Ollama takes up to 5 s while it frees a GPU's memory.
 */
#define CONFIG_DEFAULT_CHECK_USEC (10 * UINT64_C(1000000))

/* What general_settings say; after the model_list. Mistakes are reported, and nothing is refused. */
void config_health_read(struct config_reader *r);

/* What one model_info says; info: a map, or NULL where there is none. */
void config_health_read_info(struct config_entry *e, const struct config_node *info);
