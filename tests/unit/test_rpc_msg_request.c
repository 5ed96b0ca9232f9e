/* rpc_msg: what requests say, and which values are refused. */
#include <math.h>

#include "rpc_payload.h"

START_TEST(decodes_a_small_chat)
{
    put_small_chat();
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    ck_assert_str_is(g_req->model, "tiny");
    ck_assert_uint_eq(g_req->n_messages, 1);
    ck_assert_int_eq(g_req->messages[0].role, ROLE_USER);
    ck_assert_uint_eq(g_req->messages[0].n_parts, 1);
    ck_assert_int_eq(g_req->messages[0].parts[0].type, PART_TEXT);
    ck_assert_str_is(g_req->messages[0].parts[0].text, "hi");
    ck_assert_uint_eq(g_req->total_bytes, g_payload.len);
    ck_assert(g_req->stream && g_req->include_usage && !g_req->is_raw_only);
    ck_assert_int_eq(g_req->dialect, DIALECT_NONE);
    ck_assert_int_eq(g_req->class, CLASS_INTERACTIVE);
    ck_assert_str_eq(g_req->id, "");
    ck_assert_uint_eq(g_req->deadline_usec, 0);
    ck_assert_uint_eq(g_req->sampling.set, 0);
    ck_assert_uint_eq(g_req->sampling.n_choices, 1);
    ck_assert(!g_req->tools.ptr && !g_req->tool_choice.ptr && !g_req->response_format.ptr);
    ck_assert(!g_req->reasoning_effort.ptr && !g_req->extra.ptr);
}
END_TEST

START_TEST(decodes_options)
{
    put_text(&g_inner, 1, "my-call.1_A");
    put_number(&g_inner, 2, 30000000);
    put_number(&g_inner, 3, 3);
    put_message(&g_payload, CHAT_OPTIONS, &g_inner);
    put_small_chat();
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    ck_assert_str_eq(g_req->id, "my-call.1_A");
    ck_assert_uint_eq(g_req->deadline_usec, 30000000);
    ck_assert_int_eq(g_req->class, CLASS_BACKGROUND);
}
END_TEST

START_TEST(refuses_wrong_options)
{
    static const char *const ids[] = {
        "with space", "a/b", "\xc3\xa9",
        "0123456789012345678901234567890123456789012345678901234567890123X"};

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        buf_clear(&g_payload);
        put_text(&g_inner, 1, ids[i]);
        put_message(&g_payload, CHAT_OPTIONS, &g_inner);
        put_small_chat();
        ck_assert_refused(REQUEST_CHAT, "options.request_id");
    }
    for (uint64_t class = 4; class > 3; class = class == 4 ? UINT64_MAX : 0) {
        buf_clear(&g_payload);
        put_number(&g_inner, 3, class); /* UINT64_MAX is how -1 is written */
        put_message(&g_payload, CHAT_OPTIONS, &g_inner);
        put_small_chat();
        ck_assert_refused(REQUEST_CHAT, "options.class");
    }
}
END_TEST

START_TEST(decodes_sampling)
{
    struct sampling *s;

    put_double(&g_inner, 1, 0.0); /* zero and set is not the same as not set */
    put_double(&g_inner, 2, 0.9);
    put_number(&g_inner, 3, (uint64_t) -7);
    put_double(&g_inner, 4, -2);
    put_double(&g_inner, 5, 2);
    put_number(&g_inner, 6, 40);
    put_double(&g_inner, 7, 0.05);
    put_number(&g_inner, 8, 128);
    put_text(&g_inner, 9, "END");
    put_text(&g_inner, 9, "");
    put_text(&g_inner, 9, "\n\n");
    put_text(&g_inner, 10, "{\"repeat_penalty\":1.1}");
    put_number(&g_inner, 11, 1);
    put_number(&g_inner, 12, 5);
    put_message(&g_payload, CHAT_SAMPLING, &g_inner);
    put_small_chat();
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    s = &g_req->sampling;
    ck_assert_uint_eq(s->set, (1 << 9) - 1);
    ck_assert_double_eq(s->temperature, 0);
    ck_assert_double_eq(s->top_p, 0.9);
    ck_assert_int_eq(s->seed, -7);
    ck_assert_double_eq(s->frequency_penalty, -2);
    ck_assert_double_eq(s->presence_penalty, 2);
    ck_assert_uint_eq(s->top_k, 40);
    ck_assert_double_eq(s->min_p, 0.05);
    ck_assert_uint_eq(s->max_tokens, 128);
    ck_assert_uint_eq(s->n_stop, 2);
    ck_assert_str_is(s->stop[0], "END");
    ck_assert_str_is(s->stop[1], "\n\n");
    ck_assert(s->logprobs);
    ck_assert_uint_eq(s->top_logprobs, 5);
    ck_assert_str_is(g_req->extra, "{\"repeat_penalty\":1.1}");
}
END_TEST

