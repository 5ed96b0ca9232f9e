/*
 * See server_words.h. Owns nothing, allocates nothing.
 *
 * The text is hostile: it came from a model server, may hold what a client sent, and goes to logs,
 * terminals and other clients. Must not: copy a key, a control character or half a character.
 */
#include "wire/server_words.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"

#define MAX_LINE_BYTES 1024 /* of a sentence that are looked at for the text */

bool server_words_say(struct str text, const char *phrase)
{
    size_t n = strlen(phrase);

    for (size_t i = 0; i + n <= text.len; i++) {
        if (strncasecmp(text.ptr + i, phrase, n) == 0) {
            return true;
        }
    }
    return false;
}

struct str server_words_plain(struct str body)
{
    body = str_trim(body);
    return body.len > 0 && body.ptr[0] != '<' ? body : STR_NONE;
}

enum errcode server_words_code(struct str sentence)
{
    static const struct {
        const char *phrase;
        enum errcode code;
    } table[] = {
        {"exceed_context_size_error", ERRCODE_CONTEXT_LENGTH},         /* llama-server's type */
        {"available context size", ERRCODE_CONTEXT_LENGTH},            /* llama-server */
        {"maximum context length", ERRCODE_CONTEXT_LENGTH},            /* OpenAI, vLLM, Mistral */
        {"maximum model length", ERRCODE_CONTEXT_LENGTH},              /* vLLM, newer */
        {"context length is only", ERRCODE_CONTEXT_LENGTH},            /* vLLM, newest */
        {"exceeds the context length", ERRCODE_CONTEXT_LENGTH},        /* Ollama */
        {"context window", ERRCODE_CONTEXT_LENGTH},                    /* Anthropic's shims */
        {"context_length_exceeded", ERRCODE_CONTEXT_LENGTH},           /* quoted by gateways */
        {"prompt is too long", ERRCODE_CONTEXT_LENGTH},                /* Anthropic, llama-server */
        {"too large to process", ERRCODE_CONTEXT_LENGTH},              /* its embeddings */
        {"reduce the length of the messages", ERRCODE_CONTEXT_LENGTH}, /* Groq */
        {"maximum number of tokens allowed", ERRCODE_CONTEXT_LENGTH},  /* Gemini */
        {"`inputs` must have less than", ERRCODE_CONTEXT_LENGTH},      /* TEI */
        {"`inputs` tokens + `max_new_tokens`", ERRCODE_CONTEXT_LENGTH}, /* TGI */

        {"content management policy", ERRCODE_CONTENT_FILTER},   /* Azure */
        {"content_policy_violation", ERRCODE_CONTENT_FILTER},    /* quoted by gateways */
        {"ContentPolicyViolationError", ERRCODE_CONTENT_FILTER}, /* LiteLLM */

        {"signal: killed", ERRCODE_UPSTREAM_OUT_OF_MEMORY}, /* Ollama, of its runner */
        {"requires more system memory", ERRCODE_UPSTREAM_OUT_OF_MEMORY},
        {"out of memory", ERRCODE_UPSTREAM_OUT_OF_MEMORY},
        {"failed to allocate", ERRCODE_UPSTREAM_OUT_OF_MEMORY},
        {"unable to allocate", ERRCODE_UPSTREAM_OUT_OF_MEMORY},
        {"cannot allocate memory", ERRCODE_UPSTREAM_OUT_OF_MEMORY},
        {"cudaMalloc failed", ERRCODE_UPSTREAM_OUT_OF_MEMORY},
        {"insufficient memory", ERRCODE_UPSTREAM_OUT_OF_MEMORY},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (server_words_say(sentence, table[i].phrase)) {
            return table[i].code;
        }
    }
    return ERRCODE_NONE;
}

