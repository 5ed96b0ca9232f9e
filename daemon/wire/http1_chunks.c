/*
 * The chunked coding of a request body, strictly (http1_chunks.h).
 *
 *   1a2b;ext=value CRLF  data CRLF  ...  0 CRLF  [trailer fields]  CRLF
 *
 * Not left to llhttp: releases differ in what they let through here (8.1 outside its strict mode
 * takes any byte for the LF behind the size and the data), and most smuggling of the last years
 * went through this grammar. So: 1 to 8 hexadecimal digits, extensions that are tokens or quoted
 * strings and together short, CRLF everywhere, trailers that are well-formed and then thrown away
 * (RFC 9112 section 7.1.2: merging them is how they become headers that nobody checked).
 *
 * Lines are collected in c->line until their LF and judged whole, so the verdict does not depend on
 * how the bytes were split. The data goes straight into the body; a size that does not fit is
 * refused before a byte of it has come.
 *
 * Owns c->line. Must not: allocate for what a size only announces.
 */
#include "wire/http1_chunks.h"

#include <errno.h>

#define MAX_SIZE_DIGITS 8
/* of all chunks: nobody sends any; unbounded ones were CVE-2024-22019 */
#define MAX_EXTENSION_BYTES 256
#define MAX_TRAILER_BYTES   4096

static const struct http1_verdict LET_THROUGH = {.code = ERRCODE_NONE, .text = ""};

static struct http1_verdict invalid(const char *text)
{
    return (struct http1_verdict) {.code = ERRCODE_INVALID_REQUEST, .text = text};
}

static struct http1_verdict refused(enum errcode code, const char *text)
{
    return (struct http1_verdict) {.code = code, .text = text};
}

void http1_chunks_init(struct http1_chunks *c)
{
    *c = (struct http1_chunks) {0};
    buf_init(&c->line, MAX_TRAILER_BYTES + 2);
}

void http1_chunks_done(struct http1_chunks *c)
{
    buf_done(&c->line);
}

/* ---- the line with the size */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A token at s[*i]. */
static bool eat_token(struct str s, size_t *i)
{
    size_t first = *i;

    while (*i < s.len && http1_policy_is_token_char(s.ptr[*i])) {
        (*i)++;
    }
    return *i > first;
}

/*
 * A quoted-string at s[*i] (RFC 9110 section 5.6.4); control characters are none of its characters.
 */
