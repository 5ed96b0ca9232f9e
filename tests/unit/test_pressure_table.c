/* Each cell of the table of levels: entered, kept, corroborated, and told. */
#include "base/clock.h"
#include "core/pressure.h"
#include "support.h"

#define MIB       (UINT64_C(1) << 20)
#define GIB       (UINT64_C(1) << 30)
#define STEP_USEC (250 * USEC_PER_MSEC)

/* A device of 2 GB whose memory does as told. */
struct device {
    struct pressure p;
    struct memory_sample s;
};

static void device_init(struct device *d)
{
    pressure_init(&d->p);
    d->s = (struct memory_sample) {.at_usec = 100 * USEC_PER_SEC};
    d->s.place[MEMORY_SYSTEM] = (struct memory_place_sample) {.has_psi = true,
                                                              .has_room = true,
                                                              .has_reclaim = true,
                                                              .total_bytes = 2 * GIB,
                                                              .headroom_bytes = 1200 * MIB,
                                                              .file_bytes = 400 * MIB};
    (void) pressure_update(&d->p, &d->s);
}

/* What changes in each second. */
struct course {
    unsigned some, full; /* per mille */
    uint64_t refaults;   /* bytes */
    uint64_t n_scanned;  /* pages */
    uint64_t falls;      /* bytes of headroom */
    uint64_t out, in;    /* bytes of swap */
    uint64_t n_throttled, n_limited, n_stalls, n_oom_kills;
};

static uint64_t in_step(uint64_t per_second)
{
    return per_second * STEP_USEC / USEC_PER_SEC;
}

static enum pressure_level pass(struct device *d, enum memory_place place, uint64_t usec,
                                struct course c)
{
    struct memory_place_sample *m = &d->s.place[place];

    for (uint64_t t = 0; t < usec; t += STEP_USEC) {
        uint64_t falls = in_step(c.falls);

        d->s.at_usec += STEP_USEC;
        m->some_total_usec += in_step(c.some * 1000U);
        m->full_total_usec += in_step(c.full * 1000U);
        m->refault_bytes += in_step(c.refaults);
        m->n_scanned += in_step(c.n_scanned);
        m->headroom_bytes -= falls < m->headroom_bytes ? falls : m->headroom_bytes;
        m->n_throttled += in_step(c.n_throttled);
        m->n_limited += in_step(c.n_limited);
        m->n_stalls += in_step(c.n_stalls);
        m->n_oom_kills += in_step(c.n_oom_kills);
        d->s.swapped_out_bytes += in_step(c.out);
        d->s.swapped_in_bytes += in_step(c.in);
        (void) pressure_update(&d->p, &d->s);
    }
    return d->p.level;
}

static const char *why(const struct device *d)
{
    static char text[PRESSURE_TEXT_MAX];

    return pressure_describe(&d->p.cause, text);
}

static const struct course calm = {0};

START_TEST(reserves_are_those_of_the_table)
{
    static const struct {
        uint64_t total, soft, hard, critical, emergency; /* MiB */
    } rows[] = {{1946, 233, 155, 93, 46},
                {3891, 466, 311, 186, 93},
                {7987, 768, 512, 307, 153},
                {1024, 224, 149, 89, 44},
                {128, 32, 21, 12, 6},
                {0, 0, 0, 0, 0},
                {UINT64_MAX / MIB, 768, 512, 307, 153}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pressure_reserves r = pressure_reserves(rows[i].total * MIB, MEMORY_SYSTEM);

        ck_assert_uint_eq(r.soft_bytes / MIB, rows[i].soft);
        ck_assert_uint_eq(r.hard_bytes / MIB, rows[i].hard);
        ck_assert_uint_eq(r.critical_bytes / MIB, rows[i].critical);
        ck_assert_uint_eq(r.emergency_bytes / MIB, rows[i].emergency);
    }
}
END_TEST

