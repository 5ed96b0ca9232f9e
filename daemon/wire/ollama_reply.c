/*
 * Answers of Ollama to events: one JSON object on each line of /api/chat and /api/generate, one
 * body for /api/embed.
 *
 * Only done:true ends an answer. Ollama also ends the body cleanly when its runner dies or its
 * repetition guard bites, sometimes after an {"error":...} line with status 200, sometimes without
 * (measured, 0.34): both are failures here. So is a done_reason of "load" or "unload": it answers
 * requests without a prompt, and no call is one. The last object may have no line end; it is taken
 * at the end.
 *
 * A line is checked once and walked once, or compared with the last one where only its time and its
 * text differ (json_alike.h); nothing is copied unless it has escapes, and then into buffers that
 * stay, so that a token costs no allocation. Nothing relies on the order of members,
 * on one line per read, or on members being there: Ollama leaves out what is empty or 0.
 *
 * Tool calls come whole, with an object for arguments: its text is handed on as it is. Ollama ends
 * such an answer with "stop", which would make clients ignore the calls; ours ends with tool_calls.
 */
#include "wire/ollama_reply.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "wire/field.h"
#include "wire/json.h"
#include "wire/json_alike.h"

/* ---- life */

struct ollama_decoder *ollama_decoder_new(const struct request *req, struct event_sink *sink)
{
    struct ollama_decoder *d = calloc(1, sizeof *d);

    if (!d) {
        return NULL;
    }
    d->kind = req->kind;
    d->sink = sink;
    d->n_inputs = req->n_inputs;
    d->n_dimensions = req->dimensions;
    d->id_seed = UINT64_C(0xcbf29ce484222325); /* FNV-1a, 64 bits */
    for (const char *p = req->id; *p; p++) {
        d->id_seed = (d->id_seed ^ (uint8_t) *p) * UINT64_C(0x100000001b3);
    }
    lines_init(&d->lines, OLLAMA_MAX_LINE_BYTES);
    json_alike_init(&d->alike);
    buf_init(&d->body, OLLAMA_MAX_BODY_BYTES);
    buf_init(&d->text, OLLAMA_MAX_LINE_BYTES);
    buf_init(&d->name, OLLAMA_MAX_LINE_BYTES);
    buf_init(&d->logprobs, 4 * OLLAMA_MAX_LINE_BYTES);
    return d;
}

struct ollama_decoder *ollama_decoder_free(struct ollama_decoder *d)
{
    if (d) {
        lines_done(&d->lines);
        json_alike_done(&d->alike);
        buf_done(&d->body);
        buf_done(&d->text);
        buf_done(&d->name);
        buf_done(&d->logprobs);
        free(d);
    }
    return NULL;
}

bool ollama_decoder_is_over(const struct ollama_decoder *d)
{
    return d->is_over;
}

