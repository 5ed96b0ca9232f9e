/*
 * fdio: files read up to a maximum, descriptors set and closed, and the standard three.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fdio.h"

START_TEST(fdio_reads_files)
{
    CLEANUP(fd_closep) int fd = memory_file("0123456789");
    char path[64], text[8];
    struct buf b;

    (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    buf_init(&b, 10);
    ck_assert_int_eq(fdio_read_file(path, &b), 0);
    ck_assert_str_is(buf_str(&b), "0123456789");
    buf_done(&b);
    buf_init(&b, 9);
    ck_assert_int_eq(fdio_read_file(path, &b), -EFBIG);
    buf_done(&b);
    buf_init(&b, 9);
    ck_assert_int_eq(fdio_read_file("/nonexistent/file", &b), -ENOENT);
    ck_assert_int_eq(fdio_read_file("/", &b), -EISDIR);
    buf_done(&b);
    ck_assert_int_eq(fdio_pread_text(fd, text, sizeof text), 7);
    ck_assert_str_eq(text, "0123456");
    ck_assert_int_eq(fdio_pread_text(-1, text, sizeof text), -EBADF);
}
END_TEST

START_TEST(fdio_sets_and_closes)
{
    int fd = memory_file("");

    ck_assert_int_eq(fd_set_nonblocking(fd), 0);
    ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    errno = EDOM;
    ck_assert_int_eq(fd_close(fd), -1);
    ck_assert_int_eq(fd_close(-1), -1);
    ck_assert_int_eq(errno, EDOM);
    ck_assert_int_eq(fd_set_nonblocking(fd), -EBADF);
}
END_TEST

START_TEST(fdio_opens_standard)
{
    CLEANUP(fd_closep) int input = dup(STDIN_FILENO);
    CLEANUP(fd_closep) int output = dup(STDOUT_FILENO);

    ck_assert_int_eq(fd_open_standard(), 0); /* nothing is missing */
    (void) close(STDIN_FILENO);
    (void) close(STDOUT_FILENO);
    ck_assert_int_eq(fd_open_standard(), 0);
    ck_assert_int_eq(read(STDIN_FILENO, (char[1]) {0}, 1), 0);
    ck_assert_int_eq(write(STDOUT_FILENO, "x", 1), 1);
    ck_assert_int_ge(dup2(output, STDOUT_FILENO), 0);
    if (input >= 0) {
        ck_assert_int_ge(dup2(input, STDIN_FILENO), 0);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, fdio_reads_files);
    tcase_add_test(tc, fdio_sets_and_closes);
    tcase_add_test(tc, fdio_opens_standard);
}

TEST_MAIN("fdio", add_tests)
