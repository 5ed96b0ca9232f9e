/*
 * Server-sent events: the grammar of the WHATWG standard and its examples, what model servers send,
 * splits anywhere, the maximum, stopping, out of memory.
 */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "wire/sse.h"

#define MAX_EVENT 32

/* Writes "name=data;" for each event; returns `stop_with` at event number stop_at. */
struct record {
    struct buf text;
    unsigned n_events, stop_at;
    int stop_with;
};

static int on_event(void *ctx, struct str name, struct str data)
{
    struct record *rec = ctx;

    ck_assert_ptr_nonnull(data.ptr);
    ck_assert_int_eq(buf_append_str(&rec->text, name), 0);
    ck_assert_int_eq(buf_append_char(&rec->text, '='), 0);
    ck_assert_int_eq(buf_append_str(&rec->text, data), 0);
    ck_assert_int_eq(buf_append_char(&rec->text, ';'), 0);
    return ++rec->n_events == rec->stop_at ? rec->stop_with : 0;
}

/*
 * Feeds text in pieces of step bytes (0: at once), each in memory of its own size. Returns the
 * first answer that is not 0.
 */
static int feed(struct str text, size_t step, struct record *rec)
{
    struct sse s;
    int r = 0;

    buf_init(&rec->text, 64 * 1024);
    sse_init(&s, MAX_EVENT);
    while (r == 0 && text.len > 0) {
        size_t n = step > 0 && step < text.len ? step : text.len;
        char *piece = malloc(n);

        if (!piece) {
            ck_abort_msg("out of memory");
        }
        memcpy(piece, text.ptr, n);
        r = sse_feed(&s, (struct str) {piece, n}, on_event, rec);
        free(piece);
        text = (struct str) {text.ptr + n, text.len - n};
    }
    sse_done(&s);
    return r;
}

