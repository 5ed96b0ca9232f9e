/* rpc_msg: what protobuf-c would let through: bad strings, malformed bytes, bombs, long lists. */
#include <stdio.h>

#include "rpc_payload.h"
#include "wire/rpc_msg_unpack.h"

START_TEST(refuses_bad_strings)
{
    put_bytes(&g_payload, CHAT_MODEL, STR_LIT("tiny\0x"));
    put_chat_message(2, "hi");
    ck_assert_refused(REQUEST_CHAT, "model");

    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_chat_message(2, "hi");
    put_chat_message(2, "\xff");
    ck_assert_refused(REQUEST_CHAT, "messages[1].text");

    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_number(&g_inner, MSG_ROLE, 3);
    put_text(&g_innermost, 2, "f");
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_bytes(&g_innermost, 2, STR_LIT("\0"));
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "messages[0].tool_calls[1].name");

    buf_clear(&g_payload);
    put_text(&g_payload, 2, "minilm");
    put_text(&g_payload, EMBED_INPUTS, "\xed\xa0\x80"); /* a surrogate */
    ck_assert_refused(REQUEST_EMBED, "inputs[0]");
    ck_assert_refused(REQUEST_CLASSIFY, "inputs[0]");
}
END_TEST

START_TEST(refuses_malformed_protobuf)
{
    static const struct {
        struct str bytes;
        const char *param;
    } cases[] = {
        {STR_LIT("\x12"), ""},         /* a tag and nothing */
        {STR_LIT("\x12\x05tiny"), ""}, /* a length behind the end */
        {STR_LIT("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ""},
        {STR_LIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), ""}, /* an endless varint */
        {STR_LIT("\xff\xff\xff\xff\x7f\x00"), ""},                     /* a tag of 35 bits */
        {STR_LIT("\x02\x00"), ""},                                     /* field 0 */
        {STR_LIT("\x0b\x0c"), ""},                                     /* a group */
        {STR_LIT("\x16"), ""},
        {STR_LIT("\x17"), ""},                             /* wire types 6 and 7 */
        {STR_LIT("\x10\x01"), "model"},                    /* a number for a string */
        {STR_LIT("\x1a\x02\x0a\x00"), "messages[0].role"}, /* bytes for an enum */
        {STR_LIT("\x1a\x02\x12\x05"), "messages[0]"},
        {STR_LIT("\x09\x01"), ""}, /* half a fixed64 */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&g_payload);
        ck_assert_int_eq(buf_append_str(&g_payload, cases[i].bytes), 0);
        ck_assert_refused(REQUEST_CHAT, cases[i].param);
    }
    buf_clear(&g_payload);
    ck_assert_refused(REQUEST_CHAT, "model"); /* an empty message is well-formed */
}
END_TEST

START_TEST(unknown_fields_are_ignored_up_to_a_limit)
{
    put_small_chat();
    put_number(&g_payload, 900, 1);
    put_text(&g_payload, 901, "\xff\0"); /* who knows what it is */
    put_double(&g_payload, 902, 1);
    put_varint(&g_payload, 903 << 3 | 5);
    ck_assert_int_eq(buf_append(&g_payload, "abcd", 4), 0);
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    for (int i = 4; i < RPC_MAX_UNKNOWN_FIELDS; i++) {
        put_number(&g_payload, 900, 1);
    }
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    put_number(&g_payload, 900, 1);
    ck_assert_refused(REQUEST_CHAT, "");
}
END_TEST

START_TEST(lists_reach_their_limits)
{
    put_text(&g_payload, CHAT_MODEL, "tiny");
    for (int i = 0; i < REQUEST_MAX_MESSAGES; i++) {
        put_chat_message(2, "a");
    }
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    ck_assert_uint_eq(g_req->n_messages, REQUEST_MAX_MESSAGES);
    put_chat_message(2, "a");
    ck_assert_refused(REQUEST_CHAT, "messages");

    buf_clear(&g_payload);
    put_text(&g_payload, 2, "minilm");
    for (int i = 0; i < REQUEST_MAX_INPUTS; i++) {
        put_text(&g_payload, EMBED_INPUTS, "a");
    }
    ck_assert_int_eq(decode(REQUEST_EMBED), 0);
    ck_assert_uint_eq(g_req->n_inputs, REQUEST_MAX_INPUTS);
    put_text(&g_payload, EMBED_INPUTS, "a");
    ck_assert_refused(REQUEST_EMBED, "inputs");

    buf_clear(&g_payload);
    put_text(&g_payload, 2, "ranker");
    put_text(&g_payload, RERANK_QUERY, "q");
    for (int i = 0; i < REQUEST_MAX_INPUTS; i++) {
        put_text(&g_payload, RERANK_DOCUMENTS, "a");
    }
    ck_assert_int_eq(decode(REQUEST_RERANK), 0);
    put_text(&g_payload, RERANK_DOCUMENTS, "a");
    ck_assert_refused(REQUEST_RERANK, "documents");

    buf_clear(&g_payload);
    put_small_chat();
    for (int i = 0; i < REQUEST_MAX_STOP; i++) {
        put_text(&g_inner, 9, "x");
    }
    put_bytes(&g_payload, CHAT_SAMPLING, buf_str(&g_inner));
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    put_text(&g_inner, 9, "x");
    put_message(&g_payload, CHAT_SAMPLING, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "sampling.stop");
}
END_TEST

