/*
 * See openai_request.h. One strict check over the body, which is copied into the request's arena
 * first; then one walk that keeps the span of each top-level member; then a look-up for each member
 * that the neutral request has a place for. What is not looked up stays in `members` and is never
 * an error.
 *
 * Where a value is legal but the neutral request cannot say it (token ids, unknown
 * content parts, deprecated functions), the request becomes raw-only: a provider of this dialect
 * sends the body as it is, others refuse with the member named.
 *
 * Ranges are OpenAI's (its OpenAPI description), widened where local servers are known to take
 * more. Nothing here allocates outside the arena.
 */
#include "wire/openai_request.h"

#include <assert.h>
#include <errno.h>

#include "wire/json.h"
#include "wire/openai_body.h"
#include "wire/openai_fields.h"
#include "wire/openai_rerank.h"
#include "wire/openai_tools.h"

#define MAX_MEMBERS 256 /* a request has below 40 */

/* ---- the body */

static int check_body(struct str body, struct problem *problem)
{
    struct json_error error;
    int r = json_check(body, &error);

    if (r == -EBADMSG) {
        return field_fail(problem, "", "the body is not valid JSON: %s at byte %zu", error.text,
                          error.offset);
    }
    if (r < 0) {
        return r;
    }
    if (json_type(body) != JSON_OBJECT) {
        return field_fail(problem, "", "the body must be a JSON object");
    }
    return 0;
}

/* Its names are resolved: who wrote them with escapes meant the same. */
static int add_members(struct openai_body *b, struct str object, bool replaces)
{
    struct request *req = b->req;
    struct json_iter it;
    struct str raw, name, value;
    int r;

    json_iter_init(&it, object);
    while (json_next(&it, &raw, &value)) {
        struct str quoted = {raw.ptr - 1, raw.len + 2};
        size_t i = 0;

        r = json_string_dup(quoted, &req->arena, &name);
        if (r < 0) {
            return r;
        }
        while (replaces && i < req->n_members && !str_is_equal(req->members[i].name, name)) {
            i++;
        }
        i = replaces ? i : req->n_members;
        req->members[i] = (struct request_member) {.name = name, .value = value};
        req->n_members += i == req->n_members;
    }
    return 0;
}

/* Room for n more of them. */
static int grow_members(struct openai_body *b, size_t n)
{
    struct request *req = b->req;
    struct request_member *members;

    n += req->n_members;
    if (n > MAX_MEMBERS) {
        return field_fail(b->problem, "", "the body may have at most %d members", MAX_MEMBERS);
    }
    members = arena_array(&req->arena, n, sizeof *members);
    if (!members) {
        return -ENOMEM;
    }
    if (req->n_members > 0) {
        memcpy(members, req->members, req->n_members * sizeof *members);
    }
    req->members = members;
    return 0;
}

/*
 * OpenAI's clients put what their caller gives them as extra_body into the body, over what stands
 * there; programs that write the body themselves send the word. LiteLLM does it for them, and so
 * here: before anything is looked at, so that nothing gets past a check in it.
 */
static int decode_members(struct openai_body *b)
{
    struct str extra = STR_NONE;
    struct field f;
    int r = grow_members(b, field_count(b->req->body));

    r = r < 0 ? r : add_members(b, b->req->body, false);
    if (r < 0) {
        return r;
    }
    f = openai_body_member(b, "extra_body");
    r = field_object(&f, &extra);
    if (r < 0 || !extra.ptr) {
        return r;
    }
    r = grow_members(b, field_count(extra));
    return r < 0 ? r : add_members(b, extra, true);
}

/* ---- what all kinds have */

static int decode_model(struct openai_body *b)
{
    struct field f = openai_body_member(b, "model");
    struct str model = b->req->model; /* set: the path named it, and wins */
    bool is_given = model.ptr != NULL;
    int r = is_given ? 0 : field_string(&f, &b->req->arena, &model);

    if (r < 0) {
        return r;
    }
    if (is_given && !str_is_utf8(model)) {
        return field_fail(b->problem, f.name, "'model' must be UTF-8");
    }
    if (model.len == 0) {
        return field_fail(b->problem, f.name, "'model' is required");
    }
    if (model.len > REQUEST_MODEL_MAX) {
        return field_fail(b->problem, f.name, "'model' may have at most %d bytes",
                          REQUEST_MODEL_MAX);
    }
    if (str_has_control(model)) {
        return field_fail(b->problem, f.name, "'model' must not hold control characters");
    }
    b->req->model = model;
    return 0;
}

