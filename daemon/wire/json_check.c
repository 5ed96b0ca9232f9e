/*
 * The strict check of json.h: the whole of RFC 8259 and nothing more, plus what a gateway must
 * insist on (well-formed UTF-8, paired surrogates, a depth limit, no name twice in an object, no
 * U+0000 in names).
 *
 * Every text that a peer sends goes through here once; json.c relies on it without looking again.
 * The functions mirror the grammar: each is called with c->p on the first byte of its production
 * and leaves it behind the last. The first error wins and ends the pass.
 *
 * Recursion is at most JSON_MAX_DEPTH deep (two small frames each). Allocates only while more than
 * JSON_NAMES_FIXED names are open, takes time linear in the text (names: json_names.c).
 *
 * Must not: read at or behind the end of a text, or depend on a NUL there.
 */
#include "wire/json.h"

#include <errno.h>

#include "wire/json_names.h"
#include "wire/json_text.h"

/* Offsets and lengths of names are kept in 31 bits. Far above any body limit. */
#define JSON_MAX_TEXT_BYTES ((size_t) INT32_MAX)

struct checker {
    const char *start, *p, *end;
    unsigned depth;
    struct json_error error;
    struct json_names names;
};

static int fail(struct checker *c, const char *at, const char *text)
{
    c->error = (struct json_error) {.offset = (size_t) (at - c->start), .text = text};
    return -EBADMSG;
}

/* What stands at c->p is not what the grammar wants there. */
static int fail_here(struct checker *c)
{
    return fail(c, c->p, c->p == c->end ? "unexpected end" : "unexpected character");
}

static void skip_blanks(struct checker *c)
{
    if (c->p < c->end && *c->p <= ' ') {
        c->p = json_text_skip_blanks(c->p, c->end);
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int check_word(struct checker *c, const char *word, size_t len)
{
    if ((size_t) (c->end - c->p) < len || memcmp(c->p, word, len) != 0) {
        return fail(c, c->p, "unexpected character");
    }
    c->p += len;
    return 0;
}

/* One digit or more. */
static int check_digits(struct checker *c)
{
    const char *first = c->p;

    while (c->p < c->end && is_digit(*c->p)) {
        c->p++;
    }
    return c->p > first ? 0 : fail(c, c->p, "bad number");
}

static int check_number(struct checker *c)
{
    int r = 0;

    if (*c->p == '-') {
        c->p++;
    }
    if (c->p < c->end && *c->p == '0') {
        c->p++; /* a digit behind it is what the caller finds unexpected */
    } else {
        r = check_digits(c);
    }
    if (r == 0 && c->p < c->end && *c->p == '.') {
        c->p++;
        r = check_digits(c);
    }
    if (r == 0 && c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-')) {
            c->p++;
        }
        r = check_digits(c);
    }
    return r;
}

/* \uXXXX at c->p, and its other half when it is the first of a surrogate pair. */
static int check_unicode_escape(struct checker *c, bool is_name)
{
    const char *at = c->p;
    int code = c->end - at < 6 ? -1 : json_text_hex4(at + 2);

    if (code < 0) {
        return fail(c, at, "bad escape");
    }
    if (code == 0 && is_name) {
        return fail(c, at, "U+0000 in a name");
    }
    c->p += 6;
    if (code < 0xd800 || code > 0xdfff) {
        return 0;
    }
    if (code >= 0xdc00 || c->end - c->p < 6 || c->p[0] != '\\' || c->p[1] != 'u') {
        return fail(c, at, "unpaired surrogate");
    }
    code = json_text_hex4(c->p + 2);
    if (code < 0xdc00 || code > 0xdfff) {
        return fail(c, at, "unpaired surrogate");
    }
    c->p += 6;
    return 0;
}

static int check_escape(struct checker *c, bool is_name)
{
    char letter = c->end - c->p < 2 ? '\0' : c->p[1];

    switch (letter) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        c->p += 2;
        return 0;
    case 'u':
        return check_unicode_escape(c, is_name);
    default: /* not an enum: any other byte */
        return fail(c, c->p, "bad escape");
    }
}

