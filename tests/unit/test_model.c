/* The neutral model: requests, events and their grammar; and errors.def as a table. */
#include <errno.h>

#include "core/event.h"
#include "core/request.h"
#include "core/stats.h"
#include "support.h"

START_TEST(request_ids)
{
    char long_id[REQUEST_ID_MAX + 2];

    memset(long_id, 'a', sizeof long_id);
    ck_assert(request_id_is_valid(str_from("req-1.a_B")));
    ck_assert(request_id_is_valid((struct str) {long_id, REQUEST_ID_MAX}));
    ck_assert(!request_id_is_valid((struct str) {long_id, REQUEST_ID_MAX + 1}));
    ck_assert(!request_id_is_valid(STR_NONE));
    ck_assert(!request_id_is_valid(str_from("")));
    ck_assert(!request_id_is_valid(str_from("a b")));
    ck_assert(!request_id_is_valid(str_from("a\n")));
    ck_assert(!request_id_is_valid(str_from("\xc3\xa4")));
}
END_TEST

START_TEST(class_names)
{
    enum call_class class;

    for (int i = 0; i < _CLASS_MAX; i++) {
        ck_assert_int_eq(
            call_class_from_name(str_from(call_class_name((enum call_class) i)), &class), 0);
        ck_assert_int_eq(class, i);
    }
    ck_assert_int_eq(call_class_from_name(str_from("Batch"), &class), -EINVAL);
    ck_assert_int_eq(call_class_from_name(STR_NONE, &class), -EINVAL);
}
END_TEST

/* Letters: q QUEUED, s STARTED, t TEXT, c TOOL_CALL, e EMBEDDING, r RESULT,
 * u USAGE, E END, F FAILED. */
static int check(const char *letters)
{
    static const char all[] = "qstceruEF";
    struct event_grammar g = {0};

    for (; *letters; letters++) {
        struct event ev = {.type = (enum event_type)(strchr(all, *letters) - all)};
        int r = event_grammar_step(&g, &ev);

        if (r < 0) {
            return r;
        }
    }
    return 0;
}

START_TEST(grammar)
{
    static const char *const good[] = {"sttuE", "qqqsttE", "sE",     "F",      "qF",     "qqsF",
                                       "stF",   "stuF",    "seeeuE", "srrruE", "stcctE", "tE",
                                       "E",     "ssttE",   "sqstE",  "sqqsF"};
    static const char *const bad[] = {"EE", "EF", "FF", "FE", "Et", "Fs",  "stst",
                                      "tq", "ts", "us", "ut", "uu", "suut"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_msg(check(good[i]) == 0, "refused %s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(check(bad[i]) == -EPROTO, "took %s", bad[i]);
    }
}
END_TEST

START_TEST(failed_events_have_a_text)
{
    struct event ev = {.type = EVENT_FAILED, .failed = {.code = ERRCODE_QUEUE_FULL}};

    ck_assert_str_is(event_failed_text(&ev), errcode_info(ERRCODE_QUEUE_FULL)->text);
    ev.failed.message = str_from("own words");
    ck_assert_str_is(event_failed_text(&ev), "own words");
}
END_TEST

START_TEST(error_table)
{
    for (int i = 0; i < _ERRCODE_MAX; i++) {
        const struct errcode_info *e = errcode_info((enum errcode) i);

        ck_assert_int_ge(e->http_status, 400);
        ck_assert_int_le(e->http_status, 599);
        ck_assert_int_ge(e->ttrpc_code, 1);
        ck_assert_int_le(e->ttrpc_code, 16);
        ck_assert_uint_gt(strlen(e->openai_type), 0);
        ck_assert_uint_gt(strlen(e->openai_code), 0);
        ck_assert_uint_gt(strlen(e->text), 0);
        ck_assert(strlen(e->message_id) == 0 || strlen(e->message_id) == 32);
        ck_assert_str_eq(errcode_info(errcode_from_name(e->openai_code))->openai_code,
                         e->openai_code);
    }
    ck_assert_int_eq(errcode_from_name("no such code"), ERRCODE_NONE);
}
END_TEST

START_TEST(kinds)
{
    static const struct {
        enum request_kind kind;
        const char *name;
        bool is_text;
    } all[] = {
        {REQUEST_CHAT, "chat", true},          {REQUEST_COMPLETE, "complete", true},
        {REQUEST_EMBED, "embed", false},       {REQUEST_RERANK, "rerank", false},
        {REQUEST_CLASSIFY, "classify", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        ck_assert_str_eq(request_kind_name(all[i].kind), all[i].name);
        ck_assert(request_kind_is_text(all[i].kind) == all[i].is_text);
    }
}
END_TEST

START_TEST(counting)
{
    struct stats s = {0};

    stats_count(&s, ERRCODE_NONE, 1);
    stats_count(&s, ERRCODE_CANCELLED, 0);
    stats_count(&s, ERRCODE_CANCELLED, 1);
    stats_count(&s, ERRCODE_QUEUE_FULL, 0);
    stats_count(&s, ERRCODE_UPSTREAM_CUT, 1);
    ck_assert_uint_eq(s.n_completed, 1);
    ck_assert_uint_eq(s.n_cancelled, 2);
    ck_assert_uint_eq(s.n_refused, 1);
    ck_assert_uint_eq(s.n_failed, 1);
    ck_assert_uint_eq(s.n_by_code[ERRCODE_QUEUE_FULL], 1);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, request_ids);
    tcase_add_test(tc, class_names);
    tcase_add_test(tc, grammar);
    tcase_add_test(tc, failed_events_have_a_text);
    tcase_add_test(tc, error_table);
    tcase_add_test(tc, kinds);
    tcase_add_test(tc, counting);
}
TEST_MAIN("model", add_tests)
