/*
 * Rerank and classify in OpenAI's dialect, from the client's body to the model server's and back:
 * openai_request.h, openai_upstream.h, openai_reply.h. JSON is written with ' for ".
 */
#include "openai_answers.h"
#include "openai_client.h"

#define RANK  "{'model':'m','query':'q','documents':['a','b','c']}"
#define CLASS "{'model':'m','input':['a','b']}"

/* ---- requests */

static int try_decode(enum request_kind kind, struct str body, struct request **ret)
{
    *ret = request_new(kind, BUDGET);
    ck_assert(*ret);
    return openai_decode_request(*ret, body, &g_problem);
}

static void refused(enum request_kind kind, const char *body, const char *param, const char *words)
{
    struct request *req;

    ck_assert_msg(try_decode(kind, json(body), &req) == -EBADMSG, "%s", body);
    ck_assert_int_eq(g_problem.code, ERRCODE_INVALID_REQUEST);
    ck_assert_msg(strcmp(g_problem.param, param) == 0, "%s: '%s'", body, g_problem.param);
    ck_assert_msg(strstr(g_problem.text, words) != NULL, "%s: '%s'", body, g_problem.text);
    request_free(req);
}

START_TEST(a_rerank_request)
{
    struct request *req =
        decode(REQUEST_RERANK, "{'model':'m','query':'w\\u00e4s','documents':['a',{'text':'b\\n'}],"
                               "'top_n':1,'return_documents':true,'service_tier':'flex','x':1}");

    ck_assert_str_is(req->query, "w\xc3\xa4s");
    ck_assert_uint_eq(req->n_inputs, 2);
    ck_assert_str_is(req->inputs[0], "a");
    ck_assert_str_is(req->inputs[1], "b\n");
    ck_assert_uint_eq(req->top_n, 1);
    ck_assert(!req->is_raw_only && req->class == CLASS_BATCH);
    ck_assert_uint_eq(openai_count_answers(req), 2);
    request_free(req);
}
END_TEST

START_TEST(documents_that_only_the_server_understands)
{
    static const struct {
        const char *body, *param;
        size_t n;
    } all[] = {
        {"{'model':'m','query':'q','documents':['a',{'title':'t','text':'b'}]}", "documents", 2},
        {"{'model':'m','query':'q','documents':[{'image':'x'}],'top_n':null}", "documents", 1},
        {"{'model':'m','query':'q','documents':{'content':[{},{},{}]}}", "documents", 3},
        {"{'model':'m','query':{'content':[]},'documents':['a']}", "query", 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct request *req = decode(REQUEST_RERANK, all[i].body);

        ck_assert(req->is_raw_only);
        ck_assert_str_eq(req->raw_only_param, all[i].param);
        ck_assert_uint_eq(openai_count_answers(req), all[i].n);
        request_free(req);
    }
}
END_TEST

START_TEST(rerank_requests_that_are_refused)
{
    static const struct {
        const char *members, *param, *words;
    } all[] = {
        {"'documents':['a']", "query", "required"},
        {"'documents':['a'],'query':''", "query", "required"},
        {"'documents':['a'],'query':null", "query", "required"},
        {"'documents':['a'],'query':7", "query", "a string"},
        {"'documents':['a'],'query':['q']", "query", "a string"},
        {"'query':'q'", "documents", "required"},
        {"'query':'q','texts':['a']", "documents", "required"},
        {"'query':'q','documents':[]", "documents", "empty"},
        {"'query':'q','documents':'a'", "documents", "an array"},
        {"'query':'q','documents':['a',7]", "documents[1]", "a string or an object"},
        {"'query':'q','documents':['a',null]", "documents[1]", "a string or an object"},
        {"'query':'q','documents':[['a']]", "documents[0]", "a string or an object"},
        {"'query':'q','documents':{}", "documents.content", "1 to"},
        {"'query':'q','documents':{'content':7}", "documents.content", "an array"},
        {"'query':'q','documents':['a'],'top_n':-1", "top_n", "between"},
        {"'query':'q','documents':['a'],'top_n':1.5", "top_n", "fraction"},
        {"'query':'q','documents':['a'],'top_n':'1'", "top_n", "integer"},
        {"'query':'q','documents':['a'],'top_n':1e300", "top_n", "between"},
        {"'query':'q','documents':['a'],'return_documents':1", "return_documents", "a boolean"},
    };
    char body[256];

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        (void) snprintf(body, sizeof body, "{'model':'m',%s}", all[i].members);
        refused(REQUEST_RERANK, body, all[i].param, all[i].words);
    }
    refused(REQUEST_RERANK, "{'query':'q','documents':['a']}", "model", "required");
}
END_TEST

