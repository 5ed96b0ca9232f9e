/*
 * openai_upstream.h: answers in one piece to events: messages, vectors, and what is wrong with
 * them. JSON is written with ' for ".
 */
#include "openai_decode_support.h"

START_TEST(a_body_instead_of_a_stream)
{
    static const char body[] =
        " {'choices':[{'finish_reason':'tool_calls','index':0,'message':{'role':'assistant',"
        "'reasoning_content':'hm','content':'a','tool_calls':[{'id':'c','type':'function',"
        "'function':{'name':'f','arguments':'{}'}}]}}],'usage':{'prompt_tokens':1,"
        "'completion_tokens':2,'total_tokens':3},'id':'x','object':'chat.completion'}\n";

    gives_events(REQUEST_CHAT, CHAT, body, false,
                 "TEXT 0 thinking hm\nTEXT 0 answer a\nTOOL_CALL 0 0 c f {}\nUSAGE 1 0 2\n"
                 "END tool_calls\n");
    gives_events(REQUEST_CHAT, CHAT, body, true, /* with the wrong Content-Type */
                 "TEXT 0 thinking hm\nTEXT 0 answer a\nTOOL_CALL 0 0 c f {}\nUSAGE 1 0 2\n"
                 "END tool_calls\n");
    gives_events(REQUEST_CHAT, CHAT, DELTA("'content':'a'") STOP, false,
                 "TEXT 0 answer a\nEND stop\n");
}
END_TEST

START_TEST(embeddings)
{
    gives_events(REQUEST_EMBED, EMBED,
                 "{'object':'list','data':[{'index':1,'embedding':[3,4e0]},{'index':0,'embedding':"
                 "[-1.5,2]}],'usage':{'prompt_tokens':5,'total_tokens':5}}",
                 false, "EMBEDDING 0 -1.5 2\nEMBEDDING 1 3 4\nUSAGE 5 0 0\nEND\n");
    /* without index: in order; base64 of 1.0f, 2.0f, with an escaped slash elsewhere */
    gives_events(REQUEST_EMBED, EMBED,
                 "{'data':[{'embedding':'AACAPwAAAEA='},{'embedding':'AACAPw\\u003d='}]}", true,
                 "EMBEDDING 0 1 2\nEMBEDDING 1 1\nEND\n");
    gives_events(REQUEST_EMBED, "{'model':'m','input':[1,2,3]}", "{'data':[{'embedding':[1]}]}",
                 false, "EMBEDDING 0 1\nEND\n");
}
END_TEST

/* The sink prints six digits; the exact values are compared by the fuzzer. */
START_TEST(numbers_in_every_form)
{
    gives_events(
        REQUEST_EMBED, "{'model':'m','input':'a'}",
        "{'data':[{'embedding':[0.013829439878463745,-0.013829439878463745,0,-0,1,-1,1.5e-05,"
        "123456789012345678901,0.000000000000000000000000123,12345678901234567890.5,"
        "0.12345678901234567890123456789]}]}",
        false,
        "EMBEDDING 0 0.0138294 -0.0138294 0 -0 1 -1 1.5e-05 1.23457e+20 1.23e-25 "
        "1.23457e+19 0.123457\nEND\n");
}
END_TEST

START_TEST(embeddings_that_are_wrong)
{
    static const struct {
        const char *body, *words;
    } table[] = {
        {"{'data':[{'index':0,'embedding':[1]}]}", "2 vectors"},
        {"{'data':[]}", "2 vectors"},
        {"{'data':{}}", "2 vectors"},
        {"{}", "2 vectors"},
        {"{'data':[{'index':0,'embedding':[1]},{'index':0,'embedding':[1]}]}", "taken"},
        {"{'data':[{'index':0,'embedding':[1]},{'index':2,'embedding':[1]}]}", "out of range"},
        {"{'data':[{'index':0,'embedding':[1]},{'index':'1','embedding':[1]}]}", "proper index"},
        {"{'data':[{'index':0,'embedding':[1]},{'index':1}]}", "missing"},
        {"{'data':[{'index':0,'embedding':[1]},7]}", "missing"},
        {"{'data':[{'embedding':[]},{'embedding':[1]}]}", "empty"},
        {"{'data':[{'embedding':[1]},{'embedding':['a']}]}", "something else than numbers"},
        {"{'data':[{'embedding':[1e40]},{'embedding':[1]}]}", "no float"},
        {"{'data':[{'embedding':7},{'embedding':[1]}]}", "neither"},
        {"{'data':[{'embedding':'!'},{'embedding':[1]}]}", "base64"},
        {"{'data':[{'embedding':'AACA'},{'embedding':[1]}]}", "base64"},
        {"{'data':[{'embedding':''},{'embedding':[1]}]}", "empty"},
        {"{'data':[{'embedding':'AACAfw=='},{'embedding':[1]}]}", "not finite"},
        {"data: {}\n\n", "not JSON"},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        fails(REQUEST_EMBED, EMBED, table[i].body, false, ERRCODE_UPSTREAM_GARBAGE, table[i].words);
    }
}
END_TEST

START_TEST(a_vector_of_too_many_dimensions)
{
    size_t n = 65537, at = 0;
    char *text = malloc(2 * n + 100);
    struct str bytes;

    ck_assert(text);
    at += (size_t) snprintf(text, 100, "{\"data\":[{\"embedding\":[0");
    for (size_t i = 1; i < n; i++) {
        memcpy(text + at, ",0", 2);
        at += 2;
    }
    at += (size_t) snprintf(text + at, 100, "]}]}");
    bytes = (struct str) {text, at};
    recording_sink_init(&g_sink);
    ck_assert_int_eq(answer(REQUEST_EMBED, "{'model':'m','input':'a'}", bytes, false, at),
                     -EBADMSG);
    ck_assert_ptr_nonnull(strstr(g_problem.text, "too many dimensions"));
    recording_sink_done(&g_sink);
    free(text);
}
END_TEST

START_TEST(a_body_of_more_than_64_megabytes)
{
    struct request *req = decode(REQUEST_EMBED, EMBED);
    struct openai_decoder *d;
    size_t n_block = 1024 * 1024;
    char *block = malloc(n_block);
    bool full;
    int r = 0, i;

    recording_sink_init(&g_sink);
    d = openai_decoder_new(req, &g_sink.sink);
    ck_assert(d && block);
    memset(block, 'x', n_block);
    for (i = 0; r == 0 && i < 66; i++) {
        r = openai_decoder_feed(d, (struct str) {block, n_block}, false, 0, &full, &g_problem);
    }
    ck_assert_int_eq(i, 65);
    ck_assert_int_eq(r, -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_GARBAGE);
    free(block);
    openai_decoder_free(d);
    request_free(req);
    recording_sink_done(&g_sink);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_body_instead_of_a_stream);
    tcase_add_test(tc, embeddings);
    tcase_add_test(tc, numbers_in_every_form);
    tcase_add_test(tc, embeddings_that_are_wrong);
    tcase_add_test(tc, a_vector_of_too_many_dimensions);
    tcase_add_test(tc, a_body_of_more_than_64_megabytes);
}
TEST_MAIN("openai_decode body", add_tests)
