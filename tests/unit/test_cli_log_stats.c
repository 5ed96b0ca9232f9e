/*
 * sluicectl log --stats: what becomes of calls in numbers. The sources are compiled in: a program
 * has no library to link.
 */
#include "clients/cli/log_call.c"
#include "clients/cli/log_stats.c"

#include "support.h"

static struct log_call a_call(const char *model, const char *outcome, uint64_t n)
{
    struct log_call call = {.at_usec = 1000 + n,
                            .queue_usec = n,
                            .ttft_usec = 2 * n,
                            .total_usec = 3 * n,
                            .tokens_in = 10,
                            .tokens_out = 20};

    (void) snprintf(call.model, sizeof(call.model), "%s", model);
    (void) snprintf(call.outcome, sizeof(call.outcome), "%s", outcome);
    return call;
}

static void add(struct log_stats *s, const struct log_call *call)
{
    ck_assert_int_eq(log_stats_add(s, call), 0);
}

START_TEST(percentiles)
{
    struct log_values v = {.n = 0};

    ck_assert_uint_eq(log_percentile(&v, 500), LOG_ABSENT);
    for (uint64_t i = 100; i > 0; i--) {
        ck_assert_int_eq(add_value(&v, i), 0);
    }
    ck_assert_int_eq(add_value(&v, LOG_ABSENT), 0);
    sort(&v);
    ck_assert_uint_eq(log_percentile(&v, 0), 1);
    ck_assert_uint_eq(log_percentile(&v, 500), 50);
    ck_assert_uint_eq(log_percentile(&v, 900), 90);
    ck_assert_uint_eq(log_percentile(&v, 990), 99);
    ck_assert_uint_eq(log_percentile(&v, 1000), 100);
    v.n = 1;
    ck_assert_uint_eq(log_percentile(&v, 500), 1);
    ck_assert_uint_eq(log_percentile(&v, 990), 1);
    free(v.items);
}
END_TEST

START_TEST(groups)
{
    struct log_stats s = {.n_groups = 0};
    struct log_call calls[] = {a_call("b", "completed", 5), a_call("a", "completed", 4),
                               a_call("b", "queue_full", 9), a_call("b", "completed", 1)};

    calls[2].ttft_usec = calls[2].tokens_out = LOG_ABSENT;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        add(&s, &calls[i]);
    }
    log_stats_finish(&s);
    ck_assert_uint_eq(s.all.n_calls, 4);
    ck_assert_uint_eq(s.all.n_completed, 3);
    ck_assert_uint_eq(s.first_usec, 1001);
    ck_assert_uint_eq(s.last_usec, 1009);
    ck_assert_uint_eq(s.n_groups, 2);

    const struct log_group *b = s.groups[0]; /* the one with more calls */

    ck_assert_str_eq(b->model, "b");
    ck_assert_uint_eq(b->n_calls, 3);
    ck_assert_uint_eq(b->n_outcomes, 2);
    ck_assert_str_eq(b->outcomes[0].name, "completed");
    ck_assert_uint_eq(b->outcomes[0].n, 2);
    ck_assert_uint_eq(b->queue.n, 3);
    ck_assert_uint_eq(b->ttft.n, 2);
    ck_assert_uint_eq(b->queue.items[0], 1);
    ck_assert_uint_eq(b->tokens_in, 30);
    ck_assert_uint_eq(b->tokens_out, 40);
    log_stats_done(&s);
}
END_TEST

START_TEST(pace)
{
    struct log_stats s = {.n_groups = 0};
    struct log_call call = a_call("m", "completed", 0);

    call.ttft_usec = 1000000;
    call.total_usec = 3000000;
    call.tokens_out = 26; /* 25 after the first, in two seconds */
    add(&s, &call);
    call.ttft_usec = LOG_ABSENT; /* nothing known of these */
    add(&s, &call);
    call.ttft_usec = 3000000;
    add(&s, &call);
    call.tokens_out = 1;
    call.ttft_usec = 0;
    add(&s, &call);
    (void) snprintf(call.outcome, sizeof(call.outcome), "cancelled");
    call.tokens_out = 1000;
    add(&s, &call);
    ck_assert_uint_eq(log_pace_tenths(&s.all), 125);
    log_stats_done(&s);
    ck_assert_uint_eq(log_pace_tenths(&(struct log_group) {.n_calls = 0}), LOG_ABSENT);
}
END_TEST

/* They become names in JSON, which is Unicode. */
START_TEST(outcomes_are_ascii)
{
    struct log_stats s = {.n_groups = 0};
    struct log_call call = a_call("m", "\xff\n\x7f ok~", 1);

    add(&s, &call);
    ck_assert_str_eq(s.all.outcomes[0].name, "??? ok~");
    log_stats_done(&s);
}
END_TEST

/* Clients name models; a journal may hold any outcome. */
START_TEST(bounded)
{
    struct log_stats s = {.n_groups = 0};
    uint64_t n = 0;

    for (int i = 0; i < 1000; i++) {
        char name[16];

        (void) snprintf(name, sizeof(name), "x%d", i);

        struct log_call call = a_call(name, name, 1);

        call.tokens_in = UINT64_C(9999999999999999999);
        add(&s, &call);
    }
    log_stats_finish(&s);
    ck_assert_uint_eq(s.all.tokens_in, UINT64_MAX);
    ck_assert_uint_eq(s.n_groups, LOG_MAX_GROUPS);
    ck_assert_str_eq(s.groups[0]->model, OTHERS);
    ck_assert_uint_eq(s.groups[0]->n_calls, 1000 - (LOG_MAX_GROUPS - 1));
    ck_assert_uint_eq(s.all.n_outcomes, LOG_MAX_OUTCOMES);
    for (size_t i = 0; i < s.all.n_outcomes; i++) {
        n += s.all.outcomes[i].n;
    }
    ck_assert_uint_eq(n, 1000);
    log_stats_done(&s);
}
END_TEST

static void some_calls(void)
{
    struct log_stats s = {.n_groups = 0};

    for (int i = 0; i < 70; i++) {
        struct log_call call = a_call(i % 2 ? "a" : "b", "completed", 1);
        int r = log_stats_add(&s, &call);

        ck_assert(r == 0 || r == -ENOMEM);
    }
    log_stats_finish(&s);
    log_stats_done(&s);
}

START_TEST(without_memory)
{
    for_each_failed_allocation(some_calls);
}
END_TEST

START_TEST(numbers)
{
    ck_assert_uint_eq(parse_number("0", 1), 0);
    ck_assert_uint_eq(parse_number("9999999999999999999", 19), UINT64_C(9999999999999999999));
    ck_assert_uint_eq(parse_number("", 0), LOG_ABSENT);
    ck_assert_uint_eq(parse_number("99999999999999999999", 20), LOG_ABSENT);
    ck_assert_uint_eq(parse_number("-1", 2), LOG_ABSENT);
    ck_assert_uint_eq(parse_number("1 ", 2), LOG_ABSENT);
    ck_assert_uint_eq(parse_number("1\0", 2), LOG_ABSENT);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, percentiles);
    tcase_add_test(tc, groups);
    tcase_add_test(tc, pace);
    tcase_add_test(tc, outcomes_are_ascii);
    tcase_add_test(tc, bounded);
    tcase_add_test(tc, without_memory);
    tcase_add_test(tc, numbers);
}

TEST_MAIN("cli_log_stats", add_tests)
