/*
 * ollama_json, requests: what OpenAI clients send (by openai_decode_request()) and what RPC clients
 * send, as bodies for Ollama. The answers are in test_ollama_reply.c.
 */
#include "wire/ollama_json.h"

#include <errno.h>

#include "support.h"
#include "wire/json.h"
#include "wire/openai_request.h"

static struct kv g_options, g_dropped;
static bool g_drops_params;
static struct buf g_out;
static struct request *g_req;
static struct problem g_problem;

static void setup(void)
{
    buf_init(&g_out, 1 << 20);
}

static void teardown(void)
{
    kv_done(&g_options);
    kv_done(&g_dropped);
    g_drops_params = false;
    buf_done(&g_out);
    g_req = request_free(g_req);
}

static void set_option(const char *name, const char *json)
{
    ck_assert_int_eq(kv_set(&g_options, str_from(name), str_from(json)), 0);
}

static void take(enum request_kind kind, const char *body)
{
    g_req = request_free(g_req);
    g_req = request_new(kind, 1 << 20);
    ck_assert_ptr_nonnull(g_req);
    ck_assert_msg(openai_decode_request(g_req, str_from(body), &g_problem) == 0, "%s",
                  g_problem.text);
}

static struct ollama_target deployment(void)
{
    return (struct ollama_target) {.model = "tiny",
                                   .options = &g_options,
                                   .drops_params = g_drops_params,
                                   .dropped = &g_dropped};
}

static int encode(void)
{
    struct ollama_target target = deployment();

    buf_clear(&g_out);
    memset(&g_problem, 0, sizeof g_problem);
    return ollama_encode_request(g_req, &target, &g_out, &g_problem);
}

#define ck_assert_body(expected)                                                                   \
    do {                                                                                           \
        ck_assert_msg(encode() == 0, "%s: %s", g_problem.param, g_problem.text);                   \
        ck_assert_int_eq(json_check(buf_str(&g_out), NULL), 0);                                    \
        ck_assert_str_eq(buf_z(&g_out), expected);                                                 \
    } while (0)

#define ck_assert_refused(error, name)                                                             \
    do {                                                                                           \
        ck_assert_int_eq(encode(), -EBADMSG);                                                      \
        ck_assert_int_eq(g_problem.code, error);                                                   \
        ck_assert_str_eq(g_problem.param, name);                                                   \
        ck_assert(g_problem.text[0] != '\0');                                                      \
        ck_assert_uint_eq(g_out.len, 0);                                                           \
    } while (0)

/* The value of a member of the body that was encoded last. */
static struct str member(const char *name)
{
    return json_find(buf_str(&g_out), name);
}

static struct str option(const char *name)
{
    return json_find(member("options"), name);
}

/* A chat of one message with these members behind it. */
static void take_chat(const char *members)
{
    char body[2048];

    (void) snprintf(body, sizeof body,
                    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]%s%s}",
                    members[0] ? "," : "", members);
    take(REQUEST_CHAT, body);
}

#define ck_assert_option(name, expected)                                                           \
    do {                                                                                           \
        ck_assert_msg(encode() == 0, "%s: %s", g_problem.param, g_problem.text);                   \
        ck_assert_str_is(option(name), expected);                                                  \
    } while (0)

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

/* ---- the deployment */

START_TEST(load_options_are_the_deployments)
{
    set_option("num_ctx", "2048");
    set_option("num_thread", "1");
    set_option("keep_alive", "\"5m\"");
    take_chat(
        "\"num_ctx\":8192,\"options\":{\"num_ctx\":4096,\"temperature\":2},\"num_gpu\":99,"
        "\"num_thread\":64,\"keep_alive\":-1,\"truncate\":true,\"shift\":false,\"num_keep\":7,"
        "\"main_gpu\":1,\"use_mmap\":false,\"num_batch\":1");
    ck_assert_body("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                   "\"stream\":true,\"truncate\":false,\"keep_alive\":\"5m\",\"options\":"
                   "{\"num_ctx\":2048,\"num_thread\":1}}");
}
END_TEST

