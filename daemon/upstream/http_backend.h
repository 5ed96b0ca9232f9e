#pragma once
/*
 * The backend of every provider whose model server speaks HTTP. Its jobs (http_job.h) ask a dialect
 * what to send and what came back.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/kv.h"
#include "base/list.h"
#include "core/ports.h"
#include "upstream/provider.h"
#include "upstream/server_access.h"
#include "upstream/upstreams.h"
#include "wire/json_cut.h"
#include "wire/problem.h"

/* options of a file that holds 1 MiB */
#define HTTP_LOAD_BODY_MAX_BYTES (2 * 1024 * 1024)

struct health_check;
struct http_backend;
struct ollama_catalog;
struct ollama_loader;
struct server_state;

/*
 * What a provider knows. `decoder` is whatever decoder_new() made. See wire/ollama_json.h and
 * wire/openai_upstream.h for the contracts of each member.
 */
struct http_dialect {
    const char *accept;
    const char *health_path; /* what says with a GET whether the server works, and costs nothing */
    const char *(*path)(enum request_kind kind);
    int (*encode)(const struct http_backend *b, const struct backend_order *order, struct buf *out,
                  struct problem *ret_problem);
    void *(*decoder_new)(const struct request *req, struct event_sink *sink);
    void (*decoder_free)(void *decoder);
    int (*decoder_feed)(void *decoder, struct str bytes, bool is_sse, uint64_t now_usec,
                        bool *ret_full, struct problem *ret_problem);
    int (*decoder_end)(void *decoder, uint64_t now_usec, struct problem *ret_problem);
    bool (*decoder_is_over)(const void *decoder);
    void (*map_error)(int status, struct str body, struct problem *ret_problem);
    /* Of a dialect with a loader: what only loads the model, and where it goes. */
    const char *(*load_path)(enum request_kind kind);
    int (*encode_load)(const struct http_backend *b, const char *model, struct buf *out);
    /* Optional: as backend_ops.unload, with a model. */
    int (*unload)(const struct http_backend *b, const char *model, struct unload_sink *sink,
                  struct unload_job **ret_job);
};

struct http_backend {
    struct backend backend;
    struct upstreams *up; /* borrowed */
    const struct http_dialect *dialect;
    struct ollama_loader *loader;   /* a reference, or NULL */
    struct ollama_catalog *catalog; /* a reference: of a provider that lists models; or NULL */
    struct server_state *server;    /* a reference */
    struct health_check *check;     /* a reference; NULL: it is not checked */
    char *id, *model;               /* owned */
    struct server_access access;
    struct kv options, body;
    bool drops_params;
    struct kv dropped;   /* names of parameters that are never sent; the values are empty */
    struct json_cut cut; /* paths to members inside of parameters that are never sent */
    /* the same for every load of its own model: encoded once; empty without a loader */
    struct buf load_body;
    uint64_t connect_usec, first_byte_usec, gap_usec, total_usec;
    struct list jobs; /* backend_job.link: running and trailing */
};

/* 0 or -errno. loader: a reference that is taken over, or NULL. */
int http_backend_new(struct upstreams *up, const struct provider_params *params,
                     const struct http_dialect *dialect, struct ollama_loader *loader,
                     struct backend **ret) MUST_USE;
