/* What the kernel writes about memory, and what it does not write. */
#include "kernel/kernel_text.h"

#include <errno.h>
#include "support.h"

#define KIB UINT64_C(1024)

START_TEST(psi)
{
    static const char text[] = "some avg10=0.12 avg60=0.00 avg300=0.00 total=123456\n"
                               "full avg10=0.00 avg60=0.00 avg300=0.00 total=654\n";
    static const char *const bad[] = {
        "",
        "\n",
        "some",
        "some total=\nfull total=1\n",
        "some avg10=0 total=x\nfull total=1\n",
        "some avg10=0 total=-1\n",
        "full avg10=0 total=1\n",
        "some avg10=0.12 avg60=0.00 avg300=0.00 to",
        "some avg10=0.12 avg60=0.00 avg300=0.00 total=12",
        "some avg10=0.12 xtotal=12\n",
    };
    struct kernel_psi p = {7, 7};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(kernel_parse_psi(str_from(bad[i]), &p) < 0, "took '%s'", bad[i]);
        ck_assert_uint_eq(p.some_total_usec, 7);
    }
    ck_assert_int_eq(kernel_parse_psi(str_from(text), &p), 0);
    ck_assert_uint_eq(p.some_total_usec, 123456);
    ck_assert_uint_eq(p.full_total_usec, 654);
    /* only some; full cut in the middle of its number */
    ck_assert_int_eq(kernel_parse_psi(STR_LIT("some avg10=0 total=5\nfull avg10=0 total=1"), &p),
                     0);
    ck_assert_uint_eq(p.some_total_usec, 5);
    ck_assert_uint_eq(p.full_total_usec, 0);
    ck_assert_int_eq(kernel_parse_psi(STR_LIT("some total=99999999999999999999\n"), &p), 0);
    ck_assert_uint_eq(p.some_total_usec, UINT64_MAX);
}
END_TEST

START_TEST(meminfo)
{
    struct kernel_meminfo m = {0};

    ck_assert_int_eq(kernel_parse_meminfo(STR_LIT("MemTotal:        2000 kB\n"
                                                  "MemFree:          100 kB\n"
                                                  "MemAvailable:     900 kB\n"
                                                  "Active(file):     300 kB\n"
                                                  "Inactive(file):   200 kB\n"
                                                  "SwapTotal:         64 kB\n"
                                                  "SwapFree:          32 kB\n"
                                                  "HugePages_Total:       0\n"),
                                          &m),
                     0);
    ck_assert_uint_eq(m.total_bytes, 2000 * KIB);
    ck_assert_uint_eq(m.available_bytes, 900 * KIB);
    ck_assert_uint_eq(m.file_bytes, 500 * KIB);
    ck_assert_uint_eq(m.swap_total_bytes, 64 * KIB);
    ck_assert_uint_eq(m.swap_free_bytes, 32 * KIB);
    /* before Linux 3.14 there was no MemAvailable */
    ck_assert_int_eq(kernel_parse_meminfo(STR_LIT("MemTotal: 2000 kB\nMemFree: 100 kB\n"
                                                  "Inactive(file): 200 kB\n"),
                                          &m),
                     0);
    ck_assert_uint_eq(m.available_bytes, 200 * KIB);
    ck_assert_int_eq(kernel_parse_meminfo(STR_LIT("MemTotal: 99999999999999999999 kB\n"
                                                  "MemAvailable: 18446744073709551615 kB\n"),
                                          &m),
                     0);
    ck_assert_uint_eq(m.total_bytes, UINT64_MAX);
    ck_assert_uint_eq(m.available_bytes, UINT64_MAX);

    static const char *const bad[] = {"",
                                      "MemTotal: 5 kB\n",
                                      "MemAvailable: 5 kB\n",
                                      "MemTotal: x kB\nMemAvailable: 5 kB\n",
                                      "MemTotal: 0 kB\nMemAvailable: 0 kB\n",
                                      "MemTotal: 20 kB\nMemAvailable: 5 kB"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(kernel_parse_meminfo(str_from(bad[i]), &m) < 0, "took '%s'", bad[i]);
    }
}
END_TEST

START_TEST(vmstat)
{
    struct kernel_vmstat v = {0};

    ck_assert_int_eq(kernel_parse_vmstat(STR_LIT("workingset_refault_anon 1\n"
                                                 "workingset_refault_file 20\n"
                                                 "pgscan_kswapd 3\npgscan_direct 4\n"
                                                 "pgscan_direct_throttle 1000\n"
                                                 "allocstall_dma32 5\nallocstall_normal 6\n"
                                                 "oom_kill 7\npswpin 8\npswpout 9\n"),
                                         &v),
                     0);
    ck_assert_uint_eq(v.refault_pages, 20);
    ck_assert_uint_eq(v.n_scanned, 7);
    ck_assert_uint_eq(v.n_stalls, 11);
    ck_assert_uint_eq(v.n_oom_kills, 7);
    ck_assert_uint_eq(v.swapped_in_pages, 8);
    ck_assert_uint_eq(v.swapped_out_pages, 9);
    ck_assert_int_eq(kernel_parse_vmstat(STR_LIT("workingset_refault 21\npgscan_direct x\n"), &v),
                     0);
    ck_assert_uint_eq(v.refault_pages, 21); /* before 5.9 */
    ck_assert_uint_eq(v.n_scanned, 0);
    ck_assert_int_lt(kernel_parse_vmstat(STR_LIT("pswpin 8\n"), &v), 0);
}
END_TEST

