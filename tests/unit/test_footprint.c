/* How much memory a model takes: the order of guesses, what is learned, and the text that is kept. */
#include <errno.h>
#include <stdio.h>

#include "core/footprint.h"
#include "support.h"

#define MIB (UINT64_C(1) << 20)

static struct footprints g_fs;

static void setup(void)
{
    footprints_init(&g_fs);
}

static struct footprint_key key_of(const char *name)
{
    struct footprint_key key;

    footprint_key_init(&key, str_from(name), 4096, 1);
    return key;
}

static void assert_need(const struct footprint_key *key, const struct footprint_facts *facts,
                        enum footprint_source source, uint64_t bytes, uint64_t asked_bytes)
{
    struct footprint_need need = footprint_need(&g_fs, key, facts, true);

    ck_assert_int_eq(need.source, source);
    ck_assert_uint_eq(need.bytes, bytes);
    ck_assert_uint_eq(need.asked_bytes, asked_bytes);
}

START_TEST(guesses_in_their_order)
{
    struct footprint_key key = key_of("m");
    struct footprint_facts facts = {0};

    assert_need(&key, NULL, FOOTPRINT_UNKNOWN, 0, 0);
    assert_need(&key, &facts, FOOTPRINT_UNKNOWN, 0, 0);
    facts.file_bytes = 1000 * MIB;
    facts.kv_bytes = 100 * MIB;
    assert_need(&key, &facts, FOOTPRINT_COMPUTED, 1400 * MIB, 1750 * MIB);
    footprint_note_size(&g_fs, &key, 1200 * MIB, 1);
    assert_need(&key, &facts, FOOTPRINT_REPORTED, 1200 * MIB, 1500 * MIB);
    facts.told_bytes = 1300 * MIB;
    assert_need(&key, &facts, FOOTPRINT_TOLD, 1300 * MIB, 1300 * MIB);
    footprint_note_run(&g_fs, &key, 800 * MIB, 200 * MIB, FOOTPRINT_BY_PROCESS, true, 1);
    assert_need(&key, &facts, FOOTPRINT_LEARNED, 1000 * MIB, 1250 * MIB);
    footprint_note_run(&g_fs, &key, 1, 0, FOOTPRINT_BY_PROCESS, true, 1);
    footprint_note_run(&g_fs, &key, 1, 0, FOOTPRINT_BY_PROCESS, true, 1);
    assert_need(&key, &facts, FOOTPRINT_LEARNED, 1000 * MIB, 1100 * MIB);
}
END_TEST

/* Where a GPU may hold the model its file says nothing about this memory. */
START_TEST(a_file_says_nothing_beside_a_gpu)
{
    struct footprint_key key = key_of("m");
    struct footprint_facts facts = {.file_bytes = 1000 * MIB};

    ck_assert_int_eq(footprint_need(&g_fs, &key, &facts, false).source, FOOTPRINT_UNKNOWN);
    footprint_note_run(&g_fs, &key, MIB, 0, FOOTPRINT_BY_PROCESS, true, 1);
    ck_assert_int_eq(footprint_need(&g_fs, &key, &facts, false).source, FOOTPRINT_LEARNED);
}
END_TEST

START_TEST(maxima_decay_by_the_day)
{
    struct footprint_key key = key_of("m");

    footprint_note_run(&g_fs, &key, 1000 * MIB, 0, FOOTPRINT_BY_PROCESS, true, 10);
    footprint_note_run(&g_fs, &key, 100 * MIB, 0, FOOTPRINT_BY_PROCESS, false, 10);
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->anon_bytes, 1000 * MIB);
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->n_runs, 1);
    footprint_note_run(&g_fs, &key, 100 * MIB, 0, FOOTPRINT_BY_PROCESS, false, 11);
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->anon_bytes, 950 * MIB);
    footprint_note_run(&g_fs, &key, 100 * MIB, 0, FOOTPRINT_BY_PROCESS, false,
                       9); /* the clock was put back */
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->anon_bytes, 950 * MIB);
    footprint_note_run(&g_fs, &key, 100 * MIB, 0, FOOTPRINT_BY_PROCESS, false, UINT32_MAX);
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->anon_bytes, 100 * MIB);
}
END_TEST

