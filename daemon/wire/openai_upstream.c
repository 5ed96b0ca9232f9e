/*
 * Requests in the OpenAI dialect (see openai_upstream.h; the answers are openai_decode.c's and
 * openai_error.c's).
 *
 * A body that came in this dialect is spliced: the text of each member as it was sent, in its
 * order. Three kinds of member are not:
 *
 *   forced    model, stream, stream_options, encoding_format: sluice's own, whatever the client
 *             sent
 *   gateway's what is said to a gateway, not to a model (openai_gateway.h): LiteLLM's per-request
 *             overrides, Ollama's load options, where to connect and with which key
 *   null      the same as absent where the deployment has a default
 *
 * What the deployment drops (LiteLLM's additional_drop_params) is not sent, whoever says it: the
 * client, the configuration, or this file with a forced member.
 *
 * Other requests (RPC) are written from the neutral model, then the caller's extra members follow
 * under the same rules. Last come the deployment's overrides, which win over what the client sent,
 * and its defaults, which do not. No name is written twice.
 */
#include "wire/openai_upstream.h"

#include <assert.h>
#include <errno.h>

#include "wire/field.h"
#include "wire/json.h"
#include "wire/openai_fields.h"
#include "wire/openai_gateway.h"
#include "wire/openai_rerank.h"
#include "wire/put.h"

#define MAX_WRITTEN 40 /* members that are written by name below: about 25 in the longest request */

struct encoder {
    const struct request *req;
    const struct openai_target *target;
    struct put put;
    struct put discarded; /* where the values of overridden members go: it takes nothing */
    const char *written[MAX_WRITTEN]; /* names of members that do not stem from the client's body */
    size_t n_written;
    bool is_empty; /* no member yet */
};

const char *openai_path(enum request_kind kind)
{
    switch (kind) {
    case REQUEST_CHAT:
        return "chat/completions";
    case REQUEST_COMPLETE:
        return "completions";
    case REQUEST_EMBED:
        return "embeddings";
    case REQUEST_RERANK:
        return "rerank";
    case REQUEST_CLASSIFY:
        return "../classify"; /* vLLM has it beside /v1, not below */
    }
    assert(0);
    return "";
}

/* ---- which members */

