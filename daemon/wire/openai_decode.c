/*
 * Answers in the OpenAI dialect to events: framing, life and end (see openai_upstream.h for the
 * contract, openai_decoder.h for the parts).
 *
 *   bytes ──► SSE ──► chunk ──┐
 *        └──► body ───────────┴─► error? ─► choices ─► TEXT, TOOL_CALL ─► usage kept
 *                                         [DONE] or end ─► USAGE, END
 *
 * What is complete: [DONE], or the end of the body after every choice had its finish_reason, or one
 * whole JSON body. Anything else was cut: Ollama ends a stream of a dead runner cleanly with an
 * empty chunk, other servers with nothing at all. An error object in a stream (vLLM, llama-server,
 * LiteLLM) or an event named "error" ends it with that error.
 *
 * A chunk costs one strict check and one walk for each level that is read; one that differs from the
 * last in its text only, as nearly all do, costs a comparison (json_alike.h). Nothing is allocated
 * once the scratch buffers have grown.
 */
#include "wire/openai_decoder.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "wire/field.h"
#include "wire/json.h"
#include "wire/json_alike.h"
#include "wire/openai_request.h"

/* ---- life */

struct openai_decoder *openai_decoder_new(const struct request *req, struct event_sink *sink)
{
    struct openai_decoder *d = calloc(1, sizeof *d);

    if (!d) {
        return NULL;
    }
    d->kind = req->kind;
    d->sink = sink;
    d->n_answers = openai_count_answers(req);
    memcpy(d->req_id, req->id, sizeof d->req_id);
    sse_init(&d->sse, OPENAI_MAX_EVENT_BYTES);
    json_alike_init(&d->alike);
    buf_init(&d->body, OPENAI_MAX_BODY_BYTES);
    buf_init(&d->text, OPENAI_MAX_BODY_BYTES);
    buf_init(&d->naming, OPENAI_MAX_BODY_BYTES);
    d->top_n = req->top_n;
    if (!request_kind_is_text(d->kind)) {
        return d;
    }
    d->choices = calloc(d->n_answers, sizeof *d->choices);
    d->reasons = calloc(d->n_answers, sizeof *d->reasons);
    return d->choices && d->reasons ? d : openai_decoder_free(d);
}

struct openai_decoder *openai_decoder_free(struct openai_decoder *d)
{
    if (!d) {
        return NULL;
    }
    for (size_t i = 0; d->choices && i < d->n_answers; i++) {
        free(d->choices[i].calls);
    }
    free(d->choices);
    free(d->reasons);
    sse_done(&d->sse);
    json_alike_done(&d->alike);
    buf_done(&d->body);
    buf_done(&d->text);
    buf_done(&d->naming);
    free(d);
    return NULL;
}

bool openai_decoder_is_over(const struct openai_decoder *d)
{
    return d->is_over;
}

/* ---- what the parts share */

