/*
 * Who is better off than whom, over many calls: a higher class is let in where a lower one is, all are
 * where memory is shorter, names do not count, and callers that always have something waiting get what
 * their weights say.
 */
#include "admission_play.h"

static const struct setting equal = {.weights = {1, 1, 1, 1, 1, 1},
                                     .patience_usec = {20 * SEC, 20 * SEC, 20 * SEC}};

/* Calls of one second each, so that all need the same, and one more; the number of steps. */
static size_t make_crowd(struct step *steps)
{
    unsigned n_calls = 5 + any(40);
    size_t n = 0;

    for (unsigned i = 0; i < n_calls; i++) {
        steps[n++] =
            (struct step) {.kind = ARRIVE, .caller = any(N_CALLERS), .class = any(3), .n = 1};
        if (any(3) < 2) {
            steps[n++] = (struct step) {.kind = FINISH, .after_usec = 1 * SEC};
        }
    }
    steps[n++] = (struct step) {.kind = ARRIVE, .caller = any(N_CALLERS), .class = 2, .n = 1};
    return n;
}

/* Was the last step's call let in, when memory was at that level at that instant? */
static bool is_let_in(struct world *w, const struct setting *setting, const struct step *steps,
                      size_t n, enum pressure_level level)
{
    world_init(w, setting);
    for (size_t i = 0; i < n; i++) {
        pass_time(w, w->now + steps[i].after_usec);
        w->pressure.level = i + 1 < n ? PRESSURE_L0 : level;
        happen(w, &steps[i]);
        if (i + 1 < n) {
            settle(w);
        }
    }

    bool is_in = w->tickets[w->plain.n_tickets - 1].state == TICKET_QUEUED;

    settle(w);
    ck_assert_str_eq(w->broken, "");
    world_done(w);
    return is_in;
}

START_TEST(a_higher_class_is_let_in_where_a_lower_one_is)
{
    static struct step steps[MAX_STEPS];
    static struct world w;
    unsigned n_let_in = 0, n_refused = 0;

    for (uint64_t seed = 1; seed <= 60; seed++) {
        g_random = seed;

        size_t n = make_crowd(steps);

        for (unsigned class = 2; class > 0; class --) {
            steps[n - 1].class = class;
            if (!is_let_in(&w, &equal, steps, n, PRESSURE_L0)) {
                n_refused++;
                continue;
            }
            n_let_in++;
            steps[n - 1].class = class - 1;
            ck_assert_msg(is_let_in(&w, &equal, steps, n, PRESSURE_L0), "seed %llu, class %u",
                          (unsigned long long) seed, class);
        }
    }
    ck_assert_uint_gt(n_let_in, 10); /* both happen, or this has shown nothing */
    ck_assert_uint_gt(n_refused, 10);
}
END_TEST

START_TEST(more_memory_lets_in_whom_less_does)
{
    static struct step steps[MAX_STEPS];
    static struct world w;
    unsigned n_let_in[PRESSURE_L4 + 1] = {0};

    for (uint64_t seed = 1; seed <= 90; seed++) {
        g_random = seed;

        size_t n = make_crowd(steps);
        bool was_let_in = false;

        steps[n - 1].class = (unsigned) seed % 3;
        for (unsigned level = PRESSURE_L4 + 1; level-- > PRESSURE_L0;) {
            bool is_in = is_let_in(&w, &equal, steps, n, (enum pressure_level) level);

            ck_assert_msg(is_in || !was_let_in, "seed %llu: at level %u, not at %u",
                          (unsigned long long) seed, level + 1, level);
            was_let_in = is_in;
            n_let_in[level] += is_in;
        }
    }
    ck_assert_uint_eq(n_let_in[PRESSURE_L4], 0); /* and the levels differ */
    ck_assert_uint_gt(n_let_in[PRESSURE_L2], 0);
    ck_assert_uint_lt(n_let_in[PRESSURE_L2], n_let_in[PRESSURE_L0]);
}
END_TEST

/* What became of them, whoever they were: verdicts and grants in their order, not the hints' spread. */
static void same_but_for_names(const struct world *a, const struct world *b, uint64_t seed)
{
    const uint64_t retry_after = UINT32_MAX;

    ck_assert_uint_eq(a->n_log, b->n_log);
    for (size_t i = 0; i < a->n_log; i++) {
        bool is_refusal = a->log[i] >> 56 == 1;
        uint64_t seen = is_refusal ? ~retry_after : UINT64_MAX;

        ck_assert_msg((a->log[i] & seen) == (b->log[i] & seen), "seed %llu: decision %zu",
                      (unsigned long long) seed, i);
    }
}

