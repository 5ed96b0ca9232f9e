/*
 * A small device whose calls come at random and whose server does what the core asks, or fails to at
 * random. What must hold at each moment is checked in step().
 */
#include "residency_support.h"

#define N_CALLS 24

struct waiting_call {
    bool is_there;
    const char *model;
    enum call_class class;
    uint64_t since_usec;
    struct deployment *d; /* that serves it */
    uint64_t ends_at_usec;
};

struct device {
    uint64_t seed;
    uint64_t used_mib; /* by others */
    struct waiting_call calls[N_CALLS];
    struct residency_model *unloading;
    uint64_t unload_ends_at_usec, load_ends_at_usec, last_action_usec;
    struct residency_model *loading;
    bool has_weather;
    struct residency_pressure weather;
    unsigned n_for_level, n_loads, n_served, n_unloads;
};

static const char *const names[] = {"a", "b", "c"};
static const uint64_t true_mib[] = {800, 900, 100};

static uint32_t chance(struct device *v, uint32_t n)
{
    v->seed = v->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t) (v->seed >> 33) % n;
}

static uint64_t true_bytes(const struct residency_model *m)
{
    return true_mib[m->name[1] - 'a'] * MIB;
}

static uint64_t available(const struct device *v)
{
    uint64_t taken = v->used_mib * MIB;

    list_for_each (l, &g_r.models) {
        const struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);
        bool is_there = m->state == RESIDENCY_RESIDENT || m->state == RESIDENCY_DRAINING ||
                        m->state == RESIDENCY_UNLOADING || m->state == RESIDENCY_LOADING;

        taken += is_there ? true_bytes(m) : 0;
    }
    ck_assert_uint_le(taken, 2000 * MIB); /* nothing is killed */
    return 2000 * MIB - taken;
}

/* Pressure that comes and goes as it likes, with no regard to the memory there is; half of it is calm. */
static void change_weather(struct device *v)
{
    unsigned acute = chance(v, 2) * chance(v, 5);
    bool falls = acute > 0 && chance(v, 3) == 0;

    if (v->has_weather && chance(v, 300) == 0) {
        v->weather = (struct residency_pressure) {.level = acute + chance(v, 5 - acute),
                                                  .acute = acute,
                                                  .exhaustion_usec =
                                                      falls ? chance(v, 60) * SEC : USEC_NEVER,
                                                  .fall_bytes_per_sec = falls ? 20 * MIB : 0};
        residency_set_pressure(&g_r, &v->weather);
    }
}

static void look_at_memory(const struct device *v)
{
    residency_set_memory(
        &g_r,
        &(struct residency_memory) {.total_bytes = 2000 * MIB, .available_bytes = available(v)}, 1,
        g_now);
}

static void act(struct device *v)
{
    struct residency_action action;

    while (residency_next(&g_r, g_now, &action)) {
        switch (action.verb) {
        case RESIDENCY_LOOK:
            residency_looked(&g_r, action.model, action.model->state == RESIDENCY_RESIDENT, 0,
                             false, g_now);
            break;
        case RESIDENCY_UNLOAD:
            ck_assert_ptr_null(v->unloading);
            ck_assert_ptr_null(v->loading);
            ck_assert(!residency_model_is_in_use(&g_r, action.model));
            ck_assert(v->last_action_usec == 0 || g_now - v->last_action_usec >= SEC);
            v->unloading = action.model;
            v->unload_ends_at_usec = g_now + 50 * MSEC + chance(v, 1000) * MSEC;
            v->n_unloads++;
            v->n_for_level += action.reason == RESIDENCY_FOR_LEVEL;
            break;
        case RESIDENCY_INQUIRE:
        case RESIDENCY_LOAD:
        case RESIDENCY_STOP:
            ck_abort();
        }
    }
}

static void begin_loads(struct device *v)
{
    list_for_each (l, &g_r.models) {
        struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        if (m->state != RESIDENCY_RESERVED) {
            continue;
        }
        ck_assert_ptr_null(v->loading);
        ck_assert_ptr_null(v->unloading);
        /* the budget: what is reserved is there, and the reserve beside it */
        ck_assert_uint_ge(available(v), m->reserved_bytes + residency_reserve_soft(&g_r));
        ck_assert_uint_eq(v->weather.acute, 0); /* no load while any cell of a level holds */
        residency_load_began(&g_r, m, g_now);
        v->loading = m;
        v->load_ends_at_usec = g_now + SEC + chance(v, 2000) * MSEC;
        v->n_loads++;
    }
}

