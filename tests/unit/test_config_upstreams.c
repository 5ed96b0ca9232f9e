/* sluice.upstreams: which deployments get the unit of their server, and which names a unit may have. */
#include "config_support.h"

#include <string.h>

#define LIST                                                                                       \
    "model_list:\n"                                                                                \
    "  - {model_name: a, litellm_params: {model: ollama/a}}\n"                                     \
    "  - {model_name: b, litellm_params: {model: ollama/b}}\n"                                     \
    "  - {model_name: c, litellm_params: {model: openai/c, api_base: 'http://127.0.0.2:8/v1/', "   \
    "api_key: k}}\n"

static struct config *parse_ok(const char *text)
{
    struct config *c = NULL;

    ck_assert_int_eq(config_parse(str_from(text), &c), 0);
    return c;
}

START_TEST(each_deployment_of_the_server_gets_it)
{
    struct config *c = parse_ok(LIST "sluice:\n"
                                     "  upstreams:\n"
                                     "    http://localhost:11434: {restart_unit: ollama.service}\n"
                                     "    http://127.0.0.2:8/v1: {restart_unit: off}\n");

    ck_assert_uint_eq(c->n_deployments, 3);
    ck_assert_str_eq(c->deployments[0].restart_unit, "ollama.service");
    ck_assert_str_eq(c->deployments[1].restart_unit, "ollama.service");
    ck_assert_ptr_null(c->deployments[2].restart_unit);
    config_free(c);
}
END_TEST

START_TEST(a_slash_at_the_end_makes_no_other_server)
{
    struct config *c = parse_ok(
        "sluice: {upstreams: {'http://127.0.0.2:8/v1': {restart_unit: 'llama@a.service'}}}\n" LIST);

    ck_assert_ptr_null(c->deployments[0].restart_unit);
    ck_assert_str_eq(c->deployments[2].restart_unit, "llama@a.service");
    config_free(c);
}
END_TEST

START_TEST(nothing_is_nothing)
{
    static const char *const texts[] = {
        LIST "sluice: {upstreams: }",
        LIST "sluice: {upstreams: {}}",
        LIST "sluice: {upstreams: {'http://localhost:11434': }}",
        LIST "sluice: {upstreams: {'http://localhost:11434': {restart_unit: }}}",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct config *c = parse_ok(texts[i]);

        ck_assert_ptr_null(c->deployments[0].restart_unit);
        config_free(c);
    }
}
END_TEST

static bool takes(const char *unit)
{
    char text[1024];
    struct config *c = NULL;
    int r;

    (void) snprintf(text, sizeof text,
                    LIST "sluice: {upstreams: {'http://localhost:11434': {restart_unit: '%s'}}}\n",
                    unit);
    r = config_parse(str_from(text), &c);
    ck_assert(r == 0 || r == -EBADMSG);
    config_free(c);
    return r == 0;
}

/* systemd.unit(5) */
START_TEST(names_of_units)
{
    static const char *const good[] = {"ollama.service", "a.service", "a@b.service",
                                       "a-b:c_d.e.service", "a\\x2db.service"};
    static const char *const bad[] = {
        "ollama",          ".service",    "ollama.socket", "ollama.target",
        "ollama.service ", "a b.service", "a/b.service",   "../a.service",
        "@a.service",      "a@.service",  "a.service.d",   "ä.service",
        "a;b.service",     "a*.service",  "a.service\\n",  "a.SERVICE"};
    char longest[300];

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_msg(takes(good[i]), "%s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(!takes(bad[i]), "%s", bad[i]);
    }
    memset(longest, 'a', sizeof longest);
    memcpy(longest + 247, ".service", sizeof ".service");
    ck_assert(takes(longest));
    memset(longest, 'a', 248);
    memcpy(longest + 248, ".service", sizeof ".service");
    ck_assert(!takes(longest));
}
END_TEST

static void parse_once(void)
{
    struct config *c = NULL;

    if (config_parse(STR_LIT(LIST "sluice: {upstreams: {'http://localhost:11434': {restart_unit: "
                                  "ollama.service}}}\n"),
                     &c) == 0) {
        ck_assert_ptr_nonnull(c->deployments[0].restart_unit);
        config_free(c);
    }
}

START_TEST(out_of_memory)
{
    for_each_failed_allocation(parse_once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, each_deployment_of_the_server_gets_it);
    tcase_add_test(tc, a_slash_at_the_end_makes_no_other_server);
    tcase_add_test(tc, nothing_is_nothing);
    tcase_add_test(tc, names_of_units);
    tcase_add_test(tc, out_of_memory);
}

TEST_MAIN("config_upstreams", add_tests)
