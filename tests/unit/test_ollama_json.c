/*
 * ollama_json, requests: what OpenAI clients send (by openai_decode_request()) and what RPC clients
 * send, as bodies for Ollama. What the deployment brings is in test_ollama_options.c, the answers
 * are in test_ollama_reply.c.
 */
#include "ollama_bodies.h"

/* ---- bodies */

START_TEST(paths)
{
    ck_assert_str_eq(ollama_path(REQUEST_CHAT), "/api/chat");
    ck_assert_str_eq(ollama_path(REQUEST_COMPLETE), "/api/generate");
    ck_assert_str_eq(ollama_path(REQUEST_EMBED), "/api/embed");
}
END_TEST

START_TEST(a_plain_chat)
{
    take_chat("");
    ck_assert_body("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                   "\"stream\":true,\"truncate\":false,\"options\":{}}");
    take_chat("\"stream\":false"); /* the client's wish does not matter to the upstream */
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("stream"), "true");
}
END_TEST

START_TEST(sampling_keeps_its_names)
{
    take_chat("\"temperature\":0,\"top_p\":0.5,\"top_k\":20,\"min_p\":0.05,\"seed\":-3,"
              "\"stop\":\"END\",\"max_tokens\":9,\"max_completion_tokens\":7,"
              "\"presence_penalty\":0.25,\"frequency_penalty\":0");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("options"),
                     "{\"num_predict\":7,\"temperature\":0,\"top_p\":0.5,\"top_k\":20,"
                     "\"min_p\":0.05,\"seed\":-3,\"stop\":[\"END\"],\"presence_penalty\":0.25,"
                     "\"frequency_penalty\":0}");
    /* frequency_penalty 0 must never become repeat_penalty 0 */
    ck_assert(!option("repeat_penalty").ptr);
}
END_TEST

START_TEST(content_of_messages)
{
    take(REQUEST_CHAT,
         "{\"model\":\"m\",\"messages\":["
         "{\"role\":\"developer\",\"content\":\"be brief\"},"
         "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"what \\\"is\\\"\"},"
         "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0K\"}},"
         "{\"type\":\"text\",\"text\":\"this?\"},"
         "{\"type\":\"image_url\",\"image_url\":\"data:image/jpeg;base64,/9j/\"}]},"
         "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\\n\"}]}");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(
        member("messages"),
        "[{\"role\":\"system\",\"content\":\"be brief\"},"
        "{\"role\":\"user\",\"content\":\"what \\\"is\\\"\\nthis?\",\"images\":[\"iVBORw0K\","
        "\"/9j/\"]},"
        "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\\n\"}]");
}
END_TEST

