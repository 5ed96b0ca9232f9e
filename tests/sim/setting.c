/*
 * The settings.
 *
 *   sketch        one slot, service lognormal with mean 12 s and sigma 0.8, half interactive (first
 *                 token within 20 s) and half batch (within 120 s); limits of each attempt
 *   bench         a small model on one slot: interactive 24 to 48 tokens, the first within 5 s; batch
 *                 64 to 128 tokens, all within 40 s; limits from the intent's birth
 *   attempt       bench, but limits from each attempt: who comes back is as good as new
 *   hog           bench, where one caller of five asks for ten times what each of the others does,
 *                 who together ask for 0.6 of the slot at a load of 2.1
 *   deadline      bench at 189 tokens/s, whose clients leave for good when the limit of their intent
 *                 is over: what the constants of admission were chosen with
 *   deadline-hog  the same, all interactive, with the callers of hog
 *
 * Must not: draw anything that depends on a policy.
 */
#include "tests/sim/setting.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"

#define HOG_SHARES {10.0 / 14, 1.0 / 14, 1.0 / 14, 1.0 / 14, 1.0 / 14}

#define BENCH                                                                                      \
    .seconds = 1800, .warm_seconds = 120, .min_tokens = {24, 64}, .max_tokens = {48, 128},         \
    .prefill_usec = 40000, .limit_usec = {5 * USEC_PER_SEC, 40 * USEC_PER_SEC},                    \
    .is_whole = {false, true}

static const struct setting settings[] = {
    {
        .name = "sketch",
        .seconds = 20000,
        .warm_seconds = 600,
        .mean_service_sec = 12,
        .sigma = 0.8,
        .prefill_usec = 500000,
        .token_usec = 100000,
        .limit_usec = {20 * USEC_PER_SEC, 120 * USEC_PER_SEC},
        .interactive_share = 0.5,
        .caller_shares = {1},
        .n_callers = 1,
    },
    {
        .name = "bench",
        BENCH,
        .is_from_birth = true,
        .token_usec = 10000,
        .interactive_share = 0.5,
        .caller_shares = {1},
        .n_callers = 1,
    },
    {
        .name = "attempt",
        BENCH,
        .token_usec = 10000,
        .interactive_share = 0.5,
        .caller_shares = {1},
        .n_callers = 1,
    },
    {
        .name = "hog",
        BENCH,
        .is_from_birth = true,
        .token_usec = 10000,
        .interactive_share = 0.5,
        .caller_shares = HOG_SHARES,
        .n_callers = 5,
    },
    {
        .name = "deadline",
        BENCH,
        .is_from_birth = true,
        .token_usec = 5300,
        .leaves_at_limit = true,
        .interactive_share = 0.5,
        .caller_shares = {1},
        .n_callers = 1,
    },
    {
        .name = "deadline-hog",
        BENCH,
        .is_from_birth = true,
        .token_usec = 5300,
        .leaves_at_limit = true,
        .interactive_share = 1,
        .caller_shares = HOG_SHARES,
        .n_callers = 5,
    },
};

const struct setting *setting_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (strcmp(settings[i].name, name) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

uint64_t setting_draw_tokens(const struct setting *s, size_t class, struct rng *rng)
{
    double usec;

    if (s->mean_service_sec <= 0) {
        return rng_between(rng, s->min_tokens[class], s->max_tokens[class]);
    }
    usec = 1e6 * rng_lognormal(rng, s->mean_service_sec, s->sigma) - (double) s->prefill_usec;
    return usec > (double) s->token_usec ? (uint64_t) (usec / (double) s->token_usec) : 1;
}

static double mean_tokens_of(const struct setting *s, size_t class)
{
    return (double) (s->min_tokens[class] + s->max_tokens[class]) / 2;
}

double setting_mean_tokens(const struct setting *s)
{
    if (s->mean_service_sec > 0) {
        return (s->mean_service_sec * 1e6 - (double) s->prefill_usec) / (double) s->token_usec;
    }
    return s->interactive_share * mean_tokens_of(s, 0) +
           (1 - s->interactive_share) * mean_tokens_of(s, 1);
}

double setting_mean_service_sec(const struct setting *s)
{
    return ((double) s->prefill_usec + setting_mean_tokens(s) * (double) s->token_usec) / 1e6;
}
