/*
 * HTTP/1.1 requests from bytes (http1.h).
 *
 *   IDLE ──► HEAD ──► TOLD ──► BODY | CHUNKS ──► COMPLETE          any of them ──► REFUSED
 *     ▲                 └──────────(no body)─────────┘ │
 *     └────────────────────── http1_next() ────────────┘
 *
 * A head is collected line by line, each line judged by http1_policy.c as soon as it is whole, and
 * a limit when it is reached. The complete head, and nothing else, goes through llhttp in one call:
 * it names the parts, and a head that it reads differently from the policy is refused. Then the
 * fields are judged together. llhttp keeps no state between calls and never sees a body, so that
 * its releases (8.1, 9.x) and modes do not show.
 *
 * The verdict on a request never depends on how its bytes were split.
 *
 * Owns, while a request is under way: the copy of its head with the spans into it (struct request),
 * and the body until http1_take_body(). An idle parser owns nothing beside itself: connections wait
 * by the thousand.
 *
 * Must not: take a byte behind the request, allocate for what Content-Length only announces, know a
 * route or a socket.
 */
#include "wire/http1.h"

#include <assert.h>
#include <errno.h>
#include <llhttp.h>
#include <stdlib.h>
#include <strings.h>

#include "wire/http1_chunks.h"
#include "wire/http1_policy.h"

enum state {
    STATE_IDLE,     /* no byte of a request */
    STATE_HEAD,     /* in the head */
    STATE_TOLD,     /* HTTP1_HEAD_DONE was answered */
    STATE_BODY,     /* in a body of known length */
    STATE_CHUNKS,   /* in a chunked one */
    STATE_COMPLETE, /* HTTP1_COMPLETE was answered */
    STATE_REFUSED
};

/* What comes before a request line: at most one empty line (RFC 9112 section 2.2). */
enum blank { BLANK_NONE, BLANK_CR, BLANK_LINE };

struct request {
    struct http1_head head; /* spans into bytes */
    struct buf bytes;       /* the head as it came */
    size_t line_at;         /* where the line under way begins */
    size_t n_lines;         /* complete ones */
};

struct http1 {
    struct http1_limits limits;
    struct request *request; /* NULL in STATE_IDLE */
    struct buf body;
    uint64_t left_bytes; /* of a body of known length */
    struct http1_framing framing;
    struct http1_chunks chunks;
    enum state state;
    enum blank blank;
};

/* One call of http1_feed(). */
struct feed {
    struct http1 *h;
    const char *p, *end;
    struct problem *problem;
    enum http1_result result; /* once a step has returned false */
};

struct http1 *http1_new(const struct http1_limits *limits)
{
    assert(limits->head_bytes > 0 && limits->body_bytes > 0);

    struct http1 *h = malloc(sizeof *h);

    if (h) {
        *h = (struct http1) {.limits = *limits};
        buf_init(&h->body, limits->body_bytes);
        http1_chunks_init(&h->chunks);
    }
    return h;
}

static struct request *request_free(struct request *q)
{
    if (q) {
        buf_done(&q->bytes);
        free(q);
    }
    return NULL;
}

struct http1 *http1_free(struct http1 *h)
{
    if (h) {
        h->request = request_free(h->request);
        buf_done(&h->body);
        http1_chunks_done(&h->chunks);
        free(h);
    }
    return NULL;
}

/* Ends a feed with result. Steps return what this returns: false. */
static bool end_feed(struct feed *f, enum http1_result result)
{
    f->result = result;
    return false;
}

static bool refuse(struct feed *f, struct http1_verdict verdict)
{
    f->problem->code = verdict.code;
    f->problem->param[0] = '\0';
    (void) snprintf(f->problem->text, sizeof f->problem->text, "%s", verdict.text);
    f->h->state = STATE_REFUSED;
    return end_feed(f, HTTP1_REFUSED);
}

static bool refuse_out_of_memory(struct feed *f)
{
    return refuse(f, (struct http1_verdict) {ERRCODE_OUT_OF_MEMORY, "out of memory"});
}

