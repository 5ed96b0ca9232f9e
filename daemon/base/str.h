#pragma once
/*
 * struct str: borrowed bytes with a length, not NUL-terminated. It owns nothing; whoever stores one
 * says how long the bytes live. {NULL, 0} means "absent", {"", 0} means "present and empty".
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *ptr;
    size_t len;
};

#define STR_NONE   ((struct str) {NULL, 0})
#define STR_LIT(s) ((struct str) {"" s, sizeof(s) - 1})
/* For printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int) (s).len, (s).ptr ? (s).ptr : ""

static inline struct str str_from(const char *z)
{
    return (struct str) {z, z ? strlen(z) : 0};
}

static inline bool str_is_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_is(struct str a, const char *z)
{
    return str_is_equal(a, str_from(z));
}

static inline bool str_has_prefix(struct str a, const char *z)
{
    size_t n = strlen(z);

    return a.len >= n && (n == 0 || memcmp(a.ptr, z, n) == 0);
}

/* Case-insensitive for ASCII letters: header names. */
bool str_is_nocase(struct str a, const char *z);

/* Without blanks and tabs at both ends. */
struct str str_trim(struct str s);

/* Is it well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF)? */
bool str_is_utf8(struct str s);

/* Does text of UTF-8 hold a control character: C0, DEL or C1 (U+0080 to U+009F)? */
bool str_has_control(struct str s);

/*
 * FNV-1a of 32 bits (Fowler, Noll, Vo), from STR_HASH_START or another text's hash on. For tables in
 * memory: names that make it collide are easily made.
 */
#define STR_HASH_START UINT32_C(2166136261)
uint32_t str_hash(uint32_t hash, struct str s);

/* To a C string in an array of size > 0 bytes, as much as there is room for. */
void str_copy(struct str s, char *to, size_t size);

/* The first max bytes of s, less the half character that the cut would leave at the end. */
struct str str_clip(struct str s, size_t max);

/*
 * How many bytes at the end of s are the beginning of a character that is not complete yet: 0 to 3.
 */
size_t str_utf8_tail(struct str s);
