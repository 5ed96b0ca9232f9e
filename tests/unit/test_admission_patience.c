/*
 * What a client is ready to wait, by its own word and by its class: for how long it may stay, with
 * which expected wait it comes in, how a retry is judged, and when it is told to stop retrying.
 */
#include "admission_desk.h"

#define MAX_BEFORE 31

static struct verdict ask_at(struct desk *k, struct ticket *t, const struct admission_ask *ask,
                             uint64_t now_usec)
{
    return admission_enqueue(&k->admission, t, router_resolve(&k->router, STR_LIT("a")), ask,
                             now_usec);
}

static struct admission_ask batch(unsigned n_retries)
{
    return (struct admission_ask) {
        .class = CLASS_BATCH, .own_deadline_at_usec = USEC_NEVER, .n_retries = n_retries};
}

static void set_patience(struct desk *k, uint64_t batch_usec)
{
    struct admission_params params = k->admission.params;

    params.patience_usec[CLASS_BATCH] = batch_usec;
    admission_set_params(&k->admission, &params);
}

/* A desk where n_before calls of a second each wait behind one that has just begun. */
struct line {
    struct desk k;
    struct ticket t[1 + MAX_BEFORE];
    unsigned n_before;
};

/* The next one waits for n_before seconds and 1 s more. */
static void line_init(struct line *l, unsigned n_before, uint64_t patience_usec)
{
    memset(l, 0, sizeof *l);
    l->n_before = n_before;
    desk_init(&l->k, 1, 1 + MAX_BEFORE);
    set_patience(&l->k, patience_usec);
    serve_one(&l->k, SEC);
    for (unsigned i = 0; i <= l->n_before; i++) {
        struct admission_ask ask = batch(0);

        ck_assert_int_eq(ask_at(&l->k, &l->t[i], &ask, START).code, ERRCODE_NONE);
        ck_assert(i > 0 || admission_next(&l->k.admission, START) == &l->t[0]);
    }
}

static void line_done(struct line *l)
{
    for (unsigned i = 0; i <= l->n_before; i++) {
        admission_release(&l->k.admission, &l->t[i], START);
    }
    desk_done(&l->k);
}

/* Many are refused, so that everybody is told to wait for half a minute. */
static void refuse_many(struct desk *k)
{
    struct admission_ask ask = batch(0);
    struct ticket t = {0};

    for (unsigned i = 0; i < 200; i++) {
        struct verdict v = ask_at(k, &t, &ask, START);

        ck_assert_int_eq(v.code, ERRCODE_PREDICTED_WAIT);
        ck_assert(!v.is_last); /* the first attempt of each */
    }
}

START_TEST(a_stay_ends_with_the_least_of_three_limits)
{
    static const struct {
        enum call_class class;
        uint64_t max_stay_usec, own_at_usec, end_at_usec;
    } table[] = {
        {CLASS_BATCH, 0, USEC_NEVER, START + 120 * SEC},
        {CLASS_BATCH, 20 * SEC, USEC_NEVER, START + 20 * SEC}, /* its client leaves before */
        {CLASS_BATCH, 300 * SEC, USEC_NEVER, START + 120 * SEC},
        {CLASS_BATCH, 20 * SEC, START + 7 * SEC, START + 7 * SEC},
        {CLASS_BATCH, 20 * SEC, START + 300 * SEC, START + 20 * SEC},
        {CLASS_INTERACTIVE, 1, USEC_NEVER, START + 1},
        {CLASS_INTERACTIVE, UINT64_MAX, USEC_NEVER, START + 15 * SEC},
        {CLASS_BACKGROUND, 20 * SEC, USEC_NEVER, START + 20 * SEC},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct admission_ask ask = {.class = table[i].class,
                                    .max_wait_usec = table[i].max_stay_usec / 2,
                                    .max_stay_usec = table[i].max_stay_usec,
                                    .own_deadline_at_usec = table[i].own_at_usec};
        struct ticket t = {0};
        struct verdict v;
        struct desk k;

        desk_init(&k, 1, 8);
        ck_assert_int_eq(ask_at(&k, &t, &ask, START).code, ERRCODE_NONE);
        ck_assert_uint_eq(t.deadline_at_usec, table[i].end_at_usec);
        ck_assert_ptr_null(admission_expire(&k.admission, table[i].end_at_usec - 1, &v));
        ck_assert_ptr_eq(admission_expire(&k.admission, table[i].end_at_usec, &v), &t);
        ck_assert_int_eq(v.code, ERRCODE_QUEUE_TIMEOUT);
        desk_done(&k);
    }
}
END_TEST

START_TEST(who_says_that_it_waits_less_is_refused_sooner)
{
    struct admission_ask ask = batch(0);
    struct ticket late = {0};
    struct line l;

    line_init(&l, 9, 0); /* a wait of 10 s */
    ask.max_wait_usec = 12 * SEC;
    ck_assert_int_eq(ask_at(&l.k, &late, &ask, START).code,
                     ERRCODE_PREDICTED_WAIT); /* > 0.8 of it */
    ask.max_wait_usec = 13 * SEC;
    ck_assert_int_eq(ask_at(&l.k, &late, &ask, START).code, ERRCODE_NONE);
    admission_release(&l.k.admission, &late, START);
    line_done(&l);
}
END_TEST

