/*
 * See memory_limit.h.
 *
 * Read at start and at reload, when the configuration's limits are taken. A cgroup that cannot be
 * read has no limit: containers without the memory controller, cgroups v1, /proc not mounted.
 */
#include "memory_limit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "base/num.h"

#define CGROUPS   "/sys/fs/cgroup"
#define OWN_GROUP "/proc/self/cgroup"
#define KIB       (1U << 10)
#define MIB       (1U << 20)

/* The first bytes of a file of the kernel, NUL-terminated; how many, or -errno. */
static ssize_t read_text(const char *path, char *ret_text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) {
        return -errno;
    }
    n = fdio_pread_text(fd, ret_text, size);
    (void) fd_close(fd);
    return n;
}

/* The line "0::/PATH" is the group in the unified hierarchy. 0, or -ENOENT and the like. */
static int own_group(const char *root, char *ret_group, size_t size)
{
    char path[PATH_MAX], text[PATH_MAX];
    const char *line;
    ssize_t n;
    int length;

    (void) snprintf(path, sizeof path, "%s" OWN_GROUP, root);
    n = read_text(path, text, sizeof text);
    if (n < 0) {
        return (int) n;
    }
    line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line) {
        return -ENOENT;
    }
    line += *line == '\n' ? 4 : 3;
    length = snprintf(ret_group, size, "%.*s", (int) strcspn(line, "\n"), line);
    return (size_t) length < size ? 0 : -ENAMETOOLONG;
}

static size_t limit_of(const char *root, const char *group)
{
    char path[PATH_MAX], text[64];
    uint64_t value;
    int n = snprintf(path, sizeof path, "%s" CGROUPS "%s/memory.max", root, group);

    /* the root group has no such file, "max" is no number */
    if ((size_t) n >= sizeof path || read_text(path, text, sizeof text) < 0 ||
        num_parse_u64((struct str) {text, strcspn(text, "\n")}, &value) < 0 || value > SIZE_MAX) {
        return SIZE_MAX;
    }
    return (size_t) value;
}

size_t memory_limit_bytes(const char *root)
{
    char group[PATH_MAX];
    size_t least = SIZE_MAX;
    char *last;

    if (own_group(root, group, sizeof group) < 0) {
        return SIZE_MAX;
    }
    do { /* from our own group up */
        size_t limit = limit_of(root, group);

        least = limit < least ? limit : least;
        last = strrchr(group, '/');
        if (last) {
            *last = '\0';
        }
    } while (last);
    return least;
}

void memory_limit_fit(const char *root, size_t *body_bytes, size_t *buffered_bytes)
{
    size_t limit = memory_limit_bytes(root), most;

    most = limit > MEMORY_LIMIT_BASE_BYTES ? (limit - MEMORY_LIMIT_BASE_BYTES) / MEMORY_LIMIT_COPIES
                                           : 0;
    most = most > MEMORY_LIMIT_MIN_BYTES ? most : MEMORY_LIMIT_MIN_BYTES;
    if (*buffered_bytes <= most) {
        return;
    }
    *buffered_bytes = most;
    most /= MEMORY_LIMIT_BODIES;
    *body_bytes = *body_bytes < most ? *body_bytes : most;
    log_printf(LOG_LEVEL_NOTICE,
               "the service manager allows %zu MiB of memory: sluice.limits.body is %zu KiB, "
               "sluice.limits.buffered %zu KiB",
               limit / MIB, *body_bytes / KIB, *buffered_bytes / KIB);
}
