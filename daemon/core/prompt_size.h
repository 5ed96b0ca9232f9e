#pragma once
/*
 * How large a prompt is at least, without the model's vocabulary: enough to know that it cannot fit.
 */
#include <stdint.h>

#include "core/request.h"

/*
 * Tokens that a chat or a completion has at least: one for each word of it that begins with an ASCII
 * letter behind a blank. Byte pair encodings split at blanks before they join anything (GPT-2 and
 * what came after it: its regular expression; SentencePiece: split_by_whitespace, its default), so
 * no token holds two such words. What is counted is about three quarters of the truth in English
 * prose, less in code, and nothing in Chinese: never more than the truth. Templates, tools and images
 * are not counted. 0 for other kinds, whose servers may cut their input.
 */
uint64_t prompt_size_min_tokens(const struct request *req);
