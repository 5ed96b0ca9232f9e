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

uint64_t prompt_size_min_tokens(const struct request *req)
{
    switch (req->kind) {
    case REQUEST_CHAT:
        return count_messages(req);
    case REQUEST_COMPLETE:
        return count_words(req->prompt);
    case REQUEST_EMBED:
    case REQUEST_RERANK:
    case REQUEST_CLASSIFY:
        break;
    }
    return 0;
}
