/*
 * Requests in Ollama's native dialect (ollama_json.h). Here are the body and the messages;
 * ollama_options.c has the options, ollama_check.c what is refused, ollama_reply.c and
 * ollama_error.c the answers.
 *
 * Decisions:
 *   - shift and truncate are the deployment's alone, as the load options are; think and format are
 *     the client's, else the deployment's. keep_alive is the deployment's, else the client's within
 *     bounds: one client's 0 would make all others wait for a load, one client's -1 would keep the
 *     memory for ever.
 *   - truncate is false unless the deployment says otherwise: Ollama halves a prompt that is too
 *     long and says nothing (measured, 0.34).
 *   - completions are raw: no chat template around the prompt, as with every other server of
 *     completions. With a suffix the template is needed, since only it knows how the model wants a
 *     gap to be marked.
 *   - text parts of one message are joined by a newline, as llama-server and vLLM join them for
 *     templates that want a string.
 *   - tool arguments that are not a JSON object are refused: {} in their place would tell the model
 *     of a call that never happened.
 *   - an empty prompt is refused: to Ollama it means "load the model", and it answers without a
 *     token.
 */
#include "wire/ollama_body.h"

#include <assert.h>

#include "wire/field.h"
#include "wire/json.h"

#define MAX_JOINED_BYTES (64 << 20) /* text of one message; a request is smaller anyway */
/* for the name of one tool result; it stands right behind its calls */
#define MAX_CALLS_SEARCHED 1024

const char *ollama_path(enum request_kind kind)
{
    switch (kind) {
    case REQUEST_CHAT:
        return "/api/chat";
    case REQUEST_COMPLETE:
        return "/api/generate";
    case REQUEST_EMBED:
        return "/api/embed";
    case REQUEST_RERANK:
    case REQUEST_CLASSIFY:
        return "/"; /* never asked for: ollama_check_request() refuses them */
    }
    assert(0);
    return "";
}

const char *ollama_load_path(enum request_kind kind)
{
    return kind == REQUEST_EMBED ? "/api/embed" : "/api/generate";
}

static void put_top_level(struct ollama_body *b, const char *name)
{
    struct str value = ollama_deployment_value(b->target, name);

    if (value.ptr) {
        ollama_put_configured(ollama_body_begin(b, name), value);
    }
}

/* ---- messages */

static void put_joined(struct put *p, const struct message *m)
{
    struct buf text;
    bool is_first = true;
    int r = 0;

    buf_init(&text, MAX_JOINED_BYTES);
    for (size_t i = 0; r == 0 && i < m->n_parts; i++) {
        if (m->parts[i].type != PART_TEXT) {
            continue;
        }
        r = is_first ? 0 : buf_append_char(&text, '\n');
        r = r < 0 ? r : buf_append_str(&text, m->parts[i].text);
        is_first = false;
    }
    if (r == 0) {
        put_json_string(p, buf_str(&text));
    } else if (p->r == 0) {
        p->r = r;
    }
    buf_done(&text);
}

static void put_content(struct put *p, const struct message *m)
{
    size_t n_images = 0;

    put_z(p, ",\"content\":");
    if (m->n_parts == 1 && m->parts[0].type == PART_TEXT) {
        put_json_string(p, m->parts[0].text);
    } else {
        put_joined(p, m);
    }
    for (size_t i = 0; i < m->n_parts; i++) {
        if (m->parts[i].type == PART_IMAGE) {
            put_z(p, n_images++ == 0 ? ",\"images\":[" : ",");
            put_json_string(p, m->parts[i].data);
        }
    }
    put_z(p, n_images > 0 ? "]" : "");
}

static void put_calls(struct put *p, const struct message *m)
{
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        const struct tool_call *call = &m->tool_calls[i];

        put_z(p, i == 0 ? ",\"tool_calls\":[{" : ",{");
        if (call->id.len > 0) {
            put_z(p, "\"id\":");
            put_json_string(p, call->id);
            put_char(p, ',');
        }
        put_z(p, "\"function\":{\"index\":");
        put_u64(p, i);
        put_z(p, ",\"name\":");
        put_json_string(p, call->name);
        put_z(p, ",\"arguments\":");
        put_str(p, call->arguments.len > 0 ? call->arguments : STR_LIT("{}"));
        put_z(p, "}}");
    }
    put_z(p, m->n_tool_calls > 0 ? "]" : "");
}

