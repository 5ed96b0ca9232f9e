/*
 * HTTP: one request after the other on a connection, each an exchange.
 *
 *   IDLE ──► HEAD ──► BODY ──► WAITING ──► STREAMING ──► IDLE | closing
 *     ▲                            └──────────────────────►┘
 *
 *   IDLE       between requests                       limit keep_alive
 *   HEAD       a first byte came                      limit head, for the whole head
 *   BODY       the head was accepted                  limit body, for the whole body
 *   WAITING    a call is at work, nothing is sent     heartbeat: after its interval a stream's head goes out, then comments
 *   STREAMING  the head of a stream is out            heartbeat while nothing else comes
 *
 * The head of an answer is sent with the first content, so that everything that goes wrong before is a proper status. After it an error is an
 * event in the stream, without [DONE], and the connection closes.
 *
 * A client that closes its side while an answer is pending is gone: its call is cancelled at once. (One that only half-closes loses its answer; Ollama does the same.)
 *
 * Owns: parser, reply under construction, bytes of a next request that came early. The call is core's; the handle is dropped with its terminal event.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "base/num.h"
#include "frontend/conn.h"
#include "frontend/http_access.h"
#include "frontend/http_routes.h"
#include "wire/http1.h"
#include "wire/openai_reply.h"
#include "wire/openai_request.h"

#define HIGH_WATER_BYTES (64 * 1024)
/* One answer that is not streamed: 2,048 embeddings of 4,096 numbers as base64. */
#define OUT_MAX_BYTES     (64 * 1024 * 1024)
#define EARLY_MAX_BYTES   (64 * 1024)   /* of a next request; then the connection closes */
#define ARENA_FACTOR      4             /* decoded request : its body */
#define ARENA_EXTRA_BYTES (1024 * 1024) /* 4,096 messages of a few bytes each */
#define RETRY_HEADER_MAX  600 /* seconds; an upstream may ask for more than our own bounds */

enum http_state { HTTP_IDLE, HTTP_HEAD, HTTP_BODY, HTTP_WAITING, HTTP_STREAMING };

struct http_conn {
    struct conn conn;
    enum http_state state;
    bool is_tcp;
    struct http1 *parser;
    struct buf early; /* bytes behind the current request */

    /* the exchange */
    enum http_route route;
    struct event_sink sink;
    struct call *call; /* borrowed from the registry; NULL: none at work */
    struct openai_reply *reply;
    struct buf body; /* of an answer that is not streamed */
    char id[REQUEST_ID_MAX + 1];
    char model[REQUEST_MODEL_MAX + 1];
    char deployment[64];
    char origin[128];    /* allowed, to be echoed; "" */
    bool is_over_budget; /* a collected answer does not fit: the turn ends the call */
    bool is_stream, is_head_only, keep_alive;
    uint64_t arrived_at_usec, granted_at_usec;
};

static struct http_conn *http_conn_of(struct conn *c)
{
    return CONTAINER_OF(c, struct http_conn, conn);
}

/* ------------------------------------------------------------------------------------------- answers */

/* Appends to the output; a failure closes the connection: half an answer must not look like one. */
static bool put(struct http_conn *h, int r)
{
    if (r < 0) {
        conn_close_later(&h->conn);
        return false;
    }
    return true;
}

static int write_cors(struct http_conn *h, struct buf *out)
{
    int r = 0;

    if (h->origin[0]) {
        r = http1_write_header(out, "access-control-allow-origin", str_from(h->origin));
        r = r < 0 ? r
                  : http1_write_header(out, "access-control-expose-headers",
                                       STR_LIT("x-request-id, retry-after"));
        r = r < 0 ? r : http1_write_header(out, "vary", STR_LIT("origin"));
    }
    return r;
}

/* RFC 9110 section 6.6.1: a server with a clock says the date. Formatted once a second. */
static struct str date_now(struct frontends *f)
{
    time_t now = (time_t) (clock_wall_usec() / USEC_PER_SEC);

