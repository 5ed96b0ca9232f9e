/* openai_reply.h: events to chunks, to error objects and model lists. */
#include "openai_answers.h"

#include <errno.h>

#define ROLE     "HEAD{'index':0,'delta':{'role':'assistant','content':''},'finish_reason':null}]}\n\n"
#define FINISH   "HEAD{'index':0,'delta':{},'finish_reason':'stop'}]}\n\n"
#define DELTA(s) "HEAD{'index':0,'delta':{" s "},'finish_reason':null}]}\n\n"

START_TEST(a_streamed_chat)
{
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(add((struct event) {.type = EVENT_QUEUED, .queued = {1}}), 0);
    ck_assert_int_eq(add((struct event) {.type = EVENT_STARTED}), 0);
    ck_assert_str_eq(written(), ""); /* nothing that would commit to status 200 */
    ck_assert_int_eq(text("Hel"), 0);
    ck_assert_str_eq(written(), ROLE DELTA("'content':'Hel'"));
    ck_assert_int_eq(text("lo\n"), 0);
    ck_assert_str_eq(written(), DELTA("'content':'lo\\n'"));
    ck_assert_int_eq(usage(3, 0, 2), 0);
    ck_assert_str_eq(written(), "");
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    check_json();
    ck_assert_str_eq(written(), FINISH "data: [DONE]\n\n"); /* usage was not asked for */
    end();
}
END_TEST

START_TEST(usage_comes_behind_the_finish_chunk)
{
    begin(REQUEST_CHAT, true, 65536);
    g_req->include_usage = true;
    again();
    ck_assert_int_eq(text("x"), 0);
    ck_assert_int_eq(usage(3, 1, 2), 0);
    (void) written();
    ck_assert_int_eq(over(FINISH_LENGTH, 1), 0);
    check_json();
    ck_assert_str_eq(written(),
                     "HEAD{'index':0,'delta':{},'finish_reason':'length'}]}\n\n"
                     "HEAD],'usage':{'prompt_tokens':3,'completion_tokens':2,'total_tokens':5,"
                     "'prompt_tokens_details':{'cached_tokens':1}}}\n\n"
                     "data: [DONE]\n\n");
    end();
}
END_TEST

#define PRINTED                                                                                    \
    "data: {'id':'chatcmpl-r1','object':'chat.completion.chunk','created':7,'model':'m/1',"        \
    "'system_fingerprint':'fp\\n','choices':[{'index':0,"

START_TEST(the_fingerprint_is_in_every_chunk)
{
    struct event first = {.type = EVENT_TEXT, .text = {.bytes = STR_LIT("x")}};

    begin(REQUEST_CHAT, true, 65536);
    first.fingerprint = STR_LIT("fp\n");
    ck_assert_int_eq(add(first), 0);
    ck_assert_str_eq(written(), PRINTED
                     "'delta':{'role':'assistant','content':''},'finish_reason':null}]}\n\n" PRINTED
                     "'delta':{'content':'x'},'finish_reason':null}]}\n\n");
    first.fingerprint = STR_LIT("of another server, for another choice");
    ck_assert_int_eq(add(first), 0);
    ck_assert_str_eq(written(), PRINTED "'delta':{'content':'x'},'finish_reason':null}]}\n\n");
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    check_json();
    ck_assert_str_eq(written(), PRINTED "'delta':{},'finish_reason':'stop'}]}\n\ndata: [DONE]\n\n");
    end();
}
END_TEST

START_TEST(the_fingerprint_is_in_a_body)
{
    struct event first = {.type = EVENT_TEXT, .text = {.bytes = STR_LIT("x")}};

    begin(REQUEST_CHAT, false, 65536);
    first.fingerprint = STR_LIT("fp");
    ck_assert_int_eq(add(first), 0);
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    ck_assert_ptr_nonnull(strstr(written(), "'model':'m/1','system_fingerprint':'fp','choices':["));
    end();
}
END_TEST

START_TEST(an_empty_answer_has_role_and_finish)
{
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    ck_assert_str_eq(written(), ROLE FINISH "data: [DONE]\n\n");
    end();
}
END_TEST

