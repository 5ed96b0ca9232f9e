/*
 * sluice.keys, sluice.keys_file and the credential: what a good list becomes, and that every
 * mistake in one refuses the file with its place.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha256.h"
#include "config/config_access.h"
#include "config_support.h"

/* sha256 of "sk-one" and of "sk-two" */
#define ONE_HEX "f1f4463fbcad2ff20ec8e21e4df1a5e0d49bb2fa6e6f5fd4f2e5f0a09df0a5a1"
#define TWO_HEX "0bcd19b0dbd9d2d1dc9a44b3d65dd4aa3d7b6f7c1f2d7b7e0a1d2c3b4a596877"
/* The list begins in line 3, column 5; an entry's first member in column 6. */
#define KEYS(list)  FINE "sluice:\n  keys:\n  - " list "\n"
#define ENTRY(more) KEYS("{id: a, sha256: " ONE_HEX more "}")

static char g_dir[] = "/tmp/sluice-test-access-XXXXXX";
static char g_file[64];

static void setup(void)
{
    clean_environment();
    (void) unsetenv(CREDENTIALS_DIRECTORY_VARIABLE);
    (void) snprintf(g_dir, sizeof g_dir, "/tmp/sluice-test-access-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(g_dir));
    (void) snprintf(g_file, sizeof g_file, "%s/keys.yaml", g_dir);
}

static void teardown(void)
{
    char path[128];

    (void) unsetenv(CREDENTIALS_DIRECTORY_VARIABLE);
    (void) unlink(g_file);
    (void) snprintf(path, sizeof path, "%s/%s", g_dir, CONFIG_KEYS_CREDENTIAL);
    (void) unlink(path);
    ck_assert_int_eq(rmdir(g_dir), 0);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t) strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    (void) close(fd);
}

START_TEST(a_whole_entry)
{
    struct config *c =
        parse(FINE "sluice:\n  keys:\n"
                   "  - {id: ci, sha256: " ONE_HEX ", models: [m, 'ollama/*', '*'], class: batch,\n"
                   "     weight: 3, rpm: 60, tpm: 40000, max_parallel: 2, expires: 2027-01-31}\n"
                   "  - {id: a.b-C_9, sha256: " TWO_HEX "}\n");
    char hex[SHA256_HEX_CHARS + 1];

    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(c->n_keys, 2);

    const struct config_access_key *k = &c->keys[0];

    ck_assert_str_eq(k->id, "ci");
    ck_assert_str_eq(sha256_format(k->sha256, hex), ONE_HEX);
    ck_assert_uint_eq(k->models.n_items, 3);
    ck_assert_str_eq(k->models.items[1], "ollama/*");
    ck_assert_int_eq(k->class, CLASS_BATCH);
    ck_assert_uint_eq(k->weight, 3);
    ck_assert_uint_eq(k->rpm, 60);
    ck_assert_uint_eq(k->tpm, 40000);
    ck_assert_uint_eq(k->max_parallel, 2);
    ck_assert_uint_eq(k->expires_at_sec, 1801353600);

    k = &c->keys[1];
    ck_assert_str_eq(k->id, "a.b-C_9");
    ck_assert_uint_eq(k->models.n_items, 0);
    ck_assert_int_eq(k->class, CLASS_INTERACTIVE);
    ck_assert_uint_eq(k->weight, 1);
    ck_assert_uint_eq(k->rpm + k->tpm + k->max_parallel + k->expires_at_sec, 0);
    config_free(c);
}
END_TEST

