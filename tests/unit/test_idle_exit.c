/*
 * Leaving when idle: when the loop ends, and what keeps it. The listening socket is a real one, as
 * the kernel's queue is what the exit asks last.
 */
#include "idle_exit.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "frontend/listener.h"
#include "support.h"

#define SOON_USEC  (20 * USEC_PER_MSEC)
#define ROUND_USEC (10 * USEC_PER_MSEC)
#define MAX_ROUNDS 1000

struct world {
    sd_event *event;
    struct call_registry registry;
    struct frontends frontends;
    struct supervisor supervisor;
    struct idle_exit idle;
    struct sockaddr_un address;
    int client;
};

static struct world g;

static void setup(void)
{
    struct frontend_params params = {.max_connections = 8};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g = (struct world) {.address = {.sun_family = AF_UNIX}, .client = -1};
    (void) snprintf(g.address.sun_path, sizeof g.address.sun_path, "/tmp/sluice-idle-%d",
                    (int) getpid());
    (void) unlink(g.address.sun_path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &g.address, sizeof g.address), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    ck_assert_int_ge(sd_event_new(&g.event), 0);
    frontends_init(&g.frontends, &params);
    g.frontends.event = g.event;
    ck_assert_int_eq(listener_add(&g.frontends, frontend_find("http-unix"), fd), 0);
    ck_assert_int_eq(supervisor_init(&g.supervisor, g.event), 0);
    ck_assert_int_ge(idle_exit_init(&g.idle, g.event, &g.registry, &g.frontends, &g.supervisor), 0);
}

static void teardown(void)
{
    idle_exit_done(&g.idle);
    supervisor_done(&g.supervisor);
    frontends_done(&g.frontends);
    sd_event_unref(g.event);
    (void) unlink(g.address.sun_path);
    if (g.client >= 0) {
        (void) close(g.client);
    }
}

static void knock(void)
{
    g.client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(g.client, (const struct sockaddr *) &g.address, sizeof g.address), 0);
}

static bool has_ended(void)
{
    return sd_event_get_state(g.event) == SD_EVENT_FINISHED;
}

static void run_to_the_end(void)
{
    for (int i = 0; i < MAX_ROUNDS && !has_ended(); i++) {
        ck_assert_int_ge(sd_event_run(g.event, ROUND_USEC), 0);
    }
    ck_assert(has_ended());
}

START_TEST(ends_after_its_time)
{
    uint64_t before = clock_now_usec();

    idle_exit_set(&g.idle, SOON_USEC, before);
    run_to_the_end();
    ck_assert_uint_ge(clock_now_usec(), before + SOON_USEC);
    ck_assert(g.supervisor.has_stopped);
}
END_TEST

START_TEST(never_sleeps_without_a_timer)
{
    idle_exit_set(&g.idle, 0, clock_now_usec());
    idle_exit_turn(&g.idle, clock_now_usec());
    ck_assert(!g.idle.is_armed);
    idle_exit_set(&g.idle, SOON_USEC, clock_now_usec());
    ck_assert(g.idle.is_armed);
    idle_exit_set(&g.idle, 0, clock_now_usec()); /* a reload took it away */
    ck_assert(!g.idle.is_armed);
    ck_assert_int_eq(sd_event_run(g.event, 2 * SOON_USEC), 0);
    ck_assert(!has_ended());
}
END_TEST

START_TEST(a_call_or_a_connection_keeps_it)
{
    uint64_t now = clock_now_usec();

    g.registry.n_calls = 1;
    idle_exit_set(&g.idle, SOON_USEC, now);
    ck_assert(!g.idle.is_armed);
    ck_assert(!idle_exit_try(&g.idle, "test", now));
    g.registry.n_calls = 0;
    g.frontends.n_conns = 1;
    idle_exit_turn(&g.idle, now);
    ck_assert(!g.idle.is_armed);
    ck_assert(!idle_exit_try(&g.idle, "test", now));
    g.frontends.n_conns = 0;
    idle_exit_turn(&g.idle, now);
    ck_assert(g.idle.is_armed);

    g.registry.n_calls = 1; /* the timer is not moved for it: it looks again */
    idle_exit_turn(&g.idle, now);
    for (int i = 0; i < MAX_ROUNDS && g.idle.is_armed; i++) {
        ck_assert_int_ge(sd_event_run(g.event, ROUND_USEC), 0);
    }
    ck_assert(!g.idle.is_armed && !has_ended());
    g.registry.n_calls = 0;
    idle_exit_turn(&g.idle, clock_now_usec());
    run_to_the_end();
}
END_TEST

START_TEST(who_waits_at_the_door_keeps_it)
{
    uint64_t now = clock_now_usec();

    ck_assert(!listeners_have_arrivals(&g.frontends));
    knock();
    ck_assert(listeners_have_arrivals(&g.frontends));
    ck_assert(!idle_exit_try(&g.idle, "test", now));
    ck_assert(!g.supervisor.has_stopped);
    (void) close(g.client); /* it left, but that is to be found out by accepting it */
    g.client = -1;
    ck_assert(!idle_exit_try(&g.idle, "test", now));
}
END_TEST

START_TEST(nothing_is_accepted_after_the_last_look)
{
    ck_assert(idle_exit_try(&g.idle, "test", clock_now_usec()));
    knock();
    run_to_the_end();
    ck_assert_uint_eq(g.frontends.n_conns, 0);
    ck_assert(listeners_have_arrivals(&g.frontends)); /* for the next sluiced */
}
END_TEST

static void add_tests(TCase *tc)
{
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, ends_after_its_time);
    tcase_add_test(tc, never_sleeps_without_a_timer);
    tcase_add_test(tc, a_call_or_a_connection_keeps_it);
    tcase_add_test(tc, who_waits_at_the_door_keeps_it);
    tcase_add_test(tc, nothing_is_accepted_after_the_last_look);
}

TEST_MAIN("idle_exit", add_tests)
