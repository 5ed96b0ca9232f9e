/*
 * The choices of one chunk, or of a whole body, to TEXT and TOOL_CALL events. A body's "message" is
 * read like one large "delta".
 *
 * Servers differ in ways that clients must not see; what is evened out here:
 *
 *   content       null (llama-server's first delta), "", missing, or an array of parts (Mistral)
 *   thinking      reasoning_content (DeepSeek, vLLM, llama-server) or reasoning (Ollama,
 *                 OpenRouter), or both with the same text
 *   refusal       a channel of its own, with the log-probabilities where there is no content
 *   tool calls    an index that is missing, the same for all, or does not begin at 0; id and name
 *                 in every fragment; no id; arguments as an object
 *   function_call the deprecated form of a single tool call
 *   finish_reason other words, "" for null; words for "broken off" are failures
 */
#include "wire/openai_decoder.h"

#include <errno.h>
#include <stdlib.h>

#include "wire/field.h"
#include "wire/json.h"
#include "wire/openai_request.h"

/* ---- text */

static void deliver_text(struct openai_decoder *d, uint32_t choice, enum event_channel channel,
                         struct str bytes, struct str logprobs)
{
    struct event ev = {
        .type = EVENT_TEXT,
        .text = {.choice = choice, .channel = channel, .bytes = bytes, .logprobs = logprobs},
    };

    if (bytes.len > 0 || logprobs.ptr) {
        openai_decoder_deliver(d, &ev);
    }
}

int openai_decoder_text(struct openai_decoder *d, uint32_t choice, enum event_channel channel,
                        struct str value, struct str logprobs)
{
    struct str bytes;
    int r = openai_decoder_string(d, value, &bytes);

    if (r < 0) {
        return r;
    }
    deliver_text(d, choice, channel, bytes, logprobs);
    if (bytes.len > 0 && !logprobs.ptr) {
        d->source = value;
        d->alike_choice = choice;
        d->alike_channel = channel;
    }
    return 0;
}

static struct str thinking_of(struct str part)
{
    struct str thinking = json_find(part, "thinking");
    struct json_iter it;
    struct str name, inner = STR_NONE;

    if (json_type(thinking) != JSON_ARRAY) {
        return thinking;
    }
    json_iter_init(&it, thinking); /* of one text part, in every answer seen */
    return json_next(&it, &name, &inner) ? json_find(inner, "text") : STR_NONE;
}

/* [{"type":"text","text":...}, {"type":"thinking","thinking":[{"type":"text","text":...}]}] */
static int decode_parts(struct openai_decoder *d, uint32_t choice, struct str parts)
{
    struct json_iter it;
    struct str name, part;
    int r = 0;

    json_iter_init(&it, parts);
    while (r == 0 && json_next(&it, &name, &part)) {
        struct str text = json_find(part, "text"), thinking = thinking_of(part);

        r = openai_decoder_text(d, choice, CHANNEL_THINKING, thinking, STR_NONE);
        r = r < 0 ? r : openai_decoder_text(d, choice, CHANNEL_ANSWER, text, STR_NONE);
    }
    return r;
}

static int decode_content(struct openai_decoder *d, uint32_t choice, struct str content,
                          struct str logprobs)
{
    switch (json_type(content)) {
    case JSON_NULL:
    case JSON_STRING:
        return openai_decoder_text(d, choice, CHANNEL_ANSWER, content, logprobs);
    case JSON_ARRAY:
        deliver_text(d, choice, CHANNEL_ANSWER, STR_LIT(""), logprobs);
        return decode_parts(d, choice, content);
    case JSON_FALSE:
    case JSON_TRUE:
    case JSON_NUMBER:
    case JSON_OBJECT:
        break;
    }
    return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                               "the model server sent content that is not text");
}

/* ---- tool calls */

struct fragment {
    bool has_index;
    int64_t index;
    uint64_t id_hash;               /* 0: none */
    struct str id, name, arguments; /* JSON values, or absent */
};

