#pragma once
/*
 * What OpenAI clients read: events to SSE chunks or to one JSON body, errors, model lists.
 *
 * The rules that real clients rely on (reference: openai-python, openai-node, Vercel AI SDK): one
 * id per answer, role once, tool call id and name once, finish_reason once in a chunk of its own,
 * usage chunk only when asked, choices always an array, never `"error": null`, [DONE] only after a
 * true end; base64 embeddings when asked for base64. A delta never ends inside a UTF-8 character:
 * the tail waits for its rest.
 */
#include <stdint.h>

#include "base/buf.h"
#include "core/event.h"
#include "core/request.h"

struct openai_reply; /* one answer under construction */

/*
 * max_bytes (> 0) bounds what a non-stream answer may collect. Only text is ever streamed,
 * whatever req->stream says. created_sec: Unix time. req is read during the call only, but for one to
 * rerank, which must live as long as the reply: its documents may come back. NULL: out of memory.
 */
struct openai_reply *openai_reply_new(const struct request *req, uint64_t created_sec,
                                      size_t max_bytes);
struct openai_reply *openai_reply_free(struct openai_reply *r);

/*
 * Takes one event. Stream answers append complete SSE events to out; others collect, and append the
 * whole JSON body at EVENT_END. FAILED appends an SSE error event to a stream (and no [DONE]) and
 * nothing to others: the caller answers with openai_write_error(). 0, -ENOMEM, -ENOBUFS (max_bytes,
 * or out is full): then out may end in the middle of an event.
 */
int openai_reply_add(struct openai_reply *r, const struct event *ev, struct buf *out) MUST_USE;

/* {"error":{"message":...,"type":...,"param":...,"code":...}} */
int openai_write_error(struct buf *out, enum errcode code, struct str message,
                       struct str param) MUST_USE;

/* {"id":...,"object":"model","created":...,"owned_by":...} */
int openai_write_model(struct buf *out, struct str id, struct str owned_by,
                       uint64_t created_sec) MUST_USE;
/*
 * {"object":"list","data":[ ... ]}: begin, models, end. A model behind another one brings its comma
 * along.
 */
int openai_write_models_begin(struct buf *out) MUST_USE;
int openai_write_models_end(struct buf *out) MUST_USE;
