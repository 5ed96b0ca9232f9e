/*
 * What an error answer of a model server means for our client (see openai_upstream.h). The status
 * decides, except where the body says something more exact: a prompt that is too long, a model that
 * is not there, a runner that the kernel killed.
 *
 * The body is foreign text on its way into our log and to our client. It comes as {"error":{...}},
 * {"error":"..."}, {"message":...}, {"detail":...} (FastAPI), as JSON inside the message of other
 * JSON (Ollama), or as no JSON at all (proxies). What may be kept of it says server_words.h.
 */
#include "wire/openai_decoder.h"

#include <ctype.h>

#include "base/num.h"
#include "wire/field.h"
#include "wire/json.h"
#include "wire/server_words.h"

#define MAX_NESTING 3 /* Ollama has 2: its own, and llama-server's inside */

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

static void read_report(struct report *rep, struct str body)
{
    struct json_error ignored;
    struct str text = body;

    rep->message = server_words_plain(body);
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

/* Is a JSON value this string? */
static bool is_word(struct str value, const char *word)
{
    return json_type(value) == JSON_STRING &&
           str_is((struct str) {value.ptr + 1, value.len - 2}, word);
}

static bool is_context_overflow(const struct report *rep)
{
    return is_word(rep->code, "context_length_exceeded") ||
           is_word(rep->type, "context_length_exceeded") ||
           is_word(rep->type, "exceed_context_size_error");
}

/* OpenAI's word, and Azure's. */
static bool is_content_filter(const struct report *rep)
{
    return is_word(rep->code, "content_policy_violation") || is_word(rep->code, "content_filter");
}

/* Said with 429, as if waiting would help. */
static bool is_out_of_quota(const struct report *rep)
{
    return is_word(rep->code, "insufficient_quota") || is_word(rep->type, "insufficient_quota");
}

static enum errcode classify(int status, const struct report *rep)
{
    enum errcode said = server_words_code(rep->message);

    if (status >= 400 && (is_context_overflow(rep) || said == ERRCODE_CONTEXT_LENGTH)) {
        return ERRCODE_CONTEXT_LENGTH;
    }
    if (status >= 400 && (is_content_filter(rep) || said == ERRCODE_CONTENT_FILTER)) {
        return ERRCODE_CONTENT_FILTER;
    }
    if (status >= 500 && said == ERRCODE_UPSTREAM_OUT_OF_MEMORY) {
        return said;
    }
    if (status >= 400 && status <= 499 && is_out_of_quota(rep)) {
        return ERRCODE_UPSTREAM_QUOTA;
    }
    if (status == 400 && is_word(rep->code, "model_not_found")) {
        return ERRCODE_MODEL_NOT_FOUND;
    }
    if (status == 501) { /* llama-server: a feature that it was not started with */
        return ERRCODE_UPSTREAM_REJECTED;
    }
    return server_words_status(status);
}

/* ---- the text */

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
    const char *intro = introduction(p->code);
    size_t intro_bytes;

    if (p->code == ERRCODE_UPSTREAM_GARBAGE) { /* a redirect or the like: nobody's error message */
        (void) snprintf(p->text, sizeof p->text, "the model server answered with status %d",
                        status);
        return;
    }
    (void) snprintf(p->text, sizeof p->text, "%s%s", intro ? intro : "", intro ? ": " : "");
    intro_bytes = strlen(p->text);
    server_words_append(p, message);
    if (p->text[intro_bytes] != '\0') {
        return;
    }
    (void) snprintf(p->text, sizeof p->text, "%s", intro ? intro : errcode_info(p->code)->text);
    if (p->code == ERRCODE_UPSTREAM_REJECTED) {
        intro_bytes = strlen(p->text);
        (void) snprintf(p->text + intro_bytes, sizeof p->text - intro_bytes, " (status %d)",
                        status);
    }
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
