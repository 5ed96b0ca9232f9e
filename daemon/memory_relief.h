#pragma once
/*
 * What sluice gives back when the service manager says that memory is short (memory_watch.h):
 *
 *   HTTP connections of clients that are between requests      they open another one
 *   kept connections to model servers, handles of libcurl      while no call uses them
 *   what the allocator holds and nobody uses                   malloc_trim(3), once the rest is freed
 *   itself                                                     when idle under socket activation
 *
 * Not RPC connections: a program that holds one does not expect to lose it, and it costs little.
 */
#include <stdbool.h>
#include <stdint.h>

#include "frontend/frontend.h"
#include "idle_exit.h"
#include "sockets.h"
#include "upstream/upstreams.h"

/* Alarms that come faster change nothing: what could be given back is gone. The kernel's own come
 * once in the window that the trigger names, 2 s. */
#define MEMORY_RELIEF_MIN_USEC UINT64_C(1000000)

struct memory_relief {
    struct frontends *frontends; /* borrowed, and so are the others */
    struct upstreams *upstreams;
    struct idle_exit *idle_exit;
    const struct sockets *sockets;
    uint64_t last_at_usec; /* 0: never */
    bool is_begun;         /* memory_relief_turn() has the rest to do */
};

/* A turn is wanted afterwards: true. false: too soon after the last. */
bool memory_relief_begin(struct memory_relief *m, uint64_t now_usec);

/* At the end of a turn, when what was closed has been freed. */
void memory_relief_turn(struct memory_relief *m, uint64_t now_usec);
