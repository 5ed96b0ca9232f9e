/*
 * health_check: when servers are asked how they are, and what their answers are taken for. Transfers,
 * the clock and the one timer are this file's: it stands in for transfer.c, clock.c and sd-event.
 */
#include "upstream/health_check.h"

#include <errno.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "support.h"
#include "upstream/server_state.h"
#include "upstream/transfer.h"

#define SEC      USEC_PER_SEC
#define INTERVAL (300 * SEC)
#define N_MAX    16

/* ---------------------------------------------------------------- time */

struct sd_event_source {
    sd_event_time_handler_t on_timer;
    void *ctx;
    uint64_t at_usec;
    bool is_on;
};

static uint64_t g_now_usec;
static struct sd_event_source *g_timer; /* NULL: there is none */

uint64_t clock_now_usec(void)
{
    return g_now_usec;
}

uint64_t clock_wall_usec(void)
{
    return g_now_usec;
}

int sd_event_add_time(sd_event *event, sd_event_source **ret, clockid_t clock, uint64_t usec,
                      uint64_t accuracy, sd_event_time_handler_t on_timer, void *ctx)
{
    struct sd_event_source *timer = malloc(sizeof *timer);

    ck_assert(clock == CLOCK_MONOTONIC && accuracy > 1 && !g_timer);
    if (!timer) {
        return -ENOMEM;
    }
    *timer = (struct sd_event_source) {on_timer, ctx, usec, true};
    *ret = g_timer = timer;
    return 0;
}

int sd_event_source_set_time(sd_event_source *timer, uint64_t usec)
{
    ck_assert_ptr_eq(timer, g_timer);
    timer->at_usec = usec;
    return 0;
}

int sd_event_source_set_enabled(sd_event_source *timer, int enabled)
{
    ck_assert_ptr_eq(timer, g_timer);
    timer->is_on = enabled != SD_EVENT_OFF;
    return 0;
}

sd_event_source *sd_event_source_disable_unref(sd_event_source *timer)
{
    if (timer) { /* an exchange has none */
        ck_assert_ptr_eq(timer, g_timer);
        free(timer);
        g_timer = NULL;
    }
    return NULL;
}

/* What is due now is done, however often the timer has to go off for that. */
static void run(void)
{
    for (unsigned n = 0; g_timer && g_timer->is_on && g_timer->at_usec <= g_now_usec; n++) {
        ck_assert_uint_lt(n, 100);
        g_timer->is_on = false;
        g_timer->on_timer(g_timer, g_timer->at_usec, g_timer->ctx);
    }
}

/* How long nothing is to be done. */
static uint64_t rest(void)
{
    ck_assert(g_timer && g_timer->is_on && g_timer->at_usec > g_now_usec);
    return g_timer->at_usec - g_now_usec;
}

/* Until the next thing is done. */
static void sleep_on(void)
{
    g_now_usec += rest();
    run();
}

/* ---------------------------------------------------------------- transfers that nobody makes */

struct transfer {
    struct transfer_callbacks callbacks;
    void *ctx;
    char url[100];
};

static struct transfer *g_open[N_MAX]; /* under way, in the order they were started */
static unsigned g_n_open, g_n_asked;
static bool g_refuses;

int transfer_start(struct curl_loop *loop, const struct transfer_spec *spec,
                   const struct transfer_callbacks *callbacks, void *ctx, struct transfer **ret)
{
    struct transfer *t = g_refuses ? NULL : malloc(sizeof *t);

    ck_assert(!spec->body.ptr && spec->access); /* a GET, spoken as calls are */
    if (!t) {
        return -ENOMEM;
    }
    *t = (struct transfer) {.callbacks = *callbacks, .ctx = ctx};
    (void) snprintf(t->url, sizeof t->url, "%s", spec->url);
    ck_assert_uint_lt(g_n_open, N_MAX);
    g_open[g_n_open++] = t;
    g_n_asked++;
    *ret = t;
    return 0;
}

struct transfer *transfer_cancel(struct transfer *t)
{
    for (unsigned i = 0; t && i < g_n_open; i++) {
        if (g_open[i] == t) {
            memmove(&g_open[i], &g_open[i + 1], (--g_n_open - i) * sizeof *g_open);
            break;
        }
    }
    free(t);
    return NULL;
}

/* The end of the oldest one. status 0: no head came. */
static void end(int status, enum transfer_result result)
{
    struct transfer gone;

    ck_assert_uint_gt(g_n_open, 0);
    gone = *g_open[0];
    if (status) {
        gone.callbacks.on_head(gone.ctx, &(struct transfer_head) {.status = status});
    }
    (void) transfer_cancel(g_open[0]);
    gone.callbacks.on_done(gone.ctx, result, "refused");
}

/* ---------------------------------------------------------------- around */

