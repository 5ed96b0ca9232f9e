#pragma once
/*
 * GET /api/tags: the models that an Ollama server has on its disk; and which of them it only forwards
 * to a cloud, whatever their names are.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "base/macros.h"

#define OLLAMA_TAGS_PATH       "/api/tags"
#define OLLAMA_TAGS_MAX_MODELS 512

/*
 * Appends the names to out, each with a NUL behind it: at most OLLAMA_TAGS_MAX_MODELS, in the order
 * of the list. Left out are models that Ollama only forwards (:cloud, a remote_host), and names that
 * no request could carry. 0; -EBADMSG: this is no such list; -errno of buf. On failure out may hold
 * a part.
 */
int ollama_read_tags(struct str body, struct buf *out) MUST_USE;

/*
 * Does the answer to a load, or to anything else, say that another host has given it? Ollama's stub
 * of a cloud model may have been copied to any name. An answer that cannot be read says nothing.
 */
bool ollama_is_forwarded(struct str answer);
