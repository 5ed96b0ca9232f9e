/*
 * Paths. Many clients build them from a base URL of their own, so all of these are one path: with or
 * without /v1, with doubled slashes, with one at the end. LiteLLM also takes the model from paths
 * that Azure's clients build (proxy_server.py: engines/{model}/..., openai/deployments/{model}/...).
 *
 * What OpenAI, Anthropic or LiteLLM serve and sluice does not has a row as well: who asks for it is
 * told so, which a client can act on, and not that the path is wrong.
 */
#include "frontend/http_routes.h"

#include <assert.h>

#define PATH_MAX_BYTES 512

struct route_row {
    const char *path;
    enum http_route route;
};

static const struct route_row rows[] = {
    {"chat/completions", ROUTE_CHAT},
    {"completions", ROUTE_COMPLETIONS},
    {"embeddings", ROUTE_EMBEDDINGS},
    {"rerank", ROUTE_RERANK},
    {"v2/rerank", ROUTE_RERANK},
    {"reranking", ROUTE_RERANK},
    {"classify", ROUTE_CLASSIFY},
    {"models", ROUTE_MODELS},
    {"model/info", ROUTE_MODEL_INFO},
    {"model_group/info", ROUTE_GROUP_INFO},
    {"health", ROUTE_HEALTH},
    {"health/liveliness", ROUTE_LIVENESS},
    {"health/liveness", ROUTE_LIVENESS},
    {"health/readiness", ROUTE_READINESS},
    {"metrics", ROUTE_METRICS},
};

/* Paths with the model in them: prefix, model, one of the first rows. */
static const char *const model_prefixes[] = {"engines/", "openai/deployments/"};
#define N_MODEL_SUFFIXES 3 /* rows: chat/completions before completions */

/* The first segment of what is known and not served. */
static const char *const not_served[] = {
    /* OpenAI */
    "responses", "audio", "images", "videos", "files", "uploads", "batches", "fine_tuning",
    "fine-tunes", "moderations", "assistants", "threads", "vector_stores", "containers", "evals",
    "conversations", "realtime", "edits", "organization", "chatkit",
    /* Anthropic */
    "messages", "complete",
    /* LiteLLM's management */
    "key", "user", "team", "customer", "budget", "spend", "global", "credentials", "guardrails",
    "mcp", "search", "ocr", "utils"};

/*
 * The path without leading, doubled and trailing slashes, in ret (at most size bytes); 0 when it is
 * longer.
 */
static size_t squeeze(struct str path, char *ret, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < path.len; i++) {
        bool is_extra_slash = path.ptr[i] == '/' && (n == 0 || ret[n - 1] == '/');

        if (is_extra_slash) {
            continue;
        }
        if (n == size) {
            return 0;
        }
        ret[n++] = path.ptr[i];
    }
    return n > 0 && ret[n - 1] == '/' ? n - 1 : n;
}

/*
 * Behind "models/" in the path as it was sent, since names may hold slashes, also doubled ones; less
 * those around it, which no name has.
 */
static struct str behind_models(struct str path)
{
    const char *at = memmem(path.ptr, path.len, "models/", 7);
    struct str name = {at + 7, path.len - (size_t) (at + 7 - path.ptr)};

    while (name.len > 0 && name.ptr[0] == '/') {
        name.ptr++;
        name.len--;
    }
    while (name.len > 0 && name.ptr[name.len - 1] == '/') {
        name.len--;
    }
    return name;
}

static bool has_suffix(struct str s, const char *suffix)
{
    size_t n = strlen(suffix);

    return s.len > n && memcmp(s.ptr + s.len - n, suffix, n) == 0 && s.ptr[s.len - n - 1] == '/';
}

/* The model of a squeezed path that has one, in the bytes of the path as it was sent. */
static enum http_route route_with_model(struct str squeezed, struct str path, struct str *ret_model)
{
    for (size_t i = 0; i < ARRAY_LEN(model_prefixes); i++) {
        const char *prefix = model_prefixes[i];

        for (size_t k = 0; str_has_prefix(squeezed, prefix) && k < N_MODEL_SUFFIXES; k++) {
            size_t n_around = strlen(prefix) + strlen(rows[k].path) + 1;

            if (!has_suffix(squeezed, rows[k].path) || squeezed.len <= n_around) {
                continue;
            }
            struct str model = {squeezed.ptr + strlen(prefix), squeezed.len - n_around};

            ret_model->ptr = memmem(path.ptr, path.len, model.ptr, model.len);
            ret_model->len = model.len;
            return ret_model->ptr ? rows[k].route : ROUTE_NONE;
        }
    }
    return ROUTE_NONE;
}

static bool is_not_served(struct str squeezed)
{
    const char *slash = memchr(squeezed.ptr, '/', squeezed.len);
    struct str first = {squeezed.ptr, slash ? (size_t) (slash - squeezed.ptr) : squeezed.len};

    for (size_t i = 0; i < ARRAY_LEN(not_served); i++) {
        if (str_is(first, not_served[i])) {
            return true;
        }
    }
    return false;
}

enum http_route http_route_of(struct str path, struct str *ret_rest)
{
    char squeezed[PATH_MAX_BYTES];
    struct str p = {squeezed, squeeze(path, squeezed, sizeof squeezed)};
    enum http_route route;

    *ret_rest = STR_NONE;
    if (str_has_prefix(p, "v1/")) {
        p.ptr += 3;
        p.len -= 3;
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (str_is(p, rows[i].path)) {
            return rows[i].route;
        }
    }
    if (str_has_prefix(p, "models/")) {
        *ret_rest = behind_models(path);
        return ROUTE_MODEL;
    }
    route = route_with_model(p, path, ret_rest);
    return route == ROUTE_NONE && is_not_served(p) ? ROUTE_NOT_SERVED : route;
}

bool http_route_is_post(enum http_route route)
{
    return route == ROUTE_CHAT || route == ROUTE_COMPLETIONS || route == ROUTE_EMBEDDINGS ||
           route == ROUTE_RERANK || route == ROUTE_CLASSIFY;
}

enum request_kind http_route_kind(enum http_route route)
{
    assert(http_route_is_post(route));
    return route == ROUTE_CHAT          ? REQUEST_CHAT
           : route == ROUTE_COMPLETIONS ? REQUEST_COMPLETE
           : route == ROUTE_EMBEDDINGS  ? REQUEST_EMBED
           : route == ROUTE_RERANK      ? REQUEST_RERANK
                                        : REQUEST_CLASSIFY;
}

bool http_route_is_open(enum http_route route)
{
    return route == ROUTE_LIVENESS || route == ROUTE_READINESS;
}
