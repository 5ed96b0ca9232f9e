/* See upstreams.h. */
#include "upstream/upstreams.h"

#include <assert.h>

#include "upstream/curl_loop.h"
#include "upstream/health_check.h"
#include "upstream/transfer.h"

int upstreams_init(struct upstreams *up, sd_event *event, struct poller *poller,
                   const struct upstream_hooks *hooks)
{
    *up = (struct upstreams) {.event = event};
    if (hooks) {
        up->hooks = *hooks;
    }
    list_init(&up->loaders);
    list_init(&up->servers);
    list_init(&up->catalogs);
    list_init(&up->checks);
    return curl_loop_new(event, poller, transfer_on_curl_done, &up->curl);
}

void upstreams_done(struct upstreams *up)
{
    if (up->event) {
        assert(list_is_empty(&up->loaders));
        assert(list_is_empty(&up->servers));
        assert(list_is_empty(&up->catalogs));
        assert(list_is_empty(&up->checks));
        health_checks_stop(up);
        up->curl = curl_loop_free(up->curl);
        up->event = NULL;
    }
}

void upstreams_shed_idle(struct upstreams *up)
{
    curl_loop_shed_idle(up->curl);
}

void upstreams_turn(struct upstreams *up)
{
    curl_loop_run(up->curl);
}
