#pragma once
/*
 * sluice.callers: weights, classes and limits of callers that are no keys, or of keys beside what
 * sluice.keys says. A list of maps, each with one of uid, unit and key. How much a key may use
 * (rpm, tpm, max_parallel) is said in sluice.keys only.
 */
#include "config/config_reader.h"

#define CONFIG_CALLER_WEIGHT_MAX  1000
#define CONFIG_CALLER_RUNNING_MAX 1024
#define CONFIG_CALLER_QUEUED_MAX  65536

/* The value of sluice.callers. */
void config_callers_read(struct config_reader *r, const struct config_node *at);
