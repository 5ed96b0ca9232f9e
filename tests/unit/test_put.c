/* put.h: numbers, strings, and the first failure that stays. */
#include "support.h"

#include <errno.h>

#include "wire/put.h"

START_TEST(everything_once)
{
    struct buf out;
    struct put p = {&out, 0};

    buf_init(&out, 4096);
    put_z(&p, "a");
    put_str(&p, STR_LIT("bc"));
    put_str(&p, STR_NONE);
    put_bytes(&p, "\0d", 2);
    put_char(&p, ' ');
    put_u64(&p, 0);
    put_char(&p, ' ');
    put_u64(&p, UINT64_MAX);
    put_char(&p, ' ');
    put_i64(&p, INT64_MIN);
    put_char(&p, ' ');
    put_i64(&p, 7);
    put_json_string(&p, STR_LIT("\"\n"));
    put_json_double(&p, 0.1);
    ck_assert_int_eq(p.r, 0);
    ck_assert(str_is_equal(buf_str(&out),
                           STR_LIT("abc\0d 0 18446744073709551615 -9223372036854775808 7\"\\\"\\n\""
                                   "0.1")));
    buf_done(&out);
}
END_TEST

START_TEST(the_first_failure_stays)
{
    struct buf out;
    struct put p = {&out, 0};

    buf_init(&out, 4);
    put_z(&p, "abc");
    put_u64(&p, 12);
    ck_assert_int_eq(p.r, -ENOBUFS);
    put_char(&p, 'd'); /* would fit, but must not follow what is missing */
    put_json_string(&p, STR_LIT(""));
    put_json_double(&p, 1);
    put_i64(&p, 1);
    ck_assert_int_eq(p.r, -ENOBUFS);
    ck_assert_str_is(buf_str(&out), "abc");
    buf_done(&out);
}
END_TEST

static void write_some(void)
{
    struct buf out;
    struct put p = {&out, 0};

    buf_init(&out, 65536);
    for (int i = 0; i < 100; i++) {
        put_z(&p, "0123456789");
        put_json_string(&p, STR_LIT("x"));
    }
    ck_assert(p.r == 0 || (p.r == -ENOMEM && allocation_failed()));
    buf_done(&out);
}

START_TEST(out_of_memory)
{
    for_each_failed_allocation(write_some);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, everything_once);
    tcase_add_test(tc, the_first_failure_stays);
    tcase_add_test(tc, out_of_memory);
}

TEST_MAIN("put", add_tests)
