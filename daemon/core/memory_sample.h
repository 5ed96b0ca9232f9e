#pragma once
/*
 * What is known about memory at one instant, as plain numbers: the input of core/pressure.h.
 *
 * Two places can run out: the machine, and the control group of the model server (with the groups
 * above it) where a limit holds. Each is described by the same numbers. daemon/kernel fills this
 * from /proc and /sys/fs/cgroup; tests and the simulator fill it as they like.
 *
 * A number that could not be read is 0 and its has_ flag is false. Counters only grow, and start
 * again at 0 when a group is made anew.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum memory_place {
    MEMORY_SYSTEM, /* the machine */
    MEMORY_SERVER, /* the model server's control group and those above it */
};
#define MEMORY_N_PLACES 2

struct memory_place_sample {
    bool has_psi;     /* pressure stall information: the two totals */
    bool has_room;    /* total_bytes, headroom_bytes */
    bool has_reclaim; /* refault_bytes, file_bytes, n_scanned */
    unsigned epoch;   /* another one: the counters are those of something else, or others */

    uint64_t some_total_usec; /* counter: time in which some task waited for memory */
    uint64_t full_total_usec; /* counter: time in which all did */

    uint64_t total_bytes;    /* MemTotal; of a group: the limit that leaves least room */
    uint64_t headroom_bytes; /* MemAvailable; of a group: what is left below that limit */

    uint64_t file_bytes;    /* of files in memory, on the lists of the reclaim */
    uint64_t refault_bytes; /* counter: read again soon after they were thrown out */
    uint64_t n_scanned;     /* counter: pages that the reclaim looked at */

    uint64_t n_throttled; /* counter: memory.events high */
    uint64_t n_limited;   /* counter: memory.events max (v1: memory.failcnt) */
    uint64_t n_stalls;    /* counter: allocstall_* of /proc/vmstat */
    uint64_t n_oom_kills; /* counter */
};

/* What the model server's control group holds, and who is in it: the input of core/server_growth.h. */
#define SERVER_PIDS_MAX 16 /* in a group with more there is more than a model server */

struct server_memory {
    unsigned epoch;      /* as above */
    bool holds_us;       /* this process is in it as well */
    uint64_t anon_bytes; /* with what of it is swapped out */
    uint64_t file_bytes; /* of files, mapped by somebody */
    size_t n_pids;
    unsigned pids[SERVER_PIDS_MAX]; /* each once */
};

struct memory_sample {
    uint64_t at_usec; /* CLOCK_MONOTONIC */
    struct memory_place_sample place[MEMORY_N_PLACES];

    uint64_t swap_total_bytes; /* of the machine; 0: there is none */
    uint64_t swap_free_bytes;
    uint64_t swapped_in_bytes, swapped_out_bytes; /* counters */
    bool is_swap_zram;                            /* all of it is compressed memory */

    bool is_incomplete; /* something that could be read before cannot be read now */
};
