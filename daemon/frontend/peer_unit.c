/*
 * See peer_unit.h. Reads one small file of the kernel's, which never blocks.
 */
#include "frontend/peer_unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/caller_table.h"

/* A line for each hierarchy of version 1, a dozen, with paths of 100 bytes; more is not looked at. */
#define CGROUP_BYTES 4096

void peer_unit_read(pid_t pid, struct caller *caller)
{
    char path[32], text[CGROUP_BYTES];
    ssize_t n;
    int fd;

    (void) snprintf(path, sizeof path, "/proc/%d/cgroup", (int) pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    n = read(fd, text, sizeof text);
    (void) close(fd);
    if (n > 0 && !caller_unit_parse((struct str) {text, (size_t) n}, caller->unit,
                                    &caller->is_system_unit)) {
        caller->unit[0] = '\0';
    }
}