/*
 * Tiers that we do not know are somebody's wish for speed, or about billing: served as any other
 * call.
 */
static int decode_class(struct openai_body *b)
{
    struct field f = openai_body_member(b, "service_tier");
    struct str tier = STR_NONE;
    int r = field_string(&f, &b->req->arena, &tier);

    b->req->class = str_is(tier, "flex") ? CLASS_BATCH : CLASS_INTERACTIVE;
    return r;
}

static int decode_stream(struct openai_body *b)
{
    struct field stream = openai_body_member(b, "stream"),
                 options = openai_body_member(b, "stream_options");
    struct str object = STR_NONE;
    int r = field_bool(&stream, &b->req->stream);

    if (r < 0) {
        return r;
    }
    r = field_object(&options, &object);
    if (r < 0 || !object.ptr) {
        return r;
    }

    struct field usage = {"include_usage", json_find(object, "include_usage"), b->problem};

    return field_within(field_bool(&usage, &b->req->include_usage), b->problem, "stream_options");
}

/* ---- chat */

/*
 * An empty list means no tools: treating it as a list of tools once forced JSON answers out of a
 * peer.
 */
static int decode_tools(struct openai_body *b)
{
    struct field f = openai_body_member(b, "tools");
    struct str array = STR_NONE;
    bool is_plain = true;
    int r = field_array(&f, &array);

    if (r < 0 || !array.ptr) {
        return r;
    }
    r = openai_check_tools(b->req, array, &is_plain, b->problem);
    if (!is_plain) {
        openai_body_mark_raw_only(b, "tools");
    }
    b->req->tools = field_count(array) > 0 ? array : STR_NONE;
    return field_within(r, b->problem, "tools");
}

static int decode_tool_choice(struct openai_body *b)
{
    struct field f = openai_body_member(b, "tool_choice");
    int r = field_types(&f, FIELD_STRING | FIELD_OBJECT);

    if (r < 0 || !field_is_present(&f)) {
        return r;
    }
    b->req->tool_choice = f.value;
    return field_within(openai_check_tool_choice(b->req, f.value, b->problem), b->problem,
                        "tool_choice");
}

/*
 * The predecessor of tools. A server of this dialect may still know it; the neutral request does
 * not.
 */
static int decode_functions(struct openai_body *b)
{
    struct field f = openai_body_member(b, "functions"),
                 call = openai_body_member(b, "function_call");
    struct str array = STR_NONE;
    int r = field_array(&f, &array);

    if (r == 0 && field_count(array) > 0) {
        openai_body_mark_raw_only(b, "functions");
        r = field_within(openai_check_functions(b->req, array, b->problem), b->problem,
                         "functions");
    }
    if (r == 0 && field_is_present(&call)) {
        r = field_within(openai_check_function_call(b->req, call.value, b->problem), b->problem,
                         "function_call");
    }
    return r;
}

static int decode_response_format(struct openai_body *b)
{
    struct field f = openai_body_member(b, "response_format");
    struct str object = STR_NONE;
    bool is_text = false;
    int r = field_object(&f, &object);

    if (r < 0 || !object.ptr) {
        return r;
    }
    r = openai_check_response_format(b->req, object, &is_text, b->problem);
    b->req->response_format = is_text ? STR_NONE : object;
    return field_within(r, b->problem, "response_format");
}

/*
 * reasoning_effort is OpenAI's; {"reasoning":{"effort":...}} comes from clients of its Responses
 * API and of OpenRouter.
 */
static int decode_reasoning(struct openai_body *b)
{
    struct field f = openai_body_member(b, "reasoning_effort");
    struct str reasoning = request_member(b->req, "reasoning");

    if (!field_is_present(&f) && !json_is_null(reasoning)) {
        f.value = json_find(reasoning, "effort");
        if (json_type(f.value) != JSON_STRING) {
            return 0;
        }
    }
    return field_string(&f, &b->req->arena, &b->req->reasoning_effort);
}

static int decode_chat(struct openai_body *b)
{
    static int (*const steps[])(struct openai_body *) = {decode_tools, decode_tool_choice,
                                                         decode_functions, decode_response_format,
                                                         decode_reasoning};
    int r = openai_body_messages(b);

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(steps); i++) {
        r = steps[i](b);
    }
    return r;
}

/* ---- completions and embeddings: one text, several, token ids, lists of token ids */