START_TEST(names_do_not_count)
{
    static struct setting there, here;
    static struct step steps[MAX_STEPS];
    static struct world a, b;

    there = here = normal;
    for (unsigned i = 0; i < N_CALLERS; i++) {
        here.weights[N_CALLERS - 1 - i] = there.weights[i];
    }
    for (uint64_t seed = 1; seed <= 50; seed++) {
        g_random = seed;

        size_t n = make_crowd(steps);

        play(&a, &there, steps, n);
        for (size_t i = 0; i < n; i++) {
            steps[i].caller = N_CALLERS - 1 - steps[i].caller;
        }
        play(&b, &here, steps, n);
        ck_assert_str_eq(a.broken, "");
        ck_assert_str_eq(b.broken, "");
        same_but_for_names(&a, &b, seed);
    }
}
END_TEST

struct backlog {
    struct ticket tickets[N_CALLERS][4];
    uint64_t served_usec[N_CALLERS];
};

static void keep_waiting(struct world *w, struct backlog *b, unsigned caller, unsigned group)
{
    for (size_t i = 0; i < ARRAY_LEN(b->tickets[caller]); i++) {
        struct ticket *t = &b->tickets[caller][i];
        struct admission_ask ask = {.caller = {.kind = CALLER_UID, .uid = caller},
                                    .class = CLASS_BATCH,
                                    .own_deadline_at_usec = USEC_NEVER};

        if (t->state == TICKET_HOME) {
            (void) admission_enqueue(&w->admission, t, &w->router.groups[group], &ask, w->now);
        }
    }
}

/* The virtual-time bound of VTC, for N slots: nobody gets further ahead than two long calls each. */
START_TEST(backlogged_callers_get_their_shares)
{
    static const struct setting patient = {.weights = {1, 1, 2, 3, 1, 6}};
    static struct backlog b;
    static struct world w;
    const uint64_t longest = 9 * SEC;

    for (unsigned group = 0; group < 2; group++) {
        unsigned n_slots = group == 0 ? 1 : 3, n_alive = 0;
        struct ticket *alive[3];
        uint64_t ends[3];

        memset(&b, 0, sizeof b);
        world_init(&w, &patient);
        w.admission.params.max_queued_caller = 0;
        w.admission.params.max_wait_usec[CLASS_BATCH] = USEC_NEVER;
        g_random = 77 + group;
        for (unsigned round = 0; round < 3000; round++) {
            unsigned first = 0;
            struct ticket *t;

            for (unsigned c = 0; c < N_CALLERS; c++) {
                keep_waiting(&w, &b, c, group);
            }
            while ((t = admission_next(&w.admission, w.now))) {
                ck_assert_uint_lt(n_alive, n_slots);
                alive[n_alive] = t;
                ends[n_alive++] = w.now + any(9000) * 1000 + 1000;
            }
            for (unsigned i = 1; i < n_alive; i++) {
                first = ends[i] < ends[first] ? i : first;
            }
            w.now = ends[first];
            t = alive[first];
            b.served_usec[t->caller->uid] += w.now - t->granted_at_usec;
            admission_note_end(&w.admission, t, ERRCODE_NONE, w.now);
            admission_release(&w.admission, t, w.now);
            alive[first] = alive[--n_alive];
            ends[first] = ends[n_alive];
            for (unsigned i = 0; i < N_CALLERS * N_CALLERS; i++) {
                unsigned x = i / N_CALLERS, y = i % N_CALLERS;
                uint64_t of_x = b.served_usec[x] / patient.weights[x];
                uint64_t of_y = b.served_usec[y] / patient.weights[y];

                ck_assert_uint_le(of_x, of_y + 2 * (n_slots + 1) * longest);
            }
        }
        for (unsigned i = 0; i < N_CALLERS * ARRAY_LEN(b.tickets[0]); i++) {
            admission_release(&w.admission, &b.tickets[i / 4][i % 4], w.now);
        }
        world_done(&w);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_higher_class_is_let_in_where_a_lower_one_is);
    tcase_add_test(tc, more_memory_lets_in_whom_less_does);
    tcase_add_test(tc, names_do_not_count);
    tcase_add_test(tc, backlogged_callers_get_their_shares);
}
TEST_MAIN("admission_shares", add_tests)
