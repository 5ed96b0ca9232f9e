/*
 * What is in memory, and what may be loaded: the gate, the plans, and a small device under a clock of
 * its own whose servers do what the core asks, or fail to.
 */
#include <stdio.h>

#include "core/model_load.h"
#include "core/residency.h"
#include "router_support.h"

#define MIB  (UINT64_C(1) << 20)
#define MSEC USEC_PER_MSEC

static struct router g_router;
static struct footprints g_footprints;
static struct residency g_r;
static uint64_t g_now;
static bool g_is_trusted;

static bool is_trusted(const struct backend *b, const char *model, uint64_t now_usec)
{
    return g_is_trusted;
}

static const struct memory_ops memory_ops = {.is_trusted = is_trusted};
static const struct backend_ops ollama_ops = {.free = router_backend_free};

static const struct residency_params params = {
    .is_on = true,
    .max_wait_usec = {15 * SEC, 120 * SEC, 600 * SEC},
};

/* Models of one server on this device: the group "a" serves "ua", with two slots. */
static void plan_models(const char *const *names, size_t n)
{
    struct router_plan plan = {0};

    for (size_t i = 0; i < n; i++) {
        char upstream[8];
        struct backend *b = router_backend();

        (void) snprintf(upstream, sizeof upstream, "u%s", names[i]);
        ck_assert_ptr_nonnull(b);
        b->ops = &ollama_ops;
        b->memory = &memory_ops;

        struct deployment *d = deployment_new(&(struct deployment_spec) {.id = names[i],
                                                                         .fingerprint = names[i],
                                                                         .provider = "ollama",
                                                                         .upstream_model = upstream,
                                                                         .api_base = "here",
                                                                         .slots = 2,
                                                                         .is_local = true},
                                              b);

        ck_assert_ptr_nonnull(d);
        ck_assert_int_eq(router_plan_add(&plan, names[i], d), 0);
    }
    router_commit(&g_router, &plan);
}

static struct deployment *deployment(const char *name)
{
    return router_resolve(&g_router, str_from(name))->deployments[0];
}

static struct residency_model *model(const char *name)
{
    return residency_of(&g_r, deployment(name), NULL);
}

static void set_memory(uint64_t total_mib, uint64_t available_mib)
{
    residency_set_memory(&g_r, &(struct residency_memory) {total_mib * MIB, available_mib * MIB, 0},
                         1, g_now);
}

static void told(const char *name, uint64_t needs_mib)
{
    residency_told(model(name), STR_NONE, 4096, 1,
                   &(struct footprint_facts) {.told_bytes = needs_mib * MIB}, false);
}

static void setup(void)
{
    static const char *const names[] = {"a", "b", "c"};

    g_now = 1000 * SEC;
    g_is_trusted = false;
    router_init(&g_router);
    footprints_init(&g_footprints);
    residency_init(&g_r, &params, &g_router, &g_footprints);
    plan_models(names, ARRAY_LEN(names));
    g_router.residency = &g_r;
    set_memory(2000, 1600); /* R_soft 240, R_hard 160, R_crit 96 */
    told("a", 800);
    told("b", 900);
    told("c", 100);
}

static void teardown(void)
{
    ck_assert_uint_eq(residency_n_reservations(&g_r), 0);
    ck_assert_uint_eq(residency_reserved_bytes(&g_r), 0);
    residency_done(&g_r);
    router_done(&g_router);
}

static struct deployment *pick(const char *name, enum call_class class, uint64_t since_usec)
{
    const struct router_wish wish = {
        .name = str_from(name), .class = class, .since_usec = since_usec};

    return router_pick(&g_router, router_resolve(&g_router, str_from(name)), &wish, g_now);
}

/* A call that is served if it may be, else waits as of now. */
static struct deployment *call(const char *name)
{
    struct deployment *d;

    residency_begin_run(&g_r);
    d = pick(name, CLASS_INTERACTIVE, g_now);
    residency_end_run(&g_r, g_now);
    return d;
}

/* One run in which these calls wait. */
static void wait_for(const char *name, enum call_class class, uint64_t since_usec)
{
    residency_begin_run(&g_r);
    ck_assert_ptr_null(pick(name, class, since_usec));
    residency_end_run(&g_r, g_now);
}

static void release(struct deployment *d)
{
    router_release(&g_router, d, g_now);
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
}

static void loaded(const char *name, uint64_t took_usec)
{
    residency_load_began(&g_r, model(name), g_now);
    g_now += took_usec;
    ck_assert(!residency_load_ended(&g_r, model(name), RESIDENCY_LOAD_OK, g_now));
}

/* Loaded by a call that has ended. */
static void load(const char *name, uint64_t took_usec)
{
    struct deployment *d = call(name);

    ck_assert_ptr_nonnull(d);
    loaded(name, took_usec);
    release(d);
}

static bool next(struct residency_action *ret)
{
    return residency_next(&g_r, g_now, ret);
}

static void assert_next(enum residency_verb verb, enum residency_reason reason, const char *name)
{
    struct residency_action action;

    ck_assert(next(&action));
    ck_assert_int_eq(action.verb, verb);
    ck_assert_int_eq(action.reason, reason);
    ck_assert_ptr_eq(action.model, model(name));
}

static void assert_nothing(void)
{
    struct residency_action action;

    ck_assert(!next(&action));
}

static void assert_state(const char *name, enum residency_state state)
{
    ck_assert_str_eq(residency_state_name(model(name)->state), residency_state_name(state));
}

