/*
 * The level machine against an hour of adversaries, many seeds: how often it may change, how it may
 * fall, and that nothing moves it where there is memory without end.
 *
 * A seed that fails is named in the message; the adversary is the same with it every time.
 */
#include <string.h>

#include "base/clock.h"
#include "core/pressure.h"
#include "support.h"

#define MIB        (UINT64_C(1) << 20)
#define GIB        (UINT64_C(1) << 30)
#define N_SEEDS    30
#define HOUR_USEC  (3600 * USEC_PER_SEC)
#define SPACE_USEC (60 * USEC_PER_SEC)
#define MAX_MOVES  4096

/* An assertion of Check costs a system call also when it holds: too much for each of a million steps. */
#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            ck_abort_msg("not so: " #condition);                                                   \
        }                                                                                          \
    } while (0)

/* xorshift64*: the same numbers everywhere. */
struct dice {
    uint64_t state;
};

static uint64_t roll(struct dice *d, uint64_t sides)
{
    d->state ^= d->state >> 12;
    d->state ^= d->state << 25;
    d->state ^= d->state >> 27;
    return (d->state * UINT64_C(2685821657736338717) >> 16) % sides;
}

/* What presses, when it changes its mind, and how often it may move the level. */
struct adversary {
    const char *name;
    bool is_toggling; /* between nothing and just enough for level 1 */
    bool is_watching; /* presses as soon as the level has fallen to 0, rests when it is above */
    size_t in_a_minute, in_a_minute_later; /* later: after 10 min */
    size_t in_an_hour;
};

static const struct adversary adversaries[] = {
    {"toggles between 0 and 1", true, false, 5, 3, 96},
    {"toggles as soon as it is let", true, true, 5, 2, 96},
    {"anything at random", false, false, 12, 5, 96},
    {"presses whenever it has fallen", false, true, 12, 5, 96},
};

struct world {
    struct pressure p;
    struct memory_sample s;
    struct dice dice;
    uint64_t moves[MAX_MOVES]; /* when the level changed */
    size_t n_moves;
    uint64_t until_usec; /* the mood lasts so long */
    unsigned some, full;
    uint64_t headroom;
};

static void choose_mood(struct world *w, const struct adversary *a)
{
    bool presses = a->is_watching ? w->p.level == PRESSURE_L0 : roll(&w->dice, 2) == 0;

    w->until_usec = w->s.at_usec + (1 + roll(&w->dice, a->is_watching ? 3 : 40)) * USEC_PER_SEC;
    w->some = w->full = 0;
    w->headroom = 1500 * MIB;
    if (presses && a->is_toggling) {
        w->some = 150;
    } else if (presses) {
        w->some = (unsigned) roll(&w->dice, 1001);
        w->full = (unsigned) roll(&w->dice, w->some + 1);
        w->headroom = roll(&w->dice, 1500) * MIB;
    }
}

static void step(struct world *w, const struct adversary *a)
{
    struct memory_place_sample *m = &w->s.place[MEMORY_SYSTEM];
    enum pressure_level before = w->p.level;
    uint64_t usec = pressure_interval_usec(&w->p, true);

    if (w->s.at_usec >= w->until_usec) {
        choose_mood(w, a);
    }
    w->s.at_usec += usec;
    m->some_total_usec += usec * w->some / 1000;
    m->full_total_usec += usec * w->full / 1000;
    m->refault_bytes += w->some > 0 ? 100 * MIB : 0;
    m->headroom_bytes = w->headroom;
    (void) pressure_update(&w->p, &w->s);
    if (w->p.level != before) {
        HOLDS((int) w->p.level >= (int) before - 1); /* down by one only */
        HOLDS(w->n_moves < MAX_MOVES);
        w->moves[w->n_moves++] = w->s.at_usec;
    }
    HOLDS((w->p.level == PRESSURE_L0) == (w->p.cause.reason == PRESSURE_CALM));
    HOLDS(w->p.level <= PRESSURE_L4);
}

static void run(struct world *w, const struct adversary *a, unsigned seed)
{
    *w = (struct world) {.dice = {.state = 88172645463325252ULL + seed * 7919}};
    pressure_init(&w->p);
    w->s.place[MEMORY_SYSTEM] = (struct memory_place_sample) {.has_psi = true,
                                                              .has_room = true,
                                                              .has_reclaim = true,
                                                              .total_bytes = 2 * GIB,
                                                              .headroom_bytes = 1500 * MIB,
                                                              .file_bytes = 200 * MIB};
    while (w->s.at_usec < HOUR_USEC) {
        step(w, a);
    }
}

/* The most moves within any 60 s that begin in [from, HOUR). */
static size_t worst_minute(const struct world *w, uint64_t from_usec)
{
    size_t worst = 0;

    for (size_t i = 0; i < w->n_moves; i++) {
        size_t n = 0;

        while (i + n < w->n_moves && w->moves[i + n] < w->moves[i] + SPACE_USEC) {
            n++;
        }
        worst = w->moves[i] >= from_usec && n > worst ? n : worst;
    }
    return worst;
}

