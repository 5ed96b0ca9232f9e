/*
 * poller.h: sources that remove themselves and each other within a batch, descriptors used again,
 * bounded batches.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/poller.h"

#define MANY (2 * POLLER_BATCH + 3)

/* One watched end of a socket pair, and what its call does beside counting. */
struct end {
    struct poller_source source;
    int fd, peer; /* -1: closed */
    unsigned calls;
    uint32_t seen; /* events of the last call */
    void (*act)(struct end *self);
    struct end *other; /* for act */
};

static struct poller g_poller;
static struct end g_ends[MANY];

static void on_ready(int fd, uint32_t events, void *ctx)
{
    struct end *e = ctx;

    ck_assert_int_eq(fd, e->fd);
    ck_assert_ptr_eq(e->source.poller, &g_poller); /* a removed source is never called */
    e->calls++;
    e->seen = events;
    if (e->act) {
        e->act(e);
    }
}

static void set_up(void)
{
    ck_assert_int_eq(poller_init(&g_poller), 0);
    for (size_t i = 0; i < MANY; i++) {
        g_ends[i] = (struct end) {.fd = -1, .peer = -1};
    }
}

static void shut(struct end *e)
{
    poller_remove(&e->source);
    if (e->fd >= 0) {
        ck_assert_int_eq(close(e->fd), 0);
        ck_assert_int_eq(close(e->peer), 0);
    }
    e->fd = e->peer = -1;
}

static void tear_down(void)
{
    for (size_t i = 0; i < MANY; i++) {
        shut(&g_ends[i]);
    }
    poller_done(&g_poller);
}

static struct end *open_end(size_t i, uint32_t events)
{
    struct end *e = &g_ends[i];
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    *e = (struct end) {.fd = fds[0], .peer = fds[1]};
    ck_assert_int_eq(poller_add(&g_poller, &e->source, e->fd, events, on_ready, e), 0);
    return e;
}

/* As open_end(), with a byte to read. */
static struct end *open_ready(size_t i)
{
    struct end *e = open_end(i, EPOLLIN);

    ck_assert_int_eq(write(e->peer, "x", 1), 1);
    return e;
}

