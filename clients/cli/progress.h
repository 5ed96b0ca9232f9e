#pragma once
/* The line that says what is waited for: a slot, a model. Only for people who look on. */
#include <stdbool.h>
#include <stdint.h>

#include "cli.h"

/* Zero-initialised but for is_wanted; one for each call. */
struct progress {
    bool is_wanted;      /* the answer goes to a terminal */
    uint32_t position;   /* in the queue; 0: it is being worked on */
    uint64_t since_usec; /* that is so; CLOCK_MONOTONIC. 0: neither, or the answer has begun */
};

/* As session_next(); says meanwhile where the call stands and for how long, until the answer begins
 * or the call ends. */
int progress_next(struct progress *p, sluice_call *call);
