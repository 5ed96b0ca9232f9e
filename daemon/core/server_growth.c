/*
 * See server_growth.h. Owns nothing.
 *
 * Must not: read a file, or judge whether a size is credible (residency_runner.c).
 */
#include "core/server_growth.h"

#define OWN_MAX 2 /* processes of the server itself, and of what started it */

bool server_growth_begin(struct server_growth *g, const struct server_memory *now, size_t n_models)
{
    *g = (struct server_growth) {.is_on = now->n_pids > 0 && now->n_pids <= OWN_MAX + n_models &&
                                          now->n_pids <= SERVER_PIDS_MAX && !now->holds_us,
                                 .base = *now};
    return g->is_on;
}

static bool has(const struct server_memory *m, unsigned pid)
{
    for (size_t i = 0; i < m->n_pids; i++) {
        if (m->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

static bool has_all_of(const struct server_memory *now, const struct server_memory *base)
{
    for (size_t i = 0; i < base->n_pids; i++) {
        if (!has(now, base->pids[i])) {
            return false;
        }
    }
    return true;
}

/* The first that was not there before; 0: none. */
static unsigned newcomer(const struct server_memory *now, const struct server_memory *base)
{
    for (size_t i = 0; i < now->n_pids; i++) {
        if (!has(base, now->pids[i])) {
            return now->pids[i];
        }
    }
    return 0;
}

static uint64_t above(uint64_t now, uint64_t base)
{
    return now > base ? now - base : 0;
}

bool server_growth_see(struct server_growth *g, const struct server_memory *now, bool is_loading,
                       uint64_t *ret_anon_bytes, uint64_t *ret_file_bytes)
{
    unsigned pid;

    if (!g->is_on || now->n_pids > SERVER_PIDS_MAX) {
        return false;
    }
    if (now->epoch != g->base.epoch || !has_all_of(now, &g->base)) {
        g->is_on = false;
        return false;
    }
    if (now->n_pids > g->base.n_pids + 1) {
        return false;
    }
    pid = newcomer(now, &g->base);
    if (!is_loading) { /* while it loads its server may start another one first, for a look at GPUs */
        g->is_on = !g->is_loaded || pid == g->runner_pid;
        g->is_loaded = true;
        g->runner_pid = pid;
    }
    *ret_anon_bytes = above(now->anon_bytes, g->base.anon_bytes);
    *ret_file_bytes = above(now->file_bytes, g->base.file_bytes);
    return g->is_on;
}
