/*
 * See idle_exit.h.
 *
 * A busy daemon pays a comparison for each turn: the timer is not moved while it runs, it looks
 * again when it fires too early.
 */
#include "idle_exit.h"

#include <stdio.h>

#include "announce.h"
#include "base/clock.h"
#include "base/num.h"
#include "frontend/listener.h"

#define TIMER_ACCURACY_USEC (10 * USEC_PER_MSEC)

static bool is_idle(const struct idle_exit *x)
{
    return frontends_are_idle(x->frontends) && x->registry->n_calls == 0;
}

static void arm(struct idle_exit *x)
{
    (void) sd_event_source_set_time(x->timer, usec_add(x->idle_since_at_usec, x->after_usec));
    (void) sd_event_source_set_enabled(x->timer, SD_EVENT_ONESHOT);
    x->is_armed = true;
}

bool idle_exit_try(struct idle_exit *x, const char *why, uint64_t now_usec)
{
    if (!is_idle(x) || listeners_have_arrivals(x->frontends)) {
        return false;
    }
    announce_idle_exit(why);
    supervisor_stopping(x->supervisor, 0);
    (void) sd_event_exit(x->event, 0); /* no source is dispatched after this */
    return true;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct idle_exit *x = ctx;
    uint64_t now = clock_now_usec();
    char text[32], why[64];

    x->is_armed = false;
    if (x->after_usec == 0 || x->idle_since_at_usec == USEC_NEVER) {
        return 0; /* the turn that finds it idle arms it again */
    }
    (void) snprintf(why, sizeof why, "idle for %s", num_format_duration(x->after_usec, text));
    if (now < usec_add(x->idle_since_at_usec, x->after_usec)) {
        arm(x);
    } else if (!idle_exit_try(x, why, now)) {
        x->idle_since_at_usec = now; /* somebody has just come: the listener will see */
        arm(x);
    }
    return 0;
}

void idle_exit_turn(struct idle_exit *x, uint64_t now_usec)
{
    if (x->after_usec == 0) {
        return;
    }
    if (!is_idle(x)) {
        x->idle_since_at_usec = USEC_NEVER;
        return;
    }
    if (x->idle_since_at_usec == USEC_NEVER) {
        x->idle_since_at_usec = now_usec;
    }
    if (!x->is_armed) {
        arm(x);
    }
}

void idle_exit_set(struct idle_exit *x, uint64_t after_usec, uint64_t now_usec)
{
    x->after_usec = after_usec;
    x->is_armed = false;
    (void) sd_event_source_set_enabled(x->timer, SD_EVENT_OFF);
    idle_exit_turn(x, now_usec);
}

int idle_exit_init(struct idle_exit *x, sd_event *event, struct call_registry *registry,
                   struct frontends *frontends, struct supervisor *supervisor)
{
    int r;

    *x = (struct idle_exit) {.event = event,
                             .registry = registry,
                             .frontends = frontends,
                             .supervisor = supervisor,
                             .idle_since_at_usec = USEC_NEVER};
    r = sd_event_add_time(event, &x->timer, CLOCK_MONOTONIC, USEC_NEVER, TIMER_ACCURACY_USEC,
                          on_timer, x);
    return r < 0 ? r : sd_event_source_set_enabled(x->timer, SD_EVENT_OFF);
}

void idle_exit_done(struct idle_exit *x)
{
    x->timer = sd_event_source_disable_unref(x->timer);
}
