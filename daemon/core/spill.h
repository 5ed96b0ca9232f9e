#pragma once
/*
 * When a call leaves the device although the device could be asked: the rule. Pure: what is known of
 * a call's chances here comes in, a reason comes out.
 *
 *   level           memory is at a level that the configuration names, or above
 *   predicted_wait  the call would wait here for longer than the configuration names, or is refused
 *                   because too many wait
 *   no_room         its model cannot be loaded: memory is too little, or loading it failed
 *
 * Only calls that this device would serve are spilled, and only to deployments that are not on it:
 * deployment.is_local, which is known of addresses of this machine, Unix sockets and what is tagged
 * local_only, and which holds the calls that must not leave as well. Where it goes is
 * spill_target.h's, going there and coming back call_spill.c's.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/pressure.h"
#include "proto/errcode.h"

enum spill_reason {
    SPILL_NONE, /* it stays */
    SPILL_LEVEL,
    SPILL_PREDICTED_WAIT,
    SPILL_NO_ROOM,
    _SPILL_MAX,
};

/* sluice.spill. All zero: nothing is ever spilled. */
struct spill_rules {
    enum pressure_level level;    /* from which on; PRESSURE_L0: whatever the level */
    uint64_t predicted_wait_usec; /* above which; 0: however long it is */
};

/* What would become of a call here. */
struct spill_prospect {
    bool is_here; /* this device would serve it */
    enum pressure_level level;
    uint64_t wait_usec;   /* predicted; 0: none, or not known */
    enum errcode refusal; /* what it is refused with, or ERRCODE_NONE */
};

bool spill_is_on(const struct spill_rules *rules);

/* Is the level such that calls leave for its sake alone? */
bool spill_is_by_level(const struct spill_rules *rules, enum pressure_level level);

enum spill_reason spill_reason(const struct spill_rules *rules, const struct spill_prospect *p);

/* "level", "predicted_wait", "no_room": in headers, records, labels. NULL for SPILL_NONE. */
const char *spill_reason_name(enum spill_reason reason);
