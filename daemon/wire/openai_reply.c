/*
 * See openai_reply.h. A streamed answer is written event by event; what is the same in every chunk
 * (id, object, created, model) is composed once, so that a text event costs one copy of it and one
 * of the text. Any other answer is collected (openai_collect.c) and written at its end.
 *
 *   first event of a choice   {"delta":{"role":"assistant","content":""}}        role once, in a chunk of its own
 *   TEXT, TOOL_CALL           {"delta":{"content":...}}, {"delta":{"tool_calls":[...]}}
 *   USAGE                     kept: it comes before END here, but behind the last choice in a
 *                             stream
 *   END                       {"delta":{},"finish_reason":...} per choice,
 *                             {"choices":[],"usage":...} if asked for, [DONE]
 *   FAILED                    {"error":...} and nothing behind it: a client must not take a cut
 *                             answer for a whole one
 *
 * QUEUED and STARTED write nothing, so that a call that fails before its first token can still be
 * answered with a status.
 */
#include "wire/openai_reply.h"

#include <assert.h>
#include <stdlib.h>

#include "wire/json.h"
#include "wire/openai_collect.h"
#include "wire/openai_request.h"
#include "wire/put.h"

/* id and model name, each letter escaped, and the words around them */
#define HEAD_MAX_BYTES    4096
#define SCRATCH_MAX_BYTES (64 * 1024 * 1024 + 4) /* an event that is a whole body, and a tail */
#define REPLACEMENT       "\xef\xbf\xbd"         /* U+FFFD */

/* The beginning of a character whose rest has not come yet. */
struct tail {
    char bytes[3];
    uint8_t n;
};

struct stream_choice {
    struct tail text[CHANNEL_REFUSAL + 1]; /* of each channel */
    struct tail arguments;                 /* of the call arguments_of */
    uint32_t arguments_of;
    uint32_t n_calls;
    uint64_t filled_calls[OPENAI_MAX_TOOL_CALLS / 64]; /* a bit for each call that has arguments */
    bool has_begun;                                    /* the chunk with the role was written */
};

struct openai_reply {
    enum request_kind kind;
    bool is_stream;
    bool include_usage;
    bool is_legacy; /* the client sent functions instead of tools, and reads function_call */
    char id[REQUEST_ID_MAX + 1];
    size_t n_head; /* of it before the comma in front of the list */
    bool has_fingerprint;
    struct buf head; /* up to and with `"choices":[` (chunks: and `{`) or the list of results */
    struct buf scratch;
    struct usage usage;
    struct stream_choice *choices; /* owned; NULL unless is_stream */
    size_t n_choices;
    struct openai_collect collect; /* zeroed if is_stream */
};

/* ---- construction */

/* Embeddings have no id. */
static const char *id_prefix(const struct openai_reply *r)
{
    switch (r->kind) {
    case REQUEST_CHAT:
        return "chatcmpl-";
    case REQUEST_COMPLETE:
        return "cmpl-";
    case REQUEST_RERANK:
        return "rerank-";
    case REQUEST_CLASSIFY:
        return "classify-";
    case REQUEST_EMBED:
        break;
    }
    return "";
}

static const char *object_name(const struct openai_reply *r)
{
    switch (r->kind) {
    case REQUEST_CHAT:
        return r->is_stream ? "chat.completion.chunk" : "chat.completion";
    case REQUEST_COMPLETE:
        return "text_completion";
    case REQUEST_EMBED:
    case REQUEST_RERANK:
    case REQUEST_CLASSIFY:
        break;
    }
    return "list";
}

static const char *list_name(const struct openai_reply *r)
{
    if (request_kind_is_text(r->kind)) {
        return "choices";
    }
    return r->kind == REQUEST_RERANK ? "results" : "data";
}

static void put_list_name(const struct openai_reply *r, struct put *p)
{
    put_z(p, ",\"");
    put_z(p, list_name(r));
    put_z(p, "\":[");
}