START_TEST(thinking_has_its_own_member)
{
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(text_on(0, CHANNEL_THINKING, "hm", NULL), 0);
    ck_assert_str_eq(written(), ROLE DELTA("'reasoning_content':'hm'"));
    end();
    begin(REQUEST_COMPLETE, true, 65536);
    ck_assert_int_eq(text_on(0, CHANNEL_THINKING, "hm", NULL), 0);
    check_json();
    ck_assert_ptr_nonnull(strstr(written(), "{'index':0,'text':'','reasoning_content':'hm',"));
    end();
}
END_TEST

START_TEST(characters_are_never_split)
{
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(text("a\xf0\x9f"), 0);
    ck_assert_str_eq(written(), ROLE DELTA("'content':'a'"));
    ck_assert_int_eq(text("\x98"), 0);
    ck_assert_str_eq(written(), "");
    ck_assert_int_eq(text("\x80"
                          "b\xc3"),
                     0);
    ck_assert_str_eq(written(), DELTA("'content':'\xf0\x9f\x98\x80"
                                      "b'"));
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    ck_assert_str_eq(written(), DELTA("'content':'\xef\xbf\xbd'") FINISH "data: [DONE]\n\n");
    end();
}
END_TEST

START_TEST(channels_and_choices_have_tails_of_their_own)
{
    begin(REQUEST_CHAT, true, 65536);
    g_req->sampling.n_choices = 2;
    again();
    ck_assert_int_eq(text_on(0, CHANNEL_THINKING, "\xc3", NULL), 0);
    ck_assert_int_eq(text_on(1, CHANNEL_ANSWER, "\xe2\x82", NULL), 0);
    (void) written();
    ck_assert_int_eq(text_on(1, CHANNEL_ANSWER, "\xac", NULL), 0);
    ck_assert_str_eq(written(), "HEAD{'index':1,'delta':{'content':'\xe2\x82\xac'},"
                                "'finish_reason':null}]}\n\n");
    ck_assert_int_eq(text_on(0, CHANNEL_ANSWER, "x", NULL), 0); /* the thinking is over */
    ck_assert_str_eq(written(), DELTA("'reasoning_content':'\xef\xbf\xbd'") DELTA("'content':'x'"));
    end();
}
END_TEST

START_TEST(a_refusal_has_its_own_member)
{
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(text_on(0, CHANNEL_REFUSAL, "I will", NULL), 0);
    ck_assert_int_eq(text_on(0, CHANNEL_REFUSAL, " not\xc3", "{\"refusal\":[1]}"), 0);
    check_json();
    ck_assert_str_eq(written(),
                     ROLE DELTA("'refusal':'I will'") "HEAD{'index':0,'delta':{'refusal':' not'},"
                                                      "'logprobs':{'refusal':[1]},"
                                                      "'finish_reason':null}]}\n\n");
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    ck_assert_ptr_nonnull(strstr(written(), DELTA("'refusal':'\xef\xbf\xbd'")));
    end();
}
END_TEST

START_TEST(bytes_that_are_no_utf8_are_replaced)
{
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(text("a\xff"
                          "b"),
                     0);
    ck_assert_str_eq(written(), ROLE DELTA("'content':'a\xef\xbf\xbd"
                                           "b'"));
    end();
}
END_TEST

START_TEST(logprobs_pass_through)
{
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(text_on(0, CHANNEL_ANSWER, "a", "{\"content\":[1]}"), 0);
    check_json();
    ck_assert_str_eq(written(), ROLE "HEAD{'index':0,'delta':{'content':'a'},"
                                     "'logprobs':{'content':[1]},'finish_reason':null}]}\n\n");
    /* of a token that is a part of a character: no text yet, but its probability is told */
    ck_assert_int_eq(text_on(0, CHANNEL_ANSWER, "\xc3", "{\"content\":[2]}"), 0);
    ck_assert_str_eq(written(), "HEAD{'index':0,'delta':{'content':''},"
                                "'logprobs':{'content':[2]},'finish_reason':null}]}\n\n");
    end();
}
END_TEST

