/*
 * See rpc_model_load.h. What may be loaded, and when, core/model_load.h says; here is who waits for it.
 */
#include "frontend/rpc_model_load.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/call.h"
#include "core/model_load.h"
#include "core/retry_after.h"
#include "frontend/frontend.h"
#include "frontend/rpc_output.h"
#include "wire/rpc_msg.h"

#define ANSWER_MAX_BYTES 64 /* three numbers */
#define NAME_SHOWN_MAX   80 /* bytes of a model name in a message */

struct rpc_model_load {
    struct list link;  /* rpc_control.loads */
    struct conn *conn; /* borrowed: outlives its loads */
    uint32_t stream_id;
    struct model_load load;
};

static void load_free(struct rpc_model_load *l)
{
    model_load_cancel(&l->load);
    list_remove(&l->link);
    free(l);
}

static void answer(const struct rpc_model_load *l, uint64_t now_usec)
{
    const struct residency *r = l->conn->frontends->router->residency;
    struct buf out;

    buf_init(&out, ANSWER_MAX_BYTES);
    if (rpc_encode_load_response(l->load.was_there, usec_since(now_usec, l->load.began_at_usec),
                                 residency_need(r, l->load.model).bytes, &out) < 0) {
        rpc_put_code(l->conn, l->stream_id, ERRCODE_OUT_OF_MEMORY);
    } else {
        rpc_put_payload(l->conn, l->stream_id, buf_str(&out));
    }
    buf_done(&out);
}

static void put_failure(struct conn *c, uint32_t id, enum errcode code, const char *text)
{
    struct rpc_error error = {
        .code = code,
        .text = str_from(text),
        .retry_after_usec = errcode_info(code)->is_retryable ? RETRY_AFTER_MIN_USEC : 0,
    };

    rpc_put_error(c, id, &error);
}

static void on_done(struct model_load *load, enum errcode code, const char *text)
{
    struct rpc_model_load *l = CONTAINER_OF(load, struct rpc_model_load, load);

    if (code == ERRCODE_NONE) {
        answer(l, clock_now_usec());
    } else {
        put_failure(l->conn, l->stream_id, code, text);
    }
    load_free(l);
}

static void refuse(struct conn *c, uint32_t id, enum errcode code, const char *model)
{
    struct str shown = str_clip(str_from(model), NAME_SHOWN_MAX);
    char text[NAME_SHOWN_MAX + 80];

    (void) snprintf(text, sizeof text, "the model \"%.*s\" %s", STR_ARG(shown),
                    code == ERRCODE_MODEL_NOT_FOUND ? "does not exist"
                                                    : "has no server that can be asked to load it");
    put_failure(c, id, code, text);
}

void rpc_model_load_start(struct conn *conn, struct list *loads, uint32_t stream_id,
                          const char *model, uint64_t now_usec)
{
    const struct frontends *f = conn->frontends;
    struct rpc_model_load *l = calloc(1, sizeof *l);
    enum errcode code;

    if (!l) {
        rpc_put_code(conn, stream_id, ERRCODE_OUT_OF_MEMORY);
        return;
    }
    l->conn = conn;
    l->stream_id = stream_id;
    l->load.on_done = on_done;
    list_init(&l->link);
    list_append(loads, &l->link);
    code = model_load_start(&l->load, f->router, str_from(model), now_usec);
    if (code == ERRCODE_NONE && !l->load.was_there) {
        registry_want_run(f->registry);
        return;
    }
    if (code == ERRCODE_NONE) {
        answer(l, now_usec);
    } else {
        refuse(conn, stream_id, code, model);
    }
    load_free(l);
}

bool rpc_model_loads_have(const struct list *loads, uint32_t stream_id)
{
    list_for_each (l, loads) {
        if (CONTAINER_OF(l, struct rpc_model_load, link)->stream_id == stream_id) {
            return true;
        }
    }
    return false;
}

void rpc_model_loads_drop(struct list *loads)
{
    list_for_each_safe (l, loads) {
        load_free(CONTAINER_OF(l, struct rpc_model_load, link));
    }
}
