#pragma once
/*
 * A device with sluice on it, in virtual time: the daemon's own core (registry of calls, admission,
 * router) between whoever submits and the model servers' runners, which are model_server's. What the
 * daemon's loop does around the core is done here: a run after each wake-up that asked for one, and a
 * timer for what becomes due.
 *
 * Owned by whoever embeds it; never moved after device_init().
 */
#include <stdint.h>

#include "core/call.h"
#include "tests/sim/event_heap.h"
#include "tests/sim/model_server.h"

#define DEVICE_MAX_MODELS 8

/* One model of it, and its runner. */
struct device_model {
    struct backend *backend; /* owned by the router */
    struct device *device;
    char name[16];
    uint64_t prefill_usec, token_usec;
    struct model_server server;
    bool is_there; /* in memory; of devices with delay_usec */
};

struct device {
    struct event_heap *heap; /* borrowed */
    struct router router;
    struct admission admission;
    struct pressure *pressure; /* borrowed, or NULL */
    struct stats stats;
    struct call_registry registry;
    struct sim_event turn; /* registry_run() */
    struct device_model models[DEVICE_MAX_MODELS];
    size_t n_models;
    /* what runs before and after each registry_run(); NULL: nothing */
    void (*before_run)(struct device *d);
    void (*after_run)(struct device *d);
    /*
     * How long a model takes to be there, asked when a call is given to it. NULL: all models are in
     * memory always, and the router is told nothing of it.
     */
    uint64_t (*delay_usec)(struct device_model *m);
};

struct device_ask {
    const char *model;
    enum call_class class;
    uint32_t uid;
    unsigned n_retries;
    uint64_t read_timeout_usec; /* of its client; 0: none */
    uint64_t n_tokens;
};

/*
 * Models: name, prefill_usec, token_usec of each are taken; slots are of each. delay_usec: as in the
 * struct.
 */
void device_init(struct device *d, struct event_heap *heap, const struct admission_params *params,
                 struct pressure *pressure, const struct device_model *models, size_t n_models,
                 unsigned slots, uint64_t (*delay_usec)(struct device_model *m));
void device_done(struct device *d); /* calls under way end without a word */

/* As call_submit(); what is decided is decided in a turn of its own, at the same instant. */
struct call *device_submit(struct device *d, const struct device_ask *ask, struct event_sink *sink);

/* The runner of m is dead: what it was at fails. From an event of its own. */
void device_kill_runner(struct device_model *m);

/* A run at that moment, or before. */
void device_want_turn(struct device *d, uint64_t at_usec);

/* The daemon's defaults. */
struct admission_params device_default_params(void);
