/* When the process that holds a model is looked at, and what follows from its numbers. */
#include "core/residency.h"
#include "router_support.h"

#define MIB  (UINT64_C(1) << 20)
#define MSEC USEC_PER_MSEC

static struct router g_router;
static struct footprints g_footprints;
static struct residency g_r;
static uint64_t g_now;

static bool is_trusted(const struct backend *b, const char *model, uint64_t now_usec)
{
    return false;
}

static const struct memory_ops memory_ops = {.is_trusted = is_trusted};
static const struct backend_ops ollama_ops = {.free = router_backend_free};

/* Deployments "a" and "b" of one server on this device. */
static void plan_models(void)
{
    static const char *const names[] = {"a", "b"};
    struct router_plan plan = {0};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct deployment_spec spec = {.id = names[i],
                                             .fingerprint = names[i],
                                             .provider = "ollama",
                                             .upstream_model = names[i],
                                             .api_base = "here",
                                             .slots = 1,
                                             .is_local = true};
        struct backend *b = router_backend();
        struct deployment *d;

        ck_assert_ptr_nonnull(b);
        b->ops = &ollama_ops;
        b->memory = &memory_ops;
        d = deployment_new(&spec, b);
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
    const struct residency_memory memory = {
        .total_bytes = total_mib * MIB, .available_bytes = available_mib * MIB, .reserve_bytes = 0};

    residency_set_memory(&g_r, &memory, 1, g_now);
}

static void told(const char *name, uint64_t told_mib, uint64_t file_mib)
{
    const struct footprint_facts facts = {.told_bytes = told_mib * MIB,
                                          .file_bytes = file_mib * MIB};

    residency_told(model(name), str_from(name), 4096, 1, &facts, false);
}

static void start_with(bool has_gpu)
{
    const struct residency_params params = {.is_on = true, .has_gpu = has_gpu};

    residency_init(&g_r, &params, &g_router, &g_footprints);
    g_router.residency = &g_r;
    set_memory(2000, 1600); /* R_soft 240 */
    told("a", 0, 400);      /* 1.1 x it + 200 MiB: 640; asked a quarter more: 800 */
    told("b", 300, 0);
}

static void setup(void)
{
    g_now = 1000 * SEC;
    router_init(&g_router);
    footprints_init(&g_footprints);
    plan_models();
    start_with(false);
}

static void teardown(void)
{
    residency_done(&g_r);
    router_done(&g_router);
}

static void begin_load(const char *name)
{
    residency_begin_run(&g_r);
    residency_reserve(&g_r, deployment(name), NULL, g_now);
    residency_load_began(&g_r, model(name), g_now);
}

static bool end_load(const char *name, enum residency_load how)
{
    return residency_load_ended(&g_r, model(name), how, g_now);
}

static void load(const char *name)
{
    begin_load(name);
    g_now += SEC;
    ck_assert(!end_load(name, RESIDENCY_LOAD_OK));
}

/* A run of the registry: the model serves a call, or not. */
static void run(const char *name, bool is_used)
{
    deployment(name)->in_use = is_used;
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
    deployment(name)->in_use = 0;
}

static struct residency_model *due(void)
{
    return residency_next_runner(&g_r, g_now);
}

static struct footprint_need need(const char *name)
{
    return residency_need(&g_r, model(name));
}

static void assert_stops(const char *name, bool stops)
{
    struct residency_action action;
    bool found = false;

    while (residency_next(&g_r, g_now, &action)) {
        found |= action.verb == RESIDENCY_STOP && action.reason == RESIDENCY_OVER_PLAN &&
                 action.model == model(name);
    }
    ck_assert(found == stops);
}

START_TEST(it_is_looked_at_often_while_it_loads)
{
    ck_assert_uint_eq(residency_runner_at(&g_r), USEC_NEVER);
    begin_load("a");
    for (int i = 0; i < 5; i++) {
        ck_assert_ptr_null(due());
        ck_assert_uint_eq(residency_runner_at(&g_r), g_now + 200 * MSEC);
        g_now += 200 * MSEC;
        ck_assert_ptr_eq(due(), model("a"));
    }
    residency_unseen(model("a"), g_now); /* a search each second is enough */
    ck_assert_uint_eq(residency_runner_at(&g_r), g_now + SEC);
    ck_assert(!end_load("a", RESIDENCY_LOAD_UNKNOWN));
    ck_assert_uint_eq(residency_runner_at(&g_r), USEC_NEVER);
}
END_TEST

