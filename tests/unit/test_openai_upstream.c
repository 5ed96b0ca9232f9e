/*
 * openai_upstream.h: requests to bodies, error answers to problems (answers: test_openai_decode.c).
 * JSON is written with ' for ".
 */
#include "openai_client.h"

static struct buf g_out;
/* of the target; none unless a test says so */
static const struct kv *g_overrides, *g_dropped;

/* ---- requests */

static struct kv defaults_of(const char *const *pairs, size_t n)
{
    struct kv kv = {0};

    for (size_t i = 0; i + 1 < n; i += 2) {
        ck_assert_int_eq(kv_set(&kv, str_from(pairs[i]), json(pairs[i + 1])), 0);
    }
    return kv;
}

static int encode(const struct request *req, const struct kv *defaults)
{
    struct openai_target target = {
        .model = "up/model", .defaults = defaults, .overrides = g_overrides, .dropped = g_dropped};
    struct json_error error;
    int r;

    buf_done(&g_out);
    buf_init(&g_out, BUDGET);
    r = openai_encode_request(req, &target, &g_out, &g_problem);
    ck_assert(r < 0 || json_check(buf_str(&g_out), &error) == 0); /* no name twice, too */
    return r;
}

#define FORCED "{'model':'up/model','stream':true,'stream_options':{'include_usage':true}"

static void encodes(const struct request *req, const struct kv *defaults, const char *want)
{
    struct str text = json(want);

    ck_assert_int_eq(encode(req, defaults), 0);
    ck_assert_msg(str_is_equal(buf_str(&g_out), text), "is\n%s, not\n%s", buf_z(&g_out), text.ptr);
    buf_done(&g_out);
}

START_TEST(paths)
{
    ck_assert_str_eq(openai_path(REQUEST_CHAT), "chat/completions");
    ck_assert_str_eq(openai_path(REQUEST_COMPLETE), "completions");
    ck_assert_str_eq(openai_path(REQUEST_EMBED), "embeddings");
    ck_assert_str_eq(openai_path(REQUEST_RERANK), "rerank");
    ck_assert_str_eq(openai_path(REQUEST_CLASSIFY), "../classify");
}
END_TEST

START_TEST(a_body_of_this_dialect_is_spliced)
{
    struct request *req =
        decode(REQUEST_CHAT,
               "{ 'temperature' : 0.70000000000000000001, 'model':'m','stream':false,"
               "'messages': [ {'role':'user', 'content':'\\u0041\\/'} ],'x_new':{'a':[1E+2]},"
               "'stream_options':null,'user':null}");

    encodes(req, NULL,
            FORCED ",'temperature':0.70000000000000000001,"
                   "'messages':[ {'role':'user', 'content':'\\u0041\\/'} ],'x_new':{'a':[1E+2]},"
                   "'user':null}");
    request_free(req);
}
END_TEST

START_TEST(what_is_said_to_the_gateway_stays_here)
{
    struct request *req = decode(
        REQUEST_CHAT,
        "{'model':'m','messages':[{'role':'user'}],'api_base':null,'api_key':null,"
        "'keep_alive':5,'num_ctx':8,'fallbacks':[],'num_retries':1,'tags':['a'],'disable_fallbacks':true,"
        "'timeout':1,'stream_tim\\u0065out':2,'priority':0,'mock_response':'x','litellm_call_id':'c',"
        "'metadata':{'a':'b','tags':['t']}}");

    encodes(req, NULL, FORCED ",'messages':[{'role':'user'}],'metadata':{'a':'b','tags':['t']}}");
    request_free(req);
}
END_TEST

