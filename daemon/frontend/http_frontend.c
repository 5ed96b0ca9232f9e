/*
 * HTTP: one request after the other on a connection, each an exchange.
 *
 *   IDLE ──► HEAD ──► BODY ──► WAITING ──► STREAMING ──► IDLE | closing
 *     ▲                            └──────────────────────►┘
 *
 *   IDLE       between requests                       limit keep_alive
 *   HEAD       a first byte came                      limit head, for the whole head
 *   BODY       the head was accepted                  limit body, for the whole body
 *   WAITING    a call is at work, nothing is sent     heartbeat: after its interval a stream's head
 *                                                     goes out, then comments
 *   STREAMING  the head of a stream is out            heartbeat at every interval
 *
 * A client that closes its side while an answer is pending is gone: its call is cancelled at once.
 * (One that only half-closes loses its answer; Ollama does the same.)
 *
 * Owns: parser, reply under construction, bytes of a next request that came early. The call is
 * core's; the handle is dropped with its terminal event.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "frontend/http_access.h"
#include "frontend/http_answer.h"
#include "frontend/http_conn.h"
#include "frontend/http_info.h"
#include "frontend/http_overrides.h"
#include "wire/openai_request.h"

#define HIGH_WATER_BYTES    (64 * 1024)
#define GET_MAX_BYTES       (1024 * 1024) /* a model list, the metrics */
#define EARLY_MAX_BYTES     (64 * 1024)   /* of a next request; then the connection closes */
#define PIPELINED_MAX_BYTES (1024 * 1024) /* of unread answers; then the next request waits */
#define PATH_SHOWN_BYTES    160           /* of a path, in an error */
#define OVER_BUDGET         "too many requests are in memory (sluice.limits.buffered)"
#define ARENA_FACTOR        4                 /* decoded request : its body */
#define ARENA_EXTRA_BYTES   (4 * 1024 * 1024) /* OPENAI_MAX_MESSAGES of a few bytes each */

static void answer_code(struct http_conn *h, enum errcode code, uint64_t now_usec)
{
    http_answer_problem(h, &(struct problem) {.code = code}, RETRY_AFTER_MIN_USEC, now_usec);
}

static void set_id(struct http_conn *h, const struct http1_head *head)
{
    struct str given = http_overrides_call_id(head);

    if (given.ptr) {
        str_copy(given, h->id, sizeof h->id);
    } else {
        frontends_make_id(h->conn.frontends, h->id);
    }
}

static void set_class(struct request *req, const struct http1_head *head)
{
    enum call_class class;

    /* the header can only lower; an unknown word is the default and never an error */
    if (call_class_from_name(http1_header(head, "x-sluice-class"), &class) == 0 &&
        class > req->class) {
        req->class = class;
    }
}

static void submit(struct http_conn *h, struct request *req, uint64_t now_usec)
{
    struct frontends *f = h->conn.frontends;

    req->caller = h->conn.caller;
    str_copy(str_from(h->key_id), req->caller.key_id, sizeof req->caller.key_id);
    str_copy(str_from(h->id), req->id, sizeof req->id);
    h->is_stream = req->stream && request_kind_is_text(req->kind);
    h->is_over_budget = false;
    h->reply = openai_reply_new(req, clock_wall_usec() / USEC_PER_SEC, HTTP_OUT_MAX_BYTES);
    if (!h->reply) {
        request_free(req);
        answer_code(h, ERRCODE_OUT_OF_MEMORY, now_usec);
        return;
    }
    h->state = HTTP_WAITING;
    http_answer_arm_heartbeat(h, now_usec);
    if (call_submit(f->registry, req, &h->sink, now_usec, &h->call) < 0) {
        answer_code(h, ERRCODE_OUT_OF_MEMORY, now_usec);
    }
}

/* The model that the path names, as Azure's clients have it: the body need not name one then. */
static int take_path_model(const struct http_conn *h, struct request *req, struct problem *p)
{
    struct buf name;
    int r = 0;

    if (!h->path_model.ptr) {
        return 0;
    }
    buf_init(&name, REQUEST_MODEL_MAX);
    if (http1_unescape(h->path_model, &name) == 0) {
        req->model = arena_copy(&req->arena, buf_str(&name));
        r = req->model.ptr ? 0 : -ENOMEM;
    } else {
        *p = (struct problem) {.code = ERRCODE_MODEL_NOT_FOUND};
        r = -EBADMSG;
    }
    buf_done(&name);
    return r;
}

static int decode(struct http_conn *h, struct str body, struct request *req, struct problem *p)
{
    int r = conn_charge(&h->conn, 2 * body.len) ? take_path_model(h, req, p) : -ENOMEM;

    r = r < 0 ? r : openai_decode_request(req, body, p);
    r = r < 0 ? r : http_overrides_read(http1_head(h->parser), req, p);
    return r < 0 || conn_charge(&h->conn, req->arena.used_bytes) ? r : -ENOMEM;
}