START_TEST(refuses_sampling_out_of_range)
{
    static const struct {
        unsigned field;
        double value;
        const char *param;
    } doubles[] = {
        {1, 2.01, "sampling.temperature"},
        {1, -0.01, "sampling.temperature"},
        {1, NAN, "sampling.temperature"},
        {1, INFINITY, "sampling.temperature"},
        {2, 1.1, "sampling.top_p"},
        {4, 2.1, "sampling.frequency_penalty"},
        {5, -2.1, "sampling.presence_penalty"},
        {7, -1, "sampling.min_p"},
    };
    static const struct {
        unsigned field;
        uint64_t value;
        const char *param;
    } integers[] = {
        {6, UINT32_MAX, "sampling.top_k"},
        {8, UINT32_MAX, "sampling.max_tokens"},
        {12, 21, "sampling.top_logprobs"},
    };

    for (size_t i = 0; i < ARRAY_LEN(doubles); i++) {
        buf_clear(&g_payload);
        put_double(&g_inner, doubles[i].field, doubles[i].value);
        put_message(&g_payload, CHAT_SAMPLING, &g_inner);
        put_small_chat();
        ck_assert_refused(REQUEST_CHAT, doubles[i].param);
    }
    for (size_t i = 0; i < ARRAY_LEN(integers); i++) {
        buf_clear(&g_payload);
        put_number(&g_inner, integers[i].field, integers[i].value);
        put_message(&g_payload, CHAT_SAMPLING, &g_inner);
        put_small_chat();
        ck_assert_refused(REQUEST_CHAT, integers[i].param);
    }
}
END_TEST

START_TEST(decodes_a_conversation_with_tools)
{
    const struct message *m;

    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_chat_message(1, "be brief");
    put_number(&g_inner, MSG_ROLE, 3);
    put_text(&g_innermost, 1, "call_1");
    put_text(&g_innermost, 2, "get_weather");
    put_text(&g_innermost, 3, "{\"city\":\"Paris\"}");
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_text(&g_innermost, 2, "now");
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_text(&g_inner, MSG_THINKING, "hm");
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    put_number(&g_inner, MSG_ROLE, 4);
    put_text(&g_inner, MSG_TEXT, "sunny");
    put_text(&g_inner, MSG_CALL_ID, "call_1");
    put_text(&g_inner, MSG_NAME, "get_weather");
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    put_text(&g_payload, CHAT_TOOLS, "[{\"type\":\"web_search\"}]");
    put_text(&g_payload, CHAT_CHOICE, "\"auto\"");
    put_text(&g_payload, CHAT_FORMAT, "{\"type\":\"json_object\"}");
    put_text(&g_payload, CHAT_EFFORT, "low");
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    ck_assert_uint_eq(g_req->n_messages, 3);
    ck_assert_int_eq(g_req->messages[0].role, ROLE_SYSTEM);
    m = &g_req->messages[1];
    ck_assert_int_eq(m->role, ROLE_ASSISTANT);
    ck_assert_uint_eq(m->n_parts, 0);
    ck_assert_uint_eq(m->n_tool_calls, 2);
    ck_assert_str_is(m->tool_calls[0].id, "call_1");
    ck_assert_str_is(m->tool_calls[0].name, "get_weather");
    ck_assert_str_is(m->tool_calls[0].arguments, "{\"city\":\"Paris\"}");
    ck_assert(!m->tool_calls[1].id.ptr);
    ck_assert_str_is(m->tool_calls[1].arguments, "{}");
    ck_assert_str_is(m->thinking, "hm");
    m = &g_req->messages[2];
    ck_assert_int_eq(m->role, ROLE_TOOL);
    ck_assert_str_is(m->tool_call_id, "call_1");
    ck_assert_str_is(m->name, "get_weather");
    ck_assert_str_is(g_req->tools, "[{\"type\":\"web_search\"}]");
    ck_assert(g_req->is_raw_only);
    ck_assert_str_is(g_req->tool_choice, "\"auto\"");
    ck_assert_str_is(g_req->response_format, "{\"type\":\"json_object\"}");
    ck_assert_str_is(g_req->reasoning_effort, "low");
}
END_TEST

