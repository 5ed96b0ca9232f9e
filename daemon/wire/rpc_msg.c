/*
 * Requests of the RPC, from protobuf to the neutral model. rpc_msg_encode.c has the other
 * direction.
 *
 *   payload ──► rpc_msg_unpack: checked protobuf-c structs in an arena of their own
 *           ──► struct request, in its own arena
 *
 * The first arena is thrown away at the end, so a request in the queue holds its texts once and no
 * protobuf structs; nothing here may keep a pointer into it or into payload.
 *
 * Proto3 has no null: an empty string means "not set". JSON that the caller hands over as text is
 * checked here, once, so that later stages may splice it. Ranges are those of OpenAI's API,
 * whichever way a request comes in.
 */
#include "wire/rpc_msg.h"

#include <assert.h>
#include <errno.h>
#include <strings.h>

#include "sluice.pb-c.h"
#include "wire/base64.h"
#include "wire/field.h"
#include "wire/json.h"
#include "wire/openai_fields.h"
#include "wire/openai_gateway.h"
#include "wire/openai_tools.h"
#include "wire/rpc_msg_unpack.h"

#define MAX_TOP_LOGPROBS 20 /* OpenAI's and Ollama's own limit */

struct decode {
    struct request *req;
    struct problem *problem;
};

/* ---- texts and numbers */

/* A copy in the request's arena; the empty string of protobuf-c becomes an absent one. */
static int take_text(struct decode *d, const char *text, struct str *ret)
{
    if (text[0] == '\0') {
        return 0;
    }
    *ret = arena_copy(&d->req->arena, str_from(text));
    return ret->ptr ? 0 : -ENOMEM;
}

/* As take_text(), of JSON text. */
static int take_json(struct decode *d, const char *name, const char *text, struct str *ret)
{
    struct json_error error;
    int r;

    if (text[0] == '\0') {
        return 0;
    }
    r = json_check(str_from(text), &error);
    if (r == -EBADMSG) {
        return field_fail(d->problem, name, "'%s' is not valid JSON: %s at byte %zu", name,
                          error.text, error.offset);
    }
    return r < 0 ? r : take_text(d, text, ret);
}

/* JSON text of one type, "an object" or "an array" in words. */
static int take_json_of(struct decode *d, const char *name, const char *text, enum json_type type,
                        struct str *ret)
{
    int r = take_json(d, name, text, ret);

    if (r == 0 && ret->ptr && json_type(*ret) != type) {
        return field_fail(d->problem, name, "'%s' must hold %s", name,
                          type == JSON_ARRAY ? "a JSON array" : "a JSON object");
    }
    return r;
}

static int take_u32(struct decode *d, const char *name, uint32_t v, uint32_t max, uint32_t *ret)
{
    if (v > max) {
        return field_fail(d->problem, name, "'%s' must be between 0 and %u", name, max);
    }
    *ret = v;
    return 0;
}

/* ---- what all kinds have */

static int decode_options(struct decode *d, const Sluice__V1__CallOptions *o)
{
    static const enum call_class classes[] = {
        [SLUICE__V1__CLASS__CLASS_UNSPECIFIED] = CLASS_INTERACTIVE,
        [SLUICE__V1__CLASS__CLASS_INTERACTIVE] = CLASS_INTERACTIVE,
        [SLUICE__V1__CLASS__CLASS_BATCH] = CLASS_BATCH,
        [SLUICE__V1__CLASS__CLASS_BACKGROUND] = CLASS_BACKGROUND,
    };
    struct request *req = d->req;

    if (!o) {
        req->class = CLASS_INTERACTIVE;
        return 0;
    }
    if ((size_t) o->class_ >= ARRAY_LEN(classes)) { /* open enums: any int32 may come */
        return field_fail(d->problem, "options.class", "'class' is not one of enum Class");
    }
    if (o->request_id[0] != '\0' && !request_id_is_valid(str_from(o->request_id))) {
        return field_fail(d->problem, "options.request_id",
                          "'request_id' must be 1 to %d characters of [A-Za-z0-9._-]",
                          REQUEST_ID_MAX);
    }
    (void) snprintf(req->id, sizeof req->id, "%s", o->request_id);
    req->deadline_usec = o->deadline_usec;
    req->class = classes[o->class_];
    return 0;
}

/* Names end up in logs and on terminals: no C0, DEL or C1 (c2 80 to c2 9f). */
static bool has_control_characters(const char *z)
{
    for (const uint8_t *p = (const uint8_t *) z; *p; p++) {
        if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0)) {
            return true;
        }
    }
    return false;
}

