#pragma once
/* One entry of model_list to one struct config_deployment. */
#include "config/config_provider.h"
#include "config/config_reader.h"

/* What is known while an entry is read. */
struct config_entry {
    struct config_reader *reader;     /* borrowed */
    const struct config_node *node;   /* the entry: a map */
    const struct config_node *params; /* its litellm_params: a map */
    const struct config_node *common; /* router_settings.default_litellm_params, a map or NULL */
    /* the values of the credential that litellm_credential_name names, a map or NULL */
    const struct config_node *credential;
    const struct config_node *globals; /* litellm_settings, for its api_base and api_key, or NULL */
    /* where one entry makes several deployments (config_model_list.c), which of them this is */
    size_t i_organization;                  /* of a list of organizations */
    const struct config_provider *every;    /* of "*": all models of this one; else NULL */
    struct config_deployment *deployment;   /* borrowed: what is being filled */
    const struct config_provider *provider; /* NULL: not known yet, or mocked */
};

/*
 * Fills d, which is zeroed and has its name. What cannot be served is reported, and d is switched
 * off. Times and slots that the file leaves open are 0; id is set where the file gives one.
 */
void config_deployment_read(struct config_entry *e);

/*
 * A parameter of the deployment: its own, else the common one, else that of its credential, else
 * (api_base, api_key) the global one. NULL: none. It may be without a value.
 */
const struct config_node *config_deployment_param(const struct config_entry *e, const char *name);

/* Switches the deployment off; the first reason counts. */
void config_deployment_switch_off(struct config_entry *e, const char *reason);

/* Reports an error at a value and switches the deployment off; the first error is its reason. */
void config_deployment_off(struct config_entry *e, const struct config_node *at, const char *fmt,
                           ...) PRINTF_LIKE(3, 4);
/* The same at a key. */
void config_deployment_off_at_key(struct config_entry *e, const struct config_node *at,
                                  const char *fmt, ...) PRINTF_LIKE(3, 4);
