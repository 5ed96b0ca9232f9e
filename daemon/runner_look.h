#pragma once
/*
 * Looks at the processes that hold models, and tells core/residency what they take. Costs a few
 * reads for each model that is due, and a search of /proc or of the model server's control group
 * where its process is not known yet.
 */
#include "core/residency.h"
#include "memory_monitor.h"

/* A load of m begins: what its server's group holds without it is remembered. */
void runner_look_began(struct residency *r, struct residency_model *m,
                       struct memory_monitor *monitor, uint64_t now_usec);

/* Those that are due now. true: one was seen for the first time since its load. */
bool runner_look_turn(struct residency *r, struct memory_monitor *monitor, const char *kernel_root,
                      uint64_t now_usec);
