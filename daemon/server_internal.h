#pragma once
/*
 * The daemon's parts, and what server.c and server_config.c share. Nobody else includes this:
 * modules are told what they need, and never see the server.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "base/poller.h"
#include "config/config.h"
#include "core/call.h"
#include "frontend/frontend.h"
#include "idle_exit.h"
#include "incidents.h"
#include "lifecycle.h"
#include "log_watch.h"
#include "memory_monitor.h"
#include "memory_relief.h"
#include "memory_watch.h"
#include "residency_driver.h"
#include "server.h"
#include "server_guard.h"
#include "sockets.h"
#include "supervisor.h"
#include "upstream/upstreams.h"
#include "watchdog.h"

/* On the stack of server_run(). */
struct server {
    const struct server_options *options;
    sd_event *event;
    struct poller poller; /* sockets of connections and of model servers */
    struct config *config;
    uint64_t generation;

    struct upstreams upstreams;
    struct router router;
    struct pressure pressure;
    struct residency_driver residency;
    struct admission admission;
    struct stats stats;
    struct quota quota;
    struct access_key *keys;     /* owned; borrows from config */
    struct caller_rule *callers; /* the same */
    struct call_registry registry;
    struct frontends frontends;
    struct sockets sockets;
    struct memory_monitor memory;
    struct log_watch log_watch;
    struct incidents incidents;
    struct server_guards guards;
    struct lifecycle lifecycle;
    struct idle_exit idle_exit;
    struct memory_watch memory_watch;
    struct memory_relief memory_relief;
    struct supervisor supervisor;
    struct watchdog watchdog;

    sd_event_source *sockets_ready, *turn, *deadline;
    char unusable[CALL_TEXT_MAX]; /* why registry.unusable is set */
    bool has_warned_idle_exit;
    uint64_t turn_wanted_at_usec; /* USEC_NEVER: no turn is wanted */
    bool run_wanted;              /* the registry has work: the next turn runs it */
};

/* ---------------------------------------------------------------- server_config.c */

/*
 * Makes c the configuration. 0 or -errno, then nothing has changed. Takes c over when it succeeds.
 */
int server_adopt_config(struct server *s, struct config *c) MUST_USE;

/* After sockets_open(), and after each adoption: what begins to run with the sockets. */
void server_begin_config(struct server *s);

/* Reads the file anew. false: nothing has changed, and ret_problem says why. */
bool server_reload(struct server *s, struct problem *ret_problem);

/* Every call is refused from now on, with this reason, until a file is adopted. */
void server_degrade(struct server *s, const struct problem *why);