/* 2 MiB of two-byte fields each: what costs protobuf-c a hundred times its size. */
START_TEST(bombs_stay_under_the_budget)
{
    static const struct {
        enum request_kind kind;
        const char *field;
    } bombs[] = {
        {REQUEST_CHAT, "\x0a\0"},     /* options, again and again */
        {REQUEST_CHAT, "\x22\0"},     /* sampling */
        {REQUEST_CHAT, "\x12\0"},     /* model */
        {REQUEST_COMPLETE, "\x1a\0"}, /* prompt */
        {REQUEST_RERANK, "\x1a\0"},   /* query */
    };

    for (size_t i = 0; i < ARRAY_LEN(bombs); i++) {
        buf_clear(&g_payload);
        put_bomb(&g_payload, bombs[i].field);
        ck_assert_int_eq(decode(bombs[i].kind), -EBADMSG);
        ck_assert_int_eq(g_problem.code, ERRCODE_PAYLOAD_TOO_LARGE);
    }
    buf_clear(&g_payload);
    put_bomb(&g_payload, "\x1a\0"); /* messages */
    ck_assert_refused(REQUEST_CHAT, "messages");
}
END_TEST

START_TEST(a_large_prompt_fits)
{
    char *text = malloc(3 << 20);

    ck_assert_ptr_nonnull(text);
    memset(text, 'a', (3 << 20) - 1);
    text[(3 << 20) - 1] = '\0';
    put_text(&g_payload, 2, "tiny");
    put_text(&g_payload, COMPLETE_PROMPT, text);
    ck_assert_int_eq(decode(REQUEST_COMPLETE), 0);
    ck_assert_uint_eq(g_req->prompt.len, (3 << 20) - 1);
    free(text);
}
END_TEST

START_TEST(a_small_request_arena_is_out_of_memory)
{
    put_small_chat();
    g_req = request_new(REQUEST_CHAT, 64);
    ck_assert_int_eq(rpc_decode_request(g_req, buf_str(&g_payload), &g_problem), -ENOMEM);
}
END_TEST

START_TEST(decodes_cancel)
{
    char id[REQUEST_ID_MAX + 1] = "untouched";

    put_text(&g_payload, 1, "call-1");
    ck_assert_int_eq(rpc_decode_cancel(buf_str(&g_payload), id, &g_problem), 0);
    ck_assert_str_eq(id, "call-1");
    put_text(&g_payload, 1, "call 2");
    ck_assert_int_eq(rpc_decode_cancel(buf_str(&g_payload), id, &g_problem), -EBADMSG);
    ck_assert_str_eq(g_problem.param, "request_id");
    ck_assert_str_eq(id, "call-1");
    ck_assert_int_eq(rpc_decode_cancel(STR_LIT(""), id, &g_problem), -EBADMSG);
    ck_assert_int_eq(rpc_decode_cancel(STR_LIT("\x0a"), id, &g_problem), -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_INVALID_REQUEST);
}
END_TEST

static void cancel_once(void)
{
    char id[REQUEST_ID_MAX + 1];
    int r = rpc_decode_cancel(buf_str(&g_payload), id, &g_problem);

    ck_assert(r == 0 || (r == -EBADMSG && g_problem.code == ERRCODE_OUT_OF_MEMORY));
}

START_TEST(cancel_survives_failed_allocations)
{
    put_text(&g_payload, 1, "call-1");
    for_each_failed_allocation(cancel_once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, refuses_bad_strings);
    tcase_add_test(tc, refuses_malformed_protobuf);
    tcase_add_test(tc, unknown_fields_are_ignored_up_to_a_limit);
    tcase_add_test(tc, lists_reach_their_limits);
    tcase_add_test(tc, bombs_stay_under_the_budget);
    tcase_add_test(tc, a_large_prompt_fits);
    tcase_add_test(tc, a_small_request_arena_is_out_of_memory);
    tcase_add_test(tc, decodes_cancel);
    tcase_add_test(tc, cancel_survives_failed_allocations);
}

TEST_MAIN("rpc_msg_hostile", add_tests)
