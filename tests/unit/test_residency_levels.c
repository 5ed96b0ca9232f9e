/*
 * What memory pressure and idleness do: unloading without a call that asks for room, calls that are not
 * begun, loads that come back by the numbers of now.
 */
#include "residency_support.h"

#define MB UINT64_C(1000000)

/* As core/pressure says it: with the hold of the level, and without it. */
static void set_pressure(unsigned level, unsigned acute)
{
    residency_set_pressure(&g_r, &(struct residency_pressure) {.level = level,
                                                               .acute = acute,
                                                               .exhaustion_usec = USEC_NEVER});
}

/* Memory that falls and would be gone then. */
static void set_fall(uint64_t exhaustion_usec, uint64_t bytes_per_sec)
{
    residency_set_pressure(&g_r,
                           &(struct residency_pressure) {.level = 2,
                                                         .exhaustion_usec = exhaustion_usec,
                                                         .fall_bytes_per_sec = bytes_per_sec});
}

/* It is gone, and what it had is seen free. */
static void unloaded(const char *name, uint64_t available_mib)
{
    set_memory(2000, available_mib > 1000 ? available_mib - 1000 : 0);
    residency_unloaded(&g_r, model(name), true, g_now);
    set_memory(2000, available_mib);
}

/* The next thing but questions to its server, which has what is believed; false: nothing. */
static bool next_but_looks(struct residency_action *ret)
{
    bool has_any = next(ret);

    while (has_any && ret->verb == RESIDENCY_LOOK) {
        residency_looked(&g_r, ret->model, ret->model->state == RESIDENCY_RESIDENT, 0, true, g_now);
        has_any = next(ret);
    }
    return has_any;
}

static void assert_goes(const char *name, enum residency_reason reason)
{
    struct residency_action action;

    ck_assert(next_but_looks(&action));
    ck_assert_int_eq(action.verb, RESIDENCY_UNLOAD);
    ck_assert_int_eq(action.reason, reason);
    ck_assert_ptr_eq(action.model, model(name));
}

/* A call that takes a while at a model that is there. */
static void use(const char *name, uint64_t usec)
{
    struct deployment *d = call(name);

    ck_assert_ptr_nonnull(d);
    g_now += usec;
    release(d);
}

START_TEST(levels_unload_who_is_idle)
{
    load("a", SEC);
    load("c", SEC);
    residency_set_level(&g_r, 1);
    assert_nothing();
    ck_assert_ptr_null(call("b"));
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
    g_now += 59 * SEC;
    assert_nothing();
    g_now += 3 * SEC;
    assert_goes("a", RESIDENCY_FOR_LEVEL); /* the largest first */
    assert_nothing();
    set_memory(2000, 700);
    residency_unloaded(&g_r, model("a"), true, g_now);
    g_now += SEC; /* a second between two, */
    assert_nothing();
    set_memory(2000, 1500); /* and what was freed is seen */
    assert_goes("c", RESIDENCY_FOR_LEVEL);
    unloaded("c", 1600);
}
END_TEST

/* Between two answers nobody uses a model: that alone is no idleness. */
START_TEST(who_is_used_stays_until_it_is_critical)
{
    load("a", SEC);
    g_is_trusted = true;

    struct deployment *d = call("a");

    residency_set_level(&g_r, 2);
    assert_nothing(); /* in use */
    release(d);
    assert_nothing();
    g_now += 10 * SEC;
    assert_nothing();
    g_now += 1;
    assert_goes("a", RESIDENCY_FOR_LEVEL);
    unloaded("a", 1600);
    residency_set_level(&g_r, 0);
    load("a", SEC);
    residency_set_level(&g_r, 3);
    assert_goes("a", RESIDENCY_FOR_LEVEL);
    unloaded("a", 1600);
}
END_TEST

START_TEST(the_one_unused_longest_goes_first)
{
    g_is_trusted = true;
    load("a", SEC);
    load("c", SEC);
    g_now += 5 * SEC;
    use("a", SEC); /* the larger one, but used since */
    residency_set_level(&g_r, 2);
    assert_goes("c", RESIDENCY_FOR_LEVEL);
    unloaded("c", 800);
    g_now += SEC;
    assert_nothing(); /* the last one, and in use */
}
END_TEST

