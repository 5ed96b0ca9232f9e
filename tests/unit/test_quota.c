/*
 * quota: accounts of keys, uids and units under a clock of the test. What is charged, what comes
 * home, what a reload keeps, and what a client is told.
 */
#include "core/quota.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "support.h"

#define SEC   USEC_PER_SEC
#define MIN   (60 * SEC)
#define START (1000 * SEC)

#define KEY(id)     {.kind = CALLER_KEY, .name = (id)}
#define UID(number) {.kind = CALLER_UID, .uid = (number)}
#define UNIT(id)    {.kind = CALLER_UNIT, .name = (id)}

static struct caller_table g_callers;
static struct quota g_quota;

static void setup(void)
{
    caller_table_init(&g_callers);
    quota_init(&g_quota, &g_callers);
}

static void teardown(void)
{
    quota_done(&g_quota);
}

/* One key, called "k". */
static void set_key(uint64_t rpm, uint64_t tpm, unsigned max_parallel, uint64_t now)
{
    struct quota_limit limit = {
        .owner = KEY("k"), .rpm = rpm, .tpm = tpm, .max_parallel = max_parallel};

    ck_assert_int_eq(quota_set(&g_quota, &limit, 1, now), 0);
}

static const struct quota_account *account_of(const char *key_id)
{
    struct caller who = {.has_uid = false};

    str_copy(str_from(key_id), who.key_id, sizeof who.key_id);
    return quota_find(&g_quota, &who);
}

/* A request of that key with so many bytes of text, and max_tokens (0: none named). */
static struct request request_of(const char *key_id, size_t n_bytes, uint32_t max_tokens)
{
    static char text[64 * 1024];
    struct request req = {.kind = REQUEST_COMPLETE};

    ck_assert_uint_le(n_bytes, sizeof text);
    req.prompt = (struct str) {text, n_bytes};
    req.sampling.max_tokens = max_tokens;
    req.sampling.set = max_tokens > 0 ? SAMPLING_MAX_TOKENS : 0;
    (void) snprintf(req.caller.key_id, sizeof req.caller.key_id, "%s", key_id);
    return req;
}

static struct quota_refusal g_why;

static enum errcode take(struct quota_charge *charge, size_t n_bytes, uint32_t max_tokens,
                         uint64_t now)
{
    struct request req = request_of("k", n_bytes, max_tokens);
    enum errcode code = quota_take(&g_quota, charge, &req, now, &g_why);

    ck_assert_int_eq(code, g_why.code);
    ck_assert_int_eq(code == ERRCODE_NONE, charge->account != NULL);
    return code;
}

/* Taken and brought home at once, as used. */
static enum errcode call(size_t n_bytes, uint32_t max_tokens, uint64_t n_used, uint64_t now)
{
    struct quota_charge charge = {.account = NULL};
    enum errcode code = take(&charge, n_bytes, max_tokens, now);

    quota_settle(&g_quota, &charge, n_used, now);
    ck_assert_ptr_null(charge.account);
    quota_settle(&g_quota, &charge, n_used, now); /* home is home */
    return code;
}

static uint64_t tokens_left(uint64_t now)
{
    return gcra_left(&account_of("k")->tokens, now);
}

START_TEST(who_is_not_named_has_no_limits)
{
    struct request req = request_of("", 1000, 0);
    struct quota_charge charge = {.account = NULL};

    set_key(1, 1, 1, START);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(quota_take(&g_quota, &charge, &req, START, &g_why), ERRCODE_NONE);
        ck_assert_ptr_null(charge.account);
    }
    quota_settle(&g_quota, &charge, 1000, START);
}
END_TEST

START_TEST(keys_without_limits_have_none)
{
    set_key(0, 0, 0, START);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(call(60000, UINT32_MAX, UINT64_MAX, START), ERRCODE_NONE);
    }
}
END_TEST

