#pragma once
/*
 * The answers that need no model: models, what is known about them, health, metrics.
 */
#include "base/buf.h"
#include "frontend/frontend.h"
#include "frontend/http_routes.h"

struct http_info_ask {
    enum http_route route;
    struct str model; /* of ROUTE_MODEL, escaped */
    struct str query; /* of the target, escaped; or absent */
    /* models that it may not use are as if they were not there; NULL: whoever may see everything */
    const struct access_key *key;
};

/*
 * Writes the body of a GET route. Returns an errcode, or ERRCODE_NONE with *ret_type set. Out of
 * memory is ERRCODE_OUT_OF_MEMORY.
 */
enum errcode http_info_answer(const struct frontends *f, const struct http_info_ask *ask,
                              uint64_t now_usec, struct buf *out, const char **ret_type);
