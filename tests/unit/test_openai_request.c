/* openai_request.h: bodies of chat/completions, completions and embeddings. */
#include "openai_bodies.h"

START_TEST(a_short_chat)
{
    struct request *req =
        decode(REQUEST_CHAT, " {'model':'codegemma','messages':[{'role':'user','content':'Hi'}]} ");

    ck_assert_str_is(req->model, "codegemma");
    ck_assert_uint_eq(req->n_messages, 1);
    ck_assert_int_eq(req->messages[0].role, ROLE_USER);
    ck_assert_uint_eq(req->messages[0].n_parts, 1);
    ck_assert_int_eq(req->messages[0].parts[0].type, PART_TEXT);
    ck_assert_str_is(req->messages[0].parts[0].text, "Hi");
    ck_assert(!req->stream && !req->include_usage && !req->is_raw_only);
    ck_assert_uint_eq(req->sampling.set, 0);
    ck_assert_uint_eq(req->sampling.n_choices, 1);
    ck_assert_int_eq(req->class, CLASS_INTERACTIVE);
    ck_assert_int_eq(req->dialect, DIALECT_OPENAI);
    ck_assert_uint_eq(req->n_members, 2);
    ck_assert_str_is(req->members[0].name, "model");
    ck_assert_str_is(req->members[0].value, "\"codegemma\"");
    ck_assert_uint_eq(req->total_bytes, req->body.len);
    ck_assert(req->body.ptr != g_text); /* its own copy */
    request_free(req);
}
END_TEST

START_TEST(all_sampling_values)
{
    struct request *req = chat(
        "'temperature':0.5,'top_p':1,'min_p':0.05,'frequency_penalty':-2,'presence_penalty':2.0,"
        "'seed':-7,'top_k':40.0,'max_tokens':5,'max_completion_tokens':7.0,'stop':'END','n':3,"
        "'logprobs':true,'top_logprobs':20,'stream':true,'stream_options':{'include_usage':true},"
        "'service_tier':'flex','reasoning_effort':'low'");
    const struct sampling *s = &req->sampling;

    ck_assert_uint_eq(s->set, (1 << 9) - 1);
    ck_assert_double_eq(s->temperature, 0.5);
    ck_assert_double_eq(s->top_p, 1);
    ck_assert_double_eq(s->min_p, 0.05);
    ck_assert_double_eq(s->frequency_penalty, -2);
    ck_assert_double_eq(s->presence_penalty, 2);
    ck_assert_int_eq(s->seed, -7);
    ck_assert_uint_eq(s->top_k, 40);
    ck_assert_uint_eq(s->max_tokens, 7);
    ck_assert_uint_eq(s->n_stop, 1);
    ck_assert_str_is(s->stop[0], "END");
    ck_assert_uint_eq(s->n_choices, 3);
    ck_assert(s->logprobs);
    ck_assert_uint_eq(s->top_logprobs, 20);
    ck_assert(req->stream && req->include_usage);
    ck_assert_int_eq(req->class, CLASS_BATCH);
    ck_assert_str_is(req->reasoning_effort, "low");
    request_free(req);
}
END_TEST

START_TEST(null_is_absent)
{
    struct request *req =
        chat("'temperature':null,'top_p':null,'seed':null,'stop':null,'n':null,'max_tokens':null,"
             "'max_completion_tokens':null,'stream':null,'stream_options':null,'tools':null,"
             "'tool_choice':null,'response_format':null,'service_tier':null,'logprobs':null,"
             "'functions':null,'reasoning_effort':null,'reasoning':null,'top_k':null");

    ck_assert_uint_eq(req->sampling.set, 0);
    ck_assert_uint_eq(req->sampling.n_choices, 1);
    ck_assert(!req->stream && !req->tools.ptr && !req->tool_choice.ptr);
    ck_assert(!req->reasoning_effort.ptr && !req->is_raw_only);
    request_free(req);
}
END_TEST

/* What clients send and we do not know is kept as it is. */
START_TEST(unknown_members_are_kept)
{
    struct request *req =
        chat("'store':true,'metadata':{'a':'b'},'user':'u','verbosity':'low',"
             "'parallel_tool_calls':false,'prompt_cache_key':'k','x\\u0079z':1e0");

    ck_assert_uint_eq(req->n_members, 9);
    ck_assert_str_is(request_member(req, "metadata"), "{\"a\":\"b\"}");
    ck_assert_str_is(request_member(req, "xyz"), "1e0");
    ck_assert(!request_member(req, "nothing").ptr);
    request_free(req);
}
END_TEST