static const struct {
    struct str bytes;
    struct str events;
    int r;
} table[] = {
    /* what model servers send */
    {STR_LIT("data: {\"a\":1}\n\n"), STR_LIT("={\"a\":1};"), 0},
    {STR_LIT("data: {\"a\":1}\n\ndata: [DONE]\n\n"), STR_LIT("={\"a\":1};=[DONE];"), 0},
    {STR_LIT(": ping\n\ndata: x\r\n\r\n"), STR_LIT("=x;"), 0},
    {STR_LIT("event: error\ndata: {}\n\n"), STR_LIT("error={};"), 0},
    {STR_LIT("data:{\"a\":1}\n\n"), STR_LIT("={\"a\":1};"), 0},
    {STR_LIT("id: 7\nretry: 100\ndata: x\nfoo: bar\n\n"), STR_LIT("=x;"), 0},
    /* line ends, also mixed */
    {STR_LIT("data: a\r\rdata: b\r\r"), STR_LIT("=a;=b;"), 0},
    {STR_LIT("data: a\r\n\r\ndata: b\n\rdata: c\n\n"), STR_LIT("=a;=b;=c;"), 0},
    {STR_LIT("data: a\r\ndata: b\rdata: c\n\r\n"), STR_LIT("=a\nb\nc;"), 0},
    {STR_LIT("\n\r\r\n\ndata: a\n\n\n\n"), STR_LIT("=a;"), 0},
    {STR_LIT("data: a\n\r\n"), STR_LIT("=a;"), 0},
    /* fields */
    {STR_LIT("data\n\n"), STR_LIT("=;"), 0},
    {STR_LIT("data:\n\n"), STR_LIT("=;"), 0},
    {STR_LIT("data: \n\n"), STR_LIT("=;"), 0},
    {STR_LIT("data:  two\n\n"), STR_LIT("= two;"), 0},
    {STR_LIT("data:\ttab\n\n"), STR_LIT("=\ttab;"), 0},
    {STR_LIT("data: a:b: c\n\n"), STR_LIT("=a:b: c;"), 0},
    {STR_LIT("data\ndata\n\n"), STR_LIT("=\n;"), 0},
    {STR_LIT("data: a\ndata:\ndata: b\n\n"), STR_LIT("=a\n\nb;"), 0},
    {STR_LIT("Data: a\n data: b\ndata : c\ndatax: d\n\n"), STR_LIT(""), 0},
    {STR_LIT("event: a\n\ndata: b\n\n"), STR_LIT("=b;"), 0},
    {STR_LIT("event: a\nevent: b\ndata: c\n\ndata: d\n\n"), STR_LIT("b=c;=d;"), 0},
    {STR_LIT("event\ndata: c\n\n"), STR_LIT("=c;"), 0},
    {STR_LIT("data: a\nevent: late\n\n"), STR_LIT("late=a;"), 0},
    {STR_LIT(":\n:\n\n"), STR_LIT(""), 0},
    {STR_LIT("data: a\0b\n\n"), STR_LIT("=a\0b;"), 0},
    /* the examples of the standard, section 9.2.6 */
    {STR_LIT("data: YHOO\ndata: +2\ndata: 10\n\n"), STR_LIT("=YHOO\n+2\n10;"), 0},
    {STR_LIT(": test\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n"),
     STR_LIT("=first;=second;"), 0},
    {STR_LIT("data\n\ndata\ndata\n\ndata:"), STR_LIT("=;=\n;"), 0},
    {STR_LIT("data:test\n\ndata: test\n\n"), STR_LIT("=test;=test;"), 0},
    /* a byte order mark, at the very front only */
    {STR_LIT("\xef\xbb\xbf"
             "data: a\n\n"),
     STR_LIT("=a;"), 0},
    {STR_LIT("\xef\xbb\xbf\ndata: a\n\n"), STR_LIT("=a;"), 0},
    {STR_LIT("\xef\xbb\xbf\xef\xbb\xbf"
             "data: a\n\n"),
     STR_LIT(""), 0},
    {STR_LIT("data: a\n\n\xef\xbb\xbf"
             "data: b\n\n"),
     STR_LIT("=a;"), 0},
    {STR_LIT("\xef\xbb"
             "data: a\n\n"),
     STR_LIT(""), 0},
    /* what the stream ends in the middle of */
    {STR_LIT("data: a"), STR_LIT(""), 0},
    {STR_LIT("data: a\n"), STR_LIT(""), 0},
    {STR_LIT("data: a\n\ndata: b\n"), STR_LIT("=a;"), 0},
    /* the maximum of 32 */
    {STR_LIT("data: 0123456789abcdef0123456789abcdef\n\n"),
     STR_LIT("=0123456789abcdef0123456789abcdef;"), 0},
    {STR_LIT("data: 0123456789abcdef0123456789abcdef+\n\n"), STR_LIT(""), -EMSGSIZE},
    {STR_LIT("data: 0123456789abcdef\ndata: 0123456789abcde\n\n"),
     STR_LIT("=0123456789abcdef\n0123456789abcde;"), 0},
    {STR_LIT("data: 0123456789abcdef\ndata: 0123456789abcdef\n\n"), STR_LIT(""), -EMSGSIZE},
    {STR_LIT("event: 0123456789abcdef0123456789abcdef\ndata:\n\n"),
     STR_LIT("0123456789abcdef0123456789abcdef=;"), 0},
    {STR_LIT("event: 0123456789abcdef0123456789abcdef+\ndata:\n\n"), STR_LIT(""), -EMSGSIZE},
    {STR_LIT(": 0123456789abcdef0123456789abcdef0123456789abcd\ndata: a\n\n"), STR_LIT("=a;"), 0},
    {STR_LIT(": 0123456789abcdef0123456789abcdef0123456789abcde\ndata: a\n\n"), STR_LIT(""),
     -EMSGSIZE},
    {STR_LIT("data: a\n\n: 0123456789abcdef0123456789abcdef0123456789abcde"), STR_LIT("=a;"),
     -EMSGSIZE},
};

START_TEST(splits_do_not_matter)
{
    static const size_t steps[] = {0, 1, 2, 3, 5, 7, 11};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            struct record rec = {0};
            int r = feed(table[i].bytes, steps[k], &rec);

            ck_assert_msg(r == table[i].r, "'%.*s' by %zu is %d", STR_ARG(table[i].bytes), steps[k],
                          r);
            ck_assert_msg(str_is_equal(buf_str(&rec.text), table[i].events),
                          "'%.*s' by %zu is '%.*s'", STR_ARG(table[i].bytes), steps[k],
                          STR_ARG(buf_str(&rec.text)));
            buf_done(&rec.text);
        }
    }
}
END_TEST