START_TEST(headroom_enters_each_level_at_once)
{
    static const struct {
        uint64_t headroom; /* MiB; soft is 245, hard 163, critical 98, emergency 49 */
        enum pressure_level level;
    } rows[] = {{246, PRESSURE_L0}, {244, PRESSURE_L1}, {164, PRESSURE_L1}, {162, PRESSURE_L2},
                {97, PRESSURE_L3},  {48, PRESSURE_L4},  {0, PRESSURE_L4}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct device d;

        device_init(&d);
        d.s.at_usec += 3600 * USEC_PER_SEC; /* so that its fall is slow */
        d.s.place[MEMORY_SYSTEM].headroom_bytes = rows[i].headroom * MIB;
        (void) pressure_update(&d.p, &d.s);
        ck_assert_int_eq(d.p.level, rows[i].level);
        ck_assert_int_eq(d.p.cause.reason, rows[i].level ? PRESSURE_HEADROOM : PRESSURE_CALM);
    }
}
END_TEST

START_TEST(says_why)
{
    struct device d;

    device_init(&d);
    d.s.at_usec += 3600 * USEC_PER_SEC;
    d.s.place[MEMORY_SYSTEM].headroom_bytes = 180 * MIB;
    (void) pressure_update(&d.p, &d.s);
    ck_assert_str_eq(why(&d), "headroom 180 MiB < 245 MiB");
    ck_assert_str_eq(pressure_reason_name(d.p.cause.reason), "headroom");
    for (int r = PRESSURE_CALM; r <= PRESSURE_UNREADABLE; r++) {
        struct pressure_cause c = {.reason = (enum pressure_reason) r,
                                   .place = MEMORY_SERVER,
                                   .seen = UINT64_MAX,
                                   .limit = UINT64_MAX};
        char text[PRESSURE_TEXT_MAX];

        ck_assert_uint_gt(strlen(pressure_describe(&c, text)), 3);
        ck_assert_uint_lt(strlen(text), PRESSURE_TEXT_MAX - 1);
        ck_assert(strstr(text, "(model server's group)"));
        ck_assert_ptr_nonnull(pressure_reason_name(c.reason));
    }
    for (int r = PRESSURE_RUNG_NONE; r <= PRESSURE_RUNG_TRIGGER; r++) {
        ck_assert_ptr_nonnull(pressure_rung_name((enum pressure_rung) r));
    }
}
END_TEST

START_TEST(time_to_exhaustion_enters_each_level)
{
    static const struct {
        uint64_t falls; /* MB/s out of 1200 MiB, for 2 s */
        enum pressure_level level;
    } rows[] = {{1, PRESSURE_L0},
                {30, PRESSURE_L0},
                {45, PRESSURE_L1},
                {90, PRESSURE_L2},
                {190, PRESSURE_L3}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct device d;

        device_init(&d);
        pass(&d, MEMORY_SYSTEM, 2 * USEC_PER_SEC,
             (struct course) {.falls = rows[i].falls * 1000000});
        ck_assert_msg(d.p.level == rows[i].level, "%u MB/s: %s", (unsigned) rows[i].falls, why(&d));
        if (d.p.level > PRESSURE_L0) {
            ck_assert_int_eq(d.p.cause.reason, PRESSURE_EXHAUSTION);
        }
    }
}
END_TEST

/* The silent case: PSI says nothing until the kill. At 20 MB/s L3 comes 3 s before the wall. */
START_TEST(a_silent_ramp_is_seen_before_the_wall)
{
    static const uint64_t rates[] = {5, 20, 50, 100};

    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct device d;
        uint64_t left;

        device_init(&d);
        while (d.p.level < PRESSURE_L3 && d.s.place[MEMORY_SYSTEM].headroom_bytes > 0) {
            pass(&d, MEMORY_SYSTEM, STEP_USEC, (struct course) {.falls = rates[i] * 1000000});
        }
        left = d.s.place[MEMORY_SYSTEM].headroom_bytes / (rates[i] * 1000000 / 1000); /* ms */
        ck_assert_msg(left >= 3000, "%u MB/s: %u ms", (unsigned) rates[i], (unsigned) left);
    }
}
END_TEST