static enum errcode refusal(const char *name)
{
    return residency_refusal(&g_r, deployment(name), NULL, g_now).code;
}

/* ---------------------------------------------------------------- the gate */

START_TEST(a_call_loads_what_fits)
{
    struct deployment *d = call("a");

    ck_assert_ptr_nonnull(d);
    assert_state("a", RESIDENCY_RESERVED);
    ck_assert_uint_eq(residency_reserved_bytes(&g_r), 800 * MIB);
    ck_assert_ptr_null(call("a")); /* the second slot waits in the queue meanwhile */
    loaded("a", 2 * SEC);
    assert_state("a", RESIDENCY_RESIDENT);
    g_is_trusted = true;

    struct deployment *second = call("a");

    ck_assert_ptr_nonnull(second);
    release(d);
    release(second);
}
END_TEST

START_TEST(one_load_at_a_time)
{
    struct deployment *d = call("a");

    ck_assert_ptr_nonnull(d);
    ck_assert_ptr_null(call("c")); /* it would fit */
    loaded("a", 2 * SEC);
    set_memory(2000, 800);

    struct deployment *c = call("c");

    ck_assert_ptr_nonnull(c);
    loaded("c", SEC);
    release(c);
    release(d);
}
END_TEST

/* The kernel's numbers may lag behind a load: its memory is not given to the next one. */
START_TEST(what_was_just_loaded_is_counted)
{
    load("a", SEC);
    set_memory(2000, 1600);
    wait_for("b", CLASS_INTERACTIVE, g_now);
    g_now += SEC;
    set_memory(2000, 1600);
    load("b", SEC); /* so it was a lie */
}
END_TEST

START_TEST(a_reservation_of_no_use_ends)
{
    struct deployment *d = call("a");

    release(d); /* its call ended before the loader was asked */
    assert_state("a", RESIDENCY_UNLOADED);
    ck_assert_uint_eq(residency_reserved_bytes(&g_r), 0);
}
END_TEST

START_TEST(what_can_never_fit_is_refused)
{
    char text[RESIDENCY_TEXT_BYTES];
    struct router_refusal why;

    told("a", 1841);
    ck_assert_int_eq(refusal("a"), ERRCODE_MODEL_EXCEEDS);
    ck_assert(
        router_refuses(&g_router, router_resolve(&g_router, STR_LIT("a")), NULL, g_now, &why));
    ck_assert_int_eq(why.code, ERRCODE_MODEL_EXCEEDS);
    ck_assert_uint_eq(why.retry_after_usec, 0);
    ck_assert_ptr_nonnull(residency_describe(&g_r, deployment("a"), NULL, g_now, text));
    ck_assert_ptr_nonnull(strstr(text, "1841 MiB"));
    ck_assert_ptr_nonnull(strstr(text, "2000 MiB"));
    told("a", 1840);
    ck_assert_int_ne(refusal("a"), ERRCODE_MODEL_EXCEEDS);
}
END_TEST

START_TEST(what_no_eviction_helps_is_refused_for_now)
{
    told("a", 1500);
    wait_for("a", CLASS_INTERACTIVE, g_now);
    assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "a"); /* its server may hold it already */
    ck_assert_int_eq(refusal("a"), ERRCODE_NONE);
    residency_looked(&g_r, model("a"), false, 0, false, g_now);
    ck_assert_int_eq(refusal("a"), ERRCODE_MODEL_BUDGET);
    set_memory(2000, 1800);
    ck_assert_int_eq(refusal("a"), ERRCODE_NONE);
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
}
END_TEST

/* Restarted, sluice finds that Ollama has it: no second budget for it. */
START_TEST(what_is_there_already_is_found)
{
    told("a", 1500);
    wait_for("a", CLASS_INTERACTIVE, g_now);
    assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "a");
    residency_looked(&g_r, model("a"), true, 1500 * MIB, false, g_now);

    struct deployment *d = call("a");

    ck_assert_ptr_nonnull(d);
    release(d);
}
END_TEST

START_TEST(a_server_is_asked_before_the_first_load)
{
    model("a")->is_told = false;
    wait_for("a", CLASS_INTERACTIVE, g_now);
    assert_next(RESIDENCY_INQUIRE, RESIDENCY_FOR_MODEL, "a");
    assert_nothing();
    told("a", 800);

    struct deployment *d = call("a");

    ck_assert_ptr_nonnull(d);
    release(d);
}
END_TEST

START_TEST(without_a_budget_nothing_waits)
{
    g_r.params.is_on = false;
    told("a", 100000);

    struct deployment *a = call("a"), *again = call("a"), *b = call("b");

    ck_assert(a && again && b);
    residency_load_began(&g_r, model("a"), g_now);
    ck_assert(!residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_OK, g_now));
    release(a);
    release(again);
    release(b);
    assert_nothing();
    ck_assert_uint_ge(residency_next_at(&g_r, g_now), g_now + 300 * SEC);
}
END_TEST

START_TEST(a_cache_that_nobody_bounds_is_counted)
{
    struct footprint_facts facts = {.file_bytes = 800 * MIB};

    residency_told(model("a"), STR_NONE, 4096, 1, &facts, false);
    ck_assert_uint_eq(residency_need(&g_r, model("a")).asked_bytes, 1350 * MIB);
    ck_assert_ptr_nonnull(call("a"));
    release(deployment("a"));
    told("c", 10);
    load("c", SEC);
    g_r.params.is_cache_unbounded = true; /* a quarter of 2000 MiB */
    g_now += SEC;
    set_memory(2000, 1600);
    ck_assert_ptr_null(call("a"));
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
}
END_TEST

