#pragma once
/*
 * Watches: streams of the daemon's status, sent when it has changed. One timer for all of them; it
 * is off while nobody watches.
 *
 * A watch is on the list of its connection, which ends it with itself, and is sent to only while
 * that has room for output.
 */
#include "frontend/conn.h"
#include "wire/rpc_msg.h"

struct rpc_watch;

/* What a watch is, beside what its request says. */
struct rpc_watch_spec {
    struct conn *conn;    /* borrowed; outlives its watches */
    struct list *of_conn; /* where it is put */
    uint32_t stream_id;
    uint64_t ends_at_usec; /* then DEADLINE_EXCEEDED; or USEC_NEVER */
};

/* Puts the first state to the output. 0, or -errno: nothing was put, there is no watch. */
int rpc_watch_start(const struct rpc_watch_spec *spec, const struct rpc_watch_request *req,
                    uint64_t now_usec) MUST_USE;

/* Is this link, of spec.of_conn, the watch of that stream? */
bool rpc_watch_is_of(const struct list *link, uint32_t stream_id);

/* The watch with this request id; NULL when there is none. any_uid: whoever it belongs to. */
struct rpc_watch *rpc_watch_find(const struct frontends *f, struct str id, bool any_uid, uid_t uid);

/* Ends it with an error, and frees it. */
void rpc_watch_end(struct rpc_watch *w, enum errcode code);

/* All of a connection: told what is now and that it is the last; without a word where the
 * connection is gone. */
void rpc_watches_drain(struct list *of_conn, uint64_t now_usec);
void rpc_watches_drop(struct list *of_conn);

/* What frontends.watches points to. Accepts NULL, returns NULL; there is no watch left. */
struct rpc_watches *rpc_watches_free(struct rpc_watches *all);
