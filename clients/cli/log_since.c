/* See log_since.h. The forms are those of systemd.time(7) that people use with journalctl. */
#include "log_since.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SEC UINT64_C(1000000)

/* Microseconds of a unit; 0: there is no such unit. */
static uint64_t unit_usec(const char *name, size_t n)
{
    static const struct {
        const char *names; /* each with a blank before and behind it */
        uint64_t usec;
    } units[] = {
        {" ms msec ", SEC / 1000},
        {" s sec second seconds ", SEC},
        {" m min minute minutes ", 60 * SEC},
        {" h hr hour hours ", 3600 * SEC},
        {" d day days ", 86400 * SEC},
        {" w week weeks ", 7 * 86400 * SEC},
    };
    char word[16];

    if (n == 0 || n > sizeof(word) - 3) {
        return 0;
    }
    (void) snprintf(word, sizeof(word), " %.*s ", (int) n, name);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strstr(units[i].names, word)) {
            return units[i].usec;
        }
    }
    return 0;
}

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* "1h 30min ago": sums up. */
static bool parse_ago(const char *text, uint64_t now_usec, uint64_t *ret_usec)
{
    const char *p = skip_blanks(text);
    uint64_t sum = 0;

    while (isdigit((unsigned char) *p)) {
        char *end;
        unsigned long long n = strtoull(p, &end, 10);

        p = skip_blanks(end);

        size_t n_letters = strspn(p, "abcdefghijklmnopqrstuvwxyz");
        uint64_t unit = unit_usec(p, n_letters);

        if (unit == 0 || n > now_usec / unit || sum > now_usec - n * unit) {
            return false;
        }
        sum += n * unit;
        p = skip_blanks(p + n_letters);
    }
    if (p == text || (*p && strcmp(p, "ago") != 0) ||
        !isdigit((unsigned char) *skip_blanks(text))) {
        return false;
    }
    *ret_usec = now_usec - sum;
    return true;
}

static bool to_usec(struct tm *tm, uint64_t *ret_usec)
{
    struct tm asked = *tm;
    time_t t;

    tm->tm_isdst = -1;
    t = mktime(tm);
    /* mktime() makes a date of everything: the 31st of February is none */
    if (t < 0 || tm->tm_mday != asked.tm_mday || tm->tm_mon != asked.tm_mon ||
        tm->tm_year != asked.tm_year) {
        return false;
    }
    *ret_usec = (uint64_t) t * SEC;
    return true;
}

/* A date, a time of day, or both; whatever strptime() knows by these forms and nothing behind. */
static bool parse_date(const char *text, const struct tm *today, uint64_t *ret_usec)
{
    static const char *const forms[] = {
        "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d",
        "%H:%M:%S",          "%H:%M"};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm tm = *today;
        const char *end;

        tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
        end = strptime(text, forms[i], &tm);
        if (end && *skip_blanks(end) == '\0') {
            return to_usec(&tm, ret_usec);
        }
    }
    return false;
}

bool log_since_parse(const char *text, uint64_t now_usec, uint64_t *ret_usec)
{
    time_t now = (time_t) (now_usec / SEC);
    struct tm today;

    if (!localtime_r(&now, &today)) {
        return false;
    }
    today.tm_hour = today.tm_min = today.tm_sec = 0;
    if (strcmp(text, "now") == 0) {
        *ret_usec = now_usec;
        return true;
    }
    if (strcmp(text, "today") == 0) {
        return to_usec(&today, ret_usec);
    }
    if (strcmp(text, "yesterday") == 0) {
        today.tm_mday--;
        today.tm_isdst = -1;
        now = mktime(&today);
        *ret_usec = now >= 0 ? (uint64_t) now * SEC : 0;
        return true;
    }
    if (text[0] == '@' && isdigit((unsigned char) text[1])) {
        char *end;
        unsigned long long n = strtoull(text + 1, &end, 10);

        if (*end != '\0' || n > UINT64_MAX / SEC) {
            return false;
        }
        *ret_usec = n * SEC;
        return true;
    }
    return parse_ago(text, now_usec, ret_usec) || parse_date(text, &today, ret_usec);
}
