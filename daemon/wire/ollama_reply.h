#pragma once
/*
 * The state of one answer of Ollama, shared by the source files behind ollama_decoder_*():
 * ollama_reply.c (lines to events, life, end), ollama_logprobs.c, ollama_vectors.c (embeddings).
 * Nobody else includes it.
 *
 * All steps return 0, -EBADMSG with d->problem filled, or -ENOMEM.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "core/event.h"
#include "core/request.h"
#include "wire/json_alike.h"
#include "wire/lines.h"
#include "wire/ollama_json.h"

/*
 * One line. A whole tool call comes in one, and the last line of /api/generate may carry the
 * context as numbers.
 */
#define OLLAMA_MAX_LINE_BYTES (1024 * 1024)
/* The body of /api/embed. 2,048 vectors of 3,072 numbers of 10 letters just fit. */
#define OLLAMA_MAX_BODY_BYTES (64 * 1024 * 1024)

struct ollama_decoder {
    enum request_kind kind;
    struct event_sink *sink; /* borrowed */
    size_t n_inputs;         /* REQUEST_EMBED: how many vectors a complete answer has */
    size_t n_dimensions;     /* REQUEST_EMBED: how long they are wanted; 0: as they are */
    uint64_t id_seed;        /* of tool calls that Ollama gave no id */
    struct lines lines;      /* chat, complete */
    struct buf body;         /* embed: all of it, until the end */
    struct buf text;         /* a string with its escapes resolved, while its event is delivered */
    struct buf name;         /* of a tool call, likewise */
    struct buf logprobs;     /* likewise */
    uint64_t text_offset;    /* completions: characters before the next token */
    uint32_t n_calls;
    struct json_alike alike; /* the last line, where all that it came to was a piece of text */
    enum event_channel alike_channel;
    bool is_over;   /* END was delivered */
    bool is_ending; /* no more bytes will come */

    /* of the line in progress */
    unsigned n_events;
    struct str source; /* where the text of the last event stands in it, with quotes; or absent */

    /* of the call in progress */
    uint64_t now_usec;
    bool is_full;
    struct problem *problem; /* borrowed */
};

/* Fills d->problem; returns -EBADMSG. */
int ollama_decoder_fail(struct ollama_decoder *d, enum errcode code, const char *fmt, ...) MUST_USE
    PRINTF_LIKE(3, 4);

void ollama_decoder_deliver(struct ollama_decoder *d, struct event *ev);

/*
 * USAGE and END, out of the members "prompt_eval_count", "prompt_eval_cached_count" and
 * "eval_count". Ollama leaves out a count that is 0.
 */
void ollama_decoder_finish(struct ollama_decoder *d, const struct str counts[3],
                           enum finish_reason reason);

/* Ollama's list to OpenAI's form, that of chat or that of completions; *ret lies in d->logprobs. */
int ollama_decoder_logprobs(struct ollama_decoder *d, struct str list, struct str *ret) MUST_USE;

/* The whole body of /api/embed, checked: every vector, USAGE, END. */
int ollama_decoder_vectors(struct ollama_decoder *d, struct str body) MUST_USE;
