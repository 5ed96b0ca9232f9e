/*
 * See ollama_facts.h.
 *
 * The keys of a shape begin with the name of the architecture ("llama.block_count"), which stands in
 * general.architecture. Where a number differs from layer to layer the server sends a list: the
 * largest counts, so that what is computed of it is never too small.
 */
#include "wire/ollama_facts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire/json.h"
#include "wire/ollama_names.h"
#include "wire/put.h"

#define KEY_BYTES     96
#define DIGEST_PREFIX "sha256-"
#define DIGEST_BYTES  (sizeof DIGEST_PREFIX - 1 + 64)

int ollama_encode_show(const char *model, struct buf *out)
{
    struct put put = {.out = out};

    put_z(&put, "{\"model\":");
    put_json_string(&put, str_from(model));
    put_z(&put, "}");
    return put.r;
}

static uint64_t number(struct str value)
{
    int64_t v;

    return json_type(value) == JSON_NUMBER && json_i64(value, &v) == 0 && v > 0 ? (uint64_t) v : 0;
}

/* A number, or the largest of a list of them. */
static uint64_t largest(struct str value)
{
    struct json_iter it;
    struct str one;
    uint64_t max = value.ptr && json_type(value) == JSON_NUMBER ? number(value) : 0;

    if (!value.ptr || json_type(value) != JSON_ARRAY) {
        return max;
    }
    json_iter_init(&it, value);
    while (json_next(&it, NULL, &one)) {
        max = number(one) > max ? number(one) : max;
    }
    return max;
}

/* The array of models of a list; -EBADMSG: it is none. */
static int models_of(struct str body, struct str *ret)
{
    struct str models;

    if (json_check(body, NULL) < 0 || json_type(body) != JSON_OBJECT) {
        return -EBADMSG;
    }
    models = json_find(body, "models");
    if (!models.ptr || (json_type(models) != JSON_ARRAY && !json_is_null(models))) {
        return -EBADMSG;
    }
    *ret = models;
    return 0;
}

/* The name of an entry, unescaped, at the end of names. 1: there is one; 0: none; -ENOMEM. */
static int take_name(struct str entry, struct buf *names, struct str *ret)
{
    struct str value = json_find(entry, "name");
    size_t at = names->len;
    int r;

    value = json_is_null(value) ? json_find(entry, "model") : value;
    r = json_is_null(value) ? -EINVAL : json_string(value, names);
    if (r == 0) {
        r = buf_append_char(names, '\0');
    }
    if (r < 0) {
        names->len = at;
        return r == -ENOMEM ? r : 0;
    }
    *ret = (struct str) {buf_ptr(names) + at, names->len - at - 1};
    return 1;
}

int ollama_read_file_bytes(struct str body, const char *model, uint64_t *ret_bytes)
{
    struct str models, entry, name;
    struct json_iter it;
    struct buf scratch;
    uint64_t bytes = 0;
    int r = models_of(body, &models);

    if (r < 0) {
        return r;
    }
    buf_init(&scratch, OLLAMA_NAME_MAX_BYTES + 1);
    json_iter_init(&it, models);
    while (r >= 0 && json_next(&it, NULL, &entry)) {
        buf_clear(&scratch);
        r = take_name(entry, &scratch, &name);
        if (r == 1 && ollama_name_is_same(name, str_from(model))) {
            bytes = number(json_find(entry, "size"));
        }
    }
    buf_done(&scratch);
    if (r < 0) {
        return r;
    }
    *ret_bytes = bytes;
    return 0;
}

/* "<architecture>.<key>" of model_info. */
static uint64_t of_shape(struct str info, struct str architecture, const char *key)
{
    char name[KEY_BYTES];
    int n = snprintf(name, sizeof name, "%.*s.%s", STR_ARG(architecture), key);

    return n > 0 && (size_t) n < sizeof name ? largest(json_find(info, name)) : 0;
}

/* The file that the model is made from stands in its modelfile: "FROM /path/blobs/sha256-0123...". */
static struct str digest_of(struct str modelfile)
{
    const char *at = modelfile.len > 0 ? memmem(modelfile.ptr, modelfile.len, DIGEST_PREFIX,
                                                sizeof DIGEST_PREFIX - 1)
                                       : NULL;

    if (!at || (size_t) (modelfile.ptr + modelfile.len - at) < DIGEST_BYTES) {
        return STR_NONE;
    }
    return (struct str) {at, DIGEST_BYTES};
}

static bool has_capability(struct str capabilities, const char *name)
{
    struct json_iter it;
    struct str one;
    size_t n = strlen(name);

    if (!capabilities.ptr || json_type(capabilities) != JSON_ARRAY) {
        return false;
    }
    json_iter_init(&it, capabilities);
    while (json_next(&it, NULL, &one)) {
        if (one.len == n + 2 && memcmp(one.ptr + 1, name, n) == 0) {
            return true;
        }
    }
    return false;
}

int ollama_read_shape(struct str body, struct model_facts *facts)
{
    struct str info, architecture, capabilities;
    uint64_t n_heads, length;

    if (json_check(body, NULL) < 0 || json_type(body) != JSON_OBJECT) {
        return -EBADMSG;
    }
    facts->digest = digest_of(json_find(body, "modelfile"));
    capabilities = json_find(body, "capabilities");
    facts->makes_embeddings =
        has_capability(capabilities, "embedding") && !has_capability(capabilities, "completion");
    info = json_find(body, "model_info");
    if (!info.ptr || json_type(info) != JSON_OBJECT) {
        return 0;
    }
    architecture = json_find(info, "general.architecture");
    if (!architecture.ptr || json_type(architecture) != JSON_STRING) {
        return 0;
    }
    architecture = (struct str) {architecture.ptr + 1, architecture.len - 2};
    n_heads = of_shape(info, architecture, "attention.head_count");
    length = of_shape(info, architecture, "embedding_length");
    length = n_heads > 0 ? length / n_heads : 0;
    facts->n_layers = of_shape(info, architecture, "block_count");
    facts->n_kv_heads = of_shape(info, architecture, "attention.head_count_kv");
    facts->n_kv_heads = facts->n_kv_heads > 0 ? facts->n_kv_heads : n_heads;
    facts->key_length = of_shape(info, architecture, "attention.key_length");
    facts->key_length = facts->key_length > 0 ? facts->key_length : length;
    facts->value_length = of_shape(info, architecture, "attention.value_length");
    facts->value_length = facts->value_length > 0 ? facts->value_length : length;
    facts->trained_ctx = of_shape(info, architecture, "context_length");
    return 0;
}

int ollama_read_held(struct str body, struct buf *names, struct model_held ret[OLLAMA_HELD_MAX],
                     size_t *ret_n)
{
    struct str models, entry;
    struct json_iter it;
    size_t n = 0, at = 0;
    int r = models_of(body, &models);

    if (r < 0) {
        return r;
    }
    json_iter_init(&it, models);
    while (r >= 0 && n < OLLAMA_HELD_MAX && json_next(&it, NULL, &entry)) {
        struct model_held *held = &ret[n];

        r = take_name(entry, names, &held->name);
        if (r == 1) {
            held->size_bytes = number(json_find(entry, "size"));
            held->vram_bytes = number(json_find(entry, "size_vram"));
            n++;
        }
    }
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < n; i++) { /* the buffer may have moved while it grew */
        ret[i].name.ptr = buf_ptr(names) + at;
        at += ret[i].name.len + 1;
    }
    *ret_n = n;
    return 0;
}
