/* What model servers say: recognised, and made fit for a log line. */
#include "support.h"
#include "wire/server_words.h"

static const char *text_of(const char *before, struct str foreign)
{
    static struct problem p;

    p = (struct problem) {.code = ERRCODE_UPSTREAM_ERROR};
    snprintf(p.text, sizeof p.text, "%s", before);
    server_words_append(&p, foreign);
    ck_assert(str_is_utf8(str_from(p.text)));
    return p.text;
}

START_TEST(phrases)
{
    ck_assert(server_words_say(str_from("CUDA error: Out Of Memory"), "out of memory"));
    ck_assert(server_words_say(str_from("x"), "x"));
    ck_assert(!server_words_say(str_from("out of memor"), "out of memory"));
    ck_assert(!server_words_say(STR_NONE, "x"));
}
END_TEST

START_TEST(plain_bodies)
{
    ck_assert_str_is(server_words_plain(str_from(" no route\t")), "no route");
    ck_assert_ptr_null(server_words_plain(str_from("<html>502</html>")).ptr);
    ck_assert_ptr_null(server_words_plain(str_from("  ")).ptr);
    ck_assert_ptr_null(server_words_plain(STR_NONE).ptr);
}
END_TEST

START_TEST(codes)
{
    static const struct {
        const char *sentence;
        enum errcode code;
    } rows[] = {
        {"request (3419 tokens) exceeds the available context size (256 tokens)",
         ERRCODE_CONTEXT_LENGTH},
        {"This model's maximum context length is 4096 tokens", ERRCODE_CONTEXT_LENGTH},
        {"the input length exceeds the context length", ERRCODE_CONTEXT_LENGTH},
        {"input (1002 tokens) is too large to process", ERRCODE_CONTEXT_LENGTH},
        {"llama-server process has terminated: signal: killed", ERRCODE_UPSTREAM_OUT_OF_MEMORY},
        {"model requires more system memory (9 GiB) than is available",
         ERRCODE_UPSTREAM_OUT_OF_MEMORY},
        {"failed to allocate CPU_REPACK buffer", ERRCODE_UPSTREAM_OUT_OF_MEMORY},
        {"The response was filtered due to the prompt triggering Azure OpenAI's content management "
         "policy.",
         ERRCODE_CONTENT_FILTER},
        {"litellm.ContentPolicyViolationError: no", ERRCODE_CONTENT_FILTER},
        {"model 'x' not found", ERRCODE_NONE},
        {"", ERRCODE_NONE},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_int_eq(server_words_code(str_from(rows[i].sentence)), rows[i].code);
    }
}
END_TEST

START_TEST(statuses)
{
    static const struct {
        int status;
        enum errcode code;
    } rows[] = {
        {401, ERRCODE_UPSTREAM_AUTH},     {403, ERRCODE_UPSTREAM_AUTH},
        {402, ERRCODE_UPSTREAM_QUOTA},    {404, ERRCODE_MODEL_NOT_FOUND},
        {408, ERRCODE_UPSTREAM_TIMEOUT},  {413, ERRCODE_PAYLOAD_TOO_LARGE},
        {422, ERRCODE_UPSTREAM_REJECTED}, {429, ERRCODE_UPSTREAM_RATE_LIMITED},
        {500, ERRCODE_UPSTREAM_ERROR},    {503, ERRCODE_UPSTREAM_OVERLOADED},
        {504, ERRCODE_UPSTREAM_TIMEOUT},  {529, ERRCODE_UPSTREAM_OVERLOADED},
        {302, ERRCODE_UPSTREAM_GARBAGE},  {0, ERRCODE_UPSTREAM_GARBAGE},
        {600, ERRCODE_UPSTREAM_GARBAGE},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_int_eq(server_words_status(rows[i].status), rows[i].code);
    }
}
END_TEST

START_TEST(one_clean_line)
{
    ck_assert_str_eq(text_of("", str_from(" a\r\n\tb\x1b[31m  c ")), "a b [31m c");
    ck_assert_str_eq(text_of("intro: ", str_from("why")), "intro: why");
    ck_assert_str_eq(text_of("", str_from("caf\xc3\xa9 \xe2\x82\xac")), "caf\xc3\xa9 \xe2\x82\xac");
    ck_assert_str_eq(text_of("", str_from("caf\xe9")), "caf?");
    ck_assert_str_eq(text_of("", (struct str) {"a\0b", 3}), "a b");
}
END_TEST

START_TEST(keys_are_not_repeated)
{
    static const char *const keys[] = {
        "sk-proj-abcdef123456",         "Bearer hunter2",
        "hf_AbCdEfGhIjKlMnOp",          "AIzaSyA1234567890",
        "0123456789abcdef0123456789ab", "eyJhbGciOiJIUzI1NiJ9",
    };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char sentence[100];

        snprintf(sentence, sizeof sentence, "bad key \"%s\", sorry", keys[i]);

        const char *text = text_of("", str_from(sentence));

        ck_assert_msg(!strstr(text, keys[i]), "%s", text);
        ck_assert_ptr_nonnull(strstr(text, "[redacted]"));
        ck_assert_ptr_nonnull(strstr(text, "sorry"));
    }
    ck_assert_str_eq(text_of("", str_from("model \"qwen2.5-coder:7b\" of 2026-11-22")),
                     "model \"qwen2.5-coder:7b\" of 2026-11-22");
}
END_TEST

/* Whatever the length, the text fits, ends at a whole character and has no hole. */
START_TEST(room_is_kept)
{
    char foreign[3000];

    for (size_t n = 0; n < 400; n++) {
        size_t len = 0;

        memset(foreign, 'a', n);
        len = n;
        for (int i = 0; i < 300; i++) {
            memcpy(foreign + len, "\xe2\x82\xac ", 4);
            len += 4;
        }

        const char *text = text_of("", (struct str) {foreign, len});

        ck_assert_uint_lt(strlen(text), PROBLEM_TEXT_MAX);
        ck_assert_uint_ge(strlen(text), n < 200 ? PROBLEM_TEXT_MAX - 5 : 100);
        ck_assert(memcmp(text, foreign, strlen(text)) == 0);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, phrases);
    tcase_add_test(tc, plain_bodies);
    tcase_add_test(tc, codes);
    tcase_add_test(tc, statuses);
    tcase_add_test(tc, one_clean_line);
    tcase_add_test(tc, keys_are_not_repeated);
    tcase_add_test(tc, room_is_kept);
}
TEST_MAIN("server_words", add_tests)
