/*
 * What must hold of admission whatever happens: random lists of events; a list that breaks a rule is
 * shrunk to one from which nothing can be left out, and printed.
 */
#include "admission_play.h"

/* ---------------------------------------------------------------- lists, and how they shrink */

static size_t make(struct step *steps, size_t n, bool is_steady)
{
    static const unsigned kinds[] = {ARRIVE, ARRIVE, ARRIVE, ARRIVE, FINISH, FINISH,
                                     FINISH, FAIL,   LEAVE,  SPEAK,  LEVEL,  WAIT};
    unsigned pace_msec = 100 + any(3000);

    for (size_t i = 0; i < n; i++) {
        unsigned kind = kinds[any(ARRAY_LEN(kinds))];

        steps[i] = (struct step) {.kind = is_steady && kind == LEVEL ? WAIT : (enum kind) kind,
                                  .caller = any(N_CALLERS),
                                  .class = any(_CLASS_MAX),
                                  .group = any(2),
                                  .n = any(1000),
                                  .after_usec = any(pace_msec) * UINT64_C(1000),
                                  .is_late = any(20) == 0};
        if (any(60) == 0 || (steps[i].is_late && any(3) == 0)) {
            steps[i].after_usec = any(700) * SEC;
        }
    }
    return n;
}

/* Leaves out what can be left out, in ever smaller pieces; the number of steps that remain. */
static size_t shrink(struct world *w, const struct setting *setting, struct step *steps, size_t n)
{
    static struct step fewer[MAX_STEPS];

    for (size_t piece = n / 2; piece > 0; piece /= 2) {
        for (size_t at = 0; at + piece <= n;) {
            memcpy(fewer, steps, at * sizeof *steps);
            memcpy(fewer + at, steps + at + piece, (n - at - piece) * sizeof *steps);
            play(w, setting, fewer, n - piece);
            if (w->broken[0]) {
                n -= piece;
                memcpy(steps, fewer, n * sizeof *steps);
            } else {
                at += piece;
            }
        }
    }
    return n;
}

static void report(struct world *w, const struct setting *setting, struct step *steps, size_t n,
                   uint64_t seed)
{
    static const char *const names[] = {"ARRIVE", "FINISH", "FAIL", "LEAVE",
                                        "SPEAK",  "LEVEL",  "WAIT"};

    n = shrink(w, setting, steps, n);
    play(w, setting, steps, n);
    for (size_t i = 0; i < n; i++) {
        (void) fprintf(stderr, "  +%.3f s%s %s caller %u class %u group %u n %u\n",
                       (double) steps[i].after_usec / 1e6, steps[i].is_late ? " (late)" : "",
                       names[steps[i].kind], steps[i].caller, steps[i].class, steps[i].group,
                       steps[i].n);
    }
    ck_abort_msg("seed %llu: %s, by these %zu steps", (unsigned long long) seed, w->broken, n);
}

#define N_LISTS 400

START_TEST(whatever_happens)
{
    static struct step steps[MAX_STEPS];
    static struct world w;

    for (uint64_t seed = 1; seed <= N_LISTS; seed++) {
        size_t n;

        g_random = seed * 7919;
        n = make(steps, 20 + any(MAX_STEPS - 20), seed % 2 == 0);
        play(&w, &normal, steps, n);
        if (w.broken[0]) {
            report(&w, &normal, steps, n, seed);
        }
    }
}
END_TEST

START_TEST(lists_shrink)
{
    static struct setting setting;
    static struct step steps[MAX_STEPS];
    static struct world w;
    size_t n;

    setting = normal;
    setting.has_false_rule = true;
    g_random = 5;
    n = make(steps, MAX_STEPS, true);
    play(&w, &setting, steps, n);
    ck_assert_str_eq(w.broken, "a false rule");
    n = shrink(&w, &setting, steps, n);
    ck_assert_uint_ge(n, 5); /* one runs, or two in two groups, and four wait */
    ck_assert_uint_le(n, 8);
}
END_TEST

static void same_log(const struct world *a, const struct world *b, uint64_t seed)
{
    ck_assert_msg(a->n_log == b->n_log && memcmp(a->log, b->log, a->n_log * sizeof *a->log) == 0,
                  "seed %llu: other decisions", (unsigned long long) seed);
}

START_TEST(the_same_events_give_the_same_decisions)
{
    static struct step steps[MAX_STEPS];
    static struct world a, b;

    for (uint64_t seed = 1; seed <= 50; seed++) {
        g_random = seed;
        (void) make(steps, MAX_STEPS, false);
        play(&a, &normal, steps, MAX_STEPS);
        play(&b, &normal, steps, MAX_STEPS);
        ck_assert_uint_gt(a.n_log, 100);
        same_log(&a, &b, seed);
    }
}
END_TEST

START_TEST(weights_count_by_their_ratio)
{
    static struct step steps[MAX_STEPS];
    static struct setting doubled;
    static struct world a, b;

    doubled = normal;
    for (unsigned i = 0; i < N_CALLERS; i++) {
        doubled.weights[i] *= 2;
    }
    for (uint64_t seed = 1; seed <= 50; seed++) {
        g_random = seed;
        (void) make(steps, MAX_STEPS, false);
        play(&a, &normal, steps, MAX_STEPS);
        play(&b, &doubled, steps, MAX_STEPS);
        same_log(&a, &b, seed);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, whatever_happens);
    tcase_add_test(tc, lists_shrink);
    tcase_add_test(tc, the_same_events_give_the_same_decisions);
    tcase_add_test(tc, weights_count_by_their_ratio);
}
TEST_MAIN("admission_properties", add_tests)
