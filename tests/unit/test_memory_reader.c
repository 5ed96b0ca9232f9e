/* Samples from trees of files that look like the kernel's: whole, poor, and broken while they are read. */
#include "kernel/memory_reader.h"

#include <errno.h>

#include "kernel/kernel_find.h"
#include "kernel_tree.h"
#include "support.h"

#define MIB (UINT64_C(1) << 20)
#define PSI                                                                                        \
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000\nfull avg10=0 avg60=0 avg300=0 total=500\n"
#define MEMINFO                                                                                    \
    "MemTotal: 2048 kB\nMemAvailable: 1024 kB\nActive(file): 64 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
#define VMSTAT "workingset_refault_file 3\npgscan_direct 1\nallocstall_normal 2\noom_kill 4\n"
#define V2     "/sys/fs/cgroup"
#define UNIT   V2 "/system.slice/ollama.service"
#define STAT   "inactive_file 1048576\nactive_file 2097152\nworkingset_refault_file 5\npgscan 6\n"

static struct memory_reader g_reader;
static struct memory_sample g_sample;
static const struct memory_place_sample *const g_system = &g_sample.place[MEMORY_SYSTEM];
static const struct memory_place_sample *const g_server = &g_sample.place[MEMORY_SERVER];

static void read_one(void)
{
    memory_reader_read(&g_reader, 7, &g_sample);
}

static void put_whole_system(void)
{
    tree_put("/proc/pressure/memory", PSI);
    tree_put("/proc/meminfo", MEMINFO);
    tree_put("/proc/vmstat", VMSTAT);
}

static void put_group(void)
{
    tree_put(V2 "/cgroup.controllers", "memory\n");
    tree_put(V2 "/system.slice/memory.max", "max\n");
    tree_put(V2 "/system.slice/memory.high", "max\n");
    tree_put(V2 "/system.slice/memory.current", "67108864\n");
    tree_put(V2 "/system.slice/memory.stat", STAT);
    tree_put(UNIT "/memory.max", "104857600\n");
    tree_put(UNIT "/memory.high", "max\n");
    tree_put(UNIT "/memory.current", "62914560\n");
    tree_put(UNIT "/memory.stat", STAT);
    tree_put(UNIT "/memory.events", "low 0\nhigh 7\nmax 8\noom 0\noom_kill 9\n");
    tree_put(UNIT "/memory.pressure", PSI);
}

static int watch_unit(const char *unit)
{
    struct kernel_group_paths paths;
    int r = kernel_find_unit(g_root, unit, &paths);

    return r < 0 ? r : memory_reader_set_group(&g_reader, &paths);
}

START_TEST(a_whole_system)
{
    put_whole_system();
    ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
    read_one();
    ck_assert_uint_eq(g_sample.at_usec, 7);
    ck_assert(g_system->has_psi && g_system->has_room && g_system->has_reclaim);
    ck_assert_uint_eq(g_system->some_total_usec, 1000);
    ck_assert_uint_eq(g_system->full_total_usec, 500);
    ck_assert_uint_eq(g_system->total_bytes, 2 * MIB);
    ck_assert_uint_eq(g_system->headroom_bytes, MIB);
    ck_assert_uint_eq(g_system->refault_bytes, 3 * (uint64_t) sysconf(_SC_PAGESIZE));
    ck_assert_uint_eq(g_system->n_oom_kills, 4);
    ck_assert(!g_sample.is_incomplete && !g_server->has_room && !g_server->has_psi);
    tree_put("/proc/meminfo", "MemTotal: 2048 kB\nMemAvailable: 512 kB\nSwapTotal: 9 kB\n");
    tree_put("/proc/swaps", "Filename Type\n/dev/zram0 partition 9 0 -2\n");
    read_one();
    ck_assert_uint_eq(g_system->headroom_bytes, MIB / 2);
    ck_assert(g_sample.is_swap_zram);
    memory_reader_done(&g_reader);
}
END_TEST

START_TEST(what_is_missing_from_the_start_is_not_missed)
{
    ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
    read_one();
    ck_assert(!g_system->has_psi && !g_system->has_room && !g_sample.is_incomplete);
    memory_reader_done(&g_reader);
    tree_put("/proc/meminfo", MEMINFO);
    tree_put("/proc/pressure/memory", "some avg10=0.00 to");
    ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
    read_one();
    ck_assert(!g_system->has_psi && g_system->has_room && !g_sample.is_incomplete);
    memory_reader_done(&g_reader);
}
END_TEST

