#pragma once
/*
 * The OpenAI dialect towards a model server: struct request to a JSON body, SSE chunks or a JSON
 * body to events.
 *
 * A request that came in the same dialect is spliced: every member as it was sent, in its order,
 * except model, stream, stream_options, max_tokens where a default applies, and defaults for
 * members that the client left out. Others are written from the neutral request.
 */
#include "base/buf.h"
#include "base/kv.h"
#include "core/event.h"
#include "core/ports.h"
#include "core/request.h"
#include "wire/problem.h"

struct openai_target {
    const char *model; /* the upstream's name for it */
    /*
     * JSON text by member name: used where the client sent none. keep_alive, num_ctx and other
     * names of Ollama's are the provider's business, not ours
     */
    const struct kv *defaults;
    /* The same, but these win over what the client sent. Borrowed, may be NULL */
    const struct kv *overrides;
    /* Names of members that are never sent, by anybody; the values mean nothing. May be NULL */
    const struct kv *dropped;
};

/*
 * The path below the base URL: "chat/completions", "completions", "embeddings", "rerank"; or
 * "../classify", beside the version that the base URL may end with.
 */
const char *openai_path(enum request_kind kind);

/*
 * Appends the body. Chat and completions always ask for a stream with usage. 0; -EBADMSG with
 * *ret_problem when this request cannot be said in the dialect; -errno of buf.
 */
int openai_encode_request(const struct request *req, const struct openai_target *target,
                          struct buf *out, struct problem *ret_problem) MUST_USE;

struct openai_decoder; /* of one answer */

/* events go to sink, stamped now of each call. NULL: out of memory. */
struct openai_decoder *openai_decoder_new(const struct request *req, struct event_sink *sink);
struct openai_decoder *openai_decoder_free(struct openai_decoder *d);

/*
 * Bytes of a 200 answer, split anywhere; is_sse by its Content-Type (a server that ignores
 * stream:true and answers with one JSON body is understood too). 0: go on (the terminal event may
 * have been delivered: openai_decoder_is_over()); -EBADMSG: garbage (*ret_problem); -ENOMEM.
 * *ret_full: a sink said FULL during this feed.
 */
int openai_decoder_feed(struct openai_decoder *d, struct str bytes, bool is_sse, uint64_t now_usec,
                        bool *ret_full, struct problem *ret_problem) MUST_USE;
/*
 * The body is over. Delivers END if the answer was complete ([DONE], or every choice had its
 * finish_reason, or a whole JSON body); else -EBADMSG with ERRCODE_UPSTREAM_CUT.
 */
int openai_decoder_end(struct openai_decoder *d, uint64_t now_usec,
                       struct problem *ret_problem) MUST_USE;
bool openai_decoder_is_over(const struct openai_decoder *d);

/*
 * An answer with another status than 200: what it means for our client. body may be cut or empty.
 * Maps context overflow, 401/403, 404, 429, 5xx to errors.def; the upstream's own message is kept
 * (at most PROBLEM_TEXT_MAX bytes, control characters removed, key-shaped words redacted).
 */
void openai_map_error(int status, struct str body, struct problem *ret_problem);
