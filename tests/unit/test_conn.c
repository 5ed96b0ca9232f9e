/*
 * Connections over a socket pair, under a loop that the test turns itself: what is sent when, who is
 * told what, and that nothing dies in its own callback. The protocol is one that notes what it is
 * told.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "base/poller.h"
#include "frontend/conn.h"
#include "support.h"

#define HIGH_BYTES  4096
#define MAX_BYTES   (1024 * 1024)
#define FOREVER     (3600 * USEC_PER_SEC)
#define SOON_USEC   (20 * USEC_PER_MSEC)
#define MAX_ROUNDS  2000
#define ROUND_USEC  (10 * USEC_PER_MSEC) /* the longest wait of one round: 20 s in all */
#define SMALL_QUEUE 4608                 /* SO_SNDBUF: the least that Linux grants */

struct world {
    sd_event *event;
    struct poller poller;
    struct frontends frontends;
    bool turn_wanted;
    int peer;
    struct noting *noting;
};

/* The protocol. What it was told outlives it. */
struct notes {
    struct buf bytes; /* that came */
    unsigned n_hangups, n_drained, n_turns, n_deadlines, n_stalled, n_closed, n_freed;
};

struct noting {
    struct conn conn;
    bool is_busy, closes_on_bytes, pauses_when_full;
};

static struct notes g_notes;

static struct noting *noting_of(struct conn *c)
{
    return CONTAINER_OF(c, struct noting, conn);
}

static void on_bytes(struct conn *c, struct str bytes, uint64_t now_usec)
{
    ck_assert_int_eq(c->state, CONN_OPEN);
    ck_assert_int_eq(buf_append_str(&g_notes.bytes, bytes), 0);
    if (noting_of(c)->closes_on_bytes) {
        conn_close(c, now_usec);
    }
}

static void on_hangup(struct conn *c, uint64_t now_usec)
{
    g_notes.n_hangups++;
    conn_close_after_output(c, now_usec);
}

static void on_drained(struct conn *c, uint64_t now_usec)
{
    g_notes.n_drained++;
}

static void on_turn(struct conn *c, uint64_t now_usec)
{
    g_notes.n_turns++;
}

static void on_deadline(struct conn *c, uint64_t now_usec)
{
    g_notes.n_deadlines++;
}

static void on_stalled(struct conn *c, uint64_t now_usec)
{
    g_notes.n_stalled++;
    conn_close(c, now_usec);
}

static void on_closed(struct conn *c, uint64_t now_usec)
{
    ck_assert_int_eq(c->state, CONN_CLOSED);
    g_notes.n_closed++;
}

static void free_noting(struct conn *c)
{
    g_notes.n_freed++;
    conn_done(c);
    free(noting_of(c));
}

static bool is_idle(const struct conn *c)
{
    return !CONTAINER_OF(c, struct noting, conn)->is_busy;
}

static bool is_paused(const struct conn *c)
{
    return c->was_full && CONTAINER_OF(c, struct noting, conn)->pauses_when_full;
}

static const struct conn_ops ops = {
    .on_bytes = on_bytes,
    .on_hangup = on_hangup,
    .on_drained = on_drained,
    .on_turn = on_turn,
    .on_deadline = on_deadline,
    .on_stalled = on_stalled,
    .on_closed = on_closed,
    .free = free_noting,
    .is_paused = is_paused,
    .is_idle = is_idle,
};

static void on_work(void *ctx)
{
    ((struct world *) ctx)->turn_wanted = true;
}

static int on_sockets_ready(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
    (void) poller_dispatch(&((struct world *) ctx)->poller);
    return 0;
}

static void world_init(struct world *w)
{
    struct frontend_params params = {.max_buffered_bytes = 1000, .stalled_reader_usec = FOREVER};
    struct caller caller = {.has_uid = true, .frontend = "test"};
    int fds[2], small = SMALL_QUEUE;

    *w = (struct world) {.noting = calloc(1, sizeof *w->noting)};
    ck_assert_ptr_nonnull(w->noting);
    g_notes = (struct notes) {0};
    buf_init(&g_notes.bytes, MAX_BYTES);
    ck_assert_int_ge(sd_event_new(&w->event), 0);
    ck_assert_int_eq(poller_init(&w->poller), 0);
    ck_assert_int_ge(
        sd_event_add_io(w->event, NULL, poller_fd(&w->poller), EPOLLIN, on_sockets_ready, w), 0);
    frontends_init(&w->frontends, &params);
    w->frontends.event = w->event;
    w->frontends.poller = &w->poller;
    w->frontends.on_work = on_work;
    w->frontends.ctx = w;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    w->peer = fds[1];
    ck_assert_int_eq(
        conn_init(&w->noting->conn, &w->frontends, &ops, fds[0], &caller, HIGH_BYTES, MAX_BYTES),
        0);
}

