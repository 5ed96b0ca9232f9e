/*
 * Configurations as files: reading them, the ones that are shipped, and running out of memory over
 * one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_support.h"

#define CONFIG_FILES TEST_SOURCE "/config/"

static int load_bytes(struct str bytes, struct config **ret)
{
    char path[] = "/tmp/sluice-test-XXXXXX";
    int fd = mkstemp(path), r;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes.ptr, bytes.len), (ssize_t) bytes.len);
    (void) close(fd);
    r = config_load(path, ret);
    (void) unlink(path);
    return r;
}

START_TEST(files)
{
    struct config *c = NULL;
    struct buf text;

    ck_assert_int_eq(config_load("/nonexistent/sluice.yaml", &c), -ENOENT);
    ck_assert_int_eq(config_load("/tmp", &c), -EISDIR);
    ck_assert_int_eq(load_bytes(STR_LIT(FINE), &c), 0);
    ck_assert_uint_eq(c->n_deployments, 1);
    c = config_free(c);
    ck_assert_int_eq(load_bytes(STR_LIT("a: \xff"), &c), -EBADMSG);
    ck_assert_uint_eq(c->n_findings, 1);
    c = config_free(c);
    ck_assert_int_eq(load_bytes(STR_LIT(""), &c), -EBADMSG);
    c = config_free(c);

    /* as large as a file may be, and one byte more */
    buf_init(&text, 2 * CONFIG_MAX_FILE_BYTES);
    ck_assert_int_eq(buf_append_z(&text, FINE), 0);
    size_t n = CONFIG_MAX_FILE_BYTES - text.len;

    memset(buf_reserve(&text, n + 1), '#', n + 1);
    buf_commit(&text, n);
    ck_assert_int_eq(load_bytes(buf_str(&text), &c), 0);
    ck_assert_uint_eq(c->n_deployments, 1);
    c = config_free(c);
    buf_commit(&text, 1);
    ck_assert_int_eq(load_bytes(buf_str(&text), &c), -EFBIG);
    buf_done(&text);
}
END_TEST

