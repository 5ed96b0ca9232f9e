#pragma once
/* The sluice: key: what LiteLLM's format has no word for. */
#include "config/config_reader.h"

void config_sluice_read(struct config_reader *r, const struct config_node *section);