static int write_head(struct openai_reply *r, const struct request *req, uint64_t created_sec)
{
    struct put p = {&r->head, 0};

    if (r->kind == REQUEST_EMBED) {
        put_z(&p, "{\"object\":\"list\",\"model\":");
        put_json_string(&p, req->model);
        put_z(&p, ",\"data\":[");
        return p.r;
    }
    put_z(&p, r->is_stream ? "data: {\"id\":\"" : "{\"id\":\"");
    put_z(&p, id_prefix(r));
    put_z(&p, r->id);
    put_z(&p, "\",\"object\":\"");
    put_z(&p, object_name(r));
    put_z(&p, "\",\"created\":");
    put_u64(&p, created_sec);
    put_z(&p, ",\"model\":");
    put_json_string(&p, req->model);
    r->n_head = r->head.len;
    put_list_name(r, &p);
    return p.r;
}

/* The head once more, with the server's fingerprint in it: the first one that a server tells. */
static int add_fingerprint(struct openai_reply *r, struct str fingerprint)
{
    struct put p = {&r->head, 0};

    if (r->has_fingerprint || !request_kind_is_text(r->kind)) {
        return 0;
    }
    r->has_fingerprint = true;
    r->head.len = r->n_head;
    put_z(&p, ",\"system_fingerprint\":");
    put_json_string(&p, fingerprint);
    put_list_name(r, &p);
    return p.r;
}

static bool speaks_functions(const struct request *req)
{
    struct str functions = request_member(req, "functions");

    return req->kind == REQUEST_CHAT && !json_is_null(functions) && !req->tools.ptr;
}

struct openai_reply *openai_reply_new(const struct request *req, uint64_t created_sec,
                                      size_t max_bytes)
{
    struct openai_reply *r = calloc(1, sizeof *r);
    bool failed;

    if (!r) {
        return NULL;
    }
    assert(max_bytes > 0);
    r->kind = req->kind;
    r->is_stream = req->stream && request_kind_is_text(req->kind);
    r->include_usage = req->include_usage;
    r->is_legacy = speaks_functions(req);
    memcpy(r->id, req->id, sizeof r->id);
    buf_init(&r->head, HEAD_MAX_BYTES);
    buf_init(&r->scratch, SCRATCH_MAX_BYTES);
    failed = write_head(r, req, created_sec) < 0;
    if (r->is_stream) {
        r->n_choices = openai_count_answers(req);
        r->choices = calloc(r->n_choices, sizeof *r->choices);
        failed = failed || !r->choices;
    } else {
        failed =
            openai_collect_init(&r->collect, req, r->id, r->is_legacy, max_bytes) < 0 || failed;
    }
    return failed ? openai_reply_free(r) : r;
}

struct openai_reply *openai_reply_free(struct openai_reply *r)
{
    if (r) {
        openai_collect_done(&r->collect);
        buf_done(&r->head);
        buf_done(&r->scratch);
        free(r->choices);
        free(r);
    }
    return NULL;
}

/* ---- characters */

/*
 * What of bytes can be shown now, together with what was left over: everything up to the last whole
 * character. The result borrows from bytes, or from the scratch buffer where something was left
 * over.
 */
static int join(struct openai_reply *r, struct tail *tail, struct str bytes, struct str *ret)
{
    if (tail->n > 0) {
        struct put p = {&r->scratch, 0};

        buf_clear(&r->scratch);
        put_bytes(&p, tail->bytes, tail->n);
        put_str(&p, bytes);
        if (p.r < 0) {
            return p.r;
        }
        bytes = buf_str(&r->scratch);
    }

    size_t n = str_utf8_tail(bytes);

    tail->n = (uint8_t) n;
    bytes.len -= n;
    if (n > 0) {
        memcpy(tail->bytes, bytes.ptr + bytes.len, n);
    }
    *ret = bytes;
    return 0;
}

/* ---- chunks */

static void begin_chunk(const struct openai_reply *r, struct put *p, uint32_t choice)
{
    put_str(p, buf_str(&r->head));
    put_z(p, "{\"index\":");
    put_u64(p, choice);
}

