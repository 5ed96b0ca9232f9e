/* openai_fields.h and openai_tools.h: what is only carried has the type that its name says. */
#include "openai_bodies.h"

#include "wire/openai_fields.h"

START_TEST(right_ones_pass)
{
    struct request *req = chat(
        "'store':true,'parallel_tool_calls':false,'modalities':['text'],'audio':null,"
        "'prediction':{'type':'content','content':'x'},'verbosity':'utter','function_call':'auto',"
        "'safety_identifier':'s','prompt_cache_key':'k','prompt_cache_retention':'24h',"
        "'prompt_cache_options':{},'moderation':{'model':'m','policy':null},"
        "'web_search_options':{'search_context_size':'low'},'logit_bias':{'1':-100,'2':false},"
        "'stream_options':{'include_obfuscation':false},'echo':true,'chat_template_kwargs':{},"
        "'max_tokens':5,'max_completion_tokens':6");

    ck_assert(!req->is_raw_only);
    ck_assert_uint_eq(req->sampling.max_tokens, 6);
    request_free(req);
    request_free(
        decode(REQUEST_COMPLETE, "{'model':'m','prompt':[[1,2],[3]],'best_of':1,'echo':false}"));
    request_free(decode(REQUEST_EMBED, "{'model':'m','input':[0,1],'truncate_prompt_tokens':-1}"));
    request_free(decode(REQUEST_RERANK,
                        "{'model':'m','query':'q','documents':['a'],'rank_fields':['a'],"
                        "'max_tokens_per_doc':1,'use_activation':true,"
                        "'add_special_tokens':1,'max_tokens_per_query':0,'instruction':'i',"
                        "'chat_template_kwargs':{}}"));
    /* another kind's members are unknown ones */
    request_free(decode(REQUEST_EMBED, "{'model':'m','input':'x','store':1,'best_of':'x'}"));
    request_free(chat("'best_of':'x','rank_fields':1,'x':[],'audios':1"));
}
END_TEST

