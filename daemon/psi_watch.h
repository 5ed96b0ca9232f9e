#pragma once
/*
 * Feeds core/pressure with samples of /proc/pressure/memory. While calls are active, or the level
 * is raised, a timer reads; an idle daemon at level 0 sleeps and is woken by a PSI trigger where
 * the kernel grants one. Owned by the composition.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "core/pressure.h"

struct psi_watch {
    struct pressure *pressure; /* borrowed */
    int fd;                    /* the file, read again and again; -1: not readable */
    int trigger_fd;            /* -1: none */
    sd_event_source *timer, *trigger;
    bool is_active;
    void (*on_level)(void *ctx, enum pressure_level from, enum pressure_level to);
    void *ctx;
};

/*
 * root is put before /proc ("" for the real one; NULL: nothing is read, the level stays 0). Without
 * a readable file the watch is blind and says so once. 0 or -errno (event loop trouble only).
 */
int psi_watch_init(struct psi_watch *w, sd_event *event, const char *root,
                   struct pressure *pressure,
                   void (*on_level)(void *ctx, enum pressure_level from, enum pressure_level to),
                   void *ctx) MUST_USE;
void psi_watch_done(struct psi_watch *w);

/* Tells whether calls are active; samples at once when they begin. */
void psi_watch_set_active(struct psi_watch *w, bool is_active, uint64_t now_usec);
