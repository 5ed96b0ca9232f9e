#pragma once
/*
 * How long a call would wait, from what is before it. A pure function, so that a queue that is
 * refused, explained and simulated is one and the same.
 *
 *   W = (rest of what runs + classes above + own before it + others up to one's own claim) / slots
 *
 * divided by the part of the slots that the class gets: what classes above took of late is taken
 * by them again while one waits. A class with a floor waits no longer than its floor makes it.
 * Others of the same class count only up to what the caller itself has waiting (times the ratio of
 * weights), less what they had more than it of late, or more what it had more than they
 * (fair_queue_before()): whoever has a long queue is served in turns with the others, so it must not
 * get them refused.
 */
#include <stdint.h>

struct wait_outlook {
    unsigned n_slots, n_free;  /* that serve the group now */
    unsigned n_ahead;          /* calls that wait and go before it */
    uint64_t residual_usec;    /* what is left of all that runs there */
    uint64_t above_usec;       /* queued in classes that go first */
    uint64_t class_usec;       /* queued in its own class, as far as it goes before the call */
    unsigned above_permille;   /* of the slots' time, taken by classes above of late */
    unsigned below_permille;   /* of the slots' time, kept for classes below that wait */
    unsigned floor_permille;   /* of the slots' time, that the class gets in any case; 0: none */
    uint64_t floor_first_usec; /* with a floor: what its own call costs, which must be saved up */
    uint64_t switch_usec;      /* to load the model */
};

/* At most an hour; switch_usec where a slot is free and nobody is before it. */
uint64_t predicted_wait(const struct wait_outlook *o);
