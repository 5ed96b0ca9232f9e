/* The headers that say what a key has left, and durations as OpenAI writes them. */
#include "frontend/http_rate_headers.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "core/quota.h"
#include "support.h"

#define SEC   USEC_PER_SEC
#define START (1000 * SEC)

START_TEST(durations)
{
    static const struct {
        uint64_t usec;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {1, "1ms"},
        {20000, "20ms"},
        {20001, "21ms"},
        {999000, "999ms"},
        {999001, "1s"},
        {SEC, "1s"},
        {SEC + 500000, "1.5s"},
        {10 * SEC, "10s"},
        {30 * SEC + 951000, "30.951s"},
        {60 * SEC, "1m0s"},
        {90 * SEC + 951000, "1m30.951s"},
        {360 * SEC, "6m0s"},
        {3600 * SEC, "1h0m0s"},
        {3661 * SEC, "1h1m1s"},
        {UINT64_MAX, "5124095576h1m49.552s"},
    };
    char text[HTTP_RATE_RESET_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_str_eq(http_rate_format_reset(rows[i].usec, text), rows[i].text);
    }
}
END_TEST

static void expect_for(const struct frontends *f, const struct caller *who, const char *headers)
{
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(http_rate_headers_write(f, who, START, &out), 0);
    ck_assert_str_is(buf_str(&out), headers);
    buf_done(&out);
}

static void expect(const struct frontends *f, const char *key_id, const char *headers)
{
    struct caller who = {.has_uid = false};

    str_copy(str_from(key_id), who.key_id, sizeof who.key_id);
    expect_for(f, &who, headers);
}

START_TEST(headers)
{
    static const struct quota_limit limits[] = {
        {.owner = {.kind = CALLER_KEY, .name = "both"}, .rpm = 60, .tpm = 1000},
        {.owner = {.kind = CALLER_KEY, .name = "none"}},
        {.owner = {.kind = CALLER_KEY, .name = "rpm"}, .rpm = 1},
        {.owner = {.kind = CALLER_UID, .uid = 7}, .rpm = 2},
    };
    static struct caller_table callers;
    struct quota quota;
    struct call_registry registry = {.quota = NULL};
    struct frontends f = {.registry = &registry};
    struct request req = {.kind = REQUEST_COMPLETE, .prompt = STR_LIT("12345678")};
    struct quota_charge charge = {.account = NULL};
    struct quota_refusal why;
    struct buf small;

    expect(&f, "both", "");
    caller_table_init(&callers);
    quota_init(&quota, &callers);
    registry.quota = &quota;
    ck_assert_int_eq(quota_set(&quota, limits, ARRAY_LEN(limits), START), 0);
    (void) snprintf(req.caller.key_id, sizeof req.caller.key_id, "both");
    ck_assert_int_eq(quota_take(&quota, &charge, &req, START, &why), ERRCODE_NONE);
    expect(&f, "", "");
    expect(&f, "unknown", "");
    expect(&f, "none", "");
    expect(&f, "rpm",
           "x-ratelimit-limit-requests: 1\r\nx-ratelimit-remaining-requests: 1\r\n"
           "x-ratelimit-reset-requests: 0s\r\nx-litellm-key-rpm-limit: 1\r\n");
    expect(&f, "both",
           "x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\n"
           "x-ratelimit-reset-requests: 1s\r\nx-litellm-key-rpm-limit: 60\r\n"
           "x-ratelimit-limit-tokens: 1000\r\nx-ratelimit-remaining-tokens: 998\r\n"
           "x-ratelimit-reset-tokens: 120ms\r\nx-litellm-key-tpm-limit: 1000\r\n");
    expect_for(&f, &(struct caller) {.has_uid = true, .uid = 7}, /* no key: none of LiteLLM's */
               "x-ratelimit-limit-requests: 2\r\nx-ratelimit-remaining-requests: 2\r\n"
               "x-ratelimit-reset-requests: 0s\r\n");
    expect_for(&f, &(struct caller) {.has_uid = true, .uid = 8}, "");
    expect_for(&f, &(struct caller) {.uid = 7}, ""); /* over TCP */
    buf_init(&small, 64);
    ck_assert_int_eq(
        http_rate_headers_write(&f, &(struct caller) {.key_id = "both"}, START, &small), -ENOBUFS);
    buf_done(&small);
    quota_settle(&quota, &charge, 2, START);
    quota_done(&quota);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, durations);
    tcase_add_test(tc, headers);
}

TEST_MAIN("http_rate_headers", add_tests)
