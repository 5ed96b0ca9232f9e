#pragma once
/*
 * The letters of JSON: how to run over text fast, and how to resolve one escape. Shared by json.c,
 * json_check.c and json_names.c; nobody else includes it.
 *
 * The runs look at eight bytes at once (a word with the high bit of each interesting byte set, see
 * "Determine if a word has a byte less than n" in S. E. Anderson, Bit Twiddling Hacks). They never
 * read at or behind end.
 */
#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JSON_TEXT_ONES  UINT64_C(0x0101010101010101)
#define JSON_TEXT_HIGHS UINT64_C(0x8080808080808080)

/* The first byte of memory is the lowest byte of the result, on every machine. */
static inline uint64_t json_text_load(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
    return le64toh(word);
}

/* The high bit of each byte of word that equals c. Bits above the lowest set one may be wrong. */
static inline uint64_t json_text_equal(uint64_t word, uint8_t c)
{
    uint64_t x = word ^ (JSON_TEXT_ONES * c);

    return (x - JSON_TEXT_ONES) & ~x & JSON_TEXT_HIGHS;
}

static inline bool json_text_is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const char *json_text_skip_blanks(const char *p, const char *end)
{
    while (p < end && json_text_is_blank(*p)) {
        p++;
    }
    return p;
}

/*
 * To the first byte inside a string that is not plain ASCII text: quote, backslash, control
 * character, byte >= 0x80.
 */
static inline const char *json_text_skip_plain(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word = json_text_load(p);
        uint64_t controls = (word - JSON_TEXT_ONES * 0x20) & ~word;
        uint64_t hits = json_text_equal(word, '"') | json_text_equal(word, '\\') |
                        ((controls | word) & JSON_TEXT_HIGHS);

        if (hits) {
            return p + __builtin_ctzll(hits) / 8;
        }
        p += 8;
    }
    while (p < end && (uint8_t) *p >= 0x20 && (uint8_t) *p < 0x80 && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

/* To the first quote or backslash: all that matters in a checked string. */
static inline const char *json_text_skip_to_quote(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word = json_text_load(p);
        uint64_t hits = json_text_equal(word, '"') | json_text_equal(word, '\\');

        if (hits) {
            return p + __builtin_ctzll(hits) / 8;
        }
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

/*
 * To the first quote or bracket between strings. Letters that checked text cannot have there ("Y",
 * "_", "y", DEL) may stop it too.
 */
static inline const char *json_text_skip_to_bracket(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word = json_text_load(p);
        /* [ ] { } are 0x5b 0x5d 0x7b 0x7d: with the bits 0x26 set each of them is 0x7f */
        uint64_t hits =
            json_text_equal(word, '"') | json_text_equal(word | JSON_TEXT_ONES * 0x26, 0x7f);

        if (hits) {
            return p + __builtin_ctzll(hits) / 8;
        }
        p += 8;
    }
    while (p < end && *p != '"' && *p != '[' && *p != ']' && *p != '{' && *p != '}') {
        p++;
    }
    return p;
}

/* The value of four hexadecimal digits, or -1. */
static inline int json_text_hex4(const char *p)
{
    int v = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0) {
            return -1;
        }
        v = v * 16 + digit;
    }
    return v;
}

static inline size_t json_text_put_utf8(uint32_t c, char ret_bytes[4])
{
    if (c < 0x80) {
        ret_bytes[0] = (char) c;
        return 1;
    }
    if (c < 0x800) {
        ret_bytes[0] = (char) (0xc0 | c >> 6);
        ret_bytes[1] = (char) (0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        ret_bytes[0] = (char) (0xe0 | c >> 12);
        ret_bytes[1] = (char) (0x80 | (c >> 6 & 0x3f));
        ret_bytes[2] = (char) (0x80 | (c & 0x3f));
        return 3;
    }
    ret_bytes[0] = (char) (0xf0 | c >> 18);
    ret_bytes[1] = (char) (0x80 | (c >> 12 & 0x3f));
    ret_bytes[2] = (char) (0x80 | (c >> 6 & 0x3f));
    ret_bytes[3] = (char) (0x80 | (c & 0x3f));
    return 4;
}

/*
 * Resolves the escape of checked text that begins at *p and moves *p behind it. Returns the number
 * of bytes.
 */
static inline size_t json_text_unescape(const char **p, const char *end, char ret_bytes[4])
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";

    assert(end - *p >= 2 && **p == '\\');

    char letter = (*p)[1];

    if (letter != 'u') {
        const char *at = strchr(letters, letter);

        assert(at && letter != '\0');
        ret_bytes[0] = values[at - letters];
        *p += 2;
        return 1;
    }
    assert(end - *p >= 6);

    uint32_t c = (uint32_t) json_text_hex4(*p + 2);

    *p += 6;
    if (c >= 0xd800 && c <= 0xdbff) { /* json_check() has seen to its other half */
        assert(end - *p >= 6);
        c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t) json_text_hex4(*p + 2) - 0xdc00);
        *p += 6;
    }
    return json_text_put_utf8(c, ret_bytes);
}

/*
 * The length of the well-formed UTF-8 sequence at p (first byte >= 0x80), or 0: RFC 3629 section 4.
 */
static inline size_t json_text_utf8(const char *p, const char *end)
{
    uint8_t first = (uint8_t) *p;
    size_t len = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (first < 0xc2 || first > 0xf4 || (size_t) (end - p) < len) {
        return 0;
    }

    uint8_t second = (uint8_t) p[1];
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;  /* overlong */
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf; /* surrogates, > U+10FFFF */

    if (second < low || second > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (((uint8_t) p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}
