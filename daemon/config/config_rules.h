#pragma once
/* The litellm_params that say which calls a deployment serves, and after what: not what is sent. */
#include "config/config_deployment.h"

/* One parameter whose row's use is one of USE_ORDER to USE_DROPPED. Another type switches off. */
void config_rules_read(struct config_entry *e, const struct config_key *row,
                       const struct config_node *param);

/*
 * What the entry leaves to litellm_settings, and whether its tags can be true. When its parameters
 * and its target were read.
 */
void config_rules_inherit(struct config_entry *e);

/*
 * What only all deployments together say: the weights of each group, and slots that rpm or tpm
 * stand for. When all entries were read, and before other defaults of slots.
 */
void config_rules_finish(struct config *c);
