/*
 * The base layer: buf, str, arena, num, kv, list, clock arithmetic, fdio, and what log puts on
 * standard error.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fdio.h"
#include "base/kv.h"
#include "base/list.h"
#include "base/log.h"
#include "base/num.h"

/* ---- buf */

START_TEST(buf_appends_and_consumes)
{
    struct buf b;

    buf_init(&b, 100);
    ck_assert_str_is(buf_str(&b), "");
    ck_assert_ptr_nonnull(buf_ptr(&b));
    ck_assert_int_eq(buf_append(&b, NULL, 0), 0);
    ck_assert_int_eq(buf_append_z(&b, "hello "), 0);
    ck_assert_int_eq(buf_append_str(&b, STR_LIT("world")), 0);
    ck_assert_int_eq(buf_append_char(&b, '!'), 0);
    ck_assert_int_eq(buf_printf(&b, " %d%s", 42, "x"), 0);
    ck_assert_str_is(buf_str(&b), "hello world! 42x");
    buf_consume(&b, 6);
    ck_assert_str_is(buf_str(&b), "world! 42x");
    ck_assert_str_eq(buf_z(&b), "world! 42x");
    ck_assert_uint_eq(b.len, 10);
    buf_consume(&b, 10);
    ck_assert_uint_eq(b.start, 0); /* empty again: the front is free */
    buf_clear(&b);
    ck_assert_str_eq(buf_z(&b), "");
    buf_done(&b);
    buf_done(&b);
    ck_assert_int_eq(buf_append_z(&b, "again"), 0);
    ck_assert_str_is(buf_str(&b), "again");
    buf_done(&b);
}
END_TEST

START_TEST(buf_has_a_maximum)
{
    struct buf b;

    buf_init(&b, 8);
    ck_assert_int_eq(buf_append_z(&b, "1234567"), 0);
    ck_assert_uint_eq(buf_room(&b), 1);
    ck_assert_int_eq(buf_append_z(&b, "89"), -ENOBUFS);
    ck_assert_int_eq(buf_printf(&b, "%d", 89), -ENOBUFS);
    ck_assert_ptr_null(buf_reserve(&b, 2));
    ck_assert_str_is(buf_str(&b), "1234567");
    ck_assert_int_eq(buf_append_char(&b, '8'), 0);
    ck_assert_int_eq(buf_append_char(&b, '9'), -ENOBUFS);
    ck_assert_str_eq(buf_z(&b), "12345678"); /* the NUL is not counted */
    buf_consume(&b, 3);
    ck_assert_int_eq(buf_append_z(&b, "9ab"), 0);
    ck_assert_str_is(buf_str(&b), "456789ab");
    buf_done(&b);
}
END_TEST

/* A queue that is filled and drained for long stays as small as what it holds. */
START_TEST(buf_reuses_its_front)
{
    struct buf b;
    unsigned in = 0, out = 0;

    buf_init(&b, 64 * 1024);
    for (unsigned round = 0; round < 500; round++) {
        char word[16];

        for (unsigned i = 0; i < 10; i++) {
            ck_assert_int_eq(buf_printf(&b, "%07u ", in++), 0);
        }
        for (unsigned i = 0; i < 10; i++) {
            (void) snprintf(word, sizeof word, "%07u ", out++);
            ck_assert(str_has_prefix(buf_str(&b), word));
            buf_consume(&b, 8);
            if (i == 4 && round == 0) {
                break; /* leaves half a round in it */
            }
        }
        ck_assert_uint_le(b.cap, 1024);
    }
    buf_done(&b);
}
END_TEST

START_TEST(buf_trims)
{
    struct buf b;

    buf_init(&b, 1024 * 1024);
    ck_assert_ptr_nonnull(buf_reserve(&b, 100000));
    buf_commit(&b, 100000);
    buf_trim(&b);
    ck_assert_uint_gt(b.cap, 100000); /* in use */
    memset(b.base, 'x', 100000);
    buf_consume(&b, 99990);
    buf_trim(&b);
    ck_assert_uint_le(b.cap, 16);
    ck_assert_str_is(buf_str(&b), "xxxxxxxxxx");
    ck_assert_str_eq(buf_z(&b), "xxxxxxxxxx");
    ck_assert_ptr_nonnull(buf_reserve(&b, 100000));
    buf_clear(&b);
    buf_trim(&b);
    ck_assert_uint_eq(b.cap, 0);
    ck_assert_int_eq(buf_append_z(&b, "small"), 0);
    buf_clear(&b);
    buf_trim(&b);
    ck_assert_ptr_nonnull(b.base); /* below a page it keeps what it has */
    buf_done(&b);
}
END_TEST