START_TEST(names_with_escapes_are_resolved)
{
    struct request *req =
        decode(REQUEST_CHAT, "{'mod\\u0065l':'m\\u00e9','messages':[{'r\\u006fle':'user','content':"
                             "[{'typ\\u0065':'text','text':'a\\u0000b'}]}]}");

    ck_assert_str_is(req->model, "m\xc3\xa9");
    /* U+0000 is a character like any other */
    ck_assert_uint_eq(req->messages[0].parts[0].text.len, 3);
    ck_assert_mem_eq(req->messages[0].parts[0].text.ptr, "a\0b", 3);
    request_free(req);
}
END_TEST

START_TEST(bodies_that_are_not_requests)
{
    refused(REQUEST_CHAT, "", "", "not valid JSON");
    refused(REQUEST_CHAT, "{'model':'m'", "", "not valid JSON");
    refused(REQUEST_CHAT, "{'model':'m','model':'n'}", "", "not valid JSON");
    refused(REQUEST_CHAT, "{'model':'m'} x", "", "not valid JSON");
    refused(REQUEST_CHAT, "[]", "", "JSON object");
    refused(REQUEST_CHAT, "'text'", "", "JSON object");
    refused(REQUEST_CHAT, "{}", "model", "required");
    refused(REQUEST_CHAT, "{'model':null}", "model", "required");
    refused(REQUEST_CHAT, "{'model':''}", "model", "required");
    refused(REQUEST_CHAT, "{'model':7}", "model", "must be a string, not a number");
    refused(REQUEST_CHAT, "{'model':'a\\nb'}", "model", "control");
    refused(REQUEST_CHAT, "{'model':'a\\u007fb'}", "model", "control");
    refused(REQUEST_CHAT, "{'model':'a\\u0085b'}", "model", "control");
    refused(REQUEST_CHAT, "{'model':'m'}", "messages", "at least one");
    refused(REQUEST_CHAT, "{'model':'m','messages':[]}", "messages", "at least one");
    refused(REQUEST_CHAT, "{'model':'m','messages':{}}", "messages",
            "must be an array, not an object");
    refused(REQUEST_COMPLETE, "{'model':'m'}", "prompt", "required");
    refused(REQUEST_EMBED, "{'model':'m'}", "input", "required");
}
END_TEST

START_TEST(invalid_utf8_is_refused)
{
    struct request *req;
    struct str body = json("{'model':'m?'}");

    g_text[strlen("{'model':'m")] = '\xff';
    ck_assert_int_eq(try_decode(REQUEST_CHAT, body, &req), -EBADMSG);
    request_free(req);
}
END_TEST

START_TEST(a_model_name_of_the_longest_kind)
{
    char body[1024], name[REQUEST_MODEL_MAX + 2];
    struct request *req;

    memset(name, 'n', sizeof name);
    name[REQUEST_MODEL_MAX] = '\0';
    (void) snprintf(body, sizeof body, "{'model':'%s','input':'x'}", name);
    req = decode(REQUEST_EMBED, body);
    ck_assert_uint_eq(req->model.len, REQUEST_MODEL_MAX);
    request_free(req);
    name[REQUEST_MODEL_MAX] = 'n';
    name[REQUEST_MODEL_MAX + 1] = '\0';
    (void) snprintf(body, sizeof body, "{'model':'%s','input':'x'}", name);
    refused(REQUEST_EMBED, body, "model", "256");
}
END_TEST

