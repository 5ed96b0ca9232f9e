#pragma once
/*
 * What the tests of the OpenAI decoder share: requests, an answer fed in pieces of several sizes,
 * the events or the problem that must come of it. JSON is written with ' for ".
 */
#include "openai_client.h"

#define CHAT     "{'model':'m','messages':[{'role':'user'}]}"
#define CHAT_TWO "{'model':'m','messages':[{'role':'user'}],'n':2}"
#define COMPLETE "{'model':'m','prompt':'x'}"
#define EMBED    "{'model':'m','input':['a','b']}"

static struct recording_sink g_sink;

/* Decodes an answer in pieces of step bytes. What feed or end answered. */
static inline int answer(enum request_kind kind, const char *request, struct str bytes, bool is_sse,
                         size_t step)
{
    struct request *req = decode(kind, request);
    struct openai_decoder *d = openai_decoder_new(req, &g_sink.sink);
    bool full;
    int r = 0;

    ck_assert(d);
    for (size_t at = 0; r == 0 && at < bytes.len; at += step) {
        size_t n = bytes.len - at < step ? bytes.len - at : step;

        r = openai_decoder_feed(d, (struct str) {bytes.ptr + at, n}, is_sse, 1000, &full,
                                &g_problem);
    }
    if (r == 0) {
        r = openai_decoder_end(d, 2000, &g_problem);
        ck_assert_int_eq(r == 0, openai_decoder_is_over(d));
    }
    ck_assert_int_eq(openai_decoder_is_over(d), g_sink.is_over);
    openai_decoder_free(d);
    request_free(req);
    return r;
}

/* The events of an answer, whatever the pieces in which it comes. */
static inline void gives_events(enum request_kind kind, const char *request, const char *text,
                                bool is_sse, const char *want)
{
    static const size_t steps[] = {1, 2, 7, 100000};
    struct str bytes = json(text), wanted = json(want);

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        int r;

        recording_sink_init(&g_sink);
        r = answer(kind, request, bytes, is_sse, steps[i]);
        ck_assert_msg(r == 0, "%d %s", r, r == -EBADMSG ? g_problem.text : "");
        ck_assert_msg(str_is_equal(buf_str(&g_sink.lines), wanted), "is\n%s, not\n%s",
                      recording_sink_text(&g_sink), wanted.ptr);
        recording_sink_done(&g_sink);
    }
}

static inline void streams(const char *request, const char *text, const char *want)
{
    gives_events(REQUEST_CHAT, request, text, true, want);
}

static inline void fails(enum request_kind kind, const char *request, const char *text, bool is_sse,
                         enum errcode code, const char *words)
{
    static const size_t steps[] = {1, 100000};
    struct str bytes = json(text);

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        recording_sink_init(&g_sink);
        ck_assert_int_eq(answer(kind, request, bytes, is_sse, steps[i]), -EBADMSG);
        ck_assert_msg(g_problem.code == code, "%s: %s", errcode_info(g_problem.code)->name, text);
        ck_assert_msg(strstr(g_problem.text, words), "'%s' for %s", g_problem.text, text);
        ck_assert(!g_sink.is_over);
        recording_sink_done(&g_sink);
    }
}

static inline void stream_fails(const char *text, enum errcode code, const char *words)
{
    fails(REQUEST_CHAT, CHAT, text, true, code, words);
}

#define CHUNK(s) "data: {'id':'x','object':'chat.completion.chunk','choices':[" s "]}\n\n"
#define DELTA(s) CHUNK("{'index':0,'delta':{" s "},'finish_reason':null}")
#define STOP     CHUNK("{'index':0,'delta':{},'finish_reason':'stop'}")
#define DONE     "data: [DONE]\n\n"
