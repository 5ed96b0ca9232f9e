/* What follows an attempt that failed: every rule of attempts.h, and the budget. */
#include "core/attempts.h"

#include "base/clock.h"
#include "support.h"

#define SEC USEC_PER_SEC
#define NOW (1000 * SEC)

/* What a decision is made of; each test changes what it is about. */
struct situation {
    struct attempts before;
    struct attempt_rules rules;
    struct attempt_failure f;
    struct attempt_field field;
    bool has_no_budget;
    uint64_t deadline_at_usec;
    uint32_t chance;
};

/* One attempt failed; two retries; a group of one, no fallback. */
static struct situation *failed(enum errcode code)
{
    static struct situation s;

    s = (struct situation) {
        .before = {.n = 1},
        .rules = {.of_request = FAIL_POLICY_UNSET, .of_config = 2},
        .f = {.code = code, .was_asked = true},
        .deadline_at_usec = USEC_NEVER,
    };
    return &s;
}

static struct attempt_decision decide(struct situation *s)
{
    return attempts_decide(&s->before, &s->rules, &s->f, &s->field, !s->has_no_budget,
                           s->deadline_at_usec, s->chance, NOW);
}

static void expect_retry(struct situation *s, uint64_t at_usec, bool is_same)
{
    struct attempt_decision d = decide(s);

    ck_assert_int_eq(d.next, ATTEMPT_RETRY);
    ck_assert_uint_eq(d.at_usec, at_usec);
    ck_assert_int_eq(d.is_same, is_same);
}

static void expect(struct situation *s, enum attempt_next next)
{
    ck_assert_int_eq(decide(s).next, next);
}