static bool is_readable(void)
{
    struct pollfd p = {.fd = poller_fd(&g_poller), .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

START_TEST(its_descriptor_tells_that_a_source_is_ready)
{
    struct end *e = open_end(0, EPOLLIN);

    ck_assert(fcntl(poller_fd(&g_poller), F_GETFD) & FD_CLOEXEC);
    ck_assert(!is_readable());
    ck_assert_int_eq(poller_dispatch(&g_poller), 0);
    ck_assert_int_eq(write(e->peer, "x", 1), 1);
    ck_assert(is_readable());
    ck_assert_int_eq(poller_dispatch(&g_poller), 1);
    ck_assert_uint_eq(e->calls, 1);
    ck_assert_uint_eq(e->seen, EPOLLIN);
    ck_assert(is_readable()); /* the byte is still there: level-triggered */
    ck_assert_int_eq(poller_dispatch(&g_poller), 1);
    ck_assert_uint_eq(e->calls, 2);
}
END_TEST

START_TEST(a_hang_up_comes_unasked)
{
    struct end *e = open_end(0, 0);

    ck_assert_int_eq(write(e->peer, "x", 1), 1);
    ck_assert_int_eq(poller_dispatch(&g_poller), 0);
    ck_assert_int_eq(close(e->peer), 0);
    e->peer = dup(e->fd); /* something to close at the end */
    ck_assert_int_eq(poller_dispatch(&g_poller), 1);
    ck_assert(e->seen & EPOLLHUP);
    ck_assert(!(e->seen & EPOLLIN));
}
END_TEST

START_TEST(events_can_be_changed)
{
    struct end *e = open_ready(0);

    ck_assert_int_eq(poller_modify(&e->source, EPOLLOUT), 0);
    ck_assert_int_eq(poller_dispatch(&g_poller), 1);
    ck_assert_uint_eq(e->seen, EPOLLOUT);
    ck_assert_int_eq(poller_modify(&e->source, EPOLLIN | EPOLLOUT), 0);
    ck_assert_int_eq(poller_dispatch(&g_poller), 1);
    ck_assert_uint_eq(e->seen, EPOLLIN | EPOLLOUT);
    ck_assert_int_eq(poller_modify(&e->source, 0), 0);
    ck_assert_int_eq(poller_dispatch(&g_poller), 0);
}
END_TEST

START_TEST(a_change_that_fails_changes_nothing)
{
    struct end *e = open_end(0, EPOLLIN);
    int fd = e->fd;

    ck_assert_int_eq(close(fd), 0); /* the kernel forgets it with its last descriptor */
    ck_assert_int_eq(poller_modify(&e->source, EPOLLIN), 0); /* the same: the kernel is not asked */
    ck_assert_int_eq(poller_modify(&e->source, EPOLLOUT), -EBADF);
    ck_assert_uint_eq(e->source.events, EPOLLIN);
    ck_assert_int_eq(dup2(e->peer, fd), fd); /* used again by somebody else */
    ck_assert_int_eq(poller_modify(&e->source, EPOLLOUT), -ENOENT);
    poller_remove(&e->source);
    poller_remove(&e->source); /* twice is once */
}
END_TEST

START_TEST(one_source_for_each_descriptor)
{
    struct end *e = open_ready(0);
    struct poller_source second = {0}, none = {0};

    poller_remove(&none);
    ck_assert_int_eq(poller_add(&g_poller, &second, e->fd, EPOLLIN, on_ready, e), -EEXIST);
    ck_assert_ptr_null(second.poller);
    ck_assert_int_eq(poller_add(&g_poller, &second, -1, EPOLLIN, on_ready, e), -EBADF);
    ck_assert_ptr_null(second.poller);
    ck_assert_int_eq(poller_dispatch(&g_poller), 1);
    poller_remove(&e->source);
    ck_assert_int_eq(poller_dispatch(&g_poller), 0);
    ck_assert_int_eq(poller_add(&g_poller, &e->source, e->fd, EPOLLIN, on_ready, e), 0);
    ck_assert_int_eq(poller_dispatch(&g_poller), 1);
    ck_assert_uint_eq(e->calls, 2);
}
END_TEST

static void shut_self(struct end *self)
{
    shut(self);
}

START_TEST(a_source_removes_itself)
{
    struct end *a = open_ready(0), *b = open_ready(1), *c = open_ready(2);

    b->act = shut_self;
    ck_assert_int_eq(poller_dispatch(&g_poller), 3);
    ck_assert_int_eq(poller_dispatch(&g_poller), 2);
    ck_assert_uint_eq(a->calls, 2);
    ck_assert_uint_eq(b->calls, 1);
    ck_assert_uint_eq(c->calls, 2);
}
END_TEST

static void shut_other(struct end *self)
{
    shut(self->other);
}

/* Whichever is called first removes the other, whose event was fetched already. */
START_TEST(a_source_removes_another_of_its_batch)
{
    struct end *a = open_ready(0), *b = open_ready(1), *c = open_ready(2);

    a->act = b->act = shut_other;
    a->other = b;
    b->other = a;
    ck_assert_int_eq(poller_dispatch(&g_poller), 3);
    ck_assert_uint_eq(a->calls + b->calls, 1);
    ck_assert_uint_eq(c->calls, 1);
}
END_TEST

static void shut_all(struct end *self)
{
    for (size_t i = 0; i < MANY; i++) {
        shut(&g_ends[i]);
    }
}

START_TEST(a_source_removes_all)
{
    unsigned calls = 0;

    for (size_t i = 0; i < POLLER_BATCH; i++) {
        open_ready(i)->act = shut_all;
    }
    ck_assert_int_eq(poller_dispatch(&g_poller), POLLER_BATCH);
    for (size_t i = 0; i < POLLER_BATCH; i++) {
        calls += g_ends[i].calls;
    }
    ck_assert_uint_eq(calls, 1);
    ck_assert_int_eq(poller_dispatch(&g_poller), 0);
}
END_TEST

/*
 * libcurl's sources are freed by their own call: nothing of one is touched after it. Sanitizers see
 * it otherwise.
 */
struct in_heap {
    struct poller_source source;
    struct in_heap **others;
};

static void free_both(int fd, uint32_t events, void *ctx)
{
    struct in_heap *self = ctx;
    struct in_heap **all = self->others;

    for (int i = 0; i < 2; i++) {
        poller_remove(&all[i]->source);
        free(all[i]);
        all[i] = NULL;
    }
}

START_TEST(sources_are_freed_within_a_batch)
{
    struct in_heap *all[2];

    for (size_t i = 0; i < 2; i++) {
        struct end *e = open_ready(i);

        poller_remove(&e->source);
        all[i] = calloc(1, sizeof *all[i]);
        ck_assert_ptr_nonnull(all[i]);
        all[i]->others = all;
        ck_assert_int_eq(poller_add(&g_poller, &all[i]->source, e->fd, EPOLLIN, free_both, all[i]),
                         0);
    }
    ck_assert_int_eq(poller_dispatch(&g_poller), 2);
    ck_assert_ptr_null(all[0]);
    ck_assert_int_eq(poller_dispatch(&g_poller), 0);
}
END_TEST

/*
 * Closes the other, whose event is fetched, and opens a quiet pair that gets the same descriptor.
 */
static void reuse_other(struct end *self)
{
    size_t i = (size_t) (self->other - g_ends);
    int fd = self->other->fd;

    self->act = NULL;
    shut(self->other);
    open_end(i, EPOLLIN);
    ck_assert_int_eq(g_ends[i].fd, fd); /* the kernel gives the lowest that is free */
}

START_TEST(a_descriptor_is_used_again_within_a_batch)
{
    struct end *a = open_ready(0), *b = open_ready(1);

    a->act = b->act = reuse_other;
    a->other = b;
    b->other = a;
    ck_assert_int_eq(poller_dispatch(&g_poller), 2);
    ck_assert_uint_eq(a->calls + b->calls, 1); /* what was fetched is not the new one's */
    ck_assert_int_eq(poller_dispatch(&g_poller), 1);

    struct end *fresh = a->calls == 0 ? a : b;

    ck_assert_uint_eq(fresh->calls, 0);
    ck_assert_int_eq(write(fresh->peer, "x", 1), 1);
    ck_assert_int_eq(poller_dispatch(&g_poller), 2);
    ck_assert_uint_eq(fresh->calls, 1);
}
END_TEST

static void add_next(struct end *self)
{
    size_t i = (size_t) (self - g_ends) + 1;

    if (g_ends[i].fd < 0) {
        open_ready(i)->act = add_next;
    }
}

START_TEST(what_is_added_waits_for_the_next_batch)
{
    open_ready(0)->act = add_next;
    for (int n = 1; n <= 5; n++) {
        ck_assert_int_eq(poller_dispatch(&g_poller), n);
        ck_assert_uint_eq(g_ends[n].calls, 0);
    }
    ck_assert_uint_eq(g_ends[0].calls, 5);
}
END_TEST

static void mute_other(struct end *self)
{
    ck_assert_int_eq(poller_modify(&self->other->source, 0), 0);
}

/*
 * Fetched is fetched: a change counts from the next batch, and who changes events must bear a last
 * call.
 */
START_TEST(a_change_counts_from_the_next_batch)
{
    struct end *a = open_ready(0), *b = open_ready(1);

    a->act = b->act = mute_other;
    a->other = b;
    b->other = a;
    ck_assert_int_eq(poller_dispatch(&g_poller), 2);
    ck_assert_uint_eq(a->calls, 1);
    ck_assert_uint_eq(b->calls, 1);
    ck_assert_int_eq(poller_dispatch(&g_poller), 0);
}
END_TEST

/*
 * All stay ready all the time: a batch is bounded, and nobody is called a third time before
 * everybody was called once.
 */
START_TEST(a_crowd_is_served_in_turns)
{
    for (size_t i = 0; i < MANY; i++) {
        open_ready(i);
    }
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq(poller_dispatch(&g_poller), POLLER_BATCH);
    }
    for (size_t i = 0; i < MANY; i++) {
        ck_assert_uint_ge(g_ends[i].calls, 1);
        ck_assert_uint_le(g_ends[i].calls, 2);
    }
}
END_TEST

static void all_of_it(void)
{
    struct end *a, *b;

    tear_down();
    set_up();
    a = open_ready(0);
    b = open_ready(1);
    a->act = shut_self;
    ck_assert_int_eq(poller_modify(&b->source, EPOLLIN | EPOLLOUT), 0);
    ck_assert_int_eq(poller_dispatch(&g_poller), 2);
    ck_assert(!allocation_failed()); /* nothing is allocated, so there is nothing that can fail */
}

START_TEST(every_allocation_failed)
{
    for_each_failed_allocation(all_of_it);
}
END_TEST

START_TEST(without_descriptors_it_is_not_made)
{
    struct poller p;
    struct rlimit was, none;
    int lowest = dup(STDERR_FILENO), r;

    ck_assert_int_ge(lowest, 0);
    ck_assert_int_eq(close(lowest), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = was;
    none.rlim_cur = (rlim_t) lowest;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    r = poller_init(&p);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
    ck_assert_int_eq(r, -EMFILE);
    ck_assert_int_eq(poller_fd(&p), -1);
    poller_done(&p);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, its_descriptor_tells_that_a_source_is_ready);
    tcase_add_test(tc, a_hang_up_comes_unasked);
    tcase_add_test(tc, events_can_be_changed);
    tcase_add_test(tc, a_change_that_fails_changes_nothing);
    tcase_add_test(tc, one_source_for_each_descriptor);
    tcase_add_test(tc, a_source_removes_itself);
    tcase_add_test(tc, a_source_removes_another_of_its_batch);
    tcase_add_test(tc, a_source_removes_all);
    tcase_add_test(tc, sources_are_freed_within_a_batch);
    tcase_add_test(tc, a_descriptor_is_used_again_within_a_batch);
    tcase_add_test(tc, what_is_added_waits_for_the_next_batch);
    tcase_add_test(tc, a_change_counts_from_the_next_batch);
    tcase_add_test(tc, a_crowd_is_served_in_turns);
    tcase_add_test(tc, every_allocation_failed);
    tcase_add_test(tc, without_descriptors_it_is_not_made);
}

TEST_MAIN("poller", add_tests)