START_TEST(it_is_looked_at_when_its_load_is_over_and_while_it_is_used)
{
    load("a");
    ck_assert_ptr_eq(due(), model("a"));
    residency_seen(&g_r, model("a"), 300 * MIB, 0);
    run("a", false);
    ck_assert_uint_eq(residency_runner_at(&g_r), USEC_NEVER); /* an idle daemon reads nothing */
    g_now += SEC;
    run("a", true);
    ck_assert_ptr_null(due());
    ck_assert_uint_eq(residency_runner_at(&g_r), g_now + 4 * SEC);
    run("a", false); /* it answers no more: one look is due */
    g_now += 4 * SEC;
    run("a", false);
    ck_assert_ptr_eq(due(), model("a"));
    run("a", false);
    ck_assert_uint_eq(residency_runner_at(&g_r), USEC_NEVER);
    g_now += 60 * SEC;
    run("a", true);
    ck_assert_ptr_eq(due(), model("a"));
    residency_unseen(model("a"), g_now);
    run("a", true);
    ck_assert_uint_eq(residency_runner_at(&g_r), g_now + 30 * SEC);
}
END_TEST

START_TEST(what_is_seen_is_learned)
{
    ck_assert_int_eq(need("a").source, FOOTPRINT_COMPUTED);
    load("a");
    residency_seen(&g_r, model("a"), 500 * MIB, 50 * MIB);
    ck_assert_int_eq(need("a").source, FOOTPRINT_LEARNED);
    ck_assert_uint_eq(need("a").bytes, 550 * MIB);
    residency_seen(&g_r, model("a"), 530 * MIB, 40 * MIB); /* maxima of each */
    ck_assert_uint_eq(need("a").bytes, 580 * MIB);
    ck_assert_uint_eq(model("a")->held_bytes, 570 * MIB);
    ck_assert_uint_eq(footprint_find(&g_footprints, &model("a")->key)->n_runs, 1);
}
END_TEST

START_TEST(lies_change_nothing)
{
    load("a");
    residency_seen(&g_r, model("a"), 0, 0);
    residency_seen(&g_r, model("a"), UINT64_MAX, 0);
    residency_seen(&g_r, model("a"), 1, UINT64_MAX);
    residency_seen(&g_r, model("b"), 300 * MIB, 0); /* is not there */
    ck_assert_int_eq(need("a").source, FOOTPRINT_COMPUTED);
    ck_assert_int_eq(need("b").source, FOOTPRINT_TOLD);
    ck_assert_uint_eq(model("a")->baseline_bytes + model("b")->held_bytes, 0);
}
END_TEST

START_TEST(weights_that_are_mapped_and_copied_are_no_more_than_planned)
{
    begin_load("a"); /* 800 are set aside: 1000 would be too many */
    residency_seen(&g_r, model("a"), 600 * MIB, 600 * MIB);
    assert_stops("a", false);
    residency_seen(&g_r, model("a"), 1002 * MIB, 600 * MIB);
    assert_stops("a", true);
    ck_assert(end_load("a", RESIDENCY_LOAD_KILLED));
    ck_assert_uint_ge(need("a").bytes, 1302 * MIB);
}
END_TEST

START_TEST(a_load_that_is_killed_early_teaches_nothing)
{
    begin_load("a");
    residency_seen(&g_r, model("a"), 100 * MIB, 0);
    ck_assert(end_load("a", RESIDENCY_LOAD_KILLED));
    ck_assert_int_eq(need("a").source, FOOTPRINT_COMPUTED);
    ck_assert_uint_ge(need("a").bytes, 639 * MIB);
}
END_TEST