/* The turns of a tool loop go back to the model with names and ids, or it calls again and again. */
START_TEST(tool_calls_and_results)
{
    take(REQUEST_CHAT,
         "{\"model\":\"m\",\"messages\":["
         "{\"role\":\"user\",\"content\":\"weather?\"},"
         "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":["
         "{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"get_weather\","
         "\"arguments\":\"{\\\"city\\\": \\\"Paris\\\", \\\"n\\\": 1.50}\"}},"
         "{\"id\":\"call_2\",\"type\":\"function\",\"function\":{\"name\":\"now\",\"arguments\":"
         "\"\"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"call_2\",\"content\":\"noon\"},"
         "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"sunny\"},"
         "{\"role\":\"tool\",\"tool_call_id\":\"call_9\",\"name\":\"other\",\"content\":\"x\"},"
         "{\"role\":\"tool\",\"content\":\"y\"}],"
         "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"now\"}}],\"tool_choice\":"
         "\"auto\"}");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(
        member("messages"),
        "[{\"role\":\"user\",\"content\":\"weather?\"},"
        "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":["
        "{\"id\":\"call_1\",\"function\":{\"index\":0,\"name\":\"get_weather\",\"arguments\":"
        "{\"city\": \"Paris\", \"n\": 1.50}}},"
        "{\"id\":\"call_2\",\"function\":{\"index\":1,\"name\":\"now\",\"arguments\":{}}}]},"
        "{\"role\":\"tool\",\"content\":\"noon\",\"tool_name\":\"now\",\"tool_call_id\":"
        "\"call_2\"},"
        "{\"role\":\"tool\",\"content\":\"sunny\",\"tool_name\":\"get_weather\","
        "\"tool_call_id\":\"call_1\"},"
        "{\"role\":\"tool\",\"content\":\"x\",\"tool_name\":\"other\",\"tool_call_id\":"
        "\"call_9\"},"
        "{\"role\":\"tool\",\"content\":\"y\"}]");
    ck_assert_str_is(member("tools"), "[{\"type\":\"function\",\"function\":{\"name\":\"now\"}}]");
}
END_TEST

/* Some clients number the calls of every turn from zero: the nearest one counts. */
START_TEST(a_repeated_id_means_the_nearest_call)
{
    take(REQUEST_CHAT,
         "{\"model\":\"m\",\"messages\":["
         "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"0\",\"function\":{\"name\":\"a\","
         "\"arguments\":\"{}\"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"0\",\"content\":\"1\"},"
         "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"0\",\"function\":{\"name\":\"b\","
         "\"arguments\":\"{}\"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"0\",\"content\":\"2\"}]}");
    ck_assert_int_eq(encode(), 0);
    ck_assert_ptr_nonnull(strstr(buf_z(&g_out), "\"1\",\"tool_name\":\"a\""));
    ck_assert_ptr_nonnull(strstr(buf_z(&g_out), "\"2\",\"tool_name\":\"b\""));
}
END_TEST

START_TEST(tools_are_left_out)
{
    take_chat("\"tools\":[]");
    ck_assert_int_eq(encode(), 0);
    ck_assert(!member("tools").ptr);
    take_chat("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":"
              "\"none\"");
    ck_assert_int_eq(encode(), 0);
    ck_assert(!member("tools").ptr);
}
END_TEST

START_TEST(response_formats)
{
    take_chat("\"response_format\":{\"type\":\"json_object\"}");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("format"), "\"json\"");
    take_chat("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\","
              "\"schema\":{\"type\" : \"object\"}}}");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("format"), "{\"type\" : \"object\"}");
    take_chat("\"response_format\":{\"type\":\"text\"}");
    ck_assert_int_eq(encode(), 0);
    ck_assert(!member("format").ptr);

    take_chat("\"response_format\":{\"type\":\"grammar\"}");
    ck_assert_refused(ERRCODE_UNSUPPORTED_PARAMETER, "response_format");
    take_chat("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\"}}");
    ck_assert_refused(ERRCODE_INVALID_REQUEST, "response_format.json_schema.schema");
}
END_TEST

START_TEST(reasoning)
{
    static const char *const cases[][2] = {
        {"none", "false"},    {"minimal", "\"low\""}, {"low", "\"low\""}, {"medium", "\"medium\""},
        {"high", "\"high\""}, {"xhigh", "\"max\""},   {"max", "\"max\""},
    };
    char members[64];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void) snprintf(members, sizeof members, "\"reasoning_effort\":\"%s\"", cases[i][0]);
        take_chat(members);
        ck_assert_int_eq(encode(), 0);
        ck_assert_str_is(member("think"), cases[i][1]);
    }
    take_chat("");
    ck_assert_int_eq(encode(), 0);
    ck_assert(!member("think").ptr);
    take_chat("\"think\":false");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("think"), "false");
    take_chat("\"reasoning_effort\":\"utmost\"");
    ck_assert_refused(ERRCODE_UNSUPPORTED_PARAMETER, "reasoning_effort");
    take_chat("\"think\":\"banana\"");
    ck_assert_refused(ERRCODE_INVALID_REQUEST, "think");
}
END_TEST

START_TEST(logprobs)
{
    take_chat("\"logprobs\":true,\"top_logprobs\":2");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("logprobs"), "true");
    ck_assert_str_is(member("top_logprobs"), "2");
    take_chat("\"logprobs\":true");
    ck_assert_int_eq(encode(), 0);
    ck_assert(!member("top_logprobs").ptr);
    take_chat("\"logprobs\":false");
    ck_assert_int_eq(encode(), 0);
    ck_assert(!member("logprobs").ptr);
}
END_TEST

