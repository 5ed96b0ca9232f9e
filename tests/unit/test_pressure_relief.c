/*
 * Which running calls are ended for the memory of their models: a device with two models and calls
 * that got their slots in calm times, under a clock of its own. Unloads are what the core asks for.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "core/pressure_relief.h"
#include "support.h"

#define SEC       USEC_PER_SEC
#define MSEC      USEC_PER_MSEC
#define MIB       (UINT64_C(1) << 20)
#define N_TICKETS 12

static struct router g_router;
static struct pressure g_pressure;
static struct admission g_admission;
static struct footprints g_footprints;
static struct residency g_residency;
static struct pressure_relief g_relief;
static struct ticket g_tickets[N_TICKETS];
static uint64_t g_now;

static bool is_trusted(const struct backend *b, const char *model, uint64_t now_usec)
{
    return true;
}

static void backend_free(struct backend *b)
{
    free(b);
}

static const struct memory_ops memory_ops = {.is_trusted = is_trusted};
static const struct backend_ops backend_ops = {.free = backend_free};

struct place {
    const char *name;
    bool is_local, has_memory;
};

static void add_deployment(struct router_plan *plan, const struct place *p)
{
    struct backend *b = calloc(1, sizeof *b);

    ck_assert_ptr_nonnull(b);
    b->ops = &backend_ops;
    b->memory = p->has_memory ? &memory_ops : NULL;

    struct deployment *d =
        deployment_new(&(struct deployment_spec) {.id = p->name,
                                                  .fingerprint = p->name,
                                                  .provider = "ollama",
                                                  .upstream_model = p->name,
                                                  .api_base = p->is_local ? "here" : "there",
                                                  .slots = 10,
                                                  .is_local = p->is_local},
                       b);

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(router_plan_add(plan, p->name, d), 0);
}

static struct model_group *group(const char *name)
{
    return router_resolve(&g_router, str_from(name));
}

static struct residency_model *model(const char *name)
{
    return residency_of(&g_residency, group(name)->deployments[0], NULL);
}

static void set_memory(uint64_t total_mib)
{
    const struct residency_memory memory = {.total_bytes = total_mib * MIB,
                                            .available_bytes = total_mib * MIB};

    residency_set_memory(&g_residency, &memory, 1, g_now);
}

/* a and b are models here; far is one elsewhere; plain is here, at a server that unloads nothing. */
static void setup(void)
{
    static const struct place places[] = {
        {"a", true, true}, {"b", true, true}, {"far", false, true}, {"plain", true, false}};
    static const struct residency_params params = {.is_on = true};
    const struct admission_params queue = {.max_queued = 100,
                                           .max_queued_bytes = 1000,
                                           .max_wait_usec = {15 * SEC, 120 * SEC, 600 * SEC}};
    struct router_plan plan = {0};

    g_now = 1000 * SEC;
    router_init(&g_router);
    footprints_init(&g_footprints);
    residency_init(&g_residency, &params, &g_router, &g_footprints);
    g_router.residency = &g_residency;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        add_deployment(&plan, &places[i]);
    }
    router_commit(&g_router, &plan);
    pressure_init(&g_pressure);
    admission_init(&g_admission, &queue, &g_router, &g_pressure);
    pressure_relief_init(&g_relief);
    for (size_t i = 0; i < N_TICKETS; i++) {
        g_tickets[i] = (struct ticket) {.state = TICKET_HOME};
    }
    set_memory(2000);
}

static void finish(struct ticket *t)
{
    admission_release(&g_admission, t, g_now);
}

static void teardown(void)
{
    for (size_t i = 0; i < N_TICKETS; i++) {
        finish(&g_tickets[i]);
    }
    admission_done(&g_admission);
    residency_done(&g_residency);
    router_done(&g_router);
}

/* A call that has a slot since now; its model, if it is one, is there. */
static struct ticket *call(unsigned i, const char *name, enum call_class class)
{
    const struct admission_ask ask = {.caller = {.kind = CALLER_UID, .uid = 1000 + i},
                                      .class = class,
                                      .bytes = 1,
                                      .own_deadline_at_usec = USEC_NEVER};
    struct ticket *t = &g_tickets[i];