START_TEST(instants)
{
    static const struct {
        const char *text;
        uint64_t sec;
    } rows[] = {
        {"1970-01-02", 86400},
        {"2000-02-29", 951782400},
        {"2024-02-29T00:00:00Z", 1709164800},
        {"'2027-01-31T12:30:15Z'", 1801398615},
        {"2027-01-31t12:30:15z", 1801398615},
        {"2027-01-31 12:30:15Z", 1801398615},
        {"2027-01-31T12:30:15.999Z", 1801398615},
        {"2027-01-31T12:30:15+02:00", 1801391415},
        {"2027-01-31T12:30:15-00:30", 1801400415},
        {"2016-12-31T23:59:60Z", 1483228800}, /* a leap second */
        {"9999-12-31T23:59:59Z", 253402300799},
    };
    static const char *const bad[] = {"2027",
                                      "2027-1-31",
                                      "2027-13-01",
                                      "2027-00-01",
                                      "2027-01-00",
                                      "2027-01-32",
                                      "2027-02-29",
                                      "1900-02-28",
                                      "1969-12-31",
                                      "2027-01-31T",
                                      "2027-01-31T12:00",
                                      "2027-01-31T12:00:00",
                                      "2027-01-31T24:00:00Z",
                                      "2027-01-31T12:60:00Z",
                                      "2027-01-31T12:00:61Z",
                                      "2027-01-31T12:00:00.Z",
                                      "2027-01-31T12:00:00+2",
                                      "2027-01-31T12:00:00+24:00",
                                      "2027-01-31T12:00:00+02:60",
                                      "2027-01-31T12:00:00Zx",
                                      "2027-01-31x",
                                      "31.01.2027",
                                      "never",
                                      "1970-01-01",
                                      "''",
                                      "[]",
                                      "~",
                                      "30d"};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[512];
        struct config *c;

        (void) snprintf(text, sizeof text, ENTRY(", expires: %s"), rows[i].text);
        c = parse(text);
        ck_assert_msg(!config_has_errors(c), "refuses %s", rows[i].text);
        ck_assert_msg(c->keys[0].expires_at_sec == rows[i].sec, "%s is %llu", rows[i].text,
                      (unsigned long long) c->keys[0].expires_at_sec);
        config_free(c);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char text[512];

        (void) snprintf(text, sizeof text, ENTRY(", expires: %s"), bad[i]);
        config_free(expect(text, true, "f:4:96: error: sluice.keys[0].expires: expected a date"));
    }
}
END_TEST

