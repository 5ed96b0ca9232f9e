#pragma once
/* Times as people say them: what --since takes. */
#include <stdbool.h>
#include <stdint.h>

/*
 * text as microseconds since 1970: "10min ago", "2h", "3 days ago" (before now), "now", "today",
 * "yesterday" (their midnights), "2026-11-22", "2026-11-22 14:30[:05]", "14:30[:05]" (today), all in
 * the local time zone, and "@1763820000". false: it is none of these.
 */
bool log_since_parse(const char *text, uint64_t now_usec, uint64_t *ret_usec);
