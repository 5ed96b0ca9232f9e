/*
 * See hang_guard.h.
 *
 * Unloading comes first as it costs nobody else anything: a runner is a process of its own, and
 * Ollama starts another with the next call. It is tried once between two answers; a server that hangs
 * again without one in between needs more. One function changes the state and checks the transition.
 *
 * Invariants: every state but WATCHING has an end (until_usec), whatever the server or the service
 * manager do; n_restarts grows at RESTARTING only, and never before restart_at_usec.
 *
 * Must not: read a clock, log, know calls, deployments or D-Bus.
 */
#include "core/hang_guard.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"

static const char *const state_names[] = {
    [HANG_WATCHING] = "watching",
    [HANG_UNLOADING] = "unloading",
    [HANG_DRAINING] = "draining",
    [HANG_RESTARTING] = "restarting",
};

/* Which states may follow: bit i of transitions[s] allows s -> i. */
static const unsigned transitions[] = {
    [HANG_WATCHING] = 1u << HANG_UNLOADING | 1u << HANG_DRAINING,
    [HANG_UNLOADING] = 1u << HANG_WATCHING | 1u << HANG_DRAINING,
    [HANG_DRAINING] = 1u << HANG_WATCHING | 1u << HANG_RESTARTING,
    [HANG_RESTARTING] = 1u << HANG_WATCHING,
};

const char *hang_state_name(enum hang_state state)
{
    return state_names[state];
}

/* ---------------------------------------------------------------- evidence */

bool hang_evidence_is_enough(const struct hang_evidence *e)
{
    return e->n >= HANG_CALLS;
}

bool hang_evidence_add(struct hang_evidence *e, uint64_t call)
{
    for (unsigned i = 0; i < e->n; i++) {
        if (e->calls[i] == call) {
            return hang_evidence_is_enough(e); /* tried there again: one call is one witness */
        }
    }
    if (e->n < HANG_CALLS) {
        e->calls[e->n++] = call;
    }
    return hang_evidence_is_enough(e);
}

void hang_evidence_doubt(struct hang_evidence *e)
{
    if (e->n == HANG_CALLS) {
        memmove(&e->calls[0], &e->calls[1], sizeof e->calls - sizeof e->calls[0]);
        e->n--;
    }
}

/* ---------------------------------------------------------------- the server */

static void set_state(struct hang_guard *g, enum hang_state to, uint64_t until_usec)
{
    assert(transitions[g->state] & (1u << to));
    g->state = to;
    g->until_usec = until_usec;
}

static enum hang_step release(struct hang_guard *g, enum hang_step step)
{
    if (g->state != HANG_WATCHING) {
        set_state(g, HANG_WATCHING, USEC_NEVER);
    }
    return step;
}

static enum hang_step want_restart(struct hang_guard *g, uint64_t now_usec)
{
    if (!g->can_restart) {
        return release(g, HANG_RELEASE);
    }
    if (now_usec < g->restart_at_usec) {
        return release(g, HANG_TOO_SOON);
    }
    set_state(g, HANG_DRAINING, usec_add(now_usec, HANG_DRAIN_USEC));
    return HANG_DRAIN;
}

enum hang_step hang_guard_hung(struct hang_guard *g, uint64_t now_usec)
{
    if (g->state != HANG_WATCHING) {
        return HANG_NOTHING;
    }
    if (g->was_unloaded) {
        return want_restart(g, now_usec);
    }
    set_state(g, HANG_UNLOADING, usec_add(now_usec, HANG_UNLOAD_USEC));
    return HANG_UNLOAD;
}

enum hang_step hang_guard_unloaded(struct hang_guard *g, bool is_gone, uint64_t now_usec)
{
    assert(g->state == HANG_UNLOADING);
    g->was_unloaded = true;
    return is_gone ? release(g, HANG_RELEASE) : want_restart(g, now_usec);
}

/* The pause after the restart that is asked for now. */
static uint64_t next_pause(const struct hang_guard *g, uint64_t now_usec)
{
    uint64_t twice = 2 * g->restart_every_usec;

    if (g->n_restarts == 0 || usec_since(now_usec, g->restarted_at_usec) > twice) {
        return HANG_RESTART_EVERY_MIN_USEC;
    }
    return twice < HANG_RESTART_EVERY_MAX_USEC ? twice : HANG_RESTART_EVERY_MAX_USEC;
}

enum hang_step hang_guard_drained(struct hang_guard *g, uint64_t now_usec)
{
    assert(g->state == HANG_DRAINING && now_usec >= g->restart_at_usec);
    g->restart_every_usec = next_pause(g, now_usec);
    g->restarted_at_usec = now_usec;
    g->restart_at_usec = usec_add(now_usec, g->restart_every_usec);
    g->n_restarts++;
    set_state(g, HANG_RESTARTING, usec_add(now_usec, HANG_RESTART_USEC));
    return HANG_RESTART;
}

enum hang_step hang_guard_restarted(struct hang_guard *g, bool is_done)
{
    assert(g->state == HANG_RESTARTING);
    if (is_done) {
        g->was_unloaded = false;
    }
    return release(g, HANG_RELEASE);
}

enum hang_step hang_guard_answered(struct hang_guard *g)
{
    g->was_unloaded = false;
    return g->state == HANG_DRAINING ? release(g, HANG_RELEASE) : HANG_NOTHING;
}

enum hang_step hang_guard_expired(struct hang_guard *g, uint64_t now_usec)
{
    switch (g->state) {
    case HANG_WATCHING:
        break;
    case HANG_UNLOADING:
        return hang_guard_unloaded(g, false, now_usec);
    case HANG_DRAINING:
        return hang_guard_drained(g, now_usec);
    case HANG_RESTARTING:
        return hang_guard_restarted(g, false);
    }
    return HANG_NOTHING;
}
