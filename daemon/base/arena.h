#pragma once
/*
 * A bump allocator with a hard budget: memory for one decoded request, freed at once. Small
 * requests need one malloc.
 */
#include <stddef.h>

#include "base/macros.h"
#include "base/str.h"

struct arena {
    struct arena_block *blocks; /* owned; the first is the one that is filled */
    size_t used_bytes;          /* of the budget: block sizes */
    size_t max_bytes;
    size_t next_bytes; /* size of the next block */
};

void arena_init(struct arena *a, size_t max_bytes);
void arena_done(struct arena *a);

/* n zeroed bytes, aligned for any type. NULL: budget spent, or out of memory. n may be 0. */
void *arena_alloc(struct arena *a, size_t n);

/* An array of n items of item_bytes, with the multiplication checked. */
void *arena_array(struct arena *a, size_t n, size_t item_bytes);

/* A copy with a NUL behind it (not counted). ptr NULL: no memory. An absent string stays absent. */
struct str arena_copy(struct arena *a, struct str s);