START_TEST(decodes_images)
{
    const struct message *m;

    put_text(&g_payload, CHAT_MODEL, "llava");
    put_number(&g_inner, MSG_ROLE, 2);
    put_text(&g_inner, MSG_TEXT, "what is this?");
    put_bytes(&g_innermost, 1, STR_LIT("\x89PNG\0\xff"));
    put_text(&g_innermost, 2, "image/png");
    put_message(&g_inner, MSG_IMAGES, &g_innermost);
    put_text(&g_innermost, 3, "https://example.org/a.png");
    put_message(&g_inner, MSG_IMAGES, &g_innermost);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    m = &g_req->messages[0];
    ck_assert_uint_eq(m->n_parts, 3);
    ck_assert_int_eq(m->parts[1].type, PART_IMAGE);
    ck_assert_str_is(m->parts[1].data, "iVBORwD/");
    ck_assert_str_is(m->parts[1].media_type, "image/png");
    ck_assert(!m->parts[1].url.ptr);
    ck_assert_int_eq(m->parts[2].type, PART_IMAGE);
    ck_assert_str_is(m->parts[2].url, "https://example.org/a.png");
    ck_assert(!m->parts[2].data.ptr && !m->parts[2].media_type.ptr);
}
END_TEST

/* A user message with one image of the given fields. */
static void put_image_chat(const char *content, const char *url)
{
    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "llava");
    put_number(&g_inner, MSG_ROLE, 2);
    put_text(&g_innermost, 1, content);
    put_text(&g_innermost, 3, url);
    put_message(&g_inner, MSG_IMAGES, &g_innermost);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
}

START_TEST(refuses_wrong_images)
{
    put_image_chat("", "");
    ck_assert_refused(REQUEST_CHAT, "messages[0].images[0]");
    put_image_chat("x", "https://example.org/a.png");
    ck_assert_refused(REQUEST_CHAT, "messages[0].images[0]");
    put_image_chat("", "file:///etc/passwd");
    ck_assert_refused(REQUEST_CHAT, "messages[0].images[0].url");
}
END_TEST

START_TEST(refuses_wrong_messages)
{
    put_text(&g_payload, CHAT_MODEL, "tiny");
    ck_assert_refused(REQUEST_CHAT, "messages");

    put_chat_message(2, "hi");
    put_chat_message(0, "who?");
    ck_assert_refused(REQUEST_CHAT, "messages[1].role");

    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_chat_message(5, "who?");
    ck_assert_refused(REQUEST_CHAT, "messages[0].role");

    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_number(&g_inner, MSG_ROLE, 2);
    put_text(&g_innermost, 2, "f");
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "messages[0].tool_calls");

    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_number(&g_inner, MSG_ROLE, 3);
    put_text(&g_innermost, 1, "id");
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "messages[0].tool_calls[0].name");
}
END_TEST

START_TEST(refuses_wrong_models)
{
    char longest[REQUEST_MODEL_MAX + 2];

    put_chat_message(2, "hi");
    ck_assert_refused(REQUEST_CHAT, "model");
    put_text(&g_payload, CHAT_MODEL, "a\x1b[2J");
    ck_assert_refused(REQUEST_CHAT, "model");
    put_text(&g_payload, CHAT_MODEL, "a\xc2\x9b");
    ck_assert_refused(REQUEST_CHAT, "model");
    memset(longest, 'x', sizeof longest);
    longest[REQUEST_MODEL_MAX + 1] = '\0';
    put_text(&g_payload, CHAT_MODEL, longest); /* the last one wins */
    ck_assert_refused(REQUEST_CHAT, "model");
    longest[REQUEST_MODEL_MAX] = '\0';
    put_text(&g_payload, CHAT_MODEL, longest);
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
}
END_TEST