START_TEST(a_burst_that_is_over_is_no_ramp)
{
    struct device d;

    device_init(&d);
    pass(&d, MEMORY_SYSTEM, 5 * USEC_PER_SEC, calm);
    d.s.place[MEMORY_SYSTEM].headroom_bytes -= 60 * MIB; /* at once; then nothing */
    ck_assert_int_eq(pass(&d, MEMORY_SYSTEM, 5 * USEC_PER_SEC, calm), PRESSURE_L0);
}
END_TEST

START_TEST(a_planned_load_is_no_emergency)
{
    struct device d;

    for (int planned = 0; planned < 2; planned++) {
        struct pressure_claims claims = {.is_loading = true, .is_planned = planned};

        device_init(&d);
        pressure_set_claims(&d.p, &claims);
        ck_assert_uint_eq(pressure_interval_usec(&d.p, false), 250 * USEC_PER_MSEC);
        pass(&d, MEMORY_SYSTEM, 3 * USEC_PER_SEC, (struct course) {.falls = 250000000});
        ck_assert_int_eq(d.p.level >= PRESSURE_L3, !planned);
    }
}
END_TEST

/* PSI beyond L1 counts where memory is short, or is read again and again; and is reclaimed. */
START_TEST(psi_alone_reaches_level_1)
{
    static const struct {
        uint64_t headroom, refaults, n_scanned; /* MiB, MiB/s */
        enum pressure_level level;
    } rows[] = {
        {1200, 0, 0, PRESSURE_L1},                               /* some other group thrashes */
        {400, 0, 0, PRESSURE_L1},                                /* nothing is reclaimed */
        {400, 0, 100, PRESSURE_L3},                              /* scanned, and short */
        {400, 1, 0, PRESSURE_L3},   {1200, 0, 100, PRESSURE_L1}, /* scanned, and plenty */
        {1200, 30, 0, PRESSURE_L1},                              /* 7.5 % read again */
        {1200, 42, 0, PRESSURE_L3}, /* 10.5 %: "available" is what is being read */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct device d;

        device_init(&d);
        d.s.at_usec += 3600 * USEC_PER_SEC;
        d.s.place[MEMORY_SYSTEM].headroom_bytes = rows[i].headroom * MIB;
        pass(&d, MEMORY_SYSTEM, 6 * USEC_PER_SEC,
             (struct course) {
                 .some = 600, .refaults = rows[i].refaults * MIB, .n_scanned = rows[i].n_scanned});
        ck_assert_msg(d.p.level == rows[i].level, "row %zu: %d, %s", i, d.p.level, why(&d));
        ck_assert_int_eq(d.p.cause.reason, PRESSURE_PSI_SOME);
    }
}
END_TEST

START_TEST(compressed_swap_raises_the_some_row)
{
    for (int is_zram = 0; is_zram < 2; is_zram++) {
        struct device d;

        device_init(&d);
        d.s.swap_total_bytes = d.s.swap_free_bytes = GIB;
        d.s.is_swap_zram = is_zram;
        ck_assert_int_eq(pass(&d, MEMORY_SYSTEM, 6 * USEC_PER_SEC, (struct course) {.some = 140}),
                         is_zram ? PRESSURE_L0 : PRESSURE_L1);
        ck_assert_int_eq(pass(&d, MEMORY_SYSTEM, 6 * USEC_PER_SEC, (struct course) {.some = 160}),
                         PRESSURE_L1);
        ck_assert_int_eq(pass(&d, MEMORY_SYSTEM, 6 * USEC_PER_SEC,
                              (struct course) {.full = 160, .refaults = 100 * MIB}),
                         PRESSURE_L2); /* full stays as it is */
    }
}
END_TEST

