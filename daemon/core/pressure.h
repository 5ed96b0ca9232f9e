#pragma once
/*
 * Memory pressure as a level from 0 to 4, from samples of /proc/pressure/memory. Pure: samples come
 * in, a level comes out.
 *
 * What counts is the growth of total= over the last two seconds and not avg10, which lags by five
 * to twelve seconds.
 *
 *            L1 guarded   L2 high   L3 critical   L4 emergency
 *   some       10 %         25 %       50 %            -
 *   full        5 %         15 %       30 %        60 % for 3 s
 *
 * Up: at once to the highest level that two samples in a row reach. Down: one level at a time, when
 * for the hold time of the level no cell of it was reached at half its value; the hold doubles (up
 * to 8 times) when the level rises again within a minute of a fall.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/str.h"

#define PRESSURE_WINDOW_USEC (2 * UINT64_C(1000000))
#define PRESSURE_RING        32 /* samples; 2 s at the fastest rate of 10 per second, and room */
/*
 * Samples closer together are not taken: a storm of short calls would leave a ring that is much
 * shorter than the window.
 */
#define PRESSURE_SPACING_USEC (PRESSURE_WINDOW_USEC / 25)

enum pressure_level { PRESSURE_L0, PRESSURE_L1, PRESSURE_L2, PRESSURE_L3, PRESSURE_L4 };

struct pressure_sample {
    uint64_t at_usec;
    uint64_t some_total_usec;
    uint64_t full_total_usec;
};

struct pressure {
    struct pressure_sample ring[PRESSURE_RING];
    size_t n_samples, head; /* head: where the next one goes */
    enum pressure_level level;
    unsigned some_permille, full_permille; /* over the window, at the last sample */
    enum pressure_level seen; /* what the last sample alone would say: two in a row count */
    uint64_t full_since_usec; /* since when full is over the L4 value; 0: it is not */
    uint64_t calm_since_usec; /* since when the level could fall; 0: it could not */
    uint64_t fell_at_usec;    /* last fall */
    uint64_t l0_since_usec;
    unsigned hold_factor; /* 1, 2, 4, 8 */
    bool is_blind;        /* no readable source: the level stays where it is told */
};

void pressure_init(struct pressure *p);

/* Would a sample of now be taken? One that would not need not be read. */
bool pressure_is_due(const struct pressure *p, uint64_t now_usec);

/*
 * Takes a sample, when it is due, and returns the level. Samples come in order of time; a total
 * that went backwards restarts the window.
 */
enum pressure_level pressure_update(struct pressure *p, const struct pressure_sample *s);

/*
 * The source cannot be read (any more): L1, as nothing is known for certain; with no source at all
 * from the start, L0.
 */
void pressure_set_blind(struct pressure *p, bool was_readable);

/* How long until the next sample is due: 0 calls and level 0 need none (USEC_NEVER). */
uint64_t pressure_interval_usec(const struct pressure *p, bool is_active);

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=123\nfull ..." -> totals. 0 or -EBADMSG. */
int pressure_parse(struct str text, struct pressure_sample *ret_sample) MUST_USE;
