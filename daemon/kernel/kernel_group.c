/*
 * See kernel_group.h. What the files mean: admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of
 * the kernel.
 *
 * Room is the least of (limit - usage + pages of files) over the group and those above it. All
 * pages of files, as in MemAvailable, and not the inactive ones only: reading a file a second time
 * makes its pages active, and that looked like a fall of tens of megabytes per second with nothing
 * lost (measured). That some of those pages are needed shows as pressure and refaults. memory.high counts as a limit like
 * memory.max, as a group above it is slowed down to a crawl. The root has no limit files.
 *
 * Must not: judge, log.
 */
#include "kernel/kernel_group.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernel/kernel_find.h"
#include "kernel/kernel_text.h"

#define MOUNT_V1 "/sys/fs/cgroup/memory"

static bool exists(const char *root, const char *a, const char *b, const char *c)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s%s%s", root, a, b, c);

    return n > 0 && (size_t) n < sizeof path && access(path, F_OK) == 0;
}

/* ---------------------------------------------------------------- opening */

static int open_level(struct kernel_group_level *l, bool is_v1, const char *root,
                      const char *folder)
{
    int r =
        kernel_file_init(&l->limit, root, folder, is_v1 ? "memory.limit_in_bytes" : "memory.max");

    if (r == 0) {
        r = kernel_file_init(&l->usage, root, folder,
                             is_v1 ? "memory.usage_in_bytes" : "memory.current");
    }
    if (r == 0) {
        r = kernel_file_init(&l->stat, root, folder, "memory.stat");
    }
    if (r == 0 && !is_v1) {
        r = kernel_file_init(&l->high, root, folder, "memory.high");
    }
    return r;
}

/* The group and those above it, as far as they have the files. */
static int open_levels(struct kernel_group *g, const char *root, const char *mount,
                       const char *path)
{
    const char *usage = g->is_v1 ? "/memory.usage_in_bytes" : "/memory.current";
    char folder[PATH_MAX];
    size_t mount_len = strlen(mount);
    int n = snprintf(folder, sizeof folder, "%s%s", mount, path), r = 0;

    if (n < 0 || (size_t) n >= sizeof folder) {
        return -ENAMETOOLONG;
    }
    while (r == 0 && g->n_levels < KERNEL_GROUP_MAX_LEVELS && strlen(folder) > mount_len) {
        char *last = strrchr(folder, '/');

        if (exists(root, folder, usage, "")) {
            r = open_level(&g->levels[g->n_levels++], g->is_v1, root, folder);
        }
        *last = '\0';
    }
    return r;
}

static int open_others(struct kernel_group *g, const char *root, const char *mount_v2,
                       const struct kernel_group_paths *paths)
{
    char folder[PATH_MAX];
    int r = 0;

    if (mount_v2 && paths->v2[0]) {
        (void) snprintf(folder, sizeof folder, "%.*s%.*s", 64, mount_v2, PATH_MAX - 80, paths->v2);
        r = kernel_file_init(&g->psi, root, folder, "memory.pressure");
        if (r == 0) {
            r = kernel_file_init(&g->procs, root, folder, "cgroup.procs");
        }
        if (r == 0 && !g->is_v1) {
            r = kernel_file_init(&g->events, root, folder, "memory.events");
        }
        if (r == 0 && !g->is_v1) {
            r = kernel_file_init(&g->swap, root, folder, "memory.swap.current");
        }
    }
    if (r == 0 && g->is_v1) {
        (void) snprintf(folder, sizeof folder, MOUNT_V1 "%.*s", PATH_MAX - 80, paths->v1);
        r = kernel_file_init(&g->events, root, folder, "memory.oom_control");
        if (r == 0) {
            r = kernel_file_init(&g->failures, root, folder, "memory.failcnt");
        }
        if (r == 0 && !g->procs.path) {
            r = kernel_file_init(&g->procs, root, folder, "cgroup.procs");
        }
    }
    return r;
}

int kernel_group_open(struct kernel_group *g, const char *root,
                      const struct kernel_group_paths *paths)
{
    const char *mount = kernel_find_mount(root);
    int r = 0;

    *g = (struct kernel_group) {0};
    if (mount && paths->v2[0]) {
        r = open_levels(g, root, mount, paths->v2);
    }
    if (r == 0 && g->n_levels == 0 && paths->v1[0]) {
        g->is_v1 = true;
        r = open_levels(g, root, MOUNT_V1, paths->v1);
        g->is_v1 = g->n_levels > 0;
    }
    if (r == 0) {
        r = open_others(g, root, mount, paths);
    }
    if (r == 0 && g->n_levels == 0 &&
        !(mount && paths->v2[0] && exists(root, mount, paths->v2, "/memory.pressure"))) {
        r = -ENOENT;
    }
    if (r < 0) {
        kernel_group_close(g);
    }
    return r;
}

void kernel_group_close(struct kernel_group *g)
{
    for (size_t i = 0; i < KERNEL_GROUP_MAX_LEVELS; i++) {
        kernel_file_done(&g->levels[i].limit);
        kernel_file_done(&g->levels[i].high);
        kernel_file_done(&g->levels[i].usage);
        kernel_file_done(&g->levels[i].stat);
    }
    kernel_file_done(&g->psi);
    kernel_file_done(&g->procs);
    kernel_file_done(&g->swap);
    kernel_file_done(&g->events);
    kernel_file_done(&g->failures);
    *g = (struct kernel_group) {0};
}

