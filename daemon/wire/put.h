#pragma once
/*
 * A writer that remembers its first failure: text of many small pieces is written without a check
 * behind each, and the one who began looks at r at the end. After a failure nothing more is
 * written; the buffer then ends somewhere in the middle and is of no use.
 */
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct put {
    struct buf *out; /* borrowed */
    int r;           /* 0, -ENOMEM, -ENOBUFS */
};

void put_bytes(struct put *p, const void *bytes, size_t n);
void put_str(struct put *p, struct str s);
void put_z(struct put *p, const char *z);
void put_char(struct put *p, char c);

/* Decimal. */
void put_u64(struct put *p, uint64_t v);
void put_i64(struct put *p, int64_t v);

/* With quotes, escaped (json_write_string()). */
void put_json_string(struct put *p, struct str s);
void put_json_double(struct put *p, double v);
