/*
 * Ollama by its native API: wire/ollama_json.h behind the http backend, with the loads of each
 * server taken in turn (ollama_loader.h). It makes one answer for each request: fan_out.h makes
 * several of them.
 */
#include <errno.h>

#include "base/clock.h"
#include "upstream/fan_out.h"
#include "upstream/http_backend.h"
#include "upstream/ollama_catalog.h"
#include "upstream/ollama_loader.h"
#include "upstream/ollama_memory.h"
#include "upstream/ollama_unload.h"
#include "wire/ollama_json.h"
#include "wire/ollama_names.h"
#include "wire/ollama_state.h"

static struct ollama_target target_of(const struct http_backend *b, const char *model)
{
    return (struct ollama_target) {.model = model,
                                   .options = &b->options,
                                   .drops_params = b->drops_params,
                                   .dropped = &b->dropped};
}

/* The configuration refuses such names where it has them; a wildcard's come from clients. */
static int encode(const struct http_backend *b, const struct backend_order *order, struct buf *out,
                  struct problem *ret_problem)
{
    struct ollama_target target = target_of(b, order->model ? order->model : b->model);

    if (ollama_name_is_cloud(str_from(target.model))) {
        ollama_refuse_cloud(ret_problem);
        return -EBADMSG;
    }
    return ollama_encode_request(order->request, &target, out, ret_problem);
}

static int encode_load(const struct http_backend *b, const char *model, struct buf *out)
{
    struct ollama_target target = target_of(b, model);

    return ollama_encode_load(&target, out);
}

static void *decoder_new(const struct request *req, struct event_sink *sink)
{
    return ollama_decoder_new(req, sink);
}

static void decoder_free(void *decoder)
{
    ollama_decoder_free(decoder);
}

static int decoder_feed(void *decoder, struct str bytes, bool is_sse, uint64_t now_usec,
                        bool *ret_full, struct problem *ret_problem)
{
    return ollama_decoder_feed(decoder, bytes, now_usec, ret_full, ret_problem);
}

static int decoder_end(void *decoder, uint64_t now_usec, struct problem *ret_problem)
{
    return ollama_decoder_end(decoder, now_usec, ret_problem);
}

static bool decoder_is_over(const void *decoder)
{
    return ollama_decoder_is_over(decoder);
}

static int unload(const struct http_backend *b, const char *model, struct unload_sink *sink,
                  struct unload_job **ret_job)
{
    struct ollama_unload_spec spec = {
        .up = b->up,
        .server = b->server,
        .loader = b->loader,
        .id = b->id,
        .model = model,
        .access = &b->access,
        .is_trusted = ollama_loader_trusts_any(b->loader, model, clock_now_usec()),
        .connect_usec = b->connect_usec,
    };

    return ollama_unload_start(&spec, sink, ret_job);
}

static const struct http_dialect dialect = {
    .accept = "application/x-ndjson",
    .health_path = OLLAMA_VERSION_PATH,
    .path = ollama_path,
    .encode = encode,
    .decoder_new = decoder_new,
    .decoder_free = decoder_free,
    .decoder_feed = decoder_feed,
    .decoder_end = decoder_end,
    .decoder_is_over = decoder_is_over,
    .map_error = ollama_map_error,
    .load_path = ollama_load_path,
    .encode_load = encode_load,
    .unload = unload,
};

/* A wildcard names no models: what there is has to be asked for. */
static int add_catalog(struct upstreams *up, struct backend *backend)
{
    struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);
    struct ollama_catalog_spec spec = {
        .server = b->server, .access = &b->access, .connect_usec = b->connect_usec};

    return strchr(b->model, '*') ? ollama_catalog_ref(up, &spec, &b->catalog) : 0;
}

static int backend_new(struct upstreams *up, const struct provider_params *params,
                       struct backend **ret)
{
    struct ollama_loader *loader;
    struct backend *one;
    int r;

    if (!params->api_base) {
        return -EINVAL;
    }
    r = ollama_loader_ref(up, params->api_base, &loader);
    if (r >= 0) {
        r = http_backend_new(up, params, &dialect, loader, &one);
    }
    if (r < 0) {
        return r;
    }
    one->memory = &ollama_memory_ops;
    r = add_catalog(up, one);
    if (r < 0) {
        one->ops->free(one);
        return r;
    }
    return fan_out_new(up, one, params, ret);
}

const struct provider_ops provider_ollama = {.name = "ollama", .backend_new = backend_new};