START_TEST(completions)
{
    take(REQUEST_COMPLETE, "{\"model\":\"m\",\"prompt\":\"Once\",\"max_tokens\":4}");
    ck_assert_body("{\"model\":\"tiny\",\"prompt\":\"Once\",\"raw\":true,\"stream\":true,"
                   "\"truncate\":false,\"options\":{\"num_predict\":4}}");
    take(REQUEST_COMPLETE, "{\"model\":\"m\",\"prompt\":\"a(\",\"suffix\":\")\"}");
    ck_assert_body("{\"model\":\"tiny\",\"prompt\":\"a(\",\"suffix\":\")\",\"stream\":true,"
                   "\"truncate\":false,\"options\":{}}");
    take(REQUEST_COMPLETE, "{\"model\":\"m\",\"prompt\":\"\"}");
    ck_assert_refused(ERRCODE_INVALID_REQUEST, "prompt");
}
END_TEST

START_TEST(embeddings)
{
    set_option("temperature", "0.3");
    set_option("num_ctx", "512");
    set_option("think", "true");
    take(REQUEST_EMBED, "{\"model\":\"m\",\"input\":\"one\"}");
    ck_assert_body("{\"model\":\"tiny\",\"input\":[\"one\"],\"truncate\":false,\"options\":"
                   "{\"num_ctx\":512}}");
    take(REQUEST_EMBED, "{\"model\":\"m\",\"input\":[\"a\",\"b\\n\"],\"dimensions\":64}");
    ck_assert_body("{\"model\":\"tiny\",\"input\":[\"a\",\"b\\n\"],\"dimensions\":64,"
                   "\"truncate\":false,\"options\":{\"num_ctx\":512}}");
}
END_TEST

/* ---- refusals */

START_TEST(what_ollama_cannot_say_is_refused)
{
    static const struct {
        const char *members, *param;
        enum errcode code;
    } cases[] = {
        {"\"modalities\":[\"text\",\"audio\"]", "modalities", ERRCODE_UNSUPPORTED_PARAMETER},
        {"\"web_search_options\":{}", "web_search_options", ERRCODE_UNSUPPORTED_PARAMETER},
        {"\"logit_bias\":{\"50256\":-100}", "logit_bias", ERRCODE_UNSUPPORTED_PARAMETER},
        {"\"tool_choice\":\"required\"", "tool_choice", ERRCODE_UNSUPPORTED_PARAMETER},
        {"\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}", "tool_choice",
         ERRCODE_UNSUPPORTED_PARAMETER},
        {"\"functions\":[{\"name\":\"f\"}]", "functions", ERRCODE_UNSUPPORTED_PARAMETER},
        {"\"repeat_penalty\":\"1.1\"", "repeat_penalty", ERRCODE_INVALID_REQUEST},
        {"\"penalize_newline\":1", "penalize_newline", ERRCODE_INVALID_REQUEST},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        take_chat(cases[i].members);
        ck_assert_refused(cases[i].code, cases[i].param);
    }
    take(REQUEST_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                       "\"image_url\",\"image_url\":{\"url\":\"https://example.org/a.png\"}}]}]}");
    ck_assert_refused(ERRCODE_UNSUPPORTED_PARAMETER, "messages[0].content");
    take(REQUEST_CHAT,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
         "\"input_audio\",\"input_audio\":{\"data\":\"AA==\",\"format\":\"wav\"}}]}]}");
    ck_assert_refused(ERRCODE_UNSUPPORTED_PARAMETER, "messages");
    take(REQUEST_EMBED, "{\"model\":\"m\",\"input\":[1,2,3]}");
    ck_assert_refused(ERRCODE_UNSUPPORTED_PARAMETER, "input");
    take(REQUEST_COMPLETE, "{\"model\":\"m\",\"prompt\":[[1,2],[3]]}");
    ck_assert_refused(ERRCODE_UNSUPPORTED_PARAMETER, "prompt");
    take(REQUEST_COMPLETE, "{\"model\":\"m\",\"prompt\":\"a\",\"echo\":true}");
    ck_assert_refused(ERRCODE_UNSUPPORTED_PARAMETER, "echo");
    take(REQUEST_COMPLETE, "{\"model\":\"m\",\"prompt\":\"a\",\"best_of\":3}");
    ck_assert_refused(ERRCODE_UNSUPPORTED_PARAMETER, "best_of");
    take(REQUEST_RERANK, "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\"]}");
    ck_assert_refused(ERRCODE_NOT_IMPLEMENTED, "model");
    take(REQUEST_CLASSIFY, "{\"model\":\"m\",\"input\":\"a\"}");
    ck_assert_refused(ERRCODE_NOT_IMPLEMENTED, "model");
}
END_TEST

