#pragma once
/*
 * sluice.upstreams: what is said of a model server as a whole, under its api_base. It ends up in its
 * deployments.
 */
#include "config/config_reader.h"

/* A map of api_base to settings: what is wrong with it as far as it shows by itself. */
void config_upstreams_read(struct config_reader *r, const struct config_node *map);

/* After model_list: gives each deployment what was said of its server. */
void config_upstreams_finish(struct config_reader *r);
