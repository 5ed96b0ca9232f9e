/*
 * Base64: images of RPC callers and data URLs towards model servers, embeddings towards OpenAI
 * clients. Tables and loops, no state.
 *
 * Decoding is strict on purpose: two texts that decode to the same bytes are one way to get
 * something past a check. Only the padding may be missing, as data URLs in the field leave it out;
 * what programs for the command line print has line breaks, which base64_normalise() takes out.
 */
#include "wire/base64.h"

#include <errno.h>
#include <stdint.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encoded_size(size_t n)
{
    return (n + 2) / 3 * 4;
}

void base64_encode_to(struct str bytes, char *out)
{
    const uint8_t *in = (const uint8_t *) bytes.ptr;
    size_t i = 0;

    for (; bytes.len - i >= 3; i += 3) {
        uint32_t v = (uint32_t) in[i] << 16 | (uint32_t) in[i + 1] << 8 | in[i + 2];

        *out++ = letters[v >> 18];
        *out++ = letters[v >> 12 & 63];
        *out++ = letters[v >> 6 & 63];
        *out++ = letters[v & 63];
    }

    size_t rest = bytes.len - i;

    if (rest > 0) {
        uint32_t v = (uint32_t) in[i] << 16 | (rest > 1 ? (uint32_t) in[i + 1] << 8 : 0);

        *out++ = letters[v >> 18];
        *out++ = letters[v >> 12 & 63];
        *out++ = rest > 1 ? letters[v >> 6 & 63] : '=';
        *out++ = '=';
    }
}

int base64_encode(struct buf *out, struct str bytes)
{
    size_t n = base64_encoded_size(bytes.len);

    if (n > buf_room(out)) {
        return -ENOBUFS;
    }

    char *to = buf_reserve(out, n);

    if (!to) {
        return -ENOMEM;
    }
    base64_encode_to(bytes, to);
    buf_commit(out, n);
    return 0;
}

/* 0 to 63, or -1. */
static int letter_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/*
 * Without its padding. Padding in the wrong place stays, and decoding refuses it as a foreign
 * letter.
 */
static struct str without_padding(struct str text)
{
    if (text.len % 4 != 0) {
        return text;
    }
    for (int i = 0; i < 2 && text.len > 0 && text.ptr[text.len - 1] == '='; i++) {
        text.len--;
    }
    return text;
}

/* The bytes of a text without padding; out has room for them. */
static int decode_letters(struct str text, uint8_t *out)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;

    for (size_t i = 0; i < text.len; i++) {
        int v = letter_value(text.ptr[i]);

        if (v < 0) {
            return -EBADMSG;
        }
        bits = bits << 6 | (uint32_t) v;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            *out++ = (uint8_t) (bits >> n_bits);
            bits &= (1U << n_bits) - 1;
        }
    }
    return bits == 0 ? 0 : -EBADMSG; /* the last letter says more than its byte holds */
}

int base64_decode(struct buf *out, struct str text)
{
    text = without_padding(text);
    if (text.len % 4 == 1) {
        return -EBADMSG;
    }

    size_t n = text.len / 4 * 3 + (text.len % 4 > 0 ? text.len % 4 - 1 : 0);

    if (n > buf_room(out)) {
        return -ENOBUFS;
    }

    char *to = buf_reserve(out, n);

    if (!to) {
        return -ENOMEM;
    }

    int r = decode_letters(text, (uint8_t *) to);

    if (r < 0) {
        return r;
    }
    buf_commit(out, n);
    return 0;
}

/* ---- text of clients */

static bool is_line_break(char c)
{
    return c == '\r' || c == '\n';
}

/* Images are megabytes: one look-up for each letter. */
static size_t skip_letters(struct str text, size_t i)
{
    static const uint8_t is_letter[UINT8_MAX + 1] = {
        ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['0' ... '9'] = 1, ['+'] = 1, ['/'] = 1,
    };

    while (i < text.len && is_letter[(uint8_t) text.ptr[i]]) {
        i++;
    }
    return i;
}

struct survey {
    size_t n_letters, n_padding, n_breaks;
    char last; /* letter */
};

static int survey_text(struct str text, struct survey *s)
{
    for (size_t i = 0; i < text.len; i++) {
        size_t end = skip_letters(text, i);

        if (end > i && s->n_padding > 0) {
            return -EBADMSG;
        }
        s->n_letters += end - i;
        s->last = end > i ? text.ptr[end - 1] : s->last;
        if (end == text.len) {
            break;
        }
        i = end;
        if (is_line_break(text.ptr[i])) {
            s->n_breaks++;
        } else if (text.ptr[i] == '=') {
            s->n_padding++;
        } else {
            return -EBADMSG;
        }
    }
    return 0;
}

/* What is missing to a multiple of four; -EBADMSG where no encoder ends so. */
static int missing_padding(const struct survey *s)
{
    static const int unused_bits[] = {0, 0, 15, 3};
    size_t rest = s->n_letters % 4;
    size_t wanted = rest == 0 ? 0 : 4 - rest;

    if (s->n_letters == 0 || rest == 1 || (s->n_padding > 0 && s->n_padding != wanted) ||
        letter_value(s->last) & unused_bits[rest]) {
        return -EBADMSG;
    }
    return (int) (wanted - s->n_padding);
}

int base64_normalise(struct str text, struct arena *a, struct str *ret)
{
    struct survey s = {0};
    int n_missing = survey_text(text, &s);
    char *to;

    n_missing = n_missing < 0 ? n_missing : missing_padding(&s);
    if (n_missing < 0) {
        return n_missing;
    }
    if (n_missing == 0 && s.n_breaks == 0) {
        *ret = text;
        return 0;
    }
    to = arena_alloc(a, text.len - s.n_breaks + (size_t) n_missing);
    if (!to) {
        return -ENOMEM;
    }
    *ret = (struct str) {to, 0};
    for (size_t i = 0; i < text.len; i++) {
        if (!is_line_break(text.ptr[i])) {
            to[ret->len++] = text.ptr[i];
        }
    }
    for (; n_missing > 0; n_missing--) {
        to[ret->len++] = '=';
    }
    return 0;
}
