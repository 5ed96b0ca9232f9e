/*
 * When the watchdog hears something: the decision under a clock of the test's own, the pings over a
 * socket that stands for the service manager.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "support.h"
#include "watchdog.h"

#define T           (100 * USEC_PER_SEC)
#define ROUND_USEC  (10 * USEC_PER_MSEC)
#define MAX_ROUNDS  2000
#define MARGIN_USEC WATCHDOG_MARGIN_USEC

static const struct watchdog_view nothing = {USEC_NEVER, USEC_NEVER, USEC_NEVER};

START_TEST(nothing_to_do_is_healthy)
{
    ck_assert_int_eq(watchdog_judge(&nothing, 0), WATCHDOG_HEALTHY);
    ck_assert_int_eq(watchdog_judge(&nothing, USEC_NEVER), WATCHDOG_HEALTHY);
}
END_TEST

START_TEST(each_kind_may_be_late_by_the_margin)
{
    static const enum watchdog_verdict late[] = {WATCHDOG_TURN_LATE, WATCHDOG_DEADLINE_LATE,
                                                 WATCHDOG_OUTPUT_LATE};

    for (int i = 0; i < 3; i++) {
        struct watchdog_view v = nothing;

        *(i == 0   ? &v.turn_wanted_at_usec
          : i == 1 ? &v.deadline_at_usec
                   : &v.output_due_at_usec) = T;
        ck_assert_int_eq(watchdog_judge(&v, 0), WATCHDOG_HEALTHY);
        ck_assert_int_eq(watchdog_judge(&v, T), WATCHDOG_HEALTHY);
        ck_assert_int_eq(watchdog_judge(&v, T + MARGIN_USEC), WATCHDOG_HEALTHY);
        ck_assert_int_eq(watchdog_judge(&v, T + MARGIN_USEC + 1), late[i]);
        ck_assert_int_eq(watchdog_judge(&v, USEC_NEVER), late[i]);
    }
}
END_TEST

/* The service manager. */
static int g_manager;
static char g_path[64];
static struct watchdog_view g_view;
static unsigned g_looks;

static struct watchdog_view look(void *ctx)
{
    ck_assert_ptr_eq(ctx, &g_view);
    g_looks++;
    return g_view;
}

static void open_manager(const char *watchdog_usec)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char pid[32];

    (void) snprintf(g_path, sizeof g_path, "/tmp/sluice-watchdog-%d", (int) getpid());
    (void) snprintf(a.sun_path, sizeof a.sun_path, "%s", g_path);
    (void) unlink(g_path);
    g_manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(g_manager, 0);
    ck_assert_int_eq(bind(g_manager, (struct sockaddr *) &a, sizeof a), 0);
    (void) snprintf(pid, sizeof pid, "%d", (int) getpid());
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", g_path, 1), 0);
    ck_assert_int_eq(setenv("WATCHDOG_PID", pid, 1), 0);
    ck_assert_int_eq(setenv("WATCHDOG_USEC", watchdog_usec, 1), 0);
    g_view = nothing;
    g_looks = 0;
}

static void close_manager(void)
{
    (void) close(g_manager);
    (void) unlink(g_path);
    (void) unsetenv("NOTIFY_SOCKET");
    (void) unsetenv("WATCHDOG_PID");
    (void) unsetenv("WATCHDOG_USEC");
}

static unsigned count_pings(void)
{
    char text[256];
    unsigned n = 0;
    ssize_t len;

    while ((len = recv(g_manager, text, sizeof text - 1, 0)) >= 0) {
        text[len] = '\0';
        ck_assert_str_eq(text, "WATCHDOG=1");
        n++;
    }
    return n;
}

/* Turns the loop until there were that many looks. */
static void turn_until(sd_event *event, unsigned n_looks)
{
    for (unsigned i = 0; g_looks < n_looks && i < MAX_ROUNDS; i++) {
        ck_assert_int_ge(sd_event_run(event, ROUND_USEC), 0);
    }
    ck_assert_uint_ge(g_looks, n_looks);
}

START_TEST(pings_while_healthy_and_not_while_late)
{
    struct watchdog w;
    sd_event *event = NULL;

    open_manager("40000");
    ck_assert_int_ge(sd_event_new(&event), 0);
    ck_assert_int_ge(watchdog_init(&w, event, look, &g_view), 0);
    turn_until(event, 3);
    ck_assert_uint_eq(count_pings(), g_looks);

    g_view.deadline_at_usec = 1;
    turn_until(event, g_looks + 3);
    ck_assert_uint_eq(count_pings(), 0);

    g_view = nothing; /* what was late has happened after all */
    turn_until(event, g_looks + 1);
    ck_assert_uint_eq(count_pings(), 1);
    watchdog_done(&w);
    sd_event_unref(event);
    close_manager();
}
END_TEST

/* An interval that nobody can keep is no reason to turn all the time. */
START_TEST(tiny_interval)
{
    uint64_t began = clock_now_usec(), looks_max;
    struct watchdog w;
    sd_event *event = NULL;

    open_manager("1");
    ck_assert_int_ge(sd_event_new(&event), 0);
    ck_assert_int_ge(watchdog_init(&w, event, look, &g_view), 0);
    turn_until(event, 3);
    looks_max = (clock_now_usec() - began) / WATCHDOG_MIN_USEC;
    ck_assert_uint_le(g_looks, looks_max);
    watchdog_done(&w);
    sd_event_unref(event);
    close_manager();
}
END_TEST

START_TEST(no_timer_where_nobody_asks)
{
    struct watchdog w;
    sd_event *event = NULL;

    ck_assert_int_ge(sd_event_new(&event), 0);
    ck_assert_int_eq(watchdog_init(&w, event, look, &g_view), 0);
    ck_assert_ptr_null(w.timer);
    watchdog_done(&w);

    open_manager("1000000");
    ck_assert_int_eq(setenv("WATCHDOG_PID", "1", 1), 0); /* it asks another process */
    ck_assert_int_eq(watchdog_init(&w, event, look, &g_view), 0);
    ck_assert_ptr_null(w.timer);
    watchdog_done(&w);

    ck_assert_int_eq(setenv("WATCHDOG_USEC", "soon", 1), 0);
    ck_assert_int_eq(unsetenv("WATCHDOG_PID"), 0);
    ck_assert_int_lt(watchdog_init(&w, event, look, &g_view), 0);
    watchdog_done(&w);
    close_manager();
    sd_event_unref(event);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, nothing_to_do_is_healthy);
    tcase_add_test(tc, each_kind_may_be_late_by_the_margin);
    tcase_add_test(tc, pings_while_healthy_and_not_while_late);
    tcase_add_test(tc, tiny_interval);
    tcase_add_test(tc, no_timer_where_nobody_asks);
}
TEST_MAIN("watchdog", add_tests)
