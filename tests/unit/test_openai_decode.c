/*
 * openai_upstream.h: streams of model servers to events: complete, cut and wrong. JSON is written
 * with ' for ".
 */
#include "openai_decode_support.h"

START_TEST(a_stream_of_ollama)
{
    streams(
        CHAT,
        CHUNK("{'index':0,'delta':{'role':'assistant','content':' ms'},'finish_reason':null}")
            DELTA("'content':'D'") CHUNK(
                "{'index':0,'delta':{},'finish_reason':'length'}") "data: {'id':'x','choices':[],'usage':{'prompt_tokens':25,'prompt_tokens_details':"
                                                                   "{'cached_tokens':24},'completion_tokens':3,'total_tokens':28}}\n\n" DONE,
        "TEXT 0 answer  ms\nTEXT 0 answer D\nUSAGE 25 24 3\nEND length\n");
}
END_TEST

START_TEST(tokens_of_thinking)
{
    gives_events(
        REQUEST_CHAT, CHAT,
        "{'choices':[{'index':0,'message':{'content':'a'},'finish_reason':'stop'}],'usage':{"
        "'prompt_tokens':5,'completion_tokens':7,'completion_tokens_details':{'audio_tokens':1,"
        "'reasoning_tokens':6}}}",
        false, "TEXT 0 answer a\nUSAGE 5 0 7 6\nEND stop\n");
    streams(CHAT,
            DELTA("'content':'a'") STOP "data: {'choices':[],'usage':{'prompt_tokens':5,"
                                        "'completion_tokens':7,'completion_tokens_details':{"
                                        "'reasoning_tokens':-6}}}\n\n" DONE,
            "TEXT 0 answer a\nUSAGE 5 0 7\nEND stop\n");
}
END_TEST

/* A chunk like the last one is not read in full; what it says must be the same. */
START_TEST(chunks_that_are_alike)
{
    streams(
        CHAT,
        DELTA("'content':'a'") DELTA("'content':'b\\n'") DELTA("'content':''")
            DELTA("'content':'c'") DELTA("'content':'\xc3\xa4'") STOP DONE,
        "TEXT 0 answer a\nTEXT 0 answer b\n\nTEXT 0 answer c\nTEXT 0 answer \xc3\xa4\nEND stop\n");
    streams(CHAT,
            DELTA("'reasoning':'a'") DELTA("'reasoning':'b'") DELTA("'content':'c'")
                DELTA("'content':'d'") DELTA("'reasoning':'e'") DELTA("'refusal':'f'")
                    DELTA("'refusal':'g'") STOP DONE,
            "TEXT 0 thinking a\nTEXT 0 thinking b\nTEXT 0 answer c\nTEXT 0 answer d\n"
            "TEXT 0 thinking e\nTEXT 0 refusal f\nTEXT 0 refusal g\nEND stop\n");
    streams(CHAT_TWO,
            CHUNK("{'index':1,'delta':{'content':'a'}}")
                CHUNK("{'index':1,'delta':{'content':'b'}}")
                    CHUNK("{'index':0,'delta':{'content':'c'}}") DONE,
            "TEXT 1 answer a\nTEXT 1 answer b\nTEXT 0 answer c\nEND stop stop\n");
    /* two members, one of which is empty now */
    streams(CHAT,
            DELTA("'reasoning_content':'a','reasoning':''")
                DELTA("'reasoning_content':'','reasoning':''")
                    DELTA("'reasoning_content':'','reasoning':'b'")
                        DELTA("'reasoning_content':'','reasoning':'c'") STOP DONE,
            "TEXT 0 thinking a\nTEXT 0 thinking b\nTEXT 0 thinking c\nEND stop\n");
    /* a text with usage or an end: it counts each time */
    streams(CHAT,
            "data: {'choices':[{'delta':{'content':'a'}}],'usage':{'prompt_tokens':1}}\n\n"
            "data: {'choices':[{'delta':{'content':'b'}}],'usage':{'prompt_tokens':1}}\n\n"
            "data: {'choices':[{'delta':{'content':'c'}}],'usage':{'prompt_tokens':2}}\n\n" DONE,
            "TEXT 0 answer a\nTEXT 0 answer b\nTEXT 0 answer c\nUSAGE 2 0 0\nEND stop\n");
}
END_TEST

