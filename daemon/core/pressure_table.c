/*
 * The table of levels (pressure.h): which figure enters a level, and which keeps it.
 *
 * Where the numbers come from: 10 % in 2 s is systemd's default trigger and the warning of
 * psi-notify and nohang; 20-25 % is lmkd's partial stall on low-RAM devices; 50-60 % for 20-30 s is
 * where systemd-oomd kills, so L3 and L4 come well before it. The shares of refaults are lmkd's.
 *
 * Why PSI needs company: it is high as well when some small group thrashes against its own limit
 * while the machine has plenty. Why the events do, and refaults are not enough of it: a limit is hit
 * all the time by a group that reads files, thousands of times per second and with a stall of 1 %
 * (measured with a file of twice the limit on a fast disk). So it says what headroom does not only
 * where that is below R_hard: below twice R_soft, as it was first, each load into a small group was a
 * level 3, by the pages of the model's file (measured: 5,600 hits in 2 s, a stall of 0.1 %, nothing
 * lost). An OOM kill of some other group is none of ours either, so the machine's count only while
 * the machine is short.
 */
#include "base/clock.h"
#include "core/pressure_internal.h"

struct cell {
    unsigned some_permille, full_permille;
    uint64_t exhaustion_usec;
    unsigned swap_free_permille;
    unsigned thrash_permille;
    uint64_t swap_in_bytes_per_sec;
};

/* 0: this row does not enter the level. */
static const struct cell cells[PRESSURE_N_LEVELS] = {
    [PRESSURE_L0] = {0},
    [PRESSURE_L1] = {.some_permille = 100,
                     .full_permille = 50,
                     .exhaustion_usec = 30 * USEC_PER_SEC,
                     .swap_free_permille = 250,
                     .thrash_permille = 100,
                     .swap_in_bytes_per_sec = 5000000},
    [PRESSURE_L2] = {.some_permille = 250,
                     .full_permille = 150,
                     .exhaustion_usec = 12 * USEC_PER_SEC,
                     .swap_free_permille = 100,
                     .thrash_permille = 300,
                     .swap_in_bytes_per_sec = 20000000},
    [PRESSURE_L3] = {.some_permille = 500,
                     .full_permille = 300,
                     .exhaustion_usec = 5 * USEC_PER_SEC,
                     .swap_free_permille = 50,
                     .thrash_permille = 1000},
    [PRESSURE_L4] = {.full_permille = 600, .exhaustion_usec = 2 * USEC_PER_SEC},
};

#define L4_HOLD_USEC          (3 * USEC_PER_SEC) /* full must stay over its value that long */
#define THRASH_CERTAIN        100                /* refaults that need no lack of headroom */
#define RELAXED_PSI_PERMILLE  500                /* a level is kept at half the PSI, */
#define RELAXED_ROOM_PERMILLE 1200               /* 1.2 times the headroom, */
#define RELAXED_EXHAUSTION    2                  /* twice the time */

/* ---------------------------------------------------------------- context */

/* A group without a limit of its own runs out when the machine does. */
static const struct pressure_figures *room_of(const struct pressure *p, enum memory_place place)
{
    return p->figures[place].has_room ? &p->figures[place] : &p->figures[MEMORY_SYSTEM];
}

static bool is_short(const struct pressure_figures *room)
{
    return room->headroom_bytes < 2 * room->reserves.soft_bytes;
}

/* Is the place short of memory, or is the little that it has read again and again? */
static bool is_corroborated(const struct pressure *p, enum memory_place place)
{
    const struct pressure_figures *f = &p->figures[place], *room = room_of(p, place);

    if (f->has_reclaim && !f->is_reclaiming) {
        return false;
    }
    return !room->has_room || is_short(room) || !f->has_reclaim ||
           f->thrash_permille >= THRASH_CERTAIN;
}

/* ---------------------------------------------------------------- rows */

