/* Who may ask what over HTTP; which path is what. */
#include "base/clock.h"
#include "frontend/http_access.h"
#include "frontend/http_routes.h"
#include "frontend/http_routes.h"
#include "support.h"

static struct frontends g_frontends;

static void set(struct http1_head *head, const char *name, const char *value)
{
    head->headers[head->n_headers++] = (struct http1_header) {str_from(name), str_from(value)};
}

/* The verdict over a request with these headers, as name, value, ..., NULL. */
static enum errcode verdict(enum http1_method method, const char *const *headers)
{
    struct http1_head head = {.method = method};

    for (; *headers; headers += 2) {
        set(&head, headers[0], headers[1]);
    }
    return http_access_check(&g_frontends, &head, true).code;
}

#define HEADERS(...) ((const char *const[]) {__VA_ARGS__, NULL})

START_TEST(hosts)
{
    static const char *const good[] = {"localhost",      "localhost:4000", "LOCALHOST:80",
                                       "127.0.0.1:4000", "[::1]:4000",     "[::1]",
                                       "box.lan:4000"};
    static const char *const bad[] = {"evil.example",
                                      "localhost.evil.example",
                                      "127.0.0.1.evil.example",
                                      "box.lan.evil",
                                      "0.0.0.0:4000",
                                      "",
                                      "localhos",
                                      "[::2]"};
    static const char *const allowed[] = {"box.lan"};

    g_frontends.params.allowed_hosts = allowed;
    g_frontends.params.n_allowed_hosts = 1;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_int_eq(verdict(HTTP1_GET, HEADERS("host", good[i])), ERRCODE_NONE);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(verdict(HTTP1_GET, HEADERS("host", bad[i])) == ERRCODE_MISDIRECTED, "took %s",
                      bad[i]);
    }
}
END_TEST

START_TEST(browsers)
{
    static const char *const origins[] = {"https://app.example"};

    g_frontends.params.allowed_origins = origins;
    g_frontends.params.n_allowed_origins = 1;
    ck_assert_int_eq(
        verdict(HTTP1_GET, HEADERS("host", "localhost", "origin", "https://evil.example")),
        ERRCODE_FORBIDDEN);
    ck_assert_int_eq(verdict(HTTP1_GET, HEADERS("host", "localhost", "origin", "null")),
                     ERRCODE_FORBIDDEN);
    ck_assert_int_eq(
        verdict(HTTP1_GET, HEADERS("host", "localhost", "origin", "https://app.example")),
        ERRCODE_NONE);
    ck_assert_int_eq(
        verdict(HTTP1_GET, HEADERS("host", "localhost", "sec-fetch-site", "cross-site")),
        ERRCODE_FORBIDDEN);
    ck_assert_int_eq(
        verdict(HTTP1_GET, HEADERS("host", "localhost", "sec-fetch-site", "same-site")),
        ERRCODE_FORBIDDEN);
    ck_assert_int_eq(verdict(HTTP1_GET, HEADERS("host", "localhost", "sec-fetch-site", "none")),
                     ERRCODE_NONE);
    ck_assert_int_eq(
        verdict(HTTP1_GET, HEADERS("host", "localhost", "sec-fetch-site", "same-origin")),
        ERRCODE_NONE);
}
END_TEST

START_TEST(posts_are_json)
{
    static const char *const good[] = {"application/json", "application/json; charset=utf-8",
                                       "Application/JSON"};
    static const char *const bad[] = {"text/plain", "application/x-www-form-urlencoded",
                                      "application/jsonp", "multipart/form-data", ""};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_int_eq(verdict(HTTP1_POST, HEADERS("host", "localhost", "content-type", good[i])),
                         ERRCODE_NONE);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(verdict(HTTP1_POST, HEADERS("host", "localhost", "content-type", bad[i])),
                         ERRCODE_UNSUPPORTED_MEDIA_TYPE);
    }
    ck_assert_int_eq(verdict(HTTP1_POST, HEADERS("host", "localhost")),
                     ERRCODE_UNSUPPORTED_MEDIA_TYPE);
}
END_TEST

START_TEST(unix_sockets_need_none_of_it)
{
    struct http1_head head = {.method = HTTP1_POST};

    set(&head, "host", "evil.example");
    set(&head, "origin", "https://evil.example");
    ck_assert_int_eq(http_access_check(&g_frontends, &head, false).code, ERRCODE_NONE);
}
END_TEST

static bool key_is_good(const char *name, const char *value)
{
    struct http1_head head = {.method = HTTP1_GET};

    set(&head, name, value);
    return http_access_key_is_good(&g_frontends, &head);
}