/* ---- before a request */

static bool begin_request(struct feed *f)
{
    struct http1 *h = f->h;
    struct request *q = malloc(sizeof *q);

    if (!q) {
        return refuse_out_of_memory(f);
    }
    /* the other fields and headers[] get their values when the head is complete */
    q->head.n_headers = 0;
    q->line_at = q->n_lines = 0;
    /* the one behind the limit proves that it is passed */
    buf_init(&q->bytes, h->limits.head_bytes + 1);
    h->request = q;
    h->blank = BLANK_NONE;
    h->state = STATE_HEAD;
    return true;
}

static bool step_idle(struct feed *f)
{
    struct http1 *h = f->h;

    if (f->p == f->end) {
        return end_feed(f, HTTP1_MORE);
    }
    if (h->blank == BLANK_NONE && *f->p == '\r') {
        h->blank = BLANK_CR;
        f->p++;
        return true;
    }
    if (h->blank == BLANK_CR) {
        if (*f->p != '\n') {
            return refuse(f, (struct http1_verdict) {ERRCODE_INVALID_REQUEST,
                                                     "a line does not end with CR LF"});
        }
        h->blank = BLANK_LINE;
        f->p++;
        return true;
    }
    return begin_request(f);
}

/* ---- llhttp */

/* What llhttp finds in a head. Its spans may come in pieces. */
struct reading {
    struct http1_head *head;
    bool is_complete;
};

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    struct reading *reading = parser->data;
    struct str *target = &reading->head->target;

    *target = (struct str) {target->ptr ? target->ptr : at, target->len + n};
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t n)
{
    struct http1_head *head = ((struct reading *) parser->data)->head;
    struct http1_header *last = head->n_headers > 0 ? &head->headers[head->n_headers - 1] : NULL;

    if (last && at == last->name.ptr + last->name.len) {
        last->name.len += n;
        return 0;
    }
    if (head->n_headers == HTTP1_MAX_HEADERS) {
        return -1;
    }
    head->headers[head->n_headers++] =
        (struct http1_header) {.name = {at, n}, .value = {at + n, 0}};
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t n)
{
    struct http1_head *head = ((struct reading *) parser->data)->head;

    if (head->n_headers == 0) {
        return -1;
    }

    struct str *value = &head->headers[head->n_headers - 1].value;

    *value = value->len == 0 ? (struct str) {at, n}
                             : (struct str) {value->ptr, (size_t) (at + n - value->ptr)};
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    ((struct reading *) parser->data)->is_complete = true;
    return HPE_PAUSED; /* bodies are ours */
}

static const llhttp_settings_t llhttp_settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

static enum http1_method method_of(uint8_t llhttp_method)
{
    switch (llhttp_method) {
    case HTTP_GET:
        return HTTP1_GET;
    case HTTP_HEAD:
        return HTTP1_HEAD;
    case HTTP_POST:
        return HTTP1_POST;
    case HTTP_OPTIONS:
        return HTTP1_OPTIONS;
    default: /* not an enum: a number of llhttp's, which gets new ones with each release */
        return HTTP1_OTHER;
    }
}

/*
 * Fills q->head from the complete head. False: llhttp does not read it as the lines have been
 * counted.
 */
static bool read_head(struct request *q)
{
    struct reading reading = {.head = &q->head};
    llhttp_t parser;

    q->head.target = STR_NONE;
    llhttp_init(&parser, HTTP_REQUEST, &llhttp_settings);
    parser.data = &reading;

    llhttp_errno_t code = llhttp_execute(&parser, buf_ptr(&q->bytes), q->bytes.len);
    const char *end = buf_ptr(&q->bytes) + q->bytes.len, *stop = llhttp_get_error_pos(&parser);

    /* paused at the last byte, or behind it (releases differ) */
    if (code != HPE_PAUSED || !reading.is_complete || !q->head.target.ptr || !stop ||
        end - stop > 1 || q->head.n_headers != q->n_lines - 2) {
        return false;
    }
    q->head.method = method_of(llhttp_get_method(&parser));
    q->head.is_http10 = llhttp_get_http_minor(&parser) == 0;
    return true;
}

