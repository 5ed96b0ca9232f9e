/*
 * The budget and the gate: what a model needs, what there is for it, and whether a call may begin to
 * load it, waits, or is refused. And the table of models, which is bounded.
 */
#include "residency_support.h"

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
        struct residency_memory memory = {.total_bytes = 2000 * MIB, .available_bytes = 1600 * MIB};
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

/* A neighbour leaves less of the device than the group has, and of the device more must stay free. */
static void set_neighbour(void)
{
    struct residency_memory memory = {.total_bytes = 8192 * MIB, .available_bytes = 3379 * MIB};

    residency_memory_add(&memory, &(struct memory_place_sample) {.has_room = true,
                                                                 .total_bytes = 3072 * MIB,
                                                                 .headroom_bytes = 3072 * MIB});
    residency_set_memory(&g_r, &memory, 1, g_now);
    ck_assert_uint_eq(residency_reserve_soft(&g_r), 768 * MIB);
}

START_TEST(each_place_has_its_own_reserve)
{
    struct residency_params whole = params;
    struct residency_memory empty = {.total_bytes = 8192 * MIB, .available_bytes = 7700 * MIB};
    char text[RESIDENCY_TEXT_BYTES];

    set_neighbour();
    told("a", 2700);
    load("a", SEC); /* 2867 MiB are left beside R_hard, and there is nobody else */
    residency_unloaded(&g_r, model("a"), true, g_now);
    told("a", 2826);
    ck_assert_int_ne(refusal("a"), ERRCODE_MODEL_EXCEEDS);
    told("a", 2827);
    ck_assert_int_eq(refusal("a"), ERRCODE_MODEL_EXCEEDS);
    ck_assert_ptr_nonnull(residency_describe(&g_r, deployment("a"), NULL, g_now, text));
    ck_assert_ptr_nonnull(strstr(text, "has 3072 MiB, of which 245 MiB"));
    whole.reserve_bytes = 768 * MIB; /* as somebody says: then it is that, wherever */
    residency_set_params(&g_r, &whole);
    told("a", 2560);
    ck_assert_int_ne(refusal("a"), ERRCODE_MODEL_EXCEEDS);
    told("a", 2561);
    ck_assert_int_eq(refusal("a"), ERRCODE_MODEL_EXCEEDS);
    residency_set_params(&g_r, &params);
    residency_memory_add(&empty, &(struct memory_place_sample) {.has_room = true,
                                                                .total_bytes = 8150 * MIB,
                                                                .headroom_bytes = 8150 * MIB});
    residency_set_memory(&g_r, &empty, 1, g_now);
    told("a", 7638); /* of the group, 8150 less 512 */
    ck_assert_int_ne(refusal("a"), ERRCODE_MODEL_EXCEEDS);
    told("a", 7639);
    ck_assert_int_eq(refusal("a"), ERRCODE_MODEL_EXCEEDS);
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

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_smaller_of_two_places_counts);
    tcase_add_test(tc, a_call_loads_what_fits);
    tcase_add_test(tc, one_load_at_a_time);
    tcase_add_test(tc, what_was_just_loaded_is_counted);
    tcase_add_test(tc, a_reservation_of_no_use_ends);
    tcase_add_test(tc, what_can_never_fit_is_refused);
    tcase_add_test(tc, each_place_has_its_own_reserve);
    tcase_add_test(tc, what_no_eviction_helps_is_refused_for_now);
    tcase_add_test(tc, what_is_there_already_is_found);
    tcase_add_test(tc, a_server_is_asked_before_the_first_load);
    tcase_add_test(tc, without_a_budget_nothing_waits);
    tcase_add_test(tc, a_cache_that_nobody_bounds_is_counted);
    tcase_add_test(tc, a_guess_keeps_no_model_from_an_empty_device);
    tcase_add_test(tc, an_empty_device_is_made_for_a_guess);
    tcase_add_test(tc, no_guess_is_refused_for_good);
    tcase_add_test(tc, names_without_end_are_bounded);
    tcase_add_test(tc, without_memory_nobody_watches);
}

TEST_MAIN("residency", add_tests)