START_TEST(mistakes)
{
    static const struct {
        const char *yaml, *line;
    } rows[] = {
        {FINE "sluice: {keys: }\n", "f:2:16: error: sluice.keys: no key is listed"},
        {FINE "sluice: {keys: yes}\n",
         "f:2:16: error: sluice.keys: expected a list of keys, found true or false"},
        {FINE "sluice: {keys: {a: b}}\n",
         "f:2:16: error: sluice.keys: expected a list of keys, found a map"},
        {KEYS("sk-one"), "f:4:5: error: sluice.keys[0]: expected a map with id and sha256 in it"},
        {KEYS("{id: a}"), "f:4:5: error: sluice.keys[0]: sha256 is missing"},
        {KEYS("{sha256: " ONE_HEX "}"), "f:4:5: error: sluice.keys[0]: id is missing"},
        {KEYS("{id: a, sha256: sk-one}"),
         "f:4:21: error: sluice.keys[0].sha256: expected 64 hexadecimal digits, as `sluicectl key "
         "hash` prints them; never write the key itself here"},
        {KEYS("{id: a, sha256: 12}"),
         "f:4:21: error: sluice.keys[0].sha256: expected 64 hexadecimal digits, found a whole "},
        {KEYS("{id: 7, sha256: " ONE_HEX "}"),
         "f:4:10: error: sluice.keys[0].id: expected a string, found a whole number"},
        {KEYS("{id: a b, sha256: " ONE_HEX "}"),
         "f:4:10: error: sluice.keys[0].id: expected 1 to 48 letters"},
        {KEYS("{id: '', sha256: " ONE_HEX "}"),
         "f:4:10: error: sluice.keys[0].id: expected 1 to 48 letters"},
        {KEYS("{id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, sha256: " ONE_HEX "}"),
         "f:4:10: error: sluice.keys[0].id: expected 1 to 48 letters"},
        {KEYS("{id: a, sha256: os.environ/SLUICE_TEST_A}"),
         "f:4:21: error: sluice.keys[0].sha256: the environment variable SLUICE_TEST_A is not set"},
        {ENTRY(", models: m"),
         "f:4:95: error: sluice.keys[0].models: expected a list, found a string"},
        {ENTRY(", models: []"), "f:4:95: error: sluice.keys[0].models: expected 1 to 64 names"},
        {ENTRY(", models: [1]"),
         "f:4:96: error: sluice.keys[0].models[0]: expected the name of a model, found a whole"},
        {ENTRY(", models: ['a*b']"),
         "f:4:96: error: sluice.keys[0].models[0]: expected the name of a model, up to 256 bytes; "
         "* only at its ends"},
        {ENTRY(", models: ['**b', '']"),
         "f:4:96: error: sluice.keys[0].models[0]: expected the name of a model"},
        {ENTRY(", models: [m, '']"),
         "f:4:99: error: sluice.keys[0].models[1]: expected the name of a model"},
        {ENTRY(", class: urgent"),
         "f:4:94: error: sluice.keys[0].class: expected interactive, batch or background"},
        {ENTRY(", class: 1"),
         "f:4:94: error: sluice.keys[0].class: expected interactive, batch or background, found"},
        {ENTRY(", rpm: 0"), "f:4:92: error: sluice.keys[0].rpm: must be from 1 to 1000000000"},
        {ENTRY(", rpm: 1000000001"),
         "f:4:92: error: sluice.keys[0].rpm: must be from 1 to 1000000000"},
        {ENTRY(", rpm: 18446744073709551616"),
         "f:4:92: error: sluice.keys[0].rpm: must be from 1 to 1000000000"},
        {ENTRY(", rpm: -1"), "f:4:92: error: sluice.keys[0].rpm: must be from 1 to 1000000000"},
        {ENTRY(", rpm: 1.5"),
         "f:4:92: error: sluice.keys[0].rpm: expected a whole number, found a number"},
        {ENTRY(", rpm: many"),
         "f:4:92: error: sluice.keys[0].rpm: expected a whole number, found a string"},
        {ENTRY(", rpm: '60'"),
         "f:4:92: error: sluice.keys[0].rpm: expected a whole number, found a string"},
        {ENTRY(", tpm: 0"), "f:4:92: error: sluice.keys[0].tpm: must be from 1 to 1000000000"},
        {ENTRY(", max_parallel: 65537"),
         "f:4:101: error: sluice.keys[0].max_parallel: must be from 1 to 65536"},
        {ENTRY(", weight: 0"), "f:4:95: error: sluice.keys[0].weight: must be from 1 to 1000"},
        {ENTRY(", modles: [m]"),
         "f:4:95: error: sluice.keys[0].modles: unknown key \"modles\"; did you mean \"models\"?"},
        {ENTRY(", key: sk-one"), "f:4:92: error: sluice.keys[0].key: no key is written here"},
        {ENTRY(", colour: red"), "f:4:95: error: sluice.keys[0].colour: unknown key \"colour\""},
        {KEYS("{id: a, sha256: " ONE_HEX "}\n  - {id: a, sha256: " TWO_HEX "}"),
         "f:5:5: error: sluice.keys[1]: another key has the id \"a\""},
        {KEYS("{id: a, sha256: " ONE_HEX "}\n  - {id: b, sha256: " ONE_HEX "}"),
         "f:5:5: error: sluice.keys[1]: the key \"a\" has the same sha256"},
        {FINE "sluice: {keys_file: keys.yaml}\n",
         "f:2:21: error: sluice.keys_file: expected an absolute path"},
        {FINE "sluice: {keys_file: 7}\n",
         "f:2:21: error: sluice.keys_file: expected a path, found a whole number"},
        {FINE "sluice: {keys_file: /nonexistent/k}\n",
         "f:2:21: error: sluice.keys_file: cannot read it: No such file or directory"},
        {FINE "sluice: {keys_file: /dev/null}\n",
         "f:2:21: error: sluice.keys_file: it is no regular file"},
        {FINE "sluice: {keyz: []}\n",
         "f:2:10: error: sluice.keyz: unknown key; did you mean sluice.keys"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        config_free(expect(rows[i].yaml, true, rows[i].line));
    }
}
END_TEST

START_TEST(too_many)
{
    CLEANUP(buf_done) struct buf text;

    for (unsigned n = CONFIG_MAX_KEYS; n <= CONFIG_MAX_KEYS + 1; n++) {
        struct config *c;

        buf_init(&text, 64 * 1024);
        ck_assert_int_eq(buf_append_z(&text, FINE "sluice:\n  keys:\n"), 0);
        for (unsigned i = 0; i < n; i++) {
            ck_assert_int_eq(buf_printf(&text, "  - {id: k%u, sha256: '%064x'}\n", i, i + 1), 0);
        }
        c = parse(buf_z(&text));
        ck_assert_int_eq(config_is_fatal(c), n > CONFIG_MAX_KEYS);
        ck_assert_uint_eq(c->n_keys, n > CONFIG_MAX_KEYS ? 0 : n);
        config_free(c);
        buf_done(&text);
    }
}
END_TEST

/* A mistake in a key never shows what stands there: it may be the key. */
START_TEST(no_key_is_shown)
{
    struct config *c = parse(KEYS("{id: a, sha256: sk-very-secret, key: sk-more-secret}"));
    char *text = print(c, true);

    ck_assert_ptr_null(strstr(text, "secret"));
    free(text);
    config_free(c);
}
END_TEST

static struct config *with_file(const char *text, mode_t mode, bool is_fatal, const char *says)
{
    char yaml[256], line[256];

    write_file(g_file, text, mode);
    (void) snprintf(yaml, sizeof yaml, FINE "sluice: {keys_file: %s}\n", g_file);
    (void) snprintf(line, sizeof line, "f:2:21: error: sluice.keys_file: %s", says);
    return is_fatal ? expect(yaml, true, line)
                    : expect(yaml, false, "f:2:10: exact: sluice.keys_file");
}

START_TEST(a_file)
{
    static const char good[] = "- {id: a, sha256: " ONE_HEX ", rpm: 5}\n";
    static const char *const variables = "- {id: a, sha256: os.environ/SLUICE_TEST_A}\n";
    char says[256];
    struct config *c = with_file(good, 0640, false, "");

    ck_assert_uint_eq(c->n_keys, 1);
    ck_assert_uint_eq(c->keys[0].rpm, 5);
    config_free(c);
    config_free(with_file(good, 0644, true, "others may read or write it (mode 0644)"));
    config_free(with_file(good, 0602, true, "others may read or write it (mode 0602)"));
    (void) snprintf(says, sizeof says, "%s holds no key", g_file);
    config_free(with_file("", 0600, true, says));
    config_free(with_file("[]\n", 0600, true, says));
    (void) snprintf(says, sizeof says, "%s:1:1: : expected a list of keys, found a map", g_file);
    config_free(with_file("keys: []\n", 0600, true, says));
    (void) snprintf(says, sizeof says, "%s:1:17: [0].rpm: must be from 1", g_file);
    config_free(with_file("- {id: a, rpm:  0}\n", 0600, true, says));
    (void) snprintf(says, sizeof says, "%s:2:3: [1]: the key \"a\" has the same", g_file);
    config_free(with_file("- {id: a, sha256: " ONE_HEX "}\n- {id: b, sha256: " ONE_HEX "}\n", 0600,
                          true, says));
    (void) snprintf(says, sizeof says, "%s:2:1: not YAML", g_file);
    config_free(with_file("- {id: a", 0600, true, says));
    (void) setenv("SLUICE_TEST_A", ONE_HEX, 1); /* the file is not the place for it */
    (void) snprintf(says, sizeof says, "%s:1:19: [0].sha256: expected 64", g_file);
    config_free(with_file(variables, 0600, true, says));
    (void) unsetenv("SLUICE_TEST_A");
}
END_TEST

START_TEST(a_file_that_is_too_large)
{
    char *text = malloc(CONFIG_KEYS_FILE_MAX + 2);

    ck_assert_ptr_nonnull(text);
    memset(text, '#', CONFIG_KEYS_FILE_MAX + 1);
    text[CONFIG_KEYS_FILE_MAX + 1] = '\0';
    config_free(with_file(text, 0600, true, "it is larger than 256 KiB"));
    text[CONFIG_KEYS_FILE_MAX] = '\0';
    config_free(with_file(text, 0600, true, g_file)); /* holds no key */
    free(text);
}
END_TEST

static void write_credential(const char *text)
{
    char path[128];

    (void) snprintf(path, sizeof path, "%s/%s", g_dir, CONFIG_KEYS_CREDENTIAL);
    write_file(path, text, 0600);
    (void) setenv(CREDENTIALS_DIRECTORY_VARIABLE, g_dir, 1);
}

START_TEST(a_credential)
{
    struct config *c;

    write_credential("- {id: b, sha256: " TWO_HEX "}\n");
    c = parse(ENTRY(""));
    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(c->n_keys, 2); /* the two lists add up */
    ck_assert_str_eq(c->keys[1].id, "b");
    config_free(c);

    write_credential("- {id: a, sha256: " TWO_HEX "}\n");
    config_free(expect(ENTRY(""), true,
                       "f: error: the credential sluice-keys:1:3: [0]: another key has the id"));
    write_credential("[]\n");
    config_free(expect(FINE, true, "f: error: the credential sluice-keys holds no key"));
    write_credential("");
    config_free(expect(FINE, true, "f: error: the credential sluice-keys cannot be used: it is "));
}
END_TEST

START_TEST(the_master_key_is_no_other)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_CHARS + 1], yaml[512];

    ck_assert_int_eq(sha256_of("sk-m", 4, digest), 0);
    (void) snprintf(yaml, sizeof yaml,
                    FINE "general_settings: {master_key: sk-m}\n"
                         "sluice: {keys: [{id: a, sha256: %s}]}\n",
                    sha256_format(digest, hex));
    config_free(expect(yaml, true, "f: error: the key \"a\" is the master key"));
}
END_TEST

