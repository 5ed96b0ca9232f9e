/* See device_memory.h. What control groups allow is the driver's to add. Must not: keep anything. */
#include "device_memory.h"

#include <errno.h>
#include <unistd.h>

#include "kernel/kernel_file.h"
#include "kernel/kernel_text.h"

#define MEMINFO_BYTES 4096

int device_memory_read(const char *kernel_root, struct residency_memory *ret)
{
    char text[MEMINFO_BYTES];
    struct kernel_file file;
    struct kernel_meminfo m;
    ssize_t n;
    int r = kernel_file_init(&file, kernel_root, "/proc", "meminfo");

    if (r < 0) {
        return r;
    }
    n = kernel_file_read(&file, text, sizeof text);
    kernel_file_done(&file);
    r = n < 0 ? (int) n : kernel_parse_meminfo((struct str) {text, (size_t) n}, &m);
    if (r == 0 && (m.total_bytes == UINT64_MAX || m.available_bytes == UINT64_MAX)) {
        r = -EBADMSG;
    }
    if (r == 0) {
        *ret = (struct residency_memory) {.total_bytes = m.total_bytes,
                                          .available_bytes = m.available_bytes};
    }
    return r;
}
