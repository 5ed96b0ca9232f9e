/*
 * The level machine: when a level is entered and when it is left. Pure: no file, no clock.
 *
 * Up is quick, as the wall is near; down is slow, as each fall lets work in that can bring the
 * pressure back. That the two cannot chase each other is the doubling hold: see the tests for the
 * bounds.
 */
#include "core/pressure.h"

#include <assert.h>

#include "base/clock.h"
#include "core/pressure_internal.h"

#define CALM_LOW_USEC    (10 * USEC_PER_SEC) /* calm before a fall from L1, L2 */
#define CALM_HIGH_USEC   (15 * USEC_PER_SEC) /* ... from L3, L4 */
#define FLAP_USEC        (60 * USEC_PER_SEC) /* a rise so soon after a fall doubles the calm */
#define FLAP_FORGET_USEC (5 * 60 * USEC_PER_SEC)
#define FLAP_MAX_FACTOR  8

#define CRITICAL_OVER_USEC (1 * USEC_PER_SEC) /* without a cell of L3 or L4: see the header */

#define INTERVAL_ACTIVE_USEC   (500 * USEC_PER_MSEC)
#define INTERVAL_RAISED_USEC   (250 * USEC_PER_MSEC)
#define INTERVAL_CRITICAL_USEC (100 * USEC_PER_MSEC)
#define NEAR_USEC              (3 * USEC_PER_SEC) /* to exhaustion: look as at L3 */

#define FULL_L4_PERMILLE 600 /* see pressure_table.c: for 3 s */

/* Recovery: how long at level 0 until ... */
#define BATCH_AFTER_USEC      (10 * USEC_PER_SEC)
#define BACKGROUND_AFTER_USEC (20 * USEC_PER_SEC)
#define NORMAL_AFTER_USEC     (135 * USEC_PER_SEC)

void pressure_init(struct pressure *p)
{
    *p = (struct pressure) {.hold_factor = 1,
                            .headroom_bytes = UINT64_MAX,
                            .last_at_usec = USEC_NEVER,
                            .full_since_usec = {USEC_NEVER, USEC_NEVER},
                            .calm_since_usec = USEC_NEVER,
                            .fell_at_usec = USEC_NEVER,
                            .l0_since_usec = USEC_NEVER,
                            .exhaustion_usec = USEC_NEVER,
                            .short_since_usec = USEC_NEVER,
                            .short_at_usec = USEC_NEVER,
                            .emergency_since_usec = USEC_NEVER,
                            .critical_at_usec = USEC_NEVER};
}

void pressure_set_claims(struct pressure *p, const struct pressure_claims *claims)
{
    p->claims = *claims;
}

/* ---------------------------------------------------------------- up and down */

/* Since when full is over the value of L4, for each place. */
static void time_full(struct pressure *p, uint64_t now_usec)
{
    for (size_t i = 0; i < MEMORY_N_PLACES; i++) {
        if (p->figures[i].full_permille < FULL_L4_PERMILLE) {
            p->full_since_usec[i] = USEC_NEVER;
        } else if (p->full_since_usec[i] == USEC_NEVER) {
            p->full_since_usec[i] = now_usec;
        }
    }
}

typedef bool holds_fn(const struct pressure *p, enum pressure_level level, bool is_relaxed,
                      struct pressure_cause *ret_cause);

static enum pressure_level highest(const struct pressure *p, enum pressure_level from,
                                   holds_fn *holds, struct pressure_cause *ret_cause)
{
    enum pressure_level l = from;

    while (l > PRESSURE_L0 && !holds(p, l, false, ret_cause)) {
        l--;
    }
    return l;
}

/* The level that this sample asks for, and why. PSI counts as far as the one before agrees. */
static enum pressure_level level_wanted(struct pressure *p, struct pressure_cause *ret_cause)
{
    struct pressure_cause by_psi = {0}, by_others = {0}, by_time = {0};
    enum pressure_level before = p->seen, confirmed, others, time;

    p->seen = highest(p, PRESSURE_L4, pressure_psi_holds, &by_psi);
    confirmed = highest(p, p->seen < before ? p->seen : before, pressure_psi_holds, &by_psi);
    others = highest(p, PRESSURE_L4, pressure_others_hold, &by_others);
    time = highest(p, PRESSURE_L4, pressure_time_holds, &by_time);
    p->acute = others >= confirmed ? others : confirmed;
    *ret_cause = time > p->acute ? by_time : others >= confirmed ? by_others : by_psi;
    return time > p->acute ? time : p->acute;
}

