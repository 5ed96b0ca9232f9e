#pragma once
/*
 * Typed members of JSON that a client sent: reads a value, or words the verdict (400, param named)
 * in one way everywhere.
 *
 * Values are spans of checked text. Null counts as absent, and an absent value leaves *ret as it
 * was. Readers return 0, -EBADMSG with the problem filled, or -ENOMEM. Names are the innermost
 * ones: who knows what is around them adds it with field_within() on the way out, so that a path is
 * only ever composed for an error.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/macros.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/problem.h"

struct field {
    const char *name; /* static */
    struct str value; /* absent: the client sent none */
    struct problem *problem;
};

/* Fills problem with ERRCODE_INVALID_REQUEST and returns -EBADMSG. */
int field_fail(struct problem *problem, const char *param, const char *fmt, ...) MUST_USE
    PRINTF_LIKE(3, 4);

/* The same for a value of the wrong type; expected: "a string". */
int field_fail_type(const struct field *f, const char *expected) MUST_USE;

/* The types that a value may have, as a set: FIELD_STRING | FIELD_ARRAY. */
enum {
    FIELD_BOOL = 1 << JSON_FALSE | 1 << JSON_TRUE,
    FIELD_NUMBER = 1 << JSON_NUMBER,
    FIELD_STRING = 1 << JSON_STRING,
    FIELD_ARRAY = 1 << JSON_ARRAY,
    FIELD_OBJECT = 1 << JSON_OBJECT,
};

/* Refuses what is neither absent nor of one of the types; the text names all of them. */
int field_types(const struct field *f, unsigned types) MUST_USE;

/*
 * Passes r on; where it is -EBADMSG, puts what surrounds the member in front of problem->param:
 * "messages[2]" before "content" makes "messages[2].content". What does not fit is cut.
 */
int field_within(int r, struct problem *problem, const char *fmt, ...) MUST_USE PRINTF_LIKE(3, 4);

bool field_is_present(const struct field *f);

int field_bool(const struct field *f, bool *ret) MUST_USE;
int field_i64(const struct field *f, int64_t min, int64_t max, int64_t *ret) MUST_USE;
int field_double(const struct field *f, double min, double max, double *ret) MUST_USE;
/* Borrows from the value where nothing needs resolving. */
int field_string(const struct field *f, struct arena *a, struct str *ret) MUST_USE;
/* Refuses what is neither absent nor of the type: JSON_ARRAY, JSON_OBJECT. */
int field_array(const struct field *f, struct str *ret) MUST_USE;
int field_object(const struct field *f, struct str *ret) MUST_USE;

#define FIELD_NAME(s) {"" s, sizeof(s) - 1}

/*
 * The values of n members of a checked object in one walk; absent ones are STR_NONE. A value that
 * is no object has no members.
 */
void field_pick(struct str object, const struct str *names, size_t n, struct str *ret_values);

/* How many elements or members a checked array or object has. */
size_t field_count(struct str array_or_object);
