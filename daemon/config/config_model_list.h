#pragma once
/* model_list: the deployments. */
#include "config/config_reader.h"

/* Adds a deployment for each entry of the list. */
void config_model_list_read(struct config_reader *r, const struct config_node *list);

/*
 * After all sections: ids for the deployments without one, and sluice's own values where an entry
 * left something open.
 */
void config_model_list_finish(struct config_reader *r);