int openai_decoder_fail(struct openai_decoder *d, enum errcode code, const char *fmt, ...)
{
    va_list ap;

    *d->problem = (struct problem) {.code = code};
    va_start(ap, fmt);
    (void) vsnprintf(d->problem->text, sizeof d->problem->text, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

static int fail_plainly(struct openai_decoder *d, enum errcode code)
{
    return openai_decoder_fail(d, code, "%s", errcode_info(code)->text);
}

void openai_decoder_deliver(struct openai_decoder *d, struct event *ev)
{
    ev->at_usec = d->now_usec;
    d->n_events++;
    d->source = STR_NONE;
    if (d->n_fingerprint > 0) { /* once, with the first event */
        ev->fingerprint = (struct str) {d->fingerprint, d->n_fingerprint};
        d->n_fingerprint = 0;
    }
    if (event_sink_deliver(d->sink, ev) == SINK_FULL) {
        d->is_full = true;
    }
}

int openai_decoder_string(struct openai_decoder *d, struct str value, struct str *ret)
{
    int r;

    *ret = STR_LIT("");
    if (json_type(value) != JSON_STRING) {
        return 0;
    }
    if (!memchr(value.ptr, '\\', value.len)) {
        *ret = (struct str) {value.ptr + 1, value.len - 2};
        return 0;
    }
    buf_clear(&d->text);
    r = json_string(value, &d->text);
    if (r < 0) {
        return r;
    }
    *ret = buf_str(&d->text);
    return 0;
}

/* ---- usage */

static uint64_t count_of(struct str value)
{
    int64_t v;

    return json_i64(value, &v) == 0 && v > 0 ? (uint64_t) v : 0;
}

/*
 * Kept until the end, since it may stand in several chunks: as a running count (vLLM), or as zeros
 * in all but the last (Ollama's completions).
 */
static void note_usage(struct openai_decoder *d, struct str usage)
{
    static const struct str names[] = {FIELD_NAME("prompt_tokens"), FIELD_NAME("completion_tokens"),
                                       FIELD_NAME("prompt_tokens_details"),
                                       FIELD_NAME("completion_tokens_details")};
    struct str values[ARRAY_LEN(names)];
    struct usage u;

    if (json_is_null(usage)) {
        return; /* in every chunk but the last */
    }
    field_pick(usage, names, ARRAY_LEN(names), values);
    u.tokens_in = count_of(values[0]);
    u.tokens_out = count_of(values[1]);
    u.tokens_cached = count_of(json_find(values[2], "cached_tokens"));
    u.tokens_reasoning = count_of(json_find(values[3], "reasoning_tokens"));
    if (u.tokens_in == 0 && !d->choices) {
        u.tokens_in = count_of(json_find(usage, "total_tokens")); /* Jina, older vLLM */
    }
    if (u.tokens_in > 0 || u.tokens_out > 0) {
        d->usage = u;
        d->has_usage = true;
    }
}

/* Cohere counts in "meta"; what it billed where it does not say what it read. */
static void note_meta(struct openai_decoder *d, struct str meta)
{
    struct str tokens = json_find(meta, "tokens"), billed = json_find(meta, "billed_units");
    uint64_t n_in = count_of(json_find(tokens, "input_tokens"));

    n_in = n_in > 0 ? n_in : count_of(json_find(billed, "input_tokens"));
    n_in = n_in > 0 ? n_in : count_of(json_find(billed, "total_tokens"));
    if (n_in > 0) { /* "usage", which is read after this, wins */
        d->usage = (struct usage) {.tokens_in = n_in,
                                   .tokens_out = count_of(json_find(tokens, "output_tokens"))};
        d->has_usage = true;
    }
}

/* ---- the end */

/* A server that does not know n answers once and says nothing about it. */
static int check_all_seen(struct openai_decoder *d)
{
    size_t n_seen = 0;

    for (size_t i = 0; i < d->n_answers; i++) {
        n_seen += d->choices[i].is_seen ? 1 : 0;
    }
    if (n_seen == 0) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server's answer has no choices");
    }
    if (n_seen < d->n_answers) {
        int r =
            openai_decoder_fail(d, ERRCODE_UNSUPPORTED_PARAMETER,
                                "the model server gave %zu of %zu answers", n_seen, d->n_answers);

        (void) snprintf(d->problem->param, sizeof d->problem->param, "n");
        return r;
    }
    return 0;
}

static int finish(struct openai_decoder *d)
{
    struct event usage = {.type = EVENT_USAGE, .usage = d->usage};
    struct event end = {.type = EVENT_END, .end = {.reasons = d->reasons}};
    int r = d->choices ? check_all_seen(d) : 0;

    if (r < 0) {
        return r;
    }
    for (size_t i = 0; d->choices && i < d->n_answers; i++) {
        if (d->choices[i].n_calls > 0 && d->reasons[i] == FINISH_STOP) {
            d->reasons[i] = FINISH_TOOL_CALLS; /* Ollama and others say stop */
        }
    }
    end.end.n_choices = d->choices ? d->n_answers : 0;
    if (d->has_usage) {
        openai_decoder_deliver(d, &usage);
    }
    openai_decoder_deliver(d, &end);
    d->is_over = true;
    return 0;
}

static bool are_all_finished(const struct openai_decoder *d)
{
    for (size_t i = 0; d->choices && i < d->n_answers; i++) {
        if (!d->choices[i].is_finished) {
            return false;
        }
    }
    return d->choices != NULL;
}

/* ---- a chunk, or a body */

enum {
    MEMBER_ERROR,
    MEMBER_OBJECT,
    MEMBER_CHOICES,
    MEMBER_DATA,
    MEMBER_USAGE,
    MEMBER_FINGERPRINT,
    _MEMBER_MAX
};

static const struct str member_names[_MEMBER_MAX] = {
    [MEMBER_ERROR] = FIELD_NAME("error"),
    [MEMBER_OBJECT] = FIELD_NAME("object"),
    [MEMBER_CHOICES] = FIELD_NAME("choices"),
    [MEMBER_DATA] = FIELD_NAME("data"),
    [MEMBER_USAGE] = FIELD_NAME("usage"),
    [MEMBER_FINGERPRINT] = FIELD_NAME("system_fingerprint"),
};

/* Which build of the server answers, of its first chunk. */
static int note_fingerprint(struct openai_decoder *d, struct str value)
{
    struct str text;
    int r;

    if (d->has_fingerprint || !d->choices) {
        return 0;
    }
    d->has_fingerprint = true;
    r = openai_decoder_string(d, value, &text);
    if (r == 0 && text.len <= sizeof d->fingerprint) {
        memcpy(d->fingerprint, text.ptr, text.len);
        d->n_fingerprint = text.len;
    }
    return r;
}

static int decode_ranks(struct openai_decoder *d, struct str object, struct str data)
{
    struct str results = json_find(object, "results");
    int r = openai_decoder_ranks(d, json_is_null(results) ? data : results);

    if (r == 0) {
        note_meta(d, json_find(object, "meta"));
    }
    return r;
}

static int decode_list(struct openai_decoder *d, struct str object, const struct str *values)
{
    switch (d->kind) {
    case REQUEST_CHAT:
    case REQUEST_COMPLETE:
        return openai_decoder_choices(d, values[MEMBER_CHOICES]);
    case REQUEST_EMBED:
        return openai_decoder_vectors(d, values[MEMBER_DATA]);
    case REQUEST_RERANK:
        return decode_ranks(d, object, values[MEMBER_DATA]);
    case REQUEST_CLASSIFY:
        return openai_decoder_classes(d, values[MEMBER_DATA]);
    }
    assert(0);
    return 0;
}

static int decode_object(struct openai_decoder *d, struct str object)
{
    struct str values[_MEMBER_MAX];
    int r;

    if (json_type(object) != JSON_OBJECT) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server's answer is not a JSON object");
    }
    field_pick(object, member_names, _MEMBER_MAX, values);
    if (!json_is_null(values[MEMBER_ERROR]) || str_is(values[MEMBER_OBJECT], "\"error\"")) {
        openai_map_stream_error(object, d->problem);
        return -EBADMSG;
    }
    r = note_fingerprint(d, values[MEMBER_FINGERPRINT]);
    r = r < 0 ? r : decode_list(d, object, values);
    if (r == 0) {
        note_usage(d, values[MEMBER_USAGE]);
    }
    return r;
}