START_TEST(swap_counts_when_it_fills_or_is_all_there_is)
{
    static const struct {
        uint64_t headroom, free; /* MiB; of 1000 MiB of swap */
        uint64_t out;
        enum pressure_level level;
    } rows[] = {
        {1200, 10, 0, PRESSURE_L0}, /* full of what nobody needs */
        {1200, 200, MIB, PRESSURE_L1}, {1200, 300, MIB, PRESSURE_L0}, {400, 80, 0, PRESSURE_L2},
        {400, 120, 0, PRESSURE_L0},    {1200, 80, 0, PRESSURE_L0},    {150, 40, 0, PRESSURE_L3},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct device d;

        device_init(&d);
        d.s.at_usec += 3600 * USEC_PER_SEC;
        d.s.place[MEMORY_SYSTEM].headroom_bytes = rows[i].headroom * MIB;
        d.s.swap_total_bytes = 1000 * MIB;
        d.s.swap_free_bytes = rows[i].free * MIB;
        pass(&d, MEMORY_SYSTEM, USEC_PER_SEC, (struct course) {.out = rows[i].out});
        ck_assert_msg(d.p.level == rows[i].level, "row %zu: %d, %s", i, d.p.level, why(&d));
    }
}
END_TEST

START_TEST(events_count_where_memory_is_short)
{
    static const struct {
        struct course course;
        uint64_t headroom_mib; /* R_soft is 245, R_hard 163, R_crit 98 */
        enum pressure_level level;
        enum pressure_reason reason;
    } rows[] = {
        {{.n_throttled = 8}, 400, PRESSURE_L1, PRESSURE_THROTTLED},
        {{.n_limited = 8, .n_scanned = 8}, 400, PRESSURE_L0, PRESSURE_CALM},
        {{.n_limited = 8, .n_scanned = 8}, 170, PRESSURE_L1, PRESSURE_HEADROOM},
        {{.n_limited = 8, .n_scanned = 8}, 150, PRESSURE_L3, PRESSURE_LIMIT_HIT},
        {{.n_stalls = 8, .n_scanned = 8}, 150, PRESSURE_L3, PRESSURE_STALLS},
        {{.n_oom_kills = 8}, 400, PRESSURE_L4, PRESSURE_OOM_KILL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int is_short = 0; is_short < 2; is_short++) {
            struct device d;

            device_init(&d);
            d.s.at_usec += 3600 * USEC_PER_SEC;
            d.s.place[MEMORY_SYSTEM].headroom_bytes =
                is_short ? rows[i].headroom_mib * MIB : 1200 * MIB;
            pass(&d, MEMORY_SYSTEM, USEC_PER_SEC, rows[i].course);
            ck_assert_int_eq(d.p.level, is_short ? rows[i].level : PRESSURE_L0);
            ck_assert_int_eq(d.p.cause.reason, is_short ? rows[i].reason : PRESSURE_CALM);
        }
    }
}
END_TEST

/* What stands by its hold alone: the level does, what is asked for now does not. */
START_TEST(the_numbers_of_now_are_told_beside_the_level)
{
    struct device d;

    device_init(&d);
    pass(&d, MEMORY_SYSTEM, 2 * USEC_PER_SEC, (struct course) {.falls = 190000000});
    ck_assert_int_eq(d.p.level, PRESSURE_L3);
    ck_assert_int_eq(d.p.acute, PRESSURE_L0); /* by the row of time only */
    ck_assert_uint_lt(d.p.exhaustion_usec, 5 * USEC_PER_SEC);
    ck_assert_uint_gt(d.p.fall_bytes_per_sec, 150000000);
    d.s.place[MEMORY_SYSTEM].headroom_bytes = 90 * MIB;
    pass(&d, MEMORY_SYSTEM, STEP_USEC, calm);
    ck_assert_int_eq(d.p.acute, PRESSURE_L3);
    d.s.place[MEMORY_SYSTEM].headroom_bytes = 1200 * MIB;
    pass(&d, MEMORY_SYSTEM, STEP_USEC, calm);
    ck_assert_int_ge(d.p.level, PRESSURE_L3);
    ck_assert_int_eq(d.p.acute, PRESSURE_L0);
    ck_assert_uint_eq(d.p.exhaustion_usec, USEC_NEVER);
    ck_assert_uint_eq(d.p.fall_bytes_per_sec, 0);
}
END_TEST

