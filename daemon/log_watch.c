/*
 * See log_watch.h. Without a source (no memory for one) the records go with the next one: the log
 * is late then, and complete.
 */
#include "log_watch.h"

#include <sys/epoll.h>

#include "announce.h"
#include "base/log.h"

static int on_room(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
    if (!log_flush()) {
        return 0;
    }
    (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
    if (log_n_dropped() > 0) {
        announce_records_dropped(); /* else nobody would know before the next record */
    }
    return 0;
}

static void on_waiting(void *ctx, int fd)
{
    struct log_watch *w = ctx;

    if (!w->room) {
        (void) sd_event_add_io(w->event, &w->room, fd, EPOLLOUT, on_room, w);
    } else {
        (void) sd_event_source_set_enabled(w->room, SD_EVENT_ON);
    }
}

void log_watch_init(struct log_watch *w, sd_event *event)
{
    *w = (struct log_watch) {.event = event};
    log_on_waiting(on_waiting, w);
}

void log_watch_done(struct log_watch *w)
{
    if (w->event) {
        log_on_waiting(NULL, NULL);
        w->room = sd_event_source_disable_unref(w->room);
        w->event = NULL;
    }
}