START_TEST(refuses_wrong_json)
{
    static const struct {
        unsigned field;
        const char *text, *param;
    } cases[] = {
        {CHAT_TOOLS, "[{]", "tools_json"},
        {CHAT_TOOLS, "[1]", "tools_json[0]"},
        {CHAT_TOOLS, "[{\"type\":\"function\"}]", "tools_json[0].function"},
        {CHAT_CHOICE, "\"some\"", "tool_choice_json"},
        {CHAT_CHOICE, "{\"type\":\"function\"}", "tool_choice_json.function"},
        {CHAT_FORMAT, "{\"type\":\"xml\"}", "response_format_json.type"},
        {CHAT_TOOLS, "{}", "tools_json"},
        {CHAT_CHOICE, "auto", "tool_choice_json"},
        {CHAT_CHOICE, "[]", "tool_choice_json"},
        {CHAT_FORMAT, "\"x\"", "response_format_json"},
        {CHAT_FORMAT, "{} {}", "response_format_json"},
        {CHAT_EFFORT, "utmost", "reasoning_effort"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&g_payload);
        put_small_chat();
        put_text(&g_payload, cases[i].field, cases[i].text);
        ck_assert_refused(REQUEST_CHAT, cases[i].param);
    }
    buf_clear(&g_payload);
    put_small_chat();
    put_text(&g_inner, 10, "[1]");
    put_message(&g_payload, CHAT_SAMPLING, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "sampling.extra_json");
    buf_clear(&g_payload);
    buf_clear(&g_inner);
    put_small_chat();
    put_text(&g_inner, 10, "{\"store\":1}");
    put_message(&g_payload, CHAT_SAMPLING, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "extra_json.store");
}
END_TEST

START_TEST(decodes_complete)
{
    put_text(&g_payload, 2, "tiny");
    put_text(&g_payload, COMPLETE_PROMPT, "def f(");
    put_text(&g_payload, COMPLETE_SUFFIX, "return 1");
    put_number(&g_inner, 8, 9);
    put_message(&g_payload, COMPLETE_SAMPLING, &g_inner);
    ck_assert_int_eq(decode(REQUEST_COMPLETE), 0);
    ck_assert_str_is(g_req->prompt, "def f(");
    ck_assert_str_is(g_req->suffix, "return 1");
    ck_assert_uint_eq(g_req->sampling.max_tokens, 9);
    ck_assert(g_req->stream);

    buf_clear(&g_payload);
    put_text(&g_payload, 2, "tiny");
    ck_assert_refused(REQUEST_COMPLETE, "prompt");
}
END_TEST

START_TEST(decodes_embed)
{
    put_text(&g_payload, 2, "minilm");
    put_text(&g_payload, EMBED_INPUTS, "one");
    put_text(&g_payload, EMBED_INPUTS, "");
    put_text(&g_payload, EMBED_INPUTS, "d\xc3\xa9j\xc3\xa0");
    put_number(&g_payload, EMBED_DIMENSIONS, 64);
    ck_assert_int_eq(decode(REQUEST_EMBED), 0);
    ck_assert_uint_eq(g_req->n_inputs, 3);
    ck_assert_str_is(g_req->inputs[0], "one");
    ck_assert_str_is(g_req->inputs[1], "");
    ck_assert_str_is(g_req->inputs[2], "d\xc3\xa9j\xc3\xa0");
    ck_assert_uint_eq(g_req->dimensions, 64);
    ck_assert(!g_req->stream);

    buf_clear(&g_payload);
    put_text(&g_payload, 2, "minilm");
    ck_assert_refused(REQUEST_EMBED, "inputs");
    put_text(&g_payload, EMBED_INPUTS, "one");
    put_number(&g_payload, EMBED_DIMENSIONS, UINT32_MAX);
    ck_assert_refused(REQUEST_EMBED, "dimensions");
}
END_TEST

