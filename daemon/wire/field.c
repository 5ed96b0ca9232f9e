/*
 * See field.h. No state. The texts name the type that was expected and the one that came, as that
 * is what the author of a client needs; they never quote a value, since values may be private.
 */
#include "wire/field.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>

int field_fail(struct problem *problem, const char *param, const char *fmt, ...)
{
    va_list ap;

    problem->code = ERRCODE_INVALID_REQUEST;
    (void) snprintf(problem->param, sizeof problem->param, "%s", param);
    va_start(ap, fmt);
    (void) vsnprintf(problem->text, sizeof problem->text, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

static const char *type_name(enum json_type type)
{
    switch (type) {
    case JSON_NULL:
        return "null";
    case JSON_FALSE:
    case JSON_TRUE:
        return "a boolean";
    case JSON_NUMBER:
        return "a number";
    case JSON_STRING:
        return "a string";
    case JSON_ARRAY:
        return "an array";
    case JSON_OBJECT:
        return "an object";
    }
    assert(0);
    return "?";
}

int field_fail_type(const struct field *f, const char *expected)
{
    return field_fail(f->problem, f->name, "'%s' must be %s, not %s", f->name, expected,
                      type_name(json_type(f->value)));
}

/* Appends to a text in an array of the given size, as far as there is room. */
static void append(char *text, size_t size, const char *more)
{
    size_t n = strlen(text), n_more = strlen(more), room = size - 1 - n;

    if (n_more > room) {
        n_more = room;
    }
    memcpy(text + n, more, n_more);
    text[n + n_more] = '\0';
}

int field_types(const struct field *f, unsigned types)
{
    char expected[64] = "";

    if (!field_is_present(f) || types & 1U << json_type(f->value)) {
        return 0;
    }
    for (unsigned type = JSON_TRUE; type <= JSON_OBJECT; type++) {
        if (types & 1U << type) {
            append(expected, sizeof expected, expected[0] ? " or " : "");
            append(expected, sizeof expected, type_name(type));
        }
    }
    return field_fail_type(f, expected);
}

int field_within(int r, struct problem *problem, const char *fmt, ...)
{
    char inner[PROBLEM_PARAM_MAX];
    va_list ap;

    if (r != -EBADMSG) {
        return r;
    }
    memcpy(inner, problem->param, sizeof inner);
    va_start(ap, fmt);
    (void) vsnprintf(problem->param, sizeof problem->param, fmt, ap);
    va_end(ap);
    if (inner[0] != '\0' && inner[0] != '[') {
        append(problem->param, sizeof problem->param, ".");
    }
    append(problem->param, sizeof problem->param, inner);
    return r;
}

bool field_is_present(const struct field *f)
{
    return !json_is_null(f->value);
}

int field_bool(const struct field *f, bool *ret)
{
    if (!field_is_present(f)) {
        return 0;
    }

    enum json_type type = json_type(f->value);

    if (type != JSON_TRUE && type != JSON_FALSE) {
        return field_fail_type(f, "a boolean");
    }
    *ret = type == JSON_TRUE;
    return 0;
}

int field_i64(const struct field *f, int64_t min, int64_t max, int64_t *ret)
{
    int64_t v;
    int r;

    if (!field_is_present(f)) {
        return 0;
    }
    if (json_type(f->value) != JSON_NUMBER) {
        return field_fail_type(f, "an integer");
    }
    r = json_i64(f->value, &v);
    if (r == -EINVAL) {
        return field_fail(f->problem, f->name, "'%s' must be an integer, not a fraction", f->name);
    }
    if (r < 0 || v < min || v > max) {
        return field_fail(f->problem, f->name, "'%s' must be between %lld and %lld", f->name,
                          (long long) min, (long long) max);
    }
    *ret = v;
    return 0;
}

int field_double(const struct field *f, double min, double max, double *ret)
{
    double v;

    if (!field_is_present(f)) {
        return 0;
    }
    if (json_type(f->value) != JSON_NUMBER) {
        return field_fail_type(f, "a number");
    }
    if (json_double(f->value, &v) < 0 || !(v >= min && v <= max)) {
        return field_fail(f->problem, f->name, "'%s' must be between %g and %g", f->name, min, max);
    }
    *ret = v;
    return 0;
}

int field_string(const struct field *f, struct arena *a, struct str *ret)
{
    if (!field_is_present(f)) {
        return 0;
    }
    if (json_type(f->value) != JSON_STRING) {
        return field_fail_type(f, "a string");
    }
    return json_string_dup(f->value, a, ret);
}

int field_array(const struct field *f, struct str *ret)
{
    if (!field_is_present(f)) {
        return 0;
    }
    if (json_type(f->value) != JSON_ARRAY) {
        return field_fail_type(f, "an array");
    }
    *ret = f->value;
    return 0;
}

int field_object(const struct field *f, struct str *ret)
{
    if (!field_is_present(f)) {
        return 0;
    }
    if (json_type(f->value) != JSON_OBJECT) {
        return field_fail_type(f, "an object");
    }
    *ret = f->value;
    return 0;
}

/* Names with escapes are rare enough to look each one up by itself. */
static void find_each(struct str object, const struct str *names, size_t n, struct str *ret_values)
{
    for (size_t i = 0; i < n; i++) {
        ret_values[i] = json_find(object, names[i].ptr);
    }
}

void field_pick(struct str object, const struct str *names, size_t n, struct str *ret_values)
{
    struct json_iter it;
    struct str name, value;

    for (size_t i = 0; i < n; i++) {
        ret_values[i] = STR_NONE;
    }
    if (json_type(object) != JSON_OBJECT) {
        return;
    }
    json_iter_init(&it, object);
    while (json_next(&it, &name, &value)) {
        if (memchr(name.ptr, '\\', name.len)) {
            find_each(object, names, n, ret_values);
            return;
        }
        for (size_t i = 0; i < n; i++) {
            if (str_is_equal(name, names[i])) {
                ret_values[i] = value;
                break;
            }
        }
    }
}

size_t field_count(struct str array_or_object)
{
    struct json_iter it;
    struct str name, value;
    size_t n = 0;

    json_iter_init(&it, array_or_object);
    while (json_next(&it, &name, &value)) {
        n++;
    }
    return n;
}