START_TEST(mapped_pages_of_a_model_are_not_for_others)
{
    load("a");
    g_now += 2 * SEC;
    residency_seen(&g_r, model("a"), 100 * MIB, 700 * MIB);
    set_memory(2000, 1500); /* the kernel calls the 700 available */
    ck_assert_uint_eq(g_r.memory.available_bytes, 800 * MIB);
    residency_unloaded(&g_r, model("a"), true, g_now);
    set_memory(2000, 1600);
    ck_assert_uint_eq(g_r.memory.available_bytes, 1600 * MIB);
}
END_TEST

START_TEST(a_process_that_two_models_share_counts_once)
{
    load("a");
    load("b");
    g_now += 2 * SEC;
    model("a")->runner_pid = model("b")->runner_pid = 7;
    residency_seen(&g_r, model("a"), 100 * MIB, 700 * MIB);
    residency_seen(&g_r, model("b"), 100 * MIB, 700 * MIB);
    set_memory(2000, 1500);
    ck_assert_uint_eq(g_r.memory.available_bytes, 800 * MIB);
}
END_TEST

START_TEST(what_a_gpu_takes_is_not_seen)
{
    residency_done(&g_r);
    start_with(true);
    load("a");
    load("b");
    residency_seen(&g_r, model("a"), 100 * MIB, 0);
    residency_seen(&g_r, model("b"), 100 * MIB, 0);
    ck_assert_int_eq(need("a").source, FOOTPRINT_LEARNED);
    ck_assert_int_eq(need("b").source, FOOTPRINT_TOLD);
}
END_TEST

START_TEST(what_was_known_of_a_process_ends_with_it)
{
    load("a");
    model("a")->runner_pid = 7;
    residency_seen(&g_r, model("a"), 100 * MIB, 10 * MIB);
    run("a", true);
    residency_server_lost(&g_r, "here", g_now);
    ck_assert_uint_eq(model("a")->runner_pid + model("a")->mapped_bytes, 0);
    ck_assert_uint_eq(residency_runner_at(&g_r), USEC_NEVER);
    ck_assert_ptr_null(due());
}
END_TEST

/* What a server says it holds: nothing, less than the file, more than there is. */
START_TEST(a_server_that_lies_about_sizes)
{
    static const uint64_t lies[] = {0, 1, 399 * MIB, 2001 * MIB, UINT64_C(1) << 63, UINT64_MAX};

    load("a");
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        residency_looked(&g_r, model("a"), true, lies[i], true, g_now);
        ck_assert_int_eq(need("a").source, FOOTPRINT_COMPUTED);
        ck_assert_uint_eq(need("a").bytes / MIB, 640);
        ck_assert_uint_le(model("a")->held_bytes, 2000 * MIB);
    }
    residency_looked(&g_r, model("a"), true, 700 * MIB, true, g_now);
    ck_assert_int_eq(need("a").source, FOOTPRINT_REPORTED);
    ck_assert_uint_eq(model("a")->held_bytes, 700 * MIB);
    residency_unloaded(&g_r, model("a"), true, g_now);
    ck_assert_int_eq(residency_refusal(&g_r, deployment("a"), NULL, g_now).code, ERRCODE_NONE);
}
END_TEST

/* What a stopped load is believed to want would never fit; what it had for certain would. */
START_TEST(an_ended_load_is_not_refused_for_a_guess)
{
    begin_load("a");
    residency_seen(&g_r, model("a"), 1500 * MIB, 0);
    ck_assert(end_load("a", RESIDENCY_LOAD_KILLED));
    ck_assert_uint_ge(need("a").bytes, 1949 * MIB); /* of 2000, of which 160 must stay free */
    ck_assert_int_eq(residency_refusal(&g_r, deployment("a"), NULL, g_now).code,
                     ERRCODE_MODEL_QUARANTINED);
    begin_load("b");
    residency_seen(&g_r, model("b"), 1900 * MIB, 0);
    ck_assert(end_load("b", RESIDENCY_LOAD_KILLED));
    ck_assert_int_eq(residency_refusal(&g_r, deployment("b"), NULL, g_now).code,
                     ERRCODE_MODEL_EXCEEDS);
}
END_TEST

