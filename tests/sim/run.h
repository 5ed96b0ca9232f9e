#pragma once
/* One device, one policy, one load, one seed; and what all seeds together say. */
#include <stdbool.h>

#include "tests/sim/clients.h"

/* Figures of one run; each is given with its interval over the seeds. */
enum figure {
    FIGURE_GOODPUT,          /* good intents per second : min(offered, capacity) */
    FIGURE_TOKEN_GOODPUT,    /* good tokens per second : what the slot makes of such a mix */
    FIGURE_GOOD_INTERACTIVE, /* share of the intents born */
    FIGURE_GOOD_BATCH,
    FIGURE_ATTEMPTS,        /* per intent */
    FIGURE_WASTED,          /* share of slot time that was spent on what was not good */
    FIGURE_WASTED_TOKENS,   /* share of the tokens made */
    FIGURE_WASTED_SLOT_SEC, /* per minute */
    FIGURE_JAIN,            /* of the callers' good slot time : their fair share */
    FIGURE_VICTIMS_GOOD,    /* share of the intents of all callers but the first */
    FIGURE_VICTIMS_P95,     /* seconds from birth to the first token, of their good intents */
    _FIGURE_MAX,
};

struct result {
    const char *setting, *policy;
    double load;
    struct samples figures[_FIGURE_MAX];                            /* by seed */
    struct samples waits[SETTING_CLASSES], firsts[SETTING_CLASSES]; /* of all seeds */
    uint64_t n_shed[_ERRCODE_MAX], n_timeouts, n_attempts, n_intents;
};

const char *figure_name(enum figure f);

/* Adds a run of that seed. */
void result_add_run(struct result *r, const struct setting *setting, uint64_t seed);
void result_done(struct result *r);
