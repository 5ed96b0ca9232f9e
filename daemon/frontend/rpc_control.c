/*
 * See rpc_control.h.
 *
 * Who may do what: to cancel is everybody's right with his own calls, and root's with all; to watch
 * is as open as the status. To change something is for root and for the user that the daemon runs
 * as, who could do the same with a signal. The kernel says who asks (SO_PEERCRED), and HTTP has none
 * of this.
 *
 * What is to be done the composition does (frontends.control): here it is decided who may, and told
 * what came of it.
 */
#include "frontend/rpc_control.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/call.h"
#include "frontend/rpc_model_memory.h"
#include "frontend/rpc_output.h"
#include "wire/rpc_msg.h"

#define ANSWER_MAX_BYTES 64 /* two numbers */

void rpc_control_init(struct rpc_control *control, struct conn *conn)
{
    control->conn = conn;
    list_init(&control->watches);
    list_init(&control->waiting);
}

size_t rpc_control_n_streams(const struct rpc_control *control)
{
    size_t n = rpc_model_memory_count(&control->waiting);

    list_for_each (l, &control->watches) {
        n++;
    }
    return n;
}

bool rpc_control_has_stream(const struct rpc_control *control, uint32_t stream_id)
{
    list_for_each (l, &control->watches) {
        if (rpc_watch_is_of(l, stream_id)) {
            return true;
        }
    }
    return rpc_model_memory_has(&control->waiting, stream_id);
}

/* A small answer that was encoded, or could not be (r). */
static void answer(struct conn *c, uint32_t id, int r, struct buf *out)
{
    if (r < 0) {
        rpc_put_code(c, id, ERRCODE_OUT_OF_MEMORY);
    } else {
        rpc_put_payload(c, id, buf_str(out));
    }
    buf_done(out);
}

static struct str payload_of(const struct frame_request *frame)
{
    return (struct str) {(const char *) frame->payload.ptr, frame->payload.len};
}

/* ---------------------------------------------------------------- for everybody */

static void cancel(struct conn *c, uint32_t id, const struct frame_request *frame,
                   uint64_t now_usec)
{
    const struct caller *caller = &c->caller;
    bool is_root = caller->uid == 0;
    char wanted[REQUEST_ID_MAX + 1];
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    struct buf out;

    if (rpc_decode_cancel(payload_of(frame), wanted, &p) < 0) {
        rpc_put_problem(c, id, &p);
        return;
    }

    struct call *call =
        registry_find(c->frontends->registry, str_from(wanted), is_root, caller->uid);
    struct rpc_watch *watch =
        call ? NULL : rpc_watch_find(c->frontends, str_from(wanted), is_root, caller->uid);

    if (call) {
        call_cancel(call, ERRCODE_CANCELLED, now_usec);
    } else if (watch) {
        rpc_watch_end(watch, ERRCODE_CANCELLED);
    }
    buf_init(&out, ANSWER_MAX_BYTES);
    answer(c, id, rpc_encode_cancel_response(call || watch, &out), &out);
}

static bool is_id_taken(const struct conn *c, const char *id)
{
    return registry_find(c->frontends->registry, str_from(id), false, c->caller.uid) ||
           rpc_watch_find(c->frontends, str_from(id), false, c->caller.uid);
}

static void watch(struct rpc_control *control, uint32_t id, const struct frame_request *frame,
                  uint64_t now_usec)
{
    struct conn *c = control->conn;
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    struct rpc_watch_request req;
    struct rpc_watch_spec spec = {
        .conn = c,
        .of_conn = &control->watches,
        .stream_id = id,
        .ends_at_usec = frame->timeout_nano > 0
                            ? usec_add(now_usec, (uint64_t) frame->timeout_nano / 1000 + 1)
                            : USEC_NEVER,
    };

    if (c->frontends->is_draining) {
        rpc_put_code(c, id, ERRCODE_DRAINING);
    } else if (rpc_decode_watch(payload_of(frame), &req, &p) < 0) {
        rpc_put_problem(c, id, &p);
    } else if (req.id[0] != '\0' && is_id_taken(c, req.id)) {
        p = (struct problem) {.code = ERRCODE_INVALID_REQUEST,
                              .text = "a call with this request id is running",
                              .param = "request_id"};
        rpc_put_problem(c, id, &p);
    } else if (rpc_watch_start(&spec, &req, now_usec) < 0) {
        rpc_put_code(c, id, ERRCODE_OUT_OF_MEMORY);
    }
}

/* ---------------------------------------------------------------- for a few */