START_TEST(files_of_groups)
{
    struct kernel_group_stat s = {0};
    struct kernel_group_events e = {0};
    struct kernel_status p = {0};
    uint64_t v = 0;
    bool is_zram = false;

    ck_assert_int_eq(kernel_parse_group_stat(STR_LIT("anon 1\ninactive_file 20\nactive_file 30\n"
                                                     "workingset_refault_file 4\npgscan 5\n"),
                                             &s),
                     0);
    ck_assert_uint_eq(s.inactive_file_bytes, 20);
    ck_assert_uint_eq(s.file_bytes, 50);
    ck_assert_uint_eq(s.refault_pages, 4);
    ck_assert_uint_eq(s.n_scanned, 5);
    /* v1: with the groups below */
    ck_assert_int_eq(kernel_parse_group_stat(STR_LIT("inactive_file 1\nactive_file 1\n"
                                                     "total_inactive_file 7\ntotal_active_file 8\n"
                                                     "total_workingset_refault_file 9\n"),
                                             &s),
                     0);
    ck_assert_uint_eq(s.file_bytes, 15);
    ck_assert_uint_eq(s.refault_pages, 9);
    ck_assert_int_lt(kernel_parse_group_stat(STR_LIT("anon 1\n"), &s), 0);

    ck_assert_int_eq(
        kernel_parse_group_events(STR_LIT("low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n"), &e), 0);
    ck_assert_uint_eq(e.n_throttled, 1);
    ck_assert_uint_eq(e.n_limited, 2);
    ck_assert_uint_eq(e.n_oom_kills, 4);
    ck_assert_int_lt(kernel_parse_group_events(STR_LIT(""), &e), 0);

    ck_assert_int_eq(kernel_parse_limit(STR_LIT("max\n"), &v), 0);
    ck_assert_uint_eq(v, UINT64_MAX);
    ck_assert_int_eq(kernel_parse_limit(STR_LIT("9223372036854771712\n"), &v), 0);
    ck_assert_uint_eq(v, UINT64_MAX); /* v1's way of saying that */
    ck_assert_int_eq(kernel_parse_limit(STR_LIT("4096\n"), &v), 0);
    ck_assert_uint_eq(v, 4096);
    ck_assert_int_lt(kernel_parse_limit(STR_LIT("4096"), &v), 0);
    ck_assert_int_lt(kernel_parse_limit(STR_LIT("maximum\n"), &v), 0);
    ck_assert_int_lt(kernel_parse_limit(STR_NONE, &v), 0);

    ck_assert_int_eq(
        kernel_parse_swaps(STR_LIT("Filename Type\n/dev/zram0 partition 1 0 -2\n"), &is_zram), 0);
    ck_assert(is_zram);
    ck_assert_int_eq(kernel_parse_swaps(STR_LIT("Filename Type\n/dev/zram0 partition 1 0 -2\n"
                                                "/swap file 1 0 -3\n"),
                                        &is_zram),
                     0);
    ck_assert(!is_zram);
    ck_assert_int_eq(kernel_parse_swaps(STR_LIT("Filename Type\n"), &is_zram), 0);
    ck_assert(!is_zram);
    ck_assert_int_lt(kernel_parse_swaps(STR_LIT(""), &is_zram), 0);

    ck_assert_int_eq(kernel_parse_status(STR_LIT("Name:\tx\nVmSwap:\t 4 kB\nRssAnon:\t   12 kB\n"
                                                 "RssFile:\t 8 kB\n"),
                                         &p),
                     0);
    ck_assert_uint_eq(p.rss_anon_bytes, 12 * KIB);
    ck_assert_uint_eq(p.rss_file_bytes, 8 * KIB);
    ck_assert_uint_eq(p.swap_bytes, 4 * KIB);
    ck_assert_int_lt(kernel_parse_status(STR_LIT("Name:\tkthreadd\n"), &p), 0);
}
END_TEST