static int decode_model(struct decode *d, const char *model)
{
    size_t n = strlen(model);

    if (n == 0) {
        return field_fail(d->problem, "model", "'model' is required");
    }
    if (n > REQUEST_MODEL_MAX) {
        return field_fail(d->problem, "model", "'model' may have at most %d bytes",
                          REQUEST_MODEL_MAX);
    }
    if (has_control_characters(model)) {
        return field_fail(d->problem, "model", "'model' must not hold control characters");
    }
    return take_text(d, model, &d->req->model);
}

/* An empty string would stop nothing, or everything: left out. */
static int decode_stop(struct decode *d, char *const *stop, size_t n)
{
    struct sampling *s = &d->req->sampling;

    if (n == 0) {
        return 0;
    }
    s->stop = arena_array(&d->req->arena, n, sizeof *s->stop);
    if (!s->stop) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        struct str *to = &s->stop[s->n_stop];
        int r = take_text(d, stop[i], to);

        if (r < 0) {
            return r;
        }
        s->n_stop += to->ptr ? 1 : 0;
    }
    s->set |= s->n_stop > 0 ? SAMPLING_STOP : 0U;
    return 0;
}

/* Presence is the case of a one-member oneof: its number, or 0. */
static int decode_doubles(struct decode *d, const Sluice__V1__Sampling *m)
{
    struct sampling *s = &d->req->sampling;
    const struct {
        const char *name;
        bool is_set;
        enum sampling_bit bit;
        double value, min, max, *to;
    } rules[] = {
        {"temperature", m->temperature_opt_case != 0, SAMPLING_TEMPERATURE, m->temperature, 0, 2,
         &s->temperature},
        {"top_p", m->top_p_opt_case != 0, SAMPLING_TOP_P, m->top_p, 0, 1, &s->top_p},
        {"min_p", m->min_p_opt_case != 0, SAMPLING_MIN_P, m->min_p, 0, 1, &s->min_p},
        {"frequency_penalty", m->frequency_penalty_opt_case != 0, SAMPLING_FREQUENCY_PENALTY,
         m->frequency_penalty, -2, 2, &s->frequency_penalty},
        {"presence_penalty", m->presence_penalty_opt_case != 0, SAMPLING_PRESENCE_PENALTY,
         m->presence_penalty, -2, 2, &s->presence_penalty},
    };

    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        double v = rules[i].value;

        if (!rules[i].is_set) {
            continue;
        }
        if (!(v >= rules[i].min && v <= rules[i].max)) { /* what is not a number fails too */
            return field_fail(d->problem, rules[i].name, "'%s' must be between %g and %g",
                              rules[i].name, rules[i].min, rules[i].max);
        }
        *rules[i].to = v;
        s->set |= rules[i].bit;
    }
    return 0;
}

/* The upper ends are those of the model servers' int. */
static int decode_integers(struct decode *d, const Sluice__V1__Sampling *m)
{
    struct sampling *s = &d->req->sampling;
    int r;

    if (m->seed_opt_case != 0) {
        s->seed = m->seed;
        s->set |= SAMPLING_SEED;
    }
    if (m->top_k_opt_case != 0) {
        r = take_u32(d, "top_k", m->top_k, INT32_MAX, &s->top_k);
        if (r < 0) {
            return r;
        }
        s->set |= SAMPLING_TOP_K;
    }
    r = take_u32(d, "max_tokens", m->max_tokens, INT32_MAX, &s->max_tokens);
    if (r < 0) {
        return r;
    }
    s->set |= m->max_tokens > 0 ? SAMPLING_MAX_TOKENS : 0U;
    s->logprobs = m->logprobs != 0;
    return take_u32(d, "top_logprobs", m->top_logprobs, MAX_TOP_LOGPROBS, &s->top_logprobs);
}

static int decode_sampling(struct decode *d, const Sluice__V1__Sampling *m)
{
    int r;

    if (!m) {
        return 0;
    }
    r = decode_doubles(d, m);
    if (r == 0) {
        r = decode_integers(d, m);
    }
    if (r == 0) {
        r = decode_stop(d, m->stop, m->n_stop);
    }
    if (r == 0) {
        r = take_json_of(d, "extra_json", m->extra_json, JSON_OBJECT, &d->req->extra);
    }
    return field_within(r, d->problem, "sampling");
}

/* ---- messages */