static bool is_one_of(struct str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

/* A top_n of 0 asks vLLM for all documents, as here, and llama-server for none. */
static bool is_all_documents(const struct encoder *e, struct str name)
{
    return e->req->kind == REQUEST_RERANK && e->req->top_n == 0 && str_is(name, "top_n");
}

/* Written by put_forced(), or left out. */
static bool is_forced(const struct encoder *e, struct str name)
{
    return str_is(name, "model") || str_is(name, "stream") || str_is(name, "stream_options") ||
           (e->req->kind == REQUEST_EMBED && str_is(name, "encoding_format")) ||
           is_all_documents(e, name);
}

/*
 * What a configuration or extra_json may not bring in, since the rest of sluice reckons with the
 * request as it was decoded.
 */
static bool is_structural(struct str name)
{
    static const char *const names[] = {"messages", "prompt",    "input", "n",
                                        "best_of",  "documents", "query", "top_n"};

    return is_one_of(name, names, ARRAY_LEN(names));
}

/* A deployment's sampling defaults are for text; servers refuse them beside anything else. */
static bool is_for_text(struct str name)
{
    static const char *const names[] = {
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "seed",
        "stop",
        "frequency_penalty",
        "presence_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "response_format",
        "reasoning_effort",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
    };

    return is_one_of(name, names, ARRAY_LEN(names));
}

static bool kv_has(const struct kv *kv, struct str name)
{
    for (size_t i = 0; kv && i < kv->n_items; i++) {
        if (str_is(name, kv->items[i].name)) {
            return true;
        }
    }
    return false;
}

/*
 * Does the deployment never send the member? What a request asks about, and of which model, is no
 * parameter: without it there is no request.
 */
static bool is_dropped(const struct encoder *e, struct str name)
{
    static const char *const needed[] = {"model", "messages",  "prompt",
                                         "input", "documents", "query"};

    return kv_has(e->target->dropped, name) && !is_one_of(name, needed, ARRAY_LEN(needed));
}

/* Did the client say it? What is dropped counts as not said. */
static bool is_sent(const struct encoder *e, const char *name)
{
    if (is_dropped(e, str_from(name))) {
        return false;
    }
    return is_one_of(str_from(name), e->written, e->n_written) ||
           !json_is_null(request_member(e->req, name)) ||
           !json_is_null(e->req->extra.ptr ? json_find(e->req->extra, name) : STR_NONE);
}

static bool has_default(const struct encoder *e, struct str name)
{
    return kv_has(e->target->defaults, name);
}

/* Has the deployment a value that wins over the client's? */
static bool is_overridden(const struct encoder *e, struct str name)
{
    return kv_has(e->target->overrides, name) && !is_forced(e, name) && !is_structural(name);
}

/* max_tokens and max_completion_tokens are one parameter with two names. */
static bool is_default_wanted(const struct encoder *e, const char *name)
{
    struct str s = str_from(name);
    bool is_cap = str_is(s, "max_tokens") || str_is(s, "max_completion_tokens");

    if (is_forced(e, s) || is_structural(s) || is_dropped(e, s) ||
        (!request_kind_is_text(e->req->kind) && is_for_text(s))) {
        return false;
    }
    if (is_cap && (is_sent(e, "max_tokens") || is_sent(e, "max_completion_tokens"))) {
        return false;
    }
    return !is_sent(e, name) && !is_overridden(e, s);
}

/* ---- writing members */

static struct put *begin_member(struct encoder *e, struct str name)
{
    put_char(&e->put, e->is_empty ? '{' : ',');
    e->is_empty = false;
    put_json_string(&e->put, name);
    put_char(&e->put, ':');
    return &e->put;
}

/*
 * A member that does not stem from the client's body. name is static, or lives as long as the
 * target.
 */
static struct put *begin_own(struct encoder *e, const char *name)
{
    assert(e->n_written < MAX_WRITTEN);
    e->written[e->n_written++] = name;
    if (is_overridden(e, str_from(name)) || is_dropped(e, str_from(name))) {
        return &e->discarded;
    }
    return begin_member(e, str_from(name));
}

static void put_forced(struct encoder *e)
{
    put_json_string(begin_own(e, "model"), str_from(e->target->model));
    if (e->req->kind == REQUEST_EMBED) {
        put_z(begin_own(e, "encoding_format"), "\"float\"");
    }
    if (request_kind_is_text(e->req->kind)) {
        put_z(begin_own(e, "stream"), "true");
        put_z(begin_own(e, "stream_options"), "{\"include_usage\":true}");
    }
}

static void put_overrides(struct encoder *e)
{
    const struct kv *overrides = e->target->overrides;

    for (size_t i = 0; overrides && i < overrides->n_items; i++) {
        struct str name = str_from(overrides->items[i].name);

        if (is_overridden(e, name) && !is_dropped(e, name)) {
            put_z(begin_member(e, name), overrides->items[i].value);
        }
    }
}

static void put_defaults(struct encoder *e)
{
    const struct kv *defaults = e->target->defaults;

    for (size_t i = 0; defaults && i < defaults->n_items; i++) {
        if (is_default_wanted(e, defaults->items[i].name)) {
            put_z(begin_member(e, str_from(defaults->items[i].name)), defaults->items[i].value);
        }
    }
}

/* ---- the client's own body */

static void splice_members(struct encoder *e)
{
    for (size_t i = 0; i < e->req->n_members; i++) {
        const struct request_member *m = &e->req->members[i];
        bool is_replaced = json_is_null(m->value) && has_default(e, m->name);

        if (is_forced(e, m->name) || m->is_for_gateway || is_replaced ||
            is_overridden(e, m->name) || is_dropped(e, m->name)) {
            continue;
        }
        if (e->req->kind == REQUEST_RERANK && str_is(m->name, "documents")) {
            openai_put_documents(begin_member(e, m->name), m->value);
        } else {
            put_str(begin_member(e, m->name), m->value);
        }
    }
}

/* ---- the neutral request: messages */

/* Servers want a media type; the first letters of the base64 of a file tell it. */
static struct str media_type_of(const struct content_part *part)
{
    static const struct {
        const char *letters, *media_type;
    } table[] = {
        {"iVBORw0KGgo", "image/png"},
        {"/9j/", "image/jpeg"},
        {"R0lGOD", "image/gif"},
        {"UklGR", "image/webp"},
    };

    for (size_t i = 0; !part->media_type.len && i < ARRAY_LEN(table); i++) {
        if (str_has_prefix(part->data, table[i].letters)) {
            return str_from(table[i].media_type);
        }
    }
    return part->media_type.len ? part->media_type : STR_LIT("image/png");
}

/* Inside a JSON string: what would need an escape does not belong into a media type or base64. */
static void put_plain(struct put *p, struct str s)
{
    size_t done = 0;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\') {
            put_bytes(p, s.ptr + done, i - done);
            put_char(p, '_');
            done = i + 1;
        }
    }
    put_bytes(p, s.ptr + done, s.len - done);
}

