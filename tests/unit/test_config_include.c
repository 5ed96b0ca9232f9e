/* include: further files, what they add, what they replace, and how many there may be. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_support.h"

#define A "{model_name: a, litellm_params: {model: ollama/a}}"
#define B "{model_name: b, litellm_params: {model: ollama/b}}"

static char directory[64];
static char written[128][32]; /* names in it, to be removed */
static size_t n_written;

static const char *path_of(const char *name)
{
    static char path[128];

    (void) snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void set_up(void)
{
    (void) snprintf(directory, sizeof directory, "/tmp/sluice-include-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    n_written = 0;
}

static void tear_down(void)
{
    while (n_written > 0) {
        const char *path = path_of(written[--n_written]);

        if (unlink(path) < 0) {
            (void) rmdir(path);
        }
    }
    (void) rmdir(directory);
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
    (void) snprintf(written[n_written++], sizeof written[0], "%s", name);
}

static struct config *load(const char *name)
{
    struct config *c = NULL;
    int r = config_load(path_of(name), &c);

    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(r, config_is_fatal(c) ? -EBADMSG : 0);
    return c;
}

/* All findings, with this test's own directory cut off. */
static char *said(const struct config *c, bool verbose)
{
    char *text = print(c, verbose), *at;
    size_t n = strlen(directory) + 1;

    while ((at = strstr(text, directory))) {
        memmove(at, at + n, strlen(at + n) + 1);
    }
    return text;
}

static void expect_said(const char *line, bool is_fatal)
{
    struct config *c = load("main");
    char *text = said(c, true);

    ck_assert_msg(strstr(text, line) && config_is_fatal(c) == is_fatal, "without: %s\n%s", line,
                  text);
    free(text);
    config_free(c);
}

START_TEST(lists_go_on_and_other_sections_are_replaced)
{
    struct config *c;
    char *text;

    put("main", "include: [models, more]\nmodel_list: [" A "]\n"
                "router_settings: {num_retries: 7, timeout: 9}\n");
    put("models", "model_list:\n- " B "\n- {model_name: c, litellm_params: {model: zorg/c}}\n");
    put("more", "router_settings: {num_retries: 1}\nmodel_list: []\nlitellm_settings:\n");
    c = load("main");
    text = said(c, true);
    ck_assert_uint_eq(c->n_deployments, 3);
    ck_assert_str_eq(c->deployments[0].model_name, "a");
    ck_assert_str_eq(c->deployments[1].model_name, "b");
    ck_assert_ptr_null(c->deployments[1].off_reason);
    ck_assert_uint_eq(c->routing.max_retries, 1);
    ck_assert_uint_eq(c->deployments[0].total_usec, 0);
    /* places are those of the file that has them, in the order of the files */
    ck_assert_msg(strstr(text, "models:3:43: error: model_list[1].litellm_params.model: provider"),
                  "%s", text);
    ck_assert_ptr_nonnull(strstr(
        text, "f:3:1: ignored: router_settings: replaced as a whole by that of an included"));
    ck_assert_ptr_nonnull(strstr(text, "more:1:19: approximated: router_settings.num_retries"));
    ck_assert(strstr(text, "models:3:43") < strstr(text, "more:1:19"));
    free(text);
    config_free(c);
}
END_TEST

START_TEST(one_file_is_enough_and_files_may_be_nested)
{
    struct config *c;

    put("main", "include: one\n");
    put("one", "include: [two]\nmodel_list: [" A "]\n");
    put("two", "include: [main, one]\nmodel_list: [" B "]\n"); /* a circle */
    c = load("main");
    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(c->n_deployments, 2);
    ck_assert_uint_eq(c->n_files, 2);
    config_free(c);
    expect_said("two:1:11: ignored: include[0]: read already", false);
}
END_TEST

START_TEST(values_of_an_included_file_are_like_others)
{
    struct config *c;

    (void) setenv("SLUICE_TEST_A", "models", 1);
    put("main", "include: [os.environ/SLUICE_TEST_A]\n");
    put("models", "environment_variables: {B: ollama/b}\n"
                  "model_list: [{model_name: b, litellm_params: {model: os.environ/B}}]\n"
                  "sluice: {slots: 4}\n");
    c = load("main");
    ck_assert(!config_has_errors(c));
    ck_assert_str_eq(c->deployments[0].model, "b");
    ck_assert_uint_eq(c->slots, 4);
    config_free(c);
    clean_environment();
}
END_TEST

START_TEST(what_is_wrong_refuses_the_configuration)
{
    put("main", "include: [nobody]\nmodel_list: [" A "]\n");
    expect_said("f:1:11: error: include[0]: cannot be read: No such file", true);
    put("main", "include: [.]\nmodel_list: [" A "]\n");
    expect_said("f:1:11: error: include[0]: not a file", true);
    put("main", "include: {a: b}\nmodel_list: [" A "]\n");
    expect_said("f:1:10: error: include: expected a list of paths", true);
    put("main", "include: [5]\nmodel_list: [" A "]\n");
    expect_said("f:1:11: error: include[0]: expected the path", true);
    put("main", "include: ['']\nmodel_list: [" A "]\n");
    expect_said("f:1:11: error: include[0]: expected the path", true);
    put("main", "include: [bad]\nmodel_list: [" A "]\n");
    put("bad", "a: [\n");
    expect_said("bad:2:1: error: not YAML", true);
    put("bad", "- a\n");
    expect_said("bad:1:1: error: expected a map such as", true);
    put("bad", "general_settings: {master_key: 5}\n");
    expect_said("bad:1:32: error: general_settings.master_key: expected a string", true);
    /* the door and the limits */
    put("main", "include: [bad]\nmodel_list: [" A "]\ngeneral_settings: {master_key: k}\n");
    put("bad", "general_settings: {database_url: x}\n");
    expect_said("bad:1:1: error: general_settings: this takes the place", true);
    put("main", "include: [bad]\nmodel_list: [" A "]\nsluice: {slots: 2}\n");
    put("bad", "sluice: {limits: {body: 1MiB}}\n");
    expect_said("bad:1:1: error: sluice: sluice: may stand in one file only", true);
    /* an empty file is none, and text alone has no place */
    put("main", "include: [bad]\nmodel_list: [" A "]\n");
    put("bad", "# nothing\n");
    struct config *c = load("main");

    ck_assert(!config_has_errors(c));
    config_free(c);
    config_free(expect("include: [bad]\n" FINE, true,
                       "f:1:10: error: include: there is no file to look beside"));
}
END_TEST

START_TEST(an_id_is_taken_across_files)
{
    put("main", "include: [models]\nmodel_list:\n- {model_name: a, litellm_params: {model: "
                "ollama/a}, model_info: {id: x}}\n");
    put("models", "model_list:\n- {model_name: b, litellm_params: {model: ollama/b}, "
                  "model_info: {id: x}}\n");
    expect_said(
        "models:2:71: error: model_list[0].model_info.id: this id is taken already, on line "
        "3 of another file",
        false);
}
END_TEST

START_TEST(there_is_an_end)
{
    struct buf text;

    buf_init(&text, 2 * CONFIG_MAX_FILE_BYTES);
    for (int over = 0; over < 2; over++) {
        buf_clear(&text);
        ck_assert_int_eq(buf_append_z(&text, "model_list: [" A "]\ninclude:\n"), 0);
        for (int i = 0; i < CONFIG_MAX_INCLUDES + over; i++) {
            char name[16];

            (void) snprintf(name, sizeof name, "n%d", i);
            put(name, "model_list: [" B "]\n");
            ck_assert_int_eq(buf_printf(&text, "- n%d\n", i), 0);
        }
        put("main", buf_z(&text));
        struct config *c = load("main");

        ck_assert_int_eq(config_is_fatal(c), over == 1);
        ck_assert_uint_eq(c->n_files, CONFIG_MAX_INCLUDES);
        config_free(c);
    }
    expect_said("f:19:3: error: include[16]: too many files", true);

    /* depth */
    put("main", "include: [d1]\nmodel_list: [" A "]\n");
    for (int i = 1; i <= CONFIG_MAX_DEPTH + 1; i++) {
        char name[16], more[32];

        (void) snprintf(name, sizeof name, "d%d", i);
        (void) snprintf(more, sizeof more, "include: [d%d]\n", i + 1);
        put(name, i <= CONFIG_MAX_DEPTH ? more : "");
    }
    expect_said("d4:1:11: error: include[0]: files are nested too deeply", true);

    /* bytes of all together */
    put("main", "include: [large]\nmodel_list: [" A "]\n");
    buf_clear(&text);
    memset(buf_reserve(&text, CONFIG_MAX_FILE_BYTES), '#', CONFIG_MAX_FILE_BYTES);
    buf_commit(&text, CONFIG_MAX_FILE_BYTES - 10);
    put("large", buf_z(&text));
    expect_said("f:1:11: error: include[0]: more than 1 MiB in all files together", true);

    /* values of all together */
    buf_clear(&text);
    ck_assert_int_eq(buf_append_z(&text, "a: ["), 0);
    for (int i = 0; i < 16000; i++) {
        ck_assert_int_eq(buf_append_z(&text, "1,"), 0);
    }
    ck_assert_int_eq(buf_append_z(&text, "]\n"), 0);
    put("large", buf_z(&text));
    put("larger", buf_z(&text));
    put("main", "include: [large, larger]\nmodel_list: [" A "]\n");
    expect_said("f:1:18: error: include[1]: too many values in all files together", true);

    /* a long name */
    buf_clear(&text);
    ck_assert_int_eq(buf_printf(&text, "include: ['%01100d']\nmodel_list: [" A "]\n", 1), 0);
    put("main", buf_z(&text));
    expect_said("f:1:11: error: include[0]: the path is too long", true);
    buf_done(&text);
}
END_TEST

START_TEST(a_name_is_safe_to_print)
{
    put("main", "include: [\"x\\e[31m\"]\nmodel_list: [" A "]\n");
    put("x\033[31m", "zorg: 1\n");
    expect_said("x?[31m:1:1: unsupported: zorg: unknown key", false);
}
END_TEST

static void load_and_forget(void)
{
    struct config *c = NULL;
    int r = config_load(path_of("main"), &c);

    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    config_free(c);
}

START_TEST(every_allocation_may_fail)
{
    put("main", "include: [models, other]\nmodel_list: [" A "]\nrouter_settings: {timeout: 1}\n");
    put("models", "model_list: [" B "]\n");
    put("other", "router_settings: {timeout: 2}\n");
    for_each_failed_allocation(load_and_forget);
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, lists_go_on_and_other_sections_are_replaced);
    tcase_add_test(tc, one_file_is_enough_and_files_may_be_nested);
    tcase_add_test(tc, values_of_an_included_file_are_like_others);
    tcase_add_test(tc, what_is_wrong_refuses_the_configuration);
    tcase_add_test(tc, an_id_is_taken_across_files);
    tcase_add_test(tc, there_is_an_end);
    tcase_add_test(tc, a_name_is_safe_to_print);
    tcase_add_test(tc, every_allocation_may_fail);
}
TEST_MAIN("config_include", add_tests)
