#pragma once
/*
 * Which path is what over HTTP, and the answers that need no model: models, health, metrics.
 */
#include "base/buf.h"
#include "frontend/frontend.h"
#include "wire/http1.h"

enum http_route {
    ROUTE_NONE,
    ROUTE_CHAT,
    ROUTE_COMPLETIONS,
    ROUTE_EMBEDDINGS,
    ROUTE_MODELS,
    ROUTE_MODEL, /* one of them: the name follows */
    ROUTE_LIVENESS,
    ROUTE_READINESS,
    ROUTE_METRICS,
};

/*
 * The route of a path: with or without /v1, with doubled and trailing slashes. ret_rest: what
 * follows "models/", still escaped.
 */
enum http_route http_route_of(struct str path, struct str *ret_rest);

/* Does the route take a POST (else GET and HEAD)? */
bool http_route_is_post(enum http_route route);

/* REQUEST_... of a POST route. */
enum request_kind http_route_kind(enum http_route route);

/* May it be asked without a key? */
bool http_route_is_open(enum http_route route);

/*
 * Writes the body of a GET route. Returns an errcode, or ERRCODE_NONE with *ret_type set. Out of
 * memory is ERRCODE_OUT_OF_MEMORY.
 */
enum errcode http_route_answer(const struct frontends *f, enum http_route route, struct str rest,
                               struct buf *out, const char **ret_type);
