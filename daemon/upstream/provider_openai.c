/*
 * Any server that speaks OpenAI's dialect (vLLM, llama-server, a cloud vendor):
 * wire/openai_upstream.h behind the http backend.
 */
#include "upstream/http_backend.h"
#include "wire/openai_upstream.h"

static int encode(const struct http_backend *b, const struct backend_order *order, struct buf *out,
                  struct problem *ret_problem)
{
    struct openai_target target = {.model = order->model ? order->model : b->model,
                                   .defaults = &b->options,
                                   .overrides = &b->body,
                                   .dropped = &b->dropped};

    return openai_encode_request(order->request, &target, out, ret_problem);
}

static void *decoder_new(const struct request *req, struct event_sink *sink)
{
    return openai_decoder_new(req, sink);
}

static void decoder_free(void *decoder)
{
    openai_decoder_free(decoder);
}

static int decoder_feed(void *decoder, struct str bytes, bool is_sse, uint64_t now_usec,
                        bool *ret_full, struct problem *ret_problem)
{
    return openai_decoder_feed(decoder, bytes, is_sse, now_usec, ret_full, ret_problem);
}

static int decoder_end(void *decoder, uint64_t now_usec, struct problem *ret_problem)
{
    return openai_decoder_end(decoder, now_usec, ret_problem);
}

static bool decoder_is_over(const void *decoder)
{
    return openai_decoder_is_over(decoder);
}

static const struct http_dialect dialect = {
    .accept = "text/event-stream, application/json",
    .health_path = "models",
    .path = openai_path,
    .encode = encode,
    .decoder_new = decoder_new,
    .decoder_free = decoder_free,
    .decoder_feed = decoder_feed,
    .decoder_end = decoder_end,
    .decoder_is_over = decoder_is_over,
    .map_error = openai_map_error,
};

static int backend_new(struct upstreams *up, const struct provider_params *params,
                       struct backend **ret)
{
    return http_backend_new(up, params, &dialect, NULL, ret);
}

const struct provider_ops provider_openai = {.name = "openai", .backend_new = backend_new};
