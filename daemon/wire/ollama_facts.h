#pragma once
/*
 * What Ollama says of the memory of its models: GET /api/tags (files), POST /api/show (shapes),
 * GET /api/ps (what is loaded). See its server/routes.go: ListHandler, ShowHandler, PsHandler.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "core/ports.h"

#define OLLAMA_SHOW_PATH "/api/show"
#define OLLAMA_HELD_MAX  64 /* models in memory: more are not looked at */

/* Appends the body of a question for one model. 0 or -errno of buf. */
int ollama_encode_show(const char *model, struct buf *out) MUST_USE;

/*
 * The size of the model's file, out of the answer of /api/tags; 0: it is not on it. 0; -EBADMSG; -ENOMEM.
 */
int ollama_read_file_bytes(struct str body, const char *model, uint64_t *ret_bytes) MUST_USE;

/*
 * The shape out of the answer of /api/show, into facts (file_bytes, told_bytes and num_ctx are left
 * as they are). digest borrows from body. A number that is missing or no number is 0. 0; -EBADMSG.
 */
int ollama_read_shape(struct str body, struct model_facts *facts) MUST_USE;

/*
 * What is loaded, out of the answer of /api/ps: at most OLLAMA_HELD_MAX; names are kept in names,
 * which the caller has set up, each with a NUL behind it. 0; -EBADMSG; -ENOMEM.
 */
int ollama_read_held(struct str body, struct buf *names, struct model_held ret[OLLAMA_HELD_MAX],
                     size_t *ret_n) MUST_USE;