/* FNV-1a: ids are compared with those of the same answer only. */
static uint64_t hash_of(struct str value)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    if (json_type(value) != JSON_STRING || value.len <= 2) {
        return 0;
    }
    for (size_t i = 0; i < value.len; i++) {
        h = (h ^ (uint8_t) value.ptr[i]) * UINT64_C(0x100000001b3);
    }
    return h != 0 ? h : 1;
}

static bool is_empty(struct str value)
{
    return json_type(value) != JSON_STRING || value.len <= 2;
}

/* Does the fragment go on with this call? */
static bool continues(const struct decoder_call *call, const struct fragment *f)
{
    if (f->has_index) {
        bool is_other = f->id_hash != 0 && f->id_hash != call->id_hash;

        return call->has_index && call->index == f->index && !is_other;
    }
    return f->id_hash != 0 ? f->id_hash == call->id_hash : is_empty(f->name);
}

/*
 * The place of the call that the fragment belongs to; n_calls when it begins a new one. The newest
 * call that fits is meant.
 */
static uint32_t find_call(const struct decoder_choice *c, const struct fragment *f)
{
    for (uint32_t i = c->n_calls; i > 0; i--) {
        if (continues(&c->calls[i - 1], f)) {
            return i - 1;
        }
    }
    return c->n_calls;
}

static int add_call(struct openai_decoder *d, struct decoder_choice *c, const struct fragment *f)
{
    struct decoder_call *grown;

    if (c->n_calls >= OPENAI_MAX_TOOL_CALLS) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server's answer has more than %d tool calls",
                                   OPENAI_MAX_TOOL_CALLS);
    }
    grown = realloc(c->calls, (c->n_calls + 1) * sizeof *grown);
    if (!grown) {
        return -ENOMEM;
    }
    c->calls = grown;
    grown[c->n_calls++] = (struct decoder_call) {f->has_index, f->index, f->id_hash};
    return 0;
}

/*
 * Id and name of a new call side by side in d->naming, as both must last until the event is
 * delivered.
 */
static int name_call(struct openai_decoder *d, const struct fragment *f, struct event *ev)
{
    size_t n_id;
    int r;

    buf_clear(&d->naming);
    if (f->id_hash != 0) {
        r = json_string(f->id, &d->naming);
    } else {
        r = buf_printf(&d->naming, "call_%s_%u_%u", d->req_id, ev->tool_call.choice,
                       ev->tool_call.index);
    }
    if (r < 0) {
        return r;
    }
    n_id = d->naming.len;
    r = json_string(f->name, &d->naming);
    if (r < 0) {
        return r;
    }
    ev->tool_call.id = (struct str) {buf_ptr(&d->naming), n_id};
    ev->tool_call.name = (struct str) {buf_ptr(&d->naming) + n_id, d->naming.len - n_id};
    return 0;
}

static int decode_fragment(struct openai_decoder *d, uint32_t choice, const struct fragment *f)
{
    struct decoder_choice *c = &d->choices[choice];
    uint32_t at = find_call(c, f);
    bool is_new = at == c->n_calls;
    struct event ev = {.type = EVENT_TOOL_CALL, .tool_call = {.choice = choice, .index = at}};
    int r;

    if (is_new && is_empty(f->name) && f->id_hash == 0 && is_empty(f->arguments)) {
        return 0; /* says nothing */
    }
    if (is_new && is_empty(f->name)) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server sent a tool call without a name");
    }
    r = is_new ? add_call(d, c, f) : 0;
    if (r < 0) {
        return r;
    }
    r = is_new ? name_call(d, f, &ev) : 0;
    if (r < 0) {
        return r;
    }
    if (json_type(f->arguments) == JSON_OBJECT) {
        ev.tool_call.arguments = f->arguments;
    } else {
        r = openai_decoder_string(d, f->arguments, &ev.tool_call.arguments);
    }
    if (r == 0 && (is_new || ev.tool_call.arguments.len > 0)) {
        openai_decoder_deliver(d, &ev);
    }
    return r;
}