START_TEST(chunks_that_only_look_alike)
{
    stream_fails(DELTA("'content':'a'") DELTA("'content':'b','content':'c'"),
                 ERRCODE_UPSTREAM_GARBAGE, "duplicate name");
    stream_fails(DELTA("'content':'a'") DELTA("'content':'\xc3'"), ERRCODE_UPSTREAM_GARBAGE,
                 "invalid UTF-8");
    stream_fails(DELTA("'content':'a'") DELTA("'content':'\\x'"), ERRCODE_UPSTREAM_GARBAGE,
                 "bad escape");
    stream_fails(DELTA("'content':'a'") DELTA("'content':1"), ERRCODE_UPSTREAM_GARBAGE, "not text");
    stream_fails(DELTA("'content':'a'") "event: error\n" DELTA("'content':'b'"),
                 ERRCODE_UPSTREAM_ERROR, "");
    streams(CHAT, DELTA("'content':'a'") DELTA("'content':'b','refusal':'c'") STOP DONE,
            "TEXT 0 answer a\nTEXT 0 answer b\nTEXT 0 refusal c\nEND stop\n");
}
END_TEST

#define PRINT(print, content)                                                                      \
    "data: {'system_fingerprint':" print ",'choices':[{'delta':{'content':'" content "'}}]}\n\n"

START_TEST(fingerprint)
{
    streams(CHAT, PRINT("'fp_1'", "") PRINT("'fp_1'", "a") PRINT("'fp_2'", "b") DONE,
            "BY fp_1\nTEXT 0 answer a\nTEXT 0 answer b\nEND stop\n");
    streams(CHAT, PRINT("null", "a") PRINT("'fp_2'", "b") DONE,
            "TEXT 0 answer a\nTEXT 0 answer b\nEND stop\n");
    streams(CHAT, PRINT("7", "a") DONE, "TEXT 0 answer a\nEND stop\n");
    streams(CHAT,
            PRINT("'0123456789012345678901234567890123456789012345678901234567890123'", "a") DONE,
            "BY 0123456789012345678901234567890123456789012345678901234567890123\n"
            "TEXT 0 answer a\nEND stop\n");
    streams(CHAT,
            PRINT("'01234567890123456789012345678901234567890123456789012345678901234'", "a") DONE,
            "TEXT 0 answer a\nEND stop\n");
    gives_events(REQUEST_CHAT, CHAT,
                 "{'choices':[{'message':{'content':'\\n'},'finish_reason':'stop'}],"
                 "'system_fingerprint':'b\\u0031'}",
                 false, "BY b1\nTEXT 0 answer \n\nEND stop\n");
}
END_TEST

/* content null in the first delta; CRLF; a comment; timings */
START_TEST(a_stream_of_llama_server)
{
    streams(
        CHAT,
        ": hello\r\n\r\n"
        "data: {'choices':[{'finish_reason':null,'index':0,'delta':{'role':'assistant','content':null}}]}\r\n\r\n"
        "data: {'choices':[{'finish_reason':null,'index':0,'delta':{'content':'a\\n\\u00e9'}}]}\r\n\r\n"
        "data: {'choices':[{'finish_reason':'stop','index':0,'delta':{}}]}\r\n\r\n"
        "data: {'choices':[],'usage':{'completion_tokens':1,'prompt_tokens':2},'timings':{'x':1}}\r\n\r\n"
        "data: [DONE]\r\n\r\n",
        "TEXT 0 answer a\n\xc3\xa9\nUSAGE 2 0 1\nEND stop\n");
}
END_TEST

START_TEST(a_stream_may_end_without_done)
{
    streams(CHAT, DELTA("'content':'a'") STOP, "TEXT 0 answer a\nEND stop\n");
    /* and even without its last empty line */
    streams(CHAT, "data: {'choices':[{'index':0,'delta':{},'finish_reason':'stop'}]}",
            "END stop\n");
    streams(CHAT, DELTA("'content':'a'") "data: [DONE]\n", "TEXT 0 answer a\nEND stop\n");
    streams(CHAT, DELTA("'content':'a'") "data:[DONE]", "TEXT 0 answer a\nEND stop\n");
}
END_TEST

