/*
 * See supervisor.h.
 *
 * What sd_notify() returns is ignored, as its manual page recommends: there is nothing that a
 * service could do about it. A line is at most SUPERVISOR_STATUS_MAX bytes and holds no newline
 * (findings are printable by construction, config.c).
 */
#include "supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"

void supervisor_format(const struct supervisor_view *v, char ret[SUPERVISOR_STATUS_MAX])
{
    if (v->problem) {
        (void) snprintf(ret, SUPERVISOR_STATUS_MAX, "Degraded: %s", v->problem);
        return;
    }
    (void) snprintf(ret, SUPERVISOR_STATUS_MAX,
                    "%zu model%s: %zu call%s running, %zu queued, memory pressure level %d",
                    v->n_models, v->n_models == 1 ? "" : "s", v->n_running,
                    v->n_running == 1 ? "" : "s", v->n_queued, v->level);
}

static bool is_same(const struct supervisor_view *a, const struct supervisor_view *b)
{
    return a->n_models == b->n_models && a->n_running == b->n_running &&
           a->n_queued == b->n_queued && a->level == b->level && a->problem == b->problem;
}

/* prefix: "" or other assignments, each with its newline. */
static void tell_status(struct supervisor *s, const char *prefix,
                        const struct supervisor_view *view, uint64_t now_usec)
{
    char text[SUPERVISOR_STATUS_MAX];

    supervisor_format(view, text);
    (void) sd_notifyf(0, "%sSTATUS=%s", prefix, text);
    s->told = *view;
    s->told_at_usec = now_usec;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct supervisor *s = ctx;

    if (!s->has_stopped && !is_same(&s->latest, &s->told)) {
        tell_status(s, "", &s->latest, clock_now_usec());
    }
    return 0;
}

int supervisor_init(struct supervisor *s, sd_event *event)
{
    const char *address = getenv("NOTIFY_SOCKET");
    int r;

    *s = (struct supervisor) {.is_listening = address && address[0]};
    if (!s->is_listening) {
        return 0;
    }
    r = sd_event_add_time(event, &s->timer, CLOCK_MONOTONIC, USEC_NEVER, 100 * USEC_PER_MSEC,
                          on_timer, s);
    return r < 0 ? r : sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
}

void supervisor_done(struct supervisor *s)
{
    s->timer = sd_event_source_disable_unref(s->timer);
}

void supervisor_ready(struct supervisor *s, const struct supervisor_view *view, uint64_t now_usec)
{
    if (s->is_listening) {
        tell_status(s, "READY=1\n", view, now_usec);
    }
}

void supervisor_reloading(struct supervisor *s, uint64_t now_usec)
{
    if (s->is_listening) {
        (void) sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long) now_usec);
    }
}

void supervisor_stopping(struct supervisor *s, uint64_t stop_usec)
{
    uint64_t extend = usec_add(stop_usec, SUPERVISOR_STOP_SPARE_USEC);

    s->has_stopped = true;
    if (s->is_listening) {
        (void) sd_notifyf(0, "STOPPING=1\nSTATUS=Stopping\nEXTEND_TIMEOUT_USEC=%llu",
                          (unsigned long long) extend);
    }
}

void supervisor_turn(struct supervisor *s, const struct supervisor_view *view, uint64_t now_usec)
{
    uint64_t next = usec_add(s->told_at_usec, SUPERVISOR_STATUS_USEC);
    int enabled = SD_EVENT_OFF;

    if (!s->is_listening || s->has_stopped || s->told_at_usec == 0) {
        return; /* told_at_usec: nothing is told before READY=1 */
    }
    s->latest = *view;
    if (is_same(view, &s->told)) {
        return;
    }
    if (now_usec >= next) {
        tell_status(s, "", view, now_usec);
        return;
    }
    (void) sd_event_source_get_enabled(s->timer, &enabled);
    if (enabled == SD_EVENT_OFF) {
        (void) sd_event_source_set_time(s->timer, next);
        (void) sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
    }
}