    residency_begin_run(&g_residency);
    ck_assert_int_eq(admission_enqueue(&g_admission, t, group(name), &ask, g_now).code,
                     ERRCODE_NONE);
    ck_assert_ptr_eq(admission_next(&g_admission, g_now), t);
    residency_end_run(&g_residency, g_now);
    if (model(name)) {
        model(name)->held_bytes = 500 * MIB;
    }
    return t;
}

static void begin(struct ticket *t)
{
    admission_note_content(&g_admission, t, g_now);
}

static void set_level(enum pressure_level level)
{
    g_pressure.level = level;
    residency_set_level(&g_residency, level);
}

static struct ticket *next(void)
{
    struct ticket *t =
        pressure_relief_next(&g_relief, &g_admission, &g_residency, g_pressure.level, g_now);

    ck_assert_uint_gt(g_relief.look_at_usec, g_now);
    return t;
}

/* This one is ended now, and no other with it. */
static void assert_ends(struct ticket *t)
{
    ck_assert_ptr_eq(next(), t);
    finish(t);
    ck_assert_ptr_null(next());
}

/* Nobody is for so long, and nobody was to be looked at before. */
static void assert_spares_for(uint64_t usec)
{
    ck_assert_ptr_null(next());
    ck_assert_uint_ge(g_relief.look_at_usec, g_now + usec);
    g_now += usec;
}

/* What residency asks for now: this model is unloaded. It goes and gives its memory back. */
static void assert_unloads(const char *name)
{
    struct residency_action action;

    residency_begin_run(&g_residency);
    residency_end_run(&g_residency, g_now);
    ck_assert(residency_next(&g_residency, g_now, &action));
    ck_assert_int_eq(action.verb, RESIDENCY_UNLOAD);
    ck_assert_ptr_eq(action.model, model(name));
    ck_assert_ptr_null(next()); /* until it is gone */
    g_now += 300 * MSEC;
    residency_unloaded(&g_residency, model(name), true, g_now);
    g_residency.freeing_bytes = 0;
}

START_TEST(below_critical_nobody_is_touched)
{
    call(0, "a", CLASS_BACKGROUND);
    call(1, "b", CLASS_BATCH);
    for (enum pressure_level l = PRESSURE_L0; l <= PRESSURE_L2; l++) {
        set_level(l);
        ck_assert_ptr_null(next());
        g_now += 60 * SEC;
        ck_assert_ptr_null(next());
        ck_assert_uint_eq(g_relief.look_at_usec, USEC_NEVER);
    }
}
END_TEST

START_TEST(critical_empties_a_runner_of_lower_classes)
{
    struct ticket *batch = call(0, "a", CLASS_BATCH), *low = call(1, "a", CLASS_BACKGROUND);

    call(2, "b", CLASS_BATCH);
    call(3, "b", CLASS_INTERACTIVE);
    set_level(PRESSURE_L3);
    assert_ends(low);
    assert_spares_for(SEC);
    assert_ends(batch);
    assert_unloads("a");
    g_now += 60 * SEC; /* of b one call is interactive: no end of the other frees anything */
    ck_assert_ptr_null(next());
    ck_assert_uint_eq(g_relief.look_at_usec, USEC_NEVER);
}
END_TEST

START_TEST(critical_takes_the_lower_runner_first)
{
    struct ticket *batch = call(0, "a", CLASS_BATCH), *low = call(1, "b", CLASS_BACKGROUND);

    model("a")->held_bytes = 900 * MIB;
    set_level(PRESSURE_L3);
    assert_ends(low);
    assert_unloads("b");
    assert_spares_for(SEC);
    assert_ends(batch);
}
END_TEST

START_TEST(critical_takes_the_larger_of_two_alike)
{
    struct ticket *large = call(0, "b", CLASS_BATCH);

    call(1, "a", CLASS_BATCH);
    model("b")->held_bytes = 900 * MIB;
    set_level(PRESSURE_L3);
    assert_ends(large);
}
END_TEST

