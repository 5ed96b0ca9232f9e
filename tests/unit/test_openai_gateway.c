/* What a body says to the gateway: openai_request.h into struct request_routing, openai_gateway.h. */
#include "openai_bodies.h"

#include "wire/openai_gateway.h"

START_TEST(nothing_said)
{
    struct request *req = chat("'metadata':{'tags':'a','x':'y'},'user':'u'");
    const struct request_routing *to = &req->routing;

    ck_assert(!to->has_retries && !to->has_fallbacks && !to->is_local_only);
    ck_assert_uint_eq(to->n_tags + to->n_fallbacks, 0);
    ck_assert_uint_eq(to->total_usec + to->first_byte_usec, 0);
    request_free(req);
}
END_TEST

START_TEST(all_that_is_obeyed)
{
    struct request *req =
        chat("'num_retries':3,'timeout':1.5,'stream_timeout':20,'tags':['a','b'],"
             "'metadata':{'tags':['b','c'],'k':1},'fallbacks':['one',{'model':'tw\\u006f'}]");
    const struct request_routing *to = &req->routing;

    ck_assert(to->has_retries && to->max_retries == 3);
    ck_assert_uint_eq(to->total_usec, 1500000);
    ck_assert_uint_eq(to->first_byte_usec, 20000000);
    ck_assert_uint_eq(to->n_tags, 3);
    ck_assert_str_is(to->tags[0], "a");
    ck_assert_str_is(to->tags[2], "c");
    ck_assert(to->has_fallbacks);
    ck_assert_uint_eq(to->n_fallbacks, 2);
    ck_assert_str_is(to->fallbacks[0], "one");
    ck_assert_str_is(to->fallbacks[1], "two");
    request_free(req);
}
END_TEST

/* As OpenAI's clients put it into the body themselves: over what stands there, and checked with it. */
START_TEST(extra_body)
{
    struct request *req = chat(
        "'temperature':1,'extra_body':{'top_k':7,'temperatur\\u0065':0.5,'tags':['a'],'x':null}");

    ck_assert_uint_eq(req->sampling.top_k, 7);
    ck_assert_double_eq(req->sampling.temperature, 0.5);
    ck_assert_uint_eq(req->routing.n_tags, 1);
    ck_assert_uint_eq(req->n_members, 7);
    ck_assert_str_is(request_member(req, "temperature"), "0.5");
    for (size_t i = 0; i < req->n_members; i++) {
        const struct request_member *m = &req->members[i];

        ck_assert(m->is_for_gateway == (str_is(m->name, "extra_body") || str_is(m->name, "tags")));
    }
    request_free(req);
    request_free(chat("'extra_body':null"));
    request_free(chat("'extra_body':{}"));
    chat_refused("'extra_body':[]", "extra_body", "an object");
    chat_refused("'extra_body':{'api_base':'http://x'}", "api_base", "for the configuration");
    chat_refused("'extra_body':{'store':1}", "store", "a boolean");
    chat_refused("'extra_body':{'model':''}", "model", "required");
}
END_TEST

/* Every kind of request has them. */
START_TEST(embeddings_have_them_too)
{
    struct request *req = decode(REQUEST_EMBED, "{'model':'m','input':'x','num_retries':0}");

    ck_assert(req->routing.has_retries && req->routing.max_retries == 0);
    request_free(req);
    refused(REQUEST_EMBED, "{'model':'m','input':'x','api_base':'http://x'}", "api_base",
            "for the configuration");
}
END_TEST

/* The form of the configuration: what is for another model is not for this one. */
START_TEST(fallbacks_as_rules)
{
    struct request *req =
        chat("'fallbacks':[{'other':['x']},{'m':['a','b']},{'*':['c']},{'model':['d']}]");

    ck_assert(req->routing.has_fallbacks);
    ck_assert_uint_eq(req->routing.n_fallbacks, 3);
    ck_assert_str_is(req->routing.fallbacks[0], "a");
    ck_assert_str_is(req->routing.fallbacks[2], "c");
    request_free(req);
}
END_TEST

