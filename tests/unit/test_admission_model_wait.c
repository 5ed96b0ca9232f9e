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

START_TEST(no_load_begins_at_a_level)
{
    struct device d;

    device_init(&d);
    residency_set_level(&d.residency, 1, START);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START).code, ERRCODE_PREDICTED_WAIT);
    ck_assert_int_eq(ask_at(&d, CLASS_BATCH, START).code, ERRCODE_NONE);
    residency_set_level(&d.residency, 0, START + 10 * SEC);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START + 11 * SEC).code, ERRCODE_PREDICTED_WAIT);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START + 200 * SEC).code, ERRCODE_NONE);
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
    residency_set_level(&d.residency, 1, START);
    ck_assert_int_eq(ask_at(&d, CLASS_INTERACTIVE, START).code, ERRCODE_NONE);
    device_done(&d);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, the_first_begins_the_load_and_others_are_told);
    tcase_add_test(tc, no_load_begins_at_a_level);
    tcase_add_test(tc, nobody_is_refused_for_what_is_not_known);
}
TEST_MAIN("admission_model_wait", add_tests)
