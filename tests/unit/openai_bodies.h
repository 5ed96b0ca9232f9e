#pragma once
/*
 * Bodies of OpenAI requests, written with ' for ", decoded, and what was wrong with them.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "wire/openai_request.h"

#define BUDGET (16 * 1024 * 1024)

static char g_text[4 * 1024 * 1024];
static struct problem g_problem;

/* ' to ", into one buffer that the next call reuses. */
static inline struct str json(const char *z)
{
    size_t n = strlen(z);

    ck_assert(n < sizeof g_text);
    for (size_t i = 0; i < n; i++) {
        g_text[i] = (char) (z[i] == '\'' ? '"' : z[i]);
    }
    return (struct str) {g_text, n};
}

static inline int try_decode(enum request_kind kind, struct str body, struct request **ret)
{
    *ret = request_new(kind, BUDGET);
    ck_assert(*ret);
    memset(&g_problem, 0x55, sizeof g_problem);
    return openai_decode_request(*ret, body, &g_problem);
}

static inline struct request *decode(enum request_kind kind, const char *body)
{
    struct request *req;
    int r = try_decode(kind, json(body), &req);

    ck_assert_msg(r == 0, "%d: %s: %s", r, r == -EBADMSG ? g_problem.param : "?",
                  r == -EBADMSG ? g_problem.text : "?");
    return req;
}

static inline void refused(enum request_kind kind, const char *body, const char *param,
                           const char *words)
{
    struct request *req;
    int r = try_decode(kind, json(body), &req);

    ck_assert_msg(r == -EBADMSG, "%d for %s", r, body);
    ck_assert_msg(g_problem.code == ERRCODE_INVALID_REQUEST, "%s", body);
    ck_assert_msg(strcmp(g_problem.param, param) == 0, "%s: param is '%s'", body, g_problem.param);
    ck_assert_msg(strstr(g_problem.text, words) != NULL, "%s: '%s'", body, g_problem.text);
    request_free(req);
}

static inline struct request *chat(const char *members)
{
    static char body[8192];

    (void) snprintf(body, sizeof body,
                    "{'model':'m','messages':[{'role':'user','content':'hi'}]%s%s}",
                    *members ? "," : "", members);
    return decode(REQUEST_CHAT, body);
}

static inline void chat_refused(const char *members, const char *param, const char *words)
{
    static char body[8192];

    (void) snprintf(body, sizeof body,
                    "{'model':'m','messages':[{'role':'user','content':'hi'}],%s}", members);
    refused(REQUEST_CHAT, body, param, words);
}

static inline struct request *message(const char *text)
{
    static char body[8192];

    (void) snprintf(body, sizeof body, "{'model':'m','messages':[%s]}", text);
    return decode(REQUEST_CHAT, body);
}

static inline void message_refused(const char *text, const char *param, const char *words)
{
    static char body[8192];

    (void) snprintf(body, sizeof body,
                    "{'model':'m','messages':[{'role':'user','content':'hi'},%s]}", text);
    refused(REQUEST_CHAT, body, param, words);
}
