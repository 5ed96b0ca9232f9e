#pragma once
/*
 * Which model group is asked instead, when the one that was asked for does not serve a call: of the
 * request's own list, or of the configuration's lists for the names that were asked before. Whether
 * a failure leads to another group at all is core/attempts.h's.
 *
 * Owns nothing, changes nothing: a call that goes on, and an explanation, get the same answer.
 */
#include <stddef.h>
#include <stdint.h>

#include "core/request.h"
#include "core/router.h"

/* Who asks. All borrowed. */
struct fallback_call {
    const struct router_wish *wish;
    const struct request_routing *routing; /* its own list, in the place of all others; or NULL */
    const struct str *asked;               /* the model that was asked for, then each fallback */
    size_t n_asked;                        /* at least 1 */
};

/*
 * The next name to ask: from the lists of the group that failed, then of those that led to it.
 * Absent: there is none, or enough were asked (max_fallbacks). One that could not serve the call, as
 * far as names, wishes and pauses go, is passed over; how long it has to wait there is found out in
 * the queue.
 */
struct str fallback_find(struct router *r, const struct fallback_call *c, enum fallback_kind kind,
                         uint64_t now_usec);
