/*
 * SHA-256 through EVP_Digest(3). Every process that has Debian's libcurl has libcrypto already, so
 * sluiced pays nothing for it.
 *
 * Owns nothing. Must not: keep or log what it was given.
 */
#include "base/sha256.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

int sha256_of(const void *bytes, size_t n, uint8_t ret[SHA256_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    /* SHA-256 itself cannot fail; getting at it can */
    if (EVP_Digest(bytes, n, digest, &len, EVP_sha256(), NULL) != 1 || len != SHA256_BYTES) {
        return -ENOMEM;
    }
    memcpy(ret, digest, SHA256_BYTES);
    return 0;
}

bool sha256_is_equal(const uint8_t a[SHA256_BYTES], const uint8_t b[SHA256_BYTES])
{
    return CRYPTO_memcmp(a, b, SHA256_BYTES) == 0;
}

const char *sha256_format(const uint8_t digest[SHA256_BYTES], char ret[SHA256_HEX_CHARS + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < SHA256_BYTES; i++) {
        ret[2 * i] = digits[digest[i] >> 4];
        ret[2 * i + 1] = digits[digest[i] & 0xf];
    }
    ret[SHA256_HEX_CHARS] = '\0';
    return ret;
}

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int sha256_parse(const char *text, uint8_t ret[SHA256_BYTES])
{
    uint8_t digest[SHA256_BYTES];

    if (strlen(text) != SHA256_HEX_CHARS) {
        return -EINVAL;
    }
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return -EINVAL;
        }
        digest[i] = (uint8_t) (high << 4 | low);
    }
    memcpy(ret, digest, SHA256_BYTES);
    return 0;
}
