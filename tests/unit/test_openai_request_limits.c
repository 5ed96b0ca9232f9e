/* openai_request.h: how much a body may hold, and what happens when memory ends. */
#include "openai_bodies.h"

/* n times the element, separated by commas, between head and tail. */
static struct str repeat(const char *head, const char *element, size_t n, const char *tail)
{
    size_t at = strlen(head);

    (void) json(head);
    for (size_t i = 0; i < n; i++) {
        int k = snprintf(g_text + at, sizeof g_text - at, "%s%s", i > 0 ? "," : "", element);

        ck_assert(k > 0 && at + (size_t) k < sizeof g_text);
        at += (size_t) k;
    }
    at += (size_t) snprintf(g_text + at, sizeof g_text - at, "%s", tail);
    return (struct str) {g_text, at};
}

static void limit(enum request_kind kind, const char *head, const char *element, size_t max,
                  const char *tail, const char *param)
{
    struct request *req;

    ck_assert_int_eq(try_decode(kind, repeat(head, element, max, tail), &req), 0);
    request_free(req);
    ck_assert_int_eq(try_decode(kind, repeat(head, element, max + 1, tail), &req), -EBADMSG);
    ck_assert_str_eq(g_problem.param, param);
    request_free(req);
}

START_TEST(every_limit_is_reached)
{
    limit(REQUEST_CHAT, "{'model':'m','messages':[", "{\"role\":\"user\"}", OPENAI_MAX_MESSAGES,
          "]}", "messages");
    limit(REQUEST_CHAT, "{'model':'m','messages':[{'role':'user','content':[", "\"x\"", 4096,
          "]}]}", "messages[0].content");
    limit(REQUEST_CHAT, "{'model':'m','messages':[{'role':'user','tool_calls':[",
          "{\"function\":{\"name\":\"f\"}}", OPENAI_MAX_TOOL_CALLS, "]}]}",
          "messages[0].tool_calls");
    limit(REQUEST_CHAT, "{'model':'m','messages':[{'role':'user'}],'tools':[",
          "{\"function\":{\"name\":\"f\"}}", 1024, "]}", "tools");
    limit(REQUEST_EMBED, "{'model':'m','input':[", "\"x\"", REQUEST_MAX_INPUTS, "]}", "input");
    limit(REQUEST_EMBED, "{'model':'m','input':[", "[1]", REQUEST_MAX_INPUTS, "]}", "input");
    limit(REQUEST_COMPLETE, "{'model':'m','prompt':[", "\"x\"", OPENAI_MAX_ANSWERS, "]}", "prompt");
}
END_TEST

START_TEST(too_many_members)
{
    size_t at = 0;
    struct request *req;

    at += (size_t) snprintf(g_text, sizeof g_text, "{\"model\":\"m\",\"input\":\"x\"");
    for (size_t i = 0; i < 255; i++) {
        at += (size_t) snprintf(g_text + at, sizeof g_text - at, ",\"x%zu\":0", i);
    }
    g_text[at++] = '}';
    ck_assert_int_eq(try_decode(REQUEST_EMBED, (struct str) {g_text, at}, &req), -EBADMSG);
    ck_assert_str_eq(g_problem.param, "");
    request_free(req);
}
END_TEST

START_TEST(the_budget_of_the_arena)
{
    struct request *req = request_new(REQUEST_CHAT, 100);

    ck_assert(req);
    ck_assert_int_eq(
        openai_decode_request(
            req,
            json("{'model':'m','messages':[{'role':'user','content':'hello there'}],'user':'u'}"),
            &g_problem),
        -ENOMEM);
    request_free(req);
}
END_TEST

static const char rich[] =
    "{'model':'m\\u00e9','stop':['a\\n','b'],'tools':[{'function':{'name':'\\u0066'}}],'messages':["
    "{'role':'user','content':[{'type':'text','text':'a\\tb'},{'type':'image_url','image_url':"
    "'data:image\\/png;base64,aGk='}]},{'role':'assistant','tool_calls':[{'id':'\\u0031',"
    "'function':{'name':'\\u0066','arguments':'{\\'a\\':1}'}}],'reasoning':'\\n'},"
    "{'role':'tool','name':'\\n','tool_call_id':'\\n','content':'\\n'}],'reasoning_effort':'\\n'}";

static void decode_rich(void)
{
    struct request *req = request_new(REQUEST_CHAT, BUDGET);
    int r;

    if (!req) {
        return;
    }
    r = openai_decode_request(req, json(rich), &g_problem);
    ck_assert(r == 0 || r == -ENOMEM);
    ck_assert(r == 0 || allocation_failed());
    request_free(req);
}

static void decode_inputs(void)
{
    struct request *req = request_new(REQUEST_EMBED, BUDGET);
    int r;

    if (!req) {
        return;
    }
    r = openai_decode_request(req, json("{'model':'m','input':['a\\n','b\\n']}"), &g_problem);
    ck_assert(r == 0 || (r == -ENOMEM && allocation_failed()));
    request_free(req);
}

START_TEST(out_of_memory_anywhere)
{
    for_each_failed_allocation(decode_rich);
    for_each_failed_allocation(decode_inputs);
}
END_TEST

/* The arena, too, may end anywhere. */
START_TEST(out_of_budget_anywhere)
{
    for (size_t max = 1; max < 8192; max += 16) {
        struct request *req = request_new(REQUEST_CHAT, max);
        int r = openai_decode_request(req, json(rich), &g_problem);

        ck_assert(r == 0 || r == -ENOMEM);
        request_free(req);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, every_limit_is_reached);
    tcase_add_test(tc, too_many_members);
    tcase_add_test(tc, the_budget_of_the_arena);
    tcase_add_test(tc, out_of_memory_anywhere);
    tcase_add_test(tc, out_of_budget_anywhere);
}

TEST_MAIN("openai_request_limits", add_tests)
