/* sha256: FIPS 180-4's own examples, and digests as text and back. */
#include "base/sha256.h"

#include <errno.h>
#include <string.h>

#include "support.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define TWO   "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"

static void check(const char *text, const char *expected)
{
    uint8_t digest[SHA256_BYTES], parsed[SHA256_BYTES];
    char hex[SHA256_HEX_CHARS + 1];

    ck_assert_int_eq(sha256_of(text, strlen(text), digest), 0);
    ck_assert_str_eq(sha256_format(digest, hex), expected);
    ck_assert_int_eq(sha256_parse(hex, parsed), 0);
    ck_assert(sha256_is_equal(digest, parsed));
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        parsed[i] ^= 0x80;
        ck_assert(!sha256_is_equal(digest, parsed));
        parsed[i] ^= 0x80;
    }
}

START_TEST(known_digests)
{
    check("", EMPTY);
    check("abc", ABC);
    check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", TWO);
}
END_TEST

START_TEST(text_is_read_strictly)
{
    static const char *const bad[] = {
        "",
        "ab",
        ABC "0",
        " " ABC,
        "0x" ABC,
        "g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85\n"};
    uint8_t digest[SHA256_BYTES], upper[SHA256_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(sha256_parse(bad[i], digest) == -EINVAL, "took '%s'", bad[i]);
    }
    ck_assert_int_eq(sha256_parse(ABC, digest), 0);
    ck_assert_int_eq(
        sha256_parse("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", upper), 0);
    ck_assert(sha256_is_equal(digest, upper));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, known_digests);
    tcase_add_test(tc, text_is_read_strictly);
}

TEST_MAIN("sha256", add_tests)