/* How fast memory falls says when it would be gone, not that it is. */
START_TEST(who_is_used_stays_while_memory_lasts_for_an_answer)
{
    g_is_trusted = true;
    load("a", SEC);
    use("a", 3 * SEC);
    set_fall(11 * SEC, 20 * MB);
    assert_nothing();
    g_now += 11 * SEC;
    assert_goes("a", RESIDENCY_FOR_LEVEL); /* nobody came back to it */
    unloaded("a", 1600);
    residency_set_level(&g_r, 0);
    load("a", SEC);
    use("a", 3 * SEC);
    set_fall(5 * SEC, 20 * MB); /* 2 s and an answer */
    assert_nothing();
    set_fall(5 * SEC - 1, 20 * MB);
    assert_goes("a", RESIDENCY_FOR_LEVEL);
    unloaded("a", 1600);
}
END_TEST

/* Calls that wait keep it at level 3, where PSI says so; not when memory is at its end. */
START_TEST(at_the_edge_a_model_goes_and_comes_back)
{
    struct deployment *d, *late;

    g_is_trusted = true;
    load("a", SEC);
    g_now += 5 * SEC;
    d = call("a");
    ck_assert_ptr_nonnull(d);
    residency_set_level(&g_r, 3);
    use("a", SEC);
    set_memory(2000, 95);
    wait_for("a", CLASS_INTERACTIVE, g_now); /* it has a second slot */
    assert_nothing();
    router_release(&g_router, d, g_now);
    wait_for("a", CLASS_INTERACTIVE, g_now);
    assert_goes("a", RESIDENCY_FOR_LEVEL);
    g_is_trusted = false;
    unloaded("a", 1600);
    set_pressure(3, 0); /* the level stands by its hold alone */
    late = call("a");
    ck_assert_ptr_nonnull(late);
    loaded("a", SEC);
    release(late);
}
END_TEST

/* How the growth of a load is known. */
enum witness { PROCESS, NOBODY, GROUP_UNTIL_DISTURBED };

static void see_load(const char *name, enum witness witness, uint64_t grown_mib)
{
    struct residency_model *m = model(name);

    m->runner_pid = witness == PROCESS ? 7 : 0;
    if (witness == PROCESS || (witness == GROUP_UNTIL_DISTURBED && grown_mib <= 100)) {
        residency_seen(&g_r, m, grown_mib * MIB, 0);
    }
}

static struct deployment *begin_load(const char *name)
{
    struct deployment *d = call(name);

    ck_assert_ptr_nonnull(d);
    residency_load_began(&g_r, model(name), g_now);
    return d;
}

static void end_load(const char *name, struct deployment *d)
{
    ck_assert(!residency_load_ended(&g_r, model(name), RESIDENCY_LOAD_OK, g_now));
    release(d);
}

/* What is set aside and grown into already is not counted twice: who is there answers meanwhile. */
START_TEST(a_load_that_goes_as_planned_stops_nobody)
{
    for (enum witness witness = PROCESS; witness <= GROUP_UNTIL_DISTURBED; witness++) {
        struct deployment *d;

        set_memory(4096, 3500); /* R_soft is 491 MiB, R_crit 196 */
        load("c", SEC);
        g_now += 2 * SEC;
        set_memory(4096, 3000);
        told("a", 2274);
        g_is_trusted = true;
        d = begin_load("a");
        for (uint64_t grown = 0; grown <= 1000; grown += 20) {
            g_now += SEC / 5;
            set_memory(4096, 3000 - grown);
            see_load("a", witness, grown);
            use("c", SEC / 10);
        }
        g_is_trusted = false;
        end_load("a", d);
        set_memory(4096, 3500);
        residency_unloaded(&g_r, model("a"), true, g_now);
        residency_unloaded(&g_r, model("c"), true, g_now);
        g_now += 20 * SEC;
    }
}
END_TEST

START_TEST(what_a_load_will_take_is_not_there_for_calls)
{
    for (enum witness witness = PROCESS; witness <= NOBODY; witness++) {
        uint64_t edge = witness == PROCESS ? 2274 + 197 : 197;
        struct deployment *d;

        set_memory(4096, 3500);
        load("c", SEC);
        g_now += 2 * SEC;
        set_memory(4096, 3000);
        told("a", 2274);
        d = begin_load("a");
        see_load("a", witness, 0);
        g_is_trusted = true;
        set_memory(4096, edge); /* a neighbour takes it, which cannot be told from an unseen load */
        use("c", SEC / 10);
        set_memory(4096, edge - 1);
        wait_for("c", CLASS_INTERACTIVE, g_now);
        g_is_trusted = false;
        end_load("a", d);
        set_memory(4096, 3500);
        residency_unloaded(&g_r, model("a"), true, g_now);
        residency_unloaded(&g_r, model("c"), true, g_now);
        g_now += 20 * SEC;
    }
}
END_TEST

