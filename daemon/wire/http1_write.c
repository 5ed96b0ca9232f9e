/*
 * HTTP/1.1 response heads and chunks to bytes, and percent-encoding out of targets (http1.h). The
 * caller decides what is said; this file makes sure that it cannot be said so that it means
 * something else: no value ends its line.
 *
 * Every function appends all of its text or none, so that a full buffer never holds half a header.
 */
#include "wire/http1.h"

#include <assert.h>
#include <errno.h>

/*
 * Phrases of RFC 9110 section 15, RFC 6585 (429, 431) and nginx (499) for what errors.def and the
 * frontend use.
 */
const char *http1_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } table[] = {
        {100, "Continue"},
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].status == status) {
            return table[i].reason;
        }
    }
    return "Unknown"; /* the phrase may be anything (RFC 9112 section 4) */
}

int http1_write_status(struct buf *out, int status)
{
    assert(status >= 100 && status <= 599);
    return buf_printf(out, "HTTP/1.1 %d %s\r\n", status, http1_reason(status));
}

/* n bytes behind the content, or NULL with *ret_r. */
static char *reserve(struct buf *out, size_t n, int *ret_r)
{
    char *to = buf_reserve(out, n);

    if (!to) {
        *ret_r = n > buf_room(out) ? -ENOBUFS : -ENOMEM;
    }
    return to;
}

static char *put(char *to, const char *bytes, size_t n)
{
    return (char *) memcpy(to, bytes, n) + n;
}

int http1_write_header(struct buf *out, const char *name, struct str value)
{
    size_t name_len = strlen(name), n = name_len + value.len + 4;
    char *to;
    int r;

    to = reserve(out, n, &r);
    if (!to) {
        return r;
    }
    to = put(to, name, name_len);
    to = put(to, ": ", 2);
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char) value.ptr[i];

        *to++ = (c < ' ' && c != '\t') || c == 0x7f ? '?' : value.ptr[i];
    }
    (void) put(to, "\r\n", 2);
    buf_commit(out, n);
    return 0;
}

int http1_write_end(struct buf *out)
{
    return buf_append(out, "\r\n", 2);
}

int http1_write_chunk(struct buf *out, struct str bytes)
{
    static const char digits[] = "0123456789abcdef";
    char size[2 * sizeof(size_t)], *first = size + sizeof size;
    size_t left = bytes.len;
    char *to;
    int r;

    do {
        *--first = digits[left % 16];
        left /= 16;
    } while (left > 0);

    size_t n_digits = (size_t) (size + sizeof size - first), n = n_digits + 2 + bytes.len + 2;

    to = reserve(out, n, &r);
    if (!to) {
        return r;
    }
    to = put(to, first, n_digits);
    to = put(to, "\r\n", 2);
    to = bytes.len > 0 ? put(to, bytes.ptr, bytes.len) : to;
    (void) put(to, "\r\n", 2);
    buf_commit(out, n);
    return 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The byte that %XX at s[i] stands for, or -1; NUL is none. */
static int escaped_byte(struct str s, size_t i)
{
    int high = s.len - i < 3 ? -1 : hex_digit(s.ptr[i + 1]);
    int low = high < 0 ? -1 : hex_digit(s.ptr[i + 2]);

    return low < 0 || high * 16 + low == 0 ? -1 : high * 16 + low;
}

int http1_unescape(struct str s, struct buf *out)
{
    size_t len_before = out->len;
    int r = 0;

    for (size_t i = 0; r == 0 && i < s.len; i++) {
        char c = s.ptr[i];

        if (c == '%') {
            int byte = escaped_byte(s, i);

            r = byte < 0 ? -EBADMSG : buf_append_char(out, (char) byte);
            i += 2;
        } else {
            r = c == '\0' ? -EBADMSG : buf_append_char(out, c);
        }
    }
    if (r < 0) {
        out->len = len_before;
    }
    return r;
}