/* ---- the head */

static void split_target(struct http1_head *head)
{
    struct str rest = head->target;

    head->authority = http1_policy_authority(head->target, &rest);

    const char *mark = memchr(rest.ptr, '?', rest.len);
    size_t n = mark ? (size_t) (mark - rest.ptr) : rest.len;

    /* RFC 9112 section 3.2.1: an empty path is sent as "/" */
    head->path = n > 0 ? (struct str) {rest.ptr, n} : STR_LIT("/");
    head->query = mark ? (struct str) {mark + 1, rest.len - n - 1} : STR_NONE;
}

/* The empty line has come. */
static bool finish_head(struct feed *f)
{
    struct http1 *h = f->h;
    struct http1_head *head = &h->request->head;
    struct str method = buf_str(&h->request->bytes);

    if (!read_head(h->request)) {
        /*
         * the lines are good, so what llhttp minds in a method that is none of ours is the method
         */
        method.len = (size_t) ((const char *) memchr(method.ptr, ' ', method.len) - method.ptr);
        return refuse(f, http1_policy_is_known_method(method)
                             ? (struct http1_verdict) {ERRCODE_INVALID_REQUEST,
                                                       "the request head is malformed"}
                             : (struct http1_verdict) {ERRCODE_METHOD_NOT_ALLOWED,
                                                       "this method is not known here"});
    }
    for (size_t i = 0; i < head->n_headers; i++) {
        head->headers[i].value = str_trim(head->headers[i].value);
    }
    split_target(head);

    struct http1_verdict verdict = http1_policy_fields(head, h->limits.body_bytes, &h->framing);

    if (verdict.code != ERRCODE_NONE) {
        return refuse(f, verdict);
    }
    h->left_bytes = h->framing.length_bytes;
    h->state = STATE_TOLD;
    return end_feed(f, HTTP1_HEAD_DONE);
}

/* A line of the head is complete. */
static bool take_line(struct feed *f, struct str with_end)
{
    struct request *q = f->h->request;
    struct str line;
    struct http1_verdict verdict = http1_policy_line_end(with_end, &line);

    q->line_at = q->bytes.len;
    q->n_lines++;
    if (verdict.code != ERRCODE_NONE) {
        return refuse(f, verdict);
    }
    if (q->n_lines == 1) {
        verdict = http1_policy_request_line(line);
    } else if (line.len == 0) {
        return finish_head(f);
    } else if (q->n_lines > HTTP1_MAX_HEADERS + 1) {
        verdict = (struct http1_verdict) {ERRCODE_HEAD_TOO_LARGE, "too many header fields"};
    } else {
        verdict = http1_policy_field_line(line);
    }
    return verdict.code == ERRCODE_NONE || refuse(f, verdict);
}

/* Takes bytes up to the end of the line, and at most one behind the limit. */
static bool step_head(struct feed *f)
{
    struct request *q = f->h->request;
    size_t n = (size_t) (f->end - f->p);

    if (n == 0) {
        return end_feed(f, HTTP1_MORE);
    }
    n = n < buf_room(&q->bytes) ? n : buf_room(&q->bytes);

    const char *lf = memchr(f->p, '\n', n);

    n = lf ? (size_t) (lf - f->p) + 1 : n;
    if (buf_append(&q->bytes, f->p, n) < 0) {
        return refuse_out_of_memory(f);
    }
    f->p += n;

    struct str line = {buf_ptr(&q->bytes) + q->line_at, q->bytes.len - q->line_at};
    struct http1_verdict verdict = http1_policy_line_so_far(line, q->n_lines == 0);

    if (verdict.code == ERRCODE_NONE && buf_room(&q->bytes) == 0) {
        verdict = (struct http1_verdict) {ERRCODE_HEAD_TOO_LARGE,
                                          "the request head is larger than sluice.limits.head"};
    }
    if (verdict.code != ERRCODE_NONE) {
        return refuse(f, verdict);
    }
    return !lf || take_line(f, line);
}

