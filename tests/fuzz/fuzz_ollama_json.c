/*
 * ollama_json: the first byte chooses what the rest is: an answer to chat, generate or embed (split
 * where the second byte says), an error body, or an OpenAI request to be written for Ollama.
 * Answers keep the event grammar, end once, and do not depend on the split; bodies are valid JSON.
 */
#include "wire/ollama_json.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"
#include "wire/ollama_names.h"
#include "wire/ollama_state.h"
#include "wire/ollama_tags.h"
#include "wire/ollama_unload.h"
#include "wire/openai_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct checking_sink {
    struct event_sink sink;
    struct event_grammar grammar;
    uint64_t hash;
    unsigned n_calls, n_vectors;
};

static void mix(struct checking_sink *s, struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        s->hash = (s->hash ^ (uint8_t) bytes.ptr[i]) * UINT64_C(0x100000001b3);
    }
}

static enum sink_answer check(struct event_sink *sink, const struct event *ev)
{
    struct checking_sink *s = CONTAINER_OF(sink, struct checking_sink, sink);

    assert(event_grammar_step(&s->grammar, ev) == 0);
    s->hash += (uint64_t) ev->type + 1;
    switch (ev->type) {
    case EVENT_TEXT:
        assert(ev->text.bytes.len > 0 || ev->text.logprobs.ptr);
        assert(!ev->text.logprobs.ptr || json_check(ev->text.logprobs, NULL) == 0);
        mix(s, ev->text.bytes);
        mix(s, ev->text.logprobs);
        break;
    case EVENT_TOOL_CALL:
        assert(ev->tool_call.index == s->n_calls++);
        assert(ev->tool_call.id.len > 0 && ev->tool_call.name.len > 0);
        assert(ev->tool_call.arguments.len > 0);
        mix(s, ev->tool_call.id);
        mix(s, ev->tool_call.name);
        mix(s, ev->tool_call.arguments);
        break;
    case EVENT_EMBEDDING:
        assert(ev->embedding.index == s->n_vectors++ && ev->embedding.n_values > 0);
        break;
    case EVENT_USAGE:
        assert(ev->usage.tokens_cached <= ev->usage.tokens_in);
        break;
    case EVENT_END:
        assert(ev->end.n_choices == 1);
        break;
    case EVENT_QUEUED:
    case EVENT_STARTED:
    case EVENT_RESULT:
    case EVENT_FAILED:
        assert(0);
        break;
    }
    return s->hash % 3 == 0 ? SINK_FULL : SINK_ROOM;
}

static void check_problem(const struct problem *p)
{
    assert(p->code >= 0 && p->code < _ERRCODE_MAX && p->text[0] != '\0');
}

static int decode(enum request_kind kind, struct str bytes, size_t step, uint64_t *ret_hash)
{
    struct request req = {.kind = kind, .id = "id", .n_inputs = kind == REQUEST_EMBED ? 2 : 0};
    struct checking_sink sink = {.sink = {.deliver = check}};
    struct ollama_decoder *d = ollama_decoder_new(&req, &sink.sink);
    struct problem problem = {.code = ERRCODE_NONE};
    bool is_full;
    int r = 0;

    assert(d);
    for (size_t i = 0; r == 0 && i < bytes.len; i += step) {
        size_t n = bytes.len - i < step ? bytes.len - i : step;

        r = ollama_decoder_feed(d, (struct str) {bytes.ptr + i, n}, 1, &is_full, &problem);
    }
    if (r == 0) {
        r = ollama_decoder_end(d, 2, &problem);
    }
    assert(r == 0 || r == -EBADMSG);
    assert((r == 0) == ollama_decoder_is_over(d));
    if (r < 0) {
        check_problem(&problem);
    }
    ollama_decoder_free(d);
    *ret_hash = sink.hash;
    return r;
}

static void fuzz_answer(enum request_kind kind, struct str bytes)
{
    uint64_t whole, split;

    if (bytes.len < 2) {
        return;
    }

    size_t step = 1 + (uint8_t) bytes.ptr[0] % 16;
    struct str rest = {bytes.ptr + 1, bytes.len - 1};
    int r = decode(kind, rest, rest.len, &whole);

    assert(decode(kind, rest, step, &split) == r && split == whole);
}

