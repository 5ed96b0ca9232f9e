/*
 * See runner_look.h.
 *
 * A model is found by its digest, so one that its server tells no digest of is never seen; nor is
 * one whose process runs where this daemon cannot see it: in another machine's or container's
 * /proc, or behind ProtectProc=invisible or hidepid=. Then what is guessed of it counts, as before.
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
            has_first = has_first || (!had && m->baseline_bytes > 0);
        } else {
            residency_unseen(m, now_usec);
        }
    }
    return has_first;
}
