/* What a level of memory pressure means for those who come and those who wait. */
#include "admission_desk.h"

/* ---------------------------------------------------------------- who is served elsewhere */

/* Nothing of this device's memory is in it: neither the level nor what follows it touches the call. */
static void check_far(struct desk *k, enum call_class class)
{
    struct ticket t = {0}, second = {0};

    ck_assert_int_eq(enqueue_as(k, &t, "far", class, 100, USEC_NEVER).code, ERRCODE_NONE);
    ck_assert(t.is_elsewhere);
    ck_assert_ptr_eq(admission_next(&k->admission, START), &t);
    ck_assert_int_eq(enqueue_as(k, &second, "far", class, 100, USEC_NEVER).code, ERRCODE_NONE);
    ck_assert_ptr_eq(admission_next(&k->admission, START), &second); /* all of its slots are used */
    admission_release(&k->admission, &t, START);
    admission_release(&k->admission, &second, START);
}

START_TEST(calls_for_other_machines_know_no_level)
{
    for (int level = PRESSURE_L0; level <= PRESSURE_L4; level++) {
        for (int c = 0; c < _CLASS_MAX; c++) {
            struct desk k;

            desk_init(&k, 2, 8);
            k.pressure.level = (enum pressure_level) level;
            check_far(&k, (enum call_class) c);
            desk_done(&k);
        }
    }
}
END_TEST

START_TEST(nor_are_they_kept_back_after_it)
{
    for (int c = 0; c < _CLASS_MAX; c++) {
        struct desk k;

        desk_init(&k, 2, 8);
        k.pressure.l0_since_usec = START - 1;
        k.pressure.worst = PRESSURE_L4;
        check_far(&k, (enum call_class) c);
        desk_done(&k);
    }
}
END_TEST

/* "far" has another deployment then, on this device: memory is something to its calls again. */
START_TEST(a_reload_brings_it_home)
{
    struct router_plan plan = {0};
    struct ticket t = {0};
    struct desk k;

    desk_init(&k, 1, 8);
    ck_assert_int_eq(enqueue_as(&k, &t, "far", CLASS_BATCH, 100, USEC_NEVER).code, ERRCODE_NONE);
    add_group_at(&plan, "far", 1, true);
    router_commit(&k.router, &plan);
    admission_reroute(&k.admission, &t, router_resolve(&k.router, STR_LIT("far")));
    ck_assert(!t.is_elsewhere);
    k.pressure.level = PRESSURE_L2;
    ck_assert_ptr_null(admission_next(&k.admission, START));
    k.pressure.level = PRESSURE_L0;
    ck_assert_ptr_eq(admission_next(&k.admission, START), &t);
    admission_release(&k.admission, &t, START);
    desk_done(&k);
}
END_TEST

/* ---------------------------------------------------------------- who is put out of the queue */

#define N_EACH 3

/* Of each class so many, behind a call that runs. */
struct line {
    struct desk k;
    struct ticket runs, tickets[_CLASS_MAX][N_EACH];
};

static void line_init(struct line *l, const char *group)
{
    *l = (struct line) {.runs.state = TICKET_HOME};
    desk_init(&l->k, 1, 32);
    let_in(&l->k, &l->runs, group);
    ck_assert_ptr_eq(admission_next(&l->k.admission, START), &l->runs);
    for (int c = 0; c < _CLASS_MAX; c++) {
        for (size_t i = 0; i < N_EACH; i++) {
            ck_assert_int_eq(
                enqueue_as(&l->k, &l->tickets[c][i], group, (enum call_class) c, 10, USEC_NEVER)
                    .code,
                ERRCODE_NONE);
        }
    }
}

static void line_done(struct line *l)
{
    admission_release(&l->k.admission, &l->runs, START);
    for (int c = 0; c < _CLASS_MAX; c++) {
        for (size_t i = 0; i < N_EACH; i++) {
            admission_release(&l->k.admission, &l->tickets[c][i], START);
        }
    }
    desk_done(&l->k);
}

static bool g_is_loaded;

static bool is_loaded(const struct backend *b, const char *model, uint64_t now_usec)
{
    return g_is_loaded;
}

static const struct backend_ops loads = {.free = backend_free, .is_loaded = is_loaded};
static const struct memory_ops memory = {.is_trusted = is_loaded};

