/*
 * What the last two seconds say: rates and shares out of the ring of samples.
 *
 * A window is never taken as shorter than it should be: after a start or an idle time two samples
 * that lie close together would make a short stall look like a storm. Counters of a place that
 * start again (the unit was restarted) leave that place without a past, not the other one.
 *
 * Must not: judge. Which figure means which level is pressure_table.c's.
 */
#include <string.h>

#include "base/clock.h"
#include "core/pressure_internal.h"

/*
 * The fall of headroom is the lesser of that over the window and that over the last half second: a
 * burst that is over (a program has started) is not on its way into the wall.
 */
#define FALL_RECENT_USEC (PRESSURE_WINDOW_USEC / 4)
/*
 * An event is news where the sample before it is no older: above the 15 s between samples of a
 * daemon whose models nobody uses (memory_monitor.c). One that holds no model does not look at all,
 * and what it finds then may be hours old: a rate is diluted by these, a count is not.
 */
#define NEWS_USEC (30 * USEC_PER_SEC)
/* Slower falls are how an idle system looks. */
#define FALL_LEAST_BYTES_PER_SEC 2000000

#define SOFT_PERCENT   12 /* above the 10 % at which earlyoom ends programs */
#define SOFT_MIN_BYTES (UINT64_C(224) << 20)
#define SOFT_MAX_BYTES (UINT64_C(768) << 20)

struct pressure_reserves pressure_reserves(uint64_t total_bytes, enum memory_place place)
{
    uint64_t least = total_bytes / 4 < SOFT_MIN_BYTES ? total_bytes / 4 : SOFT_MIN_BYTES;
    uint64_t soft = total_bytes / 100 * SOFT_PERCENT;

    soft = soft < least && place == MEMORY_SYSTEM ? least
           : soft > SOFT_MAX_BYTES                ? SOFT_MAX_BYTES
                                                  : soft;
    return (struct pressure_reserves) {.soft_bytes = soft,
                                       .hard_bytes = soft * 2 / 3,
                                       .critical_bytes = soft * 2 / 5,
                                       .emergency_bytes = soft / 5};
}

const struct memory_sample *pressure_newest(const struct pressure *p)
{
    return p->n_samples > 0 ? &p->ring[(p->head + PRESSURE_RING - 1) % PRESSURE_RING].sample : NULL;
}

/*
 * The sample that a window of span starts with: the youngest that is at least that much older than
 * now. After an idle time that one may be hours old and would dilute the present; then the oldest
 * of the younger ones, if there is one. NULL: the place has no past.
 */
static const struct memory_sample *window_start(const struct pressure *p, enum memory_place place,
                                                unsigned generation, uint64_t now_usec,
                                                uint64_t span_usec)
{
    const struct memory_sample *start = NULL;

    for (size_t i = 1; i <= p->n_samples; i++) {
        const struct pressure_entry *e = &p->ring[(p->head + PRESSURE_RING - i) % PRESSURE_RING];
        uint64_t age = usec_since(now_usec, e->sample.at_usec);

        if (e->generation[place] != generation || (age > 2 * span_usec && i > 1)) {
            break;
        }
        start = &e->sample;
        if (age >= span_usec) {
            break;
        }
    }
    return start;
}

static bool has_restarted(const struct memory_place_sample *was,
                          const struct memory_place_sample *is)
{
    return was->epoch != is->epoch || was->has_psi != is->has_psi ||
           was->has_room != is->has_room || was->has_reclaim != is->has_reclaim ||
           is->some_total_usec < was->some_total_usec ||
           is->full_total_usec < was->full_total_usec || is->refault_bytes < was->refault_bytes ||
           is->n_scanned < was->n_scanned || is->n_throttled < was->n_throttled ||
           is->n_limited < was->n_limited || is->n_stalls < was->n_stalls ||
           is->n_oom_kills < was->n_oom_kills;
}

static uint64_t per_second(uint64_t delta, uint64_t window_usec)
{
    /* in two steps: a counter that jumps must not overflow */
    return delta / window_usec * USEC_PER_SEC + delta % window_usec * USEC_PER_SEC / window_usec;
}

