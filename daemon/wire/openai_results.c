/*
 * The list of a rerank or classify body to RESULT events.
 *
 *   rerank    {"results":[{"index":..,"relevance_score":..,"document":..}, ...]}, in any order and
 *             of any length up to the number of documents (older llama-servers neither sort nor
 *             know top_n). Told best first, no more than were asked for. Voyage's servers call the
 *             list "data", some call the number "score".
 *   classify  {"data":[{"index":..,"label":..,"probs":[..],"num_classes":..}, ...]}, told in the
 *             order of the inputs. What an element holds is the server's affair: token classifiers
 *             have entities, or lists of them.
 *
 * Strict where a client could not notice: an index that is none of the request's, or comes twice, a
 * relevance that is no number, a class too few. An empty list of ranks is an answer ("nothing is
 * relevant"), a missing one is not. With one input to classify every element is about it: token
 * classifiers list what they found there, and their "index" is that of a token.
 */
#include "wire/openai_decoder.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "wire/field.h"
#include "wire/json.h"

#define MAX_ELEMENTS 65536 /* entities in one input: more than a classifier's context has tokens */

struct found {
    uint32_t index;
    uint32_t place; /* in the list */
    double score;
    struct str json; /* absent: not found */
};

static int fail(struct openai_decoder *d, size_t i, const char *what)
{
    return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE, "the model server's result %zu %s", i,
                               what);
}

static int count_elements(struct openai_decoder *d, struct str list, size_t max, size_t *ret_n)
{
    if (json_type(list) != JSON_ARRAY) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server's answer has no list of results");
    }
    *ret_n = field_count(list);
    if (*ret_n > max) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server answered with %zu results to %zu inputs",
                                   *ret_n, d->n_answers);
    }
    return 0;
}

static void deliver(struct openai_decoder *d, const struct found *f)
{
    struct event ev = {.type = EVENT_RESULT,
                       .result = {.index = f->index, .score = f->score, .json = f->json}};

    openai_decoder_deliver(d, &ev);
}

/* Puts an element at the place of its index. */
static int place(struct openai_decoder *d, struct found *all, size_t i, int64_t index,
                 const struct found *f)
{
    if (index < 0 || (uint64_t) index >= d->n_answers || all[index].json.ptr) {
        return fail(d, i, "has an index that is out of range or taken");
    }
    all[index] = *f;
    all[index].index = (uint32_t) index;
    all[index].place = (uint32_t) i;
    return 0;
}

/* ---- rerank */

static int read_ranked(struct openai_decoder *d, struct found *all, size_t i, struct str element)
{
    static const struct str names[] = {FIELD_NAME("index"), FIELD_NAME("relevance_score"),
                                       FIELD_NAME("score")};
    struct str picked[ARRAY_LEN(names)], score;
    struct found f = {.json = element};
    int64_t index;

    field_pick(element, names, ARRAY_LEN(names), picked);
    score = json_is_null(picked[1]) ? picked[2] : picked[1];
    if (json_i64(picked[0], &index) < 0) {
        return fail(d, i, "has no proper index");
    }
    if (json_double(score, &f.score) < 0 || !isfinite(f.score)) {
        return fail(d, i, "has no relevance that is a number");
    }
    return place(d, all, i, index, &f);
}

/* Best first; equal ones as the server had them, those that are missing last. */
static int compare(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (!x->json.ptr || !y->json.ptr) {
        return (x->json.ptr ? 0 : 1) - (y->json.ptr ? 0 : 1);
    }
    if (x->score > y->score || x->score < y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->place < y->place ? -1 : 1;
}

int openai_decoder_ranks(struct openai_decoder *d, struct str list)
{
    size_t n, n_wanted = d->top_n > 0 ? d->top_n : d->n_answers;
    struct json_iter it;
    struct str element;
    struct found *all;
    int r = count_elements(d, list, d->n_answers, &n);

    if (r < 0) {
        return r;
    }
    all = calloc(d->n_answers, sizeof *all);
    if (!all) {
        return -ENOMEM;
    }
    json_iter_init(&it, list);
    for (size_t i = 0; r == 0 && json_next(&it, NULL, &element); i++) {
        r = read_ranked(d, all, i, element);
    }
    if (r == 0) {
        qsort(all, d->n_answers, sizeof *all, compare);
        for (size_t i = 0; i < n && i < n_wanted; i++) {
            deliver(d, &all[i]);
        }
    }
    free(all);
    return r;
}

/* ---- classify */

/* The probability of the class that was found, where the server says one. */
static double score_of(struct str element)
{
    struct str probs = json_find(element, "probs"), value;
    struct json_iter it;
    double best = 0, v;

    if (json_double(json_find(element, "score"), &v) == 0 && isfinite(v)) {
        best = v;
    }
    json_iter_init(&it, json_type(probs) == JSON_ARRAY ? probs : STR_NONE);
    while (json_next(&it, NULL, &value)) {
        if (json_double(value, &v) == 0 && isfinite(v) && v > best) {
            best = v;
        }
    }
    return best;
}

static int check_element(struct openai_decoder *d, size_t i, struct str element)
{
    if (json_type(element) != JSON_OBJECT && json_type(element) != JSON_ARRAY) {
        return fail(d, i, "is neither an object nor a list");
    }
    return 0;
}

static int deliver_all(struct openai_decoder *d, struct str list)
{
    struct json_iter it;
    struct str element;
    int r = 0;

    json_iter_init(&it, list);
    for (size_t i = 0; r == 0 && json_next(&it, NULL, &element); i++) {
        r = check_element(d, i, element);
    }
    json_iter_init(&it, list);
    while (r == 0 && json_next(&it, NULL, &element)) {
        deliver(d, &(struct found) {.score = score_of(element), .json = element});
    }
    return r;
}

static int read_class(struct openai_decoder *d, struct found *all, size_t i, struct str element)
{
    struct str given = json_find(element, "index");
    int64_t index = (int64_t) i;
    int r = check_element(d, i, element);

    if (r == 0 && !json_is_null(given) && json_i64(given, &index) < 0) {
        r = fail(d, i, "has no proper index");
    }
    return r < 0 ? r : place(d, all, i, index, &(struct found) {.json = element});
}

int openai_decoder_classes(struct openai_decoder *d, struct str list)
{
    size_t n;
    struct json_iter it;
    struct str element;
    struct found *all;
    int r = count_elements(d, list, d->n_answers == 1 ? MAX_ELEMENTS : d->n_answers, &n);

    if (r < 0 || d->n_answers == 1) {
        return r < 0 ? r : deliver_all(d, list);
    }
    if (n != d->n_answers) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server answered with %zu results to %zu inputs", n,
                                   d->n_answers);
    }
    all = calloc(n, sizeof *all);
    if (!all) {
        return -ENOMEM;
    }
    json_iter_init(&it, list);
    for (size_t i = 0; r == 0 && json_next(&it, NULL, &element); i++) {
        r = read_class(d, all, i, element);
    }
    for (size_t i = 0; r == 0 && i < n; i++) {
        all[i].score = score_of(all[i].json);
        deliver(d, &all[i]);
    }
    free(all);
    return r;
}
