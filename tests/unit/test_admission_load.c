/*
 * What the load of one caller does to another, over the whole of admission: the same calls are
 * played without and with more calls of one of the others, with random weights, classes and
 * lengths of answers, under a virtual clock.
 *
 *   who asks for less than his share loses nothing, unless more comes in a class above his, which
 *   goes first by what classes are;
 *   nobody gets more than he had, and more than his share, by what another asks for in addition.
 */
#include <stdlib.h>
#include <string.h>

#include "admission_desk.h"

#define N_CALLERS 4
#define MAX_CALLS 4000
#define LENGTH    (120 * SEC)
#define LONGEST   (1500 * UINT64_C(1000))

struct planned {
    uint64_t at_usec, cost_usec;
    unsigned caller;
    enum call_class class;
    bool is_added;
    struct ticket ticket;
    uint64_t ends_at_usec;
};

static struct planned g_calls[MAX_CALLS];
static size_t g_n_calls;
static unsigned g_weights[N_CALLERS];
static uint64_t g_random;

static unsigned any(unsigned n)
{
    g_random = g_random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned) (g_random >> 33) % n;
}

/* Calls of a caller in a class that together want so much of the slots' time. */
static void plan(unsigned caller, enum call_class class, unsigned permille, unsigned n_slots,
                 bool is_added)
{
    uint64_t at = START + any(2000) * UINT64_C(1000);

    while (permille > 0 && at < START + LENGTH) {
        struct planned *p = &g_calls[g_n_calls++];

        ck_assert_uint_lt(g_n_calls, MAX_CALLS);
        *p = (struct planned) {.at_usec = at,
                               .caller = caller,
                               .class = class,
                               .is_added = is_added,
                               .cost_usec = LONGEST / 3 + any(LONGEST / 1500) * UINT64_C(1000)};
        at += p->cost_usec * 1000 / permille / n_slots;
    }
}

static int by_time(const void *a, const void *b)
{
    const struct planned *x = a, *y = b;

    if (x->at_usec != y->at_usec) {
        return x->at_usec < y->at_usec ? -1 : 1;
    }
    return (x->caller > y->caller) - (x->caller < y->caller);
}

static struct planned *planned_of(struct ticket *t)
{
    return CONTAINER_OF(t, struct planned, ticket);
}

/* All that is due at now; the ended ones count for their callers. */
static void settle(struct desk *k, uint64_t now, uint64_t served[N_CALLERS])
{
    struct admission *a = &k->admission;
    struct verdict v;
    struct ticket *t;

    list_for_each_safe (l, &a->granted) {
        struct planned *p = planned_of(CONTAINER_OF(l, struct ticket, link));

        if (p->ends_at_usec <= now) {
            served[p->caller] += p->cost_usec;
            admission_note_end(a, &p->ticket, ERRCODE_NONE, now);
            admission_release(a, &p->ticket, now);
        }
    }
    while (admission_expire(a, now, &v)) {
    }
    while (admission_ousted(a, now, &v)) {
    }
    while ((t = admission_next(a, now))) {
        planned_of(t)->ends_at_usec = now + planned_of(t)->cost_usec;
        admission_note_content(a, t, now); /* so that nobody takes its slot back */
    }
}

static uint64_t next_event(struct desk *k, uint64_t now)
{
    uint64_t next = admission_next_deadline(&k->admission);

    next = next > now ? next : now + 1;
    list_for_each (l, &k->admission.granted) {
        uint64_t at = planned_of(CONTAINER_OF(l, struct ticket, link))->ends_at_usec;

        next = at < next ? at : next;
    }
    return next;
}