static bool reaches(uint64_t seen, uint64_t limit, unsigned factor_permille, uint64_t *ret_limit)
{
    *ret_limit = limit * factor_permille / 1000;
    return limit > 0 && seen >= *ret_limit;
}

static bool says(struct pressure_cause *ret, enum pressure_reason reason, enum memory_place place,
                 uint64_t seen, uint64_t limit)
{
    *ret = (struct pressure_cause) {.reason = reason, .place = place, .seen = seen, .limit = limit};
    return true;
}

static bool psi_of_place(const struct pressure *p, enum memory_place place,
                         enum pressure_level level, bool is_relaxed, struct pressure_cause *ret)
{
    const struct pressure_figures *f = &p->figures[place];
    const struct cell *c = &cells[level];
    unsigned factor = is_relaxed ? RELAXED_PSI_PERMILLE : 1000;
    unsigned zram = p->swap.is_zram ? 1500 : 1000; /* moderate swap-in is normal there */
    uint64_t limit, now = pressure_newest(p)->at_usec;

    if (level >= PRESSURE_L2 && !is_corroborated(p, place)) {
        return false;
    }
    if (level == PRESSURE_L4 && !is_relaxed &&
        usec_since(now, p->full_since_usec[place]) < L4_HOLD_USEC) {
        return false;
    }
    if (reaches(f->full_permille, c->full_permille, factor, &limit)) {
        return says(ret, PRESSURE_PSI_FULL, place, f->full_permille, limit);
    }
    if (reaches(f->some_permille, c->some_permille, factor * zram / 1000, &limit)) {
        return says(ret, PRESSURE_PSI_SOME, place, f->some_permille, limit);
    }
    return false;
}

/* In the place of PSI where the kernel has none (after lmkd). */
static bool vmstat_holds(const struct pressure *p, enum memory_place place,
                         enum pressure_level level, bool is_relaxed, struct pressure_cause *ret)
{
    const struct pressure_figures *f = &p->figures[place];
    const struct cell *c = &cells[level];
    unsigned factor = is_relaxed ? RELAXED_PSI_PERMILLE : 1000;
    uint64_t limit, in = p->swap.in_bytes_per_sec;

    if (reaches(f->thrash_permille, c->thrash_permille, factor, &limit) &&
        (level != PRESSURE_L2 || f->n_stalls > 0 || f->is_reclaiming)) {
        return says(ret, PRESSURE_THRASHING, place, f->thrash_permille, limit);
    }
    if (place == MEMORY_SYSTEM && reaches(in, c->swap_in_bytes_per_sec, factor, &limit)) {
        return says(ret, PRESSURE_SWAP_IN, place, in, limit);
    }
    return false;
}

static bool room_holds(const struct pressure_figures *f, enum memory_place place,
                       enum pressure_level level, bool is_relaxed, struct pressure_cause *ret)
{
    const struct pressure_reserves *r = &f->reserves;
    const uint64_t least[PRESSURE_N_LEVELS] = {0, r->soft_bytes, r->hard_bytes, r->critical_bytes,
                                               r->emergency_bytes};
    uint64_t limit = is_relaxed ? least[level] * RELAXED_ROOM_PERMILLE / 1000 : least[level];

    return f->has_room && f->headroom_bytes < limit &&
           says(ret, PRESSURE_HEADROOM, place, f->headroom_bytes, limit);
}

/* A full swap alone is no sign: only when it fills, or when there is little else. */
static bool swap_holds(const struct pressure *p, enum pressure_level level, bool is_relaxed,
                       struct pressure_cause *ret)
{
    const struct pressure_figures *f = &p->figures[MEMORY_SYSTEM];
    const struct pressure_swap *w = &p->swap;
    uint64_t limit = cells[level].swap_free_permille * (is_relaxed ? RELAXED_ROOM_PERMILLE : 1000U);
    uint64_t free_permille = w->total_bytes < 1000 ? 1000 : w->free_bytes / (w->total_bytes / 1000);
    bool counts = false;

