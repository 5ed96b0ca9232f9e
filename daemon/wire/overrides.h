#pragma once
/*
 * What one request says about its own way through sluice (struct request_routing), in whatever
 * place it says so: the limits of each value, and the verdict on a wrong one. Members of a body
 * (openai_gateway.c) and headers (frontend/http_overrides.c) are read with the same functions.
 */
#include "core/request.h"
#include "wire/field.h"

/* Far above what anybody means: a typo, or an attack on a model server, is above them. */
#define OVERRIDES_MAX_RETRIES 16
#define OVERRIDES_MAX_SEC     86400
#define OVERRIDES_TAG_MAX     128 /* bytes of a tag */

/*
 * num_retries: an integer. The value is text of a number, checked or not (a header). 0, or -EBADMSG
 * with the problem of f.
 */
int overrides_read_retries(const struct field *f, struct request_routing *to) MUST_USE;

/*
 * timeout, stream_timeout: seconds, more than 0, fractions allowed; *ret_usec is left alone when
 * absent.
 */
int overrides_read_seconds(const struct field *f, uint64_t *ret_usec) MUST_USE;

/*
 * Adds a tag that the request does not have yet; it is borrowed. 0, -EBADMSG or -ENOMEM. f names
 * the list that it stands in.
 */
int overrides_add_tag(const struct field *f, struct str tag, struct request *req) MUST_USE;

/* A fallback: the name of a model. The same. */
int overrides_add_fallback(const struct field *f, struct str name, struct request *req) MUST_USE;
