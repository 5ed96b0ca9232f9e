/*
 * How much one file may hold: deployments, parameters, hosts. Other lists are bounded in the tests of
 * what they are for.
 */
#include <stdlib.h>
#include <string.h>

#include "config_support.h"

START_TEST(too_many_parameters_switch_off)
{
    struct buf yaml;

    buf_init(&yaml, 512 * 1024);
    ck_assert_int_eq(buf_append_z(&yaml, "model_list:\n- model_name: a\n  litellm_params:\n"
                                         "    model: ollama/a\n"),
                     0);
    for (int i = 0; i <= KV_MAX; i++) {
        ck_assert_int_eq(buf_printf(&yaml, "    quirk%02d: 1\n", i), 0);
    }
    config_free(
        expect(buf_z(&yaml), false,
               "f:69:14: error: model_list[0].litellm_params.quirk64: more than 64 default"));
    buf_clear(&yaml);
    ck_assert_int_eq(buf_append_z(&yaml, "model_list:\n- model_name: a\n  litellm_params:\n"
                                         "    model: ollama/a\n"),
                     0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(buf_printf(&yaml, "    quirk%d: '%060000d'\n", i, 1), 0);
    }
    config_free(
        expect(buf_z(&yaml), false,
               "f:7:13: error: model_list[0].litellm_params.quirk2: more than 131072 bytes"));
    buf_done(&yaml);
}
END_TEST

START_TEST(lists_are_bounded)
{
    struct buf yaml;

    buf_init(&yaml, 256 * 1024);
    ck_assert_int_eq(buf_append_z(&yaml, "model_list:\n"), 0);
    for (int i = 0; i <= CONFIG_MAX_DEPLOYMENTS; i++) {
        ck_assert_int_eq(
            buf_printf(&yaml, "- {model_name: m%d, litellm_params: {model: ollama/m}}\n", i), 0);
    }
    config_free(expect(buf_z(&yaml), true, "f:2:1: error: model_list: more than 256 deployments"));
    buf_clear(&yaml);
    ck_assert_int_eq(buf_append_z(&yaml, FINE "sluice:\n  http:\n    allowed_hosts:\n"), 0);
    for (int i = 0; i <= CONFIG_MAX_HOSTS; i++) {
        ck_assert_int_eq(buf_printf(&yaml, "    - h%d\n", i), 0);
    }
    config_free(
        expect(buf_z(&yaml), true, "f:5:5: error: sluice.http.allowed_hosts: more than 32"));
    buf_clear(&yaml);
    ck_assert_int_eq(buf_append_z(&yaml, FINE "sluice:\n  listen:\n"), 0);
    for (int i = 0; i <= CONFIG_MAX_LISTENS; i++) {
        ck_assert_int_eq(buf_printf(&yaml, "    - rpc=unix:/run/%d\n", i), 0);
    }
    config_free(expect(buf_z(&yaml), true, "f:4:5: error: sluice.listen: more than 16"));
    buf_clear(&yaml);
    ck_assert_int_eq(buf_append_z(&yaml, FINE "router_settings:\n  default_litellm_params:\n"), 0);
    for (int i = 0; i <= KV_MAX; i++) {
        ck_assert_int_eq(buf_printf(&yaml, "    quirk%d: 1\n", i), 0);
    }
    config_free(expect(buf_z(&yaml), true,
                       "f:4:5: error: router_settings.default_litellm_params: more than 64"));
    buf_done(&yaml);
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    tcase_add_test(tc, too_many_parameters_switch_off);
    tcase_add_test(tc, lists_are_bounded);
}

TEST_MAIN("config_bounds", add_tests)