/* Another build of the same name is another model: nothing of the old one is believed of it. */
START_TEST(another_digest_is_another_model)
{
    const struct footprint_facts facts = {.file_bytes = 400 * MIB};

    load("a");
    residency_seen(&g_r, model("a"), 900 * MIB, 0);
    ck_assert_uint_eq(need("a").bytes, 900 * MIB);
    residency_told(model("a"), STR_LIT("sha256-new"), 4096, 1, &facts, false);
    ck_assert_int_eq(need("a").source, FOOTPRINT_COMPUTED);
    residency_told(model("a"), STR_LIT("a"), 8192, 1, &facts, false);
    ck_assert_int_eq(need("a").source, FOOTPRINT_COMPUTED);
    residency_told(model("a"), STR_LIT("a"), 4096, 1, &facts, false);
    ck_assert_uint_eq(need("a").bytes, 900 * MIB);
}
END_TEST

/* After a minute a name may stand for another build: its server is asked before the next load. */
START_TEST(a_load_of_today_by_facts_of_today)
{
    struct residency_action action;

    model("a")->asked_at_usec = g_now;
    g_now += 59 * SEC;
    ck_assert_int_eq(residency_ask(&g_r, deployment("a"), NULL, g_now), RESIDENCY_LOADS);
    g_now += SEC;
    residency_begin_run(&g_r);
    ck_assert_int_eq(residency_ask(&g_r, deployment("a"), NULL, g_now), RESIDENCY_WAITS);
    residency_want(&g_r, deployment("a"), NULL, CLASS_INTERACTIVE, g_now);
    residency_end_run(&g_r, g_now);
    ck_assert(residency_next(&g_r, g_now, &action));
    ck_assert_int_eq(action.verb, RESIDENCY_INQUIRE);
    ck_assert_int_eq(residency_ask(&g_r, deployment("a"), NULL, g_now), RESIDENCY_WAITS);
    residency_told(model("a"), STR_NONE, 0, 1, &(struct footprint_facts) {0}, false);
    ck_assert_uint_eq(need("a").bytes / MIB, 640); /* it said nothing: as before */
    told("a", 0, 800);
    ck_assert_uint_eq(need("a").bytes / MIB, 1080);
    ck_assert_int_eq(residency_ask(&g_r, deployment("a"), NULL, g_now), RESIDENCY_LOADS);
    /* the same for an operator */
    g_now += 60 * SEC;
    run("a", false);
    model("a")->is_load_wanted = true;
    ck_assert(residency_next(&g_r, g_now, &action));
    ck_assert_int_eq(action.verb, RESIDENCY_INQUIRE);
    ck_assert(!residency_next(&g_r, g_now, &action));
    told("a", 0, 800);
    ck_assert(residency_next(&g_r, g_now, &action));
    ck_assert_int_eq(action.verb, RESIDENCY_LOAD);
    ck_assert(!end_load("a", RESIDENCY_LOAD_UNKNOWN));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, it_is_looked_at_often_while_it_loads);
    tcase_add_test(tc, it_is_looked_at_when_its_load_is_over_and_while_it_is_used);
    tcase_add_test(tc, what_is_seen_is_learned);
    tcase_add_test(tc, lies_change_nothing);
    tcase_add_test(tc, weights_that_are_mapped_and_copied_are_no_more_than_planned);
    tcase_add_test(tc, a_load_that_is_killed_early_teaches_nothing);
    tcase_add_test(tc, mapped_pages_of_a_model_are_not_for_others);
    tcase_add_test(tc, a_process_that_two_models_share_counts_once);
    tcase_add_test(tc, what_a_gpu_takes_is_not_seen);
    tcase_add_test(tc, what_was_known_of_a_process_ends_with_it);
    tcase_add_test(tc, a_server_that_lies_about_sizes);
    tcase_add_test(tc, an_ended_load_is_not_refused_for_a_guess);
    tcase_add_test(tc, another_digest_is_another_model);
    tcase_add_test(tc, a_load_of_today_by_facts_of_today);
}
TEST_MAIN("residency_runner", add_tests)