/* One body is for one answer; who asks several times is fan_out. */
START_TEST(several_prompts_are_checked_before_the_first)
{
    take(REQUEST_COMPLETE, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"n\":2}");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("prompt"), "\"a\"");
    take(REQUEST_COMPLETE, "{\"model\":\"m\",\"prompt\":[\"a\",\"\"]}");
    ck_assert_refused(ERRCODE_INVALID_REQUEST, "prompt");
}
END_TEST

/* LiteLLM's drop_params, which most files for Ollama have. */
START_TEST(what_ollama_cannot_say_is_left_out)
{
    g_drops_params = true;
    take_chat("\"logit_bias\":{\"1\":1},\"tool_choice\":\"required\",\"modalities\":[\"audio\"],"
              "\"web_search_options\":{},\"reasoning_effort\":\"utmost\",\"best_of\":3,"
              "\"response_format\":{\"type\":\"grammar\"},\"echo\":true");
    ck_assert_body("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                   "\"stream\":true,\"truncate\":false,\"options\":{}}");
    take_chat("\"repeat_penalty\":\"1.1\""); /* it could be said, but it is wrong */
    ck_assert_refused(ERRCODE_INVALID_REQUEST, "repeat_penalty");
    take(REQUEST_EMBED, "{\"model\":\"m\",\"input\":[1,2,3]}"); /* nothing would be left */
    ck_assert_refused(ERRCODE_UNSUPPORTED_PARAMETER, "input");
}
END_TEST

START_TEST(arguments_that_are_no_object_are_refused)
{
    static const char *const arguments[] = {"{\\\"a\\\":", "[]", "7", "{} {}", "\\\"x\\\""};
    char body[512];

    for (size_t i = 0; i < ARRAY_LEN(arguments); i++) {
        (void) snprintf(body, sizeof body,
                        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"},"
                        "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"0\",\"function\":"
                        "{\"name\":\"a\",\"arguments\":\"%s\"}}]}]}",
                        arguments[i]);
        take(REQUEST_CHAT, body);
        ck_assert_refused(ERRCODE_INVALID_REQUEST, "messages[1].tool_calls[0].arguments");
    }
}
END_TEST

/* Clients send these to everybody; a 400 would lock them out. */
START_TEST(hints_do_no_harm)
{
    take_chat("\"user\":\"u\",\"store\":true,\"metadata\":{},\"parallel_tool_calls\":false,"
              "\"service_tier\":\"auto\",\"verbosity\":\"low\",\"prompt_cache_key\":\"k\","
              "\"logit_bias\":{},\"n\":1,\"best_of\":1,\"tool_choice\":\"auto\"");
    ck_assert_body("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                   "\"stream\":true,\"truncate\":false,\"options\":{}}");
}
END_TEST

/* ---- RPC: no body, but extra_json */

static void take_extra(const char *extra)
{
    static struct content_part part = {.type = PART_TEXT, .text = {"hi", 2}};
    static struct message message = {.role = ROLE_USER, .parts = &part, .n_parts = 1};

    g_req = request_free(g_req);
    g_req = request_new(REQUEST_CHAT, 4096);
    ck_assert_ptr_nonnull(g_req);
    g_req->messages = &message;
    g_req->n_messages = 1;
    g_req->extra = str_from(extra);
}

