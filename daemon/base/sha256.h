#pragma once
/*
 * SHA-256 (FIPS 180-4), by libcrypto: what the configuration holds of an API key. The only place
 * that knows libcrypto.
 *
 * Takes plain pointers and needs nothing else of base, so that sluicectl can use it too.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define SHA256_BYTES     32
#define SHA256_HEX_CHARS 64

/* 0, or -ENOMEM: libcrypto cannot (out of memory, or a policy of the system forbids SHA-256). */
int sha256_of(const void *bytes, size_t n, uint8_t ret[SHA256_BYTES]) MUST_USE;

/* In a time that does not depend on where they differ. */
bool sha256_is_equal(const uint8_t a[SHA256_BYTES], const uint8_t b[SHA256_BYTES]);

/* 64 lower-case digits and a NUL. Returns ret. */
const char *sha256_format(const uint8_t digest[SHA256_BYTES], char ret[SHA256_HEX_CHARS + 1]);

/* 64 hexadecimal digits, either case, and nothing else. 0 or -EINVAL. */
int sha256_parse(const char *text, uint8_t ret[SHA256_BYTES]) MUST_USE;
