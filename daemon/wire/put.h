#pragma once
/*
 * A writer that remembers its first failure: text of many small pieces is written without a check behind each, and the one who began looks at
 * r at the end. After a failure nothing more is written; the buffer then ends somewhere in the middle and is of no use.
 */
#include "base/buf.h"
#include "wire/json.h"

struct put {
    struct buf *out; /* borrowed */
    int r;           /* 0, -ENOMEM, -ENOBUFS */
};

static inline void put_bytes(struct put *p, const void *bytes, size_t n)
{
    if (p->r == 0) {
        p->r = buf_append(p->out, bytes, n);
    }
}

static inline void put_str(struct put *p, struct str s)
{
    put_bytes(p, s.ptr, s.len);
}

static inline void put_z(struct put *p, const char *z)
{
    put_bytes(p, z, strlen(z));
}

static inline void put_char(struct put *p, char c)
{
    put_bytes(p, &c, 1);
}

static inline void put_u64(struct put *p, uint64_t v)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[sizeof digits - ++n] = (char) ('0' + v % 10);
        v /= 10;
    } while (v > 0);
    put_bytes(p, digits + sizeof digits - n, n);
}

/* With quotes, escaped. */
static inline void put_json_string(struct put *p, struct str s)
{
    if (p->r == 0) {
        p->r = json_write_string(p->out, s);
    }
}
