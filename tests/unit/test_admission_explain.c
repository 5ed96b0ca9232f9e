/*
 * admission_explain(): it says of a call what the gate then answers to it, in every state that a queue
 * of random calls comes to; and nothing is another for having been asked.
 */
#include "router_support.h"

#include <string.h>

#include "core/admission.h"

#define START   (1000 * SEC)
#define N_CALLS 400
#define N_USERS 3

struct desk {
    struct router router;
    struct pressure pressure;
    struct admission admission;
    struct ticket tickets[N_CALLS];
};

static struct desk g_desk;
static uint64_t g_random;

static unsigned any(unsigned n)
{
    g_random = g_random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned) (g_random >> 33) % n;
}

static void desk_init(size_t max_queued)
{
    const struct admission_params params = {.max_queued = max_queued,
                                            .max_queued_caller = 5,
                                            .max_queued_bytes = 1000,
                                            .max_wait_usec = {15 * SEC, 120 * SEC, 600 * SEC},
                                            .patience_usec = {4 * SEC, 30 * SEC, 120 * SEC}};
    struct router_plan plan = {0};

    memset(&g_desk, 0, sizeof g_desk);
    router_init(&g_desk.router);
    add(&plan, "a", "a", 1)->is_local = true;
    (void) add_off(&plan, "off", "off");
    router_commit(&g_desk.router, &plan);
    pressure_init(&g_desk.pressure);
    admission_init(&g_desk.admission, &params, &g_desk.router, &g_desk.pressure);
}

static void desk_done(uint64_t now)
{
    for (size_t i = 0; i < N_CALLS; i++) {
        admission_release(&g_desk.admission, &g_desk.tickets[i], now);
    }
    admission_done(&g_desk.admission);
    router_done(&g_desk.router);
}

static struct admission_ask ask_of(unsigned uid, enum call_class class, size_t bytes)
{
    return (struct admission_ask) {.caller = {.kind = CALLER_UID, .uid = uid},
                                   .class = class,
                                   .bytes = bytes,
                                   .own_deadline_at_usec = USEC_NEVER};
}

static struct admission_outlook explain(const char *group, const struct admission_ask *ask,
                                        uint64_t now)
{
    static struct admission before;
    struct admission_outlook o;

    memcpy(&before, &g_desk.admission, sizeof before);
    admission_explain(&g_desk.admission, router_resolve(&g_desk.router, str_from(group)), NULL, ask,
                      now, &o);
    before.n_steps = g_desk.admission.n_steps; /* what a decision costs is counted */
    ck_assert_msg(memcmp(&before, &g_desk.admission, sizeof before) == 0, "asking changed it");
    return o;
}

static struct verdict enqueue(size_t i, const char *group, const struct admission_ask *ask,
                              uint64_t now)
{
    return admission_enqueue(&g_desk.admission, &g_desk.tickets[i],
                             router_resolve(&g_desk.router, str_from(group)), ask, now);
}

/* One that runs ends, for the gate to know how long that takes; the next one gets its slot. */
static void serve(uint64_t now)
{
    struct ticket *t;
    struct verdict v;

    list_for_each_safe (l, &g_desk.admission.granted) {
        t = CONTAINER_OF(l, struct ticket, link);
        admission_note_content(&g_desk.admission, t, now);
        admission_note_end(&g_desk.admission, t, ERRCODE_NONE, now);
        admission_release(&g_desk.admission, t, now);
    }
    while ((t = admission_next(&g_desk.admission, now))) {
        ck_assert_int_eq(t->state, TICKET_GRANTED);
    }
    while (admission_expire(&g_desk.admission, now, &v)) {
    }
}

static void set_breaker(bool is_open, uint64_t now)
{
    struct health *health = &router_resolve(&g_desk.router, STR_LIT("a"))->deployments[0]->health;

    if (is_open) {
        *health = (struct health) {.state = HEALTH_OPEN, .open_until_usec = now + SEC};
    } else if (health->state == HEALTH_OPEN) {
        *health = (struct health) {.state = HEALTH_CLOSED};
    }
}

static bool has_displaced(uint64_t now)
{
    struct verdict v;
    unsigned n = 0;

    while (admission_ousted(&g_desk.admission, now, &v)) {
        n++;
    }
    ck_assert_uint_le(n, 1);
    return n > 0;
}

