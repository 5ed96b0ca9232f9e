/*
 * What is believed of an Ollama server's memory, between its list, which may lie, and what calls
 * have met.
 */
#include "upstream/ollama_resident.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "support.h"

#define SEC USEC_PER_SEC

static struct ollama_resident g_resident;

static void teardown(void)
{
    ollama_resident_done(&g_resident);
}

/* The answer with these names, one letter each, to who asked then. */
static bool take(const char *names, uint64_t asked_at_usec, unsigned epoch)
{
    struct ollama_loaded_list list = {.n = strlen(names)};
    bool taken;

    list.models = calloc(list.n + 1, sizeof *list.models);
    ck_assert_ptr_nonnull(list.models);
    for (size_t i = 0; i < list.n; i++) {
        (void) snprintf(list.models[i].name, sizeof list.models[i].name, "%c:latest", names[i]);
        list.models[i].size_bytes = (uint64_t) names[i];
    }
    taken = ollama_resident_take(&g_resident, &list, asked_at_usec, epoch);
    ck_assert((list.models == NULL) == taken);
    ollama_loaded_list_done(&list);
    return taken;
}

static bool has(const char *model, unsigned epoch, uint64_t now_usec)
{
    const struct ollama_loaded *m = ollama_resident_find(&g_resident, model, epoch, now_usec);

    ck_assert(!m || m->size_bytes == (uint64_t) m->name[0]);
    return m != NULL;
}

START_TEST(nothing_is_known_at_first)
{
    ck_assert(!has("a", 0, 0));
    ollama_resident_doubt(&g_resident, "a", 1);
    ollama_resident_confirm(&g_resident, "a");
    ck_assert(!has("a", 0, 2));
}
END_TEST

START_TEST(what_is_listed_is_there)
{
    ck_assert(take("ab", SEC, 0));
    ck_assert(has("a", 0, SEC) && has("A:latest", 0, SEC) && has("library/b", 0, SEC));
    ck_assert(!has("a:7b", 0, SEC) && !has("c", 0, SEC) && !has("", 0, SEC));
    ck_assert(take("c", 2 * SEC, 0)); /* the new one counts alone */
    ck_assert(!has("a", 0, 2 * SEC) && has("c", 0, 2 * SEC));
    ck_assert(take("", 3 * SEC, 0));
    ck_assert(!has("c", 0, 3 * SEC));
}
END_TEST

START_TEST(not_for_ever)
{
    ck_assert(take("a", SEC, 0));
    ck_assert(has("a", 0, SEC + RESIDENT_BELIEVED_USEC - 1));
    ck_assert(!has("a", 0, SEC + RESIDENT_BELIEVED_USEC));
}
END_TEST

START_TEST(another_process_has_nothing)
{
    ck_assert(take("a", SEC, 3));
    ck_assert(has("a", 3, SEC));
    ck_assert(!has("a", 4, SEC));
    ck_assert(take("a", 2 * SEC, 3)); /* was asked of the one that is gone */
    ck_assert(!has("a", 4, 2 * SEC));
    ck_assert(take("a", 3 * SEC, 4));
    ck_assert(has("a", 4, 3 * SEC));
}
END_TEST

/* Ollama lists dead runners until somebody asks for their model. */
START_TEST(who_failed_is_doubted_as_long_as_it_is_listed)
{
    ck_assert(take("ab", SEC, 0));
    ollama_resident_doubt(&g_resident, "A", 2 * SEC);
    ck_assert(!has("a", 0, 2 * SEC) && has("b", 0, 2 * SEC));
    ck_assert(take("ba", 3 * SEC, 0));
    ck_assert(!has("a", 0, 3 * SEC) && has("b", 0, 3 * SEC));
    ollama_resident_confirm(&g_resident, "a");
    ck_assert(has("a", 0, 3 * SEC));

    ollama_resident_doubt(&g_resident, "a", 4 * SEC);
    ck_assert(take("b", 5 * SEC, 0));
    ck_assert(take("ab", 6 * SEC, 0)); /* it was gone, and is there again */
    ck_assert(has("a", 0, 6 * SEC));
}
END_TEST

START_TEST(a_doubt_does_not_outlive_the_process)
{
    ck_assert(take("a", SEC, 0));
    ollama_resident_doubt(&g_resident, "a", 2 * SEC);
    ck_assert(take("a", 3 * SEC, 1));
    ck_assert(has("a", 1, 3 * SEC));
}
END_TEST

START_TEST(an_answer_that_may_not_know_is_not_taken)
{
    ck_assert(take("a", SEC, 0));
    ollama_resident_doubt(&g_resident, "c", 3 * SEC); /* listed by nobody yet */
    ck_assert(!take("abc", 2 * SEC, 0));
    ck_assert(!take("abc", 3 * SEC, 0));
    ck_assert(has("a", 0, 3 * SEC) && !has("b", 0, 3 * SEC)); /* what was known stays */
    ck_assert(take("abc", 3 * SEC + 1, 0));
    ck_assert(has("c", 0, 4 * SEC));
}
END_TEST

START_TEST(as_many_as_can_be_listed)
{
    char names[OLLAMA_LOADED_MAX_MODELS + 1];

    memset(names, 'x', OLLAMA_LOADED_MAX_MODELS);
    names[OLLAMA_LOADED_MAX_MODELS] = '\0';
    names[OLLAMA_LOADED_MAX_MODELS - 1] = 'z';
    ck_assert(take(names, SEC, 0));
    ollama_resident_doubt(&g_resident, "z", 2 * SEC);
    ck_assert(take(names, 3 * SEC, 0));
    ck_assert(!has("z", 0, 3 * SEC) && has("x", 0, 3 * SEC));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, nothing_is_known_at_first);
    tcase_add_test(tc, what_is_listed_is_there);
    tcase_add_test(tc, not_for_ever);
    tcase_add_test(tc, another_process_has_nothing);
    tcase_add_test(tc, who_failed_is_doubted_as_long_as_it_is_listed);
    tcase_add_test(tc, a_doubt_does_not_outlive_the_process);
    tcase_add_test(tc, an_answer_that_may_not_know_is_not_taken);
    tcase_add_test(tc, as_many_as_can_be_listed);
}

TEST_MAIN("ollama_resident", add_tests)
