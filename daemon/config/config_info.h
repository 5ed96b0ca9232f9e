#pragma once
/* model_info: what is known of a deployment. */
#include "config/config_deployment.h"

/* info: the value, or NULL where the entry has none. */
void config_info_read(struct config_entry *e, const struct config_node *info);
