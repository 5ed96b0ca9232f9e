/*
 * What pressure of memory means for models: who goes for its sake, when a call is not begun, and when
 * loads may begin.
 *
 * Who goes (each at an instant at which nobody uses it, one at a time, the next one when the memory of
 * the last one was seen):
 *
 *   unused for 60 s                 from level 1 on, the hold of the level included
 *   unused for 10 s                 when memory would last for 12 s only
 *   used before another one was     when headroom or PSI ask for level 2 now
 *   any                             at level 3 by headroom or PSI now
 *   any, also if calls wait         at the edge: less than R_crit is left; or memory lasts for less than
 *                                   2 s and the time of an answer; or the runner has grown, and its next
 *                                   answer, growing like those before, would leave less than R_crit
 *
 * At the edge no call is begun at the model either. Its memory comes back with what it has grown by (a
 * cache of prompts), and it may be loaded again at once where it fits: for a runner whose cache has
 * filled the device that is the cure.
 *
 * When a load may begin: when no cell of any level holds now and the budget allows it; and where memory
 * falls, when enough of it will be left after the load for 5 s or three loads. A model that had to go
 * sooner than three loads after its own was loaded too early: then nothing is loaded for 2 s, and each
 * time that this happens for twice as long, up to 30 s.
 *
 * That is not what was planned first: no load at any level, its hold included, nor for 15 s after that,
 * then one in 30 s; and at level 2, the row of time included, every model that was idle for an instant
 * went. In a group of 500 MiB with a neighbour that grows by 20 MB/s that left 5 good answers a minute of
 * the 108 that Ollama gives when it is limited by hand (and 1 of 14 with a cache that grows): the model
 * that everybody asked for was unloaded between two answers, long before memory was short, and came back
 * after half a minute or more. What those pauses were for, a load that brings the pressure back, is what
 * the numbers and the doubled pause are for now.
 *
 * Must not: read a clock, let calls in.
 */
#include "core/residency_internal.h"

#define IDLE_USEC      (60 * USEC_PER_SEC)
#define HOT_USEC       (10 * USEC_PER_SEC) /* used so lately, it is likely to be used again */
#define SOON_USEC      (12 * USEC_PER_SEC) /* as time to exhaustion, level 2 */
#define CUT_USEC       (2 * USEC_PER_SEC)  /* the same, level 4: calls are ended */
#define ANSWER_MAX     (10 * USEC_PER_SEC) /* with CUT_USEC no more than SOON_USEC */
#define RUNWAY_USEC    (5 * USEC_PER_SEC)
#define RUNWAY_LOADS   3
#define AS_PLANNED     1150 /* per mille of what was reserved: it is stopped at 1250 */
#define PAUSE_USEC     (2 * USEC_PER_SEC)
#define PAUSE_MAX_USEC (30 * USEC_PER_SEC)

void residency_set_pressure(struct residency *r, const struct residency_pressure *pressure)
{
    r->pressure = *pressure;
}

void residency_set_level(struct residency *r, unsigned level)
{
    r->pressure =
        (struct residency_pressure) {.level = level, .acute = level, .exhaustion_usec = USEC_NEVER};
}

/* ---------------------------------------------------------------- what answers take */

static uint64_t max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void residency_note_use(struct residency_model *m, bool is_in_use, uint64_t now_usec)
{
    if (is_in_use) {
        m->used_at_usec = now_usec;
        m->n_uses += m->use_began_usec == 0;
        m->use_began_usec = m->use_began_usec > 0 ? m->use_began_usec : now_usec;
    } else if (m->use_began_usec > 0) {
        m->used_at_usec = now_usec;
        m->answer_usec = max_of(usec_since(now_usec, m->use_began_usec), m->answer_usec / 4 * 3);
        m->use_began_usec = 0;
    }
}

void residency_note_growth(struct residency_model *m, uint64_t was_bytes, uint64_t is_bytes)
{
    uint64_t grown = is_bytes > was_bytes ? is_bytes - was_bytes : 0;

    if (m->n_uses > 0) {
        m->step_bytes = max_of(grown / m->n_uses, m->step_bytes / 4 * 3);
        m->n_uses = m->use_began_usec > 0; /* the one that goes on may grow again */
    }
}

/* ---------------------------------------------------------------- who goes */

/* Since its load began. */
static uint64_t gone_bytes(const struct residency *r, const struct residency_model *m)
{
    return usec_since(m->left_began_bytes, r->left_bytes);
}

/*
 * How far a load has come: as its runner or the group of its server shows. Where neither is seen,
 * or the group says nothing since another model has answered, by what has gone since it began.
 */
static uint64_t grown_bytes(const struct residency *r, const struct residency_model *m)
{
    return m->state != RESIDENCY_LOADING                  ? 0
           : m->runner_pid > 0 || m->grows_since_usec > 0 ? m->held_bytes
                                                          : max_of(m->held_bytes, gone_bytes(r, m));
}

/* What loads will still take of what the kernel says is left. */
static uint64_t outstanding_bytes(const struct residency *r)
{
    uint64_t sum = 0;

    list_for_each (l, &r->models) {
        const struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        sum += usec_since(m->reserved_bytes, grown_bytes(r, m));
    }
    return sum;
}

/*
 * What keeps the kernel from killing, and will when the load under way is over. Pages of files that
 * models have mapped count as left: they are for no load, but can be taken back.
 */
static uint64_t left(const struct residency *r)
{
    return usec_since(r->left_bytes, outstanding_bytes(r));
}

/* Would one more answer fill the device, and would it be emptier without what the last ones left? */
static bool is_full(const struct residency *r, const struct residency_model *m)
{
    return m->step_bytes > 0 && m->baseline_bytes > 0 &&
           m->held_bytes >= m->baseline_bytes + m->step_bytes &&
           left(r) < m->step_bytes + residency_critical_bytes(r);
}

