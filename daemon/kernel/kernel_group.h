#pragma once
/*
 * The memory of a control group, v1 or v2 or both at once (hybrid: limits in v1, pressure in v2):
 * how much room its limits and those above it leave, what it stalled, what the kernel counted.
 *
 * Opened once, then read without allocating. Belongs to memory_reader.
 */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/memory_sample.h"
#include "kernel/kernel_file.h"

#define KERNEL_GROUP_MAX_LEVELS 8     /* the group and those above it that can have a limit */
#define KERNEL_TEXT_BYTES       16384 /* of the longest file: /proc/vmstat has 4 to 8 KiB */

/* Where a group is in each hierarchy: below its mount point, with a slash first; "": nowhere. */
struct kernel_group_paths {
    char v2[PATH_MAX], v1[PATH_MAX];
};

struct kernel_group_level {
    struct kernel_file limit, high, usage, stat; /* high: v2 only */
};

struct kernel_group {
    struct kernel_group_level levels[KERNEL_GROUP_MAX_LEVELS];
    size_t n_levels; /* 0: not open */
    bool is_v1;      /* the levels are */
    struct kernel_file psi;
    struct kernel_file procs;    /* its processes; not those of groups below it */
    struct kernel_file swap;     /* v2: memory.swap.current; v1 has it in its stat */
    struct kernel_file events;   /* v1: memory.oom_control */
    struct kernel_file failures; /* v1: memory.failcnt */
};

/*
 * Opens the group below root. 0; -ENOENT when there is no such group in any hierarchy, or -errno.
 * On failure nothing is open.
 */
int kernel_group_open(struct kernel_group *g, const char *root,
                      const struct kernel_group_paths *paths) MUST_USE;
void kernel_group_close(struct kernel_group *g);

/*
 * Fills ret with what can be read (epoch is the caller's). text is room to work in, of
 * KERNEL_TEXT_BYTES. 0, or -ENOENT when nothing can be read any more: the group is gone.
 */
int kernel_group_read(struct kernel_group *g, char *text, struct memory_place_sample *ret) MUST_USE;

/*
 * What the group holds and its processes (epoch is the caller's); text as above. 0 or -errno: -E2BIG
 * for more processes than fit. Groups below it count for the memory and not for the processes.
 */
int kernel_group_read_memory(struct kernel_group *g, char *text,
                             struct server_memory *ret) MUST_USE;
