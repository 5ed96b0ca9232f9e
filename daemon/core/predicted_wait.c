/*
 * See predicted_wait.h.
 *
 * Must not: know queues, tickets or clocks.
 */
#include "core/predicted_wait.h"

#include "base/clock.h"
#include "base/num.h"

#define PREDICTED_WAIT_MAX_USEC (3600 * USEC_PER_SEC)

/* Never less than a twentieth: what is left for a class is not nothing, only little. */
#define LEFT_PERMILLE_MIN 50

static uint64_t stretched(uint64_t usec, uint64_t left_permille)
{
    return usec * 1000 / num_clamp_u64(left_permille, LEFT_PERMILLE_MIN, 1000);
}

/* As if classes above went first all the time. */
static uint64_t by_order(const struct wait_outlook *o)
{
    uint64_t before = (o->residual_usec + o->above_usec + o->class_usec) / o->n_slots;

    return stretched(before, 1000 - num_clamp_u64(o->above_permille + o->below_permille, 0, 1000));
}

/* As if the class had its floor and nothing else. */
static uint64_t by_floor(const struct wait_outlook *o)
{
    if (o->floor_permille == 0) {
        return UINT64_MAX;
    }
    return o->residual_usec / o->n_slots +
           stretched((o->class_usec + o->floor_first_usec) / o->n_slots, o->floor_permille);
}

uint64_t predicted_wait(const struct wait_outlook *o)
{
    uint64_t ordered, floored;

    if (o->n_slots == 0) {
        return 0; /* nobody serves: that is not for a prediction to say */
    }
    if (o->n_ahead < o->n_free) {
        return o->switch_usec;
    }
    ordered = by_order(o);
    floored = by_floor(o);
    return num_clamp_u64((ordered < floored ? ordered : floored) + o->switch_usec, 0,
                         PREDICTED_WAIT_MAX_USEC);
}