/* 1200 + 100 MiB for certain, 1620 by the guess, 2025 asked: R_hard is what counts, 160. */
static void guess(const char *name)
{
    static const struct footprint_facts facts = {.file_bytes = 1200 * MIB, .kv_bytes = 100 * MIB};

    residency_told(model(name), STR_NONE, 4096, 1, &facts, false);
}

START_TEST(a_guess_keeps_no_model_from_an_empty_device)
{
    struct deployment *d;

    guess("a");
    set_memory(2000, 1459);
    ck_assert_ptr_null(call("a"));
    set_memory(2000, 1460);
    d = call("a");
    ck_assert_ptr_nonnull(d);
    residency_load_began(&g_r, model("a"), g_now);
    set_memory(2000, 95); /* the watch over it ends what goes wrong */
    assert_next(RESIDENCY_STOP, RESIDENCY_EMERGENCY, "a");
    ck_assert(residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_KILLED, g_now));
    release(d);
}
END_TEST

START_TEST(an_empty_device_is_made_for_a_guess)
{
    load("c", SEC);
    g_now += SEC;
    set_memory(2000, 1459);
    guess("a");
    wait_for("a", CLASS_INTERACTIVE, g_now);
    assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "a");
    residency_looked(&g_r, model("a"), false, 0, false, g_now);
    ck_assert_int_eq(refusal("a"), ERRCODE_NONE);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_MODEL, "c");
    residency_unloaded(&g_r, model("c"), true, g_now);
    g_now += SEC;
    set_memory(2000, 1600);
    load("a", SEC);
}
END_TEST

START_TEST(no_guess_is_refused_for_good)
{
    const struct footprint_facts fits = {.file_bytes = 1840 * MIB};
    const struct footprint_facts exceeds = {.file_bytes = 1841 * MIB};

    residency_told(model("a"), STR_NONE, 4096, 1, &fits, false);
    ck_assert_int_eq(refusal("a"), ERRCODE_NONE);
    residency_told(model("a"), STR_NONE, 4096, 1, &exceeds, false);
    ck_assert_int_eq(refusal("a"), ERRCODE_MODEL_EXCEEDS);
}
END_TEST

/* ---------------------------------------------------------------- loads that fail */

START_TEST(a_killed_load_is_quarantined)
{
    uint64_t expected = 60 * SEC;
    struct router_refusal why;

    for (unsigned i = 0; i < 6; i++) {
        struct deployment *d = call("a");

        ck_assert_ptr_nonnull(d);
        residency_load_began(&g_r, model("a"), g_now);
        ck_assert(residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_KILLED, g_now));
        release(d);
        ck_assert_int_eq(refusal("a"), ERRCODE_MODEL_QUARANTINED);
        ck_assert_ptr_null(call("a"));
        ck_assert_uint_eq(model("a")->quarantined_until_usec - g_now, expected);
        ck_assert(
            router_refuses(&g_router, router_resolve(&g_router, STR_LIT("a")), NULL, g_now, &why));
        ck_assert(why.is_long == (i > 0));
        g_now += expected;
        expected = expected * 2 < 900 * SEC ? expected * 2 : 900 * SEC;
    }
    load("a", SEC);
    ck_assert_uint_eq(model("a")->n_quarantines, 0);
}
END_TEST

START_TEST(one_failure_may_be_chance)
{
    for (unsigned i = 0; i < 3; i++) {
        struct deployment *d = call("a");
        bool is_second = i == 2; /* the first was too long ago */

        ck_assert_ptr_nonnull(d);
        residency_load_began(&g_r, model("a"), g_now);
        ck_assert_int_eq(residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_FAILED, g_now),
                         is_second);
        release(d);
        g_now += i == 0 ? 601 * SEC : SEC;
    }
    ck_assert_int_eq(refusal("a"), ERRCODE_MODEL_QUARANTINED);
}
END_TEST

START_TEST(an_unknown_model_is_not_quarantined)
{
    for (unsigned i = 0; i < 5; i++) {
        struct deployment *d = call("a");

        ck_assert_ptr_nonnull(d);
        residency_load_began(&g_r, model("a"), g_now);
        ck_assert(!residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_UNKNOWN, g_now));
        release(d);
    }
}
END_TEST

START_TEST(a_load_beyond_its_plan_is_stopped)
{
    struct deployment *d = call("a");

    residency_load_began(&g_r, model("a"), g_now);
    residency_seen(&g_r, model("a"), 999 * MIB, 0);
    assert_nothing();
    residency_seen(&g_r, model("a"), 1002 * MIB, 0);
    assert_next(RESIDENCY_STOP, RESIDENCY_OVER_PLAN, "a");
    assert_nothing();
    ck_assert(residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_KILLED, g_now));
    release(d);
    ck_assert_uint_ge(residency_need(&g_r, model("a")).bytes, 1302 * MIB); /* it was a lie */
}
END_TEST

START_TEST(a_load_that_leaves_nothing_is_stopped)
{
    struct deployment *d = call("a");

    residency_load_began(&g_r, model("a"), g_now);
    set_memory(2000, 95);
    assert_next(RESIDENCY_STOP, RESIDENCY_EMERGENCY, "a");
    ck_assert(residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_KILLED, g_now));
    release(d);
}
END_TEST

