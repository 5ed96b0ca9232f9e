/*
 * What a decision costs with the tables full: 64 callers and 256 calls in the queue. Steps are counted
 * and not timed (tests/bench/decisions.c does that), and nothing may be allocated.
 */
#include "admission_hall.h"
#include "support.h"

#define SEC   USEC_PER_SEC
#define START HALL_START

/* Every queued call and every caller, a few times each. */
#define MAX_STEPS (3 * (HALL_QUEUED + CALLER_MAX))

static struct verdict enter(struct hall *h, struct ticket *t, unsigned caller,
                            enum call_class class)
{
    return hall_enter(h, t, caller, class, START);
}

static uint64_t steps_since(struct hall *h)
{
    static uint64_t before;
    uint64_t n = h->admission.n_steps - before;

    before = h->admission.n_steps;
    return n;
}

START_TEST(every_decision_is_bounded)
{
    static struct hall h;
    struct ticket late = {0};
    struct verdict v;

    hall_init(&h, HALL_PLAIN);
    (void) steps_since(&h);
    v = enter(&h, &late, 5, CLASS_BACKGROUND); /* refused */
    ck_assert_int_eq(v.code, ERRCODE_QUEUE_FULL);
    ck_assert_uint_le(steps_since(&h), MAX_STEPS);
    ck_assert_ptr_null(admission_next(&h.admission, START + 1)); /* nobody */
    ck_assert_uint_le(steps_since(&h), MAX_STEPS);
    ck_assert_ptr_null(admission_expire(&h.admission, START + 2, &v));
    ck_assert_ptr_null(admission_preempt(&h.admission, START + 2));
    ck_assert_uint_le(steps_since(&h), MAX_STEPS);
    v = enter(&h, &late, 5, CLASS_INTERACTIVE); /* another makes room */
    ck_assert_int_eq(v.code, ERRCODE_NONE);
    ck_assert_ptr_nonnull(admission_ousted(&h.admission, START, &v));
    ck_assert_int_eq(v.code, ERRCODE_DISPLACED);
    ck_assert_uint_le(steps_since(&h), 2 * MAX_STEPS); /* two decisions */
    admission_release(&h.admission, &h.runs, START + 3);
    ck_assert_ptr_nonnull(admission_next(&h.admission, START + 3)); /* somebody */
    ck_assert_uint_le(steps_since(&h), MAX_STEPS);
    admission_release(&h.admission, &late, START);
    hall_done(&h);
}
END_TEST

static uint64_t asked_since(struct hall *h)
{
    static uint64_t before;
    uint64_t n = h->admission.n_asked - before;

    before = h->admission.n_asked;
    return n;
}

/*
 * The router looks at every model for an answer: it is asked for each model, be there one call for it
 * or all of them, of one caller or of all.
 */
START_TEST(calls_that_are_alike_ask_once)
{
    for (int kind = 0; kind < _HALL_MAX; kind++) {
        static struct hall h;
        unsigned n;

        hall_init(&h, (enum hall_kind) kind);
        n = hall_n_models(&h);
        (void) asked_since(&h);
        ck_assert_ptr_null(hall_run(&h, START + 1)); /* picked, wanted, refused: once each */
        ck_assert_uint_le(asked_since(&h), 3 * n);
        admission_note_end(&h.admission, &h.runs, ERRCODE_NONE, START + 2);
        admission_release(&h.admission, &h.runs, START + 2);
        ck_assert_ptr_nonnull(admission_next(&h.admission, START + 2));
        ck_assert_uint_ge(h.admission.n_granted, 1);
        ck_assert_uint_le(asked_since(&h), n);
        hall_done(&h);
    }
}
END_TEST

/* All that wait are heard of, and of each model the most urgent call. */
START_TEST(every_model_is_wanted)
{
    static struct hall h;

    for (int kind = HALL_OF_FEW; kind < _HALL_MAX; kind++) {
        hall_init(&h, (enum hall_kind) kind);
        h.wishes[70].since_usec = START - 7 * SEC; /* interactive, not the first of its lane */
        h.wishes[40].since_usec = START - 9 * SEC;
        ck_assert_ptr_null(hall_run(&h, START + 1));
        list_for_each (l, &h.residency.models) {
            const struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

            ck_assert_uint_eq(m->wants.n > 0, 1);
            ck_assert_int_eq(m->wants.class, CLASS_INTERACTIVE);
            if (strcmp(m->name, h.names[40 % hall_n_models(&h)]) == 0) {
                ck_assert_uint_eq(m->wants.since_usec, START - 9 * SEC);
            } else if (strcmp(m->name, h.names[70 % hall_n_models(&h)]) == 0) {
                ck_assert_uint_eq(m->wants.since_usec, START - 7 * SEC);
            }
        }
        hall_done(&h);
    }
}
END_TEST

START_TEST(nothing_is_allocated)
{
    static struct hall h;
    struct ticket late = {0};
    struct verdict v;

    hall_init(&h, HALL_PLAIN);
    fail_allocation(1);
    for (unsigned i = 0; i < 1000; i++) {
        (void) enter(&h, &late, 1000 + i, (enum call_class)(i % _CLASS_MAX));
        (void) admission_ousted(&h.admission, START, &v);
        admission_release(&h.admission, &late, START);
        (void) admission_next(&h.admission, START + i);
        (void) admission_expire(&h.admission, START + i, &v);
        (void) admission_preempt(&h.admission, START + i);
        (void) admission_next_deadline(&h.admission);
    }
    ck_assert(!allocation_failed());
    fail_allocation(0);
    hall_done(&h);
}
END_TEST

/* All of them are put out, class by class: a look at each, and nothing is allocated. */
START_TEST(shedding_is_bounded_and_allocates_nothing)
{
    static struct hall h;
    uint64_t now = START;
    unsigned n_told = 0;
    struct verdict v;

    hall_init(&h, HALL_PLAIN);
    (void) steps_since(&h);
    fail_allocation(1);
    h.pressure.level = PRESSURE_L4;
    for (int c = 0; c < _CLASS_MAX; c++, now += SEC) {
        size_t n = admission_shed(&h.admission, now);

        ck_assert_uint_gt(n, 0);
        ck_assert_uint_le(steps_since(&h), MAX_STEPS);
        for (; admission_ousted(&h.admission, now, &v); n_told++) {
            ck_assert_int_eq(v.code, ERRCODE_MEMORY_PRESSURE);
        }
        (void) admission_next_deadline(&h.admission);
        ck_assert_ptr_null(admission_next(&h.admission, now));
        (void) steps_since(&h);
    }
    ck_assert_uint_eq(n_told, HALL_QUEUED);
    ck_assert_uint_eq(h.admission.n_queued, 0);
    ck_assert(!allocation_failed());
    fail_allocation(0);
    hall_done(&h);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, shedding_is_bounded_and_allocates_nothing);
    tcase_add_test(tc, every_decision_is_bounded);
    tcase_add_test(tc, nothing_is_allocated);
    tcase_add_test(tc, calls_that_are_alike_ask_once);
    tcase_add_test(tc, every_model_is_wanted);
}
TEST_MAIN("admission_cost", add_tests)
