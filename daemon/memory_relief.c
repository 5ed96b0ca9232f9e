/*
 * See memory_relief.h. In two steps, because a closed connection is freed at the end of the turn,
 * and only then has the allocator something to give back.
 */
#include "memory_relief.h"

#include <malloc.h>

#include "announce.h"
#include "base/clock.h"

bool memory_relief_begin(struct memory_relief *m, uint64_t now_usec)
{
    size_t n_closed;

    if (m->last_at_usec != 0 && usec_since(now_usec, m->last_at_usec) < MEMORY_RELIEF_MIN_USEC) {
        return false;
    }
    m->last_at_usec = now_usec;
    m->is_begun = true;
    n_closed = frontends_shed_idle(m->frontends, now_usec);
    upstreams_shed_idle(m->upstreams);
    announce_memory_relief(n_closed);
    return true;
}

void memory_relief_turn(struct memory_relief *m, uint64_t now_usec)
{
    if (!m->is_begun) {
        return;
    }
    m->is_begun = false;
    (void) malloc_trim(0); /* whether there was anything is of no interest */
    if (m->sockets->is_passed) {
        (void) idle_exit_try(m->idle_exit, "memory is short, and nobody needs sluice", now_usec);
    }
}