START_TEST(an_emergency_is_over_for_calls_a_second_after_it)
{
    char text[PRESSURE_TEXT_MAX], cause[PRESSURE_TEXT_MAX];
    struct device d;

    device_init(&d);
    ck_assert_int_eq(pressure_level_for_calls(&d.p), PRESSURE_L0);
    ck_assert_uint_eq(pressure_critical_usec(&d.p, d.s.at_usec), 0);
    ck_assert_uint_eq(pressure_emergency_since_usec(&d.p), USEC_NEVER);
    d.s.place[MEMORY_SYSTEM].headroom_bytes = 20 * MIB;
    pass(&d, MEMORY_SYSTEM, USEC_PER_SEC, calm);
    ck_assert_uint_le(d.s.at_usec - pressure_emergency_since_usec(&d.p), USEC_PER_SEC);
    ck_assert_int_eq(pressure_level_for_calls(&d.p), PRESSURE_L4);
    ck_assert_str_eq(pressure_describe_now(&d.p, text), pressure_describe(&d.p.cause, cause));
    d.s.place[MEMORY_SYSTEM].headroom_bytes = 90 * MIB; /* L3 */
    pass(&d, MEMORY_SYSTEM, 3 * STEP_USEC, calm);
    ck_assert_int_eq(pressure_level_for_calls(&d.p), PRESSURE_L4);
    pass(&d, MEMORY_SYSTEM, STEP_USEC, calm);
    ck_assert_int_eq(pressure_level_for_calls(&d.p), PRESSURE_L3);
    pass(&d, MEMORY_SYSTEM, 20 * USEC_PER_SEC, calm);
    ck_assert_int_eq(pressure_level_for_calls(&d.p), PRESSURE_L3);
    ck_assert_uint_eq(pressure_emergency_since_usec(&d.p), USEC_NEVER);
    ck_assert_uint_ge(pressure_critical_usec(&d.p, d.s.at_usec), 21 * USEC_PER_SEC);
    ck_assert_uint_le(pressure_critical_usec(&d.p, d.s.at_usec), 23 * USEC_PER_SEC);
    d.s.place[MEMORY_SYSTEM].headroom_bytes = 1200 * MIB;
    pass(&d, MEMORY_SYSTEM, 3 * STEP_USEC, calm);
    ck_assert_int_eq(pressure_level_for_calls(&d.p), PRESSURE_L3);
    pass(&d, MEMORY_SYSTEM, STEP_USEC, calm);
    ck_assert_int_ge(d.p.level, PRESSURE_L3);
    ck_assert_int_eq(pressure_level_for_calls(&d.p), PRESSURE_L2);
    ck_assert_ptr_nonnull(
        strstr(pressure_describe_now(&d.p, text), "; held, calls are taken as at L2"));
    ck_assert_uint_eq(pressure_critical_usec(&d.p, d.s.at_usec), 0);
    while (d.p.level > PRESSURE_L1) {
        pass(&d, MEMORY_SYSTEM, STEP_USEC, calm);
        ck_assert_int_le(pressure_level_for_calls(&d.p), PRESSURE_L2);
    }
    ck_assert_int_eq(pressure_level_for_calls(&d.p), PRESSURE_L1);
}
END_TEST