/* Cancelled is only what empties a runner that is unloaded then. */
START_TEST(critical_spares_what_would_stay)
{
    call(0, "a", CLASS_BATCH);
    set_level(PRESSURE_L3);
    model("a")->wants.n = 1; /* an interactive call waits for it */
    ck_assert_ptr_null(next());
    model("a")->wants.n = 0;
    model("a")->retry_unload_at_usec = g_now + 1; /* it did not go lately */
    ck_assert_ptr_null(next());
    model("a")->retry_unload_at_usec = g_now;
    assert_ends(&g_tickets[0]);
}
END_TEST

START_TEST(the_least_work_is_lost_first)
{
    struct ticket *keep = call(0, "a", CLASS_INTERACTIVE), *old, *new, *begun, *batch, *low;

    begin(keep);
    g_now += SEC;
    begun = call(1, "a", CLASS_INTERACTIVE);
    begin(begun);
    g_now += SEC;
    old = call(2, "a", CLASS_INTERACTIVE);
    g_now += SEC;
    new = call(3, "a", CLASS_INTERACTIVE);
    batch = call(4, "b", CLASS_BATCH);
    begin(batch);
    low = call(5, "a", CLASS_BACKGROUND);
    begin(low);
    set_level(PRESSURE_L4);

    struct ticket *order[] = {low, batch, new, old, begun};

    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        assert_ends(order[i]);
        if (order[i] == batch) {
            assert_unloads("b");
        }
        if (i + 1 < ARRAY_LEN(order)) {
            assert_spares_for(SEC);
        }
    }
    assert_spares_for(5 * SEC); /* one interactive call is kept for so long */
    assert_ends(keep);
    ck_assert_uint_eq(g_admission.n_granted, 0);
}
END_TEST

START_TEST(weights_decide_last)
{
    struct ticket *heavy = call(0, "a", CLASS_BATCH), *light = call(1, "a", CLASS_BATCH);

    heavy->caller->lanes[CLASS_BATCH].weight = 3;
    light->caller->lanes[CLASS_BATCH].weight = 2;
    set_level(PRESSURE_L4);
    assert_ends(light);
}
END_TEST

START_TEST(the_last_one_ends_only_if_the_level_stays)
{
    call(0, "a", CLASS_INTERACTIVE);
    set_level(PRESSURE_L4);
    assert_spares_for(5 * SEC);
    g_now -= 1;
    ck_assert_ptr_null(next());
    set_level(PRESSURE_L3);
    g_now += 60 * SEC;
    ck_assert_ptr_null(next());
    set_level(PRESSURE_L4);
    assert_spares_for(5 * SEC);
    assert_ends(&g_tickets[0]);
}
END_TEST

/* An idle model goes before any call does. */
START_TEST(idle_models_go_first)
{
    struct ticket *t = call(0, "a", CLASS_BATCH);

    call(1, "b", CLASS_INTERACTIVE);
    finish(&g_tickets[1]);
    set_level(PRESSURE_L4);
    ck_assert_ptr_null(next());
    assert_unloads("b");
    assert_spares_for(SEC);
    assert_ends(t);
}
END_TEST

START_TEST(an_unload_that_never_ends_is_waited_for_ten_seconds)
{
    struct ticket *low = call(0, "a", CLASS_BACKGROUND), *batch = call(1, "b", CLASS_BATCH);

    set_level(PRESSURE_L4);
    assert_ends(low);
    assert_spares_for(10 * SEC); /* nobody unloads a */
    assert_ends(batch);
}
END_TEST

/* It has gone from the list of its server, and the kernel has not got its memory back. */
START_TEST(memory_is_waited_for)
{
    struct ticket *low = call(0, "a", CLASS_BACKGROUND), *batch = call(1, "b", CLASS_BATCH);

    set_level(PRESSURE_L4);
    assert_ends(low);
    assert_unloads("a");
    g_residency.freeing_bytes = 500 * MIB;
    g_now += 5 * SEC;
    ck_assert_ptr_null(next());
    g_residency.freeing_bytes = 0;
    assert_ends(batch);
}
END_TEST