START_TEST(adversaries_cannot_make_it_flap)
{
    for (size_t i = 0; i < ARRAY_LEN(adversaries); i++) {
        const struct adversary *a = &adversaries[i];

        for (unsigned seed = 0; seed < N_SEEDS; seed++) {
            static struct world w;
            size_t first, later;

            run(&w, a, seed);
            first = worst_minute(&w, 0);
            later = worst_minute(&w, 600 * USEC_PER_SEC);
            ck_assert_msg(first <= a->in_a_minute && later <= a->in_a_minute_later &&
                              w.n_moves <= a->in_an_hour,
                          "%s, seed %u: %zu in a minute, %zu later, %zu in the hour", a->name, seed,
                          first, later, w.n_moves);
            ck_assert_msg(w.n_moves > 0, "%s, seed %u: never moved", a->name, seed);
        }
    }
}
END_TEST

/* The same inputs, the same course, move for move. */
START_TEST(replays_the_same)
{
    static struct world a, b;

    for (unsigned seed = 0; seed < 2; seed++) {
        run(&a, &adversaries[2], seed);
        run(&b, &adversaries[2], seed);
        ck_assert_uint_eq(a.n_moves, b.n_moves);
        ck_assert_mem_eq(a.moves, b.moves, a.n_moves * sizeof a.moves[0]);
        ck_assert_int_eq(a.p.level, b.p.level);
    }
}
END_TEST

/* Memory without end: whatever is loaded, or counted of others, nothing moves. */
START_TEST(endless_memory_is_level_0)
{
    for (unsigned seed = 1; seed <= 4; seed++) {
        struct dice dice = {.state = seed * 977};
        struct memory_sample s = {0};
        static struct pressure p;

        pressure_init(&p);
        for (unsigned i = 0; i < 2500; i++) {
            struct pressure_claims claims = {.is_loading = roll(&dice, 2),
                                             .is_planned = roll(&dice, 2)};

            s.at_usec += roll(&dice, 2000) * USEC_PER_MSEC;
            s.swap_total_bytes = GIB;
            s.swap_free_bytes = roll(&dice, GIB);
            for (size_t j = 0; j < MEMORY_N_PLACES; j++) {
                struct memory_place_sample *m = &s.place[j];

                m->has_psi = m->has_room = m->has_reclaim = true;
                m->total_bytes = UINT64_MAX;
                m->headroom_bytes = UINT64_MAX - roll(&dice, 1000);
                m->file_bytes = GIB;
                m->n_limited += roll(&dice, 3); /* of a group that reads files */
                m->n_throttled += roll(&dice, 3);
                m->n_scanned += roll(&dice, 3);
            }
            s.place[MEMORY_SYSTEM].n_oom_kills += roll(&dice, 100) == 0; /* somebody else's */
            pressure_set_claims(&p, &claims);
            HOLDS(pressure_update(&p, &s) == PRESSURE_L0);
            HOLDS(pressure_stage(&p, s.at_usec) == PRESSURE_STAGE_NORMAL);
        }
    }
}
END_TEST

/* Numbers of any size, in any order: a level comes out, and nothing overflows (UBSan looks on). */
START_TEST(takes_any_numbers)
{
    struct dice dice = {.state = 4711};
    static struct pressure p;
    char text[PRESSURE_TEXT_MAX];

    pressure_init(&p);
    for (unsigned i = 0; i < 30000; i++) {
        struct memory_sample s;
        uint64_t *words = (uint64_t *) (void *) &s;

        memset(&s, 0, sizeof s);
        for (size_t j = 0; j < sizeof s / sizeof *words; j++) {
            uint64_t v = roll(&dice, UINT64_MAX) << 16 ^ roll(&dice, UINT64_MAX);

            words[j] = v >> roll(&dice, 64);
        }
        for (size_t j = 0; j < MEMORY_N_PLACES; j++) {
            s.place[j].has_psi = roll(&dice, 2);
            s.place[j].has_room = roll(&dice, 2);
            s.place[j].has_reclaim = roll(&dice, 2);
            s.place[j].epoch = (unsigned) roll(&dice, 3);
        }
        s.is_swap_zram = roll(&dice, 2);
        s.is_incomplete = roll(&dice, 2);
        HOLDS(pressure_update(&p, &s) <= PRESSURE_L4);
        HOLDS(pressure_describe(&p.cause, text) == text);
        HOLDS(pressure_stage(&p, s.at_usec) <= PRESSURE_STAGE_NORMAL);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, adversaries_cannot_make_it_flap);
    tcase_add_test(tc, replays_the_same);
    tcase_add_test(tc, endless_memory_is_level_0);
    tcase_add_test(tc, takes_any_numbers);
}
TEST_MAIN("pressure_flap", add_tests)
