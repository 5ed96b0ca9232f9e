/*
 * See overrides.h. No state; memory is the request's arena.
 *
 * A header is text where a body has JSON. The text of a good number is JSON as well, so a value is
 * checked as JSON first, and one set of limits and words serves both places.
 */
#include "wire/overrides.h"

#include <errno.h>

#include "base/clock.h"
#include "wire/json.h"

/* A value from a header was never checked. */
static bool is_number(const struct field *f)
{
    return json_check(f->value, NULL) == 0 && json_type(f->value) == JSON_NUMBER;
}

static bool is_absent(const struct field *f)
{
    return !f->value.ptr || str_is(f->value, "null");
}

int overrides_read_retries(const struct field *f, struct request_routing *to)
{
    int64_t n = 0;
    int r;

    if (is_absent(f)) {
        return 0;
    }
    if (!is_number(f)) {
        return field_fail(f->problem, f->name, "'%s' must be an integer", f->name);
    }
    r = field_i64(f, 0, OVERRIDES_MAX_RETRIES, &n);
    if (r == 0) {
        to->has_retries = true;
        to->max_retries = (unsigned) n;
    }
    return r;
}

int overrides_read_seconds(const struct field *f, uint64_t *ret_usec)
{
    double seconds = 0;
    int r;

    if (is_absent(f)) {
        return 0;
    }
    if (!is_number(f)) {
        return field_fail(f->problem, f->name, "'%s' must be a number of seconds", f->name);
    }
    r = field_double(f, 0, OVERRIDES_MAX_SEC, &seconds);
    if (r < 0) {
        return r;
    }
    if (seconds * (double) USEC_PER_SEC < 1) { /* 0 is how the model says "as configured" */
        return field_fail(f->problem, f->name, "'%s' must be more than 0 seconds", f->name);
    }
    *ret_usec = (uint64_t) (seconds * (double) USEC_PER_SEC);
    return 0;
}

/* A list of the request with room for max entries. */
struct list_of_names {
    struct str **items;
    size_t *n;
    size_t max;
};

static int add_name(const struct field *f, struct str name, struct request *req,
                    const struct list_of_names *list)
{
    for (size_t i = 0; i < *list->n; i++) {
        if (str_is_equal((*list->items)[i], name)) {
            return 0;
        }
    }
    if (*list->n == list->max) {
        return field_fail(f->problem, f->name, "'%s' may name at most %zu", f->name, list->max);
    }
    if (!*list->items) {
        *list->items = arena_array(&req->arena, list->max, sizeof **list->items);
    }
    if (!*list->items) {
        return -ENOMEM;
    }
    (*list->items)[(*list->n)++] = name;
    return 0;
}

static int check_name(const struct field *f, struct str name, size_t max_bytes)
{
    if (name.len == 0 || name.len > max_bytes) {
        return field_fail(f->problem, f->name, "'%s' must hold names of 1 to %zu bytes", f->name,
                          max_bytes);
    }
    if (str_has_control(name)) { /* they end up in logs */
        return field_fail(f->problem, f->name, "'%s' must not hold control characters", f->name);
    }
    return 0;
}

int overrides_add_tag(const struct field *f, struct str tag, struct request *req)
{
    const struct list_of_names list = {&req->routing.tags, &req->routing.n_tags, REQUEST_MAX_TAGS};
    int r = check_name(f, tag, OVERRIDES_TAG_MAX);

    return r < 0 ? r : add_name(f, tag, req, &list);
}

int overrides_add_fallback(const struct field *f, struct str name, struct request *req)
{
    const struct list_of_names list = {&req->routing.fallbacks, &req->routing.n_fallbacks,
                                       REQUEST_MAX_FALLBACKS};
    int r = check_name(f, name, REQUEST_MODEL_MAX);

    return r < 0 ? r : add_name(f, name, req, &list);
}