START_TEST(wrong_types_and_ranges)
{
    chat_refused("'temperature':'hot'", "temperature", "must be a number, not a string");
    chat_refused("'temperature':2.1", "temperature", "between 0 and 2");
    chat_refused("'temperature':-0.1", "temperature", "between");
    chat_refused("'temperature':1e999", "temperature", "between");
    chat_refused("'top_p':1.5", "top_p", "between 0 and 1");
    chat_refused("'min_p':-1", "min_p", "between");
    chat_refused("'frequency_penalty':-2.5", "frequency_penalty", "between -2 and 2");
    chat_refused("'presence_penalty':3", "presence_penalty", "between -2 and 2");
    chat_refused("'seed':1.5", "seed", "integer");
    chat_refused("'seed':'1'", "seed", "integer");
    chat_refused("'top_k':-2", "top_k", "between -1");
    chat_refused("'n':0", "n", "between 1 and 8");
    chat_refused("'n':9", "n", "between 1 and 8");
    chat_refused("'n':true", "n", "must be an integer, not a boolean");
    chat_refused("'max_tokens':0", "max_tokens", "at least 1");
    chat_refused("'max_tokens':-2", "max_tokens", "between");
    chat_refused("'max_tokens':99999999999999999999", "max_tokens", "between");
    chat_refused("'max_completion_tokens':'5','max_tokens':5", "max_completion_tokens", "integer");
    chat_refused("'logprobs':1", "logprobs", "boolean");
    chat_refused("'top_logprobs':21", "top_logprobs", "between 0 and 20");
    chat_refused("'stream':'yes'", "stream", "must be a boolean, not a string");
    chat_refused("'stream_options':true", "stream_options", "must be an object, not a boolean");
    chat_refused("'stream_options':{'include_usage':1}", "stream_options.include_usage", "boolean");
    chat_refused("'service_tier':1", "service_tier", "must be a string");
    chat_refused("'user':5", "user", "must be a string, not a number");
    chat_refused("'metadata':'x'", "metadata", "must be an object, not a string");
    chat_refused("'logit_bias':[]", "logit_bias", "must be an object, not an array");
    chat_refused("'reasoning_effort':1", "reasoning_effort", "must be a string");
    chat_refused("'tool_choice':1", "tool_choice", "a string or an object");
    chat_refused("'response_format':'json'", "response_format", "must be an object");
    chat_refused("'response_format':{}", "response_format.type", "needs a 'type'");
    chat_refused("'response_format':{'type':1}", "response_format.type", "must be a string");
    chat_refused("'functions':{}", "functions", "must be an array");
}
END_TEST

START_TEST(stop_in_its_forms)
{
    struct request *req = chat("'stop':['a','','b\\n']");

    ck_assert_uint_eq(req->sampling.n_stop, 2);
    ck_assert_str_is(req->sampling.stop[0], "a");
    ck_assert_str_is(req->sampling.stop[1], "b\n");
    request_free(req);
    req = chat("'stop':[]");
    ck_assert_uint_eq(req->sampling.set, 0);
    request_free(req);
    req = chat("'stop':['1','2','3','4','5','6','7','8','9','10','11','12','13','14','15','16']");
    ck_assert_uint_eq(req->sampling.n_stop, 16);
    request_free(req);
    chat_refused(
        "'stop':['1','2','3','4','5','6','7','8','9','10','11','12','13','14','15','16','17']",
        "stop", "at most 16");
    chat_refused("'stop':7", "stop", "a string or an array of strings");
    chat_refused("'stop':['a',7]", "stop[1]", "must be a string");
}
END_TEST

START_TEST(caps_on_the_answer)
{
    struct request *req = chat("'max_tokens':-1");

    ck_assert_uint_eq(req->sampling.set, 0);
    request_free(req);
    req = chat("'max_completion_tokens':null,'max_tokens':12");
    ck_assert_uint_eq(req->sampling.max_tokens, 12);
    request_free(req);
    req = decode(REQUEST_COMPLETE,
                 "{'model':'m','prompt':'p','max_tokens':0,'echo':true,'logprobs':1}");
    ck_assert(req->is_raw_only);
    ck_assert_str_eq(req->raw_only_param, "max_tokens");
    request_free(req);
    req = chat("'top_k':-1");
    ck_assert_uint_eq(req->sampling.set, SAMPLING_TOP_K);
    ck_assert_uint_eq(req->sampling.top_k, 0);
    request_free(req);
}
END_TEST

