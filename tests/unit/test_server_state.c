/*
 * server_state: what is told of a model server, how often, and under which name.
 */
#include "support.h"

#include <errno.h>

#include "upstream/server_state.h"
#include "upstream/upstreams.h"

static struct upstreams g_up;
static struct server_report g_last;
static unsigned g_n_reports;

static void on_server(void *ctx, const struct server_report *report)
{
    ck_assert_ptr_eq(ctx, &g_up);
    g_last = *report;
    g_n_reports++;
}

static void setup(void)
{
    g_up = (struct upstreams) {.hooks = {.ctx = &g_up, .on_server = on_server}};
    list_init(&g_up.servers);
    g_n_reports = 0;
}

static struct server_state *server(const char *api_base)
{
    struct server_state *s = NULL;

    ck_assert_int_eq(server_state_ref(&g_up, api_base, &s), 0);
    return s;
}

START_TEST(each_change_once)
{
    struct server_state *s = server("http://h:1");

    server_state_answered(s, 5);
    ck_assert_uint_eq(g_n_reports, 0); /* as it should be */
    server_state_failed(s, ERRCODE_UPSTREAM_UNREACHABLE, "refused", 100);
    ck_assert_uint_eq(g_n_reports, 1);
    ck_assert(g_last.is_down && server_state_is_down(s));
    ck_assert_str_eq(g_last.server, "http://h:1");
    ck_assert_str_eq(g_last.why, "refused");
    ck_assert_int_eq(g_last.code, ERRCODE_UPSTREAM_UNREACHABLE);
    server_state_failed(s, ERRCODE_UPSTREAM_TIMEOUT, "late", 200);
    server_state_failed(s, ERRCODE_UPSTREAM_UNREACHABLE, "refused", 300);
    ck_assert_uint_eq(g_n_reports, 1);
    server_state_answered(s, 1100);
    server_state_answered(s, 1200);
    ck_assert_uint_eq(g_n_reports, 2);
    ck_assert(!g_last.is_down && !server_state_is_down(s));
    ck_assert_uint_eq(g_last.down_usec, 1000);
    ck_assert_uint_eq(g_last.n_failures, 3);
    server_state_failed(s, ERRCODE_UPSTREAM_UNREACHABLE, "refused", 2000);
    server_state_answered(s, 2001);
    ck_assert_uint_eq(g_n_reports, 4);
    ck_assert_uint_eq(g_last.n_failures, 1);
    server_state_unref(s);
    ck_assert(list_is_empty(&g_up.servers));
}
END_TEST

/* What was believed of its memory ends where nobody was there, not where somebody was slow. */
START_TEST(epochs)
{
    struct server_state *s;

    ck_assert_int_eq(server_state_ref(&g_up, "http://epoch", &s), 0);
    server_state_failed(s, ERRCODE_UPSTREAM_TIMEOUT, "slow", 1);
    ck_assert_uint_eq(server_state_epoch(s), 0);
    server_state_failed(s, ERRCODE_UPSTREAM_UNREACHABLE, "refused", 2);
    ck_assert_uint_eq(server_state_epoch(s), 1);
    server_state_answered(s, 3);
    ck_assert_uint_eq(server_state_epoch(s), 1);
    server_state_failed(s, ERRCODE_UPSTREAM_UNREACHABLE, "refused", 4);
    ck_assert_uint_eq(server_state_epoch(s), 2);
    server_state_unref(s);
}
END_TEST

START_TEST(shared_by_address)
{
    struct server_state *a = server("http://h:1"), *b = server("http://h:2"),
                        *again = server("http://h:1");

    ck_assert_ptr_eq(a, again);
    ck_assert_ptr_ne(a, b);
    server_state_failed(b, ERRCODE_UPSTREAM_TIMEOUT, "late", 1);
    ck_assert(!server_state_is_down(a));
    ck_assert_ptr_null(server_state_unref(a));
    server_state_failed(again, ERRCODE_UPSTREAM_TIMEOUT, "late", 1); /* still there */
    server_state_unref(again);
    server_state_unref(b);
    ck_assert_ptr_null(server_state_unref(NULL));
    ck_assert(list_is_empty(&g_up.servers));
}
END_TEST

START_TEST(names_without_secrets)
{
    static const char *const names[][2] = {
        {"http://127.0.0.1:11434", "http://127.0.0.1:11434"},
        {"https://user:secret@h:1/v1", "https://h:1/v1"},
        {"https://a@b:c@h/v1@x", "https://h/v1@x"},
        {"https://h/v1?key=secret#f", "https://h/v1"},
        {"https://u:p@h?@", "https://h"},
        {"unix:/run/ollama.sock", "unix:/run/ollama.sock"},
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct server_state *s = server(names[i][0]);

        ck_assert_str_eq(server_state_name(s), names[i][1]);
        server_state_unref(s);
    }
}
END_TEST

START_TEST(where_it_is)
{
    struct server_state *s = server("unix:/run/ollama.sock"), *none = NULL;

    ck_assert_str_eq(server_state_address(s)->unix_path, "/run/ollama.sock");
    ck_assert(server_state_address(s)->is_local);
    ck_assert_ptr_eq(server_state_retain(s), s);
    server_state_unref(s);
    ck_assert_str_eq(server_state_name(s), "unix:/run/ollama.sock"); /* still there */
    server_state_unref(s);
    ck_assert_int_eq(server_state_ref(&g_up, "", &none), -EINVAL);
    ck_assert(!none && list_is_empty(&g_up.servers));
}
END_TEST

START_TEST(nobody_listens)
{
    struct server_state *s = server("http://h:1");

    g_up.hooks.on_server = NULL;
    server_state_failed(s, ERRCODE_UPSTREAM_TIMEOUT, "late", 1);
    ck_assert(server_state_is_down(s));
    server_state_unref(s);
}
END_TEST

static void make_one(void)
{
    struct server_state *s = NULL;
    int r = server_state_ref(&g_up, "https://u:p@h", &s);

    ck_assert(r == 0 || r == -ENOMEM);
    ck_assert_int_eq(r == 0, s != NULL);
    server_state_unref(s);
    ck_assert(list_is_empty(&g_up.servers));
}

START_TEST(without_memory)
{
    for_each_failed_allocation(make_one);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, each_change_once);
    tcase_add_test(tc, epochs);
    tcase_add_test(tc, shared_by_address);
    tcase_add_test(tc, names_without_secrets);
    tcase_add_test(tc, where_it_is);
    tcase_add_test(tc, nobody_listens);
    tcase_add_test(tc, without_memory);
}

TEST_MAIN("server_state", add_tests)