int ollama_decoder_fail(struct ollama_decoder *d, enum errcode code, const char *fmt, ...)
{
    va_list ap;

    d->problem->code = code;
    d->problem->param[0] = '\0';
    va_start(ap, fmt);
    (void) vsnprintf(d->problem->text, sizeof d->problem->text, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

void ollama_decoder_deliver(struct ollama_decoder *d, struct event *ev)
{
    ev->at_usec = d->now_usec;
    d->n_events++;
    d->source = STR_NONE;
    if (event_sink_deliver(d->sink, ev) == SINK_FULL) {
        d->is_full = true;
    }
}

/* ---- values */

/*
 * The characters of a member that is a string, null or absent: borrowed where it has no escapes,
 * else in scratch.
 */
static int read_string(struct ollama_decoder *d, const char *name, struct str value,
                       struct buf *scratch, struct str *ret)
{
    int r;

    *ret = STR_LIT("");
    if (json_is_null(value)) {
        return 0;
    }
    if (json_type(value) != JSON_STRING) {
        return ollama_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server sent a '%s' that is no string", name);
    }
    if (!memchr(value.ptr, '\\', value.len)) {
        *ret = (struct str) {value.ptr + 1, value.len - 2};
        return 0;
    }
    buf_clear(scratch);
    r = json_string(value, scratch);
    if (r < 0) {
        return r;
    }
    *ret = buf_str(scratch);
    return 0;
}

static uint64_t count_of(struct str value)
{
    int64_t v;

    return !json_is_null(value) && json_i64(value, &v) == 0 && v > 0 ? (uint64_t) v : 0;
}

/* ---- text */

static int deliver_text(struct ollama_decoder *d, enum event_channel channel, const char *name,
                        struct str value, struct str logprobs)
{
    struct event ev = {.type = EVENT_TEXT, .text = {.channel = channel, .logprobs = logprobs}};
    int r = read_string(d, name, value, &d->text, &ev.text.bytes);

    if (r == 0 && (ev.text.bytes.len > 0 || logprobs.ptr)) {
        ollama_decoder_deliver(d, &ev);
        d->source = logprobs.ptr ? STR_NONE : value;
        d->alike_channel = channel;
    }
    return r;
}

/* ---- tool calls */

/*
 * Clients tell calls of a conversation apart by their ids, so one that Ollama left out is made up:
 * the request's id, and a counter.
 */
static struct str made_up_id(const struct ollama_decoder *d, char ret_text[40])
{
    int n = snprintf(ret_text, 40, "call_%016llx_%u", (unsigned long long) d->id_seed, d->n_calls);

    return (struct str) {ret_text, (size_t) n};
}

/* The text of an object as it came; some versions and relays send it as a string that holds it. */
static int read_arguments(struct ollama_decoder *d, struct str value, struct str *ret)
{
    if (json_is_null(value)) {
        *ret = STR_LIT("{}");
        return 0;
    }
    if (json_type(value) == JSON_OBJECT) {
        *ret = value;
        return 0;
    }
    return read_string(d, "arguments", value, &d->logprobs, ret);
}

enum { CALL_NAME, CALL_ARGUMENTS, _CALL_MAX };

static const struct str call_names[_CALL_MAX] = {
    [CALL_NAME] = FIELD_NAME("name"),
    [CALL_ARGUMENTS] = FIELD_NAME("arguments"),
};

static int deliver_call(struct ollama_decoder *d, struct str call)
{
    struct event ev = {.type = EVENT_TOOL_CALL, .tool_call = {.index = d->n_calls}};
    struct str values[_CALL_MAX];
    char made_up[40];
    int r;

    field_pick(json_find(call, "function"), call_names, _CALL_MAX, values);
    r = read_string(d, "name", values[CALL_NAME], &d->name, &ev.tool_call.name);
    if (r == 0) {
        r = read_string(d, "id", json_find(call, "id"), &d->text, &ev.tool_call.id);
    }
    if (r == 0) {
        r = read_arguments(d, values[CALL_ARGUMENTS], &ev.tool_call.arguments);
    }
    if (r < 0) {
        return r;
    }
    if (ev.tool_call.name.len == 0) {
        return ollama_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server sent a tool call without a name");
    }
    if (ev.tool_call.id.len == 0) {
        ev.tool_call.id = made_up_id(d, made_up);
    }
    if (ev.tool_call.arguments.len == 0) {
        ev.tool_call.arguments = STR_LIT("{}");
    }
    d->n_calls++;
    ollama_decoder_deliver(d, &ev);
    return 0;
}

static int deliver_calls(struct ollama_decoder *d, struct str calls)
{
    struct json_iter it;
    struct str call;
    int r = 0;

    if (json_is_null(calls)) {
        return 0;
    }
    if (json_type(calls) != JSON_ARRAY) {
        return ollama_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server sent 'tool_calls' that are no array");
    }
    json_iter_init(&it, calls);
    while (r == 0 && json_next(&it, NULL, &call)) {
        r = deliver_call(d, call);
    }
    return r;
}

/* ---- one line */

enum {
    LINE_MESSAGE,
    LINE_RESPONSE,
    LINE_THINKING,
    LINE_TOOL_CALLS,
    LINE_DONE,
    LINE_ERROR,
    LINE_LOGPROBS,
    LINE_DONE_REASON,
    LINE_TOKENS_IN,
    LINE_TOKENS_CACHED,
    LINE_TOKENS_OUT,
    LINE_CREATED_AT,
    _LINE_MAX
};

static const struct str line_names[_LINE_MAX] = {
    [LINE_MESSAGE] = FIELD_NAME("message"),
    [LINE_RESPONSE] = FIELD_NAME("response"),
    [LINE_THINKING] = FIELD_NAME("thinking"),
    [LINE_TOOL_CALLS] = FIELD_NAME("tool_calls"),
    [LINE_DONE] = FIELD_NAME("done"),
    [LINE_ERROR] = FIELD_NAME("error"),
    [LINE_LOGPROBS] = FIELD_NAME("logprobs"),
    [LINE_DONE_REASON] = FIELD_NAME("done_reason"),
    [LINE_TOKENS_IN] = FIELD_NAME("prompt_eval_count"),
    [LINE_TOKENS_CACHED] = FIELD_NAME("prompt_eval_cached_count"),
    [LINE_TOKENS_OUT] = FIELD_NAME("eval_count"),
    [LINE_CREATED_AT] = FIELD_NAME("created_at"),
};

enum { MESSAGE_CONTENT, MESSAGE_THINKING, MESSAGE_TOOL_CALLS, _MESSAGE_MAX };

static const struct str message_names[_MESSAGE_MAX] = {
    [MESSAGE_CONTENT] = FIELD_NAME("content"),
    [MESSAGE_THINKING] = FIELD_NAME("thinking"),
    [MESSAGE_TOOL_CALLS] = FIELD_NAME("tool_calls"),
};

/* What a line says of the answer, from "message" (chat) or from the line itself (generate). */
static int read_content(struct ollama_decoder *d, const struct str *line,
                        struct str ret_content[_MESSAGE_MAX])
{
    struct str message = line[LINE_MESSAGE];

    if (d->kind != REQUEST_CHAT) {
        ret_content[MESSAGE_CONTENT] = line[LINE_RESPONSE];
        ret_content[MESSAGE_THINKING] = line[LINE_THINKING];
        ret_content[MESSAGE_TOOL_CALLS] = line[LINE_TOOL_CALLS];
        return 0;
    }
    if (!json_is_null(message) && json_type(message) != JSON_OBJECT) {
        return ollama_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server sent a 'message' that is no object");
    }
    field_pick(message, message_names, _MESSAGE_MAX, ret_content);
    return 0;
}

static int deliver_content(struct ollama_decoder *d, const struct str *line)
{
    struct str content[_MESSAGE_MAX], logprobs = STR_NONE;
    bool is_thinking;
    int r = read_content(d, line, content);

    if (r == 0 && !json_is_null(line[LINE_LOGPROBS])) {
        r = ollama_decoder_logprobs(d, line[LINE_LOGPROBS], &logprobs);
    }
    if (r < 0) {
        return r;
    }
    /* they are those of the tokens of this line, which has one kind of text */
    is_thinking = content[MESSAGE_THINKING].len > 2 && content[MESSAGE_CONTENT].len <= 2;
    r = deliver_text(d, CHANNEL_THINKING, "thinking", content[MESSAGE_THINKING],
                     is_thinking ? logprobs : STR_NONE);
    if (r == 0) {
        r = deliver_text(d, CHANNEL_ANSWER, "content", content[MESSAGE_CONTENT],
                         is_thinking ? STR_NONE : logprobs);
    }
    return r < 0 ? r : deliver_calls(d, content[MESSAGE_TOOL_CALLS]);
}

void ollama_decoder_finish(struct ollama_decoder *d, const struct str counts[3],
                           enum finish_reason reason)
{
    struct event usage = {.type = EVENT_USAGE};
    struct event end = {.type = EVENT_END, .end = {.reasons = &reason, .n_choices = 1}};

    usage.usage.tokens_in = count_of(counts[0]);
    usage.usage.tokens_cached = count_of(counts[1]);
    usage.usage.tokens_out = count_of(counts[2]);
    if (usage.usage.tokens_cached > usage.usage.tokens_in) {
        usage.usage.tokens_cached = usage.usage.tokens_in;
    }
    ollama_decoder_deliver(d, &usage);
    d->is_over = true;
    ollama_decoder_deliver(d, &end);
}

/* The model was loaded, or its memory freed, and nothing was asked of it. */
static bool is_no_answer(struct str done_reason)
{
    return str_is(done_reason, "\"load\"") || str_is(done_reason, "\"unload\"");
}

/*
 * A word that is not known, or none, is a normal end. An answer that was cut stays one, whatever it
 * called before.
 */
static enum finish_reason reason_of(const struct ollama_decoder *d, struct str done_reason)
{
    if (str_is(done_reason, "\"length\"")) {
        return FINISH_LENGTH;
    }
    return d->n_calls > 0 ? FINISH_TOOL_CALLS : FINISH_STOP;
}

static int fail_cut(struct ollama_decoder *d)
{
    return ollama_decoder_fail(d, ERRCODE_UPSTREAM_CUT, "%s",
                               errcode_info(ERRCODE_UPSTREAM_CUT)->text);
}

/* A text that the end of the body cut short is no garbage. */
static int check_object(struct ollama_decoder *d, struct str text)
{
    struct json_error error = {0};
    int r = json_check(text, &error);

    if (r == -ENOMEM) {
        return r;
    }
    if (r < 0 && d->is_ending && error.offset >= text.len) {
        return fail_cut(d);
    }
    if (r < 0 || json_type(text) != JSON_OBJECT) {
        return ollama_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server sent something that is no JSON object");
    }
    return 0;
}

/* The next lines may be like this one, but for their times. */
static void learn(struct ollama_decoder *d, struct str line, struct str created_at)
{
    if (d->n_events == 1 && d->source.ptr) {
        json_alike_learn(&d->alike, line,
                         json_type(created_at) == JSON_STRING ? created_at : STR_NONE, d->source);
    }
}

static int on_line(void *ctx, struct str line)
{
    struct ollama_decoder *d = ctx;
    struct str values[_LINE_MAX], text;
    int r;

    if (d->is_over || str_trim(line).len == 0) {
        return 0;
    }
    if (json_alike_match(&d->alike, line, &text)) {
        return deliver_text(d, d->alike_channel, "content", text, STR_NONE);
    }
    json_alike_forget(&d->alike);
    d->n_events = 0;
    r = check_object(d, line);
    if (r < 0) {
        return r;
    }
    field_pick(line, line_names, _LINE_MAX, values);
    if (!json_is_null(values[LINE_ERROR])) {
        ollama_map_error(200, line, d->problem);
        return -EBADMSG;
    }
    r = deliver_content(d, values);
    if (r == 0 && json_is_true(values[LINE_DONE])) {
        if (is_no_answer(values[LINE_DONE_REASON])) {
            return ollama_decoder_fail(d, ERRCODE_UPSTREAM_CUT,
                                       "the model server did not answer the prompt, it only "
                                       "changed what is loaded");
        }
        ollama_decoder_finish(d, &values[LINE_TOKENS_IN], reason_of(d, values[LINE_DONE_REASON]));
    }
    if (r == 0) {
        learn(d, line, values[LINE_CREATED_AT]);
    }
    return r;
}

/* ---- the stream */

static int collect_body(struct ollama_decoder *d, struct str bytes)
{
    int r = buf_append_str(&d->body, bytes);

    if (r == -ENOBUFS) {
        return ollama_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server's answer is larger than %d MiB",
                                   OLLAMA_MAX_BODY_BYTES >> 20);
    }
    return r;
}

static int split_lines(struct ollama_decoder *d, int r)
{
    if (r == -EMSGSIZE || r == -ENOBUFS) {
        return ollama_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server sent a line larger than %d KiB",
                                   OLLAMA_MAX_LINE_BYTES >> 10);
    }
    return r;
}

int ollama_decoder_feed(struct ollama_decoder *d, struct str bytes, uint64_t now_usec,
                        bool *ret_full, struct problem *ret_problem)
{
    int r = 0;

    d->now_usec = now_usec;
    d->is_full = false;
    d->problem = ret_problem;
    if (d->is_over) {
        r = 0; /* what comes after the end is nobody's */
    } else if (d->kind == REQUEST_EMBED) {
        r = collect_body(d, bytes);
    } else {
        r = split_lines(d, lines_feed(&d->lines, bytes, on_line, d));
    }
    *ret_full = d->is_full;
    return r;
}

int ollama_decoder_end(struct ollama_decoder *d, uint64_t now_usec, struct problem *ret_problem)
{
    int r;

    d->now_usec = now_usec;
    d->problem = ret_problem;
    d->is_ending = true;
    if (d->is_over) {
        return 0;
    }
    if (d->kind == REQUEST_EMBED) {
        r = check_object(d, buf_str(&d->body));
        return r < 0 ? r : ollama_decoder_vectors(d, buf_str(&d->body));
    }
    r = split_lines(d, lines_end(&d->lines, on_line, d));
    return r < 0 || d->is_over ? r : fail_cut(d);
}