static int read_extra(const char *extra, struct request **ret)
{
    *ret = request_new(REQUEST_CHAT, BUDGET);
    (*ret)->model = STR_LIT("m");
    (*ret)->extra = extra ? json(extra) : STR_NONE;
    return openai_gateway_read_extra(*ret, &g_problem);
}

/* RPC's requests say the same. */
START_TEST(extra_json)
{
    struct request *req;

    ck_assert_int_eq(read_extra(NULL, &req), 0);
    request_free(req);
    ck_assert_int_eq(read_extra("{'num_retries':1,'tags':['a'],'x':1,'fallbacks':['b'],"
                                "'x-sluice-local-only':true,'timeout':2}",
                                &req),
                     0);
    ck_assert(req->routing.has_retries && req->routing.max_retries == 1);
    ck_assert(req->routing.is_local_only);
    ck_assert_uint_eq(req->routing.n_tags + req->routing.n_fallbacks, 2);
    ck_assert_uint_eq(req->routing.total_usec, 2000000);
    request_free(req);
    ck_assert_int_eq(read_extra("{'disable_fallbacks':true,'fallbacks':['b']}", &req), 0);
    ck_assert(req->routing.has_fallbacks && req->routing.n_fallbacks == 0);
    request_free(req);
    ck_assert_int_eq(read_extra("{'api_key':'x'}", &req), -EBADMSG);
    ck_assert_str_eq(g_problem.param, "extra_json.api_key");
    request_free(req);
    ck_assert_int_eq(read_extra("{'metadata':{'tags':[1]}}", &req), -EBADMSG);
    ck_assert_str_eq(g_problem.param, "extra_json.metadata.tags");
    request_free(req);
}
END_TEST

START_TEST(no_fallbacks)
{
    struct request *req = chat("'fallbacks':[]");

    ck_assert(req->routing.has_fallbacks && req->routing.n_fallbacks == 0);
    request_free(req);
    req = chat("'disable_fallbacks':true,'fallbacks':['a']");
    ck_assert(req->routing.has_fallbacks && req->routing.n_fallbacks == 0);
    request_free(req);
    req = chat("'disable_fallbacks':false");
    ck_assert(!req->routing.has_fallbacks);
    request_free(req);
}
END_TEST

START_TEST(null_is_absent)
{
    struct request *req =
        chat("'num_retries':null,'timeout':null,'stream_timeout':null,'tags':null,"
             "'fallbacks':null,'disable_fallbacks':null,'metadata':null,"
             "'api_base':null,'api_key':null");

    ck_assert(!req->routing.has_retries && !req->routing.has_fallbacks);
    ck_assert_uint_eq(req->routing.total_usec, 0);
    request_free(req);
}
END_TEST

START_TEST(wrong_types_and_ranges)
{
    chat_refused("'num_retries':'3'", "num_retries", "an integer");
    chat_refused("'num_retries':1.5", "num_retries", "not a fraction");
    chat_refused("'num_retries':-1", "num_retries", "between 0 and 16");
    chat_refused("'num_retries':17", "num_retries", "between 0 and 16");
    chat_refused("'timeout':'30'", "timeout", "number of seconds");
    chat_refused("'timeout':0", "timeout", "more than 0");
    chat_refused("'timeout':-1", "timeout", "between");
    chat_refused("'timeout':86401", "timeout", "between");
    chat_refused("'timeout':1e400", "timeout", "between");
    chat_refused("'stream_timeout':true", "stream_timeout", "number of seconds");
    chat_refused("'tags':'a'", "tags", "must be an array");
    chat_refused("'tags':[1]", "tags", "strings");
    chat_refused("'tags':['']", "tags", "1 to 128 bytes");
    chat_refused("'tags':['a\\u0000b']", "tags", "control characters");
    chat_refused("'fallbacks':['a\\nb']", "fallbacks", "control characters");
    chat_refused("'tags':['1','2','3','4','5','6','7','8','9','10','11','12','13','14','15','16',"
                 "'17']",
                 "tags", "at most 16");
    chat_refused("'metadata':{'tags':[1]}", "metadata.tags", "strings");
    chat_refused("'x-sluice-local-only':'true'", "x-sluice-local-only", "boolean");
    chat_refused("'disable_fallbacks':1", "disable_fallbacks", "boolean");
    chat_refused("'fallbacks':'a'", "fallbacks", "must be an array");
    chat_refused("'fallbacks':[1]", "fallbacks", "a list of names");
    chat_refused("'fallbacks':[['a']]", "fallbacks", "a list of names");
    chat_refused("'fallbacks':['']", "fallbacks", "1 to 256");
    chat_refused("'fallbacks':[{}]", "fallbacks", "one member");
    chat_refused("'fallbacks':[{'model':'a','messages':[]}]", "fallbacks", "one member");
    chat_refused("'fallbacks':[{'m':'a'}]", "fallbacks", "names of models");
    chat_refused("'fallbacks':[{'m':[1]}]", "fallbacks", "names of models");
    chat_refused("'fallbacks':['1','2','3','4','5','6','7','8','9']", "fallbacks", "at most 8");
}
END_TEST

