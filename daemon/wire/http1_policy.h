#pragma once
/*
 * What sluice lets through of HTTP/1.1, beyond what llhttp insists on. Used by http1.c and
 * http1_chunks.c only.
 *
 * Lines are passed without their CRLF unless said otherwise.
 */
#include <stdbool.h>
#include <stdint.h>

#include "wire/http1.h"

struct http1_verdict {
    enum errcode code; /* ERRCODE_NONE: let through */
    const char *text;  /* static */
};

/*
 * The first line or another one of a head, as far as it has come, with its line end if that has
 * come: is it already too long?
 */
struct http1_verdict http1_policy_line_so_far(struct str line, bool is_first);

/* A complete line with its line end: CRLF, and no CR before it? *ret_line is without it. */
struct http1_verdict http1_policy_line_end(struct str line, struct str *ret_line);

struct http1_verdict http1_policy_request_line(struct str line);
/*
 * host[:port] of a target in absolute-form ("http://host:port/path"), and what follows it; absent
 * for any other target. Host and port are as http1_policy_request_line() let them through.
 */
struct str http1_policy_authority(struct str target, struct str *ret_rest);
/* A field line of a head or of trailers. */
struct http1_verdict http1_policy_field_line(struct str line);

/* Is method one of those that enum http1_method names? */
bool http1_policy_is_known_method(struct str method);
/* One character of a token (RFC 9110 section 5.6.2). */
bool http1_policy_is_token_char(char c);

/* Named as the key that moves the limit. */
#define HTTP1_BODY_TOO_LARGE "the request body is larger than sluice.limits.body"

struct http1_framing {
    bool is_chunked;
    uint64_t length_bytes; /* of a body that is not chunked */
};

/*
 * The fields of a head taken together. Sets keep_alive, expects_continue and has_body of head, and
 * *ret_framing.
 */
struct http1_verdict http1_policy_fields(struct http1_head *head, size_t max_body_bytes,
                                         struct http1_framing *ret_framing);