START_TEST(a_lost_server_holds_nothing)
{
    struct deployment *d = call("a");

    residency_load_began(&g_r, model("a"), g_now);
    residency_server_lost(&g_r, "here", g_now);
    (void) residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_UNKNOWN, g_now);
    release(d);
    assert_state("a", RESIDENCY_UNLOADED);
    load("a", SEC);
    residency_server_lost(&g_r, "elsewhere", g_now);
    assert_state("a", RESIDENCY_RESIDENT);
    residency_server_lost(&g_r, "here", g_now);
    assert_state("a", RESIDENCY_UNLOADED);
}
END_TEST

/* ---------------------------------------------------------------- evictions */

static void b_waits(enum call_class class, uint64_t since_usec)
{
    struct residency_action action;

    wait_for("b", class, since_usec);
    while (next(&action) && action.verb == RESIDENCY_LOOK) {
        residency_looked(&g_r, action.model, false, 0, true, g_now);
    }
}

START_TEST(an_idle_model_goes)
{
    load("a", 2 * SEC);
    set_memory(2000, 800);
    b_waits(CLASS_INTERACTIVE, g_now);
    assert_state("a", RESIDENCY_RESIDENT); /* as long as its load took it stays */
    g_now += 2 * SEC;
    wait_for("b", CLASS_INTERACTIVE, g_now);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_MODEL, "a");
    assert_nothing();
    residency_unloaded(&g_r, model("a"), true, g_now);
    set_memory(2000, 1600);
    load("b", SEC);
}
END_TEST

/* The one that is largest for its load and was used longest ago, and not more than needed. */
START_TEST(the_plan_takes_no_more_than_it_needs)
{
    load("a", 2 * SEC);
    load("c", SEC);
    set_memory(2000, 700);
    g_now += 10 * SEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    ck_assert_int_eq(model("a")->state, RESIDENCY_UNLOADING);
    residency_unloaded(&g_r, model("a"), true, g_now);
    set_memory(2000, 1500);
    g_now += SEC;
    load("b", SEC);
    assert_state("c", RESIDENCY_RESIDENT);
}
END_TEST

/* Its runner is gone, and the kernel's numbers follow later: nobody is refused, nobody else goes. */
START_TEST(what_was_freed_is_waited_for)
{
    for (unsigned is_seen = 0; is_seen < 2; is_seen++) {
        load("a", SEC);
        set_memory(2000, 400);
        g_now += 60 * SEC;
        b_waits(CLASS_INTERACTIVE, g_now);
        ck_assert_int_eq(model("a")->state, RESIDENCY_UNLOADING);
        residency_unloaded(&g_r, model("a"), true, g_now);
        set_memory(2000, 405);
        ck_assert_int_eq(refusal("b"), ERRCODE_NONE);
        g_now += is_seen ? SEC : 10 * SEC;
        set_memory(2000, is_seen ? 1600 : 405);
        ck_assert_int_eq(refusal("b"), is_seen ? ERRCODE_NONE : ERRCODE_MODEL_BUDGET);
        set_memory(2000, 1600);
    }
}
END_TEST

START_TEST(an_unload_that_does_not_happen_is_not_repeated_at_once)
{
    load("a", SEC);
    set_memory(2000, 800);
    g_now += 10 * SEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    ck_assert_int_eq(model("a")->state, RESIDENCY_UNLOADING);
    residency_unloaded(&g_r, model("a"), false, g_now);
    assert_state("a", RESIDENCY_RESIDENT);
    ck_assert_uint_eq(g_r.n_stuck, 1);
    g_now += 20 * SEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    assert_state("a", RESIDENCY_RESIDENT);
    g_now += 10 * SEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    ck_assert_int_eq(model("a")->state, RESIDENCY_UNLOADING);
    residency_unloaded(&g_r, model("a"), true, g_now);
}
END_TEST

/* A call runs at a, and b needs its room. */
static struct deployment *drain_a(void)
{
    struct deployment *d;

    load("a", SEC);
    g_is_trusted = true;
    d = call("a");
    g_is_trusted = false;
    set_memory(2000, 800);
    g_now += 4 * SEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    assert_state("a", RESIDENCY_DRAINING);
    return d;
}

/* In use: it takes no more calls, and goes with the last. */
START_TEST(a_model_in_use_is_drained)
{
    struct deployment *d = drain_a();

    ck_assert_ptr_null(call("a"));
    wait_for("b", CLASS_INTERACTIVE, g_now);
    router_release(&g_router, d, g_now);
    wait_for("b", CLASS_INTERACTIVE, g_now);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_MODEL, "a");
    residency_unloaded(&g_r, model("a"), true, g_now);
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
}
END_TEST

START_TEST(a_drain_for_nobody_ends)
{
    struct deployment *d = drain_a();

    residency_begin_run(&g_r); /* whoever waited for b has left */
    residency_end_run(&g_r, g_now);
    assert_nothing();
    assert_state("a", RESIDENCY_RESIDENT);
    release(d);
}
END_TEST

/* Both are wanted: by age, or at once for a higher class; and never before three loads are over. */
START_TEST(turns_between_two_that_are_wanted)
{
    struct deployment *d;
    uint64_t since;

    load("a", SEC);
    g_is_trusted = true;
    d = call("a");
    ck_assert_ptr_nonnull(call("a")); /* both slots */
    g_is_trusted = false;
    set_memory(2000, 800);
    since = g_now;

    for (unsigned sec = 0; sec < 9; sec++) {
        residency_begin_run(&g_r);
        ck_assert_ptr_null(pick("a", CLASS_INTERACTIVE, g_now));
        ck_assert_ptr_null(pick("b", CLASS_INTERACTIVE, since));
        residency_end_run(&g_r, g_now);

        struct residency_action action;

        while (next(&action)) {
            ck_assert_int_eq(action.verb, RESIDENCY_LOOK);
            residency_looked(&g_r, action.model, action.model == model("a"), 0, true, g_now);
        }
        /* half of the 15 s that an interactive call may wait */
        assert_state("a", g_now - since < 7500 * MSEC ? RESIDENCY_RESIDENT : RESIDENCY_DRAINING);
        g_now += SEC;
    }
    release(d);
    release(d);
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
    assert_nothing();
}
END_TEST