START_TEST(a_retry_has_waited_already)
{
    struct admission_ask first = batch(0), second = batch(1);
    struct ticket late = {0};
    struct line l;

    line_init(&l, 9, 30 * SEC);
    ck_assert_int_eq(ask_at(&l.k, &late, &second, START).code,
                     ERRCODE_NONE); /* told 1 s: 29 left */
    admission_release(&l.k.admission, &late, START);
    set_patience(&l.k, 5 * SEC);
    refuse_many(&l.k);
    set_patience(&l.k, 30 * SEC);
    ck_assert_int_eq(ask_at(&l.k, &late, &first, START).code, ERRCODE_NONE);
    admission_release(&l.k.admission, &late, START);
    ck_assert_int_eq(ask_at(&l.k, &late, &second, START).code, ERRCODE_PREDICTED_WAIT);
    line_done(&l);
}
END_TEST

START_TEST(a_retry_that_would_be_too_late_the_next_time_is_told_to_stop)
{
    struct ticket late = {0};
    struct line l;

    line_init(&l, 9, 60 * SEC);
    set_patience(&l.k, 5 * SEC);
    for (unsigned n = 0; n < 6; n++) { /* told 1 to 1.2 s at first */
        struct admission_ask ask = batch(n);
        struct verdict v = ask_at(&l.k, &late, &ask, START + n * 2 * SEC);

        ck_assert_int_eq(v.code, ERRCODE_PREDICTED_WAIT);
        ck_assert_uint_ge(v.retry_after_usec, RETRY_AFTER_MIN_USEC); /* for whoever asks anew */
        ck_assert(n > 0 || !v.is_last);
        ck_assert(n < 5 || v.is_last);
    }
    refuse_many(&l.k);

    struct admission_ask second = batch(1), many = batch(UINT32_MAX);

    ck_assert(ask_at(&l.k, &late, &second, START + 12 * SEC).is_last);
    ck_assert(ask_at(&l.k, &late, &many, START + 12 * SEC).is_last);
    line_done(&l);
}
END_TEST

/* Where most are refused for longer than they would wait, only a few are asked back. */
START_TEST(where_overload_stands_few_are_asked_back)
{
    struct admission_ask ask = batch(0);
    unsigned n_asked_back = 0;
    struct ticket late = {0};
    struct line l;

    line_init(&l, 29, 60 * SEC);
    set_patience(&l.k, 20 * SEC);
    for (unsigned i = 0; i < 20; i++) {
        ck_assert(!ask_at(&l.k, &late, &ask, START + i * SEC).is_last); /* it may be a burst */
    }
    for (unsigned i = 0; i < 100; i++) {
        struct verdict v = ask_at(&l.k, &late, &ask, START + 21 * SEC + i * SEC / 100);

        ck_assert_int_eq(v.code, ERRCODE_PREDICTED_WAIT);
        ck_assert_uint_ge(v.retry_after_usec, RETRY_AFTER_MIN_USEC); /* for whoever asks anew */
        n_asked_back += !v.is_last;
    }
    ck_assert_uint_le(n_asked_back, 3); /* half of the 4 s between 0.8 of his patience and all */
    line_done(&l);
}
END_TEST

/* The same for those that came in and wait in vain, or make room for others. */
START_TEST(what_is_turned_away_later_is_judged_as_well)
{
    for (unsigned n_retries = 0; n_retries <= 30; n_retries += 30) {
        struct admission_ask ask = batch(n_retries);
        struct ticket t = {0};
        struct verdict v;
        struct desk k;

        desk_init(&k, 1, 1);
        set_patience(&k, 20 * SEC);
        ck_assert_int_eq(ask_at(&k, &t, &ask, START).code, ERRCODE_NONE); /* nothing is known */
        ck_assert_ptr_eq(admission_expire(&k.admission, START + 120 * SEC, &v), &t);
        ck_assert_int_eq(v.is_last, n_retries > 0);
        ck_assert_int_eq(ask_at(&k, &t, &ask, START).code, ERRCODE_NONE);

        struct ticket person = {0};

        let_in(&k, &person, "a");
        ck_assert_ptr_eq(admission_ousted(&k.admission, START, &v), &t);
        ck_assert_int_eq(v.code, ERRCODE_DISPLACED);
        ck_assert_int_eq(v.is_last, n_retries > 0);
        admission_release(&k.admission, &person, START);
        desk_done(&k);
    }
}
END_TEST

START_TEST(after_quiet_times_a_retry_is_young_again)
{
    struct admission_ask second = batch(1);
    struct ticket late = {0};
    struct line l;

    line_init(&l, 9, 0);
    set_patience(&l.k, 5 * SEC);
    refuse_many(&l.k);
    set_patience(&l.k, 30 * SEC);
    admission_release(&l.k.admission, &l.t[0], START); /* 9 s before it */
    ck_assert_int_eq(ask_at(&l.k, &late, &second, START).code, ERRCODE_PREDICTED_WAIT);
    ck_assert_int_eq(ask_at(&l.k, &late, &second, START + 3600 * SEC).code, ERRCODE_NONE);
    admission_release(&l.k.admission, &late, START);
    line_done(&l);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, where_overload_stands_few_are_asked_back);
    tcase_add_test(tc, a_stay_ends_with_the_least_of_three_limits);
    tcase_add_test(tc, who_says_that_it_waits_less_is_refused_sooner);
    tcase_add_test(tc, a_retry_has_waited_already);
    tcase_add_test(tc, a_retry_that_would_be_too_late_the_next_time_is_told_to_stop);
    tcase_add_test(tc, what_is_turned_away_later_is_judged_as_well);
    tcase_add_test(tc, after_quiet_times_a_retry_is_young_again);
}
TEST_MAIN("admission_patience", add_tests)
