#pragma once
/*
 * Answers in OpenAI's words: a reply that events are put into, and what it wrote, with ' for " and
 * "HEAD" for what is the same in each chunk of an answer.
 */
#include "support.h"

#include <stdio.h>

#include "wire/json.h"
#include "wire/openai_reply.h"

#define HEAD                                                                                       \
    "data: {\"id\":\"chatcmpl-r1\",\"object\":\"chat.completion.chunk\",\"created\":7,"            \
    "\"model\":\"m/1\",\"choices\":["
#define BODY_HEAD                                                                                  \
    "{'id':'chatcmpl-r1','object':'chat.completion','created':7,'model':'m/1','choices':["

static struct request *g_req;
static struct openai_reply *g_reply;
static struct buf g_out;

static inline void begin(enum request_kind kind, bool stream, size_t max_bytes)
{
    g_req = request_new(kind, 65536);
    ck_assert(g_req);
    (void) snprintf(g_req->id, sizeof g_req->id, "r1");
    g_req->model = STR_LIT("m/1");
    g_req->stream = stream;
    buf_init(&g_out, 1024 * 1024);
    g_reply = openai_reply_new(g_req, 7, max_bytes);
    ck_assert(g_reply);
}

/* For tests that set members of the request first. */
static inline void again(void)
{
    g_reply = openai_reply_free(g_reply);
    g_reply = openai_reply_new(g_req, 7, 65536);
    ck_assert(g_reply);
}

static inline void end(void)
{
    g_reply = openai_reply_free(g_reply);
    buf_done(&g_out);
    g_req = request_free(g_req);
}

static inline int add(struct event ev)
{
    return openai_reply_add(g_reply, &ev, &g_out);
}

static inline int text_on(uint32_t choice, enum event_channel channel, const char *z,
                          const char *logprobs)
{
    return add((struct event) {.type = EVENT_TEXT,
                               .text = {.choice = choice,
                                        .channel = channel,
                                        .bytes = str_from(z),
                                        .logprobs = logprobs ? str_from(logprobs) : STR_NONE}});
}

static inline int text(const char *z)
{
    return text_on(0, CHANNEL_ANSWER, z, NULL);
}

static inline int call(uint32_t index, const char *id, const char *name, const char *arguments)
{
    return add((struct event) {.type = EVENT_TOOL_CALL,
                               .tool_call = {.index = index,
                                             .id = str_from(id),
                                             .name = str_from(name),
                                             .arguments = str_from(arguments)}});
}

static inline int usage(uint64_t in, uint64_t cached, uint64_t out)
{
    return add((struct event) {.type = EVENT_USAGE, .usage = {in, cached, out, 0}});
}

static inline int over(enum finish_reason reason, size_t n_choices)
{
    enum finish_reason reasons[8];

    for (size_t i = 0; i < n_choices; i++) {
        reasons[i] = reason;
    }
    return add((struct event) {.type = EVENT_END, .end = {reasons, n_choices}});
}

/* What was written since the last look, with HEAD for the head of chunks and ' for ". */
static inline const char *written(void)
{
    static char to[65536];
    const char *from = buf_z(&g_out);
    size_t n = 0;

    while (*from) {
        ck_assert(n + 8 < sizeof to);
        if (strncmp(from, HEAD, strlen(HEAD)) == 0) {
            n += (size_t) snprintf(to + n, sizeof to - n, "HEAD");
            from += strlen(HEAD);
        } else {
            to[n++] = *from == '"' ? '\'' : *from;
            from++;
        }
    }
    to[n] = '\0';
    buf_clear(&g_out);
    return to;
}

/* Is every data line of a stream (or the body) JSON? */
static inline void check_json(void)
{
    const char *p = buf_z(&g_out);
    struct json_error error;

    if (*p == '{') {
        ck_assert_int_eq(json_check(buf_str(&g_out), &error), 0);
        return;
    }
    while (*p) {
        const char *e = strstr(p, "\n\n");

        ck_assert(e && strncmp(p, "data: ", 6) == 0);
        if (strncmp(p + 6, "[DONE]", 6) != 0) {
            ck_assert_int_eq(json_check((struct str) {p + 6, (size_t) (e - p - 6)}, &error), 0);
        }
        p = e + 2;
    }
}