static void run(struct device *v)
{
    residency_begin_run(&g_r);
    for (size_t i = 0; i < N_CALLS; i++) {
        struct waiting_call *c = &v->calls[i];

        if (!c->is_there || c->d) {
            continue;
        }
        c->d = pick(c->model, c->class, c->since_usec);
        c->ends_at_usec = g_now + 100 * MSEC + chance(v, 3000) * MSEC;
        if (!c->d && g_now - c->since_usec > params.max_wait_usec[c->class]) {
            c->is_there = false;
        }
    }
    residency_end_run(&g_r, g_now);
    begin_loads(v);
    act(v);
}

static void end_calls(struct device *v)
{
    for (size_t i = 0; i < N_CALLS; i++) {
        struct waiting_call *c = &v->calls[i];
        bool waits = c->d && v->loading && strcmp(v->loading->name, c->d->upstream_model) == 0;

        if (c->d && !waits && g_now >= c->ends_at_usec) {
            router_release(&g_router, c->d, g_now);
            *c = (struct waiting_call) {0};
            v->n_served++;
        }
    }
}

static void step(struct device *v, bool calls_come)
{
    g_now += 50 * MSEC;
    if (v->loading && g_now >= v->load_ends_at_usec) {
        uint32_t fate = chance(v, 20);

        residency_load_ended(&g_r, TAKE(v->loading),
                             fate == 0   ? RESIDENCY_LOAD_KILLED
                             : fate == 1 ? RESIDENCY_LOAD_FAILED
                                         : RESIDENCY_LOAD_OK,
                             g_now);
    }
    if (v->unloading && g_now >= v->unload_ends_at_usec) {
        residency_unloaded(&g_r, TAKE(v->unloading), chance(v, 10) > 0, g_now);
        v->last_action_usec = g_now;
    }
    end_calls(v);
    for (size_t i = 0; calls_come && i < N_CALLS; i++) {
        if (!v->calls[i].is_there && chance(v, 400) == 0) {
            v->calls[i] = (struct waiting_call) {.is_there = true,
                                                 .model = names[chance(v, 3)],
                                                 .class = chance(v, 3),
                                                 .since_usec = g_now};
        }
    }
    look_at_memory(v);
    change_weather(v);
    run(v);
}

/* A neighbour that comes and goes. */
static void move_neighbour(struct device *v)
{
    if (chance(v, 2000) == 0) {
        uint64_t room = available(v) / MIB;

        v->used_mib = 300 + chance(v, 200);
        v->used_mib = room < 300 ? 300 : v->used_mib;
    }
}

/* Who waited has been served or has given up, nothing is held, and nobody is woken for nothing. */
static void assert_at_rest(const struct device *v)
{
    ck_assert_uint_eq(residency_n_reservations(&g_r), 0);
    for (size_t i = 0; i < N_CALLS; i++) {
        ck_assert(!v->calls[i].is_there);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ck_assert_uint_eq(deployment(names[i])->in_use, 0);
        ck_assert_int_ne(model(names[i])->state, RESIDENCY_DRAINING);
        ck_assert_int_ne(model(names[i])->state, RESIDENCY_UNLOADING);
    }
    ck_assert_uint_gt(residency_next_at(&g_r, g_now), g_now + SEC); /* nothing is polled */
}

/* Ten minutes of calls, then the quiet after them. */
static void live(struct device *v)
{
    for (unsigned i = 0; i < 12000; i++) {
        move_neighbour(v);
        step(v, true);
    }
    ck_assert_uint_gt(v->n_served, 50);
    ck_assert_uint_gt(v->n_unloads, 3);
    /* a load takes 1 s at least, and what was loaded stays as long as that took */
    ck_assert_uint_le(v->n_loads, 600 / 2);
    v->has_weather = false;
    v->weather = (struct residency_pressure) {.exhaustion_usec = USEC_NEVER};
    residency_set_pressure(&g_r, &v->weather);
    for (unsigned i = 0; i < 20 * 700; i++) {
        step(v, false);
    }
    assert_at_rest(v);
}

START_TEST(nothing_is_ever_killed)
{
    struct device v = {.seed = (uint64_t) _i * 7919 + 1, .used_mib = 400};

    live(&v);
}
END_TEST

START_TEST(nor_under_any_pressure)
{
    struct device v = {.seed = (uint64_t) _i * 7907 + 3, .used_mib = 400, .has_weather = true};

    live(&v);
    ck_assert_uint_gt(v.n_for_level, 0);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, nothing_is_ever_killed, 0, 12);
    tcase_add_loop_test(tc, nor_under_any_pressure, 0, 12);
}

TEST_MAIN("residency_random", add_tests)
