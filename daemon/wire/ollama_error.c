/*
 * What an error of Ollama means for our client. Ollama has no error codes, only a status and a
 * sentence, and 500 for nearly everything, so the sentence decides first and the status second
 * (texts of server/routes.go, server/sched.go, llm/, and llama-server behind them; seen in 0.11 to
 * 0.34).
 *
 * The sentence comes as {"error":"text"}, where text may itself be llama-server's
 * {"error":{"message":...}}; from proxies in front it may be anything. What is kept of it says
 * server_words.h.
 */
#include "wire/ollama_json.h"

#include <ctype.h>
#include <stdarg.h>

#include "wire/json.h"
#include "wire/server_words.h"

#define MAX_NESTING 3 /* Ollama has 2: its own, and llama-server's inside */

static const struct rule {
    const char *phrase;
    enum errcode code;
    const char *param;
    const char
        *text; /* said in front of Ollama's own words where these alone would mislead; or NULL */
} rules[] = {
    {"signal: killed", ERRCODE_UPSTREAM_OUT_OF_MEMORY, "",
     "the model server ran out of memory while loading the model"},

    /* what the model cannot do */
    {"does not support tools", ERRCODE_UNSUPPORTED_PARAMETER, "tools",
     "this model cannot call tools"},
    {"does not support thinking", ERRCODE_UNSUPPORTED_PARAMETER, "reasoning_effort",
     "this model cannot think"},
    {"does not support insert", ERRCODE_UNSUPPORTED_PARAMETER, "suffix",
     "this model cannot fill in a gap"},
    {"does not support vision", ERRCODE_UNSUPPORTED_PARAMETER, "messages",
     "this model cannot see images"},
    {"does not support image", ERRCODE_UNSUPPORTED_PARAMETER, "messages",
     "this model cannot see images"},
    {"does not support chat", ERRCODE_UNSUPPORTED_PARAMETER, "model",
     "this model does not chat, it only makes embeddings"},
    {"does not support generate", ERRCODE_UNSUPPORTED_PARAMETER, "model",
     "this model does not write text, it only makes embeddings"},
    {"does not support multimodal", ERRCODE_UNSUPPORTED_PARAMETER, "messages",
     "this model cannot see images"}, /* llama-server */
    {"does not support embeddings", ERRCODE_UNSUPPORTED_PARAMETER, "model",
     "this model does not make embeddings"},
    {"does not support ", ERRCODE_UNSUPPORTED_PARAMETER, "", NULL},

    /* the server */
    {"server busy", ERRCODE_UPSTREAM_OVERLOADED, "", NULL},
    {"timed out waiting for", ERRCODE_UPSTREAM_TIMEOUT, "",
     "the model server did not load the model in time"},
    {"an error was encountered while running the model", ERRCODE_UPSTREAM_ERROR, "", NULL},
    {"unexpectedly stopped", ERRCODE_UPSTREAM_ERROR, "", NULL},
    {"token repeat limit reached", ERRCODE_UPSTREAM_ERROR, "", NULL},
    {"request canceled", ERRCODE_UPSTREAM_ERROR, "", NULL},
    {"context canceled", ERRCODE_UPSTREAM_ERROR, "", NULL},
    {"cloud is disabled", ERRCODE_UPSTREAM_REJECTED, "model", NULL},
    {"file not found", ERRCODE_UPSTREAM_GARBAGE, "", "no Ollama answers at this address"},
    {"page not found", ERRCODE_UPSTREAM_GARBAGE, "", "no Ollama answers at this address"},

    /* said with status 500, but it is the request or the configuration */
    {"must be of type", ERRCODE_UPSTREAM_REJECTED, "", NULL},
    {"invalid format", ERRCODE_UPSTREAM_REJECTED, "response_format", NULL},
    {"invalid image", ERRCODE_UPSTREAM_REJECTED, "messages", NULL},
};

/* ---- reading */

/* The sentence of one level: checked JSON in, a JSON string or nothing out. */
static struct str sentence_of(struct str json)
{
    struct str error = json_find(json, "error");

    if (json_type(error) == JSON_OBJECT) {
        error = json_find(error, "message");
    }
    return json_type(error) == JSON_STRING ? error : STR_NONE;
}

/*
 * Unwraps as deep as it goes. levels hold what is resolved; the result lies in one of them or in
 * body.
 */
static struct str read_sentence(struct str body, struct buf levels[MAX_NESTING])
{
    struct str text = server_words_plain(body);

    for (size_t i = 0; i < MAX_NESTING && text.len > 0 && text.ptr[0] == '{'; i++) {
        struct str inner = json_check(text, NULL) == 0 ? sentence_of(text) : STR_NONE;

        if (!inner.ptr) {
            return i > 0 ? text : STR_NONE; /* JSON that says nothing, or cut JSON */
        }
        buf_init(&levels[i], inner.len);
        if (json_string(inner, &levels[i]) < 0) {
            return STR_NONE; /* out of memory: the code's own text will do */
        }
        text = buf_str(&levels[i]);
    }
    return text;
}

