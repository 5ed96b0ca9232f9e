/* See prompt_size.h. One pass over the text, no allocation. */
#include "core/prompt_size.h"

#include <stdbool.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static uint64_t count_words(struct str text)
{
    bool after_blank = true;
    uint64_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        n += after_blank && is_letter(text.ptr[i]);
        after_blank = is_blank(text.ptr[i]);
    }
    return n;
}

static uint64_t count_messages(const struct request *req)
{
    uint64_t n = 0;

    for (size_t i = 0; i < req->n_messages; i++) {
        for (size_t k = 0; k < req->messages[i].n_parts; k++) {
            n += count_words(req->messages[i].parts[k].text);
        }
    }
    return n;
}

/* Each of them is read by itself. */
static uint64_t count_longest(const struct str *texts, size_t n_texts)
{
    uint64_t longest = 0;

    for (size_t i = 0; i < n_texts; i++) {
        uint64_t n = count_words(texts[i]);

        longest = n > longest ? n : longest;
    }
    return longest;
}

uint64_t prompt_size_min_tokens(const struct request *req)
{
    if (req->may_be_cut) {
        return 0;
    }
    if (req->n_token_ids > 0) {
        return req->n_token_ids;
    }
    switch (req->kind) {
    case REQUEST_CHAT:
        return count_messages(req);
    case REQUEST_COMPLETE:
        return req->n_prompts > 0 ? count_longest(req->prompts, req->n_prompts)
                                  : count_words(req->prompt);
    case REQUEST_EMBED:
        return count_longest(req->inputs, req->n_inputs);
    case REQUEST_RERANK:
    case REQUEST_CLASSIFY:
        break;
    }
    return 0;
}

const char *prompt_size_precision(const struct request *req)
{
    return req->n_token_ids > 0 ? "" : " at least";
}