static int decode_image(struct decode *d, const Sluice__V1__Image *m, struct content_part *part)
{
    bool has_content = m->content.len > 0, has_url = m->url[0] != '\0';
    struct str bytes = {(const char *) m->content.data, m->content.len};
    int r;

    if (has_content == has_url) {
        return field_fail(d->problem, "", "an image needs either 'content' or 'url'");
    }
    part->type = PART_IMAGE;
    r = take_text(d, m->media_type, &part->media_type);
    if (r < 0) {
        return r;
    }
    if (has_url) {
        /*
         * what a model server may safely be told to fetch: file: and the like would read its disk
         */
        if (strncasecmp(m->url, "http://", 7) != 0 && strncasecmp(m->url, "https://", 8) != 0) {
            return field_fail(d->problem, "url", "'url' must be an http: or https: URL");
        }
        return take_text(d, m->url, &part->url);
    }

    size_t n = base64_encoded_size(bytes.len);
    char *text = arena_alloc(&d->req->arena, n);

    if (!text) {
        return -ENOMEM;
    }
    base64_encode_to(bytes, text);
    part->data = (struct str) {text, n};
    return 0;
}

/*
 * The text, then the images. An assistant that only called tools said nothing; everybody else said
 * at least "".
 */
static int decode_parts(struct decode *d, const Sluice__V1__Message *m, struct message *ret)
{
    bool has_text = m->text[0] != '\0' || (m->n_images == 0 && m->n_tool_calls == 0);
    size_t n = m->n_images + (has_text ? 1 : 0);
    int r;

    ret->parts = arena_array(&d->req->arena, n, sizeof *ret->parts);
    if (!ret->parts) {
        return -ENOMEM;
    }
    if (has_text) {
        struct content_part *part = &ret->parts[ret->n_parts++];

        *part = (struct content_part) {.type = PART_TEXT, .text = STR_LIT("")};
        r = take_text(d, m->text, &part->text);
        if (r < 0) {
            return r;
        }
    }
    for (size_t i = 0; i < m->n_images; i++) {
        r = decode_image(d, m->images[i], &ret->parts[ret->n_parts++]);
        if (r < 0) {
            return field_within(r, d->problem, "images[%zu]", i);
        }
    }
    return 0;
}

/*
 * Arguments stay what they are, even where a model once wrote text that is no JSON: the provider
 * decides what it can say.
 */
static int decode_tool_call(struct decode *d, const Sluice__V1__ToolCall *m, struct tool_call *ret)
{
    int r;

    if (m->name[0] == '\0') {
        return field_fail(d->problem, "name", "a tool call needs a 'name'");
    }
    r = take_text(d, m->id, &ret->id);
    if (r == 0) {
        r = take_text(d, m->name, &ret->name);
    }
    ret->arguments = STR_LIT("{}");
    return r < 0 ? r : take_text(d, m->arguments_json, &ret->arguments);
}

static int decode_tool_calls(struct decode *d, const Sluice__V1__Message *m, struct message *ret)
{
    if (m->n_tool_calls == 0) {
        return 0;
    }
    if (ret->role != ROLE_ASSISTANT) {
        return field_fail(d->problem, "tool_calls", "only the assistant calls tools");
    }
    ret->tool_calls = arena_array(&d->req->arena, m->n_tool_calls, sizeof *ret->tool_calls);
    if (!ret->tool_calls) {
        return -ENOMEM;
    }
    ret->n_tool_calls = m->n_tool_calls;
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        int r = decode_tool_call(d, m->tool_calls[i], &ret->tool_calls[i]);

        if (r < 0) {
            return field_within(r, d->problem, "tool_calls[%zu]", i);
        }
    }
    return 0;
}

static int decode_message(struct decode *d, const Sluice__V1__Message *m, struct message *ret)
{
    static const enum message_role roles[] = {
        [SLUICE__V1__ROLE__ROLE_SYSTEM] = ROLE_SYSTEM,
        [SLUICE__V1__ROLE__ROLE_USER] = ROLE_USER,
        [SLUICE__V1__ROLE__ROLE_ASSISTANT] = ROLE_ASSISTANT,
        [SLUICE__V1__ROLE__ROLE_TOOL] = ROLE_TOOL,
    };
    int r;

    if (m->role == SLUICE__V1__ROLE__ROLE_UNSPECIFIED || (size_t) m->role >= ARRAY_LEN(roles)) {
        return field_fail(d->problem, "role", "'role' must be system, user, assistant or tool");
    }
    ret->role = roles[m->role];
    r = decode_tool_calls(d, m, ret);
    if (r == 0) {
        r = decode_parts(d, m, ret);
    }
    if (r == 0) {
        r = take_text(d, m->tool_call_id, &ret->tool_call_id);
    }
    if (r == 0) {
        r = take_text(d, m->name, &ret->name);
    }
    return r < 0 ? r : take_text(d, m->thinking, &ret->thinking);
}

