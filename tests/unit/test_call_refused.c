/*
 * Calls that no deployment of their group takes, however long they wait: told so before anybody makes
 * room for them, with the words of the router, and they may go on to a fallback.
 */
#include <string.h>

#include "call_cast.h"

/* One runs, as many wait as may, and nobody takes calls for "x". */
struct full {
    struct cast c;
    struct recording_sink runs, waits[2];
};

static void full_init(struct full *f, const char *fallback)
{
    memset(f, 0, sizeof *f);
    cast_init(&f->c);
    f->c.w.admission.params.max_queued = ARRAY_LEN(f->waits);
    cast_add(&f->c, "m", (struct role) {0});
    cast_add(&f->c, "x", (struct role) {.group = "x"});
    cast_add(&f->c, "n", (struct role) {.group = "n"});
    if (fallback) {
        cast_fallback(&f->c, FALLBACK_GENERAL, "x", fallback, NULL);
    }
    cast_open(&f->c);
    router_resolve(&f->c.w.router, STR_LIT("x"))->deployments[0]->health =
        (struct health) {.state = HEALTH_OPEN, .open_until_usec = f->c.w.now + 5 * SEC};
    submit(&f->c.w, request("m", "runs"), &f->runs);
    run(&f->c.w);
    for (size_t i = 0; i < ARRAY_LEN(f->waits); i++) {
        struct request *req = request("m", "waits");

        req->class = i == 0 ? CLASS_BATCH : CLASS_BACKGROUND;
        submit(&f->c.w, req, &f->waits[i]);
    }
    run(&f->c.w);
    ck_assert_uint_eq(f->c.w.admission.n_queued, ARRAY_LEN(f->waits));
}

static void full_done(struct full *f)
{
    recording_sink_done(&f->runs);
    recording_sink_done(&f->waits[0]);
    recording_sink_done(&f->waits[1]);
    cast_done(&f->c);
}

START_TEST(nobody_makes_room_for_them)
{
    for (int class = 0; class < _CLASS_MAX; class ++) {
        struct request *req = request("x", "r");
        struct full f;

        full_init(&f, NULL);
        req->class = (enum call_class) class;
        cast_ask(&f.c, req);
        ck_assert_int_eq(f.c.sink.code, ERRCODE_UPSTREAM_BREAKER);
        ck_assert_ptr_nonnull(strstr(recording_sink_text(&f.c.sink), "breaker open for 5 s"));
        ck_assert(!f.waits[0].is_over && !f.waits[1].is_over);
        ck_assert_uint_eq(f.c.w.admission.n_queued, ARRAY_LEN(f.waits));
        full_done(&f);
    }
}
END_TEST

/* Nor does the queue look longer to those who come in the same run. */
START_TEST(they_take_no_room_for_a_moment)
{
    struct recording_sink refused[8], comes;
    struct full f;

    full_init(&f, NULL);
    f.c.w.admission.params.max_queued = ARRAY_LEN(f.waits) + 1;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        submit(&f.c.w, request("x", "r"), &refused[i]);
    }
    submit(&f.c.w, request("m", "comes"), &comes);
    run(&f.c.w);
    ck_assert(!comes.is_over && !f.waits[0].is_over && !f.waits[1].is_over);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        ck_assert_int_eq(refused[i].code, ERRCODE_UPSTREAM_BREAKER);
        recording_sink_done(&refused[i]);
    }
    recording_sink_done(&comes);
    full_done(&f);
}
END_TEST

/* Where it is let in like any other: with room for it, or for its class. */
START_TEST(they_go_on_to_a_fallback)
{
    for (int way = 0; way < 3; way++) {
        struct request *req = request("x", "r");
        struct full f;

        full_init(&f, "n");
        f.c.w.admission.params.max_queued = ARRAY_LEN(f.waits) + (way == 0);
        req->class = way == 2 ? CLASS_BACKGROUND : CLASS_INTERACTIVE;
        cast_ask(&f.c, req);
        ck_assert(!f.waits[0].is_over);
        ck_assert_int_eq(f.waits[1].code, way == 1 ? ERRCODE_DISPLACED : ERRCODE_NONE);
        if (way == 2) {
            ck_assert_int_eq(f.c.sink.code, ERRCODE_UPSTREAM_BREAKER);
        } else {
            act_answer(&f.c, &f.c.actors[2]);
            ck_assert(f.c.sink.is_over && f.c.sink.code == ERRCODE_NONE);
        }
        full_done(&f);
    }
}
END_TEST

/* A drain keeps out all alike, and a level only those who could be served. */
START_TEST(what_is_told_first)
{
    struct full f;

    full_init(&f, NULL);
    f.c.w.pressure.level = PRESSURE_L3;
    cast_ask(&f.c, request("x", "r"));
    ck_assert_int_eq(f.c.sink.code, ERRCODE_UPSTREAM_BREAKER);
    recording_sink_done(&f.c.sink);
    recording_sink_init(&f.c.sink);
    f.c.w.admission.is_draining = true;
    cast_ask(&f.c, request("x", "r"));
    ck_assert_int_eq(f.c.sink.code, ERRCODE_DRAINING);
    full_done(&f);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, nobody_makes_room_for_them);
    tcase_add_test(tc, they_take_no_room_for_a_moment);
    tcase_add_test(tc, they_go_on_to_a_fallback);
    tcase_add_test(tc, what_is_told_first);
}
TEST_MAIN("call_refused", add_tests)
