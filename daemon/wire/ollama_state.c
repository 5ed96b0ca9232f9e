/* See ollama_state.h. Owns nothing but what it hands out. */
#include "wire/ollama_state.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "wire/field.h"
#include "wire/json.h"

#define SEC_PER_DAY INT64_C(86400)

enum {
    LOADED_NAME,
    LOADED_MODEL,
    LOADED_DIGEST,
    LOADED_SIZE,
    LOADED_SIZE_VRAM,
    LOADED_CONTEXT_LENGTH,
    LOADED_EXPIRES_AT,
    _LOADED_MAX
};

static const struct str loaded_names[_LOADED_MAX] = {
    [LOADED_NAME] = FIELD_NAME("name"),
    [LOADED_MODEL] = FIELD_NAME("model"),
    [LOADED_DIGEST] = FIELD_NAME("digest"),
    [LOADED_SIZE] = FIELD_NAME("size"),
    [LOADED_SIZE_VRAM] = FIELD_NAME("size_vram"),
    [LOADED_CONTEXT_LENGTH] = FIELD_NAME("context_length"),
    [LOADED_EXPIRES_AT] = FIELD_NAME("expires_at"),
};

/* A JSON string of 1 to n_bytes - 1 bytes. 0; -EINVAL: it is no such string; -ENOMEM. */
static int take_text(struct str value, char *ret, size_t n_bytes)
{
    struct buf text;
    int r;

    buf_init(&text, n_bytes - 1);
    r = json_string(value, &text);
    if (r == 0 && (text.len == 0 || memchr(buf_ptr(&text), '\0', text.len))) {
        r = -EINVAL;
    }
    if (r == 0) {
        memcpy(ret, buf_ptr(&text), text.len);
        ret[text.len] = '\0';
    }
    buf_done(&text);
    return r == 0 || r == -ENOMEM ? r : -EINVAL;
}

/* ---------------------------------------------------------------- version */