/* ---- str */

START_TEST(str_compares)
{
    ck_assert(str_is(STR_LIT("abc"), "abc") && !str_is(STR_LIT("abc"), "abcd") &&
              !str_is(STR_LIT("abc"), "abd"));
    ck_assert(str_is(STR_NONE, "") && str_is_equal(STR_NONE, STR_LIT("")));
    ck_assert(str_is_nocase(STR_LIT("Content-Length"), "content-length") &&
              !str_is_nocase(STR_LIT("a"), "ab"));
    ck_assert(str_is_nocase(STR_NONE, "") && !str_is_nocase(STR_NONE, "a"));
    ck_assert(str_has_prefix(STR_LIT("abc"), "ab") && str_has_prefix(STR_NONE, "") &&
              !str_has_prefix(STR_LIT("a"), "ab"));
    ck_assert_str_is(str_trim(STR_LIT(" \t a b\t ")), "a b");
    ck_assert_str_is(str_trim(STR_LIT(" \t ")), "");
    ck_assert_str_is(str_trim(STR_NONE), "");
    ck_assert_ptr_null(str_from(NULL).ptr);
}
END_TEST

START_TEST(str_knows_utf8)
{
    static const struct {
        struct str s;
        bool is_utf8;
        size_t tail;
    } table[] = {
        {STR_LIT(""), true, 0},
        {STR_LIT("abc\x7f\0"), true, 0},
        {STR_LIT("\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), true,
         0},
        {STR_LIT("\xed\x9f\xbf\xee\x80\x80"), true, 0},
        {STR_LIT("a\xc3"), false, 1},
        {STR_LIT("a\xe2\x82"), false, 2},
        {STR_LIT("a\xe2"), false, 1},
        {STR_LIT("\xf0\x9f\x98"), false, 3},
        {STR_LIT("\xf0\x9f"), false, 2},
        {STR_LIT("\xf0"), false, 1},
        {STR_LIT("\x80"), false, 0},
        {STR_LIT("\xc0\xaf"), false, 0},
        {STR_LIT("\xc1\xbf"), false, 0},
        {STR_LIT("\xe0\x9f\xbf"), false, 0},
        {STR_LIT("\xed\xa0\x80"), false, 0},
        {STR_LIT("\xf0\x8f\xbf\xbf"), false, 0},
        {STR_LIT("\xf4\x90\x80\x80"), false, 0},
        {STR_LIT("\xf5\x80\x80\x80"), false, 0},
        {STR_LIT("\xff"), false, 0},
        {STR_LIT("\xe2\x82\x28"), false, 0},
        {STR_LIT("\x80\x80\x80\x80"), false, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_msg(str_is_utf8(table[i].s) == table[i].is_utf8, "%zu", i);
        ck_assert_msg(str_utf8_tail(table[i].s) == table[i].tail, "%zu: %zu", i,
                      str_utf8_tail(table[i].s));
    }
    ck_assert(str_is(str_clip(STR_LIT("ab\xc3\xa9"), 4), "ab\xc3\xa9"));
    ck_assert(str_is(str_clip(STR_LIT("ab\xc3\xa9"), 3), "ab"));
    ck_assert(str_is(str_clip(STR_LIT("ab\xc3\xa9"), 1), "a"));
    ck_assert_uint_eq(str_clip(STR_LIT("\xc3\xa9"), 0).len, 0);
}
END_TEST

/* ---- arena */

START_TEST(arena_gives_zeroed_aligned_memory)
{
    struct arena a;

    arena_init(&a, 1024 * 1024);
    for (size_t n = 0; n < 3000; n += 7) {
        char *p = arena_alloc(&a, n);

        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t) p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < n; i++) {
            if (p[i] != 0) {
                ck_abort_msg("byte %zu of %zu is not zero", i, n);
            }
            p[i] = 'x';
        }
    }

    struct str copy = arena_copy(&a, STR_LIT("hello"));

    ck_assert_str_is(copy, "hello");
    ck_assert_int_eq(copy.ptr[5], '\0');
    ck_assert_ptr_null(arena_copy(&a, STR_NONE).ptr);
    ck_assert_str_is(arena_copy(&a, STR_LIT("")), "");
    ck_assert_ptr_nonnull(arena_copy(&a, STR_LIT("")).ptr);
    arena_done(&a);
    ck_assert_uint_eq(a.used_bytes, 0);
    ck_assert_ptr_nonnull(arena_alloc(&a, 1));
    arena_done(&a);
}
END_TEST

