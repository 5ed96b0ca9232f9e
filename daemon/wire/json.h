#pragma once
/*
 * JSON, strictly (RFC 8259): one pass over the bytes that checks everything and yields the byte
 * span of each top-level member or element; then a walk over spans, without a tree: what we read is
 * read in place, what we only carry is carried as it is. json_check.c is the check, json.c the
 * rest.
 *
 * The pass refuses: invalid UTF-8, control characters in strings, bad escapes and unpaired
 * surrogates, leading zeros, trailing bytes, depth over JSON_MAX_DEPTH, duplicate names in one
 * object (compared resolved), U+0000 in names, more than 65,536 names open at a time
 * (json_names.h). Carried text is spliced, never printed again: numbers, order and unknown members
 * arrive as they were sent.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#define JSON_MAX_DEPTH 64

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_error {
    size_t offset;    /* byte in the text */
    const char *text; /* static: "unexpected character", ... */
};

/*
 * Is text exactly one JSON value, with blanks around it or without? 0; -EBADMSG, or -ENOMEM (only
 * objects with about a hundred names allocate at all), both with *ret_error (which may be NULL).
 */
int json_check(struct str text, struct json_error *ret_error) MUST_USE;

/*
 * The type of a checked value, by its first byte; JSON_NULL when absent. Blanks around a value do
 * not matter, here and below.
 */
enum json_type json_type(struct str value);

/* ---- walking a checked object or array without a tree: no allocation */

struct json_iter {
    const char *p, *end; /* end: the closing bracket */
};

/* Anything that is not an object or an array is walked as an empty one. */
void json_iter_init(struct json_iter *it, struct str object_or_array);
/*
 * The next member (ret_name: the raw name without quotes, escapes not resolved) or element
 * (ret_name: absent); false at the end. ret_name may be NULL.
 */
bool json_next(struct json_iter *it, struct str *ret_name, struct str *ret_value);

/*
 * The value of a member of a checked object by its exact name; absent when there is none (or text
 * is not an object). Names with escapes are compared resolved.
 */
struct str json_find(struct str object, const char *name);
/* Is a raw name, as json_next() yields it, that name? Escapes are resolved. */
bool json_name_is(struct str raw, struct str name);

/* ---- scalars of checked values */

bool json_is_true(struct str value);
bool json_is_null(struct str value); /* null, or absent */
/* -EINVAL: not an integer; -ERANGE. 3.0 is the integer 3 */
int json_i64(struct str value, int64_t *ret) MUST_USE;
int json_double(struct str value, double *ret) MUST_USE; /* -EINVAL: not a number; -ERANGE */

/*
 * The characters of a checked string value, resolved, appended to out (raw bytes; U+0000 stays a
 * NUL byte). 0, -EINVAL: not a string, or -errno of buf, with nothing appended.
 */
int json_string(struct str value, struct buf *out) MUST_USE;
/*
 * The same in an arena; when nothing needs resolving the result borrows from value. -ENOMEM,
 * -EINVAL: not a string.
 */
int json_string_dup(struct str value, struct arena *a, struct str *ret) MUST_USE;

/* ---- writing */

/*
 * s as a JSON string with quotes. Bytes that are not UTF-8 become U+FFFD each. 0 or -errno of buf,
 * with nothing appended.
 */
int json_write_string(struct buf *out, struct str s) MUST_USE;
/* A double in the shortest form that reads back the same; null when it is not finite. */
int json_write_double(struct buf *out, double v) MUST_USE;