static bool is_critical(const struct residency *r, const struct residency_model *m)
{
    uint64_t answer = m->answer_usec < ANSWER_MAX ? m->answer_usec : ANSWER_MAX;

    return left(r) < residency_critical_bytes(r) || r->pressure.exhaustion_usec < CUT_USEC + answer;
}

static bool is_at_edge(const struct residency *r, const struct residency_model *m)
{
    return is_critical(r, m) || is_full(r, m);
}

bool residency_must_rest(const struct residency *r, const struct residency_model *m,
                         uint64_t now_usec)
{
    return is_at_edge(r, m) && residency_can_go(r, m, now_usec);
}

/* Has another model that takes memory been used since? */
static bool is_older(const struct residency *r, const struct residency_model *m)
{
    list_for_each (l, &r->models) {
        const struct residency_model *other = CONTAINER_OF(l, struct residency_model, link);

        if (other != m && residency_takes_memory(other) && other->used_at_usec > m->used_at_usec) {
            return true;
        }
    }
    return false;
}

static bool goes(const struct residency *r, const struct residency_model *m, uint64_t now_usec)
{
    const struct residency_pressure *p = &r->pressure;
    uint64_t unused_usec = usec_since(now_usec, m->used_at_usec);

    if (!residency_can_go(r, m, now_usec) || residency_model_is_in_use(r, m)) {
        return false;
    }
    if (is_at_edge(r, m)) {
        return true;
    }
    return m->wants.n == 0 &&
           ((p->level > 0 && unused_usec > IDLE_USEC) || p->acute >= 3 ||
            ((p->acute >= 2 || p->exhaustion_usec < SOON_USEC) && unused_usec > HOT_USEC) ||
            (p->acute >= 2 && is_older(r, m)));
}

struct residency_model *residency_too_many(const struct residency *r, uint64_t now_usec)
{
    struct residency_model *best = NULL;

    list_for_each (l, &r->models) {
        struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        if (r->freeing_bytes == 0 && goes(r, m, now_usec) &&
            (!best || residency_score(r, m, now_usec) > residency_score(r, best, now_usec))) {
            best = m;
        }
    }
    return best;
}

bool residency_would_unload(const struct residency *r, const struct residency_model *m,
                            uint64_t now_usec)
{
    return m->wants.n == 0 && residency_can_go(r, m, now_usec) &&
           (r->pressure.acute >= 3 || is_at_edge(r, m));
}

bool residency_is_returning(const struct residency *r, const struct deployment *d, const char *name,
                            uint64_t now_usec)
{
    const struct residency_model *m = residency_known(r, d, name);

    return m && residency_has_budget(r, m) && m->used_at_usec > 0 &&
           usec_since(now_usec, m->used_at_usec) <= HOT_USEC;
}

/* ---------------------------------------------------------------- loads */

bool residency_goes_as_planned(const struct residency *r)
{
    list_for_each (l, &r->models) {
        const struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        if (m->state == RESIDENCY_LOADING && m->reserved_bytes > 0 &&
            gone_bytes(r, m) / 1000 > m->reserved_bytes / 1000 * AS_PLANNED / 1000) {
            return false;
        }
    }
    return true;
}

static uint64_t three_loads(const struct residency *r, const struct residency_model *m)
{
    return RUNWAY_LOADS * residency_load_time(r, m);
}

enum residency_reason residency_note_yield(struct residency *r, const struct residency_model *m,
                                           uint64_t now_usec)
{
    bool is_early = usec_since(now_usec, m->resident_at_usec) < three_loads(r, m);
    uint64_t next = r->pause_usec > 0 ? 2 * r->pause_usec : PAUSE_USEC;

    r->pause_usec = !is_early ? 0 : next < PAUSE_MAX_USEC ? next : PAUSE_MAX_USEC;
    r->paused_until_usec = usec_add(now_usec, r->pause_usec);
    return is_full(r, m) && !is_critical(r, m) ? RESIDENCY_GROWN : RESIDENCY_FOR_LEVEL;
}

/* Where memory falls: what is left after the load lasts for a while. */
static bool has_runway(const struct residency *r, const struct residency_model *m,
                       uint64_t freed_bytes)
{
    const struct residency_pressure *p = &r->pressure;
    uint64_t taken = residency_reserved_bytes(r) + residency_least_bytes(r, m);
    uint64_t left = usec_since(r->memory.available_bytes + freed_bytes, taken);
    uint64_t runway = max_of(RUNWAY_USEC, three_loads(r, m));

    return p->exhaustion_usec == USEC_NEVER || p->fall_bytes_per_sec == 0 ||
           left / p->fall_bytes_per_sec >= runway / USEC_PER_SEC;
}

bool residency_may_load(const struct residency *r, const struct residency_model *m,
                        uint64_t freed_bytes, uint64_t now_usec, uint64_t *ret_at)
{
    bool is_open = r->pressure.acute == 0 && has_runway(r, m, freed_bytes);

    if (ret_at) {
        *ret_at = is_open ? r->paused_until_usec : USEC_NEVER;
    }
    return is_open && now_usec >= r->paused_until_usec;
}

bool residency_may_make_room(const struct residency *r, const struct residency_model *m,
                             uint64_t freed_bytes, uint64_t now_usec)
{
    return residency_may_load(r, m, freed_bytes, now_usec, NULL) ||
           (r->pressure.acute == 1 && r->pressure.exhaustion_usec == USEC_NEVER &&
            now_usec >= r->paused_until_usec && freed_bytes >= residency_asked(r, m));
}
