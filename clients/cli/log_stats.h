#pragma once
/* Finished calls in numbers: how they ended, how long they took, what they cost, for each model. */
#include <stddef.h>
#include <stdint.h>

#include "log_call.h"

#define LOG_MAX_GROUPS   200 /* models; a client may make names up: the rest is "(others)" */
#define LOG_MAX_OUTCOMES 64  /* more than errors.def has; the rest is "(others)" */

struct log_outcome {
    char name[LOG_TEXT_BYTES];
    uint64_t n;
};

/* Values in any order; sorted by log_stats_finish(). */
struct log_values {
    uint64_t *items; /* owned */
    size_t n, cap;
};

struct log_group {
    char model[LOG_TEXT_BYTES]; /* "": all models */
    uint64_t n_calls, n_completed;
    struct log_outcome
        *outcomes; /* owned, LOG_MAX_OUTCOMES; the most frequent first when finished */
    size_t n_outcomes;
    struct log_values queue, ttft, total;
    uint64_t tokens_in, tokens_out;
    uint64_t paced_tokens, paced_usec; /* of answers whose pace is known: after the first token */
};

struct log_stats {
    struct log_group all;
    struct log_group **groups; /* owned, LOG_MAX_GROUPS; by number of calls when finished */
    size_t n_groups;
    uint64_t first_usec, last_usec; /* of the calls counted; 0: none */
};

/* -ENOMEM leaves the statistics usable, less this call. Zeroed to begin with. */
int log_stats_add(struct log_stats *s, const struct log_call *call);
void log_stats_finish(struct log_stats *s);
void log_stats_done(struct log_stats *s);

/* The smallest value that at least permille of all do not exceed (nearest rank); LOG_ABSENT: there
 * are none. Of finished statistics. */
uint64_t log_percentile(const struct log_values *v, unsigned permille);

/* Tokens per second after the first, in tenths; LOG_ABSENT: not known. */
uint64_t log_pace_tenths(const struct log_group *g);