static void rise(struct pressure *p, enum pressure_level to, uint64_t now_usec)
{
    bool is_new = p->level == PRESSURE_L0 && pressure_stage(p, now_usec) == PRESSURE_STAGE_NORMAL;

    if (p->fell_at_usec != USEC_NEVER && usec_since(now_usec, p->fell_at_usec) < FLAP_USEC &&
        p->hold_factor < FLAP_MAX_FACTOR) {
        p->hold_factor *= 2;
    }
    p->worst = is_new || to > p->worst ? to : p->worst;
    p->level = to;
    p->calm_since_usec = USEC_NEVER;
}

static bool is_kept(const struct pressure *p, struct pressure_cause *ret_cause)
{
    return pressure_others_hold(p, p->level, true, ret_cause) ||
           pressure_time_holds(p, p->level, true, ret_cause) ||
           pressure_psi_holds(p, p->level, true, ret_cause);
}

/* One level down when nothing of the current level held at relaxed values for long enough. */
static void maybe_fall(struct pressure *p, uint64_t now_usec)
{
    uint64_t calm = (p->level >= PRESSURE_L3 ? CALM_HIGH_USEC : CALM_LOW_USEC) * p->hold_factor;
    struct pressure_cause why;

    if (is_kept(p, &why)) {
        p->calm_since_usec = USEC_NEVER;
    } else if (p->calm_since_usec == USEC_NEVER) {
        p->calm_since_usec = now_usec;
    } else if (usec_since(now_usec, p->calm_since_usec) >= calm) {
        p->level--;
        p->fell_at_usec = now_usec;
        p->calm_since_usec = now_usec;
        p->l0_since_usec = p->level == PRESSURE_L0 ? now_usec : USEC_NEVER;
        if (p->level == PRESSURE_L0) {
            p->cause = (struct pressure_cause) {.reason = PRESSURE_CALM};
        } else if (is_kept(p, &why)) {
            p->cause = why;
        }
    }
}

/* ---------------------------------------------------------------- samples */

bool pressure_is_due(const struct pressure *p, uint64_t now_usec)
{
    static_assert(PRESSURE_RING * PRESSURE_SPACING_USEC > PRESSURE_WINDOW_USEC,
                  "a full ring spans the window");
    const struct memory_sample *last = pressure_newest(p);

    return !last || now_usec < last->at_usec || now_usec - last->at_usec >= PRESSURE_SPACING_USEC;
}

/* Instants that lie in the future are of a clock that went back: they count from now. */
static void heal_clock(struct pressure *p, uint64_t now_usec)
{
    uint64_t *const instants[] = {&p->full_since_usec[MEMORY_SYSTEM],
                                  &p->full_since_usec[MEMORY_SERVER],
                                  &p->calm_since_usec,
                                  &p->fell_at_usec,
                                  &p->l0_since_usec,
                                  &p->short_since_usec,
                                  &p->short_at_usec,
                                  &p->emergency_since_usec,
                                  &p->critical_at_usec};

    for (size_t i = 0; i < ARRAY_LEN(instants); i++) {
        if (*instants[i] != USEC_NEVER && *instants[i] > now_usec) {
            *instants[i] = now_usec;
        }
    }
}

static bool was_critical_lately(const struct pressure *p, uint64_t now_usec)
{
    return usec_since(now_usec, p->critical_at_usec) < CRITICAL_OVER_USEC;
}

/* The highest of the cells of L3 and L4 that held within the last second, when, and since when any did. */
static void note_critical(struct pressure *p, enum pressure_level wanted, uint64_t now_usec)
{
    if (wanted < PRESSURE_L3) {
        return;
    }
    if (usec_since(now_usec, p->short_at_usec) >= CRITICAL_OVER_USEC ||
        p->critical == PRESSURE_L0) {
        p->short_since_usec = now_usec;
    }
    p->short_at_usec = now_usec;
    if (wanted == PRESSURE_L4 &&
        (p->critical != PRESSURE_L4 || !was_critical_lately(p, now_usec))) {
        p->emergency_since_usec = now_usec;
    }
    if (wanted >= p->critical || !was_critical_lately(p, now_usec)) {
        p->critical = wanted;
        p->critical_at_usec = now_usec;
    }
}

enum pressure_level pressure_update(struct pressure *p, const struct memory_sample *s)
{
    struct pressure_cause cause = {0};
    enum pressure_level wanted;