START_TEST(defaults_fill_gaps)
{
    static const char *const pairs[] = {
        "temperature",    "0.1",  "max_tokens",  "100",    "seed",   "7",     "model", "'evil'",
        "messages",       "[]",   "n",           "4",      "stream", "false", "stop",  "['x']",
        "stream_options", "null", "custom_knob", "{'a':1}"};
    struct kv kv = defaults_of(pairs, ARRAY_LEN(pairs));
    struct request *req = decode(
        REQUEST_CHAT, "{'model':'m','messages':[{'role':'user'}],'seed':null,'temperature':1}");

    encodes(req, &kv,
            FORCED ",'messages':[{'role':'user'}],'temperature':1,'max_tokens':100,"
                   "'seed':7,'stop':['x'],'custom_knob':{'a':1}}");
    request_free(req);
    /* one parameter with two names */
    req =
        decode(REQUEST_CHAT, "{'model':'m','messages':[{'role':'user'}],'max_completion_tokens':5,"
                             "'temperature':1,'seed':1,'stop':'a','custom_knob':0}");
    encodes(req, &kv,
            FORCED ",'messages':[{'role':'user'}],'max_completion_tokens':5,"
                   "'temperature':1,'seed':1,'stop':'a','custom_knob':0}");
    request_free(req);
    /* what is for text is not for embeddings */
    req = decode(REQUEST_EMBED, "{'model':'m','input':'x'}");
    encodes(req, &kv,
            "{'model':'up/model','encoding_format':'float','input':'x','custom_knob':{'a':1}}");
    request_free(req);
    kv_done(&kv);
}
END_TEST

START_TEST(embeddings_are_asked_for_as_numbers)
{
    struct request *req =
        decode(REQUEST_EMBED, "{'encoding_format':'base64','model':'m',"
                              "'input':[[1,2],[3]],'stream':true,'dimensions':8}");

    encodes(req, NULL,
            "{'model':'up/model','encoding_format':'float','input':[[1,2],[3]],"
            "'dimensions':8}");
    request_free(req);
}
END_TEST

static struct request *neutral(enum request_kind kind)
{
    struct request *req = request_new(kind, 65536);

    ck_assert(req);
    req->model = STR_LIT("m");
    return req;
}

START_TEST(a_neutral_chat)
{
    struct content_part parts[] = {
        {.type = PART_TEXT, .text = STR_LIT("look \"here\"")},
        {.type = PART_IMAGE, .data = STR_LIT("/9j/aaaa")},
        {.type = PART_IMAGE, .data = STR_LIT("aGk="), .media_type = STR_LIT("image/x\"y")},
        {.type = PART_IMAGE, .data = STR_LIT("aGk=")},
        {.type = PART_IMAGE, .url = STR_LIT("https://a/b")},
    };
    struct content_part text = {.type = PART_TEXT, .text = STR_LIT("be brief")};
    struct tool_call calls[] = {{STR_LIT("c1"), STR_LIT("f"), STR_LIT("{\"a\":1}")},
                                {STR_LIT("c2"), STR_LIT("g"), STR_LIT("")}};
    struct message messages[] = {
        {.role = ROLE_SYSTEM, .parts = &text, .n_parts = 1},
        {.role = ROLE_USER, .parts = parts, .n_parts = 5, .name = STR_LIT("ann")},
        {.role = ROLE_ASSISTANT, .tool_calls = calls, .n_tool_calls = 2, .thinking = STR_LIT("hm")},
        {.role = ROLE_TOOL, .parts = &text, .n_parts = 1, .tool_call_id = STR_LIT("c1")},
        {.role = ROLE_ASSISTANT},
    };
    struct request *req = neutral(REQUEST_CHAT);

    req->messages = messages;
    req->n_messages = ARRAY_LEN(messages);
    encodes(req, NULL,
            FORCED
            ",'messages':[{'role':'system','content':'be brief'},"
            "{'role':'user','content':[{'type':'text','text':'look \\'here\\''},"
            "{'type':'image_url','image_url':{'url':'data:image/jpeg;base64,/9j/aaaa'}},"
            "{'type':'image_url','image_url':{'url':'data:image/x_y;base64,aGk='}},"
            "{'type':'image_url','image_url':{'url':'data:image/png;base64,aGk='}},"
            "{'type':'image_url','image_url':{'url':'https://a/b'}}],'name':'ann'},"
            "{'role':'assistant','content':null,'reasoning_content':'hm','tool_calls':["
            "{'id':'c1','type':'function','function':{'name':'f','arguments':'{\\'a\\':1}'}},"
            "{'id':'c2','type':'function','function':{'name':'g','arguments':'{}'}}]},"
            "{'role':'tool','content':'be brief','tool_call_id':'c1'},"
            "{'role':'assistant','content':''}]}");
    request_free(req);
}
END_TEST