START_TEST(lies_are_not_taken)
{
    struct footprint_key key = key_of("m");

    footprint_note_run(&g_fs, &key, UINT64_MAX, 0, FOOTPRINT_BY_PROCESS, true, 1);
    footprint_note_run(&g_fs, &key, 0, FOOTPRINT_MAX_BYTES + 1, FOOTPRINT_BY_PROCESS, true, 1);
    footprint_note_run(&g_fs, &key, 0, 0, FOOTPRINT_BY_PROCESS, true, 1);
    footprint_note_size(&g_fs, &key, UINT64_MAX, 1);
    footprint_note_size(&g_fs, &key, 0, 1);
    ck_assert_uint_eq(g_fs.n, 0);
}
END_TEST

START_TEST(an_aborted_load_wants_more)
{
    struct footprint_key key = key_of("m");

    footprint_note_aborted(&g_fs, &key, 1000 * MIB, 1);
    assert_need(&key, NULL, FOOTPRINT_LEARNED, 1300 * MIB, 1625 * MIB);
}
END_TEST

/* What was seen for certain, whatever it may have wanted beyond. */
START_TEST(what_an_aborted_load_wants_is_a_guess)
{
    struct footprint_key key = key_of("m");
    struct footprint_need need;

    footprint_note_aborted(&g_fs, &key, 1300 * MIB, 1);
    need = footprint_need(&g_fs, &key, NULL, true);
    ck_assert_uint_eq(need.bytes, 1690 * MIB);
    ck_assert_uint_le(need.sure_bytes, 1300 * MIB);
    ck_assert_uint_ge(need.sure_bytes, 1299 * MIB);
    footprint_note_run(&g_fs, &key, 1400 * MIB, 0, FOOTPRINT_BY_PROCESS, true, 1);
    need = footprint_need(&g_fs, &key, NULL, true);
    ck_assert_uint_eq(need.bytes, 1400 * MIB); /* it was loaded after all, with less */
    ck_assert_uint_eq(need.sure_bytes, need.bytes);
}
END_TEST

/* One rule: the more exact witness replaces, the less exact can only raise. */
START_TEST(witnesses)
{
    struct footprint_key key = key_of("m");

    for (unsigned i = 0; i < 3; i++) {
        footprint_note_run(&g_fs, &key, 900 * MIB, 100 * MIB, FOOTPRINT_BY_GROUP, true, 1);
    }
    assert_need(&key, NULL, FOOTPRINT_LEARNED_GROUP, 1000 * MIB, 1100 * MIB);
    footprint_note_run(&g_fs, &key, 700 * MIB, 100 * MIB, FOOTPRINT_BY_PROCESS, false, 1);
    assert_need(&key, NULL, FOOTPRINT_LEARNED, 800 * MIB, 1000 * MIB); /* one run of its own */
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->n_runs, 1);
    footprint_note_run(&g_fs, &key, 600 * MIB, 100 * MIB, FOOTPRINT_BY_GROUP, true, 1);
    assert_need(&key, NULL, FOOTPRINT_LEARNED, 800 * MIB, 1000 * MIB);
    footprint_note_run(&g_fs, &key, 750 * MIB, 0, FOOTPRINT_BY_GROUP, true, 1);
    assert_need(&key, NULL, FOOTPRINT_LEARNED_GROUP, 850 * MIB, 935 * MIB);
    footprint_note_aborted(&g_fs, &key, 1000 * MIB, 1);
    ck_assert_int_eq(footprint_find(&g_fs, &key)->witness, FOOTPRINT_ABORTED);
    footprint_note_run(&g_fs, &key, 1000 * MIB, 50 * MIB, FOOTPRINT_BY_GROUP, true, 1);
    assert_need(&key, NULL, FOOTPRINT_LEARNED_GROUP, 1050 * MIB, 1050 * MIB / 4 * 5);
}
END_TEST

/* A server that reports less than the file, and a runner that has not touched all of it. */
START_TEST(the_file_is_the_least)
{
    struct footprint_key key = key_of("m");
    struct footprint_facts facts = {.file_bytes = 1000 * MIB};

    footprint_note_size(&g_fs, &key, 1, 1);
    assert_need(&key, &facts, FOOTPRINT_COMPUTED, 1300 * MIB, 1625 * MIB);
    ck_assert_uint_eq(footprint_need(&g_fs, &key, &facts, false).bytes, 1); /* beside a GPU */
    footprint_note_run(&g_fs, &key, MIB, 2 * MIB, FOOTPRINT_BY_PROCESS, true, 1);
    assert_need(&key, &facts, FOOTPRINT_LEARNED, 1000 * MIB, 1250 * MIB);
    ck_assert_uint_eq(footprint_need(&g_fs, &key, &facts, false).bytes, 3 * MIB);
    facts.file_bytes = UINT64_MAX;
    ck_assert_uint_eq(footprint_need(&g_fs, &key, &facts, true).bytes, FOOTPRINT_MAX_BYTES);
}
END_TEST

