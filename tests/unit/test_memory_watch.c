/*
 * The protocol of memory pressure: each kind of file that may be watched, what is written first, and
 * everything that cannot be watched and must not matter.
 */
#include "memory_watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "support.h"

#define ROUND_USEC (10 * USEC_PER_MSEC)
#define MAX_ROUNDS 1000
#define TRIGGER    "c29tZSAyMDAwMDAgMjAwMDAwMAA=" /* some 200000 2000000, and a NUL */

static char g_path[64];
static unsigned g_alarms;
static sd_event *g_event;
static struct memory_watch g_watch;

static void on_pressure(void *ctx)
{
    ck_assert_ptr_eq(ctx, &g_alarms);
    g_alarms++;
}

static void setup(void)
{
    (void) snprintf(g_path, sizeof g_path, "/tmp/sluice-pressure-%d", (int) getpid());
    (void) unlink(g_path);
    (void) unsetenv("MEMORY_PRESSURE_WATCH");
    (void) unsetenv("MEMORY_PRESSURE_WRITE");
    g_alarms = 0;
    ck_assert_int_ge(sd_event_new(&g_event), 0);
}

static void teardown(void)
{
    memory_watch_done(&g_watch);
    g_event = sd_event_unref(g_event);
    (void) unlink(g_path);
    (void) unsetenv("MEMORY_PRESSURE_WATCH");
    (void) unsetenv("MEMORY_PRESSURE_WRITE");
}

static void watch(const char *path, const char *first)
{
    ck_assert_int_eq(setenv("MEMORY_PRESSURE_WATCH", path, 1), 0);
    if (first) {
        ck_assert_int_eq(setenv("MEMORY_PRESSURE_WRITE", first, 1), 0);
    }
    ck_assert_int_eq(memory_watch_init(&g_watch, g_event, on_pressure, &g_alarms), 0);
}

static void run_until_alarm(unsigned n)
{
    for (int i = 0; i < MAX_ROUNDS && g_alarms < n; i++) {
        ck_assert_int_ge(sd_event_run(g_event, ROUND_USEC), 0);
    }
    ck_assert_uint_eq(g_alarms, n);
}

START_TEST(nothing_asked_for)
{
    ck_assert_int_eq(memory_watch_init(&g_watch, g_event, on_pressure, &g_alarms), 0);
    ck_assert_ptr_null(g_watch.io);
    watch("", NULL);
    ck_assert_ptr_null(g_watch.io);
    watch("/dev/null", TRIGGER);
    ck_assert_ptr_null(g_watch.io);
}
END_TEST

START_TEST(a_fifo)
{
    int fd;

    ck_assert_int_eq(mkfifo(g_path, 0600), 0);
    watch(g_path, TRIGGER);
    ck_assert_ptr_nonnull(g_watch.io);
    ck_assert_int_eq(sd_event_run(g_event, 0), 0); /* not woken by what it wrote itself */
    for (unsigned i = 1; i <= 3; i++) {            /* writers come and go */
        fd = open(g_path, O_WRONLY | O_NONBLOCK);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, "pressure", 8), 8);
        (void) close(fd);
        run_until_alarm(i);
        ck_assert_int_eq(sd_event_run(g_event, 0), 0); /* all was read: the loop sleeps */
    }
}
END_TEST

START_TEST(a_socket)
{
    static const char want[] = "some 200000 2000000";
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char bytes[64] = "";
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;

    (void) snprintf(a.sun_path, sizeof a.sun_path, "%s", g_path);
    ck_assert_int_eq(bind(listener, (struct sockaddr *) &a, sizeof a), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    watch(g_path, TRIGGER);
    peer = accept(listener, NULL, NULL);
    ck_assert_int_ge(peer, 0);
    ck_assert_int_eq(read(peer, bytes, sizeof bytes), sizeof want); /* its NUL is part of it */
    ck_assert_mem_eq(bytes, want, sizeof want);
    ck_assert_int_eq(sd_event_run(g_event, 0), 0);
    ck_assert_int_eq(write(peer, "x", 1), 1);
    run_until_alarm(1);
    (void) close(peer);
    for (int i = 0; i < MAX_ROUNDS && g_watch.io; i++) {
        ck_assert_int_ge(sd_event_run(g_event, ROUND_USEC), 0);
    }
    ck_assert_ptr_null(g_watch.io); /* given up, not woken for ever */
    ck_assert_uint_eq(g_alarms, 1);
    (void) close(listener);
}
END_TEST

START_TEST(a_flood_wakes_once_for_each_look)
{
    char bytes[60000];
    int fd;

    memset(bytes, 'x', sizeof bytes);
    ck_assert_int_eq(mkfifo(g_path, 0600), 0);
    watch(g_path, NULL);
    fd = open(g_path, O_WRONLY | O_NONBLOCK);
    ck_assert_int_eq(write(fd, bytes, sizeof bytes), sizeof bytes);
    (void) close(fd);
    run_until_alarm(1);
    ck_assert_int_eq(sd_event_run(g_event, 0), 0);
}
END_TEST

START_TEST(what_cannot_be_watched_does_not_matter)
{
    char name[200];
    int fd;

    memset(name, 'x', sizeof name - 1);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    watch("relative", NULL);
    ck_assert_ptr_null(g_watch.io);
    watch("/nonexistent/memory.pressure", NULL);
    ck_assert_ptr_null(g_watch.io);
    watch("/tmp", NULL);
    ck_assert_ptr_null(g_watch.io);
    watch("/dev/zero", NULL);
    ck_assert_ptr_null(g_watch.io);
    watch(name, NULL);
    ck_assert_ptr_null(g_watch.io);
    fd = open(g_path, O_CREAT | O_RDWR, 0600); /* a regular file, and not the kernel's */
    ck_assert_int_ge(fd, 0);
    (void) close(fd);
    watch(g_path, NULL);
    ck_assert_ptr_null(g_watch.io);
    ck_assert_int_eq(unlink(g_path), 0);
    ck_assert_int_eq(mkfifo(g_path, 0600), 0);
    watch(g_path, "not base64!");
    ck_assert_ptr_null(g_watch.io);
    ck_assert_int_eq(g_watch.fd, -1);
}
END_TEST

/* Linux 6.4 grants the trigger to everybody, older ones to root; some kernels have no PSI at all. */
START_TEST(the_kernels_own_file)
{
    static const char trigger[] = "some 200000 2000000";
    int fd = open("/proc/pressure/memory", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    bool is_granted = fd >= 0 && write(fd, trigger, sizeof trigger) > 0;

    (void) close(fd);
    watch("/proc/pressure/memory", TRIGGER);
    ck_assert_int_eq(g_watch.io != NULL, is_granted);
    printf("memory_watch: the kernel's own file %s\n",
           is_granted ? "was watched" : "is not granted");
}
END_TEST

static void add_tests(TCase *tc)
{
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, nothing_asked_for);
    tcase_add_test(tc, a_fifo);
    tcase_add_test(tc, a_socket);
    tcase_add_test(tc, a_flood_wakes_once_for_each_look);
    tcase_add_test(tc, what_cannot_be_watched_does_not_matter);
    tcase_add_test(tc, the_kernels_own_file);
}

TEST_MAIN("memory_watch", add_tests)
