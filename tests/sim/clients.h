#pragma once
/*
 * The clients of one device: intents that are born at random moments (open loop), and how a program
 * with the openai package pursues each: it waits so long for the first byte, tries again twice
 * after a refusal or a time-out, when Retry-After says, else after 0.5 s, 1 s ... (less up to a
 * quarter by chance).
 *
 * Of what is counted: intents that were born after the warm-up and early enough that the longest
 * limit is over before the run is.
 */
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/policy.h"
#include "tests/sim/samples.h"

#define CLIENTS_MAX_RETRIES 2

struct class_tally {
    uint64_t n_born, n_good, n_attempts;
    struct samples waits;  /* seconds in the queue, of attempts that got a slot */
    struct samples firsts; /* seconds from birth to the first token, of good intents */
};

struct caller_tally {
    uint64_t n_born, n_good, good_slot_usec;
    struct samples firsts;
};

struct clients {
    const struct setting *setting; /* borrowed */
    struct event_heap *heap;       /* borrowed */
    struct policy *policy;         /* borrowed */
    struct rng births, wishes, pauses;
    double load; /* offered : capacity */
    struct sim_event next_birth;
    uint64_t began_at_usec, count_from_usec, count_to_usec, ends_at_usec;
    struct intent *alive; /* owned */
    /* what came of it all */
    struct class_tally classes[SETTING_CLASSES];
    struct caller_tally callers[SETTING_MAX_CALLERS];
    uint64_t n_shed[_ERRCODE_MAX]; /* attempts that were refused */
    uint64_t n_timeouts;           /* attempts that their clients gave up */
    uint64_t n_attempts;           /* of counted intents, as the three above */
    uint64_t good_tokens;          /* of good answers that ended after the warm-up */
    uint64_t good_slot_usec;
};

/* Begins at the heap's now; ends after setting.seconds. */
void clients_init(struct clients *c, const struct setting *setting, struct event_heap *heap,
                  struct policy *policy, double load, uint64_t seed);
void clients_done(struct clients *c); /* after its policy was freed */
