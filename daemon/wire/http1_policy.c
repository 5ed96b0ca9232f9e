/*
 * What sluice lets through of HTTP/1.1 (RFC 9112), and what it does not although the standard or
 * llhttp would.
 *
 * Request smuggling lives on two readers that disagree about one request. sluice forwards no
 * framing, so it can afford to refuse whatever somebody could read in two ways: this grammar has no
 * recovery, no optional leniency and no "robustness". Rules, by section of RFC 9112:
 *
 *   2.2     lines end with CRLF; a bare CR or LF is refused (llhttp 8.1 takes a bare LF)
 *   2.3     HTTP/1.1 and HTTP/1.0, else 505
 *   3       one space between the three parts of the request line
 *   3.2     origin-form, "*" for OPTIONS; absolute-form of http, whose authority then counts and
 *           not Host (3.2.2); no fragment, no bytes outside ASCII; exactly one Host (HTTP/1.0: at
 *           most one), also where it does not count
 *   5.1     no blank before the colon, no empty name
 *   5.2     no obs-fold; 5.5 of RFC 9110: no control characters in values except tab
 *   6.1     Transfer-Encoding is "chunked", once, not in HTTP/1.0 and not beside Content-Length;
 *           other codings are 501
 *   6.2     one Content-Length of at most 15 digits (a petabyte; nothing here overflows on it)
 *
 * Fields that decide what a request is may come once only, even where both say the same.
 *
 * Pure: no state, no allocation. Must not: look at what the fields mean to sluice (that is the
 * frontend's).
 */
#include "wire/http1_policy.h"

#include <assert.h>
#include <strings.h>

#include "base/num.h"

#define MAX_METHOD_BYTES 32 /* the longest registered one, UPDATEREDIRECTREF, has 17 */

#define MAX_LENGTH_DIGITS 15

static const struct http1_verdict LET_THROUGH = {.code = ERRCODE_NONE, .text = ""};

static struct http1_verdict invalid(const char *text)
{
    return (struct http1_verdict) {.code = ERRCODE_INVALID_REQUEST, .text = text};
}

static struct http1_verdict refused(enum errcode code, const char *text)
{
    return (struct http1_verdict) {.code = code, .text = text};
}

/* One bit for each ASCII character, the lowest of the first word for NUL. */
bool http1_policy_is_token_char(char c)
{
    static const uint32_t token_chars[8] = {
        0, 0x03ff6cfa, /* ! # $ % & ' * + - . 0-9 */
        0xc7fffffe,    /* A-Z ^ _ */
        0x57ffffff,    /* ` a-z | ~ */
    };
    unsigned char u = (unsigned char) c;

    return token_chars[u / 32] >> u % 32 & 1;
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!http1_policy_is_token_char(s.ptr[i])) {
            return false;
        }
    }
    return s.len > 0;
}

/*
 * Cuts *rest at the first c: returns what is before it and leaves what is behind; all of it and
 * absent when there is none.
 */
static struct str cut(struct str *rest, char c)
{
    const char *at = memchr(rest->ptr, c, rest->len);
    struct str before = *rest;

    if (!at) {
        *rest = STR_NONE;
        return before;
    }
    before.len = (size_t) (at - rest->ptr);
    *rest = (struct str) {at + 1, rest->len - before.len - 1};
    return before;
}

/* ---- lines */

struct http1_verdict http1_policy_line_so_far(struct str line, bool is_first)
{
    if (is_first) {
        struct str rest = line;

        if (cut(&rest, ' ').len > MAX_METHOD_BYTES) {
            return invalid("the method is too long");
        }
        if (rest.ptr && cut(&rest, ' ').len > HTTP1_MAX_TARGET_BYTES) {
            return refused(ERRCODE_URI_TOO_LONG, "the request target is longer than the limit");
        }
    }
    if (line.len > HTTP1_MAX_LINE_BYTES + 2) {
        return refused(ERRCODE_HEAD_TOO_LARGE, "a line of the head is longer than the limit");
    }
    return LET_THROUGH;
}

struct http1_verdict http1_policy_line_end(struct str line, struct str *ret_line)
{
    assert(line.len > 0 && line.ptr[line.len - 1] == '\n');

    const char *cr = memchr(line.ptr, '\r', line.len);

    if (!cr || (size_t) (cr - line.ptr) != line.len - 2) {
        return invalid("a line does not end with CR LF");
    }
    *ret_line = (struct str) {line.ptr, line.len - 2};
    return LET_THROUGH;
}