static struct upstreams g_up;
static struct server_state *g_server, *g_other_server;
static struct server_access g_access;
static unsigned g_n_news, g_n_returned;

static void on_checked(void *ctx, const char *returned)
{
    ck_assert_ptr_eq(ctx, &g_up);
    ck_assert(!returned || strcmp(returned, "http://h:1") == 0);
    g_n_returned += returned != NULL;
    g_n_news++;
}

static void setup(void)
{
    g_up = (struct upstreams) {.hooks = {.ctx = &g_up, .on_checked = on_checked}};
    list_init(&g_up.servers);
    list_init(&g_up.checks);
    g_n_open = g_n_asked = g_n_news = g_n_returned = 0;
    g_refuses = false;
    g_now_usec = 1000 * SEC;
    ck_assert_int_eq(server_state_ref(&g_up, "http://h:1", &g_server), 0);
    ck_assert_int_eq(server_state_ref(&g_up, "unix:/run/h.sock", &g_other_server), 0);
}

static void teardown(void)
{
    health_checks_stop(&g_up);
    server_state_unref(g_server);
    server_state_unref(g_other_server);
    ck_assert(list_is_empty(&g_up.checks) && list_is_empty(&g_up.servers));
    ck_assert(g_n_open == 0 && !g_timer);
}

static struct health_check_spec spec_of(struct server_state *server)
{
    return (struct health_check_spec) {.server = server,
                                       .access = &g_access,
                                       .path = "models",
                                       .connect_usec = 5 * SEC,
                                       .limit_usec = 10 * SEC};
}

static struct health_check *ref(const struct health_check_spec *spec)
{
    struct health_check *c = NULL;

    ck_assert_int_eq(health_check_ref(&g_up, spec, &c), 0);
    return c;
}

static struct health_check *one(void)
{
    struct health_check_spec spec = spec_of(g_server);

    return ref(&spec);
}

static void start(void)
{
    ck_assert_int_eq(health_checks_start(&g_up, INTERVAL, HEALTH_CHECKS_PARALLEL, clock_now_usec()),
                     0);
}

static struct backend_check result_of(const struct health_check *c)
{
    struct backend_check check = {0};

    ck_assert(health_check_result(c, &check));
    return check;
}

/* A tenth more or less. */
#define ck_assert_about(usec, expected)                                                            \
    do {                                                                                           \
        uint64_t _usec = (usec);                                                                   \
        ck_assert_uint_ge(_usec, (expected) / 10 * 9);                                             \
        ck_assert_uint_le(_usec, (expected) / 10 * 11);                                            \
    } while (0)

/* ---------------------------------------------------------------- when */

START_TEST(nobody_is_asked_unless_it_is_wanted)
{
    struct health_check *c = one();
    struct backend_check check;

    run();
    ck_assert_uint_eq(g_n_asked, 0);
    ck_assert_ptr_null(g_timer);
    ck_assert(!health_check_result(c, &check));
    health_checks_stop(&g_up);
    health_check_unref(c);
    ck_assert_ptr_null(health_check_unref(NULL));
}
END_TEST

START_TEST(each_is_asked_at_once_and_then_at_the_interval)
{
    struct health_check *c = one();

    start();
    run();
    ck_assert_uint_eq(g_n_asked, 1);
    ck_assert_str_eq(g_open[0]->url, "http://h:1/models");
    start(); /* a reload that changes nothing */
    run();
    ck_assert_uint_eq(g_n_asked, 1); /* on its way */
    end(200, TRANSFER_COMPLETE);
    ck_assert_ptr_null(result_of(c).trouble);
    ck_assert(!result_of(c).is_failing);
    ck_assert_uint_eq(g_n_news, 1);
    ck_assert_about(rest(), INTERVAL);
    run();
    ck_assert_uint_eq(g_n_asked, 1);
    ck_assert_int_eq(health_checks_start(&g_up, 20 * SEC, 1, clock_now_usec()), 0);
    ck_assert_uint_le(rest(), 20 * SEC);
    health_check_unref(c);
}
END_TEST

START_TEST(one_that_comes_later_is_asked_as_well)
{
    struct health_check_spec spec = spec_of(g_other_server);
    struct health_check *c = one(), *late;

    start();
    run();
    end(200, TRANSFER_COMPLETE);
    late = ref(&spec);
    run();
    ck_assert_uint_eq(g_n_asked, 2);
    ck_assert_str_eq(g_open[0]->url, "http://localhost/models");
    health_check_unref(late); /* a reload took it away while it was asked */
    ck_assert_uint_eq(g_n_open, 0);
    health_check_unref(c);
}
END_TEST

