/* Which process holds a model and what it takes, from trees of files that look like the kernel's. */
#include "kernel/runner_memory.h"

#include <errno.h>

#include "kernel/kernel_find.h"
#include "kernel_tree.h"
#include "support.h"

#define MIB   (UINT64_C(1) << 20)
#define FILE1 "sha256-1111"
#define FILE2 "sha256-2222"
#define GROUP "/system.slice/ollama.service"

static struct kernel_group g_group;
static struct runner_memory g_memory;
static unsigned g_pid;

/* Words with NULs: each blank is one. */
static void put_words(unsigned pid, const char *words)
{
    char path[600], bytes[8192];
    size_t n = strlen(words);
    FILE *file;

    ck_assert_uint_lt(n, sizeof bytes);
    for (size_t i = 0; i <= n; i++) {
        bytes[i] = words[i] == ' ' ? '\0' : words[i];
    }
    (void) snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    tree_put(path, "");
    (void) snprintf(path, sizeof path, "%s/proc/%u/cmdline", g_root, pid);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, n + 1, file), n + 1);
    ck_assert_int_eq(fclose(file), 0);
}

static void put_status(unsigned pid, const char *text)
{
    char path[64];

    (void) snprintf(path, sizeof path, "/proc/%u/status", pid);
    tree_put(path, text);
}

static void put_runner(unsigned pid, const char *file, unsigned anon_mib)
{
    char text[256];

    (void) snprintf(text, sizeof text, "llama-server --model /var/lib/ollama/blobs/%s --port 4",
                    file);
    put_words(pid, text);
    (void) snprintf(text, sizeof text,
                    "Name:\tllama-server\nRssAnon:\t%u kB\nRssFile:\t10240 kB\nVmSwap:\t1024 kB\n",
                    anon_mib * 1024);
    put_status(pid, text);
}

static int find(const char *file)
{
    return runner_memory_find(g_root, &g_group, file, &g_pid, &g_memory);
}

static void open_group(const char *procs)
{
    struct kernel_group_paths paths;

    tree_put("/sys/fs/cgroup/cgroup.controllers", "memory\n");
    tree_put("/sys/fs/cgroup" GROUP "/memory.current", "1\n");
    if (procs) {
        tree_put("/sys/fs/cgroup" GROUP "/cgroup.procs", procs);
    }
    ck_assert_int_eq(kernel_find_path(GROUP, &paths), 0);
    ck_assert_int_eq(kernel_group_open(&g_group, g_root, &paths), 0);
}

static void setup(void)
{
    tree_setup();
    g_group = (struct kernel_group) {0};
    g_memory = (struct runner_memory) {0};
}

static void teardown(void)
{
    kernel_group_close(&g_group);
    tree_teardown();
}

