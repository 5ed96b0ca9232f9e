/*
 * See json_alike.h. Owns one copy of what stands around the strings. Every comparison is one of
 * whole pieces at both ends of the text; the strings between go through json_check(), so a quote
 * that ends one early, a control character or bad UTF-8 make the text one that must be read in
 * full.
 *
 * Must not: read at or behind the end of a text, or accept what json_check() would refuse.
 */
#include "wire/json_alike.h"

#include <assert.h>

#include "wire/json.h"

void json_alike_init(struct json_alike *a)
{
    *a = (struct json_alike) {.n_before = 0};
    buf_init(&a->text, JSON_ALIKE_MAX_BYTES);
}

void json_alike_done(struct json_alike *a)
{
    buf_done(&a->text);
    a->is_learnt = false;
}

void json_alike_forget(struct json_alike *a)
{
    a->is_learnt = false;
}

/* The bytes of text from one place to another. */
static struct str piece(const char *from, const char *to)
{
    assert(to >= from);
    return (struct str) {from, (size_t) (to - from)};
}

void json_alike_learn(struct json_alike *a, struct str text, struct str aside, struct str value)
{
    const char *end = text.ptr + text.len, *at = text.ptr;
    bool is_ok = true;

    assert(value.ptr >= text.ptr && value.ptr + value.len <= end);
    a->is_learnt = false;
    buf_clear(&a->text);
    a->has_aside = aside.ptr != NULL && aside.ptr < value.ptr;
    if (a->has_aside) {
        is_ok = buf_append_str(&a->text, piece(at, aside.ptr)) == 0;
        at = aside.ptr + aside.len;
    }
    a->n_before = a->text.len;
    is_ok = is_ok && buf_append_str(&a->text, piece(at, value.ptr)) == 0;
    a->n_between = a->text.len - a->n_before;
    is_ok = is_ok && buf_append_str(&a->text, piece(value.ptr + value.len, end)) == 0;
    a->is_learnt = is_ok;
}

static bool begins_with(struct str s, const char *bytes, size_t n)
{
    return s.len >= n && memcmp(s.ptr, bytes, n) == 0;
}

static bool is_string(struct str s)
{
    return s.len >= 2 && s.ptr[0] == '"' && json_check(s, NULL) == 0;
}

/* Steps over the first piece and the aside. */
static bool skip_aside(const struct json_alike *a, struct str *rest)
{
    struct str aside;
    const char *quote;

    if (!begins_with(*rest, buf_ptr(&a->text), a->n_before) || rest->len < a->n_before + 2) {
        return false;
    }
    aside.ptr = rest->ptr + a->n_before;
    /* one with a quote inside does not pass the check of what stands before it */
    quote = memchr(aside.ptr + 1, '"', rest->len - a->n_before - 1);
    if (!quote) {
        return false;
    }
    aside.len = (size_t) (quote + 1 - aside.ptr);
    *rest = piece(aside.ptr + aside.len, rest->ptr + rest->len);
    return is_string(aside);
}

bool json_alike_match(const struct json_alike *a, struct str text, struct str *ret_value)
{
    const char *between = buf_ptr(&a->text) + a->n_before, *behind = between + a->n_between;
    size_t n_behind = a->text.len - a->n_before - a->n_between;
    struct str value;

    if (!a->is_learnt || (a->has_aside && !skip_aside(a, &text))) {
        return false;
    }
    if (text.len < a->n_between + 3 + n_behind || !begins_with(text, between, a->n_between) ||
        memcmp(text.ptr + text.len - n_behind, behind, n_behind) != 0) {
        return false;
    }
    value = (struct str) {text.ptr + a->n_between, text.len - a->n_between - n_behind};
    if (!is_string(value)) {
        return false;
    }
    *ret_value = value;
    return true;
}