START_TEST(neutral_values)
{
    struct str stop[] = {STR_LIT("a"), STR_LIT("b")};
    struct message m = {.role = ROLE_USER};
    struct request *req = neutral(REQUEST_CHAT);

    req->messages = &m;
    req->n_messages = 1;
    req->sampling = (struct sampling) {.set = (1 << 9) - 1,
                                       .temperature = 0.7,
                                       .top_p = 1,
                                       .min_p = 0.05,
                                       .frequency_penalty = -1,
                                       .presence_penalty = 2,
                                       .seed = INT64_MIN,
                                       .top_k = 40,
                                       .max_tokens = 5,
                                       .stop = stop,
                                       .n_stop = 2,
                                       .n_choices = 2,
                                       .logprobs = true,
                                       .top_logprobs = 3};
    req->tools = STR_LIT("[{}]");
    req->tool_choice = STR_LIT("\"auto\"");
    req->response_format = STR_LIT("{\"type\":\"json_object\"}");
    req->reasoning_effort = STR_LIT("low");
    encodes(req, NULL,
            FORCED ",'messages':[{'role':'user','content':''}],'temperature':0.7,'top_p':1,"
                   "'min_p':0.05,'frequency_penalty':-1,'presence_penalty':2,"
                   "'seed':-9223372036854775808,'top_k':40,'max_tokens':5,'stop':['a','b'],'n':2,"
                   "'logprobs':true,'top_logprobs':3,'tools':[{}],'tool_choice':'auto',"
                   "'response_format':{'type':'json_object'},'reasoning_effort':'low'}");
    req->kind = REQUEST_COMPLETE;
    req->prompt = STR_LIT("p");
    req->suffix = STR_LIT("s");
    req->sampling.set = 0;
    req->sampling.n_choices = 1;
    encodes(req, NULL, FORCED ",'prompt':'p','suffix':'s','logprobs':3}");
    req->kind = REQUEST_EMBED;
    req->inputs = stop;
    req->n_inputs = 2;
    req->dimensions = 8;
    encodes(req, NULL,
            "{'model':'up/model','encoding_format':'float','input':['a','b'],'dimensions':8}");
    request_free(req);
}
END_TEST

START_TEST(extra_members_follow_the_same_rules)
{
    static const char *const pairs[] = {"seed", "7", "temperature", "0.5", "logit_bias", "{}"};
    struct kv kv = defaults_of(pairs, ARRAY_LEN(pairs));
    struct message m = {.role = ROLE_USER};
    struct request *req = neutral(REQUEST_CHAT);

    req->messages = &m;
    req->n_messages = 1;
    req->sampling.set = SAMPLING_TEMPERATURE;
    req->sampling.temperature = 1;
    req->extra = json("{'temperature':2,'seed':3,'model':'evil','stream':false,'messages':[],"
                      "'api_base':'http://evil','grammar':'g','input':1}");
    encodes(req, &kv,
            FORCED ",'messages':[{'role':'user','content':''}],'temperature':1,'seed':3,"
                   "'grammar':'g','logit_bias':{}}");
    req->extra = json("{'n':2}");
    ck_assert_int_eq(encode(req, NULL), -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_UNSUPPORTED_PARAMETER);
    ck_assert_str_eq(g_problem.param, "extra_json.n");
    req->extra = json("{'api\\u005fbase':2}");
    ck_assert_int_eq(encode(req, NULL), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(g_problem.text, "escapes"));
    buf_done(&g_out);
    request_free(req);
    kv_done(&kv);
}
END_TEST

