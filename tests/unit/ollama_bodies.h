#pragma once
/*
 * What the tests of requests to Ollama share: one deployment, a request as a client sends it, the
 * body that comes of both.
 */
#include "wire/ollama_json.h"

#include <errno.h>
#include <stdio.h>

#include "support.h"
#include "wire/json.h"
#include "wire/openai_request.h"

static struct kv g_options, g_dropped;
static bool g_drops_params;
static struct buf g_out;
static struct request *g_req;
static struct problem g_problem;

static inline void setup(void)
{
    buf_init(&g_out, 1 << 20);
}

static inline void teardown(void)
{
    kv_done(&g_options);
    kv_done(&g_dropped);
    g_drops_params = false;
    buf_done(&g_out);
    g_req = request_free(g_req);
}

static inline void set_option(const char *name, const char *json)
{
    ck_assert_int_eq(kv_set(&g_options, str_from(name), str_from(json)), 0);
}

static inline void take(enum request_kind kind, const char *body)
{
    g_req = request_free(g_req);
    g_req = request_new(kind, 1 << 20);
    ck_assert_ptr_nonnull(g_req);
    ck_assert_msg(openai_decode_request(g_req, str_from(body), &g_problem) == 0, "%s",
                  g_problem.text);
}

static inline struct ollama_target deployment(void)
{
    return (struct ollama_target) {.model = "tiny",
                                   .options = &g_options,
                                   .drops_params = g_drops_params,
                                   .dropped = &g_dropped};
}

static inline int encode(void)
{
    struct ollama_target target = deployment();

    buf_clear(&g_out);
    memset(&g_problem, 0, sizeof g_problem);
    return ollama_encode_request(g_req, &target, &g_out, &g_problem);
}

#define ck_assert_body(expected)                                                                   \
    do {                                                                                           \
        ck_assert_msg(encode() == 0, "%s: %s", g_problem.param, g_problem.text);                   \
        ck_assert_int_eq(json_check(buf_str(&g_out), NULL), 0);                                    \
        ck_assert_str_eq(buf_z(&g_out), expected);                                                 \
    } while (0)

#define ck_assert_refused(error, name)                                                             \
    do {                                                                                           \
        ck_assert_int_eq(encode(), -EBADMSG);                                                      \
        ck_assert_int_eq(g_problem.code, error);                                                   \
        ck_assert_str_eq(g_problem.param, name);                                                   \
        ck_assert(g_problem.text[0] != '\0');                                                      \
        ck_assert_uint_eq(g_out.len, 0);                                                           \
    } while (0)

/* The value of a member of the body that was encoded last. */
static inline struct str member(const char *name)
{
    return json_find(buf_str(&g_out), name);
}

static inline struct str option(const char *name)
{
    return json_find(member("options"), name);
}

/* A chat of one message with these members behind it. */
static inline void take_chat(const char *members)
{
    char body[2048];

    (void) snprintf(body, sizeof body,
                    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]%s%s}",
                    members[0] ? "," : "", members);
    take(REQUEST_CHAT, body);
}

#define ck_assert_option(name, expected)                                                           \
    do {                                                                                           \
        ck_assert_msg(encode() == 0, "%s: %s", g_problem.param, g_problem.text);                   \
        ck_assert_str_is(option(name), expected);                                                  \
    } while (0)