/* n documents, each one the element. */
static struct str many(const char *before, const char *element, size_t n, const char *after)
{
    static char text[REQUEST_MAX_INPUTS * 16];
    size_t at = (size_t) snprintf(text, sizeof text, "%s", before);

    for (size_t i = 0; i < n; i++) {
        at += (size_t) snprintf(text + at, sizeof text - at, "%s%s", i > 0 ? "," : "", element);
    }
    (void) snprintf(text + at, sizeof text - at, "%s", after);
    return json(text);
}

START_TEST(how_many_documents)
{
    static const struct {
        enum request_kind kind;
        const char *before, *element, *after, *param;
    } all[] = {
        {REQUEST_RERANK, "{'model':'m','query':'q','documents':[", "'a'", "]}", "documents"},
        {REQUEST_RERANK, "{'model':'m','query':'q','documents':[", "{}", "]}", "documents"},
        {REQUEST_RERANK, "{'model':'m','query':'q','documents':{'content':[", "{}", "]}}",
         "documents.content"},
        {REQUEST_CLASSIFY, "{'model':'m','input':[", "'a'", "]}", "input"},
        {REQUEST_CLASSIFY, "{'model':'m','input':[", "[1]", "]}", "input"},
    };
    struct request *req;

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct str body = many(all[i].before, all[i].element, REQUEST_MAX_INPUTS, all[i].after);

        ck_assert_int_eq(try_decode(all[i].kind, body, &req), 0);
        ck_assert_uint_eq(openai_count_answers(req), REQUEST_MAX_INPUTS);
        request_free(req);
        body = many(all[i].before, all[i].element, REQUEST_MAX_INPUTS + 1, all[i].after);
        ck_assert_int_eq(try_decode(all[i].kind, body, &req), -EBADMSG);
        ck_assert_str_eq(g_problem.param, all[i].param);
        request_free(req);
    }
}
END_TEST

START_TEST(a_classify_request)
{
    struct request *req = decode(REQUEST_CLASSIFY, "{'model':'m','input':'caf\\u00e9'}");

    ck_assert_uint_eq(req->n_inputs, 1);
    ck_assert_str_is(req->inputs[0], "caf\xc3\xa9");
    ck_assert(!req->is_raw_only);
    request_free(req);
    req = decode(REQUEST_CLASSIFY, "{'model':'m','input':[[1,2],[3]]}");
    ck_assert(req->is_raw_only);
    ck_assert_uint_eq(openai_count_answers(req), 2);
    request_free(req);
    req = decode(REQUEST_CLASSIFY, "{'model':'m','messages':[{'role':'user','content':'x'}]}");
    ck_assert_str_eq(req->raw_only_param, "messages");
    ck_assert_uint_eq(openai_count_answers(req), 1);
    request_free(req);
    refused(REQUEST_CLASSIFY, "{'model':'m'}", "input", "required");
    refused(REQUEST_CLASSIFY, "{'model':'m','messages':'x'}", "input", "required");
    refused(REQUEST_CLASSIFY, "{'model':'m','input':[]}", "input", "empty");
    refused(REQUEST_CLASSIFY, "{'model':'m','input':7}", "input", "a string or an array");
    refused(REQUEST_CLASSIFY, "{'model':'m','input':['a',true]}", "input[1]", "strings");
}
END_TEST