START_TEST(what_a_group_holds)
{
    struct kernel_group_memory m = {0};

    ck_assert_int_eq(kernel_parse_group_memory(
                         STR_LIT("anon 7\nfile 99\nshmem 5\nfile_mapped 8\nswapcached 3\n"), &m),
                     0);
    ck_assert_uint_eq(m.anon_bytes, 7);
    ck_assert_uint_eq(m.mapped_bytes, 8);
    ck_assert_uint_eq(m.swap_bytes, 0);
    ck_assert_int_eq(
        kernel_parse_group_memory(STR_LIT("cache 1\nrss 2\nmapped_file 3\nswap 4\n"), &m), 0);
    ck_assert_uint_eq(m.anon_bytes, 2);
    ck_assert_uint_eq(m.mapped_bytes, 3);
    ck_assert_uint_eq(m.swap_bytes, 4);
    /* v1: with the groups below */
    ck_assert_int_eq(
        kernel_parse_group_memory(STR_LIT("rss 2\nmapped_file 3\nswap 4\ntotal_rss 20\n"
                                          "total_mapped_file 30\ntotal_swap 40\n"),
                                  &m),
        0);
    ck_assert_uint_eq(m.anon_bytes, 20);
    ck_assert_uint_eq(m.mapped_bytes, 30);
    ck_assert_uint_eq(m.swap_bytes, 40);
    ck_assert_int_eq(
        kernel_parse_group_memory(STR_LIT("anon 99999999999999999999\nfile_mapped 0\n"), &m), 0);
    ck_assert_uint_eq(m.anon_bytes, UINT64_MAX);
    ck_assert_int_lt(kernel_parse_group_memory(STR_LIT(""), &m), 0);
    ck_assert_int_lt(kernel_parse_group_memory(STR_LIT("anon 7\n"), &m), 0);
    ck_assert_int_lt(kernel_parse_group_memory(STR_LIT("anon 7\nfile_mapped 8"), &m), 0);
    ck_assert_int_lt(kernel_parse_group_memory(STR_LIT("anon -7\nfile_mapped 8\n"), &m), 0);
}
END_TEST

START_TEST(processes_of_a_group)
{
    static const char *const bad[] = {"1\n0\n", "1\n2",  "x\n",         "-1\n",
                                      "\n",     "1 2\n", "2147483648\n"};
    unsigned pids[3] = {0};
    size_t n = 9;

    ck_assert_int_eq(kernel_parse_pids(STR_LIT(""), pids, 3, &n), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(kernel_parse_pids(STR_LIT("30\n10\n30\n2147483647\n10\n"), pids, 3, &n), 0);
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(pids[0], 30);
    ck_assert_uint_eq(pids[1], 10);
    ck_assert_uint_eq(pids[2], 2147483647);
    ck_assert_int_eq(kernel_parse_pids(STR_LIT("1\n2\n3\n4\n"), pids, 3, &n), -E2BIG);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(kernel_parse_pids(str_from(bad[i]), pids, 3, &n), -EBADMSG);
    }
    ck_assert_uint_eq(n, 3);
}
END_TEST

START_TEST(group_of_a_process)
{
    static const char text[] =
        "12:pids:/a\n4:cpu,memory:/system.slice/o.service\n1:name=systemd:/x\n"
        "0::/user.slice/a:b\n";
    static const char *const bad[] = {
        "", "\n", "0:", "0::", "0::\n", "0::relative\n", "0::/cut", "4:memory:/only/v1\n"};
    struct str path = STR_NONE;

    ck_assert_int_eq(kernel_parse_group(str_from(text), "", &path), 0);
    ck_assert_str_is(path, "/user.slice/a:b");
    ck_assert_int_eq(kernel_parse_group(str_from(text), "memory", &path), 0);
    ck_assert_str_is(path, "/system.slice/o.service");
    ck_assert_int_lt(kernel_parse_group(str_from(text), "mem", &path), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(kernel_parse_group(str_from(bad[i]), "", &path) < 0, "took '%s'", bad[i]);
    }
}
END_TEST

START_TEST(listening_sockets)
{
    static const char *const bad[] = {
        "",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt",
        "   0: 0100007F:2CAA 00000000:0000 01 00000000:00000000 00:00000000 00000000 1000 0 12345 1",
        "   0: 0100007F:2CAX 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0 12345 1",
        "   0: 0100007F 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0 12345 1",
        "   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000"};
    unsigned port = 0;
    uint64_t inode = 0;

    ck_assert_int_eq(kernel_parse_listener(
                         STR_LIT("   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 "
                                 "00:00000000 00000000  1000        0 12345 1 0000 100 0 0 10 0"),
                         &port, &inode),
                     0);
    ck_assert_uint_eq(port, 11434);
    ck_assert_uint_eq(inode, 12345);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(kernel_parse_listener(str_from(bad[i]), &port, &inode) < 0, "took '%s'",
                      bad[i]);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, psi);
    tcase_add_test(tc, meminfo);
    tcase_add_test(tc, vmstat);
    tcase_add_test(tc, files_of_groups);
    tcase_add_test(tc, what_a_group_holds);
    tcase_add_test(tc, processes_of_a_group);
    tcase_add_test(tc, group_of_a_process);
    tcase_add_test(tc, listening_sockets);
}
TEST_MAIN("kernel_text", add_tests)