START_TEST(extra_json_reaches_the_options)
{
    take_extra("{\"repeat_penalty\":1.2,\"num_ctx\":9999,\"mirostat\":1,\"unknown\":true}");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("options"), "{\"repeat_penalty\":1.2,\"mirostat\":1}");
    take_extra("{\"mirostat\":{}}");
    ck_assert_refused(ERRCODE_INVALID_REQUEST, "mirostat");
    take_extra("{\"think\":\"high\"}");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("think"), "\"high\"");
}
END_TEST

/* ---- limits and memory */

START_TEST(a_body_over_the_maximum)
{
    struct ollama_target target = {.model = "tiny"};
    struct buf small;

    take_chat("");
    buf_init(&small, 40);
    ck_assert_int_eq(ollama_encode_request(g_req, &target, &small, &g_problem), -ENOBUFS);
    buf_clear(&small);
    ck_assert_int_eq(ollama_encode_load(&target, &small), -ENOBUFS);
    buf_done(&small);
}
END_TEST

/*
 * The names of results are looked for near them only: a long conversation is not searched for each.
 */
START_TEST(a_tool_result_far_from_its_call)
{
    enum { N_CALLS = 2000 };
    static struct tool_call calls[N_CALLS];
    static struct message messages[2] = {{.role = ROLE_ASSISTANT}, {.role = ROLE_TOOL}};

    for (size_t i = 0; i < N_CALLS; i++) {
        calls[i] = (struct tool_call) {.id = STR_LIT("x"), .name = STR_LIT("f")};
    }
    calls[0].id = STR_LIT("wanted");
    messages[0].tool_calls = calls;
    messages[0].n_tool_calls = N_CALLS;
    messages[1].tool_call_id = STR_LIT("wanted");
    take_extra("{}");
    g_req->messages = messages;
    g_req->n_messages = 2;
    ck_assert_int_eq(encode(), 0);
    ck_assert_ptr_null(strstr(buf_z(&g_out), "tool_name"));
}
END_TEST

static void encode_once(void)
{
    struct ollama_target target = deployment();
    struct buf out;
    int r;

    buf_init(&out, 1 << 20);
    r = ollama_encode_request(g_req, &target, &out, &g_problem);
    ck_assert(r == 0 || r == -ENOMEM);
    r = ollama_encode_load(&target, &out);
    ck_assert(r == 0 || r == -ENOMEM);
    buf_done(&out);
}

START_TEST(encoding_survives_failed_allocations)
{
    set_option("num_ctx", "2048");
    take(REQUEST_CHAT,
         "{\"model\":\"m\",\"messages\":["
         "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},"
         "{\"type\":\"text\",\"text\":\"two\"}]},"
         "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"0\",\"function\":{\"name\":\"a\","
         "\"arguments\":\"{}\"}}]}],\"temperature\":1,\"stop\":[\"a\"]}");
    for_each_failed_allocation(encode_once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, paths);
    tcase_add_test(tc, a_plain_chat);
    tcase_add_test(tc, sampling_keeps_its_names);
    tcase_add_test(tc, content_of_messages);
    tcase_add_test(tc, tool_calls_and_results);
    tcase_add_test(tc, a_repeated_id_means_the_nearest_call);
    tcase_add_test(tc, tools_are_left_out);
    tcase_add_test(tc, response_formats);
    tcase_add_test(tc, reasoning);
    tcase_add_test(tc, logprobs);
    tcase_add_test(tc, completions);
    tcase_add_test(tc, embeddings);
    tcase_add_test(tc, what_ollama_cannot_say_is_refused);
    tcase_add_test(tc, several_prompts_are_checked_before_the_first);
    tcase_add_test(tc, what_ollama_cannot_say_is_left_out);
    tcase_add_test(tc, arguments_that_are_no_object_are_refused);
    tcase_add_test(tc, hints_do_no_harm);
    tcase_add_test(tc, extra_json_reaches_the_options);
    tcase_add_test(tc, a_body_over_the_maximum);
    tcase_add_test(tc, a_tool_result_far_from_its_call);
    tcase_add_test(tc, encoding_survives_failed_allocations);
}

TEST_MAIN("ollama_json", add_tests)
