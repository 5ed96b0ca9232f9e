/* ollama_json, errors: what Ollama says in its many ways of a request that it does not serve. */
#include "wire/ollama_json.h"

#include "support.h"

static const struct {
    int status;
    const char *body;
    enum errcode code;
    const char *param, *words; /* words that the text must have */
} errors[] = {
    {404, "{\"error\":\"model 'nope' not found\"}", ERRCODE_MODEL_NOT_FOUND, "",
     "'nope' not found (ollama pull nope)"},
    {404, "{\"error\":\"model \\\"nope\\\" not found, try pulling it first\"}",
     ERRCODE_MODEL_NOT_FOUND, "", "pulling it first (ollama pull nope)"},
    {404, "{\"error\":\"model 'nope\"}", ERRCODE_MODEL_NOT_FOUND, "", "model 'nope"},
    {404, "{\"error\":\"model '' not found\"}", ERRCODE_MODEL_NOT_FOUND, "", ""},
    {404, "404 page not found", ERRCODE_UPSTREAM_GARBAGE, "", "no Ollama"},
    {404, "{\"error\":{\"message\":\"File Not Found\",\"type\":\"not_found_error\",\"code\":404}}",
     ERRCODE_UPSTREAM_GARBAGE, "", "no Ollama"},
    {405, "405 method not allowed", ERRCODE_UPSTREAM_REJECTED, "", "method"},
    {400,
     "{\"error\":\"{\\\"error\\\":{\\\"code\\\":400,\\\"message\\\":\\\"request (3419 tokens) "
     "exceeds the available context size (256 tokens), try increasing it\\\",\\\"type\\\":"
     "\\\"exceed_context_size_error\\\",\\\"n_prompt_tokens\\\":3419,\\\"n_ctx\\\":256}}\"}",
     ERRCODE_CONTEXT_LENGTH, "",
     "the maximum context length is 256 tokens, and the prompt has 3419 tokens"},
    {400, "{\"error\":\"request (x tokens) exceeds the available context size (\"}",
     ERRCODE_CONTEXT_LENGTH, "", "request (x tokens) exceeds"},
    {400, "{\"error\":{\"message\":\"too long\",\"type\":\"exceed_context_size_error\"}}",
     ERRCODE_CONTEXT_LENGTH, "", "too long"},
    {400, "{\"error\":\"the input length exceeds the context length\"}", ERRCODE_CONTEXT_LENGTH, "",
     "input length"},
    {500,
     "{\"error\":\"input (1002 tokens) is too large to process. increase the physical batch\"}",
     ERRCODE_CONTEXT_LENGTH, "", "1002"},
    {400,
     "{\"error\":\"{\\\"error\\\":{\\\"code\\\":400,\\\"message\\\":\\\"failed to parse grammar"
     "\\\"}}\"}",
     ERRCODE_UPSTREAM_REJECTED, "", "failed to parse grammar"},
    {400, "{\"error\":\"top_logprobs must be between 0 and 20\"}", ERRCODE_UPSTREAM_REJECTED, "",
     "between"},
    {400, "{\"error\":\"HOST/library/tiny:latest does not support tools\"}",
     ERRCODE_UNSUPPORTED_PARAMETER, "tools", "cannot call tools"},
    {400, "{\"error\":\"\\\"tiny\\\" does not support thinking\"}", ERRCODE_UNSUPPORTED_PARAMETER,
     "reasoning_effort", "cannot think"},
    {400, "{\"error\":\"\\\"all-minilm\\\" does not support chat\"}", ERRCODE_UNSUPPORTED_PARAMETER,
     "model", "embeddings"},
    {400, "{\"error\":\"\\\"all-minilm\\\" does not support generate\"}",
     ERRCODE_UNSUPPORTED_PARAMETER, "model", ""},
    {400, "{\"error\":\"HOST/library/tiny:latest does not support insert\"}",
     ERRCODE_UNSUPPORTED_PARAMETER, "suffix", ""},
    {501, "{\"error\":\"This server does not support embeddings. Start it with `--embeddings`\"}",
     ERRCODE_UNSUPPORTED_PARAMETER, "model", "does not make embeddings"},
    {400,
     "{\"error\":\"{\\\"error\\\":{\\\"message\\\":\\\"Multimodal data provided, but model does not "
     "support multimodal requests.\\\"}}\"}",
     ERRCODE_UNSUPPORTED_PARAMETER, "messages", "cannot see images"},
    {501, "{\"error\":\"no\"}", ERRCODE_UNSUPPORTED_PARAMETER, "", "no"},
    {503, "{\"error\":\"server busy, please try again.  maximum pending requests exceeded\"}",
     ERRCODE_UPSTREAM_OVERLOADED, "", "server busy, please try again. maximum"},
    {503, "", ERRCODE_UPSTREAM_OVERLOADED, "", "overloaded"},
    {499, "{\"error\":\"request canceled\"}", ERRCODE_UPSTREAM_ERROR, "", ""},
    {500, "{\"error\":\"llama-server process has terminated: signal: killed\"}",
     ERRCODE_UPSTREAM_OUT_OF_MEMORY, "", "ran out of memory"},
    {500, "{\"error\":\"llama runner process has terminated: signal: killed\"}",
     ERRCODE_UPSTREAM_OUT_OF_MEMORY, "", "ran out of memory"},
    {500, "{\"error\":\"model requires more system memory (9 GiB) than is available (2 GiB)\"}",
     ERRCODE_UPSTREAM_OUT_OF_MEMORY, "", "9 GiB"},
    {500,
     "{\"error\":\"llama-server process has terminated: exit status 1: failed to allocate "
     "CPU_REPACK buffer\"}",
     ERRCODE_UPSTREAM_OUT_OF_MEMORY, "", "CPU_REPACK"},
    {500, "{\"error\":\"timed out waiting for llama-server to start - \"}",
     ERRCODE_UPSTREAM_TIMEOUT, "", "in time"},
    {500, "{\"error\":\"model runner has unexpectedly stopped, this may be due to resource\"}",
     ERRCODE_UPSTREAM_ERROR, "", "unexpectedly"},
    {500, "{\"error\":\"option \\\"num_ctx\\\" must be of type integer\"}",
     ERRCODE_UPSTREAM_REJECTED, "", "num_ctx"},
    {500, "{\"error\":\"invalid format: \\\"xml\\\"\"}", ERRCODE_UPSTREAM_REJECTED,
     "response_format", "xml"},
    {500, "", ERRCODE_UPSTREAM_ERROR, "", "error"},
    {403, "", ERRCODE_UPSTREAM_AUTH, "", "OLLAMA_ORIGINS"},
    {403, "{\"error\":\"ollama cloud is disabled: remote model is unavailable\"}",
     ERRCODE_UPSTREAM_REJECTED, "model", "cloud"},
    {401, "{\"error\":\"unauthorized\"}", ERRCODE_UPSTREAM_AUTH, "", "credentials"},
    {429, "{\"error\":\"too many\"}", ERRCODE_UPSTREAM_RATE_LIMITED, "", "too many"},
    {413, "", ERRCODE_PAYLOAD_TOO_LARGE, "", ""},
    {504, "<html>gateway time-out</html>", ERRCODE_UPSTREAM_TIMEOUT, "", "in time"},
    {302, "<html>", ERRCODE_UPSTREAM_GARBAGE, "", "protocol"},
    {502, "{\"error\":\"cut", ERRCODE_UPSTREAM_ERROR, "", "error"},
    {400, "{\"error\":{\"message\":7}}", ERRCODE_UPSTREAM_REJECTED, "", "refused"},
    {400, "{\"error\":\"\"}", ERRCODE_UPSTREAM_REJECTED, "", "refused"},
    {400, "{\"error\":\"a\\n\\u0007b\\t c\"}", ERRCODE_UPSTREAM_REJECTED, "", "a b c"},
    {400, "bad \xff byte", ERRCODE_UPSTREAM_REJECTED, "", "bad ? byte"},
};