/* ---- on their way to a server */

static void encodes(struct request *req, const char *want)
{
    struct kv defaults = {0};
    struct openai_target target = {.model = "up", .defaults = &defaults};
    struct json_error error;
    struct buf out;

    ck_assert_int_eq(kv_set(&defaults, str_from("temperature"), str_from("0.5")), 0);
    ck_assert_int_eq(kv_set(&defaults, str_from("query"), str_from("\"theirs\"")), 0);
    ck_assert_int_eq(kv_set(&defaults, str_from("truncate_prompt_tokens"), str_from("7")), 0);
    buf_init(&out, BUDGET);
    ck_assert_int_eq(openai_encode_request(req, &target, &out, &g_problem), 0);
    ck_assert_int_eq(json_check(buf_str(&out), &error), 0);

    struct str text = json(want);

    ck_assert_msg(str_is_equal(buf_str(&out), text), "is\n%s, not\n%s", buf_z(&out), text.ptr);
    buf_done(&out);
    kv_done(&defaults);
    request_free(req);
}

START_TEST(a_body_is_spliced)
{
    encodes(decode(REQUEST_RERANK, "{ 'query' : 'w\\u00e4s', 'documents': ['a', 'b\\u0041'], "
                                   "'model':'m','top_n':2,'return_documents':true,'x':[1E+2],"
                                   "'stream':true,'stream_options':{},'cache':{}}"),
            "{'model':'up','query':'w\\u00e4s','documents':['a','b\\u0041'],'top_n':2,"
            "'return_documents':true,'x':[1E+2],'truncate_prompt_tokens':7}");
    encodes(decode(REQUEST_CLASSIFY, "{'input': ['a', 'b'],'model':'m','stream':false,'x':null,"
                                     "'truncate_prompt_tokens':1}"),
            "{'model':'up','input':['a', 'b'],'x':null,'truncate_prompt_tokens':1}");
}
END_TEST

START_TEST(objects_of_a_text_become_the_text)
{
    encodes(decode(REQUEST_RERANK,
                   "{'model':'m','query':'q','documents':[{'text':'a\\n'},'b',{'text':'c'}]}"),
            "{'model':'up','query':'q','documents':['a\\n','b','c'],'truncate_prompt_tokens':7}");
    encodes(decode(REQUEST_RERANK, "{'model':'m','query':'q','documents':"
                                   "[{'text':'a'},{'text':'b','id':1},{'image':'x'}]}"),
            "{'model':'up','query':'q','documents':['a',{'text':'b','id':1},{'image':'x'}],"
            "'truncate_prompt_tokens':7}");
    encodes(decode(REQUEST_RERANK, "{'model':'m','query':'q','documents':{ 'content':[{}] }}"),
            "{'model':'up','query':'q','documents':{ 'content':[{}] },"
            "'truncate_prompt_tokens':7}");
}
END_TEST

/* vLLM takes 0 for all, llama-server for none. */
START_TEST(a_top_n_of_zero_is_not_passed_on)
{
    encodes(decode(REQUEST_RERANK, "{'model':'m','query':'q','documents':['a'],'top_n':0}"),
            "{'model':'up','query':'q','documents':['a'],'truncate_prompt_tokens':7}");
    encodes(decode(REQUEST_RERANK, "{'model':'m','query':'q','documents':['a'],'top_n':null}"),
            "{'model':'up','query':'q','documents':['a'],'truncate_prompt_tokens':7}");
}
END_TEST