START_TEST(arena_has_a_budget)
{
    struct arena a;
    size_t n = 0;

    arena_init(&a, 10000);
    ck_assert_ptr_null(arena_alloc(&a, 10001));
    ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX));
    ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX - 64));
    ck_assert_ptr_null(arena_array(&a, SIZE_MAX / 2, 4));
    ck_assert_ptr_nonnull(arena_array(&a, 10, 16));
    while (arena_alloc(&a, 100)) {
        n += 100;
    }
    ck_assert_uint_ge(n, 8500); /* nearly all of it was of use */
    ck_assert_uint_le(a.used_bytes, 10000);
    arena_done(&a);
    arena_init(&a, 0);
    ck_assert_ptr_null(arena_alloc(&a, 1));
}
END_TEST

/*
 * One large item (a body) costs its own size, wherever it comes, and small ones go on in small
 * blocks.
 */
START_TEST(arena_with_a_large_item)
{
    struct arena a;

    for (unsigned at = 0; at < 40; at += 13) {
        arena_init(&a, 64 * 1024 * 1024);
        for (unsigned i = 0; i < 40; i++) {
            ck_assert_ptr_nonnull(arena_alloc(&a, i == at ? 1024 * 1024 : 64));
        }
        ck_assert_uint_le(a.used_bytes, 1024 * 1024 + 8192);
        arena_done(&a);
    }
}
END_TEST

/* ---- num */

START_TEST(num_integers)
{
    static const struct {
        const char *text;
        int r_u64, r_i64;
        uint64_t u64;
        int64_t i64;
    } table[] = {
        {"0", 0, 0, 0, 0},
        {"007", 0, 0, 7, 7},
        {"18446744073709551615", 0, -ERANGE, UINT64_MAX, 0},
        {"18446744073709551616", -ERANGE, -ERANGE, 0, 0},
        {"9223372036854775807", 0, 0, INT64_MAX, INT64_MAX},
        {"9223372036854775808", 0, -ERANGE, 9223372036854775808U, 0},
        {"-9223372036854775808", -EINVAL, 0, 0, INT64_MIN},
        {"-9223372036854775809", -EINVAL, -ERANGE, 0, 0},
        {"-0", -EINVAL, 0, 0, 0},
        {"", -EINVAL, -EINVAL, 0, 0},
        {"-", -EINVAL, -EINVAL, 0, 0},
        {"+1", -EINVAL, -EINVAL, 0, 0},
        {" 1", -EINVAL, -EINVAL, 0, 0},
        {"1 ", -EINVAL, -EINVAL, 0, 0},
        {"1x", -EINVAL, -EINVAL, 0, 0},
        {"--1", -EINVAL, -EINVAL, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        uint64_t u = 0;
        int64_t s = 0;

        ck_assert_msg(num_parse_u64(str_from(table[i].text), &u) == table[i].r_u64, "%s",
                      table[i].text);
        ck_assert_msg(num_parse_i64(str_from(table[i].text), &s) == table[i].r_i64, "%s",
                      table[i].text);
        ck_assert_uint_eq(u, table[i].u64);
        ck_assert_int_eq(s, table[i].i64);
    }
}
END_TEST

/* Against strtod(), which is right to the last bit, in the C locale that tests run in. */
START_TEST(num_doubles)
{
    static const char *const good[] = {
        "0",
        "-0",
        "1",
        "0.1",
        "0.7",
        "1e22",
        "1e23",
        "9007199254740993",
        "123456789012345678901234567890",
        "1.7976931348623157e308",
        "2.2250738585072014e-308",
        "4.9406564584124654e-324",
        "1e-400",
        "0.000000000000000000000000000000000000000001",
        "3.0e+2",
        "1E-2",
        "0.30000000000000004",
        "5e-324",
        "1e0",
        "100000000000000000000000000e-20",
        "0e99999999999999999999",
        "1e-99999999999999999999",
        "7205759403792793199999e-5",
    };
    static const char *const bad[] = {"",   "-",  ".5",    "5.",  "1e",  "1e+", "e5",  "+1",
                                      " 1", "1 ", "1.2.3", "0x1", "nan", "inf", "1,5", "--1"};
    double v;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_int_eq(num_parse_double(str_from(good[i]), &v), 0);
        ck_assert_msg(v == strtod(good[i], NULL), "%s is %.17g", good[i], v);
    }
    ck_assert_int_eq(num_parse_double(STR_LIT("-0"), &v), 0);
    ck_assert(signbit(v));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(num_parse_double(str_from(bad[i]), &v) == -EINVAL, "%s", bad[i]);
    }
    ck_assert_int_eq(num_parse_double(STR_LIT("1e309"), &v), -ERANGE);
    ck_assert_int_eq(num_parse_double(STR_LIT("-1e99999999999999999999"), &v), -ERANGE);
}
END_TEST

