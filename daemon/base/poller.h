#pragma once
/*
 * Many descriptors behind one: an epoll set whose own descriptor is readable while any of its
 * sources is ready. Level-triggered.
 *
 *   struct poller_source   embedded by who watches a descriptor; zeroed: not registered. No
 *                          allocation, so a source costs one epoll_ctl() and nothing else.
 *
 * A dispatch fetches at most POLLER_BATCH events and calls each source once. What a call does to
 * other sources of the batch holds at once: a removed source is not called any more, whatever was
 * fetched for it, and may be freed, also by its own call; a source that is added waits for the next
 * dispatch.
 */
#include <stdint.h>
#include <sys/epoll.h>

#include "base/macros.h"

#define POLLER_BATCH 64

/*
 * fd is ready for events (EPOLLIN ...; EPOLLERR and EPOLLHUP come unasked). May add, modify and
 * remove any source; must not dispatch.
 */
typedef void (*poller_fn)(int fd, uint32_t events, void *ctx);

struct poller_source {
    struct poller *poller; /* borrowed; NULL: not registered */
    int fd;                /* borrowed; open for as long as the source is registered */
    uint32_t events;
    poller_fn fn;
    void *ctx;
};

struct poller {
    int fd;   /* owned */
    int n;    /* of batch; 0: no dispatch is running */
    int next; /* of batch: the first that was not called yet */
    struct epoll_event batch[POLLER_BATCH];
};

/* 0 or -errno. After a failure poller_done() may be called. */
int poller_init(struct poller *p) MUST_USE;
void poller_done(struct poller *p); /* no source may be registered */

/* Readable while a source is ready. For the loop that calls poller_dispatch(). */
int poller_fd(const struct poller *p);

/*
 * Registers source, which must stay where it is. 0 or -errno (-EEXIST: fd has a source), then it is
 * not registered.
 */
int poller_add(struct poller *p, struct poller_source *source, int fd, uint32_t events,
               poller_fn fn, void *ctx) MUST_USE;
/*
 * Another set of events; asks the kernel only when it is another. 0 or -errno (-ENOENT: the
 * descriptor was closed meanwhile), then nothing changed.
 */
int poller_modify(struct poller_source *source, uint32_t events);
/* Before its descriptor is closed. Accepts a source that is not registered. */
void poller_remove(struct poller_source *source);

/* Does not wait. The number of events fetched. */
int poller_dispatch(struct poller *p);