static void decode_and_submit(struct http_conn *h, uint64_t now_usec)
{
    struct str body = http1_body(h->parser);
    struct request *req =
        request_new(http_route_kind(h->route), body.len * ARENA_FACTOR + ARENA_EXTRA_BYTES);
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    struct buf spent;
    int r = req ? decode(h, body, req, &p) : -ENOMEM;

    if (r < 0) {
        if (r == -ENOMEM) {
            p = (struct problem) {.code = ERRCODE_OUT_OF_MEMORY, .text = OVER_BUDGET};
        }
        request_free(req);
        http_answer_problem(h, &p, RETRY_AFTER_MIN_USEC, now_usec);
        return;
    }
    req->total_bytes = body.len;
    set_class(req, http1_head(h->parser));
    if (http_access_admit(h->conn.frontends, h->key_id, req, &p) != ERRCODE_NONE) {
        request_free(req);
        http_answer_problem(h, &p, 0, now_usec);
        return;
    }
    http1_take_body(h->parser, &spent); /* the request has its own copy */
    buf_done(&spent);
    submit(h, req, now_usec);
}

/* Why no model can be served at all. */
static void answer_unusable(struct http_conn *h, uint64_t now_usec)
{
    struct problem p = {.code = ERRCODE_MISCONFIGURED};
    struct str text = str_clip(str_from(h->conn.frontends->registry->unusable), sizeof p.text - 1);

    (void) snprintf(p.text, sizeof p.text, "%.*s", STR_ARG(text));
    http_answer_problem(h, &p, 0, now_usec);
}

static void answer_get(struct http_conn *h, uint64_t now_usec)
{
    struct http_info_ask ask = {.route = h->route,
                                .model = h->path_model,
                                .query = http1_head(h->parser)->query,
                                .key = http_access_find(h->conn.frontends, h->key_id)};
    const char *type;
    struct buf body;
    enum errcode code;

    buf_init(&body, GET_MAX_BYTES);
    code = http_info_answer(h->conn.frontends, &ask, now_usec, &body, &type);
    if (code == ERRCODE_NONE) {
        http_answer_body(h, 200, type, buf_str(&body), now_usec);
    } else if (code == ERRCODE_MISCONFIGURED) {
        answer_unusable(h, now_usec);
    } else {
        answer_code(h, code, now_usec);
    }
    buf_done(&body);
}

/* The request is complete. */
static void handle_request(struct http_conn *h, uint64_t now_usec)
{
    if (http1_head(h->parser)->method == HTTP1_OPTIONS) {
        http_answer_options(h, now_usec);
    } else if (http_route_is_post(h->route)) {
        decode_and_submit(h, now_usec);
    } else {
        answer_get(h, now_usec);
    }
}

static void tell_denied(const struct http_conn *h)
{
    const struct frontends *f = h->conn.frontends;

    if (f->on_denied) {
        f->on_denied(f->ctx, &h->conn.caller);
    }
}

/* The key, where one is asked for. */
static enum errcode check_key(struct http_conn *h, const struct http1_head *head, struct problem *p)
{
    const struct access_key *key = NULL;
    enum errcode code = ERRCODE_NONE;

    if (!h->is_tcp || http_route_is_open(h->route)) {
        return code;
    }
    code = http_access_key(h->conn.frontends, head, clock_wall_usec() / USEC_PER_SEC, &key, p);
    if (code == ERRCODE_INVALID_API_KEY || code == ERRCODE_KEY_EXPIRED) {
        tell_denied(h);
    }
    str_copy(str_from(key ? key->id : ""), h->key_id, sizeof h->key_id);
    return code;
}

/* What is wrong with the path or the method, in words. */
static enum errcode check_route(const struct http_conn *h, const struct http1_head *head,
                                struct problem *p)
{
    struct str path = str_clip(head->path, PATH_SHOWN_BYTES);

    if (h->route == ROUTE_NOT_SERVED) {
        (void) snprintf(p->text, sizeof p->text, "sluice does not serve %.*s", STR_ARG(path));
        return ERRCODE_NOT_IMPLEMENTED;
    }
    if (h->route == ROUTE_NONE) {
        (void) snprintf(p->text, sizeof p->text, "there is nothing at %.*s", STR_ARG(path));
        return ERRCODE_NOT_FOUND;
    }
    if (head->method == HTTP1_OTHER ||
        (head->method == HTTP1_POST) != http_route_is_post(h->route)) {
        return ERRCODE_METHOD_NOT_ALLOWED;
    }
    return ERRCODE_NONE;
}