START_TEST(overrides_win_over_clients_and_defaults)
{
    static const char *const pairs[] = {"temperature", "0.5",      "x_mode", "{'a':1}", "model",
                                        "'evil'",      "messages", "[]",     "stream",  "false"};
    static const char *const usual[] = {"temperature", "0.9", "top_p", "0.1"};
    struct kv overrides = defaults_of(pairs, ARRAY_LEN(pairs)),
              defaults = defaults_of(usual, ARRAY_LEN(usual));
    struct content_part part = {.type = PART_TEXT, .text = STR_LIT("x")};
    struct message m = {.role = ROLE_USER, .parts = &part, .n_parts = 1};
    struct request neutral = {
        .kind = REQUEST_CHAT,
        .messages = &m,
        .n_messages = 1,
        .sampling = {.set = SAMPLING_TEMPERATURE, .temperature = 2, .n_choices = 1},
        .extra = json("{'x_mode':7,'y':8}"),
    };
    struct request *req = decode(REQUEST_CHAT, "{'model':'m','temperature':1,'x_mode':2,'y':3,"
                                               "'messages':[{'role':'user'}]}");

    g_overrides = &overrides;
    encodes(req, &defaults,
            FORCED ",'y':3,'messages':[{'role':'user'}],'temperature':0.5,'x_mode':{'a':1},"
                   "'top_p':0.1}");
    encodes(&neutral, &defaults,
            FORCED ",'messages':[{'role':'user','content':'x'}],'y':8,'temperature':0.5,"
                   "'x_mode':{'a':1},'top_p':0.1}");
    g_overrides = NULL;
    request_free(req);
    kv_done(&overrides);
    kv_done(&defaults);
}
END_TEST

START_TEST(what_is_dropped_is_never_sent)
{
    static const char *const names[] = {"max_tokens", "", "temperature",    "", "x_mode",   "",
                                        "y",          "", "stream_options", "", "messages", "",
                                        "model",      "", "input",          ""};
    static const char *const usual[] = {"temperature",           "0.9", "top_p", "0.1",
                                        "max_completion_tokens", "5"};
    static const char *const pairs[] = {"x_mode", "1", "z", "2"};
    struct kv dropped = defaults_of(names, ARRAY_LEN(names)),
              defaults = defaults_of(usual, ARRAY_LEN(usual)),
              overrides = defaults_of(pairs, ARRAY_LEN(pairs));
    struct content_part part = {.type = PART_TEXT, .text = STR_LIT("x")};
    struct message m = {.role = ROLE_USER, .parts = &part, .n_parts = 1};
    struct request neutral = {
        .kind = REQUEST_CHAT,
        .messages = &m,
        .n_messages = 1,
        .sampling = {.set = SAMPLING_TEMPERATURE | SAMPLING_MAX_TOKENS,
                     .max_tokens = 3,
                     .temperature = 2,
                     .n_choices = 1},
        .extra = json("{'y':8,'q':9}"),
    };
    struct request *req = decode(REQUEST_CHAT, "{'model':'m','temperature':1,'max_tokens':3,'y':3,"
                                               "'q':4,'messages':[{'role':'user'}]}");
    struct request *embed = decode(REQUEST_EMBED, "{'model':'m','input':'x','y':1}");

    g_dropped = &dropped;
    g_overrides = &overrides;
    encodes(req, &defaults,
            "{'model':'up/model','stream':true,'q':4,'messages':[{'role':'user'}],'z':2,"
            "'top_p':0.1,'max_completion_tokens':5}"); /* a cap that is dropped was not sent */
    encodes(&neutral, &defaults,
            "{'model':'up/model','stream':true,'messages':[{'role':'user','content':'x'}],'q':9,"
            "'z':2,'top_p':0.1,'max_completion_tokens':5}");
    encodes(embed, NULL, "{'model':'up/model','encoding_format':'float','input':'x','z':2}");
    g_dropped = g_overrides = NULL;
    request_free(embed);
    request_free(req);
    kv_done(&overrides);
    kv_done(&defaults);
    kv_done(&dropped);
}
END_TEST

