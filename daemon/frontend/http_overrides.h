#pragma once
/*
 * What the headers of a request say about its own way through sluice: LiteLLM's x-litellm-timeout,
 * x-litellm-stream-timeout, x-litellm-num-retries and x-litellm-tags, x-sluice-local-only and
 * x-sluice-max-wait-ms; and what OpenAI's SDKs tell of their attempts (x-stainless-retry-count,
 * x-stainless-read-timeout).
 */
#include "core/request.h"
#include "wire/http1.h"
#include "wire/problem.h"

/*
 * Into req->routing, over what the body said: a header wins, tags are added to those of the body. 0;
 * -EBADMSG with *ret_problem (400, param is the header); -ENOMEM. What is kept is copied.
 */
int http_overrides_read(const struct http1_head *head, struct request *req,
                        struct problem *ret_problem) MUST_USE;

/* x-litellm-call-id, else x-request-id; absent when neither is a valid id. */
struct str http_overrides_call_id(const struct http1_head *head);
