/* openai_reply.h: events collected into one body, chat, completion or embeddings. */
#include "openai_answers.h"

#include <endian.h>
#include <errno.h>
#include <math.h>

#include "wire/base64.h"
#include "wire/openai_collect.h"

START_TEST(a_body)
{
    begin(REQUEST_CHAT, false, 65536);
    ck_assert_int_eq(text_on(0, CHANNEL_THINKING, "hm", NULL), 0);
    ck_assert_int_eq(text("caf\xc3"), 0);
    ck_assert_int_eq(text("\xa9 \""), 0);
    ck_assert_int_eq(usage(3, 1, 2), 0);
    ck_assert_str_eq(written(), "");
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    check_json();
    ck_assert_str_eq(written(), BODY_HEAD
                     "{'index':0,'message':{'role':'assistant','content':'caf\xc3\xa9 \\'',"
                     "'reasoning_content':'hm'},'logprobs':null,'finish_reason':'stop'}],"
                     "'usage':{'prompt_tokens':3,'completion_tokens':2,'total_tokens':5,"
                     "'prompt_tokens_details':{'cached_tokens':1}}}");
    end();
}
END_TEST

START_TEST(a_body_with_tool_calls)
{
    begin(REQUEST_CHAT, false, 65536);
    ck_assert_int_eq(call(0, "c1", "f", "{\"a\""), 0);
    ck_assert_int_eq(call(0, NULL, NULL, ":1}"), 0);
    ck_assert_int_eq(call(1, NULL, "g", ""), 0);
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    check_json();
    ck_assert_str_eq(
        written(), BODY_HEAD
        "{'index':0,'message':{'role':'assistant','content':null,'tool_calls':["
        "{'id':'c1','type':'function','function':{'name':'f','arguments':'{\\'a\\':1}'}},"
        "{'id':'call_r1_0_1','type':'function','function':{'name':'g','arguments':'{}'}}]},"
        "'logprobs':null,'finish_reason':'tool_calls'}],"
        "'usage':{'prompt_tokens':0,'completion_tokens':0,'total_tokens':0,"
        "'prompt_tokens_details':{'cached_tokens':0}}}");
    end();
}
END_TEST

START_TEST(tokens_of_thinking_are_told_where_known)
{
    begin(REQUEST_CHAT, false, 65536);
    ck_assert_int_eq(add((struct event) {.type = EVENT_USAGE, .usage = {5, 0, 7, 6}}), 0);
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    check_json();
    ck_assert_ptr_nonnull(strstr(written(),
                                 "'prompt_tokens_details':{'cached_tokens':0},"
                                 "'completion_tokens_details':{'reasoning_tokens':6}}}"));
    end();
}
END_TEST

START_TEST(a_refusal_stands_apart)
{
    begin(REQUEST_CHAT, false, 65536);
    ck_assert_int_eq(text_on(0, CHANNEL_REFUSAL, "I will", NULL), 0);
    ck_assert_int_eq(text_on(0, CHANNEL_REFUSAL, " not.", NULL), 0);
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    check_json();
    ck_assert_ptr_nonnull(strstr(
        written(), "{'role':'assistant','content':null,'refusal':'I will not.'},'logprobs':null"));
    again();
    ck_assert_int_eq(text("Well, "), 0);
    ck_assert_int_eq(text_on(0, CHANNEL_REFUSAL, "no", NULL), 0);
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    ck_assert_ptr_nonnull(strstr(written(), "'content':'Well, ','refusal':'no'}"));
    end();

    begin(REQUEST_COMPLETE, false, 65536); /* has no place for it */
    ck_assert_int_eq(text_on(0, CHANNEL_REFUSAL, "no", NULL), 0);
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    ck_assert_ptr_nonnull(strstr(written(), "'text':'no'"));
    end();
}
END_TEST

START_TEST(text_beside_tool_calls_is_kept)
{
    begin(REQUEST_CHAT, false, 65536);
    ck_assert_int_eq(text("I look."), 0);
    ck_assert_int_eq(call(0, "c1", "f", "{}"), 0);
    ck_assert_int_eq(over(FINISH_LENGTH, 1), 0);
    ck_assert_ptr_nonnull(strstr(written(), "'content':'I look.','tool_calls':["));
    end();
}
END_TEST

