#pragma once
/*
 * Log records that wait for journald, and the loop: the journal's socket is watched while something
 * waits, and not at all otherwise.
 */
#include <systemd/sd-event.h>

#include "base/macros.h"

struct log_watch {
    sd_event *event;       /* borrowed */
    sd_event_source *room; /* on while records wait; NULL until the first time */
};

/* From here on w must stay where it is. One at a time. */
void log_watch_init(struct log_watch *w, sd_event *event);
void log_watch_done(struct log_watch *w); /* accepts a zeroed struct */
