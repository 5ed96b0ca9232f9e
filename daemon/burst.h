#pragma once
/*
 * Many of the same within a short time, told once when it begins and once when it is over.
 *
 *   quiet ──n within the window──► burst ──none for a whole window──► quiet
 *
 * Pure: the caller brings the clock.
 */
#include <stdbool.h>
#include <stdint.h>

#define BURST_KINDS 4

struct burst_limits {
    uint32_t n;
    uint64_t window_usec;
};

struct burst {
    bool is_on;
    bool is_spent;                        /* told that it is over: the next one counts anew */
    uint64_t began_at_usec, last_at_usec; /* of the window while quiet, of the burst while on */
    uint32_t n_all;
    uint32_t n[BURST_KINDS];
};

/* One more, of a kind < BURST_KINDS. True: this one makes it a burst. */
bool burst_count(struct burst *b, const struct burst_limits *limits, unsigned kind,
                 uint64_t now_usec);

/* When a burst is over if nothing more comes; USEC_NEVER while quiet. */
uint64_t burst_over_at(const struct burst *b, const struct burst_limits *limits);

/*
 * Ends a burst that is over: true, once. What was counted stays until the next burst_count(), and
 * last_at_usec - began_at_usec is how long it took.
 */
bool burst_end(struct burst *b, const struct burst_limits *limits, uint64_t now_usec);
