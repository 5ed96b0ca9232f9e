/*
 * See watchdog.h.
 *
 * After a pause of the whole process (SIGSTOP, a virtual machine that slept) the ping's own timer
 * may be dispatched before the deadlines that passed meanwhile. So a look that finds something late
 * is repeated soon, instead of leaving out half an interval.
 */
#include "watchdog.h"

#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/log.h"
#include "messages.h"

static bool is_late(uint64_t due_at_usec, uint64_t now_usec)
{
    return usec_add(due_at_usec, WATCHDOG_MARGIN_USEC) < now_usec;
}

enum watchdog_verdict watchdog_judge(const struct watchdog_view *view, uint64_t now_usec)
{
    if (is_late(view->turn_wanted_at_usec, now_usec)) {
        return WATCHDOG_TURN_LATE;
    }
    if (is_late(view->deadline_at_usec, now_usec)) {
        return WATCHDOG_DEADLINE_LATE;
    }
    return is_late(view->output_due_at_usec, now_usec) ? WATCHDOG_OUTPUT_LATE : WATCHDOG_HEALTHY;
}

static const char *what_is_late(enum watchdog_verdict verdict)
{
    switch (verdict) {
    case WATCHDOG_HEALTHY:
        return "nothing";
    case WATCHDOG_TURN_LATE:
        return "a turn of the loop";
    case WATCHDOG_DEADLINE_LATE:
        return "the end of a call whose deadline passed";
    case WATCHDOG_OUTPUT_LATE:
        return "the end of a connection that nobody reads";
    }
    return "?";
}

static void arm(struct watchdog *w, uint64_t now_usec)
{
    uint64_t half =
        w->interval_usec / 2 > WATCHDOG_MIN_USEC ? w->interval_usec / 2 : WATCHDOG_MIN_USEC;
    uint64_t next = w->is_late && WATCHDOG_RECHECK_USEC < half ? WATCHDOG_RECHECK_USEC : half;

    (void) sd_event_source_set_time(w->timer, usec_add(now_usec, next));
    (void) sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct watchdog *w = ctx;
    uint64_t now = clock_now_usec();
    struct watchdog_view view = w->look(w->ctx);
    enum watchdog_verdict verdict = watchdog_judge(&view, now);

    if (verdict == WATCHDOG_HEALTHY) {
        (void) sd_notify(0, "WATCHDOG=1");
    } else if (!w->is_late) {
        message_write(MESSAGE_WATCHDOG, LOG_LEVEL_ERROR, NULL, NULL,
                      "%s is more than %us late: the watchdog hears nothing until it has happened",
                      what_is_late(verdict), (unsigned) (WATCHDOG_MARGIN_USEC / USEC_PER_SEC));
    }
    w->is_late = verdict != WATCHDOG_HEALTHY;
    arm(w, now);
    return 0;
}

int watchdog_init(struct watchdog *w, sd_event *event, struct watchdog_view (*look)(void *ctx),
                  void *ctx)
{
    uint64_t interval = 0;
    int r = sd_watchdog_enabled(0, &interval);

    *w = (struct watchdog) {.interval_usec = interval, .look = look, .ctx = ctx};
    if (r < 0) {
        log_printf(LOG_LEVEL_ERROR, "WATCHDOG_USEC or WATCHDOG_PID is no number that can be used");
    }
    if (r <= 0) {
        return r;
    }
    /* an eighth of the interval: late enough to share a wake-up, early enough for the next ping */
    r = sd_event_add_time(event, &w->timer, CLOCK_MONOTONIC, USEC_NEVER, interval / 8 + 1, on_timer,
                          w);
    if (r < 0) {
        return r;
    }
    arm(w, clock_now_usec());
    return 0;
}

void watchdog_done(struct watchdog *w)
{
    w->timer = sd_event_source_disable_unref(w->timer);
}