/* A group of one: who is asked again, and when. */
START_TEST(the_same_deployment_again)
{
    static const struct {
        enum errcode code;
        enum attempt_next next;
        uint64_t pause_usec;
    } rows[] = {
        {ERRCODE_UPSTREAM_ERROR, ATTEMPT_RETRY, 0},
        {ERRCODE_UPSTREAM_UNREACHABLE, ATTEMPT_RETRY, 0},
        {ERRCODE_UPSTREAM_CUT, ATTEMPT_RETRY, 0},
        {ERRCODE_UPSTREAM_GARBAGE, ATTEMPT_RETRY, 0},
        {ERRCODE_UPSTREAM_RATE_LIMITED, ATTEMPT_RETRY, ATTEMPTS_PAUSE_MIN_USEC},
        {ERRCODE_UPSTREAM_OVERLOADED, ATTEMPT_RETRY, ATTEMPTS_PAUSE_MIN_USEC},
        {ERRCODE_UPSTREAM_OUT_OF_MEMORY, ATTEMPT_END, 0},
        {ERRCODE_UPSTREAM_QUOTA, ATTEMPT_END, 0},
        {ERRCODE_UPSTREAM_UNTRUSTED, ATTEMPT_END, 0},
        {ERRCODE_UPSTREAM_TIMEOUT, ATTEMPT_END, 0},
        {ERRCODE_UPSTREAM_STALLED, ATTEMPT_END, 0},
        {ERRCODE_UPSTREAM_AUTH, ATTEMPT_END, 0},
        {ERRCODE_MODEL_NOT_FOUND, ATTEMPT_END, 0},
        {ERRCODE_UPSTREAM_REJECTED, ATTEMPT_END, 0},
        {ERRCODE_CONTEXT_LENGTH, ATTEMPT_END, 0},
        {ERRCODE_CONTENT_FILTER, ATTEMPT_END, 0},
        {ERRCODE_CANCELLED, ATTEMPT_END, 0},
        {ERRCODE_DEADLINE_EXCEEDED, ATTEMPT_END, 0},
        {ERRCODE_OUT_OF_MEMORY, ATTEMPT_END, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct attempt_decision d = decide(failed(rows[i].code));

        ck_assert_msg(d.next == rows[i].next, "%s", errcode_info(rows[i].code)->name);
        if (d.next == ATTEMPT_RETRY) {
            ck_assert_uint_eq(d.at_usec, NOW + rows[i].pause_usec);
            ck_assert(d.is_same);
        }
    }
}
END_TEST

/* Two deployments: whatever another one may answer better is asked there, at once. */
START_TEST(another_deployment_at_once)
{
    static const struct {
        enum errcode code;
        bool is_retried;
    } rows[] = {
        {ERRCODE_UPSTREAM_ERROR, true},      {ERRCODE_UPSTREAM_RATE_LIMITED, true},
        {ERRCODE_UPSTREAM_OVERLOADED, true}, {ERRCODE_UPSTREAM_OUT_OF_MEMORY, true},
        {ERRCODE_UPSTREAM_QUOTA, true},      {ERRCODE_UPSTREAM_UNTRUSTED, true},
        {ERRCODE_UPSTREAM_TIMEOUT, true},    {ERRCODE_UPSTREAM_AUTH, true},
        {ERRCODE_MODEL_NOT_FOUND, true},     {ERRCODE_UPSTREAM_REJECTED, false},
        {ERRCODE_CONTEXT_LENGTH, false},     {ERRCODE_CONTENT_FILTER, false},
        {ERRCODE_CANCELLED, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct situation *s = failed(rows[i].code);

        s->field.has_untried = true;
        s->f.retry_after_usec = 60 * SEC; /* of the other one */
        s->rules.least_pause_usec = SEC;
        s->has_no_budget = true; /* costs nothing that could multiply */
        if (rows[i].is_retried) {
            expect_retry(s, NOW, false);
        } else {
            expect(s, ATTEMPT_END);
        }
    }
}
END_TEST

START_TEST(pauses_double_and_are_shortened_by_chance)
{
    struct situation *s = failed(ERRCODE_UPSTREAM_RATE_LIMITED);

    s->rules.of_config = ATTEMPTS_MAX_RETRIES;
    for (unsigned i = 0; i < ATTEMPTS_MAX_RETRIES; i++) {
        uint64_t usec = ATTEMPTS_PAUSE_MIN_USEC << i;

        usec = usec < ATTEMPTS_PAUSE_MAX_USEC ? usec : ATTEMPTS_PAUSE_MAX_USEC;
        s->before.n_in_level = i;
        s->chance = 0;
        expect_retry(s, NOW + usec, true);
        s->chance = UINT32_MAX;
        ck_assert_uint_le(decide(s).at_usec, NOW + usec);
        ck_assert_uint_ge(decide(s).at_usec, NOW + usec - usec / 4);
    }
    s->before.n_in_level = ATTEMPTS_MAX_RETRIES;
    expect(s, ATTEMPT_END);
}
END_TEST

START_TEST(a_short_retry_after_is_waited_out)
{
    struct situation *s = failed(ERRCODE_UPSTREAM_RATE_LIMITED);

    s->f.retry_after_usec = 2 * SEC;
    expect_retry(s, NOW + 2 * SEC, true);
    s->f.retry_after_usec = ATTEMPTS_HONOURED_USEC;
    expect_retry(s, NOW + ATTEMPTS_HONOURED_USEC, true);
    s->f.retry_after_usec = ATTEMPTS_HONOURED_USEC + 1;
    expect(s, ATTEMPT_END); /* the client is told */
    s->f.retry_after_usec = SEC;
    s->rules.least_pause_usec = 3 * SEC;
    expect_retry(s, NOW + 3 * SEC, true);
    s->f.code = ERRCODE_UPSTREAM_ERROR;
    s->f.retry_after_usec = 0;
    expect_retry(s, NOW + 3 * SEC, true); /* at once means: after what the file says */
}
END_TEST

/* Where the last one must not be asked again, another that failed before may be: at once. */
START_TEST(who_may_be_asked_again_is_asked_in_its_place)
{
    static const enum errcode codes[] = {ERRCODE_UPSTREAM_TIMEOUT, ERRCODE_UPSTREAM_AUTH,
                                         ERRCODE_MODEL_NOT_FOUND, ERRCODE_UPSTREAM_QUOTA,
                                         ERRCODE_UPSTREAM_RATE_LIMITED};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct situation *s = failed(codes[i]);

        s->f.retry_after_usec =
            codes[i] == ERRCODE_UPSTREAM_RATE_LIMITED ? ATTEMPTS_HONOURED_USEC + 1 : 0;
        ck_assert(attempts_bars(&s->rules, &s->f));
        expect(s, ATTEMPT_END);
        s->field.has_again = true;
        s->field.has_fallback = true;
        expect_retry(s, NOW, true);
        s->rules.least_pause_usec = SEC;
        expect_retry(s, NOW + SEC, true);
        s->has_no_budget = true;
        expect(s, ATTEMPT_FALL_BACK);
        s->has_no_budget = false;
        s->before.n_in_level = 2;
        expect(s, ATTEMPT_FALL_BACK);
    }

    struct situation *s =
        failed(ERRCODE_UPSTREAM_REJECTED); /* the request is wrong, wherever it goes */

    s->field.has_again = true;
    expect(s, ATTEMPT_END);
    s = failed(ERRCODE_UPSTREAM_ERROR);
    ck_assert(!attempts_bars(&s->rules, &s->f));
    s = failed(ERRCODE_UPSTREAM_OVERLOADED);
    ck_assert(!attempts_bars(&s->rules, &s->f));
}
END_TEST

START_TEST(nobody_waits_who_has_a_fallback)
{
    struct situation *s = failed(ERRCODE_UPSTREAM_RATE_LIMITED);

    s->field.has_fallback = true;
    s->f.retry_after_usec = SEC;
    expect(s, ATTEMPT_FALL_BACK);
    s->f.retry_after_usec = 0;
    expect(s, ATTEMPT_FALL_BACK);
    s->field.has_untried = true;
    expect_retry(s, NOW, false); /* the own group first */
    s->f.code = ERRCODE_UPSTREAM_ERROR;
    s->field.has_untried = false;
    expect_retry(s, NOW, true);
}
END_TEST

START_TEST(a_pause_ends_before_the_deadline)
{
    struct situation *s = failed(ERRCODE_UPSTREAM_RATE_LIMITED);

    s->f.retry_after_usec = 2 * SEC;
    s->deadline_at_usec = NOW + 2 * SEC + 1;
    expect_retry(s, NOW + 2 * SEC, true);
    s->deadline_at_usec = NOW + 2 * SEC;
    expect(s, ATTEMPT_END);
    s->deadline_at_usec = NOW;
    s->field.has_untried = s->field.has_fallback = true;
    expect(s, ATTEMPT_END); /* too late for anything */
}
END_TEST

START_TEST(who_says_how_many)
{
    struct situation *s = failed(ERRCODE_UPSTREAM_ERROR);

    s->before.n_in_level = 1;
    expect_retry(s, NOW, true);
    s->rules.of_config = 1;
    expect(s, ATTEMPT_END);
    s->rules.of_request = 2;
    expect_retry(s, NOW, true);
    s->rules.of_request = 0;
    s->before.n_in_level = 0;
    expect(s, ATTEMPT_END);
    s->rules.of_request = 1000;
    s->before.n_in_level = ATTEMPTS_MAX_RETRIES - 1;
    expect_retry(s, NOW, true);
    s->before.n_in_level = ATTEMPTS_MAX_RETRIES;
    expect(s, ATTEMPT_END);
}
END_TEST

START_TEST(a_policy_that_names_the_cause_overrules_the_table)
{
    static const enum errcode codes[] = {ERRCODE_UPSTREAM_TIMEOUT, ERRCODE_UPSTREAM_REJECTED,
                                         ERRCODE_UPSTREAM_AUTH, ERRCODE_CONTENT_FILTER};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct situation *s = failed(codes[i]);

        expect(s, ATTEMPT_END);
        s->rules.is_named = true;
        s->rules.of_config = 1;
        expect_retry(s, NOW, true);
        s->before.n_in_level = 1;
        expect(s, ATTEMPT_END);
    }
}
END_TEST

