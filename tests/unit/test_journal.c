/*
 * journal: the bytes of a record, and a journald that reads, does not read, goes away and comes
 * back. journald is a datagram socket of the test.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/journal.h"

#define RECORD_BYTES 1000

static char g_directory[64], g_path[96];
static int g_journald = -1;
static struct journal g_journal;

static void listen_as_journald(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void) snprintf(address.sun_path, sizeof address.sun_path, "%s", g_path);
    (void) unlink(g_path);
    g_journald = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(g_journald, 0);
    ck_assert_int_eq(bind(g_journald, (const struct sockaddr *) &address, sizeof address), 0);
}

static void setup(void)
{
    (void) snprintf(g_directory, sizeof g_directory, "/tmp/sluice-journal-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(g_directory));
    (void) snprintf(g_path, sizeof g_path, "%s/socket", g_directory);
    listen_as_journald();
    ck_assert_int_eq(journal_init(&g_journal, g_path), 0);
}

static void teardown(void)
{
    fail_allocation(0);
    journal_done(&g_journal);
    g_journald = fd_close(g_journald);
    (void) unlink(g_path);
    (void) rmdir(g_directory);
}

/* The next record; "" when there is none. */
static const char *received(void)
{
    static char text[16 * 1024];
    ssize_t n = recv(g_journald, text, sizeof text - 1, 0);

    ck_assert(n >= 0 || errno == EAGAIN);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static int send_text(const char *text)
{
    return journal_send(&g_journal, str_from(text));
}

/* A record that begins with its number. */
static int send_numbered(unsigned number)
{
    char text[RECORD_BYTES + 1];

    memset(text, 'x', RECORD_BYTES);
    text[RECORD_BYTES] = '\0';
    text[snprintf(text, RECORD_BYTES, "%u", number)] = ' ';
    return send_text(text);
}

/* Sends until one is dropped; how many were taken. */
static unsigned fill(void)
{
    unsigned n = 0;

    while (send_numbered(n) == 0) {
        n++;
        ck_assert_uint_lt(n, 10000);
    }
    return n;
}

/* Reads, and flushes, until nothing comes any more: the number of the record after the last. */
static unsigned drain(unsigned next)
{
    const char *text;

    while (*(text = received()) || journal_is_waiting(&g_journal)) {
        if (*text) {
            ck_assert_uint_eq((unsigned) atoi(text), next);
            next++;
        }
        journal_flush(&g_journal);
    }
    return next;
}

START_TEST(fields)
{
    static const char expected[] =
        "A=plain \t\xc3\xa9\nB\n\x03\0\0\0\0\0\0\0x\ny\nC=\nD\n\x01\0\0\0"
        "\0\0\0\0\x7f\n";
    struct journal_record rec;

    rec.len = 0;
    journal_put(&rec, "A", STR_LIT("plain \t\xc3\xa9"));
    journal_put(&rec, "B", STR_LIT("x\ny"));
    journal_put(&rec, "C", STR_NONE);
    journal_put(&rec, "D", STR_LIT("\x7f"));
    ck_assert_uint_eq(rec.len, sizeof expected - 1);
    ck_assert_mem_eq(rec.bytes, expected, sizeof expected - 1);
}
END_TEST

START_TEST(a_record_has_a_limit)
{
    static char large[sizeof((struct journal_record *) 0)->bytes];
    struct journal_record rec;
    size_t room = sizeof rec.bytes - strlen("A\n") - 8 - strlen("\n");

    memset(large, '\n', sizeof large);
    rec.len = 0;
    journal_put(&rec, "A", (struct str) {large, room + 1});
    ck_assert_uint_eq(rec.len, 0);
    journal_put(&rec, "A", (struct str) {large, room});
    ck_assert_uint_eq(rec.len, sizeof rec.bytes);
    journal_put(&rec, "B", STR_NONE);
    ck_assert_uint_eq(rec.len, sizeof rec.bytes);
}
END_TEST

START_TEST(read_at_once)
{
    ck_assert_int_eq(send_text("MESSAGE=one\n"), 0);
    ck_assert_str_eq(received(), "MESSAGE=one\n");
    ck_assert(!journal_is_waiting(&g_journal));
    ck_assert_ptr_null(g_journal.pending.base);
}
END_TEST

START_TEST(not_read)
{
    unsigned n = fill(), n_read;

    ck_assert_uint_gt(n, JOURNAL_PENDING_MAX_BYTES / (RECORD_BYTES + 4));
    ck_assert_uint_le(g_journal.pending.len, JOURNAL_PENDING_MAX_BYTES);
    ck_assert_uint_gt(g_journal.pending.len, JOURNAL_PENDING_MAX_BYTES - RECORD_BYTES - 4);
    ck_assert(journal_is_waiting(&g_journal));
    ck_assert_uint_eq(g_journal.n_dropped, 1);
    ck_assert_int_eq(send_numbered(n), -ENOBUFS);
    ck_assert_uint_eq(g_journal.n_dropped, 2);

    n_read = drain(0);
    ck_assert_uint_eq(n_read, n);
    ck_assert_ptr_null(g_journal.pending.base);
    ck_assert_int_eq(send_numbered(n), 0);
    ck_assert_uint_eq(drain(n), n + 1);
    ck_assert_uint_eq(g_journal.n_dropped, 2);
}
END_TEST

/* Records go with the next one as well, and before it. */
START_TEST(the_next_record_takes_them_along)
{
    unsigned n = 0;

    while (!journal_is_waiting(&g_journal)) {
        ck_assert_int_eq(send_numbered(n++), 0);
    }
    ck_assert_uint_eq((unsigned) atoi(received()), 0);
    ck_assert_int_eq(send_numbered(n++), 0);
    ck_assert_uint_eq(drain(1), n);
    ck_assert_uint_eq(g_journal.n_dropped, 0);
}
END_TEST

/* The loop is woken when there is room, and not before. */
START_TEST(writable_when_read)
{
    struct pollfd p = {.events = POLLOUT};

    (void) fill();
    p.fd = g_journal.fd;
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    while (*received()) {
    }
    ck_assert_int_eq(poll(&p, 1, 0), 1);
    ck_assert_int_eq(p.revents, POLLOUT);
}
END_TEST

START_TEST(absent_and_there_again)
{
    g_journald = fd_close(g_journald);
    ck_assert_int_eq(send_text("A=1\n"), -ENOTCONN); /* nobody listens */
    (void) unlink(g_path);
    ck_assert_int_eq(send_text("A=2\n"), -ENOTCONN); /* no socket */
    ck_assert(!journal_is_waiting(&g_journal));
    listen_as_journald();
    ck_assert_int_eq(send_text("A=3\n"), 0);
    ck_assert_str_eq(received(), "A=3\n");
    g_journald = fd_close(g_journald);
    listen_as_journald(); /* another one under the same name, while this side is connected */
    ck_assert_int_eq(send_text("A=4\n"), 0);
    ck_assert_str_eq(received(), "A=4\n");
    ck_assert_uint_eq(g_journal.n_dropped, 0);
}
END_TEST

/* What waits for a journald that goes away is for the next one. */
START_TEST(gone_while_records_wait)
{
    unsigned n = fill(), first;
    const char *text;

    g_journald = fd_close(g_journald);
    (void) unlink(g_path);
    journal_flush(&g_journal);
    ck_assert(!journal_is_waiting(&g_journal)); /* else the loop would spin */
    ck_assert_int_eq(send_numbered(n), -ENOTCONN);
    ck_assert_uint_eq(g_journal.n_dropped, 1);
    listen_as_journald();
    journal_flush(&g_journal);
    text = received();
    first = (unsigned) atoi(text);
    ck_assert_uint_gt(first, 0); /* those before went down with the old one */
    ck_assert_uint_eq(drain(first + 1), n);
}
END_TEST

START_TEST(too_large_for_a_datagram)
{
    static char large[1024 * 1024], got[sizeof large];
    char control[CMSG_SPACE(sizeof(int))];
    struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
    struct stat st;
    int fd;

    memset(large, 'x', sizeof large);
    ck_assert_int_eq(journal_send(&g_journal, (struct str) {large, sizeof large}), 0);
    ck_assert_int_eq(recvmsg(g_journald, &message, MSG_CMSG_CLOEXEC), 0);
    ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&message));
    ck_assert_int_eq(CMSG_FIRSTHDR(&message)->cmsg_type, SCM_RIGHTS);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    ck_assert_int_eq(fcntl(fd, F_GET_SEALS),
                     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, sizeof large);
    ck_assert_int_eq(pread(fd, got, sizeof got, 0), sizeof got);
    ck_assert_mem_eq(got, large, sizeof large);
    ck_assert_int_eq(fd_close(fd), -1);

    (void) fill();
    ck_assert_uint_eq(g_journal.n_dropped, 1);
    ck_assert_int_eq(journal_send(&g_journal, (struct str) {large, sizeof large}), -ENOBUFS);
    ck_assert_uint_eq(g_journal.n_dropped, 2);
}
END_TEST

