/*
 * See arena.h. Blocks grow geometrically; a request larger than the next block gets a block of its own size.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define ARENA_FIRST_BYTES 2048 /* a short chat request fits */

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena) {.max_bytes = max_bytes};
}

void arena_done(struct arena *a)
{
    struct arena_block *b = a->blocks;

    while (b) {
        struct arena_block *next = b->next;

        free(b);
        b = next;
    }
    a->blocks = NULL;
    a->used_bytes = 0;
}

static struct arena_block *add_block(struct arena *a, size_t need)
{
    size_t cap = a->blocks ? a->blocks->cap * 2 : ARENA_FIRST_BYTES;

    if (cap < need) {
        cap = need;
    }
    if (cap > a->max_bytes - a->used_bytes) {
        cap = a->max_bytes - a->used_bytes;
    }
    if (cap < need) {
        return NULL;
    }

    struct arena_block *b = malloc(sizeof *b + cap);

    if (!b) {
        return NULL;
    }
    *b = (struct arena_block) {.next = a->blocks, .cap = cap};
    a->blocks = b;
    a->used_bytes += cap;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t align = alignof(max_align_t);

    if (n > SIZE_MAX - align) {
        return NULL;
    }
    n = (n + align - 1) / align * align;

    struct arena_block *b = a->blocks;

    if (!b || b->cap - b->used < n) {
        b = add_block(a, n);
        if (!b) {
            return NULL;
        }
    }

    void *p = b->bytes + b->used;

    b->used += n;
    return memset(p, 0, n);
}

void *arena_array(struct arena *a, size_t n, size_t item_bytes)
{
    size_t total;

    if (__builtin_mul_overflow(n, item_bytes, &total)) {
        return NULL;
    }
    return arena_alloc(a, total);
}

struct str arena_copy(struct arena *a, struct str s)
{
    if (!s.ptr) {
        return STR_NONE;
    }

    char *p = arena_alloc(a, s.len + 1);

    if (!p) {
        return STR_NONE;
    }
    memcpy(p, s.ptr, s.len);
    return (struct str) {p, s.len};
}
