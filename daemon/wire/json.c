/*
 * JSON between sluice and everybody else, after json_check() has seen the text: a walk without a
 * tree, scalars, strings; and writing.
 *
 *   bytes ──► json_check() ──► spans by json_next(), json_find()
 *         ──► json_string(), json_i64(), or copied as they are
 *
 * What sluice only carries is the span of bytes that the walk yields: ends are found by quotes and
 * brackets alone, values are never parsed and printed again. Owns nothing between calls. The walk
 * and the scalars never allocate and take time linear in what they step over.
 *
 * Must not: read at or behind the end of a text, depend on a NUL behind it, depend on the locale
 * (sluice never calls setlocale()).
 */
#include "wire/json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "wire/json_text.h"

/* ---- the walk over checked text */

static struct str trim(struct str s)
{
    if (!s.ptr) {
        return s; /* absent */
    }

    const char *end = s.ptr + s.len, *p = json_text_skip_blanks(s.ptr, end);

    while (end > p && json_text_is_blank(end[-1])) {
        end--;
    }
    return (struct str) {p, (size_t) (end - p)};
}

enum json_type json_type(struct str value)
{
    if (!value.ptr) {
        return JSON_NULL;
    }

    const char *end = value.ptr + value.len, *p = json_text_skip_blanks(value.ptr, end);

    switch (p < end ? *p : 'n') {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default: /* not an enum: any other byte */
        return JSON_NUMBER;
    }
}

/* p is behind the opening quote; returns behind the closing one. */
static const char *skip_string(const char *p, const char *end)
{
    for (;;) {
        p = json_text_skip_to_quote(p, end);
        if (end - p < 2 || *p == '"') {
            return p < end ? p + 1 : end;
        }
        p += 2; /* a backslash and what it escapes */
    }
}

/* p is behind the opening bracket; returns behind the closing one. */
static const char *skip_container(const char *p, const char *end)
{
    size_t depth = 1;

    while (p < end) {
        p = json_text_skip_to_bracket(p, end);
        if (p == end) {
            break;
        }

        char c = *p++;

        if (c == '"') {
            p = skip_string(p, end);
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            break;
        }
    }
    return p;
}

static const char *skip_value(const char *p, const char *end)
{
    if (p < end && *p == '"') {
        return skip_string(p + 1, end);
    }
    if (p < end && (*p == '{' || *p == '[')) {
        return skip_container(p + 1, end);
    }
    while (p < end && *p != ',' && *p != '}' && *p != ']' && !json_text_is_blank(*p)) {
        p++;
    }
    return p;
}

/* Blanks, and the one comma or colon that checked text can have among them here. */
static const char *skip_between(const char *p, const char *end)
{
    while (p < end && (*p == ',' || *p == ':' || json_text_is_blank(*p))) {
        p++;
    }
    return p;
}

void json_iter_init(struct json_iter *it, struct str object_or_array)
{
    struct str s = trim(object_or_array);

    if (s.len >= 2 && (s.ptr[0] == '{' || s.ptr[0] == '[')) {
        *it = (struct json_iter) {.p = s.ptr + 1, .end = s.ptr + s.len - 1};
    } else {
        *it = (struct json_iter) {.p = "", .end = NULL};
        it->end = it->p;
    }
}

bool json_next(struct json_iter *it, struct str *ret_name, struct str *ret_value)
{
    const char *p = skip_between(it->p, it->end);

    it->p = p;
    if (p == it->end) {
        return false;
    }
    if (ret_name) {
        *ret_name = STR_NONE;
    }
    /* end is on the closing bracket, and says so what this is */
    if (*it->end == '}') {
        const char *behind = skip_string(p + 1, it->end);

        if (ret_name) {
            *ret_name = (struct str) {p + 1, (size_t) (behind - p) - (behind - p >= 2 ? 2 : 1)};
        }
        p = skip_between(behind, it->end);
    }
    it->p = skip_value(p, it->end);
    *ret_value = (struct str) {p, (size_t) (it->p - p)};
    return true;
}