static bool eat_quoted(struct str s, size_t *i)
{
    for ((*i)++; *i < s.len; (*i)++) {
        unsigned char c = (unsigned char) s.ptr[*i];

        if (c == '"') {
            (*i)++;
            return true;
        }
        if (c == '\\') {
            (*i)++;
            c = *i < s.len ? (unsigned char) s.ptr[*i] : '\0';
        }
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return false;
}

/* *(";" name ["=" value]) without blanks: "bad whitespace" is for senders to leave out. */
static bool is_extensions(struct str s)
{
    for (size_t i = 0; i < s.len;) {
        if (s.ptr[i++] != ';' || !eat_token(s, &i)) {
            return false;
        }
        if (i < s.len && s.ptr[i] == '=') {
            i++;
            if (i < s.len && s.ptr[i] == '"' ? !eat_quoted(s, &i) : !eat_token(s, &i)) {
                return false;
            }
        }
    }
    return true;
}

static struct http1_verdict take_size(struct http1_chunks *c, struct str line,
                                      const struct buf *body)
{
    uint64_t size = 0;
    size_t n = 0;

    for (; n < line.len && hex_digit(line.ptr[n]) >= 0; n++) {
        if (n == MAX_SIZE_DIGITS) {
            return invalid("a chunk size has too many digits");
        }
        size = size * 16 + (uint64_t) hex_digit(line.ptr[n]);
    }
    if (n == 0) {
        return invalid("a chunk does not begin with its size");
    }

    struct str extensions = {line.ptr + n, line.len - n};

    c->extension_bytes += extensions.len;
    if (!is_extensions(extensions)) {
        return invalid("a chunk extension is malformed");
    }
    if (c->extension_bytes > MAX_EXTENSION_BYTES) {
        return invalid("the chunk extensions are too long");
    }
    if (size > buf_room(body)) {
        return refused(ERRCODE_PAYLOAD_TOO_LARGE, HTTP1_BODY_TOO_LARGE);
    }
    c->left_bytes = size;
    c->state = size > 0 ? CHUNKS_DATA : CHUNKS_TRAILER;
    return LET_THROUGH;
}

/* ---- the other lines */

static struct http1_verdict take_trailer(struct http1_chunks *c, struct str line)
{
    if (line.len == 0) {
        c->state = CHUNKS_DONE;
        return LET_THROUGH;
    }
    return http1_policy_field_line(line);
}

/* A complete line with its line end. */
static struct http1_verdict take_line(struct http1_chunks *c, struct str with_end,
                                      const struct buf *body)
{
    struct str line;
    struct http1_verdict verdict = http1_policy_line_end(with_end, &line);

    if (verdict.code != ERRCODE_NONE) {
        return verdict;
    }
    if (c->state == CHUNKS_SIZE) {
        return take_size(c, line, body);
    }
    if (c->state == CHUNKS_TRAILER) {
        return take_trailer(c, line);
    }
    c->state = CHUNKS_SIZE;
    return LET_THROUGH;
}

/* How long the line under way may be with its line end. */
static size_t max_line_bytes(const struct http1_chunks *c)
{
    if (c->state == CHUNKS_SIZE) {
        return MAX_SIZE_DIGITS + MAX_EXTENSION_BYTES + 2;
    }
    return c->state == CHUNKS_TRAILER ? MAX_TRAILER_BYTES + 2 - c->trailer_bytes : 2;
}

static struct http1_verdict too_long(const struct http1_chunks *c)
{
    if (c->state == CHUNKS_TRAILER) {
        return refused(ERRCODE_HEAD_TOO_LARGE, "the trailers are longer than the limit");
    }
    return invalid(c->state == CHUNKS_SIZE ? "the line with a chunk size is too long"
                                           : "a chunk is not as long as its size");
}

static struct http1_verdict feed_line(struct http1_chunks *c, struct str bytes,
                                      const struct buf *body, size_t *ret_taken)
{
    const char *lf = memchr(bytes.ptr, '\n', bytes.len);
    size_t n = lf ? (size_t) (lf - bytes.ptr) + 1 : bytes.len;
    struct http1_verdict verdict = LET_THROUGH;

    if (n > max_line_bytes(c) - c->line.len) {
        return too_long(c);
    }
    if (buf_append(&c->line, bytes.ptr, n) < 0) {
        return refused(ERRCODE_OUT_OF_MEMORY, "out of memory");
    }
    if (lf) {
        c->trailer_bytes += c->state == CHUNKS_TRAILER && c->line.len > 2 ? c->line.len : 0;
        verdict = take_line(c, buf_str(&c->line), body);
        buf_clear(&c->line);
    }
    *ret_taken = n;
    return verdict;
}

/* ---- the data */

static struct http1_verdict feed_data(struct http1_chunks *c, struct str bytes, struct buf *body,
                                      size_t *ret_taken)
{
    size_t n = bytes.len < c->left_bytes ? bytes.len : (size_t) c->left_bytes;

    if (buf_append(body, bytes.ptr, n) < 0) { /* the size has been held against the room */
        return refused(ERRCODE_OUT_OF_MEMORY, "out of memory");
    }
    c->left_bytes -= n;
    if (c->left_bytes == 0) {
        c->state = CHUNKS_END;
    }
    *ret_taken = n;
    return LET_THROUGH;
}

struct http1_verdict http1_chunks_feed(struct http1_chunks *c, struct str bytes, struct buf *body,
                                       size_t *ret_taken)
{
    struct http1_verdict verdict = LET_THROUGH;
    size_t taken = 0;

    while (verdict.code == ERRCODE_NONE && taken < bytes.len && c->state != CHUNKS_DONE) {
        struct str rest = {bytes.ptr + taken, bytes.len - taken};
        size_t n = 0;

        verdict =
            c->state == CHUNKS_DATA ? feed_data(c, rest, body, &n) : feed_line(c, rest, body, &n);
        taken += n;
    }
    *ret_taken = taken;
    return verdict;
}