static int check_string(struct checker *c, bool is_name, bool *ret_is_escaped)
{
    bool is_escaped = false;
    int r;

    c->p++;
    for (;;) {
        c->p = json_text_skip_plain(c->p, c->end);
        if (c->p == c->end) {
            return fail_here(c);
        }

        uint8_t byte = (uint8_t) *c->p;

        if (byte == '"') {
            c->p++;
            *ret_is_escaped = is_escaped;
            return 0;
        }
        if (byte == '\\') {
            is_escaped = true;
            r = check_escape(c, is_name);
            if (r < 0) {
                return r;
            }
        } else if (byte >= 0x80) {
            size_t len = json_text_utf8(c->p, c->end);

            if (len == 0) {
                return fail(c, c->p, "invalid UTF-8");
            }
            c->p += len;
        } else {
            return fail(c, c->p, "control character in a string");
        }
    }
}

static int check_value(struct checker *c);

/*
 * Behind an element: true at a comma (stepped over), false with 0 at close (stepped over), false
 * with an error otherwise.
 */
static bool has_another(struct checker *c, char close, int *ret_r)
{
    *ret_r = 0;
    skip_blanks(c);
    if (c->p < c->end && *c->p == ',') {
        c->p++;
        skip_blanks(c);
        return true;
    }
    if (c->p < c->end && *c->p == close) {
        c->p++;
        return false;
    }
    *ret_r = fail_here(c);
    return false;
}

/* At an opening bracket: is the container empty? Steps over what it has seen. */
static bool is_empty(struct checker *c, char close)
{
    c->p++;
    skip_blanks(c);
    if (c->p < c->end && *c->p == close) {
        c->p++;
        return true;
    }
    return false;
}

static int check_array(struct checker *c)
{
    int r;

    if (is_empty(c, ']')) {
        return 0;
    }
    do {
        r = check_value(c);
        if (r < 0) {
            return r;
        }
    } while (has_another(c, ']', &r));
    return r;
}

/* The name and the colon. */
static int check_name(struct checker *c)
{
    const char *quote = c->p;
    bool is_escaped;
    int r;

    if (c->p == c->end || *c->p != '"') {
        return fail_here(c);
    }
    r = check_string(c, true, &is_escaped);
    if (r < 0) {
        return r;
    }
    r = json_names_add(&c->names, (size_t) (quote + 1 - c->start), (size_t) (c->p - quote - 2),
                       is_escaped);
    if (r < 0) {
        (void) fail(c, quote, r == -ENOBUFS ? "too many names" : "out of memory");
        return r == -ENOBUFS ? -EBADMSG : r;
    }
    skip_blanks(c);
    if (c->p == c->end || *c->p != ':') {
        return fail_here(c);
    }
    c->p++;
    skip_blanks(c);
    return 0;
}

static int check_object(struct checker *c)
{
    size_t first_name = c->names.n_items, offset;
    int r;

    if (is_empty(c, '}')) {
        return 0;
    }
    do {
        r = check_name(c);
        if (r == 0) {
            r = check_value(c);
        }
        if (r < 0) {
            return r;
        }
    } while (has_another(c, '}', &r));
    if (r == 0 && !json_names_close(&c->names, first_name, &offset)) {
        return fail(c, c->start + offset, "duplicate name");
    }
    return r;
}

static int check_value(struct checker *c)
{
    bool is_escaped;
    int r;

    if (c->p == c->end) {
        return fail_here(c);
    }
    switch (*c->p) {
    case '"':
        return check_string(c, false, &is_escaped);
    case '{':
    case '[':
        if (c->depth == JSON_MAX_DEPTH) {
            return fail(c, c->p, "nested too deeply");
        }
        c->depth++;
        r = *c->p == '{' ? check_object(c) : check_array(c);
        c->depth--;
        return r;
    case 't':
        return check_word(c, "true", 4);
    case 'f':
        return check_word(c, "false", 5);
    case 'n':
        return check_word(c, "null", 4);
    default: /* not an enum: any other byte */
        return *c->p == '-' || is_digit(*c->p) ? check_number(c) : fail_here(c);
    }
}

int json_check(struct str text, struct json_error *ret_error)
{
    struct checker c; /* not initialised as a whole: names.fixed is large and needs no value */
    int r;

    c.start = c.p = text.ptr ? text.ptr : "";
    c.end = c.start + text.len;
    c.depth = 0;
    json_names_init(&c.names, c.start);
    if (text.len > JSON_MAX_TEXT_BYTES) {
        r = fail(&c, c.start, "text too long");
    } else {
        skip_blanks(&c);
        r = check_value(&c);
        skip_blanks(&c);
        if (r == 0 && c.p != c.end) {
            r = fail_here(&c);
        }
    }
    json_names_done(&c.names);
    if (r < 0 && ret_error) {
        *ret_error = c.error;
    }
    return r;
}