static unsigned permille(uint64_t part, uint64_t whole)
{
    uint64_t v = whole == 0 ? 0 : part > UINT64_MAX / 1000 ? UINT64_MAX : part * 1000 / whole;

    return v > 1000000 ? 1000000 : (unsigned) v;
}

static unsigned stall_permille(uint64_t from, uint64_t to, uint64_t window_usec)
{
    unsigned v = permille(to - from, window_usec);

    return v > 1000 ? 1000 : v;
}

static uint64_t age_of(const struct memory_sample *from, const struct memory_sample *s,
                       uint64_t least)
{
    uint64_t window = usec_since(s->at_usec, from->at_usec);

    return window < least ? least : window;
}

static bool is_news(const struct memory_sample *from, const struct memory_sample *s)
{
    return usec_since(s->at_usec, from->at_usec) <= NEWS_USEC;
}

/* How fast the headroom of the place falls since from. */
static uint64_t fall_since(const struct memory_sample *from, const struct memory_sample *s,
                           enum memory_place place, uint64_t least_usec)
{
    uint64_t was = from->place[place].headroom_bytes, is = s->place[place].headroom_bytes;

    return per_second(usec_since(was, is), age_of(from, s, least_usec));
}

static void measure_room(struct pressure *p, const struct memory_sample *s, enum memory_place place,
                         unsigned generation, struct pressure_figures *f)
{
    const struct memory_place_sample *now = &s->place[place];
    const struct memory_sample *from =
        window_start(p, place, generation, s->at_usec, PRESSURE_WINDOW_USEC);
    const struct memory_sample *recent =
        window_start(p, place, generation, s->at_usec, FALL_RECENT_USEC);

    f->reserves = pressure_reserves(now->total_bytes, place);
    f->headroom_bytes = now->headroom_bytes;
    f->is_planned = p->claims.is_loading && p->claims.is_planned;
    f->exhaustion_usec = USEC_NEVER;
    if (!from || !recent) {
        return;
    }
    uint64_t fall = fall_since(from, s, place, PRESSURE_WINDOW_USEC);
    uint64_t lately = fall_since(recent, s, place, FALL_RECENT_USEC);

    f->fall_bytes_per_sec = fall < lately ? fall : lately;
    if (f->fall_bytes_per_sec > FALL_LEAST_BYTES_PER_SEC) {
        uint64_t left = f->headroom_bytes;

        left = left > UINT64_MAX / USEC_PER_SEC ? UINT64_MAX : left * USEC_PER_SEC;
        f->exhaustion_usec = left / f->fall_bytes_per_sec;
    }
}

/* The counters of a place over the window. */
static void measure_counters(const struct memory_sample *from, const struct memory_sample *s,
                             enum memory_place place, struct pressure_figures *f)
{
    const struct memory_place_sample *was = &from->place[place], *is = &s->place[place];
    uint64_t window = age_of(from, s, PRESSURE_WINDOW_USEC);

    if (f->has_psi) {
        f->some_permille = stall_permille(was->some_total_usec, is->some_total_usec, window);
        f->full_permille = stall_permille(was->full_total_usec, is->full_total_usec, window);
    }
    if (is_news(from, s)) {
        f->n_throttled = is->n_throttled - was->n_throttled;
        f->n_limited = is->n_limited - was->n_limited;
        f->n_stalls = is->n_stalls - was->n_stalls;
        f->n_oom_kills = is->n_oom_kills - was->n_oom_kills;
    }
    if (f->has_reclaim) {
        uint64_t refaults = is->refault_bytes - was->refault_bytes;

        f->thrash_permille = permille(per_second(refaults, window), is->file_bytes);
        f->is_reclaiming = refaults > 0 || is->n_scanned > was->n_scanned || f->n_throttled > 0;
    }
}