/* Sets p's code, and its text where there is more to say than errors.def does. */
static enum errcode check_head(struct http_conn *h, const struct http1_head *head,
                               struct problem *p)
{
    struct http_access access = http_access_check(h->conn.frontends, head, h->is_tcp);
    enum errcode code;

    h->route = http_route_of(head->path, &h->path_model);
    if (access.code != ERRCODE_NONE) {
        return access.code;
    }
    if (access.allowed_origin.len < sizeof h->origin) {
        str_copy(access.allowed_origin, h->origin, sizeof h->origin);
    }
    if (head->method == HTTP1_OPTIONS) {
        return ERRCODE_NONE;
    }
    code = check_key(h, head, p);
    code = code == ERRCODE_NONE ? check_route(h, head, p) : code;
    if (code != ERRCODE_NONE) {
        return code;
    }
    return http1_header(head, "content-encoding").ptr ? ERRCODE_UNSUPPORTED_MEDIA_TYPE
                                                      : ERRCODE_NONE;
}

/* The head is complete: decides before a byte of the body is taken. */
static void on_head(struct http_conn *h, uint64_t now_usec)
{
    const struct http1_head *head = http1_head(h->parser);
    struct problem p = {.code = ERRCODE_NONE};

    h->arrived_at_usec = now_usec;
    h->is_head_only = head->method == HTTP1_HEAD;
    h->keep_alive = head->keep_alive;
    set_id(h, head);
    p.code = check_head(h, head, &p);
    if (p.code != ERRCODE_NONE && head->has_body) {
        /* closing is cheaper than reading a body that nobody wants */
        http_answer_refusal(h, &p, now_usec);
        return;
    }
    if (p.code != ERRCODE_NONE) {
        http_answer_problem(h, &p, 0, now_usec);
        return;
    }
    h->state = HTTP_BODY;
    conn_set_deadline(&h->conn, usec_add(now_usec, h->conn.frontends->params.body_usec));
    if (head->expects_continue) {
        http_answer_continue(h);
    }
}

static void begin_request(struct http_conn *h, uint64_t now_usec)
{
    if (h->state == HTTP_IDLE && http1_is_started(h->parser)) {
        h->state = HTTP_HEAD;
        conn_set_deadline(&h->conn, usec_add(now_usec, h->conn.frontends->params.head_usec));
    }
}

/*
 * Is the connection ready for bytes of a request? Not while it leaves answers unread: requests of
 * 30 bytes could pile up answers of thousands.
 */
static bool wants_bytes(const struct http_conn *h)
{
    return h->conn.state == CONN_OPEN && h->conn.out.len < PIPELINED_MAX_BYTES &&
           (h->state == HTTP_IDLE || h->state == HTTP_HEAD || h->state == HTTP_BODY);
}

/*
 * One step of the parser over bytes; false: it wants more than there is, or the exchange went on
 * without it.
 */
static bool feed_step(struct http_conn *h, struct str bytes, size_t *ret_taken, uint64_t now_usec)
{
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    enum http1_result result = http1_feed(h->parser, bytes, ret_taken, &p);

    begin_request(h, now_usec);
    switch (result) {
    case HTTP1_MORE:
        if (!conn_charge(&h->conn, http1_body(h->parser).len)) {
            p = (struct problem) {.code = ERRCODE_OUT_OF_MEMORY, .text = OVER_BUDGET};
            http_answer_refusal(h, &p, now_usec);
        }
        return false;
    case HTTP1_HEAD_DONE:
        on_head(h, now_usec);
        return true; /* a request without a body is complete without further bytes */
    case HTTP1_COMPLETE:
        handle_request(h, now_usec);
        return true;
    case HTTP1_REFUSED:
        http_answer_refusal(h, &p, now_usec);
        return false;
    }
    return false;
}

/*
 * Feeds what there is until the parser has enough or an answer is pending. Returns how many bytes
 * were used.
 */
static size_t feed(struct http_conn *h, struct str bytes, uint64_t now_usec)
{
    size_t used = 0;
    bool go_on = true;

    while (wants_bytes(h) && (used < bytes.len || (go_on && h->state == HTTP_BODY))) {
        size_t taken = 0;

        go_on = feed_step(h, (struct str) {bytes.ptr + used, bytes.len - used}, &taken, now_usec);
        used += taken;
        if (!go_on && taken == 0) {
            break;
        }
    }
    return used;
}

static void on_bytes(struct conn *c, struct str bytes, uint64_t now_usec)
{
    struct http_conn *h = http_conn_of(c);
    size_t used = h->early.len > 0 ? 0 : feed(h, bytes, now_usec);

    if (c->state != CONN_OPEN || used == bytes.len) {
        return;
    }
    /*
     * Reading goes on while an answer is pending: behind a full receive buffer the end of a client
     * that left would never be seen.
     */
    if (buf_append(&h->early, bytes.ptr + used, bytes.len - used) < 0) {
        conn_close(c, now_usec); /* more pipelined bytes than anybody sends in good faith */
    }
}

