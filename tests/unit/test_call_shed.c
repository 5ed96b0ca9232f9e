/*
 * Calls that wait while memory becomes critical: what their clients hear, and what else could serve
 * them. "m" is served here and busy, "cloud" elsewhere.
 */
#include "call_cast.h"

#define N_WAIT 3

/* Keeps no text: what is on trial is what the core allocates. */
struct ear {
    struct event_sink sink;
    unsigned n_failed;
    enum errcode code;
    uint64_t retry_after_usec;
    char message[CALL_TEXT_MAX];
};

static enum sink_answer hear(struct event_sink *sink, const struct event *ev)
{
    struct ear *e = CONTAINER_OF(sink, struct ear, sink);

    if (ev->type == EVENT_FAILED) {
        e->n_failed++;
        e->code = ev->failed.code;
        e->retry_after_usec = ev->failed.retry_after_usec;
        str_copy(ev->failed.message, e->message, sizeof e->message);
    }
    return SINK_ROOM;
}

static struct cast g_cast;
static struct actor *g_here, *g_cloud;
static struct ear g_ears[_CLASS_MAX];

/* An interactive call runs here, and one of each class waits behind it. */
static void setup_with(bool spills)
{
    cast_init(&g_cast);
    g_here = cast_add(&g_cast, "here", (struct role) {.group = "m"});
    g_cloud = cast_add(&g_cast, "far", (struct role) {.group = "cloud", .is_remote = true});
    if (spills) {
        g_cast.plan.policy.spill.level = PRESSURE_L3;
        cast_fallback(&g_cast, FALLBACK_GENERAL, "m", "cloud", NULL);
    }
    cast_open(&g_cast);
    cast_ask(&g_cast, request("m", "runs"));
    for (int c = 0; c < _CLASS_MAX; c++) {
        struct request *req = request("m", "waits");
        struct call *ignored;

        g_ears[c] = (struct ear) {.sink.deliver = hear};
        req->class = (enum call_class) c;
        ck_assert_int_eq(
            call_submit(&g_cast.w.registry, req, &g_ears[c].sink, g_cast.w.now, &ignored), 0);
    }
    run(&g_cast.w);
    ck_assert_uint_eq(registry_count(&g_cast.w.registry, CALL_WAITING), N_WAIT);
}

static void finish_all(void)
{
    registry_cancel_all(&g_cast.w.registry, ERRCODE_CANCELLED, g_cast.w.now);
    run(&g_cast.w);
    cast_done(&g_cast);
}

static void pass(uint64_t usec)
{
    g_cast.w.now += usec;
    run(&g_cast.w);
}

static void check_told(enum call_class class, unsigned n)
{
    const struct ear *e = &g_ears[class];

    ck_assert_uint_eq(e->n_failed, n);
    if (n > 0) {
        ck_assert_int_eq(e->code, ERRCODE_MEMORY_PRESSURE);
        ck_assert_uint_ge(e->retry_after_usec, (class == CLASS_INTERACTIVE ? 10 : 15) * SEC);
        ck_assert_uint_le(e->retry_after_usec, 60 * SEC);
        ck_assert_str_eq(e->message, "memory ran short while the call waited for a slot");
    }
}

START_TEST(they_are_told_at_once_and_by_class)
{
    setup_with(false);
    g_cast.w.pressure.level = PRESSURE_L3;
    fail_allocation(1);
    run(&g_cast.w);
    check_told(CLASS_BACKGROUND, 1);
    check_told(CLASS_BATCH, 0);
    ck_assert_uint_eq(registry_next_deadline(&g_cast.w.registry), g_cast.w.now + SEC);
    pass(SEC);
    check_told(CLASS_BATCH, 1);
    pass(SEC);
    check_told(CLASS_INTERACTIVE, 0);
    ck_assert(!allocation_failed()); /* nobody is told no by means of memory */
    fail_allocation(0);
    ck_assert_uint_eq(g_cast.w.stats.n_by_code[ERRCODE_MEMORY_PRESSURE], 2);
    ck_assert_uint_eq(g_cast.w.stats.n_refused, 2);
    act_answer(&g_cast, g_here); /* and the next one is served */
    ck_assert_ptr_nonnull(g_here->sink);
    ck_assert_uint_eq(g_here->n_started, 2);
    finish_all();
}
END_TEST

START_TEST(an_emergency_leaves_nobody_waiting)
{
    setup_with(false);
    g_cast.w.pressure.level = PRESSURE_L4;
    for (int i = 0; i < 4; i++) {
        pass(SEC);
    }
    for (int c = 0; c < _CLASS_MAX; c++) {
        check_told((enum call_class) c, 1);
        ck_assert_uint_ge(g_ears[c].retry_after_usec, (c == CLASS_INTERACTIVE ? 10 : 30) * SEC);
    }
    ck_assert_uint_eq(registry_count(&g_cast.w.registry, CALL_WAITING), 0);
    ck_assert_uint_eq(g_cast.w.admission.n_queued, 0);
    finish_all();
}
END_TEST

/* Who may leave at that level leaves; the others are told that nobody had room. */
START_TEST(a_machine_elsewhere_takes_what_it_can)
{
    static const char told[] =
        "memory ran short while the call waited for a slot; no other machine takes it now";

    setup_with(true);
    g_cast.w.pressure.level = PRESSURE_L3;
    run(&g_cast.w);
    ck_assert_ptr_nonnull(g_cloud->sink); /* the interactive one, which came first */
    ck_assert_uint_eq(g_ears[CLASS_BACKGROUND].n_failed, 1);
    ck_assert_str_eq(g_ears[CLASS_BACKGROUND].message, told);
    act_answer(&g_cast, g_cloud);
    ck_assert_uint_eq(g_cloud->n_started, 2); /* and now batch */
    pass(10 * SEC);
    ck_assert_uint_eq(g_ears[CLASS_BATCH].n_failed, 0);
    ck_assert_uint_eq(g_cast.w.stats.n_spilled[SPILL_LEVEL], 2);
    finish_all();
}
END_TEST

/* One that pauses between two attempts waits as well. */
START_TEST(those_that_pause_before_a_retry_go_too)
{
    struct request *req = request("m", "tries");

    cast_init(&g_cast);
    g_here = cast_add(&g_cast, "here", (struct role) {.group = "m"});
    cast_open(&g_cast);
    req->class = CLASS_BATCH;
    cast_ask(&g_cast, req);
    act_fail(&g_cast, g_here, ERRCODE_UPSTREAM_OVERLOADED, 0);
    ck_assert_uint_eq(registry_count(&g_cast.w.registry, CALL_WAITING), 1);
    g_cast.w.pressure.level = PRESSURE_L3;
    run(&g_cast.w);
    ck_assert_uint_eq(registry_count(&g_cast.w.registry, CALL_WAITING), 0);
    ck_assert_uint_eq(g_cast.w.n_ended, 1);
    cast_done(&g_cast);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, they_are_told_at_once_and_by_class);
    tcase_add_test(tc, an_emergency_leaves_nobody_waiting);
    tcase_add_test(tc, a_machine_elsewhere_takes_what_it_can);
    tcase_add_test(tc, those_that_pause_before_a_retry_go_too);
}
TEST_MAIN("call_shed", add_tests)
