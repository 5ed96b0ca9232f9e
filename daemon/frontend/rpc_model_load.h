#pragma once
/* Control.Load: streams that are answered when a model is in memory. Part of rpc_control. */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct conn;

/* Answers at once, or is appended to loads until it does. */
void rpc_model_load_start(struct conn *conn, struct list *loads, uint32_t stream_id,
                          const char *model, uint64_t now_usec);
bool rpc_model_loads_have(const struct list *loads, uint32_t stream_id);
void rpc_model_loads_drop(struct list *loads); /* the connection is gone; loads go on */
