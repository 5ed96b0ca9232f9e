/*
 * See psi_trigger.h.
 *
 * The text is written with its terminating NUL: the kernel overwrites the last byte with one and
 * would cut the last digit else. A file that no trigger was written to must not be polled: it would
 * be ready for ever.
 *
 * Must not: read. Who reads a pressure file starves the triggers of unprivileged processes on it.
 */
#include "kernel/psi_trigger.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fdio.h"

/* 10 %: where level 1 begins. */
static const char window_1s[] = "some 100000 1000000";
static const char window_2s[] = "some 200000 2000000";

static int write_one(int fd, psi_write_fn *write_bytes, const char *text, size_t size)
{
    ssize_t n;

    do {
        n = write_bytes(fd, text, size);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (size_t) n == size ? 0 : -EIO;
}

int psi_trigger_write(int fd, psi_write_fn *write_bytes)
{
    int r = write_one(fd, write_bytes, window_1s, sizeof window_1s);

    if (r == -EINVAL || r == -EPERM) { /* unprivileged: only multiples of 2 s */
        r = write_one(fd, write_bytes, window_2s, sizeof window_2s);
    }
    return r;
}

/* A file that stands in for the kernel's would only be written over. */
static int check_kernel_file(int fd)
{
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0) {
        return -errno;
    }
    return fs.f_type == PROC_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC ? 0 : -ENOTTY;
}

int psi_trigger_open(const char *path)
{
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC), r;

    if (fd < 0) {
        return -errno;
    }
    r = check_kernel_file(fd);
    if (r == 0) {
        r = psi_trigger_write(fd, write);
    }
    if (r < 0) {
        (void) fd_close(fd);
        return r;
    }
    return fd;
}
