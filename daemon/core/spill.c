/*
 * See spill.h. Owns nothing, allocates nothing, reads no clock.
 *
 * A refusal counts as the reason that it comes from: what a full queue and a long wait have in common
 * is that others were before the call. It only does where the configuration names that reason, so that
 * who spills by level alone keeps the refusals of the queue. No room for a model is a reason by
 * itself: no threshold could be named for it.
 */
#include "core/spill.h"

#include <stddef.h>

bool spill_is_on(const struct spill_rules *rules)
{
    return rules->level > PRESSURE_L0 || rules->predicted_wait_usec > 0;
}

bool spill_is_by_level(const struct spill_rules *rules, enum pressure_level level)
{
    return rules->level > PRESSURE_L0 && level >= rules->level;
}

static bool is_of_queue(enum errcode refusal)
{
    return refusal == ERRCODE_PREDICTED_WAIT || refusal == ERRCODE_QUEUE_FULL ||
           refusal == ERRCODE_DISPLACED || refusal == ERRCODE_QUEUE_TIMEOUT;
}

static bool is_of_loading(enum errcode refusal)
{
    return refusal == ERRCODE_MODEL_BUDGET || refusal == ERRCODE_MODEL_EXCEEDS ||
           refusal == ERRCODE_MODEL_QUARANTINED;
}

enum spill_reason spill_reason(const struct spill_rules *rules, const struct spill_prospect *p)
{
    if (!spill_is_on(rules) || !p->is_here) {
        return SPILL_NONE;
    }
    if (spill_is_by_level(rules, p->level)) {
        return SPILL_LEVEL;
    }
    if (is_of_loading(p->refusal)) {
        return SPILL_NO_ROOM;
    }
    if (rules->predicted_wait_usec > 0 &&
        (p->wait_usec > rules->predicted_wait_usec || is_of_queue(p->refusal))) {
        return SPILL_PREDICTED_WAIT;
    }
    return SPILL_NONE;
}

const char *spill_reason_name(enum spill_reason reason)
{
    static const char *const names[] = {
        [SPILL_LEVEL] = "level",
        [SPILL_PREDICTED_WAIT] = "predicted_wait",
        [SPILL_NO_ROOM] = "no_room",
        [_SPILL_MAX] = NULL,
    };

    return names[reason];
}