START_TEST(shared_by_who_speaks_to_it_alike)
{
    struct health_check_spec spec = spec_of(g_server);
    struct server_access other_key = {0}, other_header = {0};
    struct health_check *a = one(), *same = one(), *keyed, *headed, *elsewhere;

    ck_assert_ptr_eq(a, same);
    ck_assert_int_eq(server_access_init(&other_key, "sk", NULL, "/ca"), 0);
    ck_assert_int_eq(server_access_init(&other_header, NULL, NULL, NULL), 0);
    ck_assert_int_eq(kv_set(&other_header.headers, STR_LIT("x-a"), STR_LIT("1")), 0);
    spec.access = &other_key;
    keyed = ref(&spec);
    spec.access = &other_header;
    headed = ref(&spec);
    spec.access = &g_access;
    spec.path = "/api/version";
    elsewhere = ref(&spec);
    ck_assert(keyed != a && headed != a && headed != keyed && elsewhere != a);
    spec.access = &other_header;
    spec.path = "models";
    ck_assert_ptr_eq(ref(&spec), headed);
    health_check_unref(headed);
    start();
    run();
    ck_assert_uint_eq(g_n_asked, 4);
    health_check_unref(a);
    ck_assert_uint_eq(g_n_open, 4); /* the other one has it still */
    health_check_unref(same);
    health_check_unref(keyed);
    health_check_unref(headed);
    health_check_unref(elsewhere);
    server_access_done(&other_key);
    server_access_done(&other_header);
}
END_TEST

START_TEST(not_all_at_a_time)
{
    struct health_check *checks[3];

    for (unsigned i = 0; i < 3; i++) {
        char base[20];
        struct health_check_spec spec;

        (void) snprintf(base, sizeof base, "http://h:%u", i);
        ck_assert_int_eq(server_state_ref(&g_up, base, &spec.server), 0);
        spec = spec_of(spec.server);
        checks[i] = ref(&spec);
        server_state_unref(spec.server); /* the check has it still */
    }
    ck_assert_int_eq(health_checks_start(&g_up, INTERVAL, 2, clock_now_usec()), 0);
    run();
    ck_assert_uint_eq(g_n_asked, 2);
    end(200, TRANSFER_COMPLETE);
    run();
    ck_assert_uint_eq(g_n_asked, 3);
    ck_assert_uint_eq(g_n_open, 2);
    for (unsigned i = 0; i < 3; i++) {
        health_check_unref(checks[i]);
    }
}
END_TEST

/* ---------------------------------------------------------------- what it shows */

static void expect_status(int status, const char *trouble, bool is_failing)
{
    struct health_check *c = one();
    struct backend_check check;

    start();
    run();
    end(status, TRANSFER_COMPLETE);
    check = result_of(c);
    ck_assert_uint_gt(check.at_usec, 0);
    ck_assert_int_eq(check.is_failing, is_failing);
    if (trouble) {
        ck_assert_str_eq(check.trouble, trouble);
    } else {
        ck_assert_ptr_null(check.trouble);
    }
    ck_assert_about(rest(), is_failing ? 5 * SEC : INTERVAL);
    health_checks_stop(&g_up);
    ck_assert(!health_check_result(c, &check)); /* forgotten */
    health_check_unref(c);
}

START_TEST(statuses)
{
    static const int alive[] = {200, 204, 302, 400, 404, 405, 408, 429, 501};

    for (size_t i = 0; i < ARRAY_LEN(alive); i++) {
        expect_status(alive[i], NULL, false);
    }
    expect_status(401, "the model server refuses the key (status 401)", false);
    expect_status(403, "the model server refuses the key (status 403)", false);
    expect_status(500, "the model server answers with status 500", true);
    expect_status(503, "the model server answers with status 503", true);
}
END_TEST

START_TEST(no_answer)
{
    static const enum transfer_result results[] = {TRANSFER_REFUSED, TRANSFER_UNTRUSTED,
                                                   TRANSFER_CONNECT_TIMEOUT, TRANSFER_CUT,
                                                   TRANSFER_GARBAGE};

    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        struct health_check *c = one();

        start();
        run();
        end(0, results[i]);
        ck_assert_str_eq(result_of(c).trouble, "the model server does not answer: refused");
        ck_assert(result_of(c).is_failing && server_state_is_down(g_server));
        server_state_answered(g_server, clock_now_usec()); /* a call was, since */
        ck_assert(!result_of(c).trouble && !result_of(c).is_failing);
        health_checks_stop(&g_up);
        health_check_unref(c);
    }
}
END_TEST

/* The head is the answer, whatever becomes of the rest. */
START_TEST(a_body_that_is_cut_or_never_ends)
{
    static char much[64 * 1024];
    struct health_check *c = one();
    unsigned n = 0;

    start();
    run();
    end(200, TRANSFER_CUT);
    ck_assert_ptr_null(result_of(c).trouble);
    health_checks_stop(&g_up);
    start();
    run();
    g_open[0]->callbacks.on_head(g_open[0]->ctx, &(struct transfer_head) {.status = 200});
    while (g_open[0]->callbacks.on_bytes(g_open[0]->ctx, (struct str) {much, sizeof much}) ==
           TRANSFER_ROOM) {
        ck_assert_uint_lt(++n, 8);
    }
    end(200, TRANSFER_STOPPED);
    ck_assert_ptr_null(result_of(c).trouble);
    health_check_unref(c);
}
END_TEST

