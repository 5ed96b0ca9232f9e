/*
 * list: linking, order, and unlinking while walking.
 */
#include "support.h"

#include "base/list.h"

struct item {
    int value;
    struct list link;
};

START_TEST(list_links_and_unlinks)
{
    struct item items[4];
    struct list l;
    int sum = 0;

    list_init(&l);
    ck_assert(list_is_empty(&l));
    ck_assert_ptr_null(list_first(&l));
    for (int i = 0; i < 4; i++) {
        items[i].value = i;
        list_init(&items[i].link);
        ck_assert(!list_is_linked(&items[i].link));
    }
    list_append(&l, &items[1].link);
    list_append(&l, &items[3].link);
    list_prepend(&l, &items[0].link);
    list_insert_before(&items[3].link, &items[2].link);
    list_for_each (pos, &l) {
        ck_assert_int_eq(CONTAINER_OF(pos, struct item, link)->value, sum++);
    }
    ck_assert_int_eq(sum, 4);
    list_for_each_safe (pos, &l) {
        if (CONTAINER_OF(pos, struct item, link)->value % 2 == 0) {
            list_remove(pos);
            list_remove(pos); /* once more changes nothing */
        }
    }
    ck_assert(!list_is_linked(&items[0].link) && list_is_linked(&items[1].link));
    ck_assert_ptr_eq(list_first(&l), &items[1].link);
    list_remove(&items[1].link);
    list_remove(&items[3].link);
    ck_assert(list_is_empty(&l));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, list_links_and_unlinks);
}

TEST_MAIN("list", add_tests)
