/*
 * Listening sockets.
 *
 * At the connection limit, and when the process has no descriptor left, a listener pauses itself
 * (the kernel's backlog is the queue) and says so once; it accepts again when a connection ends, or
 * after PAUSE_USEC. Handlers return 0: sd-event would switch a source off for good otherwise.
 */
#include "frontend/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "base/log.h"
#include "frontend/conn.h"
#include "frontend/peer_unit.h"

#define ACCEPTS_PER_WAKEUP 16
#define PAUSE_USEC         (100 * USEC_PER_MSEC)
#define RESERVE_FROM       64 /* connections: below it an eighth is nothing */
/* TCP: how much unsent data the kernel takes from us ahead of time */
#define NOTSENT_LOW_BYTES (16 * 1024)

struct listener {
    struct list link; /* frontends.listeners */
    struct frontends *frontends;
    const struct frontend_ops *ops;
    int fd;
    bool is_tcp;
    sd_event_source *io, *timer;
    struct log_limit said_full, said_refused;
};

static void pause_accepting(struct listener *l, const char *why)
{
    uint32_t suppressed;
    uint64_t now = clock_now_usec();

    (void) sd_event_source_set_enabled(l->io, SD_EVENT_OFF);
    (void) sd_event_source_set_time(l->timer, usec_add(now, PAUSE_USEC));
    (void) sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT);
    if (log_limit_pass(&l->said_full, now, &suppressed)) {
        log_printf(LOG_LEVEL_WARNING, "%s: not accepting connections for a moment: %s",
                   l->ops->name, why);
    }
}

static int on_pause_over(sd_event_source *s, uint64_t usec, void *ctx)
{
    struct listener *l = ctx;

    (void) sd_event_source_set_enabled(l->io, SD_EVENT_ON);
    return 0;
}

/* Who is at the other end of a Unix socket: fixed at connect(), so read once. */
static int peer_of(int fd, bool is_tcp, const char *name, struct caller *ret_caller)
{
    struct ucred cred;
    socklen_t n = sizeof cred;

    *ret_caller = (struct caller) {.frontend = name};
    if (is_tcp) {
        return 0;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0) {
        return -errno;
    }
    ret_caller->has_uid = true;
    ret_caller->uid = cred.uid;
    ret_caller->gid = cred.gid;
    ret_caller->pid = cred.pid;
    peer_unit_read(cred.pid, ret_caller);
    return 0;
}

static bool uid_has_room(const struct frontends *f, const struct caller *caller)
{
    size_t n = 0;

    list_for_each (l, &f->conns) {
        const struct conn *c = CONTAINER_OF(l, struct conn, link);

        n += c->caller.has_uid == caller->has_uid && c->caller.uid == caller->uid;
    }
    return !caller->has_uid || n < f->params.max_connections_per_uid;
}

static void refuse(struct listener *l, int fd, const struct caller *caller)
{
    uint32_t suppressed;

    (void) fd_close(fd);
    if (log_limit_pass(&l->said_refused, clock_now_usec(), &suppressed)) {
        log_printf(
            LOG_LEVEL_WARNING,
            "%s: refused a connection of uid %u: it has %zu open, its limit (%u more refusals not logged)",
            l->ops->name, caller->uid, l->frontends->params.max_connections_per_uid, suppressed);
    }
}

static void adopt(struct listener *l, int fd)
{
    struct caller caller;
    int on = 1, low = NOTSENT_LOW_BYTES;

    if (peer_of(fd, l->is_tcp, l->ops->name, &caller) < 0) {
        (void) fd_close(fd); /* the peer is gone already */
        return;
    }
    if (!uid_has_room(l->frontends, &caller)) {
        refuse(l, fd, &caller);
        return;
    }
    if (l->is_tcp) {
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* wishes, both */
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low, sizeof low);
    }
    if (!l->ops->conn_new(l->frontends, fd, &caller, l->is_tcp)) {
        pause_accepting(l, "out of memory");
    }
}

/*
 * TCP, where nobody knows who connects, may not take the last places: those are for the Unix
 * sockets.
 */
static size_t connection_limit(const struct listener *l)
{
    size_t n = l->frontends->params.max_connections;

    return l->is_tcp && n >= RESERVE_FROM ? n - n / 8 : n;
}

static int on_connection(sd_event_source *s, int listen_fd, uint32_t revents, void *ctx)
{
    struct listener *l = ctx;

    for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
        if (l->frontends->n_conns >= connection_limit(l)) {
            pause_accepting(l, "the connection limit is reached");
            frontends_make_room(l->frontends, l->is_tcp, ACCEPTS_PER_WAKEUP, clock_now_usec());
            return 0;
        }

        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            adopt(l, fd);
        } else if (errno == EAGAIN) {
            return 0;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(l, "the system has no descriptor or memory for it");
            return 0;
        } /* anything else concerns the one connection that failed: the next one */
    }
    return 0;
}

static struct listener *listener_free(struct listener *l)
{
    list_remove(&l->link);
    sd_event_source_disable_unref(l->io);
    sd_event_source_disable_unref(l->timer);
    (void) fd_close(l->fd);
    free(l);
    return NULL;
}

static int check_socket(int fd, bool *ret_is_tcp)
{
    int type = 0, listening = 0, domain = 0;
    socklen_t n = sizeof type;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0) {
        return -errno;
    }
    if (type != SOCK_STREAM || !listening) {
        return -EINVAL;
    }
    *ret_is_tcp = domain != AF_UNIX;
    return fd_set_nonblocking(fd);
}

int listener_add(struct frontends *f, const struct frontend_ops *ops, int fd)
{
    struct listener *l = calloc(1, sizeof *l);
    int r;

    if (!l) {
        (void) fd_close(fd);
        return -ENOMEM;
    }
    *l = (struct listener) {.frontends = f, .ops = ops, .fd = fd};
    list_init(&l->link);
    r = check_socket(fd, &l->is_tcp);
    if (r >= 0) {
        r = sd_event_add_io(f->event, &l->io, fd, EPOLLIN, on_connection, l);
    }
    if (r >= 0) {
        r = sd_event_add_time(f->event, &l->timer, CLOCK_MONOTONIC, USEC_NEVER, 1000, on_pause_over,
                              l);
    }
    if (r < 0) {
        listener_free(l);
        return r;
    }
    (void) sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
    list_append(&f->listeners, &l->link);
    return 0;
}

void listeners_close(struct frontends *f)
{
    list_for_each_safe (pos, &f->listeners) {
        listener_free(CONTAINER_OF(pos, struct listener, link));
    }
}

bool listeners_have_arrivals(const struct frontends *f)
{
    list_for_each (pos, &f->listeners) {
        struct pollfd p = {.fd = CONTAINER_OF(pos, struct listener, link)->fd, .events = POLLIN};

        if (poll(&p, 1, 0) != 0) { /* an error too: better stay than lose somebody */
            return true;
        }
    }
    return false;
}

void listeners_room(struct frontends *f)
{
    list_for_each (pos, &f->listeners) {
        (void) sd_event_source_set_enabled(CONTAINER_OF(pos, struct listener, link)->io,
                                           SD_EVENT_ON);
    }
}
