#pragma once
/*
 * The methods of sluice.v1 by their names on the wire.
 */
#include "proto/frame.h"

enum rpc_method {
    METHOD_GET_INFO,
    METHOD_LIST_MODELS,
    METHOD_CHAT,
    METHOD_COMPLETE,
    METHOD_EMBED,
    METHOD_RERANK,
    METHOD_CLASSIFY,
    METHOD_CANCEL,
    METHOD_UPLOAD,
    METHOD_STATUS,
    METHOD_WATCH,
    METHOD_RELOAD,
    METHOD_DRAIN,
    METHOD_LOAD,
    METHOD_UNLOAD,
    METHOD_EXPLAIN,
    METHOD_UNKNOWN,
};

enum rpc_method rpc_method_of(const struct frame_request *frame);