static void put_image(struct put *p, const struct content_part *part)
{
    put_z(p, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
    if (part->data.ptr) {
        put_z(p, "\"data:");
        put_plain(p, media_type_of(part));
        put_z(p, ";base64,");
        put_plain(p, part->data);
        put_char(p, '"');
    } else {
        put_json_string(p, part->url);
    }
    put_z(p, "}}");
}

static void put_part(struct put *p, const struct content_part *part)
{
    switch (part->type) {
    case PART_TEXT:
        put_z(p, "{\"type\":\"text\",\"text\":");
        put_json_string(p, part->text);
        put_char(p, '}');
        break;
    case PART_IMAGE:
        put_image(p, part);
        break;
    case PART_OPAQUE:
        assert(0); /* only a body of this dialect has them, and that is spliced */
        break;
    }
}

/* A string where one will do: many servers know nothing else. */
static void put_content(struct put *p, const struct message *m)
{
    put_z(p, ",\"content\":");
    if (m->n_parts == 0) {
        put_z(p, m->n_tool_calls > 0 ? "null" : "\"\"");
        return;
    }
    if (m->n_parts == 1 && m->parts[0].type == PART_TEXT) {
        put_json_string(p, m->parts[0].text);
        return;
    }
    for (size_t i = 0; i < m->n_parts; i++) {
        put_char(p, i > 0 ? ',' : '[');
        put_part(p, &m->parts[i]);
    }
    put_char(p, ']');
}

static void put_tool_calls(struct put *p, const struct message *m)
{
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        const struct tool_call *call = &m->tool_calls[i];

        put_z(p, i > 0 ? ",{\"id\":" : ",\"tool_calls\":[{\"id\":");
        put_json_string(p, call->id);
        put_z(p, ",\"type\":\"function\",\"function\":{\"name\":");
        put_json_string(p, call->name);
        put_z(p, ",\"arguments\":");
        put_json_string(p, call->arguments.len > 0 ? call->arguments : STR_LIT("{}"));
        put_z(p, "}}");
    }
    put_z(p, m->n_tool_calls > 0 ? "]" : "");
}

static void put_optional(struct put *p, const char *key, struct str value)
{
    if (value.len > 0) {
        put_z(p, key);
        put_json_string(p, value);
    }
}

static void put_messages(struct encoder *e)
{
    struct put *p = begin_own(e, "messages");

    put_char(p, '[');
    for (size_t i = 0; i < e->req->n_messages; i++) {
        const struct message *m = &e->req->messages[i];

        put_z(p, i > 0 ? ",{\"role\":\"" : "{\"role\":\"");
        put_z(p, message_role_name(m->role));
        put_char(p, '"');
        put_content(p, m);
        put_optional(p, ",\"reasoning_content\":", m->thinking);
        put_optional(p, ",\"name\":", m->name);
        put_optional(p, ",\"tool_call_id\":", m->tool_call_id);
        put_tool_calls(p, m);
        put_char(p, '}');
    }
    put_char(p, ']');
}

