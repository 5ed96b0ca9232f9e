#pragma once
/* protobuf-c's decoder with a budget. Messages are freed with protobuf_c_message_free_unpacked(msg,
 * NULL). */
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL: malformed, over the budget, or, with *ret_is_out_of_memory (may be NULL), no memory. */
ProtobufCMessage *unpack_message(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                                 size_t n, bool *ret_is_out_of_memory);