bool http1_policy_is_known_method(struct str method)
{
    return str_is(method, "GET") || str_is(method, "HEAD") || str_is(method, "POST") ||
           str_is(method, "OPTIONS");
}

/*
 * host [":" port] of RFC 3986 section 3.2.2 without what nobody sends: no userinfo, no %, no
 * sub-delims, no zone, no IPvFuture.
 */
static bool is_host(struct str s)
{
    struct str port = s;
    struct str host = cut(&port, ':');
    uint64_t number;

    if (s.len > 0 && s.ptr[0] == '[') {
        port = s;
        host = cut(&port, ']');
        if (!port.ptr || host.len < 3 ||
            strspn(host.ptr + 1, "0123456789abcdefABCDEF:.") < host.len - 1) {
            return false;
        }
        if (port.len == 0) {
            return true;
        }
        if (port.ptr[0] != ':') {
            return false;
        }
        port = (struct str) {port.ptr + 1, port.len - 1};
    } else {
        for (size_t i = 0; i < host.len; i++) {
            if (!http1_policy_is_token_char(host.ptr[i]) || strchr("!#$%&'*+^`|", host.ptr[i])) {
                return false;
            }
        }
    }
    return host.len > 0 && (!port.ptr || (port.len <= 5 && num_parse_u64(port, &number) == 0 &&
                                          number <= UINT16_MAX));
}

struct str http1_policy_authority(struct str target, struct str *ret_rest)
{
    static const char scheme[] = "http://";
    size_t n = sizeof scheme - 1, end = n;

    if (target.len <= n || !str_is_nocase((struct str) {target.ptr, n}, scheme)) {
        return STR_NONE;
    }
    while (end < target.len && target.ptr[end] != '/' && target.ptr[end] != '?') {
        end++;
    }
    *ret_rest = (struct str) {target.ptr + end, target.len - end};
    return (struct str) {target.ptr + n, end - n};
}

static struct http1_verdict check_target(struct str method, struct str target)
{
    if (target.len == 0) {
        return invalid("the request line has no target");
    }
    for (size_t i = 0; i < target.len; i++) {
        if (target.ptr[i] <= ' ' || target.ptr[i] > '~' || target.ptr[i] == '#') {
            return invalid("the request target has a character that must be escaped");
        }
    }

    struct str rest, authority = http1_policy_authority(target, &rest);

    if (authority.ptr) {
        return is_host(authority) ? LET_THROUGH
                                  : invalid("the request target has no host and port");
    }
    if (target.ptr[0] != '/' && http1_policy_is_known_method(method) &&
        !(str_is(target, "*") && str_is(method, "OPTIONS"))) {
        return invalid("the request target must begin with a slash");
    }
    return LET_THROUGH;
}

static bool is_version(struct str s)
{
    return s.len == 8 && str_has_prefix(s, "HTTP/") && s.ptr[5] >= '0' && s.ptr[5] <= '9' &&
           s.ptr[6] == '.' && s.ptr[7] >= '0' && s.ptr[7] <= '9';
}

struct http1_verdict http1_policy_request_line(struct str line)
{
    struct str rest = line;
    struct str method = cut(&rest, ' ');

    if (!is_token(method)) {
        return invalid("the request line does not begin with a method");
    }
    if (!rest.ptr) {
        return invalid("the request line has no target");
    }

    struct str target = cut(&rest, ' ');
    struct http1_verdict verdict = check_target(method, target);

    if (verdict.code != ERRCODE_NONE) {
        return verdict;
    }
    if (!rest.ptr || !is_version(rest)) {
        return invalid("the request line does not end with a version");
    }
    if (!str_is(rest, "HTTP/1.1") && !str_is(rest, "HTTP/1.0")) {
        return refused(ERRCODE_HTTP_VERSION, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    }
    return LET_THROUGH;
}

struct http1_verdict http1_policy_field_line(struct str line)
{
    struct str value = line;

    if (line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t')) {
        return invalid("a header field is folded");
    }
    if (!is_token(cut(&value, ':')) || !value.ptr) {
        return invalid("a header field does not begin with a name and a colon");
    }
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char) value.ptr[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return invalid("a header field has a control character");
        }
    }
    return LET_THROUGH;
}

/* ---- fields */

/* At most once, also where list syntax would allow more: two readers may each take another one. */
static const struct str singletons[] = {
    STR_LIT("host"),
    STR_LIT("content-length"),
    STR_LIT("transfer-encoding"),
    STR_LIT("expect"),
    STR_LIT("content-type"),
    STR_LIT("authorization"),
    STR_LIT("content-encoding"),
};

