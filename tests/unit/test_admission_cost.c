/*
 * What a decision costs with the tables full: 64 callers and 256 calls in the queue. Steps are counted
 * and not timed, and nothing may be allocated.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "core/admission.h"
#include "support.h"

#define SEC      USEC_PER_SEC
#define START    (1000 * SEC)
#define N_QUEUED 256

/* Every queued call and every caller, a few times each. */
#define MAX_STEPS (3 * (N_QUEUED + CALLER_MAX))

struct hall {
    struct router router;
    struct admission admission;
    struct pressure pressure;
    struct ticket runs, tickets[N_QUEUED];
};

static void backend_free(struct backend *b)
{
    free(b);
}

static const struct backend_ops ops = {.free = backend_free};

static struct verdict enter(struct hall *h, struct ticket *t, unsigned caller,
                            enum call_class class)
{
    struct admission_ask ask = {.caller = {.kind = CALLER_UID, .uid = caller},
                                .class = class,
                                .own_deadline_at_usec = USEC_NEVER};

    return admission_enqueue(&h->admission, t, &h->router.groups[0], &ask, START);
}

/* One runs, all others wait, of 64 callers in all classes. */
static void hall_init(struct hall *h)
{
    struct admission_params params = {.max_queued = N_QUEUED,
                                      .max_queued_bytes = 1000,
                                      .max_wait_usec = {3600 * SEC, 3600 * SEC, 3600 * SEC}};
    struct deployment_spec spec = {
        .id = "m", .fingerprint = "m", .provider = "mock", .slots = 1, .is_local = true};
    struct backend *b = calloc(1, sizeof *b);
    struct router_plan plan = {0};

    *h = (struct hall) {0};
    ck_assert_ptr_nonnull(b);
    b->ops = &ops;
    router_init(&h->router);
    ck_assert_int_eq(router_plan_add(&plan, "m", deployment_new(&spec, b)), 0);
    router_commit(&h->router, &plan);
    pressure_init(&h->pressure);
    admission_init(&h->admission, &params, &h->router, &h->pressure);
    ck_assert_int_eq(enter(h, &h->runs, 0, CLASS_INTERACTIVE).code, ERRCODE_NONE);
    ck_assert_ptr_eq(admission_next(&h->admission, START - 5 * SEC), &h->runs);
    admission_note_end(&h->admission, &h->runs, ERRCODE_NONE, START); /* services are known */
    admission_release(&h->admission, &h->runs, START);
    ck_assert_int_eq(enter(h, &h->runs, 0, CLASS_INTERACTIVE).code, ERRCODE_NONE);
    ck_assert_ptr_eq(admission_next(&h->admission, START), &h->runs);
    for (unsigned i = 0; i < N_QUEUED; i++) {
        ck_assert_int_eq(enter(h, &h->tickets[i], i % CALLER_MAX, (enum call_class)(i / 86)).code,
                         ERRCODE_NONE);
    }
    ck_assert_uint_eq(h->admission.n_queued, N_QUEUED);
}

static void hall_done(struct hall *h)
{
    struct verdict v;

    for (unsigned i = 0; i < N_QUEUED; i++) {
        admission_release(&h->admission, &h->tickets[i], START);
    }
    admission_release(&h->admission, &h->runs, START);
    ck_assert_ptr_null(admission_ousted(&h->admission, START, &v));
    admission_done(&h->admission);
    router_done(&h->router);
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

    hall_init(&h);
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

START_TEST(nothing_is_allocated)
{
    static struct hall h;
    struct ticket late = {0};
    struct verdict v;

    hall_init(&h);
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

    hall_init(&h);
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
    ck_assert_uint_eq(n_told, N_QUEUED);
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
}
TEST_MAIN("admission_cost", add_tests)