/* Keys are a check of callers as much as a master key is. */
START_TEST(keys_guard_the_door)
{
#define LISTEN "sluice:\n  listen: [http=tcp:0.0.0.0:4000]\n"
    config_free(expect(FINE LISTEN, true, "f:3:12: error: sluice.listen[0]: others can reach"));
    config_free(
        expect(FINE LISTEN "  keys: []\n", true, "f:3:12: error: sluice.listen[0]: others"));

    struct config *c = parse(FINE LISTEN "  keys: [{id: a, sha256: " ONE_HEX "}]\n");

    ck_assert(!config_has_errors(c));
    config_free(c);
    config_free(expect(ENTRY("") "general_settings: {enable_jwt_auth: true}\n", false,
                       "f:5:20: unsupported: general_settings.enable_jwt_auth"));
    config_free(expect(FINE "sluice: {keys: []}\ngeneral_settings: {enable_jwt_auth: true}\n", true,
                       "f:3:20: error: general_settings.enable_jwt_auth"));
}
END_TEST

static void parse_once(void)
{
    struct config *c = NULL;
    int r = config_parse(str_from(ENTRY(", models: [a, b]")), &c);

    ck_assert(r == 0 || r == -ENOMEM);
    if (r == 0) {
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
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_whole_entry);
    tcase_add_test(tc, instants);
    tcase_add_test(tc, mistakes);
    tcase_add_test(tc, too_many);
    tcase_add_test(tc, no_key_is_shown);
    tcase_add_test(tc, a_file);
    tcase_add_test(tc, a_file_that_is_too_large);
    tcase_add_test(tc, a_credential);
    tcase_add_test(tc, the_master_key_is_no_other);
    tcase_add_test(tc, keys_guard_the_door);
    tcase_add_test(tc, out_of_memory);
}

TEST_MAIN("config_access", add_tests)
