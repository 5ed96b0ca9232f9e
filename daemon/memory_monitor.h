#pragma once
/*
 * Watches memory: feeds core/pressure with samples of kernel/memory_reader as often as somebody
 * could be hurt, and no oftener.
 *
 *   calls are active, or a model loads, or the level is raised    pressure_interval_usec()
 *   idle, models in memory                                        every 15 s, and a PSI trigger
 *   idle, nothing in memory, level 0                              a PSI trigger only: no timer
 *   for 4 s after a trigger                                       every 250 ms
 *   idle, nothing in memory, level raised                         250 ms, doubling up to 15 s
 *
 * Owned by the composition.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "core/pressure.h"
#include "kernel/memory_reader.h"
#include "model_server.h"

/* All but ctx may be NULL. Called from the loop; must not call the monitor. */
struct memory_hooks {
    /* before each sample: pressure_set_claims() */
    void (*on_sample)(void *ctx, struct pressure *pressure, uint64_t now_usec);
    void (*on_level)(void *ctx, enum pressure_level from, enum pressure_level to);
    void (*on_stage)(void *ctx, enum pressure_stage stage);
    void *ctx;
};

/* What is watched. Borrowed for memory_monitor_init() only. */
struct memory_sources {
    const char *root; /* put before /proc and /sys; NULL: nothing is read, the level stays 0 */
    const struct model_server_spec *server; /* NULL: not said yet */
    int trigger_fd; /* with a trigger on it, is taken over; -1: one is asked for */
};

struct memory_monitor {
    struct pressure *pressure; /* borrowed; NULL: not initialised */
    bool is_on;
    char *root; /* owned: a reload frees the configuration that it came from */
    struct memory_reader reader;
    struct model_server server;
    struct memory_hooks hooks;
    sd_event_source *timer, *trigger;
    int trigger_fd;     /* -1: none */
    bool is_active;     /* calls */
    bool is_exposed;    /* models in memory */
    bool is_incomplete; /* as the last sample was; said once */
    enum pressure_stage stage;
    uint64_t alert_until_usec; /* a trigger has told: look often, or it would be one sample only */
    uint64_t idle_usec;        /* the next interval of an idle daemon at a raised level */
};

/* Looks once, and from then on as often as is needed. 0 or -errno. */
int memory_monitor_init(struct memory_monitor *m, sd_event *event,
                        const struct memory_sources *sources, struct pressure *pressure,
                        const struct memory_hooks *hooks) MUST_USE;
void memory_monitor_done(struct memory_monitor *m);

/* Where the model server is, from the configuration of now. */
void memory_monitor_set_server(struct memory_monitor *m, const struct model_server_spec *spec,
                               uint64_t now_usec);

/* Are calls active? When they begin, and the last sample is old, there is one at once. */
void memory_monitor_set_active(struct memory_monitor *m, bool is_active, uint64_t now_usec);

/* A sample now, unless there was one just before; for who is about to load a model. */
void memory_monitor_sample(struct memory_monitor *m, uint64_t now_usec);

/* Are models in memory, or is one being loaded? */
void memory_monitor_set_exposed(struct memory_monitor *m, bool is_exposed, uint64_t now_usec);
