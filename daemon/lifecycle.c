/*
 * The stop sequence: see lifecycle.h for the states.
 *
 * The door is closed first; who came through it before may still say what it came for. Without that
 * a request that is on its way when the signal comes would meet a closed connection. Waiting calls
 * end when the drain begins, running ones when it is over.
 *
 * Owns one timer. Must not: end a call itself (the registry does), or free anything.
 */
#include "lifecycle.h"

#include "announce.h"
#include "base/clock.h"

static void enter(struct lifecycle *l, enum lifecycle_state state, uint64_t for_usec)
{
    l->state = state;
    (void) sd_event_source_set_time(l->timer, usec_add(clock_now_usec(), for_usec));
    (void) sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT);
    l->parts.on_work(l->parts.ctx);
}

static void close_door(struct lifecycle *l)
{
    supervisor_stopping(l->parts.supervisor,
                        LIFECYCLE_GRACE_USEC + l->drain_usec + LIFECYCLE_CUT_USEC);
    announce_draining(l->parts.registry->n_calls, l->drain_usec);
    sockets_close(l->parts.sockets);
    frontends_close_door(l->parts.frontends, clock_now_usec());
    enter(l, LIFECYCLE_CLOSING_DOOR, LIFECYCLE_GRACE_USEC);
}

static void drain(struct lifecycle *l)
{
    l->parts.admission->is_draining = true;
    registry_cancel_waiting(l->parts.registry, ERRCODE_DRAINING, clock_now_usec());
    frontends_close_idle(l->parts.frontends, clock_now_usec());
    enter(l, LIFECYCLE_DRAINING, l->drain_usec);
}

static void cut(struct lifecycle *l)
{
    size_t n = l->parts.registry->n_calls;

    if (n > 0) {
        announce_drain_cut(n);
    }
    l->parts.admission->is_draining = true;
    registry_cancel_all(l->parts.registry, ERRCODE_DRAINING, clock_now_usec());
    frontends_close_idle(l->parts.frontends, clock_now_usec());
    enter(l, LIFECYCLE_CUT, LIFECYCLE_CUT_USEC);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct lifecycle *l = ctx;

    switch (l->state) {
    case LIFECYCLE_RUNNING:
        break;
    case LIFECYCLE_CLOSING_DOOR:
        drain(l);
        break;
    case LIFECYCLE_DRAINING:
        cut(l);
        break;
    case LIFECYCLE_CUT:
        (void) sd_event_exit(l->parts.event, 0); /* what could not leave by now will not */
        break;
    }
    return 0;
}

void lifecycle_stop(struct lifecycle *l)
{
    switch (l->state) {
    case LIFECYCLE_RUNNING:
        close_door(l);
        break;
    case LIFECYCLE_CLOSING_DOOR:
    case LIFECYCLE_DRAINING:
        cut(l);
        break;
    case LIFECYCLE_CUT:
        break;
    }
}

void lifecycle_turn(struct lifecycle *l, bool is_busy)
{
    if (l->state != LIFECYCLE_RUNNING && !is_busy && frontends_are_idle(l->parts.frontends)) {
        (void) sd_event_exit(l->parts.event, 0);
    }
}

int lifecycle_init(struct lifecycle *l, const struct lifecycle_parts *parts)
{
    int r;

    *l = (struct lifecycle) {.state = LIFECYCLE_RUNNING, .parts = *parts};
    r = sd_event_add_time(parts->event, &l->timer, CLOCK_MONOTONIC, USEC_NEVER, 1000, on_timer, l);
    return r < 0 ? r : sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
}

void lifecycle_done(struct lifecycle *l)
{
    l->timer = sd_event_source_disable_unref(l->timer);
}
