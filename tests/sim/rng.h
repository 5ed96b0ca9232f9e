#pragma once
/*
 * Chance from a seed (splitmix64): each thing that is left to chance has a stream of its own, so that
 * another policy meets the same clients with the same wishes.
 */
#include <stdint.h>

struct rng {
    uint64_t state;
};

void rng_init(struct rng *r, uint64_t seed, uint64_t stream);
uint64_t rng_next(struct rng *r);
double rng_share(struct rng *r);                                  /* in (0, 1) */
uint64_t rng_between(struct rng *r, uint64_t low, uint64_t high); /* both included */
double rng_exponential(struct rng *r, double mean);
double rng_lognormal(struct rng *r, double mean, double sigma); /* mean: of the values themselves */
double rng_log_uniform(struct rng *r, double low, double high);
