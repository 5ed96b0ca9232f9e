/*
 * The glue between libcurl's multi_socket interface, the poller and sd-event.
 *
 *   sockets   libcurl says which fds it watches; each gets a source of the poller, kept in the fd's
 *             slot of curl_multi_assign()
 *   timer     one source; libcurl's 0 means "at once" and runs in the next iteration (a defer
 *             source: no timer needs to be set for it), never inside the callback
 *   done      after every drive the finished handles are read until none is left and handed to
 *             on_done
 *
 * Traps that this file is built around: no curl_multi_* call from within a libcurl callback;
 * sources must outlive curl_multi_cleanup(), which calls back; libcurl closes and reuses fds, so a
 * source is renewed whenever libcurl says "new"; sd-event's accuracy 0 would mean 250 ms, so the
 * timer asks for 1 us.
 */
#include "upstream/curl_loop.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/poller.h"

#define MAX_IDLE_EASY 64
/*
 * libcurl counts connections in use as well: with fewer than calls at once each of these would
 * reconnect. Old ones go by CURLOPT_MAXAGE_CONN.
 */
#define MAX_IDLE_CONNECTIONS 1024
#define AT_ONCE_MAX          4 /* rounds in a row; then the loop looks around first */

struct curl_loop {
    struct poller *poller; /* borrowed */
    CURLM *multi;
    size_t n_attached; /* easy handles in it */
    sd_event_source *timer, *at_once;
    curl_done_fn on_done;
    CURL *idle_easy[MAX_IDLE_EASY];
    size_t n_idle_easy;
};

/* Drains what is finished. on_done may add and remove handles. */
static void read_done(struct curl_loop *loop)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(loop->multi, &left))) {
        if (msg->msg == CURLMSG_DONE) {
            CURL *easy = msg->easy_handle;
            CURLcode result = msg->data.result;

            (void) curl_multi_remove_handle(loop->multi, easy); /* msg dies here */
            assert(loop->n_attached > 0);
            loop->n_attached--;
            loop->on_done(easy, result);
        }
    }
}

static void on_fd(int fd, uint32_t revents, void *ctx)
{
    struct curl_loop *loop = ctx;
    int action = 0, running;

    if (revents & (EPOLLIN | EPOLLRDHUP)) {
        action |= CURL_CSELECT_IN;
    }
    if (revents & EPOLLOUT) {
        action |= CURL_CSELECT_OUT;
    }
    if (revents & (EPOLLERR | EPOLLHUP)) {
        action |= CURL_CSELECT_ERR;
    }
    (void) curl_multi_socket_action(loop->multi, fd, action, &running);
    read_done(loop);
}

static int on_at_once(sd_event_source *s, void *ctx)
{
    struct curl_loop *loop = ctx;
    int running;

    (void) curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    read_done(loop);
    return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
    return on_at_once(s, ctx);
}

static void forget(struct curl_loop *loop, curl_socket_t fd, struct poller_source *source)
{
    if (source) {
        poller_remove(source);
        free(source);
        (void) curl_multi_assign(loop->multi, fd, NULL);
    }
}

static int socket_callback(CURL *easy, curl_socket_t fd, int what, void *ctx, void *per_fd)
{
    struct curl_loop *loop = ctx;
    struct poller_source *source = per_fd;
    uint32_t events = (what & CURL_POLL_IN ? (uint32_t) EPOLLIN : 0u) |
                      (what & CURL_POLL_OUT ? (uint32_t) EPOLLOUT : 0u);

    if (what == CURL_POLL_REMOVE) {
        forget(loop, fd, source);
        return 0;
    }
    if (source && source->fd == fd && poller_modify(source, events) >= 0) {
        return 0;
    }
    forget(loop, fd, source); /* the fd was closed and reused behind our back */
    source = calloc(1, sizeof *source);
    if (!source || poller_add(loop->poller, source, fd, events, on_fd, loop) < 0) {
        free(source);
        return 0; /* -1 would abort every transfer; this one runs into its time-out */
    }
    (void) curl_multi_assign(loop->multi, fd, source);
    return 0;
}

static int timer_callback(CURLM *multi, long timeout_msec, void *ctx)
{
    struct curl_loop *loop = ctx;

    (void) sd_event_source_set_enabled(loop->at_once,
                                       timeout_msec == 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
    if (timeout_msec <= 0) {
        (void) sd_event_source_set_enabled(loop->timer, SD_EVENT_OFF);
        return 0;
    }
    (void) sd_event_source_set_time(
        loop->timer, usec_add(clock_now_usec(), (uint64_t) timeout_msec * USEC_PER_MSEC));
    (void) sd_event_source_set_enabled(loop->timer, SD_EVENT_ONESHOT);
    return 0;
}

static int set_options(struct curl_loop *loop, CURLM *m)
{
    bool ok = curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, socket_callback) == CURLM_OK &&
              curl_multi_setopt(m, CURLMOPT_SOCKETDATA, loop) == CURLM_OK &&
              curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, timer_callback) == CURLM_OK &&
              curl_multi_setopt(m, CURLMOPT_TIMERDATA, loop) == CURLM_OK &&
              curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long) MAX_IDLE_CONNECTIONS) == CURLM_OK &&
              curl_multi_setopt(m, CURLMOPT_PIPELINING, (long) CURLPIPE_NOTHING) == CURLM_OK;

    return ok ? 0 : -EINVAL;
}

