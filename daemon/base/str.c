/*
 * Byte strings: comparison and UTF-8. No allocation, no locale.
 */
#include "base/str.h"

#include <stdint.h>
#include <strings.h>

bool str_is_nocase(struct str a, const char *z)
{
    return strlen(z) == a.len && (a.len == 0 || strncasecmp(a.ptr, z, a.len) == 0);
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* Length of the sequence that a first byte announces; 0: it cannot be first. */
static size_t utf8_announced(uint8_t c)
{
    if (c < 0x80) {
        return 1;
    }
    if (c >= 0xc2 && c <= 0xdf) {
        return 2;
    }
    if (c >= 0xe0 && c <= 0xef) {
        return 3;
    }
    return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

bool str_is_utf8(struct str s)
{
    const uint8_t *p = (const uint8_t *) s.ptr;
    size_t i = 0;

    while (i < s.len) {
        size_t n = utf8_announced(p[i]);

        if (n == 1) {
            i++;
            continue;
        }
        if (n == 0 || s.len - i < n) {
            return false;
        }
        /* RFC 3629 table 3-7: the second byte excludes overlong forms, surrogates and > U+10FFFF */
        uint8_t low = p[i] == 0xe0 ? 0xa0 : p[i] == 0xf0 ? 0x90 : 0x80;
        uint8_t high = p[i] == 0xed ? 0x9f : p[i] == 0xf4 ? 0x8f : 0xbf;

        if (p[i + 1] < low || p[i + 1] > high) {
            return false;
        }
        for (size_t k = 2; k < n; k++) {
            if ((p[i + k] & 0xc0) != 0x80) {
                return false;
            }
        }
        i += n;
    }
    return true;
}

size_t str_utf8_tail(struct str s)
{
    for (size_t back = 1; back <= 3 && back <= s.len; back++) {
        uint8_t c = (uint8_t) s.ptr[s.len - back];

        if ((c & 0xc0) != 0x80) {
            size_t n = utf8_announced(c);

            return n > back ? back : 0;
        }
    }
    return 0;
}

bool str_has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t) s.ptr[i], next = i + 1 < s.len ? (uint8_t) s.ptr[i + 1] : 0;

        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0)) {
            return true;
        }
    }
    return false;
}

uint32_t str_hash(uint32_t hash, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        hash = (hash ^ (unsigned char) s.ptr[i]) * UINT32_C(16777619);
    }
    return hash;
}

void str_copy(struct str s, char *to, size_t size)
{
    size_t n = s.len < size ? s.len : size - 1;

    if (n > 0) {
        memcpy(to, s.ptr, n);
    }
    to[n] = '\0';
}

struct str str_clip(struct str s, size_t max)
{
    if (s.len > max) {
        s.len = max;
        s.len -= str_utf8_tail(s);
    }
    return s;
}
