/* api_base taken apart and joined with paths. */
#include <errno.h>

#include "listen.h"
#include "support.h"
#include "upstream/server_address.h"

static void expect(const char *api_base, const char *path, const char *url, const char *unix_path,
                   bool is_local)
{
    struct server_address a;

    ck_assert_int_eq(server_address_init(&a, api_base), 0);

    char *got = server_address_url(&a, path);

    ck_assert_str_eq(got, url);
    ck_assert_pstr_eq(a.unix_path, unix_path);
    ck_assert(a.is_local == is_local);
    free(got);
    server_address_done(&a);
}

START_TEST(addresses)
{
    expect("http://localhost:11434", "/api/chat", "http://localhost:11434/api/chat", NULL, true);
    expect("http://localhost:11434/", "/api/chat", "http://localhost:11434/api/chat", NULL, true);
    expect("http://127.0.0.1:8000/v1", "chat/completions",
           "http://127.0.0.1:8000/v1/chat/completions", NULL, true);
    expect("http://127.0.0.1:8000/v1", "../classify", "http://127.0.0.1:8000/classify", NULL, true);
    expect("http://127.0.0.1:8000/x/v12/", "../classify", "http://127.0.0.1:8000/x/classify", NULL,
           true);
    expect("http://127.0.0.1:8000", "../classify", "http://127.0.0.1:8000/classify", NULL, true);
    expect("http://h/dev1", "../classify", "http://h/dev1/classify", NULL, false);
    expect("http://h/v1/classify", "../classify", "http://h/v1/classify", NULL, false);
    expect("http://h/v2/rerank/", "rerank", "http://h/v2/rerank", NULL, false);
    expect("http://h/prerank", "rerank", "http://h/prerank/rerank", NULL, false);
    expect("http://[::1]:8000/v1//", "embeddings", "http://[::1]:8000/v1/embeddings", NULL, true);
    expect("https://api.example.com/v1", "embeddings", "https://api.example.com/v1/embeddings",
           NULL, false);
    expect("http://localhost.example.com/v1", "x", "http://localhost.example.com/v1/x", NULL,
           false);
    expect("http://127.example.com", "x", "http://127.example.com/x", NULL, false);
    expect("unix:/run/llama.sock", "/api/chat", "http://localhost/api/chat", "/run/llama.sock",
           true);
    expect("unix:/run/llama.sock:/v1", "embeddings", "http://localhost/v1/embeddings",
           "/run/llama.sock", true);
}
END_TEST

START_TEST(what_is_no_address)
{
    static const char *const bad[] = {
        "",      "localhost:11434", "ftp://x",           "unix:relative",
        "unix:", "unix:/a:b",       "file:///etc/passwd"};
    struct server_address a;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(server_address_init(&a, bad[i]) == -EINVAL, "took %s", bad[i]);
    }
}
END_TEST

static void once(void)
{
    struct server_address a;

    if (server_address_init(&a, "http://localhost:1/v1") == 0) {
        free(server_address_url(&a, "x"));
        server_address_done(&a);
    }
    free(server_address_shown("http://u:p@localhost/v1?key=k"));
}

static void shows(const char *api_base, const char *want)
{
    char *shown = server_address_shown(api_base);

    ck_assert_str_eq(shown, want);
    free(shown);
}

START_TEST(what_is_shown_has_no_secret)
{
    shows(NULL, "");
    shows("", "");
    shows("http://127.0.0.1:11434", "http://127.0.0.1:11434");
    shows("https://api.example.com/v1/", "https://api.example.com/v1/");
    shows("unix:/run/llama.sock:/v1", "unix:/run/llama.sock:/v1");
    shows("http://h?key=secret", "http://h");
    shows("http://h/v1?key=secret#f", "http://h/v1");
    shows("http://h/v1#secret", "http://h/v1");
    shows("http://user@h:1/v1", "http://h:1/v1");
    shows("http://user:pass@h/v1", "http://h/v1");
    shows("http://user:p@ss@h/v1", "http://h/v1");
    shows("http://user:secret@", "http://");
    shows("http://?u=http://x:y@z", "http://");
    /* what cannot be told apart is not shown at all */
    shows("http://user:se/cret@h/v1", "");
    shows("http://h/v1/@me", "");
    shows("user:secret@h:1", "");
    shows("http:/user:secret@h", "");
    shows("localhost:11434", "localhost:11434");
    shows("h?to=http://x", "h");
}
END_TEST

START_TEST(survives_every_failed_allocation)
{
    for_each_failed_allocation(once);
}
END_TEST

START_TEST(remote_listeners)
{
    ck_assert(!listen_is_remote("unix:/run/x.sock"));
    ck_assert(!listen_is_remote("tcp:127.0.0.1:4000"));
    ck_assert(!listen_is_remote("tcp:127.8.8.8:4000"));
    ck_assert(!listen_is_remote("tcp:localhost:4000"));
    ck_assert(!listen_is_remote("tcp:[::1]:4000"));
    ck_assert(listen_is_remote("tcp:0.0.0.0:4000"));
    ck_assert(listen_is_remote("tcp:[::]:4000"));
    ck_assert(listen_is_remote("tcp:127.example.com:4000"));
    ck_assert(listen_is_remote("tcp:192.168.1.2:4000"));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, addresses);
    tcase_add_test(tc, what_is_no_address);
    tcase_add_test(tc, what_is_shown_has_no_secret);
    tcase_add_test(tc, survives_every_failed_allocation);
    tcase_add_test(tc, remote_listeners);
}
TEST_MAIN("server_address", add_tests)
