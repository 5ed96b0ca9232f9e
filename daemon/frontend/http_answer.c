/*
 * Answers over HTTP.
 *
 * The head of an answer leaves with its first content, so that everything that goes wrong before is
 * a proper status. After it an error is an event in the stream, without [DONE] and without a last
 * chunk, and the connection closes: a cut stream never looks complete.
 *
 * Called from the connection's own wake-ups and, as the sink, from within backends: so nothing here
 * calls into core, and whatever must follow an answer is left to the end of the turn. What cannot
 * be written whole closes the connection.
 */
#include "frontend/http_answer.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/num.h"
#include "frontend/http_rate_headers.h"

#define ERROR_MAX_BYTES   8192 /* an error object */
#define POSITION_GAP_USEC (2 * USEC_PER_SEC)
#define RETRY_HEADER_MAX  600 /* seconds; an upstream may ask for more than our own bounds */

/* Appends to the output; a failure closes the connection: half an answer must not look like one. */
static bool put(struct http_conn *h, int r)
{
    if (r < 0) {
        conn_close_later(&h->conn);
        return false;
    }
    return true;
}

/* What a page may read of an answer beside its body. */
#define EXPOSED_HEADERS                                                                                              \
    "x-request-id, x-litellm-call-id, x-litellm-model-id, x-litellm-model-group, x-sluice-spilled, x-should-retry, " \
    "retry-after, retry-after-ms, x-sluice-level, "                                                                  \
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "                       \
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "                             \
    "x-litellm-key-rpm-limit, x-litellm-key-tpm-limit"

