/*
 * See openai_collect.h. Text is kept as bytes and becomes JSON once, at the end, so that a
 * character that came in two events is whole again. Vectors become text at once: that is smaller
 * than many small allocations, and they are only ever written in order.
 *
 * Everything that a model server can make grow is charged to room_bytes, the bookkeeping of a tool
 * call included.
 */
#include "wire/openai_collect.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "wire/base64.h"
#include "wire/json.h"
#include "wire/openai_request.h"

/*
 * The arrays inside a logprobs object: what the deltas bring is joined list by list. Chat has the
 * first two, completions the others.
 */
static const char *const logprob_lists[] = {"content",        "refusal",      "tokens",
                                            "token_logprobs", "top_logprobs", "text_offset"};
#define N_CHAT_LISTS    2
#define N_LOGPROB_LISTS ARRAY_LEN(logprob_lists)

struct collect_call {
    struct buf id, name, arguments;
};

struct collect_choice {
    struct buf answer, thinking, refusal;
    struct buf logprobs[N_LOGPROB_LISTS]; /* elements without brackets */
    struct collect_call *calls;           /* owned */
    size_t n_calls;
    bool has_logprobs;
};

int openai_collect_init(struct openai_collect *c, const struct request *req, const char *req_id,
                        bool is_legacy, size_t max_bytes)
{
    size_t n = !request_kind_is_text(req->kind) ? 0 : openai_count_answers(req);

    *c = (struct openai_collect) {.kind = req->kind,
                                  .wants_base64 = req->wants_base64,
                                  .is_legacy = is_legacy,
                                  .req_id = req_id,
                                  .room_bytes = max_bytes};
    c->choices = calloc(n > 0 ? n : 1, sizeof *c->choices);
    if (!c->choices) {
        return -ENOMEM;
    }
    c->n_choices = n;
    for (size_t i = 0; i < n; i++) {
        struct collect_choice *choice = &c->choices[i];

        buf_init(&choice->answer, max_bytes);
        buf_init(&choice->thinking, max_bytes);
        buf_init(&choice->refusal, max_bytes);
        for (size_t k = 0; k < N_LOGPROB_LISTS; k++) {
            buf_init(&choice->logprobs[k], max_bytes);
        }
    }
    buf_init(&c->vectors, max_bytes);
    return c->kind == REQUEST_RERANK ? openai_documents_init(&c->documents, req) : 0;
}

static void choice_done(struct collect_choice *choice)
{
    buf_done(&choice->answer);
    buf_done(&choice->thinking);
    buf_done(&choice->refusal);
    for (size_t k = 0; k < N_LOGPROB_LISTS; k++) {
        buf_done(&choice->logprobs[k]);
    }
    for (size_t i = 0; i < choice->n_calls; i++) {
        buf_done(&choice->calls[i].id);
        buf_done(&choice->calls[i].name);
        buf_done(&choice->calls[i].arguments);
    }
    free(choice->calls);
}

void openai_collect_done(struct openai_collect *c)
{
    for (size_t i = 0; i < c->n_choices; i++) {
        choice_done(&c->choices[i]);
    }
    free(c->choices);
    buf_done(&c->vectors);
    openai_documents_done(&c->documents);
    *c = (struct openai_collect) {0};
}

/* ---- collecting */

static int charge(struct openai_collect *c, size_t n)
{
    if (n > c->room_bytes) {
        return -ENOBUFS;
    }
    c->room_bytes -= n;
    return 0;
}

static int keep(struct openai_collect *c, struct buf *to, struct str bytes)
{
    int r = charge(c, bytes.len);

    return r < 0 ? r : buf_append_str(to, bytes);
}

/* The elements of a JSON array, joined to those that came before. */
static int keep_elements(struct openai_collect *c, struct buf *to, struct str array)
{
    struct str inner;
    int r;

    if (json_type(array) != JSON_ARRAY) {
        return 0;
    }
    inner = (struct str) {array.ptr + 1, array.len - 2};
    if (inner.len == 0) {
        return 0;
    }
    r = to->len > 0 ? keep(c, to, STR_LIT(",")) : 0;
    return r < 0 ? r : keep(c, to, inner);
}

static int add_logprobs(struct openai_collect *c, struct collect_choice *choice,
                        struct str logprobs)
{
    int r;

