/* By how much a model server's group grows with a load, and when that says nothing. */
#include "core/server_growth.h"

#include "support.h"

#define MIB (UINT64_C(1) << 20)

static struct server_growth g_growth;
static uint64_t g_anon, g_file;

static struct server_memory holds(uint64_t anon_mib, uint64_t file_mib, size_t n,
                                  const unsigned *pids)
{
    struct server_memory m = {
        .epoch = 1, .anon_bytes = anon_mib * MIB, .file_bytes = file_mib * MIB, .n_pids = n};

    for (size_t i = 0; i < n; i++) {
        m.pids[i] = pids[i];
    }
    return m;
}

#define HOLDS(anon, file, ...)                                                                     \
    holds(anon, file, sizeof((unsigned[]) {__VA_ARGS__}) / sizeof(unsigned),                       \
          (const unsigned[]) {__VA_ARGS__})

static bool begin(struct server_memory m, size_t n_models)
{
    return server_growth_begin(&g_growth, &m, n_models);
}

static bool see(struct server_memory m, bool is_loading)
{
    return server_growth_see(&g_growth, &m, is_loading, &g_anon, &g_file);
}

static void assert_grown(uint64_t anon_mib, uint64_t file_mib)
{
    ck_assert_uint_eq(g_anon / MIB, anon_mib);
    ck_assert_uint_eq(g_file / MIB, file_mib);
}

START_TEST(a_load_and_the_answers_after_it)
{
    ck_assert(begin(HOLDS(30, 20, 7), 0));
    ck_assert(see(HOLDS(31, 20, 7), true)); /* its process is not started yet */
    assert_grown(1, 0);
    ck_assert(see(HOLDS(330, 30, 7, 9), true));
    assert_grown(300, 10);
    ck_assert(see(HOLDS(530, 30, 9, 7), false));
    assert_grown(500, 10);
    ck_assert(see(HOLDS(560, 10, 7, 9), false)); /* pages of files may go */
    assert_grown(530, 0);
    ck_assert(g_growth.is_on);
}
END_TEST

START_TEST(a_server_that_holds_it_itself)
{
    ck_assert(begin(HOLDS(30, 20, 6, 7), 0));
    ck_assert(see(HOLDS(530, 20, 6, 7), false));
    assert_grown(500, 0);
    ck_assert(!see(HOLDS(530, 20, 6, 7, 8), false)); /* whose is that? */
    ck_assert(!g_growth.is_on);
}
END_TEST

START_TEST(groups_of_more_than_a_model_server)
{
    struct server_memory m = HOLDS(30, 20, 7);

    ck_assert(!begin(HOLDS(30, 20, 5, 6, 7), 0));
    ck_assert(begin(HOLDS(30, 20, 5, 6, 7), 1)); /* one of them holds another model */
    ck_assert(!begin(HOLDS(30, 20, 1, 2, 3, 4), 1));
    m.n_pids = 0;
    ck_assert(!begin(m, 0));
    m.n_pids = SERVER_PIDS_MAX + 1;
    ck_assert(!begin(m, 99));
    m = HOLDS(30, 20, 7);
    m.holds_us = true;
    ck_assert(!begin(m, 0));
    ck_assert(!see(HOLDS(530, 20, 7, 8), false));
}
END_TEST

START_TEST(what_happens_beside_it)
{
    ck_assert(begin(HOLDS(330, 20, 7, 8), 1));
    ck_assert(!see(HOLDS(530, 20, 7, 8, 9, 10), true)); /* not now */
    ck_assert(see(HOLDS(530, 20, 7, 8, 10), false));
    assert_grown(200, 0);
    ck_assert(!see(HOLDS(230, 20, 7, 10), false)); /* one that was there has ended: not any more */
    ck_assert(!g_growth.is_on);
    ck_assert(!see(HOLDS(530, 20, 7, 8, 10), false));
}
END_TEST

START_TEST(another_process_than_before)
{
    ck_assert(begin(HOLDS(30, 20, 7), 0));
    ck_assert(see(HOLDS(40, 20, 7, 8), true)); /* a short one, before the one that holds it */
    ck_assert(see(HOLDS(530, 20, 7, 9), false));
    ck_assert(!see(HOLDS(230, 20, 7), false));
    ck_assert(!g_growth.is_on);
    ck_assert(begin(HOLDS(30, 20, 7), 0));
    ck_assert(see(HOLDS(530, 20, 7, 9), false));
    ck_assert(!see(HOLDS(930, 20, 7, 10), false));
    ck_assert(!g_growth.is_on);
}
END_TEST

START_TEST(another_group)
{
    struct server_memory m = HOLDS(530, 20, 7, 8);

    ck_assert(begin(HOLDS(30, 20, 7), 0));
    m.epoch = 2;
    ck_assert(!see(m, true));
    ck_assert(!g_growth.is_on);
    ck_assert(begin(HOLDS(UINT64_MAX / MIB, 0, 7), 0)); /* numbers that fall, or overflow */
    ck_assert(see(HOLDS(1, 0, 7, 8), false));
    assert_grown(0, 0);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_load_and_the_answers_after_it);
    tcase_add_test(tc, a_server_that_holds_it_itself);
    tcase_add_test(tc, groups_of_more_than_a_model_server);
    tcase_add_test(tc, what_happens_beside_it);
    tcase_add_test(tc, another_process_than_before);
    tcase_add_test(tc, another_group);
}
TEST_MAIN("server_growth", add_tests)
