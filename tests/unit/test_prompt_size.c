/* A lower bound of a prompt's tokens. */
#include "core/prompt_size.h"
#include "support.h"

static uint64_t of_text(const char *text)
{
    struct request *req = request_new(REQUEST_COMPLETE, 4096);
    uint64_t n;

    ck_assert_ptr_nonnull(req);
    req->prompt = str_from(text);
    n = prompt_size_min_tokens(req);
    request_free(req);
    return n;
}

START_TEST(words)
{
    ck_assert_uint_eq(of_text(""), 0);
    ck_assert_uint_eq(of_text("one"), 1);
    ck_assert_uint_eq(of_text("one two\nthree\tfour\r\n five"), 5);
    ck_assert_uint_eq(of_text("  one  "), 1);
    /* what may be joined to one token, and what no word of letters is */
    ck_assert_uint_eq(of_text("don't-stop(now)"), 1);
    ck_assert_uint_eq(of_text("((( 123 --- == \"quoted\""), 0);
    ck_assert_uint_eq(of_text("\xe4\xbd\xa0\xe5\xa5\xbd \xc3\xa9tat"), 0);
    ck_assert_uint_eq(of_text("                                "), 0);
}
END_TEST

START_TEST(kinds)
{
    struct content_part parts[] = {
        {.type = PART_TEXT, .text = STR_LIT("a b")},
        {.type = PART_IMAGE, .data = STR_LIT("not counted at all")},
        {.type = PART_TEXT, .text = STR_LIT("c")},
    };
    struct message messages[] = {{.role = ROLE_SYSTEM, .parts = parts, .n_parts = 3},
                                 {.role = ROLE_USER, .parts = parts, .n_parts = 1},
                                 {.role = ROLE_ASSISTANT}};
    struct request *req = request_new(REQUEST_CHAT, 4096);

    ck_assert_ptr_nonnull(req);
    req->messages = messages;
    req->n_messages = ARRAY_LEN(messages);
    ck_assert_uint_eq(prompt_size_min_tokens(req), 5);
    req->kind = REQUEST_RERANK;
    ck_assert_uint_eq(prompt_size_min_tokens(req), 0);
    request_free(req);
}
END_TEST

START_TEST(the_longest_of_several)
{
    struct str texts[] = {STR_LIT("a"), STR_LIT("a b c"), STR_LIT("a b")};
    struct request *req = request_new(REQUEST_EMBED, 4096);

    ck_assert_ptr_nonnull(req);
    req->inputs = texts;
    req->n_inputs = ARRAY_LEN(texts);
    ck_assert_uint_eq(prompt_size_min_tokens(req), 3);
    ck_assert_str_eq(prompt_size_precision(req), " at least");
    req->may_be_cut = true;
    ck_assert_uint_eq(prompt_size_min_tokens(req), 0);
    req->may_be_cut = false;
    req->kind = REQUEST_COMPLETE;
    req->prompt = texts[0];
    ck_assert_uint_eq(prompt_size_min_tokens(req), 1);
    req->prompts = texts;
    req->n_prompts = ARRAY_LEN(texts);
    ck_assert_uint_eq(prompt_size_min_tokens(req), 3);
    req->n_token_ids = 7;
    ck_assert_uint_eq(prompt_size_min_tokens(req), 7);
    ck_assert_str_eq(prompt_size_precision(req), "");
    request_free(req);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, words);
    tcase_add_test(tc, kinds);
    tcase_add_test(tc, the_longest_of_several);
}
TEST_MAIN("prompt size", add_tests)
