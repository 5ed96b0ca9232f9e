#pragma once
/*
 * The two ports of core. Everything that asks implements event_sink; everything that answers
 * implements backend.
 *
 * Back-pressure has one rule: an event is always accepted whole; after SINK_FULL the producer stops
 * asking its source for more until backend->resume(). What it had read already it may still
 * deliver.
 *
 * Re-entrancy has one rule: a sink never calls into core or into a backend from within deliver().
 * It notes what it wants and does it from its own wake-up. So a backend may deliver from anywhere,
 * also from within start().
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "core/event.h"
#include "core/request.h"

enum sink_answer { SINK_ROOM, SINK_FULL };

struct event_sink {
    enum sink_answer (*deliver)(struct event_sink *sink, const struct event *ev);
};

static inline enum sink_answer event_sink_deliver(struct event_sink *sink, const struct event *ev)
{
    return sink->deliver(sink, ev);
}

/* What came of asking a server to free a model's memory. */
struct unload_result {
    enum errcode code; /* ERRCODE_NONE: it is not loaded any more; else why that is not known */
    const char *text;  /* of a failure, for people; borrowed; or NULL */
    bool was_loaded;
};

struct unload_sink {
    /* Once, from the loop, never from within unload(). The job is over. */
    void (*on_unloaded)(struct unload_sink *sink, const struct unload_result *result);
};

/* An unload under way. It lives on when its backend is freed. */
struct unload_job {
    void (*cancel)(struct unload_job *job); /* looks no further, and says nothing */
};

/* ---- memory: what is asked of servers that hold models in it (core/residency.h says when) */

/* What a server says of a model's file. Borrowed; zero where it does not say. */
struct model_facts {
    struct str digest; /* of its weights, "sha256-..." */
    uint64_t file_bytes;
    uint64_t told_bytes; /* of memory, by the configuration */
    uint64_t n_layers, n_kv_heads, key_length, value_length, trained_ctx;
    uint32_t num_ctx; /* that it will be loaded with; 0: the server's default */
    bool makes_embeddings;
};

/* A model that a server holds. Borrowed. */
struct model_held {
    struct str name;
    uint64_t size_bytes, vram_bytes; /* as the server says */
};

/* What came of one question, or of a load. Once, from the loop, never from within the request. */
struct memory_sink {
    /* facts NULL: it does not tell, or was not reached. */
    void (*on_facts)(struct memory_sink *sink, const struct model_facts *facts);
    /* held NULL: as above; else n of them. */
    void (*on_held)(struct memory_sink *sink, const struct model_held *held, size_t n);
    /* code ERRCODE_NONE: the model is there. text: for people; borrowed, never NULL. */
    void (*on_loaded)(struct memory_sink *sink, enum errcode code, const char *text);
};

/* A question or a load under way. It lives on when its backend is freed. */
struct memory_job {
    void (*cancel)(struct memory_job *job); /* says nothing more; a load goes on */
};

struct backend;

struct memory_ops {
    /* Would a call for the model go out without a load before it, as far as is known? */
    bool (*is_trusted)(const struct backend *b, const char *model, uint64_t now_usec);
    /*
     * 0: sink is told, unless the job is cancelled. 1 (of load): it is there, sink is not told. -errno.
     * model is borrowed during the call.
     */
    int (*ask_facts)(struct backend *b, const char *model, struct memory_sink *sink,
                     struct memory_job **ret_job);
    int (*ask_held)(struct backend *b, struct memory_sink *sink, struct memory_job **ret_job);
    int (*load)(struct backend *b, const char *model, bool makes_embeddings,
                struct memory_sink *sink, struct memory_job **ret_job);
    /* Optional. Is a load of the model under way there, or waited for? */
    bool (*is_loading)(const struct backend *b, const char *model);
    /* Ends the load of the model that is under way, if there is one; why: for those who wait. */
    void (*stop_load)(struct backend *b, const char *model, const char *why);
};

/*
 * What a backend is asked to do. The order itself is borrowed by start(); what it points to stays
 * valid until the job is over.
 */
struct backend_order {
    const struct request *request;
    /* the upstream's name for the model, of a deployment that serves many (a wildcard); NULL: its own */
    const char *model;
    uint64_t total_usec, first_byte_usec; /* instead of the deployment's; 0: those */
};

/* One name of a model; borrowed. */
typedef void (*model_visit_fn)(void *ctx, struct str name);

struct backend_job; /* one request at work in a backend; what it is only the backend knows */

struct backend {
    const struct backend_ops *ops;
    const struct memory_ops *memory; /* of servers that hold models in memory; or NULL */
};

/*
 * What it came to when its server was last asked how it is: in the background, and without a model
 * (upstream/health_check.h).
 */
struct backend_check {
    uint64_t at_usec;    /* when that was over */
    const char *trouble; /* for people; NULL: none. Borrowed until the next turn of the loop */
    bool is_failing; /* calls would fail, so others are preferred; else the trouble is only told */
};

struct backend_ops {
    /*
     * Starts work and tells sink what comes of it, beginning with the first content event
     * (STARTED is core's). sink stays valid until the job is over. 0: exactly one terminal
     * event will follow unless the job is cancelled; *ret_job is the handle, or NULL when the job
     * was over before start() returned. -errno: nothing was started and nothing delivered. The job
     * is over, and the handle dead, when its terminal event was delivered.
     */
    int (*start)(struct backend *b, const struct backend_order *order, struct event_sink *sink,
                 uint64_t now_usec, struct backend_job **ret_job);
    /* Stops reading from the source; idempotent. May be called from within deliver(). */
    void (*pause)(struct backend_job *job);
    void (*resume)(struct backend_job *job, uint64_t now_usec);
    /*
     * Ends the job at once, closes what it had open; no event follows; the handle is dead. Never
     * called from within deliver().
     */
    void (*cancel)(struct backend_job *job);
    /* Frees the backend. No job may be running. */
    void (*free)(struct backend *b);
    /*
     * Optional. Does the server hold the model in memory, as far as is known without asking it?
     * model: as in backend_order, borrowed during the call.
     */
    bool (*is_loaded)(const struct backend *b, const char *model, uint64_t now_usec);
    /*
     * Optional. A choice is to be made between it and others, now or soon: what is_loaded says may
     * be brought up to date in the background.
     */
    void (*look)(struct backend *b, uint64_t now_usec);
    /* Optional. What its server calls its version, "" where it is not known; borrowed. */
    const char *(*server_version)(const struct backend *b);
    /* Optional. Has its server failed to answer, and not answered since? */
    bool (*is_down)(const struct backend *b);
    /* Optional. What the last check of its server showed; false: it was not checked. */
    bool (*checked)(const struct backend *b, struct backend_check *ret);
    /*
     * Optional. Asks the server to free the model's memory. model: as in backend_order, borrowed
     * during the call. 0: sink will be told, unless the job is cancelled. -EOPNOTSUPP: such servers
     * know no such request; -EBUSY: it is being loaded; -errno. sink is borrowed until then.
     */
    int (*unload)(struct backend *b, const char *model, struct unload_sink *sink,
                  struct unload_job **ret_job);
    /*
     * Optional: of a deployment that serves many. Visits the names of the models that the server is
     * known to have, as it names them, and has it asked again in the background where that was long
     * ago. visit calls nothing but this.
     */
    void (*list_models)(struct backend *b, uint64_t now_usec, model_visit_fn visit, void *ctx);
};
