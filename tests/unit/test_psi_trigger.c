/* The ladder of windows, and what a kernel may answer to each. */
#include "kernel/psi_trigger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

/* A kernel's answers, in order; each 0 (taken) or an errno. */
static int g_answers[4];
static unsigned g_writes;
static char g_texts[4][32];

static ssize_t answer(int fd, const void *bytes, size_t n)
{
    ck_assert_int_eq(fd, 7);
    ck_assert_uint_lt(g_writes, ARRAY_LEN(g_answers));
    ck_assert_uint_lt(n, sizeof g_texts[0]);
    memcpy(g_texts[g_writes], bytes, n);
    ck_assert_int_eq(((const char *) bytes)[n - 1], '\0'); /* or the last digit would be lost */
    errno = g_answers[g_writes];
    return g_answers[g_writes++] == 0 ? (ssize_t) n : -1;
}

static int try_with(int first, int second)
{
    g_writes = 0;
    g_answers[0] = first;
    g_answers[1] = second;
    g_answers[2] = ENXIO; /* never asked */
    return psi_trigger_write(7, answer);
}

START_TEST(one_second_where_it_is_granted)
{
    ck_assert_int_eq(try_with(0, ENXIO), 0);
    ck_assert_uint_eq(g_writes, 1);
    ck_assert_str_eq(g_texts[0], "some 100000 1000000");
}
END_TEST

START_TEST(two_seconds_for_everybody_else)
{
    static const int refusals[] = {EINVAL, EPERM};

    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        ck_assert_int_eq(try_with(refusals[i], 0), 0);
        ck_assert_uint_eq(g_writes, 2);
        ck_assert_str_eq(g_texts[1], "some 200000 2000000");
        ck_assert_int_eq(try_with(refusals[i], EINVAL), -EINVAL);
        ck_assert_int_eq(try_with(refusals[i], EPERM), -EPERM);
        ck_assert_int_eq(try_with(refusals[i], EOPNOTSUPP), -EOPNOTSUPP);
    }
}
END_TEST

START_TEST(other_refusals_end_it)
{
    ck_assert_int_eq(try_with(EBUSY, 0), -EBUSY);
    ck_assert_uint_eq(g_writes, 1);
    ck_assert_int_eq(try_with(EOPNOTSUPP, 0), -EOPNOTSUPP);
    ck_assert_int_eq(try_with(EINTR, 0), 0);
    ck_assert_str_eq(g_texts[1], "some 100000 1000000"); /* the same once more */
}
END_TEST

static ssize_t write_half(int fd, const void *bytes, size_t n)
{
    return (ssize_t) n / 2;
}

START_TEST(a_half_write_is_none)
{
    ck_assert_int_eq(psi_trigger_write(7, write_half), -EIO);
}
END_TEST

START_TEST(files_that_are_not_the_kernels_stay_as_they_are)
{
    char path[64], text[8] = "";
    int fd;

    (void) snprintf(path, sizeof path, "/tmp/sluice-trigger-%d", (int) getpid());
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "as it is", 8), 8);
    ck_assert_int_eq(psi_trigger_open(path), -ENOTTY);
    ck_assert_int_eq(pread(fd, text, 5, 0), 5);
    ck_assert_str_eq(text, "as it");
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(psi_trigger_open(path), -ENOENT);
    ck_assert_int_eq(psi_trigger_open("/dev/null"), -ENOTTY);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, one_second_where_it_is_granted);
    tcase_add_test(tc, two_seconds_for_everybody_else);
    tcase_add_test(tc, other_refusals_end_it);
    tcase_add_test(tc, a_half_write_is_none);
    tcase_add_test(tc, files_that_are_not_the_kernels_stay_as_they_are);
}
TEST_MAIN("psi_trigger", add_tests)
