#pragma once
/*
 * One HTTP exchange with a model server: what is asked, and what comes back piece by piece. Hides
 * the HTTP client.
 *
 * A transfer is owned by who started it (a job of http_backend, a load of ollama_loader). Callbacks
 * come from the event loop; on_bytes comes from within a libcurl callback, so nothing may be
 * started, resumed or freed in it: it answers and notes.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/str.h"
#include "upstream/server_access.h"

struct curl_loop;
struct transfer;

#define TRANSFER_MAX_HEADERS 16

/* Where a model server lives. Strings are borrowed by transfer_start() only. */
struct transfer_spec {
    const char *url;       /* "http://127.0.0.1:11434/api/chat" */
    const char *unix_path; /* connect there instead of to the url's host; or NULL */
    /*
     * Or NULL. A header of the same name as one of ours replaces it, except those that say where a
     * message ends (transfer_header_is_ours())
     */
    const struct server_access *access;
    /*
     * POST with JSON; absent: GET. Borrowed until the transfer is over: libcurl sends it again on a
     * stale connection
     */
    struct str body;
    const char *accept; /* "text/event-stream", ... */
    bool is_local;      /* of this machine: no proxy, short keep-alive */
    uint64_t connect_usec;
};

enum transfer_answer { TRANSFER_ROOM, TRANSFER_FULL, TRANSFER_STOP };

struct transfer_head {
    int status;
    struct str content_type;   /* "" when missing */
    uint64_t retry_after_usec; /* of a Retry-After; 0: none */
};

enum transfer_result {
    TRANSFER_COMPLETE, /* the whole answer came */
    TRANSFER_REFUSED,  /* no connection: refused, unreachable, name not resolved */
    /* the server has not proved who it is, or speaks no TLS that we do: nothing was sent */
    TRANSFER_UNTRUSTED,
    TRANSFER_CONNECT_TIMEOUT,
    TRANSFER_CUT,     /* the connection broke before the answer was complete */
    TRANSFER_GARBAGE, /* not HTTP, or a head over the limits */
    TRANSFER_STOPPED, /* on_bytes said STOP */
};

struct transfer_callbacks {
    /* The final head, once, before the first bytes. */
    void (*on_head)(void *ctx, const struct transfer_head *head);
    /* FULL: these bytes were taken, no more until transfer_resume(). */
    enum transfer_answer (*on_bytes)(void *ctx, struct str bytes);
    /*
     * The end, exactly once unless transfer_cancel() was called. The transfer is gone when it is
     * called. text: for people, without secrets.
     */
    void (*on_done)(void *ctx, enum transfer_result result, const char *text);
};

/*
 * Would a header of that name change where the message ends, or who is asked? Such are left out:
 * Host, Content-Length, Transfer-Encoding, Connection, Expect, TE, Trailer, Upgrade.
 */
bool transfer_header_is_ours(const char *name);

/* 0 or -ENOMEM. */
int transfer_start(struct curl_loop *loop, const struct transfer_spec *spec,
                   const struct transfer_callbacks *callbacks, void *ctx,
                   struct transfer **ret) MUST_USE;

/*
 * Reads on after FULL. May call on_bytes before it returns. Not from within on_bytes. false: what
 * was held back could not be taken, and no on_done will follow by itself: cancel the transfer.
 */
bool transfer_resume(struct transfer *t) MUST_USE;

/*
 * Ends it: the connection is closed unless the answer was complete. No callback follows. Accepts
 * NULL; returns NULL. Not from within on_head or on_bytes.
 */
struct transfer *transfer_cancel(struct transfer *t);

/* For curl_loop_new(). */
void transfer_on_curl_done(CURL *easy, CURLcode result);