    if (now != f->date_sec || f->date[0] == '\0') {
        struct tm tm;

        f->date_sec = now;
        (void) gmtime_r(&now, &tm);
        (void) strftime(f->date, sizeof f->date, "%a, %d %b %Y %H:%M:%S GMT",
                        &tm); /* the C locale: never set */
    }
    return str_from(f->date);
}

/* Headers that every answer has, those that LiteLLM's clients look for included. */
static int write_common(struct http_conn *h, struct buf *out)
{
    int r = http1_write_header(out, "date", date_now(h->conn.frontends));

    if (r == 0 && h->id[0]) {
        r = http1_write_header(out, "x-request-id", str_from(h->id));
        r = r < 0 ? r : http1_write_header(out, "x-litellm-call-id", str_from(h->id));
    }
    if (r == 0 && h->deployment[0]) {
        char overhead[32];
        int n = snprintf(overhead, sizeof overhead, "%.3f",
                         (double) usec_since(h->granted_at_usec, h->arrived_at_usec) / 1000.0);

        r = http1_write_header(out, "x-litellm-model-id", str_from(h->deployment));
        r = r < 0 ? r : http1_write_header(out, "x-litellm-model-group", str_from(h->model));
        r = r < 0 ? r : http1_write_header(out, "x-litellm-attempted-retries", STR_LIT("0"));
        r = r < 0 ? r : http1_write_header(out, "x-litellm-attempted-fallbacks", STR_LIT("0"));
        r = r < 0 ? r
                  : http1_write_header(out, "x-litellm-overhead-duration-ms",
                                       (struct str) {overhead, (size_t) n});
    }
    r = r < 0 ? r : write_cors(h, out);
    if (r < 0 || (h->keep_alive && !h->conn.frontends->is_draining)) {
        return r;
    }
    return http1_write_header(out, "connection", STR_LIT("close"));
}

static int write_head(struct http_conn *h, int status, const char *type, size_t body_bytes)
{
    struct buf *out = conn_out(&h->conn);
    char length[24];
    int r = http1_write_status(out, status);

    (void) snprintf(length, sizeof length, "%zu", body_bytes);
    r = r < 0 ? r : http1_write_header(out, "content-type", str_from(type));
    r = r < 0 ? r : http1_write_header(out, "content-length", str_from(length));
    r = r < 0 ? r : http1_write_header(out, "cache-control", STR_LIT("no-store"));
    return r < 0 ? r : write_common(h, out);
}

static void finish_exchange(struct http_conn *h, uint64_t now_usec)
{
    h->reply = openai_reply_free(h->reply);
    buf_done(&h->body);
    (void) conn_charge(&h->conn, 0);
    if (!h->keep_alive || h->conn.frontends->is_draining) {
        conn_close_after_output(&h->conn, now_usec);
        return;
    }
    http1_next(h->parser);
    h->state = HTTP_IDLE;
    h->id[0] = h->model[0] = h->deployment[0] = h->origin[0] = '\0';
    conn_flush_later(&h->conn);
    conn_set_deadline(&h->conn, usec_add(now_usec, h->conn.frontends->params.keep_alive_usec));
    if (h->early.len == 0) {
        conn_resume_reading(&h->conn); /* else on_turn() looks at what came early first */
    }
}

static void answer_body(struct http_conn *h, int status, const char *type, struct str body,
                        uint64_t now_usec)
{
    struct buf *out = conn_out(&h->conn);
    int r = write_head(h, status, type, body.len);

    r = r < 0 ? r : http1_write_end(out);
    if (r == 0 && !h->is_head_only) {
        r = buf_append_str(out, body);
    }
    if (put(h, r)) {
        finish_exchange(h, now_usec);
    }
}