enum { HAS_STRINGS = 1 << 0, HAS_NUMBERS = 1 << 1, HAS_LISTS = 1 << 2, HAS_OBJECTS = 1 << 3 };

static unsigned element_kind(struct str value)
{
    switch (json_type(value)) {
    case JSON_STRING:
        return HAS_STRINGS;
    case JSON_NUMBER:
        return HAS_NUMBERS;
    case JSON_ARRAY:
        return HAS_LISTS;
    case JSON_OBJECT:
        return HAS_OBJECTS;
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        return 0;
    }
    return 0;
}

/* Token ids are integers from 0 on; an empty list of them asks nothing. Keeps the longest one's. */
static int check_ids(struct openai_body *b, const struct field *f, struct str list)
{
    struct json_iter it;
    struct str element;
    size_t n = 0;
    int64_t id;

    json_iter_init(&it, list);
    for (; json_next(&it, NULL, &element); n++) {
        if (json_type(element) != JSON_NUMBER || json_i64(element, &id) < 0 || id < 0 ||
            id > INT32_MAX) {
            int r = field_fail(f->problem, "", "a token id must be an integer from 0 on");

            return field_within(r, f->problem, "[%zu]", n);
        }
    }
    if (n > b->req->n_token_ids) {
        b->req->n_token_ids = (uint32_t) n; /* a body has less bytes than that */
    }
    return n > 0 ? 0 : field_fail(f->problem, "", "a list of token ids must not be empty");
}

/*
 * What an array holds. Elements that no server takes, and ids mixed with anything else, are refused
 * by their place.
 */
static int survey_inputs(struct openai_body *b, const struct field *f, unsigned *ret_kinds,
                         size_t *ret_n)
{
    struct json_iter it;
    struct str name, value;
    unsigned kinds = 0;
    size_t n = 0;

    json_iter_init(&it, f->value);
    for (; json_next(&it, &name, &value); n++) {
        unsigned kind = element_kind(value);

        if (kind == 0 || (kinds != 0 && (kind == HAS_NUMBERS) != (kinds == HAS_NUMBERS))) {
            int r = field_fail(f->problem, "", "'%s' must hold strings, or token ids", f->name);

            return field_within(r, f->problem, "%s[%zu]", f->name, n);
        }
        if (kind == HAS_LISTS) {
            int r = field_within(check_ids(b, f, value), f->problem, "%s[%zu]", f->name, n);

            if (r < 0) {
                return r;
            }
        }
        kinds |= kind;
    }
    if (n == 0) {
        return field_fail(f->problem, f->name, "'%s' must not be empty", f->name);
    }
    *ret_kinds = kinds;
    *ret_n = n;
    return kinds == HAS_NUMBERS ? field_within(check_ids(b, f, f->value), f->problem, "%s", f->name)
                                : 0;
}

static int dup_texts(struct openai_body *b, struct str value, size_t n, struct str **ret_texts)
{
    struct str *texts = arena_array(&b->req->arena, n, sizeof *texts);
    struct json_iter it;
    struct str name, element;
    int r;

    if (!texts) {
        return -ENOMEM;
    }
    if (json_type(value) == JSON_STRING) {
        *ret_texts = texts;
        return json_string_dup(value, &b->req->arena, texts);
    }
    json_iter_init(&it, value);
    for (size_t i = 0; i < n && json_next(&it, &name, &element); i++) {
        r = json_string_dup(element, &b->req->arena, &texts[i]);
        if (r < 0) {
            return r;
        }
    }
    *ret_texts = texts;
    return 0;
}

int openai_body_inputs(struct openai_body *b, const char *name, size_t max, struct str **ret_texts,
                       size_t *ret_n)
{
    struct field f = openai_body_member(b, name);
    unsigned kinds = HAS_STRINGS;
    size_t n = 1;
    int r;

    if (!field_is_present(&f)) {
        return field_fail(b->problem, name, "'%s' is required", name);
    }
    if (json_type(f.value) == JSON_ARRAY) {
        r = survey_inputs(b, &f, &kinds, &n);
        if (r < 0) {
            return r;
        }
    } else if (json_type(f.value) != JSON_STRING) {
        return field_fail_type(&f, "a string or an array");
    }
    if (kinds != HAS_NUMBERS && n > max) {
        return field_fail(b->problem, name, "'%s' may hold at most %zu entries", name, max);
    }
    if (kinds != HAS_STRINGS) {
        openai_body_mark_raw_only(b, name);
        return 0;
    }
    r = dup_texts(b, f.value, n, ret_texts);
    if (r == 0) {
        *ret_n = n;
    }
    return r;
}

