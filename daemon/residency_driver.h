#pragma once
/*
 * core/residency carried out: reads the device's memory, asks and loads and unloads through the
 * backends of deployments, keeps what is learned. Owned by the composition.
 */
#include <systemd/sd-event.h>

#include "core/pressure.h"
#include "core/residency.h"
#include "core/router.h"
#include "memory_monitor.h"
#include "upstream/upstreams.h"

struct residency_driver {
    struct residency residency;
    struct footprints footprints;
    struct router *router;          /* borrowed */
    struct upstreams *upstreams;    /* borrowed */
    struct memory_monitor *monitor; /* borrowed */
    char *kernel_root;              /* owned: what stands in front of /proc */
    void (*on_change)(void *ctx);   /* calls that wait are to be looked at again */
    void *ctx;
    sd_event_source *timer;
    struct list jobs;      /* driver_job.link: what is under way */
    uint64_t read_at_usec; /* when memory was read; 0: never */
    bool has_complained;
};

/*
 * 0 or -errno. After router_init() and upstreams_init(); sets their borrowed ports, which done() takes
 * back: loads may end later, with the deployments. monitor need not be set up yet.
 */
int residency_driver_init(struct residency_driver *d, sd_event *event, struct router *router,
                          struct upstreams *up, struct memory_monitor *monitor,
                          const struct residency_params *params, const char *kernel_root) MUST_USE;
void residency_driver_done(struct residency_driver *d); /* accepts a zeroed struct */

/* Around registry_run(). */
void residency_driver_begin_run(struct residency_driver *d, uint64_t now_usec);
void residency_driver_end_run(struct residency_driver *d, uint64_t now_usec);

/* For each sample of the pressure: what it must not take for memory that runs out. */
struct pressure_claims residency_driver_claims(const struct residency_driver *d, uint64_t now_usec);

/*
 * Frees the model that of serves (name: as in residency_of()), whoever uses it, in the way of residency:
 * no load begins beside it, and it is looked whether the model has gone. One under way is joined. 0: sink
 * is told after that, unless *ret_job is cancelled, which lets the unload go on. -EBUSY: it is being
 * loaded; -EOPNOTSUPP: it is not managed; -errno. What residency.unload is.
 */
int residency_driver_unload(struct residency_driver *d, const struct deployment *of,
                            const char *name, struct unload_sink *sink,
                            struct unload_job **ret_job) MUST_USE;
