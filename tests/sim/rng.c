/*
 * Chance from a seed.
 *
 * The generator is splitmix64 (Steele, Lea, Flood 2014); log, exp and cos are the C library's, whose
 * last bit may differ between machines: there a run may be another one, of the same kind.
 */
#include "tests/sim/rng.h"

#include <math.h>

void rng_init(struct rng *r, uint64_t seed, uint64_t stream)
{
    r->state = seed * UINT64_C(0x9e3779b97f4a7c15) + stream * UINT64_C(0xd1b54a32d192ed03);
    (void) rng_next(r);
}

uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double rng_share(struct rng *r)
{
    return ((double) (rng_next(r) >> 11) + 0.5) / (double) (UINT64_C(1) << 53);
}

uint64_t rng_between(struct rng *r, uint64_t low, uint64_t high)
{
    return low + rng_next(r) % (high - low + 1);
}

double rng_exponential(struct rng *r, double mean)
{
    return -mean * log(rng_share(r));
}

double rng_lognormal(struct rng *r, double mean, double sigma)
{
    double radius = sqrt(-2 * log(rng_share(r))), angle = 2 * M_PI * rng_share(r);

    return mean * exp(sigma * radius * cos(angle) - sigma * sigma / 2);
}

double rng_log_uniform(struct rng *r, double low, double high)
{
    return low * exp(rng_share(r) * log(high / low));
}
