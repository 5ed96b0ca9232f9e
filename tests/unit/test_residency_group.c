/* What is learned of a model from the control group of its server, where processes cannot be seen. */
#include "residency_support.h"

static struct server_memory g_group;

/* Of the server (7), and of one process for each of the others. */
static void group_holds(uint64_t anon_mib, uint64_t file_mib, size_t n_pids)
{
    g_group.anon_bytes = anon_mib * MIB;
    g_group.file_bytes = file_mib * MIB;
    g_group.n_pids = n_pids;
    for (size_t i = 0; i < n_pids; i++) {
        g_group.pids[i] = (unsigned) (7 + i);
    }
}

/* A file of 400 MiB and a KV cache of 50: computed are 690. */
static void told_file(const char *name)
{
    const struct footprint_facts facts = {.file_bytes = 400 * MIB, .kv_bytes = 50 * MIB};

    residency_told(model(name), str_from(name), 4096, 1, &facts, false);
}

static void setup_group(void)
{
    setup();
    g_group = (struct server_memory) {.epoch = 1};
    group_holds(30, 20, 1);
    told_file("a");
    told_file("b");
}

static void begin_load(const char *name)
{
    g_now += SEC;
    residency_load_began(&g_r, model(name), g_now);
    residency_group_began(&g_r, model(name), &g_group, g_now);
}

static void end_load(const char *name)
{
    g_now += SEC;
    ck_assert(!residency_load_ended(&g_r, model(name), RESIDENCY_LOAD_OK, g_now));
}

static bool seen(const char *name)
{
    return residency_group_seen(&g_r, model(name), &g_group);
}

static struct footprint_need need(const char *name)
{
    return residency_need(&g_r, model(name));
}

static void assert_computed(const char *name)
{
    ck_assert_int_eq(need(name).source, FOOTPRINT_COMPUTED);
}

START_TEST(a_load_teaches)
{
    begin_load("a");
    group_holds(230, 30, 2);
    ck_assert(seen("a"));
    ck_assert_uint_eq(model("a")->held_bytes, 200 * MIB);
    assert_computed("a");
    end_load("a");
    group_holds(530, 40, 2);
    ck_assert(seen("a"));
    ck_assert_int_eq(need("a").source, FOOTPRINT_LEARNED_GROUP);
    ck_assert_uint_eq(need("a").bytes, 520 * MIB);
    ck_assert_uint_eq(model("a")->held_bytes, 520 * MIB);
    group_holds(600, 40, 2); /* an answer */
    ck_assert(seen("a"));
    ck_assert_uint_eq(need("a").bytes, 590 * MIB);
    ck_assert_uint_eq(footprint_find(&g_footprints, &model("a")->key)->n_runs, 1);
    /* the process itself is seen: it knows better */
    residency_seen(&g_r, model("a"), 480 * MIB, 10 * MIB);
    ck_assert_int_eq(need("a").source, FOOTPRINT_LEARNED);
    ck_assert_uint_eq(need("a").bytes, 490 * MIB);
}
END_TEST

/* As of a process: what it takes more than was set aside. */
START_TEST(a_load_over_its_plan_is_stopped)
{
    struct deployment *d = call("a");

    ck_assert_ptr_nonnull(d);
    begin_load("a");
    group_holds(1200, 20, 2); /* 690 and a quarter are set aside, and a quarter more is let pass */
    ck_assert(seen("a"));
    assert_next(RESIDENCY_STOP, RESIDENCY_OVER_PLAN, "a");
    ck_assert(residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_KILLED, g_now));
    ck_assert(!seen("a"));
    ck_assert_int_eq(need("a").source, FOOTPRINT_LEARNED);
    release(d);
}
END_TEST

