#pragma once
/*
 * Which systemd unit a peer runs in, from /proc/PID/cgroup: read once, when it connects, so that a
 * system service is one caller whatever its user (core/caller_table.h).
 *
 * A process that has gone, or may not be looked at (ProtectProc=), has none: it counts as its uid.
 * Its pid might be another's by then; units are for shares of time, and never for access.
 */
#include "core/request.h"

/* Sets unit and is_system_unit, or leaves them empty. */
void peer_unit_read(pid_t pid, struct caller *caller);
