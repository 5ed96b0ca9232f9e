/*
 * log: what a record is on standard error and in the journal, how long it may be, what becomes of
 * those that nobody reads, and how often one is let through.
 */
#include "support.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"

/* What one record is on standard error. */
static const char *logged(enum log_format format, struct str message,
                          const struct log_field *fields, size_t n_fields)
{
    static char text[8192];
    CLEANUP(fd_closep) int saved = dup(STDERR_FILENO);
    CLEANUP(fd_closep) int fd = memory_file("");

    ck_assert_int_ge(saved, 0);
    (void) fflush(stderr);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    log_setup(format, LOG_LEVEL_INFO, "/nonexistent/journal");
    log_record(LOG_LEVEL_WARNING, "0123456789abcdef0123456789abcdef", message, fields, n_fields);
    log_record(LOG_LEVEL_DEBUG, NULL, STR_LIT("not shown"), NULL, 0);
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_INFO, NULL);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    ck_assert_int_ge(fdio_pread_text(fd, text, sizeof text), 0);
    return text;
}

START_TEST(log_lines)
{
    static const struct log_field fields[] = {
        {"A", STR_LIT("plain")},         {"B", STR_LIT("two words \"quoted\"")}, {"C", STR_LIT("")},
        {"D", STR_LIT("line\nend\x7f")}, {"E", STR_LIT("\xc3\xa9\xff")},
    };

    ck_assert_str_eq(
        logged(LOG_FORMAT_TEXT, STR_LIT("it \"happened\""), fields, ARRAY_LEN(fields)),
        "sluiced: warning: it \\\"happened\\\" A=plain B=\"two words \\\"quoted\\\"\" C=\"\" D=\"line\\u000aend\\u007f\" E=\"\?\?\?\"\n");
    ck_assert_str_eq(
        logged(LOG_FORMAT_JSON, STR_LIT("it \"happened\""), fields, ARRAY_LEN(fields)),
        "{\"level\":\"warning\",\"message\":\"it \\\"happened\\\"\",\"MESSAGE_ID\":\"0123456789abcdef0123456789abcdef\",\"A\":\"plain\","
        "\"B\":\"two words \\\"quoted\\\"\",\"C\":\"\",\"D\":\"line\\u000aend\\u007f\",\"E\":\"\?\?\?\"}\n");
}
END_TEST

/* However much there is to say: one line, and in JSON a whole object. */
START_TEST(log_lines_have_a_limit)
{
    static char control[600], umlauts[601];
    struct log_field fields[LOG_MAX_FIELDS + 5];
    const char *text;

    memset(control, 1, sizeof control);
    umlauts[0] = 'a'; /* so that a cut at an even length would be inside a character */
    for (size_t i = 1; i < sizeof umlauts; i++) {
        umlauts[i] = i % 2 ? (char) 0xc3 : (char) 0xa4;
    }
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        fields[i] = (struct log_field) {"NAME", i % 2 ? (struct str) {control, sizeof control}
                                                      : (struct str) {umlauts, sizeof umlauts}};
    }
    for (size_t n = 0; n <= ARRAY_LEN(fields); n++) {
        text = logged(LOG_FORMAT_JSON, (struct str) {control, sizeof control}, fields, n);
        ck_assert_uint_le(strlen(text), 4096);
        ck_assert_str_eq(text + strlen(text) - 3, "\"}\n");
        ck_assert(str_is_utf8(str_from(text)));
        text = logged(LOG_FORMAT_TEXT, (struct str) {umlauts, sizeof umlauts}, fields, n);
        ck_assert_uint_le(strlen(text), 4096);
        ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
        ck_assert(str_is_utf8(str_from(text)));
        ck_assert_ptr_null(strchr(text, '?'));
    }
}
END_TEST

/* ---------------------------------------------------------------- the journal */

static char g_path[64];
static int g_journald = -1;
static unsigned g_n_waiting;

static void journal_begin(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void) snprintf(g_path, sizeof g_path, "/tmp/sluice-log-%d", (int) getpid());
    (void) snprintf(address.sun_path, sizeof address.sun_path, "%s", g_path);
    (void) unlink(g_path);
    g_journald = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(g_journald, (const struct sockaddr *) &address, sizeof address), 0);
    log_setup(LOG_FORMAT_JOURNAL, LOG_LEVEL_INFO, g_path);
}

static void journal_end(void)
{
    log_on_waiting(NULL, NULL);
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_INFO, NULL);
    g_journald = fd_close(g_journald);
    (void) unlink(g_path);
}