START_TEST(others_memory_is_not_ours_to_free)
{
    call(0, "a", CLASS_BACKGROUND);
    model("a")->held_bytes = 199 * MIB;
    set_level(PRESSURE_L4);
    g_now += 60 * SEC;
    ck_assert_ptr_null(next());
    ck_assert_uint_eq(g_relief.look_at_usec, USEC_NEVER);
    model("a")->held_bytes = 200 * MIB;
    assert_ends(&g_tickets[0]);
}
END_TEST

START_TEST(calls_that_free_nothing_are_not_touched)
{
    call(0, "far", CLASS_BACKGROUND);
    call(1, "plain", CLASS_BACKGROUND);
    call(2, "a", CLASS_INTERACTIVE);
    set_level(PRESSURE_L4);
    assert_spares_for(5 * SEC);
    assert_ends(&g_tickets[2]);
    g_now += 60 * SEC;
    ck_assert_ptr_null(next());
    ck_assert_ptr_null(
        pressure_relief_next(&g_relief, &g_admission, NULL, PRESSURE_L4, g_now + SEC));
    ck_assert_uint_eq(g_admission.n_granted, 2);
}
END_TEST

START_TEST(without_a_budget_nobody_is_touched)
{
    call(0, "a", CLASS_BACKGROUND);
    g_residency.params.is_on = false;
    set_level(PRESSURE_L4);
    ck_assert_ptr_null(next());
    g_residency.params.is_on = true;
    g_residency.memory.total_bytes = 0;
    ck_assert_ptr_null(next());
}
END_TEST

/* ---------------------------------------------------------------- beside it */

static bool is_served(unsigned i, const char *name, enum call_class class)
{
    const struct admission_ask ask = {
        .class = class, .bytes = 1, .own_deadline_at_usec = USEC_NEVER};
    struct ticket *t = &g_tickets[i], *got;

    residency_begin_run(&g_residency);
    ck_assert_int_eq(admission_enqueue(&g_admission, t, group(name), &ask, g_now).code,
                     ERRCODE_NONE);
    got = admission_next(&g_admission, g_now);
    residency_end_run(&g_residency, g_now);
    return got == t;
}

START_TEST(from_high_on_one_model_works_at_a_time)
{
    call(0, "b", CLASS_INTERACTIVE);
    finish(call(1, "a", CLASS_INTERACTIVE)); /* both are loaded */
    set_level(PRESSURE_L1);
    ck_assert(is_served(1, "a", CLASS_INTERACTIVE));
    finish(&g_tickets[1]);
    set_level(PRESSURE_L2);
    ck_assert(!is_served(1, "a", CLASS_INTERACTIVE));
    ck_assert(is_served(2, "b", CLASS_INTERACTIVE));
    ck_assert(is_served(3, "far", CLASS_INTERACTIVE));
    ck_assert(is_served(4, "plain", CLASS_INTERACTIVE));
    finish(&g_tickets[0]);
    finish(&g_tickets[2]);
    ck_assert_ptr_eq(admission_next(&g_admission, g_now), &g_tickets[1]);
}
END_TEST

START_TEST(in_an_emergency_nobody_takes_a_place)
{
    finish(call(0, "a", CLASS_INTERACTIVE));
    call(1, "b", CLASS_INTERACTIVE);
    set_level(PRESSURE_L2);
    ck_assert(!is_served(0, "a", CLASS_INTERACTIVE));
    finish(&g_tickets[1]);
    set_level(PRESSURE_L4);
    ck_assert_ptr_null(admission_next(&g_admission, g_now));
    set_level(PRESSURE_L3);
    ck_assert_ptr_eq(admission_next(&g_admission, g_now), &g_tickets[0]);
}
END_TEST

/* ---------------------------------------------------------------- whatever happens */

static uint32_t g_random;

static unsigned chance(unsigned n)
{
    g_random ^= g_random << 13;
    g_random ^= g_random >> 17;
    g_random ^= g_random << 5;
    return g_random % n;
}

static bool is_here(const struct ticket *t)
{
    return t->state == TICKET_GRANTED && (t->group == group("a") || t->group == group("b"));
}