START_TEST(keys)
{
    struct http1_head none = {.method = HTTP1_GET};

    g_frontends.params.master_key = NULL;
    ck_assert(key_is_good("authorization", "Bearer whatever"));
    ck_assert(http_access_key_is_good(&g_frontends, &none));
    g_frontends.params.master_key = "sk-secret";
    ck_assert(key_is_good("authorization", "Bearer sk-secret"));
    ck_assert(key_is_good("authorization", "bearer   sk-secret "));
    ck_assert(key_is_good("x-api-key", "sk-secret"));
    ck_assert(key_is_good("api-key", "sk-secret"));
    ck_assert(!key_is_good("authorization", "sk-secret"));
    ck_assert(!key_is_good("authorization", "Basic sk-secret"));
    ck_assert(!key_is_good("authorization", "Bearer sk-secre"));
    ck_assert(!key_is_good("authorization", "Bearer sk-secrets"));
    ck_assert(!key_is_good("authorization", "Bearer sk-secretsk-secret"));
    ck_assert(!key_is_good("authorization", "Bearer "));
    ck_assert(!key_is_good("x-api-key", ""));
    ck_assert(!http_access_key_is_good(&g_frontends, &none));
    g_frontends.params.master_key = NULL;
}
END_TEST

START_TEST(paths)
{
    static const struct {
        const char *path;
        enum http_route route;
    } rows[] = {
        {"/v1/chat/completions", ROUTE_CHAT},
        {"/chat/completions", ROUTE_CHAT},
        {"//v1//chat//completions/", ROUTE_CHAT},
        {"/v1/completions", ROUTE_COMPLETIONS},
        {"/completions/", ROUTE_COMPLETIONS},
        {"/v1/embeddings", ROUTE_EMBEDDINGS},
        {"/v1/models", ROUTE_MODELS},
        {"/models/", ROUTE_MODELS},
        {"/v1/models/a/b:c", ROUTE_MODEL},
        {"/health/liveliness", ROUTE_LIVENESS},
        {"/health/readiness", ROUTE_READINESS},
        {"/metrics", ROUTE_METRICS},
        {"/health", ROUTE_HEALTH},
        {"/health/liveness/", ROUTE_LIVENESS},
        {"/v1/model/info", ROUTE_MODEL_INFO},
        {"/model/info/", ROUTE_MODEL_INFO},
        {"/model_group/info", ROUTE_GROUP_INFO},
        {"/v1/responses", ROUTE_NOT_SERVED},
        {"/responses/resp_1/cancel", ROUTE_NOT_SERVED},
        {"/v1//messages/count_tokens", ROUTE_NOT_SERVED},
        {"/v1/audio/speech", ROUTE_NOT_SERVED},
        {"/key/generate", ROUTE_NOT_SERVED},
        {"/responsesx", ROUTE_NONE},
        {"/engines/m/chat/completions", ROUTE_CHAT},
        {"/v1/engines/m/completions", ROUTE_COMPLETIONS},
        {"/openai/deployments/m/chat/completions", ROUTE_CHAT},
        {"/openai/deployments/m/embeddings/", ROUTE_EMBEDDINGS},
        {"/openai/deployments/chat/completions", ROUTE_COMPLETIONS}, /* of the model "chat" */
        {"/openai/deployments/completions", ROUTE_NONE},
        {"/openai/deployments//completions", ROUTE_NONE},
        {"/engines/m", ROUTE_NONE},
        {"/", ROUTE_NONE},
        {"", ROUTE_NONE},
        {"/v1", ROUTE_NONE},
        {"/v2/models", ROUTE_NONE},
        {"/v1/v1/models", ROUTE_NONE},
        {"/V1/models", ROUTE_NONE},
        {"/v1/chat", ROUTE_NONE},
        {"/v1/chat/completions/x", ROUTE_NONE},
    };
    struct str rest;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_msg(http_route_of(str_from(rows[i].path), &rest) == rows[i].route, "%s",
                      rows[i].path);
    }
    ck_assert_int_eq(http_route_of(str_from("/v1/models/org%2Fname:1"), &rest), ROUTE_MODEL);
    ck_assert_str_is(rest, "org%2Fname:1");
    ck_assert_int_eq(http_route_of(str_from("/models/hf.co/a//b"), &rest), ROUTE_MODEL);
    ck_assert_str_is(rest, "hf.co/a//b");
    ck_assert_int_eq(http_route_of(str_from("//v1//models//a/b//"), &rest), ROUTE_MODEL);
    ck_assert_str_is(rest, "a/b");
    ck_assert_int_eq(http_route_of(str_from("/openai/deployments/org/n%3A1/embeddings"), &rest),
                     ROUTE_EMBEDDINGS);
    ck_assert_str_is(rest, "org/n%3A1");
    ck_assert_int_eq(http_route_of(str_from("/engines//e/chat//completions/"), &rest), ROUTE_CHAT);
    ck_assert_str_is(rest, "e");
    ck_assert_int_eq(http_route_of(str_from("/v1/chat/completions"), &rest), ROUTE_CHAT);
    ck_assert(!rest.ptr);

    char longer[2000];

    memset(longer, 'a', sizeof longer);
    ck_assert_int_eq(http_route_of((struct str) {longer, sizeof longer}, &rest), ROUTE_NONE);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, hosts);
    tcase_add_test(tc, browsers);
    tcase_add_test(tc, posts_are_json);
    tcase_add_test(tc, unix_sockets_need_none_of_it);
    tcase_add_test(tc, keys);
    tcase_add_test(tc, paths);
}
TEST_MAIN("http_access", add_tests)