START_TEST(what_breaks_later_makes_it_incomplete)
{
    static const char *const files[] = {"/proc/pressure/memory", "/proc/meminfo", "/proc/vmstat"};

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        static const char *const broken[] = {"", "nonsense\n", "some avg10=0.00 avg60=0.0"};

        for (size_t j = 0; j < ARRAY_LEN(broken); j++) {
            put_whole_system();
            ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
            tree_put(files[i], broken[j]);
            read_one();
            ck_assert(g_sample.is_incomplete);
            ck_assert_int_lt(g_reader.error, 0);
            put_whole_system();
            read_one();
            ck_assert(!g_sample.is_incomplete);
            memory_reader_done(&g_reader);
        }
    }
}
END_TEST

START_TEST(a_group_of_v2)
{
    put_group();
    ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
    ck_assert_int_eq(watch_unit("ollama.service"), 0);
    read_one();
    ck_assert(g_server->has_psi && g_server->has_room && g_server->has_reclaim);
    ck_assert_uint_eq(g_server->total_bytes, 100 * MIB);
    ck_assert_uint_eq(g_server->headroom_bytes, 43 * MIB);
    ck_assert_uint_eq(g_server->file_bytes, 3 * MIB);
    ck_assert_uint_eq(g_server->n_throttled, 7);
    ck_assert_uint_eq(g_server->n_limited, 8);
    ck_assert_uint_eq(g_server->n_oom_kills, 9);
    /* a limit above it leaves less */
    tree_put(V2 "/system.slice/memory.max", "68157440\n");
    read_one();
    ck_assert_uint_eq(g_server->total_bytes, 65 * MIB);
    ck_assert_uint_eq(g_server->headroom_bytes, 4 * MIB);
    /* where it is slowed down counts as well */
    tree_put(UNIT "/memory.high", "62914560\n");
    read_one();
    ck_assert_uint_eq(g_server->headroom_bytes, 3 * MIB);
    tree_put(UNIT "/memory.current", "99999999999\n");
    read_one();
    ck_assert_uint_eq(g_server->headroom_bytes, 3 * MIB);
    /* no limit at all */
    tree_put(V2 "/system.slice/memory.max", "max\n");
    tree_put(UNIT "/memory.high", "max\n");
    tree_put(UNIT "/memory.max", "max\n");
    read_one();
    ck_assert(!g_server->has_room && g_server->has_psi);
    memory_reader_done(&g_reader);
}
END_TEST

