/* base64: the test vectors of RFC 4648, odd input, limits, round trips. */
#include "wire/base64.h"

#include <errno.h>

#include "support.h"

static const struct {
    const char *bytes, *text;
} vectors[] = {
    /* RFC 4648 section 10 */
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xff\xef\xbe", "/+++"},
};

START_TEST(encodes_and_decodes_the_vectors)
{
    struct buf out;

    buf_init(&out, 64);
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        buf_clear(&out);
        ck_assert_int_eq(base64_encode(&out, str_from(vectors[i].bytes)), 0);
        ck_assert_str_is(buf_str(&out), vectors[i].text);
        buf_clear(&out);
        ck_assert_int_eq(base64_decode(&out, str_from(vectors[i].text)), 0);
        ck_assert_str_is(buf_str(&out), vectors[i].bytes);
    }
    buf_done(&out);
}
END_TEST

START_TEST(decodes_without_padding)
{
    struct buf out;

    buf_init(&out, 64);
    ck_assert_int_eq(base64_decode(&out, STR_LIT("Zg")), 0);
    ck_assert_int_eq(base64_decode(&out, STR_LIT("Zm8")), 0);
    ck_assert_str_is(buf_str(&out), "ffo");
    buf_done(&out);
}
END_TEST

START_TEST(refuses_odd_text)
{
    static const char *const odd[] = {
        "Z",    "Zm9vY", "Zg=",  "Zg===", "=",    "====",  "Z===",     "Zm=v",     "Z g=",
        "Zg\n", "Zh==",  "Zm9=", "Zm9-",  "Zm_v", "Zm9v=", "Zg==Zg==", "\xc3\xa9",
    };
    struct buf out;

    buf_init(&out, 64);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        ck_assert_msg(base64_decode(&out, str_from(odd[i])) == -EBADMSG, "took '%s'", odd[i]);
        ck_assert_uint_eq(out.len, 0);
    }
    buf_done(&out);
}
END_TEST

START_TEST(every_byte_survives)
{
    char bytes[256];
    struct buf text, out;

    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char) (i * 7);
    }
    buf_init(&text, 1024);
    buf_init(&out, 1024);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        struct str in = {bytes, n};

        buf_clear(&text);
        buf_clear(&out);
        ck_assert_int_eq(base64_encode(&text, in), 0);
        ck_assert_uint_eq(text.len, base64_encoded_size(n));
        ck_assert_int_eq(base64_decode(&out, buf_str(&text)), 0);
        ck_assert(str_is_equal(buf_str(&out), in));
    }
    buf_done(&text);
    buf_done(&out);
}
END_TEST

START_TEST(keeps_to_the_maximum)
{
    struct buf out;

    buf_init(&out, 4);
    ck_assert_int_eq(base64_encode(&out, STR_LIT("foob")), -ENOBUFS);
    ck_assert_int_eq(base64_encode(&out, STR_LIT("foo")), 0);
    ck_assert_int_eq(base64_decode(&out, STR_LIT("Zg==")), -ENOBUFS);
    buf_clear(&out);
    ck_assert_int_eq(base64_decode(&out, STR_LIT("Zm9vYg==")), 0);
    buf_done(&out);
}
END_TEST

START_TEST(survives_failed_allocations)
{
    struct buf out;

    buf_init(&out, 64);
    fail_allocation(1);
    ck_assert_int_eq(base64_encode(&out, STR_LIT("foo")), -ENOMEM);
    fail_allocation(1);
    ck_assert_int_eq(base64_decode(&out, STR_LIT("Zm9v")), -ENOMEM);
    fail_allocation(0);
    ck_assert_uint_eq(out.len, 0);
    buf_done(&out);
}
END_TEST

START_TEST(normalises_what_clients_send)
{
    static const struct {
        const char *text, *want; /* NULL: refused */
    } cases[] = {
        {"Zm9v", "Zm9v"},       {"Zg==", "Zg=="},   {"Zg", "Zg=="},   {"Zm8", "Zm8="},
        {"Zm\r\n9v\n", "Zm9v"}, {"Zg=\n=", "Zg=="}, {"Z\ng", "Zg=="}, {"", NULL},
        {"\n", NULL},           {"=", NULL},        {"Z", NULL},      {"Zm9vZ", NULL},
        {"Zg=", NULL},          {"Zg===", NULL},    {"Zm9v=", NULL},  {"Z=g=", NULL},
        {"Zh==", NULL},         {"Zm9=", NULL},     {"Zm 9v", NULL},  {"Zm-_", NULL},
        {"Zm9v\xc3\xa9", NULL},
    };
    struct arena a;

    arena_init(&a, 1024);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str ret = STR_NONE;
        int r = base64_normalise(str_from(cases[i].text), &a, &ret);

        ck_assert_msg(r == (cases[i].want ? 0 : -EBADMSG), "%zu: %d", i, r);
        ck_assert(!cases[i].want || str_is(ret, cases[i].want));
        ck_assert(cases[i].want || !ret.ptr);
    }
    arena_done(&a);

    struct str ret = STR_NONE;

    arena_init(&a, 1024);
    fail_allocation(1);
    ck_assert_int_eq(base64_normalise(STR_LIT("Zg"), &a, &ret), -ENOMEM);
    fail_allocation(0);
    arena_done(&a);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, encodes_and_decodes_the_vectors);
    tcase_add_test(tc, decodes_without_padding);
    tcase_add_test(tc, refuses_odd_text);
    tcase_add_test(tc, every_byte_survives);
    tcase_add_test(tc, keeps_to_the_maximum);
    tcase_add_test(tc, survives_failed_allocations);
    tcase_add_test(tc, normalises_what_clients_send);
}

TEST_MAIN("base64", add_tests)
