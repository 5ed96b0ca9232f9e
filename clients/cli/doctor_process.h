#pragma once
/* Whose is a listening TCP port of this machine, by what /proc says. */
#include <stdbool.h>
#include <sys/types.h>

#include "doctor.h"

enum listener { LISTENER_NONE, LISTENER_HIDDEN, LISTENER_FOUND };

/* The process that listens on that port. HIDDEN: somebody does, but whose socket it is may only root or its user see. */
enum listener doctor_find_listener(const struct doctor *d, unsigned port, pid_t *ret_pid);
