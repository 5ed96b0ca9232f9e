#pragma once
/*
 * How much memory the process takes that holds a model: found by its command line, which names the
 * model's file, and asked of /proc/PID/status. Neither needs a privilege.
 *
 * Nothing is kept between two looks, and nothing is allocated.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/str.h"
#include "kernel/kernel_group.h"

#define RUNNER_MAX_PROCESSES 4096 /* looked at in one search */
#define RUNNER_COMMAND_BYTES 4096 /* of a command line; the model is one of its first words */

struct runner_memory {
    uint64_t anon_bytes; /* RssAnon + VmSwap */
    uint64_t file_bytes; /* RssFile: mapped pages of files, the weights where they are mapped */
};

/*
 * The file that a command line (words that end with NUL) names with --model, -m or --model=,
 * without its folders. 0, or -EBADMSG: none; a word that may have been cut is none. Borrowed from
 * words.
 */
int runner_memory_parse_model(struct str words, struct str *ret_file) MUST_USE;

/* What the process takes, as long as it serves that file. 0, or -errno: it is gone, or is another. */
int runner_memory_read(const char *root, unsigned pid, const char *file,
                       struct runner_memory *ret) MUST_USE;

/*
 * The process that serves the file; of several the one that takes most. Among those of the group
 * where one is open and tells them, else among all. 0 or -ENOENT.
 */
int runner_memory_find(const char *root, struct kernel_group *group, const char *file,
                       unsigned *ret_pid, struct runner_memory *ret) MUST_USE;
