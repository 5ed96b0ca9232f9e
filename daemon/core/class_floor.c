/*
 * See class_floor.h.
 *
 * Must not: read a clock, know queues or tickets.
 */
#include "core/class_floor.h"

#include "base/clock.h"

/* How long a head must have waited for a turn, and how often there is one. 0: no turns. */
static const uint64_t turn_usec[_CLASS_MAX] = {
    [CLASS_BATCH] = 60 * USEC_PER_SEC,
    [CLASS_BACKGROUND] = 300 * USEC_PER_SEC,
};

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

void class_floor_charge(struct class_floor *f, enum call_class class, int64_t usec)
{
    const int64_t max = (int64_t) CLASS_FLOOR_DEBT_MAX_USEC;

    if (class == CLASS_INTERACTIVE && f->n_queued[CLASS_BATCH] > 0) {
        f->owed_usec += usec * CLASS_FLOOR_PERMILLE / 1000;
    } else if (class == CLASS_BATCH) {
        f->owed_usec -= usec * (1000 - CLASS_FLOOR_PERMILLE) / 1000;
    }
    f->owed_usec = clamp(f->owed_usec, -max, max);
}

static bool is_owed(const struct class_floor *f, uint64_t expected_usec)
{
    uint64_t price = expected_usec / 1000 * (1000 - CLASS_FLOOR_PERMILLE);

    price = price < CLASS_FLOOR_DEBT_MAX_USEC ? price : CLASS_FLOOR_DEBT_MAX_USEC;
    return f->owed_usec > 0 && (uint64_t) f->owed_usec >= price;
}

uint64_t class_floor_turn_usec(enum call_class class)
{
    return turn_usec[class];
}

static bool has_turn(const struct class_floor *f, enum call_class class, uint64_t queued_at_usec,
                     uint64_t now_usec)
{
    return turn_usec[class] > 0 && usec_since(now_usec, queued_at_usec) >= turn_usec[class] &&
           usec_since(now_usec, f->turn_at_usec[class]) >= turn_usec[class];
}

bool class_floor_is_due(const struct class_floor *f, enum call_class class, uint64_t expected_usec,
                        uint64_t queued_at_usec, uint64_t now_usec)
{
    return (class == CLASS_BATCH && is_owed(f, expected_usec)) ||
           has_turn(f, class, queued_at_usec, now_usec);
}

void class_floor_turn(struct class_floor *f, enum call_class class, uint64_t queued_at_usec,
                      uint64_t now_usec)
{
    if (has_turn(f, class, queued_at_usec, now_usec)) {
        f->turn_at_usec[class] = now_usec;
    }
}

bool class_floor_reserves(const struct class_floor *f, enum call_class class, uint64_t now_usec)
{
    return class != CLASS_INTERACTIVE && f->interactive_at_usec != 0 &&
           usec_since(now_usec, f->interactive_at_usec) < CLASS_FLOOR_RESERVE_USEC;
}