static int write_retry_after(struct buf *out, bool is_retryable, uint64_t usec)
{
    char text[32];
    int r = http1_write_header(out, "x-should-retry",
                               is_retryable ? STR_LIT("true") : STR_LIT("false"));

    if (usec == 0) {
        return r;
    }
    usec = num_clamp_u64(usec, RETRY_AFTER_MIN_USEC, RETRY_HEADER_MAX * USEC_PER_SEC);
    (void) snprintf(text, sizeof text, "%llu",
                    (unsigned long long) ((usec + USEC_PER_SEC - 1) / USEC_PER_SEC));
    r = r < 0 ? r : http1_write_header(out, "retry-after", str_from(text));
    (void) snprintf(text, sizeof text, "%llu", (unsigned long long) (usec / USEC_PER_MSEC));
    return r < 0 ? r : http1_write_header(out, "retry-after-ms", str_from(text));
}

static int write_allow(struct http_conn *h, struct buf *out, enum errcode code)
{
    if (code != ERRCODE_METHOD_NOT_ALLOWED) {
        return 0;
    }
    return http1_write_header(out, "allow",
                              http_route_is_post(h->route) ? STR_LIT("POST, OPTIONS")
                                                           : STR_LIT("GET, HEAD, OPTIONS"));
}

static void answer_error(struct http_conn *h, enum errcode code, struct str text, struct str param,
                         uint64_t retry_after_usec, uint64_t now_usec)
{
    const struct errcode_info *info = errcode_info(code);
    struct buf *out = conn_out(&h->conn);
    struct buf body;
    int r;

    buf_init(&body, 8192);
    r = openai_write_error(&body, code, text.ptr ? text : str_from(info->text), param);
    r = r < 0 ? r : write_head(h, info->http_status, "application/json", body.len);
    if (r == 0 && info->http_status >= 429) {
        r = write_retry_after(out, info->is_retryable, info->is_retryable ? retry_after_usec : 0);
    }
    r = r < 0 ? r : write_allow(h, out, code);
    if (r == 0 && code == ERRCODE_INVALID_API_KEY) {
        r = http1_write_header(out, "www-authenticate", STR_LIT("Bearer"));
    }
    r = r < 0 ? r : http1_write_end(out);
    if (r == 0 && !h->is_head_only) {
        r = buf_append_str(out, buf_str(&body));
    }
    buf_done(&body);
    if (put(h, r)) {
        finish_exchange(h, now_usec);
    }
}

/* The request cannot be trusted to end where it seems to: answer and close. */
static void refuse(struct http_conn *h, const struct problem *p, uint64_t now_usec)
{
    if (!h->id[0]) {
        frontends_make_id(h->conn.frontends, h->id);
    }
    h->keep_alive = false;
    answer_error(h, p->code, p->text[0] ? str_from(p->text) : STR_NONE, str_from(p->param), 0,
                 now_usec);
}

/* ------------------------------------------------------------------------------------------- streams */

static void send_stream_head(struct http_conn *h)
{
    struct buf *out = conn_out(&h->conn);
    int r = http1_write_status(out, 200);

    if (http1_head(h->parser)->is_http10) {
        h->keep_alive = false; /* ends with the connection */
    }
    r = r < 0
            ? r
            : http1_write_header(out, "content-type", STR_LIT("text/event-stream; charset=utf-8"));
    r = r < 0 ? r : http1_write_header(out, "cache-control", STR_LIT("no-store"));
    r = r < 0 ? r : http1_write_header(out, "x-accel-buffering", STR_LIT("no"));
    if (r == 0 && !http1_head(h->parser)->is_http10) {
        r = http1_write_header(out, "transfer-encoding", STR_LIT("chunked"));
    }
    r = r < 0 ? r : write_common(h, out);
    r = r < 0 ? r : http1_write_end(out);
    h->state = HTTP_STREAMING;
    (void) put(h, r);
}