/* Where sluice connects and as whom is for its owner to say. */
START_TEST(targets_and_credentials_are_refused)
{
    static const char *const names[] = {"api_base",          "base_url",
                                        "api_key",           "api_version",
                                        "organization",      "custom_llm_provider",
                                        "extra_headers",     "model_list",
                                        "user_config",       "litellm_params",
                                        "aws_session_token", "vertex_credentials",
                                        "azure_ad_token",    "litellm_credential_name"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char members[128];

        (void) snprintf(members, sizeof members, "'%s':'x'", names[i]);
        chat_refused(members, names[i], "for the configuration");
    }
    chat_refused("'api\\u005fbase':'http://x'", "api_base", "for the configuration");
    chat_refused("'headers':{}", "headers", "for the configuration");
}
END_TEST

START_TEST(what_no_model_server_may_see)
{
    ck_assert(openai_gateway_is_member(STR_LIT("fallbacks")));
    ck_assert(openai_gateway_is_member(STR_LIT("num_retries")));
    ck_assert(openai_gateway_is_member(STR_LIT("mock_response")));
    ck_assert(openai_gateway_is_member(STR_LIT("mock_anything_new")));
    ck_assert(openai_gateway_is_member(STR_LIT("litellm_session_id")));
    ck_assert(openai_gateway_is_member(STR_LIT("api_key")));
    ck_assert(!openai_gateway_is_member(STR_LIT("metadata")));
    ck_assert(!openai_gateway_is_member(STR_LIT("temperature")));
    ck_assert(!openai_gateway_is_member(STR_LIT("fallback")));
    ck_assert(!openai_gateway_is_member(STR_LIT("")));
}
END_TEST

static void decode_all(void)
{
    struct request *req = request_new(REQUEST_CHAT, BUDGET);
    struct str body = json("{'model':'m','messages':[{'role':'user','content':'x'}],"
                           "'tags':['\\u0061'],'fallbacks':['\\u0062']}");
    int r = req ? openai_decode_request(req, body, &g_problem) : -ENOMEM;

    ck_assert(r == 0 || r == -ENOMEM);
    request_free(req);
}

START_TEST(every_allocation_may_fail)
{
    for_each_failed_allocation(decode_all);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, nothing_said);
    tcase_add_test(tc, all_that_is_obeyed);
    tcase_add_test(tc, extra_body);
    tcase_add_test(tc, embeddings_have_them_too);
    tcase_add_test(tc, fallbacks_as_rules);
    tcase_add_test(tc, no_fallbacks);
    tcase_add_test(tc, extra_json);
    tcase_add_test(tc, null_is_absent);
    tcase_add_test(tc, wrong_types_and_ranges);
    tcase_add_test(tc, targets_and_credentials_are_refused);
    tcase_add_test(tc, what_no_model_server_may_see);
    tcase_add_test(tc, every_allocation_may_fail);
}

TEST_MAIN("openai_gateway", add_tests)
