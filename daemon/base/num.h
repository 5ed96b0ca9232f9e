#pragma once
/*
 * Numbers from text, strictly: the whole string or nothing. All return 0, -EINVAL (not such a
 * number) or -ERANGE.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/str.h"

int num_parse_u64(struct str s, uint64_t *ret_value) MUST_USE;
int num_parse_i64(struct str s, int64_t *ret_value) MUST_USE;

/* Decimal floating point as JSON writes it (RFC 8259 section 6), independent of the locale. */
int num_parse_double(struct str s, double *ret_value) MUST_USE;

/*
 * "250ms", "30s", "5m", "1h30m", "2d", "10us", "1.5s"; "0" needs no unit; a number without unit is
 * -EINVAL.
 */
int num_parse_duration(struct str s, uint64_t *ret_usec) MUST_USE;

/* "64KiB", "4MiB", "1GiB", "512B"; powers of 1000 as kB, MB, GB; "0" needs no unit. */
int num_parse_size(struct str s, uint64_t *ret_bytes) MUST_USE;

/*
 * The shortest of the forms above that is exact, for messages: "30s", "250ms", "90m". ret_text:
 * 32 bytes.
 */
const char *num_format_duration(uint64_t usec, char ret_text[32]);

#define NUM_U64_BYTES 20 /* digits of UINT64_MAX */

/* Decimal, without NUL; lies in text. For what every request pays for, in place of snprintf(). */
struct str num_format_u64(uint64_t v, char text[NUM_U64_BYTES]);

static inline uint64_t num_clamp_u64(uint64_t v, uint64_t low, uint64_t high)
{
    return v < low ? low : v > high ? high : v;
}
