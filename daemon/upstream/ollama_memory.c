/*
 * See ollama_memory.h. A question is one exchange or two, on a connection of its own:
 *
 *   facts   GET /api/tags (size of the file) ──► POST /api/show (shape) ──► told
 *   held    GET /api/ps ──► told
 *
 * A server that does not answer in time, or says nonsense, does not tell: on_facts(NULL),
 * on_held(NULL). Nothing is concluded about the server by that.
 *
 * Owns the questions under way, each with copies of all it needs: it lives on when its backend is
 * freed. A load waits at the loader, whose load goes on when the one that wanted it leaves.
 */
#include "upstream/ollama_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "core/request.h"
#include "upstream/http_backend.h"
#include "upstream/ollama_loader.h"
#include "upstream/server_exchange.h"
#include "wire/json.h"
#include "wire/ollama_facts.h"
#include "wire/ollama_json.h"
#include "wire/ollama_names.h"
#include "wire/ollama_tags.h"
#include "wire/ollama_unload.h"

#define LIMIT_USEC          (10 * USEC_PER_SEC) /* Ollama answers late while it frees a GPU's memory */
#define ANSWER_MAX_BYTES    (2 * 1024 * 1024)
#define REQUEST_MAX_BYTES   4096
#define NAMES_MAX_BYTES     (OLLAMA_HELD_MAX * (REQUEST_MODEL_MAX + 1))
#define LOAD_BODY_MAX_BYTES (2 * 1024 * 1024)

enum question_state { QUESTION_FILES, QUESTION_SHAPE, QUESTION_HELD };

struct question {
    struct memory_job job;
    enum question_state state;
    struct memory_sink *sink; /* borrowed */
    char *model;              /* owned; NULL: what is held */
    struct server_access access;
    uint64_t connect_usec, ends_at_usec;
    struct model_facts facts;
    struct server_exchange exchange;
    struct buf body;
};

static struct question *question_free(struct question *q)
{
    server_exchange_done(&q->exchange);
    server_access_done(&q->access);
    free(q->model);
    buf_done(&q->body);
    free(q);
    return NULL;
}

static void question_cancel(struct memory_job *job)
{
    question_free(CONTAINER_OF(job, struct question, job));
}

static void tell_nothing(struct question *q)
{
    if (q->model) {
        q->sink->on_facts(q->sink, NULL);
    } else {
        q->sink->on_held(q->sink, NULL, 0);
    }
    question_free(q);
}

static void tell_held(struct question *q, struct str body)
{
    struct model_held held[OLLAMA_HELD_MAX];
    struct buf names;
    size_t n;

    buf_init(&names, NAMES_MAX_BYTES);
    if (ollama_read_held(body, &names, held, &n) < 0) {
        tell_nothing(q);
    } else {
        q->sink->on_held(q->sink, held, n);
        question_free(q);
    }
    buf_done(&names);
}

static int begin(struct question *q, enum question_state state);

static void on_answer(struct question *q, int status, struct str body)
{
    int r = status == 200 ? 0 : -EBADMSG;

    switch (q->state) {
    case QUESTION_FILES:
        r = r < 0 ? r : ollama_read_file_bytes(body, q->model, &q->facts.file_bytes);
        if (r < 0 || begin(q, QUESTION_SHAPE) < 0) {
            tell_nothing(q);
        }
        break;
    case QUESTION_SHAPE:
        /* a server that tells sizes and no shapes is believed so far */
        if (r == 0 && ollama_read_shape(body, &q->facts) < 0) {
            q->facts.digest = STR_NONE;
        }
        q->sink->on_facts(q->sink, &q->facts);
        question_free(q);
        break;
    case QUESTION_HELD:
        if (r < 0) {
            tell_nothing(q);
        } else {
            tell_held(q, body);
        }
        break;
    }
}

static void on_end(struct server_exchange *x, const struct server_answer *answer)
{
    struct question *q = CONTAINER_OF(x, struct question, exchange);

    if (answer->result == TRANSFER_COMPLETE) {
        on_answer(q, answer->status, answer->body);
    } else {
        tell_nothing(q);
    }
}

static int begin(struct question *q, enum question_state state)
{
    static const char *const paths[] = {[QUESTION_FILES] = OLLAMA_TAGS_PATH,
                                        [QUESTION_SHAPE] = OLLAMA_SHOW_PATH,
                                        [QUESTION_HELD] = OLLAMA_LIST_PATH};
    struct server_request request = {
        .path = paths[state],
        .access = &q->access,
        .body = state == QUESTION_SHAPE ? buf_str(&q->body) : STR_NONE,
        .connect_usec = q->connect_usec,
        .ends_at_usec = q->ends_at_usec,
    };

    q->state = state;
    return server_exchange_start(&q->exchange, &request);
}

static int fill(struct question *q, const struct http_backend *b, const char *model)
{
    q->model = model ? strdup(model) : NULL;
    if ((model && !q->model) || server_access_copy(&b->access, &q->access) < 0) {
        return -ENOMEM;
    }
    return model ? ollama_encode_show(model, &q->body) : 0;
}

