/*
 * How long a client wants a model to stay in memory (ollama_body.h): Ollama's keep_alive, which is a
 * number of seconds or a duration as Go writes it ("300ms", "-1.5h", "2h45m"; Go's
 * time.ParseDuration). Negative means for ever, 0 means gone after the answer: both are bounded here.
 * A bare number in quotes, which Ollama refuses, is taken as seconds.
 */
#include "wire/ollama_body.h"

#include <errno.h>

#include "wire/json.h"

#define MAX_SEC 1e12 /* beyond any bound; keeps sums finite */

static const struct {
    const char *name; /* longer ones before those that they begin with */
    double sec;
} units[] = {
    {"ns", 1e-9}, {"us", 1e-6}, {"\xc2\xb5s", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600},
};

/* Digits with at most one point, at the front of *text; false: none. */
static bool take_number(struct str *text, double *ret)
{
    double v = 0, place = 0;
    bool has_digit = false;

    for (; text->len > 0; text->ptr++, text->len--) {
        char c = text->ptr[0];

        if (c == '.' && place == 0) {
            place = 1;
        } else if (c >= '0' && c <= '9') {
            has_digit = true;
            place /= 10;
            v = place > 0 ? v + (c - '0') * place : v * 10 + (c - '0');
            v = v < MAX_SEC ? v : MAX_SEC;
        } else {
            break;
        }
    }
    *ret = v;
    return has_digit;
}

static bool take_unit(struct str *text, double *ret_sec)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (str_has_prefix(*text, units[i].name)) {
            text->ptr += strlen(units[i].name);
            text->len -= strlen(units[i].name);
            *ret_sec = units[i].sec;
            return true;
        }
    }
    return false;
}

static int read_duration(struct str text, double *ret_sec)
{
    bool is_negative = str_has_prefix(text, "-");
    double sum = 0, v, unit = 1;

    if (is_negative || str_has_prefix(text, "+")) {
        text.ptr++;
        text.len--;
    }
    if (text.len == 0) {
        return -EINVAL;
    }
    for (bool is_first = true; text.len > 0; is_first = false) {
        if (!take_number(&text, &v)) {
            return -EINVAL;
        }
        if (!take_unit(&text, &unit) && !(is_first && text.len == 0)) {
            return -EINVAL;
        }
        sum += v * unit;
    }
    *ret_sec = is_negative ? -sum : sum;
    return 0;
}

int ollama_keep_alive(struct str json, uint64_t *ret_sec)
{
    double sec = 0;
    int r;

    if (json_type(json) == JSON_STRING) {
        r = read_duration((struct str) {json.ptr + 1, json.len - 2}, &sec);
    } else {
        r = json_type(json) == JSON_NUMBER ? json_double(json, &sec) : -EINVAL;
        r = r == -ERANGE ? -EINVAL : r;
    }
    if (r < 0) {
        return r;
    }
    if (sec < 0 || sec > OLLAMA_KEEP_ALIVE_MAX_SEC) {
        sec = OLLAMA_KEEP_ALIVE_MAX_SEC;
    }
    *ret_sec = sec < OLLAMA_KEEP_ALIVE_MIN_SEC ? OLLAMA_KEEP_ALIVE_MIN_SEC : (uint64_t) sec;
    return 0;
}
