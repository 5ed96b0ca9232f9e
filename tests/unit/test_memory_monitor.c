/*
 * When memory is looked at: by the clock, by a trigger, by a call; and what an idle daemon never
 * does. The kernel is a tree of files; time is asked of the monitor's timer, not waited for.
 */
#include "memory_monitor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel_tree.h"
#include "support.h"

#define PSI(total)                                                                                 \
    "some avg10=0 avg60=0 avg300=0 total=" total "\nfull avg10=0 avg60=0 avg300=0 total=0\n"
#define PLENTY     "MemTotal: 2097152 kB\nMemAvailable: 1572864 kB\nActive(file): 9 kB\n"
#define TIGHT      "MemTotal: 2097152 kB\nMemAvailable: 204800 kB\nActive(file): 9 kB\n" /* L1 */
#define MAX_ROUNDS 1000

static sd_event *g_event;
static struct pressure g_pressure;
static struct memory_monitor g_monitor;
static unsigned g_samples, g_levels, g_stages;

static void on_sample(void *ctx, struct pressure *pressure, uint64_t now_usec)
{
    ck_assert_ptr_eq(pressure, &g_pressure);
    g_samples++;
}

static void on_level(void *ctx, enum pressure_level from, enum pressure_level to)
{
    ck_assert_int_eq(g_pressure.level, to);
    ck_assert_int_ne(from, to);
    g_levels++;
}

static void on_stage(void *ctx, enum pressure_stage stage)
{
    ck_assert_int_eq(g_monitor.stage, stage);
    g_stages++;
}

static void start(const char *root, int trigger_fd)
{
    const struct memory_hooks hooks = {
        .on_sample = on_sample, .on_level = on_level, .on_stage = on_stage};
    const struct memory_sources sources = {.root = root, .trigger_fd = trigger_fd};

    pressure_init(&g_pressure);
    ck_assert_int_eq(memory_monitor_init(&g_monitor, g_event, &sources, &g_pressure, &hooks), 0);
}

static void setup(void)
{
    tree_setup();
    tree_put("/proc/meminfo", PLENTY);
    tree_put("/proc/vmstat", "workingset_refault_file 0\n");
    tree_put("/proc/pressure/memory", PSI("1000"));
    g_samples = g_levels = g_stages = 0;
    g_monitor = (struct memory_monitor) {0};
    ck_assert_int_ge(sd_event_new(&g_event), 0);
}

static void teardown(void)
{
    memory_monitor_done(&g_monitor);
    g_event = sd_event_unref(g_event);
    tree_teardown();
}

/* In how many microseconds the timer fires; USEC_NEVER: not at all. */
static uint64_t timer_in(uint64_t now_usec)
{
    uint64_t at;
    int armed;

    ck_assert_int_ge(sd_event_source_get_enabled(g_monitor.timer, &armed), 0);
    ck_assert_int_ge(sd_event_source_get_time(g_monitor.timer, &at), 0);
    return armed == SD_EVENT_OFF ? USEC_NEVER : usec_since(at, now_usec);
}

static bool trigger_is_on(void)
{
    int armed = SD_EVENT_OFF;

    if (g_monitor.trigger) {
        ck_assert_int_ge(sd_event_source_get_enabled(g_monitor.trigger, &armed), 0);
    }
    return armed != SD_EVENT_OFF;
}

/* One end of a socket pair: urgent bytes at the other make EPOLLPRI, its end EPOLLHUP. */
static int g_other_end;

static int make_trigger(void)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;

    ck_assert_int_eq(bind(listener, (struct sockaddr *) &at, sizeof at), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *) &at, &size), 0);
    g_other_end = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(g_other_end, (struct sockaddr *) &at, sizeof at), 0);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(close(listener), 0);
    return fd;
}