/* A kill in the model server's own group is always news. */
START_TEST(a_kill_in_the_servers_group_is_level_4)
{
    struct device d;

    device_init(&d);
    pass(&d, MEMORY_SERVER, USEC_PER_SEC, (struct course) {.n_oom_kills = 4});
    ck_assert_int_eq(d.p.level, PRESSURE_L4);
    ck_assert_int_eq(d.p.cause.place, MEMORY_SERVER);
    ck_assert_int_eq(pass(&d, MEMORY_SERVER, 20 * USEC_PER_SEC, calm), PRESSURE_L3);
}
END_TEST

/* Nobody looked for so long: what happened meanwhile may be over for hours. */
START_TEST(what_happened_while_nobody_looked_is_no_news)
{
    static const struct {
        uint64_t sec;
        enum pressure_level by_kill, by_swap;
    } rows[] = {{15, PRESSURE_L4, PRESSURE_L1},
                {30, PRESSURE_L4, PRESSURE_L1},
                {31, PRESSURE_L0, PRESSURE_L0},
                {8 * 3600, PRESSURE_L0, PRESSURE_L0}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct device killed, swapped;

        device_init(&killed);
        killed.s.at_usec += rows[i].sec * USEC_PER_SEC;
        killed.s.place[MEMORY_SERVER].n_oom_kills++;
        ck_assert_int_eq(pressure_update(&killed.p, &killed.s), rows[i].by_kill);
        pass(&killed, MEMORY_SERVER, USEC_PER_SEC, (struct course) {.n_oom_kills = 4});
        ck_assert_int_eq(killed.p.level, PRESSURE_L4); /* while somebody looks */

        device_init(&swapped);
        swapped.s.swap_total_bytes = 1000 * MIB;
        swapped.s.swap_free_bytes = 200 * MIB;
        swapped.s.swapped_out_bytes = 800 * MIB;
        swapped.s.at_usec += rows[i].sec * USEC_PER_SEC;
        ck_assert_int_eq(pressure_update(&swapped.p, &swapped.s), rows[i].by_swap);
        ck_assert_int_eq(pass(&swapped, MEMORY_SYSTEM, USEC_PER_SEC, calm), rows[i].by_swap);
    }
}
END_TEST

START_TEST(the_servers_group_has_its_own_reserves)
{
    struct device d;

    device_init(&d);
    d.s.at_usec += 3600 * USEC_PER_SEC;
    d.s.place[MEMORY_SERVER] = (struct memory_place_sample) {
        .has_psi = true, .has_room = true, .total_bytes = 100 * MIB, .headroom_bytes = 13 * MIB};
    ck_assert_int_eq(pass(&d, MEMORY_SERVER, USEC_PER_SEC, calm), PRESSURE_L0);
    ck_assert_uint_eq(d.p.headroom_bytes, 13 * MIB); /* the place with least to give */
    ck_assert_uint_eq(d.p.reserves.soft_bytes, 12 * MIB);
    d.s.place[MEMORY_SERVER].headroom_bytes = 11 * MIB;
    ck_assert_int_eq(pass(&d, MEMORY_SERVER, STEP_USEC, calm), PRESSURE_L1);
    ck_assert_str_eq(why(&d), "headroom 11 MiB < 12 MiB (model server's group)");
}
END_TEST

START_TEST(psi_of_the_servers_group_counts)
{
    struct device d;

    device_init(&d);
    d.s.place[MEMORY_SERVER] = (struct memory_place_sample) {
        .has_psi = true, .has_reclaim = true, .file_bytes = 100 * MIB};
    pass(&d, MEMORY_SERVER, 6 * USEC_PER_SEC, (struct course) {.some = 300, .refaults = 40 * MIB});
    ck_assert_int_eq(d.p.level, PRESSURE_L2);
    ck_assert_uint_ge(d.p.some_permille, 290);
}
END_TEST