START_TEST(the_shipped_file_shows_the_defaults)
{
    static const char *const keys[] = {
        "listen",
        "limits.connections",
        "limits.connections_per_uid",
        "limits.calls_per_connection",
        "limits.head",
        "limits.body",
        "limits.buffered",
        "timeouts.head",
        "timeouts.body",
        "timeouts.keep_alive",
        "timeouts.stalled_reader",
        "timeouts.drain",
        "timeouts.heartbeat",
        "timeouts.connect",
        "timeouts.first_byte",
        "timeouts.gap",
        "slots",
        "queue.length",
        "queue.bytes",
        "queue.wait.interactive",
        "queue.wait.batch",
        "queue.wait.background",
        "queue.per_caller",
        "queue.patience.interactive",
        "queue.patience.batch",
        "queue.patience.background",
        "idle_exit",
        "pressure.enabled",
        "pressure.kernel_root",
        "pressure.group",
        "spill.level",
        "spill.predicted_wait",
        "upstreams",
        "http.allowed_hosts",
        "http.allowed_origins",
        "keys",
        "keys_file",
    };
    struct config *c = NULL, *d = config_new();
    char *text;

    ck_assert_int_eq(config_load(CONFIG_FILES "sluice.yaml", &c), 0);
    text = print(c, false);
    ck_assert_str_eq(text, "");
    free(text);
    text = print(c, true);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char line[96];

        (void) snprintf(line, sizeof line, ": exact: sluice.%s\n", keys[i]);
        ck_assert_msg(strstr(text, line), "%s is not in config/sluice.yaml", keys[i]);
    }
    free(text);

    ck_assert_uint_eq(c->n_listens, d->n_listens);
    ck_assert_uint_eq(c->max_connections, d->max_connections);
    ck_assert_uint_eq(c->max_connections_per_uid, d->max_connections_per_uid);
    ck_assert_uint_eq(c->max_calls_per_connection, d->max_calls_per_connection);
    ck_assert_uint_eq(c->max_head_bytes, d->max_head_bytes);
    ck_assert_uint_eq(c->max_body_bytes, d->max_body_bytes);
    ck_assert_uint_eq(c->max_buffered_bytes, d->max_buffered_bytes);
    ck_assert_uint_eq(c->head_usec, d->head_usec);
    ck_assert_uint_eq(c->body_usec, d->body_usec);
    ck_assert_uint_eq(c->keep_alive_usec, d->keep_alive_usec);
    ck_assert_uint_eq(c->stalled_reader_usec, d->stalled_reader_usec);
    ck_assert_uint_eq(c->drain_usec, d->drain_usec);
    ck_assert_uint_eq(c->heartbeat_usec, d->heartbeat_usec);
    ck_assert_uint_eq(c->connect_usec, d->connect_usec);
    ck_assert_uint_eq(c->first_byte_usec, d->first_byte_usec);
    ck_assert_uint_eq(c->gap_usec, d->gap_usec);
    ck_assert_uint_eq(c->idle_exit_usec, d->idle_exit_usec);
    ck_assert_uint_eq(c->slots, d->slots);
    ck_assert_uint_eq(c->max_queued, d->max_queued);
    ck_assert_uint_eq(c->max_queued_caller, d->max_queued_caller);
    ck_assert_mem_eq(c->max_queued_class, d->max_queued_class, sizeof c->max_queued_class);
    ck_assert_uint_eq(c->max_queued_bytes, d->max_queued_bytes);
    for (size_t i = 0; i < _CLASS_MAX; i++) {
        ck_assert_uint_eq(c->max_wait_usec[i], d->max_wait_usec[i]);
        ck_assert_uint_eq(c->patience_usec[i], d->patience_usec[i]);
    }
    ck_assert_int_eq(c->pressure_enabled, d->pressure_enabled);
    ck_assert_str_eq(c->kernel_root, d->kernel_root);
    ck_assert_str_eq(c->pressure_group, d->pressure_group);
    ck_assert_int_eq(c->spill.level, d->spill.level);
    ck_assert_uint_eq(c->spill.predicted_wait_usec, d->spill.predicted_wait_usec);
    ck_assert_uint_eq(c->n_allowed_hosts, 0);
    ck_assert_uint_eq(c->n_allowed_origins, 0);
    config_free(c);
    config_free(d);
}
END_TEST

START_TEST(the_examples)
{
    struct config *c = NULL;
    char *text;

    ck_assert_int_eq(config_load(CONFIG_FILES "examples/litellm-ollama.yaml", &c), 0);
    text = print(c, false);
    ck_assert_str_eq(text, "");
    free(text);
    ck_assert_str_eq(c->deployments[0].model_name, "codegemma");
    ck_assert_str_eq(c->deployments[0].model, "codegemma:2b");
    ck_assert_str_eq(c->deployments[0].api_base, "http://localhost:11434");
    c = config_free(c);

    ck_assert_int_eq(config_load(CONFIG_FILES "examples/mock.yaml", &c), 0);
    ck_assert(!config_has_errors(c));
    for (size_t i = 0; i < c->n_deployments; i++) {
        ck_assert_str_eq(c->deployments[i].provider, "mock");
    }
    c = config_free(c);

    /* without its variable the cloud model is off and the rest serves */
    ck_assert_int_eq(config_load(CONFIG_FILES "examples/mixed.yaml", &c), 0);
    ck_assert(config_has_errors(c));
    c = config_free(c);
    (void) setenv("OPENAI_API_KEY", "sk-x", 1);
    ck_assert_int_eq(config_load(CONFIG_FILES "examples/mixed.yaml", &c), 0);
    text = print(c, false);
    ck_assert_msg(!config_has_errors(c), "%s", text);
    free(text);
    c = config_free(c);
    clean_environment();
}
END_TEST

/* An example, with values for the variables that it names: nothing in it is unsupported or wrong. */
static struct config *load_example(const char *path)
{
    struct config *c = NULL;
    char *text;

    (void) setenv("OPENAI_API_KEY", "sk-x", 1);
    (void) setenv("VLLM_KEY", "v", 1);
    ck_assert_int_eq(config_load(path, &c), 0);
    clean_environment();
    (void) unsetenv("VLLM_KEY");
    text = print(c, false);
    ck_assert_msg(!config_has_errors(c) && !strstr(text, ": unsupported: "), "%s", text);
    free(text);
    return c;
}