    if (!pressure_is_due(p, s->at_usec)) {
        return p->level;
    }
    heal_clock(p, s->at_usec);
    p->last_at_usec = s->at_usec;
    pressure_measure(p, s);
    time_full(p, s->at_usec);
    wanted = level_wanted(p, &cause);
    note_critical(p, wanted, s->at_usec);
    if (wanted >= p->level && wanted > PRESSURE_L0) {
        p->cause = cause;
    }
    if (wanted > p->level) {
        rise(p, wanted, s->at_usec);
    } else if (p->level > PRESSURE_L0) {
        maybe_fall(p, s->at_usec);
    } else if (p->l0_since_usec == USEC_NEVER ||
               usec_since(s->at_usec, p->l0_since_usec) >= FLAP_FORGET_USEC) {
        p->hold_factor = 1;
    }
    return p->level;
}

void pressure_hint(struct pressure *p)
{
    p->seen = p->seen > PRESSURE_L1 ? p->seen : PRESSURE_L1;
}

uint64_t pressure_interval_usec(const struct pressure *p, bool is_active)
{
    bool is_near = false;

    for (size_t i = 0; i < MEMORY_N_PLACES; i++) {
        is_near = is_near || (p->figures[i].has_room && !p->figures[i].is_planned &&
                              p->figures[i].exhaustion_usec < NEAR_USEC);
    }
    if (p->level >= PRESSURE_L3 || is_near) {
        return INTERVAL_CRITICAL_USEC;
    }
    if (p->level > PRESSURE_L0 || p->seen > PRESSURE_L0 || p->claims.is_loading) {
        return INTERVAL_RAISED_USEC;
    }
    return is_active ? INTERVAL_ACTIVE_USEC : USEC_NEVER;
}

/* ---------------------------------------------------------------- recovery */

enum pressure_level pressure_level_for_calls(const struct pressure *p)
{
    if (p->level <= PRESSURE_L2 || p->critical == PRESSURE_L0) {
        return p->level;
    }
    return !was_critical_lately(p, p->last_at_usec) ? PRESSURE_L2
           : p->critical < p->level                 ? p->critical
                                                    : p->level;
}

uint64_t pressure_critical_usec(const struct pressure *p, uint64_t now_usec)
{
    bool is_critical = p->critical != PRESSURE_L0 && pressure_level_for_calls(p) >= PRESSURE_L3;

    return is_critical ? usec_since(now_usec, p->short_since_usec) : 0;
}

uint64_t pressure_emergency_since_usec(const struct pressure *p)
{
    return pressure_level_for_calls(p) == PRESSURE_L4 ? p->emergency_since_usec : USEC_NEVER;
}

uint64_t pressure_calm_usec(const struct pressure *p, uint64_t now_usec)
{
    if (p->level > PRESSURE_L0) {
        return 0;
    }
    return p->l0_since_usec == USEC_NEVER ? USEC_NEVER : usec_since(now_usec, p->l0_since_usec);
}

enum pressure_stage pressure_stage(const struct pressure *p, uint64_t now_usec)
{
    uint64_t calm = pressure_calm_usec(p, now_usec);

    if (p->level > PRESSURE_L0) {
        return PRESSURE_STAGE_RAISED;
    }
    if (calm < BATCH_AFTER_USEC && p->worst >= PRESSURE_L2) {
        return PRESSURE_STAGE_INTERACTIVE;
    }
    return calm < BACKGROUND_AFTER_USEC ? PRESSURE_STAGE_BATCH
           : calm < NORMAL_AFTER_USEC   ? PRESSURE_STAGE_BACKGROUND
                                        : PRESSURE_STAGE_NORMAL;
}

uint64_t pressure_stage_ends_at_usec(const struct pressure *p, uint64_t now_usec)
{
    switch (pressure_stage(p, now_usec)) {
    case PRESSURE_STAGE_INTERACTIVE:
        return p->l0_since_usec + BATCH_AFTER_USEC;
    case PRESSURE_STAGE_BATCH:
        return p->l0_since_usec + BACKGROUND_AFTER_USEC;
    case PRESSURE_STAGE_BACKGROUND:
        return p->l0_since_usec + NORMAL_AFTER_USEC;
    case PRESSURE_STAGE_RAISED:
    case PRESSURE_STAGE_NORMAL:
        break;
    }
    return USEC_NEVER;
}
