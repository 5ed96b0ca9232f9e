#pragma once
/* The limits of general_settings: how much at once, and how large. */
#include "config/config_reader.h"

/*
 * Reads them; one that cannot be read refuses the file, as a limit with a mistake would be none.
 * After the sluice: key, which goes before, and before config_router_read().
 */
void config_limits_read(struct config_reader *r);