START_TEST(several_choices)
{
    begin(REQUEST_CHAT, true, 65536);
    g_req->sampling.n_choices = 2;
    again();
    ck_assert_int_eq(text_on(1, CHANNEL_ANSWER, "b", NULL), 0);
    ck_assert_str_eq(
        written(),
        "HEAD{'index':1,'delta':{'role':'assistant','content':''},'finish_reason':null}]}\n\n"
        "HEAD{'index':1,'delta':{'content':'b'},'finish_reason':null}]}\n\n");
    ck_assert_int_eq(over(FINISH_STOP, 2), 0);
    ck_assert_str_eq(written(),
                     ROLE FINISH "HEAD{'index':1,'delta':{},'finish_reason':'stop'}]}\n\n"
                                 "data: [DONE]\n\n");
    end();
}
END_TEST

#define CALL(s) DELTA("'tool_calls':[" s "]")

START_TEST(streamed_tool_calls)
{
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(call(0, "c1", "f", ""), 0);
    ck_assert_str_eq(written(), ROLE CALL("{'index':0,'id':'c1','type':'function',"
                                          "'function':{'name':'f','arguments':''}}"));
    ck_assert_int_eq(call(0, NULL, NULL, "{\"a\":"), 0);
    ck_assert_str_eq(written(), CALL("{'index':0,'function':{'arguments':'{\\'a\\':'}}"));
    ck_assert_int_eq(call(0, NULL, NULL, "1}"), 0);
    ck_assert_str_eq(written(), CALL("{'index':0,'function':{'arguments':'1}'}}"));
    ck_assert_int_eq(call(0, NULL, NULL, ""), 0);
    ck_assert_str_eq(written(), "");
    ck_assert_int_eq(call(1, NULL, "g", ""), 0); /* no id: one is made up */
    ck_assert_str_eq(written(), CALL("{'index':1,'id':'call_r1_0_1','type':'function',"
                                     "'function':{'name':'g','arguments':''}}"));
    ck_assert_int_eq(over(FINISH_STOP, 1), 0); /* says stop, but called */
    check_json();
    ck_assert_str_eq(
        written(),
        CALL(
            "{'index':1,'function':{'arguments':'{}'}}") "HEAD{'index':0,'delta':{},'finish_reason':'tool_calls'}]}\n\n"
                                                         "data: [DONE]\n\n");
    end();
}
END_TEST

START_TEST(arguments_are_not_split_either)
{
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(call(0, "c1", "f", "\xc3"), 0);
    (void) written();
    ck_assert_int_eq(call(0, NULL, NULL, "\xa9"), 0);
    ck_assert_str_eq(written(), CALL("{'index':0,'function':{'arguments':'\xc3\xa9'}}"));
    ck_assert_int_eq(call(0, NULL, NULL, "\xc3"), 0);
    ck_assert_int_eq(call(1, "c2", "g", "{}"), 0); /* the first call is cut short */
    ck_assert_str_eq(written(), CALL("{'index':0,'function':{'arguments':'\xef\xbf\xbd'}}")
                                    CALL("{'index':1,'id':'c2','type':'function',"
                                         "'function':{'name':'g','arguments':'{}'}}"));
    end();
}
END_TEST

/* A client that sends functions reads function_call. */
START_TEST(the_deprecated_form)
{
    struct request_member members[] = {
        {STR_LIT("functions"), STR_LIT("[{\"name\":\"f\"}]"), false}};

    begin(REQUEST_CHAT, true, 65536);
    g_req->members = members;
    g_req->n_members = 1;
    again();
    ck_assert_int_eq(call(0, "c1", "f", "{"), 0);
    ck_assert_int_eq(call(0, NULL, NULL, "}"), 0);
    ck_assert_int_eq(call(1, "c2", "g", ""), 0);
    ck_assert_int_eq(over(FINISH_TOOL_CALLS, 1), 0);
    check_json();
    ck_assert_str_eq(
        written(),
        ROLE DELTA("'function_call':{'name':'f','arguments':'{'}") DELTA(
            "'function_call':{'arguments':'}'}") "HEAD{'index':0,'delta':{},'finish_reason':'function_call'}]}\n\n"
                                                 "data: [DONE]\n\n");
    g_req->stream = false;
    again();
    ck_assert_int_eq(call(0, "c1", "f", ""), 0);
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    check_json();
    ck_assert_ptr_nonnull(strstr(written(), "'message':{'role':'assistant','content':null,"
                                            "'function_call':{'name':'f','arguments':'{}'}},"
                                            "'logprobs':null,'finish_reason':'function_call'}"));
    end();
}
END_TEST