/* A kernel without PSI: lmkd's way of seeing. */
START_TEST(without_psi_refaults_and_swap_tell)
{
    static const struct {
        struct course course;
        enum pressure_level level;
    } rows[] = {
        {{.refaults = 36 * MIB}, PRESSURE_L0},  {{.refaults = 44 * MIB}, PRESSURE_L1},
        {{.refaults = 130 * MIB}, PRESSURE_L2}, {{.refaults = 404 * MIB}, PRESSURE_L3},
        {{.in = 4000000}, PRESSURE_L0},         {{.in = 6000000}, PRESSURE_L1},
        {{.in = 24000000}, PRESSURE_L2},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct device d;

        device_init(&d);
        d.s.place[MEMORY_SYSTEM].has_psi = false;
        pass(&d, MEMORY_SYSTEM, 5 * USEC_PER_SEC, rows[i].course);
        ck_assert_msg(d.p.level == rows[i].level, "row %zu: %d, %s", i, d.p.level, why(&d));
    }
}
END_TEST

START_TEST(counters_of_another_group_are_no_storm)
{
    struct device d;

    device_init(&d);
    pass(&d, MEMORY_SERVER, 3 * USEC_PER_SEC, calm);
    d.s.place[MEMORY_SERVER] = (struct memory_place_sample) {.has_psi = true,
                                                             .has_reclaim = true,
                                                             .epoch = 1,
                                                             .some_total_usec = 1000000000,
                                                             .full_total_usec = 1000000000,
                                                             .n_oom_kills = 7,
                                                             .n_limited = 70};
    ck_assert_int_eq(pass(&d, MEMORY_SERVER, 3 * USEC_PER_SEC, calm), PRESSURE_L0);
    d.s.place[MEMORY_SERVER].epoch++;
    d.s.place[MEMORY_SERVER].n_oom_kills = 70;
    ck_assert_int_eq(pass(&d, MEMORY_SERVER, 3 * USEC_PER_SEC, calm), PRESSURE_L0);
}
END_TEST

START_TEST(a_clock_that_jumps_is_no_storm)
{
    static const int64_t jumps[] = {-50, -99, 1, 3600, 86400};

    for (size_t i = 0; i < ARRAY_LEN(jumps); i++) {
        struct device d;

        device_init(&d);
        pass(&d, MEMORY_SYSTEM, 3 * USEC_PER_SEC, (struct course) {.some = 50, .falls = 1000000});
        d.s.at_usec = (uint64_t) ((int64_t) d.s.at_usec + jumps[i] * (int64_t) USEC_PER_SEC);
        pass(&d, MEMORY_SYSTEM, 3 * USEC_PER_SEC, (struct course) {.some = 50, .falls = 1000000});
        ck_assert_int_eq(d.p.level, PRESSURE_L0);
        pass(&d, MEMORY_SYSTEM, 3 * USEC_PER_SEC, (struct course) {.some = 150});
        ck_assert_int_eq(d.p.level, PRESSURE_L1);
        d.s.at_usec -= 90 * USEC_PER_SEC; /* also in the middle of a hold */
        ck_assert_int_eq(pass(&d, MEMORY_SYSTEM, 11 * USEC_PER_SEC, calm), PRESSURE_L0);
    }
}
END_TEST

