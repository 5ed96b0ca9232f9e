#pragma once
/*
 * What a run is about: the answers that clients want, how long they wait for them, how fast the
 * model server is, and who the clients are. Constants, with names.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/rng.h"

#define SETTING_CLASSES     2 /* interactive and batch, as enum call_class counts them */
#define SETTING_MAX_CALLERS 8

struct setting {
    const char *name;
    uint64_t seconds, warm_seconds;
    /* answers: either lognormal service, or tokens between two numbers */
    double mean_service_sec, sigma; /* 0: by tokens */
    uint64_t min_tokens[SETTING_CLASSES], max_tokens[SETTING_CLASSES];
    uint64_t prefill_usec, token_usec;
    /*
     * Limits: of the first token, or of the whole answer; from the birth of the intent, or from each
     * attempt. A client waits for so long for the first byte of each attempt, and says so as the openai
     * package does.
     */
    uint64_t limit_usec[SETTING_CLASSES];
    bool is_whole[SETTING_CLASSES], is_from_birth;
    /* clients leave for good when the intent's limit is over, also in the middle of its answer */
    bool leaves_at_limit;
    /* sluice.queue.patience as an operator of such a device would have it; 0: the default */
    uint64_t patience_usec[SETTING_CLASSES];
    double interactive_share;
    double caller_shares[SETTING_MAX_CALLERS]; /* of the arrivals, adding up to 1 */
    size_t n_callers;
};

/* By name ("sketch", "bench", "attempt", "hog", "deadline", "deadline-hog"), or NULL. */
const struct setting *setting_find(const char *name);

/* Tokens of an answer. */
uint64_t setting_draw_tokens(const struct setting *s, size_t class, struct rng *rng);

/* Of an answer and of its tokens, on average: the capacity of one slot. */
double setting_mean_service_sec(const struct setting *s);
double setting_mean_tokens(const struct setting *s);