static void begin_delta(const struct openai_reply *r, struct put *p, uint32_t choice)
{
    begin_chunk(r, p, choice);
    put_z(p, ",\"delta\":{");
}

static void end_delta(struct put *p)
{
    put_z(p, "},\"finish_reason\":null}]}\n\n");
}

static void put_role(const struct openai_reply *r, struct put *p, uint32_t choice)
{
    struct stream_choice *c = &r->choices[choice];

    if (!c->has_begun && r->kind == REQUEST_CHAT) {
        begin_delta(r, p, choice);
        put_z(p, "\"role\":\"assistant\",\"content\":\"\"");
        end_delta(p);
    }
    c->has_begun = true;
}

/*
 * A completion has no member for thinking; it must not land in the text, so it gets chat's. Nor has
 * it one for a refusal, which is text.
 */
static void put_completion_text(const struct openai_reply *r, struct put *p, const struct event *ev,
                                struct str text)
{
    bool is_thinking = ev->text.channel == CHANNEL_THINKING;

    begin_chunk(r, p, ev->text.choice);
    put_z(p, is_thinking ? ",\"text\":\"\",\"reasoning_content\":" : ",\"text\":");
    put_json_string(p, text);
    put_z(p, ",\"logprobs\":");
    put_str(p, ev->text.logprobs.ptr ? ev->text.logprobs : STR_LIT("null"));
    put_z(p, ",\"finish_reason\":null}]}\n\n");
}

static const char *const delta_keys[] = {
    [CHANNEL_ANSWER] = "\"content\":",
    [CHANNEL_THINKING] = "\"reasoning_content\":",
    [CHANNEL_REFUSAL] = "\"refusal\":",
};

static void put_chat_text(const struct openai_reply *r, struct put *p, const struct event *ev,
                          struct str text)
{
    begin_delta(r, p, ev->text.choice);
    put_z(p, delta_keys[ev->text.channel]);
    put_json_string(p, text);
    if (ev->text.logprobs.ptr) {
        put_z(p, "},\"logprobs\":");
        put_str(p, ev->text.logprobs);
        put_z(p, ",\"finish_reason\":null}]}\n\n");
    } else {
        end_delta(p);
    }
}

static void put_text(const struct openai_reply *r, struct put *p, const struct event *ev,
                     struct str text)
{
    if (r->kind == REQUEST_CHAT) {
        put_chat_text(r, p, ev, text);
    } else {
        put_completion_text(r, p, ev, text);
    }
}

/* A character that never became whole. */
static void flush_tail(const struct openai_reply *r, struct put *p, uint32_t choice,
                       enum event_channel channel)
{
    struct tail *tail = &r->choices[choice].text[channel];
    struct event ev = {.type = EVENT_TEXT, .text = {.choice = choice, .channel = channel}};

    if (tail->n > 0) {
        put_text(r, p, &ev, STR_LIT(REPLACEMENT));
        tail->n = 0;
    }
}

static int stream_text(struct openai_reply *r, const struct event *ev, struct put *p)
{
    struct stream_choice *c = &r->choices[ev->text.choice];
    struct str text;
    int x;

    put_role(r, p, ev->text.choice);
    if (ev->text.channel != CHANNEL_THINKING) {
        flush_tail(r, p, ev->text.choice, CHANNEL_THINKING);
    }
    x = join(r, &c->text[ev->text.channel], ev->text.bytes, &text);
    if (x < 0) {
        return x;
    }
    if (text.len > 0 || ev->text.logprobs.ptr) {
        put_text(r, p, ev, text);
    }
    return p->r;
}

/* ---- tool calls */

static void begin_call(const struct openai_reply *r, struct put *p, uint32_t choice, uint32_t index)
{
    begin_delta(r, p, choice);
    if (r->is_legacy) {
        put_z(p, "\"function_call\":{");
        return;
    }
    put_z(p, "\"tool_calls\":[{\"index\":");
    put_u64(p, index);
}

static void end_call(const struct openai_reply *r, struct put *p)
{
    put_z(p, r->is_legacy ? "}" : "}}]");
    end_delta(p);
}

