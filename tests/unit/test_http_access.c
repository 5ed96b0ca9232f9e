/* Who may ask what over HTTP; which path is what. */
#include "base/clock.h"
#include "base/sha256.h"
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

/* A target in absolute-form says its host itself, and Host counts no more (RFC 9112 section 3.2.2). */
START_TEST(absolute_targets)
{
    struct http1_head head = {.method = HTTP1_GET, .authority = STR_LIT("evil.example")};

    set(&head, "host", "localhost");
    ck_assert_int_eq(http_access_check(&g_frontends, &head, true).code, ERRCODE_MISDIRECTED);
    head = (struct http1_head) {.method = HTTP1_GET, .authority = STR_LIT("localhost:4000")};
    set(&head, "host", "proxy.example");
    ck_assert_int_eq(http_access_check(&g_frontends, &head, true).code, ERRCODE_NONE);
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

static enum errcode key_code(const char *name, const char *value)
{
    struct http1_head head = {.method = HTTP1_GET};
    struct problem p = {.code = ERRCODE_NONE};
    const struct access_key *key;

    set(&head, name, value);
    return http_access_key(&g_frontends, &head, 0, &key, &p);
}

static bool key_is_good(const char *name, const char *value)
{
    return key_code(name, value) == ERRCODE_NONE;
}

START_TEST(the_master_key)
{
    struct http1_head none = {.method = HTTP1_GET};
    struct problem p = {.code = ERRCODE_NONE};
    const struct access_key *key;

    g_frontends.params.master_key = NULL;
    ck_assert(key_is_good("authorization", "Bearer whatever"));
    ck_assert_int_eq(http_access_key(&g_frontends, &none, 0, &key, &p), ERRCODE_NONE);
    g_frontends.params.master_key = "sk-secret";
    ck_assert(key_is_good("authorization", "Bearer sk-secret"));
    ck_assert(key_is_good("authorization", "bearer   sk-secret "));
    ck_assert(key_is_good("x-api-key", "sk-secret"));
    ck_assert(key_is_good("api-key", "sk-secret"));
    ck_assert(key_is_good("x-litellm-api-key", "sk-secret"));
    ck_assert(key_is_good("x-litellm-api-key", "Bearer sk-secret"));
    ck_assert(!key_is_good("authorization", "sk-secret"));
    ck_assert(!key_is_good("authorization", "Basic sk-secret"));
    ck_assert(!key_is_good("authorization", "Bearer sk-secre"));
    ck_assert(!key_is_good("authorization", "Bearer sk-secrets"));
    ck_assert(!key_is_good("authorization", "Bearer sk-secretsk-secret"));
    ck_assert(!key_is_good("authorization", "Bearer "));
    ck_assert(!key_is_good("x-api-key", ""));
    ck_assert_int_eq(http_access_key(&g_frontends, &none, 0, &key, &p), ERRCODE_INVALID_API_KEY);
    g_frontends.params.master_key = NULL;
}
END_TEST

/* ---------------------------------------------------------------- keys */

static uint8_t g_digests[3][SHA256_BYTES];
static const char *const g_models[] = {"small", "ollama/*"};
static struct access_key g_keys[3];
static struct router g_router;

static void set_keys(void)
{
    static const char *const texts[] = {"sk-all", "sk-some", "sk-old"};
    static const char *const ids[] = {"all", "some", "old"};

    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(sha256_of(texts[i], strlen(texts[i]), g_digests[i]), 0);
        g_keys[i] = (struct access_key) {.id = ids[i], .sha256 = g_digests[i]};
    }
    g_keys[1].models = g_models;
    g_keys[1].n_models = ARRAY_LEN(g_models);
    g_keys[1].class = CLASS_BATCH;
    g_keys[2].expires_at_sec = 1000;
    router_init(&g_router);
    g_frontends.router = &g_router;
    g_frontends.params.keys = g_keys;
    g_frontends.params.n_keys = 3;
}

static void forget_keys(void)
{
    router_done(&g_router);
    g_frontends = (struct frontends) {.router = NULL};
}

/* Which key is found: its id, "master" for none of them, or the code. */
static const char *found(const char *bearer, uint64_t wall_sec)
{
    struct http1_head head = {.method = HTTP1_GET};
    struct problem p = {.code = ERRCODE_NONE};
    const struct access_key *key;
    enum errcode code;

    set(&head, "authorization", bearer);
    code = http_access_key(&g_frontends, &head, wall_sec, &key, &p);
    ck_assert_int_eq(code, p.code);
    ck_assert(code == ERRCODE_NONE || !key);
    return code != ERRCODE_NONE ? errcode_info(code)->openai_type : key ? key->id : "master";
}

START_TEST(keys_by_their_hash)
{
    set_keys();
    ck_assert_str_eq(found("Bearer sk-all", 0), "all");
    ck_assert_str_eq(found("Bearer sk-some", 0), "some");
    ck_assert_str_eq(found("Bearer sk-some ", 0), "some");
    ck_assert_str_eq(found("Bearer sk-som", 0), "invalid_request_error");
    ck_assert_str_eq(found("Bearer sk-somee", 0), "invalid_request_error");
    ck_assert_str_eq(found("Bearer all", 0), "invalid_request_error");
    ck_assert_str_eq(found("Bearer ", 0), "invalid_request_error");
    ck_assert_str_eq(found("", 0), "invalid_request_error");
    ck_assert_str_eq(found("Bearer sk-secret", 0), "invalid_request_error");
    g_frontends.params.master_key = "sk-secret";
    ck_assert_str_eq(found("Bearer sk-secret", 0), "master");
    ck_assert_str_eq(found("Bearer sk-all", 0), "all");
    ck_assert_ptr_eq(http_access_find(&g_frontends, "some"), &g_keys[1]);
    ck_assert_ptr_null(http_access_find(&g_frontends, ""));
    ck_assert_ptr_null(http_access_find(&g_frontends, "none"));
    forget_keys();
}
END_TEST