START_TEST(a_higher_class_does_not_wait_its_age)
{
    struct deployment *d;

    load("a", SEC);
    g_is_trusted = true;
    d = call("a");
    ck_assert_ptr_nonnull(call("a"));
    g_is_trusted = false;
    set_memory(2000, 800);
    g_now += 4 * SEC;
    residency_begin_run(&g_r);
    ck_assert_ptr_null(pick("a", CLASS_BATCH, g_now));
    ck_assert_ptr_null(pick("b", CLASS_INTERACTIVE, g_now));
    residency_end_run(&g_r, g_now);
    assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "b");
    residency_looked(&g_r, model("b"), false, 0, false, g_now);
    assert_nothing();
    assert_state("a", RESIDENCY_DRAINING);
    release(d);
    release(d);
    assert_nothing();
}
END_TEST

/* ---------------------------------------------------------------- pressure */

START_TEST(levels_unload_who_is_idle)
{
    load("a", SEC);
    load("c", SEC);
    residency_set_level(&g_r, 1, g_now);
    assert_nothing();
    ck_assert_ptr_null(call("b"));
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
    g_now += 59 * SEC;
    assert_nothing();
    g_now += 3 * SEC;
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_LEVEL, "a"); /* the largest first */
    assert_nothing();
    residency_unloaded(&g_r, model("a"), true, g_now);
    assert_nothing(); /* a second between two */
    g_now += SEC;
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_LEVEL, "c");
    residency_unloaded(&g_r, model("c"), true, g_now);
}
END_TEST

START_TEST(level_two_waits_for_no_minute)
{
    load("a", SEC);
    g_is_trusted = true;

    struct deployment *d = call("a");

    residency_set_level(&g_r, 2, g_now);
    assert_nothing(); /* in use */
    release(d);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_LEVEL, "a");
    residency_unloaded(&g_r, model("a"), true, g_now);
}
END_TEST

START_TEST(loads_come_back_in_stages)
{
    residency_set_level(&g_r, 2, g_now);
    residency_set_level(&g_r, 0, g_now);
    g_now += 15 * SEC - 1;
    ck_assert_ptr_null(call("a"));
    g_now += 1;
    load("a", SEC);
    set_memory(2000, 800);
    g_now += 29 * SEC;
    ck_assert_ptr_null(call("c"));
    g_now += SEC;
    load("c", SEC);
    residency_unloaded(&g_r, model("c"), true, g_now);
    g_now += 75 * SEC; /* two minutes are over */
    load("c", SEC);
}
END_TEST

START_TEST(what_has_grown_goes_when_memory_is_short)
{
    load("a", SEC);
    residency_seen(&g_r, model("a"), 700 * MIB, 0);
    residency_seen(&g_r, model("a"), 1100 * MIB, 0);
    set_memory(2000, 500);
    assert_nothing();
    set_memory(2000, 200);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_GROWN, "a");
    residency_unloaded(&g_r, model("a"), true, g_now);
}
END_TEST

/* ---------------------------------------------------------------- operators */

START_TEST(the_smaller_of_two_places_counts)
{
    static const struct {
        uint64_t total, headroom, ret_total, ret_available, ret_soft; /* MiB */
    } rows[] = {
        {1000, 900, 1000, 900, 120},   /* a limit that leaves less than the device does */
        {1000, 1500, 1000, 1600, 240}, /* nonsense: no limit leaves more than it is */
        {3000, 2900, 2000, 1600, 240}, /* a limit that never holds */
        {600, 600, 600, 600, 72},      /* a small group has a small reserve */
        {0, 0, 2000, 1600, 240},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct residency_memory memory = {2000 * MIB, 1600 * MIB, 0};
        struct memory_place_sample place = {.has_room = rows[i].total > 0,
                                            .total_bytes = rows[i].total * MIB,
                                            .headroom_bytes = rows[i].headroom * MIB};

        residency_memory_add(&memory, &place);
        residency_set_memory(&g_r, &memory, 1, g_now);
        ck_assert_uint_eq(memory.total_bytes / MIB, rows[i].ret_total);
        ck_assert_uint_eq(memory.available_bytes / MIB, rows[i].ret_available);
        ck_assert_uint_eq(residency_reserve_soft(&g_r) / MIB, rows[i].ret_soft);
    }

    struct residency_memory nothing = {.total_bytes = 0};

    residency_memory_add(&nothing, &(struct memory_place_sample) {
                                       .has_room = true, .total_bytes = 7, .headroom_bytes = 5});
    ck_assert_uint_eq(nothing.available_bytes, 5); /* a device that tells less than its groups */
}
END_TEST