START_TEST(errors_are_mapped)
{
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct problem p;

        memset(&p, 'x', sizeof p);
        ollama_map_error(errors[i].status, str_from(errors[i].body), &p);
        ck_assert_msg(p.code == errors[i].code, "%d %s: is %s", errors[i].status, errors[i].body,
                      errcode_info(p.code)->name);
        ck_assert_str_eq(p.param, errors[i].param);
        ck_assert_msg(strstr(p.text, errors[i].words) && p.text[0] != '\0', "%d %s: '%s'",
                      errors[i].status, errors[i].body, p.text);
    }
}
END_TEST

START_TEST(a_long_error_is_cut_between_characters)
{
    char body[2000] = "{\"error\":\"x";
    struct problem p;

    for (size_t i = strlen(body); i < sizeof body - 4; i += 2) {
        memcpy(body + i, "\xc3\xa9", 3);
    }
    memcpy(body + strlen(body), "\"}", 3);
    ollama_map_error(500, str_from(body), &p);
    ck_assert_uint_gt(strlen(p.text), PROBLEM_TEXT_MAX - 4);
    ck_assert(str_is_utf8(str_from(p.text)));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, errors_are_mapped);
    tcase_add_test(tc, a_long_error_is_cut_between_characters);
}

TEST_MAIN("ollama_error", add_tests)