START_TEST(stages_reopen_in_order)
{
    struct device d;
    uint64_t at;

    device_init(&d);
    ck_assert_int_eq(pressure_stage(&d.p, d.s.at_usec), PRESSURE_STAGE_NORMAL);
    ck_assert_uint_eq(pressure_calm_usec(&d.p, d.s.at_usec), USEC_NEVER);
    ck_assert_uint_eq(pressure_stage_ends_at_usec(&d.p, d.s.at_usec), USEC_NEVER);
    pass(&d, MEMORY_SYSTEM, 5 * USEC_PER_SEC, (struct course) {.some = 300, .refaults = 50 * MIB});
    ck_assert_int_eq(d.p.level, PRESSURE_L2);
    ck_assert_int_eq(pressure_stage(&d.p, d.s.at_usec), PRESSURE_STAGE_RAISED);
    while (d.p.level > PRESSURE_L0) {
        pass(&d, MEMORY_SYSTEM, STEP_USEC, calm);
    }
    at = d.s.at_usec;
    ck_assert_int_eq(pressure_stage(&d.p, at), PRESSURE_STAGE_INTERACTIVE);
    ck_assert_uint_eq(pressure_stage_ends_at_usec(&d.p, at), at + 10 * USEC_PER_SEC);
    ck_assert_int_eq(pressure_stage(&d.p, at + 10 * USEC_PER_SEC), PRESSURE_STAGE_BATCH);
    ck_assert_int_eq(pressure_stage(&d.p, at + 20 * USEC_PER_SEC), PRESSURE_STAGE_BACKGROUND);
    ck_assert_int_eq(pressure_stage(&d.p, at + 135 * USEC_PER_SEC), PRESSURE_STAGE_NORMAL);
    /* a time of pressure that stayed at level 1 never closed batch */
    pass(&d, MEMORY_SYSTEM, 400 * USEC_PER_SEC, calm);
    pass(&d, MEMORY_SYSTEM, 5 * USEC_PER_SEC, (struct course) {.some = 150});
    while (d.p.level > PRESSURE_L0) {
        pass(&d, MEMORY_SYSTEM, STEP_USEC, calm);
    }
    ck_assert_int_eq(pressure_stage(&d.p, d.s.at_usec), PRESSURE_STAGE_BATCH);
}
END_TEST

START_TEST(comes_closer_when_the_end_is_near)
{
    struct device d;

    device_init(&d);
    ck_assert_uint_eq(pressure_interval_usec(&d.p, true), 500 * USEC_PER_MSEC);
    pass(&d, MEMORY_SYSTEM, USEC_PER_SEC, (struct course) {.falls = 10000000});
    ck_assert_uint_eq(pressure_interval_usec(&d.p, true), 500 * USEC_PER_MSEC);
    pass(&d, MEMORY_SYSTEM, 2 * USEC_PER_SEC, (struct course) {.falls = 280000000});
    ck_assert_uint_eq(pressure_interval_usec(&d.p, true), 100 * USEC_PER_MSEC);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, reserves_are_those_of_the_table);
    tcase_add_test(tc, headroom_enters_each_level_at_once);
    tcase_add_test(tc, says_why);
    tcase_add_test(tc, time_to_exhaustion_enters_each_level);
    tcase_add_test(tc, a_silent_ramp_is_seen_before_the_wall);
    tcase_add_test(tc, a_burst_that_is_over_is_no_ramp);
    tcase_add_test(tc, a_planned_load_is_no_emergency);
    tcase_add_test(tc, psi_alone_reaches_level_1);
    tcase_add_test(tc, compressed_swap_raises_the_some_row);
    tcase_add_test(tc, swap_counts_when_it_fills_or_is_all_there_is);
    tcase_add_test(tc, events_count_where_memory_is_short);
    tcase_add_test(tc, the_numbers_of_now_are_told_beside_the_level);
    tcase_add_test(tc, an_emergency_is_over_for_calls_a_second_after_it);
    tcase_add_test(tc, a_kill_in_the_servers_group_is_level_4);
    tcase_add_test(tc, what_happened_while_nobody_looked_is_no_news);
    tcase_add_test(tc, the_servers_group_has_its_own_reserves);
    tcase_add_test(tc, psi_of_the_servers_group_counts);
    tcase_add_test(tc, without_psi_refaults_and_swap_tell);
    tcase_add_test(tc, counters_of_another_group_are_no_storm);
    tcase_add_test(tc, a_clock_that_jumps_is_no_storm);
    tcase_add_test(tc, stages_reopen_in_order);
    tcase_add_test(tc, comes_closer_when_the_end_is_near);
}
TEST_MAIN("pressure_table", add_tests)