static void measure_swap(struct pressure *p, const struct memory_sample *from,
                         const struct memory_sample *s)
{
    struct pressure_swap *w = &p->swap;

    *w = (struct pressure_swap) {.total_bytes = s->swap_total_bytes,
                                 .free_bytes = s->swap_free_bytes,
                                 .is_zram = s->is_swap_zram && s->swap_total_bytes > 0};
    if (from) {
        w->is_going_out = is_news(from, s) && s->swapped_out_bytes > from->swapped_out_bytes;
        w->in_bytes_per_sec = per_second(usec_since(s->swapped_in_bytes, from->swapped_in_bytes),
                                         age_of(from, s, PRESSURE_WINDOW_USEC));
    }
}

/* What is left where least is left: what a load is measured by. */
static void sum_up(struct pressure *p, const struct memory_sample *s)
{
    int64_t least = INT64_MAX;

    p->some_permille = p->full_permille = 0;
    p->total_bytes = 0;
    p->headroom_bytes = UINT64_MAX;
    p->exhaustion_usec = USEC_NEVER;
    p->fall_bytes_per_sec = 0;
    p->reserves = (struct pressure_reserves) {0};
    for (size_t i = 0; i < MEMORY_N_PLACES; i++) {
        const struct pressure_figures *f = &p->figures[i];
        uint64_t bounded = f->headroom_bytes > INT64_MAX / 2 ? INT64_MAX / 2 : f->headroom_bytes;
        int64_t left = (int64_t) bounded - (int64_t) f->reserves.soft_bytes;

        if (f->some_permille > p->some_permille) {
            p->some_permille = f->some_permille;
        }
        if (f->full_permille > p->full_permille) {
            p->full_permille = f->full_permille;
        }
        if (f->has_room && !f->is_planned && f->exhaustion_usec < p->exhaustion_usec) {
            p->exhaustion_usec = f->exhaustion_usec;
            p->fall_bytes_per_sec = f->fall_bytes_per_sec;
        }
        if (f->has_room && left < least) {
            least = left;
            p->total_bytes = s->place[i].total_bytes;
            p->headroom_bytes = f->headroom_bytes;
            p->reserves = f->reserves;
        }
    }
}

static void remember(struct pressure *p, const struct pressure_entry *e)
{
    p->ring[p->head] = *e;
    p->head = (p->head + 1) % PRESSURE_RING;
    p->n_samples = p->n_samples < PRESSURE_RING ? p->n_samples + 1 : PRESSURE_RING;
}

/* Which past of each place the sample belongs to. */
static struct pressure_entry entry_of(struct pressure *p, const struct memory_sample *s)
{
    struct pressure_entry e = {.sample = *s};

    if (p->n_samples > 0 && s->at_usec < pressure_newest(p)->at_usec) {
        p->n_samples = 0; /* the clock went back */
    }
    for (size_t i = 0; i < MEMORY_N_PLACES && p->n_samples > 0; i++) {
        const struct pressure_entry *was = &p->ring[(p->head + PRESSURE_RING - 1) % PRESSURE_RING];

        e.generation[i] = was->generation[i] + has_restarted(&was->sample.place[i], &s->place[i]);
    }
    return e;
}

void pressure_measure(struct pressure *p, const struct memory_sample *s)
{
    struct pressure_entry e = entry_of(p, s);
    const struct memory_sample *system_start = NULL;

    for (enum memory_place place = MEMORY_SYSTEM; place < MEMORY_N_PLACES; place++) {
        const struct memory_place_sample *now = &s->place[place];
        struct pressure_figures *f = &p->figures[place];
        const struct memory_sample *from =
            window_start(p, place, e.generation[place], s->at_usec, PRESSURE_WINDOW_USEC);

        *f = (struct pressure_figures) {.has_psi = now->has_psi,
                                        .has_room = now->has_room,
                                        .has_reclaim = now->has_reclaim,
                                        .exhaustion_usec = USEC_NEVER};
        if (now->has_room) {
            measure_room(p, s, place, e.generation[place], f);
        }
        if (from) {
            measure_counters(from, s, place, f);
        }
        system_start = place == MEMORY_SYSTEM ? from : system_start;
    }
    measure_swap(p, system_start, s);
    sum_up(p, s);
    remember(p, &e);
}