/* Ollama drops what nobody uses: it is looked for, and once it is gone nothing is waited for. */
START_TEST(what_nobody_uses_is_looked_for_seldom)
{
    uint64_t at;

    ck_assert(!residency_is_exposed(&g_r));
    load("a", SEC);
    ck_assert(residency_is_exposed(&g_r));
    for (unsigned i = 0; i < 2; i++) {
        at = residency_next_at(&g_r, g_now);
        ck_assert_uint_ge(at, g_now + 300 * SEC);
        ck_assert_uint_lt(at, g_now + 310 * SEC);
        assert_nothing();
        g_now = at;
        assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "a");
        assert_nothing();
        residency_looked(&g_r, model("a"), i == 0, 0, false, g_now);
    }
    ck_assert(!residency_is_exposed(&g_r));
    ck_assert_uint_eq(residency_next_at(&g_r, g_now), USEC_NEVER);
}
END_TEST

#define PENDING (-1)

static int g_wished;

static void on_wish(struct model_load *load, enum errcode code, const char *text)
{
    g_wished = (int) code;
    ck_assert(!list_is_linked(&load->link) && (code == ERRCODE_NONE || text[0] != '\0'));
}

static void wish(struct model_load *load, const char *name)
{
    g_wished = PENDING;
    ck_assert_int_eq(model_load_start(load, &g_router, str_from(name), g_now), ERRCODE_NONE);
    ck_assert(!load->was_there);
    model_loads_turn(&g_r, g_now);
}

static void load_and_forget(const char *name)
{
    load(name, SEC);
    g_now += 60 * SEC;
}

START_TEST(an_operator_loads)
{
    struct model_load load = {.on_done = on_wish}, again = load;

    wish(&load, "a");
    assert_next(RESIDENCY_LOAD, RESIDENCY_BY_OPERATOR, "a");
    ck_assert_uint_eq(residency_reserved_bytes(&g_r), 800 * MIB);
    loaded("a", SEC);
    model_loads_turn(&g_r, g_now);
    ck_assert_int_eq(g_wished, ERRCODE_NONE);
    assert_state("a", RESIDENCY_RESIDENT);
    assert_nothing();
    g_is_trusted = true;
    ck_assert_int_eq(model_load_start(&again, &g_router, STR_LIT("a"), g_now), ERRCODE_NONE);
    ck_assert(again.was_there);
    ck_assert_int_eq(model_load_start(&again, &g_router, STR_LIT("x"), g_now),
                     ERRCODE_MODEL_NOT_FOUND);
}
END_TEST

START_TEST(an_operator_is_refused_as_a_call_is)
{
    struct model_load load = {.on_done = on_wish};

    told("b", 5000);
    wish(&load, "b");
    ck_assert_int_eq(g_wished, ERRCODE_MODEL_EXCEEDS);
    ck_assert_uint_eq(model("b")->n_wishes, 0);
    assert_nothing();
    wish(&load, "a");
    assert_next(RESIDENCY_LOAD, RESIDENCY_BY_OPERATOR, "a");
    residency_load_began(&g_r, model("a"), g_now);
    (void) residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_KILLED, g_now);
    model_loads_end(&g_r, model("a"), ERRCODE_UPSTREAM_OUT_OF_MEMORY, "killed");
    ck_assert_int_eq(g_wished, ERRCODE_UPSTREAM_OUT_OF_MEMORY);
    wish(&load, "a");
    ck_assert_int_eq(g_wished, ERRCODE_MODEL_QUARANTINED);
}
END_TEST

/* What nobody waits for any more is not loaded, and what never fits in time ends. */
START_TEST(an_operator_gives_up)
{
    struct model_load load = {.on_done = on_wish};

    set_memory(2000, 400);
    model("a")->looked_at_usec = 0;
    wish(&load, "a");
    ck_assert_int_eq(g_wished, PENDING);
    model_load_cancel(&load);
    model_load_cancel(&load);
    set_memory(2000, 1600);
    assert_nothing();
    residency_set_level(&g_r, 1, g_now);
    wish(&load, "a");
    assert_nothing();
    g_now += 600 * SEC;
    model_loads_turn(&g_r, g_now);
    ck_assert_int_eq(g_wished, ERRCODE_MODEL_BUDGET);
    assert_nothing();
}
END_TEST

/* It may have gone since: its server is asked. */
START_TEST(an_operator_wants_what_may_be_there)
{
    struct model_load load = {.on_done = on_wish};

    load_and_forget("a");
    wish(&load, "a");
    ck_assert_int_eq(g_wished, PENDING);
    assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "a");
    residency_looked(&g_r, model("a"), true, 0, false, g_now);
    model_loads_turn(&g_r, g_now);
    ck_assert_int_eq(g_wished, ERRCODE_NONE);
}
END_TEST

START_TEST(what_is_shown)
{
    struct residency_view view;

    ck_assert(residency_view(&g_r, deployment("a"), g_now, &view));
    ck_assert_str_eq(view.state, "unloaded");
    ck_assert_str_eq(view.fits, "now");
    ck_assert_uint_eq(view.need_bytes, 800 * MIB);
    load("a", SEC);
    set_memory(2000, 800);
    ck_assert(residency_view(&g_r, deployment("b"), g_now, &view));
    ck_assert_str_eq(view.fits, "later");
    told("b", 1839);
    ck_assert(residency_view(&g_r, deployment("b"), g_now, &view));
    ck_assert_str_eq(view.fits, "not now");
    told("b", 1841);
    ck_assert(residency_view(&g_r, deployment("b"), g_now, &view));
    ck_assert_str_eq(view.fits, "never");
    ck_assert(residency_view(&g_r, deployment("a"), g_now, &view));
    ck_assert_uint_eq(view.held_bytes, 800 * MIB);
    model("c")->is_told = false;
    residency_want_facts(&g_r);
    assert_next(RESIDENCY_INQUIRE, RESIDENCY_FOR_MODEL, "c");
    assert_nothing();
    ck_assert(residency_view(&g_r, deployment("c"), g_now, &view));
    ck_assert_str_eq(view.state, "asked");
}
END_TEST