/* ---- the body */

static bool step_told(struct feed *f)
{
    struct http1 *h = f->h;

    h->state = h->framing.is_chunked ? STATE_CHUNKS : STATE_BODY;
    return true;
}

static bool complete(struct feed *f)
{
    f->h->state = STATE_COMPLETE;
    return end_feed(f, HTTP1_COMPLETE);
}

static bool step_body(struct feed *f)
{
    struct http1 *h = f->h;
    size_t n = (size_t) (f->end - f->p);

    n = n < h->left_bytes ? n : (size_t) h->left_bytes;
    if (buf_append(&h->body, f->p, n) < 0) { /* the length has been held against the limit */
        return refuse_out_of_memory(f);
    }
    f->p += n;
    h->left_bytes -= n;
    return h->left_bytes == 0 ? complete(f) : end_feed(f, HTTP1_MORE);
}

static bool step_chunks(struct feed *f)
{
    struct http1 *h = f->h;
    size_t taken;
    struct http1_verdict verdict = http1_chunks_feed(
        &h->chunks, (struct str) {f->p, (size_t) (f->end - f->p)}, &h->body, &taken);

    f->p += taken;
    if (verdict.code != ERRCODE_NONE) {
        return refuse(f, verdict);
    }
    return h->chunks.state == CHUNKS_DONE ? complete(f) : end_feed(f, HTTP1_MORE);
}

/* False: the feed is over, with f->result. */
static bool step(struct feed *f)
{
    switch (f->h->state) {
    case STATE_IDLE:
        return step_idle(f);
    case STATE_HEAD:
        return step_head(f);
    case STATE_TOLD:
        return step_told(f);
    case STATE_BODY:
        return step_body(f);
    case STATE_CHUNKS:
        return step_chunks(f);
    case STATE_COMPLETE:
        return end_feed(f, HTTP1_COMPLETE);
    case STATE_REFUSED:
        break;
    }
    assert(0); /* nothing may be fed after HTTP1_REFUSED */
    return end_feed(f, HTTP1_REFUSED);
}

enum http1_result http1_feed(struct http1 *h, struct str bytes, size_t *ret_taken,
                             struct problem *ret_problem)
{
    const char *p = bytes.ptr ? bytes.ptr : "";
    struct feed f = {.h = h, .p = p, .end = p + bytes.len, .problem = ret_problem};

    while (step(&f)) {
    }
    *ret_taken = (size_t) (f.p - p);
    return f.result;
}

/* ---- what the connection asks */

const struct http1_head *http1_head(const struct http1 *h)
{
    return h->state >= STATE_TOLD && h->state <= STATE_COMPLETE ? &h->request->head : NULL;
}

struct str http1_header(const struct http1_head *head, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < head->n_headers; i++) {
        struct str found = head->headers[i].name;

        if (found.len == n && strncasecmp(found.ptr, name, n) == 0) {
            return head->headers[i].value;
        }
    }
    return STR_NONE;
}

struct str http1_body(const struct http1 *h)
{
    return buf_str(&h->body);
}

void http1_take_body(struct http1 *h, struct buf *ret)
{
    *ret = h->body;
    buf_init(&h->body, h->limits.body_bytes);
}

bool http1_is_started(const struct http1 *h)
{
    return h->state != STATE_IDLE;
}

void http1_next(struct http1 *h)
{
    assert(h->state == STATE_COMPLETE ||
           (h->state == STATE_TOLD && !h->framing.is_chunked && h->left_bytes == 0));
    h->request = request_free(h->request);
    buf_done(&h->body);
    http1_chunks_done(&h->chunks);
    http1_chunks_init(&h->chunks);
    h->state = STATE_IDLE;
}
