/*
 * The service manager's limit, read from trees of files that look like the kernel's, and what is
 * made of it.
 */
#include "memory_limit.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "support.h"

#define MIB       ((size_t) 1 << 20)
#define UNIT      "/sys/fs/cgroup/system.slice/sluice.service"
#define OWN_GROUP "12:pids:/elsewhere\n0::/system.slice/sluice.service\n"

static char g_root[64];

static void put(const char *path, const char *text)
{
    char full[256];
    FILE *file;

    (void) snprintf(full, sizeof full, "%s%s", g_root, path);
    for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void) mkdir(full, 0700);
        *slash = '/';
    }
    file = fopen(full, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void setup(void)
{
    (void) snprintf(g_root, sizeof g_root, "/tmp/sluice-limit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(g_root));
}

static void teardown(void)
{
    ck_assert_int_eq(nftw(g_root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

START_TEST(the_units_own_limit)
{
    put("/proc/self/cgroup", OWN_GROUP);
    put(UNIT "/memory.max", "67108864\n");
    put("/sys/fs/cgroup/system.slice/memory.max", "max\n");
    ck_assert_uint_eq(memory_limit_bytes(g_root), 64 * MIB);
}
END_TEST

START_TEST(the_least_of_all_above_counts)
{
    put("/proc/self/cgroup", OWN_GROUP);
    put(UNIT "/memory.max", "67108864\n");
    put("/sys/fs/cgroup/system.slice/memory.max", "33554432\n");
    ck_assert_uint_eq(memory_limit_bytes(g_root), 32 * MIB);
    put("/sys/fs/cgroup/memory.max", "1048576\n"); /* as in a container */
    ck_assert_uint_eq(memory_limit_bytes(g_root), MIB);
}
END_TEST

START_TEST(the_root_of_the_hierarchy)
{
    put("/proc/self/cgroup", "0::/\n");
    ck_assert_uint_eq(memory_limit_bytes(g_root), SIZE_MAX);
    put("/sys/fs/cgroup/memory.max", "1048576\n");
    ck_assert_uint_eq(memory_limit_bytes(g_root), MIB);
}
END_TEST

START_TEST(nothing_to_be_read_is_no_limit)
{
    static const char *const odd[] = {"", "max", "-1", "18446744073709551616", "12 MiB", "\n"};
    static const char *const no_group[] = {"", "4:memory:/system.slice\n", "0:", "x0::/a"};

    ck_assert_uint_eq(memory_limit_bytes(g_root), SIZE_MAX);
    for (size_t i = 0; i < sizeof no_group / sizeof no_group[0]; i++) {
        put("/proc/self/cgroup", no_group[i]);
        ck_assert_uint_eq(memory_limit_bytes(g_root), SIZE_MAX);
    }
    put("/proc/self/cgroup", OWN_GROUP);
    ck_assert_uint_eq(memory_limit_bytes(g_root), SIZE_MAX);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        put(UNIT "/memory.max", odd[i]);
        ck_assert_uint_eq(memory_limit_bytes(g_root), SIZE_MAX);
    }
}
END_TEST

static void check_fit(const char *max, size_t body, size_t buffered, size_t want_body,
                      size_t want_buffered)
{
    put("/proc/self/cgroup", OWN_GROUP);
    put(UNIT "/memory.max", max);
    memory_limit_fit(g_root, &body, &buffered);
    ck_assert_uint_eq(body, want_body);
    ck_assert_uint_eq(buffered, want_buffered);
}

START_TEST(limits_are_lowered_to_what_fits)
{
    check_fit("67108864", 32 * MIB, 64 * MIB, 8 * MIB, 16 * MIB); /* the unit's, the defaults */
    check_fit("67108864", MIB, 64 * MIB, MIB, 16 * MIB);
    check_fit("67108864", 4 * MIB, 12 * MIB, 4 * MIB, 12 * MIB);
    check_fit("67108864", 16 * MIB, 16 * MIB, 16 * MIB, 16 * MIB); /* asked for */
    check_fit("max", 32 * MIB, 64 * MIB, 32 * MIB, 64 * MIB);
    check_fit("4294967296", 32 * MIB, 64 * MIB, 32 * MIB, 64 * MIB);
    check_fit("0", 32 * MIB, 64 * MIB, MIB / 2, MIB); /* as good as it gets */
    check_fit("16777216", 512, 64 * MIB, 512, MIB);
}
END_TEST

static void add_tests(TCase *tc)
{
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_units_own_limit);
    tcase_add_test(tc, the_least_of_all_above_counts);
    tcase_add_test(tc, the_root_of_the_hierarchy);
    tcase_add_test(tc, nothing_to_be_read_is_no_limit);
    tcase_add_test(tc, limits_are_lowered_to_what_fits);
}

TEST_MAIN("memory_limit", add_tests)