START_TEST(load_times_are_averaged)
{
    struct footprint_key key = key_of("m");

    ck_assert_uint_eq(footprint_need(&g_fs, &key, NULL, true).load_usec, 0);
    footprint_note_load(&g_fs, &key, 4000, 1);
    footprint_note_load(&g_fs, &key, 2000, 1);
    ck_assert_uint_eq(footprint_need(&g_fs, &key, NULL, true).load_usec, 3000);
}
END_TEST

/* Llama-3.2-3B: 112 KiB for each token; TinyLlama's shape: 44 MiB at 2048 (both as measured). */
START_TEST(kv_of_known_shapes)
{
    struct footprint_shape llama = {28, 8, 128, 128, 131072};
    struct footprint_shape tiny = {22, 4, 64, 64, 2048};
    struct footprint_shape huge = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, 0};

    ck_assert_uint_eq(footprint_kv_bytes(&llama, 4096, 1), 448 * MIB);
    ck_assert_uint_eq(footprint_kv_bytes(&llama, 0, 1), 448 * MIB);
    ck_assert_uint_eq(footprint_kv_bytes(&tiny, 2048, 1), 44 * MIB);
    ck_assert_uint_eq(footprint_kv_bytes(&tiny, 8192, 4), 4 * 44 * MIB); /* no more than it knows */
    ck_assert_uint_eq(footprint_kv_bytes(&huge, UINT64_MAX, UINT64_MAX), FOOTPRINT_MAX_BYTES);
    ck_assert_uint_eq(footprint_kv_bytes(&(struct footprint_shape) {0}, 4096, 1), 0);
}
END_TEST

START_TEST(keys_are_one_word)
{
    struct footprint_key key;
    char longest[300];

    footprint_key_init(&key, STR_LIT(" a\nb\x7f"), 0, 1);
    ck_assert_str_eq(key.name, "_a_b_");
    footprint_key_init(&key, STR_NONE, 0, 1);
    ck_assert_str_eq(key.name, "_");
    memset(longest, 'x', sizeof longest);
    memcpy(longest + sizeof longest - 3, "end", 3);
    footprint_key_init(&key, (struct str) {longest, sizeof longest}, 0, 1);
    ck_assert_uint_eq(strlen(key.name), FOOTPRINT_NAME_BYTES - 1);
    ck_assert_str_eq(key.name + FOOTPRINT_NAME_BYTES - 4, "end");
}
END_TEST

/* The one that was not seen for longest makes room. */
START_TEST(the_table_is_bounded)
{
    for (unsigned i = 0; i < FOOTPRINTS_MAX + 10; i++) {
        char name[16];
        struct footprint_key key;

        (void) snprintf(name, sizeof name, "m%u", i);
        key = key_of(name);
        footprint_note_run(&g_fs, &key, MIB, 0, FOOTPRINT_BY_PROCESS, true, i + 1);
    }
    struct footprint_key first = key_of("m0"), last = key_of("m73");

    ck_assert_uint_eq(g_fs.n, FOOTPRINTS_MAX);
    ck_assert_ptr_null(footprint_find(&g_fs, &first));
    ck_assert_ptr_nonnull(footprint_find(&g_fs, &last));
}
END_TEST

START_TEST(text_reads_back)
{
    struct footprint_key a = key_of("sha256-abc"), b = key_of("b");
    struct footprints again;
    struct buf out;

    footprint_note_run(&g_fs, &a, 700 * MIB, 3, FOOTPRINT_BY_PROCESS, true, 20000);
    footprint_note_load(&g_fs, &a, 1234567, 20000);
    footprint_note_size(&g_fs, &b, 5, 20000);
    ck_assert(g_fs.is_dirty);
    buf_init(&out, FOOTPRINT_TEXT_MAX);
    ck_assert_int_eq(footprints_encode(&g_fs, &out), 0);
    ck_assert(!g_fs.is_dirty);
    ck_assert_int_eq(footprints_decode(&again, buf_str(&out)), 0);
    ck_assert_uint_eq(again.n, 2);
    ck_assert_uint_eq(footprint_find(&again, &a)->anon_bytes, 700 * MIB);
    ck_assert_uint_eq(footprint_find(&again, &a)->load_usec, 1234567);
    ck_assert_uint_eq(footprint_find(&again, &a)->day, 20000);
    ck_assert_uint_eq(footprint_find(&again, &b)->size_bytes, 5);
    /* cut anywhere it is no such text, but at the ends of lines */
    for (size_t n = 0; n < out.len; n++) {
        struct str cut = {buf_ptr(&out), n};
        bool is_whole = n > 0 && cut.ptr[n - 1] == '\n';

        ck_assert_int_eq(footprints_decode(&again, cut), is_whole ? 0 : -EBADMSG);
    }
    buf_done(&out);
}
END_TEST

