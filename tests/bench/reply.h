#pragma once
/*
 * Reads the HTTP answers of gateways for load.c and checks that nothing is missing: status,
 * framing, every token in its order, the finish reason, the true end of the stream. Pure: bytes in,
 * a verdict out; the socket is load.c's.
 *
 * Fast rather than general, as it must not cost more than what it measures: lines are handled where
 * they lie in the receive buffer and copied only where a read ended within one. It knows the
 * answers it waits for (bench.h), so it searches for `"content":"` instead of parsing JSON; tokens
 * hold nothing that JSON would escape.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench.h"

#define REPLY_MAX_HELD_BYTES (16u << 20) /* a head, a line of a stream, or a body in one piece */

enum reply_dialect { DIALECT_OPENAI_STREAM, DIALECT_OLLAMA_STREAM, DIALECT_BODY, DIALECT_VECTORS };

/* What a right answer holds. Shared by all replies; outlives them. */
struct expectation {
    enum reply_dialect dialect;
    const char *text; /* owned by main() */
    size_t text_len;
    unsigned n_dims;
};

enum reply_state {
    REPLY_HEAD,
    REPLY_LENGTH,     /* left bytes of a body with Content-Length */
    REPLY_TO_EOF,     /* a body that ends with the connection */
    REPLY_CHUNK_SIZE, /* the line in front of a chunk */
    REPLY_CHUNK,      /* left bytes of it */
    REPLY_CHUNK_END,  /* the line end behind it */
    REPLY_TRAILER,
    REPLY_OVER, /* complete and right, or is_bad */
};

struct held {
    char *ptr;
    size_t len, cap;
};

struct reply {
    const struct expectation *expect; /* borrowed */
    enum reply_state state;
    bool is_bad;
    bool is_closing; /* the server will close the connection behind this answer */
    bool has_finish, has_done;
    int status;
    size_t left;     /* of REPLY_LENGTH, REPLY_CHUNK */
    size_t text_off; /* how much of the expected text has come */
    unsigned n_chunks;
    const char *problem; /* static text, where is_bad */
    struct held head;    /* the head, or a framing line, as far as it has come */
    struct held body;    /* a line of a stream, or the whole body */
};

static inline void reply_start(struct reply *r, const struct expectation *expect)
{
    struct held head = r->head, body = r->body;

    head.len = body.len = 0;
    *r = (struct reply) {.expect = expect, .head = head, .body = body};
}

static inline void reply_done(struct reply *r)
{
    free(r->head.ptr);
    free(r->body.ptr);
}

static inline void reply_fail(struct reply *r, const char *problem)
{
    if (!r->is_bad) {
        r->problem = problem;
    }
    r->is_bad = true;
    r->state = REPLY_OVER;
}

static inline bool hold(struct reply *r, struct held *h, const char *bytes, size_t n)
{
    if (h->len + n > REPLY_MAX_HELD_BYTES) {
        reply_fail(r, "line or body too long");
        return false;
    }
    if (h->len + n > h->cap) {
        size_t cap = h->cap ? h->cap : 512;

        while (cap < h->len + n) {
            cap *= 2;
        }

        char *grown = realloc(h->ptr, cap);

        if (!grown) {
            reply_fail(r, "out of memory");
            return false;
        }
        h->ptr = grown;
        h->cap = cap;
    }
    memcpy(h->ptr + h->len, bytes, n);
    h->len += n;
    return true;
}

/* ---------------------------------------------------------------- content */
static inline const char *find(const char *in, size_t n, const char *what)
{
    return memmem(in, n, what, strlen(what));
}

/* Takes the text of `"content":"..."`; absent, null and empty contents are no chunk. */
static inline void take_content(struct reply *r, const char *json, size_t n)
{
    const char *end = json + n, *p = find(json, n, "\"content\":");

    if (!p) {
        return;
    }
    p += strlen("\"content\":");
    p += p < end && *p == ' ';
    if (p == end || *p != '"') {
        return;
    }
    p++;

    const char *quote = memchr(p, '"', (size_t) (end - p));
    size_t len = quote ? (size_t) (quote - p) : 0;

    if (len > r->expect->text_len - r->text_off ||
        memcmp(r->expect->text + r->text_off, p, len) != 0) {
        reply_fail(r, "wrong text");
        return;
    }
    r->text_off += len;
    r->n_chunks += len > 0;
}

