#pragma once
/*
 * What modules below the composition are told of a configuration: they do not know struct config.
 */
#include "config/config.h"
#include "core/admission.h"
#include "core/quota.h"
#include "core/residency.h"
#include "frontend/frontend.h"
#include "model_server.h"

/* Borrows from c. */
struct frontend_params config_params_frontend(const struct config *c);

struct residency_params config_params_residency(const struct config *c);
struct admission_params config_params_admission(const struct config *c);

/*
 * The API keys, as an array that the caller frees; what they point to is borrowed from c. 0 with NULL
 * where there are none; -ENOMEM.
 */
int config_params_keys(const struct config *c, struct access_key **ret) MUST_USE;

/* Are callers over TCP asked for a key at all? */
bool config_params_checks_callers(const struct config *c);

/*
 * What sluice.callers and the weights of keys say of callers, in an array of *ret_n that the caller
 * frees; borrows from c. 0 or -ENOMEM.
 */
int config_params_callers(const struct config *c, struct caller_rule **ret, size_t *ret_n) MUST_USE;

/* What memory_monitor_init() wants: a prefix of /proc, or NULL for not at all. Borrowed from c. */
const char *config_params_kernel_root(const struct config *c);

/* Where the model server of this device is, or may be. */
struct model_server_spec config_params_model_server(const struct config *c);

/*
 * The accounts of keys, and of the callers that sluice.callers gives limits, in an array of *ret_n
 * that the caller frees; borrows from c. 0 or -ENOMEM.
 */
int config_params_quotas(const struct config *c, struct quota_limit **ret, size_t *ret_n) MUST_USE;
