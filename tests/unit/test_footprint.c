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
    footprint_note_run(&g_fs, &key, 800 * MIB, 200 * MIB, true, 1);
    assert_need(&key, &facts, FOOTPRINT_LEARNED, 1000 * MIB, 1250 * MIB);
    footprint_note_run(&g_fs, &key, 1, 0, true, 1);
    footprint_note_run(&g_fs, &key, 1, 0, true, 1);
    assert_need(&key, &facts, FOOTPRINT_LEARNED, 1000 * MIB, 1100 * MIB);
}
END_TEST

/* Where a GPU may hold the model its file says nothing about this memory. */
START_TEST(a_file_says_nothing_beside_a_gpu)
{
    struct footprint_key key = key_of("m");
    struct footprint_facts facts = {.file_bytes = 1000 * MIB};

    ck_assert_int_eq(footprint_need(&g_fs, &key, &facts, false).source, FOOTPRINT_UNKNOWN);
    footprint_note_run(&g_fs, &key, MIB, 0, true, 1);
    ck_assert_int_eq(footprint_need(&g_fs, &key, &facts, false).source, FOOTPRINT_LEARNED);
}
END_TEST

START_TEST(maxima_decay_by_the_day)
{
    struct footprint_key key = key_of("m");

    footprint_note_run(&g_fs, &key, 1000 * MIB, 0, true, 10);
    footprint_note_run(&g_fs, &key, 100 * MIB, 0, false, 10);
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->anon_bytes, 1000 * MIB);
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->n_runs, 1);
    footprint_note_run(&g_fs, &key, 100 * MIB, 0, false, 11);
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->anon_bytes, 950 * MIB);
    footprint_note_run(&g_fs, &key, 100 * MIB, 0, false, 9); /* the clock was put back */
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->anon_bytes, 950 * MIB);
    footprint_note_run(&g_fs, &key, 100 * MIB, 0, false, UINT32_MAX);
    ck_assert_uint_eq(footprint_find(&g_fs, &key)->anon_bytes, 100 * MIB);
}
END_TEST

START_TEST(lies_are_not_taken)
{
    struct footprint_key key = key_of("m");

    footprint_note_run(&g_fs, &key, UINT64_MAX, 0, true, 1);
    footprint_note_run(&g_fs, &key, 0, FOOTPRINT_MAX_BYTES + 1, true, 1);
    footprint_note_run(&g_fs, &key, 0, 0, true, 1);
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
        footprint_note_run(&g_fs, &key, MIB, 0, true, i + 1);
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

    footprint_note_run(&g_fs, &a, 700 * MIB, 3, true, 20000);
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
        "sluice-footprints 2\n",
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

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, guesses_in_their_order);
    tcase_add_test(tc, a_file_says_nothing_beside_a_gpu);
    tcase_add_test(tc, maxima_decay_by_the_day);
    tcase_add_test(tc, lies_are_not_taken);
    tcase_add_test(tc, an_aborted_load_wants_more);
    tcase_add_test(tc, load_times_are_averaged);
    tcase_add_test(tc, kv_of_known_shapes);
    tcase_add_test(tc, keys_are_one_word);
    tcase_add_test(tc, the_table_is_bounded);
    tcase_add_test(tc, text_reads_back);
    tcase_add_test(tc, damaged_text_is_nothing);
}

TEST_MAIN("footprint", add_tests)