/* Is a raw name with escapes the same as name? */
static bool is_name_resolved(struct str raw, struct str name)
{
    const char *p = raw.ptr, *end = raw.ptr + raw.len;
    size_t at = 0;

    while (p < end) {
        char bytes[4] = {*p};
        size_t n = 1;

        if (*p == '\\') {
            n = json_text_unescape(&p, end, bytes);
        } else {
            p++;
        }
        if (name.len - at < n || memcmp(name.ptr + at, bytes, n) != 0) {
            return false;
        }
        at += n;
    }
    return at == name.len;
}

/*
 * An escape is longer than what it stands for; nearly always one comparison of lengths is all.
 */
bool json_name_is(struct str raw, struct str name)
{
    if (raw.len == name.len) {
        return str_is_equal(raw, name) && !memchr(raw.ptr, '\\', raw.len);
    }
    return raw.len > name.len && memchr(raw.ptr, '\\', raw.len) && is_name_resolved(raw, name);
}

struct str json_find(struct str object, const char *name)
{
    struct str wanted = str_from(name), raw, value;
    struct json_iter it;

    json_iter_init(&it, object);
    if (it.p == it.end || *it.end != '}') {
        return STR_NONE;
    }
    while (json_next(&it, &raw, &value)) {
        if (json_name_is(raw, wanted)) {
            return value;
        }
    }
    return STR_NONE;
}

/* ---- scalars of checked values */

bool json_is_true(struct str value)
{
    return json_type(value) == JSON_TRUE;
}

bool json_is_null(struct str value)
{
    return json_type(value) == JSON_NULL;
}

/*
 * The digits of a number without its point, and the power of ten that they are multiplied with.
 * Leading and trailing zeros do not count.
 */
struct decimal {
    uint64_t digits;
    unsigned n_digits; /* 20 and more: digits is not their value any more */
    int64_t exponent;
    bool is_negative;
};

static void add_digit(struct decimal *d, unsigned digit)
{
    if (d->n_digits == 0 && digit == 0) {
        return;
    }
    if (d->n_digits < 20) {
        d->n_digits++;
        d->digits = d->n_digits < 20 ? d->digits * 10 + digit : 0;
    }
}

/* Zeros are held back until another digit proves that they count: 30 and 3.0 are the digit 3. */
static struct decimal read_decimal(struct str s)
{
    const char *p = s.ptr, *end = s.ptr + s.len;
    struct decimal d = {.is_negative = *p == '-'};
    bool is_fraction = false;
    int64_t n_zeros = 0;

    for (p += d.is_negative; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            is_fraction = true;
            continue;
        }
        d.exponent -= is_fraction;
        if (*p == '0') {
            n_zeros++;
            continue;
        }
        for (; n_zeros > 0 && d.n_digits > 0 && d.n_digits < 20; n_zeros--) {
            add_digit(&d, 0);
        }
        n_zeros = 0;
        add_digit(&d, (unsigned) (*p - '0'));
    }
    d.exponent += n_zeros;
    if (p < end) {
        int64_t exponent = 0;
        bool is_minus = *++p == '-';

        for (p += is_minus || *p == '+'; p < end; p++) {
            exponent = exponent < INT64_MAX / 20 ? exponent * 10 + (*p - '0') : exponent;
        }
        d.exponent += is_minus ? -exponent : exponent;
    }
    return d;
}

int json_i64(struct str value, int64_t *ret)
{
    struct str s = trim(value);
    int r;

    if (json_type(s) != JSON_NUMBER) {
        return -EINVAL;
    }
    r = num_parse_i64(s, ret);
    if (r == 0) {
        return 0; /* nearly always */
    }

    struct decimal d = read_decimal(s);
    int64_t v = 0;

    if (d.n_digits > 0) {
        if (d.exponent < 0) {
            return -EINVAL;
        }
        if (d.n_digits + d.exponent > 19) {
            return -ERANGE;
        }
        for (; d.exponent > 0; d.exponent--) {
            d.digits *= 10;
        }
        if (d.digits > (uint64_t) INT64_MAX + d.is_negative) {
            return -ERANGE;
        }
        v = d.is_negative ? (int64_t) (0 - d.digits) : (int64_t) d.digits;
    }
    *ret = v;
    return 0;
}

int json_double(struct str value, double *ret)
{
    struct str s = trim(value);

    return json_type(s) == JSON_NUMBER ? num_parse_double(s, ret) : -EINVAL;
}

