#pragma once
/*
 * Asks an Ollama server about itself, in the background and beside the calls that make it matter: an
 * idle sluice asks nothing, and nobody waits for an answer. Two questions:
 *
 *   what it has in memory (GET /api/ps), where a choice between servers depends on it and the answer
 *   is old, and after a load; what it says is kept by ollama_resident.h
 *
 *   its version (GET /api/version), with the first call, again after a connection was refused or
 *   broke, and else every ten minutes: with another version it is another process. Then, and when it
 *   is back after a break, what was believed to be in its memory is dropped
 *   (server_state_renew()), and upstreams.hooks.on_renewed is told once.
 *
 * A server that hangs, fails or says nonsense keeps what was known of it: that is no reason to call
 * it down.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "upstream/ollama_resident.h"
#include "upstream/server_access.h"
#include "upstream/upstreams.h"

struct ollama_watch;
struct server_state;

/* 0 or -errno. up and server are borrowed and outlive it. */
int ollama_watch_new(struct upstreams *up, struct server_state *server,
                     struct ollama_watch **ret) MUST_USE;
struct ollama_watch *ollama_watch_free(struct ollama_watch *w); /* accepts NULL, returns NULL */

/* How to ask. Borrowed during the call. */
struct ollama_watch_terms {
    const struct server_access *access;
    uint64_t connect_usec;
};

/* A call is about to be sent: has the version asked for where it is not known or old. */
void ollama_watch_contact(struct ollama_watch *w, const struct ollama_watch_terms *terms,
                          uint64_t now_usec);

/* A choice is near: has the list asked for where it is old. */
void ollama_watch_look(struct ollama_watch *w, const struct ollama_watch_terms *terms,
                       uint64_t now_usec);

/* A load is over, so the list has changed: asked for, but only where somebody has looked before. */
void ollama_watch_loaded(struct ollama_watch *w, const struct ollama_watch_terms *terms,
                         uint64_t now_usec);

/* None of these may be called from within a transfer's on_bytes; the next two may. */

/* What is known of its memory; news of it may be told there. As long as the watch lives. */
struct ollama_resident *ollama_watch_resident(struct ollama_watch *w);

const char *ollama_watch_version(const struct ollama_watch *w); /* "": not known */

/* It may be another process now, as upstreams.hooks.on_renewed has it. */
struct renewal_report {
    const char *server;
    const char *version, *version_before; /* may be equal */
    struct log_limit *limit;
};
