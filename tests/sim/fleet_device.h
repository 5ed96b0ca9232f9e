#pragma once
/*
 * A device of a fleet: sluice with its budget of memory and its pressure levels, models that are
 * loaded and unloaded, and a neighbour that takes memory at times. Where memory runs out, the kernel
 * kills the largest runner.
 *
 * Owned by the fleet; never moved.
 */
#include "core/footprint.h"
#include "core/pressure.h"
#include "core/residency.h"
#include "tests/sim/device.h"
#include "tests/sim/rng.h"

#define FLEET_MODELS 3 /* on each device */

/* What is counted of the whole fleet, by second. Owned by the fleet. */
struct fleet_series {
    size_t n; /* seconds */
    double *attempts, *retries, *good, *loads, *raised, *shed;
};

struct fleet_model {
    uint64_t bytes, load_usec;
    uint64_t begun_at_usec, ends_at_usec; /* of a load; 0: none */
    uint64_t planned_until_usec;
    struct sim_event loaded, unloaded;
    struct fleet_device *device;
    struct device_model *runner;
    struct residency_model *resident;
};

struct fleet_device {
    struct device device;
    struct pressure pressure;
    struct footprints footprints;
    struct residency residency;
    struct fleet_model models[FLEET_MODELS];
    size_t n_models;
    struct rng rng;
    uint64_t total_bytes, os_bytes;
    /* the neighbour: grows from then at its rate up to a size, and leaves */
    uint64_t grows_at_usec, leaves_at_usec, most_bytes, grows_bytes_per_sec;
    struct sim_event sample, neighbour;
    struct fleet_series *series; /* borrowed */
    uint64_t began_at_usec;
    unsigned n_kills, n_loads, n_unloads, n_rises;
};

/*
 * RAM of 2, 4 or 8 GiB, tokens and loads at speeds that differ tenfold, models that fit. models[0]
 * is the popular one.
 */
void fleet_device_init(struct fleet_device *f, struct event_heap *heap, struct fleet_series *series,
                       uint64_t seed);
void fleet_device_done(struct fleet_device *f);

/* The neighbour takes so much of what there is (per mille), for so long, from now on. */
void fleet_device_crowd(struct fleet_device *f, unsigned permille, uint64_t usec);

/* The second of now, for series. */
size_t fleet_device_second(const struct fleet_device *f);
