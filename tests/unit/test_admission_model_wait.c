/*
 * Calls for a model that is not in memory: the first is let in, as a load begins with somebody who
 * waits for it; whoever would leave before it is loaded is told so at once, and nobody for a guess.
 */
#include "admission_desk.h"
#include "core/residency.h"

#define GIB       (UINT64_C(1) << 30)
#define LOAD_USEC (20 * SEC)

static bool is_trusted(const struct backend *b, const char *model, uint64_t now_usec)
{
    return true;
}

static const struct memory_ops memory_ops = {.is_trusted = is_trusted};

struct device {
    struct desk desk;
    struct footprints footprints;
    struct residency residency;
    struct residency_model *a;
};

static void device_init(struct device *d)
{
    static const struct residency_params params = {.is_on = true,
                                                   .max_wait_usec = {15 * SEC, 120 * SEC, 0}};
    static const struct residency_memory memory = {.total_bytes = 8 * GIB,
                                                   .available_bytes = 6 * GIB};
    static const struct footprint_facts facts = {.told_bytes = GIB};
    struct model_group *group;

    memset(d, 0, sizeof *d);
    desk_init(&d->desk, 1, 64);
    footprints_init(&d->footprints);
    residency_init(&d->residency, &params, &d->desk.router, &d->footprints);
    residency_set_memory(&d->residency, &memory, 0, START);
    group = router_resolve(&d->desk.router, STR_LIT("a"));
    group->deployments[0]->backend->memory = &memory_ops;
    d->a = residency_of(&d->residency, group->deployments[0], NULL);
    ck_assert_ptr_nonnull(d->a);
    residency_told(d->a, STR_LIT("sha256:a"), 4096, 1, &facts, false);
    footprint_note_load(&d->footprints, &d->a->key, LOAD_USEC, 0);
    d->desk.router.residency = &d->residency;
}

static void device_done(struct device *d)
{
    desk_done(&d->desk);
    residency_done(&d->residency);
}

static struct verdict ask_at(struct device *d, enum call_class class, uint64_t now_usec)
{
    struct admission_ask ask = {.class = class, .own_deadline_at_usec = USEC_NEVER};
    struct ticket t = {0};
    struct verdict v = admission_enqueue(
        &d->desk.admission, &t, router_resolve(&d->desk.router, STR_LIT("a")), &ask, now_usec);

    admission_release(&d->desk.admission, &t, now_usec);
    return v;
}

static void want(struct device *d, enum call_class class, uint64_t since_usec)
{
    const struct model_group *group = router_resolve(&d->desk.router, STR_LIT("a"));

    residency_begin_run(&d->residency);
    residency_want(&d->residency, group->deployments[0], NULL, class, since_usec);
    residency_end_run(&d->residency, since_usec);
}

START_TEST(the_first_begins_the_load_and_others_are_told)
{
    struct verdict v;
    struct device d;

    device_init(&d);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START).code, ERRCODE_NONE);
    want(&d, CLASS_INTERACTIVE, START);
    v = ask_at(&d, CLASS_INTERACTIVE, START); /* 20 s of load, and it may stay for 15 */
    ck_assert_int_eq(v.code, ERRCODE_PREDICTED_WAIT);
    ck_assert_int_eq(ask_at(&d, CLASS_BATCH, START).code, ERRCODE_NONE); /* 120 s */
    residency_load_began(&d.residency, d.a, START);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START + 4 * SEC).code, ERRCODE_PREDICTED_WAIT);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START + 6 * SEC).code, ERRCODE_NONE);
    ck_assert(!residency_load_ended(&d.residency, d.a, RESIDENCY_LOAD_OK, START + 30 * SEC));
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START + 30 * SEC).code, ERRCODE_NONE);
    device_done(&d);
}
END_TEST

START_TEST(no_load_begins_while_memory_is_short)
{
    struct device d;

    device_init(&d);
    residency_set_level(&d.residency, 1);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START).code, ERRCODE_PREDICTED_WAIT);
    ck_assert_int_eq(ask_at(&d, CLASS_BATCH, START).code, ERRCODE_NONE);
    residency_set_level(&d.residency, 0);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START + 11 * SEC).code, ERRCODE_NONE);
    device_done(&d);
}
END_TEST

