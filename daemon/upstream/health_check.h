#pragma once
/*
 * Asks servers in the background how they are, where the configuration wants it
 * (general_settings.background_health_checks): with a GET that no model has to answer, so nothing is
 * loaded and nothing generated. One check for each server and way to speak to it: deployments with
 * the same server, key, headers and authorities share it, and each holds a reference.
 *
 *   answers        any status but the following; a server without that path is alive as well
 *   refuses key    401, 403: told, and nothing else. Such a path may want more than calls do.
 *   is broken      5xx but 501: a server that is loading, or a proxy with nobody behind it
 *   does not answer   no connection, no head in time, no HTTP: as a call would have found out, so
 *                  server_state.h is told
 *
 * Of the last two a result is "failing": others are preferred (core/router_pick.c). Calls are never
 * kept away: whoever is answered by such a server shows that it works again. A check that failed is
 * made again after 5, 10, 20, ... seconds, at most a minute apart and never later than the interval
 * says; the others wait for the interval, a tenth more or less.
 *
 * One timer for all of them, off and gone while nothing is checked. Checks know nothing of calls:
 * they are not counted, not limited and not recorded, and keep no idle daemon from leaving.
 */
#include <stdint.h>

#include "base/macros.h"
#include "core/ports.h"
#include "upstream/server_access.h"
#include "upstream/server_state.h"
#include "upstream/upstreams.h"

struct health_check;

/* 8 at a time: a device has few servers, and 256 of them must not all be asked in one go. */
#define HEALTH_CHECKS_PARALLEL 8

struct health_check_spec {
    struct server_state *server;        /* a reference is taken */
    const struct server_access *access; /* copied */
    const char *path;                   /* below api_base; static */
    uint64_t connect_usec;
    uint64_t limit_usec; /* for all of it; of those that share it the longest */
};

/* 0 or -errno. It is asked at once where checks are on. */
int health_check_ref(struct upstreams *up, const struct health_check_spec *spec,
                     struct health_check **ret) MUST_USE;
struct health_check *health_check_unref(struct health_check *c); /* accepts NULL, returns NULL */

/* As backend_ops.checked. */
bool health_check_result(const struct health_check *c, struct backend_check *ret);

/*
 * Checks all servers from now on, or with other numbers; n_parallel at least 1. 0 or -errno: then
 * as before. Not from within a callback of a transfer, as the next one.
 */
int health_checks_start(struct upstreams *up, uint64_t interval_usec, unsigned n_parallel,
                        uint64_t now_usec) MUST_USE;
/* Checks nobody any more, and forgets what was found out. */
void health_checks_stop(struct upstreams *up);