START_TEST(requests_a_minute)
{
    set_key(2, 0, 0, START);
    ck_assert_int_eq(call(0, 0, 0, START), ERRCODE_NONE);
    ck_assert_int_eq(call(0, 0, 0, START), ERRCODE_NONE);
    ck_assert_int_eq(call(0, 0, 0, START), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_uint_eq(g_why.retry_after_usec, 30 * SEC);
    ck_assert_str_eq(g_why.text,
                     "limit of the key \"k\" reached: 2 requests a minute; try again in 30s");
    ck_assert_int_eq(call(0, 0, 0, START + 30 * SEC - 1), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_uint_eq(g_why.retry_after_usec, SEC); /* at least a second */
    ck_assert_int_eq(call(0, 0, 0, START + 30 * SEC), ERRCODE_NONE);
    ck_assert_int_eq(call(0, 0, 0, START + 30 * SEC), ERRCODE_KEY_RATE_LIMITED);
}
END_TEST

START_TEST(tokens_are_guessed_and_settled)
{
    struct quota_charge charge = {.account = NULL};

    set_key(0, 1000, 0, START);
    ck_assert_int_eq(take(&charge, 401, 100, START), ERRCODE_NONE); /* 101 and 100 */
    ck_assert_uint_eq(tokens_left(START), 799);
    quota_settle(&g_quota, &charge, 50, START);
    ck_assert_uint_eq(tokens_left(START), 950);
    ck_assert_int_eq(take(&charge, 400, 0, START), ERRCODE_NONE);
    quota_settle(&g_quota, &charge, 0, START); /* it failed: nothing */
    ck_assert_uint_eq(tokens_left(START), 950);
    ck_assert_int_eq(call(0, 0, 3950, START), ERRCODE_NONE); /* 3,000 more than there were */
    ck_assert_uint_eq(tokens_left(START), 0);
    ck_assert_int_eq(call(4, 0, 0, START), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_uint_eq(g_why.retry_after_usec, 60 * SEC); /* what clients obey; the text is true */
    ck_assert_str_eq(g_why.text,
                     "limit of the key \"k\" reached: 1000 tokens a minute; try again in 181s");
    ck_assert_int_eq(call(4, 0, 0, START + 181 * SEC), ERRCODE_NONE);
}
END_TEST

/* A refusal for tokens does not cost a request, nor one for requests tokens. */
START_TEST(refusals_cost_nothing)
{
    const struct quota_account *a;

    set_key(10, 100, 0, START);
    a = account_of("k");
    ck_assert_int_eq(call(0, 100, 100, START), ERRCODE_NONE);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(call(0, 100, 100, START), ERRCODE_KEY_RATE_LIMITED);
        ck_assert_int_eq(call(0, 101, 101, START), ERRCODE_INSUFFICIENT_QUOTA);
    }
    ck_assert_uint_eq(gcra_left(&a->requests, START), 9);
    ck_assert_uint_eq(gcra_full_usec(&a->tokens, START), MIN);
    ck_assert_uint_eq(a->n_charges, 0);
}
END_TEST

START_TEST(what_can_never_fit_says_so)
{
    set_key(0, 100, 0, START);
    ck_assert_int_eq(call(0, 101, 0, START), ERRCODE_INSUFFICIENT_QUOTA);
    ck_assert_uint_eq(g_why.retry_after_usec, 0);
    ck_assert_str_eq(g_why.text,
                     "this request may use about 101 tokens, and the key \"k\" has 100 a minute");
    ck_assert_int_eq(call(404, 0, 0, START), ERRCODE_INSUFFICIENT_QUOTA);
    ck_assert_int_eq(call(400, 0, 0, START), ERRCODE_NONE);
    ck_assert_int_eq(call(0, UINT32_MAX, 0, START), ERRCODE_INSUFFICIENT_QUOTA);
}
END_TEST

START_TEST(calls_at_a_time)
{
    struct quota_charge a = {.account = NULL}, b = a, c = a;

    set_key(0, 0, 2, START);
    ck_assert_int_eq(take(&a, 0, 0, START), ERRCODE_NONE);
    ck_assert_int_eq(take(&b, 0, 0, START), ERRCODE_NONE);
    ck_assert_int_eq(take(&c, 0, 0, START), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_uint_eq(g_why.retry_after_usec, SEC);
    ck_assert_str_eq(g_why.text, "limit of the key \"k\" reached: 2 calls at a time");
    quota_settle(&g_quota, &a, 0, START);
    ck_assert_int_eq(take(&c, 0, 0, START), ERRCODE_NONE);
    quota_settle(&g_quota, &b, 0, START);
    quota_settle(&g_quota, &c, 0, START);
}
END_TEST

START_TEST(the_guess)
{
    static const char *const text = "0123456789"; /* 10 bytes */
    struct str s = str_from(text);
    struct content_part parts[] = {{.type = PART_TEXT, .text = s}, {.type = PART_IMAGE, .data = s}};
    struct tool_call calls[] = {{.name = s, .arguments = s}};
    struct message messages[] = {
        {.parts = parts, .n_parts = 2},
        {.tool_calls = calls, .n_tool_calls = 1, .thinking = s},
    };
    struct request chat = {.kind = REQUEST_CHAT, .messages = messages, .n_messages = 2, .tools = s};
    struct request embed = {.kind = REQUEST_EMBED, .inputs = &s, .n_inputs = 1};
    struct request raw = {.kind = REQUEST_EMBED, .is_raw_only = true, .total_bytes = 4000};

    ck_assert_uint_eq(quota_guess_tokens(&chat), 13); /* 50 bytes; the image counts nothing */
    ck_assert_uint_eq(quota_guess_tokens(&embed), 3);
    ck_assert_uint_eq(quota_guess_tokens(&raw), 1000);
    chat.sampling.max_tokens = 7; /* without its bit: not named */
    ck_assert_uint_eq(quota_guess_tokens(&chat), 13);
    chat.sampling.set = SAMPLING_MAX_TOKENS;
    ck_assert_uint_eq(quota_guess_tokens(&chat), 20);
    chat.sampling.n_choices = 3;
    ck_assert_uint_eq(quota_guess_tokens(&chat), 34);
    chat.sampling.max_tokens = UINT32_MAX;
    chat.sampling.n_choices = REQUEST_MAX_CHOICES;
    ck_assert_uint_eq(quota_guess_tokens(&chat), 13 + (uint64_t) UINT32_MAX * REQUEST_MAX_CHOICES);
}
END_TEST

START_TEST(a_reload_keeps_the_debts)
{
    struct quota_charge charge = {.account = NULL};

    set_key(2, 1000, 1, START);
    ck_assert_int_eq(take(&charge, 0, 500, START), ERRCODE_NONE);
    set_key(2, 2000, 1, START); /* more tokens, the same requests */
    ck_assert_uint_eq(tokens_left(START), 1500);
    ck_assert_int_eq(take(&(struct quota_charge) {.account = NULL}, 0, 0, START),
                     ERRCODE_KEY_RATE_LIMITED); /* the call of before counts */
    set_key(2, 0, 0, START);                    /* no limit of tokens any more */
    quota_settle(&g_quota, &charge, 100000, START);
    ck_assert_int_eq(call(0, 0, 0, START), ERRCODE_NONE);
    ck_assert_int_eq(call(0, 0, 0, START), ERRCODE_KEY_RATE_LIMITED); /* the third request */
}
END_TEST

START_TEST(a_key_that_goes)
{
    struct quota_charge charge = {.account = NULL};

    set_key(1, 0, 0, START);
    ck_assert_int_eq(take(&charge, 0, 0, START), ERRCODE_NONE);
    ck_assert_int_eq(quota_set(&g_quota, NULL, 0, START), 0);
    ck_assert_ptr_nonnull(account_of("k")); /* a call holds it */
    ck_assert_int_eq(take(&(struct quota_charge) {.account = NULL}, 0, 0, START),
                     ERRCODE_INVALID_API_KEY);
    set_key(1, 0, 0, START); /* and back: the same account */
    ck_assert_int_eq(call(0, 0, 0, START), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_int_eq(quota_set(&g_quota, NULL, 0, START), 0);
    quota_settle(&g_quota, &charge, 0, START);
    ck_assert_ptr_null(account_of("k"));
    ck_assert_int_eq(call(0, 0, 0, START), ERRCODE_INVALID_API_KEY);
}
END_TEST

START_TEST(the_clock_may_jump)
{
    set_key(1, 100, 0, START);
    ck_assert_int_eq(call(0, 0, 100, START), ERRCODE_NONE);
    ck_assert_int_eq(call(0, 0, 0, START - 500 * SEC), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_uint_eq(g_why.retry_after_usec, 60 * SEC);
    ck_assert_int_eq(call(0, 0, 0, UINT64_MAX - 1), ERRCODE_NONE);
    ck_assert_int_eq(call(0, 0, 0, UINT64_MAX - 1), ERRCODE_KEY_RATE_LIMITED);
}
END_TEST

/* A model server that counts nonsense shuts a key out for an hour at most. */
START_TEST(huge_values)
{
    set_key(0, 100, 0, START);
    ck_assert_int_eq(call(0, 0, UINT64_MAX, START), ERRCODE_NONE);
    ck_assert_int_eq(call(4, 0, 0, START + 58 * MIN), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_int_eq(call(4, 0, 0, START + 60 * MIN), ERRCODE_NONE);
    set_key(GCRA_MAX, GCRA_MAX, UINT32_MAX, START + 60 * MIN);
    ck_assert_int_eq(call(60000, 1000000, UINT64_MAX, START + 60 * MIN), ERRCODE_NONE);
    ck_assert_int_eq(call(4, 0, 0, START + 121 * MIN), ERRCODE_NONE);
}
END_TEST

/* A call of that caller now, home at once. */
static enum errcode call_of(const struct caller *who, uint64_t now)
{
    struct request req = {.kind = REQUEST_COMPLETE, .caller = *who};
    struct quota_charge charge = {.account = NULL};
    enum errcode looked = quota_look(&g_quota, who, 0, now, &g_why);
    enum errcode code = quota_take(&g_quota, &charge, &req, now, &g_why);

    ck_assert_int_eq(looked, code); /* which took nothing */
    quota_settle(&g_quota, &charge, 0, now);
    return code;
}

static const struct caller user = {.has_uid = true, .uid = 7},
                           neighbour = {.has_uid = true, .uid = 8},
                           service = {.has_uid = true,
                                      .uid = 7,
                                      .unit = "x.service",
                                      .is_system_unit = true},
                           app = {.has_uid = true, .uid = 7, .unit = "app.scope"},
                           remote = {.uid = 7}; /* over TCP: nobody says who it is */

START_TEST(uids_and_units_have_accounts_of_their_own)
{
    static const struct quota_limit limits[] = {
        {.owner = UID(7), .rpm = 2}, {.owner = UNIT("x.service"), .rpm = 1}, {.owner = KEY("7")}};
    char text[CALLER_DESCRIPTION_BYTES];

    ck_assert_int_eq(quota_set(&g_quota, limits, ARRAY_LEN(limits), START), 0);
    ck_assert_int_eq(call_of(&user, START), ERRCODE_NONE);
    ck_assert_int_eq(call_of(&app, START), ERRCODE_NONE); /* no system service: its user's */
    ck_assert_int_eq(call_of(&user, START), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_str_eq(g_why.text, "limit of uid 7 reached: 2 requests a minute; try again in 30s");
    ck_assert_uint_eq(g_why.retry_after_usec, 30 * SEC);
    ck_assert_int_eq(call_of(&app, START), ERRCODE_KEY_RATE_LIMITED);

    ck_assert_int_eq(call_of(&service, START), ERRCODE_NONE);
    ck_assert_int_eq(call_of(&service, START), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_str_eq(
        g_why.text,
        "limit of the unit \"x.service\" reached: 1 requests a minute; try again in 60s");

    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(call_of(&neighbour, START), ERRCODE_NONE);
        ck_assert_int_eq(call_of(&remote, START), ERRCODE_NONE);
        ck_assert_int_eq(call_of(&(struct caller) {.key_id = "7"}, START), ERRCODE_NONE);
    }
    ck_assert_str_eq(quota_account_describe(quota_find(&g_quota, &user), text), "uid 7");
    ck_assert_str_eq(quota_account_describe(quota_find(&g_quota, &service), text),
                     "unit x.service");
    ck_assert_str_eq(quota_account_describe(account_of("7"), text), "key 7");
    ck_assert_ptr_null(quota_find(&g_quota, &remote));
}
END_TEST

/* A unit of a user that sluice.callers names is a caller of its own, as it is for the slots. */
START_TEST(a_unit_of_a_user_that_is_named)
{
    static const struct caller_rule rule = {.kind = CALLER_UNIT, .name = "app.scope"};
    static const struct quota_limit limits[] = {{.owner = UID(7), .rpm = 1},
                                                {.owner = UNIT("app.scope"), .rpm = 1}};

    caller_table_set_rules(&g_callers, &rule, 1);
    ck_assert_int_eq(quota_set(&g_quota, limits, ARRAY_LEN(limits), START), 0);
    ck_assert_int_eq(call_of(&app, START), ERRCODE_NONE);
    ck_assert_int_eq(call_of(&app, START), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_int_eq(call_of(&user, START), ERRCODE_NONE);
    ck_assert_int_eq(call_of(&user, START), ERRCODE_KEY_RATE_LIMITED);
}
END_TEST

/* Other than of a key, nobody misses an account that goes. */
START_TEST(a_uid_that_goes)
{
    static const struct quota_limit limit = {.owner = UID(7), .rpm = 1, .max_parallel = 1};
    struct request req = {.kind = REQUEST_COMPLETE, .caller = user};
    struct quota_charge charge = {.account = NULL};

    ck_assert_int_eq(quota_set(&g_quota, &limit, 1, START), 0);
    ck_assert_int_eq(quota_take(&g_quota, &charge, &req, START, &g_why), ERRCODE_NONE);
    ck_assert_int_eq(quota_set(&g_quota, NULL, 0, START), 0);
    ck_assert_ptr_nonnull(quota_find(&g_quota, &user)); /* a call holds it */
    ck_assert_int_eq(call_of(&user, START), ERRCODE_NONE);
    ck_assert_uint_eq(charge.account->n_charges, 1);
    ck_assert_int_eq(quota_set(&g_quota, &limit, 1, START), 0); /* back: the same account */
    ck_assert_int_eq(call_of(&user, START), ERRCODE_KEY_RATE_LIMITED);
    ck_assert_str_eq(g_why.text, "limit of uid 7 reached: 1 calls at a time");
    quota_settle(&g_quota, &charge, 0, START);
    ck_assert_int_eq(call_of(&user, START), ERRCODE_KEY_RATE_LIMITED); /* its request is counted */
    ck_assert_int_eq(quota_set(&g_quota, NULL, 0, START), 0);
    ck_assert_ptr_null(quota_find(&g_quota, &user));
}
END_TEST

/* The longest name of a unit and the largest numbers: nothing is cut. */
START_TEST(the_longest_text)
{
    char unit[CALLER_NAME_BYTES];
    struct quota_limit limit = {.owner = UNIT(unit), .tpm = GCRA_MAX};
    struct caller who = {.is_system_unit = true};

    memset(unit, 'u', sizeof unit - 1);
    unit[sizeof unit - 1] = '\0';
    str_copy(str_from(unit), who.unit, sizeof who.unit);
    ck_assert_int_eq(quota_set(&g_quota, &limit, 1, START), 0);
    ck_assert_int_eq(quota_look(&g_quota, &who, UINT64_MAX, START, &g_why),
                     ERRCODE_INSUFFICIENT_QUOTA);
    ck_assert_ptr_nonnull(strstr(g_why.text, "\" has 1000000000 a minute"));
}
END_TEST

static void reload_once(void)
{
    static const struct quota_limit limits[] = {
        {.owner = KEY("k"), .rpm = 1}, {.owner = UID(1), .rpm = 1}, {.owner = UNIT("m"), .rpm = 1}};
    static const struct caller k = {.key_id = "k"}, uid = {.has_uid = true, .uid = 1},
                               unit = {.unit = "m", .is_system_unit = true};
    struct quota q;
    int r;

    quota_init(&q, &g_callers);
    r = quota_set(&q, limits, 1, START);
    if (r == 0 && quota_set(&q, limits, 3, START) < 0) {
        ck_assert_ptr_nonnull(quota_find(&q, &k));
        ck_assert_ptr_null(quota_find(&q, &uid)); /* all or nothing */
        ck_assert_ptr_null(quota_find(&q, &unit));
    }
    quota_done(&q);
}

START_TEST(out_of_memory)
{
    for_each_failed_allocation(reload_once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, who_is_not_named_has_no_limits);
    tcase_add_test(tc, keys_without_limits_have_none);
    tcase_add_test(tc, requests_a_minute);
    tcase_add_test(tc, tokens_are_guessed_and_settled);
    tcase_add_test(tc, refusals_cost_nothing);
    tcase_add_test(tc, what_can_never_fit_says_so);
    tcase_add_test(tc, calls_at_a_time);
    tcase_add_test(tc, the_guess);
    tcase_add_test(tc, a_reload_keeps_the_debts);
    tcase_add_test(tc, a_key_that_goes);
    tcase_add_test(tc, the_clock_may_jump);
    tcase_add_test(tc, huge_values);
    tcase_add_test(tc, uids_and_units_have_accounts_of_their_own);
    tcase_add_test(tc, a_unit_of_a_user_that_is_named);
    tcase_add_test(tc, a_uid_that_goes);
    tcase_add_test(tc, the_longest_text);
    tcase_add_test(tc, out_of_memory);
}

TEST_MAIN("quota", add_tests)