START_TEST(service_tiers)
{
    static const struct {
        const char *tier;
        enum call_class class;
    } table[] = {
        {"default", CLASS_INTERACTIVE},       {"auto", CLASS_INTERACTIVE},
        {"priority", CLASS_INTERACTIVE},      {"flex", CLASS_BATCH},
        {"something-new", CLASS_INTERACTIVE},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char members[64];
        struct request *req;

        (void) snprintf(members, sizeof members, "'service_tier':'%s'", table[i].tier);
        req = chat(members);
        ck_assert_int_eq(req->class, table[i].class);
        request_free(req);
    }
}
END_TEST

START_TEST(reasoning_in_its_forms)
{
    struct request *req = chat("'reasoning':{'effort':'high','summary':null}");

    ck_assert_str_is(req->reasoning_effort, "high");
    request_free(req);
    req = chat("'reasoning':{'max_tokens':5}");
    ck_assert(!req->reasoning_effort.ptr);
    request_free(req);
    req = chat("'reasoning':true");
    ck_assert(!req->reasoning_effort.ptr);
    request_free(req);
    req = chat("'reasoning':{'effort':'high'},'reasoning_effort':'none'");
    ck_assert_str_is(req->reasoning_effort, "none");
    request_free(req);
}
END_TEST

START_TEST(roles)
{
    struct request *req = message(
        "{'role':'system','content':'a'},{'role':'developer','content':'b'},"
        "{'role':'user','content':'c','name':'ann'},{'role':'assistant','content':null,"
        "'reasoning_content':'hm'},{'role':'tool','tool_call_id':'call_1','content':'d'},"
        "{'role':'function','name':'f','content':'e'},{'role':'assistant','reasoning':'x'}");

    ck_assert_uint_eq(req->n_messages, 7);
    ck_assert_int_eq(req->messages[0].role, ROLE_SYSTEM);
    ck_assert_int_eq(req->messages[1].role, ROLE_SYSTEM);
    ck_assert_str_is(req->messages[2].name, "ann");
    ck_assert_uint_eq(req->messages[3].n_parts, 0);
    ck_assert_str_is(req->messages[3].thinking, "hm");
    ck_assert_int_eq(req->messages[4].role, ROLE_TOOL);
    ck_assert_str_is(req->messages[4].tool_call_id, "call_1");
    ck_assert_int_eq(req->messages[5].role, ROLE_TOOL);
    ck_assert_str_is(req->messages[6].thinking, "x");
    request_free(req);
    message_refused("7", "messages[1]", "must be an object");
    message_refused("{}", "messages[1].role", "needs a 'role'");
    message_refused("{'role':1}", "messages[1].role", "must be a string");
    message_refused("{'role':'robot'}", "messages[1].role", "must be system");
    message_refused("{'role':'user','content':7}", "messages[1].content",
                    "a string or an array of parts, not a number");
    message_refused("{'role':'user','name':7}", "messages[1].name", "must be a string");
    message_refused("{'role':'tool','tool_call_id':7}", "messages[1].tool_call_id", "string");
}
END_TEST

START_TEST(content_parts)
{
    struct request *req = message(
        "{'role':'user','content':[{'type':'text','text':'a'},'b',"
        "{'type':'input_text','text':'c'},{'type':'refusal','refusal':'d'},"
        "{'type':'image_url','image_url':{'url':'data:image/png;base64,aGk=','detail':'low'}},"
        "{'type':'image_url','image_url':'https://example.com/a.png'},"
        "{'type':'input_image','image_url':'DATA:;charset=x;BASE64,aGk='}]}");
    const struct message *m = &req->messages[0];

    ck_assert_uint_eq(m->n_parts, 7);
    for (size_t i = 0; i < 4; i++) {
        char want[2] = {(char) ('a' + i), '\0'};

        ck_assert_int_eq(m->parts[i].type, PART_TEXT);
        ck_assert_str_is(m->parts[i].text, want);
    }
    ck_assert_int_eq(m->parts[4].type, PART_IMAGE);
    ck_assert_str_is(m->parts[4].data, "aGk=");
    ck_assert_str_is(m->parts[4].media_type, "image/png");
    ck_assert(!m->parts[4].url.ptr);
    ck_assert_str_is(m->parts[5].url, "https://example.com/a.png");
    ck_assert(!m->parts[5].data.ptr);
    ck_assert_str_is(m->parts[6].data, "aGk=");
    ck_assert(!m->parts[6].media_type.ptr);
    ck_assert(!req->is_raw_only);
    request_free(req);
}
END_TEST

