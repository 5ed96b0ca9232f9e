/*
 * LiteLLM's mock_response: a deployment that answers a fixed text without a model server. For smoke
 * tests and examples, and the shortest backend there is.
 *
 * The text goes out word by word, so that a stream looks like one. Embeddings are a fixed vector of
 * zeros and one 1, documents are ranked in the order they came in, the text is the label of every
 * class: their shape is right, their meaning none. Everything is told within start(); the
 * text is bounded by the configuration file, so back-pressure needs no care.
 */
#include <errno.h>
#include <stdlib.h>

#include "upstream/fan_out.h"
#include "upstream/provider.h"
#include "upstream/upstreams.h"
#include "wire/json.h"
#include "wire/openai_request.h"
#include "wire/put.h"

#define MOCK_TEXT_MAX   (64 * 1024)
#define MOCK_DIMENSION  8
#define MOCK_RESULT_MAX (6 * MOCK_TEXT_MAX + 128) /* a label with every letter escaped */

struct mock {
    struct backend backend;
    struct buf text;
};

static uint64_t tell_words(const struct mock *m, struct event_sink *sink, uint64_t now_usec)
{
    struct str rest = buf_str(&m->text);
    uint64_t n = 0;

    while (rest.len > 0) {
        size_t len = 1;

        while (len < rest.len && rest.ptr[len] != ' ') {
            len++;
        }

        struct event ev = {
            .type = EVENT_TEXT, .at_usec = now_usec, .text = {.bytes = {rest.ptr, len}}};

        (void) event_sink_deliver(sink, &ev);
        rest.ptr += len;
        rest.len -= len;
        n++;
    }
    return n;
}

static void tell_vectors(const struct request *req, struct event_sink *sink, uint64_t now_usec)
{
    static const float vector[MOCK_DIMENSION] = {1};

    for (uint32_t i = 0; i < req->n_inputs; i++) {
        struct event ev = {.type = EVENT_EMBEDDING,
                           .at_usec = now_usec,
                           .embedding = {.index = i, .values = vector, .n_values = MOCK_DIMENSION}};

        (void) event_sink_deliver(sink, &ev);
    }
}

static void put_result(const struct mock *m, const struct request *req, uint32_t i, double score,
                       struct put *p)
{
    put_z(p, "{\"index\":");
    put_u64(p, i);
    if (req->kind == REQUEST_RERANK) {
        put_z(p, ",\"relevance_score\":");
        put_json_double(p, score);
    } else {
        put_z(p, ",\"label\":");
        put_json_string(p, buf_str(&m->text));
        put_z(p, ",\"probs\":[1.0],\"num_classes\":1");
    }
    put_char(p, '}');
}

static int tell_results(const struct mock *m, const struct request *req, struct event_sink *sink,
                        uint64_t now_usec)
{
    size_t n = openai_count_answers(req);
    struct buf json;
    struct put p = {&json, 0};

    if (req->kind == REQUEST_RERANK && req->top_n > 0 && req->top_n < n) {
        n = req->top_n;
    }
    buf_init(&json, MOCK_RESULT_MAX);
    for (uint32_t i = 0; p.r == 0 && i < n; i++) {
        double score = req->kind == REQUEST_RERANK ? 1.0 / (i + 1) : 1.0;

        buf_clear(&json);
        put_result(m, req, i, score, &p);
        if (p.r == 0) {
            struct event ev = {.type = EVENT_RESULT,
                               .at_usec = now_usec,
                               .result = {.index = i, .score = score, .json = buf_str(&json)}};

            (void) event_sink_deliver(sink, &ev);
        }
    }
    buf_done(&json);
    return p.r;
}

static int mock_start(struct backend *b, const struct backend_order *order, struct event_sink *sink,
                      uint64_t now_usec, struct backend_job **ret_job)
{
    const struct request *req = order->request;
    const struct mock *m = CONTAINER_OF(b, struct mock, backend);
    static const enum finish_reason stop = FINISH_STOP;
    struct event usage = {.type = EVENT_USAGE, .at_usec = now_usec};
    struct event end = {
        .type = EVENT_END, .at_usec = now_usec, .end = {.reasons = &stop, .n_choices = 1}};
    int r = 0;

    switch (req->kind) {
    case REQUEST_CHAT:
    case REQUEST_COMPLETE:
        usage.usage.tokens_out = tell_words(m, sink, now_usec);
        break;
    case REQUEST_EMBED:
        tell_vectors(req, sink, now_usec);
        break;
    case REQUEST_RERANK:
    case REQUEST_CLASSIFY:
        r = tell_results(m, req, sink, now_usec);
        break;
    }
    *ret_job = NULL;
    if (r < 0) { /* some were told already */
        struct event failed = {
            .type = EVENT_FAILED, .at_usec = now_usec, .failed = {.code = ERRCODE_OUT_OF_MEMORY}};

        (void) event_sink_deliver(sink, &failed);
        return 0;
    }
    (void) event_sink_deliver(sink, &usage);
    (void) event_sink_deliver(sink, &end);
    return 0;
}

/* There is never a job: nothing to pause, resume or cancel. */
static void mock_pause(struct backend_job *job)
{
}

static void mock_resume(struct backend_job *job, uint64_t now_usec)
{
}

static void mock_cancel(struct backend_job *job)
{
}

static void mock_free(struct backend *b)
{
    struct mock *m = CONTAINER_OF(b, struct mock, backend);

    buf_done(&m->text);
    free(m);
}

static const struct backend_ops ops = {
    .start = mock_start,
    .pause = mock_pause,
    .resume = mock_resume,
    .cancel = mock_cancel,
    .free = mock_free,
};

static int backend_new(struct upstreams *up, const struct provider_params *params,
                       struct backend **ret)
{
    const char *json = kv_find(params->options, "mock_response");
    struct mock *m;
    int r;

    if (!json || json_type(str_from(json)) != JSON_STRING) {
        return -EINVAL;
    }
    m = calloc(1, sizeof *m);
    if (!m) {
        return -ENOMEM;
    }
    m->backend.ops = &ops;
    buf_init(&m->text, MOCK_TEXT_MAX);
    r = json_string(str_from(json), &m->text);
    if (r < 0) {
        mock_free(&m->backend);
        return r;
    }
    return fan_out_new(up, &m->backend, params, ret);
}

const struct provider_ops provider_mock = {.name = "mock", .backend_new = backend_new};
