/* Which hosts are this machine. Nothing is looked up and nothing sent. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/own_host.h"
#include "support.h"

static void check(const char *host, bool is_own)
{
    ck_assert_msg(own_host_is(str_from(host)) == is_own, "%s", host);
}

START_TEST(names_and_addresses_that_are_always_here)
{
    static const char *const own[] = {"localhost",
                                      "LocalHost",
                                      "models.localhost",
                                      "127.0.0.1",
                                      "127.7.7.7",
                                      "0.0.0.0",
                                      "127.1",
                                      "[::1]",
                                      "::1",
                                      "[::]",
                                      "::ffff:127.0.0.1",
                                      "[0:0:0:0:0:0:0:1]"};

    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        check(own[i], true);
    }
}
END_TEST

/* TEST-NET-3 (RFC 5737) and the documentation prefix (RFC 3849) are nobody's. */
START_TEST(what_is_elsewhere_or_not_known)
{
    static const char *const others[] = {
        "",
        "api.example.com",
        "localhost.example.com",
        "127.example.com",
        ".localhost",
        "mylocalhost",
        "203.0.113.7",
        "::ffff:203.0.113.7",
        "[2001:db8::7]",
        "2130706433",
        "[::1",
        "[]",
        "1:2",
        "a-name-that-is-longer-than-any-address-of-version-six-could-be-written"};

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        check(others[i], false);
    }
}
END_TEST

START_TEST(the_addresses_of_its_interfaces)
{
    struct ifaddrs *all = NULL;
    unsigned n = 0;

    ck_assert_int_eq(getifaddrs(&all), 0);
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        const void *at = NULL;

        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET) {
            at = &((const struct sockaddr_in *) (const void *) i->ifa_addr)->sin_addr;
        } else if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6) {
            at = &((const struct sockaddr_in6 *) (const void *) i->ifa_addr)->sin6_addr;
        }
        if (!at || (i->ifa_addr->sa_family == AF_INET6 &&
                    IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *) at))) {
            continue; /* those mean nothing without the interface */
        }
        ck_assert_ptr_nonnull(inet_ntop(i->ifa_addr->sa_family, at, text, sizeof text));
        check(text, true);
        n++;
    }
    ck_assert_uint_gt(n, 0);
    freeifaddrs(all);
}
END_TEST

START_TEST(its_own_name)
{
    char name[HOST_NAME_MAX + 1] = "";

    ck_assert_int_eq(gethostname(name, sizeof name - 1), 0);
    check(name, name[0] != '\0');
    (void) strncat(name, ".example.com", sizeof name - strlen(name) - 1);
    check(name, false);
}
END_TEST

START_TEST(of_urls)
{
    static const struct {
        const char *url;
        bool is_own;
    } rows[] = {{"http://localhost:11434/v1", true},
                {"https://127.0.0.1", true},
                {"http://[::1]:8080/v1", true},
                {"http://[::1]", true},
                {"http://user:p@ss@127.0.0.1:1", true},
                {"http://0.0.0.0:11434", true},
                {"http://api.example.com/http://localhost", false},
                {"http://localhost@203.0.113.7/", false},
                {"http://[::1", false},
                {"http://", false},
                {"localhost", false},
                {"", false}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_msg(own_host_of_url(rows[i].url) == rows[i].is_own, "%s", rows[i].url);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, names_and_addresses_that_are_always_here);
    tcase_add_test(tc, what_is_elsewhere_or_not_known);
    tcase_add_test(tc, the_addresses_of_its_interfaces);
    tcase_add_test(tc, its_own_name);
    tcase_add_test(tc, of_urls);
}
TEST_MAIN("own_host", add_tests)