START_TEST(num_durations)
{
    static const struct {
        const char *text;
        uint64_t usec;
    } good[] = {
        {"0", 0},
        {"10us", 10},
        {"250ms", 250000},
        {"30s", 30 * USEC_PER_SEC},
        {"5m", 300 * USEC_PER_SEC},
        {"5min", 300 * USEC_PER_SEC},
        {"1h30m", 5400 * USEC_PER_SEC},
        {"2d", 172800 * USEC_PER_SEC},
        {"1.5s", 1500000},
        {"0s", 0},
        {"1h0.5s", 3600500000},
    };
    static const char *const bad[] = {"",    "30", "s",     "-1s",  "+1s", "1 s", " 1s",
                                      "1s ", "1x", "1..5s", "1e3s", "1S",  "1.s", "5s5"};
    uint64_t v;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_msg(num_parse_duration(str_from(good[i].text), &v) == 0, "%s", good[i].text);
        ck_assert_uint_eq(v, good[i].usec);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(num_parse_duration(str_from(bad[i]), &v) == -EINVAL, "%s", bad[i]);
    }
    ck_assert_int_eq(num_parse_duration(STR_LIT("1000000000000d"), &v), -ERANGE);
    ck_assert_int_eq(num_parse_duration(STR_LIT("100000000d100000000d100000000d"), &v), -ERANGE);
}
END_TEST

START_TEST(num_sizes)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},           {"512B", 512},        {"64KiB", 65536},
                {"4MiB", 4194304},  {"1GiB", 1073741824}, {"1kB", 1000},
                {"1.5MB", 1500000}, {"2GB", 2000000000}};
    static const char *const bad[] = {"",    "64",    "KiB",    "64kib", "64K",
                                      "-1B", "1 MiB", "1MiB1B", "1TiB"};
    uint64_t v;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_msg(num_parse_size(str_from(good[i].text), &v) == 0, "%s", good[i].text);
        ck_assert_uint_eq(v, good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(num_parse_size(str_from(bad[i]), &v) == -EINVAL, "%s", bad[i]);
    }
    ck_assert_int_eq(num_parse_size(STR_LIT("99999999999999GiB"), &v), -ERANGE);
}
END_TEST

START_TEST(num_formats_durations_that_parse_back)
{
    static const uint64_t table[] = {0,          1,          999,         1000,      1500,
                                     250000,     1500000,    30000000,    60000000,  90000000,
                                     3600000000, 5400000000, 86400000000, 3661000000};
    char text[32];
    uint64_t v;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_int_eq(num_parse_duration(str_from(num_format_duration(table[i], text)), &v), 0);
        ck_assert_uint_eq(v, table[i]);
    }
    ck_assert_str_eq(num_format_duration(250000, text), "250ms");
    ck_assert_str_eq(num_format_duration(USEC_NEVER, text), "never");
}
END_TEST