START_TEST(a_neutral_request_is_written)
{
    struct request *req = decode(REQUEST_RERANK, RANK);

    req->dialect = DIALECT_NONE;
    req->n_members = 0;
    req->top_n = 2;
    req->extra = STR_LIT("{\"return_documents\":true,\"documents\":[],\"top_n\":9}");
    encodes(req, "{'model':'up','query':'q','documents':['a','b','c'],'top_n':2,"
                 "'return_documents':true,'truncate_prompt_tokens':7}");
    req = decode(REQUEST_CLASSIFY, CLASS);
    req->dialect = DIALECT_NONE;
    req->n_members = 0;
    encodes(req, "{'model':'up','input':['a','b'],'truncate_prompt_tokens':7}");
}
END_TEST

/* ---- answers */

static struct recording_sink g_sink;

static int answer(enum request_kind kind, const char *body, struct str bytes, size_t step)
{
    struct request *req = decode(kind, body);
    struct openai_decoder *d;
    bool full;
    int r = 0;

    recording_sink_init(&g_sink);
    d = openai_decoder_new(req, &g_sink.sink);
    ck_assert(d);
    for (size_t at = 0; r == 0 && at < bytes.len; at += step) {
        struct str piece = {bytes.ptr + at, bytes.len - at < step ? bytes.len - at : step};

        r = openai_decoder_feed(d, piece, false, 0, &full, &g_problem);
    }
    r = r < 0 ? r : openai_decoder_end(d, 0, &g_problem);
    openai_decoder_free(d);
    request_free(req);
    return r;
}

static void tells(enum request_kind kind, const char *body, const char *text, const char *want)
{
    for (size_t step = 1; step < 200; step += 63) {
        int r = answer(kind, body, json(text), step);

        ck_assert_msg(r == 0, "%s: %s", text, g_problem.text);
        ck_assert_str_eq(recording_sink_text(&g_sink), json(want).ptr);
        recording_sink_done(&g_sink);
    }
}

static void fails(enum request_kind kind, const char *body, const char *text, const char *words)
{
    ck_assert_msg(answer(kind, body, json(text), 4096) == -EBADMSG, "%s", text);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_GARBAGE);
    ck_assert_msg(strstr(g_problem.text, words) != NULL, "%s: '%s'", text, g_problem.text);
    ck_assert_str_eq(recording_sink_text(&g_sink), "");
    recording_sink_done(&g_sink);
}

START_TEST(ranks_of_each_server)
{
    /* vLLM */
    tells(REQUEST_RERANK, RANK,
          "{'id':'rerank-1','model':'up','usage':{'total_tokens':56},'results':["
          "{'index':1,'document':{'text':'b','multi_modal':null},'relevance_score':0.9},"
          "{'index':0,'document':{'text':'a'},'relevance_score':0.5},"
          "{'index':2,'document':{'text':'c'},'relevance_score':1e-05}]}",
          "RESULT 1 0.9 {'index':1,'document':{'text':'b','multi_modal':null},"
          "'relevance_score':0.9}\n"
          "RESULT 0 0.5 {'index':0,'document':{'text':'a'},'relevance_score':0.5}\n"
          "RESULT 2 1e-05 {'index':2,'document':{'text':'c'},'relevance_score':1e-05}\n"
          "USAGE 56 0 0\nEND\n");
    /* llama-server: raw logits; older ones do not sort, and equal scores keep their order */
    tells(REQUEST_RERANK, RANK,
          "{'model':'rank','object':'list','usage':{'prompt_tokens':80,'total_tokens':80},"
          "'results':[{'index':0,'relevance_score':-0.5},{'index':2,'relevance_score':2},"
          "{'index':1,'relevance_score':-0.5}]}",
          "RESULT 2 2 {'index':2,'relevance_score':2}\n"
          "RESULT 0 -0.5 {'index':0,'relevance_score':-0.5}\n"
          "RESULT 1 -0.5 {'index':1,'relevance_score':-0.5}\nUSAGE 80 0 0\nEND\n");
    /* Cohere, Jina, Voyage */
    tells(REQUEST_RERANK, RANK,
          "{'results':[{'index':0,'relevance_score':1}],'meta':{'billed_units':{'search_units':1},"
          "'tokens':{'input_tokens':9,'output_tokens':1}}}",
          "RESULT 0 1 {'index':0,'relevance_score':1}\nUSAGE 9 0 1\nEND\n");
    tells(REQUEST_RERANK, RANK,
          "{'results':[{'index':0,'relevance_score':1}],'meta':{'billed_units':"
          "{'total_tokens':7}}}",
          "RESULT 0 1 {'index':0,'relevance_score':1}\nUSAGE 7 0 0\nEND\n");
    tells(REQUEST_RERANK, RANK,
          "{'object':'list','data':[{'relevance_score':0.5,'index':2}],"
          "'usage':{'total_tokens':26}}",
          "RESULT 2 0.5 {'relevance_score':0.5,'index':2}\nUSAGE 26 0 0\nEND\n");
    tells(REQUEST_RERANK, RANK, "{'results':[{'index':1,'score':0.25}]}",
          "RESULT 1 0.25 {'index':1,'score':0.25}\nEND\n");
    tells(REQUEST_RERANK, RANK, "{'results':[],'usage':null,'meta':null}", "END\n");
}
END_TEST