START_TEST(a_cut_stream_is_cut)
{
    /* Ollama, its runner killed */
    stream_fails(
        DELTA(
            "'content':'a'") "data: {'id':'x','model':'','choices':[{'index':0,'delta':{'content':''},"
                             "'finish_reason':null}]}\n\n",
        ERRCODE_UPSTREAM_CUT, "before its end");
    stream_fails(DELTA("'content':'a'"), ERRCODE_UPSTREAM_CUT, "before its end");
    stream_fails(DELTA("'content':'a'") "data: {'choices':[{'ind", ERRCODE_UPSTREAM_CUT, "");
    stream_fails("", ERRCODE_UPSTREAM_CUT, "");
    stream_fails(" \n\n", ERRCODE_UPSTREAM_CUT, "");
    stream_fails(": only a comment\n\n", ERRCODE_UPSTREAM_CUT, "");
    fails(REQUEST_CHAT, CHAT, "{'choices':[{'index':0,'message':{", false, ERRCODE_UPSTREAM_CUT,
          "");
}
END_TEST

START_TEST(garbage)
{
    stream_fails("data: hello\n\n", ERRCODE_UPSTREAM_GARBAGE, "not JSON");
    stream_fails("data: [1]\n\n", ERRCODE_UPSTREAM_GARBAGE, "not a JSON object");
    stream_fails("data: {'choices':7}\n\n", ERRCODE_UPSTREAM_GARBAGE, "not an array");
    stream_fails("data: {'choices':[7]}\n\n", ERRCODE_UPSTREAM_GARBAGE, "not an object");
    stream_fails(CHUNK("{'index':1,'delta':{}}"), ERRCODE_UPSTREAM_GARBAGE, "not asked for");
    stream_fails(CHUNK("{'index':-1,'delta':{}}"), ERRCODE_UPSTREAM_GARBAGE, "not asked for");
    stream_fails(CHUNK("{'index':'0','delta':{}}"), ERRCODE_UPSTREAM_GARBAGE, "not asked for");
    stream_fails(DELTA("'content':7"), ERRCODE_UPSTREAM_GARBAGE, "not text");
    stream_fails(DONE, ERRCODE_UPSTREAM_GARBAGE, "no choices");
    fails(REQUEST_CHAT, CHAT, "<html>", false, ERRCODE_UPSTREAM_GARBAGE, "not JSON");
    fails(REQUEST_CHAT, CHAT, "{'choices':[]}", false, ERRCODE_UPSTREAM_GARBAGE, "no choices");
    fails(REQUEST_CHAT, CHAT, "{}", false, ERRCODE_UPSTREAM_GARBAGE, "no choices");
}
END_TEST

START_TEST(errors_inside_a_stream)
{
    stream_fails(
        DELTA("'content':'a'") "data: {'error':{'message':'oops','type':'x','code':500}}\n\n" DONE,
        ERRCODE_UPSTREAM_ERROR, "oops");
    stream_fails("data: {'error':{'message':'Loading','type':'unavailable_error','code':503}}\n\n",
                 ERRCODE_UPSTREAM_OVERLOADED, "Loading");
    stream_fails("data: {'error':{'message':'slow','code':'429'}}\n\n",
                 ERRCODE_UPSTREAM_RATE_LIMITED, "slow");
    stream_fails("data: {'error':{'message':'slow','type':'rate_limit_error'}}\n\n",
                 ERRCODE_UPSTREAM_RATE_LIMITED, "slow");
    stream_fails("data: {'object':'error','message':'bad','code':400}\n\n",
                 ERRCODE_UPSTREAM_REJECTED, "bad");
    stream_fails("event: error\ndata: {'message':'bad'}\n\n", ERRCODE_UPSTREAM_ERROR, "bad");
    stream_fails("data: {'error':'just text'}\n\n", ERRCODE_UPSTREAM_ERROR, "just text");
    stream_fails(
        "data: {'error':{'message':'prompt is too long','type':'invalid_request_error'}}\n\n",
        ERRCODE_CONTEXT_LENGTH, "too long");
    fails(REQUEST_CHAT, CHAT, "{'error':{'message':'in a body','code':404}}", true,
          ERRCODE_MODEL_NOT_FOUND, "in a body");
    /* an error that is null is none */
    streams(CHAT,
            "data: {'error':null,'choices':[{'index':0,'delta':{'content':'a'},"
            "'finish_reason':'stop'}]}\n\n" DONE,
            "TEXT 0 answer a\nEND stop\n");
}
END_TEST

