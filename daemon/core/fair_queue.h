#pragma once
/*
 * Whose turn it is: callers of one class by the slot time that they have had.
 *
 * A lane is what one caller has waiting in one class, in order of arrival, with a virtual time: the
 * slot time that it was given, divided by its weight. Within a class the lane with the smallest
 * virtual time goes first (VTC, arXiv 2401.00588, with slot time for cost, which needs no tokenizer
 * and is exact for every model). It is charged with an estimate when its call gets a slot, and
 * with the difference when the truth is known (as kube-apiserver's APF does). A lane that begins to
 * wait is lifted to the smallest virtual time of those that wait, or of who was served last: being
 * away earns nothing. Who charges a caller's lanes of other classes as well makes one account of them:
 * admission_dispatch.c does.
 *
 *   classes[INTERACTIVE] ── lane(vt 3) ── lane(vt 5) ── lane(vt 9)      sorted by vt
 *                            │  │            │
 *                          item item        item                        in order of arrival
 *
 * It knows neither tickets nor callers, models nor slots: both are embedded in what knows more. It
 * allocates nothing. Finding the next costs a look at each lane at most (64), inserting as well.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/request.h"

/*
 * A virtual time counts microseconds times this, so that dividing by the weights 1 to 12 leaves no
 * rest, and weights that are all doubled change no decision. 2^64 of them last for 21 years of
 * slot time at weight 1.
 */
#define FAIR_VTIME_PER_USEC 27720
#define FAIR_WEIGHT_MAX     1000

struct fair_lane {
    struct list link;  /* fair_queue.classes, sorted by vtime; unlinked while items is empty */
    struct list items; /* fair_item.link, by place */
    enum call_class class;
    unsigned weight; /* 1 to FAIR_WEIGHT_MAX */
    uint64_t vtime;
    unsigned n_items;
    struct list *ranked; /* of fair_queue_rank() while it runs */
};

/* Embedded in who waits. */
struct fair_item {
    struct list link; /* fair_lane.items */
    struct fair_lane *lane;
    uint64_t place; /* order within the lane: smaller goes first */
};

struct fair_queue {
    struct list classes[_CLASS_MAX];   /* fair_lane.link */
    uint64_t served_vtime[_CLASS_MAX]; /* of the lane that was served last, before its charge */
    unsigned n_items[_CLASS_MAX];
};

void fair_queue_init(struct fair_queue *q);
void fair_lane_init(struct fair_lane *lane, enum call_class class, unsigned weight);

/* Into its lane, where its place says. */
void fair_queue_insert(struct fair_queue *q, struct fair_lane *lane, struct fair_item *item);
void fair_queue_remove(struct fair_queue *q, struct fair_item *item);

/* An item's turn has come: it leaves, and its lane is charged. */
void fair_queue_serve(struct fair_queue *q, struct fair_item *item, uint64_t usec);

/* The cost of what a lane was charged for is now known to be another. */
void fair_queue_correct(struct fair_queue *q, struct fair_lane *lane, uint64_t charged_usec,
                        uint64_t usec);

/*
 * How much of lane's slot time comes before own, of the same class, has had claim_usec more than now:
 * as much for its weight if both are even, more if own is ahead, less if lane is.
 */
uint64_t fair_queue_before(const struct fair_queue *q, const struct fair_lane *lane,
                           const struct fair_lane *own, uint64_t claim_usec);

/* The next lane of a class in order of turns; NULL after the last. lane NULL: the first. */
struct fair_lane *fair_queue_lane(const struct fair_queue *q, enum call_class class,
                                  const struct fair_lane *lane);

/* The lane of a class with most waiting for its weight; NULL where nobody waits. */
struct fair_lane *fair_queue_longest(const struct fair_queue *q, enum call_class class);

/* Who came last into a lane that is not empty. */
struct fair_item *fair_lane_newest(const struct fair_lane *lane);

/*
 * Everybody in about the order in which slots will be given: class by class, round by round of the
 * lanes. visit must not change the queue.
 */
typedef void (*fair_visit_fn)(void *ctx, struct fair_item *item, uint32_t position);
void fair_queue_rank(const struct fair_queue *q, fair_visit_fn visit, void *ctx);
