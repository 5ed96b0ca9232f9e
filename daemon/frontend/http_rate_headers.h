#pragma once
/*
 * How much a caller has left, in the headers of every answer to him: OpenAI's x-ratelimit-*, and
 * for an API key LiteLLM's x-litellm-key-*-limit.
 */
#include "base/buf.h"
#include "frontend/frontend.h"

/*
 * Writes those of the limits that the caller has; nothing for who has no account. 0 or -errno of buf.
 */
int http_rate_headers_write(const struct frontends *f, const struct caller *who, uint64_t now_usec,
                            struct buf *out) MUST_USE;

#define HTTP_RATE_RESET_BYTES 32

/* A duration as OpenAI writes it, rounded up to milliseconds: "20ms", "1s", "1m30.951s", "6m0s". */
const char *http_rate_format_reset(uint64_t usec, char ret_text[HTTP_RATE_RESET_BYTES]);
