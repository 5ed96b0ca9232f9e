#pragma once
/*
 * What lower classes get although higher ones go first, within one model group; or on the whole device,
 * where one call at a time runs there.
 *
 *   batch        a tenth of the slots' time while it waits, and the head of its queue one turn in 60 s
 *                once it has waited for that long
 *   background   nothing but turns: one in 300 s, after 300 s
 *
 * The tenth is a debt: while batch waits, each service of a class above adds a tenth of its time, and
 * each of batch takes away nine tenths of its own. Batch is due when the debt pays for its next call.
 * So no window of time has to be kept, and the share is right from the first call on. The debt is at
 * most a tenth of 120 s: who was kept waiting does not get minutes at once.
 *
 * It also keeps one slot of several free for interactive calls, while some came in the last minute.
 *
 * Embedded in a model_group, and forgotten at a reload; and in admission. A pure state machine.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/request.h"

#define CLASS_FLOOR_PERMILLE      100
#define CLASS_FLOOR_DEBT_MAX_USEC (12 * UINT64_C(1000000))
#define CLASS_FLOOR_RESERVE_USEC  (60 * UINT64_C(1000000))

struct class_floor {
    unsigned n_queued[_CLASS_MAX];
    int64_t owed_usec;                 /* to batch; negative: it went first for longer than that */
    uint64_t turn_at_usec[_CLASS_MAX]; /* the last turn given for age; 0: none yet */
    uint64_t interactive_at_usec;      /* the last one that came; 0: none yet */
};

/*
 * Slot time that a call of this class takes, or more (or less: negative) than was told before. Of
 * batch only calls that went first because they were due: what the class gets besides is nobody's
 * loss.
 */
void class_floor_charge(struct class_floor *f, enum call_class class, int64_t usec);

/* Must a call of this class, which waits since then, go before classes above it now? */
bool class_floor_is_due(const struct class_floor *f, enum call_class class, uint64_t expected_usec,
                        uint64_t queued_at_usec, uint64_t now_usec);

/* How long the head of its queue waits for a turn, which follow each other as far apart. 0: no turns. */
uint64_t class_floor_turn_usec(enum call_class class);

/* It went first, being due. */
void class_floor_turn(struct class_floor *f, enum call_class class, uint64_t queued_at_usec,
                      uint64_t now_usec);

/* Does a class leave its last slot free at this time, in a group of several? */
bool class_floor_reserves(const struct class_floor *f, enum call_class class, uint64_t now_usec);
