#pragma once
/*
 * Loads of models on one Ollama server: one at a time, on sluice's own connection.
 *
 * A client's request never loads a model itself: Ollama aborts a load when the connection that
 * asked for it closes, even if others wait for the same model (measured, 0.34). So whoever needs a
 * model waits here; a waiter that leaves leaves the load alone.
 *
 * Loads are started on need, not on suspicion: a model that answered within the last
 * LOADER_TRUST_USEC counts as loaded. Residency, budgets and eviction plans take this file's place
 * when they come.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macros.h"
#include "base/str.h"
#include "upstream/server_access.h"
#include "upstream/server_address.h"
#include "upstream/upstreams.h"
#include "wire/problem.h"

/* well below Ollama's shortest usual keep-alive */
#define LOADER_TRUST_USEC (30 * UINT64_C(1000000))

struct log_limit;
struct ollama_loader;

/*
 * The loader of the server at api_base, shared by all its deployments. 0 or -errno. Each takes a
 * reference.
 */
int ollama_loader_ref(struct upstreams *up, const char *api_base,
                      struct ollama_loader **ret) MUST_USE;
/*
 * Accepts NULL, returns NULL. With the last reference its load ends: memory.on_load_ended and whoever
 * waits are told upstream_unreachable before this returns. Not from within a load_waiter's callback.
 */
struct ollama_loader *ollama_loader_unref(struct ollama_loader *l);

struct ollama_loader *ollama_loader_retain(struct ollama_loader *l); /* one more reference */

struct load_waiter {
    struct list link; /* load.waiters */
    /*
     * The load is over; problem NULL: the model is there. From the loop or the last unref(), never
     * from within loader_want(). The waiter is off all lists.
     */
    void (*on_loaded)(struct load_waiter *w, const struct problem *problem,
                      uint64_t retry_after_usec);
};

struct load_spec {
    const char *model;
    const char *path;                   /* "/api/generate", or "/api/embed" for embedding models */
    const struct server_access *access; /* copied */
    struct str body;                    /* copied */
    uint64_t connect_usec;
    uint64_t answer_usec; /* how long the load may take */
};

/* 1: the model counts as loaded, go on. 0: w waits and will be called. -errno: neither. */
int ollama_loader_want(struct ollama_loader *l, const struct load_spec *spec, struct load_waiter *w,
                       uint64_t now_usec) MUST_USE;

/*
 * What counts for a choice between servers: would ollama_loader_want() say so (body as in load_spec,
 * absent: with any options), or else, where nothing else is known, does the server say so itself
 * (ollama_resident.h)? look: has that asked for where it is old.
 */
bool ollama_loader_has(const struct ollama_loader *l, const char *model, struct str body,
                       uint64_t now_usec);
void ollama_loader_look(struct ollama_loader *l, const struct server_access *access,
                        uint64_t connect_usec, uint64_t now_usec);

/* What the server calls its version; "": not known. Valid until the loop's next turn. */
const char *ollama_loader_version(const struct ollama_loader *l);

/* Would it, as calls have shown, whatever the server says? */
bool ollama_loader_trusts(const struct ollama_loader *l, const char *model, struct str body,
                          uint64_t now_usec);

/*
 * Closes the connection of this load, which ends it (Ollama kills the runner): whoever waits is told
 * model_load_killed. Without effect on any other. Not from within a transfer.
 */
void ollama_loader_stop(struct ollama_loader *l, const char *model, const char *why);

/* With any options? */
bool ollama_loader_trusts_any(const struct ollama_loader *l, const char *model, uint64_t now_usec);

/* Is a load of it under way, or does somebody wait for one? With any options. */
bool ollama_loader_is_loading(const struct ollama_loader *l, const char *model);

/* Does a server of this machine load a model for us, or did one at since_usec or later? */
bool ollama_loader_any_since(const struct upstreams *up, uint64_t since_usec);

/* A load that is over, as upstreams.hooks.on_load has it; not of a server that is down. */
struct load_report {
    const char *server, *model;
    uint64_t took_usec;
    const struct problem *problem; /* NULL: the model is there */
    struct log_limit *limit;       /* of this server's loads */
};

/* The server's address as it may be shown. Valid as long as the loader. */
const char *ollama_loader_server(const struct ollama_loader *l);

/* w waits no more. The load goes on. Idempotent. */
void load_waiter_leave(struct load_waiter *w);

/*
 * What a request to the model taught: it answered, or it failed in a way that says nothing sure
 * about it any more.
 */
void ollama_loader_saw(struct ollama_loader *l, const char *model, bool answered,
                       uint64_t now_usec);