/* ---------------------------------------------------------------- the table */

START_TEST(names_without_end_are_bounded)
{
    for (unsigned i = 0; i < 3 * RESIDENCY_MODELS_MAX; i++) {
        char name[16];

        (void) snprintf(name, sizeof name, "n%u", i);
        ck_assert_ptr_nonnull(residency_of(&g_r, deployment("a"), name));
        ck_assert_uint_le(g_r.n_models, RESIDENCY_MODELS_MAX);
    }
}
END_TEST

static void grow_table(void)
{
    (void) residency_of(&g_r, deployment("a"), "another");
}

START_TEST(without_memory_nobody_watches)
{
    for_each_failed_allocation(grow_table);
}
END_TEST

/* ---------------------------------------------------------------- a device */

/*
 * Models with sizes of their own on a device; calls come at random, servers fail at random. What must
 * hold at each moment is checked in step().
 */
#define N_CALLS 24

struct waiting_call {
    bool is_there;
    const char *model;
    enum call_class class;
    uint64_t since_usec;
    struct deployment *d; /* that serves it */
    uint64_t ends_at_usec;
};

struct device {
    uint64_t seed;
    uint64_t used_mib; /* by others */
    struct waiting_call calls[N_CALLS];
    struct residency_model *unloading;
    uint64_t unload_ends_at_usec, load_ends_at_usec, last_action_usec;
    struct residency_model *loading;
    unsigned n_loads, n_served, n_unloads;
};

static const char *const names[] = {"a", "b", "c"};
static const uint64_t true_mib[] = {800, 900, 100};

static uint32_t chance(struct device *v, uint32_t n)
{
    v->seed = v->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t) (v->seed >> 33) % n;
}

static uint64_t true_bytes(const struct residency_model *m)
{
    return true_mib[m->name[1] - 'a'] * MIB;
}

static uint64_t available(const struct device *v)
{
    uint64_t taken = v->used_mib * MIB;

    list_for_each (l, &g_r.models) {
        const struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);
        bool is_there = m->state == RESIDENCY_RESIDENT || m->state == RESIDENCY_DRAINING ||
                        m->state == RESIDENCY_UNLOADING || m->state == RESIDENCY_LOADING;

        taken += is_there ? true_bytes(m) : 0;
    }
    ck_assert_uint_le(taken, 2000 * MIB); /* nothing is killed */
    return 2000 * MIB - taken;
}

static void look_at_memory(const struct device *v)
{
    residency_set_memory(&g_r, &(struct residency_memory) {2000 * MIB, available(v), 0}, 1, g_now);
}

static void act(struct device *v)
{
    struct residency_action action;

    while (residency_next(&g_r, g_now, &action)) {
        switch (action.verb) {
        case RESIDENCY_LOOK:
            residency_looked(&g_r, action.model, action.model->state == RESIDENCY_RESIDENT, 0,
                             false, g_now);
            break;
        case RESIDENCY_UNLOAD:
            ck_assert_ptr_null(v->unloading);
            ck_assert_ptr_null(v->loading);
            ck_assert(!residency_model_is_in_use(&g_r, action.model));
            ck_assert(v->last_action_usec == 0 || g_now - v->last_action_usec >= SEC);
            v->unloading = action.model;
            v->unload_ends_at_usec = g_now + 50 * MSEC + chance(v, 1000) * MSEC;
            v->n_unloads++;
            break;
        case RESIDENCY_INQUIRE:
        case RESIDENCY_LOAD:
        case RESIDENCY_STOP:
            ck_abort();
        }
    }
}

static void begin_loads(struct device *v)
{
    list_for_each (l, &g_r.models) {
        struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        if (m->state != RESIDENCY_RESERVED) {
            continue;
        }
        ck_assert_ptr_null(v->loading);
        ck_assert_ptr_null(v->unloading);
        /* the budget: what is reserved is there, and the reserve beside it */
        ck_assert_uint_ge(available(v), m->reserved_bytes + residency_reserve_soft(&g_r));
        residency_load_began(&g_r, m, g_now);
        v->loading = m;
        v->load_ends_at_usec = g_now + SEC + chance(v, 2000) * MSEC;
        v->n_loads++;
    }
}

static void run(struct device *v)
{
    residency_begin_run(&g_r);
    for (size_t i = 0; i < N_CALLS; i++) {
        struct waiting_call *c = &v->calls[i];

        if (!c->is_there || c->d) {
            continue;
        }
        c->d = pick(c->model, c->class, c->since_usec);
        c->ends_at_usec = g_now + 100 * MSEC + chance(v, 3000) * MSEC;
        if (!c->d && g_now - c->since_usec > params.max_wait_usec[c->class]) {
            c->is_there = false;
        }
    }
    residency_end_run(&g_r, g_now);
    begin_loads(v);
    act(v);
}

static void end_calls(struct device *v)
{
    for (size_t i = 0; i < N_CALLS; i++) {
        struct waiting_call *c = &v->calls[i];
        bool waits = c->d && v->loading && strcmp(v->loading->name, c->d->upstream_model) == 0;

        if (c->d && !waits && g_now >= c->ends_at_usec) {
            router_release(&g_router, c->d, g_now);
            *c = (struct waiting_call) {0};
            v->n_served++;
        }
    }
}