START_TEST(no_more_than_were_asked_for)
{
    tells(REQUEST_RERANK, "{'model':'m','query':'q','documents':['a','b','c'],'top_n':1}",
          "{'results':[{'index':0,'relevance_score':1},{'index':1,'relevance_score':2},"
          "{'index':2,'relevance_score':0}]}",
          "RESULT 1 2 {'index':1,'relevance_score':2}\nEND\n");
    tells(REQUEST_RERANK, "{'model':'m','query':'q','documents':['a'],'top_n':99}",
          "{'results':[{'index':0,'relevance_score':1}]}",
          "RESULT 0 1 {'index':0,'relevance_score':1}\nEND\n");
}
END_TEST

START_TEST(ranks_that_are_wrong)
{
    static const struct {
        const char *text, *words;
    } all[] = {
        {"{}", "no list"},
        {"{'results':null}", "no list"},
        {"{'results':{}}", "no list"},
        {"{'results':'x'}", "no list"},
        {"[{'index':0,'relevance_score':1}]", "not a JSON object"},
        {"{'results':[7]}", "index"},
        {"{'results':[{'relevance_score':1}]}", "no proper index"},
        {"{'results':[{'index':'0','relevance_score':1}]}", "no proper index"},
        {"{'results':[{'index':0.5,'relevance_score':1}]}", "no proper index"},
        {"{'results':[{'index':-1,'relevance_score':1}]}", "out of range"},
        {"{'results':[{'index':3,'relevance_score':1}]}", "out of range"},
        {"{'results':[{'index':4294967296,'relevance_score':1}]}", "out of range"},
        {"{'results':[{'index':99999999999999999999,'relevance_score':1}]}", "index"},
        {"{'results':[{'index':0,'relevance_score':1},{'index':0,'relevance_score':2}]}",
         "result 1 has an index that is out of range or taken"},
        {"{'results':[{'index':0}]}", "no relevance"},
        {"{'results':[{'index':0,'relevance_score':'1'}]}", "no relevance"},
        {"{'results':[{'index':0,'relevance_score':null}]}", "no relevance"},
        {"{'results':[{'index':0,'relevance_score':1e999}]}", "no relevance"},
        {"{'results':[{'index':0,'relevance_score':NaN}]}", "not JSON"},
        {"{'results':[{},{},{},{}]}", "4 results to 3 inputs"},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        fails(REQUEST_RERANK, RANK, all[i].text, all[i].words);
    }
}
END_TEST

