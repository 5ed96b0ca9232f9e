/*
 * See runner_look.h.
 *
 * A process is found by its model's digest, so one whose server tells no digest is never seen; nor is
 * one that runs where this daemon cannot see it: in another machine's or container's /proc, or
 * behind ProtectProc=invisible or hidepid=, as in sluice.service. Then the model server's control
 * group is looked at, if it is known: /sys/fs/cgroup is neither hidden from other users nor by
 * ProtectControlGroups=yes, which makes it read-only. The rule which of the two counts is that of
 * core/footprint.h. Where neither can be read what is guessed of it counts, as before.
 *
 * Must not: decide what follows from what it sees (core/residency_runner.c).
 */
#include "runner_look.h"

#include "kernel/runner_memory.h"

#define DIGEST_PREFIX "sha256-" /* how Ollama names the files of models */

static bool see(struct residency_model *m, struct memory_monitor *monitor, const char *root,
                struct runner_memory *ret)
{
    struct kernel_group *group =
        monitor->is_on && monitor->reader.has_group ? &monitor->reader.group : NULL;

    if (!str_has_prefix(str_from(m->key.name), DIGEST_PREFIX)) {
        return false;
    }
    if (m->runner_pid > 0 && runner_memory_read(root, m->runner_pid, m->key.name, ret) == 0) {
        return true;
    }
    m->runner_pid = 0;
    return runner_memory_find(root, group, m->key.name, &m->runner_pid, ret) == 0;
}

static bool read_server(struct memory_monitor *monitor, struct server_memory *ret)
{
    return monitor->is_on && memory_reader_read_server(&monitor->reader, ret) == 0;
}

void runner_look_began(struct residency *r, struct residency_model *m,
                       struct memory_monitor *monitor, uint64_t now_usec)
{
    struct server_memory server;

    residency_group_began(r, m, read_server(monitor, &server) ? &server : NULL, now_usec);
}

static bool see_server(struct residency *r, struct residency_model *m,
                       struct memory_monitor *monitor)
{
    struct server_memory server;

    return m->grows_since_usec > 0 && read_server(monitor, &server) &&
           residency_group_seen(r, m, &server);
}

bool runner_look_turn(struct residency *r, struct memory_monitor *monitor, const char *kernel_root,
                      uint64_t now_usec)
{
    struct residency_model *m;
    bool has_first = false;

    while ((m = residency_next_runner(r, now_usec))) {
        bool had = m->baseline_bytes > 0;
        struct runner_memory memory;

        if (see(m, monitor, kernel_root, &memory)) {
            residency_seen(r, m, memory.anon_bytes, memory.file_bytes);
        } else if (!see_server(r, m, monitor)) {
            residency_unseen(m, now_usec);
        }
        has_first = has_first || (!had && m->baseline_bytes > 0);
    }
    return has_first;
}
