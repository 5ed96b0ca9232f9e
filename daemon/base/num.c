/*
 * See num.h. No locale: strtod() sees digits and an exponent only, as a comma locale would change
 * what configuration files mean.
 */
#include "base/num.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

int num_parse_u64(struct str s, uint64_t *ret_value)
{
    uint64_t v = 0;

    if (s.len == 0) {
        return -EINVAL;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return -EINVAL;
        }
        if (__builtin_mul_overflow(v, 10U, &v) ||
            __builtin_add_overflow(v, (uint64_t) (s.ptr[i] - '0'), &v)) {
            return -ERANGE;
        }
    }
    *ret_value = v;
    return 0;
}

int num_parse_i64(struct str s, int64_t *ret_value)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    uint64_t v;
    int r;

    if (negative) {
        s.ptr++;
        s.len--;
    }
    r = num_parse_u64(s, &v);
    if (r < 0) {
        return r;
    }
    if (v > (uint64_t) INT64_MAX + (negative ? 1U : 0U)) {
        return -ERANGE;
    }
    *ret_value = negative ? (int64_t) (0 - v) : (int64_t) v;
    return 0;
}

/* What the digits of a decimal number say: mantissa * 10^scale. */
struct decimal {
    uint64_t mantissa; /* the first 19 digits that count; a double has 17 */
    int scale;
};

/*
 * Digits at s[*i]. Returns how many; those that the mantissa has no room for count for the scale.
 */
static int eat_digits(struct str s, size_t *i, struct decimal *d)
{
    int n = 0;

    for (; *i < s.len && s.ptr[*i] >= '0' && s.ptr[*i] <= '9'; (*i)++, n++) {
        if (d->mantissa < UINT64_C(1000000000000000000)) {
            d->mantissa = d->mantissa * 10 + (uint64_t) (s.ptr[*i] - '0');
        } else {
            d->scale++;
        }
    }
    return n;
}

/* An exponent at s[*i], behind the 'e'. */
static int eat_exponent(struct str s, size_t *i, int *ret_exponent)
{
    bool is_minus = *i < s.len && s.ptr[*i] == '-';
    struct decimal d = {0};

    if (*i < s.len && (s.ptr[*i] == '-' || s.ptr[*i] == '+')) {
        (*i)++;
    }
    if (eat_digits(s, i, &d) == 0) {
        return -EINVAL;
    }

    int exponent = d.mantissa < 100000000 ? (int) d.mantissa : 100000000;

    *ret_exponent = is_minus ? -exponent : exponent;
    return 0;
}

/*
 * Exact where both factors are (Clinger, How to Read Floating Point Numbers Accurately, 1990), else
 * left to strtod().
 */
static double decimal_value(struct decimal d)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int last = (int) ARRAY_LEN(powers) - 1;

    /* FLT_EVAL_METHOD: the x87 would round twice */
    if (FLT_EVAL_METHOD == 0 && d.mantissa <= UINT64_C(1) << 53 && d.scale >= -last &&
        d.scale <= last) {
        return d.scale < 0 ? (double) d.mantissa / powers[-d.scale]
                           : (double) d.mantissa * powers[d.scale];
    }

    char text[48];

    (void) snprintf(text, sizeof text, "%llue%d", (unsigned long long) d.mantissa, d.scale);
    return strtod(text, NULL);
}

int num_parse_double(struct str s, double *ret_value)
{
    struct decimal d = {0};
    size_t i = s.len > 0 && s.ptr[0] == '-' ? 1 : 0;
    bool negative = i == 1;
    int r;

    if (eat_digits(s, &i, &d) == 0) {
        return -EINVAL;
    }
    if (i < s.len && s.ptr[i] == '.') {
        i++;

        int n = eat_digits(s, &i, &d);

        if (n == 0) {
            return -EINVAL;
        }
        d.scale -= n;
    }
    if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
        int exponent;

        i++;
        r = eat_exponent(s, &i, &exponent);
        if (r < 0) {
            return r;
        }
        d.scale += exponent;
    }
    if (i != s.len) {
        return -EINVAL;
    }

    double v = decimal_value(d);

    if (!isfinite(v)) {
        return -ERANGE;
    }
    *ret_value = negative ? -v : v;
    return 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* One "number unit" at the front of *s; the number may have a fraction. */