START_TEST(finish_reasons)
{
    static const struct {
        const char *word, *end;
    } table[] = {
        {"'stop'", "END stop\n"},
        {"'length'", "END length\n"},
        {"'max_tokens'", "END length\n"},
        {"'tool_calls'", "END tool_calls\n"},
        {"'function_call'", "END tool_calls\n"},
        {"'content_filter'", "END content_filter\n"},
        {"'eos'", "END stop\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char text[256];

        (void) snprintf(text, sizeof text, "data: {'choices':[{'index':0,'finish_reason':%s}]}\n\n",
                        table[i].word);
        streams(CHAT, text, table[i].end);
    }
    stream_fails(CHUNK("{'index':0,'finish_reason':'abort'}") DONE, ERRCODE_UPSTREAM_ERROR,
                 "abort");
    stream_fails(CHUNK("{'index':0,'finish_reason':''}"), ERRCODE_UPSTREAM_CUT, "");
    stream_fails(CHUNK("{'index':0,'finish_reason':7}"), ERRCODE_UPSTREAM_CUT, "");
}
END_TEST

START_TEST(thinking)
{
    streams(CHAT,
            DELTA("'reasoning_content':'a'") DELTA("'content':'','reasoning':'b'")
                DELTA("'reasoning_content':'c','reasoning':'c'") DELTA("'reasoning':{}")
                    DELTA("'reasoning':'d','content':'e'") STOP,
            "TEXT 0 thinking a\nTEXT 0 thinking b\nTEXT 0 thinking c\nTEXT 0 thinking d\n"
            "TEXT 0 answer e\nEND stop\n");
    streams(CHAT,
            DELTA("'content':[{'type':'thinking','thinking':[{'type':'text','text':'hm'}]},"
                  "{'type':'thinking','thinking':'so'},{'type':'text','text':'yes'},7]") STOP,
            "TEXT 0 thinking hm\nTEXT 0 thinking so\nTEXT 0 answer yes\nEND stop\n");
}
END_TEST

START_TEST(refusals)
{
    streams(CHAT, DELTA("'refusal':'no'") DELTA("'content':null,'refusal':'\\u00e9'") STOP,
            "TEXT 0 refusal no\nTEXT 0 refusal \xc3\xa9\nEND stop\n");
    streams(CHAT, DELTA("'content':'a','refusal':null") DELTA("'refusal':7") STOP,
            "TEXT 0 answer a\nEND stop\n");
    streams(CHAT,
            CHUNK("{'index':0,'delta':{'refusal':'no'},'logprobs':{'content':null,'refusal':[1]}}")
                STOP,
            "TEXT 0 refusal no {'content':null,'refusal':[1]}\nEND stop\n");
    gives_events(REQUEST_CHAT, CHAT,
                 "{'choices':[{'index':0,'message':{'role':'assistant','content':null,"
                 "'refusal':'I will not.'},'finish_reason':'stop'}]}",
                 false, "TEXT 0 refusal I will not.\nEND stop\n");
}
END_TEST

START_TEST(logprobs)
{
    streams(CHAT,
            CHUNK("{'index':0,'delta':{'content':'a'},'logprobs':{'content':[1]}}")
                CHUNK("{'index':0,'delta':{'content':''},'logprobs':{'content':[2]}}")
                    CHUNK("{'index':0,'delta':{'reasoning':'b'},'logprobs':{'content':[3]}}")
                        CHUNK("{'index':0,'delta':{'content':[]},'logprobs':{'content':[4]}}")
                            CHUNK("{'index':0,'delta':{},'logprobs':null,'finish_reason':'stop'}"),
            "TEXT 0 answer a {'content':[1]}\nTEXT 0 answer  {'content':[2]}\n"
            "TEXT 0 thinking b {'content':[3]}\nTEXT 0 answer  {'content':[4]}\nEND stop\n");
}
END_TEST

START_TEST(several_choices)
{
    streams(CHAT_TWO,
            CHUNK("{'index':1,'delta':{'content':'b'}},{'index':0,'delta':{'content':'a'}}")
                CHUNK("{'index':0,'finish_reason':'length'}")
                    CHUNK("{'index':1,'finish_reason':'stop'}"),
            "TEXT 1 answer b\nTEXT 0 answer a\nEND length stop\n");
    fails(REQUEST_CHAT, CHAT_TWO, CHUNK("{'index':0,'finish_reason':'stop'}") DONE, true,
          ERRCODE_UNSUPPORTED_PARAMETER, "1 of 2");
    ck_assert_str_eq(g_problem.param, "n");
    fails(REQUEST_CHAT, CHAT_TWO, CHUNK("{'index':0,'finish_reason':'stop'}"), true,
          ERRCODE_UPSTREAM_CUT, "");
}
END_TEST

#define CALL(s) DELTA("'tool_calls':[" s "]")

START_TEST(tool_calls_as_openai_sends_them)
{
    streams(
        CHAT,
        CALL("{'index':0,'id':'c1','type':'function','function':{'name':'f','arguments':''}}") CALL(
            "{'index':0,'function':{'arguments':'{\\'a\\':'}}")
            CALL("{'index':0,'function':{'arguments':'1}'}}") CALL(
                "{'index':1,'id':'c2','type':'function','function':{'name':'g','arguments':'{}'}}")
                CHUNK("{'index':0,'delta':{},'finish_reason':'tool_calls'}") DONE,
        "TOOL_CALL 0 0 c1 f \nTOOL_CALL 0 0   {'a':\nTOOL_CALL 0 0   1}\n"
        "TOOL_CALL 0 1 c2 g {}\nEND tool_calls\n");
}
END_TEST

START_TEST(tool_calls_as_others_send_them)
{
    /* index 0 for all, ids differ; says stop */
    streams(CHAT,
            CALL("{'index':0,'id':'a','function':{'name':'f','arguments':'{}'}}")
                CALL("{'index':0,'id':'b','function':{'name':'g','arguments':'{}'}}") STOP,
            "TOOL_CALL 0 0 a f {}\nTOOL_CALL 0 1 b g {}\nEND tool_calls\n");
    /* indexes that begin at 1 and leave gaps */
    streams(CHAT,
            CALL("{'index':1,'id':'a','function':{'name':'f'}}")
                CALL("{'index':5,'id':'b','function':{'name':'g'}}")
                    CALL("{'index':1,'function':{'arguments':'x'}}") STOP,
            "TOOL_CALL 0 0 a f \nTOOL_CALL 0 1 b g \nTOOL_CALL 0 0   x\nEND tool_calls\n");
    /* no index; id and name repeated in every fragment */
    streams(CHAT,
            CALL("{'id':'a','function':{'name':'f','arguments':'{'}}")
                CALL("{'id':'a','function':{'name':'f','arguments':'}'}}")
                    CALL("{'function':{'arguments':' '}}")
                        CALL("{'id':'b','function':{'name':'f','arguments':'{}'}}") STOP,
            "TOOL_CALL 0 0 a f {\nTOOL_CALL 0 0   }\nTOOL_CALL 0 0    \nTOOL_CALL 0 1 b f {}\n"
            "END tool_calls\n");
    /* no id; arguments as an object; two in one chunk */
    streams(CHAT,
            CALL("{'function':{'name':'f','arguments':{'a':1}}},{'function':{'name':'g'}}") STOP,
            "TOOL_CALL 0 0 call_r1_0_0 f {'a':1}\nTOOL_CALL 0 1 call_r1_0_1 g \nEND tool_calls\n");
    /* says nothing */
    streams(CHAT,
            CALL("{'index':0,'function':{'arguments':''}}") CALL("{}") DELTA("'tool_calls':null")
                DELTA("'tool_calls':{}") STOP,
            "END stop\n");
    /* the deprecated form */
    streams(CHAT,
            DELTA("'function_call':{'name':'f','arguments':''}")
                DELTA("'function_call':{'arguments':'{}'}")
                    CHUNK("{'index':0,'finish_reason':'function_call'}"),
            "TOOL_CALL 0 0 call_r1_0_0 f \nTOOL_CALL 0 0   {}\nEND tool_calls\n");
    /* escapes in every string */
    streams(CHAT,
            CALL("{'index':0,'id':'\\u0061','function':{'name':'\\u0062','arguments':'\\u0063'}}")
                STOP,
            "TOOL_CALL 0 0 a b c\nEND tool_calls\n");
    stream_fails(CALL("{'index':0,'id':'a','function':{'arguments':'{}'}}"),
                 ERRCODE_UPSTREAM_GARBAGE, "without a name");
}
END_TEST

START_TEST(too_many_tool_calls)
{
    char text[32768];
    size_t n = 0;

    for (int i = 0; i <= OPENAI_MAX_TOOL_CALLS; i++) {
        n += (size_t) snprintf(
            text + n, sizeof text - n,
            "data: {'choices':[{'delta':{'tool_calls':[{'index':%d,'function':{'name':'f'}}]}}]}\n\n",
            i);
    }
    stream_fails(text, ERRCODE_UPSTREAM_GARBAGE, "more than 128 tool calls");
}
END_TEST

START_TEST(completions)
{
    /* Ollama has zeros as usage in every chunk */
    gives_events(REQUEST_COMPLETE, COMPLETE,
                 "data: {'choices':[{'index':0,'text':'a','logprobs':{'tokens':['a']}}],"
                 "'usage':{'prompt_tokens':0,'completion_tokens':0}}\n\n"
                 "data: {'choices':[{'index':0,'text':'','finish_reason':'length'}],"
                 "'usage':{'prompt_tokens':4,'completion_tokens':1}}\n\n"
                 "data: {'choices':[],'usage':{'prompt_tokens':0,'completion_tokens':0}}\n\n" DONE,
                 true, "TEXT 0 answer a {'tokens':['a']}\nUSAGE 4 0 1\nEND length\n");
    gives_events(
        REQUEST_COMPLETE, "{'model':'m','prompt':['a','b']}",
        "{'choices':[{'index':0,'text':'x'},{'index':1,'text':'y','finish_reason':'stop'}]}", false,
        "TEXT 0 answer x\nTEXT 1 answer y\nEND stop stop\n");
}
END_TEST

START_TEST(a_chunk_of_more_than_a_megabyte)
{
    struct request *req = decode(REQUEST_CHAT, CHAT);
    struct openai_decoder *d;
    static char block[65536];
    bool full;
    int r;

    recording_sink_init(&g_sink);
    d = openai_decoder_new(req, &g_sink.sink);
    ck_assert(d);
    memset(block, 'x', sizeof block);
    r = openai_decoder_feed(d, STR_LIT("data: {\"x\":\""), true, 0, &full, &g_problem);
    for (int i = 0; r == 0 && i < 20; i++) {
        r = openai_decoder_feed(d, (struct str) {block, sizeof block}, true, 0, &full, &g_problem);
    }
    ck_assert_int_eq(r, -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_GARBAGE);
    ck_assert_ptr_nonnull(strstr(g_problem.text, "1048576"));
    openai_decoder_free(d);
    request_free(req);
    recording_sink_done(&g_sink);
}
END_TEST

START_TEST(full_is_told_and_everything_is_delivered)
{
    struct request *req = decode(REQUEST_CHAT, CHAT);
    struct openai_decoder *d;
    bool full;

    recording_sink_init(&g_sink);
    d = openai_decoder_new(req, &g_sink.sink);
    ck_assert(d);
    ck_assert_int_eq(
        openai_decoder_feed(d, json(DELTA("'content':'a'")), true, 0, &full, &g_problem), 0);
    ck_assert(!full);
    g_sink.say_full = true;
    ck_assert_int_eq(openai_decoder_feed(d, json(DELTA("'content':'b'") DELTA("'content':'c'")),
                                         true, 0, &full, &g_problem),
                     0);
    ck_assert(full);
    ck_assert_int_eq(openai_decoder_feed(d, json(": x\n\n"), true, 0, &full, &g_problem), 0);
    ck_assert(!full);
    ck_assert_str_eq(recording_sink_text(&g_sink),
                     "TEXT 0 answer a\nTEXT 0 answer b\nTEXT 0 answer c\n");
    ck_assert_int_eq(openai_decoder_feed(d, json(DONE), true, 0, &full, &g_problem), 0);
    ck_assert(openai_decoder_is_over(d));
    /* what comes behind the end is not looked at */
    ck_assert_int_eq(openai_decoder_feed(d, json("data: rubbish\n\n"), true, 0, &full, &g_problem),
                     0);
    ck_assert_int_eq(openai_decoder_end(d, 0, &g_problem), 0);
    openai_decoder_free(d);
    request_free(req);
    recording_sink_done(&g_sink);
}
END_TEST

static struct request *g_req;
static struct str g_answer;

static void decode_answer(void)
{
    struct openai_decoder *d;
    bool full;
    int r;

    recording_sink_init(&g_sink);
    d = openai_decoder_new(g_req, &g_sink.sink);
    ck_assert(d || allocation_failed());
    if (d) {
        r = openai_decoder_feed(d, (struct str) {g_answer.ptr, 40}, true, 0, &full, &g_problem);
        if (r == 0) {
            r = openai_decoder_feed(d, (struct str) {g_answer.ptr + 40, g_answer.len - 40}, true, 0,
                                    &full, &g_problem);
        }
        r = r < 0 ? r : openai_decoder_end(d, 0, &g_problem);
        ck_assert(r == 0 || (r == -ENOMEM && allocation_failed()));
    }
    openai_decoder_free(d);
    recording_sink_done(&g_sink);
}

START_TEST(out_of_memory_anywhere)
{
    g_req = decode(REQUEST_CHAT, CHAT);
    g_answer = json(DELTA("'content':'a\\n'") CALL(
        "{'index':0,'id':'c','function':{'name':'f','arguments':'\\n'}}") STOP DONE);
    for_each_failed_allocation(decode_answer);
    request_free(g_req);
    g_req = decode(REQUEST_EMBED, EMBED);
    g_answer = json("{'data':[{'embedding':[1,2]},{'embedding':'AACA\\u0050w=='}]}");
    for_each_failed_allocation(decode_answer);
    request_free(g_req);
    ck_assert_ptr_null(openai_decoder_free(NULL));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_stream_of_ollama);
    tcase_add_test(tc, tokens_of_thinking);
    tcase_add_test(tc, chunks_that_are_alike);
    tcase_add_test(tc, chunks_that_only_look_alike);
    tcase_add_test(tc, fingerprint);
    tcase_add_test(tc, a_stream_of_llama_server);
    tcase_add_test(tc, a_stream_may_end_without_done);
    tcase_add_test(tc, a_cut_stream_is_cut);
    tcase_add_test(tc, garbage);
    tcase_add_test(tc, errors_inside_a_stream);
    tcase_add_test(tc, finish_reasons);
    tcase_add_test(tc, thinking);
    tcase_add_test(tc, refusals);
    tcase_add_test(tc, logprobs);
    tcase_add_test(tc, several_choices);
    tcase_add_test(tc, tool_calls_as_openai_sends_them);
    tcase_add_test(tc, tool_calls_as_others_send_them);
    tcase_add_test(tc, too_many_tool_calls);
    tcase_add_test(tc, completions);
    tcase_add_test(tc, a_chunk_of_more_than_a_megabyte);
    tcase_add_test(tc, full_is_told_and_everything_is_delivered);
    tcase_add_test(tc, out_of_memory_anywhere);
}
TEST_MAIN("openai_decode", add_tests)
