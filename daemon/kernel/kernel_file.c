/*
 * See kernel_file.h.
 *
 * The files of procfs give a page or so with each read, so it takes several; each begins where the
 * one before ended, and the kernel makes the text anew in between. That tears no line: what a read
 * returns ends with one.
 *
 * Must not: know what is in the files.
 */
#include "kernel/kernel_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"

int kernel_file_init(struct kernel_file *f, const char *root, const char *folder, const char *name)
{
    size_t root_len = strlen(root), folder_len = strlen(folder), size;
    char *path;

    size = root_len + folder_len + strlen(name) + 2;
    path = malloc(size);
    if (!path) {
        return -ENOMEM;
    }
    memcpy(path, root, root_len);
    memcpy(path + root_len, folder, folder_len);
    path[root_len + folder_len] = '/';
    memcpy(path + root_len + folder_len + 1, name, strlen(name) + 1);
    *f = (struct kernel_file) {.path = path, .fd = -1};
    return 0;
}

void kernel_file_done(struct kernel_file *f)
{
    if (f->path) {
        f->fd = fd_close(f->fd);
        free(f->path);
        f->path = NULL;
    }
}

static ssize_t read_whole(int fd, char *ret_text, size_t size)
{
    size_t len = 0;

    while (len < size - 1) {
        ssize_t n = pread(fd, ret_text + len, size - 1 - len, (off_t) len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        len += (size_t) n;
    }
    ret_text[len] = '\0';
    return (ssize_t) len;
}

ssize_t kernel_file_read(struct kernel_file *f, char *ret_text, size_t size)
{
    ssize_t n = -ENOENT;

    for (int attempt = 0; attempt < 2; attempt++) {
        if (f->fd < 0) {
            f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        }
        if (f->fd < 0) {
            return -errno;
        }
        n = read_whole(f->fd, ret_text, size);
        if (n >= 0) {
            return n;
        }
        f->fd = fd_close(f->fd);
        if (n != -ENODEV && n != -ENOENT) {
            return n;
        }
    }
    return n;
}