static int eat_quantity(struct str *s, const struct unit *units, size_t n_units,
                        uint64_t *ret_value)
{
    size_t digits = 0, letters = 0;

    while (digits < s->len &&
           ((s->ptr[digits] >= '0' && s->ptr[digits] <= '9') || s->ptr[digits] == '.')) {
        digits++;
    }
    while (digits + letters < s->len) {
        char c = s->ptr[digits + letters];

        if (c == '.' || (c >= '0' && c <= '9')) {
            break;
        }
        letters++;
    }

    struct str unit = {s->ptr + digits, letters};
    double v;
    int r = num_parse_double((struct str) {s->ptr, digits}, &v);

    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < n_units; i++) {
        if (str_is(unit, units[i].name)) {
            v *= (double) units[i].factor;
            if (v >= 9e18) {
                return -ERANGE;
            }
            *ret_value = (uint64_t) (v + 0.5);
            s->ptr += digits + letters;
            s->len -= digits + letters;
            return 0;
        }
    }
    return -EINVAL;
}

int num_parse_duration(struct str s, uint64_t *ret_usec)
{
    static const struct unit units[] = {
        {"us", 1},
        {"ms", 1000},
        {"s", USEC_PER_SEC},
        {"m", 60 * USEC_PER_SEC},
        {"min", 60 * USEC_PER_SEC},
        {"h", 3600 * USEC_PER_SEC},
        {"d", 86400 * USEC_PER_SEC},
    };
    uint64_t total = 0;

    if (str_is(s, "0")) {
        *ret_usec = 0;
        return 0;
    }
    if (s.len == 0) {
        return -EINVAL;
    }
    while (s.len > 0) {
        uint64_t part;
        int r = eat_quantity(&s, units, ARRAY_LEN(units), &part);

        if (r < 0) {
            return r;
        }
        total = usec_add(total, part);
    }
    if (total == USEC_NEVER) {
        return -ERANGE;
    }
    *ret_usec = total;
    return 0;
}

int num_parse_size(struct str s, uint64_t *ret_bytes)
{
    static const struct unit units[] = {
        {"B", 1},     {"KiB", 1024},       {"MiB", 1024 * 1024},       {"GiB", 1024 * 1024 * 1024},
        {"kB", 1000}, {"MB", 1000 * 1000}, {"GB", 1000 * 1000 * 1000},
    };
    uint64_t v;
    int r;

    if (str_is(s, "0")) {
        *ret_bytes = 0;
        return 0;
    }
    r = eat_quantity(&s, units, ARRAY_LEN(units), &v);
    if (r < 0) {
        return r;
    }
    if (s.len > 0) {
        return -EINVAL;
    }
    *ret_bytes = v;
    return 0;
}

const char *num_format_duration(uint64_t usec, char ret_text[32])
{
    if (usec == USEC_NEVER) {
        (void) snprintf(ret_text, 32, "never");
    } else if (usec % USEC_PER_SEC != 0 && usec % USEC_PER_MSEC != 0) {
        (void) snprintf(ret_text, 32, "%lluus", (unsigned long long) usec);
    } else if (usec % USEC_PER_SEC != 0) {
        (void) snprintf(ret_text, 32, "%llums", (unsigned long long) (usec / USEC_PER_MSEC));
    } else if (usec < 60 * USEC_PER_SEC || usec % (60 * USEC_PER_SEC) != 0) {
        (void) snprintf(ret_text, 32, "%llus", (unsigned long long) (usec / USEC_PER_SEC));
    } else if (usec % (3600 * USEC_PER_SEC) == 0) {
        (void) snprintf(ret_text, 32, "%lluh", (unsigned long long) (usec / (3600 * USEC_PER_SEC)));
    } else {
        (void) snprintf(ret_text, 32, "%llum", (unsigned long long) (usec / (60 * USEC_PER_SEC)));
    }
    return ret_text;
}

struct str num_format_u64(uint64_t v, char text[NUM_U64_BYTES])
{
    char *p = text + NUM_U64_BYTES;

    do {
        *--p = (char) ('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return (struct str) {p, (size_t) (text + NUM_U64_BYTES - p)};
}
