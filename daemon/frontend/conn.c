/*
 * Connections: see conn.h for the states.
 *
 * One source of the poller and one timer of the loop each. The timer serves the nearest of three
 * moments: the protocol's deadline, the stalled-reader limit while output waits, the end of the
 * linger. It is moved lazily: when it fires early it looks again.
 *
 * Reading goes on while a connection is open: a client that left must be seen while its answer is
 * being made, and its end may stand behind bytes. The exception is a protocol that says is_paused:
 * then only the end itself is watched for. Input is handled before hang-up, hang-up before output.
 *
 * Must not: know protocols; free itself (frontends_turn() does).
 */
#include "frontend/conn.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdio.h"

#define READ_BYTES       (64 * 1024)
#define READS_PER_WAKEUP 4 /* then others get their turn */

/* one thread, one reader at a time; bytes are taken before the next read */
static char g_read_buffer[READ_BYTES];

static bool is_paused(const struct conn *c)
{
    return c->state == CONN_OPEN && c->ops->is_paused && c->ops->is_paused(c);
}

/* EPOLLOUT is asked for when a send found the socket full, not for every output. */
static void update_events(struct conn *c)
{
    uint32_t events = c->has_hung_up ? 0u
                      : is_paused(c) ? (uint32_t) EPOLLRDHUP
                                     : (uint32_t) (EPOLLIN | EPOLLRDHUP);

    if (c->out.len > 0 && c->progress_at_usec != 0) {
        events |= EPOLLOUT;
    }
    (void) poller_modify(&c->io, events);
}

static uint64_t next_moment(const struct conn *c)
{
    uint64_t at = c->deadline_at_usec;

    if (c->out.len > 0 && c->progress_at_usec != 0) {
        uint64_t stalled = usec_add(c->progress_at_usec, c->frontends->params.stalled_reader_usec);

        at = stalled < at ? stalled : at;
    }
    return at;
}

