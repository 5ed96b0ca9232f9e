/*
 * See memory_monitor.h.
 *
 * Who reads a pressure file starves unprivileged triggers on it (measured), so the trigger only
 * wakes a daemon that does not read, or seldom does.
 *
 * Must not: decide what a level means for anybody.
 */
#include "memory_monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "kernel/psi_trigger.h"

#define IDLE_USEC       (15 * USEC_PER_SEC)
#define IDLE_LEAST_USEC (250 * USEC_PER_MSEC)
#define UNSTARVED_USEC  (2 * USEC_PER_SEC) /* seldom enough for a trigger beside it */
#define ALERT_USEC      (2 * PRESSURE_WINDOW_USEC)
#define ALERT_EACH_USEC (250 * USEC_PER_MSEC)
#define ACCURACY_USEC   USEC_PER_MSEC

/* ---------------------------------------------------------------- when to look */

/* How long until the next sample; USEC_NEVER: not by the clock. */
static uint64_t next_interval(struct memory_monitor *m, uint64_t now_usec)
{
    uint64_t interval = pressure_interval_usec(m->pressure, m->is_active);

    if (now_usec < m->alert_until_usec && interval > ALERT_EACH_USEC) {
        return ALERT_EACH_USEC;
    }
    if (m->is_active || m->is_exposed || m->pressure->claims.is_loading) {
        m->idle_usec = IDLE_LEAST_USEC;
        return interval == USEC_NEVER ? IDLE_USEC : interval;
    }
    if (interval == USEC_NEVER) {
        m->idle_usec = IDLE_LEAST_USEC;
        return USEC_NEVER;
    }
    /* Nobody could be hurt: what is watched is only whether the level may be told to be lower. */
    interval = m->idle_usec;
    m->idle_usec = interval * 2 < IDLE_USEC ? interval * 2 : IDLE_USEC;
    return interval;
}

static void arm(struct memory_monitor *m, uint64_t now_usec)
{
    uint64_t interval = next_interval(m, now_usec);

    if (interval == USEC_NEVER) {
        (void) sd_event_source_set_enabled(m->timer, SD_EVENT_OFF);
    } else {
        (void) sd_event_source_set_time(m->timer, usec_add(now_usec, interval));
        (void) sd_event_source_set_enabled(m->timer, SD_EVENT_ONESHOT);
    }
    if (m->trigger) {
        (void) sd_event_source_set_enabled(m->trigger,
                                           interval >= UNSTARVED_USEC ? SD_EVENT_ON : SD_EVENT_OFF);
    }
}

/* ---------------------------------------------------------------- samples */

static void say_incomplete(struct memory_monitor *m, bool is_incomplete)
{
    if (is_incomplete && !m->is_incomplete) {
        log_printf(LOG_LEVEL_WARNING,
                   "memory pressure can no longer be read (%s): staying careful at level 1",
                   strerror(-m->reader.error));
    } else if (!is_incomplete && m->is_incomplete) {
        log_printf(LOG_LEVEL_NOTICE, "memory pressure can be read again");
    }
    m->is_incomplete = is_incomplete;
}

static void tell(struct memory_monitor *m, enum pressure_level before, uint64_t now_usec)
{
    enum pressure_level level = m->pressure->level;
    enum pressure_stage stage = pressure_stage(m->pressure, now_usec);

    if (level != before) {
        m->idle_usec = IDLE_LEAST_USEC;
        if (m->hooks.on_level) {
            m->hooks.on_level(m->hooks.ctx, before, level);
        }
    }
    if (stage != m->stage) {
        m->stage = stage;
        if (m->hooks.on_stage) {
            m->hooks.on_stage(m->hooks.ctx, stage);
        }
    }
}

void memory_monitor_sample(struct memory_monitor *m, uint64_t now_usec)
{
    enum pressure_level before = m->pressure->level;
    struct memory_sample s;

    if (!m->is_on) {
        return;
    }
    if (pressure_is_due(m->pressure, now_usec)) {
        if (m->is_active || m->is_exposed) {
            model_server_look(&m->server, now_usec);
        }
        memory_reader_read(&m->reader, now_usec, &s);
        if (m->hooks.on_sample) {
            m->hooks.on_sample(m->hooks.ctx, m->pressure, now_usec);
        }
        (void) pressure_update(m->pressure, &s);
        say_incomplete(m, s.is_incomplete);
        tell(m, before, now_usec);
    }
    arm(m, now_usec);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
    memory_monitor_sample(ctx, clock_now_usec());
    return 0;
}

static void drop_trigger(struct memory_monitor *m)
{
    m->trigger = sd_event_source_disable_unref(m->trigger);
    m->trigger_fd = fd_close(m->trigger_fd);
}

static int on_trigger(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
    struct memory_monitor *m = ctx;
    uint64_t now = clock_now_usec();

    if (revents & (EPOLLERR | EPOLLHUP)) { /* the kernel took it away: it would wake us for ever */
        log_printf(LOG_LEVEL_NOTICE, "the kernel took the trigger on memory pressure away");
        drop_trigger(m);
        m->pressure->rung = PRESSURE_RUNG_PSI;
    } else {
        pressure_hint(m->pressure);
        m->alert_until_usec = now + ALERT_USEC;
    }
    memory_monitor_sample(m, now);
    return 0;
}

/* ---------------------------------------------------------------- start and end */

