/*
 * See unpack.h. A legal frame of 4 MiB full of empty sub-messages or unknown fields makes
 * protobuf-c allocate a hundred times its size; the budget ends that at eight times the input plus
 * a constant, counting what malloc adds to each piece (an honest list of models with short names
 * needs five times). The allocator hands out plain malloc() memory, so that the finished message
 * needs no allocator to be freed.
 */
#include "unpack.h"

#include <stdlib.h>

#define BUDGET_FACTOR     8
#define BUDGET_BASE_BYTES (64u << 10) /* small messages with a few dozen fields */
#define MALLOC_COST_BYTES 16          /* header and rounding of one small allocation */

struct budget {
    size_t left_bytes;
    bool is_out_of_memory;
};

static void *budget_alloc(void *ctx, size_t n)
{
    struct budget *b = ctx;

    if (n > b->left_bytes || b->left_bytes - n < MALLOC_COST_BYTES) {
        return NULL;
    }
    b->left_bytes -= n + MALLOC_COST_BYTES;

    void *p = malloc(n > 0 ? n : 1);

    b->is_out_of_memory = b->is_out_of_memory || !p;
    return p;
}

/* Temporary memory is not given back to the budget: it bounds the work as well. */
static void budget_free(void *ctx, void *p)
{
    free(p);
}

ProtobufCMessage *unpack_message(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                                 size_t n, bool *ret_is_out_of_memory)
{
    static const uint8_t nothing[1];
    struct budget budget = {.left_bytes = n * BUDGET_FACTOR + BUDGET_BASE_BYTES};
    ProtobufCAllocator allocator = {
        .alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};
    ProtobufCMessage *msg =
        protobuf_c_message_unpack(descriptor, &allocator, n, n > 0 ? bytes : nothing);

    if (ret_is_out_of_memory) {
        *ret_is_out_of_memory = !msg && budget.is_out_of_memory;
    }
    return msg;
}