/* A number of the deployment's options; 0: none. */
static uint64_t option(const struct http_backend *b, const char *name)
{
    struct str value = str_from(kv_find(&b->options, name));
    int64_t v;

    if (value.len > 2 && value.ptr[0] == '"') { /* people quote numbers in YAML */
        value = (struct str) {value.ptr + 1, value.len - 2};
    }
    return json_check(value, NULL) == 0 && json_type(value) == JSON_NUMBER &&
                   json_i64(value, &v) == 0 && v > 0
               ? (uint64_t) v
               : 0;
}

static int ask(const struct http_backend *b, const char *model, struct memory_sink *sink,
               struct memory_job **ret_job)
{
    struct question *q = calloc(1, sizeof *q);
    int r;

    if (!q) {
        return -ENOMEM;
    }
    *q = (struct question) {
        .job = {.cancel = question_cancel},
        .sink = sink,
        .connect_usec = b->connect_usec,
        .ends_at_usec = usec_add(clock_now_usec(), LIMIT_USEC),
        .facts = {.num_ctx = (uint32_t) num_clamp_u64(option(b, "num_ctx"), 0, UINT32_MAX)},
    };
    buf_init(&q->body, REQUEST_MAX_BYTES);
    server_exchange_init(&q->exchange, b->up, b->server, ANSWER_MAX_BYTES, on_end);
    q->facts.told_bytes = num_clamp_u64(option(b, "ram_mb"), 0, UINT32_MAX) << 20;
    r = fill(q, b, model);
    if (r >= 0) {
        r = begin(q, model ? QUESTION_FILES : QUESTION_HELD);
    }
    if (r < 0) {
        question_free(q);
        return r;
    }
    *ret_job = &q->job;
    return 0;
}

static struct http_backend *backend_of(struct backend *b)
{
    return CONTAINER_OF(b, struct http_backend, backend);
}

static int ask_facts(struct backend *b, const char *model, struct memory_sink *sink,
                     struct memory_job **ret_job)
{
    return ask(backend_of(b), model, sink, ret_job);
}

static int ask_held(struct backend *b, struct memory_sink *sink, struct memory_job **ret_job)
{
    return ask(backend_of(b), NULL, sink, ret_job);
}

/* ---------------------------------------------------------------- loads */

struct wanted_load {
    struct memory_job job;
    struct load_waiter waiter;
    struct memory_sink *sink; /* borrowed */
};

static void load_cancel(struct memory_job *job)
{
    struct wanted_load *w = CONTAINER_OF(job, struct wanted_load, job);

    load_waiter_leave(&w->waiter);
    free(w);
}

static void on_loaded(struct load_waiter *waiter, const struct problem *problem,
                      uint64_t retry_after_usec)
{
    struct wanted_load *w = CONTAINER_OF(waiter, struct wanted_load, waiter);

    if (!problem) {
        w->sink->on_loaded(w->sink, ERRCODE_NONE, "");
    } else {
        w->sink->on_loaded(w->sink, problem->code,
                           problem->text[0] ? problem->text : errcode_info(problem->code)->text);
    }
    free(w);
}

/* The body that the deployment's calls load it with: with another one they would load it again. */
static int load_body(const struct http_backend *b, const char *model, struct buf *out)
{
    return strcmp(model, b->model) == 0 ? buf_append_str(out, buf_str(&b->load_body))
                                        : b->dialect->encode_load(b, model, out);
}

static int load(struct backend *backend, const char *model, bool makes_embeddings,
                struct memory_sink *sink, struct memory_job **ret_job)
{
    struct http_backend *b = backend_of(backend);
    struct wanted_load *w = calloc(1, sizeof *w);
    struct buf body;
    int r;

    if (!w) {
        return -ENOMEM;
    }
    *w = (struct wanted_load) {
        .job = {.cancel = load_cancel}, .waiter = {.on_loaded = on_loaded}, .sink = sink};
    list_init(&w->waiter.link);
    buf_init(&body, LOAD_BODY_MAX_BYTES);
    r = load_body(b, model, &body);
    if (r >= 0) {
        struct load_spec spec = {
            .model = model,
            .path = b->dialect->load_path(makes_embeddings ? REQUEST_EMBED : REQUEST_CHAT),
            .access = &b->access,
            .body = buf_str(&body),
            .connect_usec = b->connect_usec,
            .answer_usec = b->first_byte_usec,
        };

        r = ollama_loader_want(b->loader, &spec, &w->waiter, clock_now_usec());
    }
    buf_done(&body);
    if (r != 0) {
        free(w);
        return r;
    }
    *ret_job = &w->job;
    return 0;
}

static void stop_load(struct backend *b, const char *model, const char *why)
{
    ollama_loader_stop(backend_of(b)->loader, model, why);
}

static bool is_trusted(const struct backend *backend, const char *model, uint64_t now_usec)
{
    const struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);

    return strcmp(model, b->model) == 0
               ? ollama_loader_trusts(b->loader, model, buf_str(&b->load_body), now_usec)
               : ollama_loader_trusts_any(b->loader, model, now_usec);
}

static bool is_loading(const struct backend *backend, const char *model)
{
    return ollama_loader_is_loading(CONTAINER_OF(backend, struct http_backend, backend)->loader,
                                    model);
}

const struct memory_ops ollama_memory_ops = {
    .is_trusted = is_trusted,
    .ask_facts = ask_facts,
    .ask_held = ask_held,
    .load = load,
    .is_loading = is_loading,
    .stop_load = stop_load,
};
