/* What an Ollama server says of itself: its version, and what it has in memory. */
#include "wire/ollama_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support.h"

static struct ollama_loaded_list g_list;

static void teardown(void)
{
    ollama_loaded_list_done(&g_list);
}

static const struct ollama_loaded *one_of(const char *model)
{
    static char body[4096];

    (void) snprintf(body, sizeof body, "{\"models\":[%s]}", model);
    ollama_loaded_list_done(&g_list);
    ck_assert_int_eq(ollama_read_loaded(str_from(body), &g_list), 0);
    ck_assert_uint_eq(g_list.n, 1);
    return &g_list.models[0];
}

/* As 0.34.3 says it, members that nobody needs included. */
START_TEST(a_model_in_memory)
{
    const struct ollama_loaded *m = one_of(
        "{\"name\":\"tiny:latest\",\"model\":\"tiny:latest\",\"size\":3837787,\"digest\":\"c3ce\","
        "\"details\":{\"name\":\"no\",\"families\":[\"llama\"]},"
        "\"expires_at\":\"2026-11-22T13:49:32.409631763Z\",\"size_vram\":12,"
        "\"context_length\":2048}");

    ck_assert_str_eq(m->name, "tiny:latest");
    ck_assert_str_eq(m->digest, "c3ce");
    ck_assert_uint_eq(m->size_bytes, 3837787);
    ck_assert_uint_eq(m->vram_bytes, 12);
    ck_assert_uint_eq(m->context_tokens, 2048);
    ck_assert_uint_eq(m->expires_wall_usec, UINT64_C(1795355372409631));
}
END_TEST

START_TEST(what_is_not_said_or_makes_no_sense)
{
    static const char *const models[] = {
        "{\"name\":\"m\"}",
        "{\"model\":\"m\"}",
        "{\"name\":null,\"model\":\"m\",\"size\":null,\"digest\":null}",
        "{\"name\":\"m\",\"size\":\"x\",\"size_vram\":-1,\"context_length\":2.5}",
        "{\"name\":\"m\",\"size\":1e300,\"digest\":7,\"expires_at\":{}}",
        "{\"name\":\"m\",\"size\":99999999999999999999,\"digest\":\"\",\"expires_at\":\"soon\"}",
    };

    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        const struct ollama_loaded *m = one_of(models[i]);

        ck_assert_str_eq(m->name, "m");
        ck_assert_str_eq(m->digest, "");
        ck_assert_uint_eq(m->size_bytes, 0);
        ck_assert_uint_eq(m->vram_bytes, 0);
        ck_assert_uint_eq(m->context_tokens, 0);
        ck_assert_uint_eq(m->expires_wall_usec, 0);
    }
}
END_TEST

START_TEST(when_it_expires)
{
    static const struct {
        const char *text;
        uint64_t usec;
    } cases[] = {
        {"1970-01-01T00:00:01Z", 1000000},
        {"1970-01-01T00:00:01", 1000000},
        {"1970-01-01T00:00:01.5", 1500000},
        {"1970-01-01T02:00:01.000001+02:00", 1000001},
        {"1969-12-31T22:00:01-02:00", 0}, /* its year is before 1970 */
        {"1970-01-01T00:00:01-07:30", UINT64_C(27001000000)},
        {"2024-02-29T12:00:00Z", UINT64_C(1709208000000000)},
        {"2319-03-04T05:06:07.123456789Z", UINT64_C(11018696767123456)}, /* keep_alive -1 */
        {"0001-01-01T00:00:00Z", 0},                                     /* Go's zero time */
        {"1970-01-01T00:00:00Z", 0},
        {"2026-13-01T00:00:00Z", 0},
        {"2026-00-01T00:00:00Z", 0},
        {"2026-01-32T00:00:00Z", 0},
        {"2026-01-01T24:00:00Z", 0},
        {"2026-01-01T00:60:00Z", 0},
        {"2026-01-01T00:00:61Z", 0},
        {"2026-01-01T00:00:00+2:00", 0},
        {"2026-01-01T00:00:00+24:00", 0},
        {"2026-01-01T00:00:00+xx:00", 0},
        {"2026-01-01T00:00:00 Z", 0},
        {"2026-01-01", 0},
        {"2026-01-01 00:00:00Z", 0},
        {"-026-01-01T00:00:00Z", 0},
        {"", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char model[128];

        (void) snprintf(model, sizeof model, "{\"name\":\"m\",\"expires_at\":\"%s\"}",
                        cases[i].text);
        ck_assert_msg(one_of(model)->expires_wall_usec == cases[i].usec, "%s is %" PRIu64,
                      cases[i].text, g_list.models[0].expires_wall_usec);
    }
}
END_TEST

static size_t count(const char *models)
{
    char body[2048];

    (void) snprintf(body, sizeof body, "{\"models\":%s}", models);
    ollama_loaded_list_done(&g_list);
    ck_assert_int_eq(ollama_read_loaded(str_from(body), &g_list), 0);
    return g_list.n;
}

START_TEST(what_is_left_out)
{
    char long_name[600];

    ck_assert_uint_eq(count("[]"), 0);
    ck_assert_uint_eq(count("null"), 0);
    ck_assert_uint_eq(count("[7,null,\"m\",[],{},{\"name\":7},{\"name\":\"\"},"
                            "{\"name\":\"a\\u0007b\"},{\"name\":\"a\\u0000b\"},{\"name\":\"b\"}]"),
                      1);
    ck_assert_str_eq(g_list.models[0].name, "b");
    (void) snprintf(long_name, sizeof long_name, "[{\"name\":\"%0*d\"},{\"name\":\"%0*d\"}]", 256,
                    0, 257, 0);
    ck_assert_uint_eq(count(long_name), 1);
    ck_assert_uint_eq(strlen(g_list.models[0].name), 256);
}
END_TEST

START_TEST(limits)
{
    struct buf body;

    buf_init(&body, 1 << 16);
    ck_assert_int_eq(buf_append_z(&body, "{\"models\":[null"), 0);
    for (int i = 0; i < 2 * OLLAMA_LOADED_MAX_MODELS; i++) {
        ck_assert_int_eq(buf_printf(&body, ",{\"name\":\"m%d\"}", i), 0);
    }
    ck_assert_int_eq(buf_append_z(&body, "]}"), 0);
    ck_assert_int_eq(ollama_read_loaded(buf_str(&body), &g_list), 0);
    ck_assert_uint_eq(g_list.n, OLLAMA_LOADED_MAX_MODELS);
    ck_assert_str_eq(g_list.models[OLLAMA_LOADED_MAX_MODELS - 1].name, "m63");
    buf_done(&body);
}
END_TEST

START_TEST(what_is_no_list)
{
    static const char *const bodies[] = {
        "", "7", "[]", "{}", "{\"models\":7}", "{\"models\":{}}", "{", "<html>"};

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        ck_assert_int_eq(ollama_read_loaded(str_from(bodies[i]), &g_list), -EBADMSG);
        ck_assert_ptr_null(g_list.models);
    }
}
END_TEST