START_TEST(the_next_level_has_retries_of_its_own)
{
    struct situation *s = failed(ERRCODE_UPSTREAM_ERROR);

    s->before.n_in_level = 2;
    s->field.has_untried = true;
    expect(s, ATTEMPT_END);
    s->field.has_next_level = true;
    expect_retry(s, NOW, false);
    ck_assert(decide(s).changes_level);
    s->before.n_in_level = 0; /* also where the one before had some left */
    ck_assert(decide(s).changes_level);
    s->field.has_next_level = false;
    ck_assert(!decide(s).changes_level);
    s->field.has_next_level = true;
    s->rules.of_request = 0; /* no retries means none */
    expect(s, ATTEMPT_END);
}
END_TEST

/* A group of servers that can do different things: whom it falls to first decides nothing. */
START_TEST(what_one_cannot_do_another_may)
{
    struct situation *s = failed(ERRCODE_NOT_IMPLEMENTED);

    expect(s, ATTEMPT_END);
    s->field.has_untried = true;
    s->rules.of_request = 0;
    s->has_no_budget = true;
    expect_retry(s, NOW, false);
    s->f.was_asked = false;
    expect(s, ATTEMPT_END);
}
END_TEST

START_TEST(fallbacks)
{
    static const struct {
        enum errcode code;
        enum fallback_kind kind;
    } kinds[] = {
        {ERRCODE_CONTEXT_LENGTH, FALLBACK_CONTEXT},
        {ERRCODE_CONTENT_FILTER, FALLBACK_CONTENT_POLICY},
        {ERRCODE_UPSTREAM_REJECTED, FALLBACK_GENERAL},
        {ERRCODE_UPSTREAM_AUTH, FALLBACK_GENERAL},
        {ERRCODE_UPSTREAM_TIMEOUT, FALLBACK_GENERAL},
    };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct situation *s = failed(kinds[i].code);

        ck_assert_int_eq(attempts_fallback_kind(kinds[i].code), kinds[i].kind);
        s->field.has_fallback = true;
        expect(s, ATTEMPT_FALL_BACK);
    }

    struct situation *s = failed(ERRCODE_UPSTREAM_ERROR);

    s->field.has_fallback = true;
    s->before.n_in_level = 2;
    expect(s, ATTEMPT_FALL_BACK); /* after the retries */
    s->before.n = ATTEMPTS_MAX;
    expect(s, ATTEMPT_END);
    s->before.n = 1;
    s->f = (struct attempt_failure) {.code = ERRCODE_CANCELLED, .was_asked = true};
    expect(s, ATTEMPT_END);
    /* a group that refuses: its breakers, its slots */
    s->f = (struct attempt_failure) {.code = ERRCODE_UPSTREAM_BREAKER};
    s->field.has_untried = true;
    expect(s, ATTEMPT_FALL_BACK);
    s->f.code = ERRCODE_QUEUE_TIMEOUT;
    expect(s, ATTEMPT_FALL_BACK);
    s->f.code = ERRCODE_QUEUE_FULL; /* of all groups */
    expect(s, ATTEMPT_END);
    s->f.code = ERRCODE_UPSTREAM_BREAKER;
    s->field.has_fallback = false;
    expect(s, ATTEMPT_END);
}
END_TEST