/*
 * The name of the tool that messages[i] is the result of: ids may repeat in a long conversation, so
 * the nearest call before it counts.
 */
static struct str tool_name_of(const struct request *req, size_t i)
{
    const struct message *result = &req->messages[i];
    size_t n_searched = 0;

    while (result->tool_call_id.len > 0 && i-- > 0) {
        const struct message *m = &req->messages[i];

        for (size_t k = m->n_tool_calls; k-- > 0;) {
            if (str_is_equal(m->tool_calls[k].id, result->tool_call_id)) {
                return m->tool_calls[k].name;
            }
            if (++n_searched == MAX_CALLS_SEARCHED) {
                return result->name;
            }
        }
    }
    return result->name;
}

static void put_tool_result(struct put *p, const struct request *req, size_t i)
{
    struct str name = tool_name_of(req, i), id = req->messages[i].tool_call_id;

    if (name.len > 0) {
        put_z(p, ",\"tool_name\":");
        put_json_string(p, name);
    }
    if (id.len > 0) {
        put_z(p, ",\"tool_call_id\":");
        put_json_string(p, id);
    }
}

static void put_messages(struct ollama_body *b)
{
    struct put *p = ollama_body_begin(b, "messages");

    for (size_t i = 0; i < b->req->n_messages; i++) {
        const struct message *m = &b->req->messages[i];

        put_z(p, i > 0 ? ",{\"role\":\"" : "[{\"role\":\"");
        put_z(p, message_role_name(m->role));
        put_char(p, '"');
        put_content(p, m);
        if (m->thinking.len > 0) {
            put_z(p, ",\"thinking\":");
            put_json_string(p, m->thinking);
        }
        put_calls(p, m);
        if (m->role == ROLE_TOOL) {
            put_tool_result(p, b->req, i);
        }
        put_char(p, '}');
    }
    put_z(p, b->req->n_messages > 0 ? "]" : "[]");
}

/* ---- the rest of a body */

/*
 * An empty list of tools is none: a peer forced JSON answers out of it. "none" is said by leaving
 * them out.
 */
static void put_tools(struct ollama_body *b)
{
    struct str tools = b->req->tools;

    if (tools.ptr && field_count(tools) > 0 && !str_is(b->req->tool_choice, "\"none\"")) {
        put_str(ollama_body_begin(b, "tools"), tools);
    }
}

static void put_format(struct ollama_body *b)
{
    struct str format = b->req->response_format;

    if (!format.ptr) {
        put_top_level(b, "format");
    } else if (str_is(json_find(format, "type"), "\"json_object\"")) {
        put_z(ollama_body_begin(b, "format"), "\"json\"");
    } else if (str_is(json_find(format, "type"), "\"json_schema\"")) {
        put_str(ollama_body_begin(b, "format"),
                json_find(json_find(format, "json_schema"), "schema"));
    }
}

/* Nothing at all where nobody said anything: Ollama's models then think as they were made to. */
static void put_think(struct ollama_body *b)
{
    struct str think = ollama_think_of(b->req->reasoning_effort), effort;

    if (!think.ptr) {
        think = ollama_client_value(b->req, b->target, "think");
    }
    if (!think.ptr) {
        think = ollama_deployment_value(b->target, "think");
    }
    effort = ollama_deployment_value(b->target, "reasoning_effort");
    if (!think.ptr && effort.len > 2) {
        think = ollama_think_of((struct str) {effort.ptr + 1, effort.len - 2});
    }
    if (think.ptr) {
        ollama_put_configured(ollama_body_begin(b, "think"), think);
    }
}

static void put_logprobs(struct ollama_body *b)
{
    const struct sampling *s = &b->req->sampling;

    if (!s->logprobs) {
        return;
    }
    put_z(ollama_body_begin(b, "logprobs"), "true");
    if (s->top_logprobs > 0) {
        put_u64(ollama_body_begin(b, "top_logprobs"), s->top_logprobs);
    }
}

static void put_generation(struct ollama_body *b)
{
    put_z(ollama_body_begin(b, "stream"), "true");
    put_format(b);
    put_think(b);
    put_logprobs(b);
    put_top_level(b, "shift");
}