START_TEST(an_idle_daemon_has_no_timer)
{
    start(g_root, -1);
    ck_assert_uint_eq(timer_in(0), USEC_NEVER);
    ck_assert_uint_eq(g_samples, 1);
    ck_assert_str_eq(pressure_rung_name(g_pressure.rung), "psi"); /* a plain file has no trigger */
    ck_assert(!trigger_is_on());
}
END_TEST

START_TEST(each_kind_of_business_has_its_pace)
{
    uint64_t now;

    start(g_root, -1);
    now = clock_now_usec() + 10 * USEC_PER_SEC;
    memory_monitor_set_active(&g_monitor, true, now); /* a call comes: at once, the last is old */
    ck_assert_uint_eq(g_samples, 2);
    ck_assert_uint_eq(timer_in(now), 500 * USEC_PER_MSEC);
    memory_monitor_set_active(&g_monitor, false, now + 1);
    memory_monitor_set_active(&g_monitor, true, now + 2); /* another: nothing to be read again */
    ck_assert_uint_eq(g_samples, 2);
    now += USEC_PER_SEC; /* the loop stood still: the timer is late, so is the sample */
    memory_monitor_set_active(&g_monitor, true, now);
    ck_assert_uint_eq(g_samples, 3);
    memory_monitor_set_active(&g_monitor, false, now);
    now += USEC_PER_SEC;
    memory_monitor_set_exposed(&g_monitor, true, now);
    ck_assert_uint_eq(timer_in(now), 15 * USEC_PER_SEC);
    now += USEC_PER_SEC;
    memory_monitor_set_exposed(&g_monitor, false, now);
    ck_assert_uint_eq(timer_in(now), USEC_NEVER);
}
END_TEST

START_TEST(an_idle_daemon_looks_seldom_at_a_level_that_stays)
{
    static const uint64_t paces_msec[] = {500, 1000, 2000, 4000, 8000, 15000, 15000};
    uint64_t now;

    tree_put("/proc/meminfo", TIGHT);
    start(g_root, -1);
    ck_assert_int_eq(g_pressure.level, PRESSURE_L1);
    ck_assert_uint_eq(g_levels, 1);
    ck_assert_uint_eq(g_stages, 1);
    ck_assert_uint_le(timer_in(clock_now_usec()), 250 * USEC_PER_MSEC);
    now = clock_now_usec() + USEC_PER_SEC;
    for (size_t i = 0; i < ARRAY_LEN(paces_msec); i++) {
        memory_monitor_sample(&g_monitor, now); /* as the timer does */
        ck_assert_uint_eq(timer_in(now), paces_msec[i] * USEC_PER_MSEC);
        now += paces_msec[i] * USEC_PER_MSEC;
    }
    memory_monitor_set_exposed(&g_monitor, true, now); /* somebody could be hurt */
    ck_assert_uint_eq(timer_in(now), 250 * USEC_PER_MSEC);
}
END_TEST

START_TEST(a_trigger_wakes_an_idle_daemon)
{
    unsigned before;

    start(g_root, make_trigger());
    ck_assert_str_eq(pressure_rung_name(g_pressure.rung), "psi+trigger");
    ck_assert(trigger_is_on());
    ck_assert_uint_eq(timer_in(0), USEC_NEVER);
    before = g_samples;
    g_pressure.n_samples = 0; /* the last sample was long ago */
    ck_assert_int_eq(send(g_other_end, "!", 1, MSG_OOB), 1);
    for (unsigned n = 0; g_samples == before && n < MAX_ROUNDS; n++) {
        ck_assert_int_ge(sd_event_run(g_event, USEC_PER_MSEC), 0);
    }
    ck_assert_uint_eq(g_samples, before + 1);
    ck_assert(!trigger_is_on()); /* who reads this often starves it */
    ck_assert_uint_ne(timer_in(0), USEC_NEVER);
    ck_assert_int_eq(close(g_other_end), 0);
}
END_TEST

