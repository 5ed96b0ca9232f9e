/* model_info.h: the configuration as LiteLLM tells it. */
#include <errno.h>

#include "config/config.h"
#include "model_info.h"
#include "support.h"
#include "wire/json.h"

#define MAX_BYTES 65536

static const char file[] =
    "model_list:\n"
    "  - model_name: a\n"
    "    litellm_params:\n"
    "      model: openai/one\n"
    "      api_base: http://127.0.0.1:1/v1\n"
    "      api_key: sk-hidden\n"
    "      extra_headers: {x-token: hidden}\n"
    "      timeout: 20\n"
    "    model_info: {id: first}\n"
    "  - model_name: a\n"
    "    litellm_params: {model: ollama_chat/two, api_base: 'http://127.0.0.1:2'}\n"
    "  - model_name: b\n"
    "    litellm_params: {model: openai/three, mock_response: hi}\n"
    "    model_info: {id: third}\n";

static struct config *g_config;
static struct buf g_out;

static void setup(void)
{
    ck_assert_int_eq(config_parse(str_from(file), &g_config), 0);
    buf_init(&g_out, MAX_BYTES);
}

static void teardown(void)
{
    g_config = config_free(g_config);
    buf_done(&g_out);
}

static struct str element(struct str array, size_t wanted)
{
    struct json_iter it;
    struct str name, value = STR_NONE;

    json_iter_init(&it, array);
    for (size_t i = 0; i <= wanted; i++) {
        ck_assert(json_next(&it, &name, &value));
    }
    return value;
}

static size_t count(struct str array)
{
    struct json_iter it;
    struct str name, value;
    size_t n = 0;

    json_iter_init(&it, array);
    while (json_next(&it, &name, &value)) {
        n++;
    }
    return n;
}

static struct str data(void)
{
    ck_assert_int_eq(json_check(buf_str(&g_out), NULL), 0);
    return json_find(buf_str(&g_out), "data");
}

START_TEST(all_deployments)
{
    setup();
    free(g_config->deployments[0].api_base);
    g_config->deployments[0].api_base = strdup("http://user:hidden@127.0.0.1:1/v1?key=hidden");
    ck_assert_int_eq(model_info_write(g_config, STR_NONE, NULL, &g_out), 0);
    ck_assert_uint_eq(count(data()), 3);

    struct str first = element(data(), 0), params = json_find(first, "litellm_params");

    ck_assert_str_is(json_find(first, "model_name"), "\"a\"");
    ck_assert_str_is(json_find(params, "model"), "\"openai/one\"");
    ck_assert_str_is(json_find(params, "api_base"), "\"http://127.0.0.1:1/v1\"");
    ck_assert_str_is(json_find(params, "timeout"), "20");
    ck_assert_str_is(json_find(json_find(first, "model_info"), "id"), "\"first\"");
    ck_assert_str_is(json_find(json_find(first, "model_info"), "litellm_provider"), "\"openai\"");
    ck_assert(!memmem(buf_str(&g_out).ptr, g_out.len, "hidden", 6));
    teardown();
}
END_TEST

START_TEST(one_of_them)
{
    setup();
    ck_assert_int_eq(model_info_write(g_config, STR_LIT("third"), NULL, &g_out), 0);
    ck_assert_uint_eq(count(data()), 1);
    ck_assert_str_is(json_find(element(data(), 0), "model_name"), "\"b\"");
    buf_clear(&g_out);
    ck_assert_int_eq(model_info_write(g_config, STR_LIT("nobody"), NULL, &g_out), -ENOENT);
    teardown();
}
END_TEST

/* What the file says of a model is told on, but for what sluice knows better. */
START_TEST(the_words_of_the_file)
{
    setup();
    free(g_config->deployments[0].info);
    g_config->deployments[0].info =
        strdup("{\"id\":\"other\",\"mode\":\"chat\",\"supports_vision\":true,\"max\\u005fx\":1.0}");
    g_config->deployments[0].max_input_tokens = 4096;
    g_config->deployments[0].rpm = 10;
    g_config->deployments[1].rpm = 5;
    ck_assert_int_eq(model_info_write(g_config, STR_LIT("first"), NULL, &g_out), 0);

    struct str info = json_find(element(data(), 0), "model_info");

    ck_assert_str_is(json_find(info, "id"), "\"first\"");
    ck_assert_str_is(json_find(info, "mode"), "\"chat\"");
    ck_assert_str_is(json_find(info, "max_x"), "1.0");
    buf_clear(&g_out);
    ck_assert_int_eq(model_info_write_groups(g_config, NULL, &g_out), 0);
    ck_assert_uint_eq(count(data()), 2);

    struct str group = element(data(), 0);

    ck_assert_str_is(json_find(group, "model_group"), "\"a\"");
    ck_assert_str_is(json_find(group, "providers"), "[\"openai\",\"ollama\"]");
    ck_assert_str_is(json_find(group, "supports_vision"), "true");
    ck_assert_str_is(json_find(group, "supports_function_calling"), "false");
    ck_assert_str_is(json_find(group, "max_input_tokens"), "4096");
    ck_assert_str_is(json_find(group, "rpm"), "15");
    teardown();
}
END_TEST

START_TEST(hidden_ones_are_told_by_name_only)
{
    setup();
    g_config->deployments[0].is_hidden = g_config->deployments[2].is_hidden = true;
    ck_assert_int_eq(model_info_write(g_config, STR_NONE, NULL, &g_out), 0);
    ck_assert_uint_eq(count(data()), 1);
    buf_clear(&g_out);
    ck_assert_int_eq(model_info_write_groups(g_config, NULL, &g_out), 0);
    ck_assert_uint_eq(count(data()), 1);
    buf_clear(&g_out);
    ck_assert_int_eq(model_info_write(g_config, STR_LIT("first"), NULL, &g_out), 0);
    teardown();
}
END_TEST

START_TEST(a_configuration_without_models)
{
    struct config *c = config_new();

    ck_assert(c);
    buf_init(&g_out, MAX_BYTES);
    ck_assert_int_eq(model_info_write(c, STR_NONE, NULL, &g_out), 0);
    ck_assert_int_eq(model_info_write_groups(c, NULL, &g_out), 0);
    ck_assert_str_is(buf_str(&g_out), "{\"data\":[]}{\"data\":[]}");
    buf_done(&g_out);
    config_free(c);
}
END_TEST

static void write_both(void)
{
    int r;

    buf_init(&g_out, MAX_BYTES);
    r = model_info_write(g_config, STR_NONE, NULL, &g_out);
    ck_assert(r == 0 || r == -ENOMEM);
    r = model_info_write_groups(g_config, NULL, &g_out);
    ck_assert(r == 0 || r == -ENOMEM);
    buf_done(&g_out);
}

START_TEST(every_allocation_may_fail)
{
    setup();
    for_each_failed_allocation(write_both);
    teardown();
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, all_deployments);
    tcase_add_test(tc, one_of_them);
    tcase_add_test(tc, the_words_of_the_file);
    tcase_add_test(tc, hidden_ones_are_told_by_name_only);
    tcase_add_test(tc, a_configuration_without_models);
    tcase_add_test(tc, every_allocation_may_fail);
}

TEST_MAIN("model_info", add_tests)
