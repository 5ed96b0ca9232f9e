#pragma once
/*
 * How the daemon stops.
 *
 *   RUNNING ──stop──► CLOSING_DOOR ──LIFECYCLE_GRACE_USEC──► DRAINING ──drain time──► CUT
 *       CUT ──LIFECYCLE_CUT_USEC──► the loop ends
 *
 * and from any of the last three as soon as no connection is left. Being asked twice cuts at once.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "core/call.h"
#include "frontend/frontend.h"
#include "sockets.h"
#include "supervisor.h"

/* for requests that were on their way when the signal came */
#define LIFECYCLE_GRACE_USEC (500 * UINT64_C(1000))
#define LIFECYCLE_CUT_USEC   (2 * UINT64_C(1000000)) /* after the drain: for error events to leave */

enum lifecycle_state {
    LIFECYCLE_RUNNING,
    LIFECYCLE_CLOSING_DOOR,
    LIFECYCLE_DRAINING,
    LIFECYCLE_CUT
};

/* What a stop acts on. All borrowed; they outlive the lifecycle. */
struct lifecycle_parts {
    sd_event *event;
    struct call_registry *registry;
    struct admission *admission;
    struct frontends *frontends;
    struct sockets *sockets;
    struct supervisor *supervisor;
    void (*on_work)(void *ctx); /* a turn that runs the registry is wanted */
    void *ctx;
};

struct lifecycle {
    enum lifecycle_state state;
    struct lifecycle_parts parts;
    sd_event_source *timer; /* the end of the state; off while RUNNING */
    uint64_t drain_usec;    /* may be set at any time; read when a stop begins and when it drains */
};

/* 0 or -errno. */
int lifecycle_init(struct lifecycle *l, const struct lifecycle_parts *parts) MUST_USE;
void lifecycle_done(struct lifecycle *l); /* accepts a zeroed struct */

static inline bool lifecycle_is_running(const struct lifecycle *l)
{
    return l->state == LIFECYCLE_RUNNING;
}

/* Begins to stop; ends all calls at once when it has begun already. */
void lifecycle_stop(struct lifecycle *l);

/*
 * At the end of a turn. is_busy: the registry wants to run once more, and its calls are not in the
 * log yet.
 */
void lifecycle_turn(struct lifecycle *l, bool is_busy);