START_TEST(a_body_with_several_choices_and_logprobs)
{
    begin(REQUEST_CHAT, false, 65536);
    g_req->sampling.n_choices = 2;
    again();
    ck_assert_int_eq(text_on(1, CHANNEL_ANSWER, "b", "{\"content\":[1,2],\"refusal\":null}"), 0);
    ck_assert_int_eq(text_on(1, CHANNEL_ANSWER, "c", "{\"content\":[3]}"), 0);
    ck_assert_int_eq(text_on(1, CHANNEL_ANSWER, "d", "{\"content\":[]}"), 0);
    ck_assert_int_eq(over(FINISH_CONTENT_FILTER, 2), 0);
    check_json();
    ck_assert_ptr_nonnull(strstr(
        written(), "[{'index':0,'message':{'role':'assistant','content':''},'logprobs':null,"
                   "'finish_reason':'content_filter'},{'index':1,'message':{'role':'assistant',"
                   "'content':'bcd'},'logprobs':{'content':[1,2,3],'refusal':null},"
                   "'finish_reason':'content_filter'}]"));
    end();
}
END_TEST

START_TEST(a_completion_body)
{
    begin(REQUEST_COMPLETE, false, 65536);
    ck_assert_int_eq(
        text_on(0, CHANNEL_ANSWER, "a", "{\"tokens\":[\"a\"],\"token_logprobs\":[-1]}"), 0);
    ck_assert_int_eq(
        text_on(0, CHANNEL_ANSWER, "b", "{\"tokens\":[\"b\"],\"token_logprobs\":[-2]}"), 0);
    ck_assert_int_eq(over(FINISH_STOP, 1), 0);
    check_json();
    ck_assert_str_eq(
        written(),
        "{'id':'cmpl-r1','object':'text_completion','created':7,'model':'m/1','choices':["
        "{'index':0,'text':'ab','logprobs':{'tokens':['a','b'],'token_logprobs':[-1,-2],"
        "'top_logprobs':null,'text_offset':null},'finish_reason':'stop'}],"
        "'usage':{'prompt_tokens':0,'completion_tokens':0,'total_tokens':0,"
        "'prompt_tokens_details':{'cached_tokens':0}}}");
    end();
}
END_TEST

static int vector(uint32_t index, const float *values, size_t n)
{
    return add((struct event) {.type = EVENT_EMBEDDING, .embedding = {index, values, n}});
}

START_TEST(embeddings_as_numbers)
{
    static const float a[] = {0.1F, -0.25F, 0.0F, 1.0F, 1e-9F}, b[] = {2.0F};

    begin(REQUEST_EMBED, true, 65536); /* stream: embeddings never are */
    ck_assert_int_eq(vector(0, a, ARRAY_LEN(a)), 0);
    ck_assert_int_eq(vector(1, b, 1), 0);
    ck_assert_int_eq(usage(5, 0, 0), 0);
    ck_assert_int_eq(over(FINISH_STOP, 0), 0);
    check_json();
    ck_assert_str_eq(written(),
                     "{'object':'list','model':'m/1','data':["
                     "{'object':'embedding','index':0,'embedding':[0.1,-0.25,0.0,1,"
                     "9.99999972e-10]},{'object':'embedding','index':1,'embedding':[2]}],"
                     "'usage':{'prompt_tokens':5,'total_tokens':5}}");
    end();
}
END_TEST

