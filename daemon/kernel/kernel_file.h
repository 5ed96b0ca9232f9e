#pragma once
/*
 * A file of the kernel that is read again and again: opened once, read from its beginning each
 * time, opened anew when what it spoke of is gone (a control group that was made again).
 */
#include <stddef.h>
#include <sys/types.h>

#include "base/macros.h"

struct kernel_file {
    char *path; /* owned; NULL: never to be read */
    int fd;     /* -1: not open */
};

/*
 * The parts joined to one path; nothing is opened yet. 0 or -ENOMEM. A zeroed or initialised file
 * may be done; a zeroed one must not be read.
 */
int kernel_file_init(struct kernel_file *f, const char *root, const char *folder,
                     const char *name) MUST_USE;
void kernel_file_done(struct kernel_file *f);

/*
 * The first size - 1 bytes at most, NUL-terminated. How many, or -errno: -ENOENT where there is no
 * such file, -EOPNOTSUPP from a pressure file that is switched off.
 */
ssize_t kernel_file_read(struct kernel_file *f, char *ret_text, size_t size) MUST_USE;
