/*
 * Levels in words: for logs, metrics and people. The numbers are those that decided.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "core/pressure.h"

#define MIB UINT64_C(1048576)

enum unit { UNIT_NONE, UNIT_PERMILLE, UNIT_BYTES, UNIT_BYTES_PER_SEC, UNIT_USEC, UNIT_COUNT };

static const struct {
    const char *name, *text;
    enum unit unit;
    bool is_below; /* the value is under the limit, not over it */
} reasons[] = {
    [PRESSURE_CALM] = {"calm", "calm", UNIT_NONE, false},
    [PRESSURE_PSI_SOME] = {"psi_some", "stalled (some)", UNIT_PERMILLE, false},
    [PRESSURE_PSI_FULL] = {"psi_full", "stalled (full)", UNIT_PERMILLE, false},
    [PRESSURE_HEADROOM] = {"headroom", "headroom", UNIT_BYTES, true},
    [PRESSURE_EXHAUSTION] = {"exhaustion", "exhausted in", UNIT_USEC, true},
    [PRESSURE_SWAP_FULL] = {"swap_full", "swap free", UNIT_PERMILLE, true},
    [PRESSURE_THROTTLED] = {"throttled", "slowed down at memory.high", UNIT_COUNT, false},
    [PRESSURE_LIMIT_HIT] = {"limit_hit", "memory limit hit", UNIT_COUNT, false},
    [PRESSURE_STALLS] = {"stalls", "allocations had to wait", UNIT_COUNT, false},
    [PRESSURE_OOM_KILL] = {"oom_kill", "killed for want of memory", UNIT_COUNT, false},
    [PRESSURE_THRASHING] = {"thrashing", "read again each second", UNIT_PERMILLE, false},
    [PRESSURE_SWAP_IN] = {"swap_in", "swapped in", UNIT_BYTES_PER_SEC, false},
    [PRESSURE_UNREADABLE] = {"unreadable", "memory can no longer be read", UNIT_NONE, false},
};

static const char *const rungs[] = {
    [PRESSURE_RUNG_NONE] = "none",           [PRESSURE_RUNG_ROOM] = "meminfo",
    [PRESSURE_RUNG_VMSTAT] = "vmstat",       [PRESSURE_RUNG_PSI] = "psi",
    [PRESSURE_RUNG_TRIGGER] = "psi+trigger",
};

static const char *const levels[] = {
    [PRESSURE_L0] = "calm",     [PRESSURE_L1] = "elevated",  [PRESSURE_L2] = "high",
    [PRESSURE_L3] = "critical", [PRESSURE_L4] = "emergency",
};

const char *pressure_level_name(enum pressure_level level)
{
    return levels[level];
}

int pressure_level_from_name(const char *name, enum pressure_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (strcmp(levels[i], name) == 0) {
            *ret_level = (enum pressure_level) i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *pressure_reason_name(enum pressure_reason reason)
{
    return reasons[reason].name;
}

const char *pressure_rung_name(enum pressure_rung rung)
{
    return rungs[rung];
}

static void format_value(enum unit unit, uint64_t v, char *ret_text, size_t size)
{
    switch (unit) {
    case UNIT_NONE:
    case UNIT_COUNT:
        (void) snprintf(ret_text, size, "%" PRIu64, v);
        break;
    case UNIT_PERMILLE:
        (void) snprintf(ret_text, size, "%" PRIu64 ".%" PRIu64 " %%", v / 10, v % 10);
        break;
    case UNIT_BYTES:
        (void) snprintf(ret_text, size, "%" PRIu64 " MiB", v / MIB);
        break;
    case UNIT_BYTES_PER_SEC:
        (void) snprintf(ret_text, size, "%" PRIu64 " MB/s", v / 1000000);
        break;
    case UNIT_USEC:
        (void) snprintf(ret_text, size, "%" PRIu64 ".%" PRIu64 " s", v / USEC_PER_SEC,
                        v % USEC_PER_SEC / (USEC_PER_SEC / 10));
        break;
    }
}

const char *pressure_describe(const struct pressure_cause *cause, char ret_text[PRESSURE_TEXT_MAX])
{
    const char *where = cause->place == MEMORY_SERVER ? " (model server's group)" : "";
    enum unit unit = reasons[cause->reason].unit;
    const char *text = reasons[cause->reason].text;
    char seen[32], limit[32];

    format_value(unit, cause->seen, seen, sizeof seen);
    format_value(unit, cause->limit, limit, sizeof limit);
    if (unit == UNIT_NONE) {
        (void) snprintf(ret_text, PRESSURE_TEXT_MAX, "%s%s", text, where);
    } else if (unit == UNIT_COUNT) {
        (void) snprintf(ret_text, PRESSURE_TEXT_MAX, "%s, %s times in 2 s%s", text, seen, where);
    } else {
        (void) snprintf(ret_text, PRESSURE_TEXT_MAX, "%s %s %s %s%s", text, seen,
                        reasons[cause->reason].is_below ? "<" : ">=", limit, where);
    }
    return ret_text;
}

const char *pressure_describe_now(const struct pressure *p, char ret_text[PRESSURE_TEXT_MAX])
{
    enum pressure_level for_calls = pressure_level_for_calls(p);
    size_t n = strlen(pressure_describe(&p->cause, ret_text));

    if (for_calls < p->level) {
        (void) snprintf(ret_text + n, PRESSURE_TEXT_MAX - n, "; held, calls are taken as at L%d",
                        (int) for_calls);
    }
    return ret_text;
}
