/*
 * Credentials: which files count, what is wrong with the others, and where they stand among the
 * places that a variable is looked up in.
 */
#include "credentials.h"

#include <limits.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_support.h"

#define SECRET "sk-5e2f-secret"

static char g_dir[] = "/tmp/sluice-credentials-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[PATH_MAX];

    (void) snprintf(path, sizeof path, "%s/%s", g_dir, name);
    return path;
}

static void put(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(path_of(name), "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void setup(void)
{
    (void) snprintf(g_dir, sizeof g_dir, "/tmp/sluice-credentials-XXXXXX");
    clean_environment();
    ck_assert_ptr_nonnull(mkdtemp(g_dir));
    ck_assert_int_eq(setenv(CREDENTIALS_DIRECTORY_VARIABLE, g_dir, 1), 0);
}

static void teardown(void)
{
    static const char *const names[] = {
        "a", "b", "c", "dir", "big", "LITELLM_MASTER_KEY", "OPENAI_API_KEY", "SLUICE_TEST_A"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (unlink(path_of(names[i])) < 0) {
            (void) rmdir(path_of(names[i]));
        }
    }
    ck_assert_int_eq(rmdir(g_dir), 0);
    (void) unsetenv(CREDENTIALS_DIRECTORY_VARIABLE);
    clean_environment();
}

/* NULL: only forgets. */
static int find(const char *name, const char **ret_value)
{
    static struct credentials c;

    credentials_done(&c); /* of the last time; those of the last test leak nothing */
    return name ? credentials_find(&c, name, ret_value) : 0;
}

static void expect_value(const char *name, const char *want)
{
    const char *value = NULL;

    ck_assert_int_eq(find(name, &value), 0);
    ck_assert_str_eq(value, want);
    (void) find(NULL, NULL);
}

static void expect_failure(const char *name, int want)
{
    static const char untouched[] = "untouched";
    const char *value = untouched;

    ck_assert_int_eq(find(name, &value), want);
    ck_assert_ptr_eq(value, untouched);
    (void) find(NULL, NULL);
}

START_TEST(values)
{
    put_text("a", "plain");
    expect_value("a", "plain");
    put_text("a", "line\n");
    expect_value("a", "line");
    put_text("a", "two\n\n");
    expect_value("a", "two\n");
    put_text("a", "-----BEGIN\nxyz\n-----END\n");
    expect_value("a", "-----BEGIN\nxyz\n-----END");
    ck_assert_int_eq(symlink("a", path_of("b")), 0); /* directories of secrets are made of links */
    expect_value("b", "-----BEGIN\nxyz\n-----END");
}
END_TEST

START_TEST(what_cannot_be_used)
{
    char *big = malloc(CREDENTIAL_MAX_BYTES + 1);

    ck_assert_ptr_nonnull(big);
    memset(big, 'x', CREDENTIAL_MAX_BYTES + 1);
    expect_failure("none", -ENOENT);
    put_text("a", "");
    expect_failure("a", -ENODATA);
    put_text("a", "\n");
    expect_failure("a", -ENODATA);
    put("a", "x\0y", 3);
    expect_failure("a", -EINVAL);
    put_text("a", "\xff");
    expect_failure("a", -EILSEQ);
    ck_assert_int_eq(mkdir(path_of("dir"), 0700), 0);
    expect_failure("dir", -EINVAL);
    ck_assert_int_eq(mkfifo(path_of("c"), 0600), 0);
    expect_failure("c", -EINVAL); /* and nobody waits for a writer */
    put("big", big, CREDENTIAL_MAX_BYTES + 1);
    expect_failure("big", -EFBIG);
    put("big", big, CREDENTIAL_MAX_BYTES);
    big[CREDENTIAL_MAX_BYTES] = '\0';
    expect_value("big", big);
    free(big);
}
END_TEST

START_TEST(names_do_not_lead_out)
{
    char name[NAME_MAX + 2];

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    put_text("a", "x");
    expect_failure("", -ENOENT);
    expect_failure(".", -ENOENT);
    expect_failure("..", -ENOENT);
    expect_failure("../etc/passwd", -ENOENT);
    expect_failure("/etc/passwd", -ENOENT);
    expect_failure("x/../a", -ENOENT);
    expect_failure(name, -ENOENT);
    ck_assert_int_eq(unsetenv(CREDENTIALS_DIRECTORY_VARIABLE), 0);
    expect_failure("a", -ENOENT);
    ck_assert_int_eq(setenv(CREDENTIALS_DIRECTORY_VARIABLE, "", 1), 0);
    expect_failure("a", -ENOENT);
    ck_assert_int_eq(setenv(CREDENTIALS_DIRECTORY_VARIABLE, g_dir, 1), 0);
    expect_value("a", "x");
}
END_TEST

START_TEST(all_together_are_bounded)
{
    char *most = malloc(CREDENTIAL_MAX_BYTES);
    struct credentials c = {0};
    const char *value = NULL;
    size_t n = CREDENTIALS_MAX_TOTAL_BYTES / CREDENTIAL_MAX_BYTES;
    char name[8];

    ck_assert_ptr_nonnull(most);
    memset(most, 'x', CREDENTIAL_MAX_BYTES);
    for (size_t i = 0; i <= n; i++) {
        (void) snprintf(name, sizeof name, "n%zu", i);
        put(name, most, CREDENTIAL_MAX_BYTES);
        ck_assert_int_eq(credentials_find(&c, name, &value), i < n ? 0 : -EFBIG);
        (void) unlink(path_of(name));
    }
    ck_assert_int_eq(credentials_find(&c, "n0", &value), 0); /* read once: the file is gone */
    credentials_done(&c);
    ck_assert_int_eq(credentials_find(&c, "n0", &value), -ENOENT);
    credentials_done(&c);
    free(most);
}
END_TEST

START_TEST(before_the_file_and_the_environment)
{
    struct config *c;

    ck_assert_int_eq(setenv("SLUICE_TEST_A", "of-the-environment", 1), 0);
    c = parse("environment_variables: {SLUICE_TEST_A: of-the-file}\n"
              "general_settings: {master_key: os.environ/SLUICE_TEST_A}\n" FINE);
    ck_assert_str_eq(c->master_key, "of-the-file");
    config_free(c);
    put_text("SLUICE_TEST_A", SECRET "\n");
    c = parse("environment_variables: {SLUICE_TEST_A: of-the-file}\n"
              "general_settings: {master_key: os.environ/SLUICE_TEST_A}\n" FINE);
    ck_assert_str_eq(c->master_key, SECRET);
    config_free(c);
    put_text("OPENAI_API_KEY", SECRET);
    c = parse("model_list: [{model_name: m, litellm_params: {model: openai/x}}]\n");
    ck_assert_str_eq(c->deployments[0].api_key, SECRET);
    config_free(c);
    put_text("LITELLM_MASTER_KEY", "sk-master");
    c = parse(FINE);
    ck_assert_str_eq(c->master_key, "sk-master");
    config_free(c);
}
END_TEST

START_TEST(unusable_ones_are_told_and_nothing_stands_in_for_them)
{
    struct config *c;
    char *text;

    ck_assert_int_eq(setenv("SLUICE_TEST_A", "of-the-environment", 1), 0);
    put("SLUICE_TEST_A", SECRET "\0" SECRET, 2 * sizeof SECRET - 1);
    c = expect(ONE("model: openai/x, api_base: 'http://h/v1', api_key: os.environ/SLUICE_TEST_A"),
               false, "f: error: the credential SLUICE_TEST_A cannot be used: it holds a NUL byte");
    ck_assert_ptr_nonnull(c->deployments[0].off_reason);
    ck_assert_ptr_null(c->deployments[0].api_key);
    text = print(c, true);
    ck_assert_ptr_null(strstr(text, SECRET));
    free(text);
    config_free(c);

    put_text("LITELLM_MASTER_KEY", "");
    c = expect(FINE, true,
               "f: error: the credential LITELLM_MASTER_KEY cannot be used: it is empty");
    ck_assert_ptr_null(c->master_key);
    config_free(c);
}
END_TEST

static void parse_with_credentials(void)
{
    struct config *c = NULL;
    int r = config_parse(STR_LIT("general_settings: {master_key: os.environ/SLUICE_TEST_A}\n" FINE),
                         &c);

    if (r == 0) {
        ck_assert_str_eq(c->master_key, SECRET);
    } else {
        ck_assert_int_eq(r, -ENOMEM); /* never a configuration without the key */
    }
    config_free(c);
}

START_TEST(every_failed_allocation)
{
    put_text("SLUICE_TEST_A", SECRET);
    for_each_failed_allocation(parse_with_credentials);
}
END_TEST

START_TEST(the_process_is_protected)
{
#ifndef SLUICE_SANITIZED
    int before = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);

    credentials_protect_process();
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
    ck_assert_int_eq(unsetenv(CREDENTIALS_DIRECTORY_VARIABLE), 0);
    credentials_protect_process();
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
    (void) prctl(PR_SET_DUMPABLE, before, 0, 0, 0);
#else
    credentials_protect_process();
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1); /* or LeakSanitizer could not look */
#endif
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, values);
    tcase_add_test(tc, what_cannot_be_used);
    tcase_add_test(tc, names_do_not_lead_out);
    tcase_add_test(tc, all_together_are_bounded);
    tcase_add_test(tc, before_the_file_and_the_environment);
    tcase_add_test(tc, unusable_ones_are_told_and_nothing_stands_in_for_them);
    tcase_add_test(tc, every_failed_allocation);
    tcase_add_test(tc, the_process_is_protected);
}

TEST_MAIN("credentials", add_tests)
