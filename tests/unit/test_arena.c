/*
 * arena: zeroed and aligned memory within a budget, large items among small ones.
 */
#include "support.h"

#include "base/arena.h"

START_TEST(arena_gives_zeroed_aligned_memory)
{
    struct arena a;

    arena_init(&a, 1024 * 1024);
    for (size_t n = 0; n < 3000; n += 7) {
        char *p = arena_alloc(&a, n);

        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t) p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < n; i++) {
            if (p[i] != 0) {
                ck_abort_msg("byte %zu of %zu is not zero", i, n);
            }
            p[i] = 'x';
        }
    }

    struct str copy = arena_copy(&a, STR_LIT("hello"));

    ck_assert_str_is(copy, "hello");
    ck_assert_int_eq(copy.ptr[5], '\0');
    ck_assert_ptr_null(arena_copy(&a, STR_NONE).ptr);
    ck_assert_str_is(arena_copy(&a, STR_LIT("")), "");
    ck_assert_ptr_nonnull(arena_copy(&a, STR_LIT("")).ptr);
    arena_done(&a);
    ck_assert_uint_eq(a.used_bytes, 0);
    ck_assert_ptr_nonnull(arena_alloc(&a, 1));
    arena_done(&a);
}
END_TEST

START_TEST(arena_has_a_budget)
{
    struct arena a;
    size_t n = 0;

    arena_init(&a, 10000);
    ck_assert_ptr_null(arena_alloc(&a, 10001));
    ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX));
    ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX - 64));
    ck_assert_ptr_null(arena_array(&a, SIZE_MAX / 2, 4));
    ck_assert_ptr_nonnull(arena_array(&a, 10, 16));
    while (arena_alloc(&a, 100)) {
        n += 100;
    }
    ck_assert_uint_ge(n, 8500); /* nearly all of it was of use */
    ck_assert_uint_le(a.used_bytes, 10000);
    arena_done(&a);
    arena_init(&a, 0);
    ck_assert_ptr_null(arena_alloc(&a, 1));
}
END_TEST

/*
 * One large item (a body) costs its own size, wherever it comes, and small ones go on in small
 * blocks.
 */
START_TEST(arena_with_a_large_item)
{
    struct arena a;

    for (unsigned at = 0; at < 40; at += 13) {
        arena_init(&a, 64 * 1024 * 1024);
        for (unsigned i = 0; i < 40; i++) {
            ck_assert_ptr_nonnull(arena_alloc(&a, i == at ? 1024 * 1024 : 64));
        }
        ck_assert_uint_le(a.used_bytes, 1024 * 1024 + 8192);
        arena_done(&a);
    }
}
END_TEST

static void use_arena(void)
{
    struct arena a;

    arena_init(&a, 1024 * 1024);
    for (unsigned i = 0; i < 4; i++) {
        (void) arena_alloc(&a, 5000);
        (void) arena_copy(&a, STR_LIT("text"));
    }
    arena_done(&a);
}

START_TEST(allocation_failures)
{
    for_each_failed_allocation(use_arena);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, arena_gives_zeroed_aligned_memory);
    tcase_add_test(tc, arena_has_a_budget);
    tcase_add_test(tc, arena_with_a_large_item);
    tcase_add_test(tc, allocation_failures);
}

TEST_MAIN("arena", add_tests)