START_TEST(parts_that_only_this_dialect_carries)
{
    struct request *req =
        message("{'role':'user','content':[{'type':'input_audio','input_audio':{}},"
                "{'type':'text','text':'a'}]}");

    ck_assert(req->is_raw_only);
    ck_assert_str_eq(req->raw_only_param, "messages");
    ck_assert_int_eq(req->messages[0].parts[0].type, PART_OPAQUE);
    ck_assert_int_eq(req->messages[0].parts[1].type, PART_TEXT);
    request_free(req);
}
END_TEST

START_TEST(wrong_parts)
{
    message_refused("{'role':'user','content':[7]}", "messages[1].content[0]", "must be an object");
    message_refused("{'role':'user','content':['a',{}]}", "messages[1].content[1].type", "needs");
    message_refused("{'role':'user','content':[{'type':7}]}", "messages[1].content[0].type",
                    "must be a string");
    message_refused("{'role':'user','content':[{'type':'text'}]}", "messages[1].content[0].text",
                    "needs a 'text'");
    message_refused("{'role':'user','content':[{'type':'text','text':7}]}",
                    "messages[1].content[0].text", "must be a string");
    message_refused("{'role':'user','content':[{'type':'image_url'}]}",
                    "messages[1].content[0].image_url", "needs a URL");
    message_refused("{'role':'user','content':[{'type':'image_url','image_url':{}}]}",
                    "messages[1].content[0].image_url.url", "needs a URL");
    message_refused("{'role':'user','content':[{'type':'image_url','image_url':{'url':7}}]}",
                    "messages[1].content[0].image_url.url", "must be a string");
    message_refused(
        "{'role':'user','content':[{'type':'image_url','image_url':'file:///etc/passwd'}]}",
        "messages[1].content[0].image_url", "data:, http: or https:");
    message_refused(
        "{'role':'user','content':[{'type':'image_url','image_url':{'url':'data:,x'}}]}",
        "messages[1].content[0].image_url.url", "base64");
    message_refused(
        "{'role':'user','content':[{'type':'image_url','image_url':{'url':'data:a/b;base64'}}]}",
        "messages[1].content[0].image_url.url", "base64");
    message_refused(
        "{'role':'user','content':[{'type':'image_url','image_url':{'url':'data:a/b;base64,'}}]}",
        "messages[1].content[0].image_url.url", "empty");
}
END_TEST

START_TEST(tool_calls_in_messages)
{
    struct request *req =
        message("{'role':'assistant','content':null,'tool_calls':["
                "{'id':'c1','type':'function','function':{'name':'f','arguments':'{\\'a\\':1}'}},"
                "{'id':'c2','function':{'name':'g','arguments':{'b':2}}},"
                "{'function':{'name':'h'}},{'function':{'name':'i','arguments':''}}]},"
                "{'role':'assistant','function_call':{'name':'old','arguments':'{}'}},"
                "{'role':'assistant','content':'x','tool_calls':null}");
    const struct message *m = &req->messages[0];

    ck_assert_uint_eq(m->n_tool_calls, 4);
    ck_assert_str_is(m->tool_calls[0].id, "c1");
    ck_assert_str_is(m->tool_calls[0].name, "f");
    ck_assert_str_is(m->tool_calls[0].arguments, "{\"a\":1}");
    ck_assert_str_is(m->tool_calls[1].arguments, "{\"b\":2}");
    ck_assert_str_is(m->tool_calls[2].arguments, "{}");
    ck_assert(!m->tool_calls[2].id.ptr);
    ck_assert_str_is(m->tool_calls[3].arguments, "{}");
    ck_assert_uint_eq(req->messages[1].n_tool_calls, 1);
    ck_assert_str_is(req->messages[1].tool_calls[0].name, "old");
    ck_assert_uint_eq(req->messages[2].n_tool_calls, 0);
    ck_assert(!req->is_raw_only);
    request_free(req);
    req = message("{'role':'assistant','tool_calls':[{'id':'c','type':'custom','custom':"
                  "{'name':'f','input':'x'}}]}");
    ck_assert(req->is_raw_only);
    request_free(req);
}
END_TEST

