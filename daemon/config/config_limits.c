/*
 * See config_limits.h.
 *
 * LiteLLM gives max_parallel_requests three meanings: its documentation says a deployment's
 * (docs/proxy/config_settings.md), its code a key's (litellm/proxy/_types.py), and litellm_params
 * have one of their own. Here it is what its documentation says, the default of the deployments:
 * keys have their own limits in sluice.keys.
 *
 * Owns nothing.
 */
#include "config/config_limits.h"

#include "config/config_value.h"

#define MAX_SLOTS    1024  /* as sluice.slots */
#define MAX_PARALLEL 65536 /* as sluice.limits.connections: no more calls than that can be */
#define MIB          (UINT64_C(1) << 20)
/* as sluice.limits.body */
#define MAX_BODY_MIB   1024
#define MIN_BODY_BYTES 1024

/* A whole number of general_settings, or false: not there, or reported. */
static bool find_count(struct config_reader *r, const char *name, uint64_t most, uint64_t *ret)
{
    const struct config_node *at =
        config_node_find(config_node_find(r->root, "general_settings"), name);
    char why[CONFIG_WHY_MAX];

    if (config_reader_is_unset(at)) {
        return false;
    }
    if (!config_value_count(at, 1, most, ret, why)) {
        config_reader_error(r, at, true, "%s", why);
        return false;
    }
    return true;
}

/* LiteLLM takes fractions of a MB, and means 1024 * 1024 (litellm/proxy/auth/auth_utils.py). */
static void take_body_size(struct config_reader *r, const struct config_node *at)
{
    const struct config_node *limits =
        config_node_find(config_node_find(r->root, "sluice"), "limits");
    struct config *c = r->config;
    char why[CONFIG_WHY_MAX];
    double mib;

    if (!config_value_number(at, MAX_BODY_MIB, &mib, why)) {
        config_reader_error(r, at, true, "%s", why);
        return;
    }
    if (mib * (double) MIB < MIN_BODY_BYTES) {
        config_reader_error(r, at, true, "must be at least %d bytes", MIN_BODY_BYTES);
        return;
    }
    if (config_node_find(limits, "body")) {
        config_reader_note(r, at, FINDING_IGNORED, "sluice.limits.body says it");
        return;
    }
    c->max_body_bytes = (size_t) (mib * (double) MIB);
    if (c->max_buffered_bytes >= c->max_body_bytes) {
        return;
    }
    if (config_node_find(limits, "buffered")) {
        config_reader_error(r, at, true,
                            "sluice.limits.buffered is smaller: no body of that size could ever be "
                            "read");
        return;
    }
    c->max_buffered_bytes = c->max_body_bytes;
    config_reader_note(
        r, at, FINDING_APPROXIMATED,
        "all bodies together may have as much (sluice.limits.buffered): one at a time");
}

void config_limits_read(struct config_reader *r)
{
    const struct config_node *at =
        config_node_find(config_node_find(r->root, "general_settings"), "max_request_size_mb");
    uint64_t n;

    if (!config_reader_is_unset(at)) {
        take_body_size(r, at);
    }
    if (find_count(r, "max_parallel_requests", MAX_SLOTS, &n)) {
        r->defaults.slots = (unsigned) n;
    }
    if (find_count(r, "global_max_parallel_requests", MAX_PARALLEL, &n)) {
        r->config->routing.max_parallel = (unsigned) n;
    }
}