START_TEST(what_is_said_is_what_happens)
{
    unsigned n_codes[_ERRCODE_MAX] = {0}, n_let_in = 0, n_displaced = 0, n_at_once = 0;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t now = START;

        g_random = seed;
        desk_init(8);
        for (size_t i = 0; i < N_CALLS; i++) {
            struct admission_ask ask =
                ask_of(any(N_USERS), (enum call_class) any(_CLASS_MAX), any(250));

            now += any(900) * USEC_PER_MSEC;
            if (any(3) == 0) {
                serve(now);
            }
            if (any(10) == 0) {
                g_desk.pressure.level = any(4) ? PRESSURE_L0 : (enum pressure_level) any(5);
            }
            set_breaker(any(20) == 0, now);

            struct admission_outlook o = explain("a", &ask, now);
            struct verdict v = enqueue(i, "a", &ask, now);

            ck_assert_msg(o.code == v.code, "seed %u, call %zu: %s, and then %s", (unsigned) seed,
                          i, errcode_info(o.code)->name, errcode_info(v.code)->name);
            ck_assert_int_eq(o.would_displace, has_displaced(now));
            if (o.has_slot) {
                ck_assert_ptr_eq(admission_next(&g_desk.admission, now), &g_desk.tickets[i]);
            }
            if (v.code == ERRCODE_NONE) {
                n_let_in++;
            } else {
                n_codes[v.code]++;
            }
            n_displaced += o.would_displace;
            n_at_once += o.has_slot;
        }
        desk_done(now);
    }
    /* each has happened, or this has shown nothing */
    ck_assert_uint_gt(n_let_in, 100);
    ck_assert_uint_gt(n_codes[ERRCODE_PREDICTED_WAIT], 10);
    ck_assert_uint_gt(n_codes[ERRCODE_QUEUE_FULL], 10);
    ck_assert_uint_gt(n_codes[ERRCODE_CLIENT_QUEUE_FULL], 10);
    ck_assert_uint_gt(n_codes[ERRCODE_MEMORY_PRESSURE], 10);
    ck_assert_uint_gt(n_codes[ERRCODE_UPSTREAM_BREAKER], 10);
    ck_assert_uint_gt(n_displaced, 10);
    ck_assert_uint_gt(n_at_once, 10);
}
END_TEST

START_TEST(what_is_not_known_is_not_said)
{
    struct admission_ask ask = ask_of(7, CLASS_BATCH, 100);
    struct admission_outlook o;

    desk_init(8);
    o = explain("a", &ask, START);
    ck_assert_int_eq(o.code, ERRCODE_NONE);
    ck_assert_int_eq(o.class, CLASS_BATCH);
    ck_assert(o.has_slot && !o.would_displace);
    ck_assert_uint_eq(o.wait_usec, 0);
    ck_assert_uint_eq(o.service_usec, 0);
    ck_assert_ptr_null(caller_table_find(&g_desk.admission.callers, &ask.caller));
    desk_done(START);
}
END_TEST

START_TEST(nobody_serves_it)
{
    struct admission_ask ask = ask_of(7, CLASS_INTERACTIVE, 100);

    desk_init(8);
    ck_assert_int_eq(explain("off", &ask, START).code, enqueue(0, "off", &ask, START).code);
    ck_assert_int_ne(explain("off", &ask, START).code, ERRCODE_NONE);
    desk_done(START);
}
END_TEST

START_TEST(a_ceiling_is_heeded)
{
    struct caller_rule rule = {
        .kind = CALLER_UID, .uid = 7, .weight = 1, .class = CLASS_BACKGROUND};
    struct admission_ask ask = ask_of(7, CLASS_INTERACTIVE, 100);

    desk_init(8);
    caller_table_set_rules(&g_desk.admission.callers, &rule, 1);
    (void) enqueue(0, "a", &ask, START); /* known from now on */
    ck_assert_int_eq(g_desk.tickets[0].class, CLASS_BACKGROUND);
    ck_assert_int_eq(explain("a", &ask, START).class, CLASS_BACKGROUND);
    desk_done(START);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, what_is_said_is_what_happens);
    tcase_add_test(tc, what_is_not_known_is_not_said);
    tcase_add_test(tc, nobody_serves_it);
    tcase_add_test(tc, a_ceiling_is_heeded);
}
TEST_MAIN("admission_explain", add_tests)