START_TEST(wrong_tool_calls)
{
    message_refused("{'role':'assistant','tool_calls':{}}", "messages[1].tool_calls", "array");
    message_refused("{'role':'assistant','tool_calls':[1]}", "messages[1].tool_calls[0]", "object");
    message_refused("{'role':'assistant','tool_calls':[{}]}", "messages[1].tool_calls[0].function",
                    "needs a 'function'");
    message_refused("{'role':'assistant','tool_calls':[{'id':7}]}", "messages[1].tool_calls[0].id",
                    "must be a string");
    message_refused("{'role':'assistant','tool_calls':[{'function':{}}]}",
                    "messages[1].tool_calls[0].function.name", "needs a 'name'");
    message_refused("{'role':'assistant','tool_calls':[{'function':{'name':'f','arguments':7}}]}",
                    "messages[1].tool_calls[0].function.arguments", "must be a string");
    message_refused("{'role':'assistant','function_call':'f'}", "messages[1].function_call",
                    "must be an object");
}
END_TEST

START_TEST(tools_and_formats)
{
    struct request *req =
        chat("'tools':[{'type':'function','function':{'name':'f','parameters':{}}},"
             "{'function':{'name':'g'}}],'tool_choice':'auto',"
             "'response_format':{'type':'json_schema','json_schema':{}}");

    ck_assert(str_has_prefix(req->tools, "[{\"type\":\"function\""));
    ck_assert_str_is(req->tool_choice, "\"auto\"");
    ck_assert_str_is(req->response_format, "{\"type\":\"json_schema\",\"json_schema\":{}}");
    ck_assert(!req->is_raw_only);
    request_free(req);
    req = chat("'tools':[],'response_format':{'type':'text'},'functions':[]");
    ck_assert(!req->tools.ptr && !req->response_format.ptr && !req->is_raw_only);
    request_free(req);
    req = chat("'tools':[{'type':'web_search'}],'tool_choice':{'type':'web_search'}");
    ck_assert(req->is_raw_only);
    ck_assert_str_eq(req->raw_only_param, "tools");
    request_free(req);
    req = chat("'functions':[{'name':'f'}],'function_call':'auto'");
    ck_assert(req->is_raw_only);
    ck_assert_str_eq(req->raw_only_param, "functions");
    request_free(req);
    chat_refused("'tools':{}", "tools", "array");
    chat_refused("'tools':[1]", "tools[0]", "must be an object");
    chat_refused("'tools':[{'type':1}]", "tools[0].type", "must be a string");
    chat_refused("'tools':[{'type':'function'}]", "tools[0].function", "needs a 'function'");
    chat_refused("'tools':[{'function':{'name':'f'}},{'type':'function','function':{'name':''}}]",
                 "tools[1].function.name", "needs a 'name'");
}
END_TEST

START_TEST(completions)
{
    struct request *req =
        decode(REQUEST_COMPLETE, "{'model':'m','prompt':'once','suffix':'end','logprobs':3,'n':2}");

    ck_assert_str_is(req->prompt, "once");
    ck_assert_str_is(req->suffix, "end");
    ck_assert(req->sampling.logprobs);
    ck_assert_uint_eq(req->sampling.top_logprobs, 3);
    ck_assert_uint_eq(openai_count_answers(req), 2);
    request_free(req);
    req = decode(REQUEST_COMPLETE, "{'model':'m','prompt':['one']}");
    ck_assert_str_is(req->prompt, "one");
    ck_assert(!req->is_raw_only && req->n_prompts == 0);
    request_free(req);
    req = decode(REQUEST_COMPLETE, "{'model':'m','prompt':['one','two','three'],'n':2}");
    ck_assert(!req->is_raw_only);
    ck_assert_uint_eq(req->n_prompts, 3);
    ck_assert_str_is(req->prompt, "one");
    ck_assert_str_is(req->prompts[2], "three");
    ck_assert_uint_eq(openai_count_answers(req), 6);
    request_free(req);
    req = decode(REQUEST_COMPLETE, "{'model':'m','prompt':[1,2,3]}");
    ck_assert(req->is_raw_only);
    ck_assert_str_eq(req->raw_only_param, "prompt");
    ck_assert_uint_eq(openai_count_answers(req), 1);
    request_free(req);
    req = decode(REQUEST_COMPLETE, "{'model':'m','prompt':[[1,2],[3]]}");
    ck_assert(req->is_raw_only);
    ck_assert_uint_eq(openai_count_answers(req), 2);
    request_free(req);
    refused(REQUEST_COMPLETE, "{'model':'m','prompt':[]}", "prompt", "empty");
    refused(REQUEST_COMPLETE, "{'model':'m','prompt':7}", "prompt", "a string or an array");
    refused(REQUEST_COMPLETE, "{'model':'m','prompt':['a',7]}", "prompt[1]", "token ids");
    refused(REQUEST_COMPLETE, "{'model':'m','prompt':'a','suffix':7}", "suffix", "string");
    refused(REQUEST_COMPLETE, "{'model':'m','prompt':'a','logprobs':true}", "logprobs", "integer");
}
END_TEST