/* Exactly all of that class are told, with a time to come back of 1.0 to 1.4 times least. */
static void expect_shed(struct line *l, enum call_class class, uint64_t least_usec, uint64_t now)
{
    struct verdict v;

    ck_assert_uint_eq(admission_shed(&l->k.admission, now), N_EACH);
    for (size_t i = 0; i < N_EACH; i++) {
        ck_assert_ptr_eq(admission_ousted(&l->k.admission, now, &v), &l->tickets[class][i]);
        ck_assert_int_eq(v.code, ERRCODE_MEMORY_PRESSURE);
        ck_assert(!v.is_last);
        ck_assert_uint_ge(v.retry_after_usec, least_usec);
        ck_assert_uint_le(v.retry_after_usec, least_usec / 10 * 14);
    }
    ck_assert_ptr_null(admission_ousted(&l->k.admission, now, &v));
}

static void expect_nobody(struct line *l, uint64_t now)
{
    ck_assert_uint_eq(admission_shed(&l->k.admission, now), 0);
}

START_TEST(critical_takes_the_lowest_class_first)
{
    struct line l;

    line_init(&l, "a");
    l.k.pressure.level = PRESSURE_L3;
    expect_shed(&l, CLASS_BACKGROUND, 15 * SEC, START);
    ck_assert_ptr_null(admission_next(&l.k.admission, START));
    ck_assert_uint_eq(admission_next_deadline(&l.k.admission), START + SEC);
    expect_nobody(&l, START + SEC - 1);
    expect_shed(&l, CLASS_BATCH, 15 * SEC, START + SEC);
    expect_nobody(&l, START + 2 * SEC); /* this model is there: interactive calls are served */
    expect_nobody(&l, START + 10 * SEC);
    line_done(&l);
}
END_TEST

/* A person is told to come back after as long again as it has lasted, from a third of what others are told up to that. */
START_TEST(persons_come_back_sooner)
{
    static const struct {
        enum pressure_level level;
        uint64_t lasted_usec, least_usec;
    } cases[] = {{PRESSURE_L4, 0, 10 * SEC},        {PRESSURE_L4, 5 * SEC, 10 * SEC},
                 {PRESSURE_L4, 12 * SEC, 24 * SEC}, {PRESSURE_L4, 60 * SEC, 30 * SEC},
                 {PRESSURE_L3, 0, 5 * SEC},         {PRESSURE_L3, 6 * SEC, 12 * SEC},
                 {PRESSURE_L3, 60 * SEC, 15 * SEC}};
    struct desk k;

    desk_init(&k, 1, 32);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        k.pressure.level = k.pressure.critical = cases[i].level;
        k.pressure.last_at_usec = k.pressure.critical_at_usec = START;
        k.pressure.short_since_usec = START - cases[i].lasted_usec;
        for (int c = 0; c < _CLASS_MAX; c++) {
            uint64_t others = cases[i].level == PRESSURE_L4 ? 30 * SEC : 15 * SEC;
            uint64_t least = c == CLASS_INTERACTIVE ? cases[i].least_usec : others;
            uint64_t told = admission_pressure_retry(&k.admission, (enum call_class) c, START);

            ck_assert_uint_ge(told, least);
            ck_assert_uint_le(told, least / 10 * 14);
        }
    }
    desk_done(&k);
}
END_TEST

START_TEST(emergency_takes_all)
{
    struct line l;

    line_init(&l, "a");
    l.k.pressure.level = PRESSURE_L4;
    expect_shed(&l, CLASS_BACKGROUND, 30 * SEC, START);
    expect_nobody(&l, START + SEC / 2);
    expect_shed(&l, CLASS_BATCH, 30 * SEC, START + SEC);
    expect_shed(&l, CLASS_INTERACTIVE, 10 * SEC, START + 2 * SEC);
    ck_assert_uint_eq(l.k.admission.n_queued, 0);
    expect_nobody(&l, START + 3 * SEC);
    line_done(&l);
}
END_TEST