START_TEST(other_options_are_defaults)
{
    set_option("temperature", "0.2");
    set_option("max_tokens", "100");
    set_option("stop", "\"END\"");
    set_option("repeat_penalty", "1.1");
    set_option("rpm", "60"); /* LiteLLM's own, nothing to Ollama */
    set_option("seed", "null");
    take_chat("");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("options"), "{\"num_predict\":100,\"temperature\":0.2,\"stop\":"
                                        "[\"END\"],\"repeat_penalty\":1.1}");
    take_chat("\"temperature\":1.5,\"max_completion_tokens\":5,\"stop\":[\"a\",\"b\"],"
              "\"repeat_penalty\":1.3,\"typical_p\":null");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("options"), "{\"num_predict\":5,\"temperature\":1.5,\"stop\":[\"a\","
                                        "\"b\"],\"repeat_penalty\":1.3}");
    set_option("stop", "[\"x\",\"y\"]");
    set_option("num_predict", "50"); /* Ollama's own name wins over LiteLLM's */
    take_chat("");
    ck_assert_option("stop", "[\"x\",\"y\"]");
    ck_assert_option("num_predict", "50");
}
END_TEST

/*
 * People quote numbers in YAML; Ollama says "missing unit in duration" and "must be of type
 * integer".
 */
START_TEST(quoted_numbers_become_numbers)
{
    set_option("keep_alive", "\"300\"");
    set_option("num_ctx", "\"4096\"");
    set_option("use_mmap", "\"true\"");
    set_option("stop", "\"3\"");
    take_chat("");
    ck_assert_option("num_ctx", "4096");
    ck_assert_option("use_mmap", "true");
    ck_assert_option("stop", "[\"3\"]");
    ck_assert_str_is(member("keep_alive"), "300");
    set_option("keep_alive", "\"-1\"");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("keep_alive"), "-1");
    set_option("keep_alive", "\"007\""); /* no number in JSON: Ollama may say what it thinks */
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("keep_alive"), "\"007\"");
    set_option("keep_alive", "null");
    ck_assert_int_eq(encode(), 0);
    ck_assert(!member("keep_alive").ptr);
}
END_TEST

START_TEST(top_level_defaults)
{
    set_option("think", "true");
    set_option("format", "\"json\"");
    set_option("truncate", "true");
    set_option("shift", "false");
    take_chat("");
    ck_assert_body("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                   "\"stream\":true,\"format\":\"json\",\"think\":true,\"shift\":false,"
                   "\"truncate\":true,\"options\":{}}");
    take_chat("\"reasoning_effort\":\"none\",\"response_format\":{\"type\":\"json_schema\","
              "\"json_schema\":{\"schema\":{}}}");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("think"), "false");
    ck_assert_str_is(member("format"), "{}");
    set_option("think", "null");
    set_option("reasoning_effort", "\"high\"");
    take_chat("");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("think"), "\"high\"");
}
END_TEST