static void world_done(struct world *w)
{
    frontends_done(&w->frontends);
    ck_assert_uint_eq(g_notes.n_closed, 1);
    ck_assert_uint_eq(g_notes.n_freed, 1);
    poller_done(&w->poller);
    sd_event_unref(w->event);
    (void) fd_close(w->peer);
    buf_done(&g_notes.bytes);
}

/* What server.c calls a turn, where one is wanted. */
static void turn(struct world *w)
{
    if (w->turn_wanted) {
        w->turn_wanted = false;
        frontends_turn(&w->frontends, clock_now_usec());
    }
}

static void round_once(struct world *w)
{
    ck_assert_int_ge(sd_event_run(w->event, ROUND_USEC), 0);
    turn(w);
}

/* Turns the loop until the condition holds. */
#define run_until(w, condition)                                                                    \
    do {                                                                                           \
        for (int _n = 0; _n < MAX_ROUNDS && !(condition); _n++) {                                  \
            round_once(w);                                                                         \
        }                                                                                          \
        ck_assert(condition);                                                                      \
    } while (0)

static void say(struct world *w, size_t n)
{
    char *to = buf_reserve(conn_out(&w->noting->conn), n);

    ck_assert_ptr_nonnull(to);
    memset(to, 'x', n);
    buf_commit(conn_out(&w->noting->conn), n);
    conn_flush_later(&w->noting->conn);
}

/* What the peer gets now. SIZE_MAX: the end. */
static size_t peer_reads(struct world *w)
{
    char bytes[65536];
    ssize_t n = recv(w->peer, bytes, sizeof bytes, 0);

    ck_assert(n >= 0 || errno == EAGAIN);
    return n == 0 ? SIZE_MAX : n < 0 ? 0 : (size_t) n;
}

/* Reads to the end while the loop turns; how many bytes. */
static size_t peer_reads_all(struct world *w)
{
    size_t total = 0;

    for (int i = 0; i < MAX_ROUNDS; i++) {
        size_t n = peer_reads(w);

        if (n == SIZE_MAX) {
            return total;
        }
        total += n;
        if (n == 0) {
            round_once(w);
        }
    }
    ck_abort_msg("no end");
    return 0;
}

START_TEST(bytes_come_and_go)
{
    struct world w;

    world_init(&w);
    ck_assert_int_eq(send(w.peer, "hello", 5, MSG_NOSIGNAL), 5);
    run_until(&w, g_notes.bytes.len == 5);
    say(&w, 3);
    say(&w, 4);
    ck_assert_uint_eq(peer_reads(&w), 0); /* not before the end of the turn */
    turn(&w);
    ck_assert_uint_eq(peer_reads(&w), 7);
    ck_assert_uint_eq(g_notes.n_turns, 1);
    world_done(&w);
}
END_TEST

START_TEST(a_slow_reader_gets_all_and_drains)
{
    struct world w;
    size_t total = 0, n = 100 * 1000;

    world_init(&w);
    ck_assert(!conn_is_full(&w.noting->conn));
    say(&w, n);
    turn(&w);
    ck_assert(conn_is_full(&w.noting->conn));
    for (int i = 0; i < MAX_ROUNDS && total < n; i++) {
        ck_assert_uint_le(g_notes.n_drained, 1);
        total += peer_reads(&w);
        round_once(&w);
    }
    ck_assert_uint_eq(total, n);
    ck_assert_uint_eq(g_notes.n_drained, 1);
    ck_assert(!conn_is_full(&w.noting->conn));
    world_done(&w);
}
END_TEST

START_TEST(a_reader_that_stalls_is_noticed)
{
    struct world w;

    world_init(&w);
    w.frontends.params.stalled_reader_usec = SOON_USEC;
    ck_assert_uint_eq(frontends_output_due(&w.frontends), USEC_NEVER);
    say(&w, 100 * 1000);
    turn(&w);
    ck_assert_uint_eq(frontends_output_due(&w.frontends),
                      w.noting->conn.progress_at_usec + SOON_USEC);
    run_until(&w, g_notes.n_stalled == 1);
    ck_assert_uint_eq(w.frontends.n_conns, 0);
    world_done(&w);
}
END_TEST