static inline void take_sse_line(struct reply *r, const char *line, size_t n)
{
    if (n == 0 || line[0] == ':') {
        return; /* the end of an event; a heartbeat */
    }
    if (n < 6 || memcmp(line, "data: ", 6) != 0) {
        reply_fail(r, "a line that is no data");
        return;
    }
    line += 6;
    n -= 6;
    if (n == 6 && memcmp(line, "[DONE]", 6) == 0) {
        r->has_done = true;
        return;
    }
    if (r->has_done || find(line, n < 16 ? n : 16, "\"error\"")) {
        reply_fail(r, r->has_done ? "data behind [DONE]" : "an error event");
        return;
    }
    take_content(r, line, n);
    r->has_finish = r->has_finish || find(line, n, "\"finish_reason\":\"stop\"");
}

static inline void take_ndjson_line(struct reply *r, const char *line, size_t n)
{
    if (find(line, n < 16 ? n : 16, "\"error\"")) {
        reply_fail(r, "an error line");
        return;
    }
    take_content(r, line, n);
    if (find(line, n, "\"done\":true")) {
        r->has_finish = r->has_done = true;
    }
}

static inline void take_line(struct reply *r, const char *line, size_t n)
{
    n -= n > 0 && line[n - 1] == '\r';
    if (r->expect->dialect == DIALECT_OPENAI_STREAM) {
        take_sse_line(r, line, n);
    } else {
        take_ndjson_line(r, line, n);
    }
}

/* Bytes of the body, without the framing. */
static inline void take_body(struct reply *r, const char *bytes, size_t n)
{
    bool is_stream =
        r->expect->dialect == DIALECT_OPENAI_STREAM || r->expect->dialect == DIALECT_OLLAMA_STREAM;

    while (n > 0 && is_stream && r->status == 200 && !r->is_bad) {
        const char *eol = memchr(bytes, '\n', n);
        size_t len = eol ? (size_t) (eol - bytes) : n;

        if (eol && r->body.len == 0) {
            take_line(r, bytes, len);
        } else if (hold(r, &r->body, bytes, len) && eol) {
            take_line(r, r->body.ptr, r->body.len);
            r->body.len = 0;
        }
        len += eol != NULL;
        bytes += len;
        n -= len;
    }
    if (n > 0 && !r->is_bad) {
        (void) hold(r, &r->body, bytes, n); /* a failure is noted in r */
    }
}

static inline void check_vectors(struct reply *r)
{
    const char *p = find(r->body.ptr, r->body.len, "\"embedding\":[");
    const char *end = r->body.ptr + r->body.len;
    unsigned n = 1;

    for (; p && p < end && *p != ']'; p++) {
        n += *p == ',';
    }
    if (!p || n != r->expect->n_dims) {
        reply_fail(r, "wrong vector");
    }
}

/* The body is complete: is it right? */
static inline void finish(struct reply *r)
{
    if (r->state == REPLY_OVER) {
        return;
    }
    r->state = REPLY_OVER;
    if (r->status != 200) {
        static const char *const by_class[] = {"a status under 300 that is not 200", "a 3xx status",
                                               "a 4xx status", "a 5xx status"};

        reply_fail(r, by_class[r->status < 300   ? 0
                               : r->status < 400 ? 1
                               : r->status < 500 ? 2
                                                 : 3]);
        return;
    }
    switch (r->expect->dialect) {
    case DIALECT_OPENAI_STREAM:
    case DIALECT_OLLAMA_STREAM:
        if (!r->has_done || !r->has_finish || r->text_off != r->expect->text_len) {
            reply_fail(r, "a stream that ended before its end");
        }
        break;
    case DIALECT_BODY:
        take_content(r, r->body.ptr ? r->body.ptr : "", r->body.len);
        if (r->text_off != r->expect->text_len ||
            !find(r->body.ptr, r->body.len, "\"finish_reason\":\"stop\"")) {
            reply_fail(r, "a body without the text");
        }
        break;
    case DIALECT_VECTORS:
        check_vectors(r);
        break;
    }
}

