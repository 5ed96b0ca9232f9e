#pragma once
/*
 * What Ollama can be asked about the memory of its models, and a load that no call asks for: the
 * memory_ops of core/ports.h for its backends.
 */
#include "core/ports.h"

/* For backend.memory of an http_backend that has a loader. */
extern const struct memory_ops ollama_memory_ops;