START_TEST(embeddings)
{
    struct request *req =
        decode(REQUEST_EMBED,
               "{'model':'m','input':['a','','c'],'encoding_format':'base64','dimensions':64}");

    ck_assert_uint_eq(req->n_inputs, 3);
    ck_assert_str_is(req->inputs[2], "c");
    ck_assert(req->inputs[1].ptr && req->inputs[1].len == 0);
    ck_assert(req->wants_base64);
    ck_assert_uint_eq(req->dimensions, 64);
    ck_assert_uint_eq(openai_count_answers(req), 3);
    request_free(req);
    req = decode(REQUEST_EMBED, "{'model':'m','input':'','encoding_format':'float'}");
    ck_assert_uint_eq(req->n_inputs, 1);
    ck_assert(!req->wants_base64 && !req->is_raw_only);
    request_free(req);
    req = decode(REQUEST_EMBED, "{'model':'m','input':[1,2,3]}");
    ck_assert(req->is_raw_only);
    ck_assert_str_eq(req->raw_only_param, "input");
    ck_assert_uint_eq(req->n_inputs, 0);
    ck_assert_uint_eq(openai_count_answers(req), 1);
    request_free(req);
    req = decode(REQUEST_EMBED, "{'model':'m','input':[[1],[2,3]]}");
    ck_assert(req->is_raw_only);
    ck_assert_uint_eq(openai_count_answers(req), 2);
    request_free(req);
    refused(REQUEST_EMBED, "{'model':'m','input':[]}", "input", "empty");
    refused(REQUEST_EMBED, "{'model':'m','input':{}}", "input", "a string or an array");
    refused(REQUEST_EMBED, "{'model':'m','input':['a',null]}", "input[1]", "strings");
    refused(REQUEST_EMBED, "{'model':'m','input':[1,'a']}", "input[1]", "strings");
    refused(REQUEST_EMBED, "{'model':'m','input':'a','encoding_format':'hex'}", "encoding_format",
            "float or base64");
    refused(REQUEST_EMBED, "{'model':'m','input':'a','encoding_format':1}", "encoding_format",
            "string");
    refused(REQUEST_EMBED, "{'model':'m','input':'a','dimensions':0}", "dimensions", "between");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_short_chat);
    tcase_add_test(tc, all_sampling_values);
    tcase_add_test(tc, null_is_absent);
    tcase_add_test(tc, unknown_members_are_kept);
    tcase_add_test(tc, names_with_escapes_are_resolved);
    tcase_add_test(tc, bodies_that_are_not_requests);
    tcase_add_test(tc, invalid_utf8_is_refused);
    tcase_add_test(tc, a_model_name_of_the_longest_kind);
    tcase_add_test(tc, wrong_types_and_ranges);
    tcase_add_test(tc, stop_in_its_forms);
    tcase_add_test(tc, caps_on_the_answer);
    tcase_add_test(tc, service_tiers);
    tcase_add_test(tc, reasoning_in_its_forms);
    tcase_add_test(tc, roles);
    tcase_add_test(tc, content_parts);
    tcase_add_test(tc, parts_that_only_this_dialect_carries);
    tcase_add_test(tc, wrong_parts);
    tcase_add_test(tc, tool_calls_in_messages);
    tcase_add_test(tc, wrong_tool_calls);
    tcase_add_test(tc, tools_and_formats);
    tcase_add_test(tc, completions);
    tcase_add_test(tc, embeddings);
}

TEST_MAIN("openai_request", add_tests)