static enum pressure_rung rung_of(const struct memory_monitor *m)
{
    return m->reader.has_psi       ? m->trigger_fd >= 0 ? PRESSURE_RUNG_TRIGGER : PRESSURE_RUNG_PSI
           : m->reader.has_vmstat  ? PRESSURE_RUNG_VMSTAT
           : m->reader.has_meminfo ? PRESSURE_RUNG_ROOM
                                   : PRESSURE_RUNG_NONE;
}

static void say_rung(const struct memory_monitor *m)
{
    int error = m->reader.psi_error;
    bool is_off = error == -ENOENT || error == -EOPNOTSUPP;

    switch (m->pressure->rung) {
    case PRESSURE_RUNG_TRIGGER:
    case PRESSURE_RUNG_PSI:
        log_printf(LOG_LEVEL_INFO, "memory is watched by %s",
                   pressure_rung_name(m->pressure->rung));
        break;
    case PRESSURE_RUNG_VMSTAT:
    case PRESSURE_RUNG_ROOM:
        log_printf(LOG_LEVEL_NOTICE,
                   "memory is watched by %s only: /proc/pressure/memory cannot be read (%s)%s",
                   pressure_rung_name(m->pressure->rung), strerror(-error),
                   is_off ? ": the kernel needs CONFIG_PSI, and psi=1 where it is off by default"
                          : "");
        break;
    case PRESSURE_RUNG_NONE:
        log_printf(LOG_LEVEL_NOTICE,
                   "memory is not watched: nothing of /proc can be read that tells of it");
        break;
    }
}

/* A trigger, where the kernel grants one. Quietly none elsewhere: old kernels ask for a privilege. */
static void open_trigger(struct memory_monitor *m, sd_event *event, int trigger_fd)
{
    int fd = trigger_fd >= 0 ? trigger_fd : psi_trigger_open(m->reader.psi.path);

    if (fd < 0) {
        return;
    }
    if (sd_event_add_io(event, &m->trigger, fd, EPOLLPRI, on_trigger, m) < 0) {
        (void) fd_close(fd);
        return;
    }
    m->trigger_fd = fd;
}

int memory_monitor_init(struct memory_monitor *m, sd_event *event,
                        const struct memory_sources *sources, struct pressure *pressure,
                        const struct memory_hooks *hooks)
{
    int r;

    *m = (struct memory_monitor) {.pressure = pressure,
                                  .hooks = *hooks,
                                  .trigger_fd = -1,
                                  .stage = PRESSURE_STAGE_NORMAL,
                                  .idle_usec = IDLE_LEAST_USEC};
    r = sd_event_add_time(event, &m->timer, CLOCK_MONOTONIC, USEC_NEVER, ACCURACY_USEC, on_timer,
                          m);
    if (r < 0) {
        return r;
    }
    (void) sd_event_source_set_enabled(m->timer, SD_EVENT_OFF);
    if (!sources->root) {
        return 0;
    }
    m->root = strdup(sources->root);
    r = m->root ? memory_reader_init(&m->reader, m->root) : -ENOMEM;
    if (r < 0) {
        return r;
    }
    model_server_init(&m->server, &m->reader, m->root);
    if (m->reader.has_psi) {
        open_trigger(m, event, sources->trigger_fd);
    }
    pressure->rung = rung_of(m);
    m->is_on = pressure->rung != PRESSURE_RUNG_NONE;
    say_rung(m);
    if (sources->server) {
        memory_monitor_set_server(m, sources->server, clock_now_usec());
    }
    memory_monitor_sample(m, clock_now_usec());
    return 0;
}

void memory_monitor_done(struct memory_monitor *m)
{
    if (m->pressure) { /* else zeroed: 0 is no descriptor of ours */
        m->timer = sd_event_source_disable_unref(m->timer);
        drop_trigger(m);
        memory_reader_done(&m->reader);
        free(m->root);
        m->root = NULL;
        m->pressure = NULL;
    }
}

void memory_monitor_set_server(struct memory_monitor *m, const struct model_server_spec *spec,
                               uint64_t now_usec)
{
    if (m->is_on) {
        model_server_set(&m->server, spec, now_usec);
    }
}

/*
 * The end of activity is noticed by the timer, one interval later: a busy device ends and begins
 * its activity many times a second, and none of that should cost a system call. An old sample is
 * one that the timer should have replaced already, too: the loop, or the whole machine, stood still.
 */
void memory_monitor_set_active(struct memory_monitor *m, bool is_active, uint64_t now_usec)
{
    uint64_t last = m->pressure->last_at_usec;
    int armed = SD_EVENT_OFF;

    m->is_active = is_active;
    if (!m->is_on || !is_active) {
        return;
    }
    if (last == USEC_NEVER || now_usec < last ||
        now_usec - last >= pressure_interval_usec(m->pressure, true)) {
        memory_monitor_sample(m, now_usec);
        return;
    }
    (void) sd_event_source_get_enabled(m->timer, &armed);
    if (armed == SD_EVENT_OFF) {
        arm(m, now_usec);
    }
}

void memory_monitor_set_exposed(struct memory_monitor *m, bool is_exposed, uint64_t now_usec)
{
    if (m->is_exposed != is_exposed) {
        m->is_exposed = is_exposed;
        memory_monitor_sample(m, now_usec);
    }
}