START_TEST(no_output_no_stall)
{
    struct world w;

    world_init(&w);
    w.frontends.params.stalled_reader_usec = 1;
    say(&w, 10);
    turn(&w);
    conn_set_deadline(&w.noting->conn, clock_now_usec() + SOON_USEC);
    run_until(&w, g_notes.n_deadlines == 1);
    ck_assert_uint_eq(g_notes.n_stalled, 0);
    world_done(&w);
}
END_TEST

START_TEST(the_last_deadline_counts)
{
    struct world w;
    uint64_t at;

    world_init(&w);
    conn_set_deadline(&w.noting->conn, clock_now_usec() + 1);
    conn_set_deadline(&w.noting->conn, clock_now_usec() + FOREVER);
    at = clock_now_usec() + SOON_USEC;
    conn_set_deadline(&w.noting->conn, at);
    run_until(&w, g_notes.n_deadlines > 0);
    ck_assert_uint_ge(clock_now_usec(), at);
    conn_set_deadline(&w.noting->conn, clock_now_usec() + 1);
    conn_set_deadline(&w.noting->conn, USEC_NEVER);
    round_once(&w);
    ck_assert_uint_eq(g_notes.n_deadlines, 1);
    world_done(&w);
}
END_TEST

START_TEST(closing_sends_what_is_there_and_waits_for_the_peer)
{
    struct world w;

    world_init(&w);
    say(&w, 50 * 1000);
    conn_close_after_output(&w.noting->conn, clock_now_usec());
    ck_assert_uint_eq(peer_reads_all(&w), 50 * 1000);
    ck_assert_int_eq(w.noting->conn.state, CONN_CLOSING);
    ck_assert_int_eq(send(w.peer, "too late", 8, MSG_NOSIGNAL), 8); /* no RST: it is dropped */
    round_once(&w);
    ck_assert_uint_eq(g_notes.bytes.len, 0);
    ck_assert_int_eq(shutdown(w.peer, SHUT_WR), 0);
    run_until(&w, g_notes.n_freed == 1);
    world_done(&w);
}
END_TEST

START_TEST(a_peer_that_talks_on_is_cut)
{
    struct world w;
    char bytes[4096] = {0};

    world_init(&w);
    conn_close_after_output(&w.noting->conn, clock_now_usec());
    run_until(&w, peer_reads(&w) == SIZE_MAX);
    for (int i = 0; i < MAX_ROUNDS && g_notes.n_freed == 0; i++) {
        (void) !send(w.peer, bytes, sizeof bytes, MSG_NOSIGNAL);
        round_once(&w);
    }
    ck_assert_uint_eq(g_notes.n_freed, 1);
    world_done(&w);
}
END_TEST

START_TEST(a_hang_up_is_told_once)
{
    struct world w;

    world_init(&w);
    ck_assert_int_eq(send(w.peer, "last words", 10, MSG_NOSIGNAL), 10);
    ck_assert_int_eq(shutdown(w.peer, SHUT_WR), 0);
    run_until(&w, g_notes.n_freed == 1);
    ck_assert_uint_eq(g_notes.n_hangups, 1);
    ck_assert_uint_eq(g_notes.bytes.len, 10); /* input before hang-up */
    world_done(&w);
}
END_TEST

/* A connection with more output than its peer takes, which pauses then. */
static void fill_and_pause(struct world *w)
{
    w->noting->pauses_when_full = true;
    say(w, 100 * 1000);
    turn(w);
    ck_assert(conn_is_full(&w->noting->conn));
}

START_TEST(nothing_is_read_while_paused)
{
    struct world w;

    world_init(&w);
    fill_and_pause(&w);
    ck_assert_int_eq(send(w.peer, "hello", 5, MSG_NOSIGNAL), 5);
    for (int i = 0; i < 5; i++) {
        round_once(&w);
    }
    ck_assert_uint_eq(g_notes.bytes.len, 0);
    for (int i = 0; i < MAX_ROUNDS && g_notes.bytes.len < 5; i++) {
        ck_assert(g_notes.bytes.len == 0 || g_notes.n_drained == 1);
        (void) peer_reads(&w);
        round_once(&w);
    }
    ck_assert_uint_eq(g_notes.bytes.len, 5);
    world_done(&w);
}
END_TEST

START_TEST(a_paused_peer_that_leaves_is_seen)
{
    struct world w;

    world_init(&w);
    fill_and_pause(&w);
    ck_assert_int_eq(send(w.peer, "last words", 10, MSG_NOSIGNAL), 10);
    ck_assert_int_eq(shutdown(w.peer, SHUT_WR), 0);
    run_until(&w, g_notes.n_hangups == 1);
    ck_assert_uint_eq(g_notes.bytes.len, 0); /* nobody waits for the answers to them */
    world_done(&w);
}
END_TEST