static void step(struct device *v, bool calls_come)
{
    g_now += 50 * MSEC;
    if (v->loading && g_now >= v->load_ends_at_usec) {
        uint32_t fate = chance(v, 20);

        residency_load_ended(&g_r, TAKE(v->loading),
                             fate == 0   ? RESIDENCY_LOAD_KILLED
                             : fate == 1 ? RESIDENCY_LOAD_FAILED
                                         : RESIDENCY_LOAD_OK,
                             g_now);
    }
    if (v->unloading && g_now >= v->unload_ends_at_usec) {
        residency_unloaded(&g_r, TAKE(v->unloading), chance(v, 10) > 0, g_now);
        v->last_action_usec = g_now;
    }
    end_calls(v);
    for (size_t i = 0; calls_come && i < N_CALLS; i++) {
        if (!v->calls[i].is_there && chance(v, 400) == 0) {
            v->calls[i] = (struct waiting_call) {.is_there = true,
                                                 .model = names[chance(v, 3)],
                                                 .class = chance(v, 3),
                                                 .since_usec = g_now};
        }
    }
    look_at_memory(v);
    run(v);
}

/* Ten minutes of calls, then the quiet after them. Also with a neighbour that comes and goes. */
START_TEST(nothing_is_ever_killed)
{
    struct device v = {.seed = (uint64_t) _i * 7919 + 1, .used_mib = 400};

    for (unsigned i = 0; i < 12000; i++) {
        if (chance(&v, 2000) == 0) {
            uint64_t room = available(&v) / MIB;

            v.used_mib = 300 + chance(&v, 200);
            v.used_mib = room < 300 ? 300 : v.used_mib;
        }
        step(&v, true);
    }
    ck_assert_uint_gt(v.n_served, 50);
    ck_assert_uint_gt(v.n_unloads, 3);
    /* a load takes 1 s at least, and what was loaded stays as long as that took */
    ck_assert_uint_le(v.n_loads, 600 / 2);
    for (unsigned i = 0; i < 20 * 700 && residency_n_reservations(&g_r) + v.n_loads > 0; i++) {
        step(&v, false);
    }
    for (size_t i = 0; i < N_CALLS; i++) {
        ck_assert(!v.calls[i].is_there);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ck_assert_uint_eq(deployment(names[i])->in_use, 0);
        ck_assert_int_ne(model(names[i])->state, RESIDENCY_DRAINING);
        ck_assert_int_ne(model(names[i])->state, RESIDENCY_UNLOADING);
    }
    ck_assert_uint_gt(residency_next_at(&g_r, g_now), g_now + SEC); /* nothing is polled */
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_call_loads_what_fits);
    tcase_add_test(tc, one_load_at_a_time);
    tcase_add_test(tc, what_was_just_loaded_is_counted);
    tcase_add_test(tc, a_reservation_of_no_use_ends);
    tcase_add_test(tc, what_can_never_fit_is_refused);
    tcase_add_test(tc, what_no_eviction_helps_is_refused_for_now);
    tcase_add_test(tc, what_is_there_already_is_found);
    tcase_add_test(tc, a_server_is_asked_before_the_first_load);
    tcase_add_test(tc, without_a_budget_nothing_waits);
    tcase_add_test(tc, a_cache_that_nobody_bounds_is_counted);
    tcase_add_test(tc, a_guess_keeps_no_model_from_an_empty_device);
    tcase_add_test(tc, an_empty_device_is_made_for_a_guess);
    tcase_add_test(tc, no_guess_is_refused_for_good);
    tcase_add_test(tc, a_killed_load_is_quarantined);
    tcase_add_test(tc, one_failure_may_be_chance);
    tcase_add_test(tc, an_unknown_model_is_not_quarantined);
    tcase_add_test(tc, a_load_beyond_its_plan_is_stopped);
    tcase_add_test(tc, a_load_that_leaves_nothing_is_stopped);
    tcase_add_test(tc, a_lost_server_holds_nothing);
    tcase_add_test(tc, an_idle_model_goes);
    tcase_add_test(tc, the_plan_takes_no_more_than_it_needs);
    tcase_add_test(tc, what_was_freed_is_waited_for);
    tcase_add_test(tc, an_unload_that_does_not_happen_is_not_repeated_at_once);
    tcase_add_test(tc, a_model_in_use_is_drained);
    tcase_add_test(tc, a_drain_for_nobody_ends);
    tcase_add_test(tc, turns_between_two_that_are_wanted);
    tcase_add_test(tc, a_higher_class_does_not_wait_its_age);
    tcase_add_test(tc, levels_unload_who_is_idle);
    tcase_add_test(tc, level_two_waits_for_no_minute);
    tcase_add_test(tc, loads_come_back_in_stages);
    tcase_add_test(tc, what_has_grown_goes_when_memory_is_short);
    tcase_add_test(tc, the_smaller_of_two_places_counts);
    tcase_add_test(tc, what_nobody_uses_is_looked_for_seldom);
    tcase_add_test(tc, an_operator_loads);
    tcase_add_test(tc, an_operator_is_refused_as_a_call_is);
    tcase_add_test(tc, an_operator_gives_up);
    tcase_add_test(tc, an_operator_wants_what_may_be_there);
    tcase_add_test(tc, what_is_shown);
    tcase_add_test(tc, names_without_end_are_bounded);
    tcase_add_test(tc, without_memory_nobody_watches);
    tcase_add_loop_test(tc, nothing_is_ever_killed, 0, 12);
}

TEST_MAIN("residency", add_tests)