START_TEST(a_full_buffer_is_told)
{
    struct request *req = decode(REQUEST_EMBED, "{'model':'m','input':'x'}");
    struct openai_target target = {.model = "up"};
    struct buf out;

    for (size_t max = 1; max < 60; max++) {
        int r;

        buf_init(&out, max);
        r = openai_encode_request(req, &target, &out, &g_problem);
        ck_assert(r == -ENOBUFS || (r == 0 && out.len <= max));
        buf_done(&out);
    }
    request_free(req);
}
END_TEST

/* ---- error answers */

static void maps(int status, const char *body, enum errcode code, const char *text)
{
    memset(&g_problem, 0x55, sizeof g_problem);
    openai_map_error(status, json(body), &g_problem);
    ck_assert_msg(g_problem.code == code, "%d %s: %s", status, body,
                  errcode_info(g_problem.code)->name);
    ck_assert_msg(strcmp(g_problem.text, text) == 0, "%d %s: '%s'", status, body, g_problem.text);
}

#define ERROR(message) "{'error':{'message':'" message "','type':'t','param':null,'code':null}}"

START_TEST(status_codes)
{
    maps(400, ERROR("bad"), ERRCODE_UPSTREAM_REJECTED, "bad");
    maps(401, ERROR("bad key"), ERRCODE_UPSTREAM_AUTH,
         "the model server refused sluice's credentials: bad key");
    maps(403, "", ERRCODE_UPSTREAM_AUTH, "the model server refused sluice's credentials");
    maps(404, ERROR("model \\'x\\' not found"), ERRCODE_MODEL_NOT_FOUND,
         "the model server does not have this model: model \"x\" not found");
    maps(404, "404 page not found", ERRCODE_MODEL_NOT_FOUND,
         "the model server does not have this model: 404 page not found");
    maps(408, "", ERRCODE_UPSTREAM_TIMEOUT, "the model server did not answer in time");
    maps(413, ERROR("large"), ERRCODE_PAYLOAD_TOO_LARGE, "large");
    maps(418, "", ERRCODE_UPSTREAM_REJECTED, "the model server refused the request (status 418)");
    maps(422, "{'detail':[{'loc':['body'],'msg':'field required'}]}", ERRCODE_UPSTREAM_REJECTED,
         "field required");
    maps(429, ERROR("slow down"), ERRCODE_UPSTREAM_RATE_LIMITED, "slow down");
    maps(429, "{'error':{'message':'pay','type':'insufficient_quota'}}", ERRCODE_UPSTREAM_QUOTA,
         "pay");
    maps(429, "{'error':{'message':'pay','code':'insufficient_quota'}}", ERRCODE_UPSTREAM_QUOTA,
         "pay");
    maps(402, ERROR("Insufficient Balance"), ERRCODE_UPSTREAM_QUOTA, "Insufficient Balance");
    maps(500, ERROR("oops"), ERRCODE_UPSTREAM_ERROR, "oops");
    maps(501, ERROR("This server does not support embeddings"), ERRCODE_UPSTREAM_REJECTED,
         "This server does not support embeddings");
    maps(502, "<html><h1>Bad Gateway</h1>", ERRCODE_UPSTREAM_ERROR,
         "the model server reported an error");
    maps(503, "{'error':'server busy'}", ERRCODE_UPSTREAM_OVERLOADED, "server busy");
    maps(504, "", ERRCODE_UPSTREAM_TIMEOUT, "the model server did not answer in time");
    maps(529, "", ERRCODE_UPSTREAM_OVERLOADED, "the model server is overloaded");
    maps(302, ERROR("elsewhere"), ERRCODE_UPSTREAM_GARBAGE,
         "the model server answered with status 302");
    maps(204, "", ERRCODE_UPSTREAM_GARBAGE, "the model server answered with status 204");
}
END_TEST