int ollama_read_version(struct str body, char ret_version[OLLAMA_VERSION_BYTES])
{
    int r;

    ret_version[0] = '\0';
    r = json_check(body, NULL);
    if (r == 0) {
        r = take_text(json_find(body, "version"), ret_version, OLLAMA_VERSION_BYTES);
    }
    if (r < 0) {
        return r == -ENOMEM ? r : -EBADMSG;
    }
    for (const char *c = ret_version; *c; c++) {
        if (*c <= ' ' || *c > '~') { /* it is shown on terminals */
            ret_version[0] = '\0';
            return -EBADMSG;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- RFC 3339 */

/* n digits and the separator behind them ('\0': none). -1: they are not there. */
static int64_t take_digits(struct str *s, size_t n, char separator)
{
    size_t n_all = n + (separator != '\0');
    int64_t value = 0;

    if (s->len < n_all || (separator && s->ptr[n] != separator)) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9') {
            return -1;
        }
        value = value * 10 + (s->ptr[i] - '0');
    }
    s->ptr += n_all;
    s->len -= n_all;
    return value;
}

/*
 * Days since 1970-01-01 in the Gregorian calendar, years that begin in March (Howard Hinnant:
 * chrono-compatible low-level date algorithms, days_from_civil). time_t may have 32 bits, and the
 * models that stay for ever expire in 2319.
 */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
    int64_t y = year - (month <= 2);
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

/* ".409631763" is taken off the front. */
static int64_t take_fraction_usec(struct str *s)
{
    int64_t usec = 0, unit = USEC_PER_SEC;

    if (s->len == 0 || s->ptr[0] != '.') {
        return 0;
    }
    for (s->ptr++, s->len--; s->len > 0 && s->ptr[0] >= '0' && s->ptr[0] <= '9'; s->ptr++) {
        unit /= 10;
        usec += (s->ptr[0] - '0') * unit;
        s->len--;
    }
    return usec;
}

/* "Z", "-07:00"; without any it is UTC. false: it is no zone. */
static bool read_zone(struct str s, int64_t *ret_offset_sec)
{
    struct str digits = {s.ptr + 1, s.len - 1};
    int64_t hours, minutes;

    *ret_offset_sec = 0;
    if (s.len == 0 || str_is(s, "Z")) {
        return true;
    }
    if (s.len != 6 || (s.ptr[0] != '+' && s.ptr[0] != '-')) {
        return false;
    }
    hours = take_digits(&digits, 2, ':');
    minutes = take_digits(&digits, 2, '\0');
    *ret_offset_sec = (s.ptr[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

/* "2026-11-22T13:49:32.409631763Z" (RFC 3339, 5.6). 0: no such time, or before 1970. */
static uint64_t wall_usec(const char *text)
{
    struct str s = str_from(text);
    int64_t year = take_digits(&s, 4, '-'), month = take_digits(&s, 2, '-');
    int64_t day = take_digits(&s, 2, 'T'), hour = take_digits(&s, 2, ':');
    int64_t minute = take_digits(&s, 2, ':'), second = take_digits(&s, 2, '\0');
    int64_t usec = take_fraction_usec(&s), offset_sec, sec;

    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 ||
        minute < 0 || minute > 59 || second < 0 || second > 60 || !read_zone(s, &offset_sec)) {
        return 0;
    }
    sec = days_since_1970(year, month, day) * SEC_PER_DAY + hour * 3600 + minute * 60 + second -
          offset_sec;
    return sec <= 0 ? 0 : (uint64_t) sec * USEC_PER_SEC + (uint64_t) usec;
}

/* ---------------------------------------------------------------- what is in memory */

static uint64_t number(struct str value)
{
    int64_t n;

    return json_i64(value, &n) == 0 && n > 0 ? (uint64_t) n : 0;
}

/* 1: read; 0: left out; -ENOMEM. */
static int read_one(struct str model, struct ollama_loaded *ret)
{
    struct str values[_LOADED_MAX];
    char expires[64] = "";
    int r;

    *ret = (struct ollama_loaded) {.name = ""};
    field_pick(model, loaded_names, _LOADED_MAX, values);
    r = take_text(json_is_null(values[LOADED_NAME]) ? values[LOADED_MODEL] : values[LOADED_NAME],
                  ret->name, sizeof ret->name);
    if (r < 0 || str_has_control(str_from(ret->name))) {
        return r == -ENOMEM ? r : 0;
    }
    if (take_text(values[LOADED_DIGEST], ret->digest, sizeof ret->digest) == -ENOMEM ||
        take_text(values[LOADED_EXPIRES_AT], expires, sizeof expires) == -ENOMEM) {
        return -ENOMEM;
    }
    ret->size_bytes = number(values[LOADED_SIZE]);
    ret->vram_bytes = number(values[LOADED_SIZE_VRAM]);
    ret->context_tokens = number(values[LOADED_CONTEXT_LENGTH]);
    ret->expires_wall_usec = wall_usec(expires);
    return 1;
}

/* 0; -EBADMSG; -ENOMEM. *ret: the array, or null. */
static int find_models(struct str body, struct str *ret)
{
    int r = json_check(body, NULL);

    if (r < 0 || json_type(body) != JSON_OBJECT) {
        return r == -ENOMEM ? r : -EBADMSG;
    }
    *ret = json_find(body, "models");
    return ret->ptr && (json_type(*ret) == JSON_ARRAY || json_is_null(*ret)) ? 0 : -EBADMSG;
}

int ollama_read_loaded(struct str body, struct ollama_loaded_list *ret)
{
    struct ollama_loaded_list list = {0};
    struct str models, one;
    struct json_iter it;
    size_t n;
    int r = find_models(body, &models);

    if (r < 0) {
        return r;
    }
    n = field_count(models);
    n = n < OLLAMA_LOADED_MAX_MODELS ? n : OLLAMA_LOADED_MAX_MODELS;
    list.models = calloc(n + 1, sizeof *list.models);
    if (!list.models) {
        return -ENOMEM;
    }
    json_iter_init(&it, models);
    while (r >= 0 && list.n < n && json_next(&it, NULL, &one)) {
        r = read_one(one, &list.models[list.n]);
        list.n += r == 1;
    }
    if (r < 0) {
        ollama_loaded_list_done(&list);
        return r;
    }
    *ret = list;
    return 0;
}

void ollama_loaded_list_done(struct ollama_loaded_list *list)
{
    free(list->models);
    *list = (struct ollama_loaded_list) {0};
}