START_TEST(nobody_is_refused_for_what_is_not_known)
{
    struct device d;

    device_init(&d);
    d.footprints.n = 0; /* no load of it was ever seen */
    want(&d, CLASS_INTERACTIVE, START);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START).code, ERRCODE_NONE);
    d.desk.router.residency = NULL; /* nobody watches */
    residency_set_level(&d.residency, 1);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START).code, ERRCODE_NONE);
    device_done(&d);
}
END_TEST

/* It is told so whatever the level: that passes, and the model still does not fit. */
START_TEST(what_can_never_fit_is_said_at_every_level)
{
    static const struct footprint_facts facts = {.told_bytes = 20 * GIB};

    for (int level = PRESSURE_L0; level <= PRESSURE_L4; level++) {
        struct device d;

        device_init(&d);
        residency_told(d.a, STR_LIT("sha256:huge"), 4096, 1, &facts, false);
        d.desk.pressure.level = (enum pressure_level) level;
        for (int c = 0; c < _CLASS_MAX; c++) {
            struct verdict v = ask_at(&d, (enum call_class) c, START);

            ck_assert_int_eq(v.code, ERRCODE_MODEL_EXCEEDS);
            ck_assert(v.is_by_group);
            ck_assert_uint_eq(v.retry_after_usec, 0);
        }
        device_done(&d);
    }
}
END_TEST

/* ---------------------------------------------------------------- turns */

/* Beside "a" a model "b" that does not fit with it, loaded a while ago. */
static struct residency_model *add_b(struct device *d, uint64_t resident_at_usec)
{
    static const struct residency_memory memory = {.total_bytes = 8 * GIB,
                                                   .available_bytes = 2 * GIB};
    static const struct footprint_facts b_facts = {.told_bytes = 5 * GIB},
                                        a_facts = {.told_bytes = 3 * GIB};
    struct deployment *of_b = router_resolve(&d->desk.router, STR_LIT("b"))->deployments[0];
    struct residency_model *b;

    of_b->backend->memory = &memory_ops;
    b = residency_of(&d->residency, of_b, NULL);
    ck_assert_ptr_nonnull(b);
    residency_told(b, STR_LIT("sha256:b"), 4096, 1, &b_facts, false);
    residency_told(d->a, STR_LIT("sha256:a"), 4096, 1, &a_facts, false);
    footprint_note_load(&d->footprints, &b->key, LOAD_USEC, 0);
    residency_load_began(&d->residency, b, resident_at_usec - LOAD_USEC);
    ck_assert(!residency_load_ended(&d->residency, b, RESIDENCY_LOAD_OK, resident_at_usec));
    residency_set_memory(&d->residency, &memory, 0, START);
    return b;
}

static uint64_t model_wait(struct device *d, enum call_class class, uint64_t now_usec)
{
    const struct model_group *group = router_resolve(&d->desk.router, STR_LIT("a"));

    return residency_wait(&d->residency, group->deployments[0], NULL, class, now_usec);
}

/* Who was loaded just now stays for as long as that took: 20 s, and an interactive call for 15. */
START_TEST(a_model_in_the_way_is_waited_for)
{
    struct verdict v;
    struct device d;

    device_init(&d);
    (void) add_b(&d, START);
    ck_assert_uint_eq(model_wait(&d, CLASS_INTERACTIVE, START), LOAD_USEC);
    v = ask_at(&d, CLASS_INTERACTIVE, START);
    ck_assert_int_eq(v.code, ERRCODE_PREDICTED_WAIT);
    ck_assert_uint_ge(v.retry_after_usec, SEC);
    ck_assert_int_eq(ask_at(&d, CLASS_BATCH, START).code, ERRCODE_NONE);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START + 6 * SEC).code, ERRCODE_NONE);
    ck_assert_uint_eq(model_wait(&d, CLASS_INTERACTIVE, START + 20 * SEC), 0);
    device_done(&d);
}
END_TEST

