/*
 * base64: what decodes must encode to the same letters again (padding apart), and any bytes must
 * survive a round trip.
 */
#include <stdint.h>
#include <stdlib.h>

#include "wire/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str in = {(const char *) bytes, n};
    struct buf out, again;

    buf_init(&out, 2 * n + 16);
    buf_init(&again, 2 * n + 16);
    if (base64_decode(&out, in) == 0) {
        require(base64_encode(&again, buf_str(&out)) == 0);
        require(again.len >= n && (n == 0 || memcmp(buf_ptr(&again), bytes, n) == 0));
    }
    buf_clear(&out);
    buf_clear(&again);
    require(base64_encode(&again, in) == 0 && base64_decode(&out, buf_str(&again)) == 0);
    require(str_is_equal(buf_str(&out), in));
    buf_done(&out);
    buf_done(&again);
    return 0;
}
