#pragma once
/* How a call failed: what the getters sluice_call_error_*() show. Filled from a ttrpc status, or by
 * the library itself. */
#include <stdbool.h>
#include <stdint.h>

#include "proto/frame.h"

#define FAILURE_CODE_MAX 64
/* the daemon's texts are under 240 bytes; other servers' may be cut */
#define FAILURE_MESSAGE_MAX 512
#define FAILURE_PARAM_MAX   64

enum failure_kind {
    FAILURE_NONE = 0,        /* ended as it should: no failure by itself */
    FAILURE_CONNECTION_LOST, /* these three only the library says */
    FAILURE_ANSWER_CUT,
    FAILURE_BAD_ANSWER,
    FAILURE_STALLED_READER, /* these are rows of errors.def */
    FAILURE_OUT_OF_MEMORY,
    FAILURE_CANCELLED,
    FAILURE_DEADLINE,
    _FAILURE_MAX
};

struct failure {
    char code[FAILURE_CODE_MAX];
    char message[FAILURE_MESSAGE_MAX];
    char param[FAILURE_PARAM_MAX];
    int http_status, rpc_status;
    bool is_retryable;
    uint64_t retry_after_usec;
};

/* kind is not FAILURE_NONE. why: a few words more, or NULL. */
void failure_set(struct failure *f, enum failure_kind kind, const char *why);

/* Out of a response whose code is not 0. Foreign servers send no detail: then the code is the
 * nearest word we have. */
void failure_set_status(struct failure *f, const struct frame_response *res);
