/*
 * The vectors of an embeddings body to EMBEDDING events, in the order of the inputs whatever the
 * order of the body. Numbers come as JSON, or as base64 of little-endian float32 from servers that
 * do so unasked.
 *
 * Strict on purpose: a client that gets a vector too few, or one for the wrong input, has no way to
 * notice.
 */
#include "wire/openai_decoder.h"

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "wire/base64.h"
#include "wire/field.h"
#include "wire/json.h"

#define MAX_DIMENSIONS 65536 /* the largest models have below 16,384 */

struct vector {
    float *values; /* owned; reused for each vector */
    size_t n_values, cap;
};

static int fail(struct openai_decoder *d, size_t i, const char *what)
{
    return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE, "the model server's vector %zu %s", i,
                               what);
}

static int reserve(struct openai_decoder *d, struct vector *v, size_t i, size_t n)
{
    if (n == 0 || n > MAX_DIMENSIONS) {
        return fail(d, i, n == 0 ? "is empty" : "has too many dimensions");
    }
    v->n_values = n;
    if (n <= v->cap) {
        return 0;
    }

    float *grown = realloc(v->values, n * sizeof *grown);

    if (!grown) {
        return -ENOMEM;
    }
    v->values = grown;
    v->cap = n;
    return 0;
}

/*
 * A number without exponent in two roundings of a double, which leaves a float right but for one in
 * some hundred millions that is off by its last bit. The exact way takes ten times as long for the
 * 17 digits that servers print, and a large batch has a million numbers. False: not such a number.
 */
static bool read_plain(struct str s, double *ret)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    bool is_negative = s.ptr[0] == '-', in_fraction = false;
    uint64_t digits = 0;
    size_t n_places = 0;

    for (size_t i = is_negative ? 1 : 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c == '.') {
            in_fraction = true;
        } else if (c < '0' || c > '9') {
            return false;
        } else if (digits < UINT64_C(1000000000000000000)) { /* one more still fits */
            digits = digits * 10 + (uint64_t) (c - '0');
            n_places += in_fraction ? 1 : 0;
        } else if (!in_fraction) {
            return false;
        }
    }
    if (n_places >= ARRAY_LEN(powers)) {
        return false;
    }
    *ret = (double) digits / powers[n_places] * (is_negative ? -1 : 1);
    return true;
}

static int read_numbers(struct openai_decoder *d, struct vector *v, size_t i, struct str array)
{
    struct json_iter it;
    struct str name, value;
    double number;
    int r = reserve(d, v, i, field_count(array));

    if (r < 0) {
        return r;
    }
    json_iter_init(&it, array);
    for (size_t k = 0; k < v->n_values && json_next(&it, &name, &value); k++) {
        if (!read_plain(value, &number) && json_double(value, &number) < 0) {
            return fail(d, i, "holds something else than numbers");
        }
        v->values[k] = (float) number;
        if (!isfinite(v->values[k])) {
            return fail(d, i, "holds a number that no float can hold");
        }
    }
    return 0;
}

static int read_base64(struct openai_decoder *d, struct vector *v, size_t i, struct str value)
{
    struct str letters;
    uint32_t word;
    int r = openai_decoder_string(d, value, &letters);

    if (r < 0) {
        return r;
    }
    buf_clear(&d->naming);
    r = base64_decode(&d->naming, letters);
    if (r == -EBADMSG || (r == 0 && d->naming.len % sizeof word != 0)) {
        return fail(d, i, "is not base64 of floats");
    }
    if (r < 0) {
        return r;
    }
    r = reserve(d, v, i, d->naming.len / sizeof word);
    if (r < 0) {
        return r;
    }
    for (size_t k = 0; k < v->n_values; k++) {
        memcpy(&word, buf_ptr(&d->naming) + k * sizeof word, sizeof word);
        word = le32toh(word);
        memcpy(&v->values[k], &word, sizeof word);
        if (!isfinite(v->values[k])) {
            return fail(d, i, "holds a number that is not finite");
        }
    }
    return 0;
}

static int deliver_vector(struct openai_decoder *d, struct vector *v, size_t i, struct str value)
{
    struct event ev = {.type = EVENT_EMBEDDING, .embedding = {.index = (uint32_t) i}};
    int r;

    if (json_type(value) == JSON_ARRAY) {
        r = read_numbers(d, v, i, value);
    } else if (json_type(value) == JSON_STRING) {
        r = read_base64(d, v, i, value);
    } else {
        r = fail(d, i, "is neither an array nor base64");
    }
    if (r < 0) {
        return r;
    }
    ev.embedding.values = v->values;
    ev.embedding.n_values = v->n_values;
    openai_decoder_deliver(d, &ev);
    return 0;
}

/* Puts the value of each element at the place of its input. */
static int sort_by_index(struct openai_decoder *d, struct str data, struct str *values)
{
    static const struct str names[] = {FIELD_NAME("index"), FIELD_NAME("embedding")};
    struct str picked[ARRAY_LEN(names)], name, element;
    struct json_iter it;

    json_iter_init(&it, data);
    for (size_t i = 0; json_next(&it, &name, &element); i++) {
        int64_t index = (int64_t) i;

        field_pick(element, names, ARRAY_LEN(names), picked);
        if (!json_is_null(picked[0]) && json_i64(picked[0], &index) < 0) {
            return fail(d, i, "has no proper index");
        }
        if (index < 0 || (uint64_t) index >= d->n_answers || values[index].ptr) {
            return fail(d, i, "has an index that is out of range or taken");
        }
        if (json_is_null(picked[1])) {
            return fail(d, i, "is missing");
        }
        values[index] = picked[1];
    }
    return 0;
}

int openai_decoder_vectors(struct openai_decoder *d, struct str data)
{
    struct vector v = {0};
    struct str *values = NULL;
    int r;

    if (json_type(data) != JSON_ARRAY || field_count(data) != d->n_answers) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server did not answer with %zu vectors",
                                   d->n_answers);
    }
    values = calloc(d->n_answers, sizeof *values);
    if (!values) {
        return -ENOMEM;
    }
    r = sort_by_index(d, data, values);
    for (size_t i = 0; r == 0 && i < d->n_answers; i++) {
        r = deliver_vector(d, &v, i, values[i]);
    }
    free(v.values);
    free(values);
    return r;
}
