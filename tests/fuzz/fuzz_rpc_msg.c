/*
 * rpc_msg: the first byte chooses what the rest is: a request of one of the five kinds, a cancel,
 * or the texts of an event. A request that is taken must keep the promises of core/request.h; an
 * event must be one that a strict client reads.
 */
#include "wire/rpc_msg.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "sluice.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_text(struct str s)
{
    assert(str_is_utf8(s) && (s.len == 0 || !memchr(s.ptr, '\0', s.len)));
}

static void check_message(const struct message *m)
{
    assert(m->role <= ROLE_TOOL);
    assert(m->n_tool_calls == 0 || m->role == ROLE_ASSISTANT);
    for (size_t i = 0; i < m->n_parts; i++) {
        check_text(m->parts[i].text);
        check_text(m->parts[i].data);
        assert(m->parts[i].type != PART_IMAGE || !m->parts[i].data.ptr != !m->parts[i].url.ptr);
    }
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        check_text(m->tool_calls[i].name);
        assert(m->tool_calls[i].name.len > 0 && m->tool_calls[i].arguments.len > 0);
    }
}

static void check_request(const struct request *req)
{
    assert(req->model.len >= 1 && req->model.len <= REQUEST_MODEL_MAX);
    check_text(req->model);
    assert(req->class < _CLASS_MAX);
    assert(req->id[0] == '\0' || request_id_is_valid(str_from(req->id)));
    assert(req->n_messages <= REQUEST_MAX_MESSAGES && req->n_inputs <= REQUEST_MAX_INPUTS);
    assert(req->sampling.n_stop <= REQUEST_MAX_STOP && req->sampling.n_choices == 1);
    assert((req->kind == REQUEST_CHAT) == (req->n_messages > 0));
    assert((req->kind == REQUEST_EMBED || req->kind == REQUEST_RERANK ||
            req->kind == REQUEST_CLASSIFY) == (req->n_inputs > 0));
    assert((req->kind == REQUEST_RERANK) == (req->query.len > 0));
    check_text(req->query);
    for (size_t i = 0; i < req->n_messages; i++) {
        check_message(&req->messages[i]);
    }
    for (size_t i = 0; i < req->n_inputs; i++) {
        check_text(req->inputs[i]);
    }
}

static void fuzz_request(enum request_kind kind, struct str payload)
{
    struct request *req = request_new(kind, 4 * payload.len + (1 << 20));
    struct problem problem = {.code = ERRCODE_NONE};
    int r;

    assert(req);
    r = rpc_decode_request(req, payload, &problem);
    assert(r == 0 || r == -EBADMSG);
    if (r == 0) {
        check_request(req);
    } else {
        assert(problem.code == ERRCODE_INVALID_REQUEST ||
               problem.code == ERRCODE_PAYLOAD_TOO_LARGE);
        check_text(str_from(problem.param));
    }
    request_free(req);
}

static void fuzz_cancel(struct str payload)
{
    char id[REQUEST_ID_MAX + 1];
    struct problem problem;

    if (rpc_decode_cancel(payload, id, &problem) == 0) {
        assert(request_id_is_valid(str_from(id)));
    }
}

static void fuzz_control(struct str payload)
{
    char model[REQUEST_MODEL_MAX + 1];
    struct rpc_watch_request watch;
    struct problem problem;

    if (rpc_decode_watch(payload, &watch, &problem) == 0) {
        assert(watch.interval_usec >= RPC_WATCH_MIN_USEC);
        assert(watch.interval_usec <= RPC_WATCH_MAX_USEC);
        assert(watch.id[0] == '\0' || request_id_is_valid(str_from(watch.id)));
    }
    if (rpc_decode_unload(payload, model, &problem) == 0) {
        assert(model[0] != '\0');
        check_text(str_from(model));
    }
    (void) !rpc_decode_empty(payload, &problem);
}

static void fuzz_event(struct str text)
{
    struct str half = {text.ptr, text.len / 2};
    struct event ev = {.type = EVENT_TOOL_CALL, .tool_call = {1, 2, half, text, text}};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 4 * text.len + 64);
    assert(rpc_encode_event(&s, &ev, "id", NULL, &out) == 0);

    Sluice__V1__Event *m =
        sluice__v1__event__unpack(NULL, out.len, (const uint8_t *) buf_ptr(&out));

    assert(m && m->kind_case == SLUICE__V1__EVENT__KIND_TOOL_CALL);
    assert(strlen(m->tool_call->name) == text.len && strlen(m->tool_call->id) == half.len);
    check_text(str_from(m->tool_call->name));
    check_text(str_from(m->tool_call->id));
    sluice__v1__event__free_unpacked(m, NULL);
    buf_done(&out);
}

static void fuzz_result(struct str text)
{
    struct event ev = {.type = EVENT_RESULT, .result = {3, 0.5, text}};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 4 * text.len + 64);
    assert(rpc_encode_event(&s, &ev, "id", NULL, &out) == 0);

    Sluice__V1__Event *m =
        sluice__v1__event__unpack(NULL, out.len, (const uint8_t *) buf_ptr(&out));

    assert(m && m->kind_case == SLUICE__V1__EVENT__KIND_RESULT && m->result->index == 3);
    assert(strlen(m->result->json) == text.len);
    check_text(str_from(m->result->json));
    sluice__v1__event__free_unpacked(m, NULL);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n == 0) {
        return 0;
    }

    struct str rest = {(const char *) bytes + 1, n - 1};

    if (bytes[0] == 'r' || bytes[0] == 'c') {
        fuzz_request(bytes[0] == 'r' ? REQUEST_RERANK : REQUEST_CLASSIFY, rest);
        return 0;
    }
    switch (bytes[0] % 5) {
    case 0:
        fuzz_request(REQUEST_CHAT, rest);
        break;
    case 1:
        fuzz_request(REQUEST_COMPLETE, rest);
        break;
    case 2:
        fuzz_request(REQUEST_EMBED, rest);
        break;
    case 3:
        fuzz_cancel(rest);
        fuzz_control(rest);
        break;
    default:
        fuzz_event(rest);
        fuzz_result(rest);
        break;
    }
    return 0;
}
