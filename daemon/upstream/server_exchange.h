#pragma once
/*
 * A small exchange with a model server, beside the calls: one GET or POST, its answer collected up to
 * a size and told in one piece. For lists, versions, unloads and health checks; what a model says
 * comes piece by piece (transfer.h).
 *
 *   (idle) ──start──► (asked) ──the answer, a failure, the time limit──► (idle), on_end
 *
 * Embedded in what asks, one exchange at a time; on_end may start the next one, or free the whole.
 * Concludes nothing about the server, logs nothing: whoever asks knows what an answer means.
 */
#include "base/buf.h"
#include "base/macros.h"
#include "upstream/server_access.h"
#include "upstream/server_state.h"
#include "upstream/transfer.h"
#include "upstream/upstreams.h"

/* What came back. Borrowed while on_end runs. */
struct server_answer {
    enum transfer_result
        result;      /* STOPPED: too long, or no memory for it; CUT: also the time limit */
    int status;      /* 0: no head came */
    struct str body; /* as far as it came */
    const char *why; /* not COMPLETE: for people, without secrets */
};

struct server_exchange;

/* From the loop, once for each start unless it is stopped. The exchange is idle again. */
typedef void (*server_exchange_end_fn)(struct server_exchange *x,
                                       const struct server_answer *answer);

struct server_exchange {
    struct upstreams *up;        /* borrowed */
    struct server_state *server; /* a reference */
    server_exchange_end_fn on_end;
    struct transfer *transfer; /* NULL: idle */
    sd_event_source *timer;    /* NULL: no time limit so far */
    struct buf body;
    size_t n_bytes, max_bytes; /* of the answer */
    bool drops_body;
    int status;
};

/* Borrowed by server_exchange_start() only, but for body. */
struct server_request {
    const char *path;                   /* below the server's address */
    const struct server_access *access; /* or NULL */
    struct str body;                    /* JSON to POST, borrowed until the end; absent: GET */
    uint64_t connect_usec;
    uint64_t ends_at_usec; /* USEC_NEVER: whoever asks watches the time */
    bool drops_body;       /* the answer's is not kept, but may not be longer either */
};

/* up outlives it; of server a reference is taken. Allocates nothing. */
void server_exchange_init(struct server_exchange *x, struct upstreams *up,
                          struct server_state *server, size_t max_bytes,
                          server_exchange_end_fn on_end);
void server_exchange_done(struct server_exchange *x); /* accepts a zeroed struct */

/* While idle. 0 or -errno: then no on_end follows. Not from within a transfer's on_bytes. */
int server_exchange_start(struct server_exchange *x, const struct server_request *request) MUST_USE;

/*
 * Ends it without on_end. Returns the status that had come, 0: none. Accepts an idle one; not from
 * within a transfer's on_bytes.
 */
int server_exchange_stop(struct server_exchange *x);

bool server_exchange_is_asked(const struct server_exchange *x);