START_TEST(a_million_results)
{
    const size_t n = 1000000;
    char *text = malloc(3 * n + 64);
    size_t at;

    ck_assert(text);
    at = (size_t) snprintf(text, 64, "{\"results\":[{}");
    for (size_t i = 1; i < n; i++, at += 3) {
        memcpy(text + at, ",{}", 3);
    }
    memcpy(text + at, "]}", 2);
    ck_assert_int_eq(answer(REQUEST_RERANK, RANK, (struct str) {text, at + 2}, 65536), -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_GARBAGE);
    ck_assert_ptr_nonnull(strstr(g_problem.text, "1000000 results to 3 inputs"));
    recording_sink_done(&g_sink);
    memcpy(text, "{\"data\":   [{}", 13);
    ck_assert_int_eq(
        answer(REQUEST_CLASSIFY, "{'model':'m','input':'a'}", (struct str) {text, at + 2}, 65536),
        -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_GARBAGE);
    recording_sink_done(&g_sink);
    free(text);
}
END_TEST

START_TEST(classes)
{
    tells(REQUEST_CLASSIFY, CLASS,
          "{'id':'classify-1','object':'list','created':7,'model':'up','data':["
          "{'index':1,'label':'Negative','probs':[0.25,0.75],'num_classes':2},"
          "{'index':0,'label':null,'probs':[0.625,0.375],'num_classes':2}],"
          "'usage':{'prompt_tokens':12,'total_tokens':12,'completion_tokens':0,"
          "'prompt_tokens_details':null}}",
          "RESULT 0 0.625 {'index':0,'label':null,'probs':[0.625,0.375],'num_classes':2}\n"
          "RESULT 1 0.75 {'index':1,'label':'Negative','probs':[0.25,0.75],'num_classes':2}\n"
          "USAGE 12 0 0\nEND\n");
    /* token classifiers: members of their own, or lists of entities */
    tells(REQUEST_CLASSIFY, CLASS,
          "{'data':[[{'entity':'B-PER','index':4}],{'entities':[],'score':0.5}]}",
          "RESULT 0 0 [{'entity':'B-PER','index':4}]\nRESULT 1 0.5 {'entities':[],'score':0.5}\n"
          "END\n");
    /* one input: everything is about it, and an index is that of a token */
    tells(REQUEST_CLASSIFY, "{'model':'m','input':'Ada in Paris'}",
          "{'data':[{'entity':'B-PER','index':1,'score':0.5},{'entity':'B-LOC','index':3}]}",
          "RESULT 0 0.5 {'entity':'B-PER','index':1,'score':0.5}\n"
          "RESULT 0 0 {'entity':'B-LOC','index':3}\nEND\n");
    tells(REQUEST_CLASSIFY, "{'model':'m','input':'a'}", "{'data':[]}", "END\n");
}
END_TEST

START_TEST(classes_that_are_wrong)
{
    static const struct {
        const char *text, *words;
    } all[] = {
        {"{}", "no list"},
        {"{'data':{}}", "no list"},
        {"{'data':[]}", "0 results to 2 inputs"},
        {"{'data':[{}]}", "1 results to 2 inputs"},
        {"{'data':[{},{},{}]}", "3 results to 2 inputs"},
        {"{'data':[{'index':0},{'index':0}]}", "taken"},
        {"{'data':[{'index':0},{'index':2}]}", "out of range"},
        {"{'data':[{'index':1},{}]}", "taken"},
        {"{'data':[{'index':'0'},{}]}", "no proper index"},
        {"{'data':[7,{}]}", "neither an object nor a list"},
        {"{'data':['a','b']}", "neither an object nor a list"},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        fails(REQUEST_CLASSIFY, CLASS, all[i].text, all[i].words);
    }
    fails(REQUEST_CLASSIFY, "{'model':'m','input':'a'}", "{'data':[{},7]}", "result 1 is neither");
}
END_TEST

START_TEST(an_error_with_status_200)
{
    ck_assert_int_eq(answer(REQUEST_RERANK, RANK,
                            json("{'error':{'message':'no','type':'BadRequestError','code':400}}"),
                            9),
                     -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_REJECTED);
    recording_sink_done(&g_sink);
    ck_assert_int_eq(answer(REQUEST_RERANK, RANK, json("{'results':[{'index':0"), 9), -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_CUT);
    recording_sink_done(&g_sink);
}
END_TEST

