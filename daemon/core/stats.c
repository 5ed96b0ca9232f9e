/* See stats.h. */
#include "core/stats.h"

void stats_count(struct stats *s, enum errcode code, int had_slot)
{
    if (code == ERRCODE_NONE) {
        s->n_completed++;
        return;
    }
    s->n_by_code[code]++;
    if (code == ERRCODE_CANCELLED) {
        s->n_cancelled++;
    } else if (had_slot) {
        s->n_failed++;
    } else {
        s->n_refused++;
    }
}
