#pragma once
/*
 * The memory that the service manager lets this process have, and what clients may make it hold
 * within that. Beyond memory.max the kernel kills: so what is too large for it must be refused by
 * sluice first, whatever the configuration allows.
 */
#include <stddef.h>

/* What the daemon itself takes, its libraries included, and something to spare. */
#define MEMORY_LIMIT_BASE_BYTES (16U << 20)
/*
 * How much memory a byte of what is held takes at the worst moment, with what malloc keeps (measured:
 * peak resident size with 8 and 32 clients that send 11 and 3 MiB at a time, 2.3).
 */
#define MEMORY_LIMIT_COPIES 3U
/* A body is charged twice while it is decoded (http_frontend.c). */
#define MEMORY_LIMIT_BODIES 2U
/* Below this sluice would be of no use, and takes the risk. */
#define MEMORY_LIMIT_MIN_BYTES (1U << 20)

/*
 * memory.max of this process's cgroup, or of one above it where that is less (cgroups v2,
 * https://docs.kernel.org/admin-guide/cgroup-v2.html). SIZE_MAX: no limit, or none to be read.
 * root: in front of /proc and /sys, "" for none.
 */
size_t memory_limit_bytes(const char *root);

/*
 * Lowers both to what fits into that limit, and says so in the log where it had to: the size of one
 * body, and of all bodies together.
 */
void memory_limit_fit(const char *root, size_t *body_bytes, size_t *buffered_bytes);
