/*
 * See meminfo.h. Read with each decision about a load, at most ten times in a second (8 us each);
 * an idle daemon reads nothing.
 */
#include "meminfo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/num.h"

#define MEMINFO_FILE  "/proc/meminfo"
#define MEMINFO_BYTES 4096

/* "Name:   123 kB" */
static int field(struct str text, const char *name, uint64_t *ret_bytes)
{
    size_t n = strlen(name);

    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        struct str line = {text.ptr, end ? (size_t) (end - text.ptr) : text.len};
        uint64_t kib;

        if (str_has_prefix(line, name) && line.len > n + 3 && line.ptr[n] == ':' &&
            memcmp(line.ptr + line.len - 3, " kB", 3) == 0) {
            struct str number = str_trim((struct str) {line.ptr + n + 1, line.len - n - 4});

            if (num_parse_u64(number, &kib) < 0 || kib > UINT64_MAX / 1024) {
                return -EBADMSG;
            }
            *ret_bytes = kib * 1024;
            return 0;
        }
        text.ptr += line.len + (end ? 1 : 0);
        text.len -= line.len + (end ? 1 : 0);
    }
    return -EBADMSG;
}

int meminfo_parse(struct str text, struct residency_memory *ret)
{
    struct residency_memory m = {.total_bytes = 0};
    int r = field(text, "MemTotal", &m.total_bytes);

    if (r == 0) {
        r = field(text, "MemAvailable", &m.available_bytes); /* Linux 3.14 */
    }
    if (r == 0) {
        *ret = m;
    }
    return r;
}

int meminfo_read(const char *root, struct residency_memory *ret)
{
    char path[PATH_MAX], text[MEMINFO_BYTES];
    ssize_t n;
    int fd;

    if (snprintf(path, sizeof path, "%s" MEMINFO_FILE, root) >= (int) sizeof path) {
        return -ENAMETOOLONG;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    n = fdio_pread_text(fd, text, sizeof text);
    (void) fd_close(fd);
    return n < 0 ? (int) n : meminfo_parse((struct str) {text, (size_t) n}, ret);
}