static void put_keep_alive(struct ollama_body *b)
{
    struct str wish = ollama_client_value(b->req, b->target, "keep_alive");
    uint64_t sec;

    if (ollama_deployment_value(b->target, "keep_alive").ptr) {
        put_top_level(b, "keep_alive");
    } else if (wish.ptr && ollama_keep_alive(wish, &sec) == 0) {
        put_u64(ollama_body_begin(b, "keep_alive"), sec);
    }
}

static void put_kind(struct ollama_body *b)
{
    switch (b->req->kind) {
    case REQUEST_CHAT:
        put_messages(b);
        put_tools(b);
        put_generation(b);
        break;
    case REQUEST_COMPLETE:
        put_json_string(ollama_body_begin(b, "prompt"), b->req->prompt);
        if (b->req->suffix.len > 0) {
            put_json_string(ollama_body_begin(b, "suffix"), b->req->suffix);
        } else {
            put_z(ollama_body_begin(b, "raw"), "true");
        }
        put_generation(b);
        break;
    case REQUEST_EMBED:
        ollama_put_strings(ollama_body_begin(b, "input"), b->req->inputs, b->req->n_inputs);
        if (b->req->dimensions > 0) {
            put_u64(ollama_body_begin(b, "dimensions"), b->req->dimensions);
        }
        break;
    case REQUEST_RERANK:
    case REQUEST_CLASSIFY:
        assert(0);
        break;
    }
    if (ollama_deployment_value(b->target, "truncate").ptr) {
        put_top_level(b, "truncate");
    } else if (!ollama_drops(b->target, "truncate")) {
        put_z(ollama_body_begin(b, "truncate"), "false");
    }
}

/* What the neutral request has a place for, and the deployment does not want. */
static void drop(struct request *req, const struct ollama_target *target)
{
    static const struct {
        const char *name;
        enum sampling_bit bit;
    } numbers[] = {
        {"temperature", SAMPLING_TEMPERATURE},
        {"top_p", SAMPLING_TOP_P},
        {"seed", SAMPLING_SEED},
        {"frequency_penalty", SAMPLING_FREQUENCY_PENALTY},
        {"presence_penalty", SAMPLING_PRESENCE_PENALTY},
        {"top_k", SAMPLING_TOP_K},
        {"min_p", SAMPLING_MIN_P},
        {"max_tokens", SAMPLING_MAX_TOKENS},
        {"max_completion_tokens", SAMPLING_MAX_TOKENS},
        {"stop", SAMPLING_STOP},
    };
    struct {
        const char *name;
        struct str *text;
    } texts[] = {
        {"tools", &req->tools},
        {"tool_choice", &req->tool_choice},
        {"response_format", &req->response_format},
        {"reasoning_effort", &req->reasoning_effort},
        {"suffix", &req->suffix},
    };

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        req->sampling.set &= ollama_drops(target, numbers[i].name) ? ~numbers[i].bit : ~0U;
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        *texts[i].text = ollama_drops(target, texts[i].name) ? STR_NONE : *texts[i].text;
    }
    req->sampling.logprobs = req->sampling.logprobs && !ollama_drops(target, "logprobs");
    if (ollama_drops(target, "top_logprobs")) {
        req->sampling.top_logprobs = 0;
    }
    if (ollama_drops(target, "dimensions")) {
        req->dimensions = 0;
    }
}

int ollama_encode_request(const struct request *req, const struct ollama_target *target,
                          struct buf *out, struct problem *ret_problem)
{
    struct ollama_body b = {.req = req, .target = target, .put = {.out = out}, .is_empty = true};
    struct request less;
    int r;

    if (target->dropped && target->dropped->n_items > 0) {
        less = *req;
        drop(&less, target);
        b.req = &less;
    }
    r = ollama_check_request(b.req, target, ret_problem);
    if (r < 0) {
        return r;
    }
    put_json_string(ollama_body_begin(&b, "model"), str_from(target->model));
    put_kind(&b);
    put_keep_alive(&b);
    ollama_body_options(&b);
    put_char(&b.put, '}');
    return b.put.r;
}

int ollama_encode_load(const struct ollama_target *target, struct buf *out)
{
    struct ollama_body b = {.target = target, .put = {.out = out}, .is_empty = true};

    put_json_string(ollama_body_begin(&b, "model"), str_from(target->model));
    put_z(ollama_body_begin(&b, "stream"), "false");
    put_top_level(&b, "shift");
    put_top_level(&b, "keep_alive");
    ollama_body_options(&b);
    put_char(&b.put, '}');
    return b.put.r;
}