START_TEST(what_is_not_credible)
{
    static const struct {
        uint64_t anon_mib, file_mib;
    } grown[] = {{0, 0}, {400, 40}, {449, 0}, {0, 449}, {1900, 101}, {UINT64_MAX / MIB - 30, 0}};

    begin_load("a");
    end_load("a");
    for (size_t i = 0; i < ARRAY_LEN(grown); i++) {
        group_holds(30 + grown[i].anon_mib, 20 + grown[i].file_mib, 2);
        ck_assert(seen("a"));
        assert_computed("a");
        ck_assert_uint_eq(model("a")->baseline_bytes, 0);
    }
    group_holds(30 + 450, 20, 2);
    ck_assert(seen("a"));
    ck_assert_int_eq(need("a").source, FOOTPRINT_LEARNED_GROUP);
}
END_TEST

START_TEST(without_facts_or_beside_a_gpu)
{
    struct residency_params gpu = params;

    told("c", 0);
    begin_load("c");
    end_load("c");
    group_holds(530, 20, 2);
    ck_assert(seen("c"));
    ck_assert_int_eq(need("c").source, FOOTPRINT_UNKNOWN);
    residency_unloaded(&g_r, model("c"), true, g_now);
    group_holds(30, 20, 1);
    gpu.has_gpu = true;
    residency_set_params(&g_r, &gpu);
    begin_load("a");
    end_load("a");
    group_holds(530, 20, 2);
    ck_assert(seen("a"));
    ck_assert_int_eq(need("a").source, FOOTPRINT_UNKNOWN);
}
END_TEST

/* Another one works, comes or goes: whose memory it is cannot be said from then on. */
START_TEST(others_beside_it)
{
    load("b", SEC);
    begin_load("a");
    deployment("b")->in_use = 1;
    group_holds(530, 20, 2);
    ck_assert(!seen("a"));
    deployment("b")->in_use = 0;
    ck_assert(!seen("a"));
    end_load("a");
    ck_assert(!seen("a"));
    assert_computed("a");

    residency_unloaded(&g_r, model("a"), true, g_now);
    deployment("b")->in_use = 1;
    begin_load("a"); /* it works already */
    ck_assert_uint_eq(model("a")->grows_since_usec, 0);
    deployment("b")->in_use = 0;
    end_load("a");
    residency_unloaded(&g_r, model("a"), true, g_now);

    group_holds(430, 20, 2);
    begin_load("a"); /* beside one that rests it can be learned */
    end_load("a");
    group_holds(930, 20, 3);
    ck_assert(seen("a"));
    ck_assert_uint_eq(need("a").bytes, 500 * MIB);
    g_now += SEC;
    residency_unloaded(&g_r, model("b"), true, g_now);
    group_holds(999, 20, 3);
    ck_assert(!seen("a"));
    ck_assert_uint_eq(need("a").bytes, 500 * MIB);
}
END_TEST

START_TEST(loads_that_begin_otherwise)
{
    residency_load_began(&g_r, model("a"), g_now);
    residency_group_began(&g_r, model("a"), NULL, g_now); /* no group is known */
    ck_assert(!seen("a"));
    end_load("a");
    group_holds(530, 20, 2);
    ck_assert(!seen("a"));
    begin_load("a"); /* again, with other options: it is in the numbers already */
    ck_assert(!seen("a"));
    end_load("a");
    ck_assert(!seen("a"));
    assert_computed("a");
}
END_TEST

/* The server was restarted, or its group is another one. */
START_TEST(what_was_before_is_no_more)
{
    begin_load("a");
    end_load("a");
    residency_server_lost(&g_r, "here", g_now);
    group_holds(530, 20, 2);
    ck_assert(!seen("a"));
    group_holds(30, 20, 1);
    begin_load("a");
    end_load("a");
    g_group.epoch++;
    group_holds(530, 20, 2);
    ck_assert(!seen("a"));
    assert_computed("a");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup_group, teardown);
    tcase_add_test(tc, a_load_teaches);
    tcase_add_test(tc, a_load_over_its_plan_is_stopped);
    tcase_add_test(tc, what_is_not_credible);
    tcase_add_test(tc, without_facts_or_beside_a_gpu);
    tcase_add_test(tc, others_beside_it);
    tcase_add_test(tc, loads_that_begin_otherwise);
    tcase_add_test(tc, what_was_before_is_no_more);
}
TEST_MAIN("residency_group", add_tests)