/* The rules that hold for every victim, looked at anew. */
static void check_victim(const struct ticket *victim, uint64_t last_usec)
{
    const struct model_group *g = victim->group;

    ck_assert_int_ge(g_pressure.level, PRESSURE_L3);
    ck_assert(is_here(victim));
    ck_assert(last_usec == 0 || g_now >= last_usec + SEC);
    for (unsigned i = 0; i < N_TICKETS; i++) {
        const struct ticket *t = &g_tickets[i];

        if (!is_here(t)) {
            continue;
        }
        if (g_pressure.level == PRESSURE_L4) {
            ck_assert_int_le(t->class, victim->class); /* nobody lower goes on */
        } else if (t->group == g) {
            ck_assert_int_ne(t->class, CLASS_INTERACTIVE);
        }
    }
}

static void random_event(void)
{
    static const char *const names[] = {"a", "b", "far", "plain"};
    unsigned i = chance(N_TICKETS);

    if (g_tickets[i].state != TICKET_HOME) {
        if (chance(2) == 0) {
            begin(&g_tickets[i]);
        } else if (chance(4) == 0) {
            finish(&g_tickets[i]);
        }
        return;
    }
    if (g_pressure.level == PRESSURE_L0) {
        (void) is_served(i, names[chance(4)], (enum call_class) chance(_CLASS_MAX));
        if (g_tickets[i].state == TICKET_QUEUED) {
            finish(&g_tickets[i]);
        }
        model("a")->held_bytes = model("b")->held_bytes = 500 * MIB;
    }
}

static void random_unload(void)
{
    struct residency_action action;

    residency_begin_run(&g_residency);
    residency_end_run(&g_residency, g_now);
    for (int n = 0; n < 4 && residency_next(&g_residency, g_now, &action); n++) {
        if (action.verb == RESIDENCY_UNLOAD) {
            residency_unloaded(&g_residency, action.model, chance(4) > 0, g_now);
            g_residency.freeing_bytes = chance(2) > 0 ? 0 : g_residency.freeing_bytes;
        } else if (action.verb == RESIDENCY_LOOK) {
            residency_looked(&g_residency, action.model, true, 500 * MIB, true, g_now);
        }
    }
}

START_TEST(no_victim_breaks_a_rule)
{
    unsigned n_victims = 0;

    for (uint32_t seed = 1; seed <= 200; seed++) {
        uint64_t last = 0;

        g_random = seed * UINT32_C(2654435761);
        for (int step = 0; step < 300; step++) {
            struct ticket *t;

            g_now += chance(2000) * MSEC;
            set_memory(2000);
            random_event();
            if (chance(20) == 0) {
                set_level((enum pressure_level)(chance(5)));
            }
            random_unload();
            t = next();
            if (t) {
                check_victim(t, last);
                finish(t);
                last = g_now;
                n_victims++;
            }
        }
    }
    ck_assert_uint_gt(n_victims, 500);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, below_critical_nobody_is_touched);
    tcase_add_test(tc, critical_empties_a_runner_of_lower_classes);
    tcase_add_test(tc, critical_takes_the_lower_runner_first);
    tcase_add_test(tc, critical_takes_the_larger_of_two_alike);
    tcase_add_test(tc, critical_spares_what_would_stay);
    tcase_add_test(tc, the_least_work_is_lost_first);
    tcase_add_test(tc, weights_decide_last);
    tcase_add_test(tc, the_last_one_ends_only_if_the_level_stays);
    tcase_add_test(tc, idle_models_go_first);
    tcase_add_test(tc, an_unload_that_never_ends_is_waited_for_ten_seconds);
    tcase_add_test(tc, memory_is_waited_for);
    tcase_add_test(tc, others_memory_is_not_ours_to_free);
    tcase_add_test(tc, calls_that_free_nothing_are_not_touched);
    tcase_add_test(tc, without_a_budget_nobody_is_touched);
    tcase_add_test(tc, from_high_on_one_model_works_at_a_time);
    tcase_add_test(tc, in_an_emergency_nobody_takes_a_place);
    tcase_add_test(tc, no_victim_breaks_a_rule);
}

TEST_MAIN("pressure_relief", add_tests)