/* A neighbour that takes memory beside a load is seen by its fall, as it is without one. */
START_TEST(what_falls_beyond_the_plan_is_no_load)
{
    struct deployment *d;

    told("a", 1000);
    ck_assert(residency_goes_as_planned(&g_r));
    d = call("a");
    ck_assert_ptr_nonnull(d);
    set_memory(2000, 1300); /* before it began */
    residency_load_began(&g_r, model("a"), g_now);
    set_memory(2000, 151);
    ck_assert(residency_goes_as_planned(&g_r));
    set_memory(2000, 149);
    ck_assert(!residency_goes_as_planned(&g_r));
    end_load("a", d);
    ck_assert(residency_goes_as_planned(&g_r));
    residency_load_began(&g_r, model("a"), g_now); /* with other options: nothing is planned */
    set_memory(2000, 0);
    ck_assert(residency_goes_as_planned(&g_r));
    ck_assert(!residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_OK, g_now));
}
END_TEST

/* An unload that its server does not do keeps nobody waiting. */
START_TEST(what_cannot_go_serves)
{
    g_is_trusted = true;
    load("a", SEC);
    residency_set_level(&g_r, 3);
    assert_goes("a", RESIDENCY_FOR_LEVEL);
    residency_unloaded(&g_r, model("a"), false, g_now);
    use("a", SEC);
    assert_nothing();
}
END_TEST

/* A cache that grows by each answer: it is emptied while there is room for one more. */
START_TEST(a_full_runner_is_loaded_anew)
{
    struct residency_model *m = model("a");

    g_is_trusted = true;
    load("a", SEC);
    residency_seen(&g_r, m, 800 * MIB, 0);
    for (unsigned i = 1; i <= 2; i++) {
        use("a", SEC);
        residency_seen(&g_r, m, (800 + i * 150) * MIB, 0);
    }
    ck_assert_uint_eq(m->step_bytes, 150 * MIB);
    g_now += SEC;          /* three loads after its own */
    set_memory(2000, 246); /* an answer, and R_crit */
    assert_nothing();
    set_memory(2000, 245);
    wait_for("a", CLASS_INTERACTIVE, g_now);
    assert_goes("a", RESIDENCY_GROWN);
    g_is_trusted = false;
    unloaded("a", 1000); /* it took 1100, and 800 when it was fresh: that is what a load takes */
    ck_assert_int_eq(refusal("a"), ERRCODE_NONE);
    load("a", SEC);
    set_memory(2000, 200); /* not grown: to load it again would gain nothing */
    residency_seen(&g_r, m, 800 * MIB, 0);
    assert_nothing();
}
END_TEST

START_TEST(a_hold_keeps_no_load_from_beginning)
{
    set_pressure(3, 1);
    ck_assert_ptr_null(call("a"));
    set_pressure(3, 0);
    load("a", SEC);
    set_memory(2000, 800);
    load("c", SEC);
}
END_TEST

START_TEST(where_memory_falls_a_load_must_be_worth_it)
{
    set_fall(20 * SEC,
             144 * MB); /* 800 MiB are left after it, for 5.8 s: three loads of 2 s, as a guess */
    ck_assert_ptr_null(call("a"));
    set_fall(20 * SEC, 139 * MB);
    load("a", SEC);
    unloaded("a", 1600);
    set_fall(20 * SEC, 162 * MB); /* for 5.2 s */
    load("a", SEC);
    unloaded("a", 1600);
    set_fall(20 * SEC, 168 * MB);
    ck_assert_ptr_null(call("a"));
    set_fall(20 * SEC, 100 * MB); /* for 8.4 s */
    load("a", 10 * SEC);
    unloaded("a", 1600);
    ck_assert_ptr_null(call("a")); /* by now 5 s are known to be needed for a load */
}
END_TEST

