/*
 * buf: what is appended, consumed and trimmed, and its maximum.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

START_TEST(buf_appends_and_consumes)
{
    struct buf b;

    buf_init(&b, 100);
    ck_assert_str_is(buf_str(&b), "");
    ck_assert_ptr_nonnull(buf_ptr(&b));
    ck_assert_int_eq(buf_append(&b, NULL, 0), 0);
    ck_assert_int_eq(buf_append_z(&b, "hello "), 0);
    ck_assert_int_eq(buf_append_str(&b, STR_LIT("world")), 0);
    ck_assert_int_eq(buf_append_char(&b, '!'), 0);
    ck_assert_int_eq(buf_printf(&b, " %d%s", 42, "x"), 0);
    ck_assert_str_is(buf_str(&b), "hello world! 42x");
    buf_consume(&b, 6);
    ck_assert_str_is(buf_str(&b), "world! 42x");
    ck_assert_str_eq(buf_z(&b), "world! 42x");
    ck_assert_uint_eq(b.len, 10);
    buf_consume(&b, 10);
    ck_assert_uint_eq(b.start, 0); /* empty again: the front is free */
    buf_clear(&b);
    ck_assert_str_eq(buf_z(&b), "");
    buf_done(&b);
    buf_done(&b);
    ck_assert_int_eq(buf_append_z(&b, "again"), 0);
    ck_assert_str_is(buf_str(&b), "again");
    buf_done(&b);
}
END_TEST

START_TEST(buf_has_a_maximum)
{
    struct buf b;

    buf_init(&b, 8);
    ck_assert_int_eq(buf_append_z(&b, "1234567"), 0);
    ck_assert_uint_eq(buf_room(&b), 1);
    ck_assert_int_eq(buf_append_z(&b, "89"), -ENOBUFS);
    ck_assert_int_eq(buf_printf(&b, "%d", 89), -ENOBUFS);
    ck_assert_ptr_null(buf_reserve(&b, 2));
    ck_assert_str_is(buf_str(&b), "1234567");
    ck_assert_int_eq(buf_append_char(&b, '8'), 0);
    ck_assert_int_eq(buf_append_char(&b, '9'), -ENOBUFS);
    ck_assert_str_eq(buf_z(&b), "12345678"); /* the NUL is not counted */
    buf_consume(&b, 3);
    ck_assert_int_eq(buf_append_z(&b, "9ab"), 0);
    ck_assert_str_is(buf_str(&b), "456789ab");
    buf_done(&b);
}
END_TEST

/* A queue that is filled and drained for long stays as small as what it holds. */
START_TEST(buf_reuses_its_front)
{
    struct buf b;
    unsigned in = 0, out = 0;

    buf_init(&b, 64 * 1024);
    for (unsigned round = 0; round < 500; round++) {
        char word[16];

        for (unsigned i = 0; i < 10; i++) {
            ck_assert_int_eq(buf_printf(&b, "%07u ", in++), 0);
        }
        for (unsigned i = 0; i < 10; i++) {
            (void) snprintf(word, sizeof word, "%07u ", out++);
            ck_assert(str_has_prefix(buf_str(&b), word));
            buf_consume(&b, 8);
            if (i == 4 && round == 0) {
                break; /* leaves half a round in it */
            }
        }
        ck_assert_uint_le(b.cap, 1024);
    }
    buf_done(&b);
}
END_TEST

START_TEST(buf_trims)
{
    struct buf b;

    buf_init(&b, 1024 * 1024);
    ck_assert_ptr_nonnull(buf_reserve(&b, 100000));
    buf_commit(&b, 100000);
    buf_trim(&b);
    ck_assert_uint_gt(b.cap, 100000); /* in use */
    memset(b.base, 'x', 100000);
    buf_consume(&b, 99990);
    buf_trim(&b);
    ck_assert_uint_le(b.cap, 16);
    ck_assert_str_is(buf_str(&b), "xxxxxxxxxx");
    ck_assert_str_eq(buf_z(&b), "xxxxxxxxxx");
    ck_assert_ptr_nonnull(buf_reserve(&b, 100000));
    buf_clear(&b);
    buf_trim(&b);
    ck_assert_uint_eq(b.cap, 0);
    ck_assert_int_eq(buf_append_z(&b, "small"), 0);
    buf_clear(&b);
    buf_trim(&b);
    ck_assert_ptr_nonnull(b.base); /* below a page it keeps what it has */
    buf_done(&b);
}
END_TEST

static void use_buf(void)
{
    struct buf b;
    int r;

    buf_init(&b, 4096);
    r = buf_append_z(&b, "hello");
    ck_assert(r == 0 || (r == -ENOMEM && b.len == 0));
    r = buf_printf(&b, "%0300d", 1);
    ck_assert(r == 0 || r == -ENOMEM);
    (void) buf_z(&b);
    buf_done(&b);
}

START_TEST(allocation_failures)
{
    for_each_failed_allocation(use_buf);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, buf_appends_and_consumes);
    tcase_add_test(tc, buf_has_a_maximum);
    tcase_add_test(tc, buf_reuses_its_front);
    tcase_add_test(tc, buf_trims);
    tcase_add_test(tc, allocation_failures);
}

TEST_MAIN("buf", add_tests)
