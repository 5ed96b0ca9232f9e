#pragma once
/*
 * The service manager's word that this service is under memory pressure (systemd 254 and newer,
 * MemoryPressureWatch=; https://systemd.io/PRESSURE/). Spoken here and not by libsystemd, whose
 * sd_event_add_memory_pressure() Debian 12 does not have.
 *
 *   $MEMORY_PRESSURE_WATCH   a kernel PSI file: woken by POLLPRI, never read
 *                            a FIFO or a Unix stream socket: woken by bytes, which are thrown away
 *                            /dev/null, or not set: off
 *   $MEMORY_PRESSURE_WRITE   Base64 of what is written into it at first
 *
 * This is about what sluice itself may give back; whether new calls are taken is memory_monitor.h.
 */
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/macros.h"

#define MEMORY_WATCH_MAX_WRITE_BYTES 4096 /* of the first message; systemd writes some 20 */

struct memory_watch {
    int fd;         /* owned; -1: off */
    bool is_stream; /* bytes come, and must be read */
    sd_event_source *io;
    void (*on_pressure)(void *ctx); /* from the loop */
    void *ctx;
};

/*
 * Reads the two variables. What they name and cannot be watched is said once in the log, and the
 * watch is off. 0, or -errno: event loop trouble.
 */
int memory_watch_init(struct memory_watch *w, sd_event *event, void (*on_pressure)(void *ctx),
                      void *ctx) MUST_USE;
void memory_watch_done(struct memory_watch *w); /* accepts a zeroed struct */