/* What came, NUL-terminated; its length, -1 when nothing did. */
static ssize_t received(char text[16384])
{
    ssize_t n = recv(g_journald, text, 16383, 0);

    text[n < 0 ? 0 : n] = '\0';
    return n;
}

static void on_waiting(void *ctx, int fd)
{
    ck_assert_ptr_eq(ctx, &g_n_waiting);
    ck_assert_int_ge(fd, 0);
    g_n_waiting++;
}

START_TEST(log_journal)
{
    static const struct log_field fields[] = {{"A", STR_LIT("plain")}, {"B", STR_LIT("x\ny")}};
    static const char expected[] =
        "PRIORITY=4\nSYSLOG_IDENTIFIER=sluiced\nMESSAGE_ID=0123456789abcdef0123456789abcdef\n"
        "MESSAGE=it ?[1m \xc3\xa9?\nA=plain\nB\n\x03\0\0\0\0\0\0\0x\ny\n";
    char text[16384];
    ssize_t n;

    journal_begin();
    log_record(LOG_LEVEL_WARNING, "0123456789abcdef0123456789abcdef",
               STR_LIT("it \033[1m \xc3\xa9\n"), fields, ARRAY_LEN(fields));
    n = received(text);
    ck_assert_int_eq(n, sizeof expected - 1);
    ck_assert_mem_eq(text, expected, sizeof expected - 1);
    log_record(LOG_LEVEL_INFO, "", STR_LIT("\xff"), NULL, 0);
    ck_assert_int_gt(received(text), 0);
    ck_assert_str_eq(text, "PRIORITY=6\nSYSLOG_IDENTIFIER=sluiced\nMESSAGE=?\n");
    journal_end();
}
END_TEST

START_TEST(log_journal_is_not_read)
{
    char text[16384], expected[64] = "";
    unsigned long n_logged = 0, n_received = 0;

    journal_begin();
    log_on_waiting(on_waiting, &g_n_waiting);
    while (log_n_dropped() < 7) {
        log_printf(LOG_LEVEL_INFO, "%0400lu", n_logged++);
        ck_assert_uint_lt(n_logged, 10000);
    }
    ck_assert_uint_gt(g_n_waiting, 0);
    ck_assert(!log_flush());
    for (bool is_flushed = false; received(text) > 0 || !is_flushed;) {
        n_received += text[0] != '\0';
        is_flushed = log_flush();
    }
    ck_assert_uint_eq(n_received, n_logged - 7);
    log_printf(LOG_LEVEL_INFO, "again");
    ck_assert_int_gt(received(text), 0);
    (void) snprintf(expected, sizeof expected, "MESSAGE=again\nSLUICE_DROPPED_RECORDS=7\n");
    ck_assert_ptr_nonnull(strstr(text, expected));
    ck_assert_uint_eq(log_n_dropped(), 0);
    log_printf(LOG_LEVEL_INFO, "and again");
    ck_assert_int_gt(received(text), 0);
    ck_assert_ptr_null(strstr(text, "DROPPED"));
    journal_end();
}
END_TEST

/* Without a journald, whoever reads standard error is told. */
START_TEST(log_journal_is_absent)
{
    ck_assert_str_eq(logged(LOG_FORMAT_JOURNAL, STR_LIT("hello"), NULL, 0),
                     "sluiced: warning: hello\n");
}
END_TEST

START_TEST(log_limit)
{
    struct log_limit limit = {0};
    uint32_t suppressed = 99;

    for (unsigned i = 0; i < 5; i++) {
        ck_assert(log_limit_pass(&limit, 1000 + i, &suppressed));
        ck_assert_uint_eq(suppressed, 0);
    }
    for (unsigned i = 0; i < 7; i++) {
        ck_assert(!log_limit_pass(&limit, 2000 + i, &suppressed));
    }
    ck_assert(log_limit_pass(&limit, 1000 + 10 * USEC_PER_SEC, &suppressed));
    ck_assert_uint_eq(suppressed, 7);
    ck_assert(log_limit_pass(&limit, 1001 + 10 * USEC_PER_SEC, &suppressed));
    ck_assert_uint_eq(suppressed, 0);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, log_lines);
    tcase_add_test(tc, log_lines_have_a_limit);
    tcase_add_test(tc, log_journal);
    tcase_add_test(tc, log_journal_is_not_read);
    tcase_add_test(tc, log_journal_is_absent);
    tcase_add_test(tc, log_limit);
}

TEST_MAIN("log", add_tests)