START_TEST(versions)
{
    static const struct {
        const char *body, *version; /* "": refused */
    } cases[] = {
        {"{\"version\":\"0.34.3\"}", "0.34.3"},
        {"{\"x\":1,\"version\":\"0.34.3-rc1-12-gdeadbee\"} ", "0.34.3-rc1-12-gdeadbee"},
        {"{\"version\":\"12345678901234567890123456789012345678901234567\"}",
         "12345678901234567890123456789012345678901234567"},
        {"{\"version\":\"123456789012345678901234567890123456789012345678\"}", ""},
        {"{\"version\":\"\"}", ""},
        {"{\"version\":\"0.34 \"}", ""},
        {"{\"version\":\"\\u001b[2J\"}", ""},
        {"{\"version\":\"0\\u00003\"}", ""},
        {"{\"version\":\"\xc3\xa4\"}", ""},
        {"{\"version\":0.34}", ""},
        {"{\"version\":null}", ""},
        {"{}", ""},
        {"\"0.34.3\"", ""},
        {"", ""},
        {"Ollama is running", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char version[OLLAMA_VERSION_BYTES] = "before";

        ck_assert_int_eq(ollama_read_version(str_from(cases[i].body), version),
                         cases[i].version[0] ? 0 : -EBADMSG);
        ck_assert_str_eq(version, cases[i].version);
    }
}
END_TEST

static void once(void)
{
    struct ollama_loaded_list list;
    char version[OLLAMA_VERSION_BYTES];
    int r = ollama_read_loaded(STR_LIT("{\"models\":[{\"name\":\"a\",\"digest\":\"b\","
                                       "\"expires_at\":\"1970-01-01T00:00:01Z\"},{}]}"),
                               &list);

    ck_assert(r == 0 || r == -ENOMEM);
    if (r == 0) {
        ck_assert_uint_eq(list.n, 1);
        ck_assert_uint_eq(list.models[0].expires_wall_usec, 1000000);
        ollama_loaded_list_done(&list);
    }
    r = ollama_read_version(STR_LIT("{\"version\":\"0.34.3\"}"), version);
    ck_assert(r == 0 || (r == -ENOMEM && version[0] == '\0'));
}

START_TEST(every_allocation_failed_once)
{
    for_each_failed_allocation(once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, a_model_in_memory);
    tcase_add_test(tc, what_is_not_said_or_makes_no_sense);
    tcase_add_test(tc, when_it_expires);
    tcase_add_test(tc, what_is_left_out);
    tcase_add_test(tc, limits);
    tcase_add_test(tc, what_is_no_list);
    tcase_add_test(tc, versions);
    tcase_add_test(tc, every_allocation_failed_once);
}

TEST_MAIN("ollama_state", add_tests)
