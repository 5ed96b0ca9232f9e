/* See fdio.h. */
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define READ_STEP_BYTES 4096

int fd_close(int fd)
{
    if (fd >= 0) {
        int saved = errno;

        (void) close(fd); /* Linux releases the descriptor even when close() fails */
        errno = saved;
    }
    return -1;
}

void fd_closep(int *fd)
{
    *fd = fd_close(*fd);
}

int fd_open_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) { /* the lowest free one */
            return -errno;
        }
    }
    return 0;
}

int fd_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        return -errno;
    }
    return 0;
}

int fdio_read_file(const char *path, struct buf *ret)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        return -errno;
    }
    for (;;) {
        size_t want = buf_room(ret) < READ_STEP_BYTES ? buf_room(ret) : READ_STEP_BYTES;
        char probe, *to = want > 0 ? buf_reserve(ret, want) : &probe;

        if (!to) {
            return -ENOMEM;
        }

        ssize_t n = read(fd, to, want > 0 ? want : 1);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        if (n == 0) {
            return 0;
        }
        if (want == 0) {
            return -EFBIG;
        }
        buf_commit(ret, (size_t) n);
    }
}

ssize_t fdio_pread_text(int fd, char *ret_text, size_t size)
{
    ssize_t n;

    do {
        n = pread(fd, ret_text, size - 1, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    ret_text[n] = '\0';
    return n;
}
