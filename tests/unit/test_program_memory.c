/*
 * What goes and what stays when a process has settled: this one.
 */
#include "program_memory.h"

#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

/* KiB of that line of /proc/self/status. */
static unsigned long status_of(const char *name)
{
    char line[128];
    unsigned long kib = 0;
    bool found = false;
    FILE *file = fopen("/proc/self/status", "r");

    ck_assert_ptr_nonnull(file);
    while (!found && fgets(line, sizeof line, file)) {
        found = strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':';
        if (found) {
            kib = strtoul(line + strlen(name) + 1, NULL, 10);
        }
    }
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_msg(found, "no %s", name);
    return kib;
}

/* Reads a byte of each page of a library that may be dropped. *ctx: how many libraries. */
static int touch(struct dl_phdr_info *object, size_t size, void *ctx)
{
    unsigned *n = ctx;

    (void) size;
    if (!program_memory_may_drop(object)) {
        return 0;
    }
    ++*n;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        const volatile char *bytes =
            (const volatile char *) (uintptr_t) (object->dlpi_addr + segment->p_vaddr);

        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W)) {
            continue;
        }
        for (size_t at = 0; at < segment->p_filesz; at += 4096) {
            (void) bytes[at];
        }
    }
    return 0;
}

START_TEST(what_is_not_needed_goes)
{
    unsigned n = 0;
    unsigned long before, after;

    ck_assert_int_eq(dl_iterate_phdr(touch, &n), 0);
    ck_assert_uint_ge(n, 2); /* libc and the dynamic linker */
    before = status_of("RssFile");
    program_memory_settle();
    after = status_of("RssFile");
    ck_assert_msg(after < before, "%lu KiB before, %lu after", before, after);
}
END_TEST

START_TEST(what_is_needed_comes_back)
{
    unsigned n = 0, again = 0;
    char text[32];

    ck_assert_int_eq(dl_iterate_phdr(touch, &n), 0);
    program_memory_settle();
    ck_assert_int_eq(snprintf(text, sizeof text, "%.3f", 1.5), 5);
    ck_assert_str_eq(text, "1.500");
    ck_assert_int_eq(dl_iterate_phdr(touch, &again), 0);
    ck_assert_uint_eq(again, n);
}
END_TEST

/* Those of relocated text are not in its file. */
START_TEST(what_may_be_dropped)
{
    ElfW(Dyn) none[] = {{DT_NULL, {0}}};
    ElfW(Dyn) now[] = {{.d_tag = DT_FLAGS, .d_un.d_val = DF_BIND_NOW}, {DT_NULL, {0}}};
    ElfW(Dyn) tag[] = {{.d_tag = DT_TEXTREL}, {DT_NULL, {0}}};
    ElfW(Dyn)
        flag[] = {{.d_tag = DT_FLAGS, .d_un.d_val = DF_TEXTREL | DF_BIND_NOW}, {DT_NULL, {0}}};
    const struct {
        const char *name;
        ElfW(Dyn) * dynamic;
        bool may_drop;
    } rows[] = {
        {"/lib/libnew.so", none, true},
        {"/lib/libnew.so", now, true},
        {"/lib/libold.so", tag, false},
        {"/lib/libold.so", flag, false},
        {"", none, false},                /* the program */
        {"linux-vdso.so.1", none, false}, /* not a file */
        {NULL, none, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const ElfW(Phdr)
            segment = {.p_type = PT_DYNAMIC, .p_vaddr = (ElfW(Addr))(uintptr_t) rows[i].dynamic};
        const struct dl_phdr_info object = {
            .dlpi_name = rows[i].name, .dlpi_phdr = &segment, .dlpi_phnum = 1};

        ck_assert_msg(program_memory_may_drop(&object) == rows[i].may_drop, "row %zu", i);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, what_is_not_needed_goes);
    tcase_add_test(tc, what_is_needed_comes_back);
    tcase_add_test(tc, what_may_be_dropped);
}

TEST_MAIN("program_memory", add_tests)
