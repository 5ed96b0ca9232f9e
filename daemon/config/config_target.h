#pragma once
/* Where a deployment's calls go: provider, model, base URL, key. */
#include "config/config_deployment.h"

/*
 * Fills provider, model, api_base and api_key of e->deployment, and e->provider; or switches it
 * off.
 */
void config_target_read(struct config_entry *e);

/* What is wrong with a base URL ("http://host:1/v1", "unix:/path"), or NULL. Static text. */
const char *config_target_check_base(struct str base);

/*
 * Can its models be asked for by their names alone: has it an address, and, for a vendor, is its key
 * in the environment?
 */
bool config_target_is_at_hand(const struct config_reader *r, const struct config_provider *p);

/* Is the server of such a base URL on this device: behind a Unix socket, or at an own address? */
bool config_target_is_here(const char *base);