/* A model whose cache grows makes memory fall: what it leaves behind counts for who comes after it. */
START_TEST(who_goes_leaves_room_for_a_while)
{
    struct residency_action action;

    load("a", SEC);
    set_memory(2000, 800);
    g_now += 5 * SEC;
    set_fall(
        20 * SEC,
        130 *
            MB); /* 700 MiB are left after the change, for 5.6 s: three loads of 2 s, as a guess */
    wait_for("b", CLASS_INTERACTIVE, g_now);
    ck_assert(!next_but_looks(&action));
    ck_assert_uint_ge(residency_wait(&g_r, deployment("b"), NULL, CLASS_INTERACTIVE, g_now),
                      15 * SEC);
    set_fall(20 * SEC, 100 * MB);
    ck_assert_uint_le(residency_wait(&g_r, deployment("b"), NULL, CLASS_INTERACTIVE, g_now),
                      2 * SEC);
    assert_goes("a", RESIDENCY_FOR_MODEL);
    unloaded("a", 1600);
}
END_TEST

/* What has to go before it was of use was loaded too early: the next one waits, twice as long each time. */
START_TEST(loads_of_no_use_become_rare)
{
    static const uint64_t pauses[] = {2, 4, 8, 16, 30, 30};

    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        load("a", SEC);
        residency_set_level(&g_r, 3);
        assert_goes("a", RESIDENCY_FOR_LEVEL);
        unloaded("a", 1600);
        residency_set_level(&g_r, 0);
        g_now += pauses[i] * SEC - 1;
        ck_assert_ptr_null(call("a"));
        g_now += 1;
    }
    load("a", SEC);
    g_now += 3 * SEC;
    residency_set_level(&g_r, 3);
    assert_goes("a", RESIDENCY_FOR_LEVEL);
    unloaded("a", 1600);
    residency_set_level(&g_r, 0);
    load("a", SEC);
}
END_TEST

/* At level 1 no load takes more than its room gave. */
START_TEST(room_is_made_at_level_one_by_who_frees_more)
{
    struct residency_action action;

    load("b", SEC);
    set_memory(2000, 300);
    g_now += 5 * SEC;
    residency_set_level(&g_r, 1);
    wait_for("a", CLASS_INTERACTIVE, g_now);
    assert_goes("b", RESIDENCY_FOR_MODEL);
    unloaded("b", 1200);
    ck_assert_ptr_null(call("a")); /* the room is there; the level has yet to see it */
    residency_set_level(&g_r, 0);
    load("a", SEC);
    set_memory(2000, 300);
    g_now += 5 * SEC;
    residency_set_level(&g_r, 1);
    wait_for("b", CLASS_INTERACTIVE, g_now);
    ck_assert(!next_but_looks(&action)); /* it needs more than that one has */
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

/* One at a time: what the last one had comes back a moment after it, and may be enough. */
START_TEST(what_has_grown_stays_while_memory_comes_back)
{
    load("a", SEC);
    load("c", SEC);
    residency_seen(&g_r, model("c"), 100 * MIB, 0);
    residency_seen(&g_r, model("c"), 400 * MIB, 0);
    set_memory(2000, 200);
    residency_unload_began(model("a"), g_now);
    residency_unloaded(&g_r, model("a"), true, g_now);
    g_now += 9 * SEC;
    set_memory(2000, 200);
    assert_nothing();
    g_now += SEC; /* it never came */
    set_memory(2000, 200);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_GROWN, "c");
    residency_unloaded(&g_r, model("c"), true, g_now);
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

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, levels_unload_who_is_idle);
    tcase_add_test(tc, who_is_used_stays_until_it_is_critical);
    tcase_add_test(tc, the_one_unused_longest_goes_first);
    tcase_add_test(tc, who_is_used_stays_while_memory_lasts_for_an_answer);
    tcase_add_test(tc, at_the_edge_a_model_goes_and_comes_back);
    tcase_add_test(tc, a_load_that_goes_as_planned_stops_nobody);
    tcase_add_test(tc, what_a_load_will_take_is_not_there_for_calls);
    tcase_add_test(tc, what_falls_beyond_the_plan_is_no_load);
    tcase_add_test(tc, what_cannot_go_serves);
    tcase_add_test(tc, a_full_runner_is_loaded_anew);
    tcase_add_test(tc, a_hold_keeps_no_load_from_beginning);
    tcase_add_test(tc, where_memory_falls_a_load_must_be_worth_it);
    tcase_add_test(tc, who_goes_leaves_room_for_a_while);
    tcase_add_test(tc, loads_of_no_use_become_rare);
    tcase_add_test(tc, room_is_made_at_level_one_by_who_frees_more);
    tcase_add_test(tc, what_has_grown_goes_when_memory_is_short);
    tcase_add_test(tc, what_has_grown_stays_while_memory_comes_back);
    tcase_add_test(tc, what_nobody_uses_is_looked_for_seldom);
}

TEST_MAIN("residency_levels", add_tests)
