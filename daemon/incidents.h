#pragma once
/*
 * What goes on outside of the daemon and is worth a message: model servers that stop answering,
 * breakers that open, loads, refused calls in numbers, wrong keys in numbers. Modules below report it; here it is
 * counted and told.
 */
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "burst.h"
#include "core/call.h"
#include "upstream/upstreams.h"

/* Wrong keys: nobody mistypes that often. Refused calls: one a second for ten seconds. */
#define INCIDENTS_DENIED_N         5
#define INCIDENTS_DENIED_USEC      (60 * UINT64_C(1000000))
#define INCIDENTS_SHED_N           10
#define INCIDENTS_SHED_USEC        (10 * UINT64_C(1000000))
#define INCIDENTS_SOURCES_MAX      8
#define INCIDENTS_LOAD_NOTICE_USEC (250 * UINT64_C(1000)) /* faster: the model was there already */

/* Who sent wrong keys: a uid, or somebody over TCP. */
struct denied_source {
    struct burst burst; /* n_all 0: a free place */
    bool has_uid;
    uid_t uid;
};

struct incidents {
    sd_event_source *timer; /* on while a burst is on */
    struct burst shed;
    struct denied_source denied[INCIDENTS_SOURCES_MAX];
};

/* 0 or -errno. */
int incidents_init(struct incidents *in, sd_event *event) MUST_USE;
void incidents_done(struct incidents *in); /* accepts a zeroed struct */

/* For upstreams_init(). */
struct upstream_hooks incidents_upstream_hooks(struct incidents *in);

/* A call has ended. */
void incidents_call_ended(struct incidents *in, const struct call *call);

/* A breaker has opened or closed. */
void incidents_breaker(const struct deployment *d, enum health_news news, uint64_t now_usec);

/* A deployment is left alone from now on, as its calls failed. */
void incidents_cooldown(const struct deployment *d, uint64_t now_usec);

/* A request came with a key that is not known. */
void incidents_denied(struct incidents *in, const struct caller *caller);