    choice->has_logprobs = true;
    for (size_t k = 0; k < N_LOGPROB_LISTS; k++) {
        r = keep_elements(c, &choice->logprobs[k], json_find(logprobs, logprob_lists[k]));
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* A completion has no member for a refusal: there it is text like any other. */
static struct buf *buf_of(const struct openai_collect *c, struct collect_choice *choice,
                          enum event_channel channel)
{
    switch (channel) {
    case CHANNEL_ANSWER:
        return &choice->answer;
    case CHANNEL_THINKING:
        return &choice->thinking;
    case CHANNEL_REFUSAL:
        return c->kind == REQUEST_CHAT ? &choice->refusal : &choice->answer;
    }
    assert(0);
    return &choice->answer;
}

static int add_text(struct openai_collect *c, const struct event *ev)
{
    struct collect_choice *choice = &c->choices[ev->text.choice];
    int r;

    assert(ev->text.choice < c->n_choices);
    r = keep(c, buf_of(c, choice, ev->text.channel), ev->text.bytes);
    if (r < 0 || !ev->text.logprobs.ptr) {
        return r;
    }
    return add_logprobs(c, choice, ev->text.logprobs);
}

static int add_call(struct openai_collect *c, struct collect_choice *choice)
{
    struct collect_call *grown;
    size_t max;
    int r = charge(c, sizeof *grown);

    if (r < 0) {
        return r;
    }
    grown = realloc(choice->calls, (choice->n_calls + 1) * sizeof *grown);
    if (!grown) {
        return -ENOMEM;
    }
    max = c->room_bytes > 0 ? c->room_bytes : 1;
    choice->calls = grown;
    grown += choice->n_calls++;
    buf_init(&grown->id, max);
    buf_init(&grown->name, max);
    buf_init(&grown->arguments, max);
    return 0;
}

static int add_tool_call(struct openai_collect *c, const struct event *ev)
{
    struct collect_choice *choice = &c->choices[ev->tool_call.choice];
    struct collect_call *call;
    int r;

    assert(ev->tool_call.choice < c->n_choices);
    assert(ev->tool_call.index <= choice->n_calls);
    if (ev->tool_call.index == choice->n_calls) {
        r = add_call(c, choice);
        if (r < 0) {
            return r;
        }
        call = &choice->calls[ev->tool_call.index];
        r = keep(c, &call->id, ev->tool_call.id);
        if (r < 0) {
            return r;
        }
        r = keep(c, &call->name, ev->tool_call.name);
        if (r < 0) {
            return r;
        }
    }
    return keep(c, &choice->calls[ev->tool_call.index].arguments, ev->tool_call.arguments);
}

/* ---- vectors */

static const double powers_of_ten[] = {1e0, 1e1, 1e2, 1e3,  1e4,  1e5, 1e6,
                                       1e7, 1e8, 1e9, 1e10, 1e11, 1e12};

/* 0.digits with n decimal places, trailing zeros left out. digits < 10^n. */
static size_t format_fraction(char *text, uint64_t digits, unsigned n)
{
    while (n > 1 && digits % 10 == 0) {
        digits /= 10;
        n--;
    }
    text[0] = '0';
    text[1] = '.';
    for (unsigned i = n; i > 0; i--) {
        text[1 + i] = (char) ('0' + digits % 10);
        digits /= 10;
    }
    return 2 + (size_t) n;
}

/*
 * Vectors are nearly always of unit length, so numbers from 0.0001 to 1 have their own way, which
 * takes a tenth of snprintf()'s time: 6 to 9 significant digits, the first number that reads back
 * the same (9 always do, for 24 bits). Returns 0 where none was found.
 */
static size_t format_small(float v, char text[32])
{
    double magnitude = v < 0 ? -(double) v : (double) v;
    unsigned zeros = magnitude >= 0.1 ? 0 : magnitude >= 0.01 ? 1 : magnitude >= 0.001 ? 2 : 3;
    size_t n_sign = v < 0 ? 1 : 0;

    text[0] = '-';
    for (unsigned n = zeros + 6; n <= zeros + 9; n++) {
        uint64_t digits = (uint64_t) (magnitude * powers_of_ten[n] + 0.5);

        if ((float) ((double) digits / powers_of_ten[n]) == (float) magnitude) {
            return n_sign + format_fraction(text + n_sign, digits, n);
        }
    }
    return 0;
}

int openai_write_float(struct buf *out, float v)
{
    char text[32];
    size_t n = 0;

    if (!isfinite(v)) {
        return buf_append_z(out, "null");
    }
    if (v == 0) {
        return buf_append_z(out, "0.0");
    }
    if (fabsf(v) < 1.0F && fabsf(v) >= 1e-4F) {
        n = format_small(v, text);
    }
    if (n == 0) {
        n = (size_t) snprintf(text, sizeof text, "%.9g", (double) v);
    }
    return buf_append(out, text, n);
}

static void put_base64(struct put *p, const float *values, size_t n_values)
{
    uint32_t words[192]; /* 768 bytes, a multiple of 3: no padding between the pieces */

    for (size_t done = 0; p->r == 0 && done < n_values;) {
        size_t n = n_values - done < ARRAY_LEN(words) ? n_values - done : ARRAY_LEN(words);

        memcpy(words, values + done, n * sizeof *words);
        for (size_t i = 0; i < n; i++) {
            words[i] = htole32(words[i]);
        }
        p->r = base64_encode(p->out, (struct str) {(const char *) words, n * sizeof *words});
        done += n;
    }
}

static void put_vector(struct put *p, const float *values, size_t n_values)
{
    put_char(p, '[');
    for (size_t i = 0; p->r == 0 && i < n_values; i++) {
        if (i > 0) {
            put_char(p, ',');
        }
        p->r = p->r < 0 ? p->r : openai_write_float(p->out, values[i]);
    }
    put_char(p, ']');
}

static int add_embedding(struct openai_collect *c, const struct event *ev)
{
    struct put p = {&c->vectors, 0};
    size_t before = c->vectors.len;

    put_z(&p, before > 0 ? ",{\"object\":\"embedding\",\"index\":"
                         : "{\"object\":\"embedding\",\"index\":");
    put_u64(&p, ev->embedding.index);
    put_z(&p, c->wants_base64 ? ",\"embedding\":\"" : ",\"embedding\":");
    if (c->wants_base64) {
        put_base64(&p, ev->embedding.values, ev->embedding.n_values);
    } else {
        put_vector(&p, ev->embedding.values, ev->embedding.n_values);
    }
    put_z(&p, c->wants_base64 ? "\"}" : "}");
    return p.r < 0 ? p.r : charge(c, c->vectors.len - before);
}

/* A class as the model server wrote it. */
static int add_result(struct openai_collect *c, const struct event *ev)
{
    struct put p = {&c->vectors, 0};
    size_t before = c->vectors.len;

    put_z(&p, before > 0 ? "," : "");
    if (c->kind == REQUEST_RERANK) {
        openai_put_ranked(&p, &c->documents, ev);
    } else {
        put_str(&p, ev->result.json);
    }
    return p.r < 0 ? p.r : charge(c, c->vectors.len - before);
}

int openai_collect_add(struct openai_collect *c, const struct event *ev)
{
    switch (ev->type) {
    case EVENT_TEXT:
        return add_text(c, ev);
    case EVENT_TOOL_CALL:
        return add_tool_call(c, ev);
    case EVENT_EMBEDDING:
        return add_embedding(c, ev);
    case EVENT_RESULT:
        return add_result(c, ev);
    case EVENT_QUEUED:
    case EVENT_STARTED:
    case EVENT_USAGE:
    case EVENT_END:
    case EVENT_FAILED:
        break;
    }
    assert(0);
    return 0;
}

/* ---- writing */

void openai_put_usage(struct put *p, enum request_kind kind, const struct usage *usage)
{
    put_z(p, "{\"prompt_tokens\":");
    put_u64(p, usage->tokens_in);
    if (request_kind_is_text(kind)) {
        put_z(p, ",\"completion_tokens\":");
        put_u64(p, usage->tokens_out);
    }
    put_z(p, ",\"total_tokens\":");
    put_u64(p, usage->tokens_in + (request_kind_is_text(kind) ? usage->tokens_out : 0));
    if (request_kind_is_text(kind)) {
        put_z(p, ",\"prompt_tokens_details\":{\"cached_tokens\":");
        put_u64(p, usage->tokens_cached);
        put_char(p, '}');
    }
    if (usage->tokens_reasoning > 0) {
        put_z(p, ",\"completion_tokens_details\":{\"reasoning_tokens\":");
        put_u64(p, usage->tokens_reasoning);
        put_char(p, '}');
    }
    put_char(p, '}');
}

void openai_put_function(struct put *p, struct str name, struct str arguments)
{
    put_z(p, "\"name\":");
    put_json_string(p, name);
    put_z(p, ",\"arguments\":");
    put_json_string(p, arguments);
}

const char *openai_finish_name(enum finish_reason reason, bool has_calls, bool is_legacy)
{
    if (has_calls && reason == FINISH_STOP) {
        reason = FINISH_TOOL_CALLS;
    }
    return reason == FINISH_TOOL_CALLS && is_legacy ? "function_call" : finish_reason_name(reason);
}

/* A call without arguments has an empty object: clients parse the text. */
static struct str call_arguments(const struct collect_call *call)
{
    return call->arguments.len > 0 ? buf_str(&call->arguments) : STR_LIT("{}");
}

void openai_put_call_id(struct put *p, struct str id, const char *req_id, size_t choice,
                        size_t index)
{
    if (id.len > 0) {
        put_json_string(p, id);
        return;
    }
    put_z(p, "\"call_");
    put_z(p, req_id);
    put_char(p, '_');
    put_u64(p, choice);
    put_char(p, '_');
    put_u64(p, index);
    put_char(p, '"');
}

static void put_calls(struct put *p, const struct openai_collect *c,
                      const struct collect_choice *choice)
{
    put_z(p, ",\"tool_calls\":[");
    for (size_t i = 0; i < choice->n_calls; i++) {
        const struct collect_call *call = &choice->calls[i];

        put_z(p, i > 0 ? ",{\"id\":" : "{\"id\":");
        openai_put_call_id(p, buf_str(&call->id), c->req_id, (size_t) (choice - c->choices), i);
        put_z(p, ",\"type\":\"function\",\"function\":{");
        openai_put_function(p, buf_str(&call->name), call_arguments(call));
        put_z(p, "}}");
    }
    put_char(p, ']');
}

/* The deprecated form has room for one call. */
static void put_legacy_call(struct put *p, const struct collect_choice *choice)
{
    const struct collect_call *call = &choice->calls[0];

    put_z(p, ",\"function_call\":{");
    openai_put_function(p, buf_str(&call->name), call_arguments(call));
    put_char(p, '}');
}

static void put_thinking(struct put *p, const struct collect_choice *choice)
{
    if (choice->thinking.len > 0) {
        put_z(p, ",\"reasoning_content\":");
        put_json_string(p, buf_str(&choice->thinking));
    }
}

/* content is always there; null only beside tool calls or a refusal. */
static void put_message(struct put *p, const struct openai_collect *c,
                        const struct collect_choice *choice)
{
    put_z(p, "\"message\":{\"role\":\"assistant\",\"content\":");
    if (choice->answer.len == 0 && (choice->n_calls > 0 || choice->refusal.len > 0)) {
        put_z(p, "null");
    } else {
        put_json_string(p, buf_str(&choice->answer));
    }
    if (choice->refusal.len > 0) {
        put_z(p, ",\"refusal\":");
        put_json_string(p, buf_str(&choice->refusal));
    }
    put_thinking(p, choice);
    if (choice->n_calls > 0 && c->is_legacy) {
        put_legacy_call(p, choice);
    } else if (choice->n_calls > 0) {
        put_calls(p, c, choice);
    }
    put_char(p, '}');
}

static void put_logprobs(struct put *p, const struct openai_collect *c,
                         const struct collect_choice *choice)
{
    size_t first = c->kind == REQUEST_CHAT ? 0 : N_CHAT_LISTS;
    size_t end = c->kind == REQUEST_CHAT ? N_CHAT_LISTS : N_LOGPROB_LISTS;

    if (!choice->has_logprobs) {
        put_z(p, ",\"logprobs\":null");
        return;
    }
    put_z(p, ",\"logprobs\":{");
    for (size_t k = first; k < end; k++) {
        bool is_empty = choice->logprobs[k].len == 0;

        put_z(p, k > first ? ",\"" : "\"");
        put_z(p, logprob_lists[k]);
        put_z(p, is_empty ? "\":null" : "\":[");
        put_str(p, buf_str(&choice->logprobs[k]));
        put_z(p, is_empty ? "" : "]");
    }
    put_char(p, '}');
}

static void put_choice(struct put *p, const struct openai_collect *c, size_t i,
                       enum finish_reason reason)
{
    const struct collect_choice *choice = &c->choices[i];

    put_z(p, i > 0 ? ",{\"index\":" : "{\"index\":");
    put_u64(p, i);
    put_char(p, ',');
    if (c->kind == REQUEST_CHAT) {
        put_message(p, c, choice);
    } else {
        put_z(p, "\"text\":");
        put_json_string(p, buf_str(&choice->answer));
        put_thinking(p, choice);
    }
    put_logprobs(p, c, choice);
    put_z(p, ",\"finish_reason\":\"");
    put_z(p, openai_finish_name(reason, choice->n_calls > 0, c->is_legacy));
    put_z(p, "\"}");
}

void openai_collect_put(const struct openai_collect *c, const struct event *end,
                        const struct usage *usage, struct put *p)
{
    assert(end->type == EVENT_END);
    put_str(p, buf_str(&c->vectors)); /* empty where there are choices */
    for (size_t i = 0; i < c->n_choices; i++) {
        put_choice(p, c, i, i < end->end.n_choices ? end->end.reasons[i] : FINISH_STOP);
    }
    put_z(p, "],\"usage\":");
    openai_put_usage(p, c->kind, usage);
    if (c->kind == REQUEST_RERANK) {
        openai_put_rerank_usage(p, usage);
    }
    put_char(p, '}');
}
