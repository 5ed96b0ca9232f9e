/*
 * Reading PSI: the I/O half of core/pressure.
 *
 * Who reads a pressure file starves unprivileged triggers on it (measured), so the trigger only
 * wakes a daemon that does not read: at level 0 without calls. The trigger is written with its
 * terminating NUL, or the kernel would cut the last digit. 2 s is the window that the kernel grants
 * everybody.
 */
#include "psi_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "kernel/kernel_text.h"

#define TRIGGER         "some 200000 2000000" /* 10 % of 2 s: where level 1 begins */
#define PSI_FILE        "/proc/pressure/memory"
#define PSI_FILE_BYTES  256
#define BLIND_POLL_USEC (15 * USEC_PER_SEC) /* idle, and no trigger to be had */

static int read_sample(struct psi_watch *w, uint64_t now_usec, struct memory_sample *ret)
{
    char text[PSI_FILE_BYTES];
    struct kernel_psi psi;
    ssize_t n = fdio_pread_text(w->fd, text, sizeof text);

    if (n < 0) {
        return (int) n;
    }
    if (kernel_parse_psi((struct str) {text, (size_t) n}, &psi) < 0) {
        return -EBADMSG;
    }
    *ret = (struct memory_sample) {.at_usec = now_usec};
    ret->place[MEMORY_SYSTEM].has_psi = true;
    ret->place[MEMORY_SYSTEM].some_total_usec = psi.some_total_usec;
    ret->place[MEMORY_SYSTEM].full_total_usec = psi.full_total_usec;
    return 0;
}

static void go_blind(struct psi_watch *w, int error)
{
    log_printf(LOG_LEVEL_WARNING,
               "memory pressure can no longer be read (%s): staying careful at level 1",
               strerror(-error));
    w->pressure->rung = PRESSURE_RUNG_NONE;
    w->fd = fd_close(w->fd);
}

static void arm(struct psi_watch *w, uint64_t now_usec)
{
    uint64_t interval = pressure_interval_usec(w->pressure, w->is_active);

    if (interval == USEC_NEVER && w->trigger_fd < 0) {
        interval = BLIND_POLL_USEC;
    }
    if (w->fd < 0 || interval == USEC_NEVER) {
        (void) sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
    } else {
        (void) sd_event_source_set_time(w->timer, usec_add(now_usec, interval));
        (void) sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
    }
    if (w->trigger) {
        (void) sd_event_source_set_enabled(w->trigger,
                                           interval == USEC_NEVER ? SD_EVENT_ON : SD_EVENT_OFF);
    }
}

static void sample(struct psi_watch *w, uint64_t now_usec)
{
    enum pressure_level before = w->pressure->level;
    struct memory_sample s;
    int r;

    if (w->fd < 0) {
        return;
    }
    r = read_sample(w, now_usec, &s);
    if (r < 0) {
        go_blind(w, r);
        s = (struct memory_sample) {.at_usec = now_usec, .is_incomplete = true};
    }
    (void) pressure_update(w->pressure, &s);
    if (w->pressure->level != before) {
        w->on_level(w->ctx, before, w->pressure->level);
    }
    arm(w, now_usec);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
    sample(ctx, clock_now_usec());
    return 0;
}

static int on_trigger(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
    struct psi_watch *w = ctx;
    uint64_t now = clock_now_usec();

    if (revents & EPOLLERR) { /* the kernel took the trigger away: it would wake us for ever */
        w->trigger = sd_event_source_disable_unref(w->trigger);
        w->trigger_fd = fd_close(w->trigger_fd);
    }
    pressure_hint(w->pressure);
    sample(w, now);
    return 0;
}

/*
 * A trigger, where the kernel grants one. Quietly none elsewhere: old kernels ask for a privilege.
 */
static void open_trigger(struct psi_watch *w, sd_event *event, const char *path)
{
    static const char trigger[] = TRIGGER;
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) {
        return;
    }
    if (write(fd, trigger, sizeof trigger) < 0 ||
        sd_event_add_io(event, &w->trigger, fd, EPOLLPRI, on_trigger, w) < 0) {
        (void) fd_close(fd);
        return;
    }
    w->trigger_fd = fd;
}

int psi_watch_init(struct psi_watch *w, sd_event *event, const char *root,
                   struct pressure *pressure,
                   void (*on_level)(void *ctx, enum pressure_level from, enum pressure_level to),
                   void *ctx)
{
    char path[PATH_MAX];
    int r;

    *w = (struct psi_watch) {
        .pressure = pressure, .fd = -1, .trigger_fd = -1, .on_level = on_level, .ctx = ctx};
    r = sd_event_add_time(event, &w->timer, CLOCK_MONOTONIC, USEC_NEVER, USEC_PER_MSEC, on_timer,
                          w);
    if (r < 0) {
        return r;
    }
    (void) sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
    if (!root) {
        return 0;
    }
    if (snprintf(path, sizeof path, "%s" PSI_FILE, root) >= (int) sizeof path) {
        return -ENAMETOOLONG;
    }
    w->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (w->fd < 0) {
        log_printf(
            LOG_LEVEL_NOTICE,
            "%s: %s: memory pressure is not watched (the kernel needs CONFIG_PSI, and psi=1 where it is off by default)",
            path, strerror(errno));
        return 0;
    }
    pressure->rung = PRESSURE_RUNG_PSI;
    if (root[0] == '\0') {
        open_trigger(w, event, path); /* a file that stands in for the kernel's cannot have one */
    }
    sample(w, clock_now_usec());
    return 0;
}

void psi_watch_done(struct psi_watch *w)
{
    w->timer = sd_event_source_disable_unref(w->timer);
    w->trigger = sd_event_source_disable_unref(w->trigger);
    w->fd = fd_close(w->fd);
    w->trigger_fd = fd_close(w->trigger_fd);
}

/*
 * Activity begins with a sample, unless one is due soon anyway; its end is noticed by the timer,
 * one interval later: a busy device ends and begins its activity many times a second, and none of
 * that should cost a system call.
 */
void psi_watch_set_active(struct psi_watch *w, bool is_active, uint64_t now_usec)
{
    uint64_t due_at_usec = USEC_NEVER;
    int armed = SD_EVENT_OFF;

    w->is_active = is_active;
    (void) sd_event_source_get_enabled(w->timer, &armed);
    (void) sd_event_source_get_time(w->timer, &due_at_usec);
    if (is_active &&
        (armed == SD_EVENT_OFF ||
         due_at_usec > usec_add(now_usec, pressure_interval_usec(w->pressure, true)))) {
        sample(w, now_usec);
    }
}
