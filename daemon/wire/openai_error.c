/*
 * What an error answer of a model server means for our client (see openai_upstream.h). The status
 * decides, except where the body says something more exact: a prompt that is too long, a model that
 * is not there, a runner that the kernel killed.
 *
 * The body is foreign text on its way into our log and to our client. It comes as {"error":{...}},
 * {"error":"..."}, {"message":...}, {"detail":...} (FastAPI), as JSON inside the message of other
 * JSON (Ollama), or as no JSON at all (proxies). What is kept of it: one line without control
 * characters, and without words that look like keys, since vendors repeat the key that they refuse.
 */
#include "wire/openai_decoder.h"

#include <ctype.h>
#include <strings.h>

#include "base/num.h"
#include "wire/field.h"
#include "wire/json.h"

#define MAX_NESTING    3    /* Ollama has 2: its own, and llama-server's inside */
#define MAX_LINE_BYTES 1024 /* of a message that are looked at for the text */

struct report {
    struct str message;            /* resolved; absent: none */
    struct str type, code, param;  /* JSON values, or absent */
    struct buf texts[MAX_NESTING]; /* owned; what the above point into, beside the body */
};

static void report_done(struct report *rep)
{
    for (size_t i = 0; i < MAX_NESTING; i++) {
        buf_done(&rep->texts[i]);
    }
}

/* ---- reading */

enum { ERROR_MESSAGE, ERROR_DETAIL, ERROR_TYPE, ERROR_CODE, ERROR_PARAM, _ERROR_MAX };

static const struct str error_names[_ERROR_MAX] = {
    [ERROR_MESSAGE] = FIELD_NAME("message"), [ERROR_DETAIL] = FIELD_NAME("detail"),
    [ERROR_TYPE] = FIELD_NAME("type"),       [ERROR_CODE] = FIELD_NAME("code"),
    [ERROR_PARAM] = FIELD_NAME("param"),
};

/* "detail" is a text, or a list of {"loc":...,"msg":...}. */
static struct str detail_of(struct str detail)
{
    struct json_iter it;
    struct str name, first;

    if (json_type(detail) != JSON_ARRAY) {
        return detail;
    }
    json_iter_init(&it, detail);
    return json_next(&it, &name, &first) ? json_find(first, "msg") : STR_NONE;
}

/* One level: from checked text to type, code, param, and the JSON value of the message. */
static struct str read_level(struct report *rep, struct str json)
{
    struct str error = json_find(json, "error"), values[_ERROR_MAX];

    if (json_is_null(error)) {
        error = json;
    }
    if (json_type(error) == JSON_STRING) {
        return error;
    }
    field_pick(error, error_names, _ERROR_MAX, values);
    rep->type = values[ERROR_TYPE].ptr ? values[ERROR_TYPE] : rep->type;
    rep->code = values[ERROR_CODE].ptr ? values[ERROR_CODE] : rep->code;
    rep->param = values[ERROR_PARAM].ptr ? values[ERROR_PARAM] : rep->param;
    return json_type(values[ERROR_MESSAGE]) == JSON_STRING ? values[ERROR_MESSAGE]
                                                           : detail_of(values[ERROR_DETAIL]);
}

/* A text that is not JSON: kept, unless it is a web page. */
static struct str plain_text(struct str body)
{
    body = str_trim(body);
    return body.len > 0 && body.ptr[0] != '<' ? body : STR_NONE;
}

static void read_report(struct report *rep, struct str body)
{
    struct json_error ignored;
    struct str text = body;

    rep->message = plain_text(body);
    for (size_t level = 0; level < MAX_NESTING; level++) {
        struct buf *to = &rep->texts[level];
        struct str value;

        if ((level > 0 && text.ptr[0] != '{') || json_check(text, &ignored) < 0) {
            return; /* the message of the level above */
        }
        value = read_level(rep, text);
        rep->message = STR_NONE;
        if (json_type(value) != JSON_STRING) {
            return;
        }
        buf_init(to, value.len);
        if (json_string(value, to) < 0) {
            return; /* out of memory: the code's own text will do */
        }
        rep->message = text = buf_str(to);
    }
}

/* ---- classifying */

static bool says(struct str message, const char *words)
{
    size_t n = strlen(words);

    for (size_t i = 0; i + n <= message.len; i++) {
        if (strncasecmp(message.ptr + i, words, n) == 0) {
            return true;
        }
    }
    return false;
}

static bool says_any(struct str message, const char *const *phrases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (says(message, phrases[i])) {
            return true;
        }
    }
    return false;
}

