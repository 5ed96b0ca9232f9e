/* See upstreams.h. */
#include "upstream/upstreams.h"

#include <assert.h>

#include "upstream/curl_loop.h"
#include "upstream/transfer.h"

int upstreams_init(struct upstreams *up, sd_event *event, struct poller *poller)
{
    *up = (struct upstreams) {.event = event};
    list_init(&up->loaders);
    return curl_loop_new(event, poller, transfer_on_curl_done, &up->curl);
}

void upstreams_done(struct upstreams *up)
{
    if (up->event) {
        assert(list_is_empty(&up->loaders));
        up->curl = curl_loop_free(up->curl);
        up->event = NULL;
    }
}

void upstreams_turn(struct upstreams *up)
{
    curl_loop_run(up->curl);
}
