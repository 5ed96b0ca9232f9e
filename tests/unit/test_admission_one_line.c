/*
 * A device that serves one call at a time, whatever its model (global_max_parallel_requests: 1): all
 * models are one line, so what lower classes are owed is owed by all.
 */
#include "admission_desk.h"

/* A call for group that comes now and waits, in the place of one that was served. */
static void come(struct desk *k, struct ticket *t, const char *group, enum call_class class,
                 uint64_t now)
{
    struct admission_ask ask = {.class = class, .own_deadline_at_usec = USEC_NEVER};

    *t = (struct ticket) {.state = TICKET_HOME};
    ck_assert_int_eq(
        admission_enqueue(&k->admission, t, router_resolve(&k->router, str_from(group)), &ask, now)
            .code,
        ERRCODE_NONE);
}

/* Interactive calls for "a" and others for a group, one of each always waits: who is served, of n. */
static unsigned n_served(const char *group, enum call_class class, unsigned slots, unsigned n)
{
    struct ticket waits[2] = {0};
    unsigned n_others = 0;
    uint64_t now = START;
    struct desk k;

    desk_init(&k, slots, 8);
    k.admission.params.max_granted = 1;
    come(&k, &waits[0], "a", CLASS_INTERACTIVE, now);
    come(&k, &waits[1], group, class, now);
    for (unsigned i = 0; i < n; i++) {
        struct ticket *t = admission_next(&k.admission, now);
        bool is_other = t == &waits[1];

        ck_assert_ptr_nonnull(t);
        ck_assert_ptr_null(admission_next(&k.admission, now));
        now += SEC;
        admission_note_end(&k.admission, t, ERRCODE_NONE, now);
        admission_release(&k.admission, t, now);
        n_others += is_other;
        come(&k, t, is_other ? group : "a", is_other ? class : CLASS_INTERACTIVE, now);
    }
    admission_release(&k.admission, &waits[0], now);
    admission_release(&k.admission, &waits[1], now);
    for (int c = 0; c < _CLASS_MAX; c++) {
        ck_assert_uint_eq(k.admission.floor.n_queued[c], 0);
    }
    desk_done(&k);
    return n_others;
}

START_TEST(batch_has_its_tenth_whatever_the_models)
{
    static const char *const groups[] = {"a", "b", "far"};

    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        for (unsigned slots = 1; slots <= 4; slots += 3) { /* one runs, however many there are */
            unsigned n = n_served(groups[i], CLASS_BATCH, slots, 1000);

            ck_assert_uint_ge(n, 90);
            ck_assert_uint_le(n, 110);
        }
    }
}
END_TEST

START_TEST(background_has_its_turns)
{
    unsigned n = n_served("b", CLASS_BACKGROUND, 1, 3000);

    ck_assert_uint_ge(n, 8); /* one in 300 s, of a head that has waited for as long */
    ck_assert_uint_le(n, 10);
}
END_TEST

/* A reload may make several lines of it, and one again: nothing that waits is counted twice. */
START_TEST(the_limit_may_change)
{
    struct ticket waits[2] = {0};
    struct desk k;

    desk_init(&k, 1, 8);
    come(&k, &waits[0], "b", CLASS_BATCH, START);
    k.admission.params.max_granted = 1;
    come(&k, &waits[1], "b", CLASS_BATCH, START);
    ck_assert_uint_eq(k.admission.floor.n_queued[CLASS_BATCH], 2);
    admission_reroute(&k.admission, &waits[0], NULL); /* its group is gone */
    admission_release(&k.admission, &waits[0], START);
    ck_assert_uint_eq(k.admission.floor.n_queued[CLASS_BATCH], 1);
    ck_assert_ptr_eq(admission_next(&k.admission, START), &waits[1]);
    k.admission.params.max_granted = 0;
    admission_note_end(&k.admission, &waits[1], ERRCODE_NONE, START + SEC);
    admission_release(&k.admission, &waits[1], START + SEC);
    ck_assert_uint_eq(k.admission.floor.n_queued[CLASS_BATCH], 0);
    router_resolve(&k.router, STR_LIT("b"))->floor.n_queued[CLASS_BATCH] = 0;
    desk_done(&k);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, batch_has_its_tenth_whatever_the_models);
    tcase_add_test(tc, background_has_its_turns);
    tcase_add_test(tc, the_limit_may_change);
}
TEST_MAIN("admission_one_line", add_tests)