START_TEST(damaged_text_is_nothing)
{
    static const char *const texts[] = {
        "",
        "sluice-footprints 3\n",
        "sluice-footprints 2\nm 1 1 1 1 1 1 1 1\n",
        "sluice-footprints 2\nm 1 1 1 1 1 1 1 1 3\n",
        "sluice-footprints 2\nm 1 1 1 1 1 1 1 1 -1\n",
        "sluice-footprints 2\nm 1 1 1 1 1 1 1 1 1 1\n",
        "sluice-footprints 1\nm 1 1 1 1 1 1 1\n",
        "sluice-footprints 1\nm 1 1 1 1 1 1 1 1 1\n",
        "sluice-footprints 1\nm 1 1 -1 1 1 1 1 1\n",
        "sluice-footprints 1\nm 1 1 99999999999999999999 1 1 1 1 1\n",
        "sluice-footprints 1\nm 4294967296 1 1 1 1 1 1 1\n",
        "sluice-footprints 1\n 1 1 1 1 1 1 1 1\n",
        "sluice-footprints 1\n\n",
        "sluice-footprints 1\nm 1 1 1 1 1 1 1 1",
        "\0\0\0\0",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct footprints fs = {.n = 3};

        ck_assert_int_eq(footprints_decode(&fs, str_from(texts[i])), -EBADMSG);
        ck_assert_uint_eq(fs.n, 0);
    }
}
END_TEST

/* Before there were several witnesses every line was a process's. */
START_TEST(the_first_format_is_read)
{
    struct footprint_key key = key_of("m");

    ck_assert_int_eq(
        footprints_decode(&g_fs, STR_LIT("sluice-footprints 1\nm 4096 1 7 8 9 10 2 20000\n")), 0);
    assert_need(&key, NULL, FOOTPRINT_LEARNED, 15, 18);
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->day, 20000);
}
END_TEST

/* More lines than there are places, and one without an end. */
START_TEST(a_text_of_any_length)
{
    struct buf text;

    buf_init(&text, 1 << 20);
    ck_assert_int_eq(buf_append_z(&text, "sluice-footprints 2\n"), 0);
    for (unsigned i = 0; i <= FOOTPRINTS_MAX; i++) {
        ck_assert_int_eq(footprints_decode(&g_fs, buf_str(&text)), 0);
        ck_assert_uint_eq(g_fs.n, i);
        ck_assert_int_eq(buf_printf(&text, "m%u 1 1 1 1 1 1 1 1 1\n", i), 0);
    }
    ck_assert_int_eq(footprints_decode(&g_fs, buf_str(&text)), -EBADMSG);
    buf_clear(&text);
    ck_assert_int_eq(buf_append_z(&text, "sluice-footprints 2\n"), 0);
    for (unsigned i = 0; i < 10000; i++) {
        ck_assert_int_eq(buf_append_z(&text, "1234567890"), 0);
    }
    ck_assert_int_eq(footprints_decode(&g_fs, buf_str(&text)), -EBADMSG);
    ck_assert_uint_eq(g_fs.n, 0);
    buf_done(&text);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, guesses_in_their_order);
    tcase_add_test(tc, a_file_says_nothing_beside_a_gpu);
    tcase_add_test(tc, maxima_decay_by_the_day);
    tcase_add_test(tc, lies_are_not_taken);
    tcase_add_test(tc, an_aborted_load_wants_more);
    tcase_add_test(tc, what_an_aborted_load_wants_is_a_guess);
    tcase_add_test(tc, witnesses);
    tcase_add_test(tc, the_file_is_the_least);
    tcase_add_test(tc, load_times_are_averaged);
    tcase_add_test(tc, kv_of_known_shapes);
    tcase_add_test(tc, keys_are_one_word);
    tcase_add_test(tc, the_table_is_bounded);
    tcase_add_test(tc, text_reads_back);
    tcase_add_test(tc, damaged_text_is_nothing);
    tcase_add_test(tc, the_first_format_is_read);
    tcase_add_test(tc, a_text_of_any_length);
}

TEST_MAIN("footprint", add_tests)
