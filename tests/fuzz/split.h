#pragma once
/* What reads a stream must not care how it is split: for fuzzers of such readers. */
#include <assert.h>
#include <stdint.h>

#include "base/buf.h"

/* Reads text in pieces of step bytes and writes what it found. The answer is its own. */
typedef int (*read_fn)(struct str text, size_t step, struct buf *out);

/*
 * The first byte says how the rest is split, in pieces of at most max_step bytes: what is found, and
 * the answer, must be those of one piece. Returns the answer.
 */
static inline int check_split(const uint8_t *bytes, size_t n, unsigned max_step, read_fn read)
{
    struct str text = {(const char *) bytes + 1, n - 1};
    struct buf whole, split;
    int r;

    buf_init(&whole, 8 * n + 64);
    buf_init(&split, 8 * n + 64);
    r = read(text, n, &whole);
    assert(read(text, 1 + bytes[0] % max_step, &split) == r);
    assert(str_is_equal(buf_str(&whole), buf_str(&split)));
    buf_done(&whole);
    buf_done(&split);
    return r;
}