/* ---- classifying */

static const struct rule *find_rule(struct str sentence)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (server_words_say(sentence, rules[i].phrase)) {
            return &rules[i];
        }
    }
    return NULL;
}

/* The whole body is looked through as well: llama-server's type stands beside the sentence. */
static enum errcode classify(int status, struct str body, struct str sentence,
                             const struct rule *rule)
{
    enum errcode said = server_words_code(sentence);

    if (said == ERRCODE_NONE && server_words_code(body) == ERRCODE_CONTEXT_LENGTH) {
        said = ERRCODE_CONTEXT_LENGTH;
    }
    if (said != ERRCODE_NONE) {
        return said;
    }
    if (rule) {
        return rule->code;
    }
    switch (status) {
    case 200: /* a line in a stream */
    case 499:
        return ERRCODE_UPSTREAM_ERROR;
    case 501: /* llama-server: a feature that the runner was not started with */
        return ERRCODE_UNSUPPORTED_PARAMETER;
    default:
        return server_words_status(status);
    }
}

/* ---- the text */

/* What is said in front for a status without a rule. */
static const char *introduction(int status, enum errcode code)
{
    if (status == 403) {
        return "the model server refuses sluice (Ollama: OLLAMA_HOST, OLLAMA_ORIGINS)";
    }
    return code == ERRCODE_UPSTREAM_AUTH     ? errcode_info(code)->text
           : code == ERRCODE_MODEL_NOT_FOUND ? "the model server does not have this model"
                                             : NULL;
}

static void append(struct problem *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void append(struct problem *p, const char *fmt, ...)
{
    size_t n = strlen(p->text);
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(p->text + n, sizeof p->text - n, fmt, ap);
    va_end(ap);
}

/* The digits behind a phrase; absent where there are none. */
static struct str digits_behind(struct str text, const char *phrase)
{
    size_t n = strlen(phrase), len = 0;
    const char *at = text.len > 0 ? memmem(text.ptr, text.len, phrase, n) : NULL;

    if (!at) {
        return STR_NONE;
    }
    at += n;
    while (at + len < text.ptr + text.len && isdigit((unsigned char) at[len]) && len < 20) {
        len++;
    }
    return len > 0 ? (struct str) {at, len} : STR_NONE;
}

/*
 * llama-server's "request (3419 tokens) exceeds the available context size (256 tokens), try
 * increasing it" in the words that clients look for, both numbers in them. false: it says something
 * else.
 */
static bool say_context(struct problem *p, struct str sentence)
{
    struct str n_prompt = digits_behind(sentence, "request (");
    struct str n_context = digits_behind(sentence, "available context size (");

    if (p->code != ERRCODE_CONTEXT_LENGTH || !n_prompt.ptr || !n_context.ptr) {
        return false;
    }
    append(p, "the maximum context length is %.*s tokens, and the prompt has %.*s tokens",
           STR_ARG(n_context), STR_ARG(n_prompt));
    return true;
}

/* Between the first quotes, of either kind. */
static struct str quoted(struct str sentence)
{
    for (size_t i = 0; i < sentence.len; i++) {
        char c = sentence.ptr[i];
        const char *end =
            c == '\'' || c == '"' ? memchr(sentence.ptr + i + 1, c, sentence.len - i - 1) : NULL;

        if (end) {
            return (struct str) {sentence.ptr + i + 1, (size_t) (end - sentence.ptr - i - 1)};
        }
    }
    return STR_NONE;
}

/* What would help against "model 'x' not found". */
static void hint_at_pull(struct problem *p, struct str sentence)
{
    struct str name = quoted(sentence);

    if (p->code == ERRCODE_MODEL_NOT_FOUND && name.len > 0) {
        append(p, " (ollama pull ");
        server_words_append(p, name);
        append(p, ")");
    }
}

void ollama_map_error(int status, struct str body, struct problem *ret_problem)
{
    struct buf levels[MAX_NESTING] = {0};
    struct str sentence = read_sentence(body, levels);
    const struct rule *rule = find_rule(sentence);
    enum errcode code = classify(status, body, sentence, rule);
    const char *intro = rule ? rule->text : introduction(status, code);

    *ret_problem = (struct problem) {.code = code};
    if (rule) {
        (void) snprintf(ret_problem->param, sizeof ret_problem->param, "%s", rule->param);
    }
    if (rule && intro && code == ERRCODE_UNSUPPORTED_PARAMETER) {
        sentence = STR_NONE; /* it says the same, with the full address of the model */
    }
    if (intro) {
        append(ret_problem, "%s%s", intro, sentence.len > 0 ? ": " : "");
    }
    if (!say_context(ret_problem, sentence)) {
        server_words_append(ret_problem, sentence);
    }
    hint_at_pull(ret_problem, sentence);
    if (ret_problem->text[0] == '\0') {
        (void) snprintf(ret_problem->text, sizeof ret_problem->text, "%s",
                        errcode_info(code)->text);
    }
    for (size_t i = 0; i < MAX_NESTING; i++) {
        buf_done(&levels[i]);
    }
}