static void arm_timer(struct conn *c)
{
    uint64_t at = next_moment(c), armed = 0;
    int enabled = SD_EVENT_OFF;

    (void) sd_event_source_get_enabled(c->timer, &enabled);
    (void) sd_event_source_get_time(c->timer, &armed);
    if (enabled != SD_EVENT_OFF && armed <= at) {
        return; /* it fires earlier and looks again */
    }
    (void) sd_event_source_set_time(c->timer, at);
    (void) sd_event_source_set_enabled(c->timer,
                                       at == USEC_NEVER ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

void conn_set_deadline(struct conn *c, uint64_t at_usec)
{
    c->deadline_at_usec = at_usec;
    if (c->state != CONN_CLOSED) {
        arm_timer(c);
    }
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
    struct conn *c = ctx;
    uint64_t now = clock_now_usec();

    if (now < next_moment(c)) {
        arm_timer(c);
    } else if (c->deadline_at_usec > now) {
        c->ops->on_stalled(c, now);
    } else if (c->state == CONN_CLOSING) {
        conn_close(c, now);
    } else {
        c->deadline_at_usec = USEC_NEVER;
        c->ops->on_deadline(c, now);
        if (c->state != CONN_CLOSED) {
            arm_timer(c);
        }
    }
    return 0;
}

void conn_close(struct conn *c, uint64_t now_usec)
{
    if (c->state == CONN_CLOSED) {
        return;
    }
    c->state = CONN_CLOSED;
    poller_remove(&c->io);
    c->timer = sd_event_source_disable_unref(c->timer);
    c->fd = fd_close(c->fd);
    list_remove(&c->dirty_link);
    list_remove(&c->link);
    list_append(&c->frontends->dead, &c->link);
    c->frontends->n_conns--;
    (void) conn_charge(c, 0);
    buf_done(&c->out);
    c->ops->on_closed(c, now_usec);
    c->frontends->on_work(c->frontends->ctx);
}

void conn_close_later(struct conn *c)
{
    c->has_hung_up = true; /* reads no more */
    buf_clear(&c->out);
    c->state = c->state == CONN_OPEN ? CONN_CLOSING : c->state;
    conn_flush_later(c);
}

/*
 * The last byte is out. What the peer still sends is read and thrown away for a while: closing with
 * unread bytes would make the kernel send RST, and the peer would never see our answer.
 */
static void begin_linger(struct conn *c, uint64_t now_usec)
{
    (void) shutdown(c->fd, SHUT_WR);
    if (c->has_hung_up) {
        conn_close(c, now_usec);
        return;
    }
    conn_set_deadline(c, usec_add(now_usec, CONN_LINGER_USEC));
    update_events(c);
}

void conn_close_after_output(struct conn *c, uint64_t now_usec)
{
    if (c->state == CONN_OPEN) {
        c->state = CONN_CLOSING;
        c->deadline_at_usec = USEC_NEVER;
        conn_flush_later(c);
    }
}

void conn_flush_later(struct conn *c)
{
    if (c->state != CONN_CLOSED && !list_is_linked(&c->dirty_link)) {
        list_append(&c->frontends->dirty, &c->dirty_link);
        c->frontends->on_work(c->frontends->ctx);
    }
}

bool conn_is_full(struct conn *c)
{
    if (c->state == CONN_CLOSED) {
        return false; /* nothing is kept any more */
    }
    c->was_full = c->was_full || c->out.len >= c->high_bytes;
    return c->was_full;
}

/* 0: all out or the socket is full; -errno: the connection is broken. */
static int send_some(struct conn *c, uint64_t now_usec)
{
    while (c->out.len > 0) {
        ssize_t n = send(c->fd, buf_ptr(&c->out), c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? 0 : -errno;
        }
        buf_consume(&c->out, (size_t) n);
        c->progress_at_usec = now_usec;
    }
    c->progress_at_usec = 0;
    buf_trim(&c->out);
    return 0;
}

void conn_flush(struct conn *c, uint64_t now_usec)
{
    list_remove(&c->dirty_link);
    if (c->progress_at_usec == 0) {
        c->progress_at_usec = now_usec;
    }
    if (send_some(c, now_usec) < 0) {
        conn_close(c, now_usec);
        return;
    }
    if (c->state == CONN_CLOSING && c->out.len == 0) {
        begin_linger(c, now_usec);
        return;
    }
    update_events(c);
    if (c->out.len > 0) {
        arm_timer(c);
    }
    if (c->was_full && c->out.len <= c->low_bytes) {
        c->was_full = false;
        c->ops->on_drained(c, now_usec);
        if (c->state != CONN_CLOSED) {
            update_events(c); /* it may have been paused */
        }
    }
}

static void take_bytes(struct conn *c, size_t n, uint64_t now_usec)
{
    c->has_received = true;
    if (c->state == CONN_OPEN) {
        c->ops->on_bytes(c, (struct str) {g_read_buffer, n}, now_usec);
        return;
    }
    c->lingered_bytes += n;
    if (c->lingered_bytes > CONN_LINGER_BYTES) {
        conn_close(c, now_usec);
    }
}

static void hang_up(struct conn *c, uint64_t now_usec)
{
    if (c->has_hung_up) {
        return;
    }
    c->has_hung_up = true;
    if (c->state == CONN_OPEN) {
        c->ops->on_hangup(c, now_usec);
    }
    if (c->state == CONN_CLOSING && c->out.len == 0 && !list_is_linked(&c->dirty_link)) {
        conn_close(c, now_usec);
    }
    if (c->state != CONN_CLOSED) {
        update_events(c);
    }
}

/*
 * to_end: the peer has closed its side, so the end is to be found behind the last bytes, now: who
 * sends and leaves at once is not worked for.
 */
static void read_some(struct conn *c, bool to_end, uint64_t now_usec)
{
    for (int i = 0; i < READS_PER_WAKEUP && c->state != CONN_CLOSED && !c->has_hung_up; i++) {
        if (is_paused(c)) {
            return;
        }

        ssize_t n = recv(c->fd, g_read_buffer, sizeof g_read_buffer, MSG_DONTWAIT);

        if (n > 0) {
            take_bytes(c, (size_t) n, now_usec);
            if ((size_t) n < sizeof g_read_buffer && !to_end) {
                return; /* most likely all there is */
            }
        } else if (n == 0) {
            hang_up(c, now_usec);
            return;
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            conn_close(c, now_usec);
            return;
        }
    }
}

static void on_io(int fd, uint32_t revents, void *ctx)
{
    struct conn *c = ctx;
    uint64_t now = clock_now_usec();

    if (revents & EPOLLIN) {
        read_some(c, revents & EPOLLRDHUP, now);
        if (is_paused(c)) {
            update_events(c); /* also where what was read made no output that would lead there */
        }
    }
    if (c->state != CONN_CLOSED && (revents & (EPOLLERR | EPOLLHUP))) {
        conn_close(c, now); /* both directions are gone */
        return;
    }
    if (c->state != CONN_CLOSED && (revents & EPOLLRDHUP) && is_paused(c)) {
        hang_up(c, now); /* what stands before the end is not read any more */
    }
    if (revents & EPOLLOUT) {
        conn_flush_later(c);
    }
}

bool conn_charge(struct conn *c, size_t bytes)
{
    if (!frontends_charge(c->frontends, c->charged_bytes, bytes)) {
        return false;
    }
    c->charged_bytes = bytes;
    return true;
}

int conn_init(struct conn *c, struct frontends *f, const struct conn_ops *ops, int fd,
              const struct caller *caller, size_t high_bytes, size_t max_out_bytes)
{
    int r;

    *c = (struct conn) {
        .state = CONN_OPEN,
        .frontends = f,
        .ops = ops,
        .caller = *caller,
        .fd = fd,
        .high_bytes = high_bytes,
        .low_bytes = high_bytes / 4,
        .deadline_at_usec = USEC_NEVER,
    };
    list_init(&c->link);
    list_init(&c->dirty_link);
    buf_init(&c->out, max_out_bytes);
    r = poller_add(f->poller, &c->io, fd, EPOLLIN | EPOLLRDHUP, on_io, c);
    if (r >= 0) {
        r = sd_event_add_time(f->event, &c->timer, CLOCK_MONOTONIC, USEC_NEVER, 1000, on_timer, c);
    }
    if (r < 0) {
        poller_remove(&c->io);
        c->fd = fd_close(fd);
        return r;
    }
    (void) sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
    list_append(&f->conns, &c->link);
    f->n_conns++;
    return 0;
}

void conn_done(struct conn *c)
{
    assert(c->state == CONN_CLOSED);
    list_remove(&c->link);
    buf_done(&c->out);
}