START_TEST(a_stream_that_fails)
{
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(text("x"), 0);
    (void) written();
    ck_assert_int_eq(add((struct event) {.type = EVENT_FAILED,
                                         .failed = {.code = ERRCODE_UPSTREAM_CUT,
                                                    .message = STR_LIT("gone \"away\"")}}),
                     0);
    check_json();
    ck_assert_str_eq(written(),
                     "data: {'error':{'message':'gone \\'away\\'','type':'upstream_error',"
                     "'param':null,'code':'upstream_cut'}}\n\n");
    end();
    begin(REQUEST_CHAT, true, 65536);
    ck_assert_int_eq(add((struct event) {
                         .type = EVENT_FAILED,
                         .failed = {.code = ERRCODE_MODEL_NOT_FOUND, .param = STR_LIT("model")}}),
                     0);
    ck_assert_str_eq(written(),
                     "data: {'error':{'message':'no such model','type':"
                     "'invalid_request_error','param':'model','code':'model_not_found'}}\n\n");
    end();
}
END_TEST

START_TEST(streamed_completions)
{
    begin(REQUEST_COMPLETE, true, 65536);
    ck_assert_int_eq(text_on(0, CHANNEL_ANSWER, "a", "{\"tokens\":[\"a\"]}"), 0);
    ck_assert_int_eq(text("b"), 0);
    ck_assert_int_eq(over(FINISH_LENGTH, 1), 0);
    check_json();
#define COMPLETION                                                                                 \
    "data: {'id':'cmpl-r1','object':'text_completion','created':7,'model':'m/1','choices':["
    ck_assert_str_eq(
        written(), COMPLETION
        "{'index':0,'text':'a','logprobs':{'tokens':['a']},'finish_reason':null}]}\n\n" COMPLETION
        "{'index':0,'text':'b','logprobs':null,'finish_reason':null}]}\n\n" COMPLETION
        "{'index':0,'text':'','logprobs':null,'finish_reason':'length'}]}\n\n"
        "data: [DONE]\n\n");
    end();
}
END_TEST

START_TEST(errors_and_models)
{
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(openai_write_error(&out, ERRCODE_INVALID_REQUEST, STR_LIT("no \"model\""),
                                        STR_LIT("model")),
                     0);
    ck_assert_str_is(buf_str(&out), "{\"error\":{\"message\":\"no \\\"model\\\"\",\"type\":"
                                    "\"invalid_request_error\",\"param\":\"model\",\"code\":"
                                    "\"invalid_request\"}}");
    buf_clear(&out);
    ck_assert_int_eq(openai_write_error(&out, ERRCODE_QUEUE_FULL, STR_NONE, STR_NONE), 0);
    ck_assert_str_is(buf_str(&out),
                     "{\"error\":{\"message\":\"the queue is full\",\"type\":"
                     "\"overloaded_error\",\"param\":null,\"code\":\"queue_full\"}}");
    buf_clear(&out);
    ck_assert_int_eq(openai_write_models_begin(&out), 0);
    ck_assert_int_eq(openai_write_models_end(&out), 0);
    ck_assert_str_is(buf_str(&out), "{\"object\":\"list\",\"data\":[]}");
    buf_clear(&out);
    ck_assert_int_eq(openai_write_models_begin(&out), 0);
    ck_assert_int_eq(openai_write_model(&out, STR_LIT("a/b:c"), STR_LIT("sluice"), 7), 0);
    ck_assert_int_eq(openai_write_model(&out, STR_LIT("d"), STR_LIT("sluice"), 8), 0);
    ck_assert_int_eq(openai_write_models_end(&out), 0);
    ck_assert_str_is(buf_str(&out),
                     "{\"object\":\"list\",\"data\":[{\"id\":\"a/b:c\",\"object\":"
                     "\"model\",\"created\":7,\"owned_by\":\"sluice\"},{\"id\":\"d\","
                     "\"object\":\"model\",\"created\":8,\"owned_by\":\"sluice\"}]}");
    buf_clear(&out);
    ck_assert_int_eq(openai_write_model(&out, STR_LIT("d"), STR_LIT("x"), 8), 0);
    ck_assert_str_is(buf_str(&out),
                     "{\"id\":\"d\",\"object\":\"model\",\"created\":8,\"owned_by\":\"x\"}");
    buf_done(&out);
}
END_TEST