static int put_chunk(struct http_conn *h, struct str bytes)
{
    struct buf *out = conn_out(&h->conn);

    if (bytes.len == 0) {
        return 0;
    }
    return http1_head(h->parser)->is_http10 ? buf_append_str(out, bytes)
                                            : http1_write_chunk(out, bytes);
}

static void arm_heartbeat(struct http_conn *h, uint64_t now_usec)
{
    uint64_t interval = h->conn.frontends->params.heartbeat_usec;

    conn_set_deadline(&h->conn,
                      h->is_stream && interval > 0 ? usec_add(now_usec, interval) : USEC_NEVER);
}

static void heartbeat(struct http_conn *h, uint64_t now_usec)
{
    if (h->state == HTTP_WAITING) {
        send_stream_head(h);
    }
    if (h->conn.state == CONN_OPEN && put(h, put_chunk(h, STR_LIT(": keep-alive\n\n")))) {
        conn_flush_later(&h->conn);
        arm_heartbeat(h, now_usec);
    }
}

static bool is_content(const struct event *ev)
{
    return ev->type == EVENT_TEXT || ev->type == EVENT_TOOL_CALL || ev->type == EVENT_EMBEDDING ||
           ev->type == EVENT_END;
}

/* About what an event adds to a collected answer, before and after it is written as JSON. */
static size_t collected_size(const struct event *ev)
{
    switch (ev->type) {
    case EVENT_TEXT:
        return 2 * (ev->text.bytes.len + ev->text.logprobs.len);
    case EVENT_TOOL_CALL:
        return 2 * (ev->tool_call.arguments.len + ev->tool_call.name.len + ev->tool_call.id.len);
    case EVENT_EMBEDDING:
        return 2 * ev->embedding.n_values * sizeof(float) * 2; /* as base64 or as digits */
    case EVENT_QUEUED:
    case EVENT_STARTED:
    case EVENT_USAGE:
    case EVENT_END:
    case EVENT_FAILED:
        break;
    }
    return 0;
}

/* Collects one event of an answer that is not streamed. What does not fit ends the call, but not from here: a sink never calls into core. */
static void collect(struct http_conn *h, const struct event *ev)
{
    size_t charge = h->conn.charged_bytes + collected_size(ev);
    int r = h->is_over_budget                ? -ENOBUFS
            : !conn_charge(&h->conn, charge) ? -ENOBUFS
                                             : openai_reply_add(h->reply, ev, &h->body);

    if (r == -ENOBUFS || r == -ENOMEM) {
        h->is_over_budget = true;
        conn_flush_later(&h->conn); /* makes the turn come */
        return;
    }
    (void) put(h, r);
}

/* The reply writes into h->body; a stream passes that on at once as one chunk. */
static void add_to_reply(struct http_conn *h, const struct event *ev)
{
    if (!h->is_stream) {
        collect(h, ev);
        return;
    }
    if (h->state == HTTP_WAITING && is_content(ev)) {
        send_stream_head(h);
    }
    if (!put(h, openai_reply_add(h->reply, ev, &h->body)) || h->state != HTTP_STREAMING) {
        return;
    }
    (void) put(h, put_chunk(h, buf_str(&h->body)));
    buf_clear(&h->body);
}

static void end_stream(struct http_conn *h, bool is_complete, uint64_t now_usec)
{
    if (is_complete && !http1_head(h->parser)->is_http10) {
        (void) put(h, http1_write_chunk(conn_out(&h->conn), STR_LIT("")));
    }
    if (!is_complete) {
        h->keep_alive = false; /* no last chunk: the cut is visible to HTTP as well */
    }
    finish_exchange(h, now_usec);
}

static void on_failed(struct http_conn *h, const struct event *ev)
{
    struct str text = event_failed_text(ev);

    if (h->state == HTTP_STREAMING) {
        add_to_reply(h, ev);
        end_stream(h, false, ev->at_usec);
        return;
    }
    answer_error(h, ev->failed.code, text, ev->failed.param, ev->failed.retry_after_usec,
                 ev->at_usec);
}