/* The slot time that each caller had. */
static void play(unsigned n_slots, bool with_added, uint64_t served[N_CALLERS])
{
    struct caller_rule rules[N_CALLERS];
    struct desk k;
    uint64_t now = START;

    desk_init(&k, n_slots, 200);
    for (unsigned i = 0; i < N_CALLERS; i++) {
        rules[i] = (struct caller_rule) {.kind = CALLER_UID, .uid = i, .weight = g_weights[i]};
        served[i] = 0;
    }
    caller_table_set_rules(&k.admission.callers, rules, N_CALLERS);
    for (size_t i = 0; i < g_n_calls; i++) {
        struct planned *p = &g_calls[i];
        struct admission_ask ask = {.caller = {.kind = CALLER_UID, .uid = p->caller},
                                    .class = p->class,
                                    .own_deadline_at_usec = USEC_NEVER};

        p->ticket = (struct ticket) {0};
        if (p->is_added && !with_added) {
            continue;
        }
        for (uint64_t next; (next = next_event(&k, now)) <= p->at_usec; settle(&k, now, served)) {
            now = next;
        }
        now = p->at_usec;
        (void) admission_enqueue(&k.admission, &p->ticket, k.router.groups, &ask, now);
        settle(&k, now, served);
    }
    for (size_t i = 0; i < g_n_calls; i++) {
        admission_release(&k.admission, &g_calls[i].ticket, now);
    }
    desk_done(&k);
}

/*
 * Caller 0 asks for permille of its share of the slots, 1 to 3 for anything, 1 for more in addition.
 * Its share in the time of a play.
 */
static uint64_t make(unsigned n_slots, unsigned permille, bool only_below)
{
    enum call_class class = any(2) ? CLASS_BATCH : CLASS_INTERACTIVE;
    unsigned sum = 0;

    g_n_calls = 0;
    for (unsigned i = 0; i < N_CALLERS; i++) {
        g_weights[i] = 1 + any(3);
        sum += g_weights[i];
    }
    plan(0, class, permille * g_weights[0] / sum, n_slots, false);
    for (unsigned i = 1; i < N_CALLERS; i++) {
        /* none of them in a class above its own, which needs keep nobody's share */
        plan(i, class, any(800), n_slots, false);
        plan(i, CLASS_BACKGROUND, any(300), n_slots, false);
    }
    plan(1, only_below ? (enum call_class)(class + any(2)) : (enum call_class) any(_CLASS_MAX),
         500 + any(1500), n_slots, true);
    qsort(g_calls, g_n_calls, sizeof *g_calls, by_time);
    return LENGTH * n_slots * g_weights[0] / sum;
}

#define N_PLAYS 16

/* What the last calls, and the estimates of the first ones, may make of a difference. */
static uint64_t slack(unsigned n_slots)
{
    return 4 * n_slots * LONGEST;
}

START_TEST(load_of_another_takes_nothing_below_a_share)
{
    uint64_t alone[N_CALLERS], beside[N_CALLERS], in_all = 0;
    unsigned n_slots = _i == 0 ? 1 : 3;

    for (uint64_t seed = 1; seed <= N_PLAYS; seed++) {
        g_random = seed * 7919;
        (void) make(n_slots, 800, true);
        play(n_slots, false, alone);
        play(n_slots, true, beside);
        ck_assert_msg(beside[0] + slack(n_slots) >= alone[0], "seed %llu: %.1f s, once %.1f s",
                      (unsigned long long) seed, (double) beside[0] / 1e6, (double) alone[0] / 1e6);
        in_all += beside[0];
    }
    ck_assert_uint_gt(in_all, N_PLAYS * 10 * SEC); /* it was served at all */
}
END_TEST

START_TEST(load_of_another_gives_nothing_above_a_share)
{
    uint64_t alone[N_CALLERS], beside[N_CALLERS];
    unsigned n_slots = _i == 0 ? 1 : 3, n_above = 0;

    for (uint64_t seed = 1; seed <= N_PLAYS; seed++) {
        uint64_t share, most;

        g_random = seed * 104729;
        share = make(n_slots, 3000, false);
        play(n_slots, false, alone);
        play(n_slots, true, beside);
        most = alone[0] > share ? alone[0] : share;
        ck_assert_msg(beside[0] <= most + slack(n_slots), "seed %llu: %.1f s, once %.1f s",
                      (unsigned long long) seed, (double) beside[0] / 1e6, (double) alone[0] / 1e6);
        n_above += beside[0] > share;
    }
    ck_assert_uint_gt(n_above, 0);
}
END_TEST

