#pragma once
/* Signals as events of the loop. SIGPIPE is ignored: a peer that left is an error of its write. */
#include <stddef.h>
#include <systemd/sd-event.h>

#include "base/macros.h"

struct signals_row {
    int signal;
    sd_event_signal_handler_t handler;
};

/*
 * Blocks these signals and has the loop call their handlers with ctx, for as long as the loop
 * lives. 0 or -errno.
 */
int signals_add(sd_event *event, const struct signals_row *rows, size_t n, void *ctx) MUST_USE;