static void on_end(struct http_conn *h, const struct event *ev)
{
    add_to_reply(h, ev);
    if (h->conn.state != CONN_OPEN) {
        return; /* put() gave up */
    }
    if (h->is_over_budget) {
        answer_error(h, ERRCODE_OUT_OF_MEMORY, STR_NONE, STR_NONE, RETRY_AFTER_MIN_USEC,
                     ev->at_usec);
    } else if (h->is_stream) {
        end_stream(h, true, ev->at_usec);
    } else {
        answer_body(h, 200, "application/json", buf_str(&h->body), ev->at_usec);
    }
}

/* A finished exchange may have the next request waiting in h->early: that is the turn's business, as a sink must not call into core. */
static enum sink_answer deliver(struct event_sink *sink, const struct event *ev)
{
    struct http_conn *h = CONTAINER_OF(sink, struct http_conn, sink);

    if (event_is_terminal(ev)) {
        h->call = NULL;
    }
    if (h->conn.state == CONN_CLOSED) {
        return SINK_ROOM;
    }
    switch (ev->type) {
    case EVENT_QUEUED:
        break;
    case EVENT_STARTED:
        h->granted_at_usec = ev->at_usec;
        (void) snprintf(h->model, sizeof h->model, "%.*s", STR_ARG(ev->started.model));
        (void) snprintf(h->deployment, sizeof h->deployment, "%.*s",
                        STR_ARG(ev->started.deployment));
        break;
    case EVENT_TEXT:
    case EVENT_TOOL_CALL:
    case EVENT_EMBEDDING:
    case EVENT_USAGE:
        add_to_reply(h, ev);
        break;
    case EVENT_END:
        on_end(h, ev);
        break;
    case EVENT_FAILED:
        on_failed(h, ev);
        break;
    }
    conn_flush_later(&h->conn);
    return h->call && conn_is_full(&h->conn) ? SINK_FULL : SINK_ROOM;
}

/* ------------------------------------------------------------------------------------------- requests */

