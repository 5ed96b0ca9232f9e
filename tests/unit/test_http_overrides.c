/* http_overrides.h: what headers say about a request's way. */
#include <errno.h>

#include "base/clock.h"
#include "frontend/http_overrides.h"
#include "support.h"

static struct http1_head g_head;
static struct problem g_problem;

#define HEADERS(...) set_headers((const char *const[]) {__VA_ARGS__, NULL})

/* name, value, ..., NULL */
static void set_headers(const char *const *pairs)
{
    memset(&g_head, 0, sizeof g_head);
    for (; *pairs; pairs += 2) {
        g_head.headers[g_head.n_headers++] =
            (struct http1_header) {str_from(pairs[0]), str_from(pairs[1])};
    }
}

static struct request *overridden(void)
{
    struct request *req = request_new(REQUEST_CHAT, 65536);

    ck_assert(req);
    ck_assert_int_eq(http_overrides_read(&g_head, req, &g_problem), 0);
    return req;
}

static void refused(const char *name, const char *value, const char *words)
{
    struct request *req = request_new(REQUEST_CHAT, 65536);

    HEADERS("host", "localhost", name, value);
    memset(&g_problem, 0x55, sizeof g_problem);
    ck_assert(req);
    ck_assert_msg(http_overrides_read(&g_head, req, &g_problem) == -EBADMSG, "%s: %s", name, value);
    ck_assert_int_eq(g_problem.code, ERRCODE_INVALID_REQUEST);
    ck_assert_str_eq(g_problem.param, name);
    ck_assert_msg(strstr(g_problem.text, words), "%s", g_problem.text);
    request_free(req);
}

START_TEST(all_of_them)
{
    HEADERS("Host", "localhost", "X-LiteLLM-Timeout", "2.5", "x-litellm-stream-timeout", "7",
            "x-litellm-num-retries", "4", "x-litellm-tags", " a, b ,,c", "x-sluice-local-only",
            "True", "x-litellm-something-else", "x");

    struct request *req = overridden();
    const struct request_routing *to = &req->routing;

    ck_assert_uint_eq(to->total_usec, 2500 * USEC_PER_MSEC);
    ck_assert_uint_eq(to->first_byte_usec, 7 * USEC_PER_SEC);
    ck_assert(to->has_retries && to->max_retries == 4);
    ck_assert_uint_eq(to->n_tags, 3);
    ck_assert_str_is(to->tags[0], "a");
    ck_assert_str_is(to->tags[1], "b");
    ck_assert_str_is(to->tags[2], "c");
    ck_assert(to->is_local_only && !to->has_fallbacks);
    request_free(req);
}
END_TEST

START_TEST(waits_only_get_shorter)
{
    struct request *req;

    HEADERS("x-sluice-max-wait-ms", "2500");
    req = overridden();
    ck_assert_uint_eq(req->max_wait_usec, 2500 * USEC_PER_MSEC);
    ck_assert_uint_eq(req->max_stay_usec, 2500 * USEC_PER_MSEC);
    request_free(req);
    HEADERS("x-stainless-read-timeout", "8.0");
    req = overridden();
    ck_assert_uint_eq(req->max_wait_usec, 5000 * USEC_PER_MSEC); /* of which 0.8: half */
    ck_assert_uint_eq(req->max_stay_usec, 6400 * USEC_PER_MSEC);
    request_free(req);
    HEADERS("x-stainless-read-timeout", "600", "X-Sluice-Max-Wait-MS", "0");
    req = overridden();
    ck_assert_uint_eq(req->max_wait_usec, 1); /* now, or not at all */
    ck_assert_uint_eq(req->max_stay_usec, 1);
    request_free(req);
    HEADERS("x-sluice-max-wait-ms", "9000", "x-stainless-read-timeout", "5.0",
            "x-stainless-retry-count", "2");
    req = overridden();
    ck_assert_uint_eq(req->max_wait_usec, 3125 * USEC_PER_MSEC);
    ck_assert_uint_eq(req->max_stay_usec, 4000 * USEC_PER_MSEC);
    ck_assert_uint_eq(req->n_client_retries, 2);
    request_free(req);
    refused("x-sluice-max-wait-ms", "soon", "milliseconds");
    refused("x-sluice-max-wait-ms", "-1", "milliseconds");
    refused("x-sluice-max-wait-ms", "86400001", "milliseconds");
}
END_TEST

