/* What asks Ollama to free a model's memory, and whether its list says that it has. */
#include <errno.h>
#include <stdio.h>

#include "support.h"
#include "wire/json.h"
#include "wire/ollama_unload.h"

START_TEST(the_request_has_no_prompt_and_keeps_nothing)
{
    struct buf out;

    buf_init(&out, 128);
    ck_assert_int_eq(ollama_encode_unload("a\"b", &out), 0);
    ck_assert_str_is(buf_str(&out), "{\"model\":\"a\\\"b\",\"keep_alive\":0,\"stream\":false}");
    ck_assert_int_eq(json_check(buf_str(&out), NULL), 0);
    buf_done(&out);
    buf_init(&out, 20);
    ck_assert_int_eq(ollama_encode_unload("model", &out), -ENOBUFS);
    buf_done(&out);
}
END_TEST

static bool lists(const char *name, const char *model)
{
    char body[256];
    bool has = false;

    (void) snprintf(body, sizeof body, "{\"models\":[{\"name\":\"else:7b\"},{\"name\":\"%s\"}]}",
                    name);
    ck_assert_int_eq(ollama_list_has(str_from(body), model, &has), 0);
    return has;
}

START_TEST(names_are_compared_as_ollama_does)
{
    ck_assert(lists("tiny:latest", "tiny"));
    ck_assert(lists("tiny:latest", "tiny:latest"));
    ck_assert(lists("tiny:latest", "Tiny:LATEST"));
    ck_assert(lists("tiny:1b", "tiny:1b"));
    ck_assert(lists("tiny:latest", "library/tiny"));
    ck_assert(lists("tiny:latest", "registry.ollama.ai/library/tiny:latest"));
    ck_assert(lists("hf.co/u/tiny:Q4", "hf.co/u/tiny:q4"));
    ck_assert(lists("localhost:5000/u/tiny:latest", "localhost:5000/u/tiny"));

    ck_assert(!lists("tiny:1b", "tiny"));
    ck_assert(!lists("tiny:latest", "tiny:1b"));
    ck_assert(!lists("tiny2:latest", "tiny"));
    ck_assert(!lists("u/tiny:latest", "tiny"));
    ck_assert(!lists("", ""));
    ck_assert(!lists("tiny:latest", ""));
    ck_assert(!lists("tiny:latest", "registry.ollama.ai/"));
    ck_assert(!lists("localhost:5000/u/tiny:latest", "localhost"));
}
END_TEST

START_TEST(either_member_names_it)
{
    bool has = false;

    ck_assert_int_eq(
        ollama_list_has(STR_LIT("{\"models\":[{\"name\":\"x\",\"model\":\"t\\u0069ny:latest\"}]}"),
                        "tiny", &has),
        0);
    ck_assert(has);
}
END_TEST

START_TEST(what_has_no_names_lists_nothing)
{
    static const char *const bodies[] = {
        "{\"models\":[]}",
        "{\"models\":null}",
        "{\"models\":[null,7,\"tiny\",[\"tiny\"],{}]}",
        "{\"models\":[{\"name\":7,\"model\":null}]}",
    };

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        bool has = true;

        ck_assert_int_eq(ollama_list_has(str_from(bodies[i]), "tiny", &has), 0);
        ck_assert(!has);
    }
}
END_TEST

START_TEST(what_is_no_list_is_refused)
{
    static const char *const bodies[] = {
        "", "7", "[]", "{}", "{\"models\":7}", "{\"models\":{}}", "{\"models\":[}", "<html>",
    };

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        bool has = true;

        ck_assert_int_eq(ollama_list_has(str_from(bodies[i]), "tiny", &has), -EBADMSG);
        ck_assert(has); /* untouched */
    }
}
END_TEST

START_TEST(a_name_over_the_limit_is_no_name)
{
    static char body[2048];
    static char name[1000];
    bool has = true;

    memset(name, 'n', sizeof name - 1);
    (void) snprintf(body, sizeof body, "{\"models\":[{\"name\":\"%s\"}]}", name);
    ck_assert_int_eq(ollama_list_has(str_from(body), name, &has), 0);
    ck_assert(!has);
}
END_TEST

static void once(void)
{
    struct buf out;
    bool has = false;
    int r;

    buf_init(&out, 128);
    r = ollama_encode_unload("m", &out);
    ck_assert(r == 0 || r == -ENOMEM);
    buf_done(&out);
    r = ollama_list_has(STR_LIT("{\"models\":[{\"name\":\"m:latest\"}]}"), "m", &has);
    ck_assert((r == 0 && has) || r == -ENOMEM); /* never: it is not there */
}

START_TEST(survives_every_failed_allocation)
{
    for_each_failed_allocation(once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, the_request_has_no_prompt_and_keeps_nothing);
    tcase_add_test(tc, names_are_compared_as_ollama_does);
    tcase_add_test(tc, either_member_names_it);
    tcase_add_test(tc, what_has_no_names_lists_nothing);
    tcase_add_test(tc, what_is_no_list_is_refused);
    tcase_add_test(tc, a_name_over_the_limit_is_no_name);
    tcase_add_test(tc, survives_every_failed_allocation);
}

TEST_MAIN("ollama_unload", add_tests)
