#pragma once
/*
 * What unit tests share: Check, a main() for one suite, allocation failure, files in memory, a
 * recording sink.
 *
 *   START_TEST(name) { ... } END_TEST
 *   static void add_tests(TCase *tc) { tcase_add_test(tc, name); }
 *   TEST_MAIN("json", add_tests)
 */
#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/str.h"
#include "core/ports.h"

int test_main(const char *suite, void (*add_tests)(TCase *tc));
#define TEST_MAIN(suite, add)                                                                      \
    int main(void)                                                                                 \
    {                                                                                              \
        return test_main(suite, add);                                                              \
    }

/*
 * The n-th allocation from now on (1: the next) of our own code fails, once. 0: none. Allocations
 * inside shared libraries are not counted.
 */
void fail_allocation(unsigned n);
/* Has the armed failure happened? */
bool allocation_failed(void);

/*
 * Check allocates where it notes that an assertion held, and for the message of one that did not:
 * that must not meet the armed failure.
 */
void test_mark_point(const char *file, int line);
#define _mark_point(file, line) test_mark_point(file, line)
#define _ck_assert_failed(file, line, ...)                                                         \
    (fail_allocation(0), _ck_assert_failed(file, line, __VA_ARGS__))

/*
 * Runs fn with the 1st, 2nd, ... allocation failing until it runs through without meeting the
 * failure (at most 10,000 rounds). fn must leave nothing behind.
 */
void for_each_failed_allocation(void (*fn)(void));

#define ck_assert_str_is(s, z)                                                                     \
    do {                                                                                           \
        struct str _s = (s);                                                                       \
        ck_assert_msg(str_is(_s, (z)), "is '%.*s', not '%s'", STR_ARG(_s), (z));                   \
    } while (0)

/* A file in memory with text in it, read from the front. The test closes it. */
int memory_file(const char *text);

/*
 * A sink that writes each event as one line of text ("TEXT 0 answer hello") and says FULL when told
 * to.
 */
struct recording_sink {
    struct event_sink sink;
    struct buf lines;
    struct event_grammar grammar;
    bool say_full;
    unsigned n_events;
    bool is_over;
    enum errcode code; /* of FAILED, else ERRCODE_NONE */
};
void recording_sink_init(struct recording_sink *s);
void recording_sink_done(struct recording_sink *s);
/* The lines so far, NUL-terminated. */
const char *recording_sink_text(struct recording_sink *s);
