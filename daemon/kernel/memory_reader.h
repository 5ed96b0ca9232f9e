#pragma once
/*
 * Makes samples: the one that reads /proc and /sys/fs/cgroup for core/pressure. Files stay open;
 * a sample allocates nothing.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/memory_sample.h"
#include "kernel/kernel_file.h"
#include "kernel/kernel_group.h"

struct memory_reader {
    const char *root; /* borrowed */
    struct kernel_file psi, meminfo, vmstat, swaps;
    bool has_psi, has_meminfo, has_vmstat; /* could be read at the start */
    int psi_error;                         /* why PSI could not, -errno */
    bool has_group;
    struct kernel_group group;
    unsigned epoch; /* of the group */
    int error;      /* why the last sample was incomplete; 0: it was not */
    int io_error;   /* of the last file */
    char text[KERNEL_TEXT_BYTES];
};

/*
 * root is put before /proc and /sys; it must outlive the reader. Looks which files can be read.
 * 0 or -ENOMEM.
 */
int memory_reader_init(struct memory_reader *r, const char *root) MUST_USE;
void memory_reader_done(struct memory_reader *r);

/* The model server's group from now on. 0 or -errno, then there is none. */
int memory_reader_set_group(struct memory_reader *r,
                            const struct kernel_group_paths *paths) MUST_USE;
void memory_reader_forget_group(struct memory_reader *r);

/*
 * Reads all there is. What could be read at the start and cannot now makes the sample incomplete;
 * a group that is gone is forgotten (has_group is false then).
 */
void memory_reader_read(struct memory_reader *r, uint64_t now_usec, struct memory_sample *ret);

/* What the model server's group holds now. 0 or -errno: none is known, or it does not tell. */
int memory_reader_read_server(struct memory_reader *r, struct server_memory *ret) MUST_USE;
