/*
 * Duplicate names in JSON objects, without trusting who wrote them.
 *
 * RFC 8259 section 4 leaves objects with a repeated name undefined: one reader takes the first
 * value, the next one the last. A gateway that checks one and forwards the other is bypassed, so
 * sluice refuses them. The search must not be the way to stop a single-threaded daemon either:
 *
 *   easy objects    at most EASY_NAMES names, none escaped, none over EASY_NAME_BYTES: every pair
 *                   is compared by a key made of the name's ends and length, then by its bytes.
 *                   Nearly all objects are easy; this costs about 2 ns per name.
 *   all others      a universal hash of each resolved name under a secret of this process, a heap
 *                   sort by it, and a look at neighbours: n log n whatever the names are, no memory
 *                   beside the stack, each byte read once.
 *
 * Equal keys are only a hint; what decides is the comparison of the resolved bytes. Must not:
 * allocate per object, compare names as sent ("a" and "\u0061" are the same name).
 */
#include "wire/json_names.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include "wire/json_text.h"

#define EASY_NAMES      24
#define EASY_NAME_BYTES 32

/*
 * The Mersenne prime 2^31 - 1: two hashes modulo it collide with probability (len / 2^31)^2 for
 * names chosen without the secret.
 */
#define HASH_PRIME ((UINT64_C(1) << 31) - 1)

struct hash_secret {
    uint64_t a, b; /* 1 <= a, b < HASH_PRIME */
};

void json_names_init(struct json_names *names, const char *text)
{
    names->text = text;
    names->items = names->fixed;
    names->n_items = 0;
    /* fixed[] stays uninitialised: a check of a small text should not pay for it */
    names->cap = JSON_NAMES_FIXED;
}

void json_names_done(struct json_names *names)
{
    if (names->items != names->fixed) {
        free(names->items);
    }
    names->items = names->fixed;
    names->n_items = 0;
}

static int grow(struct json_names *names)
{
    size_t cap = names->cap * 4 < JSON_MAX_OPEN_NAMES ? names->cap * 4 : JSON_MAX_OPEN_NAMES;

    if (names->cap == JSON_MAX_OPEN_NAMES) {
        return -ENOBUFS;
    }

    bool was_fixed = names->items == names->fixed;
    struct json_name *grown = realloc(was_fixed ? NULL : names->items, cap * sizeof *grown);

    if (!grown) {
        return -ENOMEM;
    }
    if (was_fixed) {
        memcpy(grown, names->fixed, sizeof names->fixed);
    }
    names->items = grown;
    names->cap = cap;
    return 0;
}

/* For names without escapes only: both ends and the length. */
static uint64_t easy_key(const char *p, size_t len)
{
    uint64_t head = 0, tail = 0;

    if (len >= 8) {
        head = json_text_load(p);
        tail = json_text_load(p + len - 8);
    } else {
        for (size_t i = 0; i < len; i++) {
            head = head << 8 | (uint8_t) p[i];
        }
    }
    return head + (tail << 29 | tail >> 35) + len;
}

int json_names_add(struct json_names *names, size_t offset, size_t len, bool is_escaped)
{
    int r;

    if (names->n_items == names->cap) {
        r = grow(names);
        if (r < 0) {
            return r;
        }
    }
    names->items[names->n_items++] = (struct json_name) {
        .key = easy_key(names->text + offset, len),
        .offset = (uint32_t) offset,
        .len = (uint32_t) len & 0x7fffffff,
        .is_escaped = is_escaped,
    };
    return 0;
}

/*
 * The resolved bytes of a name, one run after the other: plain text, or the bytes of one escape.
 * False at the end.
 */
struct runs {
    const char *p, *end;
    char bytes[4];
};

static bool next_run(struct runs *runs, const char **ret_ptr, size_t *ret_len)
{
    if (runs->p == runs->end) {
        return false;
    }
    if (*runs->p == '\\') {
        *ret_len = json_text_unescape(&runs->p, runs->end, runs->bytes);
        *ret_ptr = runs->bytes;
        return true;
    }

    const char *stop = memchr(runs->p, '\\', (size_t) (runs->end - runs->p));

    stop = stop ? stop : runs->end;
    *ret_ptr = runs->p;
    *ret_len = (size_t) (stop - runs->p);
    runs->p = stop;
    return true;
}

static struct runs runs_of(const struct json_names *names, const struct json_name *name)
{
    const char *p = names->text + name->offset;

    return (struct runs) {.p = p, .end = p + name->len};
}

