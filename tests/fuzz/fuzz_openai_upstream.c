/*
 * Fuzzes the answers of openai_upstream.h, and openai_reply.h with what comes out of them. Byte 0:
 * kind, Content-Type, whether the client wants a stream; byte 1: how the answer is split, or the
 * status of an error answer; the rest is the answer. Bit 6 of byte 0: rerank or classify.
 *
 * Holds for any bytes: the events follow the grammar, whatever the split they are the same, every
 * chunk and body that a client gets is JSON, [DONE] comes if and only if END came, and a problem is
 * one line of UTF-8.
 */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "wire/json.h"
#include "wire/openai_reply.h"
#include "wire/openai_request.h"
#include "wire/openai_upstream.h"

#define OUT_MAX (64 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct client {
    struct event_sink sink;
    struct event_grammar grammar;
    struct openai_reply *reply;
    struct buf out;
    uint32_t n_calls[2]; /* of each choice */
    bool is_over;
};

static void check_event(struct client *c, const struct event *ev)
{
    if (ev->type == EVENT_TEXT) {
        assert(str_is_utf8(ev->text.bytes) && ev->text.choice < 2);
    } else if (ev->type == EVENT_TOOL_CALL) {
        uint32_t *n = &c->n_calls[ev->tool_call.choice];

        assert(ev->tool_call.index <= *n && *n <= OPENAI_MAX_TOOL_CALLS);
        assert((ev->tool_call.index == *n) == (ev->tool_call.name.ptr != NULL));
        assert((ev->tool_call.id.ptr != NULL) == (ev->tool_call.name.ptr != NULL));
        *n += ev->tool_call.index == *n ? 1 : 0;
    } else if (ev->type == EVENT_EMBEDDING) {
        for (size_t i = 0; i < ev->embedding.n_values; i++) {
            assert(isfinite(ev->embedding.values[i]));
        }
    } else if (ev->type == EVENT_RESULT) {
        assert(isfinite(ev->result.score) && ev->result.index < 3);
        assert(json_type(ev->result.json) == JSON_OBJECT ||
               json_type(ev->result.json) == JSON_ARRAY);
    } else {
        assert(ev->type == EVENT_USAGE || ev->type == EVENT_END);
    }
}

static enum sink_answer deliver(struct event_sink *sink, const struct event *ev)
{
    struct client *c = CONTAINER_OF(sink, struct client, sink);
    int r = event_grammar_step(&c->grammar, ev);

    assert(r == 0);
    check_event(c, ev);
    r = openai_reply_add(c->reply, ev, &c->out);
    assert(r == 0);
    c->is_over = event_is_terminal(ev);
    return c->out.len % 2 ? SINK_FULL : SINK_ROOM;
}

static void check_line(struct str line)
{
    struct json_error error;
    int r = json_check(line, &error);

    assert(r == 0);
}

static void check_output(const struct client *c, bool is_stream)
{
    struct str rest = buf_str(&c->out);
    bool is_done = false;

    if (!is_stream) {
        assert(c->is_over == (rest.len > 0));
        if (rest.len > 0) {
            check_line(rest);
        }
        return;
    }
    while (rest.len > 0) {
        const char *e = memmem(rest.ptr, rest.len, "\n\n", 2);
        struct str data = {rest.ptr + 6, 0};

        assert(!is_done && e && str_has_prefix(rest, "data: "));
        data.len = (size_t) (e - data.ptr);
        is_done = str_is(data, "[DONE]");
        if (!is_done) {
            check_line(data);
        }
        rest.len -= (size_t) (e + 2 - rest.ptr);
        rest.ptr = e + 2;
    }
    assert(is_done == c->is_over);
}

static void check_problem(const struct problem *p)
{
    assert(p->code >= 0 && p->code < _ERRCODE_MAX && p->text[0]);
    assert(str_is_utf8(str_from(p->text)) && str_is_utf8(str_from(p->param)));
    for (const char *t = p->text; *t; t++) {
        assert((uint8_t) *t >= ' ');
    }
}

static struct request *make_request(uint8_t flags)
{
    static const char *const bodies[] = {
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"n\":2}",
        "{\"model\":\"m\",\"prompt\":\"x\"}",
        "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
        "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",\"b\",\"c\"]}",
        "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"\",{}],\"top_n\":1,\"return_documents\":true}",
        "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}",
        "{\"model\":\"m\",\"input\":\"a\"}",
    };
    static const enum request_kind kinds[] = {REQUEST_CHAT,     REQUEST_COMPLETE, REQUEST_EMBED,
                                              REQUEST_CHAT,     REQUEST_RERANK,   REQUEST_RERANK,
                                              REQUEST_CLASSIFY, REQUEST_CLASSIFY};
    size_t i = flags % 4 + (flags & 64 ? 4 : 0);
    struct request *req = request_new(kinds[i], 65536);
    struct problem problem;
    int r = openai_decode_request(req, str_from(bodies[i]), &problem);

    assert(r == 0);
    req->stream = flags & 8;
    req->include_usage = flags & 16;
    req->wants_base64 = flags & 32;
    return req;
}

/* One answer in pieces of step bytes; what the client got goes to *ret_out. */
static int run(uint8_t flags, struct str answer, size_t step, struct buf *ret_out,
               enum errcode *ret_code)
{
    struct request *req = make_request(flags);
    struct client c = {.sink = {deliver}};
    struct openai_decoder *d = openai_decoder_new(req, &c.sink);
    struct problem problem;
    bool full;
    int r = 0;

    c.reply = openai_reply_new(req, 7, OUT_MAX);
    assert(d && c.reply);
    buf_init(&c.out, OUT_MAX);
    for (size_t at = 0; r == 0 && at < answer.len; at += step) {
        struct str piece = {answer.ptr + at, answer.len - at < step ? answer.len - at : step};

        r = openai_decoder_feed(d, piece, flags & 4, 1, &full, &problem);
    }
    if (r == 0) {
        r = openai_decoder_end(d, 2, &problem);
    }
    assert(r == 0 || r == -EBADMSG);
    assert((r == 0) == c.is_over && c.is_over == openai_decoder_is_over(d));
    *ret_code = ERRCODE_NONE;
    if (r < 0) {
        check_problem(&problem);
        *ret_code = problem.code;
    }
    check_output(&c, req->stream && request_kind_is_text(req->kind));
    *ret_out = c.out;
    openai_decoder_free(d);
    openai_reply_free(c.reply);
    request_free(req);
    return r;
}

static void fuzz_answer(uint8_t flags, uint8_t split, struct str answer)
{
    struct buf whole, pieces;
    enum errcode code, code_of_pieces;
    int r = run(flags, answer, answer.len + 1, &whole, &code);
    int r_of_pieces = run(flags, answer, 1 + split % 64, &pieces, &code_of_pieces);

    assert(r == r_of_pieces && code == code_of_pieces);
    assert(str_is_equal(buf_str(&whole), buf_str(&pieces)));
    buf_done(&whole);
    buf_done(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct problem problem;
    struct str rest = {(const char *) bytes + 2, n - 2};

    if (n < 2) {
        return 0;
    }
    if (bytes[0] & 128) {
        openai_map_error(300 + bytes[1] % 232, rest, &problem);
        check_problem(&problem);
    } else {
        fuzz_answer(bytes[0], bytes[1], rest);
    }
    return 0;
}