START_TEST(the_example_of_local_first)
{
    struct config *c = load_example(CONFIG_FILES "examples/hybrid.yaml");
    const struct config_routing *r = &c->routing;

    ck_assert_uint_eq(c->n_deployments, 4);
    ck_assert_str_eq(c->deployments[0].model_name, "assistant");
    ck_assert_uint_eq(c->deployments[0].max_input_tokens, 7168);
    ck_assert(!c->deployments[0].is_local_only && c->deployments[1].is_local_only);
    ck_assert_str_eq(r->fallbacks[FALLBACK_GENERAL][0].targets.items[0], "cloud");
    ck_assert_str_eq(r->fallbacks[FALLBACK_CONTEXT][0].targets.items[0], "cloud-long");
    ck_assert_int_eq(r->retries.by_cause[FAIL_TIMEOUT], 0);
    ck_assert_str_eq(r->aliases[0].group, "assistant");
    ck_assert(r->checks_context);
    config_free(c);
}
END_TEST

START_TEST(the_example_of_a_cluster)
{
    struct config *c = load_example(CONFIG_FILES "examples/cluster.yaml");

    ck_assert_uint_eq(c->n_deployments, 5);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_str_eq(c->deployments[i].model_name, "large");
        ck_assert_uint_eq(c->deployments[i].total_usec, UINT64_C(600000000));
    }
    ck_assert(c->deployments[0].weight == 2 && c->deployments[1].weight == 1);
    ck_assert_uint_eq(c->deployments[0].order, 1);
    ck_assert_uint_eq(c->deployments[2].order, 2);
    ck_assert_uint_eq(c->routing.max_parallel, 100);
    ck_assert_int_eq(c->routing.allowed_fails, 3);
    config_free(c);
}
END_TEST

static void load_and_forget(void)
{
    static const char yaml[] =
        "environment_variables: {E: x}\n"
        "model_list:\n"
        "- model_name: a\n"
        "  litellm_params: {model: ollama/a, api_base: http://h/v1, api_key: k, seed: 1, stop: [a], "
        "odd: {b: c}, timeout: 3}\n"
        "  model_info: {id: i}\n"
        "- {model_name: b, litellm_params: {model: hosted_vllm/b, api_base: http://h, user: "
        "os.environ/E}}\n"
        "- {model_name: b, litellm_params: {model: nobody/b, api_bse: http://h}}\n"
        "- {model_name: c, litellm_params: {model: x, mock_response: y, extra_body: {q: 1}}}\n"
        "general_settings: {master_key: k, wrong: 1}\n"
        "sluice: {listen: ['rpc=unix:/a'], limits: {head: 9}, pressure: {kernel_root: /x},\n"
        "  http: {allowed_hosts: [a], allowed_origins: ['http://a']}}\n";
    struct config *c = NULL;
    int r = config_parse(str_from(yaml), &c);

    if (allocation_failed()) {
        ck_assert_int_eq(r, -ENOMEM);
        ck_assert_ptr_null(c);
    } else {
        ck_assert_int_eq(r, -EBADMSG);
        ck_assert_uint_eq(c->n_deployments, 4);
    }
    config_free(c);
}

static void load_bad_and_forget(void)
{
    struct config *c = NULL;
    int r = config_load(CONFIG_FILES "examples/litellm-ollama.yaml", &c);

    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    config_free(c);
    c = NULL;
    r = config_parse(STR_LIT("a: &b 1"), &c);
    ck_assert_int_eq(r, c ? -EBADMSG : -ENOMEM);
    config_free(c);
}

START_TEST(every_allocation_may_fail)
{
    for_each_failed_allocation(load_and_forget);
    for_each_failed_allocation(load_bad_and_forget);
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    tcase_add_test(tc, files);
    tcase_add_test(tc, the_shipped_file_shows_the_defaults);
    tcase_add_test(tc, the_examples);
    tcase_add_test(tc, the_example_of_local_first);
    tcase_add_test(tc, the_example_of_a_cluster);
    tcase_add_test(tc, every_allocation_may_fail);
}

TEST_MAIN("config_files", add_tests)
