#pragma once
/*
 * Many devices at once, each with clients who think, ask, try again and think again. Answers what one
 * device cannot show:
 *
 *   - do Retry-After values bring clients back together? The autocorrelation of arrivals, of retries
 *     by themselves, and their peak after the moment at which all devices were crowded together
 *   - does a popular model starve the rest?
 *   - what do level falls do that happen everywhere at once: loads, refusals, kills, recovery
 */
#include <stdint.h>
#include <stdio.h>

struct fleet_params {
    unsigned n_devices;
    uint64_t seconds, seed;
};

/* A table on out, an object on json (NULL: none). */
void fleet_run(const struct fleet_params *params, FILE *out, FILE *json);
