#pragma once
/*
 * The documents of a rerank request: as they go out to a server, and as they come back beside the
 * results. Part of openai_upstream.h and openai_reply.h.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "base/macros.h"
#include "core/event.h"
#include "core/request.h"
#include "wire/put.h"

/* How many documents a rerank request has, in any form and dialect. */
size_t openai_count_documents(const struct request *req);

/* The value of "documents" for a server: objects that are nothing but a text become that text. */
void openai_put_documents(struct put *p, struct str documents);

/* What a client wants to see of the documents. */
struct openai_documents {
    bool is_unwanted;  /* return_documents is false */
    struct str *spans; /* owned; JSON text borrowed from the request's body; NULL: none wanted */
    size_t n_spans;
};

/* 0 or -ENOMEM. The request must live as long as d. */
int openai_documents_init(struct openai_documents *d, const struct request *req) MUST_USE;
void openai_documents_done(struct openai_documents *d); /* accepts a zeroed struct */

/* One element of "results", of a RESULT event. */
void openai_put_ranked(struct put *p, const struct openai_documents *d, const struct event *ev);

/* ,"meta":{...}: the tokens in Cohere's place for them, where LiteLLM's clients look. */
void openai_put_rerank_usage(struct put *p, const struct usage *usage);