static void set_id(struct http_conn *h, const struct http1_head *head)
{
    struct str given = http1_header(head, "x-request-id");

    if (request_id_is_valid(given)) {
        (void) snprintf(h->id, sizeof h->id, "%.*s", STR_ARG(given));
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
    (void) snprintf(req->id, sizeof req->id, "%s", h->id);
    h->is_stream = req->stream && req->kind != REQUEST_EMBED;
    h->is_over_budget = false;
    h->reply = openai_reply_new(req, clock_wall_usec() / USEC_PER_SEC, OUT_MAX_BYTES);
    if (!h->reply) {
        request_free(req);
        answer_error(h, ERRCODE_OUT_OF_MEMORY, STR_NONE, STR_NONE, RETRY_AFTER_MIN_USEC, now_usec);
        return;
    }
    h->state = HTTP_WAITING;
    conn_pause_reading(&h->conn);
    arm_heartbeat(h, now_usec);
    if (call_submit(f->registry, req, &h->sink, now_usec, &h->call) < 0) {
        answer_error(h, ERRCODE_OUT_OF_MEMORY, STR_NONE, STR_NONE, RETRY_AFTER_MIN_USEC, now_usec);
    }
}

static void decode_and_submit(struct http_conn *h, uint64_t now_usec)
{
    struct str body = http1_body(h->parser);
    struct request *req =
        request_new(http_route_kind(h->route), body.len * ARENA_FACTOR + ARENA_EXTRA_BYTES);
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    struct buf spent;
    int r =
        req && conn_charge(&h->conn, 2 * body.len) ? openai_decode_request(req, body, &p) : -ENOMEM;

    if (r < 0) {
        if (r == -ENOMEM) {
            p = (struct problem) {.code = ERRCODE_OUT_OF_MEMORY};
        }
        request_free(req);
        answer_error(h, p.code, p.text[0] ? str_from(p.text) : STR_NONE, str_from(p.param),
                     RETRY_AFTER_MIN_USEC, now_usec);
        return;
    }
    req->total_bytes = body.len;
    set_class(req, http1_head(h->parser));
    http1_take_body(h->parser, &spent); /* the request has its own copy */
    buf_done(&spent);
    submit(h, req, now_usec);
}

static void answer_get(struct http_conn *h, uint64_t now_usec)
{
    struct str rest;
    const char *type;
    struct buf body;
    enum errcode code;

    (void) http_route_of(http1_head(h->parser)->path, &rest);
    buf_init(&body, 1024 * 1024);
    code = http_route_answer(h->conn.frontends, h->route, rest, &body, &type);
    if (code == ERRCODE_NONE) {
        answer_body(h, 200, type, buf_str(&body), now_usec);
    } else {
        answer_error(h, code, STR_NONE, STR_NONE, RETRY_AFTER_MIN_USEC, now_usec);
    }
    buf_done(&body);
}

static void answer_options(struct http_conn *h, uint64_t now_usec)
{
    struct buf *out = conn_out(&h->conn);
    int r = http1_write_status(out, 204);

    r = r < 0 ? r : http1_write_header(out, "allow", STR_LIT("GET, HEAD, POST, OPTIONS"));
    if (r == 0 && h->origin[0]) {
        r = http1_write_header(out, "access-control-allow-methods", STR_LIT("GET, POST, OPTIONS"));
        r = r < 0 ? r : http1_write_header(out, "access-control-max-age", STR_LIT("600"));

        struct str wanted = http1_header(http1_head(h->parser), "access-control-request-headers");

        if (r == 0 && wanted.ptr) {
            r = http1_write_header(out, "access-control-allow-headers", wanted);
        }
    }
    r = r < 0 ? r : write_common(h, out);
    r = r < 0 ? r : http1_write_end(out);
    if (put(h, r)) {
        finish_exchange(h, now_usec);
    }
}

/* The request is complete. */
static void handle_request(struct http_conn *h, uint64_t now_usec)
{
    if (http1_head(h->parser)->method == HTTP1_OPTIONS) {
        answer_options(h, now_usec);
    } else if (http_route_is_post(h->route)) {
        decode_and_submit(h, now_usec);
    } else {
        answer_get(h, now_usec);
    }
}

static enum errcode check_head(struct http_conn *h, const struct http1_head *head)
{
    struct http_access access = http_access_check(h->conn.frontends, head, h->is_tcp);
    struct str rest;

    h->route = http_route_of(head->path, &rest);
    if (access.code != ERRCODE_NONE) {
        return access.code;
    }
    if (access.allowed_origin.len < sizeof h->origin) {
        (void) snprintf(h->origin, sizeof h->origin, "%.*s", STR_ARG(access.allowed_origin));
    }
    if (head->method == HTTP1_OPTIONS) {
        return ERRCODE_NONE;
    }
    if (head->method == HTTP1_OTHER) {
        return ERRCODE_METHOD_NOT_ALLOWED;
    }
    if (h->is_tcp && !http_route_is_open(h->route) &&
        !http_access_key_is_good(h->conn.frontends, head)) {
        return ERRCODE_INVALID_API_KEY;
    }
    if (h->route == ROUTE_NONE) {
        return ERRCODE_NOT_FOUND;
    }
    if ((head->method == HTTP1_POST) != http_route_is_post(h->route)) {
        return ERRCODE_METHOD_NOT_ALLOWED;
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
    p.code = check_head(h, head);
    if (p.code != ERRCODE_NONE && head->has_body) {
        refuse(h, &p, now_usec); /* closing is cheaper than reading a body that nobody wants */
        return;
    }
    if (p.code != ERRCODE_NONE) {
        answer_error(h, p.code, STR_NONE, STR_NONE, 0, now_usec);
        return;
    }
    h->state = HTTP_BODY;
    conn_set_deadline(&h->conn, usec_add(now_usec, h->conn.frontends->params.body_usec));
    if (head->expects_continue) {
        (void) put(h, buf_append_z(conn_out(&h->conn), "HTTP/1.1 100 Continue\r\n\r\n"));
        conn_flush_later(&h->conn);
    }
}

static void begin_request(struct http_conn *h, uint64_t now_usec)
{
    if (h->state == HTTP_IDLE && http1_is_started(h->parser)) {
        h->state = HTTP_HEAD;
        conn_set_deadline(&h->conn, usec_add(now_usec, h->conn.frontends->params.head_usec));
    }
}

/* Is the connection ready for bytes of a request? */
static bool wants_bytes(const struct http_conn *h)
{
    return h->conn.state == CONN_OPEN &&
           (h->state == HTTP_IDLE || h->state == HTTP_HEAD || h->state == HTTP_BODY);
}

/* One step of the parser over bytes; false: it wants more than there is, or the exchange went on without it. */
static bool feed_step(struct http_conn *h, struct str bytes, size_t *ret_taken, uint64_t now_usec)
{
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    enum http1_result result = http1_feed(h->parser, bytes, ret_taken, &p);

    begin_request(h, now_usec);
    switch (result) {
    case HTTP1_MORE:
        if (!conn_charge(&h->conn, http1_body(h->parser).len)) {
            p = (struct problem) {.code = ERRCODE_OUT_OF_MEMORY,
                                  .text = "too many request bodies are in memory"};
            refuse(h, &p, now_usec);
        }
        return false;
    case HTTP1_HEAD_DONE:
        on_head(h, now_usec);
        return true; /* a request without a body is complete without further bytes */
    case HTTP1_COMPLETE:
        handle_request(h, now_usec);
        return true;
    case HTTP1_REFUSED:
        refuse(h, &p, now_usec);
        return false;
    }
    return false;
}

/* Feeds what there is until the parser has enough or an answer is pending. Returns how many bytes were used. */
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
    if (buf_append(&h->early, bytes.ptr + used, bytes.len - used) < 0) {
        conn_close(c, now_usec); /* more pipelined bytes than anybody sends in good faith */
        return;
    }
    conn_pause_reading(c);
}

/* The next request may have come early, behind the one that was just answered: looked at here and not in finish_exchange(), which a sink may have
 * called. */
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
    if (h->early.len == 0 && wants_bytes(h)) {
        buf_trim(&h->early);
        conn_resume_reading(c);
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
        conn_close(c, now_usec);
        break;
    case HTTP_HEAD:
    case HTTP_BODY:
        refuse(h, &p, now_usec);
        break;
    case HTTP_WAITING:
    case HTTP_STREAMING:
        heartbeat(h, now_usec);
        break;
    }
}

static void on_stalled(struct conn *c, uint64_t now_usec)
{
    struct http_conn *h = http_conn_of(c);

    if (h->call) {
        struct call *call = TAKE(h->call);

        call_cancel(call, ERRCODE_STALLED_READER,
                    now_usec); /* the sink still hears it, on a closed connection */
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
    if (conn_init(&h->conn, f, &conn_ops, fd, caller, HIGH_WATER_BYTES, OUT_MAX_BYTES) < 0) {
        http1_free(parser);
        free(h);
        return NULL;
    }
    h->parser = parser;
    h->is_tcp = is_tcp;
    h->sink.deliver = deliver;
    h->conn.caller.frontend = "http";
    buf_init(&h->early, EARLY_MAX_BYTES);
    buf_init(&h->body, OUT_MAX_BYTES);
    conn_set_deadline(&h->conn, usec_add(clock_now_usec(), f->params.head_usec));
    return &h->conn;
}

const struct frontend_ops frontend_http = {.name = "http", .conn_new = http_conn_new};
const struct frontend_ops frontend_http_unix = {.name = "http-unix", .conn_new = http_conn_new};