    limit /= 1000;
    switch (level) {
    case PRESSURE_L1:
        counts = w->is_going_out;
        break;
    case PRESSURE_L2:
        counts = f->has_room && f->headroom_bytes < 2 * f->reserves.soft_bytes;
        break;
    case PRESSURE_L3:
        counts = f->has_room && f->headroom_bytes < f->reserves.hard_bytes;
        break;
    case PRESSURE_L0:
    case PRESSURE_L4:
        break;
    }
    return counts && free_permille < limit &&
           says(ret, PRESSURE_SWAP_FULL, MEMORY_SYSTEM, free_permille, limit);
}

/* What the kernel counted within the window. */
static bool events_hold(const struct pressure *p, enum memory_place place,
                        enum pressure_level level, struct pressure_cause *ret)
{
    const struct pressure_figures *f = &p->figures[place], *room = room_of(p, place);

    if (level == PRESSURE_L4) {
        bool is_ours = place == MEMORY_SERVER || !room->has_room || is_short(room);

        return f->n_oom_kills > 0 && is_ours &&
               says(ret, PRESSURE_OOM_KILL, place, f->n_oom_kills, 0);
    }
    if (room->has_room ? !is_short(room) : !is_corroborated(p, place)) {
        return false;
    }
    if (level == PRESSURE_L1) {
        return f->n_throttled > 0 && says(ret, PRESSURE_THROTTLED, place, f->n_throttled, 0);
    }
    if (room->has_room && room->headroom_bytes >= room->reserves.hard_bytes) {
        return false;
    }
    if (level == PRESSURE_L3 && f->n_limited > 0) {
        return says(ret, PRESSURE_LIMIT_HIT, place, f->n_limited, 0);
    }
    return level == PRESSURE_L3 && f->n_stalls > 0 &&
           says(ret, PRESSURE_STALLS, place, f->n_stalls, 0);
}

/* ---------------------------------------------------------------- cells of a level */

bool pressure_psi_holds(const struct pressure *p, enum pressure_level level, bool is_relaxed,
                        struct pressure_cause *ret_cause)
{
    for (enum memory_place place = MEMORY_SYSTEM; place < MEMORY_N_PLACES; place++) {
        const struct pressure_figures *f = &p->figures[place];

        if (f->has_psi && psi_of_place(p, place, level, is_relaxed, ret_cause)) {
            return true;
        }
        if (!f->has_psi && f->has_reclaim && vmstat_holds(p, place, level, is_relaxed, ret_cause)) {
            return true;
        }
    }
    return false;
}

bool pressure_others_hold(const struct pressure *p, enum pressure_level level, bool is_relaxed,
                          struct pressure_cause *ret_cause)
{
    if (level == PRESSURE_L0) {
        return false;
    }
    if (level == PRESSURE_L1 && pressure_newest(p)->is_incomplete) {
        return says(ret_cause, PRESSURE_UNREADABLE, MEMORY_SYSTEM, 0, 0);
    }
    for (enum memory_place place = MEMORY_SYSTEM; place < MEMORY_N_PLACES; place++) {
        if (room_holds(&p->figures[place], place, level, is_relaxed, ret_cause) ||
            events_hold(p, place, level, ret_cause)) {
            return true;
        }
    }
    return swap_holds(p, level, is_relaxed, ret_cause);
}

bool pressure_time_holds(const struct pressure *p, enum pressure_level level, bool is_relaxed,
                         struct pressure_cause *ret_cause)
{
    uint64_t limit = cells[level].exhaustion_usec * (is_relaxed ? RELAXED_EXHAUSTION : 1);

    for (enum memory_place place = MEMORY_SYSTEM; place < MEMORY_N_PLACES; place++) {
        const struct pressure_figures *f = &p->figures[place];

        if (f->has_room && !f->is_planned && f->exhaustion_usec < limit) {
            return says(ret_cause, PRESSURE_EXHAUSTION, place, f->exhaustion_usec, limit);
        }
    }
    return false;
}
