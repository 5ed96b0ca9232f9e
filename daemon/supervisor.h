#pragma once
/*
 * What the service manager is told: sd_notify(3), the only place that calls it (the watchdog's
 * ping apart). Nothing at all is done where nobody listens ($NOTIFY_SOCKET is not set).
 *
 *   READY=1           when the first request can be answered, and after a reload
 *   RELOADING=1       with MONOTONIC_USEC, as Type=notify-reload wants it
 *   STATUS=           one line: what is served, what runs, what waits. When it has changed, at most
 *                     once per SUPERVISOR_STATUS_USEC: a change within that time is told at its end,
 *                     by a timer that is armed for it. An idle daemon sleeps.
 *   STOPPING=1        with EXTEND_TIMEOUT_USEC for the whole of the stop, so that TimeoutStopSec=
 *                     need not know timeouts.drain
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/macros.h"

#define SUPERVISOR_STATUS_USEC     UINT64_C(1000000)
#define SUPERVISOR_STATUS_MAX      512
#define SUPERVISOR_STOP_SPARE_USEC UINT64_C(1000000) /* for the process to end after the stop */

/* What a status line is made of. */
struct supervisor_view {
    size_t n_models, n_running, n_queued;
    int level;           /* of memory pressure */
    const char *problem; /* borrowed, compared as a pointer; why nothing is served, or NULL */
};

struct supervisor {
    bool is_listening;
    bool has_stopped; /* STOPPING=1 was told: no status after it */
    sd_event_source *timer;
    uint64_t told_at_usec;
    struct supervisor_view told, latest;
};

/* 0 or -errno. Reads $NOTIFY_SOCKET. */
int supervisor_init(struct supervisor *s, sd_event *event) MUST_USE;
void supervisor_done(struct supervisor *s); /* accepts a zeroed struct */

void supervisor_ready(struct supervisor *s, const struct supervisor_view *view, uint64_t now_usec);
void supervisor_reloading(struct supervisor *s, uint64_t now_usec);
/* stop_usec: the longest that the stop takes. */
void supervisor_stopping(struct supervisor *s, uint64_t stop_usec);
/* At the end of each turn. */
void supervisor_turn(struct supervisor *s, const struct supervisor_view *view, uint64_t now_usec);

/*
 * "2 models: 1 call running, 0 queued, memory pressure level 0", or "Degraded: PROBLEM". For tests
 * and for supervisor.c.
 */
void supervisor_format(const struct supervisor_view *view, char ret[SUPERVISOR_STATUS_MAX]);
