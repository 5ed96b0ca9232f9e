#pragma once
/*
 * How large a prompt is at least, without the model's vocabulary: enough to know that it cannot fit.
 */
#include <stdint.h>

#include "core/request.h"

/*
 * Tokens that a prompt, or the longest of several prompts or inputs, has at least: token ids are
 * counted; of text, one for each word that begins with an ASCII letter behind a blank. Byte pair
 * encodings split at blanks before they join anything (GPT-2 and what came after it: its regular
 * expression; SentencePiece: split_by_whitespace, its default), and so does WordPiece, so no token
 * holds two such words. What is counted is about three quarters of the truth in English prose, less
 * in code, and nothing in Chinese: never more than the truth. Templates, tools and images are not
 * counted. 0 where the client lets the server cut, and for rerank and classify, whose servers do.
 */
uint64_t prompt_size_min_tokens(const struct request *req);

/* Behind the number: "", or " at least". */
const char *prompt_size_precision(const struct request *req);
