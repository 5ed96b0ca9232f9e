#pragma once
/* What `sluicectl log --stats` prints. */
#include "log_stats.h"

/* s: finished. */
void log_summary_print(const struct log_stats *s);
void log_summary_print_json(const struct log_stats *s);