START_TEST(a_load_has_the_same_load_options)
{
    struct ollama_target target = deployment(), bare = {.model = "a\"b"};

    set_option("num_ctx", "2048");
    set_option("num_thread", "1");
    set_option("keep_alive", "\"60\"");
    set_option("temperature", "0.1");
    set_option("truncate", "true");
    ck_assert_int_eq(ollama_encode_load(&target, &g_out), 0);
    ck_assert_str_eq(buf_z(&g_out), "{\"model\":\"tiny\",\"stream\":false,\"keep_alive\":60,"
                                    "\"options\":{\"num_ctx\":2048,\"num_thread\":1}}");
    buf_clear(&g_out);
    ck_assert_int_eq(ollama_encode_load(&bare, &g_out), 0);
    ck_assert_str_eq(buf_z(&g_out), "{\"model\":\"a\\\"b\",\"stream\":false,\"options\":{}}");
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

START_TEST(dropped_parameters_are_never_sent)
{
    static const char *const names[] = {
        "temperature",      "max_tokens",        "stop",     "tools",          "response_format",
        "reasoning_effort", "frequency_penalty", "logprobs", "repeat_penalty", "logit_bias",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ck_assert_int_eq(kv_set(&g_dropped, str_from(names[i]), STR_LIT("")), 0);
    }
    set_option("temperature", "0.5"); /* the deployment's own stays */
    take_chat(
        "\"temperature\":1,\"max_tokens\":5,\"stop\":\"x\",\"top_p\":0.5,\"tools\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"f\"}}],\"response_format\":{\"type\":"
        "\"json_object\"},\"reasoning_effort\":\"utmost\",\"frequency_penalty\":1,"
        "\"logprobs\":true,\"repeat_penalty\":\"x\",\"logit_bias\":{\"1\":1}");
    ck_assert_body("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                   "\"stream\":true,\"truncate\":false,\"options\":{\"temperature\":0.5,"
                   "\"top_p\":0.5}}");
}
END_TEST

/* The deployment's, else the client's, between a minute and a day. */
START_TEST(keep_alive_of_a_client)
{
    static const char *const cases[][2] = {
        {"300", "300"},      {"\"5m\"", "300"},       {"\"1h30m\"", "5400"}, {"\"1.5h\"", "5400"},
        {"\"300\"", "300"},  {"\"90s\"", "90"},       {"0", "60"},           {"\"0\"", "60"},
        {"\"250ms\"", "60"}, {"-1", "86400"},         {"\"-1s\"", "86400"},  {"\"-1\"", "86400"},
        {"1e300", "86400"},  {"\"99999h\"", "86400"}, {"61.9", "61"},        {"\"2m5us\"", "120"},
        {"\"1e3\"", NULL},   {"true", NULL},          {"[5]", NULL},         {"\"\"", NULL},
        {"\"soon\"", NULL},  {"\"5 m\"", NULL},       {"\"5m3\"", NULL},     {"\"-\"", NULL},
        {"\".\"", NULL},     {"\"1..5s\"", NULL},     {"\"5mm\"", NULL},     {"1e999", NULL},
    };
    char members[64];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void) snprintf(members, sizeof members, "\"keep_alive\":%s", cases[i][0]);
        take_chat(members);
        if (cases[i][1]) {
            ck_assert_msg(encode() == 0, "%s: %s", cases[i][0], g_problem.text);
            ck_assert_str_is(member("keep_alive"), cases[i][1]);
        } else {
            ck_assert_refused(ERRCODE_INVALID_REQUEST, "keep_alive");
        }
    }
    set_option("keep_alive", "\"10m\"");
    take_chat("\"keep_alive\":0");
    ck_assert_int_eq(encode(), 0);
    ck_assert_str_is(member("keep_alive"), "\"10m\"");
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
    tcase_add_test(tc, load_options_are_the_deployments);
    tcase_add_test(tc, other_options_are_defaults);
    tcase_add_test(tc, quoted_numbers_become_numbers);
    tcase_add_test(tc, top_level_defaults);
    tcase_add_test(tc, a_load_has_the_same_load_options);
    tcase_add_test(tc, what_ollama_cannot_say_is_refused);
    tcase_add_test(tc, several_prompts_are_checked_before_the_first);
    tcase_add_test(tc, what_ollama_cannot_say_is_left_out);
    tcase_add_test(tc, dropped_parameters_are_never_sent);
    tcase_add_test(tc, keep_alive_of_a_client);
    tcase_add_test(tc, arguments_that_are_no_object_are_refused);
    tcase_add_test(tc, hints_do_no_harm);
    tcase_add_test(tc, extra_json_reaches_the_options);
    tcase_add_test(tc, a_body_over_the_maximum);
    tcase_add_test(tc, a_tool_result_far_from_its_call);
    tcase_add_test(tc, encoding_survives_failed_allocations);
}

TEST_MAIN("ollama_json", add_tests)
