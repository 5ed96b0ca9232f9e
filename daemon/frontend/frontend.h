#pragma once
/*
 * What frontends share and what makes a protocol a frontend: a row in frontends.c that turns an
 * accepted connection into an object of its own. Adding one is one file, one row, one test
 * (docs/adding-a-frontend.md).
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/macros.h"
#include "core/access_key.h"
#include "core/admission.h"
#include "core/call.h"
#include "core/pressure.h"
#include "core/router.h"
#include "core/stats.h"

#define FRONTEND_MAX_HOSTS 32

struct poller;
struct problem;
struct rpc_watches;

struct frontend_params {
    size_t max_connections, max_connections_per_uid, max_calls_per_connection;
    size_t max_head_bytes, max_body_bytes, max_buffered_bytes;
    uint64_t head_usec, body_usec, keep_alive_usec, stalled_reader_usec, heartbeat_usec;
    const char *master_key;        /* borrowed; NULL: none set */
    const struct access_key *keys; /* borrowed; beside the master key */
    size_t n_keys;
    const char *const *allowed_hosts; /* borrowed; beside the loopback names */
    size_t n_allowed_hosts;
    const char *const *allowed_origins; /* borrowed */
    size_t n_allowed_origins;
};

/* What operators may ask of the daemon as a whole; the composition does it. ctx: frontends.ctx */
struct control_ops {
    /* Reads the configuration again. false: nothing has changed, *ret_problem says why. */
    bool (*reload)(void *ctx, struct problem *ret_problem);
    /* Begins to stop; without effect when that has begun. Connections may be closed in it. */
    void (*drain)(void *ctx);
};

/*
 * What the configuration says, as LiteLLM tells it: {"data":[...]}. The composition writes it. Return
 * 0 or -errno of buf; ctx: frontends.ctx
 */
struct info_ops {
    /* Deployments; of an id: that one, or -ENOENT. An empty id: all that the key may use. */
    int (*write_models)(void *ctx, struct str id, const struct access_key *key, struct buf *out);
    int (*write_groups)(void *ctx, const struct access_key *key, struct buf *out);
};

/* What every connection can reach. Owned by the composition. Pointers are borrowed. */
struct frontends {
    sd_event *event;
    struct poller *poller; /* of connections' sockets */
    struct call_registry *registry;
    struct router *router;
    struct admission *admission;
    struct pressure *pressure;
    struct stats *stats;
    struct frontend_params params;
    void (*on_work)(void *ctx); /* frontends_turn() is wanted at the end of this wake-up */
    /* a request came with a wrong key; NULL: nobody counts them */
    void (*on_denied)(void *ctx, const struct caller *caller);
    struct control_ops control;
    struct info_ops info;
    void *ctx;

    /* told by the composition, told on to clients */
    uint64_t started_at_usec;
    uint64_t config_generation;
    bool is_draining;
    bool is_closing_door; /* as is_draining, up to the first frontends_close_idle() */

    struct list conns;           /* conn.link: open */
    struct list dead;            /* conn.link: closed, to be freed at the end of the turn */
    struct list dirty;           /* conn.dirty_link: have output to send */
    struct list listeners;       /* listener.link */
    struct rpc_watches *watches; /* owned; NULL until somebody watched */
    size_t n_conns;
    size_t buffered_bytes; /* of params.max_buffered_bytes */
    uint64_t next_id;      /* of requests that bring none */
    char boot_id[9];
    time_t date_sec; /* of date: the Date header of this second */
    char date[32];
};

struct conn;

/* One protocol. */
struct frontend_ops {
    const char *name; /* of the listening socket: "rpc", "http", "http-unix" */
    /*
     * A connection for an accepted socket, which it takes over in any case. NULL: out of memory.
     * is_tcp: nobody knows who is at the other end.
     */
    struct conn *(*conn_new)(struct frontends *f, int fd, const struct caller *caller, bool is_tcp);
};

extern const struct frontend_ops frontend_rpc;
extern const struct frontend_ops frontend_http;
extern const struct frontend_ops frontend_http_unix;

/* The frontend of that name, or NULL. */
const struct frontend_ops *frontend_find(const char *name);

void frontends_init(struct frontends *f, const struct frontend_params *params);
void frontends_done(struct frontends *f); /* closes everything */

/* Sends what is waiting, frees what is dead. At the end of a wake-up, after registry_run(). */
void frontends_turn(struct frontends *f, uint64_t now_usec);

/*
 * No new connections. Those that have had an answer and say nothing are closed, the others after
 * their next answer.
 */
void frontends_close_door(struct frontends *f, uint64_t now_usec);

/* Closes every connection that is between requests. */
void frontends_close_idle(struct frontends *f, uint64_t now_usec);

/*
 * Closes connections that are between requests and whose clients come back by themselves. How many.
 */
size_t frontends_shed_idle(struct frontends *f, uint64_t now_usec);

/*
 * The limit of connections is reached: closes up to n_wanted of those over TCP, or of those over Unix
 * sockets, that are between requests and whose clients come back by themselves, the oldest first.
 */
void frontends_make_room(struct frontends *f, bool is_tcp, size_t n_wanted, uint64_t now_usec);

/* Is anything open besides listening sockets? */
bool frontends_are_idle(const struct frontends *f);

/*
 * When the oldest output that waits for its reader must be gone, or USEC_NEVER. Looks at every
 * connection.
 */
uint64_t frontends_output_due(const struct frontends *f);

/* "req-<boot>-<n>" */
void frontends_make_id(struct frontends *f, char ret_id[REQUEST_ID_MAX + 1]);

/*
 * Charges a connection's buffers to the common budget: from old_bytes to new_bytes. false: over the
 * budget, nothing changed.
 */
bool frontends_charge(struct frontends *f, size_t old_bytes, size_t new_bytes);