static bool is_same_resolved(struct runs a, struct runs b)
{
    const char *pa = NULL, *pb = NULL;
    size_t na = 0, nb = 0;

    for (;;) {
        bool more_a = na > 0 || next_run(&a, &pa, &na);
        bool more_b = nb > 0 || next_run(&b, &pb, &nb);

        if (!more_a || !more_b) {
            return more_a == more_b;
        }

        size_t n = na < nb ? na : nb;

        if (memcmp(pa, pb, n) != 0) {
            return false;
        }
        pa += n;
        pb += n;
        na -= n;
        nb -= n;
    }
}

static bool is_same(const struct json_names *names, const struct json_name *a,
                    const struct json_name *b)
{
    if (!a->is_escaped && !b->is_escaped) {
        return a->len == b->len &&
               memcmp(names->text + a->offset, names->text + b->offset, a->len) == 0;
    }
    return is_same_resolved(runs_of(names, a), runs_of(names, b));
}

/* ---- easy objects */

static bool is_easy(const struct json_name *items, size_t n)
{
    if (n > EASY_NAMES) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (items[i].is_escaped || items[i].len > EASY_NAME_BYTES) {
            return false;
        }
    }
    return true;
}

static const struct json_name *find_by_pairs(const struct json_names *names,
                                             const struct json_name *items, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (items[k].key == items[i].key && is_same(names, &items[k], &items[i])) {
                return &items[i];
            }
        }
    }
    return NULL;
}

/* ---- all others */

/*
 * Of this process, from the bytes that the kernel hands to each new program (getauxval(3),
 * AT_RANDOM).
 */
static struct hash_secret hash_secret(void)
{
    const void *random = (const void *) getauxval(AT_RANDOM);
    uint64_t words[2] = {1, 2};

    if (random) {
        memcpy(words, random, sizeof words);
    }
    return (struct hash_secret) {
        .a = 1 + words[0] % (HASH_PRIME - 1),
        .b = 1 + words[1] % (HASH_PRIME - 1),
    };
}

static uint64_t hash_mod(uint64_t x)
{
    x = (x & HASH_PRIME) + (x >> 31);
    x = (x & HASH_PRIME) + (x >> 31);
    return x >= HASH_PRIME ? x - HASH_PRIME : x;
}

/* The name as the digits of a polynomial, at the points a and b. */
static uint64_t hash_name(struct runs runs, struct hash_secret secret)
{
    uint64_t at_a = 0, at_b = 0;
    const char *p;
    size_t n;

    while (next_run(&runs, &p, &n)) {
        for (size_t i = 0; i < n; i++) {
            uint64_t digit = (uint64_t) (uint8_t) p[i] + 1;

            at_a = hash_mod(at_a * secret.a + digit);
            at_b = hash_mod(at_b * secret.b + digit);
        }
    }
    return at_a << 32 | at_b;
}

/* items[at] may be smaller than its children below n: sinks it. */
static void sift(struct json_name *items, size_t at, size_t n)
{
    struct json_name sinking = items[at];

    for (size_t child = at * 2 + 1; child < n; child = at * 2 + 1) {
        if (child + 1 < n && items[child + 1].key > items[child].key) {
            child++;
        }
        if (items[child].key <= sinking.key) {
            break;
        }
        items[at] = items[child];
        at = child;
    }
    items[at] = sinking;
}

/* In place and n log n for every input, which neither qsort() (allocates) nor quicksort is. */
static void heap_sort(struct json_name *items, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) {
        sift(items, i, n);
    }
    for (size_t last = n; last-- > 1;) {
        struct json_name top = items[0];

        items[0] = items[last];
        items[last] = top;
        sift(items, 0, last);
    }
}

static const struct json_name *find_by_hash(const struct json_names *names, struct json_name *items,
                                            size_t n)
{
    struct hash_secret secret = hash_secret();

    for (size_t i = 0; i < n; i++) {
        items[i].key = hash_name(runs_of(names, &items[i]), secret);
    }
    heap_sort(items, n);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n && items[k].key == items[i].key; k++) {
            if (is_same(names, &items[i], &items[k])) {
                return items[k].offset > items[i].offset ? &items[k] : &items[i];
            }
        }
    }
    return NULL;
}

bool json_names_close(struct json_names *names, size_t first, size_t *ret_offset)
{
    struct json_name *items = names->items + first;
    size_t n = names->n_items - first;
    const struct json_name *twice = NULL;

    if (n > 1) {
        twice = is_easy(items, n) ? find_by_pairs(names, items, n) : find_by_hash(names, items, n);
    }
    if (twice) {
        *ret_offset = twice->offset;
        return false;
    }
    names->n_items = first;
    return true;
}