/* Is a JSON value this string? */
static bool is_word(struct str value, const char *word)
{
    return json_type(value) == JSON_STRING &&
           str_is((struct str) {value.ptr + 1, value.len - 2}, word);
}

static bool is_context_overflow(const struct report *rep)
{
    static const char *const phrases[] = {
        "maximum context length",             /* OpenAI, vLLM, Mistral */
        "maximum model length",               /* vLLM, newer */
        "available context size",             /* llama-server */
        "exceeds the context length",         /* Ollama */
        "context window",                     /* Anthropic's and other shims */
        "context_length_exceeded",            /* quoted by gateways */
        "prompt is too long",                 /* Anthropic, llama-server */
        "too large to process",               /* llama-server's embeddings */
        "reduce the length of the messages",  /* Groq */
        "maximum number of tokens allowed",   /* Gemini */
        "`inputs` must have less than",       /* TEI */
        "`inputs` tokens + `max_new_tokens`", /* TGI */
    };

    return is_word(rep->code, "context_length_exceeded") ||
           is_word(rep->type, "context_length_exceeded") ||
           is_word(rep->type, "exceed_context_size_error") ||
           says_any(rep->message, phrases, ARRAY_LEN(phrases));
}

/*
 * Ollama's words for a runner that the kernel killed, and for a model that it does not even try to
 * load.
 */
static bool is_out_of_memory(const struct report *rep)
{
    static const char *const phrases[] = {"signal: killed", "requires more system memory"};

    return says_any(rep->message, phrases, ARRAY_LEN(phrases));
}

