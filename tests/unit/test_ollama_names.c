/* Names of models at Ollama. That two are the same is in test_ollama_unload.c, with lists. */
#include "wire/ollama_names.h"

#include "support.h"

START_TEST(cloud)
{
    static const char *const forwarded[] = {"gpt-oss:120b-cloud", "glm-4.6:cloud", "u/m:CLOUD",
                                            "host:5000/u/m:7B-Cloud"};
    static const char *const local[] = {"",          ":",        "cloud",     "cloud:latest",
                                        "my-cloud",  "m:clouds", "m:-cloudy", "host:cloud/m",
                                        "m:cloud-7b"};

    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
        ck_assert_msg(ollama_name_is_cloud(str_from(forwarded[i])), "%s", forwarded[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(local); i++) {
        ck_assert_msg(!ollama_name_is_cloud(str_from(local[i])), "%s", local[i]);
    }
}
END_TEST

START_TEST(same)
{
    ck_assert(ollama_name_is_same(STR_LIT("Tiny"), STR_LIT("library/tiny:latest")));
    ck_assert(!ollama_name_is_same(STR_LIT("tiny"), STR_LIT("tiny:1b")));
    ck_assert(!ollama_name_is_same(STR_LIT(""), STR_LIT("")));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, cloud);
    tcase_add_test(tc, same);
}

TEST_MAIN("ollama_names", add_tests)
