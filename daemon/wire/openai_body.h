#pragma once
/*
 * The body of an OpenAI request while it is taken apart: what the source files of openai_request.h
 * share (openai_request.c the members that all kinds have and the inputs, openai_sampling.c,
 * openai_messages.c, openai_rerank.c, openai_gateway.c). Nobody else includes it.
 *
 * All readers return 0, -EBADMSG with the problem filled, or -ENOMEM.
 */
#include "core/request.h"
#include "wire/field.h"

struct openai_body {
    struct request *req; /* borrowed; its body and members are set */
    struct problem *problem;
    bool has_disabled_fallbacks; /* said somewhere in the body: wins over its fallbacks */
};

static inline struct field openai_body_member(const struct openai_body *b, const char *name)
{
    return (struct field) {name, request_member(b->req, name), b->problem};
}

/* The neutral request cannot say what this member (a static name) says. */
static inline void openai_body_mark_raw_only(struct openai_body *b, const char *name)
{
    b->req->is_raw_only = true;
    b->req->raw_only_param = name;
}

/* Fills req->sampling; for chat and completions. */
int openai_body_sampling(struct openai_body *b) MUST_USE;

/*
 * Fills *ret_texts where all of the member is text, or marks the request raw-only; refuses more
 * than max.
 */
int openai_body_inputs(struct openai_body *b, const char *name, size_t max, struct str **ret_texts,
                       size_t *ret_n) MUST_USE;

/* What is rerank's and classify's own. */
int openai_body_rerank(struct openai_body *b) MUST_USE;
int openai_body_classify(struct openai_body *b) MUST_USE;

/* Fills req->messages; raw-only where a part has a form that only this dialect can carry. */
int openai_body_messages(struct openai_body *b) MUST_USE;

/* Fills req->routing; refuses what no request may say. req->model is set. */
int openai_body_gateway(struct openai_body *b) MUST_USE;

/* Checks the members that are only carried. */
int openai_body_carried(struct openai_body *b) MUST_USE;