static int write_cors(struct http_conn *h, struct buf *out)
{
    int r = 0;

    if (h->origin[0]) {
        r = http1_write_header(out, "access-control-allow-origin", str_from(h->origin));
        r = r < 0 ? r
                  : http1_write_header(out, "access-control-expose-headers",
                                       STR_LIT(EXPOSED_HEADERS));
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
        /* the C locale: never set */
        (void) strftime(f->date, sizeof f->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
    return str_from(f->date);
}

static int write_number(struct buf *out, const char *name, unsigned value)
{
    char text[NUM_U64_BYTES];

    return http1_write_header(out, name, num_format_u64(value, text));
}

static int write_limits(const struct http_conn *h, struct buf *out)
{
    struct caller who = h->conn.caller;

    str_copy(str_from(h->key_id), who.key_id, sizeof who.key_id);
    return http_rate_headers_write(h->conn.frontends, &who, clock_now_usec(), out);
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
        r = r < 0 ? r : write_number(out, "x-litellm-attempted-retries", h->n_retries);
        r = r < 0 ? r : write_number(out, "x-litellm-attempted-fallbacks", h->n_fallbacks);
        if (r == 0 && h->spilled) {
            r = http1_write_header(out, "x-sluice-spilled", str_from(h->spilled));
        }
        r = r < 0 ? r
                  : http1_write_header(out, "x-litellm-overhead-duration-ms",
                                       (struct str) {overhead, (size_t) n});
    }
    r = r < 0 ? r : write_limits(h, out);
    r = r < 0 ? r : write_cors(h, out);
    if (r < 0 || (h->keep_alive && !h->conn.frontends->is_draining)) {
        return r;
    }
    return http1_write_header(out, "connection", STR_LIT("close"));
}

static int write_head(struct http_conn *h, int status, const char *type, size_t body_bytes)
{
    struct buf *out = conn_out(&h->conn);
    char length[NUM_U64_BYTES];
    int r = http1_write_status(out, status);

    r = r < 0 ? r : http1_write_header(out, "content-type", str_from(type));
    r = r < 0 ? r : http1_write_header(out, "content-length", num_format_u64(body_bytes, length));
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
    h->id[0] = h->model[0] = h->deployment[0] = h->origin[0] = h->key_id[0] = '\0';
    h->granted_at_usec = 0;
    h->n_retries = h->n_fallbacks = 0;
    h->spilled = NULL;
    h->position = 0;
    conn_flush_later(&h->conn);
    conn_set_deadline(&h->conn, usec_add(now_usec, h->conn.frontends->params.keep_alive_usec));
}

void http_answer_body(struct http_conn *h, int status, const char *type, struct str body,
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

static int write_retry_after(struct buf *out, bool should_retry, uint64_t usec)
{
    char text[32];
    int r = http1_write_header(out, "x-should-retry",
                               should_retry ? STR_LIT("true") : STR_LIT("false"));

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

/* Statuses after which the packages of OpenAI try again, unless they are told not to. */
static bool is_repeated(int status)
{
    return status == 408 || status == 409 || status >= 429;
}

/* Borrowed texts; an absent one is errors.def's. */
struct http_failure {
    enum errcode code;
    struct str text, param;
    uint64_t retry_after_usec;
    bool is_last; /* this client should not try again by itself, though others may */
};

static void answer_error(struct http_conn *h, const struct http_failure *f, uint64_t now_usec)
{
    const struct errcode_info *info = errcode_info(f->code);
    struct buf *out = conn_out(&h->conn);
    struct buf body;
    int r;

    buf_init(&body, ERROR_MAX_BYTES);
    r = openai_write_error(&body, f->code, f->text.ptr ? f->text : str_from(info->text), f->param);
    r = r < 0 ? r : write_head(h, info->http_status, "application/json", body.len);
    if (r == 0 && is_repeated(info->http_status)) {
        r = write_retry_after(out, info->is_retryable && !f->is_last,
                              info->is_retryable ? f->retry_after_usec : 0);
        r = r < 0 ? r : write_number(out, "x-sluice-level", h->conn.frontends->pressure->level);
    }
    r = r < 0 ? r : write_allow(h, out, f->code);
    if (r == 0 && (f->code == ERRCODE_INVALID_API_KEY || f->code == ERRCODE_KEY_EXPIRED)) {
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

void http_answer_options(struct http_conn *h, uint64_t now_usec)
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

void http_answer_problem(struct http_conn *h, const struct problem *p, uint64_t retry_after_usec,
                         uint64_t now_usec)
{
    answer_error(h,
                 &(struct http_failure) {.code = p->code,
                                         .text = p->text[0] ? str_from(p->text) : STR_NONE,
                                         .param = str_from(p->param),
                                         .retry_after_usec = retry_after_usec},
                 now_usec);
}

void http_answer_refusal(struct http_conn *h, const struct problem *p, uint64_t now_usec)
{
    if (!h->id[0]) {
        frontends_make_id(h->conn.frontends, h->id);
    }
    h->keep_alive = false;
    http_answer_problem(h, p, 0, now_usec);
}

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

void http_answer_arm_heartbeat(struct http_conn *h, uint64_t now_usec)
{
    uint64_t interval = h->conn.frontends->params.heartbeat_usec;

    conn_set_deadline(&h->conn,
                      h->is_stream && interval > 0 ? usec_add(now_usec, interval) : USEC_NEVER);
}

/*
 * A comment, which readers of event streams skip (HTML, 9.2.6): no id:, no retry:, no event without
 * data. Who looks at the bytes sees how far the queue has come.
 */
static int put_comment(struct http_conn *h)
{
    char text[48];

    if (h->position == 0) {
        return put_chunk(h, STR_LIT(": keep-alive\n\n"));
    }
    (void) snprintf(text, sizeof text, ": queued, position %u\n\n", (unsigned) h->position);
    return put_chunk(h, str_from(text));
}

/*
 * Does its call leave the queue by then? By default both come after 15 s, and the heartbeat first: its
 * head would turn a refusal that clients obey into an error inside a stream, which ends them.
 */
static bool waits_until(const struct http_conn *h, uint64_t by_usec)
{
    return h->state == HTTP_WAITING && h->call && h->call->state == CALL_WAITING &&
           h->call->ticket.deadline_at_usec <= by_usec;
}

void http_answer_heartbeat(struct http_conn *h, uint64_t now_usec)
{
    uint64_t soon = h->conn.frontends->params.heartbeat_usec / 10;

    if (waits_until(h, usec_add(now_usec, soon))) {
        conn_set_deadline(&h->conn, usec_add(h->call->ticket.deadline_at_usec, soon));
        return;
    }
    if (h->state == HTTP_WAITING) {
        send_stream_head(h);
    }
    if (h->conn.state == CONN_OPEN && put(h, put_comment(h))) {
        h->commented_at_usec = now_usec;
        conn_flush_later(&h->conn);
        http_answer_arm_heartbeat(h, now_usec);
    }
}

/*
 * A new place in the queue. Before the head is out it waits for the first heartbeat: until then the
 * call may still be refused with a status and a Retry-After, which clients obey, while an error
 * inside a stream is the end for them. Behind it, news are told at once, but not more often than
 * every POSITION_GAP_USEC.
 */
static void on_queued(struct http_conn *h, const struct event *ev)
{
    uint64_t interval = h->conn.frontends->params.heartbeat_usec;
    uint64_t gap = interval < POSITION_GAP_USEC ? interval : POSITION_GAP_USEC;

    h->position = ev->queued.position;
    if (h->state == HTTP_STREAMING && h->is_stream && interval > 0) {
        conn_set_deadline(&h->conn, usec_add(h->commented_at_usec, gap));
    }
}

static bool is_content(const struct event *ev)
{
    return ev->type == EVENT_TEXT || ev->type == EVENT_TOOL_CALL || ev->type == EVENT_EMBEDDING ||
           ev->type == EVENT_RESULT || ev->type == EVENT_END;
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
    case EVENT_RESULT:
        return 2 * ev->result.json.len;
    case EVENT_QUEUED:
    case EVENT_STARTED:
    case EVENT_USAGE:
    case EVENT_END:
    case EVENT_FAILED:
        break;
    }
    return 0;
}

/*
 * Collects one event of an answer that is not streamed. What does not fit ends the call, but not
 * from here: a sink never calls into core.
 */
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
    if (h->state == HTTP_STREAMING) {
        add_to_reply(h, ev);
        end_stream(h, false, ev->at_usec);
        return;
    }
    answer_error(h,
                 &(struct http_failure) {.code = ev->failed.code,
                                         .text = event_failed_text(ev),
                                         .param = ev->failed.param,
                                         .retry_after_usec = ev->failed.retry_after_usec,
                                         .is_last = ev->failed.is_last},
                 ev->at_usec);
}

static void on_end(struct http_conn *h, const struct event *ev)
{
    add_to_reply(h, ev);
    if (h->conn.state != CONN_OPEN) {
        return; /* put() gave up */
    }
    if (h->is_over_budget) {
        answer_error(h,
                     &(struct http_failure) {.code = ERRCODE_OUT_OF_MEMORY,
                                             .retry_after_usec = RETRY_AFTER_MIN_USEC},
                     ev->at_usec);
    } else if (h->is_stream) {
        end_stream(h, true, ev->at_usec);
    } else {
        http_answer_body(h, 200, "application/json", buf_str(&h->body), ev->at_usec);
    }
}

static void on_started(struct http_conn *h, const struct event *ev)
{
    h->position = 0;
    h->granted_at_usec = h->granted_at_usec ? h->granted_at_usec : ev->at_usec;
    h->n_retries = ev->started.n_retries;
    h->n_fallbacks = ev->started.n_fallbacks;
    h->spilled = ev->started.spilled;
    str_copy(ev->started.model, h->model, sizeof h->model);
    str_copy(ev->started.deployment, h->deployment, sizeof h->deployment);
    if (h->state == HTTP_STREAMING && h->is_stream && h->spilled) {
        char text[48]; /* the head is out, without the header that says so */

        (void) snprintf(text, sizeof text, ": spilled, %s\n\n", h->spilled);
        (void) put(h, put_chunk(h, str_from(text)));
    }
}

/*
 * A finished exchange may have the next request waiting in h->early: that is the turn's business,
 * as a sink must not call into core.
 */
enum sink_answer http_answer_deliver(struct event_sink *sink, const struct event *ev)
{
    struct http_conn *h = CONTAINER_OF(sink, struct http_conn, sink);

    if (event_is_terminal(ev)) {
        h->call = NULL;
    }
    if (h->conn.state != CONN_OPEN) {
        return SINK_ROOM; /* put() gave up: what follows the gap must not be sent */
    }
    switch (ev->type) {
    case EVENT_QUEUED:
        on_queued(h, ev);
        break;
    case EVENT_STARTED:
        on_started(h, ev);
        break;
    case EVENT_TEXT:
    case EVENT_TOOL_CALL:
    case EVENT_EMBEDDING:
    case EVENT_RESULT:
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

void http_answer_continue(struct http_conn *h)
{
    (void) put(h, buf_append_z(conn_out(&h->conn), "HTTP/1.1 100 Continue\r\n\r\n"));
    conn_flush_later(&h->conn);
}
