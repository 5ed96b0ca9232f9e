#pragma once
/*
 * The state of one answer in the OpenAI dialect, shared by the source files of openai_upstream.h:
 * openai_decode.c (framing, life, end), openai_chunk.c (choices to events), openai_vectors.c
 * (embeddings), openai_results.c (rerank, classify), openai_error.c. Nobody else includes it.
 *
 * All steps return 0, -EBADMSG with d->problem filled, or -ENOMEM.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "core/event.h"
#include "core/ports.h"
#include "core/request.h"
#include "wire/json_alike.h"
#include "wire/openai_upstream.h"
#include "wire/problem.h"
#include "wire/sse.h"

/*
 * One piece of a stream. Ollama sends a whole tool call in one; a megabyte of arguments is beyond
 * any model's output.
 */
#define OPENAI_MAX_EVENT_BYTES (1024 * 1024)
/* One body. 2,048 vectors of 3,072 numbers of 10 letters just fit. */
#define OPENAI_MAX_BODY_BYTES (64 * 1024 * 1024)

/* A tool call as the server names it; its place in the array is the index that our events have. */
struct decoder_call {
    bool has_index;
    int64_t index;    /* the server's */
    uint64_t id_hash; /* 0: it has no id */
};

struct decoder_choice {
    struct decoder_call *calls; /* owned */
    uint32_t n_calls;
    bool is_seen;
    bool is_finished; /* its finish_reason was told */
};

/* Of the server's system_fingerprint; a longer one is not told. OpenAI's have 13. */
#define OPENAI_MAX_FINGERPRINT_BYTES 64

enum decoder_mode { DECODER_UNDECIDED, DECODER_SSE, DECODER_JSON };

struct openai_decoder {
    enum request_kind kind;
    enum decoder_mode mode;
    char req_id[REQUEST_ID_MAX + 1];
    struct event_sink *sink; /* borrowed */
    struct sse sse;
    struct buf body;   /* DECODER_JSON */
    struct buf text;   /* a string with its escapes resolved, while its event is delivered */
    struct buf naming; /* id and name of a tool call, likewise; the bytes of a vector */
    size_t n_answers;  /* how many choices, vectors or classes a complete answer has; documents */
    uint32_t top_n;    /* rerank; 0: all */
    struct decoder_choice *choices; /* owned; NULL unless text is generated */
    enum finish_reason *reasons;    /* owned; of choices */
    struct usage usage;
    bool has_usage;
    char fingerprint[OPENAI_MAX_FINGERPRINT_BYTES]; /* without NUL */
    size_t n_fingerprint;                           /* 0: none, or it was told */
    bool has_fingerprint;                           /* the first one counts */
    bool is_over;                                   /* END was delivered */

    /* the last chunk, where all that it came to was a piece of text */
    struct json_alike alike;
    uint32_t alike_choice;
    enum event_channel alike_channel;

    /* of the chunk in progress */
    unsigned n_events;
    struct str source; /* where the text of the last event stands in it, with quotes; or absent */

    /* of the call in progress */
    uint64_t now_usec;
    bool is_full;
    struct problem *problem; /* borrowed */
};

/* Fills d->problem; returns -EBADMSG. */
int openai_decoder_fail(struct openai_decoder *d, enum errcode code, const char *fmt, ...) MUST_USE
    PRINTF_LIKE(3, 4);

void openai_decoder_deliver(struct openai_decoder *d, struct event *ev);

/*
 * The text of a JSON string: borrowed where it has no escapes, else in d->text until the next call.
 * A value that is absent or no string is empty.
 */
int openai_decoder_string(struct openai_decoder *d, struct str value, struct str *ret) MUST_USE;

/*
 * The characters of a JSON string, or nothing where it is none, and log-probabilities or none: a
 * TEXT event unless both are empty.
 */
int openai_decoder_text(struct openai_decoder *d, uint32_t choice, enum event_channel channel,
                        struct str value, struct str logprobs) MUST_USE;

/* The choices of a chunk or of a whole body, already checked. */
int openai_decoder_choices(struct openai_decoder *d, struct str choices) MUST_USE;

/* The "data" of an embeddings body: delivers every vector, in the order of the inputs. */
int openai_decoder_vectors(struct openai_decoder *d, struct str data) MUST_USE;

/* The "results" of a rerank body: delivers them best first, as many as were asked for. */
int openai_decoder_ranks(struct openai_decoder *d, struct str list) MUST_USE;

/* The "data" of a classify body: delivers every element, in the order of the inputs. */
int openai_decoder_classes(struct openai_decoder *d, struct str list) MUST_USE;

/* An error object that came with status 200: its status is guessed from what it says. */
void openai_map_stream_error(struct str object, struct problem *ret_problem);
