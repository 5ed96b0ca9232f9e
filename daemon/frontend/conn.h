#pragma once
/*
 * A connection: a non-blocking socket with bounded output, one deadline and a life-cycle. Both
 * protocols are built on it: they embed struct conn and implement conn_ops.
 *
 *   OPEN ──► CLOSING ──► CLOSED
 *     └────────────────────▲
 *
 *   OPEN     reads and writes                                            frontends.conns
 *   CLOSING  the last bytes go out, what still comes is thrown away,     frontends.conns
 *            then CLOSED (after at most CONN_LINGER_USEC)
 *   CLOSED   no descriptor any more; freed at the end of the turn        frontends.dead
 *
 * Output is collected and sent once per wake-up (frontends_turn): what one wake-up produces is one
 * send, and nothing is held back longer. Reading waits for writing only where a protocol says so
 * (is_paused).
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/macros.h"
#include "base/poller.h"
#include "frontend/frontend.h"

#define CONN_LINGER_USEC (2 * UINT64_C(1000000))
/* thrown away after an answer that came before the end of the request */
#define CONN_LINGER_BYTES (256 * 1024)

enum conn_state { CONN_OPEN, CONN_CLOSING, CONN_CLOSED };

struct conn_ops {
    /*
     * Bytes arrived (conn is OPEN). All of them are taken; what cannot be used now is the
     * protocol's to keep.
     */
    void (*on_bytes)(struct conn *c, struct str bytes, uint64_t now_usec);
    /* The peer will send no more. Called once. */
    void (*on_hangup)(struct conn *c, uint64_t now_usec);
    /* The output fell below the low water after conn_is_full() was true. */
    void (*on_drained)(struct conn *c, uint64_t now_usec);
    /* Output was sent at the end of a wake-up: from here core may be called. */
    void (*on_turn)(struct conn *c, uint64_t now_usec);
    /* The deadline set by conn_set_deadline() passed. */
    void (*on_deadline)(struct conn *c, uint64_t now_usec);
    /*
     * Nothing of the output could be sent for the stalled-reader limit. The connection must be
     * closed.
     */
    void (*on_stalled)(struct conn *c, uint64_t now_usec);
    /* The descriptor is gone: let go of calls. No bytes can be written any more. */
    void (*on_closed)(struct conn *c, uint64_t now_usec);
    /* Frees the object that embeds conn, after conn_done(). */
    void (*free)(struct conn *c);
    /* Optional. The daemon begins to stop (conn is OPEN): what never ends by itself must end. */
    void (*on_drain)(struct conn *c, uint64_t now_usec);
    /*
     * Should no more be read until on_drained? Only while conn_is_full(), and the rest of what was
     * read already still comes. A peer that leaves is noticed all the same. NULL: never.
     */
    bool (*is_paused)(const struct conn *c);
    /* Is it between requests, so that a drain may close it? */
    bool (*is_idle)(const struct conn *c);
};

struct conn {
    enum conn_state state;
    struct list link;            /* frontends.conns | frontends.dead */
    struct list dirty_link;      /* frontends.dirty */
    struct frontends *frontends; /* borrowed */
    const struct conn_ops *ops;
    struct caller caller;
    int fd; /* owned; -1 once CLOSED */
    struct poller_source io;
    sd_event_source *timer;
    struct buf out;
    size_t high_bytes, low_bytes; /* of out */
    bool was_full;     /* conn_is_full() was true and on_drained is owed: a water mark, no state */
    bool has_hung_up;  /* on_hangup was called: the other direction may still be open */
    bool has_received; /* any byte, ever */
    bool is_kept;      /* its client would not open another one: not closed for memory's sake */
    uint64_t deadline_at_usec; /* of the protocol; USEC_NEVER: none */
    uint64_t progress_at_usec; /* when output last moved, or began to wait; 0: none waits */
    size_t lingered_bytes;
    size_t charged_bytes; /* of frontends.buffered_bytes */
};

/* Takes fd over in any case. 0 or -errno (fd is closed then, and conn must not be used). */
int conn_init(struct conn *c, struct frontends *f, const struct conn_ops *ops, int fd,
              const struct caller *caller, size_t high_bytes, size_t max_out_bytes) MUST_USE;
void conn_done(struct conn *c);

/* Where output goes: append, then conn_flush_later(). Only while not CLOSED. */
static inline struct buf *conn_out(struct conn *c)
{
    return &c->out;
}
void conn_flush_later(struct conn *c);

/* Is more output waiting than the high water? Remembers that on_drained is owed. */
bool conn_is_full(struct conn *c);

/* One deadline at a time; USEC_NEVER: none. */
void conn_set_deadline(struct conn *c, uint64_t at_usec);

/* Sends what is there, then closes. */
void conn_close_after_output(struct conn *c, uint64_t now_usec);
/*
 * Closes now; on_closed follows at once. Not from within a sink's deliver(): use conn_close_later()
 * there.
 */
void conn_close(struct conn *c, uint64_t now_usec);
/* As conn_close(), at the end of the turn. */
void conn_close_later(struct conn *c);

/*
 * Sets the charge of this connection's buffers. false: the budget is spent, the charge is as it
 * was.
 */
bool conn_charge(struct conn *c, size_t bytes);

/* For frontends_turn(). */
void conn_flush(struct conn *c, uint64_t now_usec);