/* ---- back to the client */

static int result(uint32_t index, double score, const char *text)
{
    return add((struct event) {.type = EVENT_RESULT, .result = {index, score, json(text)}});
}

static void begin_with(enum request_kind kind, const char *body)
{
    begin(kind, true, 65536); /* stream: only text is */
    g_req = request_free(g_req);
    g_req = decode(kind, body);
    again();
}

START_TEST(ranks_as_all_clients_read_them)
{
    begin_with(REQUEST_RERANK, RANK);
    ck_assert_int_eq(result(1, 0.5,
                            "{'index':1,'relevance_score':0.50,'document':{'text':'b'},"
                            "'x\\u0041':[1]}"),
                     0);
    ck_assert_int_eq(result(0, 0.25, "{'score':0.25,'index':0,'document':null}"), 0);
    ck_assert_int_eq(usage(5, 0, 1), 0);
    ck_assert_str_eq(written(), "");
    ck_assert_int_eq(over(FINISH_STOP, 0), 0);
    check_json();
    ck_assert_str_eq(written(),
                     "{'id':'rerank-r1','object':'list','created':7,'model':'m','results':["
                     "{'index':1,'relevance_score':0.50,'x\\u0041':[1],'document':{'text':'b'}},"
                     "{'index':0,'relevance_score':0.25,'score':0.25}],"
                     "'usage':{'prompt_tokens':5,'total_tokens':5},"
                     "'meta':{'billed_units':{'total_tokens':6},'tokens':{'input_tokens':5,"
                     "'output_tokens':1}}}");
    end();
}
END_TEST

START_TEST(documents_come_back_as_asked)
{
    begin_with(REQUEST_RERANK, "{'model':'m','query':'q','return_documents':true,"
                               "'documents':['a\\n',{'text':'b'},{'title':'c','text':'d'},'e']}");
    ck_assert_int_eq(result(0, 1, "{'index':0,'relevance_score':1}"), 0);
    ck_assert_int_eq(result(1, 1, "{'index':1,'relevance_score':1,'document':null}"), 0);
    ck_assert_int_eq(result(2, 1, "{'index':2,'relevance_score':1}"), 0);
    ck_assert_int_eq(result(3, 1, "{'index':3,'relevance_score':1,'document':'theirs'}"), 0);
    ck_assert_int_eq(over(FINISH_STOP, 0), 0);
    check_json();
    ck_assert_ptr_nonnull(
        strstr(written(), "[{'index':0,'relevance_score':1,'document':{'text':'a\\n'}},"
                          "{'index':1,'relevance_score':1,'document':{'text':'b'}},"
                          "{'index':2,'relevance_score':1,'document':{'title':'c','text':'d'}},"
                          "{'index':3,'relevance_score':1,'document':'theirs'}]"));
    end();
    begin_with(REQUEST_RERANK,
               "{'model':'m','query':'q','return_documents':false,'documents':['a']}");
    ck_assert_int_eq(
        result(0, 1, "{'\\u0069ndex':0,'relevance_score':1,'d\\u006fcument':{'text':'a'}}"), 0);
    ck_assert_int_eq(over(FINISH_STOP, 0), 0);
    check_json();
    ck_assert_ptr_nonnull(strstr(written(), "'results':[{'index':0,'relevance_score':1}]"));
    end();
}
END_TEST

START_TEST(classes_as_the_server_wrote_them)
{
    begin_with(REQUEST_CLASSIFY, CLASS);
    ck_assert_int_eq(result(0, 0.5, "{'index':0, 'label':'x','probs':[5e-1]}"), 0);
    ck_assert_int_eq(result(1, 0, "[]"), 0);
    ck_assert_int_eq(usage(5, 0, 0), 0);
    ck_assert_int_eq(over(FINISH_STOP, 0), 0);
    check_json();
    ck_assert_str_eq(written(), "{'id':'classify-r1','object':'list','created':7,'model':'m',"
                                "'data':[{'index':0, 'label':'x','probs':[5e-1]},[]],"
                                "'usage':{'prompt_tokens':5,'total_tokens':5}}");
    end();
}
END_TEST