START_TEST(keys_expire)
{
    struct http1_head head = {.method = HTTP1_GET};
    struct problem p = {.code = ERRCODE_NONE};
    const struct access_key *key;

    set_keys();
    ck_assert_str_eq(found("Bearer sk-old", 999), "old");
    ck_assert_str_eq(found("Bearer sk-old", 1000), "expired_key");
    ck_assert_str_eq(found("Bearer sk-all", UINT64_MAX), "all");
    set(&head, "x-api-key", "sk-old");
    ck_assert_int_eq(http_access_key(&g_frontends, &head, 5000, &key, &p), ERRCODE_KEY_EXPIRED);
    ck_assert_str_eq(p.text, "the API key \"old\" has expired (1970-01-01T00:16:40Z)");
    forget_keys();
}
END_TEST

/* Of several headers the first that is there counts, not the first that is right. */
START_TEST(one_header_counts)
{
    struct http1_head head = {.method = HTTP1_GET};
    struct problem p = {.code = ERRCODE_NONE};
    const struct access_key *key;

    set_keys();
    set(&head, "authorization", "Bearer sk-all");
    set(&head, "x-litellm-api-key", "sk-some");
    ck_assert_int_eq(http_access_key(&g_frontends, &head, 0, &key, &p), ERRCODE_NONE);
    ck_assert_str_eq(key->id, "some");
    head.headers[1].value = STR_LIT("wrong");
    ck_assert_int_eq(http_access_key(&g_frontends, &head, 0, &key, &p), ERRCODE_INVALID_API_KEY);
    forget_keys();
}
END_TEST

static enum errcode admit(const char *key_id, const char *model, const char *fallback)
{
    struct str names[] = {str_from("small"), str_from(fallback)};
    struct request req = {.model = str_from(model),
                          .routing = {.fallbacks = names, .n_fallbacks = fallback ? 2 : 0}};
    struct problem p = {.code = ERRCODE_NONE};
    enum errcode code = http_access_admit(&g_frontends, key_id, &req, &p);

    ck_assert_int_eq(code, p.code);
    if (code == ERRCODE_KEY_MODEL_DENIED) {
        ck_assert_str_eq(p.param, fallback ? "fallbacks" : "model");
        ck_assert_ptr_nonnull(strstr(p.text, fallback ? fallback : model));
    } else if (code == ERRCODE_NONE) {
        ck_assert_int_eq(req.class, strcmp(key_id, "some") == 0 ? CLASS_BATCH : CLASS_INTERACTIVE);
    }
    return code;
}

START_TEST(models_of_a_key)
{
    set_keys();
    ck_assert_int_eq(admit("", "big", NULL), ERRCODE_NONE);
    ck_assert_int_eq(admit("all", "big", "bigger"), ERRCODE_NONE);
    ck_assert_int_eq(admit("some", "small", NULL), ERRCODE_NONE);
    ck_assert_int_eq(admit("some", "ollama/x", "ollama/"), ERRCODE_NONE);
    ck_assert_int_eq(admit("some", "big", NULL), ERRCODE_KEY_MODEL_DENIED);
    ck_assert_int_eq(admit("some", "smaller", NULL), ERRCODE_KEY_MODEL_DENIED);
    ck_assert_int_eq(admit("some", "Small", NULL), ERRCODE_KEY_MODEL_DENIED);
    ck_assert_int_eq(admit("some", "ollama", NULL), ERRCODE_KEY_MODEL_DENIED);
    ck_assert_int_eq(admit("some", "small", "big"), ERRCODE_KEY_MODEL_DENIED);
    ck_assert_int_eq(admit("gone", "small", NULL), ERRCODE_INVALID_API_KEY); /* by a reload */
    forget_keys();
}
END_TEST

/* The key may use what a name leads to. */
START_TEST(models_by_their_alias)
{
    struct router_plan plan = {.n_groups = 0};
    struct deployment_spec spec = {
        .id = "d", .fingerprint = "d", .provider = "mock", .off_reason = "test", .slots = 1};

    set_keys();
    ck_assert_int_eq(router_plan_add(&plan, "small", deployment_new(&spec, NULL)), 0);
    ck_assert_int_eq(router_plan_alias(&plan, "fast", "small", false), 0);
    router_commit(&g_router, &plan);
    ck_assert_int_eq(admit("some", "fast", NULL), ERRCODE_NONE);
    ck_assert_int_eq(admit("some", "faster", NULL), ERRCODE_KEY_MODEL_DENIED);
    forget_keys();
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
    tcase_add_test(tc, absolute_targets);
    tcase_add_test(tc, browsers);
    tcase_add_test(tc, posts_are_json);
    tcase_add_test(tc, unix_sockets_need_none_of_it);
    tcase_add_test(tc, the_master_key);
    tcase_add_test(tc, keys_by_their_hash);
    tcase_add_test(tc, keys_expire);
    tcase_add_test(tc, one_header_counts);
    tcase_add_test(tc, models_of_a_key);
    tcase_add_test(tc, models_by_their_alias);
    tcase_add_test(tc, paths);
}
TEST_MAIN("http_access", add_tests)
