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
#include <limits.h>
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

/*
 * FNV-1a (Fowler, Noll, Vo). Names that clients make up may be of one number: then they are taken for
 * one model, which a client could as well have asked for.
 */
static uint64_t number_of(const char *model)
{
    uint64_t z = UINT64_C(0xcbf29ce484222325);

    for (const char *c = model; *c; c++) {
        z = (z ^ (unsigned char) *c) * UINT64_C(0x100000001b3);
    }
    return z > 0 ? z : 1;
}

/* Where the suspect of that number is; HANG_SUSPECTS: nowhere. 0: the first free place. */
static size_t place_of(const struct hang_evidence *e, uint64_t number)
{
    size_t i = 0;

    while (i < HANG_SUSPECTS && e->suspects[i].model != number) {
        i++;
    }
    return i;
}

/* The suspect, which is the first one from now on. */
static struct hang_suspect *accuse(struct hang_evidence *e, const char *model)
{
    uint64_t number = number_of(model);
    size_t i = place_of(e, number);
    struct hang_suspect s = {.model = number};

    if (i < HANG_SUSPECTS) {
        s = e->suspects[i];
    } else {
        i = place_of(e, 0);
        i = i < HANG_SUSPECTS ? i : HANG_SUSPECTS - 1;
    }
    memmove(&e->suspects[1], &e->suspects[0], i * sizeof s);
    e->suspects[0] = s;
    return &e->suspects[0];
}

/* Nothing is known of who is not on the list. */
static struct hang_suspect known(const struct hang_evidence *e, const char *model)
{
    size_t i = place_of(e, number_of(model));

    return i < HANG_SUSPECTS ? e->suspects[i] : (struct hang_suspect) {.model = 0};
}

static bool never_goes(const struct hang_suspect *s)
{
    return s->n_unloads >= HANG_UNLOADS &&
           usec_since(s->unload_at_usec, s->unloads_since_usec) >= HANG_UNLOADS_USEC;
}

static bool hangs(const struct hang_suspect *s)
{
    return (s->n_calls > 0 && s->n_calls + s->n_unloads >= HANG_CALLS) || never_goes(s);
}

unsigned hang_evidence_n(const struct hang_evidence *e, const char *model)
{
    struct hang_suspect s = known(e, model);

    return s.n_calls + s.n_unloads;
}

bool hang_evidence_is_enough(const struct hang_evidence *e, const char *model)
{
    struct hang_suspect s = known(e, model);

    return hangs(&s);
}

bool hang_evidence_is_of_unloads(const struct hang_evidence *e, const char *model)
{
    struct hang_suspect s = known(e, model);

    return never_goes(&s);
}

bool hang_evidence_add_call(struct hang_evidence *e, const char *model, uint64_t call)
{
    struct hang_suspect *s = accuse(e, model);

    for (unsigned i = 0; i < s->n_calls; i++) {
        if (s->calls[i] == call) {
            return hangs(s); /* tried there again: one call is one witness */
        }
    }
    if (s->n_calls < HANG_CALLS) {
        s->calls[s->n_calls++] = call;
    }
    return hangs(s);
}

bool hang_evidence_add_unload(struct hang_evidence *e, const char *model, uint64_t now_usec)
{
    struct hang_suspect *s = accuse(e, model);

    if (s->n_unloads == 0 || usec_since(now_usec, s->unload_at_usec) > HANG_UNLOADS_PAUSE_USEC) {
        s->n_unloads = 0;
        s->unloads_since_usec = now_usec;
    }
    s->n_unloads += s->n_unloads < UINT_MAX;
    s->unload_at_usec = now_usec;
    return hangs(s);
}

void hang_evidence_clear(struct hang_evidence *e, const char *model)
{
    size_t i = place_of(e, number_of(model));

    if (i < HANG_SUSPECTS) {
        e->suspects[i] = (struct hang_suspect) {.model = 0};
    }
}

void hang_evidence_unloaded(struct hang_evidence *e, const char *model)
{
    size_t i = place_of(e, number_of(model));

    if (i < HANG_SUSPECTS) {
        e->suspects[i].n_unloads = 0;
    }
}

void hang_evidence_doubt(struct hang_evidence *e)
{
    for (unsigned i = 0; i < HANG_SUSPECTS; i++) {
        struct hang_suspect *s = &e->suspects[i];

        s->n_unloads = 0;
        if (s->n_calls == HANG_CALLS) {
            memmove(&s->calls[0], &s->calls[1], sizeof s->calls - sizeof s->calls[0]);
            s->n_calls--;
        }
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

enum hang_step hang_guard_stuck(struct hang_guard *g, uint64_t now_usec)
{
    return g->state == HANG_WATCHING ? want_restart(g, now_usec) : HANG_NOTHING;
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
