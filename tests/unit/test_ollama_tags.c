/* The list of models that an Ollama server has. */
#include "wire/ollama_tags.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support.h"

static struct buf g_out;

/* The names with a comma behind each. */
static const char *read_tags(const char *body)
{
    buf_done(&g_out);
    buf_init(&g_out, 1 << 20);
    ck_assert_int_eq(ollama_read_tags(str_from(body), &g_out), 0);
    for (size_t i = 0; i < g_out.len; i++) {
        char *c = (char *) (uintptr_t) buf_str(&g_out).ptr + i;

        *c = *c == '\0' ? ',' : *c;
    }
    return buf_z(&g_out);
}

static void teardown(void)
{
    buf_done(&g_out);
}

START_TEST(names)
{
    ck_assert_str_eq(read_tags("{\"models\":[]}"), "");
    ck_assert_str_eq(read_tags("{\"models\":null}"), "");
    ck_assert_str_eq(read_tags("{\"x\":1,\"models\":[{\"size\":1,\"name\":\"t\\u0069ny:latest\","
                               "\"model\":\"tiny:latest\",\"details\":{\"name\":\"no\"}},"
                               "{\"model\":\"other:7b\"}]}"),
                     "tiny:latest,other:7b,");
}
END_TEST

START_TEST(what_is_left_out)
{
    ck_assert_str_eq(read_tags("{\"models\":[{\"name\":\"a:120b-cloud\"},{\"name\":\"b:cloud\"},"
                               "{\"name\":\"c\",\"remote_host\":\"https://x\"},"
                               "{\"name\":\"d\",\"remote_model\":\"m\"},{\"name\":7},{},null,\"e\","
                               "{\"name\":\"\"},{\"name\":\"f\",\"remote_host\":\"\"}]}"),
                     "f,");
}
END_TEST

START_TEST(a_name_that_no_request_could_carry)
{
    static char body[2048], name[600];

    memset(name, 'n', 257);
    (void) snprintf(body, sizeof body, "{\"models\":[{\"name\":\"%s\"},{\"name\":\"b\"}]}", name);
    ck_assert_str_eq(read_tags(body), "b,");
    memset(name, 'n', sizeof name - 1);
    (void) snprintf(body, sizeof body, "{\"models\":[{\"name\":\"%s\"},{\"name\":\"b\"}]}", name);
    ck_assert_str_eq(read_tags(body), "b,");
}
END_TEST

START_TEST(what_is_no_list)
{
    static const char *const bodies[] = {
        "", "7", "[]", "{}", "{\"models\":7}", "{\"models\":{}}", "{", "<html>"};

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        ck_assert_int_eq(ollama_read_tags(str_from(bodies[i]), &g_out), -EBADMSG);
    }
}
END_TEST

START_TEST(limits)
{
    struct buf body, small;
    unsigned n = 0;

    buf_init(&body, 1 << 20);
    ck_assert_int_eq(buf_append_z(&body, "{\"models\":[{\"name\":\"m\"}"), 0);
    for (int i = 0; i < 2 * OLLAMA_TAGS_MAX_MODELS; i++) {
        ck_assert_int_eq(buf_append_z(&body, ",{\"name\":\"m\"}"), 0);
    }
    ck_assert_int_eq(buf_append_z(&body, "]}"), 0);
    for (const char *c = read_tags(buf_z(&body)); *c; c++) {
        n += *c == ',';
    }
    ck_assert_uint_eq(n, OLLAMA_TAGS_MAX_MODELS);
    buf_init(&small, 8);
    ck_assert_int_eq(ollama_read_tags(buf_str(&body), &small), -ENOBUFS);
    buf_done(&small);
    buf_done(&body);
}
END_TEST

static void once(void)
{
    struct buf out;
    int r;

    buf_init(&out, 4096);
    r = ollama_read_tags(STR_LIT("{\"models\":[{\"name\":\"a\"},{\"name\":\"b\\n\"}]}"), &out);
    ck_assert(r == 0 || r == -ENOMEM);
    buf_done(&out);
}

START_TEST(every_allocation_failed_once)
{
    for_each_failed_allocation(once);
}
END_TEST

START_TEST(who_has_answered)
{
    static const struct {
        const char *answer;
        bool is_forwarded;
    } rows[] = {
        {"{\"model\":\"mine\",\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}", false},
        {"{\"model\":\"mine\",\"remote_model\":\"gpt-oss:120b\",\"done\":true}", true},
        {"{\"remote_host\":\"https://ollama.com:443\",\"done\":true}", true},
        {"{\"done\":false,\"remote_host\":\"h\"}\n{\"done\":true}\n", true},
        {"{\"done\":false}\n{\"done\":true,\"response\":\"\\\"remote_host\\\"\"}\n", false},
        {"{\"remote_host\":\"\",\"remote_model\":null}", false},
        {"{\"remote_host\":\"cut", false},
        {"[]", false},
        {"\n", false},
        {"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_msg(ollama_is_forwarded(str_from(rows[i].answer)) == rows[i].is_forwarded, "%s",
                      rows[i].answer);
    }
    ck_assert(!ollama_is_forwarded(STR_NONE));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, names);
    tcase_add_test(tc, what_is_left_out);
    tcase_add_test(tc, a_name_that_no_request_could_carry);
    tcase_add_test(tc, what_is_no_list);
    tcase_add_test(tc, limits);
    tcase_add_test(tc, every_allocation_failed_once);
    tcase_add_test(tc, who_has_answered);
}

TEST_MAIN("ollama_tags", add_tests)