START_TEST(usec_arithmetic_saturates)
{
    ck_assert_uint_eq(usec_add(1, 2), 3);
    ck_assert_uint_eq(usec_add(USEC_NEVER, 1), USEC_NEVER);
    ck_assert_uint_eq(usec_add(1, USEC_NEVER), USEC_NEVER);
    ck_assert_uint_eq(usec_add(USEC_NEVER - 1, 5), USEC_NEVER);
    ck_assert_uint_eq(usec_since(5, 3), 2);
    ck_assert_uint_eq(usec_since(3, 5), 0);
    ck_assert_uint_eq(num_clamp_u64(5, 1, 3), 3);
    ck_assert_uint_eq(num_clamp_u64(0, 1, 3), 1);
    ck_assert_uint_le(clock_now_usec(), clock_now_usec());
}
END_TEST

/* ---- kv, list */

START_TEST(kv_keeps_options)
{
    struct kv kv = {0}, copy = {0};
    char name[8];

    ck_assert_int_eq(kv_set(&kv, STR_LIT("a"), STR_LIT("1")), 0);
    ck_assert_int_eq(kv_set(&kv, STR_LIT("b"), STR_LIT("2")), 0);
    ck_assert_int_eq(kv_set(&kv, STR_LIT("a"), STR_LIT("3")), 0);
    ck_assert_str_eq(kv_find(&kv, "a"), "3");
    ck_assert_uint_eq(kv.n_items, 2);
    ck_assert_str_eq(kv.items[0].name, "a"); /* in the order of their first setting */
    ck_assert_ptr_null(kv_find(&kv, "A"));
    ck_assert_int_eq(kv_copy(&kv, &copy), 0);
    kv_done(&kv);
    ck_assert_ptr_null(kv_find(&kv, "a"));
    ck_assert_str_eq(kv_find(&copy, "b"), "2");
    for (size_t i = copy.n_items; i < KV_MAX; i++) {
        (void) snprintf(name, sizeof name, "n%zu", i);
        ck_assert_int_eq(kv_set(&copy, str_from(name), STR_LIT("v")), 0);
    }
    ck_assert_int_eq(kv_set(&copy, STR_LIT("one more"), STR_LIT("v")), -ENOBUFS);
    ck_assert_int_eq(kv_set(&copy, STR_LIT("a"), STR_LIT("still")), 0);
    kv_done(&copy);
}
END_TEST

struct item {
    int value;
    struct list link;
};

START_TEST(list_links_and_unlinks)
{
    struct item items[4];
    struct list l;
    int sum = 0;

    list_init(&l);
    ck_assert(list_is_empty(&l));
    ck_assert_ptr_null(list_first(&l));
    for (int i = 0; i < 4; i++) {
        items[i].value = i;
        list_init(&items[i].link);
        ck_assert(!list_is_linked(&items[i].link));
    }
    list_append(&l, &items[1].link);
    list_append(&l, &items[3].link);
    list_prepend(&l, &items[0].link);
    list_insert_before(&items[3].link, &items[2].link);
    list_for_each (pos, &l) {
        ck_assert_int_eq(CONTAINER_OF(pos, struct item, link)->value, sum++);
    }
    ck_assert_int_eq(sum, 4);
    list_for_each_safe (pos, &l) {
        if (CONTAINER_OF(pos, struct item, link)->value % 2 == 0) {
            list_remove(pos);
            list_remove(pos); /* once more changes nothing */
        }
    }
    ck_assert(!list_is_linked(&items[0].link) && list_is_linked(&items[1].link));
    ck_assert_ptr_eq(list_first(&l), &items[1].link);
    list_remove(&items[1].link);
    list_remove(&items[3].link);
    ck_assert(list_is_empty(&l));
}
END_TEST

/* ---- fdio */

/* A file in memory with text in it, at the front. */
static int memory_file(const char *text)
{
    int fd = memfd_create("test_base", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t) strlen(text));
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