static void put_call_begin(const struct openai_reply *r, struct put *p, const struct event *ev,
                           struct str arguments)
{
    begin_call(r, p, ev->tool_call.choice, ev->tool_call.index);
    if (!r->is_legacy) {
        put_z(p, ",\"id\":");
        openai_put_call_id(p, ev->tool_call.id, r->id, ev->tool_call.choice, ev->tool_call.index);
        put_z(p, ",\"type\":\"function\",\"function\":{");
    }
    openai_put_function(p, ev->tool_call.name, arguments);
    end_call(r, p);
}

static void put_call_arguments(const struct openai_reply *r, struct put *p, uint32_t choice,
                               uint32_t index, struct str arguments)
{
    begin_call(r, p, choice, index);
    put_z(p, r->is_legacy ? "\"arguments\":" : ",\"function\":{\"arguments\":");
    put_json_string(p, arguments);
    end_call(r, p);
}

static void flush_arguments(const struct openai_reply *r, struct put *p, uint32_t choice)
{
    struct stream_choice *c = &r->choices[choice];

    if (c->arguments.n > 0) {
        put_call_arguments(r, p, choice, c->arguments_of, STR_LIT(REPLACEMENT));
        c->arguments.n = 0;
    }
}

static void mark_filled(struct stream_choice *c, uint32_t index)
{
    if (index < OPENAI_MAX_TOOL_CALLS) {
        c->filled_calls[index / 64] |= UINT64_C(1) << index % 64;
    }
}

/* Clients parse the arguments of every call: those that never came are an empty object. */
static void fill_calls(const struct openai_reply *r, struct put *p, uint32_t choice)
{
    const struct stream_choice *c = &r->choices[choice];

    for (uint32_t i = 0; i < c->n_calls && i < OPENAI_MAX_TOOL_CALLS; i++) {
        if (!(c->filled_calls[i / 64] >> i % 64 & 1)) {
            put_call_arguments(r, p, choice, i, STR_LIT("{}"));
        }
    }
}

static int stream_tool_call(struct openai_reply *r, const struct event *ev, struct put *p)
{
    struct stream_choice *c = &r->choices[ev->tool_call.choice];
    uint32_t index = ev->tool_call.index;
    bool is_first = index == c->n_calls;
    struct str arguments;
    int x;

    assert(index <= c->n_calls);
    if (r->is_legacy && index > 0) {
        return 0; /* function_call has room for one */
    }
    put_role(r, p, ev->tool_call.choice);
    if (index != c->arguments_of) {
        flush_arguments(r, p, ev->tool_call.choice);
    }
    c->n_calls += is_first ? 1 : 0;
    c->arguments_of = index;
    x = join(r, &c->arguments, ev->tool_call.arguments, &arguments);
    if (x < 0) {
        return x;
    }
    if (is_first) {
        put_call_begin(r, p, ev, arguments);
    } else if (arguments.len > 0) {
        put_call_arguments(r, p, ev->tool_call.choice, index, arguments);
    }
    if (arguments.len > 0) {
        mark_filled(c, index);
    }
    return p->r;
}

/* ---- the end */

static void put_finish(const struct openai_reply *r, struct put *p, uint32_t choice,
                       enum finish_reason reason)
{
    struct stream_choice *c = &r->choices[choice];

