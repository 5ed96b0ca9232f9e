#pragma once
/*
 * The neutral event: what comes back from a model, whatever protocol it speaks.
 *
 *   (QUEUED | STARTED)* (TEXT | TOOL_CALL | EMBEDDING | RESULT)* USAGE? (END | FAILED)
 *
 * STARTED begins an attempt; where one fails before its first content another may follow, after
 * waiting for its turn again. So the last STARTED names who answers.
 *
 * Exactly one terminal event (END or FAILED) ends every call. FAILED may come at any point.
 * Payloads are borrowed: they die when deliver() returns.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "proto/errcode.h"

enum event_type {
    EVENT_QUEUED,
    EVENT_STARTED,
    EVENT_TEXT,
    EVENT_TOOL_CALL,
    EVENT_EMBEDDING,
    EVENT_RESULT,
    EVENT_USAGE,
    EVENT_END,
    EVENT_FAILED,
};

/* REFUSAL: why the model does not answer, in its own words, from servers that tell it apart. */
enum event_channel { CHANNEL_ANSWER, CHANNEL_THINKING, CHANNEL_REFUSAL };

enum finish_reason { FINISH_STOP, FINISH_LENGTH, FINISH_TOOL_CALLS, FINISH_CONTENT_FILTER };

struct usage {
    uint64_t tokens_in;
    uint64_t tokens_cached; /* part of tokens_in */
    uint64_t tokens_out;
    uint64_t tokens_reasoning; /* part of tokens_out; 0 also where nobody counts them */
};

struct event {
    enum event_type type;
    uint64_t at_usec; /* monotonic: when the producer had it */
    /* of the first event of an answer: which build of a model server gives it, or absent */
    struct str fingerprint;
    union {
        struct {
            uint32_t position; /* 1: next */
        } queued;
        struct {
            struct str model;      /* the public name */
            struct str deployment; /* id */
            unsigned n_retries;    /* attempts before this one that failed, in the same group */
            unsigned n_fallbacks;  /* groups that were asked before this one */
            const char *spilled;   /* static; why it has left the device, or NULL */
        } started;
        struct {
            uint32_t choice;
            enum event_channel channel;
            struct str bytes;    /* UTF-8 of the whole stream; may end inside a character */
            struct str logprobs; /* JSON text in OpenAI's form, or absent */
        } text;
        struct {
            uint32_t choice;
            uint32_t index;       /* of the call in the answer, from 0 without gaps */
            struct str id, name;  /* present in the first fragment of a call only */
            struct str arguments; /* fragment of JSON text; append */
        } tool_call;
        struct {
            uint32_t index; /* of the input */
            const float *values;
            size_t n_values;
        } embedding;
        struct {
            uint32_t index;  /* of the document or the input */
            double score;    /* its relevance; of a class: the highest probability. Finite */
            struct str json; /* all that the model server says of it: JSON text, never absent */
        } result;
        struct usage usage;
        struct {
            const enum finish_reason *reasons; /* one for each choice */
            size_t n_choices;
        } end;
        struct {
            enum errcode code;
            struct str message; /* absent: the text of errors.def */
            struct str param;   /* or absent */
            uint64_t retry_after_usec;
            bool is_last; /* retry_after or not: a client that repeats by itself should stop */
        } failed;
    };
};

static inline bool event_is_terminal(const struct event *ev)
{
    return ev->type == EVENT_END || ev->type == EVENT_FAILED;
}

/* The text that a FAILED event carries: its own, else that of errors.def. */
struct str event_failed_text(const struct event *ev);

/* OpenAI's words: "stop", "length", "tool_calls", "content_filter". */
const char *finish_reason_name(enum finish_reason reason);

/* The grammar above as a state machine: one per call, one step per event. Zero-initialised. */
struct event_grammar {
    int stage;
};

/* 0, or -EPROTO when ev may not follow what came before. */
int event_grammar_step(struct event_grammar *g, const struct event *ev);
