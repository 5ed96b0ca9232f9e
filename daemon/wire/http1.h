#pragma once
/*
 * HTTP/1.1 requests from bytes (llhttp behind a strict policy), and response heads to bytes. Pure:
 * no sockets, no clock.
 *
 * The policy refuses what llhttp lets through (RFC 9112, and the smuggling catalogue): anything but
 * CRLF line ends, obs-fold, control characters, more than one Host or Content-Length,
 * Content-Length with Transfer-Encoding, codings other than chunked, chunked in HTTP/1.0, targets
 * that no client sends, versions other than 1.0 and 1.1. Each refusal is an errcode; the connection closes after
 * it.
 *
 * http1.c is the parser; http1_policy.c what it lets through, http1_chunks.c the chunked coding,
 * http1_write.c the writing.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "wire/problem.h"

#define HTTP1_MAX_HEADERS      64
#define HTTP1_MAX_TARGET_BYTES 4096
#define HTTP1_MAX_LINE_BYTES   8192

enum http1_method { HTTP1_GET, HTTP1_HEAD, HTTP1_POST, HTTP1_OPTIONS, HTTP1_OTHER };

struct http1_header {
    struct str name, value; /* value without blanks around it */
};

struct http1_limits {  /* both > 0 */
    size_t head_bytes; /* request line and fields, with all line ends: 431 */
    size_t body_bytes; /* 413 */
};

/*
 * A parsed head. Strings point into the parser's own copy of the head and live until http1_next()
 * or http1_done().
 */
struct http1_head {
    enum http1_method method;
    struct str target;    /* as sent */
    struct str path;      /* target without query, and without what is before its path */
    struct str query;     /* without '?', or absent */
    struct str authority; /* of a target in absolute-form: instead of Host; else absent */
    bool is_http10;
    bool keep_alive;
    bool expects_continue; /* the client waits for a 100 before it sends its body */
    bool has_body;         /* one that is not known to be empty */
    struct http1_header headers[HTTP1_MAX_HEADERS];
    size_t n_headers;
};

enum http1_result {
    HTTP1_MORE, /* all bytes taken, more wanted */
    /*
     * the head is complete, told once: look at it, then feed on, also when no bytes are left: a
     * request without a body is complete at the next feed
     */
    HTTP1_HEAD_DONE,
    /* the request is complete; bytes behind it were not taken, and none are before http1_next() */
    HTTP1_COMPLETE,
    HTTP1_REFUSED, /* see *ret_problem; nothing more may be fed */
};

struct http1; /* the parser of one connection */

/* NULL: out of memory. Small while no request is under way (below 256 bytes). */
struct http1 *http1_new(const struct http1_limits *limits);
struct http1 *http1_free(struct http1 *h); /* accepts NULL, returns NULL */

/*
 * Feeds bytes; *ret_taken says how many were used. HTTP1_REFUSED fills *ret_problem. Out of memory
 * is HTTP1_REFUSED with ERRCODE_OUT_OF_MEMORY.
 */
enum http1_result http1_feed(struct http1 *h, struct str bytes, size_t *ret_taken,
                             struct problem *ret_problem);

/* From HTTP1_HEAD_DONE on; NULL before. */
const struct http1_head *http1_head(const struct http1 *h);
/*
 * The value of a header by its name (any case), absent when missing; the first one where repeated.
 */
struct str http1_header(const struct http1_head *head, const char *name);
/* The body so far; complete at HTTP1_COMPLETE. */
struct str http1_body(const struct http1 *h);
/* Takes the body buffer over (ret: an initialised buf); afterwards http1_body() is empty. */
void http1_take_body(struct http1 *h, struct buf *ret);
/*
 * Has a byte of a request been fed since http1_next()? The empty line that some clients send
 * between requests is none.
 */
bool http1_is_started(const struct http1 *h);
/*
 * After HTTP1_COMPLETE, or after HTTP1_HEAD_DONE of a request without a body: ready for the next
 * request on the connection. Gives its memory back.
 */
void http1_next(struct http1 *h);

/*
 * "HTTP/1.1 200 OK\r\n"; then headers, each with its CRLF; then the empty line. 0 or -errno of buf,
 * with nothing appended. Control characters in a value become '?': values may be words of a client,
 * which must not end the line.
 */
int http1_write_status(struct buf *out, int status) MUST_USE;
int http1_write_header(struct buf *out, const char *name, struct str value) MUST_USE;
int http1_write_end(struct buf *out) MUST_USE;
/* A chunk of the chunked coding; the last one is empty. */
int http1_write_chunk(struct buf *out, struct str bytes) MUST_USE;

const char *http1_reason(int status);

/*
 * %XX resolved, appended to out. 0; -EBADMSG: malformed, or it resolves to NUL; -errno of buf.
 * Nothing is appended on failure.
 */
int http1_unescape(struct str s, struct buf *out) MUST_USE;