START_TEST(no_budget_no_second_try_at_the_same)
{
    struct situation *s = failed(ERRCODE_UPSTREAM_ERROR);

    s->has_no_budget = true;
    expect(s, ATTEMPT_END);
    s->field.has_fallback = true;
    expect(s, ATTEMPT_FALL_BACK);
}
END_TEST

static unsigned spend(struct retry_budget *b, uint64_t now_usec)
{
    unsigned n = 0;

    while (retry_budget_can_take(b, now_usec)) {
        retry_budget_take(b);
        n++;
    }
    return n;
}

START_TEST(the_budget_is_a_share_of_the_calls)
{
    struct retry_budget b;

    retry_budget_init(&b, NOW);
    ck_assert_uint_eq(spend(&b, NOW), RETRY_BUDGET_MAX);
    for (int i = 0; i < 100; i++) {
        retry_budget_earn(&b);
    }
    ck_assert_uint_eq(spend(&b, NOW), RETRY_BUDGET_MAX); /* never more than that at once */
    for (int i = 0; i < 12; i++) {
        retry_budget_earn(&b);
    }
    ck_assert_uint_eq(spend(&b, NOW), 2);
    ck_assert_uint_eq(spend(&b, NOW + SEC - 1), 0);
    ck_assert_uint_eq(spend(&b, NOW + SEC),
                      1); /* the two calls that were left over do not pay it */
    ck_assert_uint_eq(spend(&b, NOW + 3 * SEC + SEC / 2), 2);
    ck_assert_uint_eq(spend(&b, NOW + 4 * SEC), 1); /* half seconds are not lost */
    ck_assert_uint_eq(spend(&b, NOW), 0);           /* a clock that goes backwards */
    ck_assert_uint_eq(spend(&b, USEC_NEVER - 1), RETRY_BUDGET_MAX);
}
END_TEST