/* false: the caller was told that it may not. */
static bool is_allowed(struct conn *c, uint32_t id)
{
    const struct caller *caller = &c->caller;
    struct problem p = {.code = ERRCODE_FORBIDDEN};

    if (caller->has_uid && (caller->uid == 0 || caller->uid == geteuid())) {
        return true;
    }
    (void) snprintf(p.text, sizeof p.text,
                    "only root and the user that sluiced runs as (uid %u) may do that",
                    (unsigned) geteuid());
    rpc_put_problem(c, id, &p);
    return false;
}

static void note(const struct conn *c, const char *what)
{
    log_printf(LOG_LEVEL_NOTICE, "%s asked for by uid %u, pid %d", what, (unsigned) c->caller.uid,
               (int) c->caller.pid);
}

static void reload(struct conn *c, uint32_t id)
{
    const struct frontends *f = c->frontends;
    struct problem p = {.code = ERRCODE_BAD_CONFIGURATION};
    struct buf out;

    note(c, "reload");
    if (!f->control.reload(f->ctx, &p)) {
        rpc_put_problem(c, id, &p);
        return;
    }
    buf_init(&out, ANSWER_MAX_BYTES);
    answer(c, id,
           rpc_encode_reload_response(f->config_generation, (uint32_t) f->router->n_groups, &out),
           &out);
}

/* The answer first: what follows may close connections that have nothing to say. */
static void drain(struct rpc_control *control, uint32_t id)
{
    struct conn *c = control->conn;
    const struct frontends *f = c->frontends;
    uint32_t n_running = (uint32_t) (registry_count(f->registry, CALL_STARTING) +
                                     registry_count(f->registry, CALL_STREAMING));
    struct buf out;

    note(c, "drain");
    buf_init(&out, ANSWER_MAX_BYTES);
    answer(c, id, rpc_encode_drain_response(n_running, &out), &out);
    control->has_drained = true;
    f->control.drain(f->ctx);
}

static void change(struct rpc_control *control, uint32_t id, enum rpc_method method,
                   const struct frame_request *frame)
{
    struct conn *c = control->conn;
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};

    if (!is_allowed(c, id)) {
        return;
    }
    if (rpc_decode_empty(payload_of(frame), &p) < 0) {
        rpc_put_problem(c, id, &p);
    } else if (method == METHOD_RELOAD) {
        reload(c, id);
    } else {
        drain(control, id);
    }
}

static void load_or_unload(struct rpc_control *control, uint32_t id, bool loads,
                           const struct frame_request *frame, uint64_t now_usec)
{
    struct conn *c = control->conn;
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    char model[REQUEST_MODEL_MAX + 1];
    int r;

    if (!is_allowed(c, id)) {
        return;
    }
    r = loads ? rpc_decode_load(payload_of(frame), model, &p)
              : rpc_decode_unload(payload_of(frame), model, &p);
    if (r < 0) {
        rpc_put_problem(c, id, &p);
        return;
    }
    note(c, loads ? "load" : "unload");
    rpc_model_memory_ask(c, &control->waiting, id, loads ? MODEL_IN_MEMORY : MODEL_OUT_OF_MEMORY,
                         model, now_usec);
}

/* ---------------------------------------------------------------- all of them */

void rpc_control_request(struct rpc_control *control, uint32_t stream_id, enum rpc_method method,
                         const struct frame_request *frame, uint64_t now_usec)
{
    switch (method) {
    case METHOD_CANCEL:
        cancel(control->conn, stream_id, frame, now_usec);
        break;
    case METHOD_WATCH:
        watch(control, stream_id, frame, now_usec);
        break;
    case METHOD_RELOAD:
    case METHOD_DRAIN:
        change(control, stream_id, method, frame);
        break;
    case METHOD_LOAD:
    case METHOD_UNLOAD:
        load_or_unload(control, stream_id, method == METHOD_LOAD, frame, now_usec);
        break;
    case METHOD_GET_INFO:
    case METHOD_LIST_MODELS:
    case METHOD_STATUS:
    case METHOD_CHAT:
    case METHOD_COMPLETE:
    case METHOD_EMBED:
    case METHOD_RERANK:
    case METHOD_CLASSIFY:
    case METHOD_EXPLAIN:
    case METHOD_UPLOAD:
    case METHOD_UNKNOWN:
        rpc_put_code(control->conn, stream_id, ERRCODE_NOT_IMPLEMENTED);
        break;
    }
}

void rpc_control_drain(struct rpc_control *control, uint64_t now_usec)
{
    rpc_watches_drain(&control->watches, now_usec);
}

void rpc_control_drop(struct rpc_control *control)
{
    rpc_watches_drop(&control->watches);
    rpc_model_memory_drop(&control->waiting);
}