/* ---------------------------------------------------------------- reading */

/* The text of a file; absent when it cannot be read. */
static struct str text_of(struct kernel_file *f, char *text)
{
    ssize_t n = f->path ? kernel_file_read(f, text, KERNEL_TEXT_BYTES) : -ENOENT;

    return n < 0 ? STR_NONE : (struct str) {text, (size_t) n};
}

static uint64_t limit_of(struct kernel_group_level *l, char *text)
{
    uint64_t max = UINT64_MAX, high = UINT64_MAX;

    if (kernel_parse_limit(text_of(&l->limit, text), &max) < 0) {
        max = UINT64_MAX;
    }
    if (kernel_parse_limit(text_of(&l->high, text), &high) < 0) {
        high = UINT64_MAX;
    }
    return max < high ? max : high;
}

/* Lowers ret's room to what this level leaves. */
static void read_level(struct kernel_group_level *l, char *text, struct memory_place_sample *ret)
{
    struct kernel_group_stat stat = {0};
    uint64_t limit = limit_of(l, text), usage, left;

    if (limit == UINT64_MAX || kernel_parse_limit(text_of(&l->usage, text), &usage) < 0) {
        return;
    }
    if (kernel_parse_group_stat(text_of(&l->stat, text), &stat) < 0) {
        stat.file_bytes = 0;
    }
    left = usage < limit ? limit - usage : 0;
    left = stat.file_bytes < limit - left ? left + stat.file_bytes : limit;
    if (!ret->has_room || left < ret->headroom_bytes) {
        ret->has_room = true;
        ret->headroom_bytes = left;
        ret->total_bytes = limit;
    }
}

static bool read_counters(struct kernel_group *g, char *text, struct memory_place_sample *ret)
{
    uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);
    struct kernel_group_events events;
    struct kernel_group_stat stat;
    struct kernel_psi psi;
    bool has_any = false;

    if (kernel_parse_psi(text_of(&g->psi, text), &psi) == 0) {
        ret->has_psi = has_any = true;
        ret->some_total_usec = psi.some_total_usec;
        ret->full_total_usec = psi.full_total_usec;
    }
    if (g->n_levels > 0 && kernel_parse_group_stat(text_of(&g->levels[0].stat, text), &stat) == 0) {
        ret->has_reclaim = has_any = true;
        ret->file_bytes = stat.file_bytes;
        ret->refault_bytes = stat.refault_pages * page;
        ret->n_scanned = stat.n_scanned;
    }
    if (kernel_parse_group_events(text_of(&g->events, text), &events) == 0) {
        has_any = true;
        ret->n_throttled = events.n_throttled;
        ret->n_limited = events.n_limited;
        ret->n_oom_kills = events.n_oom_kills;
    }
    if (g->is_v1 && kernel_parse_limit(text_of(&g->failures, text), &ret->n_limited) < 0) {
        ret->n_limited = 0;
    }
    return has_any;
}

int kernel_group_read(struct kernel_group *g, char *text, struct memory_place_sample *ret)
{
    struct memory_place_sample s = {0};

    for (size_t i = 0; i < g->n_levels; i++) {
        read_level(&g->levels[i], text, &s);
    }
    if (!read_counters(g, text, &s) && !s.has_room) {
        return -ENOENT;
    }
    *ret = s;
    return 0;
}

static int read_processes(struct kernel_group *g, char *text, struct server_memory *m)
{
    struct str pids = text_of(&g->procs, text);
    unsigned us = (unsigned) getpid();
    int r;

    if (!pids.ptr || pids.len >= KERNEL_TEXT_BYTES - 1) { /* perhaps it was cut */
        return pids.ptr ? -E2BIG : -ENOENT;
    }
    r = kernel_parse_pids(pids, m->pids, SERVER_PIDS_MAX, &m->n_pids);
    for (size_t i = 0; r == 0 && i < m->n_pids; i++) {
        m->holds_us = m->holds_us || m->pids[i] == us;
    }
    return r;
}

int kernel_group_read_memory(struct kernel_group *g, char *text, struct server_memory *ret)
{
    struct kernel_group_memory memory;
    struct server_memory m = {0};
    uint64_t swap;
    int r = g->n_levels > 0 ? read_processes(g, text, &m) : -ENOENT;

    if (r < 0) {
        return r;
    }
    r = kernel_parse_group_memory(text_of(&g->levels[0].stat, text), &memory);
    if (r < 0) {
        return r;
    }
    swap = memory.swap_bytes;
    if (!g->is_v1 && kernel_parse_limit(text_of(&g->swap, text), &swap) < 0) {
        swap = 0; /* there is none, or the kernel does not count it by group */
    }
    m.anon_bytes = memory.anon_bytes > UINT64_MAX - swap ? UINT64_MAX : memory.anon_bytes + swap;
    m.file_bytes = memory.mapped_bytes;
    *ret = m;
    return 0;
}