static struct retry_budget *of_uid(struct retry_budgets *all, uid_t uid, uint64_t now_usec)
{
    return retry_budgets_of(all, &(struct caller) {.has_uid = true, .uid = uid}, now_usec);
}

START_TEST(each_caller_has_a_budget)
{
    struct retry_budgets all;

    retry_budgets_init(&all, NOW);
    for (uid_t uid = 0; uid < 30; uid++) { /* in 64 sets some fall together */
        struct retry_budget *b = of_uid(&all, uid, NOW);

        ck_assert_uint_eq(spend(b, NOW), RETRY_BUDGET_MAX);
        ck_assert_ptr_eq(of_uid(&all, uid, NOW), b);
    }
    for (uid_t uid = 0; uid < 30; uid++) { /* nobody had another's place */
        ck_assert_uint_eq(spend(of_uid(&all, uid, NOW + SEC), NOW + SEC), 1);
    }
    ck_assert_ptr_ne(retry_budgets_of(&all, &(struct caller) {.key_id = "a"}, NOW),
                     retry_budgets_of(&all, &(struct caller) {.key_id = "b"}, NOW));
    ck_assert_ptr_eq(retry_budgets_of(&all, &(struct caller) {.key_id = "a", .pid = 1}, NOW),
                     retry_budgets_of(&all, &(struct caller) {.key_id = "a", .pid = 2}, NOW));
    ck_assert_ptr_eq(retry_budgets_of(&all, &(struct caller) {.uid = 5}, NOW),
                     retry_budgets_of(&all, &(struct caller) {.uid = 6}, NOW)); /* nobody */
}
END_TEST

/* Whoever changes his name gets no more from all the table than its places, until they are full again. */
START_TEST(a_full_table_is_shared_and_not_forgotten)
{
    struct retry_budgets all;
    unsigned n = 0;

    retry_budgets_init(&all, NOW);
    for (uid_t uid = 0; uid < 5000; uid++) {
        n += spend(of_uid(&all, uid, NOW), NOW);
    }
    ck_assert_uint_eq(n, RETRY_BUDGET_PLACES * RETRY_BUDGET_MAX);
    ck_assert_uint_eq(spend(of_uid(&all, 9999, NOW + 19 * SEC), NOW + 19 * SEC), 19);
    ck_assert_uint_eq(spend(of_uid(&all, 9998, NOW + 99 * SEC), NOW + 99 * SEC), RETRY_BUDGET_MAX);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, the_same_deployment_again);
    tcase_add_test(tc, another_deployment_at_once);
    tcase_add_test(tc, pauses_double_and_are_shortened_by_chance);
    tcase_add_test(tc, a_short_retry_after_is_waited_out);
    tcase_add_test(tc, who_may_be_asked_again_is_asked_in_its_place);
    tcase_add_test(tc, nobody_waits_who_has_a_fallback);
    tcase_add_test(tc, a_pause_ends_before_the_deadline);
    tcase_add_test(tc, who_says_how_many);
    tcase_add_test(tc, a_policy_that_names_the_cause_overrules_the_table);
    tcase_add_test(tc, the_next_level_has_retries_of_its_own);
    tcase_add_test(tc, what_one_cannot_do_another_may);
    tcase_add_test(tc, fallbacks);
    tcase_add_test(tc, no_budget_no_second_try_at_the_same);
    tcase_add_test(tc, the_budget_is_a_share_of_the_calls);
    tcase_add_test(tc, each_caller_has_a_budget);
    tcase_add_test(tc, a_full_table_is_shared_and_not_forgotten);
}
TEST_MAIN("attempts", add_tests)
