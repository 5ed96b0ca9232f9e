#pragma once
/*
 * Leaving when nobody needs sluice: for devices where the service manager holds the sockets and
 * starts sluiced when somebody connects.
 *
 * Idle is: no connection and no call (a watch is a call, a queued call has a connection). After
 * idle_exit of that, the daemon looks at its listening sockets once more. If somebody is there it
 * stays; else it says STOPPING=1 and ends, without accepting anything any more. Who connects from
 * then on waits in the kernel's queue of the socket, which the manager also holds, and is served by
 * the next sluiced. So a connection that was accepted and not read cannot be there at the end.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "core/call.h"
#include "frontend/frontend.h"
#include "supervisor.h"

struct idle_exit {
    sd_event *event; /* borrowed, and so are the next three */
    struct call_registry *registry;
    struct frontends *frontends;
    struct supervisor *supervisor;
    sd_event_source *timer;
    uint64_t after_usec;         /* 0: never */
    uint64_t idle_since_at_usec; /* USEC_NEVER: not idle */
    bool is_armed;               /* the timer runs; it looks again when it fires too early */
};

/* 0 or -errno. Sleeps until idle_exit_set(). */
int idle_exit_init(struct idle_exit *x, sd_event *event, struct call_registry *registry,
                   struct frontends *frontends, struct supervisor *supervisor) MUST_USE;
void idle_exit_done(struct idle_exit *x); /* accepts a zeroed struct */

/* May be called again: a reload changes it. 0: never. */
void idle_exit_set(struct idle_exit *x, uint64_t after_usec, uint64_t now_usec);

/* At the end of each turn, while the daemon is not stopping. */
void idle_exit_turn(struct idle_exit *x, uint64_t now_usec);

/* Ends the loop now if nothing is going on and nobody is at the door. */
bool idle_exit_try(struct idle_exit *x, const char *why, uint64_t now_usec);
