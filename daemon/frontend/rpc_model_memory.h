#pragma once
/*
 * Control.Load and Control.Unload: streams that are answered when a model is in memory, or its memory
 * is free. Part of rpc_control, which has decided that the caller may.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct conn;

enum rpc_model_wish { MODEL_IN_MEMORY, MODEL_OUT_OF_MEMORY };

/* Answers at once, or is appended to waiting until it does. conn outlives what it waits for. */
void rpc_model_memory_ask(struct conn *conn, struct list *waiting, uint32_t stream_id,
                          enum rpc_model_wish wish, const char *model, uint64_t now_usec);

size_t rpc_model_memory_count(const struct list *waiting);
bool rpc_model_memory_has(const struct list *waiting, uint32_t stream_id);

/* The connection is gone: what has begun at a model server goes on. */
void rpc_model_memory_drop(struct list *waiting);
