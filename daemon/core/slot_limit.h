#pragma once
/*
 * How many of a deployment's slots are used: all of them, unless its server or the device's memory
 * is in trouble.
 *
 *   min(slots, what its server stands, what the memory level leaves)
 *
 * Its server: halved when it says that it is overloaded, lets a call time out or fails to load, at
 * most once for all calls that were under way together; one more after ten that ended well (AIMD).
 * Memory: half of them (rounded up) at L2, one from L3; of what is on this device only.
 *
 * Latency says nothing here. A gradient of it wants dozens of samples in a window, a stable time
 * without load and room to step; this is a handful of calls a minute, whose time is that of their
 * tokens, on one to four slots.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/pressure.h"
#include "proto/errcode.h"

#define SLOT_LIMIT_CLEAN 10 /* calls that end well for one slot more */

/* Embedded in a deployment. All zero: no trouble was seen. */
struct slot_limit {
    unsigned n_less;      /* slots that are not used because of its server */
    unsigned n_clean;     /* that ended well since the last change */
    uint64_t cut_at_usec; /* when it was halved last; calls granted before that cut no more */
};

/* A call that was granted then has ended: ERRCODE_NONE, or why it failed. */
void slot_limit_note(struct slot_limit *l, unsigned n_slots, enum errcode code,
                     uint64_t granted_at_usec, uint64_t now_usec);

/* At least one. */
unsigned slot_limit_now(const struct slot_limit *l, unsigned n_slots, enum pressure_level level,
                        bool is_local);
