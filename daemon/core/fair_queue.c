/*
 * See fair_queue.h.
 *
 * Invariants: a lane is linked exactly while it has items, and lanes of a class are sorted by virtual
 * time; items of a lane are sorted by place; n_items are the sums.
 *
 * Must not: read a clock, know tickets, callers, models or slots, allocate.
 */
#include "core/fair_queue.h"

#include <assert.h>

#include "base/macros.h"

/* Nobody looks further ahead: two hours at weight 1, and no product with a weight overflows. */
#define GAP_MAX (UINT64_C(7200000000) * FAIR_VTIME_PER_USEC)

void fair_queue_init(struct fair_queue *q)
{
    *q = (struct fair_queue) {0};
    for (int c = 0; c < _CLASS_MAX; c++) {
        list_init(&q->classes[c]);
    }
}

void fair_lane_init(struct fair_lane *lane, enum call_class class, unsigned weight)
{
    assert(weight > 0 && weight <= FAIR_WEIGHT_MAX);
    *lane = (struct fair_lane) {.class = class, .weight = weight};
    list_init(&lane->link);
    list_init(&lane->items);
}

static struct fair_lane *lane_of(struct list *link)
{
    return CONTAINER_OF(link, struct fair_lane, link);
}

static struct fair_item *item_of(struct list *link)
{
    return CONTAINER_OF(link, struct fair_item, link);
}

/* Where its virtual time belongs; behind those with the same. */
static void sort_in(struct fair_queue *q, struct fair_lane *lane)
{
    struct list *all = &q->classes[lane->class], *after = all->prev;

    while (after != all && lane_of(after)->vtime > lane->vtime) {
        after = after->prev;
    }
    list_insert_before(after->next, &lane->link);
}

/* A lane that begins to wait earns nothing by having been away: what its time is then. */
static uint64_t lifted(const struct fair_queue *q, const struct fair_lane *lane)
{
    const struct list *all = &q->classes[lane->class];
    uint64_t least = list_is_empty(all) ? q->served_vtime[lane->class] : lane_of(all->next)->vtime;

    return lane->vtime > least ? lane->vtime : least;
}

void fair_queue_insert(struct fair_queue *q, struct fair_lane *lane, struct fair_item *item)
{
    struct list *after = lane->items.prev;

    if (lane->n_items == 0) {
        lane->vtime = lifted(q, lane);
        sort_in(q, lane);
    }
    while (after != &lane->items && item_of(after)->place > item->place) {
        after = after->prev;
    }
    list_insert_before(after->next, &item->link);
    item->lane = lane;
    lane->n_items++;
    q->n_items[lane->class]++;
}

void fair_queue_remove(struct fair_queue *q, struct fair_item *item)
{
    struct fair_lane *lane = item->lane;

    assert(lane && lane->n_items > 0);
    list_remove(&item->link);
    item->lane = NULL;
    q->n_items[lane->class]--;
    if (--lane->n_items == 0) {
        list_remove(&lane->link);
    }
}

static uint64_t vtime_of(const struct fair_lane *lane, uint64_t usec)
{
    return usec * FAIR_VTIME_PER_USEC / lane->weight;
}

static void move(struct fair_queue *q, struct fair_lane *lane, uint64_t vtime)
{
    lane->vtime = vtime;
    if (lane->n_items > 0) {
        list_remove(&lane->link);
        sort_in(q, lane);
    }
}

void fair_queue_serve(struct fair_queue *q, struct fair_item *item, uint64_t usec)
{
    struct fair_lane *lane = item->lane;

    q->served_vtime[lane->class] = lane->vtime;
    fair_queue_remove(q, item);
    move(q, lane, lane->vtime + vtime_of(lane, usec));
}

void fair_queue_correct(struct fair_queue *q, struct fair_lane *lane, uint64_t charged_usec,
                        uint64_t usec)
{
    uint64_t charged = vtime_of(lane, charged_usec);
    uint64_t without = lane->vtime > charged ? lane->vtime - charged : 0;

    move(q, lane, without + vtime_of(lane, usec));
}

uint64_t fair_queue_before(const struct fair_queue *q, const struct fair_lane *lane,
                           const struct fair_lane *own, uint64_t claim_usec)
{
    uint64_t now = own->n_items > 0 ? own->vtime : lifted(q, own);
    uint64_t until = now + vtime_of(own, claim_usec);
    uint64_t gap = until > lane->vtime ? until - lane->vtime : 0;

    return (gap < GAP_MAX ? gap : GAP_MAX) * lane->weight / FAIR_VTIME_PER_USEC;
}

struct fair_lane *fair_queue_lane(const struct fair_queue *q, enum call_class class,
                                  const struct fair_lane *lane)
{
    const struct list *all = &q->classes[class];
    struct list *next = lane ? lane->link.next : all->next;

    return next == all ? NULL : lane_of(next);
}

struct fair_lane *fair_queue_longest(const struct fair_queue *q, enum call_class class)
{
    struct fair_lane *longest = NULL;

    list_for_each (l, &q->classes[class]) {
        struct fair_lane *lane = lane_of(l);

        if (!longest || (uint64_t) lane->n_items * longest->weight >
                            (uint64_t) longest->n_items * lane->weight) {
            longest = lane;
        }
    }
    return longest;
}

struct fair_item *fair_lane_newest(const struct fair_lane *lane)
{
    assert(lane->n_items > 0);
    return item_of(lane->items.prev);
}

/* The n-th items of all lanes of a class; each lane remembers how far it was visited. */
static uint32_t visit_class(const struct fair_queue *q, enum call_class class, fair_visit_fn visit,
                            void *ctx, uint32_t position)
{
    uint32_t end = position + q->n_items[class];

    list_for_each (l, &q->classes[class]) {
        struct fair_lane *lane = lane_of(l);

        lane->ranked = lane->items.next;
    }
    while (position < end) {
        list_for_each (l, &q->classes[class]) {
            struct fair_lane *lane = lane_of(l);
            struct list *at = lane->ranked;

            if (at != &lane->items) {
                lane->ranked = at->next;
                visit(ctx, item_of(at), ++position);
            }
        }
    }
    return position;
}

void fair_queue_rank(const struct fair_queue *q, fair_visit_fn visit, void *ctx)
{
    uint32_t position = 0;

    for (int c = 0; c < _CLASS_MAX; c++) {
        position = visit_class(q, (enum call_class) c, visit, ctx, position);
    }
}
