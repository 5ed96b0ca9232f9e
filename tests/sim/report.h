#pragma once
/* Results for people (a table on a stream) and for programs (JSON). */
#include <stddef.h>
#include <stdio.h>

#include "tests/sim/run.h"

/* results: of one setting, by load, and by policy within a load. Sorts the samples. */
void report_table(FILE *out, struct result *results, size_t n);

/* One JSON object in a line of its own for each; without a newline at the end of the last. */
void report_json(FILE *out, struct result *results, size_t n);
