#pragma once
/*
 * The answer to a client that did not ask for a stream: collects events, writes the one JSON body
 * at the end. A part of openai_reply.c.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "core/event.h"
#include "core/request.h"
#include "wire/openai_rerank.h"
#include "wire/put.h"

struct collect_choice;

struct openai_collect {
    enum request_kind kind;
    bool wants_base64;
    bool is_legacy;                 /* the client speaks functions, not tools */
    const char *req_id;             /* borrowed */
    struct collect_choice *choices; /* owned */
    size_t n_choices;
    struct buf vectors; /* embeddings, classes, ranks: the elements of the list, as JSON text */
    struct openai_documents documents; /* rerank */
    size_t room_bytes;                 /* what may still be collected */
};

/*
 * 0 or -ENOMEM. Only text has choices. req_id must live as long as c; req itself need not, unless it
 * is to rerank.
 */
int openai_collect_init(struct openai_collect *c, const struct request *req, const char *req_id,
                        bool is_legacy, size_t max_bytes) MUST_USE;
void openai_collect_done(struct openai_collect *c); /* accepts a zeroed struct */

/* Takes a TEXT, TOOL_CALL, EMBEDDING or RESULT event. 0, -ENOMEM, -ENOBUFS (max_bytes). */
int openai_collect_add(struct openai_collect *c, const struct event *ev) MUST_USE;

/* What follows `"choices":[`, `"data":[` or `"results":[` up to the end of the body. */
void openai_collect_put(const struct openai_collect *c, const struct event *end,
                        const struct usage *usage, struct put *p);

/* ---- what a streamed answer writes in the same way */

/* {"prompt_tokens":...}, as the kind has it. */
void openai_put_usage(struct put *p, enum request_kind kind, const struct usage *usage);

/* "name":...,"arguments":..., without braces. */
void openai_put_function(struct put *p, struct str name, struct str arguments);

/*
 * The id of a tool call as a JSON string; one is made up where the model server gave none, as
 * clients throw without.
 */
void openai_put_call_id(struct put *p, struct str id, const char *req_id, size_t choice,
                        size_t index);

/*
 * OpenAI's word for how a choice ended, corrected: an answer that called tools ended for that
 * reason.
 */
const char *openai_finish_name(enum finish_reason reason, bool has_calls, bool is_legacy);

/*
 * A float as the shortest decimal number that reads back the same; null where JSON has no number
 * for it.
 */
int openai_write_float(struct buf *out, float v) MUST_USE;
