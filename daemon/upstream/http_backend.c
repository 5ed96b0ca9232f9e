/*
 * See http_backend.h: making a backend out of a provider's parameters, taking it apart, and what
 * it knows of its server beside the requests that it runs: whether the model is loaded, whether
 * anybody is there, what models there are. Most of that is others' (loader, catalogue, health
 * check, server state): a backend holds the references and passes the question on.
 *
 * Owns its copies of the parameters, encoded once where they are the same for every request. Jobs
 * are http_job.c's; the list of them is here, as a backend outlives its jobs.
 *
 * Must not: know a dialect's words, send a request of a client.
 */
#include "upstream/http_backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/health_check.h"
#include "upstream/http_job.h"
#include "upstream/ollama_catalog.h"
#include "upstream/ollama_loader.h"
#include "upstream/server_state.h"

static void backend_free(struct backend *backend)
{
    struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);

    http_jobs_end(&b->jobs);
    ollama_loader_unref(b->loader);
    ollama_catalog_unref(b->catalog);
    health_check_unref(b->check);
    server_state_unref(b->server);
    server_access_done(&b->access);
    kv_wipe(&b->body);
    kv_done(&b->body);
    free(b->id);
    free(b->model);
    kv_done(&b->options);
    kv_done(&b->dropped);
    json_cut_done(&b->cut);
    buf_done(&b->load_body);
    free(b);
}

static bool backend_is_loaded(const struct backend *backend, const char *model, uint64_t now_usec)
{
    const struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);

    /* a model of a wildcard has its load body made when it is asked for: here any will do */
    return b->loader && ollama_loader_has(b->loader, model ? model : b->model,
                                          model ? STR_NONE : buf_str(&b->load_body), now_usec);
}

static void backend_look(struct backend *backend, uint64_t now_usec)
{
    struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);

    if (b->loader) {
        ollama_loader_look(b->loader, &b->access, b->connect_usec, now_usec);
    }
}

static const char *backend_server_version(const struct backend *backend)
{
    const struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);

    return b->loader ? ollama_loader_version(b->loader) : "";
}

static bool backend_is_down(const struct backend *backend)
{
    const struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);

    return server_state_is_down(b->server);
}

static bool backend_checked(const struct backend *backend, struct backend_check *ret)
{
    const struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);

    return b->check && health_check_result(b->check, ret);
}

static int backend_unload(struct backend *backend, const char *model, struct unload_sink *sink,
                          struct unload_job **ret_job)
{
    const struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);

    return b->dialect->unload ? b->dialect->unload(b, model ? model : b->model, sink, ret_job)
                              : -EOPNOTSUPP;
}

static void backend_list_models(struct backend *backend, uint64_t now_usec, model_visit_fn visit,
                                void *ctx)
{
    struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);

    if (b->catalog) {
        ollama_catalog_list(b->catalog, now_usec, visit, ctx);
    }
}

static const struct backend_ops ops = {
    .start = http_job_start,
    .pause = http_job_pause,
    .resume = http_job_resume,
    .cancel = http_job_cancel,
    .free = backend_free,
    .is_loaded = backend_is_loaded,
    .look = backend_look,
    .server_version = backend_server_version,
    .is_down = backend_is_down,
    .checked = backend_checked,
    .unload = backend_unload,
    .list_models = backend_list_models,
};

static int add_dropped(struct http_backend *b, const char *name)
{
    return json_cut_is_path(name) ? json_cut_add(&b->cut, name)
                                  : kv_set(&b->dropped, str_from(name), STR_LIT(""));
}

static int add_check(struct http_backend *b, const struct provider_params *params)
{
    const struct health_check_spec spec = {.server = b->server,
                                           .access = &b->access,
                                           .path = b->dialect->health_path,
                                           .connect_usec = params->connect_usec,
                                           .limit_usec = params->check_usec};

    return params->check_usec > 0 ? health_check_ref(b->up, &spec, &b->check) : 0;
}

int http_backend_new(struct upstreams *up, const struct provider_params *params,
                     const struct http_dialect *dialect, struct ollama_loader *loader,
                     struct backend **ret)
{
    struct http_backend *b = calloc(1, sizeof *b);
    int r;

    if (!b) {
        ollama_loader_unref(loader);
        return -ENOMEM;
    }
    *b = (struct http_backend) {
        .backend = {.ops = &ops},
        .up = up,
        .dialect = dialect,
        .loader = loader,
        .id = strdup(params->id),
        .model = strdup(params->model),
        .connect_usec = params->connect_usec,
        .first_byte_usec = params->first_byte_usec,
        .gap_usec = params->gap_usec,
        .total_usec = params->total_usec,
        .drops_params = params->drops_params,
    };
    list_init(&b->jobs);
    buf_init(&b->load_body, HTTP_LOAD_BODY_MAX_BYTES);
    r = !params->api_base ? -EINVAL : server_state_ref(up, params->api_base, &b->server);
    if (r >= 0 && (!b->id || !b->model)) {
        r = -ENOMEM;
    }
    if (r >= 0) {
        r = server_access_init(&b->access, params->api_key, params->headers, params->ca_file);
    }
    if (r >= 0) {
        r = add_check(b, params);
    }
    if (r >= 0) {
        r = kv_copy(params->options, &b->options);
    }
    if (r >= 0 && params->body) {
        r = kv_copy(params->body, &b->body);
    }
    for (size_t i = 0; r >= 0 && i < params->n_dropped_params; i++) {
        r = add_dropped(b, params->dropped_params[i]);
    }
    if (r >= 0 && loader) {
        r = dialect->encode_load(b, b->model, &b->load_body);
    }
    if (r < 0) {
        backend_free(&b->backend);
        return r;
    }
    *ret = &b->backend;
    return 0;
}
