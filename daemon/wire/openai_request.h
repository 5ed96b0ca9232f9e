#pragma once
/*
 * What OpenAI clients send: POST bodies of chat/completions, completions, embeddings, rerank and
 * classify, to struct request.
 *
 * Lenient where real clients are odd (content parts for any role, role developer, numbers as 1.0,
 * unknown members), strict where silence would lie (n, stop, types). The body and its member spans
 * stay in the request for providers of the same dialect.
 */
#include "base/str.h"
#include "core/request.h"
#include "wire/problem.h"

/*
 * Fills req (of the right kind, empty but for a model that was named elsewhere, which then wins)
 * from body, which is copied into the arena. 0;
 * -EBADMSG with *ret_problem (400, param named); -ENOMEM (out of memory, or the arena's budget).
 * Sets model, routing, class (from service_tier), stream, sampling and the kind's own members;
 * leaves id, caller and deadline alone.
 */
int openai_decode_request(struct request *req, struct str body,
                          struct problem *ret_problem) MUST_USE;

/*
 * Above the longest conversations that agents send (some thousand); what a message costs in memory,
 * 160 bytes, is charged to its connection.
 */
#define OPENAI_MAX_MESSAGES 16384

/*
 * Tool calls of one message: as many as OpenAI allows tools. Also the most that an answer may make.
 */
#define OPENAI_MAX_TOOL_CALLS 128

/*
 * How many answers a completion may ask for: prompts times n. Evaluation tools send their prompts
 * in batches of 32 to 128.
 */
#define OPENAI_MAX_ANSWERS 256

/*
 * How many choices (chat, completions), vectors (embeddings), labels (classify) a complete answer
 * to req has; rerank: how many documents there are. Any dialect.
 */
size_t openai_count_answers(const struct request *req);