/* vLLM's truncate_prompt_tokens; truncate is Ollama's and others'. */
static void decode_cutting(struct openai_body *b)
{
    b->req->may_be_cut = !json_is_null(request_member(b->req, "truncate_prompt_tokens")) ||
                         json_is_true(request_member(b->req, "truncate"));
}

static int decode_complete(struct openai_body *b)
{
    struct field suffix = openai_body_member(b, "suffix");
    struct str *prompts = NULL;
    size_t n = 0;
    int r = openai_body_inputs(b, "prompt", OPENAI_MAX_ANSWERS / b->req->sampling.n_choices,
                               &prompts, &n);

    if (r < 0) {
        return r;
    }
    if (n > 0) {
        b->req->prompt = prompts[0];
    }
    if (n > 1) {
        b->req->prompts = prompts;
        b->req->n_prompts = n;
    }
    return field_string(&suffix, &b->req->arena, &b->req->suffix);
}

static int decode_embed(struct openai_body *b)
{
    struct field format = openai_body_member(b, "encoding_format"),
                 dimensions = openai_body_member(b, "dimensions");
    struct str name = STR_LIT("float");
    int64_t n_dimensions = 0;
    int r = openai_body_inputs(b, "input", REQUEST_MAX_INPUTS, &b->req->inputs, &b->req->n_inputs);

    if (r < 0) {
        return r;
    }
    r = field_string(&format, &b->req->arena, &name);
    if (r < 0) {
        return r;
    }
    if (!str_is(name, "float") && !str_is(name, "base64")) {
        return field_fail(b->problem, format.name, "'encoding_format' must be float or base64");
    }
    b->req->wants_base64 = str_is(name, "base64");
    r = field_i64(&dimensions, 1, INT32_MAX, &n_dimensions);
    b->req->dimensions = (uint32_t) n_dimensions;
    return r;
}

/* ---- */

static int decode_kind(struct openai_body *b)
{
    int r;

    switch (b->req->kind) {
    case REQUEST_CHAT:
        r = openai_body_sampling(b);
        return r < 0 ? r : decode_chat(b);
    case REQUEST_COMPLETE:
        r = openai_body_sampling(b);
        return r < 0 ? r : decode_complete(b);
    case REQUEST_EMBED:
        return decode_embed(b);
    case REQUEST_RERANK:
        return openai_body_rerank(b);
    case REQUEST_CLASSIFY:
        return openai_body_classify(b);
    }
    assert(0);
    return 0;
}

int openai_decode_request(struct request *req, struct str body, struct problem *ret_problem)
{
    static int (*const steps[])(struct openai_body *) = {
        decode_members,      decode_model,  openai_body_gateway, decode_class,
        openai_body_carried, decode_stream, decode_kind};
    struct openai_body b = {.req = req, .problem = ret_problem};
    int r = check_body(body, ret_problem);

    assert(!req->body.ptr && req->n_members == 0);
    if (r < 0) {
        return r;
    }
    req->body = arena_copy(&req->arena, body);
    if (!req->body.ptr) {
        return -ENOMEM;
    }
    req->dialect = DIALECT_OPENAI;
    req->total_bytes = body.len;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        r = steps[i](&b);
        if (r < 0) {
            return r;
        }
    }
    decode_cutting(&b);
    return 0;
}

/* How many answers the inputs of a member ask for. */
static size_t count_inputs(struct str value)
{
    struct json_iter it;
    struct str name, first;

    if (json_type(value) != JSON_ARRAY) {
        return 1;
    }
    json_iter_init(&it, value);
    if (!json_next(&it, &name, &first) || json_type(first) == JSON_NUMBER) {
        return 1;
    }
    return field_count(value);
}

size_t openai_count_answers(const struct request *req)
{
    switch (req->kind) {
    case REQUEST_CHAT:
        return req->sampling.n_choices;
    case REQUEST_COMPLETE:
        return req->sampling.n_choices * count_inputs(request_member(req, "prompt"));
    case REQUEST_EMBED:
    case REQUEST_CLASSIFY:
        return req->n_inputs > 0 ? req->n_inputs : count_inputs(request_member(req, "input"));
    case REQUEST_RERANK:
        return openai_count_documents(req);
    }
    assert(0);
    return 0;
}
