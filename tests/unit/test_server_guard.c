/*
 * Model servers that hang, as the composition deals with them: what is held, and which unit is asked
 * for. The clock is the test's, and no service manager can be reached: a restart that is asked for
 * leaves its record.
 */
#include "server_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "support.h"

#define SERVER "http://1"

struct world {
    sd_event *event;
    struct router router;
    struct router_plan plan; /* until open_world() */
    struct upstreams upstreams;
    struct memory_monitor monitor;
    struct residency_driver residency;
    struct call_registry registry;
    struct server_guards guards;
    uint64_t now, n_calls;
};

static struct world g;

static void backend_free(struct backend *b)
{
    free(b);
}

static const struct backend_ops ops = {.free = backend_free}; /* it cannot be told to unload */

static struct deployment *add(const char *group, const char *upstream_model)
{
    struct backend *backend = calloc(1, sizeof *backend);
    const struct deployment_spec spec = {.id = group,
                                         .fingerprint = group,
                                         .provider = "test",
                                         .upstream_model = upstream_model,
                                         .api_base = SERVER,
                                         .slots = 4,
                                         .is_local = true};
    struct deployment *d;

    ck_assert_ptr_nonnull(backend);
    backend->ops = &ops;
    d = deployment_new(&spec, backend);
    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(router_plan_add(&g.plan, group, d), 0);
    return d;
}

static void nothing(void *ctx)
{
}

static void setup(void)
{
    g = (struct world) {.now = clock_now_usec()};
    ck_assert_int_eq(setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1), 0);
    ck_assert_int_ge(sd_event_new(&g.event), 0);
    router_init(&g.router);
    list_init(&g.registry.running);
    ck_assert_int_ge(residency_driver_init(&g.residency, g.event, &g.router, &g.upstreams,
                                           &g.monitor, &(struct residency_params) {.is_on = false},
                                           ""),
                     0);
    g.residency.on_change = nothing;
    server_guards_init(&g.guards, g.event, &g.router, &g.registry, &g.residency, nothing, NULL);
}

static void teardown(void)
{
    server_guards_done(&g.guards);
    residency_driver_done(&g.residency);
    router_done(&g.router);
    sd_event_unref(g.event);
}

static void open_world(const char *unit)
{
    const struct server_unit one = {.api_base = SERVER, .unit = unit};

    router_commit(&g.router, &g.plan);
    ck_assert_int_eq(server_guards_set_units(&g.guards, &one, unit ? 1 : 0), 0);
}

/* ---------------------------------------------------------------- calls */

/* A call to d for this model (NULL: its own) came to that end. */
static void end_call(struct deployment *d, const char *model, enum errcode code)
{
    const struct call call = {
        .ticket = {.deployment = d}, .upstream_model = model, .arrived_at_usec = ++g.n_calls};

    server_guards_attempt(&g.guards, &call, code, g.now);
}

static void hang(struct deployment *d, const char *model, unsigned n)
{
    while (n-- > 0) {
        end_call(d, model, ERRCODE_UPSTREAM_TIMEOUT);
    }
}

static void turn(void)
{
    server_guards_turn(&g.guards, g.now);
}

/* d hangs for good, its breaker is open, and it cannot be unloaded. */
static void hang_deaf(struct deployment *d)
{
    d->health.state = HEALTH_OPEN;
    hang(d, NULL, 3);
    turn();
}

/* ---------------------------------------------------------------- what is logged */

/* What act leaves on standard error, in JSON. */
static const char *written(void (*act)(void))
{
    static char text[16384];
    CLEANUP(fd_closep) int saved = dup(STDERR_FILENO);
    CLEANUP(fd_closep) int fd = memory_file("");

    (void) fflush(stderr);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    log_setup(LOG_FORMAT_JSON, LOG_LEVEL_INFO, NULL);
    act();
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_INFO, NULL);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    ck_assert_int_ge(fdio_pread_text(fd, text, sizeof text), 0);
    return text;
}

static void ck_assert_has(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part), "%s is not in: %s", part, text);
}

static void ck_assert_lacks(const char *text, const char *part)
{
    ck_assert_msg(!strstr(text, part), "%s is in: %s", part, text);
}

/* ---------------------------------------------------------------- units and reloads */

/* Until the restart of the old unit is over, whether it is done or not. */
static void restart_ends(void)
{
    turn();
    for (int i = 0; i < 100 && sd_event_run(g.event, 0) > 0; i++) {
    }
}

static void hang_once_more(void)
{
    list_for_each (l, &g.router.deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (strcmp(d->id, "hangs") == 0) {
            hang(d, NULL, 1);
        }
    }
    turn();
}

START_TEST(a_unit_that_a_reload_names_during_a_restart_is_the_next_one)
{
    struct deployment *d = add("hangs", "m"), *other = add("other", "o");
    const struct server_unit unit = {.api_base = SERVER, .unit = "new.service"};
    const char *told;

    open_world("old.service");
    other->in_use = 1; /* is waited for */
    hang_deaf(d);
    ck_assert_ptr_nonnull(d->held_why);
    ck_assert_int_eq(server_guards_set_units(&g.guards, NULL, 0), 0);
    ck_assert_int_eq(server_guards_set_units(&g.guards, &unit, 1), 0); /* the last one counts */
    other->in_use = 0;
    told = written(restart_ends);
    ck_assert_has(told, "old.service was not restarted");
    ck_assert_lacks(told, "new.service");
    ck_assert_ptr_null(d->held_why);
    told = written(hang_once_more);
    ck_assert_has(told, "new.service was not restarted");
    ck_assert_has(told, "it was restarted lately");
}
END_TEST

START_TEST(a_unit_that_a_reload_takes_away_during_a_restart_is_left_alone)
{
    struct deployment *d = add("hangs", "m"), *other = add("other", "o");

    open_world("old.service");
    other->in_use = 1;
    hang_deaf(d);
    ck_assert_int_eq(server_guards_set_units(&g.guards, NULL, 0), 0);
    other->in_use = 0;
    ck_assert_has(written(restart_ends), "old.service was not restarted");
    ck_assert_lacks(written(hang_once_more), "old.service");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_unit_that_a_reload_names_during_a_restart_is_the_next_one);
    tcase_add_test(tc, a_unit_that_a_reload_takes_away_during_a_restart_is_left_alone);
}

TEST_MAIN("server_guard", add_tests)
