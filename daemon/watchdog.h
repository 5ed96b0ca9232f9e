#pragma once
/*
 * The service manager's watchdog (WatchdogSec=, sd_watchdog_enabled(3)): a ping every half of its
 * interval, but only while sluice does its work. A loop that turns says little: one that keeps
 * turning while no call ends, or none begins, is as dead for its clients.
 *
 * A work item is whatever has a moment by which the loop must have dealt with it. Three kinds, the
 * oldest of each known without a search worth the name:
 *
 *   a turn      asked for by want_turn(): due at once (run_registry() and frontends_turn() decide
 *               and send everything, so one that does not come stops all)
 *   a deadline  of a call, or of a place in the queue: registry_next_deadline()
 *   output      that its reader does not take: due after timeouts.stalled_reader
 *
 * An item may be late by WATCHDOG_MARGIN_USEC: the loop handles what is due in order, and on a
 * loaded device that takes its time. The limits of model servers are not looked at: they are timers
 * of the same loop as the ping.
 *
 * Where the manager has not asked for it there is no timer and no wake-up.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/macros.h"

#define WATCHDOG_MARGIN_USEC (10 * UINT64_C(1000000))
/* the next look after one that found something late: well within any sensible WatchdogSec= */
#define WATCHDOG_RECHECK_USEC UINT64_C(1000000)
/* between two looks, whatever the interval: one of a microsecond would keep the loop turning */
#define WATCHDOG_MIN_USEC UINT64_C(10000)

/* The oldest work items. USEC_NEVER: there is none of that kind. */
struct watchdog_view {
    uint64_t turn_wanted_at_usec;
    uint64_t deadline_at_usec;
    uint64_t output_due_at_usec;
};

enum watchdog_verdict {
    WATCHDOG_HEALTHY,
    WATCHDOG_TURN_LATE,
    WATCHDOG_DEADLINE_LATE,
    WATCHDOG_OUTPUT_LATE
};

/* Pure: is the oldest work younger than its limit? */
enum watchdog_verdict watchdog_judge(const struct watchdog_view *view, uint64_t now_usec);

struct watchdog {
    sd_event_source *timer; /* NULL: nobody asked for pings */
    uint64_t interval_usec;
    bool is_late; /* the last look found something late: said once */
    struct watchdog_view (*look)(void *ctx);
    void *ctx;
};

/* 0 or -errno. Reads $WATCHDOG_USEC and $WATCHDOG_PID. look is called for each ping. */
int watchdog_init(struct watchdog *w, sd_event *event, struct watchdog_view (*look)(void *ctx),
                  void *ctx) MUST_USE;
void watchdog_done(struct watchdog *w); /* accepts a zeroed struct */