START_TEST(command_lines)
{
#define LINE(words) {words, sizeof words}
    static const struct {
        struct str words;
        const char *file; /* NULL: none */
    } rows[] = {
        {LINE("llama-server\0--model\0/a/b/sha256-1\0--port\0001"), "sha256-1"},
        {LINE("ollama\0runner\0--ollama-engine\0--model\0/a/sha256-1"), "sha256-1"},
        {LINE("x\0-m\0sha256-1"), "sha256-1"},
        {LINE("x\0--model=/a/sha256-1"), "sha256-1"},
        {LINE("x\0--model\0/a/"), NULL},
        {LINE("x\0--model="), NULL},
        {LINE("x\0--model"), NULL},
        {LINE("x\0--models\0/a/sha256-1"), NULL},
        {LINE("ollama\0serve"), NULL},
        {LINE(""), NULL},
        {{"x\0--model\0/a/sha256-1", 21}, NULL}, /* without its NUL: cut */
        {{NULL, 0}, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str file;
        int r = runner_memory_parse_model(rows[i].words, &file);

        ck_assert_int_eq(r, rows[i].file ? 0 : -EBADMSG);
        ck_assert(r < 0 || str_is(file, rows[i].file));
    }
}
END_TEST

START_TEST(a_process_that_serves_the_model)
{
    put_words(7, "ollama serve");
    put_runner(8, FILE1, 100);
    put_runner(9, FILE2, 200);
    ck_assert_int_eq(find(FILE2), 0);
    ck_assert_uint_eq(g_pid, 9);
    ck_assert_uint_eq(g_memory.anon_bytes, 201 * MIB); /* what is swapped out counts */
    ck_assert_uint_eq(g_memory.file_bytes, 10 * MIB);
    ck_assert_int_eq(find("sha256-3"), -ENOENT);
    ck_assert_uint_eq(g_pid, 9);
}
END_TEST

START_TEST(the_largest_of_several)
{
    put_runner(8, FILE1, 100);
    put_runner(9, FILE1, 300);
    put_runner(10, FILE1, 200);
    ck_assert_int_eq(find(FILE1), 0);
    ck_assert_uint_eq(g_pid, 9);
}
END_TEST

START_TEST(others_do_not_count_where_the_group_is_known)
{
    put_runner(8, FILE1, 100);
    put_runner(9, FILE1, 300);
    open_group("7\n8\nx\n-1\n0\n99999999999999999999\n9");
    ck_assert_int_eq(find(FILE1), 0); /* 9 may be the beginning of 91 */
    ck_assert_uint_eq(g_pid, 8);
    tree_put("/sys/fs/cgroup" GROUP "/cgroup.procs", "");
    ck_assert_int_eq(find(FILE1), -ENOENT);
}
END_TEST

START_TEST(a_group_that_does_not_tell)
{
    put_runner(8, FILE1, 100);
    open_group(NULL);
    ck_assert_int_eq(find(FILE1), 0);
}
END_TEST

START_TEST(a_process_that_ends_or_is_another)
{
    put_runner(8, FILE1, 100);
    ck_assert_int_eq(runner_memory_read(g_root, 8, FILE1, &g_memory), 0);
    put_words(8, "sleep 5");
    ck_assert_int_eq(runner_memory_read(g_root, 8, FILE1, &g_memory), -ENOENT);
    put_runner(8, FILE1, 100);
    tree_remove("/proc/8/status");
    ck_assert_int_eq(runner_memory_read(g_root, 8, FILE1, &g_memory), -ENOENT);
    tree_remove("/proc/8");
    ck_assert_int_eq(runner_memory_read(g_root, 8, FILE1, &g_memory), -ENOENT);
    ck_assert_int_eq(find(FILE1), -ENOENT);
    ck_assert_uint_eq(g_memory.anon_bytes, 101 * MIB); /* untouched */
}
END_TEST

START_TEST(statuses_that_say_nothing)
{
    static const char *const texts[] = {
        "", "Name:\tx\n", "RssAnon:\n", "RssAnon:\tx kB\n", "RssAnon:\t5 kB", "VmSwap:\t5 kB\n"};

    put_runner(8, FILE1, 100);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        put_status(8, texts[i]);
        ck_assert_int_eq(find(FILE1), -ENOENT);
    }
    put_status(8, "RssAnon:\t99999999999999999999999 kB\nVmSwap:\t99999999999999999999 kB\n");
    ck_assert_int_eq(find(FILE1), 0);
    ck_assert_uint_eq(g_memory.anon_bytes, UINT64_MAX);
}
END_TEST

START_TEST(a_long_command_line)
{
    static char text[6000];

    memset(text, 'y', sizeof text - 1);
    memcpy(text, "x ", 2);
    memcpy(text + 5000, " --model /a/" FILE1, sizeof " --model /a/" FILE1);
    put_runner(8, FILE1, 100);
    put_words(8, text);
    ck_assert_int_eq(find(FILE1), -ENOENT); /* beyond what is looked at */
}
END_TEST

START_TEST(no_tree_at_all)
{
    ck_assert_int_eq(runner_memory_find("/nowhere", NULL, FILE1, &g_pid, &g_memory), -ENOENT);
}
END_TEST

static void open_it(void)
{
    struct kernel_group_paths paths;
    int r = kernel_find_path(GROUP, &paths);

    r = r < 0 ? r : kernel_group_open(&g_group, g_root, &paths);
    if (r == 0) {
        ck_assert_int_eq(find(FILE1), 0);
        kernel_group_close(&g_group);
    }
}

START_TEST(every_allocation_may_fail)
{
    put_runner(8, FILE1, 100);
    open_group("8\n");
    kernel_group_close(&g_group);
    for_each_failed_allocation(open_it);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, command_lines);
    tcase_add_test(tc, a_process_that_serves_the_model);
    tcase_add_test(tc, the_largest_of_several);
    tcase_add_test(tc, others_do_not_count_where_the_group_is_known);
    tcase_add_test(tc, a_group_that_does_not_tell);
    tcase_add_test(tc, a_process_that_ends_or_is_another);
    tcase_add_test(tc, statuses_that_say_nothing);
    tcase_add_test(tc, a_long_command_line);
    tcase_add_test(tc, no_tree_at_all);
    tcase_add_test(tc, every_allocation_may_fail);
}
TEST_MAIN("runner_memory", add_tests)
