#pragma once
/*
 * Which path is what over HTTP.
 */
#include "base/str.h"
#include "core/request.h"

enum http_route {
    ROUTE_NONE,
    ROUTE_CHAT,
    ROUTE_COMPLETIONS,
    ROUTE_EMBEDDINGS,
    ROUTE_RERANK,
    ROUTE_CLASSIFY,
    ROUTE_MODELS,
    ROUTE_MODEL,      /* one of them: its name follows */
    ROUTE_MODEL_INFO, /* LiteLLM's: what the configuration says about deployments */
    ROUTE_GROUP_INFO, /* and about groups */
    ROUTE_HEALTH,
    ROUTE_LIVENESS,
    ROUTE_READINESS,
    ROUTE_METRICS,
    ROUTE_NOT_SERVED, /* somebody else's path, known by its first segment */
};

/*
 * The route of a path: with or without /v1, with doubled and trailing slashes. ret_rest: the name of
 * the model that the path holds, still escaped; absent where it holds none.
 */
enum http_route http_route_of(struct str path, struct str *ret_rest);

/* Does the route take a POST (else GET and HEAD)? */
bool http_route_is_post(enum http_route route);

/* REQUEST_... of a POST route. */
enum request_kind http_route_kind(enum http_route route);

/* May it be asked without a key? */
bool http_route_is_open(enum http_route route);