START_TEST(wrong_ones_are_named)
{
    static const struct {
        const char *members, *param, *words;
    } cases[] = {
        {"'store':1", "store", "must be a boolean, not a number"},
        {"'function_call':1", "function_call", "a string or an object, not a number"},
        {"'modalities':'text'", "modalities", "an array"},
        {"'modalities':['text',1]", "modalities[1]", "a string"},
        {"'audio':{'voice':1}", "audio.voice", "a string or an object"},
        {"'audio':{'\\u0076oice':1}", "audio.voice", "a string or an object"},
        {"'prediction':{'content':1}", "prediction.content", "a string or an array"},
        {"'stream_options':{'include_obfuscation':1}", "stream_options.include_obfuscation",
         "bool"},
        {"'logit_bias':{'1':101}", "logit_bias", "between -100 and 100"},
        {"'logit_bias':{'1':'x'}", "logit_bias", "a boolean or a number"},
        {"'web_search_options':{'user_location':'here'}", "web_search_options.user_location",
         "obj"},
        {"'max_tokens':'x','max_completion_tokens':5", "max_tokens", "an integer"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        chat_refused(cases[i].members, cases[i].param, cases[i].words);
    }
    refused(REQUEST_COMPLETE, "{'model':'m','prompt':'x','best_of':0}", "best_of", "between 1");
    refused(REQUEST_COMPLETE, "{'model':'m','prompt':'x','best_of':'x'}", "best_of", "an integer");
    refused(REQUEST_CLASSIFY, "{'model':'m','input':'x','truncate_prompt_tokens':-2}",
            "truncate_prompt_tokens", "between -1");
}
END_TEST

START_TEST(tools)
{
    static const struct {
        const char *members, *param, *words;
    } cases[] = {
        {"'tools':[{'function':{'name':'f','parameters':[]}}]", "tools[0].function.parameters",
         "an object"},
        {"'tools':[{'function':{'name':'f','strict':1}}]", "tools[0].function.strict", "boolean"},
        {"'tools':[{'type':'custom'}]", "tools[0].custom", "needs a 'custom'"},
        {"'tools':[{'type':'custom','custom':{}}]", "tools[0].custom.name", "needs a 'name'"},
        {"'tool_choice':'some'", "tool_choice", "none, auto, required"},
        {"'tool_choice':{'type':'function'}", "tool_choice.function", "needs a 'function'"},
        {"'tool_choice':{'type':1}", "tool_choice.type", "a string"},
        {"'tool_choice':{'type':'allowed_tools'}", "tool_choice.allowed_tools", "needs"},
        {"'tool_choice':{'type':'allowed_tools','allowed_tools':{'tools':1}}",
         "tool_choice.allowed_tools.tools", "an array"},
        {"'functions':[1]", "functions[0]", "an object"},
        {"'functions':[{'name':1}]", "functions[0].name", "a string"},
        {"'function_call':'some'", "function_call", "none, auto"},
        {"'function_call':{}", "function_call.name", "needs a 'name'"},
        {"'response_format':{'type':'xml'}", "response_format.type", "may be text"},
        {"'response_format':{'type':'json_schema'}", "response_format.json_schema", "needs a"},
        {"'response_format':{'type':'json_schema','json_schema':1}", "response_format.json_schema",
         "an object"},
        {"'response_format':{'type':'json_schema','json_schema':{'schema':'x'}}",
         "response_format.json_schema.schema", "an object"},
        {"'response_format':{'type':'json_object','schema':1}", "response_format.schema", "object"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        chat_refused(cases[i].members, cases[i].param, cases[i].words);
    }
    request_free(chat("'tool_choice':'any','response_format':{'type':'json_schema','schema':{}}"));
    request_free(chat("'tool_choice':{'type':'function','function':{'name':'f'}}"));
    request_free(chat("'tool_choice':{'type':'allowed_tools','allowed_tools':{'tools':[]}}"));
}
END_TEST

START_TEST(token_ids)
{
    refused(REQUEST_EMBED, "{'model':'m','input':[1,-1]}", "input[1]", "from 0 on");
    refused(REQUEST_EMBED, "{'model':'m','input':[1.5]}", "input[0]", "from 0 on");
    refused(REQUEST_EMBED, "{'model':'m','input':[[1],[]]}", "input[1]", "empty");
    refused(REQUEST_COMPLETE, "{'model':'m','prompt':[[1,'x']]}", "prompt[0][1]", "from 0 on");
    refused(REQUEST_COMPLETE, "{'model':'m','prompt':[4294967296]}", "prompt[0]", "from 0 on");
}
END_TEST

static void check_size(enum request_kind kind, const char *body, uint32_t n_ids, bool may_be_cut)
{
    struct request *req = decode(kind, body);

    ck_assert_uint_eq(req->n_token_ids, n_ids);
    ck_assert(req->may_be_cut == may_be_cut);
    request_free(req);
}

START_TEST(sizes)
{
    check_size(REQUEST_EMBED, "{'model':'m','input':[5,6,7]}", 3, false);
    check_size(REQUEST_COMPLETE, "{'model':'m','prompt':[[5],[6,7],[8]]}", 2, false);
    check_size(REQUEST_EMBED, "{'model':'m','input':'x','truncate':false}", 0, false);
    check_size(REQUEST_EMBED, "{'model':'m','input':'x','truncate':true}", 0, true);
    check_size(REQUEST_EMBED, "{'model':'m','input':'x','truncate_prompt_tokens':-1}", 0, true);
    check_size(REQUEST_EMBED, "{'model':'m','input':'x','truncate_prompt_tokens':null}", 0, false);
}
END_TEST

static void part_refused(const char *part, const char *param, const char *words)
{
    char text[512];

    (void) snprintf(text, sizeof text, "{'role':'user','content':[%s]}", part);
    message_refused(text, param, words);
}

START_TEST(messages)
{
    message_refused("{'role':'assistant','refusal':1}", "messages[1].refusal", "a string");
    message_refused("{'role':'assistant','audio':'x'}", "messages[1].audio", "an object");
    part_refused("{'type':'input_audio'}", "messages[1].content[0].input_audio", "needs");
    part_refused("{'type':'input_audio','input_audio':{'data':1}}",
                 "messages[1].content[0].input_audio.data", "a string");
    part_refused("{'type':'file','file':1}", "messages[1].content[0].file", "an object");
    part_refused("{'type':'image_url','image_url':{'url':'https://a/b','detail':1}}",
                 "messages[1].content[0].image_url.detail", "a string");
    part_refused("{'type':'image_url','image_url':'data:text/plain;base64,aGk='}",
                 "messages[1].content[0].image_url", "of an image");
    part_refused("{'type':'image_url','image_url':'data:image/png;base64,a-k='}",
                 "messages[1].content[0].image_url", "not valid base64");
    request_free(message("{'role':'user','content':[{'type':'video_url','video_url':'x'},"
                         "{'type':'somebody_elses','x':1}]}"));
}
END_TEST

START_TEST(images_are_made_whole)
{
    struct request *req = message("{'role':'user','content':[{'type':'image_url','image_url':"
                                  "'data:application/octet-stream;base64,aG\\nk'}]}");

    ck_assert_str_is(req->messages[0].parts[0].data, "aGk=");
    request_free(req);
}
END_TEST

START_TEST(extra_json)
{
    struct request *req = request_new(REQUEST_CHAT, BUDGET);

    ck_assert_ptr_nonnull(req);
    ck_assert_int_eq(openai_check_extra(req, &g_problem), 0);
    req->extra = STR_LIT("{\"store\":true,\"x\":1}");
    ck_assert_int_eq(openai_check_extra(req, &g_problem), 0);
    req->extra = STR_LIT("{\"audio\":{\"format\":1}}");
    ck_assert_int_eq(openai_check_extra(req, &g_problem), -EBADMSG);
    ck_assert_str_eq(g_problem.param, "extra_json.audio.format");
    request_free(req);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, right_ones_pass);
    tcase_add_test(tc, wrong_ones_are_named);
    tcase_add_test(tc, tools);
    tcase_add_test(tc, token_ids);
    tcase_add_test(tc, sizes);
    tcase_add_test(tc, messages);
    tcase_add_test(tc, images_are_made_whole);
    tcase_add_test(tc, extra_json);
}
TEST_MAIN("openai fields", add_tests)
