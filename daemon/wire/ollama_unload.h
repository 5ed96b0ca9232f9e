#pragma once
/*
 * Ollama's words for freeing a model's memory: the request, and the list of what is loaded. See
 * server/routes.go: GenerateHandler, PsHandler.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/str.h"

#define OLLAMA_UNLOAD_PATH "/api/generate" /* embedding models too: it comes before their check */
#define OLLAMA_LIST_PATH   "/api/ps"

/* Appends the body that unloads: no prompt, and a keep_alive of 0. 0 or -errno of buf. */
int ollama_encode_unload(const char *model, struct buf *out) MUST_USE;

/*
 * Does the answer to OLLAMA_LIST_PATH name the model? Names are compared as Ollama does: without
 * regard to case, "latest" being the tag where there is none, "registry.ollama.ai" and "library"
 * the places. 0; -EBADMSG: it is no such answer; -ENOMEM.
 */
int ollama_list_has(struct str body, const char *model, bool *ret_has) MUST_USE;
