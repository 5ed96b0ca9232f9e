/*
 * See arena.h. Blocks of one kind are filled and grow geometrically up to a limit. What is too
 * large for them (a request's body) gets a block of its own behind the one that is being filled, so
 * that one large item neither wastes what is left there nor makes all that follow large.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define ARENA_FIRST_BYTES 2048  /* a short chat request fits */
#define ARENA_LAST_BYTES  65536 /* from here on blocks stay as large as this */

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena) {.max_bytes = max_bytes, .next_bytes = ARENA_FIRST_BYTES};
}

void arena_done(struct arena *a)
{
    struct arena_block *b = a->blocks;

    while (b) {
        struct arena_block *next = b->next;

        free(b);
        b = next;
    }
    arena_init(a, a->max_bytes);
}

static struct arena_block *new_block(struct arena *a, size_t cap)
{
    struct arena_block *b = cap <= SIZE_MAX - sizeof *b ? malloc(sizeof *b + cap) : NULL;

    if (b) {
        *b = (struct arena_block) {.cap = cap};
        a->used_bytes += cap;
    }
    return b;
}

/* A block with room for need. */
static struct arena_block *add_block(struct arena *a, size_t need)
{
    size_t left = a->max_bytes - a->used_bytes, cap = a->next_bytes;
    bool is_large = need > cap;

    if (need > left) {
        return NULL;
    }
    if (is_large) {
        /* the first of all is followed by small ones: the same block takes them */
        cap = a->blocks || need > SIZE_MAX - cap ? need : need + cap;
    }

    struct arena_block *b = new_block(a, cap < left ? cap : left);

    if (!b) {
        return NULL;
    }
    if (is_large && a->blocks) {
        b->next = a->blocks->next;
        a->blocks->next = b;
        return b;
    }
    if (!is_large && cap < ARENA_LAST_BYTES) {
        a->next_bytes = cap * 2;
    }
    b->next = a->blocks;
    a->blocks = b;
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
