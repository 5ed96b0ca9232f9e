#pragma once
/*
 * What all backends share: the event loop, libcurl's loop, and the servers that deployments have in
 * common. Owned by the composition; created before the first backend, freed after the last.
 */
#include <systemd/sd-event.h>

#include "base/list.h"
#include "base/macros.h"

struct curl_loop;
struct poller;

struct upstreams {
    sd_event *event;        /* borrowed */
    struct curl_loop *curl; /* owned */
    struct list loaders;    /* ollama_loader.link: one for each Ollama server */
};

/* 0 or -errno. event and poller are borrowed. */
int upstreams_init(struct upstreams *up, sd_event *event, struct poller *poller) MUST_USE;
void upstreams_done(struct upstreams *up); /* accepts a zeroed struct */

/* Sends what was started in this wake-up. At its end, after registry_run(); jobs may end in it. */
void upstreams_turn(struct upstreams *up);
