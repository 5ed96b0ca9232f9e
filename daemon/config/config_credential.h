#pragma once
/*
 * credential_list: values of litellm_params under a name, for deployments that name it in
 * litellm_credential_name. Not the credentials of systemd (credentials.h).
 */
#include "config/config_reader.h"

#define CONFIG_MAX_CREDENTIALS 256

/* The section: reports what is wrong with it. */
void config_credential_read(struct config_reader *r, const struct config_node *list);

/* The values of that name, a map; NULL: none, or not usable. The first of a name counts. */
const struct config_node *config_credential_find(const struct config_reader *r, const char *name);
