#pragma once
/*
 * Ollama's native dialect: /api/chat, /api/generate, /api/embed, as its server/routes.go reads and
 * writes it.
 *
 * Load options (num_ctx, num_batch, num_gpu, main_gpu, use_mmap, num_thread) come from the
 * deployment only: a client that changed one would make Ollama reload the model. A client's
 * keep_alive counts where the deployment has none, within bounds. max_tokens becomes
 * num_predict, response_format becomes format, reasoning_effort becomes think, tool arguments
 * change between JSON text and object. The end is done:true and nothing else.
 */
#include "base/buf.h"
#include "base/kv.h"
#include "core/event.h"
#include "core/ports.h"
#include "core/request.h"
#include "wire/problem.h"

struct ollama_target {
    const char *model; /* the name in Ollama's store */
    /*
     * Of the deployment: name -> JSON text. keep_alive, think (or reasoning_effort), format,
     * truncate and shift stand at top level, the names of Ollama's options under "options"
     * (max_tokens is num_predict); other names are not sent. Borrowed; may be NULL.
     */
    const struct kv *options;
    /* LiteLLM's drop_params: what cannot be said is left out instead of refused */
    bool drops_params;
    const struct kv *dropped; /* additional_drop_params: names that count as not sent; or NULL */
};

/* "/api/chat", "/api/generate", "/api/embed". */
const char *ollama_path(enum request_kind kind);

/*
 * Appends the body, for one answer: to req->prompt, where there are several. 0; -EBADMSG with
 * *ret_problem (UNSUPPORTED_PARAMETER: images by URL, token ids, tool_choice that forces,
 * logit_bias ...); -errno of buf.
 */
int ollama_encode_request(const struct request *req, const struct ollama_target *target,
                          struct buf *out, struct problem *ret_problem) MUST_USE;

/*
 * What only loads the model, with the same load options and keep_alive as every request to it, and
 * where it goes: "/api/generate", or "/api/embed" where the model makes embeddings (Ollama refuses
 * those on /api/generate).
 */
const char *ollama_load_path(enum request_kind kind);
int ollama_encode_load(const struct ollama_target *target, struct buf *out) MUST_USE;

struct ollama_decoder;
struct ollama_decoder *ollama_decoder_new(const struct request *req, struct event_sink *sink);
struct ollama_decoder *ollama_decoder_free(struct ollama_decoder *d);

/*
 * Bytes of a 200 answer, split anywhere: NDJSON, or one JSON object for embed. As
 * openai_decoder_feed(). An {"error":...} line is -EBADMSG with the mapped problem.
 */
int ollama_decoder_feed(struct ollama_decoder *d, struct str bytes, uint64_t now_usec,
                        bool *ret_full, struct problem *ret_problem) MUST_USE;
/*
 * The body is over: 0 after done:true (END was delivered), else -EBADMSG with ERRCODE_UPSTREAM_CUT.
 */
int ollama_decoder_end(struct ollama_decoder *d, uint64_t now_usec,
                       struct problem *ret_problem) MUST_USE;
bool ollama_decoder_is_over(const struct ollama_decoder *d);

/*
 * An answer with another status than 200, or an error line in a stream (status 200). body may be
 * {"error":"text"} where text is itself JSON.
 */
void ollama_map_error(int status, struct str body, struct problem *ret_problem);