/* Nobody who asks first is kept from a turn that would come within his time. */
START_TEST(a_contest_is_waited_for_by_who_has_the_time)
{
    const struct model_group *group;
    struct device d;

    device_init(&d);
    (void) add_b(&d, START - 100 * SEC);
    group = router_resolve(&d.desk.router, STR_LIT("b"));
    residency_begin_run(&d.residency);
    residency_want(&d.residency, group->deployments[0], NULL, CLASS_INTERACTIVE, START);
    residency_end_run(&d.residency, START);
    ck_assert_uint_eq(model_wait(&d, CLASS_INTERACTIVE, START), 15 * SEC / 2);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START).code, ERRCODE_NONE);
    want(&d, CLASS_INTERACTIVE, START); /* the others wait for the load as well */
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START + SEC).code, ERRCODE_PREDICTED_WAIT);
    device_done(&d);
}
END_TEST

START_TEST(another_load_is_waited_for)
{
    struct residency_model *b;
    struct device d;

    device_init(&d);
    b = add_b(&d, START - 100 * SEC);
    residency_unloaded(&d.residency, b, true, START - 50 * SEC);
    residency_set_memory(
        &d.residency,
        &(struct residency_memory) {.total_bytes = 8 * GIB, .available_bytes = 7 * GIB}, 0, START);
    residency_load_began(&d.residency, b, START);
    ck_assert_uint_ge(model_wait(&d, CLASS_INTERACTIVE, START + 5 * SEC), 15 * SEC);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START + 5 * SEC).code, ERRCODE_PREDICTED_WAIT);
    ck_assert_int_eq(ask_at(&d, CLASS_BATCH, START + 5 * SEC).code, ERRCODE_NONE);
    device_done(&d);
}
END_TEST

/* ---------------------------------------------------------------- one call at a time on the device */

/* "b" is free, and yet its call waits for the one of "a", and is told so. */
START_TEST(one_line_for_all_models)
{
    static const struct caller_name other = {.kind = CALLER_UID, .uid = 5};
    const struct model_group *b;
    struct ticket runs = {0}, waits = {0};
    struct desk k;

    desk_init(&k, 1, 64);
    serve_one(&k, 10 * SEC); /* of "a" 10 s are expected, and so of all */
    b = router_resolve(&k.router, STR_LIT("b"));
    let_in(&k, &runs, "a");
    ck_assert_ptr_eq(admission_next(&k.admission, START), &runs);
    ck_assert_uint_eq(admission_predict(&k.admission, b, &other, CLASS_INTERACTIVE, START), 0);
    k.admission.params.max_granted = 1;
    ck_assert_uint_eq(admission_predict(&k.admission, b, &other, CLASS_INTERACTIVE, START),
                      10 * SEC);
    let_in(&k, &waits, "a");
    ck_assert_uint_ge(admission_predict(&k.admission, b, &other, CLASS_BATCH, START), 20 * SEC);
    ck_assert_ptr_null(admission_next(&k.admission, START));
    admission_release(&k.admission, &runs, START);
    admission_release(&k.admission, &waits, START);
    ck_assert_uint_eq(admission_predict(&k.admission, b, &other, CLASS_INTERACTIVE, START), 0);
    desk_done(&k);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_model_in_the_way_is_waited_for);
    tcase_add_test(tc, a_contest_is_waited_for_by_who_has_the_time);
    tcase_add_test(tc, another_load_is_waited_for);
    tcase_add_test(tc, one_line_for_all_models);
    tcase_add_test(tc, the_first_begins_the_load_and_others_are_told);
    tcase_add_test(tc, no_load_begins_while_memory_is_short);
    tcase_add_test(tc, nobody_is_refused_for_what_is_not_known);
    tcase_add_test(tc, what_can_never_fit_is_said_at_every_level);
}
TEST_MAIN("admission_model_wait", add_tests)