START_TEST(a_group_of_v1_with_the_pressure_of_v2)
{
    put_group();
    tree_remove(V2);
    tree_put(V2 "/unified/cgroup.controllers", "\n");
    tree_put(V2 "/unified/a.slice/b.service/memory.pressure", PSI);
    tree_put(V2 "/memory/a.slice/memory.usage_in_bytes", "104857600\n");
    tree_put(V2 "/memory/a.slice/memory.limit_in_bytes", "9223372036854771712\n");
    tree_put(V2 "/memory/a.slice/b.service/memory.usage_in_bytes", "52428800\n");
    tree_put(V2 "/memory/a.slice/b.service/memory.limit_in_bytes", "104857600\n");
    tree_put(V2 "/memory/a.slice/b.service/memory.stat",
             "inactive_file 0\ntotal_inactive_file 2097152\ntotal_active_file 0\n");
    tree_put(V2 "/memory/a.slice/b.service/memory.failcnt", "11\n");
    tree_put(V2 "/memory/a.slice/b.service/memory.oom_control",
             "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
    ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
    ck_assert_int_eq(watch_unit("b.service"), 0);
    read_one();
    ck_assert(g_server->has_psi && g_server->has_room && g_server->has_reclaim);
    ck_assert_uint_eq(g_server->total_bytes, 100 * MIB);
    ck_assert_uint_eq(g_server->headroom_bytes, 52 * MIB);
    ck_assert_uint_eq(g_server->n_limited, 11);
    ck_assert_uint_eq(g_server->n_oom_kills, 3);
    memory_reader_done(&g_reader);
}
END_TEST

START_TEST(a_group_that_goes_is_forgotten)
{
    unsigned before;

    put_group();
    ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
    ck_assert_int_eq(watch_unit("ollama.service"), 0);
    read_one();
    before = g_server->epoch;
    ck_assert(g_reader.has_group);
    tree_put(UNIT "/memory.pressure", ""); /* its files say nothing */
    tree_put(UNIT "/memory.max", "");
    tree_put(UNIT "/memory.stat", "");
    tree_put(UNIT "/memory.events", "");
    read_one();
    ck_assert(!g_reader.has_group && !g_server->has_psi && !g_server->has_room);
    ck_assert_uint_ne(g_server->epoch, before);
    ck_assert(!g_sample.is_incomplete); /* the server was stopped, that is all */
    tree_remove(UNIT);
    ck_assert_int_eq(watch_unit("ollama.service"), -ENOENT);
    memory_reader_done(&g_reader);
}
END_TEST

static int read_server(struct server_memory *ret)
{
    return memory_reader_read_server(&g_reader, ret);
}

START_TEST(what_a_group_of_v2_holds)
{
    struct server_memory m = {0};
    char text[64];

    ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
    ck_assert_int_eq(read_server(&m), -ENOENT);
    put_group();
    ck_assert_int_eq(watch_unit("ollama.service"), 0);
    ck_assert_int_eq(read_server(&m), -ENOENT); /* nobody tells who is in it */
    tree_put(UNIT "/cgroup.procs", "70\n71\n");
    ck_assert_int_eq(read_server(&m), -EBADMSG); /* nor what it holds */
    tree_put(UNIT "/memory.stat", "anon 4096\nfile_mapped 8192\n");
    ck_assert_int_eq(read_server(&m), 0);
    ck_assert_uint_eq(m.anon_bytes, 4096);
    ck_assert_uint_eq(m.file_bytes, 8192);
    ck_assert_uint_eq(m.n_pids, 2);
    ck_assert_uint_eq(m.epoch, g_reader.epoch);
    ck_assert(!m.holds_us);
    tree_put(UNIT "/memory.swap.current", "100\n");
    (void) snprintf(text, sizeof text, "70\n%d\n", (int) getpid());
    tree_put(UNIT "/cgroup.procs", text);
    ck_assert_int_eq(read_server(&m), 0);
    ck_assert_uint_eq(m.anon_bytes, 4196);
    ck_assert(m.holds_us);
    tree_put(UNIT "/memory.swap.current", "18446744073709551615\n");
    ck_assert_int_eq(read_server(&m), 0);
    ck_assert_uint_eq(m.anon_bytes, UINT64_MAX);
    tree_put(UNIT "/cgroup.procs", "0\n");
    ck_assert_int_eq(read_server(&m), -EBADMSG);
    memory_reader_done(&g_reader);
}
END_TEST

/* More processes than there are places, more text than is read. */
START_TEST(a_group_of_many)
{
    char text[KERNEL_TEXT_BYTES * 2] = "";
    struct server_memory m = {0};

    put_group();
    tree_put(UNIT "/memory.stat", "anon 4096\nfile_mapped 8192\n");
    ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
    ck_assert_int_eq(watch_unit("ollama.service"), 0);
    for (size_t i = 0, n = 0; i <= SERVER_PIDS_MAX; i++) {
        n += (size_t) snprintf(text + n, sizeof text - n, "%zu\n", 100 + i);
        tree_put(UNIT "/cgroup.procs", text);
        ck_assert_int_eq(read_server(&m), i < SERVER_PIDS_MAX ? 0 : -E2BIG);
    }
    for (size_t n = 0; n + 2 < sizeof text; n += 2) {
        memcpy(text + n, "7\n", 3);
    }
    tree_put(UNIT "/cgroup.procs", text);
    ck_assert_int_eq(read_server(&m), -E2BIG);
    memory_reader_done(&g_reader);
}
END_TEST

START_TEST(what_a_group_of_v1_holds)
{
    struct server_memory m = {0};

    tree_put(V2 "/unified/cgroup.controllers", "");
    tree_put(V2 "/unified/system.slice/ollama.service/cgroup.procs", "70\n");
    tree_put(V2 "/memory/system.slice/ollama.service/memory.usage_in_bytes", "1\n");
    tree_put(V2 "/memory/system.slice/ollama.service/memory.stat",
             "rss 1\nmapped_file 1\nswap 1\ntotal_rss 10\ntotal_mapped_file 20\ntotal_swap 5\n");
    ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
    ck_assert_int_eq(watch_unit("ollama.service"), 0);
    ck_assert_int_eq(read_server(&m), 0);
    ck_assert_uint_eq(m.anon_bytes, 15);
    ck_assert_uint_eq(m.file_bytes, 20);
    ck_assert_uint_eq(m.n_pids, 1);
    memory_reader_done(&g_reader);
}
END_TEST

START_TEST(groups_that_are_not_there)
{
    struct kernel_group_paths paths;

    ck_assert_int_eq(memory_reader_init(&g_reader, g_root), 0);
    ck_assert_int_eq(kernel_find_unit(g_root, "ollama.service", &paths), -ENOENT);
    ck_assert_int_eq(kernel_find_path("relative", &paths), -EINVAL);
    ck_assert_int_eq(kernel_find_path("/a/../b", &paths), -EINVAL);
    ck_assert_int_eq(kernel_find_path("/", &paths), -ENOENT);
    ck_assert_int_eq(kernel_find_path("/system.slice/ollama.service", &paths), 0);
    ck_assert_int_eq(memory_reader_set_group(&g_reader, &paths), -ENOENT);
    ck_assert(!g_reader.has_group);
    put_group();
    ck_assert_int_eq(memory_reader_set_group(&g_reader, &paths), 0);
    memory_reader_forget_group(&g_reader);
    ck_assert(!g_reader.has_group);
    memory_reader_done(&g_reader);
}
END_TEST

START_TEST(the_process_behind_a_port)
{
    struct kernel_group_paths paths;
    unsigned pid = 0;

    ck_assert_int_eq(kernel_find_listener(g_root, 11434, &pid), -ENOENT);
    tree_put("/proc/net/tcp", "  sl  local_address rem_address   st\n"
                              "   0: 0100007F:2CAB 00000000:0000 0A 0:0 00:0 0 1000 0 41 1\n"
                              "   1: 0100007F:2CAA 00000000:0000 01 0:0 00:0 0 1000 0 43 1\n");
    tree_put("/proc/net/tcp6", "  sl\n   0: 00000000000000000000000000000000:2CAA "
                               "00000000000000000000000000000000:0000 0A 0:0 00:0 0 1000 0 42 1\n");
    tree_put("/proc/self/fd/x", "");
    ck_assert_int_eq(kernel_find_listener(g_root, 11434, &pid), -EACCES);
    tree_link("/proc/81/fd/3", "socket:[41]");
    tree_link("/proc/82/fd/3", "socket:[421]");
    tree_link("/proc/83/fd/3", "/dev/null");
    tree_link("/proc/83/fd/9", "socket:[42]");
    ck_assert_int_eq(kernel_find_listener(g_root, 11434, &pid), 0);
    ck_assert_uint_eq(pid, 83);
    ck_assert_int_eq(kernel_find_process(g_root, 83, &paths), -ENOENT);
    tree_put("/proc/83/cgroup", "4:memory:/m\n0::/u\n");
    ck_assert_int_eq(kernel_find_process(g_root, 83, &paths), 0);
    ck_assert_str_eq(paths.v2, "/u");
    ck_assert_str_eq(paths.v1, "/m");
    tree_put("/proc/83/cgroup", "0::/\n"); /* the root is the machine itself */
    ck_assert_int_eq(kernel_find_process(g_root, 83, &paths), -ENOENT);
}
END_TEST

static void open_and_close(void)
{
    struct memory_reader *r = &g_reader;

    if (memory_reader_init(r, g_root) == 0) {
        (void) watch_unit("ollama.service");
        memory_reader_done(r);
    }
}

START_TEST(every_allocation_may_fail)
{
    put_whole_system();
    put_group();
    for_each_failed_allocation(open_and_close);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, tree_setup, tree_teardown);
    tcase_add_test(tc, a_whole_system);
    tcase_add_test(tc, what_is_missing_from_the_start_is_not_missed);
    tcase_add_test(tc, what_breaks_later_makes_it_incomplete);
    tcase_add_test(tc, a_group_of_v2);
    tcase_add_test(tc, a_group_of_v1_with_the_pressure_of_v2);
    tcase_add_test(tc, a_group_that_goes_is_forgotten);
    tcase_add_test(tc, what_a_group_of_v2_holds);
    tcase_add_test(tc, a_group_of_many);
    tcase_add_test(tc, what_a_group_of_v1_holds);
    tcase_add_test(tc, groups_that_are_not_there);
    tcase_add_test(tc, the_process_behind_a_port);
    tcase_add_test(tc, every_allocation_may_fail);
}
TEST_MAIN("memory_reader", add_tests)