START_TEST(again_sooner_and_less_and_less_so)
{
    static const uint64_t pauses[] = {5, 10, 20, 40, 60, 60, 60};
    struct health_check *c = one();

    start();
    run();
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        end(0, TRANSFER_REFUSED);
        ck_assert_about(rest(), pauses[i] * SEC);
        sleep_on();
        ck_assert_uint_eq(g_n_asked, i + 2);
    }
    ck_assert_uint_eq(g_n_news, 1); /* it did not answer, and does not */
    ck_assert_uint_eq(g_n_returned, 0);
    end(200, TRANSFER_COMPLETE);
    ck_assert_about(rest(), INTERVAL);
    ck_assert_uint_eq(g_n_news, 2);
    ck_assert_uint_eq(g_n_returned, 1);
    ck_assert_int_eq(health_checks_start(&g_up, 2 * SEC, 1, clock_now_usec()), 0);
    sleep_on();
    end(0, TRANSFER_REFUSED);
    ck_assert_uint_le(rest(), 2 * SEC / 10 * 11); /* never later than the interval says */
    health_check_unref(c);
}
END_TEST

START_TEST(time_limits)
{
    struct health_check_spec spec = spec_of(g_server);
    struct health_check *c, *longer;

    spec.limit_usec = 3 * SEC;
    c = ref(&spec);
    start();
    run();
    ck_assert_uint_eq(rest(), 3 * SEC);
    sleep_on();
    ck_assert_uint_eq(g_n_open, 0);
    ck_assert_str_eq(result_of(c).trouble,
                     "the model server does not answer: no answer to a health check in time");
    spec.limit_usec = 10 * SEC;
    longer = ref(&spec); /* one of those that share it waits longer: all do */
    ck_assert_ptr_eq(longer, c);
    sleep_on();
    ck_assert_uint_eq(g_n_open, 1);
    ck_assert_uint_eq(rest(), 10 * SEC);
    g_open[0]->callbacks.on_head(g_open[0]->ctx, &(struct transfer_head) {.status = 200});
    sleep_on(); /* the time is over, with a head and without the rest */
    ck_assert_uint_eq(g_n_open, 0);
    ck_assert_ptr_null(result_of(c).trouble);
    health_check_unref(c);
    health_check_unref(longer);
}
END_TEST

/* ---------------------------------------------------------------- memory */

START_TEST(without_memory_for_a_question)
{
    struct health_check *c = one();
    struct backend_check check;

    g_refuses = true;
    start();
    run();
    ck_assert(!health_check_result(c, &check));
    ck_assert_about(rest(), 5 * SEC);
    g_refuses = false;
    sleep_on();
    end(200, TRANSFER_COMPLETE);
    ck_assert_ptr_null(result_of(c).trouble);
    health_check_unref(c);
}
END_TEST

static void once(void)
{
    struct health_check_spec spec = spec_of(g_other_server);
    struct server_access access = {0};
    struct health_check *c = NULL;

    if (server_access_init(&access, "sk", NULL, "/ca") == 0) {
        spec.access = &access;
        if (health_check_ref(&g_up, &spec, &c) == 0 &&
            health_checks_start(&g_up, INTERVAL, 1, clock_now_usec()) == 0) {
            run();
            if (g_n_open > 0) {
                end(200, TRANSFER_COMPLETE);
            }
        }
        ck_assert(g_n_asked > 0 || allocation_failed());
    }
    health_check_unref(c);
    health_checks_stop(&g_up);
    server_access_done(&access);
    ck_assert(list_is_empty(&g_up.checks));
}

START_TEST(every_allocation_failed_once)
{
    for_each_failed_allocation(once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, nobody_is_asked_unless_it_is_wanted);
    tcase_add_test(tc, each_is_asked_at_once_and_then_at_the_interval);
    tcase_add_test(tc, one_that_comes_later_is_asked_as_well);
    tcase_add_test(tc, shared_by_who_speaks_to_it_alike);
    tcase_add_test(tc, not_all_at_a_time);
    tcase_add_test(tc, statuses);
    tcase_add_test(tc, no_answer);
    tcase_add_test(tc, a_body_that_is_cut_or_never_ends);
    tcase_add_test(tc, again_sooner_and_less_and_less_so);
    tcase_add_test(tc, time_limits);
    tcase_add_test(tc, without_memory_for_a_question);
    tcase_add_test(tc, every_allocation_failed_once);
}

TEST_MAIN("health_check", add_tests)