START_TEST(embeddings_as_base64)
{
    float values[500];
    struct buf bytes;

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        values[i] = (float) i / 7 - 30;
    }
    begin(REQUEST_EMBED, false, 65536);
    g_req->wants_base64 = true;
    again();
    ck_assert_int_eq(vector(0, values, ARRAY_LEN(values)), 0);
    ck_assert_int_eq(over(FINISH_STOP, 0), 0);
    check_json();

    const char *text_of = written(), *from = strstr(text_of, "'embedding':'"), *to;

    ck_assert(from);
    from += strlen("'embedding':'");
    to = strchr(from, '\'');
    buf_init(&bytes, 65536);
    ck_assert_int_eq(base64_decode(&bytes, (struct str) {from, (size_t) (to - from)}), 0);
    ck_assert_uint_eq(bytes.len, sizeof values);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        uint32_t word;
        float back;

        memcpy(&word, buf_ptr(&bytes) + i * sizeof word, sizeof word);
        word = le32toh(word);
        memcpy(&back, &word, sizeof back);
        ck_assert_float_eq(back, values[i]);
    }
    buf_done(&bytes);
    end();
}
END_TEST

/* Every float that is written reads back as itself. */
START_TEST(floats_read_back_the_same)
{
    struct buf out;
    uint32_t bits = 1;

    buf_init(&out, 64);
    for (int i = 0; i < 300000; i++) {
        float v;
        double back;
        struct json_error error;

        bits = bits * 1664525 + 1013904223;
        if (i % 2 == 0) { /* the common case: magnitude from 2^-14 to 1 */
            bits = (bits & 0x807fffff) | (113 + bits % 14) << 23;
        }
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v)) {
            continue;
        }
        buf_clear(&out);
        ck_assert_int_eq(openai_write_float(&out, v), 0);
        ck_assert_int_eq(json_check(buf_str(&out), &error), 0);
        back = strtod(buf_z(&out), NULL);
        ck_assert_msg((float) back == v, "%a became %s", (double) v, buf_z(&out));
    }
    buf_clear(&out);
    ck_assert_int_eq(openai_write_float(&out, NAN), 0);
    ck_assert_int_eq(openai_write_float(&out, INFINITY), 0);
    ck_assert_str_is(buf_str(&out), "nullnull");
    buf_done(&out);
}
END_TEST

START_TEST(a_body_that_fails_writes_nothing)
{
    begin(REQUEST_CHAT, false, 65536);
    ck_assert_int_eq(text("x"), 0);
    ck_assert_int_eq(
        add((struct event) {.type = EVENT_FAILED, .failed = {.code = ERRCODE_QUEUE_FULL}}), 0);
    ck_assert_str_eq(written(), "");
    end();
}
END_TEST

START_TEST(what_is_collected_has_a_maximum)
{
    static const float values[64] = {0};

    begin(REQUEST_CHAT, false, 10);
    ck_assert_int_eq(text("12345"), 0);
    ck_assert_int_eq(text_on(0, CHANNEL_THINKING, "12345", NULL), 0);
    ck_assert_int_eq(text("6"), -ENOBUFS);
    end();
    begin(REQUEST_CHAT, false, 10);
    ck_assert_int_eq(call(0, "c", "f", ""), -ENOBUFS);
    end();
    begin(REQUEST_CHAT, false, 10);
    ck_assert_int_eq(text_on(0, CHANNEL_ANSWER, "1234", "{\"content\":[12345678]}"), -ENOBUFS);
    end();
    begin(REQUEST_EMBED, false, 100);
    ck_assert_int_eq(vector(0, values, ARRAY_LEN(values)), -ENOBUFS);
    end();
    begin(REQUEST_CHAT, true, 10);
    buf_done(&g_out);
    buf_init(&g_out, 20);
    ck_assert_int_eq(text("x"), -ENOBUFS);
    end();
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_body);
    tcase_add_test(tc, a_body_with_tool_calls);
    tcase_add_test(tc, tokens_of_thinking_are_told_where_known);
    tcase_add_test(tc, a_refusal_stands_apart);
    tcase_add_test(tc, text_beside_tool_calls_is_kept);
    tcase_add_test(tc, a_body_with_several_choices_and_logprobs);
    tcase_add_test(tc, a_completion_body);
    tcase_add_test(tc, embeddings_as_numbers);
    tcase_add_test(tc, embeddings_as_base64);
    tcase_add_test(tc, floats_read_back_the_same);
    tcase_add_test(tc, a_body_that_fails_writes_nothing);
    tcase_add_test(tc, what_is_collected_has_a_maximum);
}

TEST_MAIN("openai_body", add_tests)
