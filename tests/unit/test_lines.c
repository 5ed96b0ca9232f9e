/*
 * Lines: ends, splits anywhere, the maximum, stopping, out of memory.
 */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "wire/lines.h"

#define MAX_LINE 16

/* Writes "[line]" for each line; returns `stop_with` at line number stop_at. */
struct record {
    struct buf text;
    unsigned n_lines, stop_at;
    int stop_with;
};

static int on_line(void *ctx, struct str line)
{
    struct record *rec = ctx;

    ck_assert_int_eq(buf_printf(&rec->text, "[%.*s]", STR_ARG(line)), 0);
    return ++rec->n_lines == rec->stop_at ? rec->stop_with : 0;
}

/*
 * Feeds text in pieces of step bytes (0: at once), each in memory of its own size, and ends it.
 * Returns the first answer that is not 0.
 */
static int feed(struct str text, size_t step, struct record *rec)
{
    struct lines l;
    int r = 0;

    buf_init(&rec->text, 64 * 1024);
    lines_init(&l, MAX_LINE);
    while (r == 0 && text.len > 0) {
        size_t n = step > 0 && step < text.len ? step : text.len;
        char *piece = malloc(n);

        if (!piece) {
            ck_abort_msg("out of memory");
        }
        memcpy(piece, text.ptr, n);
        r = lines_feed(&l, (struct str) {piece, n}, on_line, rec);
        free(piece);
        text = (struct str) {text.ptr + n, text.len - n};
    }
    if (r == 0) {
        r = lines_end(&l, on_line, rec);
    }
    lines_done(&l);
    return r;
}

static const struct {
    struct str bytes;
    const char *lines;
    int r;
} table[] = {
    {STR_LIT(""), "", 0},
    {STR_LIT("\n"), "[]", 0},
    {STR_LIT("a\n"), "[a]", 0},
    {STR_LIT("a"), "[a]", 0},
    {STR_LIT("a\nb"), "[a][b]", 0},
    {STR_LIT("a\r\nb\r\n"), "[a][b]", 0},
    {STR_LIT("a\rb\n"), "[a\rb]", 0},
    {STR_LIT("a\r\r\n"), "[a\r]", 0},
    {STR_LIT("\r\n\r\n"), "[][]", 0},
    {STR_LIT("last\r"), "[last]", 0},
    {STR_LIT("{\"a\":1}\n\n{\"b\":2}\n"), "[{\"a\":1}][][{\"b\":2}]", 0},
    {STR_LIT("exactly sixteen!\n"), "[exactly sixteen!]", 0},
    {STR_LIT("exactly sixteen!\r\n"), "[exactly sixteen!]", 0},
    {STR_LIT("exactly sixteen!"), "[exactly sixteen!]", 0},
    {STR_LIT("exactly sixteen!\r"), "[exactly sixteen!]", 0},
    {STR_LIT("seventeen is more\n"), "", -EMSGSIZE},
    {STR_LIT("seventeen is more\r\n"), "", -EMSGSIZE},
    {STR_LIT("seventeen is more"), "", -EMSGSIZE},
    {STR_LIT("eighteen is more ."), "", -EMSGSIZE},
    {STR_LIT("ok\neighteen is more .\n"), "[ok]", -EMSGSIZE},
};

START_TEST(splits_do_not_matter)
{
    static const size_t steps[] = {0, 1, 2, 3, 5, 7};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            struct record rec = {0};
            int r = feed(table[i].bytes, steps[k], &rec);

            ck_assert_msg(r == table[i].r, "%zu by %zu is %d", i, steps[k], r);
            ck_assert_str_is(buf_str(&rec.text), table[i].lines);
            buf_done(&rec.text);
        }
    }
}
END_TEST

START_TEST(lines_within_a_feed_are_not_copied)
{
    struct record rec = {0};
    struct lines l;

    buf_init(&rec.text, 64);
    lines_init(&l, MAX_LINE);
    ck_assert_int_eq(lines_feed(&l, STR_LIT("a\nb\nc\n"), on_line, &rec), 0);
    ck_assert_ptr_null(l.pending.base);
    ck_assert_uint_eq(rec.n_lines, 3);
    lines_done(&l);
    buf_done(&rec.text);
}
END_TEST

START_TEST(stops_where_told)
{
    for (size_t step = 0; step < 3; step++) {
        struct record rec = {.stop_at = 2, .stop_with = -ECANCELED};

        ck_assert_int_eq(feed(STR_LIT("a\nb\nc\n"), step, &rec), -ECANCELED);
        ck_assert_str_is(buf_str(&rec.text), "[a][b]");
        buf_done(&rec.text);
        rec = (struct record) {.stop_at = 2, .stop_with = 1};
        ck_assert_int_eq(feed(STR_LIT("a\nb"), step, &rec), 1);
        ck_assert_str_is(buf_str(&rec.text), "[a][b]");
        buf_done(&rec.text);
    }
}
END_TEST

/* xorshift64: a failure can be repeated. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

START_TEST(random_splits_give_the_same_lines)
{
    static const char letters[] = "ab\n\n\r c";
    uint64_t state = 4711;

    for (unsigned round = 0; round < 3000; round++) {
        struct record whole = {0}, split = {0};
        char text[64];
        size_t n = next_random(&state) % sizeof text;

        for (size_t i = 0; i < n; i++) {
            text[i] = letters[next_random(&state) % (sizeof letters - 1)];
        }

        int r = feed((struct str) {text, n}, 0, &whole);

        ck_assert_int_eq(feed((struct str) {text, n}, 1 + next_random(&state) % 9, &split), r);
        ck_assert(str_is_equal(buf_str(&whole.text), buf_str(&split.text)));
        buf_done(&whole.text);
        buf_done(&split.text);
    }
}
END_TEST

static int count_line(void *ctx, struct str line)
{
    ++*(unsigned *) ctx;
    return 0;
}

static void feed_some(void)
{
    struct lines l;
    unsigned n_lines = 0;

    lines_init(&l, 4096);

    int r = lines_feed(&l, STR_LIT("one\nanother li"), count_line, &n_lines);

    if (r == 0) {
        r = lines_feed(&l, STR_LIT("ne\n"), count_line, &n_lines);
    }
    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    ck_assert_uint_eq(n_lines, allocation_failed() ? 1 : 2);
    lines_done(&l);
}

START_TEST(allocation_failures)
{
    for_each_failed_allocation(feed_some);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, splits_do_not_matter);
    tcase_add_test(tc, lines_within_a_feed_are_not_copied);
    tcase_add_test(tc, stops_where_told);
    tcase_add_test(tc, random_splits_give_the_same_lines);
    tcase_add_test(tc, allocation_failures);
}

TEST_MAIN("lines", add_tests)