START_TEST(what_sdks_say_is_never_an_error)
{
    static const char *const values[] = {"", "x", "-1", "NaN", "1e400", "0", "0.0", "1e99", " 5"};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct request *req;

        HEADERS("x-stainless-read-timeout", values[i], "x-stainless-retry-count", values[i],
                "x-stainless-retry-after", "what");
        req = overridden();
        ck_assert_uint_eq(req->max_wait_usec, 0);
        ck_assert_uint_eq(req->max_stay_usec, 0);
        ck_assert_uint_eq(req->n_client_retries, 0);
        request_free(req);
    }
}
END_TEST

START_TEST(none_of_them)
{
    HEADERS("host", "localhost", "x-litellm", "1", "x-sluice-class", "batch", "x-litellm-tags", "");

    struct request *req = overridden();

    ck_assert(!req->routing.has_retries && !req->routing.is_local_only);
    ck_assert_uint_eq(req->routing.total_usec + req->routing.n_tags, 0);
    request_free(req);
    HEADERS("x-sluice-local-only", "0");
    req = overridden();
    ck_assert(!req->routing.is_local_only);
    request_free(req);
}
END_TEST

START_TEST(wrong_values)
{
    refused("x-litellm-timeout", "soon", "number of seconds");
    refused("x-litellm-timeout", "none", "number of seconds");
    refused("x-litellm-timeout", "", "number of seconds");
    refused("x-litellm-timeout", "30s", "number of seconds");
    refused("x-litellm-timeout", "0", "more than 0");
    refused("x-litellm-timeout", "-1", "between");
    refused("x-litellm-timeout", "1e9", "between");
    refused("x-litellm-stream-timeout", "\"5\"", "number of seconds");
    refused("x-litellm-num-retries", "many", "integer");
    refused("x-litellm-num-retries", "1.5", "integer");
    refused("x-litellm-num-retries", "17", "between 0 and 16");
    refused("x-litellm-tags", "a,\xff", "UTF-8");
    refused("x-litellm-tags", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "at most 16");
    refused("x-sluice-local-only", "yes please", "true or false");
    refused("x-sluice-local-only", "", "true or false");
}
END_TEST

START_TEST(ids)
{
    HEADERS("x-request-id", "a-1");
    ck_assert_str_is(http_overrides_call_id(&g_head), "a-1");
    HEADERS("x-request-id", "a-1", "x-litellm-call-id", "b-2");
    ck_assert_str_is(http_overrides_call_id(&g_head), "b-2");
    HEADERS("x-request-id", "a-1", "x-litellm-call-id", "not an id");
    ck_assert_str_is(http_overrides_call_id(&g_head), "a-1");
    HEADERS("x-litellm-call-id", "not an id");
    ck_assert(!http_overrides_call_id(&g_head).ptr);
}
END_TEST

static void read_tags(void)
{
    struct request *req = request_new(REQUEST_CHAT, 65536);
    int r;

    HEADERS("x-litellm-tags", "a,b");
    r = req ? http_overrides_read(&g_head, req, &g_problem) : -ENOMEM;
    ck_assert(r == 0 || r == -ENOMEM);
    request_free(req);
}

START_TEST(every_allocation_may_fail)
{
    for_each_failed_allocation(read_tags);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, all_of_them);
    tcase_add_test(tc, waits_only_get_shorter);
    tcase_add_test(tc, what_sdks_say_is_never_an_error);
    tcase_add_test(tc, none_of_them);
    tcase_add_test(tc, wrong_values);
    tcase_add_test(tc, ids);
    tcase_add_test(tc, every_allocation_may_fail);
}

TEST_MAIN("http_overrides", add_tests)
