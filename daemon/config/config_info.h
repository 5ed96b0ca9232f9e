#pragma once
/* model_info: what is known of a deployment. */
#include "config/config_deployment.h"

#define CONFIG_MAX_INFO_BYTES (16 * 1024) /* as JSON: it is told with every list of models */

/* info: the value, or NULL where the entry has none. */
void config_info_read(struct config_entry *e, const struct config_node *info);