START_TEST(every_split_in_two)
{
    static const char text[] =
        "\xef\xbb\xbf: c\r\nevent: e\rdata: one\r\ndata: two\n\r\ndata: x\n\n";

    for (size_t at = 0; at < sizeof text; at++) {
        struct record rec = {0};
        struct sse s;

        buf_init(&rec.text, 256);
        sse_init(&s, MAX_EVENT);
        ck_assert_int_eq(sse_feed(&s, (struct str) {text, at}, on_event, &rec), 0);
        ck_assert_int_eq(
            sse_feed(&s, (struct str) {text + at, sizeof text - 1 - at}, on_event, &rec), 0);
        ck_assert_str_is(buf_str(&rec.text), "e=one\ntwo;=x;");
        sse_done(&s);
        buf_done(&rec.text);
    }
}
END_TEST

/* The usual chunk: handed on where it lies, and as soon as its last byte is there. */
START_TEST(one_feed_one_event_no_copy)
{
    struct record rec = {0};
    struct sse s;

    buf_init(&rec.text, 64);
    sse_init(&s, MAX_EVENT);
    ck_assert_int_eq(sse_feed(&s, STR_LIT("data: {\"a\":1}\n\n"), on_event, &rec), 0);
    ck_assert_uint_eq(rec.n_events, 1);
    ck_assert_ptr_null(s.data.base);
    ck_assert_ptr_null(s.pending.base);
    ck_assert_int_eq(sse_feed(&s, STR_LIT("data: b\r\r"), on_event, &rec), 0);
    ck_assert_uint_eq(rec.n_events, 2); /* does not wait for an LF */
    ck_assert_int_eq(sse_feed(&s, STR_LIT("\ndata: c\r\r"), on_event, &rec), 0);
    ck_assert_uint_eq(rec.n_events, 3);
    ck_assert_int_eq(sse_feed(&s, STR_LIT(""), on_event, &rec), 0);
    ck_assert_str_is(buf_str(&rec.text), "={\"a\":1};=b;=c;");
    sse_done(&s);
    buf_done(&rec.text);
}
END_TEST

START_TEST(stops_where_told)
{
    for (size_t step = 0; step < 3; step++) {
        struct record rec = {.stop_at = 2, .stop_with = -ECANCELED};

        ck_assert_int_eq(feed(STR_LIT("data: a\n\ndata: b\n\ndata: c\n\n"), step, &rec),
                         -ECANCELED);
        ck_assert_str_is(buf_str(&rec.text), "=a;=b;");
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

START_TEST(random_splits_give_the_same_events)
{
    static const char *const parts[] = {"data:", "data: ",     "event:",       ": ",
                                        "\n",    "\n\n",       "\r",           "\r\n",
                                        "x",     "0123456789", "\xef\xbb\xbf", "id"};
    uint64_t state = 4711;
    struct buf text;

    buf_init(&text, 4096);
    for (unsigned round = 0; round < 4000; round++) {
        struct record whole = {0}, split = {0};

        for (uint64_t n = next_random(&state) % 24; n > 0; n--) {
            ck_assert_int_eq(buf_append_z(&text, parts[next_random(&state) % ARRAY_LEN(parts)]), 0);
        }

        int r = feed(buf_str(&text), 0, &whole);

        ck_assert_int_eq(feed(buf_str(&text), 1 + next_random(&state) % 9, &split), r);
        ck_assert_msg(str_is_equal(buf_str(&whole.text), buf_str(&split.text)), "'%.*s'",
                      STR_ARG(buf_str(&text)));
        buf_done(&whole.text);
        buf_done(&split.text);
        buf_clear(&text);
    }
    buf_done(&text);
}
END_TEST

static int count_event(void *ctx, struct str name, struct str data)
{
    ++*(unsigned *) ctx;
    return 0;
}

static void feed_some(void)
{
    static const char *const pieces[] = {"data: a\n\nda", "ta: b\n\n", "event: e\ndata: one\n",
                                         "data: two\n\n"};
    unsigned n_events = 0;
    struct sse s;
    int r = 0;

    sse_init(&s, 4096);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(pieces); i++) {
        r = sse_feed(&s, str_from(pieces[i]), count_event, &n_events);
    }
    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    ck_assert(allocation_failed() ? n_events < 3 : n_events == 3);
    sse_done(&s);
}

START_TEST(allocation_failures)
{
    for_each_failed_allocation(feed_some);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, splits_do_not_matter);
    tcase_add_test(tc, every_split_in_two);
    tcase_add_test(tc, one_feed_one_event_no_copy);
    tcase_add_test(tc, stops_where_told);
    tcase_add_test(tc, random_splits_give_the_same_events);
    tcase_add_test(tc, allocation_failures);
}

TEST_MAIN("sse", add_tests)