/* Does a field that may come once come again? */
static bool has_repeated(const struct http1_head *head)
{
    unsigned seen = 0;

    for (size_t i = 0; i < head->n_headers; i++) {
        struct str name = head->headers[i].name;

        for (unsigned k = 0; k < ARRAY_LEN(singletons); k++) {
            if (name.len != singletons[k].len ||
                strncasecmp(name.ptr, singletons[k].ptr, name.len) != 0) {
                continue;
            }
            if (seen & 1U << k) {
                return true;
            }
            seen |= 1U << k;
        }
    }
    return false;
}

static struct http1_verdict check_host(const struct http1_head *head)
{
    struct str host = http1_header(head, "host");

    if (!host.ptr) {
        return head->is_http10 ? LET_THROUGH : invalid("the Host header is missing");
    }
    return is_host(host) ? LET_THROUGH : invalid("the Host header is not a host and port");
}

static struct http1_verdict check_length(const struct http1_head *head, size_t max_body_bytes,
                                         struct http1_framing *framing)
{
    struct str value = http1_header(head, "content-length");

    if (!value.ptr) {
        return LET_THROUGH;
    }
    if (value.len > MAX_LENGTH_DIGITS || num_parse_u64(value, &framing->length_bytes) < 0) {
        return invalid("the Content-Length header is not a number");
    }
    if (framing->length_bytes > max_body_bytes) {
        return refused(ERRCODE_PAYLOAD_TOO_LARGE, HTTP1_BODY_TOO_LARGE);
    }
    return LET_THROUGH;
}

static struct http1_verdict check_coding(const struct http1_head *head,
                                         struct http1_framing *framing)
{
    struct str value = http1_header(head, "transfer-encoding");

    if (!value.ptr) {
        return LET_THROUGH;
    }
    if (http1_header(head, "content-length").ptr) {
        return invalid("Content-Length and Transfer-Encoding exclude each other");
    }
    if (head->is_http10) {
        return invalid("HTTP/1.0 has no Transfer-Encoding");
    }
    if (str_is_nocase(value, "chunked")) {
        framing->is_chunked = true;
        return LET_THROUGH;
    }
    for (struct str rest = value; rest.ptr;) {
        struct str coding = str_trim(cut(&rest, ','));

        if (!is_token(coding)) {
            return invalid("the Transfer-Encoding header is malformed");
        }
        if (rest.ptr && str_is_nocase(coding, "chunked")) {
            return invalid("chunked must be the last transfer coding, once");
        }
    }
    return refused(ERRCODE_NOT_IMPLEMENTED, "chunked is the only transfer coding known here");
}

/* Expect and Connection. */
static struct http1_verdict check_connection(struct http1_head *head)
{
    struct str expect = http1_header(head, "expect");
    bool has_close = false, has_keep_alive = false;

    for (size_t i = 0; i < head->n_headers; i++) {
        if (!str_is_nocase(head->headers[i].name, "connection")) {
            continue;
        }
        for (struct str rest = head->headers[i].value; rest.ptr;) {
            struct str option = str_trim(cut(&rest, ','));

            has_close = has_close || str_is_nocase(option, "close");
            has_keep_alive = has_keep_alive || str_is_nocase(option, "keep-alive");
        }
    }
    head->keep_alive = !has_close && (has_keep_alive || !head->is_http10);
    if (expect.ptr && !str_is_nocase(expect, "100-continue")) {
        return refused(ERRCODE_EXPECTATION_FAILED, "only Expect: 100-continue is known");
    }
    /* RFC 9110 section 10.1.1: ignored in HTTP/1.0, and nothing to wait for without a body */
    head->expects_continue = expect.ptr && !head->is_http10 && head->has_body;
    return LET_THROUGH;
}

struct http1_verdict http1_policy_fields(struct http1_head *head, size_t max_body_bytes,
                                         struct http1_framing *ret_framing)
{
    struct http1_framing framing = {0};

    if (has_repeated(head)) {
        return invalid("a header field that may come once is repeated");
    }

    struct http1_verdict verdict = check_host(head);

    if (verdict.code == ERRCODE_NONE) {
        verdict = check_coding(head, &framing);
    }
    if (verdict.code == ERRCODE_NONE) {
        verdict = check_length(head, max_body_bytes, &framing);
    }
    head->has_body = framing.is_chunked || framing.length_bytes > 0;
    if (verdict.code == ERRCODE_NONE) {
        verdict = check_connection(head);
    }
    *ret_framing = framing;
    return verdict;
}
