#pragma once
/*
 * Restarts a unit of the service manager: org.freedesktop.systemd1.Manager.RestartUnit, and the end
 * of the job that comes of it (org.freedesktop.systemd1(5)).
 */
#include <systemd/sd-event.h>

#include "base/macros.h"

/* How error begins where nobody could be asked. */
#define UNIT_RESTART_NO_BUS "the service manager cannot be asked over D-Bus: "

struct unit_restart;

/*
 * Once, from the loop, never from within unit_restart_start(). error: NULL when the unit was
 * restarted; else why not, for people, borrowed. The restart is dead afterwards.
 */
typedef void (*unit_restart_fn)(void *ctx, const char *error);

/*
 * Asks the manager that this process is a service of: the user's where it runs in one, else the
 * system's. Never blocks. 0 or -errno; unit is copied.
 */
int unit_restart_start(sd_event *event, const char *unit, unit_restart_fn on_done, void *ctx,
                       struct unit_restart **ret) MUST_USE;

/* Nobody waits any more; what was asked for goes on. Accepts NULL, returns NULL. */
struct unit_restart *unit_restart_cancel(struct unit_restart *r);