/* A chunk that has to be read in full; the next ones may be like it. */
static int decode_chunk(struct openai_decoder *d, struct str chunk)
{
    int r;

    json_alike_forget(&d->alike);
    d->n_events = 0;
    r = decode_object(d, chunk);
    if (r == 0 && d->n_events == 1 && d->source.ptr) {
        json_alike_learn(&d->alike, chunk, STR_NONE, d->source);
    }
    return r;
}

static int on_event(void *ctx, struct str name, struct str data)
{
    struct openai_decoder *d = ctx;
    struct json_error error;
    struct str value;
    int r;

    data = str_trim(data);
    if (d->is_over || data.len == 0) {
        return 0;
    }
    if (str_has_prefix(data, "[DONE]")) {
        return finish(d);
    }
    if (name.len == 0 && json_alike_match(&d->alike, data, &value)) {
        return openai_decoder_text(d, d->alike_choice, d->alike_channel, value, STR_NONE);
    }
    r = json_check(data, &error);
    if (r == -EBADMSG) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server sent a chunk that is not JSON: %s",
                                   error.text);
    }
    if (r < 0) {
        return r;
    }
    if (str_is(name, "error")) {
        openai_map_stream_error(data, d->problem);
        return -EBADMSG;
    }
    return decode_chunk(d, data);
}

