#pragma once
/*
 * Bytes of a sluice.v1 message to protobuf-c's structs, safely: what protobuf-c does not check is
 * checked before it runs, and what it allocates is bounded. Part of rpc_msg; nobody else includes
 * it.
 */
#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/macros.h"
#include "base/str.h"
#include "wire/problem.h"

#define RPC_MAX_IMAGES     256 /* of one message */
#define RPC_MAX_TOOL_CALLS 128 /* of one message; as many as OpenAI allows tools */

/*
 * Unknown fields of all levels together: those of a newer client, each of which protobuf-c copies.
 */
#define RPC_MAX_UNKNOWN_FIELDS 256

/*
 * A message with everything that hangs on it. Zero-initialised; freed by rpc_unpacked_done(), also
 * after a failure.
 */
struct rpc_unpacked {
    struct arena arena;
    ProtobufCMessage *message; /* in the arena */
};

/*
 * 0: u->message is well-formed, its strings are UTF-8 without NUL, its lists are no longer than
 * sluice.proto says. -EBADMSG: *ret_problem names the field (INVALID_REQUEST), or says that the
 * message is a bomb (PAYLOAD_TOO_LARGE). -ENOMEM: out of memory.
 */
int rpc_unpack(struct rpc_unpacked *u, const ProtobufCMessageDescriptor *type, struct str payload,
               struct problem *ret_problem) MUST_USE;
void rpc_unpacked_done(struct rpc_unpacked *u);
