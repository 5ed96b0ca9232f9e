#pragma once
/*
 * libcurl's multi interface on the event loop. Owned by the composition; one per daemon. Only this
 * file and transfer.* know libcurl.
 */
#include <curl/curl.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/list.h"
#include "base/macros.h"

struct curl_loop;
struct poller;

/*
 * Called for each easy handle that is finished, from the loop and never from within a libcurl
 * callback. The handle is already out of the multi.
 */
typedef void (*curl_done_fn)(CURL *easy, CURLcode result);

/*
 * 0 or -errno. event and poller are borrowed: timers go to one, sockets to the other. -ENOTSUP:
 * this libcurl resolves names synchronously and would block the daemon.
 */
int curl_loop_new(sd_event *event, struct poller *poller, curl_done_fn on_done,
                  struct curl_loop **ret) MUST_USE;
/* no handle may be attached; accepts NULL, returns NULL */
struct curl_loop *curl_loop_free(struct curl_loop *loop);

/*
 * Starts and stops a transfer. Removing closes its connection unless the answer was complete. Not
 * from within a libcurl callback.
 */
int curl_loop_add(struct curl_loop *loop, CURL *easy) MUST_USE;
void curl_loop_remove(struct curl_loop *loop, CURL *easy);

/*
 * Does now what libcurl wants done "at once", instead of in the next iteration of the loop. Not
 * from within a libcurl callback.
 */
void curl_loop_run(struct curl_loop *loop);

/*
 * Frees idle easy handles, and while no transfer is attached all kept connections as well. Not from
 * within a libcurl callback.
 */
void curl_loop_shed_idle(struct curl_loop *loop);

/* Idle easy handles, kept for reuse (11 allocations less for each request). NULL: out of memory. */
CURL *curl_loop_take_easy(struct curl_loop *loop);
void curl_loop_give_easy(struct curl_loop *loop, CURL *easy);