    put_role(r, p, choice);
    flush_tail(r, p, choice, CHANNEL_THINKING);
    flush_tail(r, p, choice, CHANNEL_ANSWER);
    flush_tail(r, p, choice, CHANNEL_REFUSAL);
    flush_arguments(r, p, choice);
    fill_calls(r, p, choice);
    begin_chunk(r, p, choice);
    put_z(p, r->kind == REQUEST_CHAT ? ",\"delta\":{},\"finish_reason\":\""
                                     : ",\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"");
    put_z(p, openai_finish_name(reason, c->n_calls > 0, r->is_legacy));
    put_z(p, "\"}]}\n\n");
}

static void stream_end(const struct openai_reply *r, const struct event *ev, struct put *p)
{
    for (size_t i = 0; i < r->n_choices; i++) {
        put_finish(r, p, (uint32_t) i, i < ev->end.n_choices ? ev->end.reasons[i] : FINISH_STOP);
    }
    if (r->include_usage) {
        put_str(p, buf_str(&r->head));
        put_z(p, "],\"usage\":");
        openai_put_usage(p, r->kind, &r->usage);
        put_z(p, "}\n\n");
    }
    put_z(p, "data: [DONE]\n\n");
}

static void put_error(struct put *p, enum errcode code, struct str message, struct str param)
{
    const struct errcode_info *info = errcode_info(code);

    put_z(p, "{\"error\":{\"message\":");
    put_json_string(p, message.ptr ? message : str_from(info->text));
    put_z(p, ",\"type\":\"");
    put_z(p, info->openai_type);
    put_z(p, "\",\"param\":");
    if (param.len > 0) {
        put_json_string(p, param);
    } else {
        put_z(p, "null");
    }
    put_z(p, ",\"code\":\"");
    put_z(p, info->openai_code);
    put_z(p, "\"}}");
}

static int add_to_stream(struct openai_reply *r, const struct event *ev, struct put *p)
{
    switch (ev->type) {
    case EVENT_TEXT:
        assert(ev->text.choice < r->n_choices);
        return stream_text(r, ev, p);
    case EVENT_TOOL_CALL:
        assert(ev->tool_call.choice < r->n_choices);
        return stream_tool_call(r, ev, p);
    case EVENT_USAGE:
        r->usage = ev->usage;
        break;
    case EVENT_END:
        stream_end(r, ev, p);
        break;
    case EVENT_FAILED:
        put_z(p, "data: ");
        put_error(p, ev->failed.code, event_failed_text(ev), ev->failed.param);
        put_z(p, "\n\n");
        break;
    case EVENT_QUEUED:
    case EVENT_STARTED:
    case EVENT_EMBEDDING:
    case EVENT_RESULT:
        break;
    }
    return p->r;
}

static int add_to_body(struct openai_reply *r, const struct event *ev, struct put *p)
{
    switch (ev->type) {
    case EVENT_TEXT:
    case EVENT_TOOL_CALL:
    case EVENT_EMBEDDING:
    case EVENT_RESULT:
        return openai_collect_add(&r->collect, ev);
    case EVENT_USAGE:
        r->usage = ev->usage;
        break;
    case EVENT_END:
        put_str(p, buf_str(&r->head));
        openai_collect_put(&r->collect, ev, &r->usage, p);
        break;
    case EVENT_QUEUED:
    case EVENT_STARTED:
    case EVENT_FAILED:
        break;
    }
    return p->r;
}

int openai_reply_add(struct openai_reply *r, const struct event *ev, struct buf *out)
{
    struct put p = {out, 0};
    int x = ev->fingerprint.ptr ? add_fingerprint(r, ev->fingerprint) : 0;

    if (x < 0) {
        return x;
    }
    return r->is_stream ? add_to_stream(r, ev, &p) : add_to_body(r, ev, &p);
}

/* ---- errors and models */

int openai_write_error(struct buf *out, enum errcode code, struct str message, struct str param)
{
    struct put p = {out, 0};

    put_error(&p, code, message, param);
    return p.r;
}

int openai_write_model(struct buf *out, struct str id, struct str owned_by, uint64_t created_sec)
{
    struct put p = {out, 0};

    if (out->len > 0 && buf_ptr(out)[out->len - 1] == '}') {
        put_char(&p, ','); /* behind another model of the list */
    }
    put_z(&p, "{\"id\":");
    put_json_string(&p, id);
    put_z(&p, ",\"object\":\"model\",\"created\":");
    put_u64(&p, created_sec);
    put_z(&p, ",\"owned_by\":");
    put_json_string(&p, owned_by);
    put_char(&p, '}');
    return p.r;
}

int openai_write_models_begin(struct buf *out)
{
    return buf_append_z(out, "{\"object\":\"list\",\"data\":[");
}

int openai_write_models_end(struct buf *out)
{
    return buf_append_z(out, "]}");
}
