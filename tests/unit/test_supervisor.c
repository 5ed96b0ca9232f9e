/*
 * What the service manager is told, and how often: over a socket that stands for it. The clock is
 * the test's, except where the timer of a change that was held back is waited for.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor.h"
#include "support.h"

#define T          (100 * USEC_PER_SEC)
#define ROUND_USEC (10 * USEC_PER_MSEC)
#define MAX_ROUNDS 2000

static int g_manager;
static char g_path[64];
static char g_heard[1024];

static void open_manager(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    (void) snprintf(g_path, sizeof g_path, "/tmp/sluice-supervisor-%d", (int) getpid());
    (void) snprintf(a.sun_path, sizeof a.sun_path, "%s", g_path);
    (void) unlink(g_path);
    g_manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(g_manager, 0);
    ck_assert_int_eq(bind(g_manager, (struct sockaddr *) &a, sizeof a), 0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", g_path, 1), 0);
}

static void close_manager(void)
{
    (void) close(g_manager);
    (void) unlink(g_path);
    (void) unsetenv("NOTIFY_SOCKET");
}

/* The next message; "" when there is none. */
static const char *heard(void)
{
    ssize_t n = recv(g_manager, g_heard, sizeof g_heard - 1, 0);

    g_heard[n > 0 ? n : 0] = '\0';
    return g_heard;
}

START_TEST(status_line)
{
    struct supervisor_view v = {.n_models = 1, .n_running = 1};
    char text[SUPERVISOR_STATUS_MAX], problem[2 * SUPERVISOR_STATUS_MAX];

    supervisor_format(&v, text);
    ck_assert_str_eq(text, "1 model: 1 call running, 0 queued, memory pressure level 0");
    v = (struct supervisor_view) {.n_models = 2, .n_running = 3, .n_queued = 4, .level = 2};
    supervisor_format(&v, text);
    ck_assert_str_eq(text, "2 models: 3 calls running, 4 queued, memory pressure level 2");
    memset(problem, 'x', sizeof problem - 1);
    problem[sizeof problem - 1] = '\0';
    v.problem = problem;
    supervisor_format(&v, text);
    ck_assert_uint_eq(strlen(text), SUPERVISOR_STATUS_MAX - 1);
    ck_assert_int_eq(strncmp(text, "Degraded: xxx", 13), 0);
}
END_TEST

START_TEST(told_when_changed_and_not_too_often)
{
    struct supervisor_view v = {.n_models = 2};
    struct supervisor s;
    sd_event *event = NULL;

    open_manager();
    ck_assert_int_ge(sd_event_new(&event), 0);
    ck_assert_int_ge(supervisor_init(&s, event), 0);
    supervisor_turn(&s, &v, T);
    ck_assert_str_eq(heard(), ""); /* before READY=1 */
    supervisor_ready(&s, &v, T);
    ck_assert_str_eq(
        heard(), "READY=1\nSTATUS=2 models: 0 calls running, 0 queued, memory pressure level 0");
    supervisor_turn(&s, &v, T + 10 * SUPERVISOR_STATUS_USEC);
    ck_assert_str_eq(heard(), ""); /* no change */
    v.n_running = 1;
    supervisor_turn(&s, &v, T + SUPERVISOR_STATUS_USEC - 1);
    ck_assert_str_eq(heard(), ""); /* too soon */
    supervisor_turn(&s, &v, T + SUPERVISOR_STATUS_USEC);
    ck_assert_str_eq(heard(), "STATUS=2 models: 1 call running, 0 queued, memory pressure level 0");
    supervisor_reloading(&s, 1234);
    ck_assert_str_eq(heard(), "RELOADING=1\nMONOTONIC_USEC=1234");
    supervisor_stopping(&s, 5 * USEC_PER_SEC);
    ck_assert_str_eq(heard(), "STOPPING=1\nSTATUS=Stopping\nEXTEND_TIMEOUT_USEC=6000000");
    v.n_running = 0;
    supervisor_turn(&s, &v, T + 20 * SUPERVISOR_STATUS_USEC);
    ck_assert_str_eq(heard(), ""); /* it stops: nothing else is of interest */
    supervisor_done(&s);
    sd_event_unref(event);
    close_manager();
}
END_TEST

START_TEST(a_change_that_was_held_back_is_told_at_last)
{
    struct supervisor_view v = {.n_models = 1};
    struct supervisor s;
    sd_event *event = NULL;

    open_manager();
    ck_assert_int_ge(sd_event_new(&event), 0);
    ck_assert_int_ge(supervisor_init(&s, event), 0);
    /* as told in the past, so that the timer is due */
    supervisor_ready(&s, &v, 1);
    ck_assert_int_eq(strncmp(heard(), "READY=1\n", 8), 0);
    v.n_queued = 3;
    supervisor_turn(&s, &v, 2);
    v.n_queued = 4;
    supervisor_turn(&s, &v, 3);
    ck_assert_str_eq(heard(), "");
    for (int i = 0; i < MAX_ROUNDS && !heard()[0]; i++) {
        ck_assert_int_ge(sd_event_run(event, ROUND_USEC), 0);
    }
    ck_assert_str_eq(g_heard, "STATUS=1 model: 0 calls running, 4 queued, memory pressure level 0");
    ck_assert_int_eq(sd_event_run(event, 0), 0); /* and the timer sleeps */
    supervisor_done(&s);
    sd_event_unref(event);
    close_manager();
}
END_TEST

START_TEST(nobody_listens)
{
    struct supervisor_view v = {.n_models = 1};
    struct supervisor s;
    sd_event *event = NULL;

    ck_assert_int_ge(sd_event_new(&event), 0);
    ck_assert_int_eq(supervisor_init(&s, event), 0);
    ck_assert_ptr_null(s.timer);
    supervisor_ready(&s, &v, T);
    v.n_running = 1;
    supervisor_turn(&s, &v, T + 10 * SUPERVISOR_STATUS_USEC);
    supervisor_reloading(&s, T);
    supervisor_stopping(&s, USEC_NEVER);
    supervisor_done(&s);
    sd_event_unref(event);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, status_line);
    tcase_add_test(tc, told_when_changed_and_not_too_often);
    tcase_add_test(tc, a_change_that_was_held_back_is_told_at_last);
    tcase_add_test(tc, nobody_listens);
}
TEST_MAIN("supervisor", add_tests)
