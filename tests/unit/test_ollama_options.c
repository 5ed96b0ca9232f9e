/*
 * ollama_json, requests: what a deployment brings to them: load options, defaults, what it drops.
 */
#include "ollama_bodies.h"

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

START_TEST(dropped_parameters_are_never_sent)
{
    static const char *const names[] = {
        "temperature",      "max_tokens",        "stop",     "tools",          "response_format",
        "reasoning_effort", "frequency_penalty", "logprobs", "repeat_penalty", "logit_bias",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ck_assert_int_eq(kv_set(&g_dropped, str_from(names[i]), STR_LIT("")), 0);
    }
    set_option("temperature", "0.5"); /* the deployment's own neither */
    set_option("reasoning_effort", "\"low\"");
    set_option("num_predict", "9"); /* by the name that it is said by */
    take_chat(
        "\"temperature\":1,\"max_tokens\":5,\"stop\":\"x\",\"top_p\":0.5,\"tools\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"f\"}}],\"response_format\":{\"type\":"
        "\"json_object\"},\"reasoning_effort\":\"utmost\",\"frequency_penalty\":1,"
        "\"logprobs\":true,\"repeat_penalty\":\"x\",\"logit_bias\":{\"1\":1}");
    ck_assert_body("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                   "\"stream\":true,\"truncate\":false,\"options\":{\"num_predict\":9,"
                   "\"top_p\":0.5}}");
}
END_TEST

/* In every body alike, or Ollama would load the model anew in between. */
START_TEST(dropped_load_options_are_in_no_body)
{
    static const char *const names[] = {"num_ctx", "keep_alive", "shift", "truncate"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ck_assert_int_eq(kv_set(&g_dropped, str_from(names[i]), STR_LIT("")), 0);
        set_option(names[i], "1");
    }
    set_option("num_thread", "1");
    take_chat("\"keep_alive\":300");
    ck_assert_body("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                   "\"stream\":true,\"options\":{\"num_thread\":1}}");

    struct ollama_target target = deployment();

    buf_clear(&g_out);
    ck_assert_int_eq(ollama_encode_load(&target, &g_out), 0);
    ck_assert_str_eq(buf_z(&g_out),
                     "{\"model\":\"tiny\",\"stream\":false,\"options\":{\"num_thread\":1}}");
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

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, load_options_are_the_deployments);
    tcase_add_test(tc, other_options_are_defaults);
    tcase_add_test(tc, quoted_numbers_become_numbers);
    tcase_add_test(tc, top_level_defaults);
    tcase_add_test(tc, a_load_has_the_same_load_options);
    tcase_add_test(tc, dropped_parameters_are_never_sent);
    tcase_add_test(tc, dropped_load_options_are_in_no_body);
    tcase_add_test(tc, keep_alive_of_a_client);
}

TEST_MAIN("ollama_options", add_tests)