/* One answer of everything; any step may run out of memory, and then says so. */
static void answer(bool stream)
{
    static const char logprobs[] = "{\"content\":[1]}";
    struct request *req = request_new(REQUEST_CHAT, 65536);
    struct openai_reply *reply = NULL;
    enum finish_reason reason = FINISH_STOP;
    struct event events[] = {
        {.type = EVENT_TEXT, .text = {.bytes = STR_LIT("caf\xc3")}},
        {.type = EVENT_TEXT, .text = {.bytes = STR_LIT("\xa9"), .logprobs = str_from(logprobs)}},
        {.type = EVENT_TEXT, .text = {.channel = CHANNEL_THINKING, .bytes = STR_LIT("hm")}},
        {.type = EVENT_TOOL_CALL, .tool_call = {.id = STR_LIT("c"), .name = STR_LIT("f")}},
        {.type = EVENT_TOOL_CALL, .tool_call = {.arguments = STR_LIT("{}")}},
        {.type = EVENT_USAGE, .usage = {1, 0, 2, 0}},
        {.type = EVENT_END, .end = {&reason, 1}},
    };
    struct buf out;
    int r = 0;

    buf_init(&out, 65536);
    if (req) {
        req->stream = stream;
        req->model = STR_LIT("m");
        reply = openai_reply_new(req, 7, 65536);
    }
    for (size_t i = 0; reply && r == 0 && i < ARRAY_LEN(events); i++) {
        r = openai_reply_add(reply, &events[i], &out);
    }
    ck_assert(r == 0 || (r == -ENOMEM && allocation_failed()));
    ck_assert(reply || allocation_failed());
    openai_reply_free(reply);
    buf_done(&out);
    request_free(req);
}

static void answer_in_a_stream(void)
{
    answer(true);
}

static void answer_in_a_body(void)
{
    answer(false);
}

START_TEST(out_of_memory_anywhere)
{
    for_each_failed_allocation(answer_in_a_stream);
    for_each_failed_allocation(answer_in_a_body);
    ck_assert_ptr_null(openai_reply_free(NULL));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_streamed_chat);
    tcase_add_test(tc, usage_comes_behind_the_finish_chunk);
    tcase_add_test(tc, the_fingerprint_is_in_every_chunk);
    tcase_add_test(tc, the_fingerprint_is_in_a_body);
    tcase_add_test(tc, an_empty_answer_has_role_and_finish);
    tcase_add_test(tc, thinking_has_its_own_member);
    tcase_add_test(tc, characters_are_never_split);
    tcase_add_test(tc, channels_and_choices_have_tails_of_their_own);
    tcase_add_test(tc, a_refusal_has_its_own_member);
    tcase_add_test(tc, bytes_that_are_no_utf8_are_replaced);
    tcase_add_test(tc, logprobs_pass_through);
    tcase_add_test(tc, several_choices);
    tcase_add_test(tc, streamed_tool_calls);
    tcase_add_test(tc, arguments_are_not_split_either);
    tcase_add_test(tc, the_deprecated_form);
    tcase_add_test(tc, a_stream_that_fails);
    tcase_add_test(tc, streamed_completions);
    tcase_add_test(tc, errors_and_models);
    tcase_add_test(tc, out_of_memory_anywhere);
}

TEST_MAIN("openai_reply", add_tests)