static enum errcode code_of_status(int status)
{
    switch (status) {
    case 401:
    case 403:
        return ERRCODE_UPSTREAM_AUTH;
    case 404:
        return ERRCODE_MODEL_NOT_FOUND;
    case 408:
    case 504:
        return ERRCODE_UPSTREAM_TIMEOUT;
    case 413:
        return ERRCODE_PAYLOAD_TOO_LARGE;
    case 429:
        return ERRCODE_UPSTREAM_RATE_LIMITED;
    case 501: /* llama-server: a feature that it was not started with */
        return ERRCODE_UPSTREAM_REJECTED;
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

static enum errcode classify(int status, const struct report *rep)
{
    if (status >= 400 && is_context_overflow(rep)) {
        return ERRCODE_CONTEXT_LENGTH;
    }
    if (status >= 500 && is_out_of_memory(rep)) {
        return ERRCODE_UPSTREAM_OUT_OF_MEMORY;
    }
    if (status == 400 && is_word(rep->code, "model_not_found")) {
        return ERRCODE_MODEL_NOT_FOUND;
    }
    return code_of_status(status);
}

/* ---- the text */

/*
 * One line of plain letters: control characters and runs of blanks become one blank. Returns its
 * length.
 */
static size_t clean_line(struct str message, char ret_line[MAX_LINE_BYTES])
{
    bool is_utf8;
    size_t n = 0;

    if (message.len > MAX_LINE_BYTES) {
        message.len = MAX_LINE_BYTES;
        message.len -= str_utf8_tail(message);
    }
    is_utf8 = str_is_utf8(message);
    for (size_t i = 0; i < message.len; i++) {
        uint8_t c = (uint8_t) message.ptr[i];

        if (c < 0x20 || c == 0x7f) {
            c = ' ';
        } else if (c >= 0x80 && !is_utf8) {
            c = '?';
        }
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

/* Appends to the text as far as there is room; the last character may be cut. */
static void append(struct problem *p, struct str s)
{
    size_t n = strlen(p->text), room = sizeof p->text - 1 - n;

    if (s.len > room) {
        s.len = room;
    }
    memcpy(p->text + n, s.ptr, s.len);
    p->text[n + s.len] = '\0';
}

/* Word by word; what follows "Bearer" is a key whatever it looks like. */
static void append_redacted(struct problem *p, struct str line)
{
    bool after_bearer = false;

    for (size_t i = 0; i < line.len;) {
        size_t n = 0;

        while (i + n < line.len && is_word_letter(line.ptr[i + n])) {
            n++;
        }

        struct str word = {line.ptr + i, n > 0 ? n : 1};

        if (n > 0 && (after_bearer || is_key_shaped(word))) {
            append(p, STR_LIT("[redacted]"));
        } else {
            append(p, word);
        }
        if (n > 0) {
            after_bearer = str_is_nocase(word, "Bearer");
        }
        i += word.len;
    }
}

/*
 * What is said in front of the server's own words, where these alone would mislead: "Invalid API
 * key" is about sluice's key, not the client's.
 */
static const char *introduction(enum errcode code)
{
    if (code == ERRCODE_UPSTREAM_AUTH) {
        return errcode_info(code)->text;
    }
    return code == ERRCODE_MODEL_NOT_FOUND ? "the model server does not have this model" : NULL;
}

static void fill_text(struct problem *p, int status, struct str message)
{
    char line[MAX_LINE_BYTES];
    size_t n = clean_line(message, line);
    const char *intro = introduction(p->code);

    p->text[0] = '\0';
    if (p->code == ERRCODE_UPSTREAM_GARBAGE) { /* a redirect or the like: nobody's error message */
        (void) snprintf(p->text, sizeof p->text, "the model server answered with status %d",
                        status);
        return;
    }
    if (intro || n == 0) {
        append(p, str_from(intro ? intro : errcode_info(p->code)->text));
    }
    if (intro && n > 0) {
        append(p, STR_LIT(": "));
    }
    append_redacted(p, (struct str) {line, n});
    if (n == 0 && p->code == ERRCODE_UPSTREAM_REJECTED) {
        char text[32];

        (void) snprintf(text, sizeof text, " (status %d)", status);
        append(p, str_from(text));
    }
    n = strlen(p->text);
    p->text[n - str_utf8_tail((struct str) {p->text, n})] = '\0';
}

/* The name of the client's member that the server found wrong: a short plain word, or nothing. */
static void fill_param(struct problem *p, struct str value)
{
    struct str name;

    p->param[0] = '\0';
    if (json_type(value) != JSON_STRING || value.len - 2 >= sizeof p->param) {
        return;
    }
    name = (struct str) {value.ptr + 1, value.len - 2};
    for (size_t i = 0; i < name.len; i++) {
        if (!isalnum((unsigned char) name.ptr[i]) && !strchr("_.-[]", name.ptr[i])) {
            return;
        }
    }
    memcpy(p->param, name.ptr, name.len);
    p->param[name.len] = '\0';
}

static void map_report(int status, const struct report *rep, struct problem *ret_problem)
{
    ret_problem->code = classify(status, rep);
    fill_text(ret_problem, status, rep->message);
    fill_param(ret_problem,
               errcode_info(ret_problem->code)->http_status == 400 ? rep->param : STR_NONE);
}

void openai_map_error(int status, struct str body, struct problem *ret_problem)
{
    struct report rep = {0};

    read_report(&rep, body);
    map_report(status, &rep, ret_problem);
    report_done(&rep);
}

/* ---- errors inside a stream, which have no status */

static int status_of_word(struct str value)
{
    static const struct {
        const char *word;
        int status;
    } table[] = {
        {"rate_limit_error", 429},     {"rate_limit_exceeded", 429},
        {"insufficient_quota", 429},   {"overloaded_error", 503},
        {"unavailable_error", 503},    {"service_unavailable", 503},
        {"authentication_error", 401}, {"invalid_api_key", 401},
        {"permission_error", 403},     {"not_found_error", 404},
        {"model_not_found", 404},      {"invalid_request_error", 400},
        {"BadRequestError", 400},      {"exceed_context_size_error", 400},
        {"timeout_error", 504},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (is_word(value, table[i].word)) {
            return table[i].status;
        }
    }
    return 0;
}

/* "code" is a status in vLLM and llama-server, a status in quotes in LiteLLM, a word in OpenAI. */
static int guess_status(const struct report *rep)
{
    int64_t number = 0;
    uint64_t quoted = 0;
    int status;

    if (json_type(rep->code) == JSON_NUMBER && json_i64(rep->code, &number) == 0 && number >= 400 &&
        number <= 599) {
        return (int) number;
    }
    if (json_type(rep->code) == JSON_STRING &&
        num_parse_u64((struct str) {rep->code.ptr + 1, rep->code.len - 2}, &quoted) == 0 &&
        quoted >= 400 && quoted <= 599) {
        return (int) quoted;
    }
    status = status_of_word(rep->code);
    if (status == 0) {
        status = status_of_word(rep->type);
    }
    return status != 0 ? status : 500;
}

void openai_map_stream_error(struct str object, struct problem *ret_problem)
{
    struct report rep = {0};

    read_report(&rep, object);
    map_report(guess_status(&rep), &rep, ret_problem);
    report_done(&rep);
}