START_TEST(what_is_collected_is_bounded)
{
    static char big[4096];
    int r = 0;

    (void) snprintf(big, sizeof big, "{'index':0,'relevance_score':1,'x':'%04000d'}", 0);
    for (enum request_kind kind = REQUEST_RERANK; kind <= REQUEST_CLASSIFY; kind++) {
        begin(kind, false, 10000);
        for (r = 0; r == 0;) {
            r = result(0, 1, big);
        }
        ck_assert_int_eq(r, -ENOBUFS);
        end();
    }
}
END_TEST

/* ---- memory */

static struct request *g_asked;
static const char *g_text;

static void take_answer(void)
{
    struct openai_decoder *d;
    bool full;
    int r;

    recording_sink_init(&g_sink);
    d = openai_decoder_new(g_asked, &g_sink.sink);
    if (d) {
        r = openai_decoder_feed(d, json(g_text), false, 0, &full, &g_problem);
        r = r < 0 ? r : openai_decoder_end(d, 0, &g_problem);
        ck_assert(r == 0 || (r == -ENOMEM && allocation_failed()));
    }
    openai_decoder_free(d);
    recording_sink_done(&g_sink);
}

static void take_request(void)
{
    struct request *req = request_new(REQUEST_RERANK, BUDGET);
    struct openai_reply *reply = NULL;

    if (req) {
        int r = openai_decode_request(
            req,
            json("{'model':'m','query':'\\n','documents':['a\\n',{'text':'b'}],"
                 "'return_documents':true}"),
            &g_problem);

        ck_assert(r == 0 || (r == -ENOMEM && allocation_failed()));
        reply = r == 0 ? openai_reply_new(req, 7, 65536) : NULL;
        ck_assert(r < 0 || reply || allocation_failed());
    }
    openai_reply_free(reply);
    request_free(req);
}

START_TEST(out_of_memory_anywhere)
{
    for_each_failed_allocation(take_request);
    g_asked = decode(REQUEST_RERANK, RANK);
    g_text = "{'results':[{'index':0,'relevance_score':1},{'index':1,'relevance_score':2}]}";
    for_each_failed_allocation(take_answer);
    request_free(g_asked);
    g_asked = decode(REQUEST_CLASSIFY, CLASS);
    g_text = "{'data':[{'probs':[1]},{}]}";
    for_each_failed_allocation(take_answer);
    request_free(g_asked);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_rerank_request);
    tcase_add_test(tc, documents_that_only_the_server_understands);
    tcase_add_test(tc, rerank_requests_that_are_refused);
    tcase_add_test(tc, how_many_documents);
    tcase_add_test(tc, a_classify_request);
    tcase_add_test(tc, a_body_is_spliced);
    tcase_add_test(tc, objects_of_a_text_become_the_text);
    tcase_add_test(tc, a_top_n_of_zero_is_not_passed_on);
    tcase_add_test(tc, a_neutral_request_is_written);
    tcase_add_test(tc, ranks_of_each_server);
    tcase_add_test(tc, no_more_than_were_asked_for);
    tcase_add_test(tc, ranks_that_are_wrong);
    tcase_add_test(tc, a_million_results);
    tcase_add_test(tc, classes);
    tcase_add_test(tc, classes_that_are_wrong);
    tcase_add_test(tc, an_error_with_status_200);
    tcase_add_test(tc, ranks_as_all_clients_read_them);
    tcase_add_test(tc, documents_come_back_as_asked);
    tcase_add_test(tc, classes_as_the_server_wrote_them);
    tcase_add_test(tc, what_is_collected_is_bounded);
    tcase_add_test(tc, out_of_memory_anywhere);
}

TEST_MAIN("openai_rerank", add_tests)
