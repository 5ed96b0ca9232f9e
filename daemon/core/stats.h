#pragma once
/* Counters since start. Written by call.c, read by Control.Status and /metrics. */
#include <stdint.h>

#include "core/request.h"
#include "core/spill.h"
#include "proto/errcode.h"

struct stats {
    uint64_t n_completed;
    uint64_t n_failed;              /* had a slot and ended with an error */
    uint64_t n_cancelled;           /* by the client, whatever the state */
    uint64_t n_refused;             /* never had a slot */
    uint64_t n_relieved;            /* of n_failed: stopped for the memory of their model */
    uint64_t n_retries;             /* attempts after the first of a group */
    uint64_t n_fallbacks;           /* groups after the first of a call */
    uint64_t n_spilled[_SPILL_MAX]; /* calls that left the device, by the reason */
    uint64_t n_by_code[_ERRCODE_MAX];
    uint64_t tokens_in, tokens_out;
    uint64_t n_pieces; /* of text that came from model servers */
    /* by class: calls that got their first slot, and how long they had waited for it, together */
    uint64_t n_granted[_CLASS_MAX], waited_usec[_CLASS_MAX];
    uint64_t n_completed_class[_CLASS_MAX];
};

/* One ended call. code ERRCODE_NONE: completed. */
void stats_count(struct stats *s, enum errcode code, int had_slot);