static int decode_body(struct openai_decoder *d)
{
    struct str body = buf_str(&d->body);
    struct json_error error;
    int r = json_check(body, &error);

    if (r == -EBADMSG && error.offset >= body.len) {
        return fail_plainly(d, ERRCODE_UPSTREAM_CUT);
    }
    if (r == -EBADMSG) {
        return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                   "the model server's answer is not JSON: %s at byte %zu",
                                   error.text, error.offset);
    }
    if (r < 0) {
        return r;
    }
    r = decode_object(d, body);
    return r < 0 ? r : finish(d);
}

/* ---- framing */

/* Blanks mean nothing in front of an answer. */
static struct str skip_blanks(struct str bytes)
{
    while (bytes.len > 0 && strchr(" \t\r\n", bytes.ptr[0])) {
        bytes.ptr++;
        bytes.len--;
    }
    return bytes;
}

/*
 * By the first letter, as servers err in their Content-Type; the header decides where that says
 * nothing.
 */
static enum decoder_mode choose_mode(const struct openai_decoder *d, char first, bool is_sse)
{
    if (!request_kind_is_text(d->kind) || first == '{') {
        return DECODER_JSON;
    }
    return is_sse || first == 'd' || first == ':' ? DECODER_SSE : DECODER_JSON;
}

static int feed(struct openai_decoder *d, struct str bytes)
{
    int r;

    switch (d->mode) {
    case DECODER_UNDECIDED:
        return 0;
    case DECODER_SSE:
        r = sse_feed(&d->sse, bytes, on_event, d);
        if (r == -EMSGSIZE) {
            return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                       "the model server sent a chunk of more than %d bytes",
                                       OPENAI_MAX_EVENT_BYTES);
        }
        return r;
    case DECODER_JSON:
        r = buf_append_str(&d->body, bytes);
        if (r == -ENOBUFS) {
            return openai_decoder_fail(d, ERRCODE_UPSTREAM_GARBAGE,
                                       "the model server's answer has more than %d bytes",
                                       OPENAI_MAX_BODY_BYTES);
        }
        return r;
    }
    assert(0);
    return 0;
}

int openai_decoder_feed(struct openai_decoder *d, struct str bytes, bool is_sse, uint64_t now_usec,
                        bool *ret_full, struct problem *ret_problem)
{
    int r = 0;

    d->now_usec = now_usec;
    d->is_full = false;
    d->problem = ret_problem;
    if (d->mode == DECODER_UNDECIDED) {
        bytes = skip_blanks(bytes);
    }
    if (d->mode == DECODER_UNDECIDED && bytes.len > 0) {
        d->mode = choose_mode(d, bytes.ptr[0], is_sse);
    }
    if (!d->is_over) {
        r = feed(d, bytes);
    }
    *ret_full = d->is_full;
    return r;
}

/*
 * The last event may lack its empty line, or even the end of its own line; what is cut within it
 * counts as cut.
 */
static int end_stream(struct openai_decoder *d)
{
    int r = feed(d, STR_LIT("\n\n"));

    if (r == -EBADMSG && d->problem->code == ERRCODE_UPSTREAM_GARBAGE) {
        return fail_plainly(d, ERRCODE_UPSTREAM_CUT);
    }
    if (r < 0 || d->is_over) {
        return r;
    }
    return are_all_finished(d) ? finish(d) : fail_plainly(d, ERRCODE_UPSTREAM_CUT);
}

int openai_decoder_end(struct openai_decoder *d, uint64_t now_usec, struct problem *ret_problem)
{
    d->now_usec = now_usec;
    d->problem = ret_problem;
    if (d->is_over) {
        return 0;
    }
    switch (d->mode) {
    case DECODER_UNDECIDED:
        return fail_plainly(d, ERRCODE_UPSTREAM_CUT);
    case DECODER_SSE:
        return end_stream(d);
    case DECODER_JSON:
        return decode_body(d);
    }
    assert(0);
    return 0;
}