/* ---------------------------------------------------------------- one account */

static void ask_as(struct desk *k, struct ticket *t, unsigned caller, enum call_class class)
{
    struct admission_ask ask = {.caller = {.kind = CALLER_UID, .uid = caller},
                                .class = class,
                                .own_deadline_at_usec = USEC_NEVER};

    ck_assert_int_eq(admission_enqueue(&k->admission, t, k->router.groups, &ask, START).code,
                     ERRCODE_NONE);
}

/* Callers 1 and 2 wait with batch, in this order; meanwhile one of them has an interactive call. */
static unsigned first_of_batch(unsigned interactive)
{
    struct ticket runs = {0}, batch[2] = {0}, other = {0}, *next;
    struct desk k;

    desk_init(&k, 1, 10);
    ask_as(&k, &runs, 3, CLASS_INTERACTIVE);
    ck_assert_ptr_eq(admission_next(&k.admission, START), &runs);
    ask_as(&k, &batch[0], 1, CLASS_BATCH);
    ask_as(&k, &batch[1], 2, CLASS_BATCH);
    ask_as(&k, &other, interactive, CLASS_INTERACTIVE);
    admission_release(&k.admission, &runs, START + SEC);
    ck_assert_ptr_eq(admission_next(&k.admission, START + SEC), &other);
    admission_note_end(&k.admission, &other, ERRCODE_NONE, START + 2 * SEC);
    admission_release(&k.admission, &other, START + 2 * SEC);
    next = admission_next(&k.admission, START + 2 * SEC);
    ck_assert_ptr_nonnull(next);

    unsigned first = next->caller->uid;

    admission_release(&k.admission, &batch[0], START + 3 * SEC);
    admission_release(&k.admission, &batch[1], START + 3 * SEC);
    desk_done(&k);
    return first;
}

START_TEST(a_slot_counts_in_every_class_that_waits)
{
    ck_assert_uint_eq(first_of_batch(1), 2);
    ck_assert_uint_eq(first_of_batch(2), 1);
    ck_assert_uint_eq(first_of_batch(3), 1); /* in order of arrival */
}
END_TEST

START_TEST(what_nobody_waited_for_is_not_paid_for_later)
{
    struct ticket runs = {0}, own = {0}, others = {0};
    struct desk k;

    desk_init(&k, 1, 10);
    for (unsigned i = 0; i < 10; i++) { /* alone */
        ask_as(&k, &runs, 1, CLASS_INTERACTIVE);
        ck_assert_ptr_eq(admission_next(&k.admission, START + i * SEC), &runs);
        admission_note_end(&k.admission, &runs, ERRCODE_NONE, START + (i + 1) * SEC);
        admission_release(&k.admission, &runs, START + (i + 1) * SEC);
    }
    ask_as(&k, &runs, 3, CLASS_INTERACTIVE);
    ck_assert_ptr_eq(admission_next(&k.admission, START + 10 * SEC), &runs);
    ask_as(&k, &own, 1, CLASS_BATCH);
    ask_as(&k, &others, 2, CLASS_BATCH);
    admission_release(&k.admission, &runs, START + 11 * SEC);
    ck_assert_ptr_eq(admission_next(&k.admission, START + 11 * SEC), &own);
    admission_release(&k.admission, &own, START + 12 * SEC);
    admission_release(&k.admission, &others, START + 12 * SEC);
    desk_done(&k);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_slot_counts_in_every_class_that_waits);
    tcase_add_test(tc, what_nobody_waited_for_is_not_paid_for_later);
    tcase_add_loop_test(tc, load_of_another_takes_nothing_below_a_share, 0, 2);
    tcase_add_loop_test(tc, load_of_another_gives_nothing_above_a_share, 0, 2);
}
TEST_MAIN("admission_load", add_tests)