static int decode_messages(struct decode *d, Sluice__V1__Message *const *messages, size_t n)
{
    struct request *req = d->req;

    if (n == 0) {
        return field_fail(d->problem, "messages", "'messages' must hold at least one message");
    }
    req->messages = arena_array(&req->arena, n, sizeof *req->messages);
    if (!req->messages) {
        return -ENOMEM;
    }
    for (; req->n_messages < n; req->n_messages++) {
        int r = decode_message(d, messages[req->n_messages], &req->messages[req->n_messages]);

        if (r < 0) {
            return field_within(r, d->problem, "messages[%zu]", req->n_messages);
        }
    }
    return 0;
}

/* ---- the kinds */

static int decode_tools(struct decode *d, const char *text)
{
    const char *name = "tools_json";
    struct request *req = d->req;
    bool is_plain = true;
    int r = take_json_of(d, name, text, JSON_ARRAY, &req->tools);

    if (r < 0 || !req->tools.ptr) {
        return r;
    }
    r = openai_check_tools(req, req->tools, &is_plain, d->problem);
    if (!is_plain) {
        req->is_raw_only = true;
        req->raw_only_param = name;
    }
    return field_within(r, d->problem, "%s", name);
}

static int decode_tool_choice(struct decode *d, const char *text)
{
    const char *name = "tool_choice_json";
    struct str *choice = &d->req->tool_choice;
    int r = take_json(d, name, text, choice);

    if (r < 0 || !choice->ptr) {
        return r;
    }
    if (json_type(*choice) != JSON_STRING && json_type(*choice) != JSON_OBJECT) {
        return field_fail(d->problem, name, "'%s' must hold a JSON string or object", name);
    }
    return field_within(openai_check_tool_choice(d->req, *choice, d->problem), d->problem, "%s",
                        name);
}

static int decode_format(struct decode *d, const char *text)
{
    const char *name = "response_format_json";
    struct str *format = &d->req->response_format;
    bool is_text;
    int r = take_json_of(d, name, text, JSON_OBJECT, format);

    if (r < 0 || !format->ptr) {
        return r;
    }
    return field_within(openai_check_response_format(d->req, *format, &is_text, d->problem),
                        d->problem, "%s", name);
}

static int decode_effort(struct decode *d, const char *text)
{
    static const char *const efforts[] = {"none", "minimal", "low", "medium", "high", "max"};

    for (size_t i = 0; text[0] != '\0' && strcmp(text, efforts[i]) != 0;) {
        if (++i == ARRAY_LEN(efforts)) {
            return field_fail(d->problem, "reasoning_effort",
                              "'reasoning_effort' must be none, minimal, low, medium, high or max");
        }
    }
    return take_text(d, text, &d->req->reasoning_effort);
}

/* What every request begins with. */
static int decode_head(struct decode *d, const Sluice__V1__CallOptions *options, const char *model)
{
    int r = decode_options(d, options);

    return r < 0 ? r : decode_model(d, model);
}

static int decode_chat(struct decode *d, const ProtobufCMessage *message)
{
    const Sluice__V1__ChatRequest *m = (const Sluice__V1__ChatRequest *) message;
    int r = decode_head(d, m->options, m->model);

    if (r == 0) {
        r = decode_messages(d, m->messages, m->n_messages);
    }
    if (r == 0) {
        r = decode_sampling(d, m->sampling);
    }
    if (r == 0) {
        r = decode_tools(d, m->tools_json);
    }
    if (r == 0) {
        r = decode_tool_choice(d, m->tool_choice_json);
    }
    if (r == 0) {
        r = decode_format(d, m->response_format_json);
    }
    return r < 0 ? r : decode_effort(d, m->reasoning_effort);
}

static int decode_complete(struct decode *d, const ProtobufCMessage *message)
{
    const Sluice__V1__CompleteRequest *m = (const Sluice__V1__CompleteRequest *) message;
    int r = decode_head(d, m->options, m->model);

    if (r < 0) {
        return r;
    }
    if (m->prompt[0] == '\0') {
        return field_fail(d->problem, "prompt", "'prompt' is required");
    }
    r = take_text(d, m->prompt, &d->req->prompt);
    if (r == 0) {
        r = take_text(d, m->suffix, &d->req->suffix);
    }
    return r < 0 ? r : decode_sampling(d, m->sampling);
}

