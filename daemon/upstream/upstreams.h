#pragma once
/*
 * What all backends share: the event loop, libcurl's loop, and the servers that deployments have in
 * common. Owned by the composition; created before the first backend, freed after the last.
 */
#include <systemd/sd-event.h>

#include "base/list.h"
#include "base/macros.h"

struct curl_loop;
struct eviction_report;
struct health_checker;
struct load_report;
struct poller;
struct problem;
struct renewal_report;
struct server_report;
struct unload_news;

/* What the composition is told, for the log. Any may be NULL. From the loop; reports are borrowed. */
struct upstream_hooks {
    void *ctx;
    void (*on_server)(void *ctx, const struct server_report *report);    /* server_state.h */
    void (*on_renewed)(void *ctx, const struct renewal_report *report);  /* ollama_watch.h */
    void (*on_load)(void *ctx, const struct load_report *report);        /* ollama_loader.h */
    void (*on_evicted)(void *ctx, const struct eviction_report *report); /* ollama_unload.h */
    /* not where the server could not be asked, or refused */
    void (*on_unloaded)(void *ctx, const struct unload_news *news); /* ollama_unload.h */
    /*
     * health_check.h: what calls are led past may be another. returned: the server that did not answer
     * the last check and answers now, named as in server_report; or NULL
     */
    void (*on_checked)(void *ctx, const char *returned);
};

/*
 * Whoever decides what is in memory is told what happens to it. From the loop; names are borrowed,
 * server as it is shown. All zero: nobody.
 */
struct model_hooks {
    void *ctx;
    void (*on_load_began)(void *ctx, const char *server, const char *model);
    void (*on_load_ended)(void *ctx, const char *server, const char *model,
                          const struct problem *problem); /* NULL: it is there */
    void (*on_gone)(void *ctx, const char *server, const char *model);
    void (*on_lost)(void *ctx, const char *server); /* another process may be there now */
};

struct upstreams {
    sd_event *event;        /* borrowed */
    struct curl_loop *curl; /* owned */
    struct list loaders;    /* ollama_loader.link: one for each Ollama server */
    struct list servers;    /* server_state.link: one for each api_base */
    struct list catalogs;   /* ollama_catalog.link: one for each Ollama server with wildcards */
    struct list checks;     /* health_check.link: one for each server and way to speak to it */
    struct health_checker *checker; /* owned; NULL: nothing is checked */
    struct upstream_hooks hooks;
    struct model_hooks memory; /* set by the composition after upstreams_init() */
};

/* 0 or -errno. event and poller are borrowed; hooks are copied, NULL: none. */
int upstreams_init(struct upstreams *up, sd_event *event, struct poller *poller,
                   const struct upstream_hooks *hooks) MUST_USE;
void upstreams_done(struct upstreams *up); /* accepts a zeroed struct */

/* Gives back what is kept for the next call: as far as no call is using it. */
void upstreams_shed_idle(struct upstreams *up);

/* Sends what was started in this wake-up. At its end, after registry_run(); jobs may end in it. */
void upstreams_turn(struct upstreams *up);
