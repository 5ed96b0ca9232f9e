#pragma once
/* Deployments as the rows of a status: what `status`, `ps` and `show` tell about them. */
#include <stddef.h>
#include <stdint.h>

#include "cli.h"
#include "report.h"

/* All that is known of a deployment; the titled columns are those of a table. */
extern const struct column deployment_columns[];

/* "1/2": slots in use, slots. */
void deployments_print_slots(const sluice_call *call, size_t row);

/* "available", "available, in memory", "paused: why", "off: why". */
void deployments_print_state(const sluice_call *call, size_t row);