enum errcode server_words_status(int status)
{
    switch (status) {
    case 401:
    case 403:
        return ERRCODE_UPSTREAM_AUTH;
    case 402: /* DeepSeek, OpenRouter: no credit */
        return ERRCODE_UPSTREAM_QUOTA;
    case 404:
        return ERRCODE_MODEL_NOT_FOUND;
    case 408:
    case 504:
        return ERRCODE_UPSTREAM_TIMEOUT;
    case 413:
        return ERRCODE_PAYLOAD_TOO_LARGE;
    case 429:
        return ERRCODE_UPSTREAM_RATE_LIMITED;
    case 503:
    case 529: /* Anthropic: overloaded */
        return ERRCODE_UPSTREAM_OVERLOADED;
    default:
        break;
    }
    if (status >= 400 && status <= 499) {
        return ERRCODE_UPSTREAM_REJECTED;
    }
    return status >= 500 && status <= 599 ? ERRCODE_UPSTREAM_ERROR : ERRCODE_UPSTREAM_GARBAGE;
}

/* ---- the text */

/* Plain letters in one line; returns its length. */
static size_t clean_line(struct str text, char ret_line[MAX_LINE_BYTES])
{
    size_t n = 0;

    text = str_clip(text, MAX_LINE_BYTES);

    bool is_utf8 = str_is_utf8(text);

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t) text.ptr[i];

        c = c < 0x20 || c == 0x7f ? ' ' : c >= 0x80 && !is_utf8 ? '?' : c;
        if (c != ' ' || (n > 0 && ret_line[n - 1] != ' ')) {
            ret_line[n++] = (char) c;
        }
    }
    return n > 0 && ret_line[n - 1] == ' ' ? n - 1 : n;
}

static bool is_word_letter(char c)
{
    return isalnum((unsigned char) c) || strchr("-_*.+/~", c);
}

/*
 * By the prefixes that vendors give their keys, or by a long unbroken mixture of letters and
 * digits: names of models and files have separators.
 */
static bool is_key_shaped(struct str word)
{
    static const char *const prefixes[] = {"sk-",  "sk_",  "pk-",  "rk-",  "gsk_",
                                           "hf_",  "xai-", "key-", "ghp_", "nvapi-",
                                           "AIza", "AKIA", "eyJ",  "ya29."};
    size_t run = 0, n_digits = 0;

    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (word.len >= 8 && str_has_prefix(word, prefixes[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < word.len; i++) {
        bool is_alnum = isalnum((unsigned char) word.ptr[i]) || word.ptr[i] == '*';

        run = is_alnum ? run + 1 : 0;
        n_digits = !is_alnum ? 0 : n_digits + (isdigit((unsigned char) word.ptr[i]) ? 1 : 0);
        if (run >= 20 && n_digits > 0 && n_digits < run) {
            return true;
        }
    }
    return false;
}

/* false: cut for want of room, at a whole character. */
static bool append(struct problem *p, struct str s)
{
    size_t n = strlen(p->text);
    struct str fitting = str_clip(s, sizeof p->text - 1 - n);

    memcpy(p->text + n, fitting.ptr, fitting.len);
    p->text[n + fitting.len] = '\0';
    return fitting.len == s.len;
}

/* The run at the beginning of a line: letters of a word, or others. */
static struct str next_run(struct str line)
{
    bool is_word = is_word_letter(line.ptr[0]);
    size_t n = 1;

    while (n < line.len && is_word_letter(line.ptr[n]) == is_word) {
        n++;
    }
    return (struct str) {line.ptr, n};
}

void server_words_append(struct problem *p, struct str text)
{
    char bytes[MAX_LINE_BYTES];
    struct str line = {bytes, clean_line(text, bytes)};
    bool after_bearer = false; /* the word behind it is a key whatever it looks like */
    bool has_room = true;

    while (line.len > 0 && has_room) {
        struct str run = next_run(line);

        if (!is_word_letter(run.ptr[0])) {
            has_room = append(p, run);
        } else {
            bool is_key = after_bearer || is_key_shaped(run);

            has_room = append(p, is_key ? STR_LIT("[redacted]") : run);
            after_bearer = str_is_nocase(run, "Bearer");
        }
        line.ptr += run.len;
        line.len -= run.len;
    }
}
