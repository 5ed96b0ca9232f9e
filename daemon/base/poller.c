/*
 * One private epoll set for the sockets of connections and model servers.
 *
 * Why not an io source of the event loop for each: sd-event dispatches one source per iteration,
 * and each iteration is an epoll_wait() and work on two priority queues. With 16 sockets ready that
 * is 16 turns of the loop, each with its own deciding and sending; here it is one. The loop sees a
 * single source, and everything that must not wait behind a crowd (timers, signals, new
 * connections) stays a source of its own beside it.
 *
 * Fairness has two parts. A dispatch ends after POLLER_BATCH events, whatever else is ready; and
 * the kernel puts a level-triggered descriptor that it reported at the end of its ready list
 * (epoll(7)), so the next dispatch begins with those that were not reached.
 *
 * Owns the epoll descriptor; neither sources nor their descriptors.
 *
 * The batch holds pointers to sources between the fetch and the call, and any call may remove any
 * source. So removing looks for the source in what is left of the batch, and dispatching touches
 * nothing of a source after its call. That also covers a descriptor that is closed and opened again
 * within a batch: the events of the old one go with its source, and the new one has a source of its
 * own that was not fetched.
 *
 * Must not: wait; allocate; dispatch from within a dispatch.
 */
#include "base/poller.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "base/fdio.h"

int poller_init(struct poller *p)
{
    p->n = p->next = 0;
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    return p->fd < 0 ? -errno : 0;
}

void poller_done(struct poller *p)
{
    assert(p->n == 0);
    p->fd = fd_close(p->fd);
}

int poller_fd(const struct poller *p)
{
    return p->fd;
}

int poller_add(struct poller *p, struct poller_source *source, int fd, uint32_t events,
               poller_fn fn, void *ctx)
{
    struct epoll_event ev = {.events = events, .data.ptr = source};

    assert(!source->poller);
    if (epoll_ctl(p->fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        return -errno;
    }
    *source =
        (struct poller_source) {.poller = p, .fd = fd, .events = events, .fn = fn, .ctx = ctx};
    return 0;
}

int poller_modify(struct poller_source *source, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = source};

    assert(source->poller);
    if (events == source->events) {
        return 0;
    }
    if (epoll_ctl(source->poller->fd, EPOLL_CTL_MOD, source->fd, &ev) < 0) {
        return -errno;
    }
    source->events = events;
    return 0;
}

void poller_remove(struct poller_source *source)
{
    struct poller *p = source->poller;

    if (!p) {
        return;
    }
    (void) epoll_ctl(p->fd, EPOLL_CTL_DEL, source->fd, NULL); /* closed before: gone already */
    source->poller = NULL;
    for (int i = p->next; i < p->n; i++) {
        if (p->batch[i].data.ptr == source) {
            p->batch[i].data.ptr = NULL;
        }
    }
}

int poller_dispatch(struct poller *p)
{
    int n;

    assert(p->n == 0); /* else the batch would be overwritten */
    n = epoll_wait(p->fd, p->batch, POLLER_BATCH, 0);
    if (n <= 0) {
        return 0; /* EINTR at worst: what is ready is still ready */
    }
    p->n = n;
    for (p->next = 0; p->next < p->n;) {
        const struct epoll_event *ev = &p->batch[p->next++];
        const struct poller_source *source = ev->data.ptr;

        if (source) {
            source->fn(source->fd, ev->events, source->ctx);
        }
    }
    p->n = p->next = 0;
    return n;
}