START_TEST(decodes_rerank)
{
    put_text(&g_payload, 2, "ranker");
    put_text(&g_payload, RERANK_QUERY, "d\xc3\xa9j\xc3\xa0");
    put_text(&g_payload, RERANK_DOCUMENTS, "one");
    put_text(&g_payload, RERANK_DOCUMENTS, "");
    put_number(&g_payload, RERANK_TOP_N, 1);
    put_text(&g_payload, RERANK_EXTRA, "{\"max_tokens_per_doc\":9}");
    ck_assert_int_eq(decode(REQUEST_RERANK), 0);
    ck_assert_str_is(g_req->query, "d\xc3\xa9j\xc3\xa0");
    ck_assert_uint_eq(g_req->n_inputs, 2);
    ck_assert_str_is(g_req->inputs[0], "one");
    ck_assert_str_is(g_req->inputs[1], "");
    ck_assert_uint_eq(g_req->top_n, 1);
    ck_assert_str_is(g_req->extra, "{\"max_tokens_per_doc\":9}");
    ck_assert(!g_req->stream && g_req->dialect == DIALECT_NONE);

    put_number(&g_payload, RERANK_TOP_N, UINT32_MAX);
    ck_assert_refused(REQUEST_RERANK, "top_n");
    buf_clear(&g_payload);
    put_text(&g_payload, 2, "ranker");
    put_text(&g_payload, RERANK_QUERY, "q");
    ck_assert_refused(REQUEST_RERANK, "documents");
    put_text(&g_payload, RERANK_DOCUMENTS, "one");
    put_text(&g_payload, RERANK_EXTRA, "[]");
    ck_assert_refused(REQUEST_RERANK, "extra_json");
    buf_clear(&g_payload);
    put_text(&g_payload, 2, "ranker");
    put_text(&g_payload, RERANK_DOCUMENTS, "one");
    ck_assert_refused(REQUEST_RERANK, "query");
}
END_TEST

START_TEST(decodes_classify)
{
    put_text(&g_payload, 2, "mobilebert");
    put_text(&g_payload, CLASSIFY_INPUTS, "one");
    put_text(&g_payload, CLASSIFY_INPUTS, "two");
    put_text(&g_payload, CLASSIFY_EXTRA, "{}");
    ck_assert_int_eq(decode(REQUEST_CLASSIFY), 0);
    ck_assert_uint_eq(g_req->n_inputs, 2);
    ck_assert_str_is(g_req->inputs[1], "two");
    ck_assert_str_is(g_req->extra, "{}");

    put_text(&g_payload, CLASSIFY_EXTRA, "{");
    ck_assert_refused(REQUEST_CLASSIFY, "extra_json");
    buf_clear(&g_payload);
    put_text(&g_payload, 2, "mobilebert");
    ck_assert_refused(REQUEST_CLASSIFY, "inputs");
}
END_TEST

static void decode_once(void)
{
    int r = decode(REQUEST_CHAT);

    ck_assert(r == 0 || r == -ENOMEM);
}

START_TEST(decoding_survives_failed_allocations)
{
    put_text(&g_payload, CHAT_MODEL, "tiny");
    for (int i = 0; i < 40; i++) {
        put_number(&g_inner, MSG_ROLE, 3);
        put_text(&g_inner, MSG_TEXT,
                 "a somewhat longer text, so that more than one block is needed");
        put_text(&g_innermost, 2, "f");
        put_message(&g_inner, MSG_CALLS, &g_innermost);
        put_text(&g_innermost, 1, "bytes");
        put_message(&g_inner, MSG_IMAGES, &g_innermost);
        put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    }
    put_text(&g_inner, 9, "stop");
    put_message(&g_payload, CHAT_SAMPLING, &g_inner);
    put_text(&g_payload, CHAT_TOOLS, "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]");
    for_each_failed_allocation(decode_once);
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, decodes_a_small_chat);
    tcase_add_test(tc, decodes_options);
    tcase_add_test(tc, refuses_wrong_options);
    tcase_add_test(tc, decodes_sampling);
    tcase_add_test(tc, refuses_sampling_out_of_range);
    tcase_add_test(tc, decodes_a_conversation_with_tools);
    tcase_add_test(tc, decodes_images);
    tcase_add_test(tc, refuses_wrong_images);
    tcase_add_test(tc, refuses_wrong_messages);
    tcase_add_test(tc, refuses_wrong_models);
    tcase_add_test(tc, refuses_wrong_json);
    tcase_add_test(tc, decodes_complete);
    tcase_add_test(tc, decodes_embed);
    tcase_add_test(tc, decodes_rerank);
    tcase_add_test(tc, decodes_classify);
    tcase_add_test(tc, decoding_survives_failed_allocations);
}

TEST_MAIN("rpc_msg_request", add_tests)