/* And the loop sleeps until then: run_until() has not rounds enough for one that spins. */
START_TEST(a_paused_reader_that_stalls_is_noticed)
{
    struct world w;

    world_init(&w);
    w.frontends.params.stalled_reader_usec = SOON_USEC;
    fill_and_pause(&w);
    ck_assert_int_eq(send(w.peer, "hello", 5, MSG_NOSIGNAL), 5);
    run_until(&w, g_notes.n_stalled == 1);
    ck_assert_uint_eq(w.frontends.n_conns, 0);
    world_done(&w);
}
END_TEST

START_TEST(closing_in_its_own_callback_frees_at_the_turn)
{
    struct world w;

    world_init(&w);
    w.noting->closes_on_bytes = true;
    ck_assert_int_eq(send(w.peer, "x", 1, MSG_NOSIGNAL), 1);
    for (int i = 0; i < MAX_ROUNDS && g_notes.n_closed == 0; i++) {
        ck_assert_int_ge(sd_event_run(w.event, ROUND_USEC), 0);
    }
    ck_assert_uint_eq(g_notes.n_closed, 1);
    ck_assert_uint_eq(g_notes.n_freed, 0);
    turn(&w);
    ck_assert_uint_eq(g_notes.n_freed, 1);
    world_done(&w);
}
END_TEST

START_TEST(closing_later_sends_nothing_more)
{
    struct world w;

    world_init(&w);
    say(&w, 100);
    conn_close_later(&w.noting->conn);
    ck_assert_uint_eq(g_notes.n_closed, 0);
    turn(&w);
    ck_assert_uint_eq(g_notes.n_freed, 1);
    ck_assert_uint_eq(peer_reads(&w), SIZE_MAX);
    world_done(&w);
}
END_TEST

START_TEST(idle_ones_close_busy_ones_stay)
{
    struct world w;

    for (int is_busy = 0; is_busy < 2; is_busy++) {
        world_init(&w);
        w.noting->is_busy = is_busy;
        frontends_close_idle(&w.frontends, clock_now_usec());
        turn(&w);
        ck_assert_int_eq(g_notes.n_freed, !is_busy);
        world_done(&w);
    }
}
END_TEST

START_TEST(an_answer_on_its_way_is_not_idle)
{
    struct world w;

    world_init(&w);
    say(&w, 50 * 1000);
    frontends_close_idle(&w.frontends, clock_now_usec());
    ck_assert_uint_eq(peer_reads_all(&w), 50 * 1000);
    world_done(&w);
}
END_TEST

START_TEST(the_budget_holds_when_it_shrinks)
{
    struct world w;

    world_init(&w);
    ck_assert(conn_charge(&w.noting->conn, 800));
    ck_assert(!frontends_charge(&w.frontends, 0, 201));
    ck_assert(frontends_charge(&w.frontends, 0, 200));
    w.frontends.params.max_buffered_bytes = 100; /* a reload */
    ck_assert(!frontends_charge(&w.frontends, 0, 1));
    ck_assert(!conn_charge(&w.noting->conn, 801));
    ck_assert(conn_charge(&w.noting->conn, 799)); /* less is always fine */
    ck_assert(frontends_charge(&w.frontends, 200, 0));
    world_done(&w);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, bytes_come_and_go);
    tcase_add_test(tc, a_slow_reader_gets_all_and_drains);
    tcase_add_test(tc, a_reader_that_stalls_is_noticed);
    tcase_add_test(tc, no_output_no_stall);
    tcase_add_test(tc, the_last_deadline_counts);
    tcase_add_test(tc, closing_sends_what_is_there_and_waits_for_the_peer);
    tcase_add_test(tc, a_peer_that_talks_on_is_cut);
    tcase_add_test(tc, a_hang_up_is_told_once);
    tcase_add_test(tc, nothing_is_read_while_paused);
    tcase_add_test(tc, a_paused_peer_that_leaves_is_seen);
    tcase_add_test(tc, a_paused_reader_that_stalls_is_noticed);
    tcase_add_test(tc, closing_in_its_own_callback_frees_at_the_turn);
    tcase_add_test(tc, closing_later_sends_nothing_more);
    tcase_add_test(tc, idle_ones_close_busy_ones_stay);
    tcase_add_test(tc, an_answer_on_its_way_is_not_idle);
    tcase_add_test(tc, the_budget_holds_when_it_shrinks);
}

TEST_MAIN("conn", add_tests)
