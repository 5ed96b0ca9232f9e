/*
 * The body of /api/embed to EMBEDDING events. As many vectors as inputs, all of one length, all
 * numbers finite, or the answer is garbage: a client that gets a vector too few, or for the wrong
 * input, has no way to notice.
 *
 * Ollama cuts vectors to the dimensions that are asked for and makes their length 1 again; versions
 * before it learned that send them whole, and are cut here in the same way. A model with fewer is
 * refused: Ollama says nothing and sends what there is (measured, 0.34).
 */
#include "wire/ollama_reply.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "wire/field.h"
#include "wire/json.h"

#define MAX_DIMENSIONS 65536 /* the largest models have below 16,384 */

enum { EMBED_EMBEDDINGS, EMBED_ERROR, EMBED_TOKENS_IN, _EMBED_MAX };

static const struct str embed_names[_EMBED_MAX] = {
    [EMBED_EMBEDDINGS] = FIELD_NAME("embeddings"),
    [EMBED_ERROR] = FIELD_NAME("error"),
    [EMBED_TOKENS_IN] = FIELD_NAME("prompt_eval_count"),
};

static int fail(struct ollama_decoder *d, uint32_t i, const char *what)
{
    return ollama_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE, "the model server's vector %u %s", i,
                               what);
}

static int read_vector(struct ollama_decoder *d, uint32_t i, struct str vector, float *values,
                       size_t n_values)
{
    struct json_iter it;
    struct str value;
    double v;

    json_iter_init(&it, vector);
    for (size_t k = 0; k < n_values && json_next(&it, NULL, &value); k++) {
        if (json_double(value, &v) < 0) {
            return fail(d, i, "holds something else than numbers");
        }
        values[k] = (float) v;
        if (!isfinite(values[k])) {
            return fail(d, i, "holds a number that no float can hold");
        }
    }
    return 0;
}

/*
 * Every vector is checked before the first one is delivered to anybody, so that no half answer goes
 * out.
 */
static int check_shape(struct ollama_decoder *d, struct str list, size_t *ret_n_values)
{
    struct json_iter it;
    struct str vector;
    size_t n_values = 0;

    if (json_type(list) != JSON_ARRAY || field_count(list) != d->n_inputs) {
        return ollama_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server did not answer with %zu vectors", d->n_inputs);
    }
    json_iter_init(&it, list);
    for (uint32_t i = 0; json_next(&it, NULL, &vector); i++) {
        size_t n = json_type(vector) == JSON_ARRAY ? field_count(vector) : 0;

        if (n == 0 || n > MAX_DIMENSIONS) {
            return fail(d, i, n == 0 ? "is empty" : "has too many dimensions");
        }
        if (i > 0 && n != n_values) {
            return fail(d, i, "has another length than the ones before");
        }
        n_values = n;
    }
    *ret_n_values = n_values;
    return 0;
}

/* To the first n numbers, as a vector of length 1; zeros stay as they are. */
static void shorten(float *values, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (double) values[i] * (double) values[i];
    }
    for (size_t i = 0; sum > 0 && i < n; i++) {
        values[i] = (float) ((double) values[i] / sqrt(sum));
    }
}

static int check_dimensions(struct ollama_decoder *d, size_t n_values)
{
    int r;

    if (n_values >= d->n_dimensions) {
        return 0;
    }
    r = ollama_decoder_fail(d, ERRCODE_UNSUPPORTED_PARAMETER,
                            "this model's vectors have %zu dimensions, not %zu", n_values,
                            d->n_dimensions);
    (void) snprintf(d->problem->param, sizeof d->problem->param, "dimensions");
    return r;
}

static int deliver_vectors(struct ollama_decoder *d, struct str list, float *values,
                           size_t n_values)
{
    bool is_cut = d->n_dimensions > 0 && n_values > d->n_dimensions;
    struct json_iter it;
    struct str vector;

    json_iter_init(&it, list);
    for (uint32_t i = 0; json_next(&it, NULL, &vector); i++) {
        struct event ev = {.type = EVENT_EMBEDDING,
                           .embedding = {i, values, is_cut ? d->n_dimensions : n_values}};
        int r = read_vector(d, i, vector, values, n_values);

        if (r < 0) {
            return r;
        }
        if (is_cut) {
            shorten(values, d->n_dimensions);
        }
        ollama_decoder_deliver(d, &ev);
    }
    return 0;
}

int ollama_decoder_vectors(struct ollama_decoder *d, struct str body)
{
    struct str members[_EMBED_MAX];
    size_t n_values = 0;
    int r;

    field_pick(body, embed_names, _EMBED_MAX, members);
    if (!json_is_null(members[EMBED_ERROR])) {
        ollama_map_error(200, body, d->problem);
        return -EBADMSG;
    }
    r = check_shape(d, members[EMBED_EMBEDDINGS], &n_values);
    if (r == 0) {
        r = check_dimensions(d, n_values);
    }
    if (r < 0) {
        return r;
    }

    float *values = malloc(n_values * sizeof *values);

    if (!values) {
        return -ENOMEM;
    }
    r = deliver_vectors(d, members[EMBED_EMBEDDINGS], values, n_values);
    free(values);
    if (r == 0) {
        const struct str counts[3] = {members[EMBED_TOKENS_IN]};

        ollama_decoder_finish(d, counts, FINISH_STOP);
    }
    return r;
}