static int take_inputs(struct decode *d, const char *name, char *const *texts, size_t n)
{
    struct request *req = d->req;

    if (n == 0) {
        return field_fail(d->problem, name, "'%s' must hold at least one text", name);
    }
    req->inputs = arena_array(&req->arena, n, sizeof *req->inputs);
    if (!req->inputs) {
        return -ENOMEM;
    }
    for (; req->n_inputs < n; req->n_inputs++) {
        struct str *to = &req->inputs[req->n_inputs];
        int r;

        *to = STR_LIT("");
        r = take_text(d, texts[req->n_inputs], to);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int decode_embed(struct decode *d, const ProtobufCMessage *message)
{
    const Sluice__V1__EmbedRequest *m = (const Sluice__V1__EmbedRequest *) message;
    int r = decode_head(d, m->options, m->model);

    if (r == 0) {
        r = take_inputs(d, "inputs", m->inputs, m->n_inputs);
    }
    return r < 0 ? r : take_u32(d, "dimensions", m->dimensions, INT32_MAX, &d->req->dimensions);
}

static int decode_rerank(struct decode *d, const ProtobufCMessage *message)
{
    const Sluice__V1__RerankRequest *m = (const Sluice__V1__RerankRequest *) message;
    int r = decode_head(d, m->options, m->model);

    if (r == 0 && m->query[0] == '\0') {
        r = field_fail(d->problem, "query", "'query' is required");
    }
    if (r == 0) {
        r = take_text(d, m->query, &d->req->query);
    }
    if (r == 0) {
        r = take_inputs(d, "documents", m->documents, m->n_documents);
    }
    if (r == 0) {
        r = take_u32(d, "top_n", m->top_n, INT32_MAX, &d->req->top_n);
    }
    return r < 0 ? r : take_json_of(d, "extra_json", m->extra_json, JSON_OBJECT, &d->req->extra);
}

static int decode_classify(struct decode *d, const ProtobufCMessage *message)
{
    const Sluice__V1__ClassifyRequest *m = (const Sluice__V1__ClassifyRequest *) message;
    int r = decode_head(d, m->options, m->model);

    if (r == 0) {
        r = take_inputs(d, "inputs", m->inputs, m->n_inputs);
    }
    return r < 0 ? r : take_json_of(d, "extra_json", m->extra_json, JSON_OBJECT, &d->req->extra);
}

int rpc_decode_request(struct request *req, struct str payload, struct problem *ret_problem)
{
    static const struct {
        const ProtobufCMessageDescriptor *type;
        int (*decode)(struct decode *d, const ProtobufCMessage *message);
    } kinds[] = {
        [REQUEST_CHAT] = {&sluice__v1__chat_request__descriptor, decode_chat},
        [REQUEST_COMPLETE] = {&sluice__v1__complete_request__descriptor, decode_complete},
        [REQUEST_EMBED] = {&sluice__v1__embed_request__descriptor, decode_embed},
        [REQUEST_RERANK] = {&sluice__v1__rerank_request__descriptor, decode_rerank},
        [REQUEST_CLASSIFY] = {&sluice__v1__classify_request__descriptor, decode_classify},
    };
    CLEANUP(rpc_unpacked_done) struct rpc_unpacked u = {0};
    struct decode d = {req, ret_problem};
    int r;

    assert(req->n_messages == 0 && req->n_inputs == 0 && !req->model.ptr);
    r = rpc_unpack(&u, kinds[req->kind].type, payload, ret_problem);
    if (r < 0) {
        return r;
    }
    req->dialect = DIALECT_NONE;
    req->total_bytes = payload.len;
    req->stream = request_kind_is_text(req->kind);
    req->include_usage = true; /* Done has it */
    r = kinds[req->kind].decode(&d, u.message);
    if (r == 0) {
        r = openai_check_extra(req, ret_problem);
    }
    return r < 0 ? r : openai_gateway_read_extra(req, ret_problem);
}

int rpc_decode_cancel(struct str payload, char ret_id[REQUEST_ID_MAX + 1],
                      struct problem *ret_problem)
{
    CLEANUP(rpc_unpacked_done) struct rpc_unpacked u = {0};
    int r = rpc_unpack(&u, &sluice__v1__cancel_request__descriptor, payload, ret_problem);

    if (r == -ENOMEM) {
        r = field_fail(ret_problem, "", "%s", errcode_info(ERRCODE_OUT_OF_MEMORY)->text);
        ret_problem->code = ERRCODE_OUT_OF_MEMORY;
    }
    if (r < 0) {
        return r;
    }

    const char *id = ((const Sluice__V1__CancelRequest *) u.message)->request_id;

    if (!request_id_is_valid(str_from(id))) {
        return field_fail(ret_problem, "request_id",
                          "'request_id' must be 1 to %d characters of [A-Za-z0-9._-]",
                          REQUEST_ID_MAX);
    }
    memcpy(ret_id, id, strlen(id) + 1);
    return 0;
}