START_TEST(fdio_reads_files)
{
    CLEANUP(fd_closep) int fd = memory_file("0123456789");
    char path[64], text[8];
    struct buf b;

    (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    buf_init(&b, 10);
    ck_assert_int_eq(fdio_read_file(path, &b), 0);
    ck_assert_str_is(buf_str(&b), "0123456789");
    buf_done(&b);
    buf_init(&b, 9);
    ck_assert_int_eq(fdio_read_file(path, &b), -EFBIG);
    buf_done(&b);
    buf_init(&b, 9);
    ck_assert_int_eq(fdio_read_file("/nonexistent/file", &b), -ENOENT);
    ck_assert_int_eq(fdio_read_file("/", &b), -EISDIR);
    buf_done(&b);
    ck_assert_int_eq(fdio_pread_text(fd, text, sizeof text), 7);
    ck_assert_str_eq(text, "0123456");
    ck_assert_int_eq(fdio_pread_text(-1, text, sizeof text), -EBADF);
}
END_TEST

START_TEST(fdio_sets_and_closes)
{
    int fd = memory_file("");

    ck_assert_int_eq(fd_set_nonblocking(fd), 0);
    ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    errno = EDOM;
    ck_assert_int_eq(fd_close(fd), -1);
    ck_assert_int_eq(fd_close(-1), -1);
    ck_assert_int_eq(errno, EDOM);
    ck_assert_int_eq(fd_set_nonblocking(fd), -EBADF);
}
END_TEST

START_TEST(fdio_opens_standard)
{
    CLEANUP(fd_closep) int input = dup(STDIN_FILENO);
    CLEANUP(fd_closep) int output = dup(STDOUT_FILENO);

    ck_assert_int_eq(fd_open_standard(), 0); /* nothing is missing */
    (void) close(STDIN_FILENO);
    (void) close(STDOUT_FILENO);
    ck_assert_int_eq(fd_open_standard(), 0);
    ck_assert_int_eq(read(STDIN_FILENO, (char[1]) {0}, 1), 0);
    ck_assert_int_eq(write(STDOUT_FILENO, "x", 1), 1);
    ck_assert_int_ge(dup2(output, STDOUT_FILENO), 0);
    if (input >= 0) {
        ck_assert_int_ge(dup2(input, STDIN_FILENO), 0);
    }
}
END_TEST

/* ---- log */

/* What one record is on standard error. */
static const char *logged(enum log_format format, struct str message,
                          const struct log_field *fields, size_t n_fields)
{
    static char text[8192];
    CLEANUP(fd_closep) int saved = dup(STDERR_FILENO);
    CLEANUP(fd_closep) int fd = memory_file("");

    ck_assert_int_ge(saved, 0);
    (void) fflush(stderr);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    log_setup(format, LOG_LEVEL_INFO);
    log_record(LOG_LEVEL_WARNING, "0123456789abcdef0123456789abcdef", message, fields, n_fields);
    log_record(LOG_LEVEL_DEBUG, NULL, STR_LIT("not shown"), NULL, 0);
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    ck_assert_int_ge(fdio_pread_text(fd, text, sizeof text), 0);
    return text;
}

START_TEST(log_lines)
{
    static const struct log_field fields[] = {
        {"A", STR_LIT("plain")},         {"B", STR_LIT("two words \"quoted\"")}, {"C", STR_LIT("")},
        {"D", STR_LIT("line\nend\x7f")}, {"E", STR_LIT("\xc3\xa9\xff")},
    };

    ck_assert_str_eq(
        logged(LOG_FORMAT_TEXT, STR_LIT("it \"happened\""), fields, ARRAY_LEN(fields)),
        "sluiced: warning: it \\\"happened\\\" A=plain B=\"two words \\\"quoted\\\"\" C=\"\" D=\"line\\u000aend\\u007f\" E=\"\?\?\?\"\n");
    ck_assert_str_eq(
        logged(LOG_FORMAT_JSON, STR_LIT("it \"happened\""), fields, ARRAY_LEN(fields)),
        "{\"level\":\"warning\",\"message\":\"it \\\"happened\\\"\",\"MESSAGE_ID\":\"0123456789abcdef0123456789abcdef\",\"A\":\"plain\","
        "\"B\":\"two words \\\"quoted\\\"\",\"C\":\"\",\"D\":\"line\\u000aend\\u007f\",\"E\":\"\?\?\?\"}\n");
}
END_TEST

/* However much there is to say: one line, and in JSON a whole object. */
START_TEST(log_lines_have_a_limit)
{
    static char control[600], umlauts[601];
    struct log_field fields[LOG_MAX_FIELDS + 5];
    const char *text;

    memset(control, 1, sizeof control);
    umlauts[0] = 'a'; /* so that a cut at an even length would be inside a character */
    for (size_t i = 1; i < sizeof umlauts; i++) {
        umlauts[i] = i % 2 ? (char) 0xc3 : (char) 0xa4;
    }
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        fields[i] = (struct log_field) {"NAME", i % 2 ? (struct str) {control, sizeof control}
                                                      : (struct str) {umlauts, sizeof umlauts}};
    }
    for (size_t n = 0; n <= ARRAY_LEN(fields); n++) {
        text = logged(LOG_FORMAT_JSON, (struct str) {control, sizeof control}, fields, n);
        ck_assert_uint_le(strlen(text), 4096);
        ck_assert_str_eq(text + strlen(text) - 3, "\"}\n");
        ck_assert(str_is_utf8(str_from(text)));
        text = logged(LOG_FORMAT_TEXT, (struct str) {umlauts, sizeof umlauts}, fields, n);
        ck_assert_uint_le(strlen(text), 4096);
        ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
        ck_assert(str_is_utf8(str_from(text)));
        ck_assert_ptr_null(strchr(text, '?'));
    }
}
END_TEST