/*
 * The next request may have come early, behind the one that was just answered: looked at here and
 * not in finish_exchange(), which a sink may have called.
 */
static void on_turn(struct conn *c, uint64_t now_usec)
{
    struct http_conn *h = http_conn_of(c);

    if (h->is_over_budget && h->call) {
        call_cancel(h->call, ERRCODE_OUT_OF_MEMORY, now_usec);
        return;
    }
    while (h->early.len > 0 && wants_bytes(h)) {
        size_t used = feed(h, buf_str(&h->early), now_usec);

        buf_consume(&h->early, used);
        if (used == 0) {
            return;
        }
    }
    if (h->early.len == 0) {
        buf_trim(&h->early);
    }
}

static void on_hangup(struct conn *c, uint64_t now_usec)
{
    struct http_conn *h = http_conn_of(c);

    if (h->call) {
        conn_close(c, now_usec);
    } else {
        conn_close_after_output(c, now_usec);
    }
}

static void on_drained(struct conn *c, uint64_t now_usec)
{
    struct http_conn *h = http_conn_of(c);

    if (h->call) {
        call_resume(h->call, now_usec);
    }
}

static void on_deadline(struct conn *c, uint64_t now_usec)
{
    struct http_conn *h = http_conn_of(c);
    struct problem p = {.code = ERRCODE_REQUEST_TIMEOUT};

    switch (h->state) {
    case HTTP_IDLE:
        if (c->out.len == 0) {
            conn_close(c, now_usec);
        } else { /* the last answer is still being read: on_stalled() has an eye on that */
            conn_set_deadline(c, usec_add(now_usec, c->frontends->params.keep_alive_usec));
        }
        break;
    case HTTP_HEAD:
    case HTTP_BODY:
        http_answer_refusal(h, &p, now_usec);
        break;
    case HTTP_WAITING:
    case HTTP_STREAMING:
        http_answer_heartbeat(h, now_usec);
        break;
    }
}

static void on_stalled(struct conn *c, uint64_t now_usec)
{
    struct http_conn *h = http_conn_of(c);

    if (h->call) {
        struct call *call = TAKE(h->call);

        /* the sink still hears it, on a closed connection */
        call_cancel(call, ERRCODE_STALLED_READER, now_usec);
    }
    conn_close(c, now_usec);
}

static void on_closed(struct conn *c, uint64_t now_usec)
{
    struct http_conn *h = http_conn_of(c);

    if (h->call) {
        struct call *call = TAKE(h->call);

        call_detach(call, now_usec);
    }
}

static void http_free(struct conn *c)
{
    struct http_conn *h = http_conn_of(c);

    assert(!h->call);
    conn_done(c);
    http1_free(h->parser);
    openai_reply_free(h->reply);
    buf_done(&h->early);
    buf_done(&h->body);
    free(h);
}

static bool is_idle(const struct conn *c)
{
    const struct http_conn *h = CONTAINER_OF(c, struct http_conn, conn);

    return h->state == HTTP_IDLE;
}

static const struct conn_ops conn_ops = {
    .on_bytes = on_bytes,
    .on_hangup = on_hangup,
    .on_drained = on_drained,
    .on_turn = on_turn,
    .on_deadline = on_deadline,
    .on_stalled = on_stalled,
    .on_closed = on_closed,
    .free = http_free,
    .is_idle = is_idle,
};

static struct conn *http_conn_new(struct frontends *f, int fd, const struct caller *caller,
                                  bool is_tcp)
{
    struct http1_limits limits = {.head_bytes = f->params.max_head_bytes,
                                  .body_bytes = f->params.max_body_bytes};
    struct http_conn *h = calloc(1, sizeof *h);
    struct http1 *parser = http1_new(&limits);

    if (!h || !parser) {
        http1_free(parser);
        free(h);
        (void) fd_close(fd);
        return NULL;
    }
    if (conn_init(&h->conn, f, &conn_ops, fd, caller, HIGH_WATER_BYTES, HTTP_OUT_MAX_BYTES) < 0) {
        http1_free(parser);
        free(h);
        return NULL;
    }
    h->parser = parser;
    h->is_tcp = is_tcp;
    h->sink.deliver = http_answer_deliver;
    h->conn.caller.frontend = "http";
    buf_init(&h->early, EARLY_MAX_BYTES);
    buf_init(&h->body, HTTP_OUT_MAX_BYTES);
    conn_set_deadline(&h->conn, usec_add(clock_now_usec(), f->params.head_usec));
    return &h->conn;
}

const struct frontend_ops frontend_http = {.name = "http", .conn_new = http_conn_new};
const struct frontend_ops frontend_http_unix = {.name = "http-unix", .conn_new = http_conn_new};