/* ---- the neutral request: everything else */

static void put_strings(struct put *p, const struct str *strings, size_t n)
{
    put_char(p, '[');
    for (size_t i = 0; i < n; i++) {
        put_z(p, i > 0 ? "," : "");
        put_json_string(p, strings[i]);
    }
    put_char(p, ']');
}

static void put_sampling_doubles(struct encoder *e)
{
    const struct sampling *s = &e->req->sampling;
    const struct {
        enum sampling_bit bit;
        const char *name;
        double value;
    } table[] = {
        {SAMPLING_TEMPERATURE, "temperature", s->temperature},
        {SAMPLING_TOP_P, "top_p", s->top_p},
        {SAMPLING_MIN_P, "min_p", s->min_p},
        {SAMPLING_FREQUENCY_PENALTY, "frequency_penalty", s->frequency_penalty},
        {SAMPLING_PRESENCE_PENALTY, "presence_penalty", s->presence_penalty},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (s->set & table[i].bit) {
            put_json_double(begin_own(e, table[i].name), table[i].value);
        }
    }
}

static void put_logprobs(struct encoder *e)
{
    const struct sampling *s = &e->req->sampling;

    if (!s->logprobs) {
        return;
    }
    if (e->req->kind == REQUEST_COMPLETE) {
        put_u64(begin_own(e, "logprobs"), s->top_logprobs);
        return;
    }
    put_z(begin_own(e, "logprobs"), "true");
    if (s->top_logprobs > 0) {
        put_u64(begin_own(e, "top_logprobs"), s->top_logprobs);
    }
}

static void put_sampling(struct encoder *e)
{
    const struct sampling *s = &e->req->sampling;

    put_sampling_doubles(e);
    if (s->set & SAMPLING_SEED) {
        put_i64(begin_own(e, "seed"), s->seed);
    }
    if (s->set & SAMPLING_TOP_K) {
        put_u64(begin_own(e, "top_k"), s->top_k);
    }
    if (s->set & SAMPLING_MAX_TOKENS) { /* the older name is the one that every server knows */
        put_u64(begin_own(e, "max_tokens"), s->max_tokens);
    }
    if (s->set & SAMPLING_STOP) {
        put_strings(begin_own(e, "stop"), s->stop, s->n_stop);
    }
    if (s->n_choices > 1) {
        put_u64(begin_own(e, "n"), s->n_choices);
    }
    put_logprobs(e);
}

static void put_own_text(struct encoder *e, const char *name, struct str json_text)
{
    if (json_text.ptr) {
        put_str(begin_own(e, name), json_text);
    }
}

static void put_chat(struct encoder *e)
{
    put_messages(e);
    put_sampling(e);
    put_own_text(e, "tools", e->req->tools);
    put_own_text(e, "tool_choice", e->req->tool_choice);
    put_own_text(e, "response_format", e->req->response_format);
    if (e->req->reasoning_effort.len > 0) {
        put_json_string(begin_own(e, "reasoning_effort"), e->req->reasoning_effort);
    }
}

static void put_neutral(struct encoder *e)
{
    switch (e->req->kind) {
    case REQUEST_CHAT:
        put_chat(e);
        break;
    case REQUEST_COMPLETE:
        put_json_string(begin_own(e, "prompt"), e->req->prompt);
        if (e->req->suffix.ptr) {
            put_json_string(begin_own(e, "suffix"), e->req->suffix);
        }
        put_sampling(e);
        break;
    case REQUEST_EMBED:
        put_strings(begin_own(e, "input"), e->req->inputs, e->req->n_inputs);
        if (e->req->dimensions > 0) {
            put_u64(begin_own(e, "dimensions"), e->req->dimensions);
        }
        break;
    case REQUEST_RERANK:
        put_json_string(begin_own(e, "query"), e->req->query);
        put_strings(begin_own(e, "documents"), e->req->inputs, e->req->n_inputs);
        if (e->req->top_n > 0) {
            put_u64(begin_own(e, "top_n"), e->req->top_n);
        }
        break;
    case REQUEST_CLASSIFY:
        put_strings(begin_own(e, "input"), e->req->inputs, e->req->n_inputs);
        break;
    }
}