/* It is often over when a model has made room: who would be served then may wait for that, and may come in. */
START_TEST(an_emergency_may_pass)
{
    struct ticket late = {0}, later = {0};
    struct line l;

    line_init(&l, "a");
    l.runs.deployment->backend->ops = &loads;
    l.runs.deployment->backend->memory = &memory;
    g_is_loaded = true;
    l.k.pressure.level = l.k.pressure.critical = PRESSURE_L4;
    l.k.pressure.last_at_usec = l.k.pressure.critical_at_usec = START;
    l.k.pressure.short_since_usec = l.k.pressure.emergency_since_usec = START;
    expect_shed(&l, CLASS_BACKGROUND, 30 * SEC, START);
    ck_assert_int_eq(enqueue_as(&l.k, &late, "a", CLASS_BATCH, 10, USEC_NEVER).code,
                     ERRCODE_MEMORY_PRESSURE);
    ck_assert_int_eq(enqueue_as(&l.k, &late, "a", CLASS_INTERACTIVE, 10, USEC_NEVER).code,
                     ERRCODE_NONE);
    expect_shed(&l, CLASS_BATCH, 30 * SEC, START + SEC);
    ck_assert_ptr_null(admission_next(&l.k.admission, START + SEC)); /* nobody gets a slot */
    ck_assert_uint_eq(admission_next_deadline(&l.k.admission), START + 2 * SEC);
    expect_nobody(&l, START + 2 * SEC - 1);
    admission_release(&l.k.admission, &late, START);
    expect_shed(&l, CLASS_INTERACTIVE, 10 * SEC, START + 2 * SEC);
    l.k.pressure.emergency_since_usec = START - 2 * SEC;
    ck_assert_int_eq(enqueue_as(&l.k, &later, "a", CLASS_INTERACTIVE, 10, USEC_NEVER).code,
                     ERRCODE_MEMORY_PRESSURE);
    line_done(&l);
}
END_TEST

START_TEST(below_critical_nobody_goes)
{
    for (int level = PRESSURE_L0; level <= PRESSURE_L2; level++) {
        struct line l;

        line_init(&l, "a");
        l.k.pressure.level = (enum pressure_level) level;
        expect_nobody(&l, START);
        expect_nobody(&l, START + 10 * SEC);
        line_done(&l);
    }
}
END_TEST

START_TEST(who_is_served_elsewhere_stays)
{
    struct line l;

    line_init(&l, "far");
    l.k.pressure.level = PRESSURE_L4;
    expect_nobody(&l, START);
    expect_nobody(&l, START + 10 * SEC);
    line_done(&l);
}
END_TEST

START_TEST(without_a_gauge_nobody_goes)
{
    struct line l;

    line_init(&l, "a");
    l.k.pressure.level = PRESSURE_L4;
    l.k.admission.pressure = NULL;
    expect_nobody(&l, START);
    line_done(&l);
}
END_TEST

/* A level that falls and rises again within a second: the pace holds on. */
START_TEST(the_pace_outlasts_the_level)
{
    struct line l;

    line_init(&l, "a");
    l.k.pressure.level = PRESSURE_L3;
    expect_shed(&l, CLASS_BACKGROUND, 15 * SEC, START);
    l.k.pressure.level = PRESSURE_L2;
    expect_nobody(&l, START + SEC);
    l.k.pressure.level = PRESSURE_L4;
    expect_shed(&l, CLASS_BATCH, 30 * SEC, START + SEC);
    line_done(&l);
}
END_TEST

/* At level 3 no model is loaded: who waits for one that is not there waits in vain. */
START_TEST(interactive_calls_need_their_model)
{
    for (int there = 0; there < 2; there++) {
        struct line l;

        line_init(&l, "a");
        for (size_t i = 0; i < N_EACH; i++) {
            admission_release(&l.k.admission, &l.tickets[CLASS_BATCH][i], START);
            admission_release(&l.k.admission, &l.tickets[CLASS_BACKGROUND][i], START);
        }
        l.runs.deployment->backend->ops = &loads;
        l.runs.deployment->backend->memory = &memory;
        g_is_loaded = there;
        l.k.pressure.level = PRESSURE_L3;
        if (there) {
            expect_nobody(&l, START);
        } else {
            expect_shed(&l, CLASS_INTERACTIVE, 5 * SEC, START);
        }
        line_done(&l);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, critical_takes_the_lowest_class_first);
    tcase_add_test(tc, persons_come_back_sooner);
    tcase_add_test(tc, emergency_takes_all);
    tcase_add_test(tc, an_emergency_may_pass);
    tcase_add_test(tc, below_critical_nobody_goes);
    tcase_add_test(tc, who_is_served_elsewhere_stays);
    tcase_add_test(tc, without_a_gauge_nobody_goes);
    tcase_add_test(tc, the_pace_outlasts_the_level);
    tcase_add_test(tc, interactive_calls_need_their_model);
    tcase_add_test(tc, calls_for_other_machines_know_no_level);
    tcase_add_test(tc, nor_are_they_kept_back_after_it);
    tcase_add_test(tc, a_reload_brings_it_home);
}
TEST_MAIN("admission_levels", add_tests)