static void fuzz_error(struct str bytes)
{
    static const int statuses[] = {200, 302, 400, 403, 404, 499, 500, 501, 503};
    struct problem problem;

    if (bytes.len > 0) {
        size_t i = (uint8_t) bytes.ptr[0] % ARRAY_LEN(statuses);

        ollama_map_error(statuses[i], (struct str) {bytes.ptr + 1, bytes.len - 1}, &problem);
        check_problem(&problem);
        assert(str_is_utf8(str_from(problem.text)));
    }
}

static void fuzz_request(enum request_kind kind, struct str body)
{
    struct request *req = request_new(kind, 16 * body.len + 65536);
    struct ollama_target target = {.model = "tiny", .drops_params = body.len % 2 == 0};
    struct problem problem = {.code = ERRCODE_NONE};
    struct buf out;
    int r;

    assert(req);
    buf_init(&out, 64 * body.len + 65536);
    if (openai_decode_request(req, body, &problem) == 0) {
        r = ollama_encode_request(req, &target, &out, &problem);
        assert(r == 0 || (r == -EBADMSG && out.len == 0));
        if (r == 0) {
            assert(json_check(buf_str(&out), NULL) == 0);
            assert(!json_find(json_find(buf_str(&out), "options"), "num_ctx").ptr);
        } else {
            check_problem(&problem);
        }
    }
    buf_done(&out);
    request_free(req);
}

/* The list of what is loaded. */
static void fuzz_list(struct str body)
{
    bool has = false;
    int r = ollama_list_has(body, "tiny", &has);

    assert(r == 0 || r == -EBADMSG);
    assert(r == 0 || !has);
}

/* The list of what there is: names that a request can carry, none of them a cloud's. */
static void fuzz_tags(struct str body)
{
    struct buf names;
    int r;

    buf_init(&names, 1 << 20);
    r = ollama_read_tags(body, &names);
    assert(r == 0 || r == -EBADMSG || r == -ENOBUFS);
    for (struct str rest = buf_str(&names); r == 0 && rest.len > 0;) {
        struct str name = str_from(rest.ptr);

        assert(name.len > 0 && name.len <= REQUEST_MODEL_MAX && name.len < rest.len);
        assert(!ollama_name_is_cloud(name));
        rest.ptr += name.len + 1;
        rest.len -= name.len + 1;
    }
    buf_done(&names);
}

/* The answer to a load: who says that it asks somebody else says it in a first line of JSON. */
static void fuzz_load(struct str body)
{
    const char *end = body.len > 0 ? memchr(body.ptr, '\n', body.len) : NULL;
    struct str first = {body.ptr, end ? (size_t) (end - body.ptr) : body.len};

    if (ollama_is_forwarded(body)) {
        assert(json_check(first, NULL) == 0 && json_type(first) == JSON_OBJECT);
        assert(json_find(first, "remote_host").ptr || json_find(first, "remote_model").ptr);
    }
}

/* What it says of itself: text that can be shown, and names that are some. */
static void fuzz_state(struct str body)
{
    char version[OLLAMA_VERSION_BYTES];
    struct ollama_loaded_list list = {0};
    int r = ollama_read_version(body, version);

    assert(r == 0 || r == -EBADMSG);
    assert((r == 0) == (version[0] != '\0') && strlen(version) < OLLAMA_VERSION_BYTES);
    r = ollama_read_loaded(body, &list);
    assert(r == 0 || (r == -EBADMSG && !list.models));
    assert(list.n <= OLLAMA_LOADED_MAX_MODELS);
    for (size_t i = 0; i < list.n; i++) {
        assert(list.models[i].name[0] != '\0' && !str_has_control(str_from(list.models[i].name)));
    }
    ollama_loaded_list_done(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n == 0) {
        return 0;
    }

    struct str rest = {(const char *) bytes + 1, n - 1};
    static const enum request_kind kinds[] = {REQUEST_CHAT, REQUEST_COMPLETE, REQUEST_EMBED};
    unsigned what = bytes[0] % 7;

    if (what < 3) {
        fuzz_answer(kinds[what], rest);
    } else if (what < 6) {
        fuzz_request(kinds[what - 3], rest);
    } else {
        fuzz_error(rest);
        fuzz_list(rest);
        fuzz_tags(rest);
        fuzz_load(rest);
        fuzz_state(rest);
    }
    return 0;
}
