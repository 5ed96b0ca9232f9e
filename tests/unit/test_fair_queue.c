/*
 * core/fair_queue.h: whose turn it is. Shares by weight, nothing earned by being away, order within a
 * lane, and that whoever asks for more takes nothing from who asks for less than his share.
 */
#include <string.h>

#include "base/clock.h"
#include "core/fair_queue.h"
#include "support.h"

#define SEC     USEC_PER_SEC
#define N_LANES 4
#define N_ITEMS 64

struct line {
    struct fair_lane lane;
    struct fair_item items[N_ITEMS];
    uint64_t next_place, served_usec;
    uint64_t cost_usec;
};

struct shop {
    struct fair_queue q;
    struct line lines[N_LANES];
};

static void shop_init(struct shop *s, const unsigned *weights)
{
    memset(s, 0, sizeof *s);
    fair_queue_init(&s->q);
    for (unsigned i = 0; i < N_LANES; i++) {
        fair_lane_init(&s->lines[i].lane, CLASS_INTERACTIVE, weights[i]);
        s->lines[i].cost_usec = SEC;
    }
}

static void add(struct shop *s, unsigned i)
{
    struct line *l = &s->lines[i];
    struct fair_item *item = &l->items[l->next_place % N_ITEMS];

    item->place = ++l->next_place;
    fair_queue_insert(&s->q, &l->lane, item);
}

/* Serves the next one; its line, or N_LANES. */
static unsigned serve(struct shop *s)
{
    struct fair_lane *lane = fair_queue_lane(&s->q, CLASS_INTERACTIVE, NULL);
    struct line *l = lane ? CONTAINER_OF(lane, struct line, lane) : NULL;

    if (!l) {
        return N_LANES;
    }
    fair_queue_serve(&s->q, CONTAINER_OF(lane->items.next, struct fair_item, link), l->cost_usec);
    l->served_usec += l->cost_usec;
    return (unsigned) (l - s->lines);
}

START_TEST(shares_follow_weights_and_not_numbers_or_lengths)
{
    static const unsigned weights[N_LANES] = {1, 2, 3, 6};
    struct shop s;

    shop_init(&s, weights);
    s.lines[1].cost_usec = 5 * SEC; /* long answers: fewer of them */
    for (unsigned i = 0; i < 2 * N_LANES; i++) {
        add(&s, i % N_LANES);
    }
    for (unsigned n = 0; n < 2400; n++) {
        add(&s, serve(&s)); /* everybody waits all the time */
    }
    for (unsigned i = 1; i < N_LANES; i++) {
        uint64_t share = s.lines[i].served_usec / weights[i], first = s.lines[0].served_usec;

        ck_assert_uint_le(share, first + 5 * SEC);
        ck_assert_uint_ge(share + 5 * SEC, first);
    }
}
END_TEST

/* One of four asks for a tenth of the time, the others for all: he has it whatever they ask for. */
static uint64_t served_to_the_modest(unsigned n_greedy_at_once)
{
    static const unsigned weights[N_LANES] = {1, 1, 1, 1};
    struct shop s;

    shop_init(&s, weights);
    for (unsigned n = 0; n < 1000; n++) {
        for (unsigned i = 1; i < N_LANES; i++) {
            while (s.lines[i].lane.n_items < n_greedy_at_once) {
                add(&s, i);
            }
        }
        if (n % 10 == 0) {
            add(&s, 0);
        }
        ck_assert_uint_lt(serve(&s), N_LANES);
        ck_assert_uint_le(s.lines[0].lane.n_items, 1); /* served before he comes again */
    }
    return s.lines[0].served_usec;
}

START_TEST(load_of_others_takes_nothing_below_a_share)
{
    uint64_t alone = served_to_the_modest(1);

    ck_assert_uint_ge(alone, 99 * SEC);
    for (unsigned n = 2; n <= N_ITEMS; n *= 2) {
        ck_assert_uint_eq(served_to_the_modest(n), alone);
    }
}
END_TEST

START_TEST(being_away_earns_nothing)
{
    static const unsigned weights[N_LANES] = {1, 1, 1, 1};
    struct shop s;

    shop_init(&s, weights);
    for (unsigned n = 0; n < 100; n++) {
        add(&s, 1);
        ck_assert_uint_eq(serve(&s), 1);
    }
    for (unsigned n = 0; n < 20; n++) {
        add(&s, 0);
        add(&s, 1);
    }
    for (unsigned n = 0; n < 20; n++) {
        (void) serve(&s);
    }
    ck_assert_uint_ge(s.lines[0].served_usec, 9 * SEC);
    ck_assert_uint_le(s.lines[0].served_usec, 12 * SEC); /* and not all twenty */
}
END_TEST

START_TEST(others_come_before_up_to_the_difference)
{
    static const unsigned weights[N_LANES] = {1, 2, 1, 1};
    const struct fair_lane *own, *other;
    struct shop s;

    shop_init(&s, weights);
    own = &s.lines[0].lane;
    other = &s.lines[1].lane;
    add(&s, 1);
    /* even, though only one of them waits: as much, for its weight */
    ck_assert_uint_eq(fair_queue_before(&s.q, other, own, 3 * SEC), 6 * SEC);
    ck_assert_uint_eq(fair_queue_before(&s.q, other, own, 0), 0);
    fair_queue_correct(&s.q, &s.lines[1].lane, 0, 4 * SEC); /* for its weight that is 2 s */
    add(&s, 0);
    fair_queue_correct(&s.q, &s.lines[0].lane, 0, 1 * SEC); /* lifted to 2 s, now 3 */
    ck_assert_uint_eq(fair_queue_before(&s.q, other, own, 3 * SEC), 8 * SEC);
    fair_queue_correct(&s.q, &s.lines[1].lane, 0, 10 * SEC);
    ck_assert_uint_eq(fair_queue_before(&s.q, other, own, 3 * SEC), 0);
    ck_assert_uint_eq(fair_queue_before(&s.q, other, own, 5 * SEC), 2 * SEC);
    /* however far ahead: no product overflows */
    s.lines[0].lane.vtime = UINT64_MAX / 2;
    s.lines[1].lane.weight = FAIR_WEIGHT_MAX;
    ck_assert_uint_ge(fair_queue_before(&s.q, other, own, SEC), 3600 * SEC);
}
END_TEST