/* Nothing is allocated while journald reads; without memory for what waits, it is dropped. */
START_TEST(no_memory)
{
    unsigned n = 0;

    fail_allocation(1);
    while (!allocation_failed()) {
        ck_assert_int_eq(send_numbered(n), allocation_failed() ? -ENOBUFS : 0);
        n++;
        ck_assert_uint_lt(n, 10000);
    }
    ck_assert_uint_ge(n, 2);
    ck_assert_uint_eq(g_journal.n_dropped, 1);
    ck_assert(!journal_is_waiting(&g_journal));
    ck_assert_uint_eq(drain(0), n - 1);
}
END_TEST

START_TEST(paths)
{
    static const struct journal zeroed;
    struct journal j = zeroed;
    char long_path[109];

    memset(long_path, 'p', sizeof long_path);
    long_path[108] = '\0';
    ck_assert_int_eq(journal_init(&j, long_path), -ENAMETOOLONG);
    journal_done(&j);
    long_path[107] = '\0';
    ck_assert_int_eq(journal_init(&j, long_path), 0);
    ck_assert_int_eq(journal_send(&j, STR_LIT("A=1\n")), -ENOTCONN);
    journal_done(&j);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, fields);
    tcase_add_test(tc, a_record_has_a_limit);
    tcase_add_test(tc, read_at_once);
    tcase_add_test(tc, not_read);
    tcase_add_test(tc, the_next_record_takes_them_along);
    tcase_add_test(tc, writable_when_read);
    tcase_add_test(tc, absent_and_there_again);
    tcase_add_test(tc, gone_while_records_wait);
    tcase_add_test(tc, too_large_for_a_datagram);
    tcase_add_test(tc, no_memory);
    tcase_add_test(tc, paths);
}

TEST_MAIN("journal", add_tests)