/* The text between the quotes of a string value; absent when it is not one. */
static struct str between_quotes(struct str value)
{
    struct str s = trim(value);

    if (s.len < 2 || s.ptr[0] != '"') {
        return STR_NONE;
    }
    return (struct str) {s.ptr + 1, s.len - 2};
}

/* Resolves raw into to, which has room for raw.len bytes. Returns how many were written. */
static size_t resolve(struct str raw, char *to)
{
    const char *p = raw.ptr, *end = raw.ptr + raw.len;
    char *at = to;

    while (p < end) {
        const char *stop = memchr(p, '\\', (size_t) (end - p));
        size_t n = (size_t) ((stop ? stop : end) - p);

        memcpy(at, p, n);
        at += n;
        p += n;
        if (p < end) {
            char bytes[4];

            n = json_text_unescape(&p, end, bytes);
            memcpy(at, bytes, n);
            at += n;
        }
    }
    return (size_t) (at - to);
}

int json_string(struct str value, struct buf *out)
{
    struct str raw = between_quotes(value);

    if (!raw.ptr) {
        return -EINVAL;
    }
    if (!memchr(raw.ptr, '\\', raw.len)) {
        return buf_append_str(out, raw);
    }
    if (raw.len <= buf_room(out)) {
        char *to = buf_reserve(out, raw.len);

        if (!to) {
            return -ENOMEM;
        }
        buf_commit(out, resolve(raw, to));
        return 0;
    }

    /* only the resolved text has to fit */
    char *copy = malloc(raw.len);

    if (!copy) {
        return -ENOMEM;
    }

    int r = buf_append(out, copy, resolve(raw, copy));

    free(copy);
    return r;
}

int json_string_dup(struct str value, struct arena *a, struct str *ret)
{
    struct str raw = between_quotes(value);

    if (!raw.ptr) {
        return -EINVAL;
    }
    if (memchr(raw.ptr, '\\', raw.len)) {
        char *to = arena_alloc(a, raw.len);

        if (!to) {
            return -ENOMEM;
        }
        raw = (struct str) {to, resolve(raw, to)};
    }
    *ret = raw;
    return 0;
}

/* ---- writing */

static int write_special(struct buf *out, uint8_t c)
{
    static const char letters[] = "btn\0fr"; /* from U+0008 on */
    char text[8] = {'\\', (char) c, '\0'};

    if (c >= 0x08 && c <= 0x0d && letters[c - 0x08] != '\0') {
        text[1] = letters[c - 0x08];
    } else if (c < 0x20) {
        (void) snprintf(text, sizeof text, "\\u%04x", c);
    }
    return buf_append_z(out, text);
}

static int write_string(struct buf *out, struct str s)
{
    const char *p = s.ptr, *end = s.ptr + s.len, *run = p;
    int r = buf_append_char(out, '"');

    while (r == 0 && p < end) {
        p = json_text_skip_plain(p, end);

        size_t n = p < end && (uint8_t) *p >= 0x80 ? json_text_utf8(p, end) : 0;

        if (n > 0) {
            p += n;
            continue;
        }
        r = buf_append(out, run, (size_t) (p - run));
        if (r == 0 && p < end) {
            r = (uint8_t) *p >= 0x80 ? buf_append_z(out, "\xef\xbf\xbd")
                                     : write_special(out, (uint8_t) *p);
            run = ++p;
        } else {
            run = p;
        }
    }
    if (r == 0) {
        r = buf_append(out, run, (size_t) (end - run));
    }
    return r < 0 ? r : buf_append_char(out, '"');
}

int json_write_string(struct buf *out, struct str s)
{
    size_t len_before = out->len;
    int r = write_string(out, s.ptr ? s : STR_LIT(""));

    if (r < 0) {
        out->len = len_before; /* half a string helps nobody */
    }
    return r;
}

int json_write_double(struct buf *out, double v)
{
    char text[32];

    if (!isfinite(v)) {
        return buf_append_z(out, "null"); /* JSON has no word for it */
    }
    for (int digits = 15; digits <= 17; digits++) { /* 15 always survive, 17 always suffice */
        (void) snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) {
            break;
        }
    }
    return buf_append_z(out, text);
}