START_TEST(content_filters_in_many_words)
{
    static const char *const bodies[] = {
        "{'error':{'message':'x','code':'content_policy_violation'}}",
        "{'error':{'message':'x','code':'content_filter'}}",
        ERROR("The response was filtered due to the prompt triggering Azure OpenAI\\'s content "
              "management policy."),
    };

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        openai_map_error(400, json(bodies[i]), &g_problem);
        ck_assert_msg(g_problem.code == ERRCODE_CONTENT_FILTER, "%s", bodies[i]);
    }
}
END_TEST

START_TEST(context_overflow_in_many_words)
{
    static const char *const bodies[] = {
        "{'error':{'message':'x','code':'context_length_exceeded'}}",
        "{'error':{'code':400,'message':'request (3419 tokens) exceeds','type':'exceed_context_size_error'}}",
        ERROR("This model has a maximum context length of 4096 tokens. However"),
        ERROR("The decoder prompt (length 9) is longer than the maximum model length of 4."),
        ERROR("You passed 9 input tokens. However, the context length is only 4 tokens."),
        ERROR("the input length exceeds the context length"),
        "{'error':'{\\'error\\':{\\'message\\':\\'exceeds the available context size (256)\\'}}'}",
        "{'object':'error','message':'Prompt is too long'}",
    };

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        openai_map_error(i % 2 ? 400 : 413, json(bodies[i]), &g_problem);
        ck_assert_msg(g_problem.code == ERRCODE_CONTEXT_LENGTH, "%s", bodies[i]);
    }
    maps(500,
         ERROR("input (1002 tokens) is too large to process. increase the physical batch size"),
         ERRCODE_CONTEXT_LENGTH,
         "input (1002 tokens) is too large to process. increase the physical batch size");
}
END_TEST

START_TEST(other_exact_words)
{
    maps(400, "{'error':{'message':'no such thing','code':'model_not_found','param':'model'}}",
         ERRCODE_MODEL_NOT_FOUND, "the model server does not have this model: no such thing");
    maps(500, ERROR("llama-server process has terminated: signal: killed"),
         ERRCODE_UPSTREAM_OUT_OF_MEMORY, "llama-server process has terminated: signal: killed");
    maps(400, "{'error':{'message':'x','param':'messages[0].content'}}", ERRCODE_UPSTREAM_REJECTED,
         "x");
    ck_assert_str_eq(g_problem.param, "messages[0].content");
    maps(400, "{'error':{'message':'x','param':'a b'}}", ERRCODE_UPSTREAM_REJECTED, "x");
    ck_assert_str_eq(g_problem.param, "");
    maps(500, "{'error':{'message':'x','param':'y'}}", ERRCODE_UPSTREAM_ERROR, "x");
    ck_assert_str_eq(g_problem.param, "");
}
END_TEST

START_TEST(odd_bodies)
{
    maps(500, "{'error':{'message':'cut off", ERRCODE_UPSTREAM_ERROR,
         "{\"error\":{\"message\":\"cut off");
    maps(500, "{'error':{}}", ERRCODE_UPSTREAM_ERROR, "the model server reported an error");
    maps(500, "{'error':{'message':7}}", ERRCODE_UPSTREAM_ERROR,
         "the model server reported an error");
    maps(500, "[]", ERRCODE_UPSTREAM_ERROR, "the model server reported an error");
    maps(500, "7", ERRCODE_UPSTREAM_ERROR, "the model server reported an error");
    maps(500, "'text'", ERRCODE_UPSTREAM_ERROR, "text");
    maps(500, ERROR("123"), ERRCODE_UPSTREAM_ERROR, "123");
    maps(500, "{'detail':'gone'}", ERRCODE_UPSTREAM_ERROR, "gone");
    maps(500, ERROR("a\\n\\t b\\u0000\\u001b[31mc "), ERRCODE_UPSTREAM_ERROR, "a b [31mc");
    maps(500, "caf\xc3 \xff", ERRCODE_UPSTREAM_ERROR, "caf? ?");
}
END_TEST

