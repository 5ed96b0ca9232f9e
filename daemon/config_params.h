#pragma once
/*
 * What modules below the composition are told of a configuration: they do not know struct config.
 */
#include "config/config.h"
#include "core/admission.h"
#include "frontend/frontend.h"

/* Borrows from c. */
struct frontend_params config_params_frontend(const struct config *c);

struct admission_params config_params_admission(const struct config *c);

/* What psi_watch_init() wants: a prefix of /proc, or NULL for not at all. Borrowed from c. */
const char *config_params_kernel_root(const struct config *c);
