/*
 * What a request may ask for that Ollama cannot do. Whatever would change the answer and has no
 * word in the dialect is refused with the member named; hints that Ollama merely ignores (user,
 * parallel_tool_calls, store ...) pass, as clients send them to everybody.
 *
 * All of it runs before the first byte of a body is written.
 */
#include "wire/ollama_body.h"

#include <errno.h>
#include <stdarg.h>

#include "wire/field.h"
#include "wire/json.h"
#include "wire/openai_fields.h"

static int unsupported(struct problem *problem, const char *param, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static int unsupported(struct problem *problem, const char *param, const char *fmt, ...)
{
    char text[PROBLEM_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);

    int r = field_fail(problem, param, "%s", text);

    problem->code = ERRCODE_UNSUPPORTED_PARAMETER;
    return r;
}

/*
 * Members that change the answer in a way that Ollama has no word for. Silence would lie; sampling
 * hints it ignores do no harm.
 */
static int check_members(const struct request *req, const struct ollama_target *target,
                         struct problem *problem)
{
    struct str bias = ollama_client_value(req, target, "logit_bias"),
               best_of = ollama_client_value(req, target, "best_of");
    int64_t n;

    if (target->drops_params) {
        return 0;
    }
    if (bias.ptr && field_count(bias) > 0) {
        return unsupported(problem, "logit_bias", "Ollama has no 'logit_bias'");
    }
    if (json_is_true(ollama_client_value(req, target, "echo"))) {
        return unsupported(problem, "echo", "Ollama cannot repeat the prompt ('echo')");
    }
    if (best_of.ptr && (json_i64(best_of, &n) < 0 || n > 1)) {
        return unsupported(problem, "best_of", "Ollama makes one answer, not the best of several");
    }
    if (openai_wants_more_than_text(ollama_client_value(req, target, "modalities"))) {
        return unsupported(problem, "modalities", "Ollama writes text only");
    }
    if (ollama_client_value(req, target, "moderation").ptr) {
        return unsupported(problem, "moderation",
                           "Ollama does not look at what it reads and writes");
    }
    if (ollama_client_value(req, target, "web_search_options").ptr) {
        return unsupported(problem, "web_search_options", "Ollama does not search the web here");
    }
    return 0;
}

static int check_tool_choice(const struct request *req, const struct ollama_target *target,
                             struct problem *problem)
{
    struct str choice = req->tool_choice;

    if (!choice.ptr || str_is(choice, "\"auto\"") || str_is(choice, "\"none\"") ||
        target->drops_params) {
        return 0;
    }
    return unsupported(problem, "tool_choice",
                       "Ollama cannot be made to call a tool; 'tool_choice' may be auto or none");
}

static int check_format(const struct request *req, const struct ollama_target *target,
                        struct problem *problem)
{
    static const char name[] = "response_format";
    struct str format = req->response_format, type, schema;

    if (!format.ptr) {
        return 0;
    }
    type = json_find(format, "type");
    if (str_is(type, "\"text\"") || str_is(type, "\"json_object\"")) {
        return 0;
    }
    if (!str_is(type, "\"json_schema\"") && target->drops_params) {
        return 0;
    }
    if (!str_is(type, "\"json_schema\"")) {
        return unsupported(problem, name, "'%s' may be text, json_object or json_schema", name);
    }
    schema = json_find(json_find(format, "json_schema"), "schema");
    if (json_is_null(schema) || json_type(schema) != JSON_OBJECT) {
        return field_fail(problem, "response_format.json_schema.schema",
                          "a 'json_schema' needs a 'schema' object");
    }
    return 0;
}

static const struct {
    const char *effort, *think;
} efforts[] = {
    {"none", "false"},    {"minimal", "\"low\""}, {"low", "\"low\""}, {"medium", "\"medium\""},
    {"high", "\"high\""}, {"xhigh", "\"max\""},   {"max", "\"max\""},
};

/* The value of "think" for an effort; absent where there is no such effort. */
struct str ollama_think_of(struct str effort)
{
    for (size_t i = 0; i < ARRAY_LEN(efforts); i++) {
        if (str_is(effort, efforts[i].effort)) {
            return str_from(efforts[i].think);
        }
    }
    return STR_NONE;
}

static bool is_think_value(struct str value)
{
    return json_type(value) == JSON_TRUE || json_type(value) == JSON_FALSE ||
           str_is(value, "\"low\"") || str_is(value, "\"medium\"") || str_is(value, "\"high\"") ||
           str_is(value, "\"max\"");
}

static int check_thinking(const struct request *req, const struct ollama_target *target,
                          struct problem *problem)
{
    struct str think = ollama_client_value(req, target, "think");

    if (req->reasoning_effort.len > 0 && !ollama_think_of(req->reasoning_effort).ptr &&
        !target->drops_params) {
        return unsupported(
            problem, "reasoning_effort",
            "'reasoning_effort' may be none, minimal, low, medium, high, xhigh or max");
    }
    if (think.ptr && !is_think_value(think)) {
        return field_fail(problem, "think", "'think' must be a boolean, low, medium, high or max");
    }
    return 0;
}

static int check_parts(const struct message *m, struct problem *problem)
{
    for (size_t i = 0; i < m->n_parts; i++) {
        if (m->parts[i].type == PART_IMAGE && !m->parts[i].data.ptr) {
            return unsupported(problem, "content",
                               "Ollama does not fetch images; send the image itself as base64");
        }
        if (m->parts[i].type == PART_OPAQUE) {
            return unsupported(problem, "content", "Ollama takes text and images only");
        }
    }
    return 0;
}

static int check_calls(const struct message *m, struct problem *problem)
{
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        struct str arguments = m->tool_calls[i].arguments;
        int r = arguments.len > 0 ? json_check(arguments, NULL) : 0;

        if (r == -ENOMEM) {
            return r;
        }
        if (r < 0 || (arguments.len > 0 && json_type(arguments) != JSON_OBJECT)) {
            r = field_fail(problem, "arguments",
                           "the arguments of an earlier tool call are not a JSON object");
            return field_within(r, problem, "tool_calls[%zu]", i);
        }
    }
    return 0;
}