START_TEST(keys_are_not_repeated)
{
    maps(401, ERROR("Incorrect API key provided: sk-abcd***********wxyz. You can find your key"),
         ERRCODE_UPSTREAM_AUTH,
         "the model server refused sluice's credentials: Incorrect API key provided: [redacted] "
         "You can find your key");
    maps(400, ERROR("header Authorization: Bearer short is wrong"), ERRCODE_UPSTREAM_REJECTED,
         "header Authorization: Bearer [redacted] is wrong");
    maps(400, ERROR("token=a1b2c3d4e5f6a7b8c9d0e1f2, model meta-llama/Llama-3.1-8B-Instruct"),
         ERRCODE_UPSTREAM_REJECTED, "token=[redacted], model meta-llama/Llama-3.1-8B-Instruct");
    maps(400, ERROR("exceed_context_error_of_some_length in deepseek-r1-distill-qwen-32b-preview"),
         ERRCODE_UPSTREAM_REJECTED,
         "exceed_context_error_of_some_length in deepseek-r1-distill-qwen-32b-preview");
}
END_TEST

START_TEST(long_texts_are_cut_at_a_character)
{
    char body[4096] = "{'error':'";

    for (int i = 0; i < 400; i++) {
        strcat(body, "\xc3\xa9");
    }
    strcat(body, "'}");
    openai_map_error(500, json(body), &g_problem);
    ck_assert_uint_eq(strlen(g_problem.text), 238); /* of 239 bytes, two each */
    ck_assert(str_is_utf8(str_from(g_problem.text)));
    body[10] = 'x';
    body[11] = 'y';
    openai_map_error(500, json(body), &g_problem);
    ck_assert(str_is_utf8(str_from(g_problem.text)));
}
END_TEST

static void encode_both_ways(void)
{
    struct content_part text = {.type = PART_TEXT, .text = STR_LIT("x")};
    struct message m = {.role = ROLE_USER, .parts = &text, .n_parts = 1};
    struct request req = {.kind = REQUEST_CHAT, .messages = &m, .n_messages = 1};
    struct openai_target target = {.model = "m"};
    struct buf out;
    int r;

    buf_init(&out, 65536);
    r = openai_encode_request(&req, &target, &out, &g_problem);
    ck_assert(r == 0 || (r == -ENOMEM && allocation_failed()));
    buf_done(&out);
}

static void map_error(void)
{
    openai_map_error(400, json(ERROR("\\n\\'")), &g_problem);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_REJECTED);
    ck_assert(g_problem.text[0] != '\0');
}

START_TEST(out_of_memory_anywhere)
{
    for_each_failed_allocation(encode_both_ways);
    for_each_failed_allocation(map_error);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, paths);
    tcase_add_test(tc, a_body_of_this_dialect_is_spliced);
    tcase_add_test(tc, what_is_said_to_the_gateway_stays_here);
    tcase_add_test(tc, defaults_fill_gaps);
    tcase_add_test(tc, embeddings_are_asked_for_as_numbers);
    tcase_add_test(tc, a_neutral_chat);
    tcase_add_test(tc, neutral_values);
    tcase_add_test(tc, extra_members_follow_the_same_rules);
    tcase_add_test(tc, overrides_win_over_clients_and_defaults);
    tcase_add_test(tc, what_is_dropped_is_never_sent);
    tcase_add_test(tc, a_full_buffer_is_told);
    tcase_add_test(tc, status_codes);
    tcase_add_test(tc, content_filters_in_many_words);
    tcase_add_test(tc, context_overflow_in_many_words);
    tcase_add_test(tc, other_exact_words);
    tcase_add_test(tc, odd_bodies);
    tcase_add_test(tc, keys_are_not_repeated);
    tcase_add_test(tc, long_texts_are_cut_at_a_character);
    tcase_add_test(tc, out_of_memory_anywhere);
}

TEST_MAIN("openai_upstream", add_tests)
