/*
 * See put.h. Functions and not inline code, since there are hundreds of calls and the daemon is to
 * stay small.
 */
#include "wire/put.h"

#include "base/num.h"
#include "wire/json.h"

void put_bytes(struct put *p, const void *bytes, size_t n)
{
    if (p->r == 0) {
        p->r = buf_append(p->out, bytes, n);
    }
}

void put_str(struct put *p, struct str s)
{
    put_bytes(p, s.ptr, s.len);
}

void put_z(struct put *p, const char *z)
{
    put_bytes(p, z, strlen(z));
}

void put_char(struct put *p, char c)
{
    put_bytes(p, &c, 1);
}

void put_u64(struct put *p, uint64_t v)
{
    char text[NUM_U64_BYTES];

    put_str(p, num_format_u64(v, text));
}

void put_i64(struct put *p, int64_t v)
{
    put_z(p, v < 0 ? "-" : "");
    put_u64(p, v < 0 ? 0 - (uint64_t) v : (uint64_t) v);
}

void put_json_string(struct put *p, struct str s)
{
    if (p->r == 0) {
        p->r = json_write_string(p->out, s);
    }
}

void put_json_double(struct put *p, double v)
{
    if (p->r == 0) {
        p->r = json_write_double(p->out, v);
    }
}
