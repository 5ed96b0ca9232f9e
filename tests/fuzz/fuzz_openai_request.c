/*
 * Fuzzes openai_request.h and the encoder of openai_upstream.h. The first byte says which kind, the
 * rest is the body. What decodes must encode into one JSON text, spliced and (where the neutral
 * request says everything) written anew; and the latter must decode to the same messages again.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/clock.h"
#include "wire/json.h"
#include "wire/openai_request.h"
#include "wire/openai_upstream.h"
#include "wire/overrides.h"

#define BUDGET (4 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_routing(const struct request *req)
{
    const struct request_routing *to = &req->routing;

    assert(to->max_retries <= OVERRIDES_MAX_RETRIES && (to->has_retries || to->max_retries == 0));
    assert(to->total_usec <= OVERRIDES_MAX_SEC * USEC_PER_SEC);
    assert(to->first_byte_usec <= OVERRIDES_MAX_SEC * USEC_PER_SEC);
    assert(to->n_fallbacks <= REQUEST_MAX_FALLBACKS && to->n_tags <= REQUEST_MAX_TAGS);
    assert(to->has_fallbacks || to->n_fallbacks == 0);
    for (size_t i = 0; i < to->n_tags; i++) {
        assert(to->tags[i].len >= 1 && to->tags[i].len <= OVERRIDES_TAG_MAX);
        assert(str_is_utf8(to->tags[i]) && !str_has_control(to->tags[i]));
    }
    for (size_t i = 0; i < to->n_fallbacks; i++) {
        assert(to->fallbacks[i].len >= 1 && to->fallbacks[i].len <= REQUEST_MODEL_MAX);
        assert(str_is_utf8(to->fallbacks[i]) && !str_has_control(to->fallbacks[i]));
    }
}

static void check_request(const struct request *req)
{
    size_t n_answers = openai_count_answers(req);

    assert(req->model.len >= 1 && req->model.len <= REQUEST_MODEL_MAX && str_is_utf8(req->model));
    assert(req->n_messages <= OPENAI_MAX_MESSAGES && req->n_inputs <= REQUEST_MAX_INPUTS);
    assert(req->sampling.n_stop <= REQUEST_MAX_STOP);
    assert(req->sampling.n_choices >= 1 && req->sampling.n_choices <= REQUEST_MAX_CHOICES);
    assert(n_answers >= 1 && n_answers <= REQUEST_MAX_INPUTS);
    assert(req->is_raw_only == (req->raw_only_param != NULL));
    assert(req->is_raw_only || req->n_messages + req->n_inputs > 0 || req->prompt.ptr);
    assert(req->is_raw_only || (req->query.len > 0) == (req->kind == REQUEST_RERANK));
    check_routing(req);
}

static void check_same(const struct request *a, const struct request *b)
{
    assert(a->n_messages == b->n_messages && a->n_inputs == b->n_inputs);
    assert(a->sampling.set == b->sampling.set && a->sampling.n_stop == b->sampling.n_stop);
    assert(a->sampling.max_tokens == b->sampling.max_tokens);
    assert(str_is_equal(a->query, b->query) && a->top_n == b->top_n);
    for (size_t i = 0; i < a->n_inputs; i++) {
        assert(str_is_equal(a->inputs[i], b->inputs[i]));
    }
    assert(str_is_equal(a->prompt, b->prompt) && str_is_equal(a->suffix, b->suffix));
    assert(str_is_equal(a->tools, b->tools) && str_is_equal(a->tool_choice, b->tool_choice));
    for (size_t i = 0; i < a->n_messages; i++) {
        const struct message *m = &a->messages[i], *o = &b->messages[i];

        assert(m->role == o->role && m->n_tool_calls == o->n_tool_calls);
        assert(str_is_equal(m->thinking, o->thinking) && str_is_equal(m->name, o->name));
        for (size_t k = 0; k < m->n_parts; k++) {
            assert(m->n_parts == o->n_parts && m->parts[k].type == o->parts[k].type);
            assert(str_is_equal(m->parts[k].text, o->parts[k].text));
            assert(m->parts[k].data.len == o->parts[k].data.len);
        }
    }
}

static void encode(const struct request *req, const struct kv *defaults, struct buf *out)
{
    struct openai_target target = {.model = "up", .defaults = defaults, .overrides = defaults};
    struct problem problem;
    struct json_error error;
    int r;

    buf_init(out, 16 * BUDGET);
    r = openai_encode_request(req, &target, out, &problem);
    assert(r == 0 || r == -ENOBUFS);
    r = json_check(buf_str(out), &error);
    assert(r == 0);
}

static void check_anew(struct request *req)
{
    struct request *again = request_new(req->kind, 16 * BUDGET);
    struct problem problem;
    struct buf out;
    int r;

    req->dialect = DIALECT_NONE;
    req->n_members = 0;
    encode(req, NULL, &out);
    r = openai_decode_request(again, buf_str(&out), &problem);
    assert(r == 0);
    check_same(req, again);
    request_free(again);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    /* '0' to '2' are the first three: seeds are text */
    static const enum request_kind kinds[8] = {REQUEST_CHAT,   REQUEST_COMPLETE, REQUEST_EMBED,
                                               REQUEST_RERANK, REQUEST_CLASSIFY, REQUEST_CHAT,
                                               REQUEST_RERANK, REQUEST_CLASSIFY};
    static char names[3][16] = {"temperature", "max_tokens", "x"};
    static char values[3][8] = {"0.5", "7", "{}"};
    struct kv_item items[] = {{names[0], values[0]}, {names[1], values[1]}, {names[2], values[2]}};
    struct kv defaults = {items, ARRAY_LEN(items)};
    struct problem problem = {.code = ERRCODE_NONE};
    struct request *req;
    struct buf out;
    int r;

    if (n == 0) {
        return 0;
    }
    req = request_new(kinds[bytes[0] % 8], BUDGET);
    assert(req);
    r = openai_decode_request(req, (struct str) {(const char *) bytes + 1, n - 1}, &problem);
    assert(r == 0 || r == -ENOMEM ||
           (r == -EBADMSG && problem.code == ERRCODE_INVALID_REQUEST && problem.text[0]));
    if (r == 0) {
        check_request(req);
        encode(req, &defaults, &out);
        buf_done(&out);
        if (!req->is_raw_only) {
            check_anew(req);
        }
    }
    request_free(req);
    return 0;
}
