/*
 * messages: the table, and what a message is as a record; log_fields, which it is made of.
 */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "base/log_fields.h"
#include "log_written.h"
#include "messages.h"
#include "proto/errcode.h"

static bool is_id(const char *id)
{
    return strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32;
}

/* An id stands for one thing for ever: in both tables together. */
START_TEST(each_id_is_its_own)
{
    const char *ids[_MESSAGE_MAX + _ERRCODE_MAX];
    size_t n = 0;

    for (int m = 0; m < _MESSAGE_MAX; m++) {
        const struct message_info *info = message_info((enum message_code) m);

        ck_assert(is_id(info->message_id));
        ck_assert_str_ne(info->event, "");
        for (int other = 0; other < m; other++) {
            ck_assert_str_ne(info->event, message_info((enum message_code) other)->event);
        }
        ids[n++] = info->message_id;
    }
    for (int code = 0; code < _ERRCODE_MAX; code++) {
        const char *id = errcode_info((enum errcode) code)->message_id;

        ck_assert(id[0] == '\0' || is_id(id));
        if (id[0]) {
            ids[n++] = id;
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            ck_assert_str_ne(ids[i], ids[k]);
        }
    }
}
END_TEST

static void one_with_fields(void)
{
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_A", STR_LIT("x"));
    log_fields_add_number(&f, "SLUICE_B", UINT64_MAX);
    message_write(MESSAGE_READY, LOG_LEVEL_NOTICE, NULL, &f, "ready with %d", 3);
    message_write(MESSAGE_READY, LOG_LEVEL_DEBUG, NULL, &f, "not shown");
}

START_TEST(a_message)
{
    ck_assert_str_eq(written(one_with_fields),
                     "{\"level\":\"notice\",\"message\":\"ready with 3\","
                     "\"MESSAGE_ID\":\"203ee80cfd1a4efc840004acd1145498\","
                     "\"SLUICE_EVENT\":\"ready\",\"SLUICE_A\":\"x\","
                     "\"SLUICE_B\":\"18446744073709551615\"}\n");
}
END_TEST

static struct log_limit g_limit;

static void many(void)
{
    for (int i = 0; i < 8; i++) {
        message_write(MESSAGE_UPSTREAM_DOWN, LOG_LEVEL_WARNING, &g_limit, NULL, "no %d", i);
    }
    message_write(MESSAGE_UPSTREAM_DOWN, LOG_LEVEL_WARNING, NULL, NULL, "another cause");
    g_limit.window_at_usec -= g_limit.window_at_usec / 2; /* long ago */
    message_write(MESSAGE_UPSTREAM_DOWN, LOG_LEVEL_WARNING, &g_limit, NULL, "later");
}

START_TEST(a_limit_for_each_cause)
{
    const char *text = written(many);

    ck_assert_ptr_nonnull(strstr(text, "no 4"));
    ck_assert_ptr_null(strstr(text, "no 5"));
    ck_assert_ptr_nonnull(strstr(text, "another cause"));
    ck_assert_ptr_nonnull(strstr(text, "\"later\""));
    ck_assert_ptr_nonnull(strstr(text, "\"SLUICE_SUPPRESSED\":\"3\""));
}
END_TEST

START_TEST(fields_have_a_limit)
{
    struct log_fields f;

    log_fields_init(&f);
    for (size_t i = 0; i < LOG_MAX_FIELDS + 3; i++) {
        log_fields_add_number(&f, "N", i);
        log_fields_add(&f, "S", STR_LIT("s"));
    }
    ck_assert_uint_eq(f.n, LOG_MAX_FIELDS);
    ck_assert_str_is(f.items[LOG_MAX_FIELDS - 2].value, "15");
    ck_assert_str_is(f.items[LOG_MAX_FIELDS - 1].value, "s");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, each_id_is_its_own);
    tcase_add_test(tc, a_message);
    tcase_add_test(tc, a_limit_for_each_cause);
    tcase_add_test(tc, fields_have_a_limit);
}

TEST_MAIN("messages", add_tests)
