/* See config_params.h. */
#include "config_params.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory_limit.h"

struct frontend_params config_params_frontend(const struct config *c)
{
    struct frontend_params p = {
        .max_connections = c->max_connections,
        .max_connections_per_uid = c->max_connections_per_uid,
        .max_calls_per_connection = c->max_calls_per_connection,
        .max_head_bytes = c->max_head_bytes,
        .max_body_bytes = c->max_body_bytes,
        .max_buffered_bytes = c->max_buffered_bytes,
        .head_usec = c->head_usec,
        .body_usec = c->body_usec,
        .keep_alive_usec = c->keep_alive_usec,
        .stalled_reader_usec = c->stalled_reader_usec,
        .heartbeat_usec = c->heartbeat_usec,
        .master_key = c->master_key,
        .allowed_hosts = (const char *const *) c->allowed_hosts,
        .n_allowed_hosts = c->n_allowed_hosts,
        .allowed_origins = (const char *const *) c->allowed_origins,
        .n_allowed_origins = c->n_allowed_origins,
    };

    memory_limit_fit(c->kernel_root, &p.max_body_bytes, &p.max_buffered_bytes);
    return p;
}

struct admission_params config_params_admission(const struct config *c)
{
    struct admission_params p = {.max_queued = c->max_queued,
                                 .max_queued_caller = c->max_queued_caller,
                                 .max_queued_bytes = c->max_queued_bytes};

    p.max_granted = c->routing.max_parallel;
    memcpy(p.max_queued_class, c->max_queued_class, sizeof p.max_queued_class);
    memcpy(p.max_wait_usec, c->max_wait_usec, sizeof p.max_wait_usec);
    memcpy(p.patience_usec, c->patience_usec, sizeof p.patience_usec);
    return p;
}

/* What stands in sluice.callers goes before what its key says. */
int config_params_callers(const struct config *c, struct caller_rule **ret, size_t *ret_n)
{
    size_t n = c->n_callers + c->n_keys;
    struct caller_rule *rules = n > 0 ? calloc(n, sizeof *rules) : NULL;

    if (n > 0 && !rules) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < c->n_callers; i++) {
        const struct config_caller *from = &c->callers[i];

        rules[i] = (struct caller_rule) {.kind = from->kind,
                                         .uid = from->uid,
                                         .name = from->name,
                                         .weight = from->weight,
                                         .class = from->class,
                                         .max_running = from->max_running,
                                         .max_queued = from->max_queued};
    }
    for (size_t i = 0; i < c->n_keys; i++) { /* its class is asked for when it comes in */
        rules[c->n_callers + i] = (struct caller_rule) {
            .kind = CALLER_KEY, .name = c->keys[i].id, .weight = c->keys[i].weight};
    }
    *ret = rules;
    *ret_n = n;
    return 0;
}

/* Keys have theirs in sluice.keys alone: one in sluice.callers has none (config_callers.c). */
int config_params_quotas(const struct config *c, struct quota_limit **ret, size_t *ret_n)
{
    size_t n_max = c->n_keys + c->n_callers, n = 0;
    struct quota_limit *limits = n_max > 0 ? calloc(n_max, sizeof *limits) : NULL;

    if (n_max > 0 && !limits) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < c->n_keys; i++) {
        const struct config_access_key *k = &c->keys[i];

        limits[n++] = (struct quota_limit) {.owner = {.kind = CALLER_KEY, .name = k->id},
                                            .rpm = k->rpm,
                                            .tpm = k->tpm,
                                            .max_parallel = k->max_parallel};
    }
    for (size_t i = 0; i < c->n_callers; i++) {
        const struct config_caller *from = &c->callers[i];

        if (from->rpm > 0 || from->tpm > 0 || from->max_parallel > 0) {
            limits[n++] = (struct quota_limit) {
                .owner = {.kind = from->kind, .uid = from->uid, .name = from->name},
                .rpm = from->rpm,
                .tpm = from->tpm,
                .max_parallel = from->max_parallel};
        }
    }
    *ret = limits;
    *ret_n = n;
    return 0;
}

/* A device with one of these may hold models in memory of its own. NVIDIA's, AMD's. */
static bool has_gpu(const char *root)
{
    static const char *const nodes[] = {"/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd"};
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        if (snprintf(path, sizeof path, "%s%s", root, nodes[i]) < (int) sizeof path &&
            access(path, F_OK) == 0) {
            return true;
        }
    }
    return false;
}

struct residency_params config_params_residency(const struct config *c)
{
    bool is_auto = c->prompt_cache_bytes == CONFIG_SIZE_AUTO;
    struct residency_params p = {
        .is_on = c->memory_enabled,
        .has_gpu = has_gpu(c->kernel_root),
        .reserve_bytes = c->memory_reserve_bytes == CONFIG_SIZE_AUTO ? 0 : c->memory_reserve_bytes,
        .cache_bytes = is_auto ? 0 : c->prompt_cache_bytes,
        .is_cache_unbounded = is_auto,
    };

    memcpy(p.max_wait_usec, c->max_wait_usec, sizeof p.max_wait_usec);
    return p;
}

const char *config_params_kernel_root(const struct config *c)
{
    return !c->pressure_enabled ? NULL : c->kernel_root ? c->kernel_root : "";
}

struct model_server_spec config_params_model_server(const struct config *c)
{
    struct model_server_spec spec;

    memset(&spec, 0, sizeof spec); /* the gaps too: specifications are compared as bytes */
    (void) strncpy(spec.group, c->pressure_group ? c->pressure_group : "", sizeof spec.group - 1);
    for (size_t i = 0; i < c->n_deployments; i++) {
        const struct config_deployment *d = &c->deployments[i];

        if (!d->off_reason) {
            model_server_add(&spec, d->api_base, strcmp(d->provider, "ollama") == 0);
        }
    }
    return spec;
}

int config_params_keys(const struct config *c, struct access_key **ret)
{
    struct access_key *keys = c->n_keys > 0 ? calloc(c->n_keys, sizeof *keys) : NULL;

    if (c->n_keys > 0 && !keys) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < c->n_keys; i++) {
        const struct config_access_key *k = &c->keys[i];

        keys[i] = (struct access_key) {
            .id = k->id,
            .sha256 = k->sha256,
            .models = (const char *const *) k->models.items,
            .n_models = k->models.n_items,
            .class = k->class,
            .expires_at_sec = k->expires_at_sec,
        };
    }
    *ret = keys;
    return 0;
}

bool config_params_checks_callers(const struct config *c)
{
    return c->master_key || c->n_keys > 0;
}
