#pragma once
/*
 * Model servers that hang, and what is done about them: the deployment is taken out of rotation, its
 * model is unloaded in residency's way (confirmed, and no load beside it), and where that does not
 * help and the configuration names a unit (sluice.upstreams.URL.restart_unit), that is restarted. What
 * is decided when is core/hang_guard.h.
 */
#include <systemd/sd-event.h>

#include "base/list.h"
#include "base/macros.h"
#include "core/call.h"
#include "core/router.h"
#include "residency_driver.h"

struct unload_news; /* upstream/ollama_unload.h */

struct server_guards {
    sd_event *event; /* borrowed, as the next three */
    struct router *router;
    struct call_registry *registry;
    struct residency_driver *residency;
    void (*on_work)(void *ctx); /* server_guards_turn() is wanted, and what waits may run */
    void *ctx;
    struct list guards; /* server_guard.link: of servers that ever hung, or have a unit */
    bool has_news;      /* evidence that the turn looks at */
};

/* A server with a unit. Borrowed. */
struct server_unit {
    const char *api_base; /* as deployment.api_base has it */
    const char *unit;
};

void server_guards_init(struct server_guards *g, sd_event *event, struct router *router,
                        struct call_registry *registry, struct residency_driver *residency,
                        void (*on_work)(void *ctx), void *ctx);
void server_guards_done(struct server_guards *g); /* accepts a zeroed struct */

/*
 * Which servers have a unit from now on; the strings are copied. What is known of a server stays.
 * 0 or -ENOMEM: then some have none.
 */
int server_guards_set_units(struct server_guards *g, const struct server_unit *units,
                            size_t n) MUST_USE;

/* As call_hooks.on_attempt: only noted here. */
void server_guards_attempt(struct server_guards *g, const struct call *call, enum errcode code,
                           uint64_t now_usec);

/* An unload has ended; as call_hooks.on_attempt. */
void server_guards_unloaded(struct server_guards *g, const struct unload_news *news,
                            uint64_t now_usec);

/* Does what is due. In the turn, before registry_run(). */
void server_guards_turn(struct server_guards *g, uint64_t now_usec);
