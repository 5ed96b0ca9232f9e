#pragma once
/* SIGUSR1: the state and the open calls, to the log. No prompts, no answers, no keys. */
#include <stdint.h>

#include "frontend/frontend.h"

/* f: for all that it can reach. */
void state_dump(const struct frontends *f, uint64_t now_usec);