int curl_loop_new(sd_event *event, struct poller *poller, curl_done_fn on_done,
                  struct curl_loop **ret)
{
    struct curl_loop *loop;
    int r;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return -ENOMEM;
    }
    if (!(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS)) {
        curl_global_cleanup();
        return -ENOTSUP;
    }
    loop = calloc(1, sizeof *loop);
    if (!loop) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    loop->poller = poller;
    loop->on_done = on_done;
    loop->multi = curl_multi_init();
    r = loop->multi ? set_options(loop, loop->multi) : -ENOMEM;
    if (r >= 0) {
        r = sd_event_add_time(event, &loop->timer, CLOCK_MONOTONIC, USEC_NEVER, 1, on_timer, loop);
    }
    if (r >= 0) {
        r = sd_event_source_set_enabled(loop->timer, SD_EVENT_OFF);
    }
    if (r >= 0) {
        r = sd_event_add_defer(event, &loop->at_once, on_at_once, loop);
    }
    if (r >= 0) {
        r = sd_event_source_set_enabled(loop->at_once, SD_EVENT_OFF);
    }
    if (r < 0) {
        curl_loop_free(loop);
        return r;
    }
    *ret = loop;
    return 0;
}

static void free_idle_easy(struct curl_loop *loop)
{
    while (loop->n_idle_easy > 0) {
        curl_easy_cleanup(loop->idle_easy[--loop->n_idle_easy]);
    }
}

struct curl_loop *curl_loop_free(struct curl_loop *loop)
{
    if (!loop) {
        return NULL;
    }
    free_idle_easy(loop);
    if (loop->multi) {
        (void) curl_multi_cleanup(loop->multi); /* calls socket_callback: before the sources go */
    }
    sd_event_source_disable_unref(loop->timer);
    sd_event_source_disable_unref(loop->at_once);
    free(loop);
    curl_global_cleanup();
    return NULL;
}

void curl_loop_run(struct curl_loop *loop)
{
    int enabled = SD_EVENT_OFF;

    for (int i = 0; i < AT_ONCE_MAX; i++) {
        (void) sd_event_source_get_enabled(loop->at_once, &enabled);
        if (enabled == SD_EVENT_OFF) {
            return;
        }
        (void) sd_event_source_set_enabled(loop->at_once, SD_EVENT_OFF);
        (void) on_at_once(loop->at_once, loop);
    }
}

int curl_loop_add(struct curl_loop *loop, CURL *easy)
{
    if (curl_multi_add_handle(loop->multi, easy) != CURLM_OK) {
        return -ENOMEM;
    }
    loop->n_attached++;
    return 0;
}

void curl_loop_remove(struct curl_loop *loop, CURL *easy)
{
    if (curl_multi_remove_handle(loop->multi, easy) == CURLM_OK) {
        assert(loop->n_attached > 0);
        loop->n_attached--;
    }
}

/*
 * libcurl has no call that closes kept connections (CURLMOPT_NETWORK_CHANGED is of 8.16), so the
 * multi is exchanged for a new one. Without memory for that the old one stays.
 */
void curl_loop_shed_idle(struct curl_loop *loop)
{
    CURLM *fresh;

    free_idle_easy(loop);
    if (loop->n_attached > 0) {
        return;
    }
    fresh = curl_multi_init();
    if (!fresh || set_options(loop, fresh) < 0) {
        (void) curl_multi_cleanup(fresh); /* accepts NULL */
        return;
    }
    (void) curl_multi_cleanup(loop->multi); /* calls socket_callback, for this multi */
    loop->multi = fresh;
    (void) sd_event_source_set_enabled(loop->timer, SD_EVENT_OFF);
    (void) sd_event_source_set_enabled(loop->at_once, SD_EVENT_OFF);
}

CURL *curl_loop_take_easy(struct curl_loop *loop)
{
    if (loop->n_idle_easy > 0) {
        return loop->idle_easy[--loop->n_idle_easy];
    }
    return curl_easy_init();
}

void curl_loop_give_easy(struct curl_loop *loop, CURL *easy)
{
    if (loop->n_idle_easy == MAX_IDLE_EASY) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    loop->idle_easy[loop->n_idle_easy++] = easy;
}
