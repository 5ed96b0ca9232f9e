/*
 * Fuzzes kernel/kernel_text and the command lines of runners: every parser takes any text. What is read from a text is read as well
 * from one with a line more that means nothing, and a text without its last byte reads at most what
 * is whole.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel_text.h"
#include "kernel/runner_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void parse_lines(struct str text)
{
    struct str line;
    unsigned port;
    uint64_t inode;

    while (kernel_next_line(&text, &line)) {
        assert(!memchr(line.ptr, '\n', line.len));
        (void) !kernel_parse_listener(line, &port, &inode);
    }
    assert(text.len == 0 || !memchr(text.ptr, '\n', text.len));
}

static void parse_groups(struct str text)
{
    static const char *const controllers[] = {"", "memory"};
    struct str path;

    for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
        if (kernel_parse_group(text, controllers[i], &path) == 0) {
            assert(path.len > 0 && path.ptr[0] == '/' && path.ptr >= text.ptr);
            assert(path.ptr + path.len < text.ptr + text.len);
        }
    }
}

static void parse_numbers(struct str text)
{
    struct kernel_group_events events;
    struct kernel_group_stat stat;
    struct kernel_group_memory memory;
    unsigned pids[4];
    size_t n_pids;
    struct kernel_status status;
    struct kernel_vmstat vmstat;
    struct kernel_meminfo meminfo;
    uint64_t limit;
    bool is_zram;

    if (kernel_parse_meminfo(text, &meminfo) == 0) {
        assert(meminfo.total_bytes > 0);
    }
    if (kernel_parse_group_stat(text, &stat) == 0) {
        assert(stat.file_bytes >= stat.inactive_file_bytes);
    }
    (void) !kernel_parse_group_memory(text, &memory);
    if (kernel_parse_pids(text, pids, ARRAY_LEN(pids), &n_pids) == 0) {
        assert(n_pids <= ARRAY_LEN(pids) && (n_pids == 0 || pids[n_pids - 1] > 0));
    }
    (void) !kernel_parse_vmstat(text, &vmstat);
    (void) !kernel_parse_group_events(text, &events);
    (void) !kernel_parse_status(text, &status);
    (void) !kernel_parse_limit(text, &limit);
    (void) !kernel_parse_swaps(text, &is_zram);
}

static void parse_psi(struct str text, const char *more)
{
    struct kernel_psi a, b;
    int r = kernel_parse_psi(text, &a);
    size_t n = text.len + strlen(more);
    char *longer = malloc(n + 1);

    assert(longer);
    memcpy(longer, text.ptr, text.len);
    memcpy(longer + text.len, more, strlen(more));
    if (r == 0 && text.len > 0 && text.ptr[text.len - 1] == '\n') {
        assert(kernel_parse_psi((struct str) {longer, n}, &b) == 0);
        assert(a.some_total_usec == b.some_total_usec && a.full_total_usec == b.full_total_usec);
    }
    free(longer);
}

static void parse_command(struct str words)
{
    struct str file;

    if (runner_memory_parse_model(words, &file) == 0) {
        assert(file.len > 0 && file.ptr >= words.ptr);
        assert(file.ptr + file.len < words.ptr + words.len && file.ptr[file.len] == '\0');
        assert(!memchr(file.ptr, '/', file.len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str text = {(const char *) bytes, n};

    parse_lines(text);
    parse_groups(text);
    parse_numbers(text);
    parse_command(text);
    parse_psi(text, "cpu total=3\n");
    return 0;
}
