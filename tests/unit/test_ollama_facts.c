/* What Ollama says of the memory of its models: files, shapes, what is loaded; and what is no such answer. */
#include <errno.h>

#include "support.h"
#include "wire/ollama_facts.h"

static uint64_t g_bytes;

static int file_bytes(const char *body, const char *model)
{
    g_bytes = 77;
    return ollama_read_file_bytes(str_from(body), model, &g_bytes);
}

START_TEST(reads_the_size_of_a_file)
{
    static const char body[] =
        "{\"models\":[{\"name\":\"tiny:latest\",\"size\":98362709},{\"model\":\"B:7b\",\"size\":5}]}";

    ck_assert_int_eq(file_bytes(body, "tiny"), 0);
    ck_assert_uint_eq(g_bytes, 98362709);
    ck_assert_int_eq(file_bytes(body, "b:7b"), 0);
    ck_assert_uint_eq(g_bytes, 5);
    ck_assert_int_eq(file_bytes(body, "other"), 0);
    ck_assert_uint_eq(g_bytes, 0);
    ck_assert_int_eq(file_bytes("{\"models\":[{\"name\":\"m\",\"size\":-1}]}", "m"), 0);
    ck_assert_uint_eq(g_bytes, 0);
    ck_assert_int_eq(file_bytes("{\"models\":null}", "m"), 0);
}
END_TEST

START_TEST(refuses_what_is_no_list)
{
    static const char *const bodies[] = {"",    "[]", "{}", "{\"models\":1}", "{\"models\":[}",
                                         "null"};

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        ck_assert_int_eq(file_bytes(bodies[i], "m"), -EBADMSG);
        ck_assert_uint_eq(g_bytes, 77);
    }
}
END_TEST

#define DIGEST "sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

START_TEST(reads_a_shape)
{
    static const char body[] =
        "{\"modelfile\":\"# x\\nFROM /var/blobs/" DIGEST "\\n\",\"capabilities\":[\"completion\"],"
        "\"model_info\":{\"general.architecture\":\"llama\",\"llama.block_count\":22,"
        "\"llama.attention.head_count\":32,\"llama.attention.head_count_kv\":[4,8,0],"
        "\"llama.embedding_length\":2048,\"llama.context_length\":2048}}";
    struct model_facts facts = {.file_bytes = 3};

    ck_assert_int_eq(ollama_read_shape(str_from(body), &facts), 0);
    ck_assert_str_is(facts.digest, DIGEST);
    ck_assert_uint_eq(facts.n_layers, 22);
    ck_assert_uint_eq(facts.n_kv_heads, 8); /* the largest of its layers */
    ck_assert_uint_eq(facts.key_length, 64);
    ck_assert_uint_eq(facts.value_length, 64);
    ck_assert_uint_eq(facts.trained_ctx, 2048);
    ck_assert_uint_eq(facts.file_bytes, 3);
    ck_assert(!facts.makes_embeddings);
}
END_TEST

START_TEST(reads_what_is_missing_as_not_known)
{
    static const char *const bodies[] = {
        "{}",
        "{\"model_info\":{}}",
        "{\"model_info\":{\"general.architecture\":7}}",
        "{\"model_info\":{\"general.architecture\":\"x\",\"x.block_count\":\"22\"}}",
        "{\"modelfile\":\"FROM sha256-0123\",\"model_info\":null}",
    };

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct model_facts facts = {0};

        ck_assert_int_eq(ollama_read_shape(str_from(bodies[i]), &facts), 0);
        ck_assert_uint_eq(facts.n_layers + facts.digest.len + facts.trained_ctx, 0);
    }
    ck_assert_int_eq(ollama_read_shape(STR_LIT("{"), &(struct model_facts) {0}), -EBADMSG);
}
END_TEST

START_TEST(knows_what_makes_embeddings)
{
    struct model_facts facts = {0};

    ck_assert_int_eq(ollama_read_shape(STR_LIT("{\"capabilities\":[\"embedding\"]}"), &facts), 0);
    ck_assert(facts.makes_embeddings);
}
END_TEST

START_TEST(reads_what_is_loaded)
{
    static const char body[] = "{\"models\":[{\"name\":\"a:latest\",\"size\":100,\"size_vram\":60},"
                               "{\"size\":1},{\"name\":7},{\"model\":\"b\\u0041:1\"}]}";
    struct model_held held[OLLAMA_HELD_MAX];
    struct buf names;
    size_t n;

    buf_init(&names, 1024);
    ck_assert_int_eq(ollama_read_held(str_from(body), &names, held, &n), 0);
    ck_assert_uint_eq(n, 2);
    ck_assert_str_is(held[0].name, "a:latest");
    ck_assert_uint_eq(held[0].size_bytes, 100);
    ck_assert_uint_eq(held[0].vram_bytes, 60);
    ck_assert_str_is(held[1].name, "bA:1");
    ck_assert_uint_eq(held[1].size_bytes, 0);
    ck_assert_int_eq(ollama_read_held(STR_LIT("{}"), &names, held, &n), -EBADMSG);
    buf_done(&names);
}
END_TEST

static void read_all(void)
{
    struct model_held held[OLLAMA_HELD_MAX];
    struct buf names, out;
    size_t n;

    buf_init(&names, 1024);
    buf_init(&out, 1024);
    (void) file_bytes("{\"models\":[{\"name\":\"m\",\"size\":1}]}", "m");
    if (ollama_read_held(STR_LIT("{\"models\":[{\"name\":\"m\"}]}"), &names, held, &n) == 0) {
        ck_assert_uint_eq(n, 1);
    }
    if (ollama_encode_show("m\"", &out) == 0) {
        ck_assert_str_is(buf_str(&out), "{\"model\":\"m\\\"\"}");
    }
    buf_done(&out);
    buf_done(&names);
}

START_TEST(without_memory)
{
    for_each_failed_allocation(read_all);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, reads_the_size_of_a_file);
    tcase_add_test(tc, refuses_what_is_no_list);
    tcase_add_test(tc, reads_a_shape);
    tcase_add_test(tc, reads_what_is_missing_as_not_known);
    tcase_add_test(tc, knows_what_makes_embeddings);
    tcase_add_test(tc, reads_what_is_loaded);
    tcase_add_test(tc, without_memory);
}

TEST_MAIN("ollama_facts", add_tests)