/* ---- what cannot be served */

/* What the client says in its own words and what reaches the server; else absent. */
static struct str sent_value(const struct encoder *e, const char *name)
{
    if (is_dropped(e, str_from(name)) || is_overridden(e, str_from(name))) {
        return STR_NONE;
    }
    return e->req->extra.ptr ? json_find(e->req->extra, name) : request_member(e->req, name);
}

static int unsupported(struct problem *problem, const char *param, const char *text)
{
    int r = field_fail(problem, param, "%s", text);

    problem->code = ERRCODE_UNSUPPORTED_PARAMETER;
    return r;
}

/*
 * What would be lost on the way back, as no event carries it, or what servers cannot do for a
 * stream, which is what they are always asked for.
 */
static int check_served(const struct encoder *e, struct problem *problem)
{
    int64_t best_of = 1;

    if (e->req->kind == REQUEST_CHAT && openai_wants_more_than_text(sent_value(e, "modalities"))) {
        return unsupported(problem, "modalities", "sluice carries answers of text only");
    }
    if (e->req->kind == REQUEST_COMPLETE && json_i64(sent_value(e, "best_of"), &best_of) == 0 &&
        best_of > e->req->sampling.n_choices) {
        return unsupported(problem, "best_of",
                           "'best_of' may not be above 'n': answers are streamed as they come");
    }
    return 0;
}

static int refuse_extra(struct str name, const char *why, struct problem *ret_problem)
{
    *ret_problem = (struct problem) {.code = ERRCODE_UNSUPPORTED_PARAMETER};
    (void) snprintf(ret_problem->param, sizeof ret_problem->param, "extra_json.%.*s",
                    STR_ARG(name));
    (void) snprintf(ret_problem->text, sizeof ret_problem->text, "%s", why);
    return -EBADMSG;
}

static bool asks_for_several(struct str value)
{
    int64_t n;

    return !json_is_null(value) && (json_i64(value, &n) < 0 || n > 1);
}

/*
 * The caller's further members. One that asks for several answers would get them lost on the way
 * back.
 */
static int put_extra(struct encoder *e, struct problem *ret_problem)
{
    struct json_iter it;
    struct str name, value;

    if (!e->req->extra.ptr) {
        return 0;
    }
    json_iter_init(&it, e->req->extra);
    while (json_next(&it, &name, &value)) {
        if ((str_is(name, "n") || str_is(name, "best_of")) && asks_for_several(value)) {
            return refuse_extra(name, "one call has one answer", ret_problem);
        }
        if (memchr(name.ptr, '\\', name.len)) { /* would slip past the comparisons below */
            return refuse_extra(STR_LIT("*"), "names in extra_json must not hold escapes",
                                ret_problem);
        }
        if (!is_one_of(name, e->written, e->n_written) && !is_forced(e, name) &&
            !is_structural(name) && !openai_gateway_is_member(name) && !is_overridden(e, name) &&
            !is_dropped(e, name)) {
            put_str(begin_member(e, name), value);
        }
    }
    return 0;
}

int openai_encode_request(const struct request *req, const struct openai_target *target,
                          struct buf *out, struct problem *ret_problem)
{
    struct encoder e = {.req = req,
                        .target = target,
                        .put = {out, 0},
                        .discarded = {NULL, -ECANCELED},
                        .is_empty = true};
    int r = check_served(&e, ret_problem);

    if (r < 0) {
        return r;
    }
    put_forced(&e);
    switch (req->dialect) {
    case DIALECT_OPENAI:
        splice_members(&e);
        break;
    case DIALECT_NONE:
        put_neutral(&e);
        r = put_extra(&e, ret_problem);
        break;
    }
    if (r < 0) {
        return r;
    }
    put_overrides(&e);
    put_defaults(&e);
    put_char(&e.put, '}');
    return e.put.r;
}
