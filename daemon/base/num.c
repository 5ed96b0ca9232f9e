/*
 * See num.h. No locale: strtod() is not used, as a comma locale would change what configuration files mean.
 */
#include "base/num.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

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

/* Digits at s[*i]: accumulates into *mantissa while it is exact, counts the scale otherwise. Returns how many. */
static size_t eat_digits(struct str s, size_t *i, double *mantissa, int *dropped)
{
    size_t n = 0;

    for (; *i < s.len && s.ptr[*i] >= '0' && s.ptr[*i] <= '9'; (*i)++, n++) {
        if (*mantissa < 1e17) {
            *mantissa = *mantissa * 10 + (s.ptr[*i] - '0');
        } else {
            (*dropped)++;
        }
    }
    return n;
}

int num_parse_double(struct str s, double *ret_value)
{
    double mantissa = 0;
    int dropped = 0, scale = 0;
    size_t i = s.len > 0 && s.ptr[0] == '-' ? 1 : 0;
    bool negative = i == 1;

    if (eat_digits(s, &i, &mantissa, &dropped) == 0) {
        return -EINVAL;
    }
    scale = dropped;
    if (i < s.len && s.ptr[i] == '.') {
        i++;
        dropped = 0;

        size_t n = eat_digits(s, &i, &mantissa, &dropped);

        if (n == 0) {
            return -EINVAL;
        }
        scale -= (int) n - dropped;
    }
    if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
        bool minus = ++i < s.len && s.ptr[i] == '-';
        double exponent = 0;
        int ignored = 0;

        if (i < s.len && (s.ptr[i] == '-' || s.ptr[i] == '+')) {
            i++;
        }
        if (eat_digits(s, &i, &exponent, &ignored) == 0) {
            return -EINVAL;
        }
        exponent = exponent > 10000 ? 10000 : exponent;
        scale += minus ? -(int) exponent : (int) exponent;
    }
    if (i != s.len) {
        return -EINVAL;
    }

    double v = scale < 0 ? mantissa / pow(10, -scale) : mantissa * pow(10, scale);

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