static void read_function(struct str function, struct fragment *f)
{
    static const struct str names[] = {FIELD_NAME("name"), FIELD_NAME("arguments")};
    struct str values[ARRAY_LEN(names)];

    field_pick(function, names, ARRAY_LEN(names), values);
    f->name = values[0];
    f->arguments = values[1];
}

static int decode_tool_calls(struct openai_decoder *d, uint32_t choice, struct str calls)
{
    static const struct str names[] = {FIELD_NAME("index"), FIELD_NAME("id"),
                                       FIELD_NAME("function")};
    struct str values[ARRAY_LEN(names)], name, call;
    struct json_iter it;
    int r;

    if (json_type(calls) != JSON_ARRAY) {
        return 0;
    }
    json_iter_init(&it, calls);
    while (json_next(&it, &name, &call)) {
        struct fragment f = {0};

        field_pick(call, names, ARRAY_LEN(names), values);
        f.has_index = json_i64(values[0], &f.index) == 0;
        f.id = values[1];
        f.id_hash = hash_of(f.id);
        read_function(values[2], &f);
        r = decode_fragment(d, choice, &f);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int decode_function_call(struct openai_decoder *d, uint32_t choice, struct str function)
{
    struct fragment f = {.has_index = true};

    if (json_type(function) != JSON_OBJECT) {
        return 0;
    }
    read_function(function, &f);
    return decode_fragment(d, choice, &f);
}

/* ---- how a choice ends */

static const struct {
    const char *word;
    enum finish_reason reason;
} finish_words[] = {
    {"stop", FINISH_STOP},
    {"length", FINISH_LENGTH},
    {"tool_calls", FINISH_TOOL_CALLS},
    {"function_call", FINISH_TOOL_CALLS},
    {"content_filter", FINISH_CONTENT_FILTER},
    {"max_tokens", FINISH_LENGTH},
    {"model_length", FINISH_LENGTH},
    {"tool_use", FINISH_TOOL_CALLS},
};

static int decode_finish(struct openai_decoder *d, uint32_t choice, struct str value)
{
    static const char *const broken[] = {"error", "abort", "cancelled",
                                         "insufficient_system_resource"};
    struct decoder_choice *c = &d->choices[choice];
    struct str word;

    if (is_empty(value)) {
        return 0;
    }
    word = (struct str) {value.ptr + 1, value.len - 2};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        if (str_is(word, broken[i])) {
            return openai_decoder_fail(d, ERRCODE_UPSTREAM_ERROR,
                                       "the model server broke the answer off (finish_reason %s)",
                                       broken[i]);
        }
    }
    c->is_finished = true;
    /* also for words that only this server has, "eos" and the like */
    d->reasons[choice] = FINISH_STOP;
    for (size_t i = 0; i < ARRAY_LEN(finish_words); i++) {
        if (str_is(word, finish_words[i].word)) {
            d->reasons[choice] = finish_words[i].reason;
        }
    }
    return 0;
}

/* ---- choices */

enum {
    DELTA_CONTENT,
    DELTA_REASONING_CONTENT,
    DELTA_REASONING,
    DELTA_REFUSAL,
    DELTA_TOOL_CALLS,
    DELTA_FUNCTION_CALL,
    _DELTA_MAX
};

static const struct str delta_names[_DELTA_MAX] = {
    [DELTA_CONTENT] = FIELD_NAME("content"),
    [DELTA_REASONING_CONTENT] = FIELD_NAME("reasoning_content"),
    [DELTA_REASONING] = FIELD_NAME("reasoning"),
    [DELTA_REFUSAL] = FIELD_NAME("refusal"),
    [DELTA_TOOL_CALLS] = FIELD_NAME("tool_calls"),
    [DELTA_FUNCTION_CALL] = FIELD_NAME("function_call"),
};

/* Log-probabilities go with the answer where there is some, else with what there is instead. */
static int decode_delta(struct openai_decoder *d, uint32_t choice, struct str delta,
                        struct str logprobs)
{
    struct str values[_DELTA_MAX], thinking, of_thinking = STR_NONE, of_refusal = STR_NONE;
    int r;

    field_pick(delta, delta_names, _DELTA_MAX, values);
    thinking = is_empty(values[DELTA_REASONING_CONTENT]) ? values[DELTA_REASONING]
                                                         : values[DELTA_REASONING_CONTENT];
    if (is_empty(values[DELTA_CONTENT]) && !is_empty(thinking)) {
        of_thinking = logprobs;
        logprobs = STR_NONE;
    } else if (is_empty(values[DELTA_CONTENT]) && !is_empty(values[DELTA_REFUSAL])) {
        of_refusal = logprobs;
        logprobs = STR_NONE;
    }
    r = openai_decoder_text(d, choice, CHANNEL_THINKING, thinking, of_thinking);
    if (r < 0) {
        return r;
    }
    r = decode_content(d, choice, values[DELTA_CONTENT], logprobs);
    if (r < 0) {
        return r;
    }
    r = openai_decoder_text(d, choice, CHANNEL_REFUSAL, values[DELTA_REFUSAL], of_refusal);
    if (r < 0) {
        return r;
    }
    r = decode_tool_calls(d, choice, values[DELTA_TOOL_CALLS]);
    return r < 0 ? r : decode_function_call(d, choice, values[DELTA_FUNCTION_CALL]);
}

enum {
    CHOICE_INDEX,
    CHOICE_DELTA,
    CHOICE_MESSAGE,
    CHOICE_TEXT,
    CHOICE_LOGPROBS,
    CHOICE_FINISH_REASON,
    _CHOICE_MAX
};

static const struct str choice_names[_CHOICE_MAX] = {
    [CHOICE_INDEX] = FIELD_NAME("index"),
    [CHOICE_DELTA] = FIELD_NAME("delta"),
    [CHOICE_MESSAGE] = FIELD_NAME("message"),
    [CHOICE_TEXT] = FIELD_NAME("text"),
    [CHOICE_LOGPROBS] = FIELD_NAME("logprobs"),
    [CHOICE_FINISH_REASON] = FIELD_NAME("finish_reason"),
};

static int decode_choice(struct openai_decoder *d, struct str choice, size_t position)
{
    struct str values[_CHOICE_MAX], logprobs = STR_NONE;
    int64_t index = (int64_t) position;
    int r;

    if (json_type(choice) != JSON_OBJECT) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server sent a choice that is not an object");
    }
    field_pick(choice, choice_names, _CHOICE_MAX, values);
    if (!json_is_null(values[CHOICE_INDEX]) && json_i64(values[CHOICE_INDEX], &index) < 0) {
        index = -1;
    }
    if (index < 0 || (uint64_t) index >= d->n_answers) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server sent a choice that was not asked for");
    }
    d->choices[index].is_seen = true;
    if (json_type(values[CHOICE_LOGPROBS]) == JSON_OBJECT) {
        logprobs = values[CHOICE_LOGPROBS];
    }
    if (d->kind == REQUEST_COMPLETE && json_is_null(values[CHOICE_DELTA])) {
        r = decode_content(d, (uint32_t) index, values[CHOICE_TEXT], logprobs);
    } else {
        r = decode_delta(d, (uint32_t) index,
                         json_is_null(values[CHOICE_DELTA]) ? values[CHOICE_MESSAGE]
                                                            : values[CHOICE_DELTA],
                         logprobs);
    }
    return r < 0 ? r : decode_finish(d, (uint32_t) index, values[CHOICE_FINISH_REASON]);
}

int openai_decoder_choices(struct openai_decoder *d, struct str choices)
{
    struct json_iter it;
    struct str name, choice;
    int r = 0;

    if (json_is_null(choices)) {
        return 0;
    }
    if (json_type(choices) != JSON_ARRAY) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server's choices are not an array");
    }
    json_iter_init(&it, choices);
    for (size_t i = 0; r == 0 && json_next(&it, &name, &choice); i++) {
        r = decode_choice(d, choice, i);
    }
    return r;
}
