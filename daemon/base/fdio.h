#pragma once
/* File descriptors: open, read, write, close, with the flags that a daemon wants. */
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/macros.h"

/* close() that keeps errno, accepts -1 and returns -1: fd = fd_close(fd). */
int fd_close(int fd);
void fd_closep(int *fd); /* for CLEANUP(fd_closep) */

/*
 * Opens those of 0, 1 and 2 that are closed, on /dev/null: else the next socket gets that number,
 * and the log is written to whoever is connected. First of all in main(). 0 or -errno.
 */
int fd_open_standard(void) MUST_USE;

/* O_NONBLOCK and FD_CLOEXEC. 0 or -errno. */
int fd_set_nonblocking(int fd) MUST_USE;

/*
 * The whole of a file of at most max bytes. 0 or -errno (-EFBIG when larger); *ret is appended to.
 */
int fdio_read_file(const char *path, struct buf *ret) MUST_USE;

/*
 * pread() at 0 into a fixed buffer, NUL-terminated: kernel files that are read again and again
 * through one fd. Bytes read or -errno.
 */
ssize_t fdio_pread_text(int fd, char *ret_text, size_t size);
