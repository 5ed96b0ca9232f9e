#pragma once
/*
 * What an Ollama server says of itself: its version, and what it has in memory. See
 * server/routes.go: PsHandler, and the types in api/types.go.
 *
 * Both are read as the guesses of another process: what has the wrong type counts as not said, what
 * is too long is left out, and only an answer that is no such answer at all is refused.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/str.h"
#include "core/request.h"

#define OLLAMA_VERSION_PATH  "/api/version"
#define OLLAMA_VERSION_BYTES 48 /* with the NUL; "0.34.3", "0.34.3-rc1-12-gdeadbee" */

/* "" unless 0. -EBADMSG: this is no version that could be shown; -ENOMEM. */
int ollama_read_version(struct str body, char ret_version[OLLAMA_VERSION_BYTES]) MUST_USE;

#define OLLAMA_LOADED_MAX_MODELS 64 /* Ollama holds 3 for each GPU, unless told otherwise */
#define OLLAMA_DIGEST_BYTES      (64 + 1)

/* A model in memory. Numbers are 0 where they are not said, or make no sense. */
struct ollama_loaded {
    char name[REQUEST_MODEL_MAX + 1];
    char digest[OLLAMA_DIGEST_BYTES]; /* of its manifest, hexadecimal; "" where it is not said */
    /* weights, context and buffers, without the cache of prompts (measured: a few per cent off) */
    uint64_t size_bytes;
    uint64_t vram_bytes;     /* the part that is on a GPU; 0 also on the CPU */
    uint64_t context_tokens; /* of one slot */
    uint64_t
        expires_wall_usec; /* since 1970, by the server's clock; in the past while it is busy */
};

struct ollama_loaded_list {
    struct ollama_loaded *models; /* owned array */
    size_t n;
};

/*
 * The answer to OLLAMA_LIST_PATH, at most OLLAMA_LOADED_MAX_MODELS of it. Names that no request
 * could carry are left out. 0; -EBADMSG: it is no such list; -ENOMEM. *ret is set on success only,
 * and the caller's to free.
 */
int ollama_read_loaded(struct str body, struct ollama_loaded_list *ret) MUST_USE;
/* Accepts a zeroed struct, leaves one behind. */
void ollama_loaded_list_done(struct ollama_loaded_list *list);
