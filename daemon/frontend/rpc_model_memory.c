/*
 * See rpc_model_memory.h. What may be loaded or unloaded, and when, core/model_load.h and
 * core/unload.h say; here is who waits for it, and what he is told.
 *
 * Owns one object for each stream that waits, on the list of its connection.
 */
#include "frontend/rpc_model_memory.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/call.h"
#include "core/model_load.h"
#include "core/retry_after.h"
#include "core/unload.h"
#include "frontend/frontend.h"
#include "frontend/rpc_output.h"
#include "wire/rpc_msg.h"

#define ANSWER_MAX_BYTES 64 /* three numbers */
#define NAME_SHOWN_MAX   80 /* bytes of a model name in a message */

struct rpc_model_memory {
    struct list link;  /* rpc_control.waiting */
    struct conn *conn; /* borrowed */
    uint32_t stream_id;
    enum rpc_model_wish wish;
    struct model_load load; /* MODEL_IN_MEMORY */
    struct unload unload;   /* MODEL_OUT_OF_MEMORY */
};

static void memory_free(struct rpc_model_memory *m)
{
    if (m) {
        model_load_cancel(&m->load);
        unload_done(&m->unload);
        list_remove(&m->link);
        free(m);
    }
}

static int encode_answer(const struct rpc_model_memory *m, struct buf *out)
{
    if (m->wish == MODEL_OUT_OF_MEMORY) {
        return rpc_encode_unload_response(m->unload.n_unloaded, m->unload.n_unchanged, out);
    }
    return rpc_encode_load_response(
        m->load.was_there, usec_since(clock_now_usec(), m->load.began_at_usec),
        residency_need(m->conn->frontends->router->residency, m->load.model).bytes, out);
}

static void put_failure(struct conn *c, uint32_t id, struct rpc_error *error)
{
    error->retry_after_usec = errcode_info(error->code)->is_retryable ? RETRY_AFTER_MIN_USEC : 0;
    rpc_put_error(c, id, error);
}

static void finish(struct rpc_model_memory *m, enum errcode code, const char *text)
{
    struct rpc_error error = {.code = code, .text = str_from(text)};
    struct buf out;

    buf_init(&out, ANSWER_MAX_BYTES);
    if (code != ERRCODE_NONE) {
        put_failure(m->conn, m->stream_id, &error);
    } else if (encode_answer(m, &out) < 0) {
        rpc_put_code(m->conn, m->stream_id, ERRCODE_OUT_OF_MEMORY);
    } else {
        rpc_put_payload(m->conn, m->stream_id, buf_str(&out));
    }
    buf_done(&out);
    memory_free(m);
}

static void on_loaded(struct model_load *load, enum errcode code, const char *text)
{
    finish(CONTAINER_OF(load, struct rpc_model_memory, load), code, text);
}

static void on_unloaded(struct unload *unload)
{
    finish(CONTAINER_OF(unload, struct rpc_model_memory, unload), unload->code, unload->text);
}

static const char *why_not(enum errcode code)
{
    return code == ERRCODE_MODEL_NOT_FOUND         ? "does not exist"
           : code == ERRCODE_MODEL_IN_USE          ? "is in use"
           : code == ERRCODE_UNSUPPORTED_PARAMETER ? "has no server that can be asked to load it"
                                                   : NULL;
}

/* It was not begun. */
static void refuse(struct conn *c, uint32_t id, enum errcode code, const char *model)
{
    struct str shown = str_clip(str_from(model), NAME_SHOWN_MAX);
    struct rpc_error error = {.code = code};
    char text[NAME_SHOWN_MAX + 80];

    if (why_not(code)) {
        (void) snprintf(text, sizeof text, "the model \"%.*s\" %s", STR_ARG(shown), why_not(code));
        error.text = str_from(text);
        error.param = code == ERRCODE_MODEL_NOT_FOUND ? STR_LIT("model") : STR_NONE;
    }
    put_failure(c, id, &error);
}

static struct rpc_model_memory *memory_new(struct conn *conn, struct list *waiting,
                                           uint32_t stream_id, enum rpc_model_wish wish)
{
    struct rpc_model_memory *m = calloc(1, sizeof *m);

    if (m) {
        m->conn = conn;
        m->stream_id = stream_id;
        m->wish = wish;
        m->load.on_done = on_loaded;
        m->unload.on_done = on_unloaded;
        list_init(&m->load.link);
        list_init(&m->link);
        list_append(waiting, &m->link);
    }
    return m;
}

void rpc_model_memory_ask(struct conn *conn, struct list *waiting, uint32_t stream_id,
                          enum rpc_model_wish wish, const char *model, uint64_t now_usec)
{
    const struct frontends *f = conn->frontends;
    struct rpc_model_memory *m = memory_new(conn, waiting, stream_id, wish);
    bool loads = wish == MODEL_IN_MEMORY;
    enum errcode code = !m      ? ERRCODE_OUT_OF_MEMORY
                        : loads ? model_load_start(&m->load, f->router, str_from(model), now_usec)
                                : unload_start(&m->unload, f->router, str_from(model));

    if (code != ERRCODE_NONE) {
        refuse(conn, stream_id, code, model);
        memory_free(m);
    } else if (loads && m->load.was_there) {
        finish(m, ERRCODE_NONE, "");
    } else if (loads) {
        registry_want_run(f->registry);
    } else if (m->unload.n_pending == 0) {
        on_unloaded(&m->unload);
    }
}

size_t rpc_model_memory_count(const struct list *waiting)
{
    size_t n = 0;

    list_for_each (l, waiting) {
        n++;
    }
    return n;
}

bool rpc_model_memory_has(const struct list *waiting, uint32_t stream_id)
{
    list_for_each (l, waiting) {
        if (CONTAINER_OF(l, const struct rpc_model_memory, link)->stream_id == stream_id) {
            return true;
        }
    }
    return false;
}

void rpc_model_memory_drop(struct list *waiting)
{
    list_for_each_safe (l, waiting) {
        memory_free(CONTAINER_OF(l, struct rpc_model_memory, link));
    }
}