START_TEST(a_trigger_that_is_taken_away_does_not_wake_for_ever)
{
    unsigned n;
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    start(g_root, make_trigger());

    ck_assert_int_eq(setsockopt(g_other_end, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    ck_assert_int_eq(close(g_other_end), 0); /* EPOLLERR and EPOLLHUP from now on */
    for (n = 0; g_monitor.trigger && n < MAX_ROUNDS; n++) {
        ck_assert_int_ge(sd_event_run(g_event, USEC_PER_MSEC), 0);
    }
    ck_assert_ptr_null(g_monitor.trigger);
    ck_assert_str_eq(pressure_rung_name(g_pressure.rung), "psi");
    ck_assert_int_eq(sd_event_run(g_event, 0), 0); /* nothing more happens */
}
END_TEST

START_TEST(each_rung_of_the_ladder)
{
    static const struct {
        const char *gone, *rung;
    } rows[] = {{"/proc/nothing", "psi"},
                {"/proc/pressure", "vmstat"},
                {"/proc/vmstat", "meminfo"},
                {"/proc/meminfo", "none"}};

    tree_put("/proc/nothing", "");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        tree_remove(rows[i].gone);
        start(g_root, -1);
        ck_assert_str_eq(pressure_rung_name(g_pressure.rung), rows[i].rung);
        memory_monitor_set_active(&g_monitor, true, clock_now_usec() + USEC_PER_SEC);
        ck_assert_int_eq(g_pressure.level, PRESSURE_L0);
        memory_monitor_done(&g_monitor);
    }
}
END_TEST

/* As in a sandbox: the file is there, and it is not for us. */
START_TEST(what_may_not_be_read_is_a_rung_lower)
{
    static const struct {
        const char *path, *rung;
    } rows[] = {{"/proc/pressure/memory", "vmstat"},
                {"/proc/vmstat", "meminfo"},
                {"/proc/meminfo", "none"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        tree_forbid(rows[i].path);
        tree_be_nobody();
        start(g_root, -1);
        memory_monitor_set_active(&g_monitor, true, clock_now_usec() + USEC_PER_SEC);
        tree_be_ourselves();
        ck_assert_str_eq(pressure_rung_name(g_pressure.rung), rows[i].rung);
        ck_assert_int_eq(g_pressure.level, PRESSURE_L0);
        ck_assert(!g_monitor.is_incomplete);
        memory_monitor_done(&g_monitor);
    }
}
END_TEST

START_TEST(not_watched_is_level_0)
{
    start(NULL, -1);
    memory_monitor_set_active(&g_monitor, true, clock_now_usec() + USEC_PER_SEC);
    memory_monitor_set_exposed(&g_monitor, true, clock_now_usec() + USEC_PER_SEC);
    ck_assert_uint_eq(g_samples, 0);
    ck_assert_str_eq(pressure_rung_name(g_pressure.rung), "none");
}
END_TEST

START_TEST(what_cannot_be_read_any_more_is_level_1)
{
    uint64_t now;

    start(g_root, -1);
    now = clock_now_usec() + USEC_PER_SEC;
    tree_put("/proc/pressure/memory", "some avg10=0.0");
    memory_monitor_set_active(&g_monitor, true, now);
    ck_assert_int_eq(g_pressure.level, PRESSURE_L1);
    ck_assert_int_eq(g_pressure.cause.reason, PRESSURE_UNREADABLE);
    ck_assert(g_monitor.is_incomplete);
    tree_put("/proc/pressure/memory", PSI("1000"));
    memory_monitor_set_active(&g_monitor, true, now + USEC_PER_SEC);
    ck_assert(!g_monitor.is_incomplete);
}
END_TEST

START_TEST(ports_of_loopback)
{
    static const struct {
        const char *base;
        unsigned port;
    } rows[] = {{"http://127.0.0.1:11434", 11434},
                {"http://localhost:11434/v1", 11434},
                {"http://[::1]:8080/v1", 8080},
                {"http://127.0.0.1", 80},
                {"https://localhost/x", 443},
                {"http://203.0.113.1:11434", 0},
                {"http://127.0.0.1:99999", 0},
                {"http://127.0.0.1:x", 0},
                {"unix:/run/x.sock", 0},
                {"", 0},
                {"http://", 0},
                {"http://[::1", 0}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct model_server_spec spec = {0};

        model_server_add(&spec, rows[i].base, true);
        model_server_add(&spec, rows[i].base, false); /* once */
        ck_assert_msg(spec.n_ports == (rows[i].port > 0), "%s", rows[i].base);
        ck_assert_uint_eq(spec.ports[0], rows[i].port);
        ck_assert_int_eq(spec.has_ollama, rows[i].port > 0);
    }
}
END_TEST

static struct model_server_spec spec_of(const char *group)
{
    struct model_server_spec spec;

    memset(&spec, 0, sizeof spec);
    (void) snprintf(spec.group, sizeof spec.group, "%s", group);
    model_server_add(&spec, "http://127.0.0.1:11434", true);
    return spec;
}

START_TEST(the_group_is_found_as_it_is_named)
{
    static const struct {
        const char *group;
        bool found;
    } rows[] = {{"auto", true},
                {"ollama.service", true},
                {"none", false},
                {"vllm.service", false},
                {"/system.slice/ollama.service", true},
                {"/elsewhere", false}};

    tree_put("/sys/fs/cgroup/cgroup.controllers", "");
    tree_put("/sys/fs/cgroup/system.slice/ollama.service/memory.pressure", PSI("5"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct model_server_spec spec = spec_of(rows[i].group);

        start(g_root, -1);
        memory_monitor_set_server(&g_monitor, &spec, clock_now_usec());
        ck_assert_msg(g_monitor.reader.has_group == rows[i].found, "%s", rows[i].group);
        memory_monitor_done(&g_monitor);
    }
}
END_TEST

/* A unit that is started later, or again, is found when calls come; not by an idle daemon. */
START_TEST(the_group_is_looked_for_again)
{
    struct model_server_spec spec = spec_of("ollama.service");
    uint64_t now;

    start(g_root, -1);
    now = clock_now_usec() + USEC_PER_SEC;
    memory_monitor_set_server(&g_monitor, &spec, now);
    ck_assert(!g_monitor.reader.has_group);
    tree_put("/sys/fs/cgroup/cgroup.controllers", "");
    tree_put("/sys/fs/cgroup/system.slice/ollama.service/memory.pressure", PSI("5"));
    memory_monitor_set_active(&g_monitor, true, now + 14 * USEC_PER_SEC);
    ck_assert(!g_monitor.reader.has_group); /* not that often */
    memory_monitor_set_active(&g_monitor, true, now + 16 * USEC_PER_SEC);
    ck_assert(g_monitor.reader.has_group);
    tree_put("/sys/fs/cgroup/system.slice/ollama.service/memory.pressure", "");
    memory_monitor_set_active(&g_monitor, true, now + 17 * USEC_PER_SEC);
    ck_assert(!g_monitor.reader.has_group);
    ck_assert_int_eq(g_pressure.level, PRESSURE_L0); /* it was stopped, that is all */
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_idle_daemon_has_no_timer);
    tcase_add_test(tc, each_kind_of_business_has_its_pace);
    tcase_add_test(tc, an_idle_daemon_looks_seldom_at_a_level_that_stays);
    tcase_add_test(tc, a_trigger_wakes_an_idle_daemon);
    tcase_add_test(tc, a_trigger_that_is_taken_away_does_not_wake_for_ever);
    tcase_add_test(tc, each_rung_of_the_ladder);
    tcase_add_test(tc, what_may_not_be_read_is_a_rung_lower);
    tcase_add_test(tc, not_watched_is_level_0);
    tcase_add_test(tc, what_cannot_be_read_any_more_is_level_1);
    tcase_add_test(tc, ports_of_loopback);
    tcase_add_test(tc, the_group_is_found_as_it_is_named);
    tcase_add_test(tc, the_group_is_looked_for_again);
}
TEST_MAIN("memory_monitor", add_tests)
