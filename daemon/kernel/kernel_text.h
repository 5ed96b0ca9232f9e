#pragma once
/*
 * What the kernel writes about memory, read from text: /proc/pressure/memory, /proc/meminfo,
 * /proc/vmstat, /proc/swaps, /proc/net/tcp, /proc/PID/{cgroup,status} and the files of control
 * groups, v1 and v2. Pure: text comes in, numbers go out.
 *
 * Every function answers 0, or -EBADMSG when what it is for is not there; then ret_ is untouched.
 * Only whole lines count: a number at the end of a text without a newline may have been cut. Sizes
 * that do not fit into 64 bits are taken as UINT64_MAX.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/str.h"

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=123\nfull ..."; full is 0 where it is missing. */
struct kernel_psi {
    uint64_t some_total_usec, full_total_usec;
};

struct kernel_meminfo {
    uint64_t total_bytes;
    uint64_t available_bytes; /* without MemAvailable: free and half of the files */
    uint64_t file_bytes;      /* Active(file) + Inactive(file) */
    uint64_t swap_total_bytes, swap_free_bytes;
};

/* Counters of pages since boot; a name that is not there is 0. */
struct kernel_vmstat {
    uint64_t refault_pages, n_scanned, n_stalls, n_oom_kills;
    uint64_t swapped_in_pages, swapped_out_pages;
};

/* memory.stat of a group; v1's totals go before its own numbers. */
struct kernel_group_stat {
    uint64_t inactive_file_bytes, file_bytes;
    uint64_t refault_pages, n_scanned;
};

/* The same file: what is held, and by whom it counts. Mapped pages of files with those of tmpfs. */
struct kernel_group_memory {
    uint64_t anon_bytes, mapped_bytes;
    uint64_t swap_bytes; /* v1 only */
};

/* memory.events of v2, memory.oom_control of v1. */
struct kernel_group_events {
    uint64_t n_throttled, n_limited, n_oom_kills;
};

struct kernel_status {
    uint64_t rss_anon_bytes, rss_file_bytes, swap_bytes;
};

int kernel_parse_psi(struct str text, struct kernel_psi *ret) MUST_USE;
int kernel_parse_meminfo(struct str text, struct kernel_meminfo *ret) MUST_USE;
int kernel_parse_vmstat(struct str text, struct kernel_vmstat *ret) MUST_USE;
int kernel_parse_group_stat(struct str text, struct kernel_group_stat *ret) MUST_USE;
int kernel_parse_group_memory(struct str text, struct kernel_group_memory *ret) MUST_USE;
int kernel_parse_group_events(struct str text, struct kernel_group_events *ret) MUST_USE;
int kernel_parse_status(struct str text, struct kernel_status *ret) MUST_USE;

/* A number on a line of its own; "max", and what v1 writes for no limit, are UINT64_MAX. */
int kernel_parse_limit(struct str text, uint64_t *ret_bytes) MUST_USE;

/*
 * cgroup.procs: numbers of processes, in any order, some perhaps twice; each once into ret_pids. -E2BIG:
 * there are more than max. A process outside of our PID namespace is listed as 0: then nobody can be
 * told from anybody, and this is -EBADMSG.
 */
int kernel_parse_pids(struct str text, unsigned *ret_pids, size_t max, size_t *ret_n) MUST_USE;

/* Is there swap, and is all of it compressed memory (/proc/swaps)? */
int kernel_parse_swaps(struct str text, bool *ret_is_zram) MUST_USE;

/*
 * The group of a controller in /proc/PID/cgroup: "" is the one of v2, "memory" v1's. Borrowed from
 * text; it begins with a slash.
 */
int kernel_parse_group(struct str text, const char *controller, struct str *ret_path) MUST_USE;

/* A line of /proc/net/tcp or tcp6 that is a listening socket: its port and inode. */
int kernel_parse_listener(struct str line, unsigned *ret_port, uint64_t *ret_inode) MUST_USE;

/* Takes the next whole line out of text, without its newline. false: there is none. */
bool kernel_next_line(struct str *text, struct str *ret_line);