START_TEST(what_was_charged_too_much_comes_back)
{
    static const unsigned weights[N_LANES] = {1, 1, 1, 1};
    struct shop s;

    shop_init(&s, weights);
    s.lines[0].cost_usec = 100 * SEC;
    for (unsigned n = 0; n < 3; n++) {
        add(&s, 0);
        add(&s, 1);
    }
    ck_assert_uint_eq(serve(&s), 0);
    ck_assert_uint_eq(serve(&s), 1);
    ck_assert_uint_eq(serve(&s), 1);
    fair_queue_correct(&s.q, &s.lines[0].lane, 100 * SEC, SEC / 2); /* it was short */
    ck_assert_uint_eq(serve(&s), 0);
    ck_assert_uint_eq(serve(&s), 1);
    fair_queue_correct(&s.q, &s.lines[0].lane, UINT32_MAX * SEC, 0); /* never below 0 */
    ck_assert_uint_eq(s.lines[0].lane.vtime, 0);
    ck_assert_uint_eq(serve(&s), 0);
    ck_assert_uint_eq(serve(&s), N_LANES);
}
END_TEST

START_TEST(a_lane_is_in_order_of_places)
{
    static const unsigned weights[N_LANES] = {1, 1, 1, 1};
    static const uint64_t places[] = {5, 2, 9, 1, 7};
    struct fair_item items[ARRAY_LEN(places)];
    struct fair_lane *lane;
    struct shop s;
    uint64_t last = 0;

    shop_init(&s, weights);
    lane = &s.lines[0].lane;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        items[i] = (struct fair_item) {.place = places[i]};
        fair_queue_insert(&s.q, lane, &items[i]);
    }
    ck_assert_ptr_eq(fair_lane_newest(lane), &items[2]);
    fair_queue_remove(&s.q, &items[2]);
    ck_assert_ptr_eq(fair_lane_newest(lane), &items[4]);
    while (lane->n_items > 0) {
        struct fair_item *first = CONTAINER_OF(lane->items.next, struct fair_item, link);

        ck_assert_uint_gt(first->place, last);
        last = first->place;
        fair_queue_serve(&s.q, first, SEC);
    }
    ck_assert_ptr_null(fair_queue_lane(&s.q, CLASS_INTERACTIVE, NULL));
    ck_assert_ptr_null(fair_queue_longest(&s.q, CLASS_INTERACTIVE));
    ck_assert_uint_eq(s.q.n_items[CLASS_INTERACTIVE], 0);
}
END_TEST

START_TEST(the_longest_is_by_weight)
{
    static const unsigned weights[N_LANES] = {1, 4, 1, 1};
    struct shop s;

    shop_init(&s, weights);
    for (unsigned n = 0; n < 7; n++) {
        add(&s, 1);
    }
    add(&s, 0);
    ck_assert_ptr_eq(fair_queue_longest(&s.q, CLASS_INTERACTIVE), &s.lines[1].lane); /* 7/4 > 1 */
    add(&s, 0);
    ck_assert_ptr_eq(fair_queue_longest(&s.q, CLASS_INTERACTIVE), &s.lines[0].lane);
}
END_TEST

struct ranking {
    struct shop *shop;
    uint32_t n;
    unsigned order[4 * N_ITEMS];
};

static void visit(void *ctx, struct fair_item *item, uint32_t position)
{
    struct ranking *r = ctx;

    ck_assert_uint_eq(position, ++r->n);
    r->order[r->n - 1] = (unsigned) (CONTAINER_OF(item->lane, struct line, lane) - r->shop->lines);
}

START_TEST(a_rank_goes_round_by_round)
{
    static const unsigned weights[N_LANES] = {1, 1, 1, 1}, expected[] = {0, 1, 2, 0, 1, 0};
    struct ranking r = {0};
    struct shop s;

    shop_init(&s, weights);
    r.shop = &s;
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned n = i; n < 3; n++) {
            add(&s, i);
        }
    }
    fair_queue_rank(&s.q, visit, &r);
    ck_assert_uint_eq(r.n, ARRAY_LEN(expected));
    ck_assert_mem_eq(r.order, expected, sizeof expected);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, shares_follow_weights_and_not_numbers_or_lengths);
    tcase_add_test(tc, load_of_others_takes_nothing_below_a_share);
    tcase_add_test(tc, being_away_earns_nothing);
    tcase_add_test(tc, others_come_before_up_to_the_difference);
    tcase_add_test(tc, what_was_charged_too_much_comes_back);
    tcase_add_test(tc, a_lane_is_in_order_of_places);
    tcase_add_test(tc, the_longest_is_by_weight);
    tcase_add_test(tc, a_rank_goes_round_by_round);
}
TEST_MAIN("fair_queue", add_tests)
