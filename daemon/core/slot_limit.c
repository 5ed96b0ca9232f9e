/*
 * See slot_limit.h.
 *
 * Must not: read a clock, know deployments or calls.
 */
#include "core/slot_limit.h"

static bool is_distress(enum errcode code)
{
    return code == ERRCODE_UPSTREAM_OVERLOADED || code == ERRCODE_UPSTREAM_TIMEOUT ||
           code == ERRCODE_UPSTREAM_STALLED || code == ERRCODE_UPSTREAM_OUT_OF_MEMORY;
}

void slot_limit_note(struct slot_limit *l, unsigned n_slots, enum errcode code,
                     uint64_t granted_at_usec, uint64_t now_usec)
{
    unsigned n = slot_limit_now(l, n_slots, PRESSURE_L0, false);

    if (code == ERRCODE_NONE) {
        if (l->n_less > 0 && ++l->n_clean >= SLOT_LIMIT_CLEAN) {
            l->n_less--;
            l->n_clean = 0;
        }
    } else if (is_distress(code) && granted_at_usec >= l->cut_at_usec) {
        l->n_less = n_slots - (n > 1 ? n / 2 : 1);
        l->n_clean = 0;
        l->cut_at_usec = now_usec;
    }
}

unsigned slot_limit_now(const struct slot_limit *l, unsigned n_slots, enum pressure_level level,
                        bool is_local)
{
    unsigned n = l->n_less < n_slots ? n_slots - l->n_less : 1;
    unsigned n_by_memory = level >= PRESSURE_L3 ? 1 : level >= PRESSURE_L2 ? (n_slots + 1) / 2 : n;

    return is_local && n_by_memory > 0 && n_by_memory < n ? n_by_memory : n;
}