START_TEST(log_limit)
{
    struct log_limit limit = {0};
    uint32_t suppressed = 99;

    for (unsigned i = 0; i < 5; i++) {
        ck_assert(log_limit_pass(&limit, 1000 + i, &suppressed));
        ck_assert_uint_eq(suppressed, 0);
    }
    for (unsigned i = 0; i < 7; i++) {
        ck_assert(!log_limit_pass(&limit, 2000 + i, &suppressed));
    }
    ck_assert(log_limit_pass(&limit, 1000 + 10 * USEC_PER_SEC, &suppressed));
    ck_assert_uint_eq(suppressed, 7);
    ck_assert(log_limit_pass(&limit, 1001 + 10 * USEC_PER_SEC, &suppressed));
    ck_assert_uint_eq(suppressed, 0);
}
END_TEST

/* ---- out of memory */

static void use_everything(void)
{
    struct kv kv = {0}, copy = {0};
    struct arena a;
    struct buf b;
    int r;

    buf_init(&b, 4096);
    r = buf_append_z(&b, "hello");
    ck_assert(r == 0 || (r == -ENOMEM && b.len == 0));
    r = buf_printf(&b, "%0300d", 1);
    ck_assert(r == 0 || r == -ENOMEM);
    (void) buf_z(&b);
    buf_done(&b);
    r = kv_set(&kv, STR_LIT("a"), STR_LIT("1"));
    r = r < 0 ? r : kv_set(&kv, STR_LIT("a"), STR_LIT("2"));
    r = r < 0 ? r : kv_copy(&kv, &copy);
    ck_assert(r == 0 || (r == -ENOMEM && copy.n_items == 0));
    kv_done(&kv);
    kv_done(&copy);
    arena_init(&a, 1024 * 1024);
    for (unsigned i = 0; i < 4; i++) {
        (void) arena_alloc(&a, 5000);
        (void) arena_copy(&a, STR_LIT("text"));
    }
    arena_done(&a);
}

START_TEST(allocation_failures)
{
    for_each_failed_allocation(use_everything);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, buf_appends_and_consumes);
    tcase_add_test(tc, buf_has_a_maximum);
    tcase_add_test(tc, buf_reuses_its_front);
    tcase_add_test(tc, buf_trims);
    tcase_add_test(tc, str_compares);
    tcase_add_test(tc, str_knows_utf8);
    tcase_add_test(tc, arena_gives_zeroed_aligned_memory);
    tcase_add_test(tc, arena_has_a_budget);
    tcase_add_test(tc, arena_with_a_large_item);
    tcase_add_test(tc, num_integers);
    tcase_add_test(tc, num_doubles);
    tcase_add_test(tc, num_durations);
    tcase_add_test(tc, num_sizes);
    tcase_add_test(tc, num_formats_durations_that_parse_back);
    tcase_add_test(tc, usec_arithmetic_saturates);
    tcase_add_test(tc, kv_keeps_options);
    tcase_add_test(tc, list_links_and_unlinks);
    tcase_add_test(tc, fdio_reads_files);
    tcase_add_test(tc, fdio_sets_and_closes);
    tcase_add_test(tc, fdio_opens_standard);
    tcase_add_test(tc, log_lines);
    tcase_add_test(tc, log_lines_have_a_limit);
    tcase_add_test(tc, log_limit);
    tcase_add_test(tc, allocation_failures);
}

TEST_MAIN("base", add_tests)