static int check_messages(const struct request *req, const struct ollama_target *target,
                          struct problem *problem)
{
    for (size_t i = 0; i < req->n_messages; i++) {
        int r = check_parts(&req->messages[i], problem);

        if (r == 0) {
            r = check_calls(&req->messages[i], problem);
        }
        if (r < 0) {
            return field_within(r, problem, "messages[%zu]", i);
        }
    }
    return 0;
}

/* Ollama has neither; its embedding models can stand in for a reranker, but only a client knows. */
static int refuse_kind(const struct request *req, struct problem *problem)
{
    int r = field_fail(problem, "model", "Ollama cannot %s; this needs vLLM or llama-server",
                       request_kind_name(req->kind));

    problem->code = ERRCODE_NOT_IMPLEMENTED;
    return r;
}

static int check_keep_alive(const struct request *req, const struct ollama_target *target,
                            struct problem *problem)
{
    struct str value = ollama_client_value(req, target, "keep_alive");
    uint64_t sec;

    if (value.ptr && ollama_keep_alive(value, &sec) < 0) {
        return field_fail(problem, "keep_alive",
                          "'keep_alive' must be a number of seconds, or a duration such as \"5m\"");
    }
    return 0;
}

/* All of several: an empty one must not be found when others have been answered. */
static int check_prompts(const struct request *req, struct problem *problem)
{
    if (req->prompt.len == 0) {
        return field_fail(problem, "prompt", "'prompt' must not be empty");
    }
    for (size_t i = 0; i < req->n_prompts; i++) {
        if (req->prompts[i].len == 0) {
            return field_fail(problem, "prompt", "'prompt' must not hold an empty text");
        }
    }
    return 0;
}

int ollama_check_request(const struct request *req, const struct ollama_target *target,
                         struct problem *problem)
{
    static int (*const checks[])(const struct request *, const struct ollama_target *,
                                 struct problem *) = {
        check_members,        check_tool_choice, check_format,   check_thinking,
        ollama_check_options, check_keep_alive,  check_messages,
    };
    int r = 0;

    if (req->kind == REQUEST_RERANK || req->kind == REQUEST_CLASSIFY) {
        return refuse_kind(req, problem);
    }
    if (req->is_raw_only) {
        return unsupported(problem, req->raw_only_param,
                           "this form of '%s' can only be sent to a server of OpenAI's dialect",
                           req->raw_only_param);
    }
    if (req->kind == REQUEST_EMBED) {
        return check_keep_alive(req, target, problem);
    }
    if (req->kind == REQUEST_COMPLETE) {
        r = check_prompts(req, problem);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(checks); i++) {
        r = checks[i](req, target, problem);
    }
    return r;
}