/* ---------------------------------------------------------------- framing */
static inline void read_head(struct reply *r)
{
    const char *p = r->head.ptr, *end = p + r->head.len;
    bool is_chunked = false, has_length = false;

    if (r->head.len < 16 || memcmp(p, "HTTP/1.1 ", 9) != 0) {
        reply_fail(r, "no HTTP/1.1 status line");
        return;
    }
    r->status = atoi(p + 9);
    while ((p = memchr(p, '\n', (size_t) (end - p))) && ++p < end) {
        if (strncasecmp(p, "content-length:", 15) == 0) {
            has_length = true;
            r->left = strtoul(p + 15, NULL, 10);
        } else if (strncasecmp(p, "transfer-encoding: chunked", 26) == 0) {
            is_chunked = true;
        } else if (strncasecmp(p, "connection: close", 17) == 0) {
            r->is_closing = true;
        }
    }
    r->head.len = 0;
    r->state = is_chunked ? REPLY_CHUNK_SIZE : has_length ? REPLY_LENGTH : REPLY_TO_EOF;
    if (has_length && r->left == 0) {
        finish(r);
    }
}

/*
 * Takes bytes up to the end of a line into head; true when the line is complete, without its line
 * end.
 */
static inline bool take_framing_line(struct reply *r, const char **bytes, size_t *n)
{
    const char *eol = memchr(*bytes, '\n', *n);
    size_t len = eol ? (size_t) (eol - *bytes) + 1 : *n;
    bool is_held = hold(r, &r->head, *bytes, len);

    *bytes += len;
    *n -= len;
    return is_held && eol;
}

static inline void read_chunk_size(struct reply *r)
{
    char digits[20] = "";

    memcpy(digits, r->head.ptr, r->head.len < 19 ? r->head.len : 19);
    r->head.len = 0;
    r->left = strtoul(digits, NULL, 16);
    r->state = r->left > 0 ? REPLY_CHUNK : REPLY_TRAILER;
}

/* Feeds a state that is made of lines. */
static inline void feed_line(struct reply *r, const char **bytes, size_t *n)
{
    if (!take_framing_line(r, bytes, n)) {
        return;
    }
    if (r->state == REPLY_HEAD) {
        if (r->head.len >= 4 && memcmp(r->head.ptr + r->head.len - 4, "\r\n\r\n", 4) == 0) {
            read_head(r);
        }
    } else if (r->state == REPLY_CHUNK_SIZE) {
        read_chunk_size(r);
    } else if (r->state == REPLY_CHUNK_END) {
        r->head.len = 0;
        r->state = REPLY_CHUNK_SIZE;
    } else if (r->head.len == 2) { /* REPLY_TRAILER: the empty line behind it */
        finish(r);
    } else {
        r->head.len = 0;
    }
}

/*
 * Bytes from the connection. Afterwards look at state and n_chunks. Bytes behind a complete answer
 * are an error.
 */
static inline void reply_feed(struct reply *r, const char *bytes, size_t n)
{
    while (n > 0 && r->state != REPLY_OVER) {
        bool is_body = r->state == REPLY_LENGTH || r->state == REPLY_CHUNK;
        size_t len = is_body && r->left < n ? r->left : n;

        if (!is_body && r->state != REPLY_TO_EOF) {
            feed_line(r, &bytes, &n);
            continue;
        }
        take_body(r, bytes, len);
        bytes += len;
        n -= len;
        if (is_body && !r->is_bad && (r->left -= len) == 0) {
            if (r->state == REPLY_LENGTH) {
                finish(r);
            } else {
                r->state = REPLY_CHUNK_END;
            }
        }
    }
    if (n > 0 && !r->is_bad) {
        reply_fail(r, "bytes behind the answer");
    }
}

/* The connection is over. */
static inline void reply_eof(struct reply *r)
{
    if (r->state == REPLY_TO_EOF) {
        finish(r);
    } else if (r->state != REPLY_OVER) {
        reply_fail(r, "connection closed in the middle of an answer");
    }
    r->is_closing = true;
}
